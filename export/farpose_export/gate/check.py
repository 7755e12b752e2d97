"""The steps from a checkpoint to what is published, each measured and each able to refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from farpose_export.gate.outputs import Network, onnx_network, torch_network
from farpose_export.gate.people import LabelledPeople
from farpose_export.gate.step import Step, class_pixels, compare
from farpose_training.models.network import PoseNet

GENERATED_CROPS: Final = 256


class ParityError(RuntimeError):
    """A graph differs too much from what it was made from; nothing was written."""


def check_fp32(
    model: PoseNet, graph: onnx.ModelProto, people: LabelledPeople | None = None
) -> Step:
    """Compare a checkpoint with its graph, on generated crops and on those of people.

    Args:
        model: in eval mode.
        graph: what `to_onnx` made of it.
        people: labelled people, whose scores are compared too.

    Raises:
        ParityError: they differ by more than the limits of `fp32`.
    """
    crops = smooth_crops(model.config.resolution)
    if people is not None:
        crops = np.concatenate([people.crops, crops])
    step = _step(
        ("checkpoint", "fp32"),
        (torch_network(model), onnx_network(graph)),
        crops,
        class_pixels(model.config),
        people,
    )
    return accepted(step)


def low_precision_step(
    precision: str,
    full: onnx.ModelProto,
    low: onnx.ModelProto,
    people: LabelledPeople,
    pixels_per_class: float,
) -> Step:
    """Compare an FP32 graph with the same in fewer bits, on people only.

    It does not refuse: what fails may still be repaired (`accepted` refuses).
    """
    networks = (onnx_network(full), onnx_network(low))
    return _step(("fp32", precision), networks, people.crops, pixels_per_class, people)


def accepted(step: Step) -> Step:
    """The step itself.

    Raises:
        ParityError: it is past a limit; the message says which.
    """
    failures = step.failures()
    if failures:
        raise ParityError(
            f"{step.target} disagrees with the {step.source}: {'; '.join(failures)}; nothing was "
            "written"
        )
    return step


def smooth_crops(resolution: int, seed: int = 0) -> NDArray[np.uint8]:
    """Generated crops `[256,R,R,3]`: 8x8 fields of random colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (GENERATED_CROPS, 8, 8, 3)).astype(np.float32)
    repeat = resolution // 8
    return coarse.repeat(repeat, axis=1).repeat(repeat, axis=2).astype(np.uint8)


def _step(
    names: tuple[str, str],
    networks: tuple[Network, Network],
    crops: NDArray[np.uint8],
    pixels_per_class: float,
    people: LabelledPeople | None,
) -> Step:
    before, after = (network(crops) for network in networks)
    step = compare(*names, before, after, pixels_per_class)
    if people is None:
        return step
    scores = [
        people.score(*(part[: len(people.crops)] for part in outputs[:2]))
        for outputs in (before, after)
    ]
    return replace(step, before=scores[0], after=scores[1])
