"""Building an engine and writing it with its manifest, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from tritonclient.grpc import model_config_pb2 as pb

from farpose_export.repository import RepositoryWriteError, precision_of, write_file
from farpose_export.tensorrt.gpu import the_gpu
from farpose_export.tensorrt.library import load_tensorrt
from farpose_export.tensorrt.manifest import (
    MANIFEST_FILE,
    PLAN_FILE,
    TRITON_RELEASE,
    EngineManifest,
    ShapeRange,
)
from farpose_export.tensorrt.network import BuilderSettings, build_plan
from farpose_export.tensorrt.profiles import DYNAMIC_SIZES, profiles


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is built, beyond what the model's configuration says."""

    builder: BuilderSettings = field(default_factory=BuilderSettings)
    sizes: Mapping[str, ShapeRange] = field(default_factory=lambda: DYNAMIC_SIZES)
    """Of inputs whose dimensions the configuration leaves open."""

    opt_batch_size: int | None = None
    """What kernels are chosen for, see `profiles`."""

    timing_cache: Path | None = None
    """A file of timings that later builds on the same GPU start from; made if it is not there."""


def build_engine(
    onnx_path: Path,
    target_folder: Path,
    config: pb.ModelConfig,
    settings: EngineSettings | None = None,
) -> EngineManifest:
    """Build the engine of a graph for the GPU of this machine; takes minutes.

    Args:
        onnx_path: the graph, in the precision that the engine is to have.
        target_folder: a new version's folder, where `model.plan` and `engine.json` go; it appears
            when both are complete.
        config: Triton's configuration of the model.
        settings: how it is built.

    Returns:
        What `engine.json` holds.

    Raises:
        ProfileError: the configuration leaves sizes open that are not known.
        MissingTensorRTError: TensorRT is not installed.
        GpuError: there is no GPU here, or it is not clear which.
        GraphRefusedError, EngineBuildError: TensorRT does not take the graph or does not build it.
        RepositoryWriteError: the folder exists or cannot be written.
    """
    settings = settings or EngineSettings()
    if target_folder.exists():
        raise RepositoryWriteError(f"{target_folder} exists: a version is never written over")
    ranges = profiles(config, settings.sizes, settings.opt_batch_size)
    graph = onnx.load(str(onnx_path), load_external_data=False)
    trt = load_tensorrt()
    gpu = the_gpu()
    began = time.monotonic()
    built = build_plan(
        trt, onnx_path, ranges, settings.builder, _timing_cache(settings.timing_cache)
    )
    manifest = EngineManifest(
        gpu=gpu,
        tensorrt=trt.__version__,
        triton=os.environ.get(TRITON_RELEASE),
        precision=precision_of(graph),
        tf32=settings.builder.tf32,
        onnx_sha256=hashlib.sha256(onnx_path.read_bytes()).hexdigest(),
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        profiles=ranges,
        build_seconds=round(time.monotonic() - began, 1),
    )
    try:
        _write(target_folder, built.plan, manifest)
        if settings.timing_cache is not None:
            _replace(settings.timing_cache, built.timing_cache)
    except OSError as error:
        raise RepositoryWriteError(
            f"{error.filename or target_folder}: cannot be written ({error.strerror})"
        ) from error
    return manifest


def _write(target: Path, plan: bytes, manifest: EngineManifest) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        version = partial / "version"
        version.mkdir()
        write_file(version / PLAN_FILE, plan)
        write_file(version / MANIFEST_FILE, manifest.to_json().encode())
        version.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _timing_cache(path: Path | None) -> bytes:
    return path.read_bytes() if path is not None and path.is_file() else b""


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        write_file(partial, content)
        partial.replace(path)
