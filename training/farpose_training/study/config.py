"""What a study can be told: typed settings that a YAML file fills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from farpose_training.config import Config, ConfigError, Source, parse, read_yaml

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
"""Names folders and columns."""


def _text_keys(value: object) -> object:
    """YAML reads a name such as 32 as a number; a name without settings has none to change."""
    if not isinstance(value, dict):
        return value
    return {str(key): {} if below is None else below for key, below in value.items()}


Layers = Annotated[dict[Name, dict[str, Any]], BeforeValidator(_text_keys)]
"""Names and the training settings that each lays over the base."""


class ScoreConfig(Config):
    """One annotated set that every finished run is scored on, once."""

    name: Name
    source: Source

    boxes: tuple[Literal["truth", "detected"], ...] = Field(("truth",), min_length=1)
    """Which boxes people are cropped by; each is scored apart."""

    detector: Path | None = None
    """The model repository whose `person_detector` finds people; the bundled one if not given."""

    detector_size: int = Field(320, ge=128, le=1280, multiple_of=32)
    """Longer side the detector sees, in pixels."""

    shrink: bool = False
    """Whether to score people shrunk to 16-128 px too, by labelled boxes."""


class StudyConfig(Config):
    """A grid of training runs: variants x rows x seeds."""

    title: str = "Study"
    """The report's heading."""

    output: Path
    """Folder of the runs: `VARIANT/ROW/seed_N`."""

    base: dict[str, Any]
    """Settings of `farpose train` that all runs share, or the path of their file, relative to the
    study's. The study sets `output` and `seed`."""

    teacher: Path | None = None
    """A `distillation` or `bank` that names no teacher gets this one: a checkpoint, or a
    `farpose train` file, relative to the study's, that is trained first."""

    rows: Layers = Field(min_length=1)
    """What is compared: settings laid over base and variant. The first row is the baseline. Other
    than in `extends`, a `null` sets a field to nothing: `logit: null` distils no logits."""

    variants: Layers = Field({}, validate_default=True)
    """Settings under which all rows are compared, such as resolutions; one table each."""

    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)

    score: tuple[ScoreConfig, ...] = ()
    """What finished runs are scored on; the report leads with the first."""

    holdout: int | None = Field(None, ge=2)
    """For a search of settings: train without one in so many pictures of every training set, the
    same ones for all runs, and score on these instead of `score`."""

    parallel: int = Field(1, ge=1)
    """Runs at once. Each has its share of the cores, unless the base sets `threads`."""

    @model_validator(mode="after")
    def _complete(self) -> StudyConfig:
        if (self.holdout is None) != bool(self.score):
            raise ValueError("give score, or holdout to score on a part of the training sets")
        for what, names in (
            ("seeds", self.seeds),
            ("score", tuple(score.name for score in self.score)),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} holds {names}: one is there twice")
        return self

    @property
    def baseline(self) -> str:
        """The row that others are compared with."""
        return next(iter(self.rows))

    @property
    def teacher_is_trained(self) -> bool:
        """Whether the study trains the teacher itself."""
        return self.teacher is not None and self.teacher.suffix in (".yaml", ".yml")


def read_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study and the base it names.

    Args:
        path: a YAML file.
        overrides: `a.b=value`, as `farpose train --set` has them.

    Raises:
        ConfigError: a file cannot be read, or a field is wrong.
    """
    content = read_yaml(path, overrides)
    if isinstance(content.get("base"), str):
        content["base"] = read_yaml(path.parent / content["base"])
    teacher = content.get("teacher")
    if isinstance(teacher, str) and teacher.endswith((".yaml", ".yml")):
        content["teacher"] = path.parent / teacher
    try:
        return parse(content, StudyConfig)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
