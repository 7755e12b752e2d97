"""Streams of both clients, against the real service and against peers that are none."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from farpose_client import (
    AsyncClient,
    Backoff,
    BadImageError,
    Client,
    ConnectionFailedError,
    DeadlineExceededError,
    FarposeError,
    InvalidOptionsError,
    OverloadedError,
    TooLargeError,
    UnauthorizedError,
    UnexpectedAnswerError,
)
from farpose_client.stream_book import FOR_EVER, StreamBook
from tests.clients.python.conftest import KEY, MAX_BODY_BYTES, Mortal, Peer, answer
from tests.service import Service

SECONDS = 30

Does = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def camera(request: pytest.FixtureRequest) -> Does:
    """Does things with a stream, one after another, and returns what they gave or raised.

    `camera(url, [("send", jpeg), ("receive",)], reconnect=True, max_people=3)`
    """

    def sync(url: str, steps: Any, api_key: str | None = None, **options: Any) -> list[Any]:
        with Client(url, api_key=api_key) as client, client.stream(**options) as stream:
            return [attempt(stream, step) for step in steps]

    def attempt(stream: Any, step: Any) -> Any:
        try:
            return getattr(stream, step[0])(*step[1:-1], **step[-1])
        except FarposeError as error:
            return error

    def asynchronous(url: str, steps: Any, api_key: str | None = None, **options: Any) -> list[Any]:
        async def run() -> list[Any]:
            found = []
            async with (
                AsyncClient(url, api_key=api_key) as client,
                client.stream(**options) as stream,
            ):
                for step in steps:
                    try:
                        found.append(await getattr(stream, step[0])(*step[1:-1], **step[-1]))
                    except FarposeError as error:
                        found.append(error)
            return found

        return asyncio.run(run())

    return sync if request.param == "sync" else asynchronous


def send(picture: Any, **more: Any) -> tuple[Any, ...]:
    return ("send", picture, more)


RECEIVE = ("receive", SECONDS, {})


def test_people_keep_their_ids_and_options_may_change(
    service: Service, picture: Path, camera: Does
):
    steps = []
    for i in range(3):
        steps += [send(picture, timestamp=10 + i / 10), RECEIVE]
    steps += [("change", {"max_people": 1}), send(picture, timestamp=10.3), RECEIVE]
    done = camera(service.url, steps, detector_size=416)
    assert [done[i] for i in (0, 2, 4, 7)] == [0, 1, 2, 3]
    replies = [done[i] for i in (1, 3, 5, 8)]
    assert [reply.frame for reply in replies] == [0, 1, 2, 3]
    assert [reply.dropped for reply in replies] == [0, 0, 0, 0]
    assert [len(reply.people) for reply in replies] == [2, 2, 2, 1]  # 3 at 640
    ids = [{person.track_id for person in reply.people} for reply in replies]
    assert None not in ids[1]
    assert ids[1] == ids[2] >= ids[3]
    assert replies[0].frame_age_ms > 0


def test_what_is_wrong_with_a_picture_is_told_with_its_number(
    service: Service, picture: Path, camera: Does
):
    steps = [send(b"none"), RECEIVE, send(picture), RECEIVE]
    _, error, number, reply = camera(service.url, steps)
    assert isinstance(error, BadImageError)
    assert (error.frame, error.status, number, reply.frame) == (0, 400, 1, 1)
    assert error.request_id.endswith("-0")


def test_a_picture_that_is_too_large_costs_the_connection_and_not_the_camera(
    service: Service, picture: Path, camera: Does
):
    steps = [
        send(picture),
        RECEIVE,
        send(bytes(MAX_BODY_BYTES + 1)),
        RECEIVE,
        send(picture),
        RECEIVE,
    ]
    _, first, _, error, _, last = camera(service.url, steps, reconnect=True)
    assert isinstance(error, TooLargeError)
    assert error.frame == 1
    assert [(reply.frame, reply.connection) for reply in (first, last)] == [(0, 0), (2, 1)]
    done = camera(service.url, [*steps[2:4], send(picture)])
    assert [type(error) for error in done[1:]] == [TooLargeError, TooLargeError]
    assert [error.frame for error in done[1:]] == [None, None]  # the stream has ended


@pytest.mark.parametrize("reconnect", [False, True])
@pytest.mark.parametrize(
    ("key", "options", "error"),
    [
        ("fp_wrong", {}, UnauthorizedError),
        (None, {}, UnauthorizedError),
        (KEY, {"max_people": 0}, InvalidOptionsError),
    ],
)
def test_a_stream_that_is_refused_says_why(
    guarded: Service,
    picture: Path,
    camera: Does,
    key: str | None,
    options: Any,
    error: type[FarposeError],
    reconnect: bool,
):
    # Without a key the service waits for a first message with one.
    steps = [*([send(picture)] if key is None else []), RECEIVE, RECEIVE, send(picture)]
    done = camera(guarded.url, steps, api_key=key, reconnect=reconnect, **options)
    assert [type(e) for e in done[-3:]] == [error, error, error]
    assert done[-1].status in (401, 422)


def test_an_option_that_is_not_there_is_refused_before_anything_is_sent():
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidOptionsError, match="max_people"):
            kind("http://127.0.0.1:9").stream(max_peple=3)
        with pytest.raises(InvalidOptionsError, match="boxes"):
            kind("http://127.0.0.1:9").stream(boxes=[])


def test_a_changed_option_that_is_not_allowed_is_told(
    service: Service, picture: Path, camera: Does
):
    steps = [("change", {"max_people": 0}), RECEIVE, send(picture), RECEIVE]
    _, error, _, reply = camera(service.url, steps)
    assert isinstance(error, InvalidOptionsError)
    assert (error.frame, reply.frame) == (None, 0)


def test_a_reply_is_not_waited_for_longer_than_asked(service: Service, camera: Does):
    start = time.monotonic()
    (error,) = camera(service.url, [("receive", 0.2, {})])
    assert isinstance(error, DeadlineExceededError)
    assert error.problem is None
    assert 0.2 <= time.monotonic() - start < 2


def test_a_camera_that_is_faster_than_the_service_loses_pictures_and_no_time(
    service: Service, picture: Path
):
    content = picture.read_bytes()
    sent = 30

    async def run() -> list[Any]:
        async with AsyncClient(service.url) as client, client.stream() as stream:

            async def read() -> list[Any]:
                found = []
                async for reply in stream.replies(errors="yield"):
                    found.append(reply)
                    if reply.frame == sent:
                        break
                return found

            reading = asyncio.create_task(read())
            for _ in range(sent):
                await stream.send(content)
            await stream.send(b"none")
            return await asyncio.wait_for(reading, SECONDS)

    *replies, error = asyncio.run(run())
    assert isinstance(error, BadImageError)
    frames = [reply.frame for reply in replies]
    assert frames == sorted(set(frames))
    assert len(frames) < sent
    assert 0 < sum(reply.dropped for reply in replies) <= sent + 1 - len(frames)


def test_a_stream_ends_its_loop_when_it_is_closed(service: Service, picture: Path):
    async def run() -> int:
        async with AsyncClient(service.url) as client:
            stream = client.stream()
            with pytest.raises(RuntimeError, match="enter the stream"):
                await stream.receive()
            async with stream:
                await stream.send(picture)
                seen = 0
                async for _ in stream:
                    seen += 1
                    asyncio.get_running_loop().call_soon(asyncio.create_task, stream.close())
            with pytest.raises(ConnectionFailedError, match="closed"):
                await stream.send(picture)
            return seen

    assert asyncio.run(run()) == 1
    with Client(service.url) as client, client.stream() as stream:
        stream.send(picture)
        closing = threading.Timer(0.5, stream.close)
        seen = 0
        for _ in stream:
            seen += 1
            closing.start()
        closing.join()
        assert seen == 1


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (None, ConnectionFailedError, "hung up before it answered"),
        (answer(200, "<html>", "text/html"), UnexpectedAnswerError, "answers 200"),
        (answer(404, "<html>", "text/html"), UnexpectedAnswerError, "is the address right"),
        (b"nothing of the sort\r\n\r\n", UnexpectedAnswerError, "does not open a stream"),
        (
            answer(503, json.dumps({"type": "urn:farpose:problem:overloaded", "status": 503,
                                    "detail": "Too many connections."}),
                   "application/problem+json", Retry_After="1"),
            OverloadedError,
            "Too many connections",
        ),
    ],
)  # fmt: skip
def test_what_opens_no_stream(
    camera: Does, said: bytes | None, error: type[FarposeError], words: str
):
    with Peer(said) as peer:
        with pytest.raises(error, match=words):
            camera(peer.url, [])
        again = Backoff(attempts=2, first=0.01)
        with pytest.raises(error, match=words):
            camera(peer.url, [], reconnect=again)
        assert len(peer.heads) == 2 + error.retryable


def test_a_service_that_is_away_is_named_or_waited_for(camera: Does):
    with Peer() as peer:
        url = peer.url
    with pytest.raises(ConnectionFailedError, match=url):
        camera(url, [])
    with pytest.raises(ConnectionFailedError, match=url):
        camera(url, [], reconnect=Backoff(attempts=3, first=0.01))


def test_whoever_waits_for_a_service_can_be_told_to_stop(service: Mortal):
    with Peer() as peer:
        url = peer.url
    stream = Client(url).stream(reconnect=Backoff(attempts=None, first=5))
    with ThreadPoolExecutor(1) as pool:
        entering = pool.submit(stream.__enter__)
        time.sleep(0.2)
        stream.close()
        with pytest.raises(ConnectionFailedError, match="closed"):
            entering.result(3)

    async def run() -> None:
        async with AsyncClient(url) as client:
            stream = client.stream(reconnect=Backoff(attempts=None, first=5))
            entering = asyncio.create_task(stream.__aenter__())
            await asyncio.sleep(0.2)
            await stream.close()
            with pytest.raises(ConnectionFailedError, match="closed"):
                await asyncio.wait_for(entering, 3)

    asyncio.run(run())


def reply(frame: int, dropped: int = 0) -> str:
    return json.dumps(
        {
            "id": "1", "image": {"width": 1, "height": 1}, "models": {}, "keypoint_names": [],
            "people": [], "timing_ms": {}, "frame": frame, "dropped": dropped, "frame_age_ms": 1,
        }
    )  # fmt: skip


def test_pictures_are_numbered_over_all_connections():
    book = StreamBook("http://there", FOR_EVER)
    assert book.opened() is None
    for _ in range(4):
        book.goes_out(book.sent(b"x", None))
    first = book.read(reply(1, dropped=1), 1)
    assert (first.frame, first.dropped, first.connection) == (1, 1, 0)

    again = book.opened()  # 2 is lost, 3 is sent again
    assert (again.number, again.content) == (3, b"x")
    book.goes_out(again)
    assert book.read(reply(2), 1) is None  # of the connection before
    book.goes_out(book.sent(b"y", 2.5))
    second, third = book.read(reply(0), 2), book.read(reply(1), 2)
    assert [(r.frame, r.dropped, r.connection) for r in (second, third)] == [(3, 1, 1), (4, 0, 1)]

    assert book.opened() is None  # everything has its reply
    unsent = book.sent(b"z", None)
    assert book.opened() is unsent
    book.goes_out(unsent)
    assert book.read(reply(0), 4).dropped == 0


def test_a_picture_that_ends_two_connections_is_let_go():
    book = StreamBook("http://there", FOR_EVER)
    book.opened()
    picture = book.sent(b"x", None)
    book.goes_out(picture)
    lost = ConnectionClosedError(None, None)
    assert book.ended(lost).frame is None
    assert book.opened() is picture
    book.goes_out(picture)
    error = book.ended(lost)
    assert (type(error), error.frame) == (ConnectionFailedError, 0)
    assert book.pause(error) > 0
    assert book.opened() is None


def test_a_refused_text_does_not_end_the_stream_when_the_connection_ends_later():
    book = StreamBook("http://there", FOR_EVER)
    book.opened()
    text = {"type": "urn:farpose:problem:invalid-request", "status": 422, "detail": "max_people"}
    refused = book.read(json.dumps(text), 1)
    assert (type(refused), refused.frame) == (InvalidOptionsError, None)
    closed = [ConnectionClosedError(Close(code, ""), None) for code in (1012, 1008)]
    assert isinstance(book.ended(closed[0]), ConnectionFailedError)
    assert book.ended(closed[1]) is refused  # it was the stream that was refused


def test_connections_that_have_lasted_do_not_count_as_tries(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("farpose_client.stream_book.time.monotonic", lambda: now)
    book = StreamBook("http://there", Backoff(attempts=2, most=10))
    lost = ConnectionFailedError("lost")
    for _ in range(5):
        book.opened()
        now += 11
        assert book.pause(lost) > 0
    book.opened()
    now += 9
    with pytest.raises(ConnectionFailedError):
        book.pause(lost)
