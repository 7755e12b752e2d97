"""`WS /stream`: people of one camera, the newest picture first, and nothing ends it but its end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from farpose_serving.app import create_app
from farpose_serving.cameras.connection import WRONG_PAUSE
from farpose_serving.settings import Settings
from tests.serving.cameras.conftest import GatedEngine
from tests.serving.encoded import encode, gradient

WIDE = encode(gradient(96, 64), ".jpg")
"""Letterboxed to 640 wide, like every picture that is wider than high."""

HIGH = encode(gradient(32, 64), ".jpg")
"""Letterboxed to 320 wide."""


def test_pictures_are_answered_as_if_they_were_posted(cameras_client: TestClient, bus_jpeg: bytes):
    posted = cameras_client.post(
        "/pose", content=bus_jpeg, headers={"Content-Type": "image/jpeg"}
    ).json()
    with cameras_client.websocket_connect("/stream") as camera:
        for number in range(2):
            camera.send_bytes(bus_jpeg)
            answer = camera.receive_json()
            assert (answer["frame"], answer["dropped"]) == (number, 0)
            assert answer["frame_age_ms"] >= answer["timing_ms"]["total"]
            assert answer["image"] == posted["image"]
            assert answer["keypoint_names"] == posted["keypoint_names"]
            assert len(answer["people"]) == len(posted["people"])


def test_options_hold_for_later_pictures_until_they_change(
    cameras_client: TestClient, bus_jpeg: bytes
):
    def people(camera) -> list[dict]:
        camera.send_bytes(bus_jpeg)
        return camera.receive_json()["people"]

    with cameras_client.websocket_connect("/stream?max_people=1") as camera:
        assert len(people(camera)) == 1
        camera.send_json({"variances": True})
        (person,) = people(camera)
        assert len(person["variances"]) == 17
        camera.send_json({"max_people": 2, "variances": False})
        assert ["variances" in person for person in people(camera)] == [False, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"treshold": 0.5}', "treshold: there is no such option"),
        ('{"boxes": [[0, 0, 10, 10]]}', "boxes"),  # the session's own business
        ('{"camera_id": "gate"}', "camera_id"),  # the connection is the camera
        ('{"detection_threshold": 7}', "detection_threshold"),
        ('{"timestamp": "noon"}', "timestamp"),
        ("[1]", "JSON object"),
        ("hello", "JSON object"),
        ("[" * 100_000, "JSON object"),
    ],
)
def test_a_wrong_text_is_refused_and_the_connection_goes_on(
    cameras_client: TestClient, text: str, words: str
):
    with cameras_client.websocket_connect("/stream") as camera:
        camera.send_text(text)
        problem = camera.receive_json()
        assert problem["status"] == 422
        assert words in problem["detail"]
        assert problem["type"] == "urn:farpose:problem:invalid-request"
        camera.send_bytes(WIDE)
        assert camera.receive_json()["people"] == []


def test_a_broken_picture_is_refused_by_its_number(cameras_client: TestClient):
    with cameras_client.websocket_connect("/stream") as camera:
        for number, (picture, status) in enumerate(
            [(WIDE[:100], 400), (b"", 400), (encode(gradient(), ".bmp"), 415)]
        ):
            camera.send_bytes(picture)
            problem = camera.receive_json()
            assert (problem["frame"], problem["status"]) == (number, status)
        camera.send_bytes(WIDE)
        assert camera.receive_json()["frame"] == 3


def test_who_sends_what_is_no_picture_is_made_to_wait(cameras_client: TestClient):
    with cameras_client.websocket_connect("/stream") as camera:
        start = time.monotonic()
        for number in range(4):
            camera.send_bytes(b"no picture")
            assert camera.receive_json()["frame"] == number
        assert time.monotonic() - start > 3 * WRONG_PAUSE


def test_the_newest_picture_wins(cameras_client: TestClient, gated: GatedEngine):
    gated.close_for(640)
    with cameras_client.websocket_connect("/stream") as camera:
        camera.send_bytes(WIDE)
        assert gated.entered.wait(10)
        for _ in range(4):
            camera.send_bytes(HIGH)
        camera.send_text("{}x")  # answered at once: what came before has been read
        assert camera.receive_json()["status"] == 422
        gated.open()
        first, last = camera.receive_json(), camera.receive_json()
    assert (first["frame"], first["dropped"], last["frame"], last["dropped"]) == (0, 3, 4, 0)
    assert last["image"] == {"width": 32, "height": 64}


def test_a_slow_camera_delays_no_other(cameras_client: TestClient, gated: GatedEngine):
    gated.close_for(640)
    with (
        cameras_client.websocket_connect("/stream") as slow,
        cameras_client.websocket_connect("/stream") as fast,
    ):
        slow.send_bytes(WIDE)
        assert gated.entered.wait(10)
        for number in range(3):
            fast.send_bytes(HIGH)
            assert fast.receive_json()["frame"] == number
        gated.open()
        assert slow.receive_json()["frame"] == 0


def test_a_picture_older_than_the_last_is_refused(cameras_client: TestClient):
    with cameras_client.websocket_connect("/stream") as camera:
        for timestamp, status in ((5.0, None), (5.5, None), (5.25, 409), (6.0, None)):
            camera.send_json({"timestamp": timestamp})
            camera.send_bytes(WIDE)
            assert camera.receive_json().get("status") == status
        camera.send_bytes(WIDE)  # a timestamp is for one picture
        problem = camera.receive_json()
        assert problem["status"] == 422
        assert "came with one" in problem["detail"]


def test_a_timestamp_waits_for_its_picture_whatever_options_come_before_it(
    cameras_client: TestClient,
):
    def answered(camera, *texts: dict) -> int | None:
        for text in texts:
            camera.send_json(text)
        camera.send_bytes(WIDE)
        return camera.receive_json().get("status")

    with cameras_client.websocket_connect("/stream") as camera:
        assert answered(camera, {"timestamp": 5.0}, {"max_people": 1}) is None
        assert answered(camera, {"timestamp": 6.0}, {"timestamp": 4.0}) == 409  # a new one counts
        assert answered(camera, {"timestamp": 6.0}) is None
        assert answered(camera) == 422  # came with one, every time


def test_wrong_options_in_the_address_are_refused(cameras_client: TestClient):
    with cameras_client.websocket_connect("/stream?format=image") as camera:
        problem = camera.receive_json()
        assert (problem["status"], "format" in problem["detail"]) == (422, True)
        with pytest.raises(WebSocketDisconnect) as closed:
            camera.receive_json()
        assert closed.value.code == 1008


def test_one_camera_too_many_is_told_to_come_later(cameras_client: TestClient):
    connect = cameras_client.websocket_connect
    with connect("/stream"), connect("/stream"), connect("/stream"):
        with connect("/stream") as fourth:
            problem = fourth.receive_json()
            assert (problem["status"], "max_cameras" in problem["detail"]) == (503, True)
            with pytest.raises(WebSocketDisconnect) as closed:
                fourth.receive_json()
            assert closed.value.code == 1013
        posted = cameras_client.post(
            "/pose?camera_id=gate", content=WIDE, headers={"Content-Type": "image/jpeg"}
        )
        assert (posted.status_code, posted.headers["Retry-After"]) == (503, "1")
    end = time.monotonic() + 10
    while True:
        with connect("/stream") as camera:
            camera.send_bytes(WIDE)
            if "frame" in camera.receive_json() or time.monotonic() > end:
                break
    assert time.monotonic() < end


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        (None, True),  # no browser
        ("http://testserver", True),  # our own page
        ("https://named.example", True),
        ("https://evil.example", False),
        ("http://testserver.evil.example", False),
        ("http://[", False),  # no address
        ("null", False),  # a page from a file, or a sandboxed one
    ],
)
def test_pages_of_foreign_origins_cannot_open_a_stream(
    repository: Path, gated: GatedEngine, origin: str | None, opens: bool
):
    settings = Settings(repository=repository, cors_origins=("https://named.example",))
    with TestClient(create_app(settings, engine=gated)) as client:
        connected = client.websocket_connect(
            "/stream", headers={"Origin": origin} if origin else {}
        )
        if opens:
            with connected as camera:
                camera.send_bytes(WIDE)
                assert camera.receive_json()["frame"] == 0
        else:
            with pytest.raises(WebSocketDisconnect), connected:
                pass
