"""Reads the instructions of a Dockerfile, as far as those in docker/ use them."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)
FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `RUN --mount=type=cache,target=/x command` has one flag.

    Args:
        name: upper case.
        flags: pairs of name and value, in their order.
        value: the rest.
    """

    name: str
    flags: tuple[tuple[str, str], ...]
    value: str

    @property
    def arguments(self) -> list[str]:
        """A JSON list, or words."""
        if self.value.startswith("["):
            return list(json.loads(self.value))
        return shlex.split(self.value)

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`NAME=VALUE ...`, with variables filled in."""
        pairs = dict(word.split("=", 1) for word in shlex.split(self.value) if "=" in word)
        return {name: fill(value, variables) for name, value in pairs.items()}


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced; `KeyError` for an unknown one."""
    return string.Template(text).substitute(variables)


def read(path: Path) -> list[Instruction]:
    """All instructions of a file."""
    text = COMMENT.sub("", path.read_text()).replace("\\\n", " ")
    return [_parse(line.strip()) for line in text.splitlines() if line.strip()]


def _parse(line: str) -> Instruction:
    name, rest = line.split(None, 1)
    flags = []
    while found := FLAG.match(rest):
        flags.append((found[1], found[2]))
        rest = rest[found.end() :].lstrip()
    return Instruction(name.upper(), tuple(flags), rest)
