"""Adding an engine to a Triton model repository."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import onnx
from tritonclient.grpc import model_config_pb2 as pb

from farpose_export.repository import (
    RepositoryWriteError,
    check_place,
    precision_of,
    rename_to_next,
    write_config,
)
from farpose_export.tensorrt.engine import EngineSettings, build_engine
from farpose_export.tensorrt.manifest import EngineManifest


def tensorrt_config(config: pb.ModelConfig) -> pb.ModelConfig:
    """A model's configuration with the TensorRT backend instead of its own."""
    changed = pb.ModelConfig()
    changed.CopyFrom(config)
    changed.backend = "tensorrt"
    return changed


def publish_engine(
    onnx_path: Path,
    repository: Path,
    config: pb.ModelConfig,
    settings: EngineSettings | None = None,
) -> tuple[Path, EngineManifest]:
    """Build the engine of a graph as the next version of a model; takes minutes.

    Args:
        onnx_path: the graph.
        repository: one of TensorRT engines in the graph's precision, made if it is not there.
        config: Triton's configuration of the model, of any backend.
        settings: how the engine is built.

    Returns:
        The version's folder, and its manifest.

    Raises:
        RepositoryWriteError: the repository is none, or one of another backend or precision.
        TensorRTError, GpuError, ProfileError: see `build_engine`; the repository is as it was.
    """
    config = tensorrt_config(config)
    graph = onnx.load(str(onnx_path), load_external_data=False)
    folder = repository / config.name
    new = [path for path in (folder, repository) if not path.exists()]
    try:
        check_place(repository, config, precision_of(graph))
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        try:
            manifest = build_engine(onnx_path, partial / "version", config, settings)
            write_config(folder, partial, config, graph)
            return rename_to_next(partial / "version", folder), manifest
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise RepositoryWriteError(f"{folder}: cannot be written ({error.strerror})") from error
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # not empty, as it should be, or never made
                path.rmdir()
