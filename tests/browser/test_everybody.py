"""The page is for everybody: keyboards, screen readers, phones, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

FRESH = """
- link "Skip to the picture"
- banner:
  - heading "Farpose" [level=1]
  - paragraph: /Pose of people/
  - paragraph: Ready
  - navigation "More":
    - link "API reference"
- main:
  - region "Picture":
    - button /Drop a picture or a video here/
    - button "Choose a file"
    - button "Webcam"
    - status
  - region "People":
    - heading "People" [level=2]
    - paragraph
  - region "Options":
    - heading "Options" [level=2]
    - button "Reset"
    - form "Options":
      - text: Detection threshold
      - slider "Detection threshold": "0.35"
      - paragraph
      - text: Keypoint threshold
      - slider "Keypoint threshold": "0.2"
      - paragraph
      - text: Most people
      - spinbutton "Most people": "100"
      - text: Detector size
      - combobox "Detector size"
      - paragraph
      - text: Pose model
      - combobox "Pose model":
        - option "Chosen by the service" [selected]
        - option "lowres_pose"
        - option "lowres_pose_32"
      - checkbox "Draw boxes"
      - text: Draw boxes
  - region "Latency":
    - heading "Latency" [level=2]
    - paragraph
  - region "The same with curl":
    - heading "The same with curl" [level=2]
    - button "Copy"
    - code: /curl -X POST/
"""

PEOPLE = """
- region "People":
  - heading "People" [level=2]
  - table "People":
    - rowgroup:
      - row:
        - columnheader "Close-up"
        - columnheader "Person"
        - columnheader "Score"
        - columnheader "Height, pixels"
        - columnheader "Unsure joints"
    - rowgroup:
      - row:
        - cell
        - cell /Person 1 lowres_pose/:
          - button "Person 1"
        - cell /^0\\.\\d\\d$/
        - cell /^\\d+$/
        - cell /^\\d+ of 17$/
"""


def tab_to(visit: Visit, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if visit.page.locator(selector).first.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {selector}")


def test_everything_has_a_name(visit: Visit):
    expect(visit.page.locator("body")).to_match_aria_snapshot(FRESH)


def test_people_are_told_as_a_table(visit: Visit, bus: Path):
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    expect(visit.page.locator("main")).to_match_aria_snapshot(PEOPLE)
    expect(
        visit.page.get_by_role("img", name=re.compile(r"Skeletons of \d people"))
    ).to_be_visible()


def test_the_keyboard_is_enough(visit: Visit, bus: Path):
    page = visit.page
    page.on("filechooser", lambda chooser: None)  # heeded from now on, not only once one is near
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the picture")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    tab_to(visit, "#drop")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(bus)
    expect(visit.rows).not_to_have_count(0)
    everybody = visit.rows.count()

    tab_to(visit, "#people .person")
    expect(visit.rows.nth(0)).to_have_attribute("data-highlighted", "true")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Person 1")).to_have_attribute("aria-pressed", "true")
    drawn = visit.pixels("overlay")

    tab_to(visit, "#reset")
    assert (visit.pixels("overlay") == drawn).all()  # a person that was pressed stays
    tab_to(visit, "#detection_threshold")
    page.keyboard.press("End")
    expect(visit.rows).to_have_count(0)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(visit.rows).to_have_count(everybody)

    tab_to(visit, "#copy")
    tab_to(visit, "#json summary")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Answer as JSON")).to_contain_text('"keypoint_names"')


def test_what_has_the_focus_can_be_seen(visit: Visit):
    for selector in ("#drop", "#choose", "#detection_threshold", "#max_people", "#copy"):
        tab_to(visit, selector)
        style = visit.page.locator(selector).evaluate(
            "e => [getComputedStyle(e).outlineStyle, getComputedStyle(e).outlineWidth]"
        )
        assert style == ["solid", "2px"]


@pytest.mark.parametrize("look", [{"viewport": {"width": 360, "height": 640}}])
def test_a_phone_needs_no_sideways_scrolling(visit: Visit, bus: Path):
    def overflowing() -> list[str]:
        script = """() => [...document.querySelectorAll("header *, main *")]
            .filter(e => !e.closest(".unseen, .skip, #frame") && e.getClientRects().length)
            .filter(e => e.getBoundingClientRect().right > innerWidth - 10)
            .map(e => e.tagName + "#" + e.id + "." + e.className)"""
        return visit.page.evaluate(script)

    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    assert overflowing() == []
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    assert overflowing() == []


@pytest.mark.parametrize("look", [{"viewport": {"width": 360, "height": 640}}])
def test_what_is_pressed_on_a_phone_is_large_enough(visit: Visit, bus: Path):
    """24 CSS pixels, as WCAG 2.2 asks (2.5.8)."""
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    for control in visit.page.locator("button:visible, select:visible, input:visible").all():
        box = control.bounding_box()
        assert box is not None
        if control.get_attribute("type") != "checkbox":  # its label is pressed as well
            assert min(box["width"], box["height"]) >= 24, control.get_attribute("id")


CONTRAST = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => {
        const [r, g, b] = parse(color).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor;
            if ((parse(color)[3] ?? 1) === 1) return color;
        }
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!own || !element.getClientRects().length || element.closest("noscript")) continue;
        const pair = [getComputedStyle(element).color, ground(element)].map(luminance);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        found.push([element.textContent.trim().slice(0, 40), ratio]);
    }
    return found;
}"""


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}])
def test_text_can_be_read_in_light_and_dark(visit: Visit, bus: Path, look: dict):
    """4.5 to 1, as WCAG asks (1.4.3)."""
    light = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", light)[0]) > 128) == (look["color_scheme"] == "light")
    visit.show({"name": "half.jpg", "mimeType": "image/jpeg", "buffer": bus.read_bytes()[:5000]})
    expect(visit.page.get_by_role("alert")).to_be_visible()
    visit.errors.clear()
    problem = visit.page.evaluate(CONTRAST)
    visit.show(bus)
    expect(visit.rows).not_to_have_count(0)
    found = [*problem, *visit.page.evaluate(CONTRAST)]
    assert len(found) > 60
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []
