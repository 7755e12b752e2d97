"""What Triton's Python backend needs of the interpreter that Farpose runs on."""

from __future__ import annotations

import ctypes.util
import sys
import sysconfig
from pathlib import Path
from typing import Final

SYSTEM: Final = Path("/usr")


class TritonUnavailableError(RuntimeError):
    """The local server cannot run on this machine; the message says what is missing."""


def shared_library() -> Path:
    """The interpreter's `libpython3.X.so`, which the backend's stub is linked to.

    Returns:
        Its path, or the name alone where the loader of the system finds it.

    Raises:
        TritonUnavailableError: the interpreter was built without one, and none is beside it.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"libpython{version}.so.1.0"
    folders = [
        sysconfig.get_config_var("LIBDIR"),
        Path(sys.base_prefix) / "lib",
        SYSTEM / "lib" / (sysconfig.get_config_var("MULTIARCH") or ""),
        SYSTEM / "lib64",
    ]
    for folder in filter(None, folders):
        path = Path(folder) / name
        if path.is_file():
            return path
    if ctypes.util.find_library(f"python{version}"):
        return Path(name)
    raise TritonUnavailableError(
        f"Triton's Python backend needs {name}, which this interpreter ({sys.executable}) has not: "
        f"install libpython{version} (Debian, Ubuntu) or python{version}-libs (Fedora), build with "
        "--enable-shared (pyenv), or use uv's Python"
    )
