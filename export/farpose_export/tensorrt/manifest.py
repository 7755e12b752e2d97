"""`engine.json`: what an engine was built from, with what, and for which GPU.

An engine only loads on the kind of GPU and the TensorRT version that it was built with. The
manifest lets `farpose doctor` say so before a server starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PLAN_FILE: Final = "model.plan"
MANIFEST_FILE: Final = "engine.json"

TRITON_RELEASE: Final = "NVIDIA_TRITON_SERVER_VERSION"
"""The variable that NVIDIA's Triton containers have their release in, such as "25.06"."""


class ManifestError(ValueError):
    """An `engine.json` cannot be read; the message names it."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(_Record):
    """One GPU and the driver that runs it."""

    name: str
    """As the driver gives it, such as "NVIDIA L4"."""

    compute_capability: str
    """Such as "8.9"."""

    driver: str
    """The driver's version, such as "550.54.15"."""

    cuda: str | None
    """The newest CUDA version that the driver runs, such as "12.4"; None where it does not say."""


class ShapeRange(_Record):
    """The shapes of one input that an engine takes, batch included."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    """The shape that kernels are chosen for."""

    max: tuple[int, ...]


class EngineManifest(_Record):
    """What `engine.json` holds."""

    format: Literal[1] = 1
    gpu: Gpu
    tensorrt: str
    """The version, such as "10.13.0.35"."""

    triton: str | None
    """The release of the Triton container that the engine was built in, such as "25.06"; None
    outside of one."""

    precision: str
    """Of the ONNX graph: the network is strongly typed, so the engine has it too."""

    tf32: bool
    """Whether FP32 products may be rounded to TF32."""

    onnx_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    plan_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    profiles: dict[str, ShapeRange]
    """By name of the input."""

    build_seconds: float = Field(ge=0)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            ManifestError: it is not there or is none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ManifestError(
                f"{path}: is no engine manifest ({place}: {first['msg']})"
            ) from error

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(indent=2) + "\n"
