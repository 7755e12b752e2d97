"""People drawn for a report: the worst, those a degradation spoilt, those one model won."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.report.comparing import Comparison
from farpose.evaluation.report.degradations import Degradation, degrade
from farpose.evaluation.report.document import Picture
from farpose.evaluation.report.example_picture import Panel, draw_example
from farpose.evaluation.report.examples import Verdict, lowest, verdict
from farpose.evaluation.report.mistakes import Mistake
from farpose.evaluation.report.study import Condition, Measured

SHORT: Final = {
    Mistake.LEFT_RIGHT: "on the other side",
    Mistake.OTHER_PERSON: "on another person",
    Mistake.NEAR: "near",
    Mistake.FAR: "far off",
    Mistake.NOT_FOUND: "not found",
}
"""Mistakes as the captions name them."""

_LABEL: Final = "label"


def worst(model: Measured, index: int, dataset: PoseDataset, number: int) -> tuple[Picture, ...]:
    """The people with the lowest OKS among those found, on frames as they are.

    Raises:
        DatasetError: a picture cannot be read.
    """
    clean = model.clean
    people = lowest(clean.scores.similarities, dataset, clean.poses.found, number)
    return tuple(
        _picture(
            f"worst_{index + 1}_{rank:02d}",
            person,
            [(model.label, clean, None)],
            dataset,
            f"{_who(person, dataset)} {_said(_verdict(person, clean, dataset))}",
        )
        for rank, person in enumerate(people, 1)
    )


def spoilt(
    model: Measured, condition: Condition, dataset: PoseDataset, seed: int, number: int
) -> tuple[Picture, ...]:
    """The people whose OKS a degradation lowered most.

    Args:
        model: on frames as they are.
        condition: the same model on degraded frames.
        dataset: the people.
        seed: of the noise.
        number: at most so many.

    Raises:
        DatasetError: a picture cannot be read.
    """
    step = condition.degradation
    if step is None:
        return ()
    change = condition.scores.similarities - model.clean.scores.similarities
    both = model.clean.poses.found & condition.poses.found & (change < 0)
    name = step.name.replace("=", "_").replace(".", "")
    return tuple(
        _picture(
            f"spoilt_{name}_{rank}",
            person,
            [("as is", model.clean, None), (step.label, condition, step)],
            dataset,
            f"{step.label}: {_who(person, dataset)} "
            f"OKS {model.clean.scores.similarities[person]:.2f} on the frame as it is; degraded: "
            f"{_said(_verdict(person, condition, dataset))}",
            seed,
        )
        for rank, person in enumerate(lowest(change, dataset, both, number), 1)
    )


def won(
    comparison: Comparison, models: Sequence[Measured], dataset: PoseDataset, number: int
) -> tuple[Picture, ...]:
    """The people with the largest difference between two models, first those the first one wins.

    Raises:
        DatasetError: a picture cannot be read.
    """
    found = models[0].clean.poses.found & models[1].clean.poses.found
    pictures = []
    for index, gain in enumerate((-comparison.similarities, comparison.similarities)):
        winner, loser = models[index], models[1 - index]
        for rank, person in enumerate(lowest(gain, dataset, found & (gain < 0), number), 1):
            text = (
                f"{winner.label} is better at {_who(person, dataset)} "
                f"{winner.label}: {_said(_verdict(person, winner.clean, dataset))} "
                f"{loser.label}: {_said(_verdict(person, loser.clean, dataset))}"
            )
            panels: list[tuple[str, Condition, Degradation | None]] = [
                (m.label, m.clean, None) for m in models
            ]
            pictures.append(_picture(f"won_{index + 1}_{rank}", person, panels, dataset, text))
    return tuple(pictures)


def _verdict(person: int, condition: Condition, dataset: PoseDataset) -> Verdict:
    return verdict(
        person, condition.poses, condition.errors, condition.scores.similarities, dataset
    )


def _who(person: int, dataset: PoseDataset) -> str:
    picture = dataset.pictures[dataset.picture_index[person]]
    return (
        f"{picture.path.name}, person {dataset.ids[person]}, {dataset.heights[person]:.0f} px tall."
    )


def _said(found: Verdict) -> str:
    ways = ", ".join(f"{count} {SHORT[mistake]}" for mistake, count in found.mistakes.items())
    text = f"OKS {found.similarity:.2f}, {found.wrong} of {found.labelled} joints wrong"
    text += f" ({ways})" if ways else ""
    if found.worst is not None:
        worst = found.worst
        text += (
            f", mean score {found.mean_score:.2f}. Farthest: {worst.name.replace('_', ' ')}, "
            f"{worst.pixels:.0f} px or {worst.torsos:.1f} torsos off, score {worst.score:.2f}"
        )
    return f"{text}."


def _picture(
    name: str,
    person: int,
    views: Sequence[tuple[str, Condition, Degradation | None]],
    dataset: PoseDataset,
    text: str,
    seed: int = 0,
) -> Picture:
    """The label, on the frame of the last view, and then every view."""
    label = dataset.keypoints[person]
    index = int(dataset.picture_index[person])
    panels = []
    for title, condition, step in views:
        frame = _frame(dataset, index, step, seed)
        wrong = condition.errors.wrong[person]
        panels.append(Panel(title, frame, condition.poses.own[person], wrong=wrong))
    panels.insert(0, Panel(_LABEL, panels[-1].frame, label, is_label=True))
    drawn = draw_example(panels, dataset.boxes[person], label, dataset.keypoint_set)
    data = io.BytesIO()
    # 256 colours: a third of the size, and skeletons stay as they are to the eye.
    Image.fromarray(drawn).quantize(256, Image.Quantize.FASTOCTREE).save(data, "PNG", optimize=True)
    return Picture(name, data.getvalue(), text, wide=len(panels) > 2)


def _frame(
    dataset: PoseDataset, index: int, step: Degradation | None, seed: int
) -> NDArray[np.uint8]:
    """A picture as the model saw it; one of lower resolution with its pixels enlarged again."""
    if step is None:
        return dataset.pictures[index].read()
    worse = degrade(dataset, step, seed).dataset.pictures[index].read()
    size = dataset.pictures[index].width, dataset.pictures[index].height
    if (worse.shape[1], worse.shape[0]) == size:
        return worse
    return np.asarray(cv2.resize(worse, size, interpolation=cv2.INTER_NEAREST), np.uint8)
