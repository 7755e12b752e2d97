"""Settings come from the environment and are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from farpose.repository import default_repository
from farpose_serving.settings import Settings, UnknownSettingError, load_settings


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
        ("max_connections", "0"),
        ("triton_url", "localhost"),
        ("triton_url", "http://localhost:8001"),  # would wait for a host of that name
        ("rate_limit", "often"),
        ("cors_origins", "example.org"),  # no scheme
        ("cors_origins", "https://a.example,https://b.example/"),  # never equals an Origin
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"workers": 2}, "workers: several processes"),  # each would load the models
        ({"small_person": 40, "engine": "triton-pipeline"}, "config.pbtxt"),  # not ours to choose
    ],
)
def test_settings_that_do_not_go_together_are_refused(values: dict, words: str):
    with pytest.raises(ValidationError, match=words):
        Settings(**values)
    assert Settings(**{**values, "engine": "triton"})


def test_a_file_sets_the_environment_overrides_it_and_options_override_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "farpose.toml"
    path.write_text('port = 9000\nmax_cameras = 5\ncors_origins = ["https://a.example"]\n')
    monkeypatch.setenv("FARPOSE_MAX_CAMERAS", "7")
    settings = load_settings(path, host="::1")
    assert (settings.port, settings.max_cameras, settings.host) == (9000, 7, "::1")
    assert settings.cors_origins == ("https://a.example",)
    assert load_settings(path, port=9001).port == 9001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "farpose.toml"),
        ("port: 9000", "farpose.toml"),  # no TOML
        ("porrt = 9000", "farpose.toml: porrt: there is no such setting; is it port?"),
        ("[server]\nport = 9000", "server: there is no such setting$"),
        ("port = 'http'", "port"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str | None, words: str):
    path = tmp_path / "farpose.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=words):
        load_settings(path)


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        (
            "https://a.example, http://b.example:8080",
            ("https://a.example", "http://b.example:8080"),
        ),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_a_variable_names_several_origins(
    monkeypatch: pytest.MonkeyPatch, given: str, origins: tuple[str, ...]
):
    monkeypatch.setenv("FARPOSE_CORS_ORIGINS", given)
    assert Settings().cors_origins == origins


@pytest.mark.parametrize("name", ["FARPOSE_MAX_WAITNG", "farpose_max_pixel", "FARPOSE_RATELIMIT"])
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "5")
    with pytest.raises(UnknownSettingError, match=f"{name}.*is it FARPOSE_"):
        load_settings(None)


@pytest.mark.parametrize(
    "name",
    [
        "FARPOSE_DATA",  # of the tests
        "FARPOSE_HTTP_PORT",  # of docker/
        "FARPOSE_SERVICE_HOST",  # Kubernetes sets it where a service is named farpose
        "FARPOSE_PORT_8080_TCP_ADDR",
        "OTHER_PORT",
    ],
)
def test_variables_of_others_are_let_alone(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "5")
    assert load_settings(None) == Settings()


def test_settings_are_shown_without_secrets():
    shown = Settings(
        port=9000, tracing_endpoint="https://user:pass@otel.example/v1/traces?token=abc"
    ).shown()
    assert "port=9000" in shown
    assert "tracing_endpoint=https://...@otel.example/v1/traces" in shown
    assert not any(secret in shown for secret in ("user", "pass@", "abc"))
