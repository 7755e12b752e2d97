"""Settings come from the environment and are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from farpose.repository import default_repository
from farpose_serving.settings import Settings


def test_defaults_serve_the_bundled_models_to_this_machine_only():
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.engine, settings.device) == ("onnxruntime", "cpu")
    assert settings.repository == default_repository()


def test_the_environment_sets_and_arguments_override(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FARPOSE_PORT", "9000")
    monkeypatch.setenv("FARPOSE_REPOSITORY", "/models")
    assert Settings().port == 9000
    assert Settings().repository == Path("/models")
    assert Settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),  # no number
        ("port", "0"),
        ("port", "65536"),
        ("engine", "tensorflow"),  # not there
        ("device", "tpu"),
        ("threads", "0"),
        ("max_body_bytes", "-1"),
        ("max_pixels", "1000000000"),  # more than is safe to decode
        ("host", ""),
    ],
)
def test_wrong_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(f"FARPOSE_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=8080)
