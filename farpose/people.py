"""The result of pose estimation: the people of one frame, as a struct of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from farpose.keypoints import COCO17, KeypointSet

if TYPE_CHECKING:
    import supervision

NOBODY: Final = -1
"""The track id of somebody who is nobody's yet: a person has an id from the second time on."""


@dataclass(frozen=True, repr=False)
class People:
    """`P` people with boxes and keypoints, in pixels of the displayed frame.

    >>> People.empty().to_list()
    []

    Raises:
        ValueError: the arrays disagree about P or J.
    """

    boxes: NDArray[np.float32]
    """`[P,4]` x1, y1, x2, y2, continuous edges."""

    scores: NDArray[np.float32]
    """`[P]` detection scores 0..1; 1 where the caller gave the box."""

    keypoints: NDArray[np.float32]
    """`[P,J,3]` x, y (pixel-centre indices) and score 0..1."""

    variances: NDArray[np.float32]
    """`[P,J,2]` spread of x and y in frame pixels squared."""

    models: tuple[str, ...]
    """`P` names: which pose model saw the person."""

    keypoint_set: KeypointSet = COCO17

    track_ids: NDArray[np.int64] | None = None
    """`[P]` who it is among the people of a camera, from 1; -1 for somebody seen once, and None
    outside of a camera's session."""

    def __post_init__(self) -> None:
        people, joints = len(self.scores), len(self.keypoint_set)
        expected = {
            "boxes": (people, 4),
            "scores": (people,),
            "keypoints": (people, joints, 3),
            "variances": (people, joints, 2),
        }
        for field, shape in expected.items():
            found = getattr(self, field).shape
            if found != shape:
                raise ValueError(f"{field} has shape {found}, expected {shape}")
        if self.track_ids is not None and self.track_ids.shape != (people,):
            raise ValueError(f"track_ids has shape {self.track_ids.shape}, expected {(people,)}")
        if len(self.models) != people:
            raise ValueError(f"models names {len(self.models)} models for {people} people")

    @classmethod
    def empty(cls, keypoint_set: KeypointSet = COCO17) -> Self:
        """Nobody."""
        joints = len(keypoint_set)
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            keypoints=np.zeros((0, joints, 3), np.float32),
            variances=np.zeros((0, joints, 2), np.float32),
            models=(),
            keypoint_set=keypoint_set,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Self:
        """Some of the people, chosen by slice, indices or mask, or one of them by number."""
        chosen = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            boxes=self.boxes[chosen],
            scores=self.scores[chosen],
            keypoints=self.keypoints[chosen],
            variances=self.variances[chosen],
            models=tuple(self.models[i] for i in chosen),
            track_ids=None if self.track_ids is None else self.track_ids[chosen],
        )

    def __iter__(self) -> Iterator[Self]:
        """Everybody, one by one."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<People {self.describe()}, {self.keypoint_set.name}>"

    def describe(self) -> str:
        """How many, and how tall."""
        if not len(self):
            return "nobody"
        heights = self.boxes[:, 3] - self.boxes[:, 1]
        least, most = f"{heights.min():.0f}", f"{heights.max():.0f}"
        tall = f"{least} px tall" if least == most else f"{least} to {most} px tall"
        return f"{'1 person' if len(self) == 1 else f'{len(self)} people'} {tall}"

    def joint(self, name: str) -> NDArray[np.float32]:
        """`[P,3]` x, y and score of one joint of everybody; `ValueError` if there is no such."""
        return self.keypoints[:, self.keypoint_set.index(name)]

    def without_unsure_joints(self, threshold: float) -> Self:
        """The same people with joints that score below `threshold` set to 0, 0, 0."""
        sure = self.keypoints[:, :, 2] >= threshold
        return replace(
            self,
            keypoints=self.keypoints * sure[..., None],
            variances=self.variances * sure[..., None],
        )

    def to_list(self, *, variances: bool = False) -> list[dict[str, Any]]:
        """One dictionary per person, as the HTTP answer has them under `people`.

        Positions are rounded to 1/100 pixel, scores to four digits.
        """
        scores, boxes = _rounded(self.scores, 4), _rounded(self.boxes, 2)
        keypoints = _rounded(self.keypoints, (2, 2, 4))
        spread = _rounded(self.variances, 4) if variances else None
        return [
            {
                **self._track_id(i),
                "score": scores[i],
                "box": boxes[i],
                "model": self.models[i],
                "keypoints": keypoints[i],
                **({} if spread is None else {"variances": spread[i]}),
            }
            for i in range(len(self))
        ]

    def _track_id(self, i: int) -> dict[str, int]:
        identity = -1 if self.track_ids is None else int(self.track_ids[i])
        return {} if identity < 0 else {"track_id": identity}

    def to_dict(self, *, variances: bool = False) -> dict[str, Any]:
        """Keypoint names and people, ready for JSON."""
        return {
            "keypoint_names": list(self.keypoint_set.joints),
            "people": self.to_list(variances=variances),
        }

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO keypoint results. The score is the box score times the mean joint score above 0.2,
        the rescoring of Xiao et al. (ECCV 2018).
        """
        results = []
        for box, score, joints in zip(self.boxes, self.scores, self.keypoints, strict=True):
            sure = joints[:, 2][joints[:, 2] > 0.2]
            x1, y1, x2, y2 = map(float, box)
            results.append(
                {
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                    "keypoints": [round(float(v), 4) for v in joints.reshape(-1)],
                    "score": float(score) * (float(sure.mean()) if len(sure) else 0.0),
                }
            )
        return results

    def to_supervision(self) -> supervision.KeyPoints:
        """The people as `supervision.KeyPoints`; `ImportError` if that package is absent."""
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision() needs the package `supervision`") from error
        if not len(self):
            return supervision.KeyPoints.empty()
        return supervision.KeyPoints(
            xy=self.keypoints[:, :, :2],
            keypoint_confidence=self.keypoints[:, :, 2],
            class_id=np.zeros(len(self), np.intp),
        )


def _rounded(values: NDArray[np.float32], digits: int | tuple[int, ...]) -> list[Any]:
    """Nested lists of floats with so many digits, or so many of each along the last axis."""
    tens = 10.0 ** np.asarray(digits)
    # In double precision, so that what is printed has no more digits.
    rounded: list[Any] = (np.rint(values.astype(np.float64) * tens) / tens).tolist()
    return rounded
