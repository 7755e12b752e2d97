"""Whether a frozen graph computes what the checkpoint computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch

from farpose_export.graph import OUTPUTS, ExportedPose
from farpose_training.config import HeatmapConfig, ModelConfig, SimCCConfig
from farpose_training.models.network import PoseNet

CROPS = 256
MAX_SCORE_DIFFERENCE = 1e-4
MAX_MOVED_SHARE = 0.001
"""Share of joints that may move by more than one class: an argmax may flip between equal peaks."""


class ParityError(RuntimeError):
    """The frozen graph disagrees with the checkpoint; nothing was written."""


@dataclass(frozen=True)
class Parity:
    """Differences between checkpoint and graph on the same crops."""

    crops: int
    max_keypoint_pixels: float
    mean_keypoint_pixels: float
    moved_share: float
    """Joints that differ by more than one class, see `class_pixels`."""

    max_score: float


def check_parity(model: PoseNet, graph: onnx.ModelProto, seed: int = 0) -> Parity:
    """Compare the two on smooth random crops, in batches of several sizes.

    Raises:
        ParityError: they differ by more than the limits of this module.
    """
    config = model.config
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (CROPS, 8, 8, 3)).astype(np.float32)
    repeat = config.resolution // 8
    crops = coarse.repeat(repeat, axis=1).repeat(repeat, axis=2).astype(np.uint8)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = [t.numpy() for t in ExportedPose(model).eval()(torch.from_numpy(crops))]
    parts = [
        session.run(list(OUTPUTS), {"crops": part})
        for part in np.split(crops, np.cumsum([1, 2, 61, 64]))
        if len(part)
    ]
    found = [np.concatenate(column) for column in zip(*parts, strict=True)]
    distances = np.abs(found[0] - expected[0])
    parity = Parity(
        crops=CROPS,
        max_keypoint_pixels=float(distances.max()),
        mean_keypoint_pixels=float(distances.mean()),
        moved_share=float((distances.max(axis=-1) > class_pixels(config)).mean()),
        max_score=float(np.abs(found[1] - expected[1]).max()),
    )
    if parity.max_score > MAX_SCORE_DIFFERENCE or parity.moved_share > MAX_MOVED_SHARE:
        raise ParityError(f"the ONNX graph disagrees with the checkpoint: {parity}")
    return parity


def class_pixels(config: ModelConfig) -> float:
    """Crop pixels between two neighbouring answers of the head: a bin, or a cell of its maps.

    A head that regresses has no classes; 1 crop pixel stands for one.
    """
    match config.head:
        case SimCCConfig() as head:
            return 1 / head.split_factor
        case HeatmapConfig():
            return 4 / config.upscale
        case _:
            return 1.0
