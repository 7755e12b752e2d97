"""The compose files: what Compose makes of them, and what the house asks of every service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from compose_spec import PyOptions

from farpose_serving.settings import Settings
from tests.conftest import ROOT, missing

DOCKER = ROOT / "docker"
FILES = ("compose.yaml", "compose.cpu.yaml")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def with_defaults(text: str) -> str:
    """What Compose reads where no variable is set."""
    text = VARIABLE.sub(r"\2", text)
    assert "$" not in text, "only ${NAME:-default} is known to this test"
    return text


def services(name: str) -> dict[str, Any]:
    """The services of a file as they are written, with those that it extends."""
    found = {}
    for service, said in yaml.safe_load(with_defaults((DOCKER / name).read_text()))[
        "services"
    ].items():
        base = said.pop("extends", None)
        found[service] = (
            services(base["file"])[base["service"]] | said if base is not None else said
        )
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_file_keeps_to_the_compose_specification(name: str):
    text = with_defaults((DOCKER / name).read_text())
    PyOptions(apply_merge=True).from_yaml(text).validate()


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command of Docker Compose 2: Docker's plugin, or the program by itself."""
    found = [command for command in (["docker", "compose"], ["docker-compose"]) if is_new(command)]
    if not found:
        missing("no Docker Compose 2: on Debian 12, .ci/compose installs it")
    return found[0]


def is_new(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    version = [*command, "version", "--short"]
    done = subprocess.run(version, capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stdout.startswith("1.")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("profile", ["", "monitoring"])
def test_compose_itself_takes_the_file(compose: list[str], name: str, profile: str):
    done = subprocess.run(
        [*compose, "--file", DOCKER / name, "config", "--format", "json"],
        env={**os.environ, "COMPOSE_PROFILES": profile},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    found = json.loads(done.stdout)["services"]
    expected = {"api", "triton"} | ({"prometheus", "grafana"} if profile else set())
    assert found.keys() == expected
    devices = found["triton"]["deploy"]["resources"].get("reservations", {}).get("devices", [])
    assert [device["driver"] for device in devices] == (["nvidia"] if name == FILES[0] else [])


@pytest.mark.parametrize("name", FILES)
def test_every_service_is_hardened_and_limited(name: str):
    for service, said in services(name).items():
        assert said["read_only"] is True, service
        assert said["cap_drop"] == ["ALL"], service
        assert said["security_opt"] == ["no-new-privileges:true"], service
        assert said["restart"] == "unless-stopped", service
        assert said["logging"]["options"].keys() == {"max-size", "max-file"}, service
        assert "privileged" not in said, service


def test_every_service_has_limits_of_memory_and_processes():
    for service, said in services("compose.cpu.yaml").items():
        assert {"memory", "pids"} <= said["deploy"]["resources"]["limits"].keys(), service


def test_nothing_is_published_beyond_this_machine_unless_asked():
    ports = [port for said in services("compose.cpu.yaml").values() for port in said["ports"]]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_pulled_images_have_a_version():
    for service, said in services("compose.cpu.yaml").items():
        if "build" not in said:
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", said["image"]), service


def test_the_service_is_told_what_it_understands(monkeypatch: pytest.MonkeyPatch):
    environment = services("compose.cpu.yaml")["api"]["environment"]
    names = {name.removeprefix("FARPOSE_").lower() for name in environment}
    assert names <= Settings.model_fields.keys()
    for name, value in environment.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.engine, settings.triton_url) == ("triton-pipeline", "triton:8001")


def test_files_that_are_mounted_are_there():
    mounts = [
        volume
        for said in services("compose.cpu.yaml").values()
        for volume in said.get("volumes", ())
        if volume.startswith("./")
    ]
    assert len(mounts) == 5
    for mount in mounts:
        source, _, mode = mount.split(":")
        assert (DOCKER / source).exists()
        assert mode == "ro"


def test_the_manual_lists_every_variable_with_its_default():
    manual = (ROOT / "docs/docker.md").read_text()
    used = {pair for name in FILES for pair in VARIABLE.findall((DOCKER / name).read_text())}
    rows = set(re.findall(r"^\| `(\w+)` \| `?([^`|]*?)`? \|", manual, re.MULTILINE))
    assert used <= rows
