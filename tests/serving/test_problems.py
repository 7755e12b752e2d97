"""Requests that are refused, and what the caller is told."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from farpose.engine import EngineError
from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from tests.conftest import ROOT
from tests.serving.conftest import MAX_BODY_BYTES, RecordingEngine
from tests.serving.encoded import encode, gradient, huge_jpeg, huge_png, huge_webp, saved

JPEG = encode(gradient(), ".jpg")
PNG = encode(gradient(), ".png")
GIF = saved(Image.fromarray(gradient()), "GIF")
IN_BASE64 = base64.b64encode(JPEG).decode()


def raw(body: bytes, media_type: str | None = "image/jpeg", query: str = "") -> dict[str, Any]:
    headers = {} if media_type is None else {"Content-Type": media_type}
    return {"url": f"/pose{query}", "content": body, "headers": headers}


def with_query(query: str) -> dict[str, Any]:
    return raw(JPEG, query=f"?{query}")


def in_json(body: Any) -> dict[str, Any]:
    return {"url": "/pose", "json": body}


def multipart(**parts: Any) -> dict[str, Any]:
    return {"url": "/pose", **parts}


def chunked(body: bytes) -> dict[str, Any]:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    return {"url": "/pose", "content": chunks(), "headers": {"Content-Type": "image/jpeg"}}


INSIDE = ("Traceback", ".py", "/usr", "/home", "site-packages", str(ROOT), "uvicorn")
"""What an answer tells nobody."""

REFUSED: list[tuple[Callable[[], dict[str, Any]], int, str]] = [
    # nothing was sent
    (lambda: raw(b""), 400, "0 bytes"),
    # not a picture at all
    (lambda: raw(b"people walk here"), 400, "not a picture"),
    # cut off in the middle
    (lambda: raw(JPEG[: len(JPEG) // 2]), 400, "cut off"),
    # only the end marker is missing: refused too, the rule is "whole pictures"
    (lambda: raw(JPEG[:-2]), 400, "cut off"),
    (lambda: raw(PNG[: len(PNG) // 2], "image/png"), 400, "cut off"),
    # a picture, but of a format that is not served, whatever it is declared as
    (lambda: raw(GIF), 415, "GIF"),
    (lambda: raw(encode(gradient(), ".bmp")), 415, "BMP"),
    # body types that are not taken
    (lambda: raw(JPEG, "text/plain"), 415, "image/jpeg"),
    (lambda: raw(JPEG, "application/octet-stream"), 415, "image/jpeg"),
    (lambda: raw(JPEG, "image/gif"), 415, "image/gif"),
    (lambda: raw(JPEG, None), 415, "without Content-Type"),
    (
        lambda: {
            **raw(JPEG),
            "headers": {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"},
        },
        415,
        "Content-Encoding",
    ),
    # too many bytes: declared by Content-Length, and counted where there is none
    (lambda: raw(bytes(MAX_BODY_BYTES + 1)), 413, f"{MAX_BODY_BYTES} bytes"),
    (lambda: chunked(bytes(MAX_BODY_BYTES + 1)), 413, f"{MAX_BODY_BYTES} bytes"),
    # too many pixels in a few bytes, with and without alarming Pillow
    (lambda: raw(huge_png(20_000), "image/png"), 413, "pixels"),
    (lambda: raw(huge_png(8_000), "image/png"), 413, "8000x8000"),
    (lambda: raw(huge_jpeg(65_500)), 413, "pixels"),
    (lambda: raw(huge_jpeg(8_000)), 413, "8000x8000"),
    (lambda: raw(huge_webp(1 << 24), "image/webp"), 413, "pixels"),
    # boxes: without area, outside, not finite, absurd, too few edges, no numbers
    (lambda: with_query("boxes=10,10,10,10"), 422, "x1 < x2"),
    (lambda: with_query("boxes=200,10,220,40"), 422, "outside the 96x64 picture"),
    (lambda: with_query("boxes=nan,0,10,10"), 422, "finite"),
    (lambda: with_query("boxes=0,0,inf,10"), 422, "finite"),
    (lambda: with_query("boxes=0,0,1e9,10"), 422, "1000000"),
    (lambda: with_query("boxes=0,0,10"), 422, "boxes.0"),
    (lambda: with_query("boxes=a,b,c,d"), 422, "x1,y1,x2,y2"),
    # options that do not exist are not ignored
    (lambda: with_query("treshold=0.5"), 422, "detection_threshold"),
    (lambda: with_query("camera_id="), 422, "camera_id"),
    (lambda: with_query("camera_id=a%20b"), 422, "camera_id"),
    (lambda: with_query("timestamp=12"), 422, "camera_id"),
    (lambda: with_query("camera_id=7&timestamp=nan"), 422, "timestamp"),
    (lambda: with_query("camera_id=7&boxes=0,0,50,50"), 422, "boxes"),
    # values that are not allowed
    (lambda: with_query("detection_threshold=2"), 422, "detection_threshold"),
    (lambda: with_query("detection_threshold=nan"), 422, "detection_threshold"),
    (lambda: with_query("max_people=many"), 422, "max_people"),
    (lambda: with_query("detector_size=333"), 422, "multiple of 32"),
    (lambda: with_query("format=xml"), 422, "format"),
    (lambda: with_query("max_people=1&max_people=2"), 422, "max_people"),
    # no such model, and one that is no pose model
    (lambda: with_query("pose_model=nope"), 422, "lowres_pose"),
    (lambda: with_query("pose_model=person_detector"), 422, "not a pose model"),
    # JSON that is not ours
    (lambda: raw(b"{", "application/json"), 422, "JSON"),
    (lambda: in_json({}), 422, "image"),
    (lambda: in_json({"image": {"type": "url", "value": "http://camera"}}), 422, "base64"),
    (lambda: in_json({"image": {"type": "base64", "value": "***"}}), 422, "base64"),
    (
        lambda: in_json(
            {"image": {"type": "base64", "value": f"data:image/jpeg;base64,{IN_BASE64}"}}
        ),
        422,
        "data: prefix",
    ),
    (
        lambda: in_json({"image": {"type": "base64", "value": IN_BASE64}, "max_people": 1}),
        422,
        "max_people",
    ),
    (lambda: in_json({"image": {"type": "base64", "value": ""}}), 400, "0 bytes"),
    # multipart without the picture, with more than it, with text for it, and cut off
    (lambda: multipart(files={"photo": ("a.jpg", JPEG)}), 422, "'file'"),
    (lambda: multipart(files={"file": ("a.jpg", JPEG)}, data={"max_people": "1"}), 422, "query"),
    (lambda: multipart(files={"file": (None, "text")}), 422, "filename"),
    (lambda: raw(b"--x\r\n", "multipart/form-data; boundary=x"), 422, "multipart"),
    (lambda: raw(JPEG, "multipart/form-data"), 422, "boundary"),
    (lambda: multipart(files={"file": ("a.jpg", b"")}), 400, "0 bytes"),
]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    REFUSED,
    ids=[f"{status}-{words}" for _, status, words in REFUSED],
)
def test_refused_requests_say_what_is_wrong_and_the_service_goes_on(
    client: TestClient, request_: Callable[[], dict[str, Any]], status: int, words: str
):
    response = client.post(**request_())
    check_problem(response, status)
    assert words in response.json()["detail"]
    assert client.get("/health/ready").status_code == 200


def check_problem(response: Any, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "id"}
    assert problem["status"] == status
    assert problem["id"] == response.headers["X-Request-ID"]
    assert problem["detail"].endswith(".")
    for inside in INSIDE:
        assert inside not in response.text
        assert inside not in str(response.headers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/stream", 404),  # without an upgrade
        ("GET", "/models/", 404),  # no redirection to an address that the caller chose
        ("GET", "/static-offline-docs/../../../../etc/passwd", 404),
        ("GET", "/static-offline-docs/%2e%2e/%2e%2e/core.py", 404),
        ("GET", "/page/..%2fsettings.py", 404),
        ("GET", "/pose", 405),
        ("DELETE", "/pose", 405),
        ("TRACE", "/health/live", 405),
        ("POST", "/models", 405),
    ],
)
def test_unknown_addresses_and_methods_are_problems(
    client: TestClient, method: str, path: str, status: int
):
    response = client.request(method, path)
    check_problem(response, status)
    assert response.json()["type"] == "about:blank"
    if status == 405:
        assert response.headers["Allow"] in response.json()["detail"]


def test_addresses_of_pictures_are_not_fetched(client: TestClient):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.jpg"
        for request in (
            in_json({"image": {"type": "url", "value": address}}),
            in_json({"image": {"type": "base64", "value": address}}),
            in_json({"image": address}),
            in_json({"url": address}),
            raw(address.encode()),
            raw(f"file://{__file__}".encode()),
            raw(JPEG, f"message/external-body; access-type=URL; URL={address}"),
            multipart(files={"file": ("a.jpg", address.encode())}),
            with_query(f"image={address}"),
        ):
            response = client.post(**request)
            assert response.status_code in (400, 415, 422)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_unsupported_types_are_answered_with_the_supported_ones(client: TestClient):
    response = client.post(**raw(JPEG, "text/plain"))
    assert "image/webp" in response.headers["Accept"]


@pytest.mark.parametrize(
    "failure", [EngineError("lowres_pose failed: /srv/models"), ZeroDivisionError("secret")]
)
def test_a_failing_model_is_a_500_that_tells_nothing_of_the_inside(
    client: TestClient, recording: RecordingEngine, failure: Exception, small_jpeg: bytes
):
    recording.failure = failure
    try:
        response = client.post(**raw(small_jpeg))
    finally:
        recording.failure = None
    check_problem(response, 500)
    for inside in ("srv", "secret", "Traceback", "lowres_pose"):
        assert inside not in response.text
    assert client.post(**raw(small_jpeg)).status_code == 200


def test_an_application_without_its_models_is_not_ready(settings: Settings):
    waiting = TestClient(create_app(settings))  # its lifespan is not started
    for response in (
        waiting.get("/health/ready"),
        waiting.get("/models"),
        waiting.post(**raw(JPEG)),
    ):
        check_problem(response, 503)
        assert response.headers["Retry-After"] == "1"
    assert waiting.get("/health/live").status_code == 200


def test_every_problem_of_pose_is_documented(app: FastAPI):
    responses = app.openapi()["paths"]["/pose"]["post"]["responses"]
    assert {"400", "413", "415", "422", "500", "503"} <= responses.keys()
    for status in ("400", "413", "415", "422", "500", "503"):
        assert list(responses[status]["content"]) == ["application/problem+json"]
