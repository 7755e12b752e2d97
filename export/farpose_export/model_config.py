"""Triton's configuration of the models that are exported, from its own protobuf definitions."""

from __future__ import annotations

from typing import Final, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from farpose_training.detection.tail import DETECTIONS

Backend = Literal["onnxruntime", "tensorrt"]

MAX_BATCH_SIZE: Final = 64
"""People of one request, or of several merged ones."""

PREFERRED_BATCH_SIZES: Final = (8, 16, 32, 64)
"""Batches that the scheduler forms at once when enough requests wait."""

DETECTOR_BATCH_SIZE: Final = 16
"""Pictures of one size in one run of the detector."""

LABEL_FILE: Final = "keypoints.txt"
"""Names of a pose model's joints, a line each, beside its `config.pbtxt`: Triton serves them as the
labels of `scores`."""

WARM_DETECTOR_SIZES: Final = (320, 640)
"""Sides of the pictures that the detector is warmed up with, pixels."""

ONE_INSTANCE: Final = pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_AUTO, count=1)
"""On each GPU, or on the CPU, where Triton would else take two: a run spreads over the cores by
itself, and requests that wait for it become one batch."""


def pose_config(
    name: str, resolution: int, joints: int, backend: Backend = "onnxruntime"
) -> pb.ModelConfig:
    """The configuration of a pose model.

    Args:
        name: of the model, also its folder's.
        resolution: `R`, the side of a crop in pixels.
        joints: `J`.
        backend: what runs it.
    """
    outputs = {"keypoints": (joints, 2), "scores": (joints,), "variances": (joints, 2)}
    crop = (resolution, resolution, 3)
    return pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=MAX_BATCH_SIZE,
        input=[pb.ModelInput(name="crops", data_type=pb.TYPE_UINT8, dims=crop)],
        output=[
            pb.ModelOutput(
                name=output,
                data_type=pb.TYPE_FP32,
                dims=dims,
                label_filename=LABEL_FILE if output == "scores" else "",
            )
            for output, dims in outputs.items()
        ],
        instance_group=[ONE_INSTANCE],
        dynamic_batching=_batching(PREFERRED_BATCH_SIZES),
        model_warmup=[_warmup("crops", crop, size) for size in (1, PREFERRED_BATCH_SIZES[0])],
    )


def fused_config(name: str, joints: int, backend: Backend = "onnxruntime") -> pb.ModelConfig:
    """The configuration of a fused model: a request is one frame with its people."""
    outputs = {"keypoints": (-1, joints, 2), "scores": (-1, joints), "variances": (-1, joints, 2)}
    return pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=0,
        input=[
            pb.ModelInput(name="image", data_type=pb.TYPE_UINT8, dims=(-1, -1, 3)),
            pb.ModelInput(name="boxes", data_type=pb.TYPE_FP32, dims=(-1, 4)),
        ],
        output=[
            pb.ModelOutput(name=output, data_type=pb.TYPE_FP32, dims=dims)
            for output, dims in outputs.items()
        ],
        instance_group=[ONE_INSTANCE],
    )


def detector_config(name: str) -> pb.ModelConfig:
    """The configuration of a person detector, which takes pictures of any size."""
    return pb.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=DETECTOR_BATCH_SIZE,
        input=[pb.ModelInput(name="images", data_type=pb.TYPE_UINT8, dims=(-1, -1, 3))],
        output=[
            pb.ModelOutput(name="boxes", data_type=pb.TYPE_FP32, dims=(DETECTIONS, 4)),
            pb.ModelOutput(name="scores", data_type=pb.TYPE_FP32, dims=(DETECTIONS,)),
        ],
        instance_group=[ONE_INSTANCE],
        dynamic_batching=_batching((2, 4, 8, 16)),
        model_warmup=[_warmup("images", (size, size, 3), 1) for size in WARM_DETECTOR_SIZES],
    )


def config_text(config: pb.ModelConfig) -> str:
    """What `config.pbtxt` holds."""
    return text_format.MessageToString(config)


def same_contract(one: pb.ModelConfig, other: pb.ModelConfig) -> bool:
    """Whether two models can stand in for each other: tensors, batch size and backend.

    Scheduling may differ: who runs a server tunes it.
    """
    return _contract(one) == _contract(other)


def _contract(config: pb.ModelConfig) -> tuple[object, ...]:
    tensors = [(t.name, t.data_type, tuple(t.dims)) for t in (*config.input, *config.output)]
    return config.name, config.backend, config.max_batch_size, len(config.input), tensors


def _batching(preferred: tuple[int, ...]) -> pb.ModelDynamicBatching:
    """Without a delay: a request to an idle model runs at once, later ones are the next batch.

    And without a queue policy. With one, Triton 24.10 hands the only instance nothing in advance,
    and a request that comes just before it is free again does not wake the batcher: every tenth
    waits half a second. The queue of `pose_pipeline`, which merges nothing, is the one that is
    bounded; see docs/triton.md, Queues.
    """
    return pb.ModelDynamicBatching(preferred_batch_size=preferred)


def _warmup(name: str, dims: tuple[int, ...], batch_size: int) -> pb.ModelWarmup:
    """A first request of zeros, before the model counts as ready."""
    zeros = pb.ModelWarmup.Input(data_type=pb.TYPE_UINT8, dims=dims, zero_data=True)
    shape = "x".join(map(str, dims))
    return pb.ModelWarmup(
        name=f"{batch_size}_of_{shape}", batch_size=batch_size, inputs={name: zeros}
    )
