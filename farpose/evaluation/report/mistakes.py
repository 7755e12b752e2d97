"""What went wrong with joints that are not where the label says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.reliability import FRACTION, torsos_or_boxes
from farpose.evaluation.runner import PredictedPoses

_NEAR = 0.5
"""Torsos: a wrong joint this close was placed at the right limb, but not well."""


class Mistake(IntEnum):
    """How one joint of one person was answered, after Ronchi and Perona (ICCV 2017)."""

    UNLABELLED = -1
    NONE = 0
    LEFT_RIGHT = 1
    OTHER_PERSON = 2
    NEAR = 3
    FAR = 4
    NOT_FOUND = 5


MEANING = {
    Mistake.LEFT_RIGHT: "on the same joint of the other side",
    Mistake.OTHER_PERSON: "on this joint, of either side, of another labelled person",
    Mistake.NEAR: "near: within half a torso",
    Mistake.FAR: "far from any of these",
    Mistake.NOT_FOUND: "the person was not found",
}
"""Of each mistake, in words."""


@dataclass(frozen=True)
class Errors:
    """The errors of all joints of all people."""

    pixels: NDArray[np.float64]
    """`[P,J]` distance from the label in picture pixels; nan where unlabelled, infinite where the
    person was not found."""

    torsos: NDArray[np.float64]
    """`[P,J]` the same in torsos; a third of the box's longer side stands for an unlabelled one."""

    mistakes: NDArray[np.int8]
    """`[P,J]` of `Mistake`. A joint is right within a fifth of a torso."""

    def count(self, mistake: Mistake) -> int:
        """Joints with it."""
        return int(np.count_nonzero(self.mistakes == mistake))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """`[P,J]` labelled, and not right."""
        return self.mistakes > Mistake.NONE


def errors_of(poses: PredictedPoses, truth: PoseDataset) -> Errors:
    """Say of every labelled joint how far off it is and, if it is wrong, in what way.

    Where several ways fit, the first of `Mistake` counts.
    """
    labelled = truth.keypoints[..., 2] > 0
    points = poses.own[..., :2].astype(np.float64)
    pixels = np.linalg.norm(points - truth.keypoints[..., :2], axis=-1)
    pixels = np.where(labelled, pixels, np.nan)
    torsos = torsos_or_boxes(truth)
    relative = pixels / torsos[:, None]
    mistakes = np.full(pixels.shape, Mistake.FAR, np.int8)
    mistakes[relative <= _NEAR] = Mistake.NEAR
    reach = FRACTION * torsos
    flip = truth.keypoint_set.flip_indices
    for person in np.flatnonzero(poses.found):
        same_picture = np.flatnonzero(truth.picture_index == truth.picture_index[person])
        others = truth.keypoints[same_picture[same_picture != person]]
        both = np.concatenate([others, others[:, flip]])
        mistakes[person, _close(points[person], both, reach[person])] = Mistake.OTHER_PERSON
        mirrored = truth.keypoints[person, flip].copy()
        mirrored[flip == np.arange(len(flip)), 2] = 0  # the nose has no other side
        mistakes[person, _close(points[person], mirrored[None], reach[person])] = Mistake.LEFT_RIGHT
    mistakes[~poses.found] = Mistake.NOT_FOUND
    mistakes[relative <= FRACTION] = Mistake.NONE
    mistakes[~labelled] = Mistake.UNLABELLED
    return Errors(pixels, relative, mistakes)


def _close(
    points: NDArray[np.float64], labels: NDArray[np.floating], reach: float
) -> NDArray[np.bool_]:
    """`[J]` whether a point `[J,2]` lies within `reach` of its joint in any of labels `[Q,J,3]`."""
    distances = np.linalg.norm(points - labels[..., :2], axis=-1)
    return np.asarray(((labels[..., 2] > 0) & (distances <= reach)).any(axis=0))
