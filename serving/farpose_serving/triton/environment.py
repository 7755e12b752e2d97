"""The folders that the local Triton server runs from, made once.

    triton-packages-*/    Triton and what models need, with the NumPy that its Python backend reads
                          rightly; for these requirements and this interpreter
    triton-server-*/      for this installation of Farpose
        packages          a link to the above
        python/           a virtual environment that finds the packages and Farpose
        backends/         `python` with the stub of this interpreter's version, and `onnxruntime`, a
                          link to ours

The backends' interpreters ignore PYTHONPATH; they take the virtual environment that is first on
PATH. Nothing is installed into the environment that Farpose runs in. Folders of earlier versions
stay; they may be deleted while no server runs from them.
"""

from __future__ import annotations

import os
import shutil
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import farpose
from farpose.package_folders import InstallError, fingerprint, install, make_once
from farpose_serving.triton.interpreter import TritonUnavailableError, shared_library

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = tuple(HERE / "requirements" / name for name in ("server.txt", "models.txt"))
"""Complete, so that nothing is resolved: Triton's package would ask for an older OpenCV."""

BACKEND: Final = HERE / "backends" / "onnxruntime"
SERVER: Final = Path("pytriton", "tritonserver")
LIBRARIES: Final = "nvidia_pytriton.libs"
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class TritonEnvironment:
    """A folder made by `prepare`."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return self.folder / "packages"

    @property
    def python(self) -> Path:
        """The virtual environment."""
        return self.folder / "python"

    @property
    def server(self) -> Path:
        """The program."""
        return self.packages / SERVER / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """For `--backend-directory`."""
        return self.folder / "backends"

    def variables(self) -> dict[str, str]:
        """The environment that the server is started with."""
        libraries = [str(self.packages / LIBRARIES)]
        libpython = shared_library()
        if libpython.is_absolute():
            libraries.append(str(libpython.parent))
        libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
        return {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PYTHONDONTWRITEBYTECODE": "1",  # into the model repository
            "PATH": os.pathsep.join([str(self.python / "bin"), os.environ.get("PATH", os.defpath)]),
        }


def prepare(root: Path) -> TritonEnvironment:
    """The environment in this folder; it is made if it is not there.

    Several processes may ask at once: one makes it, the others wait. One that was left half-made is
    never taken.

    Raises:
        TritonUnavailableError: this machine lacks something, or packages cannot be had.
    """
    if sys.platform != "linux":
        raise TritonUnavailableError(f"Triton runs on Linux, not on {sys.platform}")
    shared_library()
    root = root.absolute()
    contents = [path.read_text() for path in REQUIREMENTS]
    packages = root / f"triton-packages-{fingerprint(sys.version, *contents)}"
    installation = (packages.name, sys.base_prefix, str(_farpose()), str(BACKEND))
    environment = TritonEnvironment(root / f"triton-server-{fingerprint(*installation)}")
    try:
        make_once(packages, lambda partial: install(REQUIREMENTS, partial))
        make_once(environment.folder, lambda partial: _make(TritonEnvironment(partial), packages))
    except InstallError as error:
        raise TritonUnavailableError(
            f"the packages of the local Triton server cannot be installed: {error}"
        ) from error
    except OSError as error:
        raise TritonUnavailableError(f"{root}: cannot hold Triton's packages ({error})") from error
    return environment


def _farpose() -> Path:
    """The core, which models of the Python backend import."""
    return Path(farpose.__file__).parent


def _make(environment: TritonEnvironment, packages: Path) -> None:
    source = packages / SERVER
    stub = source / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    if not stub.is_file():
        known = [path.name for path in (source / "python_backend_stubs").iterdir()]
        raise TritonUnavailableError(
            f"this Triton has no backend for Python {PYTHON}: run Farpose on one of "
            f"{', '.join(sorted(known, key=lambda name: int(name.split('.')[1])))}"
        )
    environment.packages.symlink_to(Path("..", packages.name), target_is_directory=True)
    venv.create(environment.python, symlinks=True)
    site = environment.python / "lib" / f"python{PYTHON}" / "site-packages"
    (site / "triton.pth").write_text(f"{packages}\n")
    # The models of the Python backend run the same pipeline as everywhere else.
    (site / "farpose").symlink_to(_farpose(), target_is_directory=True)
    python = environment.backends / "python"
    shutil.copytree(source / "backends" / "python", python)
    shutil.copy2(stub, python / stub.name)
    (environment.backends / "onnxruntime").symlink_to(BACKEND, target_is_directory=True)
