"""The HTTP API is what its own OpenAPI document says: a fuzzer tries a real service by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from farpose_serving.access import hashed, new_key
from tests.conftest import ROOT
from tests.service import Service
from tests.serving.pinned import differences
from tests.serving.test_command import FARPOSE

PINNED = Path(__file__).with_name("answers.json")
"""What answers look like. A change here is a change of the API: say so in CHANGELOG.md."""


@pytest.mark.parametrize("keys", [False, True], ids=["open", "with keys"])
def test_nothing_the_document_allows_or_forbids_breaks_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: bool
):
    header = ["--header", "X-Deadline-Ms: 60000"]  # a millisecond is rightly not met
    if keys:
        key, path = new_key(), tmp_path / "keys"
        path.write_text(f"fuzzer:{hashed(key)}\n")
        monkeypatch.setenv("FARPOSE_API_KEYS_FILE", str(path))
        header += [
            "--header",
            f"X-API-Key: {key}",
            "--generation-with-security-parameters",
            "false",
        ]
    with Service(FARPOSE, ROOT) as service:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("st"),
                *("run", f"{service.url}/openapi.json", "--seed", "1", "--max-examples", "60"),
                # Bytes that are no picture are rightly refused.
                *("--exclude-checks", "positive_data_acceptance"),
                *("--continue-on-failure", "--no-color", *header),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "5 selected / 5 total" in done.stdout


def test_answers_look_as_they_did(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    names = (
        "ImageSize", "Person", "PoseAnswer", "Models", "Model", "Skeleton", "Tensor", "Ready",
        "Live",
    )  # fmt: skip
    found = {name: _shape(schemas[name]) for name in names}
    problem = client.post("/pose").json()
    found["problem"] = sorted(problem)
    changed = differences(json.loads(PINNED.read_text()), found)
    assert not changed, "answers have changed:\n" + "\n".join(changed)


def test_a_change_of_the_answers_is_told_exactly():
    before = json.loads(PINNED.read_text())
    now = json.loads(PINNED.read_text())
    now["Person"]["properties"]["score"]["type"] = "string"
    now["Person"]["properties"]["age"] = {"type": "integer"}
    del now["problem"]
    now["PoseAnswer"]["required"].remove("id")
    assert differences(before, before) == []
    assert differences(before, now)[:3] == [
        "problem: is gone",
        "Person.properties.age: is new",
        "Person.properties.score.type: 'number' is now 'string'",
    ]
    assert len(differences(before, now)) == 4


def _shape(schema: dict) -> dict:
    """What callers depend on: names, types, and what is always there."""
    bare = json.loads(json.dumps(schema["properties"]))
    for field in bare.values():
        for word in ("title", "description", "default", "examples"):
            field.pop(word, None)
    return {"properties": bare, "required": sorted(schema.get("required", []))}
