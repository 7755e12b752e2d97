"""INT8 by static quantisation: ranges of features from real crops, Q/DQ nodes in the graph.

The Q/DQ form is what both ONNX Runtime and TensorRT read: each fuses a pair around an operator into
an integer kernel.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from farpose_export.precision.layers import Layer, decoder_nodes

Target = Literal["cpu", "tensorrt"]

BATCH_SIZE: Final = 32

SETTINGS: Final[Mapping[Target, Mapping[str, Any]]] = {
    # What the integer instructions of x86 multiply: unsigned features by signed weights.
    "cpu": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    # TensorRT only takes symmetric signed integers, and wants biases in FP32.
    "tensorrt": {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        },
    },
}


class Quantizer:
    """Quantises one graph, as often as wanted with other layers in FP32; calibrates once.

    Args:
        graph: FP32, of `to_onnx`.
        crops: real crops `[P,R,R,3]` UINT8 that the ranges are measured on.
        target: what will run it.
        method: how a range follows from the values seen.

    Raises:
        UnknownGraphError: `to_onnx` did not make the graph.
    """

    def __init__(
        self,
        graph: onnx.ModelProto,
        crops: NDArray[np.uint8],
        target: Target = "cpu",
        method: CalibrationMethod = CalibrationMethod.MinMax,
    ) -> None:
        self._decoder = decoder_nodes(graph)
        self._crops = crops
        self._target: Target = target
        self._method = method
        self._folder = Path(tempfile.mkdtemp(prefix="farpose-quantize-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._prepared = self._folder / "prepared.onnx"
        quant_pre_process(
            graph, str(self._prepared), skip_optimization=True, skip_symbolic_shape=True
        )

    def __call__(self, kept: Iterable[Layer] = ()) -> onnx.ModelProto:
        """The quantised graph.

        Args:
            kept: layers that stay in FP32.
        """
        target = self._folder / "quantized.onnx"
        with _quieted():
            quantize_static(
                self._prepared,
                target,
                _Crops(self._crops),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                nodes_to_exclude=self._decoder + [name for layer in kept for name in layer.nodes],
                calibrate_method=self._method,
                calibration_cache_path=self._folder / "ranges.json",
                **SETTINGS[self._target],
            )
        return _without_unread_weights(onnx.load(str(target)))


def _without_unread_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out initializers that no node reads; ONNX Runtime would warn of each."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [weight for weight in model.graph.initializer if weight.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    """Hands crops over in batches."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        self._batches: Iterator[NDArray[np.uint8]] = iter(
            np.split(crops, range(BATCH_SIZE, len(crops), BATCH_SIZE))
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"crops": batch}


@contextlib.contextmanager
def _quieted() -> Iterator[None]:
    """Hold back what the quantiser prints, and its advice on the root logger."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.setLevel(level)
