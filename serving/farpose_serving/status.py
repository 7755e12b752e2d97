"""Whether the service is alive and ready, and which models it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from farpose.engine import ModelMetadata, TensorInfo
from farpose_serving.problems import NOT_READY, problem_responses
from farpose_serving.service import Service, service_of

router = APIRouter()


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Pictures can be sent."""

    status: Literal["ready"] = "ready"


class Tensor(BaseModel):
    """One input or output of a model."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    dtype: str
    """NumPy's name, such as `uint8` or `float32`."""

    shape: list[int | None]
    """With the batch axis; null where the size may vary."""

    @classmethod
    def from_info(cls, info: TensorInfo) -> Tensor:
        """What the engine knows."""
        return cls(name=info.name, dtype=info.dtype.name, shape=list(info.shape))


class Model(BaseModel):
    """One model that the service has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    version: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    max_batch_size: int
    properties: dict[str, str]
    """Facts of this version: keypoint set, resolution, training data, metrics, ..."""

    @classmethod
    def from_metadata(cls, metadata: ModelMetadata) -> Model:
        """What the engine knows."""
        return cls(
            name=metadata.name,
            version=metadata.version,
            inputs=[Tensor.from_info(tensor) for tensor in metadata.inputs],
            outputs=[Tensor.from_info(tensor) for tensor in metadata.outputs],
            max_batch_size=metadata.max_batch_size,
            properties=dict(metadata.properties),
        )


class Models(BaseModel):
    """All models that the service has."""

    models: list[Model]


@router.get("/health/live", summary="Whether the process answers")
async def live() -> Live:
    """Answer as long as the event loop runs."""
    return Live()


@router.get(
    "/health/ready",
    summary="Whether pictures can be sent",
    responses=problem_responses(NOT_READY),
)
async def ready(service: Annotated[Service, Depends(service_of)]) -> Ready:
    """Answer 200 while pictures can be sent: models are loaded, a Triton server is there."""
    await service.backend.check()
    return Ready()


@router.get("/models", summary="Which models there are", responses=problem_responses(NOT_READY))
async def models(service: Annotated[Service, Depends(service_of)]) -> Models:
    """List the models with their inputs, outputs and properties."""
    found = await service.backend.models()
    return Models(models=[Model.from_metadata(metadata) for metadata in found])
