"""A detector that `farpose train` made, from its own checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from farpose_export.detector.network import Detections, Predict
from farpose_training.checkpoint import read_tensors
from farpose_training.detection.export import build_onnx
from farpose_training.detection.model import PersonDetector
from farpose_training.detection.tail import NMS_IOU, SCORE_FLOOR


def read_checkpoint(path: Path) -> tuple[onnx.ModelProto, Predict]:
    """The graph of the contract, and the network that it is compared with.

    Raises:
        CheckpointError: the file is missing, damaged or no person detector.
    """
    model = PersonDetector.from_checkpoint(path)
    facts = {key: value for key, value in read_tensors(path)[1].items() if key != "format"}
    facts["source_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return build_onnx(model, {**facts, "precision": "fp32"}), _Predictor(model)


class _Predictor:
    """The network in PyTorch, and its suppression."""

    def __init__(self, model: PersonDetector) -> None:
        self._model = model

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        with torch.inference_mode():
            found = self._model(torch.from_numpy(image)[None])
            scores = found.logits[0].sigmoid()
            sure = scores > SCORE_FLOOR
            boxes, scores = found.boxes[0][sure], scores[sure]
            kept = nms(boxes, scores, NMS_IOU)  # best first
        return Detections(boxes[kept].numpy(), scores[kept].numpy())
