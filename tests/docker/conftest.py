"""Where images are built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tests.docker.image import make_context
from tests.docker.namespace import Namespace, NamespaceError


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Docker would send to the build."""
    return make_context(ROOT, tmp_path_factory.mktemp("docker") / "context")


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """A mount namespace for one image."""
    try:
        with Namespace() as made:
            yield made
    except NamespaceError as error:
        missing(f"no mount namespace: {error}")
