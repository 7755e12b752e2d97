"""The `tensorrt` package: imported when it is needed, in a version that is known.

One way of building serves TensorRT 10 and 11. Every name used of the package was looked up in the
Python bindings of 10.7.0, 10.13.0 and 11.4.0; what differs is left alone: the builder flags for
FP16 and INT8, calibrators and implicit batches, which 11 no longer has.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any, Final

from farpose.extras import how_to_install

KNOWN_MAJORS: Final = (10, 11)


class TensorRTError(RuntimeError):
    """TensorRT cannot be used or refuses; the message says what to do."""


class MissingTensorRTError(TensorRTError):
    """TensorRT is not installed, or is one that is not known."""


def load_tensorrt() -> ModuleType:
    """The package.

    Raises:
        MissingTensorRTError: it is not installed, lacks its libraries, or has another major version
            than those known.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise MissingTensorRTError(
            f"TensorRT is not installed or lacks its libraries ({error}): "
            f"{how_to_install('export', 'tensorrt')}, which brings NVIDIA's tensorrt_cu*_libs "
            "wheels, or work in NVIDIA's container nvcr.io/nvidia/tensorrt of the same release as "
            "your Triton"
        ) from error
    version = str(getattr(trt, "__version__", "unknown"))
    major = re.match(r"\d+", version)
    if major is None or int(major.group()) not in KNOWN_MAJORS:
        raise MissingTensorRTError(
            f"TensorRT {version} is installed; engines are built with "
            f"{' or '.join(map(str, KNOWN_MAJORS))}: {how_to_install('export', 'tensorrt')}"
        )
    return trt


def error_log(trt: ModuleType) -> Any:
    """A logger that keeps errors, for a message, and tells all else to nobody.

    Args:
        trt: the package.

    Returns:
        A `tensorrt.ILogger` with a list `errors`.
    """

    class ErrorLog(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT."""
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                self.errors.append(msg)

    return ErrorLog()
