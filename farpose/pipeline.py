"""From a picture to its people: decode, detect, crop, pose, map back.

This is the only implementation; the service, the command line, the evaluation and the Triton model
`pose_pipeline` all call it, over whichever engine they have.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.engine import Engine, Tensors
from farpose.geometry import BoxError, CropGeometry
from farpose.images import MAX_PIXELS, decode_image
from farpose.letterbox import Letterboxed, letterbox
from farpose.options import PoseOptions
from farpose.people import People
from farpose.pose_model import DEFAULT_POSE_MODEL, SMALL_POSE_MODEL, PoseModel, Routing
from farpose.result import PoseResult as PoseResult

DETECTOR: Final = "person_detector"
DEFAULT_OPTIONS: Final = PoseOptions()


class PosePipeline:
    """Finds people and their keypoints in pictures.

    Args:
        engine: runs the models.
        max_pixels: larger pictures are refused.
        small_person: people lower than this, in frame pixels, go to `lowres_pose_32` where the
            options leave the pose model to the pipeline; 0 sends nobody there.
    """

    def __init__(
        self, engine: Engine, max_pixels: int = MAX_PIXELS, small_person: float = 0.0
    ) -> None:
        self._engine = engine
        self._max_pixels = max_pixels
        self._small_person = small_person

    async def __call__(
        self, image: bytes | NDArray[np.uint8], options: PoseOptions = DEFAULT_OPTIONS
    ) -> PoseResult:
        """Find the people of one picture.

        Args:
            image: an encoded picture, or `[H,W,3]` UINT8 RGB.
            options: thresholds, sizes, boxes.

        Raises:
            ImageError: the picture cannot be read.
            BoxError: a given box has no area or lies outside the picture.
            EngineError: a model is missing or failed.
        """
        clock = _Clock()
        frame, letterboxed = await asyncio.to_thread(self._prepared, image, options, clock)
        height, width = frame.shape[:2]
        routing = await self.routing(options.pose_model)
        models = {}
        if letterboxed is not None:
            boxes, scores = await self._detect(letterboxed, options, clock)
            models[DETECTOR] = (await self._engine.metadata(DETECTOR)).version
        else:
            boxes = np.asarray(options.boxes, np.float32).reshape(-1, 4)
            scores = np.ones(len(boxes), np.float32)
            _check_inside(boxes, width, height)
        people = await self._pose(frame, boxes, scores, routing, clock)
        models |= {
            model.metadata.name: model.metadata.version
            for model in (routing.pose, routing.small)
            if model is routing.pose or (model and model.metadata.name in people.models)
        }
        if options.keypoint_threshold > 0:
            people = people.without_unsure_joints(options.keypoint_threshold)
        return PoseResult(people, width, height, models, clock.laps())

    async def detect(
        self, frame: NDArray[np.uint8], options: PoseOptions = DEFAULT_OPTIONS
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes `[P,4]` in frame pixels and scores `[P]` of the people in a frame `[H,W,3]`."""
        letterboxed = await asyncio.to_thread(letterbox, frame, options.detector_size)
        return await self._detect(letterboxed, options, _Clock())

    async def pose_model(self, name: str) -> PoseModel:
        """The pose model of that name, `auto` for the default one."""
        metadata = await self._engine.metadata(DEFAULT_POSE_MODEL if name == "auto" else name)
        return PoseModel.from_metadata(metadata)

    async def routing(self, name: str) -> Routing:
        """Who goes to which pose model where the options name this one.

        Raises:
            EngineError: a model is missing, is no pose model, or answers other joints.
        """
        pose = await self.pose_model(name)
        if name != "auto" or not self._small_person:
            return Routing(pose)
        return Routing(pose, await self.pose_model(SMALL_POSE_MODEL), self._small_person)

    def _prepared(
        self, image: bytes | NDArray[np.uint8], options: PoseOptions, clock: _Clock
    ) -> tuple[NDArray[np.uint8], Letterboxed | None]:
        """The frame, and what the detector sees of it; in one thread, as changes cost time."""
        if isinstance(image, bytes):
            frame = decode_image(image, self._max_pixels)
            clock.lap("decode")
        else:
            frame = image
        if options.boxes is not None:
            return frame, None
        letterboxed = letterbox(frame, options.detector_size)
        clock.lap("letterbox")
        return frame, letterboxed

    async def _detect(
        self, letterboxed: Letterboxed, options: PoseOptions, clock: _Clock
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs = await self._engine.infer(DETECTOR, {"images": letterboxed.image[None]})
        clock.lap("detector")
        boxes, scores = letterboxed.boxes_to_frame(outputs["boxes"][0]), outputs["scores"][0]
        # A box that lies in the padding is clipped to nothing.
        kept = (scores >= options.detection_threshold) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return boxes[kept][: options.max_people], scores[kept][: options.max_people]

    async def _pose(
        self,
        frame: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        routing: Routing,
        clock: _Clock,
    ) -> People:
        joints = routing.pose.keypoint_set
        if not len(boxes):
            return People.empty(joints)
        groups = await asyncio.to_thread(_cropped, frame, boxes, routing)
        clock.lap("crop")
        outputs = await asyncio.gather(*(self._run(g.model, g.crops) for g in groups))
        clock.lap("pose")
        keypoints = np.empty((len(boxes), len(joints), 3), np.float32)
        variances = np.empty((len(boxes), len(joints), 2), np.float32)
        names = np.empty(len(boxes), object)
        for group, output in zip(groups, outputs, strict=True):
            geometry, resolution = group.geometry, group.model.resolution
            keypoints[group.rows, :, :2] = geometry.to_frame(output["keypoints"], resolution)
            keypoints[group.rows, :, 2] = output["scores"]
            pixels_per_pixel = (geometry.sides / resolution)[:, None, None]
            variances[group.rows] = output["variances"] * pixels_per_pixel**2
            names[group.rows] = group.model.metadata.name
        return People(boxes, scores, keypoints, variances, tuple(names), joints)

    async def _run(self, model: PoseModel, crops: NDArray[np.uint8]) -> Tensors:
        step = model.metadata.max_batch_size
        parts = [
            await self._engine.infer(model.metadata.name, {"crops": crops[i : i + step]})
            for i in range(0, len(crops), step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class _Group:
    """People whom one model sees."""

    model: PoseModel
    rows: NDArray[np.intp]
    """`[N]` which people of the frame."""

    geometry: CropGeometry
    crops: NDArray[np.uint8]
    """`[N,R,R,3]`."""


def _cropped(
    frame: NDArray[np.uint8], boxes: NDArray[np.float32], routing: Routing
) -> list[_Group]:
    """The crops of all people, in one thread, as changes cost time."""
    groups = []
    for model, rows in routing.groups(boxes):
        geometry = CropGeometry.from_boxes(boxes[rows])
        groups.append(_Group(model, rows, geometry, crop_people(frame, geometry, model.resolution)))
    return groups


def _check_inside(boxes: NDArray[np.float32], width: int, height: int) -> None:
    CropGeometry.from_boxes(boxes)
    outside = (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= (width, height)).any(axis=1)
    if outside.any():
        i = int(np.argmax(outside))
        raise BoxError(
            f"box {i} is {boxes[i].tolist()}: it lies outside the {width}x{height} picture"
        )


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = (now - self._last) * 1e3
        self._last = now

    def laps(self) -> dict[str, float]:
        laps = {**self._laps, "total": (time.perf_counter() - self._start) * 1e3}
        return {stage: round(value, 3) for stage, value in laps.items()}
