"""The runs of a study, in the order they are made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from farpose_training.config import (
    ConfigError,
    Source,
    TrainConfig,
    annotated,
    parse_train_config,
    read_yaml,
)
from farpose_training.config.base import Config, merged
from farpose_training.config.data import PartConfig
from farpose_training.run_state import FREE_FIELDS
from farpose_training.study.config import ScoreConfig, StudyConfig


@dataclass(frozen=True)
class Run:
    """One training of the grid."""

    variant: str
    """Empty in a study without variants."""

    row: str
    seed: int
    config: TrainConfig

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others."""
        return self.variant, self.row, self.seed

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(part for part in (self.variant, self.row, f"seed {self.seed}") if part)

    @property
    def settings(self) -> str:
        """A digest of all settings that change what is learned."""
        return digest(self.config, exclude=set(FREE_FIELDS))


def expand(study: StudyConfig) -> list[Run]:
    """All runs: variant by variant, and seed by seed in each, so that rows soon compare.

    Raises:
        ConfigError: the settings of a run are wrong; the message names it.
    """
    checkpoint = teacher_checkpoint(study)
    return [
        _run(study, checkpoint, variant, row, seed)
        for variant in study.variants or {"": {}}
        for seed in study.seeds
        for row in study.rows
    ]


def teacher_config(study: StudyConfig) -> TrainConfig:
    """The training of a teacher that the study makes.

    Raises:
        ConfigError: its file is missing or wrong.
    """
    try:
        return parse_train_config(read_yaml(study.teacher or Path()))
    except ConfigError as error:
        raise ConfigError(f"teacher: {error}") from error


def teacher_checkpoint(study: StudyConfig) -> Path | None:
    """Where the study's teacher is, or will be."""
    if study.teacher_is_trained:
        return teacher_config(study).output / "checkpoint.safetensors"
    return study.teacher


def scores_of(study: StudyConfig, config: TrainConfig) -> tuple[ScoreConfig, ...]:
    """What to score on: the study's sets, or the parts of the training sets that were held out."""
    if study.holdout is None:
        return study.score
    parts: dict[str, ScoreConfig] = {}
    for source in config.train:
        annotations = annotated(source).annotations
        name = annotations.parent.name or annotations.stem
        if name in parts:
            name = f"{name}_{len(parts)}"
        parts[name] = ScoreConfig(name=name, source=_part(source, study.holdout, "in"))
    return tuple(parts.values())


def digest(*configs: Config, exclude: set[str] | None = None) -> str:
    """Twelve hexadecimal digits that change with any setting that is not a default.

    Of paths the last two parts count: results may come from machines with other folders.
    """
    contents = [config.model_dump(exclude=exclude, exclude_defaults=True) for config in configs]
    text = json.dumps(contents, sort_keys=True, default=lambda path: "/".join(path.parts[-2:]))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _run(study: StudyConfig, teacher: Path | None, variant: str, row: str, seed: int) -> Run:
    content = merged(study.base, study.variants.get(variant, {}))
    content = merged(content, study.rows[row])
    for taught in ("distillation", "bank"):
        if content.get(taught) and teacher is not None:
            content = {**content, taught: {"teacher": teacher, **content[taught]}}
    output = study.output.joinpath(*filter(None, (variant, row)), f"seed_{seed}")
    try:
        config = parse_train_config({**content, "output": output, "seed": seed})
    except ConfigError as error:
        where = f"rows.{row}" if not variant else f"variants.{variant} with rows.{row}"
        raise ConfigError(f"{where}: {error}") from error
    return Run(variant, row, seed, _held_out(config, study.holdout))


def _held_out(config: TrainConfig, of: int | None) -> TrainConfig:
    """The same training without one in `of` pictures; it watches those of its first source."""
    if of is None:
        return config
    train = tuple(_part(source, of, "out") for source in config.train)
    return config.model_copy(update={"train": train, "val": _part(config.train[0], of, "in")})


def _part(source: Source, of: int, keep: Literal["in", "out"]) -> Source:
    repeat = source.repeat if keep == "out" else 1
    return source.model_copy(update={"part": PartConfig(of=of, keep=keep), "repeat": repeat})
