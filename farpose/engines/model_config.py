"""What Triton's configuration of a model says, as the pipeline needs it.

A server does not hand out the facts inside a model file. The names of a pose model's joints are the
labels of its output `scores`, which Triton serves and keeps beside `config.pbtxt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import triton_to_np_dtype

from farpose.engine import EngineError, ModelMetadata, TensorInfo
from farpose.engines.repository import read_config
from farpose.keypoints import keypoint_set_of
from farpose.repository import RepositoryError

JOINT_SCORES = "scores"
"""The output of a pose model whose labels name the joints."""


def label_file(config: pb.ModelConfig) -> str | None:
    """File with the names of a pose model's joints; None for a model that has none."""
    return next((o.label_filename for o in config.output if o.name == JOINT_SCORES), "") or None


def metadata_of(
    config: pb.ModelConfig, version: str, joints: Sequence[str] | None
) -> ModelMetadata:
    """What is known of a model from its configuration.

    Args:
        config: of the model.
        version: the one that is served.
        joints: names of its joints; None if it is no pose model.

    Raises:
        EngineError: no keypoint set has these joints.
    """
    properties = {}
    if joints is not None:
        found = keypoint_set_of(joints)
        if found is None:
            raise EngineError(
                f"{config.name}: its labels are the joints of no keypoint set: {', '.join(joints)}"
            )
        properties["keypoint_set"] = found.name
    batched = config.max_batch_size > 0
    return ModelMetadata(
        name=config.name,
        version=version,
        inputs=tuple(_info(tensor, batched) for tensor in config.input),
        outputs=tuple(_info(tensor, batched) for tensor in config.output),
        max_batch_size=max(config.max_batch_size, 1),
        properties=properties,
    )


def repository_metadata(repository: Path) -> dict[str, ModelMetadata]:
    """All models of a repository, by name, without loading them.

    Raises:
        RepositoryError: a model is broken.
        EngineError: see `metadata_of`.
    """
    models = {}
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = read_config(path)
        folder = path.parent
        config.name = config.name or folder.name
        versions = [int(v.name) for v in folder.iterdir() if v.name.isdecimal() and v.is_dir()]
        if versions:
            models[folder.name] = metadata_of(
                config, str(max(versions)), _labels(folder, label_file(config))
            )
    return models


def _labels(folder: Path, name: str | None) -> list[str] | None:
    if name is None:
        return None
    try:
        return (folder / name).read_text().split()
    except OSError as error:
        raise RepositoryError(f"{folder / name}: cannot be read ({error.strerror})") from error


def _info(tensor: pb.ModelInput | pb.ModelOutput, batched: bool) -> TensorInfo:
    name = pb.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    sizes = tuple(None if size < 0 else int(size) for size in tensor.dims)
    return TensorInfo(
        name=tensor.name,
        dtype=np.dtype(triton_to_np_dtype("BYTES" if name == "STRING" else name)),
        shape=(None, *sizes) if batched else sizes,
    )
