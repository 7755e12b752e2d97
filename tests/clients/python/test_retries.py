"""What is tried again, when, and for how long: the real service, frozen or limited, and peers."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from farpose_client import (
    NO_RETRIES,
    Backoff,
    BadImageError,
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
    OverloadedError,
    RateLimitedError,
    ServiceFailedError,
    ServiceUnavailableError,
    StaleFrameError,
    TooLargeError,
    UnexpectedAnswerError,
)
from farpose_client.backoff import retry_after_of
from tests.clients.python.conftest import AT_ONCE, KEY, Call, Mortal, Peer, answer
from tests.service import Service

GOOD = json.dumps(
    {
        "id": "1",
        "image": {"width": 2, "height": 1, "depth": 3},
        "models": {},
        "keypoint_names": [],
        "people": [],
        "timing_ms": {},
        "newer": True,
    }
)
QUICK = Backoff(attempts=5, first=0.01, most=0.02)


def problem(status: int, name: str, **headers: str) -> bytes:
    said = {"type": f"urn:farpose:problem:{name}", "title": "T", "status": status, "detail": "D."}
    return answer(status, json.dumps(said), "application/problem+json", **headers)


def test_a_service_that_is_away_is_named(picture: Path, call: Call):
    with Peer() as peer:
        url = peer.url
    start = time.monotonic()
    with pytest.raises(ConnectionFailedError, match=f"{url} cannot be reached") as caught:
        call(url, "pose", picture, retries=QUICK)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.problem is None
    with pytest.raises(ConnectionFailedError):
        call(url, "pose", picture, client={"deadline": 0.4}, retries=Backoff(attempts=None))
    assert time.monotonic() - start < 1.5
    health = call(url, "health")
    assert (health.live, health.ready) == (False, False)
    assert url in health.detail
    with pytest.raises(ServiceUnavailableError, match=r"Not ready after 0\.1 s"):
        call(url, "wait_until_ready", 0.1)


@pytest.mark.parametrize("where", ["client", "call"])
def test_a_service_that_hangs_has_until_the_deadline(
    service: Mortal, picture: Path, call: Call, where: str
):
    limits = {"client": {"deadline": 0.3}} if where == "client" else {"deadline": 0.3}
    service.freeze()
    try:
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            call(service.url, "pose", picture, **limits)
        assert 0.25 < time.monotonic() - start < 1
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(DeadlineExceededError):
            call(service.url, "pose", picture, timeout=0.05, retries=NO_RETRIES)
    finally:
        service.thaw()


def test_the_service_keeps_to_the_deadline_too(call: Call):
    late = problem(504, "deadline", Retry_After="0")
    with Peer(late, late, answer(200, GOOD)) as peer:
        call(peer.url, "pose", b"x", client={"deadline": 5}, retries=Backoff(first=0.1))
        given = [int(value) for value in peer.header("X-Deadline-Ms")]
    assert 4000 < given[0] <= 5000
    assert given[0] - 50 >= given[1] >= given[2] + 100
    with Peer(answer(200, GOOD)) as peer:
        call(peer.url, "pose", b"x", client={"deadline": None}, timeout=7)
        assert 6900 < int(peer.header("X-Deadline-Ms")[0]) <= 7000


def test_a_rate_is_kept_to_by_waiting(guarded: Service, call: Call):
    """What is no picture counts too, and is answered at once."""

    def kinds(**settings: Any) -> list[FarposeError]:
        sent = [b"none"] * (AT_ONCE + 2)
        own = {"api_key": KEY, "concurrency": 1, "errors": "yield", **settings}
        return call(guarded.url, "pose_many", sent, **own)

    assert {type(error) for error in kinds()} == {BadImageError}
    refused = kinds(retries=NO_RETRIES)[-1]
    assert isinstance(refused, RateLimitedError)
    assert isinstance(refused, OverloadedError)
    assert refused.retry_after >= 1
    assert refused.type == "urn:farpose:problem:too-many-pictures"
    # To wait would outlast the deadline.
    assert isinstance(kinds(client={"deadline": 0.9})[-1], RateLimitedError)


def test_retry_after_is_waited_for_in_seconds_or_until_a_date(call: Call):
    now = datetime.now(UTC) - timedelta(hours=1)  # the clocks do not agree
    dates = {
        "Date": format_datetime(now),
        "Retry_After": format_datetime(now + timedelta(seconds=1)),
    }
    busy = problem(503, "overloaded", Retry_After="1")
    with Peer(busy, problem(503, "overloaded", **dates), answer(200, GOOD)) as peer:
        start = time.monotonic()
        assert call(peer.url, "pose", b"x", retries=QUICK).people == ()
        assert 2 <= time.monotonic() - start < 4
        assert len(peer.heads) == 3


def test_a_wait_never_outlasts_the_deadline(call: Call):
    with Peer(problem(503, "overloaded", Retry_After="60")) as peer:
        start = time.monotonic()
        with pytest.raises(OverloadedError) as caught:
            call(peer.url, "pose", b"x", client={"deadline": 5})
        assert time.monotonic() - start < 1
        assert caught.value.retry_after == 60
        assert len(peer.heads) == 1


@pytest.mark.parametrize(
    ("first", "error", "camera", "timestamp", "tries"),
    [
        # A picture by itself may always be sent again.
        (None, ConnectionFailedError, False, False, 5),
        (problem(503, "overloaded"), OverloadedError, False, False, 5),
        (problem(503, "not-ready"), ServiceUnavailableError, False, False, 5),
        (problem(504, "deadline"), DeadlineExceededError, False, False, 5),
        (answer(502, "<html>", "text/html"), ServiceUnavailableError, False, False, 5),
        # Nothing would change.
        (problem(500, "internal"), ServiceFailedError, False, False, 1),
        (problem(507, "from-the-future"), ServiceFailedError, False, False, 1),
        (problem(413, "too-large"), TooLargeError, False, False, 1),
        (problem(409, "superseded"), StaleFrameError, False, False, 1),
        # The service may have seen the camera's picture.
        (None, ConnectionFailedError, True, True, 1),
        (problem(504, "deadline"), DeadlineExceededError, True, True, 1),
        (answer(502, "<html>", "text/html"), ServiceUnavailableError, True, True, 1),
        # It has surely not, and knows when it was taken.
        (problem(503, "overloaded"), OverloadedError, True, True, 5),
        (problem(429, "too-many-pictures"), RateLimitedError, True, True, 5),
        # It would count as taken when it arrives.
        (problem(503, "overloaded"), OverloadedError, True, False, 1),
    ],
)
def test_what_is_tried_again(
    call: Call,
    first: bytes | None,
    error: type[FarposeError],
    camera: bool,
    timestamp: bool,
    tries: int,
):
    options: dict[str, Any] = {"camera_id": "gate"} if camera else {}
    options |= {"timestamp": 3.5} if timestamp else {}
    with Peer(first) as peer:
        with pytest.raises(error):
            call(peer.url, "pose", b"x", retries=QUICK, **options)
        assert len(peer.heads) == tries


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(200, "<html>", "text/html"), "of a version that goes with"),
        (answer(200, GOOD.replace("people", "persons")), "people"),
        (answer(200, b"\xff\xfe", "application/json"), "not one that this client understands"),
        (
            answer(200, GOOD.replace('"people": []', '"people": [{"score": 1, "box": [0, 0, 1, 1], '
                                     '"model": "m", "keypoints": [[1, 2, 3]]}]')),
            "1 keypoints, but 0",
        ),
        (answer(404, "<html>", "text/html"), "is the address right"),
        (problem(404, "x"), "is the address right"),
        (answer(405), "answers 405"),
        (answer(200, "[" * 100_000), "not one that this client understands"),
        (answer(200, b""), "not one that this client understands"),
        (answer(301, Location="https://there/pose"), "sends callers on to https://there/pose"),
        (answer(400, "{", "application/problem+json"), "answers 400"),
        (answer(418, '{"status": 200}', "application/problem+json"), "answers 418"),
    ],
)  # fmt: skip
def test_what_is_no_farpose_service_is_said_at_once(call: Call, said: bytes, words: str):
    with Peer(said) as peer:
        with pytest.raises(UnexpectedAnswerError, match=words):
            call(peer.url, "pose", b"x")
        assert len(peer.heads) == 1
        with pytest.raises(UnexpectedAnswerError):
            call(peer.url, "health")


@pytest.mark.parametrize(
    "said", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_an_answer_that_is_cut_off_is_a_lost_connection(call: Call, said: bytes):
    with Peer(said) as peer:
        with pytest.raises(ConnectionFailedError, match="hung up"):
            call(peer.url, "pose", b"x", retries=QUICK)
        assert len(peer.heads) == 5


def test_an_answer_that_drips_in_has_until_the_deadline(call: Call):
    class Dripping(Peer):
        def _answer(self, connection: Any) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
            try:
                while not self._end.wait(0.05):
                    connection.sendall(b" ")
            except OSError:
                pass  # it has been hung up on

    with Dripping() as peer:
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            call(peer.url, "pose", b"x", client={"deadline": 0.3})
        assert time.monotonic() - start < 1
        peer._end.set()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
          "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0),  # long ago
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:30 GMT"}, None),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert retry_after_of(headers) == seconds


def test_pauses_double_with_jitter_up_to_a_limit():
    backoff = Backoff(attempts=None, first=1, most=8)
    for tried, longest in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (5000, 8)]:
        pauses = [backoff.pause(tried) for _ in range(100)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
    assert all(20 <= backoff.pause(1, retry_after=20) <= 20.1 for _ in range(100))
    assert not backoff.gives_up(10**9)
    assert Backoff(attempts=2).gives_up(2) and not Backoff(attempts=2).gives_up(1)
    for wrong in ({"attempts": 0}, {"first": 0}, {"first": 2, "most": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Backoff(**wrong)


def test_a_client_serves_many_threads(service: Service, picture: Path):
    from farpose_client import Client

    barrier = threading.Barrier(4)
    with Client(service.url) as client, ThreadPoolExecutor(4) as pool:

        def one(_: int) -> int:
            barrier.wait(10)
            return len(client.pose(picture, detector_size=320).people)

        assert len(set(pool.map(one, range(4)))) == 1
