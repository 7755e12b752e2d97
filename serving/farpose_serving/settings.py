"""How the service is set up: from `FARPOSE_*` environment variables and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from farpose.engines.onnxruntime import Device
from farpose.engines.triton import DEFAULT_URL
from farpose.images import MAX_PIXELS
from farpose.repository import default_repository

EngineName = Literal["onnxruntime", "triton", "triton-pipeline"]


class Settings(BaseSettings):
    """Settings of one service; `FARPOSE_PORT=80` sets `port`.

    Raises:
        pydantic.ValidationError: a value is not allowed; the error names the setting.
    """

    model_config = SettingsConfigDict(
        env_prefix="FARPOSE_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. The service has no access control, so by default only this machine
    reaches it; `0.0.0.0` opens it to the network."""

    port: int = Field(8080, ge=1, le=65535)
    """TCP port to listen on."""

    engine: EngineName = "onnxruntime"
    """What runs the models: ONNX Runtime in this process, the models of a Triton server, or that
    server's `pose_pipeline`, which takes whole pictures."""

    triton_url: str = Field(DEFAULT_URL, pattern=r"^.+:\d+$")
    """`HOST:PORT` of the server's gRPC endpoint."""

    triton_shared_memory: bool = False
    """Hand frames to the server's models in shared memory; it must be on this machine."""

    device: Device = "cpu"
    """Where the models run in this process; `cuda` needs farpose[serve-gpu]."""

    repository: Path = Field(default_factory=default_repository)
    """Folder of the models: a Triton model repository."""

    threads: int | None = Field(None, ge=1, le=1024)
    """CPU threads of one model run; ONNX Runtime's choice when not given."""

    max_body_bytes: int = Field(20_000_000, ge=1)
    """Larger request bodies are refused, while they are being read."""

    max_pixels: int = Field(MAX_PIXELS, ge=1, le=150_000_000)
    """Larger pictures (width x height) are refused before they are decoded."""

    deadline_ms: int = Field(10_000, ge=1, le=600_000)
    """A picture that takes longer is answered with 504, milliseconds."""
