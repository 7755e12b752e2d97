"""How the service is set up: from `FARPOSE_*` environment variables and the command line."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from farpose.engines.onnxruntime import Device
from farpose.engines.triton import DEFAULT_URL
from farpose.images import MAX_PIXELS
from farpose.repository import default_repository
from farpose_serving.rates import parsed_rate

EngineName = Literal["onnxruntime", "triton", "triton-pipeline"]


PREFIX: Final = "FARPOSE_"

_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#\s]+")


class SettingsFileError(ValueError):
    """The file of settings cannot be used."""


class UnknownSettingError(ValueError):
    """A variable is nearly the name of a setting, or a name in a file is none."""


class Settings(BaseSettings):
    """Settings of one service; `FARPOSE_PORT=80` sets `port`.

    Raises:
        pydantic.ValidationError: a value is not allowed; the error names the setting.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. By default only this machine reaches it; `0.0.0.0` opens it to the
    network, and then to everybody there unless `api_keys_file` is set."""

    port: int = Field(8080, ge=1, le=65535)
    """TCP port to listen on."""

    engine: EngineName = "onnxruntime"
    """What runs the models: ONNX Runtime in this process, the models of a Triton server, or that
    server's `pose_pipeline`, which takes whole pictures."""

    triton_url: str = DEFAULT_URL
    """`HOST:PORT` of the server's gRPC endpoint."""

    triton_shared_memory: bool = False
    """Hand frames to the server's models in shared memory; it must be on this machine."""

    device: Device = "cpu"
    """Where the models run in this process; `cuda` needs the extra `serve-gpu`."""

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

    workers: int = Field(1, ge=1, le=64)
    """Processes that serve. More than one needs a Triton engine; then `camera_id` is refused, as
    the pictures of one camera would meet different processes."""

    max_running: int = Field(8, ge=1, le=1024)
    """Pictures in work at once. Others wait, and it is their bytes alone that take memory."""

    max_waiting: int = Field(64, ge=0, le=10_000)
    """Requests that may wait for their turn; more are refused with 503, their bodies unread."""

    max_connections: int = Field(900, ge=1, le=100_000)
    """Connections that may be open at once in a process, with those of cameras; more are answered
    with 503. It must be lower than the files that a process may open (`ulimit -n`)."""

    api_keys_file: Path | None = None
    """File of hashed keys, `NAME:SHA256` in each line; with it, requests need a key."""

    rate_limit: str | None = None
    """Pictures per key, such as `20/second` or `1000/minute`; without keys, per address."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call the service, such as `https://example.org`, in a variable with
    commas between them; none by default, `*` is all."""

    small_person: float = Field(0.0, ge=0, le=1e6)
    """People whose boxes are lower than this, in picture pixels, go to `lowres_pose_32` where the
    request leaves the model to the service; 0 sends everybody to `lowres_pose`."""

    detect_every: int = Field(3, ge=1, le=1000)
    """In a camera's session the detector runs at least on every so many-th picture; between, boxes
    come from the last keypoints. 1 runs it always."""

    smoothing: bool = True
    """Whether the keypoints of a camera's people are smoothed over time."""

    camera_timeout: float = Field(30.0, gt=0, le=86_400)
    """A camera that sends nothing for so many seconds is forgotten."""

    max_cameras: int = Field(256, ge=1, le=100_000)
    """Cameras that may have a session at once."""

    camera_labels: bool = False
    """Whether metrics carry the camera's name; every name is a time series, so only for a known
    set of cameras."""

    log_format: Literal["text", "json"] = "text"
    """Lines for people, or a JSON object per line."""

    tracing_endpoint: str | None = None
    """OTLP/HTTP address of a collector, such as `http://localhost:4318/v1/traces`; needs
    the extra `tracing`."""

    @field_validator("triton_url")
    @classmethod
    def _check_triton_url(cls, url: str) -> str:
        if not re.fullmatch(r"[^/\s]+:\d+", url):
            raise ValueError(
                f"{url!r} is not HOST:PORT of a gRPC endpoint, such as {DEFAULT_URL}, without a "
                "scheme or a path"
            )
        return url

    @field_validator("rate_limit")
    @classmethod
    def _check_rate(cls, rate: str | None) -> str | None:
        if rate is not None:
            parsed_rate(rate)
        return rate

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, origins: Any) -> Any:
        if isinstance(origins, str):
            return [part for part in map(str.strip, origins.split(",")) if part]
        return origins

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin such as https://example.org, which has no path "
                    "and no slash at its end"
                )
        return origins

    @field_validator("tracing_endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.match(r"https?://[^/?#\s]+/[^?#\s]", endpoint):
            raise ValueError(
                "an http or https address with its path, such as http://localhost:4318/v1/traces"
            )
        return endpoint

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.small_person and self.engine == "triton-pipeline":
            raise ValueError(
                "small_person: with the engine triton-pipeline, Triton's pose_pipeline chooses the "
                "model: set its parameter small_person in config.pbtxt"
            )
        if self.workers > 1 and self.engine == "onnxruntime":
            raise ValueError(
                "workers: several processes would each load the models: take the engine triton or "
                "triton-pipeline, or one worker"
            )
        return self

    def shown(self) -> str:
        """The settings as one line for a log, without what may be a secret."""
        values = self.model_dump(mode="json")
        if self.tracing_endpoint is not None:
            values["tracing_endpoint"] = _without_secrets(self.tracing_endpoint)
        return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)


def load_settings(path: Path | None, **options: Any) -> Settings:
    """Settings of the command line, of the environment, and of a TOML file, in this order.

    Args:
        path: the file, with a setting in each line: `port = 9000`.
        options: of the command line.

    Raises:
        SettingsFileError: the file cannot be read.
        UnknownSettingError: a variable of the environment is a misspelt setting, or the file has
            a setting that there is not.
        pydantic.ValidationError: a value is not allowed; the error names the setting.
    """
    _check_variables(os.environ)
    if path is None:
        return Settings(**options)
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFileError(f"--settings {path}: {error}") from error
    for name in given:
        if name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1)
            hint = f"; is it {near[0]}?" if near else ""
            raise UnknownSettingError(f"--settings {path}: {name}: there is no such setting{hint}")
    environment = {name.lower() for name in os.environ}
    from_file = {k: v for k, v in given.items() if f"{PREFIX}{k}".lower() not in environment}
    return Settings(**{**from_file, **options})


def _check_variables(names: Iterable[str]) -> None:
    """Refuse what is meant as a setting; other programs may have variables of our prefix."""
    settings = list(Settings.model_fields)
    for name in names:
        bare = name.lower().removeprefix(PREFIX.lower())
        if bare == name.lower() or bare in settings:
            continue
        if near := get_close_matches(bare, settings, n=1, cutoff=0.8):
            raise UnknownSettingError(
                f"{name}: there is no such setting; is it {PREFIX}{near[0].upper()}?"
            )


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//...@", url.partition("?")[0])
