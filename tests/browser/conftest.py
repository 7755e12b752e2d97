"""A real Chromium on a real service."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.conftest import missing
from tests.service import Service
from tests.serving.encoded import encode

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

WEBCAM_FRAMES = 20

PATIENCE_MS = 15_000


@dataclass
class Visit:
    """A page that is open, and what it did."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    """Of the console, and exceptions nobody caught."""

    requests: list[str] = field(default_factory=list)
    """Addresses, WebSockets included."""

    def show(self, *files: Path | dict) -> None:
        """Choose a file, as the dialog would."""
        self.page.set_input_files("#file", files)

    @property
    def rows(self) -> Locator:
        """The people of the table."""
        return self.page.locator("#people tbody tr")

    def answer(self) -> Any:
        """The answer of `POST /pose`, as the page tells it."""
        details = self.page.locator("#json")
        expect(details).to_be_visible()
        if details.get_attribute("open") is None:
            self.page.get_by_text("Answer as JSON").click()
        expect(details.locator("code")).not_to_be_empty()
        return json.loads(details.locator("code").inner_text())

    def pixels(self, canvas: str) -> NDArray[np.uint8]:
        """What is on a canvas, `[H,W,4]` RGBA."""
        script = """id => {
            const canvas = document.getElementById(id);
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height);
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            const { data } = context.getImageData(0, 0, width, height);
            let text = "";
            for (let i = 0; i < data.length; i += 32768) {
                text += String.fromCharCode(...data.subarray(i, i + 32768));
            }
            return [width, height, btoa(text)];
        }"""
        width, height, text = self.page.evaluate(script, canvas)
        flat = np.frombuffer(base64.b64decode(text), np.uint8)
        return flat.reshape(height, width, 4)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Service]:
    farpose = Path(sys.executable).with_name("farpose")
    folder = tmp_path_factory.mktemp("service")
    with Service(farpose, folder, ("--repository", str(repository))) as service:
        yield service


@pytest.fixture(scope="session")
def clip(data: Path) -> Path:
    """A fixed camera that somebody walks past from second 26 on."""
    return data / "video" / "one-by-one-person-detection.mp4"


@pytest.fixture(scope="session")
def webcam(bus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera sees: the street picture, which sways a little."""
    picture = cv2.resize(cv2.imread(str(bus)), (480, 640), interpolation=cv2.INTER_AREA)
    film = tmp_path_factory.mktemp("webcam") / "webcam.mjpeg"
    with film.open("wb") as file:
        for number in range(WEBCAM_FRAMES):
            shift = round(6 * np.sin(2 * np.pi * number / WEBCAM_FRAMES))
            file.write(encode(np.roll(picture, shift, axis=1), ".jpg"))
    return film


# Not for the whole session: while it lasts an event loop runs, which other tests could not bear.
@pytest.fixture(scope="package")
def browser(webcam: Path) -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        missing(f"no browser at {CHROMIUM}: apt install chromium")
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={webcam}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def look() -> dict:
    """How the visitor's screen is; parametrize it to change it."""
    return {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def visit(browser: Browser, service: Service, look: dict) -> Iterator[Visit]:
    """The page of the service, freshly opened; it must not have failed at the end."""
    context = browser.new_context(**look)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    visit = Visit(page, service.url)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visit.errors.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("websocket", lambda socket: visit.requests.append(socket.url))
    page.goto(service.url)
    expect(page.locator("#service")).to_have_text("Ready")
    yield visit
    context.close()
    assert visit.errors == []
