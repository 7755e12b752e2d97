"""Where the bundled models are."""

from __future__ import annotations

from pathlib import Path


class RepositoryError(ValueError):
    """A repository or a model in it cannot be used; the message names the path."""


def default_repository() -> Path:
    """The bundled models: in the installed package, or in the source tree it was installed from."""
    installed = Path(__file__).parent / "model_repository"
    if installed.is_dir():
        return installed
    return Path(__file__).parent.parent / "model_repository"
