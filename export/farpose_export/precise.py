"""From a checkpoint to a version of a model in the precision that is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from farpose_export.fused import fuse
from farpose_export.gate.check import check_fp32
from farpose_export.gate.fused import FusedParity, check_fused
from farpose_export.gate.people import LabelledPeople
from farpose_export.gate.step import Step, class_pixels
from farpose_export.graph import to_onnx, with_facts
from farpose_export.lowering import lower
from farpose_export.model_config import fused_config, pose_config
from farpose_export.precision.blame import Convert
from farpose_export.precision.fp16 import to_fp16
from farpose_export.precision.int8 import Quantizer
from farpose_export.repository import Publication, write_version
from farpose_training.checkpoint import Checkpoint, load_model
from farpose_training.config import CalConfig, HeatmapConfig, ModelConfig, SimCCConfig

CALIBRATION_CROPS: Final = 256
"""Ranges hardly change with more."""

VERSIONED: Final = ("farpose", "torch", "onnx", "onnxruntime", "numpy", "opencv-python-headless")
"""Packages whose versions a report names."""


class Precision(StrEnum):
    """Of weights and features."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class Target(StrEnum):
    """What runs an INT8 or a fused graph."""

    CPU = "cpu"
    TENSORRT = "tensorrt"


class Int8Layers(StrEnum):
    """What INT8 is for."""

    ALL = "all"
    LONG = "long"


class MissingPeopleError(ValueError):
    """Labelled people are needed and were not given."""


@dataclass(frozen=True)
class LabelledFiles:
    """Where labelled people are."""

    annotations: Path
    images: Path

    def load(self, checkpoint: Checkpoint) -> LabelledPeople:
        """Their crops, as the checkpoint's network wants them."""
        return LabelledPeople.load(
            self.annotations,
            self.images,
            checkpoint.keypoint_set,
            checkpoint.model.config.resolution,
        )


@dataclass(frozen=True)
class Report:
    """What `parity.json` says."""

    precision: str
    checkpoint_sha256: str
    steps: tuple[Step, ...]
    people: str | None
    """The annotations that the scores are of."""

    target: str | None = None
    calibration: str | None = None
    int8_layers: str | None = None
    kept_fp32: tuple[str, ...] = ()
    """Layers that stay in FP32."""

    fused: FusedParity | None = None
    """Where the crop is in the graph."""

    versions: dict[str, str] = field(
        default_factory=lambda: {name: version_of(name) for name in VERSIONED}
    )

    def to_json(self) -> dict[str, Any]:
        """Nothing but numbers, texts and lists."""
        return {**asdict(self), "steps": [step.to_json() for step in self.steps]}

    def facts(self) -> dict[str, str]:
        """The summary that goes into the graph's metadata."""
        last = self.steps[-1]
        facts = {
            "checkpoint_sha256": self.checkpoint_sha256,
            "parity": last.text(),
            "precision": self.precision,
        }
        if last.after is not None:
            facts["parity_set"] = str(self.people)
        if self.calibration is not None:
            facts["calibration"] = self.calibration
        if self.int8_layers is not None:
            facts["int8_layers"] = self.int8_layers
        if self.kept_fp32:
            facts["kept_fp32"] = ", ".join(self.kept_fp32)
        return facts


