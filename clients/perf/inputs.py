"""What perf_analyzer sends: real pictures, made into frames of a camera, with their people.

Every picture is cut and resized to a JPEG of 1280x720. The service's own pipeline counts the people
it finds in each; frames are then taken at even steps through the counts, so that few of them have
the mix of all. The same frames are the input of `pose_pipeline` (as JPEG), of `person_detector`
(letterboxed at 640) and of the pose model (crops of the people that were found).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farpose.benchmarks.pipeline import HEIGHT, WIDTH, as_frame
from farpose.crop import crop_people
from farpose.engines.triton import TritonEngine
from farpose.geometry import CropGeometry
from farpose.images import decode_image
from farpose.letterbox import letterbox
from farpose.pipeline import PosePipeline

FRAMES = 16
DETECTOR_SIZE = 640

Pixels = NDArray[np.uint8]


class InputError(RuntimeError):
    """There is nothing to send; the message says why."""


@dataclass(frozen=True)
class Mix:
    """Frames, and how many people the pipeline finds in each."""

    frames: tuple[bytes, ...]
    people: tuple[int, ...]
    crops: Pixels
    """`[N,R,R,3]` of all people, in the order of the frames."""

    pictures: int
    """That the frames were taken from."""

    def batches(self) -> list[int]:
        """Batch sizes of the pose model: people in a middling frame, and in a full one."""
        counts = [count for count in self.people if count]
        return sorted({int(np.percentile(counts, q, method="nearest")) for q in (50, 90)})

    def __str__(self) -> str:
        return (
            f"{len(self.frames)} frames of {WIDTH}x{HEIGHT} out of {self.pictures} pictures, with "
            f"{', '.join(map(str, sorted(self.people)))} people (mean {np.mean(self.people):.1f})"
        )


async def find_mix(url: str, pictures: Sequence[bytes], pose_model: str) -> Mix:
    """Ask a Triton server for the people of these pictures, and choose frames.

    Raises:
        InputError: nobody is found in any of them.
        EngineError: the server does not answer.
        ImageError: a picture cannot be read.
    """
    async with TritonEngine(url, timeout=60) as engine:
        pipeline = PosePipeline(engine)
        resolution = (await pipeline.pose_model(pose_model)).resolution
        found = []
        for picture in pictures:
            frame = as_frame(picture)
            found.append((frame, (await pipeline(frame)).people.boxes))
    found.sort(key=lambda pair: len(pair[1]))
    number = min(FRAMES, len(found))
    steps = np.floor((np.arange(number) + 0.5) * len(found) / number).astype(int)
    # Out of order: a run of full frames would make a slow window, and one of empty ones a fast one.
    chosen = [found[i] for i in np.random.default_rng(0).permutation(steps)]
    crops = [
        crop_people(decode_image(frame), CropGeometry.from_boxes(boxes), resolution)
        for frame, boxes in chosen
        if len(boxes)
    ]
    if not crops:
        raise InputError("the pipeline finds nobody in these pictures: give others")
    frames, boxes = zip(*chosen, strict=True)
    return Mix(frames, tuple(map(len, boxes)), np.concatenate(crops), len(pictures))


def mix_of(url: str, pictures: Sequence[bytes], pose_model: str) -> Mix:
    """See `find_mix`."""
    return asyncio.run(find_mix(url, pictures, pose_model))


def write_inputs(mix: Mix, model: str, pose_model: str, folder: Path) -> Path:
    """The file for `--input-data` of a model.

    Raises:
        InputError: it is none of the three.
    """
    if model == "pose_pipeline":
        # An element of a BYTES tensor comes after its length, in four bytes.
        data = [
            _tensor("image", len(frame).to_bytes(4, "little") + frame, [1]) for frame in mix.frames
        ]
    elif model == "person_detector":
        inputs = [letterbox(decode_image(frame), DETECTOR_SIZE).image for frame in mix.frames]
        data = [_tensor("images", image.tobytes(), image.shape) for image in inputs]
    elif model == pose_model:
        data = [_tensor("crops", crop.tobytes(), crop.shape) for crop in mix.crops]
    else:
        raise InputError(f"{model}: use pose_pipeline, person_detector or {pose_model}")
    path = folder / f"{model}.json"
    path.write_text(json.dumps({"data": data}))
    return path


def _tensor(name: str, content: bytes, shape: Sequence[int]) -> dict[str, Any]:
    return {name: {"content": {"b64": base64.b64encode(content).decode()}, "shape": list(shape)}}
