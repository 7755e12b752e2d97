"""What a view bank is made of, and whether it may be made or read."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from farpose_training.config import BankConfig, ConfigError, Source, TrainConfig
from farpose_training.data.augment import RECIPE
from farpose_training.data.drawn.source import materialised


def bank_settings(config: TrainConfig) -> BankConfig:
    """The bank of a run that has one."""
    if config.bank is None:
        raise ValueError("the run has no bank")
    return config.bank


def bank_teacher(config: TrainConfig) -> Path | None:
    """Whose outputs the bank of a run keeps: its own teacher's, or the distillation's.

    Raises:
        ConfigError: it names another teacher than the distillation does.
    """
    kept = bank_settings(config).teacher
    taught = config.distillation.teacher if config.distillation else None
    if kept is None or taught is None or kept == taught:
        return kept or taught
    if _digest(kept) != _digest(taught):
        raise ConfigError(
            f"bank.teacher: {kept} is not distillation.teacher, {taught}, and the run would be "
            "taught by what the bank keeps; name one teacher in both, and a bank.folder of its own"
        )
    return kept


def manifest_of(
    config: TrainConfig, resolutions: tuple[int, ...], teacher: Path | None
) -> dict[str, Any]:
    """What decides the content of a bank, by the name of the setting."""
    settings = bank_settings(config)
    return {
        "version of Farpose's augmentation": RECIPE,
        "keypoint_set": config.keypoint_set,
        "augmentation": config.augmentation.model_dump(mode="json"),
        "train": [_source(source) for source in config.train],
        "bank.views": settings.views,
        "bank.seed": settings.seed,
        "bank.resolutions": list(resolutions),
        "bank.teacher": None if teacher is None else _digest(teacher),
    }


def _source(source: Source) -> dict[str, Any]:
    """What decides which people a source gives, and their boxes; not where it lies."""
    source = materialised(source)
    content = source.model_dump(mode="json", exclude={"repeat", "images", "format"})
    content["annotations"] = _digest(source.annotations)
    if source.detector is not None:
        graphs = sorted(source.detector.glob("person_detector/*/model.onnx"))
        content["detector"] = [_digest(graph) for graph in graphs]
    return content


def refuse_other(folder: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse the bank in `folder` if it was not made of what is wanted.

    Raises:
        ConfigError: names the settings that differ.
    """
    different = [name for name in wanted if stored.get(name) != wanted[name]]
    if different:
        raise ConfigError(
            f"bank.folder: {folder} was made with another {', '.join(different)}; "
            "name another folder, or delete this one"
        )


def refuse_full_disk(
    folder: Path, shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]]
) -> None:
    """Refuse to make a bank of these arrays where they do not fit.

    Raises:
        ConfigError: says what is needed and what is left, in GB.
    """
    needed = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigError(
            f"bank.folder: the bank takes {needed / 1e9:.1f} GB and {folder} has "
            f"{free / 1e9:.1f} GB left; name a folder on another disk, or fewer bank.views"
        )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
