"""Which people a report shows, and what it says of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.report.mistakes import Errors, Mistake
from farpose.evaluation.runner import PredictedPoses

_LEAST_JOINTS = 4
"""Labelled joints of a person who is shown: with fewer, a low OKS says little."""

_MOST_OF_PICTURE = 2
"""People of one picture, so that one bad picture does not fill a report."""


@dataclass(frozen=True)
class WorstJoint:
    """The joint of a person that is farthest from its label."""

    name: str
    pixels: float
    torsos: float
    score: float


@dataclass(frozen=True)
class Verdict:
    """What a model did with one person."""

    similarity: float
    """OKS."""

    labelled: int
    """Joints."""

    wrong: int
    """Of them, farther than a fifth of a torso from the label."""

    mistakes: dict[Mistake, int]
    """How many joints have which, the most frequent first."""

    mean_score: float
    """Of the labelled joints; nan for who was not found."""

    worst: WorstJoint | None
    """None for who was not found."""


def verdict(
    person: int,
    poses: PredictedPoses,
    errors: Errors,
    similarities: NDArray[np.float64],
    truth: PoseDataset,
) -> Verdict:
    """Sum up the errors of one person of `truth`."""
    labelled = np.flatnonzero(errors.mistakes[person] != Mistake.UNLABELLED)
    found = [Mistake(int(code)) for code in errors.mistakes[person, labelled]]
    counts = {m: found.count(m) for m in Mistake if m > Mistake.NONE and m in found}
    worst = None
    mean_score = float("nan")
    if poses.found[person]:
        joint = int(labelled[errors.pixels[person, labelled].argmax()])
        worst = WorstJoint(
            truth.keypoint_set.joints[joint],
            float(errors.pixels[person, joint]),
            float(errors.torsos[person, joint]),
            float(poses.own[person, joint, 2]),
        )
        mean_score = float(poses.own[person, labelled, 2].mean())
    return Verdict(
        similarity=float(similarities[person]),
        labelled=len(labelled),
        wrong=sum(counts.values()),
        mistakes=dict(sorted(counts.items(), key=lambda item: -item[1])),
        mean_score=mean_score,
        worst=worst,
    )


def lowest(
    values: NDArray[np.float64], truth: PoseDataset, allowed: NDArray[np.bool_], number: int
) -> list[int]:
    """The people with the lowest values, few of one picture.

    Args:
        values: `[P]`; nan is never chosen.
        truth: the people.
        allowed: `[P]` who may be chosen; people with few labelled joints are left out besides.
        number: at most so many.
    """
    labelled = (truth.keypoints[..., 2] > 0).sum(axis=1)
    allowed = allowed & (labelled >= _LEAST_JOINTS) & np.isfinite(values)
    chosen: list[int] = []
    of_picture: dict[int, int] = {}
    for person in np.argsort(values, kind="stable"):
        picture = int(truth.picture_index[person])
        if len(chosen) == number:
            break
        if allowed[person] and of_picture.get(picture, 0) < _MOST_OF_PICTURE:
            chosen.append(int(person))
            of_picture[picture] = of_picture.get(picture, 0) + 1
    return chosen
