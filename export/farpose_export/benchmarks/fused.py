"""Crop outside the graph beside crop inside it, on frames of two sizes.

`farpose bench fused [CHECKPOINT]` times, from a decoded frame and its boxes
to keypoints in frame pixels: `farpose.crop` and the plain graph, and the fused graph. The two take
turns, repetition by repetition; times are medians, and ratios are medians over the repetitions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import typer
from numpy.typing import NDArray

from farpose.benchmarks.machine import this_machine
from farpose.crop import crop_people
from farpose.geometry import CropGeometry
from farpose.repository import default_repository
from farpose_export.benchmarks.turns import milliseconds
from farpose_export.fused import fuse
from farpose_export.gate.fused import generated_frame
from farpose_export.graph import OUTPUTS, to_onnx
from farpose_training.checkpoint import load_model

FRAMES = ((1280, 720), (1920, 1080))
"""Width and height."""

PEOPLE = (1, 4, 16)
WIDTH_PER_HEIGHT = 0.4
"""Of a person's box."""

Frame = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Contestant = Callable[[Frame, Boxes], None]


def boxes_of(people: int, height: float, frame: tuple[int, int], seed: int = 0) -> Boxes:
    """Boxes `[P,4]` of one height, anywhere inside a frame of this width and height."""
    rng = np.random.default_rng(seed)
    size = np.array([height * WIDTH_PER_HEIGHT, height])
    corners = rng.uniform(0, 1, (people, 2)) * (np.array(frame) - size)
    return np.concatenate([corners, corners + size], axis=1).astype(np.float32)


def crop_outside(plain: onnx.ModelProto, resolution: int, threads: int) -> Contestant:
    """The reference crop, the plain graph, and back to the frame, as the pipeline does."""
    session = _session(plain, threads)

    def pose(image: Frame, boxes: Boxes) -> None:
        geometry = CropGeometry.from_boxes(boxes)
        crops = crop_people(image, geometry, resolution)
        keypoints, _, variances = session.run(list(OUTPUTS), {"crops": crops})
        geometry.to_frame(keypoints, resolution)
        variances *= ((geometry.sides / resolution) ** 2)[:, None, None]

    return pose


def crop_inside(plain: onnx.ModelProto, threads: int) -> Contestant:
    """The fused graph of the same network."""
    session = _session(fuse(plain), threads)

    def pose(image: Frame, boxes: Boxes) -> None:
        session.run(list(OUTPUTS), {"image": image, "boxes": boxes})

    return pose


def _session(graph: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def fused(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="A checkpoint.safetensors; the bundled one when not given."),
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="1 and 2 if not given.")] = None,
    heights: Annotated[
        list[float] | None,
        typer.Option(
            "--height", min=1, help="Of the people, in frame pixels; 60 and 400 if not given."
        ),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="That are timed.")] = 50,
) -> None:
    """Time the crop outside the graph beside the crop inside it."""
    loaded = load_model(checkpoint or default_repository() / "lowres_pose/checkpoint.safetensors")
    plain = to_onnx(loaded.model, len(loaded.keypoint_set), {})
    resolution = loaded.model.config.resolution
    typer.echo(str(this_machine()))
    names = ("threads", "height px", "people", "outside ms", "fused ms", "fused:outside")
    typer.echo(f"{'frame':<12}" + "".join(f"{name:>15}" for name in names))
    for count in threads or (1, 2):
        cv2.setNumThreads(count)
        contestants = [crop_outside(plain, resolution, count), crop_inside(plain, count)]
        for frame in FRAMES:
            image = generated_frame(np.random.default_rng(0), frame[1], frame[0])
            for height in heights or (60.0, 400.0):
                for people in PEOPLE:
                    boxes = boxes_of(people, height, frame)
                    outside, inside = milliseconds(
                        [partial(one, image, boxes) for one in contestants], repetitions
                    )
                    ratio = statistics.median(f / o for f, o in zip(inside, outside, strict=True))
                    columns = (
                        f"{count}",
                        f"{height:.0f}",
                        f"{people}",
                        f"{statistics.median(outside):.2f}",
                        f"{statistics.median(inside):.2f}",
                        f"{ratio:.2f}",
                    )
                    line = f"{frame[0]}x{frame[1]}"
                    typer.echo(f"{line:<12}" + "".join(f"{value:>15}" for value in columns))
