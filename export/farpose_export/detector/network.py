"""A detector as it was brought: its graph, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

Outputs = Literal["dense", "end_to_end", "mmdeploy"]
"""`dense`: one tensor `[B,4+classes,A]` of centres, sizes and class scores, before suppression.
`end_to_end`: one tensor `[B,K,6]` of corners, score and class. `mmdeploy`: `dets` `[B,K,5]` of
corners and score, and `labels` `[B,K]`."""


class DetectorError(ValueError):
    """A file is no detector that can be exported; the message says what it is and what is."""


@dataclass(frozen=True)
class Detections:
    """People in one picture, best first."""

    boxes: NDArray[np.float32]
    """`[K,4]` x1, y1, x2, y2 in input pixels."""

    scores: NDArray[np.float32]
    """`[K]`."""


Predict = Callable[[NDArray[np.uint8]], Detections]
"""One letterboxed picture `[H,W,3]` UINT8 RGB to the people in it, by the original's own code."""


@dataclass(frozen=True)
class Network:
    """A detector that can be wrapped."""

    graph: onnx.ModelProto
    """One input, `[B,3,H,W]` FP32 of any size that is a multiple of 32."""

    outputs: Outputs
    person: int
    """Index of the class."""

    predict: Predict
    """What the wrapped graph is compared with."""

    nms_iou: float
    """Overlap above which the worse of two boxes is dropped; already done if not `dense`."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB, subtracted from pixels of 0 to 255."""

    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    """RGB, that they are divided by then."""

    bgr: bool = False
    """Whether the network wants blue first."""

    facts: dict[str, str] = field(default_factory=dict)
    """For the graph's metadata: source and licence."""
