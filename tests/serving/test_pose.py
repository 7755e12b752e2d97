"""`POST /pose` with pictures it can read."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.evaluation.dataset import load_dataset
from farpose.evaluation.runner import evaluate_pose
from farpose.images import decode_image
from farpose.pipeline import PosePipeline
from farpose_serving.settings import Settings
from tests.serving.conftest import RecordingEngine
from tests.serving.encoded import encode, gradient, noise_png, saved

EXIF_ROTATED = Image.Exif()
EXIF_ROTATED[0x0112] = 6  # to be turned by a quarter for display


def post(client: TestClient, picture: bytes, **query: object) -> dict[str, Any]:
    response = client.post(
        "/pose", content=picture, headers={"Content-Type": "image/jpeg"}, params=query
    )
    assert response.status_code == 200, response.text
    return response.json()


def as_json(picture: bytes) -> dict[str, Any]:
    return {"image": {"type": "base64", "value": base64.b64encode(picture).decode()}}


def test_people_of_a_real_picture(client: TestClient, pictures: list[bytes]):
    answer = post(client, pictures[0], variances="true")
    height, width = decode_image(pictures[0]).shape[:2]
    assert answer["image"] == {"width": width, "height": height}
    assert set(answer["models"]) == {"person_detector", "lowres_pose"}
    assert {"decode", "detector", "pose", "total"} <= answer["timing_ms"].keys()
    joints = len(answer["keypoint_names"])
    assert joints == 17
    person = answer["people"][0]
    assert 0.3 <= person["score"] <= 1
    assert person["model"] == "lowres_pose"
    x1, y1, x2, y2 = person["box"]
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert [len(joint) for joint in person["keypoints"]] == [3] * joints
    assert [len(spread) for spread in person["variances"]] == [2] * joints


def test_variances_are_left_out_unless_asked_for(client: TestClient, pictures: list[bytes]):
    assert "variances" not in post(client, pictures[0])["people"][0]


def test_raw_multipart_and_base64_find_the_same_people(client: TestClient, pictures: list[bytes]):
    picture = pictures[0]
    multipart = client.post("/pose", files={"file": ("a.jpg", picture, "image/jpeg")})
    in_json = client.post("/pose", json=as_json(picture))
    people = post(client, picture)["people"]
    assert people
    assert multipart.json()["people"] == in_json.json()["people"] == people


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (encode(gradient(), ".jpg"), (96, 64)),
        (encode(gradient(), ".png"), (96, 64)),
        (encode(gradient(), ".webp"), (96, 64)),
        # one grey channel
        (encode(gradient()[:, :, 0], ".jpg"), (96, 64)),
        # 16 bits a channel
        (encode(gradient().astype(np.uint16) * 257, ".png"), (96, 64)),
        # print colours
        (saved(Image.fromarray(gradient()).convert("CMYK"), "JPEG"), (96, 64)),
        # the size is that of the picture as displayed
        (saved(Image.fromarray(gradient()), "JPEG", exif=EXIF_ROTATED), (64, 96)),
        # a phone's JPEG with a second picture behind the first
        (
            saved(
                Image.fromarray(gradient()),
                "MPO",
                save_all=True,
                append_images=[Image.fromarray(gradient())],
            ),
            (96, 64),
        ),
        # of an animation the first frame
        (
            saved(
                Image.fromarray(gradient()),
                "WEBP",
                save_all=True,
                append_images=[Image.new("RGB", (96, 64), "red")],
            ),
            (96, 64),
        ),
        # a single pixel
        (encode(gradient(1, 1), ".png"), (1, 1)),
    ],
    ids=["jpeg", "png", "webp", "grey", "16-bit", "cmyk", "exif", "mpo", "animation", "1x1"],
)
def test_pictures_with_nobody_answer_200_with_no_people(
    client: TestClient, picture: bytes, size: tuple[int, int]
):
    # All are declared image/jpeg: cameras mislabel, the bytes decide.
    answer = post(client, picture)
    assert answer["people"] == []
    assert (answer["image"]["width"], answer["image"]["height"]) == size
    assert len(answer["keypoint_names"]) == 17


def test_the_model_sees_the_first_frame_of_an_animation(
    client: TestClient, recording: RecordingEngine
):
    first, second = Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (64, 64), "red")
    post(client, saved(first, "WEBP", save_all=True, append_images=[second]), boxes="0,0,64,64")
    crop = recording.calls[-1][1]["crops"][0]
    assert crop[32, 32, 2] > 200
    assert crop[32, 32, 0] < 50


def test_the_crop_served_is_the_crop_evaluated(
    client: TestClient, recording: RecordingEngine, settings: Settings, data: Path
):
    dataset = load_dataset(data / "coco_mini" / "val.json", data / "coco_mini" / "val")
    for index in (0, len(dataset) // 2, len(dataset) - 1):
        person = dataset.select([index])
        with OnnxRuntimeEngine(settings.repository, threads=2) as engine:
            evaluating = RecordingEngine(engine)
            asyncio.run(evaluate_pose(PosePipeline(evaluating), person))
        recording.calls.clear()
        box = ",".join(map(repr, person.boxes[0].tolist()))
        post(client, dataset.pictures[person.picture_index[0]].path.read_bytes(), boxes=box)
        # One crop each, and the detector did not run.
        [(served_by, served)], [(evaluated_by, evaluated)] = recording.calls, evaluating.calls
        assert served_by == evaluated_by == "lowres_pose"
        assert served["crops"].shape == evaluated["crops"].shape == (1, 64, 64, 3)
        assert served["crops"].tobytes() == evaluated["crops"].tobytes()


def test_given_boxes_are_answered_in_order_without_the_detector(
    client: TestClient, small_jpeg: bytes
):
    boxes = [[40.0, 10.0, 60.0, 50.0], [-5.0, 0.0, 20.0, 30.0]]
    answer = post(client, small_jpeg, boxes="40,10,60,50;-5,0,20,30")
    assert [person["box"] for person in answer["people"]] == boxes
    assert [person["score"] for person in answer["people"]] == [1, 1]
    assert list(answer["models"]) == ["lowres_pose"]


def test_options_reach_the_pipeline(client: TestClient, pictures: list[bytes]):
    assert len(post(client, pictures[0], max_people=1)["people"]) == 1
    assert post(client, pictures[0], detection_threshold=1)["people"] == []
    unsure = post(client, pictures[0], keypoint_threshold=1)["people"][0]["keypoints"]
    assert unsure == [[0, 0, 0]] * 17


def test_format_image_draws_people_on_the_picture(client: TestClient, pictures: list[bytes]):
    response = client.post(
        "/pose?format=image", content=pictures[0], headers={"Content-Type": "image/jpeg"}
    )
    assert response.headers["Content-Type"] == "image/jpeg"
    frame, drawn = decode_image(pictures[0]), decode_image(response.content)
    assert drawn.shape == frame.shape
    changed = np.abs(drawn.astype(int) - frame).max(axis=2) > 60
    assert 0.0005 < changed.mean() < 0.2


def test_sixteen_requests_at_once_get_their_own_people(client: TestClient, pictures: list[bytes]):
    alone = [post(client, picture) for picture in pictures]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda picture: post(client, picture), pictures * 2))
    assert len({answer["id"] for answer in together}) == 16
    assert any(answer["people"] for answer in alone)
    for expected, found in zip(alone * 2, together, strict=True):
        assert found["image"] == expected["image"]
        boxes = [[person["box"] for person in answer["people"]] for answer in (expected, found)]
        np.testing.assert_allclose(boxes[1], boxes[0], atol=0.1)


def test_an_upload_of_five_megabytes_is_never_written_to_disk(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    picture = noise_png(1300)
    assert len(picture) > 5_000_000
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with tempfile.SpooledTemporaryFile(max_size=1) as file, pytest.raises(AssertionError):
        file.write(b"this is how Starlette's own parser makes one")
    response = client.post("/pose?detector_size=128", files={"file": ("a.png", picture)})
    assert response.status_code == 200, response.text
    assert response.json()["image"] == {"width": 1300, "height": 1300}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("camera-7:0001", True),
        ("with space", False),
        ("x" * 65, False),  # too long for a log line
        ("", False),
    ],
)
def test_a_sane_request_id_is_kept(client: TestClient, small_jpeg: bytes, sent: str, kept: bool):
    response = client.post(
        "/pose",
        content=small_jpeg,
        headers={"Content-Type": "image/jpeg", "X-Request-ID": sent},
    )
    identifier = response.json()["id"]
    assert response.headers["X-Request-ID"] == identifier
    assert (identifier == sent) is kept
    assert identifier


def test_answers_are_valid_json_for_any_box(client: TestClient, small_jpeg: bytes):
    answer = post(client, small_jpeg, boxes="-1e6,-1e6,1e6,1e6;0,0,1e-3,1e-3", variances=True)
    numbers = json.dumps(answer["people"], allow_nan=False)
    assert "null" not in numbers


def test_a_picture_too_long_for_jpeg_is_drawn_as_png(client: TestClient):
    picture = encode(np.zeros((1, 70_000, 3), np.uint8), ".png")
    response = client.post(
        "/pose?format=image&detector_size=128",
        content=picture,
        headers={"Content-Type": "image/png"},
    )
    assert response.headers["Content-Type"] == "image/png"
    drawn = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (1, 70_000, 3)
