"""The Triton backend `onnxruntime`, in Python: serves what NVIDIA's backend of that name serves.

Triton runs this file in a process per model instance, with an interpreter that has NumPy and ONNX
Runtime. It reads the same `config.pbtxt`: parameters `intra_op_thread_count` and
`inter_op_thread_count`, and `optimization { graph { level } }`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
"""Triton's levels, whose default is 0."""


class TritonPythonModel:
    """One instance of one model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Nothing is guessed: what is served is what `config.pbtxt` says."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model file; Triton shows the error where that fails."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file)
        if not path.is_file():
            raise pb_utils.TritonModelException(f"{path}: no such model file")
        try:
            self._session = ort.InferenceSession(
                str(path), _options(config), providers=_providers(args)
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"{path}: {error}") from error
        self._inputs = {i.name: i.type == "tensor(string)" for i in self._session.get_inputs()}
        self._batched = config["max_batch_size"] > 0
        _refuse_other_names(path, config, self._session)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run requests that arrived together as one batch."""
        inputs = [self._read(request) for request in requests]
        try:
            return self._run(requests, inputs)
        except Exception as error:  # noqa: BLE001 (it is the answer, whatever it is)
            if len(requests) == 1:
                return [_failure(error)]
        # One of them may be at fault: the others are answered.
        responses = []
        for request, single in zip(requests, inputs, strict=True):
            try:
                responses += self._run([request], [single])
            except Exception as error:  # noqa: BLE001 (see above)
                responses.append(_failure(error))
        return responses

    def _read(self, request: Any) -> dict[str, np.ndarray]:
        values = {}
        for name, is_text in self._inputs.items():
            value = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            values[name] = np.vectorize(_decoded, otypes=[object])(value) if is_text else value
        return values

    def _run(self, requests: list[Any], inputs: list[dict[str, np.ndarray]]) -> list[Any]:
        if not self._batched:
            return [
                _response(request, self._answers(one))
                for request, one in zip(requests, inputs, strict=True)
            ]
        merged = {
            name: inputs[0][name] if len(inputs) == 1 else np.concatenate([i[name] for i in inputs])
            for name in self._inputs
        }
        answers = self._answers(merged)
        sizes = [len(next(iter(one.values()))) for one in inputs]
        ends = np.cumsum(sizes)
        return [
            _response(request, {name: a[end - size : end] for name, a in answers.items()})
            for request, size, end in zip(requests, sizes, ends, strict=True)
        ]

    def _answers(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def _options(config: dict[str, Any]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    parameters = config.get("parameters", {})
    for name, attribute in (
        ("intra_op_thread_count", "intra_op_num_threads"),
        ("inter_op_thread_count", "inter_op_num_threads"),
    ):
        if name in parameters:
            text = parameters[name]["string_value"]
            if not text.isdecimal():
                raise pb_utils.TritonModelException(f"parameter {name}: {text!r} is no number")
            setattr(options, attribute, int(text))
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = GRAPH_LEVELS[max(-1, min(level, 2))]
    return options


def _providers(args: dict[str, str]) -> list[Any]:
    if args["model_instance_kind"] != "GPU":
        return ["CPUExecutionProvider"]
    device = {"device_id": int(args["model_instance_device_id"])}
    return [("CUDAExecutionProvider", device), "CPUExecutionProvider"]


def _refuse_other_names(path: Path, config: dict[str, Any], session: ort.InferenceSession) -> None:
    """Raise where `config.pbtxt` names tensors that the file has not, or leaves inputs out."""
    for kind, found in (("input", session.get_inputs()), ("output", session.get_outputs())):
        there = {tensor.name for tensor in found}
        named = {tensor["name"] for tensor in config[kind]}
        wrong = named - there or (there - named if kind == "input" else set())
        if wrong:
            raise pb_utils.TritonModelException(
                f"{path}: config.pbtxt has the {kind}s {', '.join(sorted(named))}, the file has "
                f"{', '.join(sorted(there))}"
            )


def _response(request: Any, answers: dict[str, np.ndarray]) -> Any:
    wanted = request.requested_output_names()
    tensors = [pb_utils.Tensor(name, _encoded(a)) for name, a in answers.items() if name in wanted]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def _encoded(answer: np.ndarray) -> np.ndarray:
    """Texts as the bytes that Triton sends; other arrays without gaps."""
    if answer.dtype == object:
        return np.asarray(np.vectorize(str.encode, otypes=[object])(answer))
    return np.ascontiguousarray(answer)


def _decoded(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def _failure(error: Exception) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
