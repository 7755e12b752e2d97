"""A real server that tests give models to."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from farpose_serving.triton.server import TritonServer
from tests.triton.small_models import add_model
from tests.triton.statistics import counted


class ModelLoader:
    """A server without models, and the repository it loads them from."""

    def __init__(self, server: TritonServer, repository: Path, log: Path) -> None:
        self.server, self.repository, self.log = server, repository, log
        self.client = grpc.InferenceServerClient(f"{server.host}:{server.ports.grpc}")

    def load(self, name: str, content: bytes, text: str, path: str = "1/model.onnx") -> str:
        """Add a model and load it."""
        add_model(self.repository, name, content, text, path=path)
        self.client.load_model(name)
        return name

    def refused(
        self, name: str, content: bytes, text: str, words: str, path: str = "1/model.onnx"
    ) -> None:
        """It is not loaded: the caller is told so in these words, and the log has them."""
        with pytest.raises(InferenceServerException) as caught:
            self.load(name, content, text, path)
        reason = rf"{name}/1/model\.onnx: {re.escape(words)}"
        assert re.search(reason, str(caught.value)), str(caught.value)
        assert re.search(reason, self.log.read_text())

    def ask(self, name: str, outputs: list[str] | None = None, **arrays: np.ndarray) -> Any:
        """The server's answer; the array alone where there is one output `y`."""
        result = self.client.infer(name, sent(arrays), outputs=wanted(outputs), client_timeout=60)
        return result if outputs else result.as_numpy("y")

    def ask_together(self, name: str, many: list[dict[str, np.ndarray]]) -> list[Any]:
        """One answer, or error, for each request; all are sent before the first is waited for."""
        answers: list[Future[Any]] = [Future() for _ in many]
        for arrays, answer in zip(many, answers, strict=True):
            self.client.async_infer(name, sent(arrays), into(answer), client_timeout=60)
        return [answer.result(60) for answer in answers]

    def counts(self, name: str, requests: int) -> tuple[int, int]:
        """Rows that were inferred for so many requests, and runs of the model."""
        found = counted(self.client, name, requests)
        return found.inference_count, found.execution_count


def into(answer: Future[Any]) -> Callable[[Any, Any], None]:
    return lambda result, error: answer.set_result(error or result.as_numpy("y"))


def sent(arrays: dict[str, np.ndarray]) -> list[Any]:
    tensors = []
    for name, array in arrays.items():
        tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensors.append(tensor.set_data_from_numpy(array))
    return tensors


def wanted(outputs: list[str] | None) -> list[Any] | None:
    return None if outputs is None else [grpc.InferRequestedOutput(name) for name in outputs]
