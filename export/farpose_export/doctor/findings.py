"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    """Something will not work."""

    WARNING = "warning"
    """It may not work, or not as it was measured."""

    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing worth saying."""

    severity: Severity
    subject: str
    """What it is about: a package, a GPU, a model's version."""

    text: str
    """What is the matter, and what to do."""


def problem(subject: str, text: str) -> Finding:
    """Something that will not work."""
    return Finding(Severity.PROBLEM, subject, text)


def warning(subject: str, text: str) -> Finding:
    """Something that may not work."""
    return Finding(Severity.WARNING, subject, text)


def note(subject: str, text: str) -> Finding:
    """Something to know."""
    return Finding(Severity.NOTE, subject, text)
