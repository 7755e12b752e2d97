"""The engine inside a Triton server: a Python model that asks the server's other models.

Only the interpreter of Triton's Python backend has the module this imports.
"""

from __future__ import annotations

from pathlib import Path

import triton_python_backend_utils as pb_utils

from farpose.engine import (
    EngineError,
    EngineUnavailableError,
    ModelMetadata,
    Tensors,
    UnknownModelError,
)
from farpose.engines.model_config import repository_metadata


class BlsEngine:
    """The models that a Triton server has loaded beside the calling one.

    What is known of them is read once from their folders, so a caller is reloaded with them.

    Args:
        repository: the folder that the server's models lie in. It must be a local one: of a remote
            repository Triton copies each model to a place of its own.

    Raises:
        RepositoryError: one of the models is broken.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._models = repository_metadata(repository)

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """See `Engine.infer`."""
        metadata = await self.metadata(model)
        names = [output.name for output in metadata.outputs]
        request = pb_utils.InferenceRequest(
            model_name=model,
            requested_output_names=names,
            inputs=[pb_utils.Tensor(name, array) for name, array in inputs.items()],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = await request.async_exec()
        if response.has_error():
            raise _failure(model, response.error())
        return {
            name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in names
        }

    async def metadata(self, model: str) -> ModelMetadata:
        """See `Engine.metadata`."""
        try:
            return self._models[model]
        except KeyError:
            raise UnknownModelError(
                f"there is no model {model!r}: {self._repository} has {', '.join(self._models)}"
            ) from None


def _failure(model: str, error: pb_utils.TritonError) -> EngineError:
    message = f"{model} failed: {error.message()}"
    overloaded = error.code() == pb_utils.TritonError.UNAVAILABLE
    if overloaded or not pb_utils.is_model_ready(model):
        return EngineUnavailableError(message)
    return EngineError(message)
