"""A report before it is a page or Markdown: sections of paragraphs, tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from farpose.evaluation.report.bootstrap import Estimate

TOO_FEW: Final = "too few"
"""Stands where a number would rest on too few people."""

_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Value:
    """A cell of a table: a number, and a detail such as its interval."""

    text: str
    detail: str = ""


Cell = str | Value


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of plain texts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"a row does not have the {len(self.header)} cells of its table")


@dataclass(frozen=True)
class Picture:
    """A PNG file, and what it shows."""

    name: str
    """Of the file, without its ending."""

    png: bytes
    text: str
    """Said beside it, and read aloud where it cannot be seen."""

    dark_png: bytes | None = None
    """The same for a dark page."""

    wide: bool = False
    """Whether it is much wider than it is high."""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other as far as there is room."""

    pictures: tuple[Picture, ...]


Block = Paragraph | Bullets | Table | Gallery


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them, in order."""
        return tuple(
            picture
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Gallery)
            for picture in block.pictures
        )


def estimated(estimate: Estimate | None) -> Value:
    """A cell with a number and its interval, or why there is none."""
    if estimate is None:
        return Value(TOO_FEW)
    if not math.isfinite(estimate.value):
        return Value("–")
    low, high = estimate.interval
    detail = f"{low:.3f} to {high:.3f}" if math.isfinite(low) else ""
    return Value(f"{estimate.value:.3f}", detail)


def counted(people: int, pictures: int) -> Value:
    """A cell with a number of people."""
    if not people:
        return Value("nobody")
    return Value(str(people), "in 1 picture" if pictures == 1 else f"in {pictures} pictures")


def difference(estimate: Estimate | None) -> Value:
    """The same for a difference, which has a sign."""
    if estimate is None:
        return Value(TOO_FEW)
    if not math.isfinite(estimate.value):
        return Value("–")
    low, high = estimate.interval
    detail = f"{signed(low)} to {signed(high)}" if math.isfinite(low) else ""
    return Value(signed(estimate.value), detail)


def signed(value: float) -> str:
    """With a plus or a minus unless it is 0, three digits."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", _MINUS)


def number(value: float, digits: int = 3) -> str:
    """So many digits; a dash for nan."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def heights(low: float, high: float) -> str:
    """A range of heights as people read it."""
    if math.isinf(high):
        return f"{low:.0f} px and more" if low else "everybody"
    return f"{low:.0f} to {high:.0f} px" if low else f"under {high:.0f} px"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*[", ".join(names[:-1])] * (len(names) > 1), *names[-1:]])
