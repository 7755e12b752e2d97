"""The page's files: how they are served, and that they need nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from farpose.drawing import PALETTE
from farpose.keypoints import COCO17, KEYPOINT_SETS, KeypointSet
from farpose.options import DETECTOR_SIZES, PoseOptions
from farpose_serving.page_route import FOLDER
from farpose_serving.status import Skeleton

FILES = sorted(path.name for path in FOLDER.iterdir())


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def named(self, name: str) -> dict[str, str | None]:
        (found,) = [a for tag, a in self.found if tag != "meta" and a.get("name") == name]
        return found


@pytest.fixture(scope="module")
def front(client: TestClient) -> Elements:
    return Elements(client.get("/").text)


def test_the_front_page_is_html_that_may_run_nothing_foreign(client: TestClient):
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_its_type_and_the_policy(client: TestClient, name: str):
    response = client.get(f"/page/{name}")
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    types = {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
    assert response.headers["Content-Type"].startswith(types[name.rpartition(".")[2]])
    assert response.headers["Content-Security-Policy"]


def test_what_the_browser_has_is_not_sent_again(client: TestClient):
    first = client.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.get("/", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/page/main.js").headers["ETag"] != tag


def test_a_head_request_is_answered_without_the_file(client: TestClient):
    response = client.head("/")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["Content-Length"]) == (FOLDER / "index.html").stat().st_size


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "main.js%00"])
def test_nothing_else_can_be_reached(client: TestClient, name: str):
    response = client.get(f"/page/{name}")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_nothing_is_inline(front: Elements):
    assert [tag for tag, _ in front.found if tag == "style"] == []
    assert [a for tag, a in front.found if tag == "script" and not a.get("src")] == []
    inline = [
        name for _, a in front.found for name in a if name == "style" or name.startswith("on")
    ]
    assert inline == []


def test_everything_the_page_names_is_there(client: TestClient, front: Elements):
    named = [a[key] for _, a in front.found for key in ("src", "href") if a.get(key)]
    assert len(named) > 5
    for address in named:
        assert address is not None
        if not address.startswith("#"):
            assert client.get(f"/{address}").status_code == 200, address
    for name in FILES:
        text = (FOLDER / name).read_text()
        for module in re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE):
            assert module.removeprefix("./") in FILES, (name, module)


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_host(name: str):
    text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"""["'(]\s*(?:\w+:)?//[^\s"')]+""", text) == []


def test_the_form_knows_the_limits_and_defaults_of_the_options(front: Elements):
    properties = PoseOptions.model_json_schema()["properties"]
    for name in ("detection_threshold", "keypoint_threshold", "max_people"):
        field, schema = front.named(name), properties[name]
        limits = [float(field[key] or "nan") for key in ("min", "max", "data-default")]
        assert limits == [schema["minimum"], schema["maximum"], schema["default"]]
    assert front.named("detector_size")["data-default"] == str(
        properties["detector_size"]["default"]
    )
    assert front.named("pose_model")["data-default"] == properties["pose_model"]["default"]
    sizes = [
        int(a["value"] or 0) for tag, a in front.found if tag == "option" and a["value"] != "auto"
    ]
    assert set(DETECTOR_SIZES) <= set(sizes)
    for size in sizes:
        PoseOptions(detector_size=size)


def test_people_have_the_colours_that_the_service_draws(client: TestClient):
    text = (FOLDER / "skeleton.js").read_text()
    found = [tuple(bytes.fromhex(color)) for color in re.findall(r'"#([0-9a-f]{6})"', text)]
    assert found == list(PALETTE)


def test_models_tell_the_skeleton_of_each_pose_model(client: TestClient):
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert models["person_detector"]["skeleton"] is None
    for name in ("lowres_pose", "lowres_pose_32"):
        assert models[name]["skeleton"] == {
            "joints": list(COCO17.joints),
            "edges": [list(edge) for edge in COCO17.edges],
        }


@pytest.mark.parametrize("known", KEYPOINT_SETS.values(), ids=lambda known: known.name)
def test_every_keypoint_set_has_a_skeleton(known: KeypointSet):
    skeleton = Skeleton.of(known.name)
    assert skeleton is not None
    assert (skeleton.joints, skeleton.edges) == (list(known.joints), list(known.edges))
