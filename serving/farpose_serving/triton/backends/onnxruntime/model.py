"""The Triton backend `onnxruntime`, in Python: serves what NVIDIA's backend of that name serves.

Triton runs this file in a process per model instance, with an interpreter that has NumPy and ONNX
Runtime. It reads the same `config.pbtxt`; what it cannot do is refused when a model is loaded.
docs/triton.md lists the fields that are read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}
"""Triton's names of the types, and ONNX Runtime's."""

GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
"""`optimization { graph { level } }` as NVIDIA's backend reads it; all others mean everything."""

UNSUPPORTED = ("sequence_batching", "batch_input", "batch_output", "model_operations")
MAX_THREADS = 1024


@dataclass
class Call:
    """A request, its inputs by name, and what it is answered."""

    request: Any
    inputs: dict[str, np.ndarray]
    response: Any = None

    @property
    def rows(self) -> int:
        """How much of a batch it is."""
        return len(next(iter(self.inputs.values())))


class TritonPythonModel:
    """One instance of one model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Nothing is guessed: what is served is what `config.pbtxt` says."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model file; Triton shows the error where that fails."""
        config = json.loads(args["model_config"])
        self._batched = config["max_batch_size"] > 0
        path = _model_file(args, config)
        _refuse_unsupported(path, config, self._batched)
        options = _options(path, config)
        try:
            self._session = ort.InferenceSession(str(path), options, providers=_providers(args))
        except Exception as error:
            raise _refusal(path, f"ONNX Runtime does not load it: {error}") from error
        given = self._session.get_inputs()
        optional = self._session.get_overridable_initializers()
        self._inputs = _matched(path, config, "input", [*given, *optional])
        missing = {tensor.name for tensor in given} - self._inputs.keys()
        if missing:
            raise _refusal(path, f"config.pbtxt leaves out its inputs {_listed(missing)}")
        self._outputs = _matched(path, config, "output", self._session.get_outputs())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests that arrived together; those of equal shapes run as one batch."""
        calls = []
        batches: dict[Any, list[Call]] = {}
        for index, request in enumerate(requests):
            call = Call(request, {})
            calls.append(call)
            try:
                call.inputs = self._read(request)
            except ValueError as error:
                call.response = _failure(error)
                continue
            shapes = tuple((name, value.shape[1:]) for name, value in call.inputs.items())
            batches.setdefault(shapes if self._batched else index, []).append(call)
        for batch in batches.values():
            self._answer(batch)
        return [call.response for call in calls]

    def _read(self, request: Any) -> dict[str, np.ndarray]:
        values = {}
        for name, config in self._inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:  # an optional one
                continue
            value = tensor.as_numpy()
            if config["data_type"] == "TYPE_STRING":
                value = np.vectorize(lambda text: _decoded(text, name), otypes=[object])(value)  # noqa: B023
            values[name] = value.reshape(()) if config["is_scalar"] else value
        return values

    def _answer(self, batch: list[Call]) -> None:
        try:
            self._run(batch)
        except Exception as error:  # noqa: BLE001 (it is the answer, whatever it is)
            if len(batch) == 1:
                batch[0].response = _failure(error)
            else:  # one of them may be at fault: the others are answered
                for call in batch:
                    self._answer([call])

    def _run(self, batch: list[Call]) -> None:
        wanted = [set(call.request.requested_output_names()) for call in batch]
        names = [name for name in self._outputs if any(name in one for one in wanted)]
        merged = {
            name: value
            if len(batch) == 1
            else np.concatenate([call.inputs[name] for call in batch])
            for name, value in batch[0].inputs.items()
        }
        answers = dict(zip(names, self._session.run(names, merged), strict=True))
        responses, start = [], 0
        for call, only in zip(batch, wanted, strict=True):
            part = slice(start, start + call.rows) if self._batched else ...
            start += call.rows if self._batched else 0
            responses.append(
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor(name, self._sent(name, answer[part]))
                        for name, answer in answers.items()
                        if name in only
                    ]
                )
            )
        for name, answer in answers.items():
            if self._batched and len(answer) != start:
                raise ValueError(f"output {name} has {len(answer)} rows for a batch of {start}")
        for call, response in zip(batch, responses, strict=True):
            call.response = response

    def _sent(self, name: str, answer: np.ndarray) -> np.ndarray:
        """Texts as the bytes that Triton sends; other arrays without gaps."""
        config = self._outputs[name]
        if config["data_type"] == "TYPE_STRING":
            answer = np.asarray(np.vectorize(str.encode, otypes=[object])(answer))
        if config["is_scalar"]:
            answer = answer.reshape(config["dims"])
        return np.ascontiguousarray(answer)


def _model_file(args: dict[str, str], config: dict[str, Any]) -> Path:
    name = config.get("default_model_filename") or "model.onnx"
    path = Path(args["model_repository"], args["model_version"], name)
    if path.is_dir():
        path /= "model.onnx"
    if not path.is_file():
        raise _refusal(path, "no such model file")
    return path


def _refuse_unsupported(path: Path, config: dict[str, Any], batched: bool) -> None:
    found = [name for name in UNSUPPORTED if config.get(name)]
    if config.get("model_transaction_policy", {}).get("decoupled"):
        found.append("decoupled")
    for tensor in config["input"]:
        if tensor.get("allow_ragged_batch"):
            found.append("allow_ragged_batch")
        if tensor.get("optional") and batched:
            found.append("optional inputs with max_batch_size above 0")
    if found:
        raise _refusal(path, f"{_listed(found)} in config.pbtxt: not supported by this backend")
    if config.get("optimization", {}).get("execution_accelerators"):
        pb_utils.Logger.log_warn(f"{path}: execution_accelerators in config.pbtxt are ignored")


def _options(path: Path, config: dict[str, Any]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = _number(path, config, "intra_op_thread_count", MAX_THREADS)
    options.inter_op_num_threads = _number(path, config, "inter_op_thread_count", MAX_THREADS)
    if _number(path, config, "execution_mode", 1):
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = GRAPH_LEVELS.get(
        int(config.get("optimization", {}).get("graph", {}).get("level", 0)),
        ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    )
    return options


def _number(path: Path, config: dict[str, Any], name: str, largest: int) -> int:
    parameter = config.get("parameters", {}).get(name)
    if parameter is None:
        return 0
    text = parameter["string_value"]
    if not (text.isascii() and text.isdecimal() and int(text) <= largest):
        raise _refusal(
            path, f"parameter {name} in config.pbtxt is {text!r}, not a number from 0 to {largest}"
        )
    return int(text)


def _providers(args: dict[str, str]) -> list[Any]:
    if args["model_instance_kind"] != "GPU":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pb_utils.Logger.log_warn("this ONNX Runtime was built without CUDA: it runs on the CPU")
        return ["CPUExecutionProvider"]
    device = {"device_id": int(args["model_instance_device_id"])}
    return [("CUDAExecutionProvider", device), "CPUExecutionProvider"]


def _matched(path: Path, config: dict[str, Any], kind: str, found: list[Any]) -> dict[str, Any]:
    """The tensors of `config.pbtxt` by name; raises where the file has not the like of them.

    The rules are those of NVIDIA's backend: sizes of inputs may be open in the file alone, those of
    outputs are the same in both.
    """
    there = {tensor.name: tensor for tensor in found}
    batch = [-1] if config["max_batch_size"] > 0 else []
    matched = {}
    for tensor in config[kind]:
        name, data_type = tensor["name"], tensor["data_type"]
        if name not in there:
            raise _refusal(
                path,
                f"config.pbtxt names the {kind} {name}, the file has {_listed(there) or 'none'}",
            )
        if TYPES.get(data_type) != there[name].type:
            raise _refusal(
                path,
                f"{kind} {name} is {data_type} in config.pbtxt and {there[name].type} in the file"
                + ("" if data_type in TYPES else ": not supported by this backend"),
            )
        dims = [int(size) for size in tensor.get("reshape", tensor).get("shape", tensor["dims"])]
        shape = [size if isinstance(size, int) else -1 for size in there[name].shape]
        is_scalar = not shape and not batch and set(dims) <= {1}
        fits = len(shape) == len(batch + dims) and all(
            size == wanted or (size == -1 and kind == "input")
            for size, wanted in zip(shape, batch + dims, strict=True)
        )
        if not (is_scalar or (fits and shape[: len(batch)] == batch)):
            raise _refusal(
                path, f"{kind} {name} is {batch + dims} by config.pbtxt and {shape} in the file"
            )
        matched[name] = {"data_type": data_type, "dims": dims, "is_scalar": is_scalar}
    return matched


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _refusal(path: Path, reason: str) -> Exception:
    error: Exception = pb_utils.TritonModelException(f"{path}: {reason}")
    return error


def _decoded(text: bytes, name: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"input {name}: ONNX Runtime takes UTF-8 texts only ({error})") from error


def _failure(error: Exception) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
