"""Reading a YAML configuration, and the base of its typed parts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the field."""


class Config(BaseModel):
    """Settings: immutable, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Parsed = TypeVar("Parsed", bound=Config)


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a configuration file, fill `${NAME}` from the environment and apply `a.b=value`.

    A file may say `extends: other.yaml` (relative to itself): its settings are then laid over that
    file's, mapping by mapping; a `null` sets a field to nothing. A mapping whose `kind` differs
    replaces the other one.

    Raises:
        ConfigError: the file is missing or not YAML, a variable is not set, or an override is
            malformed.
    """
    content = _read(path, ())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override}: write it as key.subkey=value")
        *parents, last = key.split(".")
        target = content
        for name in parents:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {override}: {name} holds no settings of its own")
        target[last] = yaml.safe_load(value)
    return content


def parse(content: dict[str, Any], kind: type[Parsed]) -> Parsed:
    """Check settings; `ConfigError` lists every wrong field."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(problems) from error


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, as `extends` does; neither is modified."""
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        if both and value.get("kind", before.get("kind")) == before.get("kind"):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in below:
        raise ConfigError(f"{path}: extends itself")
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        content = yaml.safe_load(_expand(text, path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping of settings is expected")
    base = content.pop("extends", None)
    if base is None:
        return content
    return merged(_read(path.parent / base, (*below, path.resolve())), content)


def _expand(text: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{path}: the environment variable {name} is not set")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)
