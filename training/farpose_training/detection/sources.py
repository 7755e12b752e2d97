"""The pictures the detector learns from, and what people list in them.

Three sources under the data folder: `coco_mini/train` (truth for people with keypoints),
`lspet/train` (no person boxes, only joints, so its boxes all come from the teacher) and frames of
`video` (no labels). The val splits are never read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SOURCES = ("coco", "lspet", "video")


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """A picture for training.

    Attributes:
        source: one of `SOURCES`.
        name: file name under the data folder, with `#frame` for a video frame.
        image: UINT8 `[H,W,3]` RGB.
        people: `[P,4]` FP32, people of the truth, xyxy in picture pixels (none for lspet, video).
    """

    source: str
    name: str
    image: NDArray[np.uint8]
    people: NDArray[np.float32]


def read_sources(data: Path, *, lspet_pictures: int, video_frames: int) -> Iterator[SourcePicture]:
    """Every training picture, in an order that only depends on the arguments.

    Args:
        data: the data folder.
        lspet_pictures: so many of `lspet/train`, evenly spaced.
        video_frames: so many frames of each video, evenly spaced.

    Raises:
        FileNotFoundError: a file of the data folder is missing.
    """
    yield from _coco(data)
    yield from _lspet(data, lspet_pictures)
    for path in sorted((data / "video").iterdir()):
        if path.suffix in {".mp4", ".gif"}:
            yield from _video(path, video_frames)


def _coco(data: Path) -> Iterator[SourcePicture]:
    annotations = json.loads((data / "coco_mini" / "train.json").read_text())
    boxes: dict[int, list[list[float]]] = {}
    for person in annotations["annotations"]:
        x, y, width, height = person["bbox"]
        boxes.setdefault(person["image_id"], []).append([x, y, x + width, y + height])
    for picture in annotations["images"]:
        name = f"coco_mini/train/{picture['file_name']}"
        people = np.array(boxes.get(picture["id"], []), dtype=np.float32).reshape(-1, 4)
        yield SourcePicture("coco", name, read_rgb(data / name), people)


def _lspet(data: Path, count: int) -> Iterator[SourcePicture]:
    annotations = json.loads((data / "lspet" / "train.json").read_text())
    names = sorted({picture["file_name"] for picture in annotations["images"]})
    for index in _evenly(len(names), count):
        name = f"lspet/train/{names[index]}"
        yield SourcePicture("lspet", name, read_rgb(data / name), _nobody())


def _video(path: Path, count: int) -> Iterator[SourcePicture]:
    frames = _decode(path)
    for index in _evenly(len(frames), count):
        name = f"video/{path.name}#{index}"
        yield SourcePicture("video", name, frames[index], _nobody())


def _decode(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if not frames:
        raise FileNotFoundError(f"OpenCV reads no frame from {path}")
    return frames


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as UINT8 `[H,W,3]` RGB.

    Raises:
        FileNotFoundError: it is missing or no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or no picture that OpenCV reads")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _evenly(total: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()))


def _nobody() -> NDArray[np.float32]:
    return np.zeros((0, 4), dtype=np.float32)