def export_pose(
    checkpoint: Path,
    repository: Path,
    name: str,
    precision: Precision = Precision.FP32,
    target: Target = Target.CPU,
    *,
    people: LabelledFiles | None = None,
    calibration: LabelledFiles | None = None,
    int8_layers: Int8Layers = Int8Layers.ALL,
    auto_fp32: bool = False,
    fused: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, Report]:
    """Publish a checkpoint as the next version of a model.

    Args:
        checkpoint: of `farpose train`.
        repository: a Triton model repository, made if it is not there.
        name: of the model; with `fused`, "_fused" is added.
        precision: of the graph.
        target: what an INT8 or a fused graph is for.
        people: labelled people whose scores must not suffer; needed below FP32.
        calibration: other labelled people, for INT8.
        int8_layers: what INT8 is for; `long` are sums that gain most from it on a CPU.
        auto_fp32: leave the fewest layers in FP32 that pass.
        fused: put the crop into the graph, see `farpose_export.fused`.
        say: told what takes time.

    Returns:
        The version's folder, and what was measured.

    Raises:
        CheckpointError, DatasetError, MissingPeopleError, NothingToQuantizeError: something cannot
            be used.
        ParityError: a step is past its limits; nothing was written.
        RepositoryWriteError: see `write_version`.
    """
    _refuse_missing(precision, people, calibration)
    loaded = load_model(checkpoint)
    joints = loaded.keypoint_set
    name = f"{name}_fused" if fused else name
    crops = None if people is None else people.load(loaded)
    fitted = None
    if precision is Precision.INT8 and calibration is not None:
        fitted = calibration_crops(calibration, loaded)
    facts = {
        **loaded.facts,
        "name": name,
        "keypoint_set": joints.name,
        "resolution": str(loaded.model.config.resolution),
        **_head_facts(loaded.model.config),
        "license": "Apache-2.0",
    }
    graph = to_onnx(loaded.model, len(joints), facts)
    report = Report(
        precision=precision.value,
        checkpoint_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        steps=(check_fp32(loaded.model, graph, crops),),
        people=None if people is None else people.annotations.name,
    )
    if precision is not Precision.FP32 and crops is not None:
        convert: Convert = partial(to_fp16, graph)
        if calibration is not None and fitted is not None:
            convert = Quantizer(graph, fitted, target.value, layers=int8_layers.value)
            report = replace(
                report,
                target=target.value,
                calibration=calibration.annotations.name,
                int8_layers=int8_layers.value,
            )
        pixels = class_pixels(loaded.model.config)
        low = lower(graph, precision.value, convert, crops, pixels, auto_fp32=auto_fp32, say=say)
        graph = low.graph
        report = replace(
            report,
            steps=(*report.steps, low.step),
            kept_fp32=tuple(layer.name for layer in low.kept),
        )
    config = pose_config(name, loaded.model.config.resolution, len(joints))
    if fused:
        plain = graph
        graph = fuse(plain, "tensorrt" if target is Target.TENSORRT else "onnxruntime")
        parity = check_fused(plain, graph, class_pixels(loaded.model.config))
        report = replace(report, target=target.value, fused=parity)
        config = fused_config(name, len(joints))
    publication = Publication(
        config=config,
        graph=with_facts(graph, {**facts, **report.facts()}),
        report=report.to_json(),
        checkpoint=checkpoint,
    )
    return write_version(repository, publication), report


def _refuse_missing(
    precision: Precision, people: LabelledFiles | None, calibration: LabelledFiles | None
) -> None:
    if precision is not Precision.FP32 and people is None:
        raise MissingPeopleError(
            f"{precision} is compared with fp32 on labelled people: give --annotations and --images"
        )
    if precision is Precision.INT8 and calibration is None:
        raise MissingPeopleError(
            "int8 is fitted to crops of people: give --calibration and --calibration-images, "
            "others than --annotations"
        )


def calibration_crops(files: LabelledFiles, checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """Some of the crops, the same every time."""
    crops = files.load(checkpoint).crops
    chosen = np.random.default_rng(0).permutation(len(crops))[:CALIBRATION_CROPS]
    return crops[np.sort(chosen)]


def _head_facts(config: ModelConfig) -> dict[str, str]:
    """What the metadata say of the head."""
    match config.head:
        case SimCCConfig() as head:
            labels = {"label_sigma_bins": str(head.sigma)} if head.labels == "gaussian" else {}
            split = str(head.split_factor)
            return {"head": "simcc", "split_factor": split, "score": head.score, **labels}
        case HeatmapConfig() | CalConfig() as head:
            return {"head": head.kind, "label_sigma_cells": str(head.sigma)}
        case head:
            return {"head": head.kind}
