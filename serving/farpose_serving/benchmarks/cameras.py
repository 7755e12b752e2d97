"""Cameras that send a frame, wait for the answer and send the next one."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import tritonclient.grpc as grpc

from farpose.remote_pipeline import PIPELINE

TIMEOUT_SECONDS = 60

Connect = Callable[[], AbstractContextManager[Callable[[bytes], int]]]
"""A camera's connection: it gives what sends a picture and counts its people."""


class AnswerError(RuntimeError):
    """A picture was not answered with people."""


@dataclass
class Window:
    """What cameras saw while they ran."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending a picture to its people."""

    people: int = 0


def run_cameras(
    connect: Connect, pictures: Sequence[bytes], cameras: int, seconds: float, warm_up: float
) -> Window:
    """Let cameras send pictures for a while.

    Args:
        connect: opens a connection.
        pictures: each camera begins at another one.
        cameras: that send at the same time.
        seconds: that are counted; answers that come later are not.
        warm_up: seconds before that, which are not counted.

    Raises:
        AnswerError: a picture was answered with an error.
    """
    window = Window(seconds)
    begin = time.perf_counter() + warm_up
    lock = threading.Lock()
    failures: list[Exception] = []

    def camera(number: int) -> None:
        index = number * len(pictures) // cameras
        try:
            with connect() as send:
                while not failures:
                    start = time.perf_counter()
                    people = send(pictures[index % len(pictures)])
                    end = time.perf_counter()
                    if end > begin + seconds:
                        return
                    if end > begin:
                        with lock:
                            window.latencies.append(end - start)
                            window.people += people
                    index += 1
        except Exception as error:  # noqa: BLE001 (raised below, in the caller's thread)
            failures.append(error)

    threads = [threading.Thread(target=camera, args=(i,)) for i in range(cameras)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise AnswerError(f"a camera failed: {failures[0]}") from failures[0]
    return window


def over_http(url: str) -> Connect:
    """Cameras that post to `/pose` of a service, each over a connection of its own."""
    address = urlsplit(url)

    @contextmanager
    def connect() -> Iterator[Callable[[bytes], int]]:
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=TIMEOUT_SECONDS
        )

        def send(picture: bytes) -> int:
            connection.request("POST", "/pose", picture, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            content = json.load(response)
            if response.status != http.client.OK:
                raise AnswerError(f"HTTP {response.status}: {content['detail']}")
            return len(content["people"])

        try:
            yield send
        finally:
            connection.close()

    return connect


def over_grpc(url: str) -> Connect:
    """Cameras that call `pose_pipeline` of a Triton server, each over a channel of its own."""

    @contextmanager
    def connect() -> Iterator[Callable[[bytes], int]]:
        # Without this, clients of one process share a connection.
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.InferenceServerClient(url, channel_args=own) as client:

            def send(picture: bytes) -> int:
                image = grpc.InferInput("image", [1], "BYTES")
                image.set_data_from_numpy(np.array([picture], object))
                result = client.infer(PIPELINE, [image], client_timeout=TIMEOUT_SECONDS)
                return len(result.as_numpy("scores"))

            yield send

    return connect
