"""The page of `farpose evaluate --report`, opened from disk without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

PHONE = {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def report(data: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    subprocess.run(
        [
            Path(sys.executable).with_name("farpose"),
            *("evaluate", repository / "lowres_pose", "--against", repository / "lowres_pose_32"),
            *("--annotations", data / "coco_mini" / "val.json"),
            *("--images", data / "coco_mini" / "val", "--limit", "8"),
            *("--degrade", "noise=20", "--report", folder),
        ],
        check=True,
    )
    return folder / "report.html"


def look(browser: Browser, page: Path, **how: Any) -> dict[str, Any]:
    """What a visitor sees of a page, who has no network."""
    context = browser.new_context(offline=True, **how)
    try:
        tab = context.new_page()
        errors: list[str] = []
        requests: list[str] = []
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.as_uri())
        tab.evaluate("for (const image of document.images) image.loading = 'eager'")
        tab.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")
        seen: dict[str, Any] = tab.evaluate(
            """() => ({
                width: document.documentElement.scrollWidth,
                background: getComputedStyle(document.body).backgroundColor,
                pictures: [...document.images].map(i => i.currentSrc),
                texts: [...document.images].map(i => i.alt),
                small: [...document.querySelectorAll("td, th, p, figcaption, small")]
                    .map(e => parseFloat(getComputedStyle(e).fontSize))
                    .reduce((a, b) => Math.min(a, b)),
                shown: [...document.images].map(i => i.getBoundingClientRect().width),
            })"""
        )
    finally:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    return seen


def test_the_report_fits_a_phone(browser: Browser, report: Path):
    seen = look(browser, report, viewport=PHONE)
    assert seen["width"] == PHONE["width"]
    assert seen["small"] >= 12
    assert min(seen["shown"]) > 300
    assert all(seen["texts"])


def test_the_report_is_dark_where_the_reader_is(browser: Browser, report: Path):
    light = look(browser, report, color_scheme="light")
    dark = look(browser, report, color_scheme="dark")
    assert light["background"] != dark["background"]
    figures = [i for i, text in enumerate(light["texts"]) if "intervals" in text]
    assert len(figures) == 3  # AP and PCK by height, and PCK under noise
    assert all(light["pictures"][i] != dark["pictures"][i] for i in figures)
