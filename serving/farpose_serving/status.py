"""Whether the service is alive and ready, and which models it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from farpose.engine import ModelMetadata, TensorInfo
from farpose.keypoints import KEYPOINT_SETS
from farpose_serving.api_document import REQUEST_ID, problem_responses
from farpose_serving.problems import DEADLINE, INTERNAL, NOT_READY, UNAUTHORIZED
from farpose_serving.service import Service, caller_of, the_service

health = APIRouter()
models = APIRouter()


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


class Skeleton(BaseModel):
    """The joints that a pose model answers, and the limbs between them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    joints: list[str]
    """In the order of the keypoints of a person."""

    edges: list[tuple[str, str]]
    """Limbs to draw, as pairs of joints."""

    @classmethod
    def of(cls, name: str | None) -> Skeleton | None:
        """The skeleton of a keypoint set; None where there is no set of that name."""
        found = KEYPOINT_SETS.get(name or "")
        return None if found is None else cls(joints=list(found.joints), edges=list(found.edges))


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

    skeleton: Skeleton | None
    """Of a pose model; null for others."""

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
            skeleton=Skeleton.of(metadata.properties.get("keypoint_set")),
        )


class Models(BaseModel):
    """All models that the service has."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "models": [
                    {
                        "name": "lowres_pose",
                        "version": "2",
                        "inputs": [
                            {"name": "crops", "dtype": "uint8", "shape": [None, 64, 64, 3]},
                        ],
                        "outputs": [
                            {"name": "keypoints", "dtype": "float32", "shape": [None, 17, 2]},
                            {"name": "scores", "dtype": "float32", "shape": [None, 17]},
                            {"name": "variances", "dtype": "float32", "shape": [None, 17, 2]},
                        ],
                        "max_batch_size": 64,
                        "properties": {"keypoint_set": "coco17", "resolution": "64"},
                        "skeleton": {
                            "joints": ["nose", "left_eye", "right_eye"],
                            "edges": [["nose", "left_eye"], ["nose", "right_eye"]],
                        },
                    }
                ]
            }
        }
    )

    models: list[Model]


@health.get(
    "/health/live",
    summary="Whether the process answers",
    responses={200: {"headers": REQUEST_ID}},
)
async def live() -> Live:
    """Answer as long as the event loop runs."""
    return Live()


@health.get(
    "/health/ready",
    summary="Whether pictures can be sent",
    responses={
        200: {"headers": REQUEST_ID},
        **problem_responses(INTERNAL, NOT_READY, DEADLINE),
    },
)
async def ready(service: Annotated[Service, Depends(the_service)]) -> Ready:
    """Answer 200 while pictures can be sent: models are loaded, a Triton server is there."""
    await service.backend.check()
    return Ready()


@models.get(
    "/models",
    summary="Which models there are",
    responses={
        200: {"headers": REQUEST_ID},
        **problem_responses(UNAUTHORIZED, INTERNAL, NOT_READY, DEADLINE),
    },
    dependencies=[Depends(caller_of)],
)
async def list_models(service: Annotated[Service, Depends(the_service)]) -> Models:
    """List the models with their inputs, outputs and properties."""
    found = await service.backend.models()
    return Models(models=[Model.from_metadata(metadata) for metadata in found])
