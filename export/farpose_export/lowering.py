"""A graph in lower precision that passes the gate, or the layers that keep it from passing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import onnx

from farpose_export.gate.check import ParityError, accepted, low_precision_step
from farpose_export.gate.outputs import onnx_network
from farpose_export.gate.people import LabelledPeople
from farpose_export.gate.step import Step
from farpose_export.precision.blame import Blame, Convert, blame, fewest_kept
from farpose_export.precision.layers import Layer, layers_of

BLAME_CROPS: Final = 96
"""Enough to see which layers move keypoints."""

NAMED_LAYERS: Final = 5
"""As many layers at fault are named in an error."""


@dataclass(frozen=True)
class Lowered:
    """A graph that passed."""

    graph: onnx.ModelProto
    step: Step
    kept: tuple[Layer, ...] = ()
    """What had to stay in FP32."""


def lower(
    graph: onnx.ModelProto,
    precision: str,
    convert: Convert,
    people: LabelledPeople,
    pixels_per_class: float,
    *,
    auto_fp32: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Lowered:
    """Convert a graph and let it pass the gate.

    Args:
        graph: FP32, of `to_onnx`.
        precision: what it is converted to.
        convert: converts it, but for some layers.
        people: labelled people whose scores must not suffer.
        pixels_per_class: see `class_pixels`.
        auto_fp32: leave the fewest layers in FP32 that pass.
        say: told what takes time.

    Raises:
        ParityError: it is past its limits; the message names the layers at fault.
    """

    def measured(kept: Sequence[Layer]) -> Lowered:
        low = convert(kept)
        step = low_precision_step(precision, graph, low, people, pixels_per_class)
        say(f"{len(kept)} layers in fp32: {step.text()}")
        return Lowered(low, step, tuple(kept))

    whole = measured(())
    if not whole.step.failures():
        return whole
    say("past its limits: looking for the layers at fault")
    blamed = blame(layers_of(graph), convert, _keypoint_moves(graph, people))
    if not auto_fp32:
        try:
            accepted(whole.step)
        except ParityError as error:
            raise ParityError(
                f"{error}; {_text(blamed)}; --auto-fp32 leaves them in fp32"
            ) from None
    tried: dict[int, Lowered] = {}

    def passes(kept: Sequence[Layer]) -> bool:
        tried[len(kept)] = measured(kept)
        return not tried[len(kept)].step.failures()

    ranked = [one.layer for one in blamed]
    while (kept := fewest_kept(ranked, passes)) is None:
        # Lesser harm shows once the worst is out of the way.
        more = blame(
            [layer for layer in layers_of(graph) if layer not in ranked],
            partial(_also_kept, convert, tuple(ranked)),
            _keypoint_moves(graph, people),
        )
        if not more:
            raise ParityError(
                f"{precision} is past its limits even with {len(ranked)} layers in fp32: "
                f"{'; '.join(tried[len(ranked)].step.failures())}; nothing was written"
            )
        ranked += [one.layer for one in more]
    return tried[len(kept)]


def _also_kept(convert: Convert, always: Sequence[Layer], kept: Sequence[Layer]) -> onnx.ModelProto:
    return convert([*always, *kept])


def _keypoint_moves(
    graph: onnx.ModelProto, people: LabelledPeople
) -> Callable[[onnx.ModelProto], float]:
    """How far a graph moves keypoints in the mean, crop pixels."""
    crops = people.crops[:BLAME_CROPS]
    expected = onnx_network(graph)(crops).keypoints

    def error(low: onnx.ModelProto) -> float:
        return float(np.abs(onnx_network(low)(crops).keypoints - expected).mean())

    return error


def _text(blamed: Sequence[Blame]) -> str:
    if not blamed:
        return "no single layer is at fault"
    named = [f"{one.layer.name} ({one.error:.2g} px)" for one in blamed[:NAMED_LAYERS]]
    more = len(blamed) - len(named)
    return f"at fault are, with the mean move of keypoints by each alone, {', '.join(named)}" + (
        f" and {more} more" if more else ""
    )
