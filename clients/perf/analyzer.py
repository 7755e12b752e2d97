"""NVIDIA's perf_analyzer, the program, without Docker.

It is inside the wheel of `tritonclient` 2.47.0 and is linked to two libraries: CUDA's runtime, of
which nothing is used, comes from a wheel too; libb64 is a package of the system, or is unpacked
beside the program where apt can download it.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from farpose.package_folders import InstallError, install, make_once

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "perf.txt"
PACKAGE = "libb64-0d"


class AnalyzerUnavailableError(RuntimeError):
    """perf_analyzer cannot run on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Analyzer:
    """A folder made by `prepare`."""

    folder: Path

    @property
    def program(self) -> Path:
        """The executable."""
        return self.folder / "site" / "bin" / "perf_analyzer"

    def variables(self) -> dict[str, str]:
        """The environment that it is started with."""
        found = {path.parent for path in self.folder.rglob("lib*.so.*")}
        libraries = [*map(str, sorted(found)), os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries))}

    def version(self) -> str:
        """What it says of itself.

        Raises:
            AnalyzerUnavailableError: it cannot be started.
        """
        done = subprocess.run(  # noqa: S603
            [self.program, "--version"],
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout + done.stderr).strip()
        if done.returncode:
            raise AnalyzerUnavailableError(f"{self.program} cannot be started: {said}")
        return said.removeprefix("Perf Analyzer Version ").partition(" ")[0]


def prepare(root: Path) -> Analyzer:
    """The program in a folder below this one; it is made if it is not there.

    Raises:
        AnalyzerUnavailableError: this machine lacks something, or packages cannot be had.
    """
    if sys.platform != "linux":
        raise AnalyzerUnavailableError(f"perf_analyzer runs on Linux, not on {sys.platform}")
    content = hashlib.sha256(REQUIREMENTS.read_bytes() + platform.machine().encode())
    folder = root / f"perf_analyzer-{content.hexdigest()[:12]}"
    try:
        make_once(folder, _make)
    except InstallError as error:
        raise AnalyzerUnavailableError(f"perf_analyzer cannot be installed: {error}") from error
    except OSError as error:
        raise AnalyzerUnavailableError(f"{folder}: cannot be made ({error})") from error
    return Analyzer(folder)


def _make(folder: Path) -> None:
    install([REQUIREMENTS], folder / "site")
    analyzer = Analyzer(folder)
    if not analyzer.program.is_file():
        raise AnalyzerUnavailableError(
            f"the package tritonclient has no perf_analyzer for {platform.machine()}"
        )
    analyzer.program.chmod(0o755)
    if ctypes.util.find_library("b64") is None:
        _unpack_library(folder)
    analyzer.version()


def _unpack_library(folder: Path) -> None:
    """Download the system's package and unpack it here: it is not installed."""
    advice = f"perf_analyzer needs the library libb64.so.0d: apt install {PACKAGE}"
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise AnalyzerUnavailableError(f"{advice} (or what this system calls it)")
    download = _said(["apt-get", "download", PACKAGE], folder)
    if download is not None and os.geteuid() == 0:  # a fresh container has no lists yet
        _said(["apt-get", "update"], folder)
        download = _said(["apt-get", "download", PACKAGE], folder)
    if download is not None:
        raise AnalyzerUnavailableError(f"{advice} (apt-get download: {download})")
    (package,) = folder.glob(f"{PACKAGE}_*.deb")
    unpacked = _said(["dpkg", "--extract", str(package), str(folder / "system")], folder)
    if unpacked is not None:
        raise AnalyzerUnavailableError(f"{advice} (dpkg: {unpacked})")
    package.unlink()


def _said(command: list[str], folder: Path) -> str | None:
    """Run a command; the last line of its complaint if it failed."""
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    return ((done.stderr.strip() or "it failed").splitlines()[-1]) if done.returncode else None
