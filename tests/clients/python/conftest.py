"""Real services for the client, and peers that answer what a test tells them."""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from farpose_client import AsyncClient, Client
from farpose_serving.access import hashed, new_key
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.test_command import FARPOSE

KEY = new_key()

AT_ONCE = 3
"""Pictures that the service with keys allows in two seconds."""

MAX_BODY_BYTES = 1_000_000
"""Little enough to fit into the buffers of a connection, and more than the pictures here have."""

Call = Callable[..., Any]


class Mortal(Service):
    """A service that can be killed, frozen, and started again on its port."""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """It takes connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FARPOSE_MAX_BODY_BYTES", str(MAX_BODY_BYTES))
            super().__enter__()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.thaw()
            super().__exit__(*exception)


@pytest.fixture(scope="package")
def service() -> Iterator[Mortal]:
    """Without keys or rates. Whoever kills it starts it again."""
    with Mortal(FARPOSE, ROOT) as service:
        yield service


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With keys and a rate."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"gate:{hashed(KEY)}\n")
    service = Service(FARPOSE, ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FARPOSE_API_KEYS_FILE", str(path))
        patch.setenv("FARPOSE_RATE_LIMIT", f"{AT_ONCE}/2 second")
        service.__enter__()
    yield service
    service.__exit__()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a method of either client: `call(url, "pose", picture, retries=..., max_people=3)`.

    What the constructor knows goes there.
    """
    own = set(inspect.signature(Client).parameters)

    def split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        given.update(given.pop("client", {}))
        return (
            {k: v for k, v in given.items() if k in own},
            {k: v for k, v in given.items() if k not in own},
        )

    def sync(url: str, method: str, *arguments: Any, **given: Any) -> Any:
        settings, more = split(given)
        with Client(url, **settings) as client:
            found = getattr(client, method)(*arguments, **more)
            return list(found) if inspect.isgenerator(found) else found

    def asynchronous(url: str, method: str, *arguments: Any, **given: Any) -> Any:
        settings, more = split(given)

        async def run() -> Any:
            async with AsyncClient(url, **settings) as client:
                found = getattr(client, method)(*arguments, **more)
                return [r async for r in found] if inspect.isasyncgen(found) else await found

        return asyncio.run(run())

    return sync if request.param == "sync" else asynchronous


class Peer:
    """Something on a port that answers requests with prepared bytes, in order; the last one stays.

    Args:
        *answers: of each connection; None hangs up without one.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.heads: list[str] = []
        """Of the requests."""

        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join()
        self._socket.close()

    def header(self, name: str) -> list[str]:
        """What each request had under a name."""
        lines = [dict(li.split(": ", 1) for li in h.split("\r\n")[1:]) for h in self.heads]
        return [{k.lower(): v for k, v in line.items()}[name.lower()] for line in lines]

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if self._end.is_set():
                    return
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head, _, body = self._read(connection, b"", lambda got: b"\r\n\r\n" in got).partition(
            b"\r\n\r\n"
        )
        self.heads.append(head.decode())
        sizes = [li.split(": ")[1] for li in head.decode().split("\r\n") if "ength: " in li]
        self._read(connection, body, lambda got: len(got) >= int((sizes or ["0"])[0]))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is not None:
            connection.sendall(answer)

    @staticmethod
    def _read(connection: socket.socket, got: bytes, done: Callable[[bytes], bool]) -> bytes:
        while not done(got):
            piece = connection.recv(2**16)
            if not piece:
                return got
            got += piece
        return got


def answer(
    status: int, body: str | bytes = b"", media_type: str = "application/json", **headers: str
) -> bytes:
    """An HTTP answer for a `Peer`."""
    content = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {media_type}", "Connection: close"]
    lines += [f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@pytest.fixture(scope="session")
def picture(pictures: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG file with three people."""
    path = tmp_path_factory.mktemp("picture") / "street.jpg"
    path.write_bytes(pictures[5])
    return path
