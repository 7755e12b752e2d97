"""A picture on the page: its people are drawn and listed, and the options change them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Route, expect

from farpose.drawing import PALETTE
from farpose.keypoints import COCO17
from tests.browser.conftest import Visit
from tests.conftest import missing
from tests.service import Service

PAGE_QUERY = "?keypoint_threshold=0.2"
"""What the page asks for by itself."""


def test_people_are_drawn_where_the_service_found_them(visit: Visit, service: Service, bus: Path):
    visit.show(bus)
    answer = service.post(bus.read_bytes(), PAGE_QUERY)
    expect(visit.rows).to_have_count(len(answer["people"]))
    overlay = visit.pixels("overlay").astype(int)
    scale = overlay.shape[1] / answer["image"]["width"]
    looked_at = 0
    for color, person in zip(PALETTE, answer["people"], strict=False):
        joints = np.array(person["keypoints"])
        for a, b in COCO17.edge_indices:
            if min(joints[a, 2], joints[b, 2]) == 0 or person["unsure"][a] or person["unsure"][b]:
                continue  # not drawn, or dashed
            x, y = ((joints[a, :2] + joints[b, :2]) / 2 + 0.5) * scale
            near = overlay[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
            looked_at += 1
            distance = np.abs(near[..., :3] - color).max(2)
            assert ((distance <= 24) & (near[..., 3] > 200)).any(), (color, x, y)
    assert looked_at > 20
    assert (overlay[..., 3] > 0).mean() < 0.2  # and nothing but people


def test_the_overlay_is_empty_before_and_after(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    assert visit.pixels("overlay")[..., 3].any()
    expect(
        visit.page.get_by_role("img", name=re.compile(r"Skeletons of \d+ people"))
    ).to_be_visible()
    visit.page.get_by_role("button", name="Close").click()
    expect(visit.page.locator("#overlay")).to_be_hidden()
    expect(visit.rows).to_have_count(0)
    expect(visit.page.locator("#drop")).to_be_focused()


def test_the_picture_under_them_is_the_one_that_was_chosen(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.page.locator("#picture")).to_be_visible()
    shown = visit.pixels("picture")[..., :3].astype(int)
    chosen = cv2.imread(str(bus))[:, :, ::-1].astype(int)
    assert np.abs(shown - chosen).mean() < 3


def test_the_table_tells_what_the_service_answered(visit: Visit, service: Service, bus: Path):
    visit.show(bus)
    people = service.post(bus.read_bytes(), PAGE_QUERY)["people"]
    expect(visit.rows).to_have_count(len(people))
    for row, person in zip(visit.rows.all(), people, strict=True):
        cells = row.locator("td").all_inner_texts()
        _, top, _, bottom = person["box"]
        assert person["model"] in cells[1]
        assert cells[2:4] == [f"{person['score']:.2f}", f"{bottom - top:.0f}"]
        assert cells[4] == f"{sum(person['unsure'])} of {len(person['unsure'])}"
    expect(visit.page.get_by_role("status")).to_have_text(f"bus.jpg: {len(people)} people found.")


def test_the_times_of_all_stages_are_listed(visit: Visit, bus: Path):
    visit.show(bus)
    timing = visit.answer()["timing_ms"]
    stages = visit.page.locator("#latency > div")
    expect(stages).to_have_count(len(timing))
    assert set(visit.page.locator("#latency dt").all_inner_texts()) == set(timing)
    total = visit.page.locator('[data-stage="total"] dd').last.inner_text()
    assert float(total.removesuffix(" ms")) == pytest.approx(timing["total"], abs=0.51)


def test_pointing_at_a_row_lets_that_person_stand_out(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    before = visit.pixels("overlay")
    visit.rows.nth(1).hover()
    expect(visit.rows.nth(1)).to_have_attribute("data-highlighted", "true")
    during = visit.pixels("overlay")
    assert (during != before).any()
    faded = np.abs(during[..., :3].astype(int) - PALETTE[0]).max(2) < 24
    assert (during[..., 3][faded] < 128).all()  # the first person's colour
    visit.page.locator("h1").hover()
    assert (visit.pixels("overlay") == before).all()


def test_pointing_at_a_person_marks_the_row(visit: Visit, service: Service, bus: Path):
    visit.show(bus)
    answer = service.post(bus.read_bytes(), PAGE_QUERY)
    expect(visit.rows).to_have_count(len(answer["people"]))
    x1, y1, x2, y2 = answer["people"][0]["box"]
    place = visit.page.locator("#overlay").bounding_box()
    assert place is not None
    scale = place["width"] / answer["image"]["width"]
    middle = (place["x"] + (x1 + x2) / 2 * scale, place["y"] + (y1 + y2) / 2 * scale)
    visit.page.mouse.move(*middle)
    expect(visit.rows.nth(0)).to_have_attribute("data-highlighted", "true")


def test_options_change_the_result(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    everybody = visit.rows.count()
    visit.page.get_by_label("Most people").fill("1")
    expect(visit.rows).to_have_count(1)
    visit.page.get_by_label("Detection threshold").fill("0.99")
    expect(visit.rows).to_have_count(0)
    expect(visit.page.locator("#nobody")).to_contain_text("Nobody was found")
    visit.page.get_by_role("button", name="Reset").click()
    expect(visit.rows).to_have_count(everybody)
    with visit.page.expect_response(re.compile("pose_model=lowres_pose_32")):
        visit.page.get_by_label("Pose model").select_option("lowres_pose_32")
    expect(visit.rows.first).to_contain_text("lowres_pose_32")


def test_limbs_are_those_that_the_service_tells(visit: Visit, bus: Path):
    """With the answer of `/models` changed, people are drawn with one limb each."""

    def one_limb(route: Route) -> None:
        response = route.fetch()
        models = response.json()
        for model in models["models"]:
            if model["skeleton"] is not None:
                model["skeleton"]["edges"] = [["left_shoulder", "left_hip"]]
        route.fulfill(response=response, json=models)

    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    whole = (visit.pixels("overlay")[..., 3] > 0).sum()
    visit.page.route("**/models", one_limb)
    visit.page.reload()
    expect(visit.page.locator("#service")).to_have_text("Ready")
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    assert 0.1 * whole < (visit.pixels("overlay")[..., 3] > 0).sum() < 0.7 * whole


def test_boxes_are_drawn_on_demand(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    before = (visit.pixels("overlay")[..., 3] > 0).sum()
    visit.page.get_by_label("Draw boxes").check()
    assert (visit.pixels("overlay")[..., 3] > 0).sum() > before * 1.1


def test_a_broken_file_shows_what_the_service_says(visit: Visit, bus: Path):
    visit.show({"name": "half.jpg", "mimeType": "image/jpeg", "buffer": bus.read_bytes()[:5000]})
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("The picture cannot be read")
    expect(alert).to_contain_text("send one whole JPEG, PNG or WebP picture")
    expect(alert).to_contain_text(re.compile("Request [0-9a-f]{32}"))
    expect(visit.page.locator("#nobody")).to_have_text("There is no answer.")
    assert [error for error in visit.errors if "400" not in error] == []
    visit.errors.clear()  # the browser's note that a request failed
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    expect(alert).to_be_hidden()


def test_other_files_are_refused_by_their_type(visit: Visit):
    visit.show({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"nothing to see"})
    expect(visit.page.locator("#drop")).to_be_visible()  # for another one
    expect(visit.page.get_by_role("alert")).to_contain_text("image/jpeg, image/png, image/webp")
    visit.errors.clear()


def test_a_picture_can_be_dropped_and_pasted(visit: Visit, bus: Path):
    script = """async ([kind, text]) => {
        const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
        const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.getElementById("stage").dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    content = base64.b64encode(bus.read_bytes()).decode()
    assert visit.page.evaluate(script, ["drop", content])
    expect(visit.page.get_by_role("status")).to_have_text(re.compile(r"drop.jpg: \d people found."))
    visit.page.evaluate(script, ["paste", content])
    expect(visit.page.get_by_role("status")).to_have_text(
        re.compile(r"paste.jpg: \d people found.")
    )


def test_the_command_gives_the_same_people(visit: Visit, bus: Path):
    if shutil.which("curl") is None:
        missing("no curl")
    visit.page.get_by_label("Detection threshold").fill("0.5")
    visit.page.get_by_label("Detector size").select_option("416")
    visit.show(bus)
    answer = visit.answer()
    command = visit.page.locator("#curl").inner_text()
    assert "detection_threshold=0.5&detector_size=416" in command.replace(
        "keypoint_threshold=0.2&", ""
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} --silent"], cwd=bus.parent, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["people"] == answer["people"]


def test_the_command_can_be_copied(visit: Visit):
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.page.get_by_role("button", name="Copy").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied == visit.page.locator("#curl").text_content()


def test_nothing_is_asked_of_another_host(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    assert len(visit.requests) > 10
    assert [url for url in visit.requests if not url.startswith(visit.url)] == []
