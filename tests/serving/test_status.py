"""Health, models and the documentation."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest
from starlette.testclient import TestClient

from farpose.options import PoseOptions


@pytest.mark.parametrize("status", ["live", "ready"])
def test_health(client: TestClient, status: str):
    response = client.get(f"/health/{status}")
    assert (response.status_code, response.json()) == (200, {"status": status})


def test_models_tell_their_contract_and_properties(client: TestClient):
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    detector, pose = models["person_detector"], models["lowres_pose"]
    assert detector["inputs"] == [
        {"name": "images", "dtype": "uint8", "shape": [None, None, None, 3]}
    ]
    assert pose["inputs"] == [{"name": "crops", "dtype": "uint8", "shape": [None, 64, 64, 3]}]
    assert [output["name"] for output in pose["outputs"]] == ["keypoints", "scores", "variances"]
    assert pose["max_batch_size"] == 64
    assert pose["version"].isdecimal()
    assert pose["properties"]["keypoint_set"] == "coco17"


def test_the_documentation_needs_no_internet(client: TestClient):
    page = client.get("/docs").text
    assert "://" not in page.replace("http://testserver", "")
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        response = client.get(asset)
        assert response.status_code == 200
        assert len(response.content) > 1000


def test_openapi_describes_every_option_and_body(client: TestClient):
    document = client.get("/openapi.json").json()
    assert document["info"]["version"] == version("farpose")
    operation = document["paths"]["/pose"]["post"]
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert parameters.keys() == {
        *PoseOptions.model_fields,
        "camera_id",
        "timestamp",
        "format",
        "X-Deadline-Ms",
    }
    assert all(parameter["description"] for parameter in parameters.values())
    assert parameters["boxes"]["schema"]["type"] == "string"
    assert parameters["detection_threshold"]["schema"]["default"] == 0.35
    assert operation["requestBody"]["content"].keys() == {
        "image/jpeg", "image/png", "image/webp", "multipart/form-data", "application/json",
    }  # fmt: skip
    answer = document["components"]["schemas"]["PoseAnswer"]
    assert answer["example"]["people"][0]["keypoints"]
    assert answer["properties"].keys() == {
        "id", "image", "models", "keypoint_names", "people", "timing_ms",
    }  # fmt: skip
