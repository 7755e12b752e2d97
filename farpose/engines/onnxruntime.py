"""The embedded engine: ONNX Runtime in this process, over the same repository Triton loads.

Requests that arrive together for one model are merged into one run, as Triton's dynamic batcher
would, with size and delay from the model's own configuration. Inference happens in threads; the
event loop only hands arrays over.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import onnxruntime as ort

from farpose.engine import EngineError, ModelMetadata, TensorInfo, Tensors, UnknownModelError
from farpose.engines.batching import Batcher
from farpose.engines.repository import RepositoryModel, onnx_models
from farpose.extras import how_to_install

Device = Literal["cpu", "cuda"]

OnBatch = Callable[[str, int], None]
"""Told of every run of a model: its name, and the items in it."""

OnRun = Callable[[str, float, float], None]
"""Told after every run of a model, in its thread: its name, seconds, and seconds of processor time
of that thread, which are all of the run's where a model has one thread."""

MERGED_BYTES: Final[Mapping[Device, float]] = {"cpu": 4 * 2**20, "cuda": math.inf}
"""Requests are merged up to so much input. On a CPU four frames of 640x480 keep all cores as busy
as sixteen do (a tenth less time each), but the memory of the largest run is kept for the next."""

_DTYPES: Final[Mapping[str, Any]] = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


class OnnxRuntimeEngine:
    """All ONNX models of a repository, loaded once.

    Args:
        repository: a Triton model repository.
        device: `cuda` needs the package onnxruntime-gpu.
        threads: CPU threads per run; ONNX Runtime's choice when not given.
        on_batch: told of every run.
        on_run: told of every run when it is done.

    Raises:
        RepositoryError: the repository cannot be used.
        EngineError: a model cannot be loaded, or the device is not available.
    """

    def __init__(
        self,
        repository: Path,
        device: Device = "cpu",
        threads: int | None = None,
        on_batch: OnBatch | None = None,
        on_run: OnRun | None = None,
    ) -> None:
        self._models = {
            name: _LoadedModel(model, device, threads, on_batch, on_run)
            for name, model in onnx_models(repository).items()
        }

    @classmethod
    def from_models(
        cls,
        models: Iterable[RepositoryModel],
        device: Device = "cpu",
        threads: int | None = None,
        on_run: OnRun | None = None,
    ) -> Self:
        """An engine with only these models, wherever their files are."""
        engine = cls.__new__(cls)
        engine._models = {
            model.name: _LoadedModel(model, device, threads, on_run=on_run) for model in models
        }
        return engine

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """See `Engine.infer`."""
        return await self._model(model).infer(inputs)

    async def metadata(self, model: str) -> ModelMetadata:
        """See `Engine.metadata`."""
        return self._model(model).metadata

    @property
    def loaded(self) -> tuple[ModelMetadata, ...]:
        """What is known of every model."""
        return tuple(model.metadata for model in self._models.values())

    async def models(self) -> tuple[ModelMetadata, ...]:
        """`loaded`, for those who may have an engine elsewhere."""
        return self.loaded

    def close(self) -> None:
        """Let running inference finish and free the threads."""
        for model in self._models.values():
            model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _model(self, name: str) -> _LoadedModel:
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModelError(
                f"there is no model {name!r}: the repository has {', '.join(self._models)}"
            ) from None


class _LoadedModel:
    """One session, its worker thread and its batcher."""

    def __init__(
        self,
        model: RepositoryModel,
        device: Device,
        threads: int | None,
        on_batch: OnBatch | None = None,
        on_run: OnRun | None = None,
    ) -> None:
        self._on_batch = on_batch
        self._on_run = on_run
        self._session = _session(model.path, device, threads)
        self.metadata = _metadata(model, self._session)
        # One run at a time: a session already spreads over the cores, and requests that arrive
        # meanwhile become the next batch.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=model.name)
        self._batcher = Batcher(
            self._run_in_thread,
            max_size=model.max_batch_size,
            preferred_size=model.preferred_batch_size,
            max_delay=model.max_queue_delay,
            max_bytes=MERGED_BYTES[device],
        )

    async def infer(self, inputs: Tensors) -> Tensors:
        self._check(inputs)
        return await self._batcher.submit(inputs)

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def _run_in_thread(self, inputs: Tensors) -> Tensors:
        if self._on_batch is not None:
            self._on_batch(self.metadata.name, len(next(iter(inputs.values()))))
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, inputs)

    def _run(self, inputs: Tensors) -> Tensors:
        names = [output.name for output in self.metadata.outputs]
        started, worked = time.perf_counter(), time.thread_time()
        try:
            outputs = self._session.run(names, inputs)
        except Exception as error:  # ONNX Runtime raises its own unrelated exception types
            raise EngineError(f"{self.metadata.name} failed: {error}") from error
        if self._on_run is not None:
            self._on_run(
                self.metadata.name, time.perf_counter() - started, time.thread_time() - worked
            )
        return dict(zip(names, outputs, strict=True))

    def _check(self, inputs: Tensors) -> None:
        name = self.metadata.name
        wanted = {tensor.name: tensor for tensor in self.metadata.inputs}
        if inputs.keys() != wanted.keys():
            raise EngineError(f"{name} takes the inputs {sorted(wanted)}, not {sorted(inputs)}")
        for key, array in inputs.items():
            info = wanted[key]
            fits = array.ndim == len(info.shape) and all(
                size is None or size == found
                for size, found in zip(info.shape[1:], array.shape[1:], strict=True)
            )
            if not fits or array.dtype != info.dtype:
                raise EngineError(
                    f"{name}: {key} is {info.dtype} {info.shape}, not {array.dtype} {array.shape}"
                )
            if not 1 <= len(array) <= self.metadata.max_batch_size:
                raise EngineError(
                    f"{name} takes 1 to {self.metadata.max_batch_size} items, not {len(array)}"
                )


def _session(path: Path, device: Device, threads: int | None) -> ort.InferenceSession:
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    if provider not in ort.get_available_providers():
        raise EngineError(
            f"this onnxruntime has no {provider}: pip uninstall onnxruntime, then, "
            f"{how_to_install('serve-gpu')}"
        )
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Threads spin between the operators of a run, which is a third faster, but not after it: they
    # would take the cores from decoding and the other model.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Plans of memory are kept for every shape of input, and batches of pictures have many: memory
    # would grow with each that is new (a third more after three sizes in batches up to 8), and
    # runs are no faster for it.
    options.enable_mem_pattern = False
    try:
        return ort.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises its own unrelated exception types
        raise EngineError(f"{path}: cannot be loaded: {error}") from error


def _metadata(model: RepositoryModel, session: ort.InferenceSession) -> ModelMetadata:
    def infos(arguments: list[ort.NodeArg]) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo(
                name=a.name,
                dtype=np.dtype(_DTYPES[a.type]),
                shape=tuple(size if isinstance(size, int) else None for size in a.shape),
            )
            for a in arguments
        )

    return ModelMetadata(
        name=model.name,
        version=str(model.version),
        inputs=infos(session.get_inputs()),
        outputs=infos(session.get_outputs()),
        max_batch_size=model.max_batch_size,
        properties=dict(session.get_modelmeta().custom_metadata_map),
    )
