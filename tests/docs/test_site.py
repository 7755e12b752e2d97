"""The site is built without warnings or network, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

OFFLINE = """
import runpy, socket, sys
def refuse(*arguments, **settings):
    raise OSError("the site is built without a network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv[0] = "mkdocs"
runpy.run_module("mkdocs", run_name="__main__")
"""

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Loaded(HTMLParser):
    """Addresses that a page loads by itself; what it only links to does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in LOADS and named.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(named.get(LOADS[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        missing("mkdocs is not installed: run make setup")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_load_nothing_from_other_hosts(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.addresses
        foreign = [a for a in loaded.addresses if re.match(r"(https?:)?//", a)]
        assert foreign == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text()), style


def test_the_reference_shows_signatures_and_docstrings(site: Path):
    core = (site / "reference/core.html").read_text()
    assert "Cut <code>N</code> upright square crops out of a frame." in core
    assert "farpose.geometry.CropGeometry.from_boxes" in core


def test_links_out_of_the_docs_lead_to_pages_or_are_paths(site: Path):
    finetune = (site / "finetune.html").read_text()
    assert "<code>training/configs/finetune.yaml</code>" in finetune
    evaluation = (site / "evaluation.html").read_text()
    assert 'href="models/record_lowres_pose.html#accuracy"' in evaluation
    record = (site / "models/record_lowres_pose.html").read_text()
    assert 'href="../study/README.html"' in record or 'href="../study/index.html"' in record


def test_scripts_weights_and_tables_stay_out_of_the_site(site: Path):
    kept = {path.suffix for path in site.rglob("*") if path.is_file()}
    assert not kept & {".py", ".csv", ".safetensors"}
