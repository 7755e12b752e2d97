"""Packages that only some calls need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from farpose_client.errors import MissingPackageError


@contextmanager
def optional(what: str, package: str, extra: str) -> Iterator[None]:
    """Around an import: `MissingPackageError` says what needs the package and how to get it."""
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"{what} need {package}: in a clone of Farpose, pip install './clients/python[{extra}]'"
        ) from error
