"""Calls of both clients, against the real service."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import farpose_client
from farpose_client import (
    AsyncClient,
    BadImageError,
    Client,
    FarposeError,
    InvalidOptionsError,
    PoseResult,
    StaleFrameError,
    TooLargeError,
    UnauthorizedError,
    UnreadableFileError,
)
from farpose_client.options import PoseOptions, StreamOptions
from farpose_serving.cameras.messages import StreamOptions as ServedStreamOptions
from farpose_serving.queries import PoseQuery
from tests.clients.python.conftest import KEY, MAX_BODY_BYTES, Call
from tests.service import Service


@pytest.fixture(scope="module")
def expected(service: Service, picture: Path) -> Any:
    """What the service says of the picture, without our client."""
    return service.post(picture.read_bytes())["people"]


def boxes(result: PoseResult) -> list[list[float]]:
    return [list(person.box) for person in result.people]


def test_the_answer_is_what_the_service_says(
    service: Service, picture: Path, expected: Any, call: Call
):
    found = call(service.url, "pose", picture)
    assert len(found.people) == len(expected) >= 2
    for person, raw in zip(found.people, expected, strict=True):
        assert list(person.box) == raw["box"]
        assert [list(joint) for joint in person.keypoints] == raw["keypoints"]
        assert (person.score, person.model) == (raw["score"], raw["model"])
        assert list(person.unsure) == raw["unsure"]
        assert (person.track_id, person.variances) == (None, None)
    assert found.keypoint_names[0] == "nose"
    assert found.timing_ms["total"] > 0
    with Image.open(picture) as image:
        assert (found.image.width, found.image.height) == image.size


@pytest.mark.parametrize("form", ["str", "bytes", "memoryview", "rgb", "bgr", "pil"])
def test_a_picture_is_taken_in_every_form_without_loss(
    service: Service, picture: Path, expected: Any, form: str
):
    with Image.open(picture) as image:
        pil = image.convert("RGB")
    array = np.asarray(pil)
    with Client(service.url) as client:
        match form:
            case "str":
                found = client.pose(str(picture))
            case "bytes":
                found = client.pose(picture.read_bytes())
            case "memoryview":
                found = client.pose(memoryview(picture.read_bytes()))
            case "rgb":
                found = client.pose(array)
            case "bgr":
                found = client.pose(array[:, :, ::-1], channels="BGR")
            case _:
                found = client.pose(pil)
    # OpenCV and Pillow may round a JPEG's pixels differently.
    assert np.allclose(boxes(found), [person["box"] for person in expected], atol=2)


def test_an_array_that_is_said_to_be_something_else_is_seen_differently(
    service: Service, picture: Path
):
    with Image.open(picture) as image:
        array = np.asarray(image.convert("RGB"))
    with Client(service.url) as client:
        right, wrong = client.pose(array), client.pose(array, channels="BGR")
    assert boxes(right) != boxes(wrong)


def test_arrays_can_be_sent_as_jpeg_and_grey_ones_are_pictures(service: Service, picture: Path):
    with Image.open(picture) as image:
        grey = np.asarray(image.convert("L"))
    with Client(service.url) as client:
        exact, coarse = client.pose(grey), client.pose(grey, quality=60)
    assert len(exact.people) >= 2
    assert exact.image == coarse.image
    assert boxes(exact) != boxes(coarse)


@pytest.mark.parametrize(
    ("picture_", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8, not float32"),
        (np.zeros((4, 4, 4), np.uint8), r"\[H,W,3\] or \[H,W\], not \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"not \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), "shape"),
        (3, "not int"),
        (None, "not NoneType"),
        ([[1]], "not list"),
    ],
)
def test_what_is_no_picture_is_said_before_anything_is_sent(picture_: Any, words: str):
    with Client("http://127.0.0.1:9") as client, pytest.raises(BadImageError, match=words):
        client.pose(picture_)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, call: Call):
    with pytest.raises(UnreadableFileError, match=r"none\.jpg") as caught:
        call("http://127.0.0.1:9", "pose", tmp_path / "none.jpg")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_the_options_are_those_of_the_service():
    assert set(PoseOptions.__annotations__) == set(PoseQuery.model_fields) - {"format"}
    served = set(ServedStreamOptions.model_fields) - {"boxes", "timestamp"}
    assert set(StreamOptions.__annotations__) == served


def test_options_arrive(service: Service, picture: Path, expected: Any, call: Call):
    one = call(service.url, "pose", picture, max_people=np.int64(1), variances=True)
    assert [list(p.box) for p in one.people] == [expected[0]["box"]]
    assert len(one.people[0].variances) == len(one.keypoint_names)
    assert one.people[0].variances[0].x > 0

    box = np.array([expected[1]["box"]], np.float32)
    given = call(service.url, "pose", picture, boxes=box, pose_model="lowres_pose_32")
    assert np.allclose(boxes(given), box, atol=0.01)
    assert (given.people[0].score, given.people[0].model) == (1, "lowres_pose_32")
    assert "detector" not in given.timing_ms
    assert call(service.url, "pose", picture, boxes=[]).people == ()

    none = call(service.url, "pose", picture, detection_threshold=1.0, detector_size=None)
    assert none.people == ()


def test_a_thousand_boxes_fit_into_an_address(service: Service, picture: Path):
    rows = [(i + 1 / 3, 1234.5678, i + 70000.1 / 3, 99999.999) for i in range(1000)]
    with Client(service.url) as client, pytest.raises(InvalidOptionsError, match="outside the"):
        client.pose(picture, boxes=rows)  # understood, and not TooLargeError


@pytest.mark.parametrize(
    ("options", "words", "status"),
    [
        ({"max_poeple": 3}, "do you mean max_people", None),
        ({"colour": "red"}, "detection_threshold", None),
        ({"format": "image"}, "no such option", None),
        ({"boxes": [(1, 2, 3)]}, "not 3 numbers", None),
        ({"boxes": 7}, "rows of", None),
        ({"max_people": np.zeros(2)}, "not one value", None),
        ({"max_people": 0}, "max_people", 422),
        ({"detection_threshold": float("nan")}, "detection_threshold", 422),
        ({"pose_model": "none"}, "no model 'none'", 422),
        ({"timestamp": 3.5}, "camera_id", 422),
        ({"camera_id": "a b"}, "camera_id", 422),
    ],
)
def test_wrong_options_are_refused(
    service: Service, picture: Path, call: Call, options: Any, words: str, status: int | None
):
    with pytest.raises(InvalidOptionsError, match=words) as caught:
        call(service.url, "pose", picture, **options)
    assert caught.value.status == status


def test_an_error_carries_the_problem(service: Service, call: Call):
    with pytest.raises(BadImageError) as caught:
        call(service.url, "pose", b"no picture")
    error = caught.value
    assert error.status == 400
    assert error.type == "urn:farpose:problem:unreadable-image"
    assert error.title == "The picture cannot be read"
    assert "JPEG, PNG or WebP" in error.detail
    assert len(error.request_id) == 32
    assert error.detail in str(error) and error.request_id in str(error)


@pytest.mark.parametrize(
    ("content", "error", "status"),
    [
        (b"", BadImageError, 400),
        (b"GIF89a" + bytes(40), BadImageError, None),
        (bytes(MAX_BODY_BYTES + 1), TooLargeError, 413),  # refused before it has been read
    ],
)
def test_pictures_that_are_refused(
    service: Service, call: Call, content: bytes, error: type[FarposeError], status: int | None
):
    with pytest.raises(error) as caught:
        call(service.url, "pose", content)
    assert status in (None, caught.value.status)


def test_people_of_a_camera_keep_their_ids(service: Service, picture: Path, call: Call):
    def post(name: str, timestamp: float) -> PoseResult:
        return call(service.url, "pose", picture, camera_id=name, timestamp=timestamp)

    # The first camera of a process waits for an import, a stream without a deadline.
    with Client(service.url) as client, client.stream() as stream:
        stream.send(b"none")
        with pytest.raises(BadImageError):
            stream.receive(60)
    name = f"gate-{call.__name__}"
    post(name, 1.0)
    ids = [p.track_id for p in post(name, 1.1).people if p.track_id is not None]
    assert len(set(ids)) == len(ids) >= 2
    with pytest.raises(StaleFrameError) as caught:
        post(name, 0.5)
    assert caught.value.status == 409


def test_the_service_draws(service: Service, picture: Path, call: Call):
    drawn = call(service.url, "pose_image", picture, max_people=1)
    with Image.open(io.BytesIO(drawn)) as image, Image.open(picture) as original:
        assert (image.format, image.size) == ("JPEG", original.size)
        assert np.abs(np.asarray(image, int) - np.asarray(original.convert("RGB"), int)).max() > 60


def test_the_models_and_the_health(service: Service, call: Call):
    models = {model.name: model for model in call(service.url, "models")}
    assert models["lowres_pose"].skeleton.joints[0] == "nose"
    assert models["lowres_pose"].inputs[0].shape == (None, 64, 64, 3)
    assert models["person_detector"].skeleton is None
    health = call(service.url, "health")
    assert (health.live, health.ready) == (True, True)
    assert call(service.url, "ready") is True
    call(service.url, "wait_until_ready", 1)


def test_a_path_before_the_service_is_kept(service: Service, call: Call):
    with pytest.raises(farpose_client.UnexpectedAnswerError, match="answers 404 to GET /farpose"):
        call(f"{service.url}/farpose/", "models")


def test_many_pictures_come_back_in_order_with_errors_in_their_places(
    service: Service, pictures: list[bytes], call: Call
):
    sent = [*pictures[2:5], b"none", *pictures[5:7]]
    found = call(service.url, "pose_many", sent, concurrency=3, errors="yield", detector_size=320)
    assert isinstance(found[3], BadImageError)
    single = [call(service.url, "pose", p, detector_size=320) for p in pictures[2:7]]
    del found[3]
    assert [boxes(f) for f in found] == [boxes(s) for s in single]
    with pytest.raises(BadImageError):
        call(service.url, "pose_many", sent)
    with pytest.raises(ValueError, match="concurrency"):
        call(service.url, "pose_many", sent, concurrency=0)
    with pytest.raises(InvalidOptionsError, match="camera_id"):
        call(service.url, "pose_many", sent, camera_id="gate")


def test_many_pictures_are_taken_one_by_one(service: Service, pictures: list[bytes]):
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield pictures[0]

    async def endless_too() -> AsyncIterator[bytes]:
        for picture in endless():
            yield picture

    async def run() -> None:
        async with AsyncClient(service.url) as client:
            found = client.pose_many(endless_too(), concurrency=2, detector_size=320)
            for _ in range(3):
                await anext(found)
            await found.aclose()

    with Client(service.url) as client:
        found = client.pose_many(endless(), concurrency=2, detector_size=320)
        assert taken == 0
        for _ in range(3):
            next(found)
        found.close()
    assert taken == 3 + 2 * 2 - 1
    taken = 0
    asyncio.run(run())
    assert taken == 3 + 2 * 2 - 1


@pytest.mark.parametrize("key", [None, "fp_wrong"])
def test_without_the_right_key(guarded: Service, picture: Path, call: Call, key: str | None):
    with pytest.raises(UnauthorizedError, match="Authorization") as caught:
        call(guarded.url, "pose", picture, api_key=key)
    assert caught.value.status == 401
    assert call(guarded.url, "ready", api_key=key)


def test_with_the_right_key(guarded: Service, call: Call):
    assert len(call(guarded.url, "models", api_key=KEY)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "localhost:8080"}, "http://localhost:8080"),
        ({"url": "ftp://there"}, "http://localhost:8080"),
        ({"url": "http://"}, "http://localhost:8080"),
        ({"url": "http://there:port"}, "no address"),
        ({"url": "http://there/?a=b"}, "no query"),
        ({"url": "http://a:b@there"}, "user"),
        ({"api_key": "a\r\nb"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"deadline": 0}, "deadline"),
        ({"timeout": -1}, "timeout"),
        ({"connect_timeout": float("nan")}, "connect"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], words: str):
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=words):
            kind(**{"url": "http://localhost:8080", **arguments})
