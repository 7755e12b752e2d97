"""A Triton model repository on disk: which models it has, and their configuration.

The files are Triton's own (`MODEL/config.pbtxt`, `MODEL/VERSION/model.onnx`) and are read with
Triton's own protobuf definitions, so what runs embedded is what a Triton server would load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from farpose.repository import RepositoryError


@dataclass(frozen=True)
class RepositoryModel:
    """The newest version of one model."""

    name: str
    version: int
    path: Path
    """The ONNX file."""

    max_batch_size: int
    preferred_batch_size: int
    """What the dynamic batcher fills before it stops waiting; `max_batch_size` if not stated."""

    max_queue_delay: float
    """Seconds a request may wait for others to join its batch."""


def onnx_models(repository: Path) -> dict[str, RepositoryModel]:
    """All models of a repository that the onnxruntime backend serves, by name.

    Raises:
        RepositoryError: the folder is missing, or a model in it is broken.
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository}: no such model repository")
    models = {}
    for folder in sorted(repository.iterdir()):
        config_path = folder / "config.pbtxt"
        if config_path.is_file():
            config = read_config(config_path)
            if config.backend == "onnxruntime":
                models[folder.name] = newest_version(folder, config)
    if not models:
        raise RepositoryError(f"{repository}: holds no model folder with a config.pbtxt")
    return models


def read_config(path: Path) -> model_config_pb2.ModelConfig:
    """A `config.pbtxt`; `RepositoryError` if it is none of Triton's."""
    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path}: not a Triton model configuration: {error}") from error


def newest_version(folder: Path, config: model_config_pb2.ModelConfig) -> RepositoryModel:
    """The version of a model that is served; `RepositoryError` if there is none."""
    if config.name and config.name != folder.name:
        raise RepositoryError(f"{folder}: its config.pbtxt calls the model {config.name!r}")
    versions = [int(v.name) for v in folder.iterdir() if v.name.isdecimal() and v.is_dir()]
    if not versions:
        raise RepositoryError(f"{folder}: has no version folder such as 1/")
    path = folder / str(max(versions)) / "model.onnx"
    if not path.is_file():
        raise RepositoryError(f"{path}: no such file")
    batching = config.dynamic_batching
    return RepositoryModel(
        name=folder.name,
        version=max(versions),
        path=path,
        max_batch_size=max(config.max_batch_size, 1),
        preferred_batch_size=max(batching.preferred_batch_size, default=config.max_batch_size),
        max_queue_delay=batching.max_queue_delay_microseconds / 1e6,
    )
