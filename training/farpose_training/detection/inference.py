"""Running a detector's served graph in process, for the teacher and for reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from farpose.evaluation.detection import Detect
from farpose.letterbox import Resizer, letterbox, resize
from farpose_training.detection.export import build_onnx
from farpose_training.detection.model import PersonDetector


def onnx_detector(graph: Path | bytes, threads: int = 1, *, resizer: Resizer = resize) -> Detect:
    """`detect(picture, size)` with an ONNX file (or its bytes) of the detector's contract."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(graph) if isinstance(graph, Path) else graph,
        options,
        providers=["CPUExecutionProvider"],
    )

    def detect(
        image: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        boxed = letterbox(image, size, resizer=resizer)
        boxes, scores = session.run(None, {"images": boxed.image[None]})
        found = scores[0] > 0
        return boxed.boxes_to_frame(boxes[0][found]), scores[0][found]

    return detect


def model_detector(model: PersonDetector, threads: int = 1, *, resizer: Resizer = resize) -> Detect:
    """`detect(picture, size)` with the served graph of a trainable detector."""
    return onnx_detector(build_onnx(model, {}).SerializeToString(), threads, resizer=resizer)
