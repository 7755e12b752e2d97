"""Two labelled people in generated pictures, an engine that knows where their joints are, and
`farpose predict`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from farpose.cli import main
from farpose.engine import ModelMetadata, TensorInfo, Tensors
from farpose.evaluation.dataset import Picture, PoseDataset
from farpose.geometry import CropGeometry
from farpose.keypoints import COCO17

Predict = Callable[..., int]

# x and y of the 17 joints in a box of 60 x 120; the left shoulder lies (30, 40) from the right
# hip, so a torso is 50 pixels long.
POSE = np.array(
    [
        *[(30, 8), (33, 5), (27, 5), (36, 7), (24, 7)],
        *[(45, 25), (15, 25), (52, 42), (8, 42), (55, 60), (5, 60)],
        *[(40, 65), (15, 65), (42, 90), (18, 90), (44, 115), (16, 115)],
    ],
    np.float32,
)


class PerfectEngine:
    """Predicts the labelled joints, moved by `offset` `[P,J,2]` pixels of the picture.

    Person `i` of the dataset is a grey box of level 50 (i + 1), which is how a crop of it is
    recognised. The detector answers the labelled boxes of the people in `found`.
    """

    def __init__(
        self,
        dataset: PoseDataset,
        offset: NDArray[np.float64] | float = 0.0,
        scores: float = 1.0,
        found: tuple[int, ...] | None = None,
    ) -> None:
        geometry = CropGeometry.from_boxes(dataset.boxes)
        self._crops = geometry.to_crop(dataset.keypoints[..., :2] + offset, 64)
        self._boxes = dataset.boxes
        self._scores = scores
        self._found = found
        self.calls: list[tuple[str, int]] = []

    async def metadata(self, model: str) -> ModelMetadata:
        crops = TensorInfo("crops", np.dtype(np.uint8), (None, 64, 64, 3))
        outputs = tuple(
            TensorInfo(name, np.dtype(np.float32), (None, 17))
            for name in ("keypoints", "scores", "variances")
        )
        return ModelMetadata(model, "1", (crops,), outputs, 64, {"keypoint_set": "coco17"})

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        (array,) = inputs.values()
        self.calls.append((model, len(array)))
        if model == "person_detector":
            return self._detect(array[0])
        people = [round(int(crop[32, 32, 0]) / 50) - 1 for crop in array]
        return {
            "keypoints": self._crops[people].astype(np.float32),
            "scores": np.full((len(people), 17), self._scores, np.float32),
            "variances": np.ones((len(people), 17, 2), np.float32),
        }

    def _detect(self, image: NDArray[np.uint8]) -> Tensors:
        boxes, scores = np.zeros((1, 100, 4), np.float32), np.zeros((1, 100), np.float32)
        levels = np.unique(image)
        people = [i for i in range(len(self._boxes)) if 50 * (i + 1) in levels]
        people = [i for i in people if self._found is None or i in self._found]
        boxes[0, : len(people)] = self._boxes[people]
        scores[0, : len(people)] = 0.9
        return {"boxes": boxes, "scores": scores}


def label_people(folder: Path) -> PoseDataset:
    """Person 0, 120 px tall, in one picture of 320x320, and person 1, 60 px tall, in another."""
    boxes = np.array([[100, 90, 160, 210], [200, 100, 230, 160]], np.float64)
    pictures = []
    for i, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        image = np.zeros((320, 320, 3), np.uint8)
        image[y1:y2, x1:x2] = 50 * (i + 1)
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), image)
        pictures.append(Picture(10 + i, path, 320, 320))
    joints = np.stack([POSE + boxes[0, :2], POSE / 2 + boxes[1, :2]])
    return PoseDataset(
        keypoint_set=COCO17,
        pictures=tuple(pictures),
        picture_index=np.array([0, 1]),
        boxes=boxes,
        keypoints=np.concatenate([joints, np.full((2, 17, 1), 2)], axis=-1).astype(np.float32),
        areas=np.array([4000.0, 1000.0]),
        ids=np.array([1, 2]),
    )


@pytest.fixture
def labelled(tmp_path: Path) -> PoseDataset:
    """What `label_people` makes."""
    return label_people(tmp_path)


@pytest.fixture(scope="session")
def labelled_in() -> Callable[[Path], PoseDataset]:
    """`label_people`, for fixtures that last longer than a test."""
    return label_people


@pytest.fixture(scope="session")
def engine_for() -> Callable[..., PerfectEngine]:
    """Makes a `PerfectEngine`."""
    return PerfectEngine


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Runs `farpose predict` in this process; returns its exit code."""

    def run(*arguments: object) -> int:
        argv = ["farpose", "predict", *map(str, arguments), "--detector-size", "320"]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run
