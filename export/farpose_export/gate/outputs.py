"""What a network says of crops, run the same way whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from farpose_export.graph import OUTPUTS, ExportedPose
from farpose_training.models.network import PoseNet

BATCH_SIZE = 64


class Outputs(NamedTuple):
    """Answers for `P` crops."""

    keypoints: NDArray[np.float32]
    """`[P,J,2]` crop pixels."""

    scores: NDArray[np.float32]
    """`[P,J]`, 0 to 1."""

    variances: NDArray[np.float32]
    """`[P,J,2]` crop pixels squared."""


Network = Callable[[NDArray[np.uint8]], Outputs]
"""Crops `[P,R,R,3]` to their outputs."""


def torch_network(model: PoseNet) -> Network:
    """A checkpoint's network, decoding included."""
    whole = ExportedPose(model).eval()

    @torch.no_grad()
    def run(crops: NDArray[np.uint8]) -> Outputs:
        parts = [whole(torch.from_numpy(part)) for part in _batches(crops)]
        return Outputs(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))

    return run


def onnx_network(graph: onnx.ModelProto, threads: int = 0) -> Network:
    """A graph in ONNX Runtime on the CPU.

    Args:
        graph: with the contract of a pose model.
        threads: per run; 0 is the runtime's choice.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(crops: NDArray[np.uint8]) -> Outputs:
        parts = [session.run(list(OUTPUTS), {"crops": part}) for part in _batches(crops)]
        return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    return run


def _batches(crops: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Batches of 1, 2 and then 64: a graph that only takes one size fails here."""
    return [part for part in np.split(crops, _places(len(crops))) if len(part)]


def _places(count: int) -> list[int]:
    return [1, 3, *range(3 + BATCH_SIZE, count, BATCH_SIZE)]
