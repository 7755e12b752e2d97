"""The engine over a Triton server: `tritonclient` over gRPC, on one channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.grpc.aio import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from farpose.engine import (
    EngineError,
    EngineOverloadedError,
    EngineTimeoutError,
    EngineUnavailableError,
    InvalidInputError,
    ModelMetadata,
    Tensors,
    UnknownModelError,
)
from farpose.engines.model_config import JOINT_SCORES, label_file, metadata_of
from farpose.engines.shared_memory import UNREGISTERED, SharedInputs

DEFAULT_URL: Final = "127.0.0.1:8001"

CHANNEL_ARGUMENTS: Final = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    # A server that comes back is found within a second; gRPC would wait up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    # In spite of its name, how long a busy server may take to greet.
    "grpc.min_reconnect_backoff_ms": 5000,
    # A server whose machine has vanished, or has moved to another address, never says so.
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.http2.ping_timeout_ms": 5000,
    "grpc.http2.max_pings_without_data": 0,
}

KEEPALIVE_SECONDS: Final = 10.0
"""While requests wait, a server that is silent for so long is asked whether it is there."""

READY_SECONDS: Final = 2.0
"""For the answer to whether a server is ready."""

QUEUE_REFUSALS: Final = ("Exceeds maximum queue size", "Request timeout expired")
"""What a server says whose queue is full, or in which a request has waited too long."""

STUB_FAILED: Final = "Stub process"
"""Begins the message of a Python model of which a process has ended; others may answer."""


class TritonEngine:
    """The models of a Triton server. Use it as an asynchronous context.

    A request that was sent is never repeated by this class: one that brought a server down would
    bring down the next one. A server that restarts is found again by itself.

    Args:
        url: `HOST:PORT` of its gRPC endpoint.
        timeout: seconds that one inference may take, its waiting in the server's queue included.
        headers: more to send with every run, such as the trace it belongs to.
        shared_memory: hand large inputs over in shared memory; the server must be on this machine,
            and in the same container or one with the same `/dev/shm`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = 10.0,
        *,
        shared_memory: bool = False,
        headers: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self.url = url
        self._headers = headers
        self._timeout = timeout
        # Once per request at most: Triton hangs up on who asks four times without an answer.
        keepalive = {"grpc.keepalive_time_ms": int(max(KEEPALIVE_SECONDS, timeout) * 1e3)}
        arguments = list((CHANNEL_ARGUMENTS | keepalive).items())
        self._client = InferenceServerClient(url, channel_args=arguments)
        self._shared = SharedInputs(self._client) if shared_memory else None
        self._known: dict[str, ModelMetadata] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; what still runs fails."""
        if self._shared is not None:
            await self._shared.close()
        await self._client.close()

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """See `Engine.infer`.

        Raises:
            UnknownModelError: the server has no such model.
            EngineOverloadedError: the model's queue is full, or the request waited too long in it.
            EngineUnavailableError: nobody answers, or the model has been replaced meanwhile.
            EngineTimeoutError: no answer within the timeout.
            EngineError: the model failed.
        """
        metadata = await self.metadata(model)
        outputs = [InferRequestedOutput(output.name) for output in metadata.outputs]
        if self._shared is None:
            tensors = [_input(name, array) for name, array in inputs.items()]
            result = await self._infer(model, tensors, outputs)
        else:
            result = await self._infer_shared(self._shared, model, inputs, outputs)
        version = result.get_response().model_version
        if version != metadata.version:
            self._known.pop(model, None)
            raise EngineUnavailableError(
                f"{model} was replaced: version {version} answered, not {metadata.version}"
            )
        return {output.name: result.as_numpy(output.name) for output in metadata.outputs}

    async def metadata(self, model: str) -> ModelMetadata:
        """See `Engine.metadata`; raises as `infer` does. It is asked for once per connection."""
        if model not in self._known:
            self._known[model] = await self._ask(model)
        return self._known[model]

    async def models(self) -> tuple[ModelMetadata, ...]:
        """What is known of every model that is ready."""
        try:
            index = await self._client.get_model_repository_index(client_timeout=self._timeout)
        except InferenceServerException as error:
            raise self._failure("the server", error) from error
        names = sorted({model.name for model in index.models if model.state == "READY"})
        return tuple(await asyncio.gather(*map(self.metadata, names)))

    async def is_ready(self, model: str) -> bool:
        """Whether the server answers and has the model loaded."""
        try:
            return bool(await self._client.is_model_ready(model, client_timeout=READY_SECONDS))
        except InferenceServerException:
            self._known.clear()  # another server may come back
            return False

    async def _ask(self, model: str) -> ModelMetadata:
        try:
            metadata = await self._client.get_model_metadata(model, client_timeout=self._timeout)
            answer = await self._client.get_model_config(model, client_timeout=self._timeout)
        except InferenceServerException as error:
            raise self._failure(model, error) from error
        version = str(max(map(int, metadata.versions)))
        config = answer.config
        joints = None if label_file(config) is None else await self._labels(config)
        return metadata_of(config, version, joints)

    async def _labels(self, config: pb.ModelConfig) -> list[str]:
        """Names of the joints: Triton hands labels out with a classification alone."""
        (tensor,) = config.input
        (joints,) = next(output.dims for output in config.output if output.name == JOINT_SCORES)
        black = np.zeros((1, *tensor.dims), np.uint8)
        result = await self._infer(
            config.name,
            [_input(tensor.name, black)],
            [InferRequestedOutput(JOINT_SCORES, class_count=joints)],
        )
        # Each is SCORE:INDEX:LABEL, the highest score first.
        parts = [bytes(text).decode().split(":") for text in result.as_numpy(JOINT_SCORES)[0]]
        return [label for _, label in sorted((int(index), label) for _, index, label in parts)]

    async def _infer_shared(
        self,
        shared: SharedInputs,
        model: str,
        inputs: Tensors,
        outputs: list[InferRequestedOutput],
    ) -> InferResult:
        tensors = []
        try:
            async with AsyncExitStack() as placed:
                for name, array in inputs.items():
                    tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
                    if not await placed.enter_async_context(shared.placed(tensor, array)):
                        tensor = _input(name, array)
                    tensors.append(tensor)
                return await self._send(model, tensors, outputs)
        except InferenceServerException as error:
            if UNREGISTERED not in error.message():
                raise self._failure(model, error) from error
        # It has been restarted and has not run the model, so the request may be sent again.
        shared.forget()
        plain = [_input(name, array) for name, array in inputs.items()]
        return await self._infer(model, plain, outputs)

    async def _infer(
        self, model: str, inputs: list[InferInput], outputs: list[InferRequestedOutput]
    ) -> InferResult:
        try:
            return await self._send(model, inputs, outputs)
        except InferenceServerException as error:
            raise self._failure(model, error) from error

    async def _send(
        self, model: str, inputs: list[InferInput], outputs: list[InferRequestedOutput]
    ) -> InferResult:
        return await self._client.infer(
            model,
            inputs,
            outputs=outputs,
            client_timeout=self._timeout,
            timeout=int(self._timeout * 1e6),  # in the queue, microseconds
            headers=None if self._headers is None else self._headers(),
        )

    def _failure(self, model: str, error: InferenceServerException) -> EngineError:
        message = f"Triton at {self.url}: {model}: {error.message()}"
        match (error.status() or "").removeprefix("StatusCode."):
            case "NOT_FOUND":
                return UnknownModelError(f"the server has no model {model!r}")
            case "INVALID_ARGUMENT":
                return InvalidInputError(message, error.message())
            case "DEADLINE_EXCEEDED":
                return EngineTimeoutError(message)
            case "UNAVAILABLE" if any(words in error.message() for words in QUEUE_REFUSALS):
                return EngineOverloadedError(message)
            case "UNAVAILABLE" | "CANCELLED" | "RESOURCE_EXHAUSTED":
                self._known.clear()  # another server may come back
                return EngineUnavailableError(message)
            case "INTERNAL" if STUB_FAILED in error.message():
                return EngineUnavailableError(message)
            case _:
                return EngineError(message)


def _input(name: str, array: np.ndarray[Any, Any]) -> InferInput:
    tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(np.ascontiguousarray(array))
    return tensor
