"""`farpose doctor`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farpose.repository import default_repository
from farpose_export.doctor.engines import EngineHost, tensorrt_versions
from farpose_export.doctor.findings import Finding, Severity, problem, warning
from farpose_export.doctor.machine import Processor, this_processor
from farpose_export.doctor.packages import (
    installed_versions,
    onnxruntime_providers,
    package_findings,
    provider_findings,
)
from farpose_export.tensorrt.gpu import GpuError, find_gpus
from farpose_export.tensorrt.manifest import TRITON_RELEASE, Gpu

if TYPE_CHECKING:
    from farpose_export.doctor.models import ExaminedModel

SERVING = ("onnxruntime", "tritonclient", "google.protobuf")
"""Modules that the models cannot be looked at without."""


@dataclass(frozen=True)
class Examination:
    """All that the doctor saw."""

    processor: Processor
    gpus: list[Gpu]
    versions: dict[str, str]
    providers: list[str]
    """What ONNX Runtime can run on."""

    tensorrt: dict[str, str]
    """TensorRT versions, by where they were found."""

    triton: str | None
    repository: Path
    models: list[ExaminedModel]
    findings: list[Finding]

    @property
    def problems(self) -> int:
        """How many things will not work."""
        return sum(finding.severity is Severity.PROBLEM for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Nothing but numbers, texts and lists."""
        return {
            "processor": asdict(self.processor),
            "gpus": [gpu.model_dump() for gpu in self.gpus],
            "versions": self.versions,
            "providers": self.providers,
            "tensorrt": self.tensorrt,
            "triton": self.triton,
            "repository": str(self.repository),
            "models": [asdict(model) for model in self.models],
            "findings": [asdict(finding) for finding in self.findings],
            "problems": self.problems,
        }

    def lines(self) -> Iterator[str]:
        """What a terminal shows."""
        yield f"processor   {self.processor.text()}"
        yield f"gpu         {'; '.join(map(_gpu_text, self.gpus)) or 'none'}"
        yield f"packages    {', '.join(f'{n} {v}' for n, v in self.versions.items())}"
        yield f"onnxruntime {', '.join(self.providers) or 'none'}"
        if self.tensorrt:
            yield f"tensorrt    {', '.join(f'{v} ({w})' for w, v in self.tensorrt.items())}"
        if self.triton is not None:
            yield f"triton      container {self.triton}"
        yield f"models      {self.repository}"
        for model in self.models:
            yield f"            {_model_text(model)}"
        for finding in self.findings:
            yield f"{finding.severity}: {finding.subject} {finding.text}"
        yield f"{self.problems or 'no'} problem{'' if self.problems == 1 else 's'}"


def doctor(
    repository: Annotated[
        Path | None, typer.Option(help="Model repository; the bundled one by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what will not work on this machine and what to do about it; exit code 1 if anything."""
    examination = examine_machine(repository or default_repository())
    if as_json:
        typer.echo(json.dumps(examination.to_json()))
    else:
        for line in examination.lines():
            typer.echo(line)
    if examination.problems:
        raise typer.Exit(1)


def examine_machine(repository: Path) -> Examination:
    """Look at this machine, what is installed, and a model repository."""
    processor = this_processor()
    versions = installed_versions()
    findings = list(package_findings())
    gpus: list[Gpu] = []
    try:
        gpus = [found.gpu for found in find_gpus()]
    except GpuError as error:
        findings.append(warning("gpu", str(error)))
    providers: list[str] = []
    try:
        providers = onnxruntime_providers()
    except ImportError as error:
        if _is_there("onnxruntime"):  # else it is told as a package
            findings.append(problem("onnxruntime", f"is installed and cannot be used: {error}"))
    else:
        findings += provider_findings(providers, bool(gpus), versions)
    host = EngineHost(gpus, tensorrt_versions(), os.environ.get(TRITON_RELEASE))
    models: list[ExaminedModel] = []
    if providers and all(map(_is_there, SERVING)):
        from farpose_export.doctor.models import examine  # needs what serving installs

        models, of_models = examine(repository, host, processor)
        findings += of_models
    else:
        findings.append(warning(str(repository), "was not looked at: packages are missing"))
    return Examination(
        processor=processor,
        gpus=gpus,
        versions=versions,
        providers=providers,
        tensorrt=dict(host.tensorrt),
        triton=host.triton,
        repository=repository,
        models=models,
        findings=findings,
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def _gpu_text(gpu: Gpu) -> str:
    cuda = f", CUDA up to {gpu.cuda}" if gpu.cuda else ""
    return f"{gpu.name} (compute capability {gpu.compute_capability}, driver {gpu.driver}{cuda})"


def _model_text(model: ExaminedModel) -> str:
    version = "" if model.version is None else f"/{model.version}"
    facts = [model.backend or "no configuration"]
    if model.precision is not None:
        facts.append(model.precision)
    if model.sha256 is not None:
        recorded = "recorded" if model.recorded else "not recorded"
        facts.append(f"sha256 {model.sha256[:12]} {recorded}")
    return f"{model.name}{version}: {', '.join(facts)}"
