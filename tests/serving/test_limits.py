"""Rates, deadlines, the queue, and the headers of every answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from farpose.drawing import draw_people
from farpose.engine import EngineError
from farpose_serving import pose
from farpose_serving.access import address
from farpose_serving.app import create_app
from farpose_serving.problems import ProblemError
from farpose_serving.rates import Rates
from farpose_serving.settings import Settings
from tests.serving.cameras.conftest import GatedEngine
from tests.serving.conftest import RecordingEngine
from tests.serving.encoded import encode, gradient

WIDE = encode(gradient(96, 64), ".jpg")


@contextmanager
def client_of(engine: object, repository: Path, **settings: object) -> Iterator[TestClient]:
    app = create_app(Settings(repository=repository, **settings), engine=engine)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, query: str = "", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        f"/pose{query}", content=WIDE, headers={"Content-Type": "image/jpeg", **named}
    )


def test_more_pictures_than_the_rate_allows_are_refused_until_it_allows_them(
    repository: Path, recording: RecordingEngine
):
    with client_of(recording, repository, rate_limit="3/second") as client:
        statuses = [post(client).status_code for _ in range(8)]
        assert statuses[:3] == [200, 200, 200]
        assert statuses.count(429) >= 3
        refused = next(r for r in (post(client) for _ in range(20)) if r.status_code == 429)
        assert refused.json()["type"] == "urn:farpose:problem:too-many-pictures"
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 2
        assert client.get("/models").status_code == 200  # no picture
        time.sleep(wait + 1)
        assert post(client).status_code == 200


def test_an_answer_tells_what_is_left_of_the_rate(repository: Path, recording: RecordingEngine):
    with client_of(recording, repository, rate_limit="3/hour") as client:
        answers = [post(client, query) for query in ("", "?format=image", "?max_people=-1", "")]
        assert [answer.status_code for answer in answers] == [200, 200, 422, 429]
        for left, answer in zip((2, 1, 0, 0), answers, strict=True):
            assert answer.headers["RateLimit-Policy"] == '"pictures";q=3;w=3600'
            name, remaining, reset = answer.headers["RateLimit"].split(";")
            assert (name, remaining) == ('"pictures"', f"r={left}")
            assert 1 <= int(reset.removeprefix("t=")) <= 7200
        assert "RateLimit" not in client.get("/models").headers
    with client_of(recording, repository) as client:
        assert "RateLimit" not in post(client).headers


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),  # one machine may take any of its /64
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # IPv4 on a socket of IPv6
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_counted_by_what_one_machine_can_have(host: str, counted: str):
    assert address(HTTPConnection({"type": "http", "client": (host, 5000)})) == counted


def test_pictures_of_a_stream_count_too(repository: Path, recording: RecordingEngine):
    with client_of(recording, repository, rate_limit="2/hour") as client:
        with client.websocket_connect("/stream") as camera:
            statuses = []
            for _ in range(4):
                camera.send_bytes(WIDE)
                statuses.append(camera.receive_json().get("status"))
        assert statuses == [None, None, 429, 429]
        assert post(client).status_code == 429


def test_callers_are_counted_apart_and_forgotten():
    rates = Rates("1/second")
    for i in range(3000):
        rates.count(f"10.0.{i // 256}.{i % 256}")

    def twice() -> None:
        for _ in range(100):  # at least two of them within a second
            rates.count("10.0.11.183")

    with pytest.raises(ProblemError):
        twice()
    storage = rates._limiter.storage
    end = time.monotonic() + 15
    while len(storage.storage) > 10 and time.monotonic() < end:
        time.sleep(0.5)
        rates.count(str(time.monotonic()))
    assert len(storage.storage) <= 10
    assert len(storage.expirations) <= 10


@pytest.mark.parametrize("rate", ["many", "0.5", "second", ""])
def test_what_is_no_rate_is_refused_by_name(rate: str):
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit=rate)


@pytest.mark.parametrize(
    ("asked", "status"),
    [("1", 504), ("60000", 200), ("0", 422), ("-5", 422), ("1.5", 422), ("soon", 422), ("", 422)],
)
def test_a_caller_may_shorten_the_deadline(
    repository: Path, recording: RecordingEngine, asked: str, status: int
):
    class Slow(GatedEngine):
        async def infer(self, model, inputs):
            await asyncio.sleep(0.05)
            return await self.inner.infer(model, inputs)

    with client_of(Slow(recording), repository) as client:
        answer = post(client, X_Deadline_Ms=asked)
        assert answer.status_code == status
        if status == 504:
            assert answer.headers["Retry-After"] == "1"
        if status == 422:
            assert "X-Deadline-Ms" in answer.json()["detail"]


def test_a_caller_cannot_lengthen_the_deadline(repository: Path, recording: RecordingEngine):
    gated = GatedEngine(recording)
    with client_of(gated, repository, deadline_ms=300) as client:
        gated.close_for(640)
        start = time.monotonic()
        assert post(client, X_Deadline_Ms="60000").status_code == 504
        assert time.monotonic() - start < 5
        gated.open()
        assert post(client).status_code == 200


def test_drawing_has_its_turn_its_place_and_its_deadline(
    repository: Path, recording: RecordingEngine, monkeypatch: pytest.MonkeyPatch
):
    drawing, gate = threading.Event(), threading.Event()

    def draw(*arguments: Any) -> Any:
        drawing.set()
        gate.wait(10)
        return draw_people(*arguments)

    monkeypatch.setattr(pose, "draw_people", draw)
    with client_of(recording, repository) as client, ThreadPoolExecutor(1) as pool:
        admission = client.app.state.service.admission
        drawn = pool.submit(post, client, "?format=image")
        assert drawing.wait(10)
        assert (admission.places, admission.running) == (1, 1)
        gate.set()
        assert drawn.result(10).status_code == 200
        assert (admission.places, admission.running) == (0, 0)
        gate.clear()
        assert post(client, "?format=image", X_Deadline_Ms="500").status_code == 504
        gate.set()


def test_a_full_queue_refuses_before_it_reads(repository: Path, recording: RecordingEngine):
    gated = GatedEngine(recording)
    with client_of(gated, repository, max_running=1, max_waiting=2) as client:
        gated.close_for(640)
        admission = client.app.state.service.admission
        with ThreadPoolExecutor(3) as pool:
            first = [pool.submit(post, client) for _ in range(3)]
            end = time.monotonic() + 10
            while admission.places < 3 and time.monotonic() < end:
                time.sleep(0.01)
            read = False

            def body() -> Iterator[bytes]:
                nonlocal read
                read = True
                yield WIDE

            refused = client.post("/pose", content=body(), headers={"Content-Type": "image/jpeg"})
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:farpose:problem:overloaded"
            assert refused.headers["Retry-After"] == "1"
            assert client.get("/health/live").status_code == 200
            gated.open()
            assert [f.result(30).status_code for f in first] == [200, 200, 200]
        assert post(client).status_code == 200


def check_kept_from_caches_and_frames(headers: Mapping[str, str]) -> None:
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/models", "/health/live", "/nowhere", "/docs"])
def test_every_answer_is_kept_from_caches_and_frames(client: TestClient, path: str):
    check_kept_from_caches_and_frames(client.get(path).headers)


def test_failures_and_what_browsers_ask_beforehand_have_the_headers_of_every_answer(
    repository: Path, recording: RecordingEngine
):
    origin = "https://there.example"
    with client_of(recording, repository, cors_origins=(origin,), rate_limit="9/hour") as client:
        recording.failure = EngineError("broken")
        try:
            failed = post(client, Origin=origin)
        finally:
            recording.failure = None
        ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = client.options("/pose", headers=ask)
    assert (failed.status_code, preflight.status_code) == (500, 200)
    for answer in (failed, preflight):
        check_kept_from_caches_and_frames(answer.headers)
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["X-Request-ID"]
    assert "X-Request-ID" in failed.headers["Access-Control-Expose-Headers"]
    assert failed.headers["RateLimit"].startswith('"pictures";r=8')


def test_other_origins_are_let_in_only_where_they_are_named(
    client: TestClient, repository: Path, recording: RecordingEngine
):
    ask = {"Origin": "https://there.example", "Access-Control-Request-Method": "POST"}
    assert "Access-Control-Allow-Origin" not in client.options("/pose", headers=ask).headers
    named = client_of(recording, repository, cors_origins=("https://there.example",))
    with named as open_client:
        preflight = open_client.options(
            "/pose", headers={**ask, "Access-Control-Request-Headers": "X-API-Key"}
        )
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://there.example"
        other = open_client.options("/pose", headers={**ask, "Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
        problem = open_client.post("/pose", headers={"Origin": "https://there.example"})
        assert problem.headers["Access-Control-Allow-Origin"] == "https://there.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Origin": "http://testserver"}, 200),  # our own page
        ({"Origin": "https://named.example"}, 200),
        # our own page behind a proxy that changes the host; no script can set this header
        ({"Origin": "https://farpose.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_form_of_a_foreign_page_is_refused_though_browsers_send_it_unasked(
    repository: Path, recording: RecordingEngine, headers: dict[str, str], status: int
):
    with client_of(recording, repository, cors_origins=("https://named.example",)) as client:
        before = len(recording.calls)
        answer = client.post("/pose", files={"file": ("a.jpg", WIDE)}, headers=headers)
        assert answer.status_code == status
        assert (len(recording.calls) > before) is (status == 200)
        if status == 403:
            assert answer.json()["type"] == "urn:farpose:problem:foreign-origin"
