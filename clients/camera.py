"""Sends a camera's pictures over `WS /stream` and prints who is there, a line per picture.

    python clients/camera.py 0                                 # the first webcam
    python clients/camera.py rtsp://192.0.2.7/street           # a network camera
    python clients/camera.py street.mp4                        # a clip

Needs OpenCV and websockets. It sends the next picture when the last one was answered.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import cv2
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

SURE = 0.2
"""Joints that score at least this are counted."""


class CameraError(RuntimeError):
    """The camera cannot go on; the message says why."""


def pictures(source: str) -> Iterator[tuple[bytes, float | None]]:
    """JPEG pictures of a camera or clip, each with its time in seconds where it is a clip's.

    Raises:
        CameraError: nothing can be read from it.
    """
    live = source.isdecimal() or "://" in source
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not capture.isOpened():
        raise CameraError(f"{source}: no camera or clip that OpenCV can open")
    while True:
        found, image = capture.read()
        if not found:
            break
        seconds = None if live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield cv2.imencode(".jpg", image)[1].tobytes(), seconds
    capture.release()


def answers(url: str, source: str) -> Iterator[Any]:
    """What the service says of each picture.

    Raises:
        CameraError: the service is not there, hangs up, or refuses a picture.
    """
    try:
        with connect(url) as socket:
            for picture, seconds in pictures(source):
                if seconds is not None:
                    socket.send(json.dumps({"timestamp": seconds}))
                socket.send(picture)
                answer = json.loads(socket.recv())
                if "people" not in answer:
                    raise CameraError(f"the service refused a picture: {answer.get('detail')}")
                yield answer
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        raise CameraError(f"{url}: {error}; is `make run` running?") from error


def line(answer: Any) -> str:
    """One line on a picture's people."""
    people = []
    for person in answer["people"]:
        left, top, right, bottom = person["box"]
        sure = sum(score >= SURE for _, _, score in person["keypoints"])
        name = f"id {person['track_id']}" if person.get("track_id") is not None else "new"
        middle = f"{(left + right) / 2:.0f},{(top + bottom) / 2:.0f}"
        people.append(f"{name} at {middle}, {bottom - top:.0f} px tall, {sure} joints")
    return f"frame {answer['frame']}: " + ("; ".join(people) or "nobody")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", help="number of a webcam, address of a camera, or a clip")
    parser.add_argument("--url", default="ws://localhost:8080/stream")
    arguments = parser.parse_args()
    try:
        for answer in answers(arguments.url, arguments.source):
            print(line(answer), flush=True)
    except CameraError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
