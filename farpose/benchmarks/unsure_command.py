"""`farpose bench unsure`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from farpose.benchmarks.machine import this_machine
from farpose.evaluation.dataset import load_dataset
from farpose.evaluation.runner import evaluate_pose
from farpose.evaluation.unsure import Joints, choose, judge
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository
from farpose.unsure import UNSURE_BELOW

LEAST_SCORE = 1e-3
"""Where a spread is divided by a score."""


def unsure(
    people: Annotated[
        list[str],
        typer.Argument(metavar="LABELS:PICTURES...", help="A file of labels and a folder, each."),
    ],
    models: Annotated[
        list[str] | None, typer.Option("--model", help="May be given again; the bundled ones.")
    ] = None,
) -> None:
    """Choose on half of the people below which score a joint is unsure; judge on the others.

    Beside the score, the spread relative to the person's size, and the spread over the score.
    """
    from farpose.engines.onnxruntime import OnnxRuntimeEngine

    sets = [load_dataset(Path(labels), Path(pictures)) for labels, pictures in map(_split, people)]
    typer.echo(str(this_machine()))
    with OnnxRuntimeEngine(default_repository()) as engine:
        for model in models or UNSURE_BELOW:
            pipeline = PosePipeline(engine)
            joints = Joints.of(
                (asyncio.run(evaluate_pose(pipeline, truth, pose_model=model)), truth)
                for truth in sets
            )
            typer.echo(_table(model, joints))


def _split(argument: str) -> tuple[str, str]:
    labels, _, pictures = argument.rpartition(":")
    if not labels:
        raise typer.BadParameter(f"{argument}: give LABELS.json:FOLDER")
    return labels, pictures


def _table(model: str, joints: Joints) -> str:
    chosen_on, judged_on = joints.half(second=False), joints.half(second=True)
    lines = [
        f"\n{model}: {len(judged_on.wrong)} joints judged, {judged_on.wrong.mean():.1%} wrong",
        f"{'by':<16}{'threshold':>10}{'flagged':>9}{'precision':>11}{'recall':>8}",
    ]
    measures: dict[str, Callable[[Joints], NDArray[np.float64]]] = {
        "score": lambda j: -j.scores,
        "spread": lambda j: j.spreads,
        "spread / score": lambda j: j.spreads / np.maximum(j.scores, LEAST_SCORE),
    }
    for name, doubt in measures.items():
        found = judge(doubt(judged_on), judged_on.wrong, choose(doubt(chosen_on), chosen_on.wrong))
        lines.append(
            f"{name:<16}{abs(found.threshold):>10.3f}{found.flagged:>9.1%}"
            f"{found.precision:>11.1%}{found.recall:>8.1%}"
        )
    if model in UNSURE_BELOW:
        found = judge(-judged_on.scores, judged_on.wrong, np.nextafter(-UNSURE_BELOW[model], 0))
        lines.append(
            f"{'as set':<16}{UNSURE_BELOW[model]:>10.3f}{found.flagged:>9.1%}"
            f"{found.precision:>11.1%}{found.recall:>8.1%}"
        )
    return "\n".join(lines)
