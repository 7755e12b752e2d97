"""How results look in IPython, whose display formatter is what notebooks use."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from traitlets.config import Config

from farpose import People, Pose, PoseResult
from farpose.notebook import LONGEST_SIDE, MOST_BYTES, MOST_ROWS, result_jpeg


class Parts(HTMLParser):
    """Tags of a fragment, and the attributes of its picture."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.picture: dict[str, str | None] = {}
        self.cells: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.picture = dict(attrs)
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> InteractiveShell:
    config = Config()
    config.HistoryManager.enabled = False
    folder = tmp_path_factory.mktemp("ipython")
    return InteractiveShell(config=config, ipython_dir=str(folder))


def shown(result: PoseResult, shell: InteractiveShell) -> dict[str, Any]:
    bundle, _ = shell.display_formatter.format(result)
    return bundle


def crowd(count: int) -> PoseResult:
    """So many people in a row, of a model with a name that is no name."""
    x = np.arange(count, dtype=np.float32) * 10
    boxes = np.stack([x, x * 0, x + 9, x * 0 + 20], axis=1)
    keypoints = np.tile(np.array([4, 10, 0.9], np.float32), (count, 17, 1))
    people = People(
        boxes,
        np.full(count, 0.5, np.float32),
        keypoints,
        np.ones((count, 17, 2), np.float32),
        ("<script>alert('model')</script>",) * count,
    )
    return PoseResult(people, 1000, 100, {}, source="<img src=x onerror=alert('source')>.jpg")


def test_a_cell_of_a_notebook_shows_picture_and_table(shell: InteractiveShell, bus: Path):
    """The cell runs inside an event loop, as those of Jupyter do."""

    async def run(cell: str) -> Any:
        done = await shell.run_cell_async(cell, transformed_cell=cell)
        done.raise_error()
        return done.result

    code = f"from farpose import Pose\npose = Pose()\npeople = pose({str(bus)!r})\n"
    result = asyncio.run(run(f"{code}await __import__('asyncio').sleep(0)\npeople"))
    bundle = shown(result, shell)
    shell.user_ns["pose"].close()
    assert set(bundle) == {"text/plain", "text/html", "image/jpeg"}
    assert bundle["text/plain"] == f"<PoseResult {bus}, 810x1080, 4 people 412 to 517 px tall>"
    parts = Parts(bundle["text/html"])
    assert parts.tags.count("tr") == 5
    assert parts.cells[0] == "1"
    assert parts.cells[2].endswith(" px")
    assert parts.cells[5] == "lowres_pose"
    address = parts.picture["src"] or ""
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (LONGEST_SIDE * 810 // 1080, LONGEST_SIDE)
        drawn = np.asarray(image.convert("RGB")).astype(int)
    plain = np.asarray(Image.fromarray(result.image).resize(image.size)).astype(int)
    changed = (np.abs(drawn - plain).max(axis=2) > 60).mean()
    assert 0.01 < changed < 0.2  # skeletons, and the rest is the picture


def test_a_picture_is_never_long(pose: Pose):
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)
    shown = result_jpeg(pose(noise, boxes=[(0, 0, 1500, 1500)]))
    assert MOST_BYTES / 4 < len(shown.data) <= MOST_BYTES


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 3), (64, 20_000, 3)])
def test_odd_pictures_are_shown(pose: Pose, shape: tuple[int, int, int]):
    result = pose(np.zeros(shape, np.uint8))
    assert "td" not in Parts(result._repr_html_()).tags
    assert repr(result).endswith("nobody>")


def test_everything_is_escaped_and_a_crowd_cut_off():
    text = crowd(MOST_ROWS + 3)._repr_html_()
    parts = Parts(text)
    assert set(parts.tags) == {
        *("figure", "figcaption", "img", "div", "table", "tr", "th", "td", "span", "p")
    }
    assert "<script" not in text
    assert parts.picture["alt"].startswith("<img src=x onerror=alert('source')>.jpg, 1000x100")
    assert parts.tags.count("tr") == 1 + MOST_ROWS
    assert "and 3 more" in text
    assert not re.search(r"https?:", text)


def test_a_result_without_its_picture_shows_skeletons():
    shown = result_jpeg(crowd(2))
    with Image.open(io.BytesIO(shown.data)) as image:
        levels = np.asarray(image.convert("L"))
    assert np.median(levels) < 40
    assert levels.max() > 120


def test_people_who_are_followed_show_their_ids():
    followed = crowd(2)
    ids = np.array([7, -1])
    result = replace(followed, people=replace(followed.people, track_ids=ids), index=3, time=0.12)
    assert [cell for cell in Parts(result._repr_html_()).cells if cell in ("7", "new")] == [
        "7",
        "new",
    ]
    assert " frame 3 at 0.12 s, 1000x100, 2 people 20 px tall>" in repr(result)


def test_a_result_draws_and_gives_its_parts(pose: Pose, bus: Path):
    result = pose(bus)
    drawn = result.draw(boxes=False)
    assert drawn.size == (810, 1080)
    assert (np.asarray(drawn) != result.image).any()
    assert (np.asarray(result.draw(anonymous=True))[0, 0] < 40).all()
    assert result.to_list() == result.people.to_list()
    assert [person["image_id"] for person in result.to_coco(5)] == [5] * 4
    assert len(result.to_supervision()) == 4
    assert result.boxes.shape == (4, 4)
    assert result.scores.shape == (4,)
    assert result.variances.shape == (4, 17, 2)
    nose = result.people.joint("nose")
    assert (nose == result.keypoints[:, 0]).all()
    assert [person.boxes.shape for person in result] == [(1, 4)] * 4
    assert (result.people[-1].joint("nose") == nose[-1:]).all()
    with pytest.raises(ValueError, match="no joint 'tail'"):
        result.people.joint("tail")
    with pytest.raises(IndexError):
        result.people[4]
