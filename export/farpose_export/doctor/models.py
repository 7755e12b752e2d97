"""Whether the models of a repository will be served: their configuration, files and engines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import triton_to_np_dtype

from farpose.engine import EngineError, ModelMetadata, TensorInfo
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.engines.repository import RepositoryModel, newest_version, read_config
from farpose.repository import RepositoryError
from farpose_export.doctor.engines import EngineHost, engine_findings
from farpose_export.doctor.findings import Finding, note, problem, warning
from farpose_export.doctor.machine import Processor
from farpose_export.tensorrt.manifest import (
    MANIFEST_FILE,
    PLAN_FILE,
    EngineManifest,
    ManifestError,
)

REPORT_FILE = "parity.json"
RECORDED = "model_sha256"


@dataclass(frozen=True)
class ExaminedModel:
    """One model of a repository."""

    name: str
    backend: str | None
    """None where there is no valid `config.pbtxt`."""

    version: str | None
    """The newest, which is served."""

    sha256: str | None
    """Of the model's file."""

    recorded: bool
    """Whether the repository says what the sha256 should be."""

    precision: str | None


def examine(
    repository: Path, host: EngineHost, processor: Processor
) -> tuple[list[ExaminedModel], list[Finding]]:
    """Look at every model of a repository; ONNX models are loaded, on the processor.

    Args:
        repository: a Triton model repository.
        host: what would load TensorRT engines.
        processor: what would run ONNX models.
    """
    if not repository.is_dir():
        return [], [problem(str(repository), "is no folder: give a model repository")]
    models: list[ExaminedModel] = []
    findings: list[Finding] = []
    for folder in sorted(repository.iterdir()):
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        if not (folder / "config.pbtxt").is_file():
            findings.append(warning(folder.name, "has no config.pbtxt and is not served"))
            continue
        model, found = _examine(folder, host, processor)
        models.append(model)
        findings += found
    if not models:
        findings.append(problem(str(repository), "holds no model folder with a config.pbtxt"))
    return models, findings


def _examine(
    folder: Path, host: EngineHost, processor: Processor
) -> tuple[ExaminedModel, list[Finding]]:
    name = folder.name
    try:
        config = read_config(folder / "config.pbtxt")
    except RepositoryError as error:
        return ExaminedModel(name, None, None, None, False, None), [problem(name, str(error))]
    backend = config.backend or config.platform
    version = _newest(folder)
    subject = name if version is None else f"{name}/{version.name}"
    findings = list(_folder_findings(name, config, version))
    sha256, precision, recorded = None, None, False
    if version is not None and not findings:
        if backend == "onnxruntime":
            sha256, recorded, found = _checksum(subject, version)
            precision, loading = _load(subject, folder, config, processor)
            findings += [*found, *loading]
        elif backend == "tensorrt":
            findings += engine_findings(subject, version, host)
            sha256, precision, recorded = _engine_facts(version)
        else:
            findings.append(note(subject, f"is of Triton's {backend} backend and not tried here"))
    number = None if version is None else version.name
    return ExaminedModel(name, backend, number, sha256, recorded, precision), findings


def _newest(folder: Path) -> Path | None:
    versions = [v for v in folder.iterdir() if v.is_dir() and v.name.isdecimal()]
    return max(versions, key=lambda v: int(v.name), default=None)


def _folder_findings(name: str, config: pb.ModelConfig, version: Path | None) -> Iterator[Finding]:
    if config.name and config.name != name:
        yield problem(name, f"its config.pbtxt calls the model {config.name!r}: give both one name")
    if not (config.backend or config.platform):
        yield problem(name, "its config.pbtxt names no backend")
    if version is None:
        yield problem(name, "has no version folder such as 1/")


def _checksum(subject: str, version: Path) -> tuple[str | None, bool, list[Finding]]:
    """The sha256 of an ONNX file, whether `parity.json` has one, and whether they agree."""
    model, report = version / "model.onnx", version / REPORT_FILE
    if not model.is_file():
        return None, False, []  # loading says so
    actual = hashlib.sha256(model.read_bytes()).hexdigest()
    if not report.is_file():
        return actual, False, []
    try:
        content = json.loads(report.read_text())
    except ValueError as error:
        return actual, False, [warning(subject, f"its {REPORT_FILE} cannot be read: {error}")]
    expected = content.get(RECORDED) if isinstance(content, Mapping) else None
    if expected is None or expected == actual:
        return actual, expected is not None, []
    text = (
        f"model.onnx is not the file that {REPORT_FILE} is about (sha256 {actual[:12]}, recorded "
        f"{str(expected)[:12]}): export the model again or restore the file"
    )
    return actual, True, [problem(subject, text)]


def _load(
    subject: str, folder: Path, config: pb.ModelConfig, processor: Processor
) -> tuple[str | None, list[Finding]]:
    """The precision of an ONNX model, and what happens when it is loaded as it is served."""
    try:
        model = newest_version(folder, config)
        metadata = _metadata(model)
    except (RepositoryError, EngineError) as error:
        return None, [problem(subject, f"does not load: {error}")]
    findings = list(_contract(subject, config, metadata))
    precision = metadata.properties.get("precision")
    if precision == "int8" and not processor.has_int8:
        findings.append(
            warning(
                subject,
                "is int8, and this processor has no instructions for it (VNNI, AMX, dot product): "
                "fp32 may be as fast here; compare with farpose bench",
            )
        )
    return precision, findings


def _metadata(model: RepositoryModel) -> ModelMetadata:
    with OnnxRuntimeEngine.from_models([model], threads=1) as engine:
        (metadata,) = engine.loaded
        return metadata


def _contract(subject: str, config: pb.ModelConfig, found: ModelMetadata) -> Iterator[Finding]:
    """Where `config.pbtxt` and the model's file contradict each other."""
    for kind, stated, tensors in (
        ("input", config.input, found.inputs),
        ("output", config.output, found.outputs),
    ):
        there = {tensor.name: tensor for tensor in tensors}
        for tensor in stated:
            if tensor.name not in there:
                yield problem(
                    subject,
                    f"config.pbtxt has the {kind} {tensor.name!r}, the model has {sorted(there)}",
                )
            elif not _agree(config, tensor, there[tensor.name]):
                info = there[tensor.name]
                yield problem(
                    subject,
                    f"config.pbtxt says that the {kind} {tensor.name} is "
                    f"{pb.DataType.Name(tensor.data_type)} {list(tensor.dims)}, in the model it is "
                    f"{info.dtype} {list(info.shape)}",
                )


def _agree(
    config: pb.ModelConfig, stated: pb.ModelInput | pb.ModelOutput, found: TensorInfo
) -> bool:
    """Types are equal, and sizes too where both sides state them."""
    kind = triton_to_np_dtype(pb.DataType.Name(stated.data_type).removeprefix("TYPE_"))
    dims = [-1, *stated.dims] if config.max_batch_size > 0 else list(stated.dims)
    return (
        kind is not None
        and np.dtype(kind) == found.dtype
        and len(dims) == len(found.shape)
        and all(
            size is None or wanted in {-1, size}
            for wanted, size in zip(dims, found.shape, strict=True)
        )
    )


def _engine_facts(version: Path) -> tuple[str | None, str | None, bool]:
    """The sha256 and precision of an engine, as far as its manifest can be read."""
    plan = version / PLAN_FILE
    sha256 = hashlib.sha256(plan.read_bytes()).hexdigest() if plan.is_file() else None
    try:
        return sha256, EngineManifest.load(version / MANIFEST_FILE).precision, True
    except ManifestError:
        return sha256, None, False
