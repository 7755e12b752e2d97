"""What the service's headers let pages do, and what they do not, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

FOREIGN = """<!doctype html><title>elsewhere</title><iframe id=frame src="SERVICE/docs"></iframe>"""


@pytest.fixture
def elsewhere(visit: Visit, tmp_path: Path) -> Iterator[str]:
    """A page of another origin, that has the service in a frame."""
    (tmp_path / "index.html").write_text(FOREIGN.replace("SERVICE", visit.url))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


def test_the_documentation_works_under_its_content_security_policy(visit: Visit):
    visit.page.goto(f"{visit.url}/docs")
    expect(visit.page.get_by_text("Find the people of a picture")).to_be_visible()
    visit.page.get_by_text("Whether the process answers").click()
    visit.page.get_by_role("button", name="Try it out").click()
    visit.page.get_by_role("button", name="Execute").click()
    expect(visit.page.locator(".live-responses-table")).to_contain_text('"live"')
    assert all(address.startswith((visit.url, "data:", "blob:")) for address in visit.requests)


def test_a_page_of_another_origin_can_neither_post_nor_stream_nor_frame(
    visit: Visit, elsewhere: str
):
    visit.page.goto(elsewhere)
    answers = visit.page.evaluate(
        """async service => {
            const form = new FormData();
            form.append("file", new Blob(["no picture"]), "a.jpg");
            const read = await fetch(`${service}/pose`, { method: "POST", body: form })
                .then(() => "read", () => "refused");
            const socket = new WebSocket(`${service.replace("http", "ws")}/stream`);
            const stream = await new Promise(done => {
                socket.onopen = () => done("open");
                socket.onerror = () => done("refused");
            });
            return { read, stream };
        }""",
        visit.url,
    )
    assert answers == {"read": "refused", "stream": "refused"}
    frame = visit.page.frames[1]
    assert "Farpose" not in frame.content()
    assert any("frame" in error for error in visit.errors), visit.errors
    visit.errors.clear()  # this page is meant to fail
