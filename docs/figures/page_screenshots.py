"""Pictures of the page of a running service, to look at: wide and narrow, light and dark.

    python docs/figures/page_screenshots.py --url http://127.0.0.1:8080 --picture build/bus.jpg

They go into build/page (`--output`). Whether the page works is for tests/browser to say.
"""

from __future__ import annotations

import argparse
import time
import urllib.error
import urllib.request
from itertools import product
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright

CHROMIUM: Final = "/usr/bin/chromium"
SIZES: Final = {"wide": (1360, 900), "tablet": (820, 1100), "narrow": (360, 740)}
SCHEMES: Final = ("light", "dark")
START_SECONDS: Final = 60


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--second", type=float, default=0.0, help="of the clip")
    parser.add_argument("--output", type=Path, default=Path("build/page"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    wait_for(f"{arguments.url}/health/ready")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for (size, (width, height)), scheme in product(SIZES.items(), SCHEMES):
            look: dict[str, Any] = {"color_scheme": scheme, "device_scale_factor": 1}
            context = browser.new_context(viewport={"width": width, "height": height}, **look)
            page = context.new_page()
            page.goto(arguments.url)
            page.get_by_text("Ready", exact=True).wait_for()
            take(page, arguments.output / f"{size}-{scheme}-empty.png")
            show_picture(page, arguments.picture)
            take(page, arguments.output / f"{size}-{scheme}-picture.png")
            page.locator("#people .person").nth(1).focus()
            take(page, arguments.output / f"{size}-{scheme}-person.png")
            show_problem(page)
            take(page, arguments.output / f"{size}-{scheme}-problem.png")
            if arguments.clip is not None:
                show_clip(page, arguments.clip, arguments.second)
                take(page, arguments.output / f"{size}-{scheme}-clip.png")
            context.close()
        browser.close()


def wait_for(address: str) -> None:
    """Return when the service answers; `SystemExit` if it does not."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > end:
                raise SystemExit(f"{address} does not answer: {error}") from error
            time.sleep(0.2)


def show_picture(page: Page, picture: Path) -> None:
    """Choose a picture and wait for its people."""
    page.set_input_files("#file", picture)
    page.locator("#people tbody tr").first.wait_for()


def show_problem(page: Page) -> None:
    """Choose a file that is no picture."""
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8 no picture"}
    page.set_input_files("#file", broken)
    page.locator("#problem strong").wait_for()


def show_clip(page: Page, clip: Path, second: float) -> None:
    """Play a clip from a second on and wait for its people."""
    page.set_input_files("#file", clip)
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_label("Position").fill(str(second))
    page.locator("#people tbody tr").first.wait_for()
    page.wait_for_timeout(2500)


def take(page: Page, target: Path) -> None:
    """The whole page, from its head to its foot."""
    page.screenshot(path=target, full_page=True)
    print(target)


if __name__ == "__main__":
    main()
