"""Cameras on loopback that can be cut off, frozen and brought back, and some that are none."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import av
import numpy as np

SIZE = 160, 120
RATE = 15


def grey(level: int) -> av.VideoFrame:
    width, height = SIZE
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24")


def write_clip(target: Path | io.RawIOBase, frames: int, *, form: str = "mp4", pace: float = 0.0):
    """Pictures that get brighter by a level each; `pace` seconds between them."""
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
        for i in range(frames):
            container.mux(stream.encode(grey(i % 200)))
            if pace:
                time.sleep(pace)
        container.mux(stream.encode())


def write_sound(path: Path) -> None:
    """A second of silence, and no picture."""
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for i in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_fading_sound(target: io.RawIOBase) -> None:
    """Live MPEG-TS whose pictures end after half a second, and whose sound goes on."""
    # By default sound would wait ten seconds for the pictures that go with it.
    options = {"max_interleave_delta": "1000"}
    with av.open(target, "w", format="mpegts", options=options) as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound = container.add_stream("mp2", rate=32000, layout="mono")
        for i in range(10_000):
            if i < 12:
                container.mux(video.encode(grey(i)))
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 32000, i * 1152
            container.mux(sound.encode(frame))
            time.sleep(0.036)


class _SocketFile(io.RawIOBase):
    """What PyAV writes goes out; an answer that is over is an error."""

    def __init__(self, camera: HttpCamera, connection: socket.socket) -> None:
        self._camera = camera
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        while self._camera.frozen:
            time.sleep(0.02)
            if self._camera.closed:
                raise OSError("the camera is off")
        self._connection.sendall(data)
        return len(data)


class HttpCamera:
    """MPEG-TS or MJPEG over HTTP, live, on a port that stays its own over restarts."""

    def __init__(self, form: str = "mpegts") -> None:
        self._form = form
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self.port = 0
        self.frozen = False
        self.closed = False

    @property
    def url(self) -> str:
        return f"http://admin:secret@127.0.0.1:{self.port}/live?token=secret"

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(self, *exception: object) -> None:
        self.off()

    def on(self) -> None:
        self.closed = self.frozen = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def off(self) -> None:
        """Hang up on everybody and answer nobody."""
        self.closed = True
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, av.FFmpegError):
            connection.recv(4096)
            if self._form == "mpegts":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                target = _SocketFile(self, connection)
                write_clip(target, 10_000, form="mpegts", pace=1 / RATE)
                return
            if self._form == "sound":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                write_fading_sound(_SocketFile(self, connection))
                return
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n"
            )
            for i in range(10_000):
                picture = io.BytesIO()
                grey(i % 200).to_image().save(picture, "JPEG")
                content = picture.getvalue()
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                connection.sendall(head.encode() + content + b"\r\n")
                time.sleep(1 / RATE)


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A port whose connections get these bytes again and again; None says nothing at all."""
    connections: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(4096)
            while answer is not None:
                connection.sendall(answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=send, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()


_RTSP_SERVER = """
import asyncio, sys
from aio_rtsp_toolkit.server import RtspServer

async def serve(folder, port):
    server = RtspServer(directory=folder, host="127.0.0.1", port=int(port))
    await server.serve_forever()

asyncio.run(serve(*sys.argv[1:]))
"""


class RtspCamera:
    """A real RTSP server in a process of its own, which plays `street.mp4` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://admin:secret@127.0.0.1:{self.port}/street.mp4"

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(self, *exception: object) -> None:
        self.off()

    def on(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RTSP_SERVER, str(self._folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise RuntimeError("the RTSP server did not start")

    def off(self) -> None:
        self._process.kill()
        self._process.wait(10)
