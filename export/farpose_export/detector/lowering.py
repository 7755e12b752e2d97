"""A detector in fewer bits, refused where it loses people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from farpose_export.detector.labelled import LabelledPictures
from farpose_export.detector.step import DetectorStep
from farpose_export.gate.check import ParityError
from farpose_export.precise import MissingPeopleError, Precision, Target
from farpose_export.precision.fp16 import halved
from farpose_export.precision.int8 import quantized
from farpose_export.precision.layers import tail_nodes


def refuse_missing(precision: Precision, labelled: bool, calibration: Path | None) -> None:
    """Say what a precision needs and was not given; `MissingPeopleError`."""
    if precision is not Precision.FP32 and not labelled:
        raise MissingPeopleError(
            f"{precision} is compared with fp32 on labelled people: give --annotations and --images"
        )
    if precision is Precision.INT8 and calibration is None:
        raise MissingPeopleError(
            "int8 is fitted to pictures: give --calibration-images, others than --images"
        )


def lower_detector(
    graph: onnx.ModelProto,
    precision: Precision,
    target: Target,
    people: LabelledPictures,
    calibration: Sequence[NDArray[np.uint8]] = (),
) -> tuple[onnx.ModelProto, DetectorStep]:
    """The graph in FP16 or INT8; what makes boxes of the last convolutions stays in FP32.

    Args:
        graph: FP32, of the contract of `person_detector`.
        precision: `fp16` or `int8`.
        target: what will run INT8.
        people: whom it must not lose.
        calibration: letterboxed pictures, `[H,W,3]` UINT8 RGB, that INT8 is fitted to.

    Raises:
        ParityError: too many people are lost.
    """
    tail = tail_nodes(graph)
    if precision is Precision.INT8:
        feeds = ({"images": picture[None]} for picture in calibration)
        low = quantized(graph, feeds, tail, target.value)
    else:
        low = halved(graph, tail)
    step = people.compare(graph, low, precision.value)
    if step.failures():
        raise ParityError(
            f"{precision} finds fewer people than fp32: {'; '.join(step.failures())} "
            f"({step.text()}); nothing was written, --precision fp32 passes"
        )
    return low, step
