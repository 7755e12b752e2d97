"""The folder that the local Triton server runs from: made once, by the packages of a file.

    python/     a virtual environment with the NumPy that Triton's Python backend reads rightly
    backends/   `python` with the stub of this interpreter's version, and our `onnxruntime`

The backend's interpreters ignore PYTHONPATH; they take the virtual environment that is first on
PATH. Nothing is installed into the environment that Farpose runs in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import farpose
from farpose.package_folders import InstallError, install, make_once
from farpose_serving.triton.interpreter import TritonUnavailableError, shared_library

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = tuple(HERE / "requirements" / name for name in ("server.txt", "models.txt"))
"""Complete, so that nothing is resolved: Triton's package would ask for an older OpenCV."""

BACKEND: Final = HERE / "backends" / "onnxruntime" / "model.py"
SERVER: Final = Path("pytriton", "tritonserver")
LIBRARIES: Final = "nvidia_pytriton.libs"


@dataclass(frozen=True)
class TritonEnvironment:
    """A folder made by `prepare`."""

    folder: Path

    @property
    def python(self) -> Path:
        """The virtual environment."""
        return self.folder / "python"

    @property
    def site(self) -> Path:
        """Its packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.python / "lib" / version / "site-packages"

    @property
    def server(self) -> Path:
        """The program."""
        return self.site / SERVER / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """For `--backend-directory`."""
        return self.folder / "backends"

    def variables(self) -> dict[str, str]:
        """The environment that the server is started with."""
        libraries = [str(self.site / LIBRARIES), str(shared_library().parent)]
        libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
        return {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PYTHONDONTWRITEBYTECODE": "1",  # into the model repository
            "PATH": os.pathsep.join([str(self.python / "bin"), os.environ.get("PATH", os.defpath)]),
        }


def prepare(root: Path) -> TritonEnvironment:
    """The environment in this folder; it is made if it is not there.

    Several processes may ask at once: one makes it, the others wait.

    Raises:
        TritonUnavailableError: this machine lacks something, or packages cannot be had.
    """
    if sys.platform != "linux":
        raise TritonUnavailableError(f"Triton runs on Linux, not on {sys.platform}")
    shared_library()
    folder = root / f"triton-{_fingerprint()}"
    try:
        make_once(folder, _make)
    except InstallError as error:
        raise TritonUnavailableError(
            f"the packages of the local Triton server cannot be installed: {error}"
        ) from error
    except OSError as error:
        raise TritonUnavailableError(f"{folder}: cannot be made ({error})") from error
    return TritonEnvironment(folder)


def _fingerprint() -> str:
    """Changes with everything that an environment is made of."""
    content = hashlib.sha256(sys.version.encode())
    for path in (*REQUIREMENTS, BACKEND):
        content.update(path.read_bytes())
    content.update(str(Path(farpose.__file__).parent).encode())
    return content.hexdigest()[:12]


def _make(folder: Path) -> None:
    environment = TritonEnvironment(folder)
    venv.create(environment.python, symlinks=True)
    install(REQUIREMENTS, environment.site)
    # The models of the Python backend run the same pipeline as everywhere else.
    core = Path(farpose.__file__).parent
    (environment.site / "farpose").symlink_to(core, target_is_directory=True)
    _make_backends(environment)


def _make_backends(environment: TritonEnvironment) -> None:
    source = environment.site / SERVER
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = source / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted(path.name for path in (source / "python_backend_stubs").iterdir())
        raise TritonUnavailableError(
            f"this Triton has no backend for Python {version}: run Farpose on one of "
            f"{', '.join(known)}"
        )
    python = environment.backends / "python"
    shutil.copytree(source / "backends" / "python", python)
    shutil.copy2(stub, python / stub.name)
    ours = environment.backends / "onnxruntime"
    ours.mkdir()
    shutil.copy2(BACKEND, ours / BACKEND.name)
