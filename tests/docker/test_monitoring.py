"""The dashboard asks for metrics that a real Triton has, of the server that Prometheus asks."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
import yaml

from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT

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
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["triton:8002"]}]
    services = yaml.safe_load((ROOT / "docker/compose.cpu.yaml").read_text())["services"]
    assert "triton" in services


def test_the_dashboard_reads_the_source_that_is_set_up(dashboard: dict[str, Any]):
    (source,) = yaml.safe_load((MONITORING / "datasource.yaml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
