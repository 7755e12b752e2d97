"""INT8 by static quantisation: ranges of features from real pictures, Q/DQ nodes in the graph.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

from farpose_export.precision.layers import LONG_SUM, Layer, decoder_nodes, long_sums

Target = Literal["cpu", "tensorrt"]

Feed = Mapping[str, NDArray[np.uint8]]
"""A graph's inputs by name, for one run."""

Layers = Literal["all", "long"]
"""`long`: only convolutions and products of `LONG_SUM` terms or more."""

BATCH_SIZE: Final = 32

SETTINGS: Final[Mapping[Target, Mapping[str, Any]]] = {
    # What the integer instructions of x86 multiply: unsigned features by signed weights. These have
    # 7 bits: processors without VNNI add two products in 16 bits, which 8 overflow, without a word.
    "cpu": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "reduce_range": True,
    },
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


class NothingToQuantizeError(ValueError):
    """No layer is left for integers."""


class Quantizer:
    """Quantises one graph, as often as wanted with other layers in FP32; calibrates once.

    Args:
        graph: FP32, of `to_onnx`.
        crops: real crops `[P,R,R,3]` UINT8 that the ranges are measured on.
        target: what will run it.
        method: how a range follows from the values seen.
        layers: what is quantised; the rest, and what is between, stays in FP32.

    Raises:
        UnknownGraphError: `to_onnx` did not make the graph.
        NothingToQuantizeError: `layers` is `long`, and no sum of the network is.
    """

    def __init__(
        self,
        graph: onnx.ModelProto,
        crops: NDArray[np.uint8],
        target: Target = "cpu",
        method: CalibrationMethod = CalibrationMethod.MinMax,
        layers: Layers = "all",
    ) -> None:
        self._never = decoder_nodes(graph)
        if layers == "long":
            long = long_sums(graph)
            if not long:
                raise NothingToQuantizeError(
                    f"the network has no sum of {LONG_SUM} terms or more that could be quantised: "
                    "use --int8-layers all"
                )
            self._never = [node.name for node in graph.graph.node if node.name not in long]
        self._crops = crops
        self._target: Target = target
        self._method = method
        self._folder = Path(tempfile.mkdtemp(prefix="farpose-quantize-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._prepared = _prepared(graph, self._folder)

    def __call__(self, kept: Iterable[Layer] = ()) -> onnx.ModelProto:
        """The quantised graph.

        Args:
            kept: layers that stay in FP32.
        """
        batches = np.split(self._crops, range(BATCH_SIZE, len(self._crops), BATCH_SIZE))
        return _quantized(
            self._prepared,
            ({"crops": batch} for batch in batches),
            self._never + [name for layer in kept for name in layer.nodes],
            self._target,
            self._method,
        )


def quantized(
    graph: onnx.ModelProto, feeds: Iterable[Feed], full: Sequence[str], target: Target = "cpu"
) -> onnx.ModelProto:
    """Any graph in INT8.

    Args:
        graph: FP32; the original is left as it is.
        feeds: inputs that the ranges are measured on, from minimum to maximum.
        full: names of nodes that stay in FP32.
        target: what will run it.
    """
    with tempfile.TemporaryDirectory(prefix="farpose-quantize-") as folder:
        prepared = _prepared(graph, Path(folder))
        return _quantized(prepared, feeds, full, target, CalibrationMethod.MinMax)


def _prepared(graph: onnx.ModelProto, folder: Path) -> Path:
    prepared = folder / "prepared.onnx"
    quant_pre_process(graph, str(prepared), skip_optimization=True, skip_symbolic_shape=True)
    return prepared


def _quantized(
    prepared: Path,
    feeds: Iterable[Feed],
    full: Sequence[str],
    target: Target,
    method: CalibrationMethod,
) -> onnx.ModelProto:
    """The graph of `_prepared`, whose folder keeps the ranges for the next time."""
    written = prepared.with_name("quantized.onnx")
    with _quieted():
        quantize_static(
            prepared,
            written,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=list(full),
            calibrate_method=method,
            calibration_cache_path=prepared.with_name("ranges.json"),
            **SETTINGS[target],
        )
    return _without_unread_weights(onnx.load(str(written)))


def _without_unread_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out initializers that no node reads; ONNX Runtime would warn of each."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [weight for weight in model.graph.initializer if weight.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Hands inputs over one by one."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


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
