"""The dashboard asks for metrics that a real Triton has, of the server that Prometheus asks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
import yaml
from starlette.testclient import TestClient

from farpose_serving.app import create_app
from farpose_serving.settings import Settings
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT, missing
from tests.serving.encoded import encode, gradient

MONITORING = ROOT / "docker/monitoring"
GPU = re.compile(r"nv_gpu_(utilization|memory_(used|total)_bytes)")
"""Only a server with a GPU has them: NVIDIA's documentation of Triton's metrics."""


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads((MONITORING / "dashboards/triton.json").read_text())


@pytest.fixture(scope="module")
def metrics(triton: TritonServer, pictures: list[bytes]) -> str:
    """What the server shows after a picture."""
    image = grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([pictures[0]], object))
    with grpc.InferenceServerClient(f"{triton.host}:{triton.ports.grpc}") as client:
        client.infer("pose_pipeline", [image])
    with urllib.request.urlopen(f"http://{triton.host}:{triton.ports.metrics}/metrics") as response:
        # Prometheus 3 refuses to read what does not say that it is text.
        assert response.headers.get_content_type() == "text/plain"
        return response.read().decode()


def expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_of_the_dashboard_is_one_of_tritons(dashboard: dict[str, Any], metrics: str):
    asked = set(re.findall(r"nv_\w+", " ".join(expressions(dashboard))))
    shown = set(re.findall(r"^(nv_\w+?)(?:\{| )", metrics, re.MULTILINE))
    assert {"nv_inference_request_success", "nv_inference_queue_duration_us"} <= asked
    assert {name for name in asked - shown if not GPU.fullmatch(name)} == set()


def test_every_label_of_the_dashboard_is_one_of_tritons(dashboard: dict[str, Any], metrics: str):
    asked = {
        label.strip()
        for labels in re.findall(r"by \(([^)]*)\)", " ".join(expressions(dashboard)))
        for label in labels.split(",")
    }
    assert asked == {"model", "reason"}
    assert asked <= set(re.findall(r'[{,](\w+)="', metrics))


def test_rates_are_taken_of_counters_alone(dashboard: dict[str, Any], metrics: str):
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.MULTILINE))
    rated = set(re.findall(r"rate\((\w+)\[", " ".join(expressions(dashboard))))
    assert {kinds[name] for name in rated} == {"counter"}


def test_prometheus_asks_the_server_of_the_compose_file():
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}
    assert jobs == {
        "farpose": [{"targets": ["api:8080"]}],
        "triton": [{"targets": ["triton:8002"]}],
    }
    services = yaml.safe_load((ROOT / "docker/compose.cpu.yaml").read_text())["services"]
    assert {"api", "triton"} <= services.keys()
    mounted = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in config["rule_files"]} <= mounted


def test_the_dashboard_reads_the_source_that_is_set_up(dashboard: dict[str, Any]):
    (source,) = yaml.safe_load((MONITORING / "datasource.yaml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


@pytest.fixture(scope="module")
def service_metrics(repository: Path) -> str:
    """What the service shows after a picture, one of a camera, and one that is refused."""
    with TestClient(create_app(Settings(repository=repository))) as client:
        for query in ("", "?camera_id=gate&timestamp=1", "?camera_id=gate&timestamp=1"):
            headers = {"Content-Type": "image/jpeg"}
            client.post(f"/pose{query}", content=encode(gradient(), ".jpg"), headers=headers)
        return client.get("/metrics").text


def asked_of_the_service() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboards/service.json").read_text())
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [*expressions(dashboard), *(rule["expr"] for rule in group["rules"])]


def test_dashboard_and_alerts_ask_for_what_the_service_has(service_metrics: str):
    text = " ".join(asked_of_the_service())
    asked = set(re.findall(r"\b(?:farpose|process)_\w+", text))
    shown = set(re.findall(r"^(\w+?)(?:\{| )", service_metrics, re.MULTILINE))
    assert len(asked) > 10
    assert asked - shown == set()
    labels = set(re.findall(r"(?<=[{,])(\w+)(?==)", service_metrics))
    by = {
        name.strip() for group in re.findall(r"by \(([^)]*)\)", text) for name in group.split(",")
    }
    assert by <= labels
    selected = set(re.findall(r"[{,]\s*(\w+)(?:=~|!=|=)", text)) - {"job"}
    assert selected <= labels


def test_alerts_are_raised_by_what_they_are_for_and_by_nothing_else(tmp_path: Path):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("no promtool: apt install prometheus")
    rules = tmp_path / "tests.yaml"
    text = Path(__file__).with_name("alerts.yaml").read_text()
    rules.write_text(text.replace("ALERTS", str(MONITORING / "alerts.yaml")))
    tested = set(re.findall(r"alertname: (\w+)", text))
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    assert tested == {rule["alert"] for rule in group["rules"]}
    for command in (
        ["test", "rules", rules],
        ["check", "config", MONITORING / "prometheus.yaml"],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_manual_says_what_to_do_about_every_alert():
    manual = (ROOT / "docs/operations.md").read_text()
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert f"| `{rule['alert']}` |" in manual


def test_both_dashboards_have_names_of_their_own():
    found = [json.loads(path.read_text()) for path in (MONITORING / "dashboards").glob("*.json")]
    assert len({dashboard["uid"] for dashboard in found}) == len(found) == 2
    for dashboard in found:
        assert all(panel["description"] for panel in dashboard["panels"])
