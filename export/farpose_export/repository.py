"""Writing a pose model into a Triton model repository, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from farpose_export.parity import Parity

MAX_BATCH_SIZE = 64


class RepositoryWriteError(RuntimeError):
    """The repository cannot be written; it is as it was."""


def pose_config(name: str, resolution: int, joints: int) -> pb.ModelConfig:
    """The Triton configuration of a pose model."""
    outputs = {"keypoints": (joints, 2), "scores": (joints,), "variances": (joints, 2)}
    return pb.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=MAX_BATCH_SIZE,
        input=[
            pb.ModelInput(name="crops", data_type=pb.TYPE_UINT8, dims=[resolution, resolution, 3])
        ],
        output=[
            pb.ModelOutput(name=output, data_type=pb.TYPE_FP32, dims=dims)
            for output, dims in outputs.items()
        ],
        instance_group=[pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_AUTO)],
        # Without a delay: a request to an idle model runs at once, and those that arrive meanwhile
        # become the next batch.
        dynamic_batching=pb.ModelDynamicBatching(),
    )


def write_version(
    repository: Path, config: pb.ModelConfig, graph: onnx.ModelProto, parity: Parity
) -> Path:
    """Add the next version of a model; earlier versions are never touched.

    Returns:
        The new version's folder.

    Raises:
        RepositoryWriteError: a different model has that name, or the folder cannot be written.
    """
    folder = repository / config.name
    text = text_format.MessageToString(config)
    existing = folder / "config.pbtxt"
    if existing.is_file() and existing.read_text() != text:
        raise RepositoryWriteError(
            f"{existing} describes another model: choose another --name, or move {folder} away"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        versions = [int(v.name) for v in folder.iterdir() if v.name.isdecimal()]
        target = folder / str(max(versions, default=0) + 1)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        try:
            partial.chmod(0o755)
            onnx.save(graph, partial / "model.onnx")
            (partial / "parity.json").write_text(json.dumps(asdict(parity), indent=2) + "\n")
            if not existing.is_file():
                existing.write_text(text)
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise RepositoryWriteError(f"{folder}: cannot be written ({error.strerror})") from error
    return target
