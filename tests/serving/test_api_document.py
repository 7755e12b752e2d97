"""The OpenAPI document says all that can be answered, and what it shows as examples is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from farpose_serving import problems
from farpose_serving.api_document import DETAILS
from farpose_serving.problems import Kind
from tests.serving.pinned import differences

PINNED = Path(__file__).with_name("requests.json")
"""What may be asked, and how it may end. A change here is a change of the API."""

ROUTES = {"/pose", "/models", "/metrics", "/health/live", "/health/ready"}


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return json.loads(json.dumps(app.openapi()))


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def valid(document: dict[str, Any], schema: dict[str, Any], example: Any) -> None:
    """Fail if an example is not what its schema says."""
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.validate(whole, example)


def examples(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    found = [named["value"] for named in content.get("examples", {}).values()]
    if "example" in content:
        found.append(content["example"])
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    found += [schema["example"]] if "example" in schema else []
    if not found and all(
        "default" in field for field in schema.get("properties", {"": {}}).values()
    ):
        found.append({name: field["default"] for name, field in schema["properties"].items()})
    return found


def test_every_route_is_there_with_words(document: dict[str, Any]):
    assert document["paths"].keys() == ROUTES
    assert "/stream" in document["info"]["description"]
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])


def test_every_answer_has_an_example_that_its_schema_allows(document: dict[str, Any]):
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"], (name, status)
            for media_type, content in response["content"].items():
                if media_type.startswith("image/"):
                    continue
                shown = examples(document, content)
                assert shown, (name, status, media_type)
                for example in shown:
                    valid(document, content["schema"], example)


def test_every_route_names_its_problems(document: dict[str, Any]):
    for name, operation in operations(document):
        failures = {s: r for s, r in operation["responses"].items() if not s.startswith("2")}
        if name == "GET /health/live":  # nothing is asked of it
            assert not failures
            continue
        assert {"500", "503"} <= failures.keys() or name == "GET /health/live", name
        for status, response in failures.items():
            assert list(response["content"]) == ["application/problem+json"], (name, status)
            for example in response["content"]["application/problem+json"]["examples"].values():
                assert str(example["value"]["status"]) == status
        if "401" in failures:
            assert "WWW-Authenticate" in failures["401"]["headers"]
        for status in {"429", "503", "504"} & failures.keys():
            assert "Retry-After" in failures[status]["headers"], (name, status)


def test_every_kind_of_problem_is_documented_or_of_the_connection():
    kinds = {kind for kind in vars(problems).values() if isinstance(kind, Kind)}
    assert {kind.name for kind in kinds - DETAILS.keys()} == {"no-http", "headers-too-large"}


def test_what_the_example_of_the_body_sends_is_answered(
    document: dict[str, Any], client: TestClient
):
    content = document["paths"]["/pose"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    valid(document, content["application/json"]["schema"], example)
    answer = client.post("/pose", json=example)
    assert answer.status_code == 200
    answered = document["paths"]["/pose"]["post"]["responses"]["200"]["content"]
    valid(document, answered["application/json"]["schema"], answer.json())


@pytest.mark.parametrize("path", ["/models", "/health/live", "/health/ready"])
def test_answers_are_what_their_schema_says(
    document: dict[str, Any], client: TestClient, path: str
):
    content = document["paths"][path]["get"]["responses"]["200"]["content"]
    valid(document, content["application/json"]["schema"], client.get(path).json())


def test_what_may_be_asked_is_what_it_was(document: dict[str, Any]):
    found = {name: _contract(operation) for name, operation in operations(document)}
    changed = differences(json.loads(PINNED.read_text()), found)
    assert not changed, "the API has changed:\n" + "\n".join(changed)


def _contract(operation: dict[str, Any]) -> dict[str, Any]:
    """What callers depend on, without the words."""
    return {
        "parameters": {
            f"{parameter['in']} {parameter['name']}": parameter["schema"]
            for parameter in operation.get("parameters", [])
        },
        "body": sorted(operation.get("requestBody", {}).get("content", [])),
        "answers": {
            status: sorted(response["content"])
            for status, response in operation["responses"].items()
        },
        "problems": sorted(
            name
            for response in operation["responses"].values()
            for content in response["content"].values()
            for name in content.get("examples", {})
        ),
    }
