"""RTMDet, and other detectors that MMDeploy exported to ONNX with suppression inside.

Such a file has one input and the outputs `dets` and `labels`. It does not say how pixels are
normalised or which classes it knows: RTMDet's normalisation is taken, and class 0, which is the
person in COCO and in models of one class.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from farpose_export.detector.network import Detections, DetectorError, Network
from farpose_training.detection.model import MEAN_RGB, STD_RGB
from farpose_training.detection.tail import NMS_IOU

OUTPUTS: Final = ("dets", "labels")
PERSON: Final = 0


def read_mmdeploy(path: Path) -> Network:
    """A network from an MMDeploy file.

    Raises:
        DetectorError: it cannot be read, or is none.
    """
    try:
        graph = onnx.load(str(path))
    except FileNotFoundError:
        raise DetectorError(f"{path}: no such file") from None
    except (OSError, DecodeError) as error:
        raise DetectorError(f"{path}: not a readable ONNX file ({error})") from error
    names = tuple(output.name for output in graph.graph.output)
    if names != OUTPUTS or len(graph.graph.input) != 1:
        raise DetectorError(
            f"{path}: its outputs are {', '.join(names) or 'none'}; an ONNX detector needs "
            f"MMDeploy's {' and '.join(OUTPUTS)}, others are exported from Ultralytics' .pt file"
        )
    predictor = _Predictor(graph)
    facts = {
        "source_weights": path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": "that of the source weights (OpenMMLab's RTMDet: Apache-2.0)",
    }
    return Network(
        graph,
        "mmdeploy",
        PERSON,
        predictor,
        NMS_IOU,
        mean=MEAN_RGB,
        std=STD_RGB,
        bgr=True,
        facts=facts,
    )


class _Predictor:
    """The file as it is, with its normalisation in NumPy."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self._input = graph.graph.input[0].name
        self._session = ort.InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        normalised = (image.astype(np.float32) - MEAN_RGB) / np.array(STD_RGB)
        planes = normalised[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        (found,), (labels,) = self._session.run(list(OUTPUTS), {self._input: planes})
        people = found[labels == PERSON]
        people = people[np.argsort(-people[:, 4], kind="stable")]
        return Detections(people[:, :4], people[:, 4])
