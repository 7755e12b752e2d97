"""Clips and the webcam: frames go over the WebSocket, answers are drawn over their own frame."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import WebSocket, expect

from tests.browser.conftest import Visit

SOMEBODY = 12.0
"""Second of the clip at which one person is seen whole."""


def seek(visit: Visit, seconds: float) -> None:
    visit.page.get_by_label("Position").fill(str(seconds))


@pytest.fixture
def answers(visit: Visit) -> list[dict]:
    """What came over the WebSockets."""
    heard: list[dict] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", lambda text: heard.append(json.loads(text)))

    visit.page.on("websocket", opened)
    return heard


def test_a_clip_is_played_and_its_people_are_drawn(visit: Visit, clip: Path, answers: list[dict]):
    visit.show(clip)
    expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    seek(visit, SOMEBODY)
    expect(visit.rows).to_have_count(1)
    assert visit.pixels("overlay")[..., 3].any()
    assert visit.pixels("picture")[..., :3].std() > 20
    frames = len(answers)
    visit.page.wait_for_timeout(1500)
    assert len(answers) >= frames + 5  # of a clip with ten frames a second
    assert [answer["frame"] for answer in answers] == sorted(answer["frame"] for answer in answers)
    assert answers[-1]["image"] == {"width": 768, "height": 432}
    expect(visit.page.locator("#rate")).to_have_text(re.compile(r"\d+\.\d frames/s · answered in"))
    expect(visit.page.get_by_role("status")).to_have_text(re.compile("one person in view"))
    # The detector does not run on every frame, but among the last ones it did.
    stages = visit.page.locator("#latency dt").all_inner_texts()
    assert {"decode", "detector", "crop", "pose", "tracking"} <= set(stages)
    assert stages[-1] == "total"


def test_people_of_a_clip_keep_their_track(visit: Visit, clip: Path, answers: list[dict]):
    visit.show(clip)
    expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    seek(visit, SOMEBODY)
    expect(visit.rows.get_by_role("button", name=re.compile(r"^Track \d+$"))).to_have_count(1)
    visit.page.wait_for_timeout(1000)
    tracks = [person.get("track_id") for answer in answers for person in answer["people"]]
    named = [track for track in tracks if track is not None]
    assert tracks[-len(named) :] == named  # one that is new has no track at first
    assert len(named) > 5
    assert len(set(named)) == 1


def test_an_answer_is_drawn_over_the_frame_it_belongs_to(visit: Visit, clip: Path):
    """The frame on the canvas is the one that stands still, once the clip does."""
    visit.show(clip)
    visit.page.get_by_role("button", name="Pause").click()
    seek(visit, SOMEBODY)
    expect(visit.rows).to_have_count(1)
    visit.page.wait_for_timeout(300)
    script = """() => {
        const video = document.getElementById("video");
        const copy = new OffscreenCanvas(video.videoWidth, video.videoHeight);
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(video, 0, 0);
        const { data } = context.getImageData(0, 0, 768, 432);
        return Array.from(data.filter((_, index) => index % 404 === 0));
    }"""
    playing = np.array(visit.page.evaluate(script))
    shown = visit.pixels("picture").reshape(-1)[::404]
    assert np.abs(playing - shown.astype(int)).mean() < 1


def test_a_clip_can_be_wound_back(visit: Visit, clip: Path, answers: list[dict]):
    visit.show(clip)
    expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    seek(visit, SOMEBODY + 20)
    expect(visit.rows).to_have_count(1)
    seek(visit, 1)
    expect(visit.rows).to_have_count(0)
    seek(visit, SOMEBODY)
    expect(visit.rows).to_have_count(1)
    expect(visit.page.get_by_role("alert")).to_be_hidden()
    assert [answer["detail"] for answer in answers if "detail" in answer] == []


def test_options_hold_for_the_next_frames_and_for_one_that_stands_still(visit: Visit, clip: Path):
    visit.show(clip)
    expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    seek(visit, SOMEBODY)
    expect(visit.rows).to_have_count(1)
    threshold = visit.page.get_by_label("Detection threshold")
    threshold.fill("1")
    expect(visit.rows).to_have_count(0)
    visit.page.get_by_role("button", name="Pause").click()
    seek(visit, SOMEBODY)
    threshold.fill("0.3")
    expect(visit.rows).to_have_count(1)


def test_closing_ends_the_connection(visit: Visit, clip: Path):
    with visit.page.expect_websocket() as opened:
        visit.show(clip)
    socket = opened.value
    expect(visit.page.locator("#rate")).to_be_visible()
    with socket.expect_event("close"):
        visit.page.get_by_role("button", name="Close").click()
    expect(visit.page.locator("#drop")).to_be_visible()
    expect(visit.page.get_by_role("group", name="Playback")).to_be_hidden()


def test_a_video_that_is_none_is_refused_in_words(visit: Visit):
    visit.show({"name": "clip.mp4", "mimeType": "video/mp4", "buffer": b"no video" * 100})
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("The video cannot be played")
    expect(alert).to_contain_text("clip.mp4")


def test_the_webcam_is_shown_with_its_people(visit: Visit, answers: list[dict]):
    visit.page.get_by_role("button", name="Webcam").click()
    expect(visit.rows.nth(2)).to_be_visible()
    assert visit.pixels("overlay")[..., 3].any()
    assert answers[-1]["image"] == {"width": 480, "height": 640}
    expect(visit.page.get_by_role("group", name="Playback")).to_be_hidden()
    playing = "document.getElementById('video').srcObject !== null"
    assert visit.page.evaluate(playing)
    visit.page.get_by_role("button", name="Close").click()
    assert not visit.page.evaluate(playing)


def test_a_webcam_that_may_not_be_used_is_explained(visit: Visit):
    refuse = """() => {
        const refusal = new DOMException("no", "NotAllowedError");
        navigator.mediaDevices.getUserMedia = () => Promise.reject(refusal);
    }"""
    visit.page.evaluate(refuse)
    visit.page.get_by_role("button", name="Webcam").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("permit the camera for this page")


def test_live_frames_go_to_no_other_host(visit: Visit, clip: Path):
    visit.show(clip)
    expect(visit.page.locator("#rate")).to_be_visible()
    own = (visit.url, visit.url.replace("http:", "ws:"), f"blob:{visit.url}")
    assert any(url.startswith("ws:") for url in visit.requests)
    assert [url for url in visit.requests if not url.startswith(own)] == []
