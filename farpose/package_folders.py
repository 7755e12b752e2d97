"""Folders with packages of their own, for programs that cannot share Farpose's environment.

Each is made once per machine, from pinned requirements, and named after what it is made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class InstallError(RuntimeError):
    """Packages cannot be had; the message says why."""


def default_folder() -> Path:
    """Where they are kept: `$XDG_CACHE_HOME/farpose`, or `~/.cache/farpose`.

    Raises:
        InstallError: the user has no home.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(cache or Path.home() / ".cache") / "farpose"
    except RuntimeError as error:
        raise InstallError(
            "there is no home folder to keep packages in: set XDG_CACHE_HOME"
        ) from error


def make_once(folder: Path, make: Callable[[Path], None]) -> None:
    """Make `folder`, named KIND-FINGERPRINT, if it is not there; it is there whole or not at all.

    Several processes may ask at once: one makes it, the others wait. What a killed one left
    half-made is removed by the next that makes something of this kind; no KIND may begin with
    another one and a dash.

    Args:
        folder: to be made.
        make: fills an empty folder beside it, which is then renamed. What it raises is raised.

    Raises:
        OSError: the folder cannot be made.
    """
    if folder.is_dir():
        return
    kind = folder.name.rpartition("-")[0]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.parent / f"{kind}.lock"):
        if folder.is_dir():
            return
        for remains in folder.parent.glob(f".{kind}-*"):  # of a process that was killed
            shutil.rmtree(remains, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=folder.parent))
        try:
            make(partial)
            partial.chmod(0o755)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def fingerprint(*contents: str) -> str:
    """A name for what a folder is made of; it changes with each of the texts."""
    return hashlib.sha256("\0".join(contents).encode()).hexdigest()[:12]


def install(requirements: Sequence[Path], site: Path) -> None:
    """Install files of complete requirements with hashes into the folder `site`.

    Raises:
        InstallError: there is no installer, or a package cannot be installed.
    """
    command = [*_installer(), "--no-deps", "--require-hashes", "--target", str(site)]
    for path in requirements:
        command += ["-r", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise InstallError(" ".join(line.strip() for line in lines[-10:]))


def _installer() -> list[str]:
    """What can install packages: uv or pip."""
    beside = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    uv = shutil.which("uv", path=os.pathsep.join(beside))
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if importlib.util.find_spec("pip") is None:
        raise InstallError(
            f"neither uv nor pip is in the environment of {sys.executable}: install one of them"
        )
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
