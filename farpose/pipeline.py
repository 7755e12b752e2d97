"""From a picture to its people: decode, detect, crop, pose, map back.

This is the only implementation; the service, the command line, the evaluation and the Triton model
`pose_pipeline` all call it, over whichever engine they have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.engine import Engine, EngineError, ModelMetadata
from farpose.geometry import BoxError, CropGeometry
from farpose.images import MAX_PIXELS, decode_image
from farpose.keypoints import KeypointSet, keypoint_set
from farpose.letterbox import letterbox
from farpose.options import PoseOptions
from farpose.people import People

DETECTOR: Final = "person_detector"
DEFAULT_POSE_MODEL: Final = "lowres_pose"
DEFAULT_OPTIONS: Final = PoseOptions()


@dataclass(frozen=True)
class PoseResult:
    """What the pipeline found in one picture."""

    people: People
    width: int
    """Pixels of the displayed picture."""

    height: int
    models: Mapping[str, str]
    """Name to version of the models that ran."""

    timing_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds per stage, and `total`."""


@dataclass(frozen=True)
class PoseModel:
    """What the pipeline must know of a pose model."""

    metadata: ModelMetadata
    resolution: int
    keypoint_set: KeypointSet

    @classmethod
    def from_metadata(cls, metadata: ModelMetadata) -> PoseModel:
        """Check that a model keeps the pose contract.

        Raises:
            EngineError: it does not.
        """
        crops = next((tensor for tensor in metadata.inputs if tensor.name == "crops"), None)
        outputs = {tensor.name for tensor in metadata.outputs}
        if crops is None or not {"keypoints", "scores", "variances"} <= outputs:
            raise EngineError(f"{metadata.name} is not a pose model: it has no crops to keypoints")
        height, width = crops.shape[1:3]
        if height is None or height != width:
            raise EngineError(f"{metadata.name}: its crops are {height}x{width}, not square")
        try:
            joints = keypoint_set(metadata.properties.get("keypoint_set", ""))
        except ValueError as error:
            raise EngineError(f"{metadata.name}: {error}") from error
        return cls(metadata, height, joints)


class PosePipeline:
    """Finds people and their keypoints in pictures.

    Args:
        engine: runs the models.
        max_pixels: larger pictures are refused.
    """

    def __init__(self, engine: Engine, max_pixels: int = MAX_PIXELS) -> None:
        self._engine = engine
        self._max_pixels = max_pixels

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
        if isinstance(image, bytes):
            frame = await asyncio.to_thread(decode_image, image, self._max_pixels)
            clock.lap("decode")
        else:
            frame = image
        height, width = frame.shape[:2]
        pose = await self.pose_model(options.pose_model)
        models = {pose.metadata.name: pose.metadata.version}
        if options.boxes is None:
            boxes, scores = await self._detect(frame, options, clock)
            models[DETECTOR] = (await self._engine.metadata(DETECTOR)).version
        else:
            boxes = np.asarray(options.boxes, np.float32).reshape(-1, 4)
            scores = np.ones(len(boxes), np.float32)
            _check_inside(boxes, width, height)
        people = await self._pose(frame, boxes, scores, pose, clock)
        if options.keypoint_threshold > 0:
            people = people.without_unsure_joints(options.keypoint_threshold)
        return PoseResult(people, width, height, models, clock.laps())

    async def detect(
        self, frame: NDArray[np.uint8], options: PoseOptions = DEFAULT_OPTIONS
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes `[P,4]` in frame pixels and scores `[P]` of the people in a frame `[H,W,3]`."""
        return await self._detect(frame, options, _Clock())

    async def pose_model(self, name: str) -> PoseModel:
        """The pose model of that name, `auto` for the default one."""
        metadata = await self._engine.metadata(DEFAULT_POSE_MODEL if name == "auto" else name)
        return PoseModel.from_metadata(metadata)

    async def _detect(
        self, frame: NDArray[np.uint8], options: PoseOptions, clock: _Clock
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        letterboxed = await asyncio.to_thread(letterbox, frame, options.detector_size)
        clock.lap("letterbox")
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
        pose: PoseModel,
        clock: _Clock,
    ) -> People:
        if not len(boxes):
            return People.empty(pose.keypoint_set)
        geometry = CropGeometry.from_boxes(boxes)
        crops = await asyncio.to_thread(crop_people, frame, geometry, pose.resolution)
        clock.lap("crop")
        step = pose.metadata.max_batch_size
        parts = [
            await self._engine.infer(pose.metadata.name, {"crops": crops[i : i + step]})
            for i in range(0, len(crops), step)
        ]
        clock.lap("pose")
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        keypoints = geometry.to_frame(outputs["keypoints"], pose.resolution)
        pixels_per_pixel = (geometry.sides / pose.resolution)[:, None, None]
        return People(
            boxes=boxes,
            scores=scores,
            keypoints=np.concatenate(
                [keypoints.astype(np.float32), outputs["scores"][..., None]], axis=-1
            ),
            variances=(outputs["variances"] * pixels_per_pixel**2).astype(np.float32),
            models=(pose.metadata.name,) * len(boxes),
            keypoint_set=pose.keypoint_set,
        )


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
