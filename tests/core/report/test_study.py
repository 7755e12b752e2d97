from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.report.comparing import Comparison, compare
from farpose.evaluation.report.degradations import Degradation
from farpose.evaluation.report.document import Document, Paragraph, Section, Table, Value
from farpose.evaluation.report.folder import ReportFolderError
from farpose.evaluation.report.html import to_html
from farpose.evaluation.report.markdown import to_markdown
from farpose.evaluation.report.measuring import Protocol
from farpose.evaluation.report.study import Candidate, SkeletonError, Study, joints_of, run_study
from farpose.evaluation.report.writing import Facts, write_report
from farpose.keypoints import LSP14
from farpose.pipeline import PosePipeline

EngineFor = Callable[..., Any]
Repeat = Callable[[PoseDataset, int], PoseDataset]

STEPS = (Degradation("blur", 1), Degradation("resolution", 0.5))


def run(
    dataset: PoseDataset,
    engines: Sequence[object],
    steps: Sequence[Degradation] = (),
    **options: Any,
) -> Study:
    """Engines in the order `one`, `two`, on the dataset."""
    candidates = [
        Candidate(label, f"models/{label}", PosePipeline(engine), "auto")
        for label, engine in zip(("one", "two"), engines, strict=False)
    ]
    protocol = options.pop("protocol", Protocol())
    return asyncio.run(run_study(candidates, dataset, protocol, steps, resamples=100, **options))


# Person 0 has a torso of 50 pixels, person 1 of 25: 8.6 pixels are wrong for the latter alone.
HALF_WRONG = np.array([8.6, 0.0])


@pytest.fixture(scope="module")
def side_by_side(
    labelled_in: Callable[[Path], PoseDataset],
    engine_for: EngineFor,
    repeat: Repeat,
    tmp_path_factory: pytest.TempPathFactory,
) -> Study:
    """20 people of each of two heights; `one` is perfect, `two` wrong for the smaller ones."""
    labelled = labelled_in(tmp_path_factory.mktemp("pictures"))
    engines = engine_for(labelled), engine_for(labelled, offset=HALF_WRONG, scores=0.5)
    return run(repeat(labelled, 20), engines, STEPS)


def test_bins_with_enough_people_have_numbers(side_by_side: Study):
    everybody, *bins = side_by_side.models[1].clean.scores.cells
    assert everybody.estimates["PCK@0.2"].value == 0.5
    assert (everybody.people, everybody.pictures) == (40, 40)
    assert [c.people for c in bins] == [0, 0, 0, 20, 20, 0]
    assert [c.estimates["PCK@0.2"].value for c in bins if c.people] == [0, 1]
    assert [c.estimates["PCK@0.2"].interval for c in bins if c.people] == [(0, 0), (1, 1)]
    low, high = everybody.estimates["PCK@0.2"].interval
    assert 0.3 < low < 0.5 < high < 0.7
    assert not any(c.estimates for c in bins if not c.people)


def test_bins_with_too_few_people_have_none(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat
):
    study = run(repeat(labelled, 19), [engine_for(labelled)])
    everybody, *bins = study.models[0].clean.scores.cells
    assert set(everybody.estimates) == {"AP", "PCK@0.2", "PCK@0.5", "mean OKS"}
    assert [c.people for c in bins] == [0, 0, 0, 19, 19, 0]
    assert not any(c.estimates for c in bins)


def test_people_without_a_torso_do_not_make_a_pck(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat
):
    many = repeat(labelled, 10)
    many.keypoints[:5, many.keypoint_set.index("left_shoulder"), 2] = 0
    study = run(many, [engine_for(labelled)])
    assert set(study.models[0].clean.scores.everybody.estimates) == {"AP", "mean OKS"}


def test_a_model_beside_itself_wins_nowhere(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat
):
    engine = engine_for(labelled, offset=HALF_WRONG)
    found = compare(*run(repeat(labelled, 20), [engine, engine], STEPS).models)
    differences = [
        e for c in found.conditions for cell in c.cells for e in cell.differences.values()
    ]
    assert len(differences) == 3 * 3 * 4
    assert all(e.value == 0 and not e.samples.any() for e in differences)
    assert (found.first_clearly_better, found.second_clearly_better) == (0, 0)


def test_the_better_model_wins_where_it_is_better(side_by_side: Study):
    found: Comparison = compare(*side_by_side.models)
    clean = found.conditions[0]
    everybody, *bins = clean.cells
    difference = everybody.differences["PCK@0.2"]
    assert difference.value == 0.5
    assert found.winner(difference) == "one"
    by_height = [c.differences["PCK@0.2"] for c in bins if c.differences]
    assert [found.winner(e) for e in by_height] == ["one", None]
    assert {found.winner(e) for e in found.parts.values()} == {"one"}
    turned = compare(*side_by_side.models[::-1])
    assert turned.winner(turned.conditions[0].cells[0].differences["PCK@0.2"]) == "one"
    assert turned.second_clearly_better == found.first_clearly_better > 0


def test_progress_counts_the_pictures_of_all_steps(labelled: PoseDataset, engine_for: EngineFor):
    told: list[tuple[str, int, int]] = []
    engine = engine_for(labelled)
    run(labelled, [engine, engine], STEPS, progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(1, 13))
    assert {total for *_, total in told} == {12}
    assert told[0][0] == "one, as they are"
    assert told[-1][0] == "two, 0.5x resolution"


def test_pictures_without_people_are_drawn_only_where_a_detector_looks(
    labelled: PoseDataset, engine_for: EngineFor
):
    alone = labelled.select(np.array([0]))
    study = run(alone, [engine_for(labelled)])
    assert study.models[0].clean.scores.everybody.pictures == 1
    detected = run(alone, [engine_for(labelled)], protocol=Protocol("detected", detector_size=320))
    assert detected.models[0].clean.poses.found.tolist() == [True]


def check_joints(dataset: PoseDataset, *engines: object) -> PoseDataset:
    candidates = [Candidate(n, f"models/{n}", PosePipeline(e), "auto") for n, e in engines]
    return asyncio.run(joints_of(candidates, dataset))


class OtherJoints:
    """An engine whose model answers LSP's joints."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def metadata(self, model: str) -> Any:
        found = await self._engine.metadata(model)
        found.properties["keypoint_set"] = "lsp14"
        return found


def test_models_of_two_skeletons_are_not_compared(labelled: PoseDataset, engine_for: EngineFor):
    engine = engine_for(labelled)
    with pytest.raises(SkeletonError, match=r"models/two answers .* lsp14, models/one .* coco17"):
        check_joints(labelled, ("one", engine), ("two", OtherJoints(engine)))


def test_labels_of_another_skeleton_become_the_models(labelled: PoseDataset, engine_for: EngineFor):
    found = check_joints(labelled.converted(LSP14), ("one", engine_for(labelled)))
    assert found.keypoint_set.name == "coco17"
    assert (found.keypoints[..., 2] > 0).sum(axis=1).tolist() == [12, 12]


def test_labels_that_share_no_joint_with_the_model_are_refused(
    labelled: PoseDataset, engine_for: EngineFor
):
    heads = labelled.converted(LSP14)
    heads.keypoints[..., 2] = 0
    heads.keypoints[:, LSP14.index("head_top"), 2] = 2
    with pytest.raises(SkeletonError, match="nobody has a labelled joint that models/one answers"):
        check_joints(heads, ("one", engine_for(labelled)))


@pytest.fixture(scope="module")
def report(side_by_side: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(side_by_side, Facts("labels.json", "pictures"), folder, examples=3)
    return folder


class Page(HTMLParser):
    """Tags that are open, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "source"):
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "srcset", "href") and v]
        self.ids += [v for k, v in attrs if k == "id" and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(report: Path):
    text = (report / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    inside = [a.removeprefix("#") for a in page.addresses if a.startswith("#")]
    assert inside == page.ids and len(inside) == 7
    assert all(a.startswith("data:") for a in page.addresses if not a.startswith("#"))
    assert "://" not in text and "url(" not in text


def test_the_markdown_shows_every_picture_of_the_folder(report: Path):
    text = (report / "report.md").read_text()
    linked = {part.partition(")")[0] for part in text.split("](pictures/")[1:]}
    there = {path.name for path in (report / "pictures").iterdir()}
    assert linked == there
    assert {"pck_by_height.png", "ap_by_height.png", "scores_1.png", "spreads_2.png"} <= there
    assert {"degraded_blur.png", "degraded_resolution.png", "differences_by_part.png"} <= there
    for path in (report / "pictures").iterdir():
        assert cv2.imread(str(path)).std() > 5


def test_the_files_say_the_same(report: Path):
    content = json.loads((report / "report.json").read_text())
    two = content["models"][1]["conditions"][0]
    assert two["everybody"]["PCK@0.2"]["value"] == 0.5
    assert two["heights"][0]["PCK@0.2"] is None
    low, high = two["everybody"]["PCK@0.2"]["low"], two["everybody"]["PCK@0.2"]["high"]
    assert f"0.500 ({low:.3f} to {high:.3f})" in (report / "report.md").read_text()
    html = (report / "report.html").read_text()
    assert f"<span>0.500</span><small>{low:.3f} to {high:.3f}</small>" in html
    assert [c["degradation"] for c in content["models"][0]["conditions"]] == [
        None,
        "blur=1",
        "resolution=0.5",
    ]
    assert content["comparison"]["conditions"][0]["cells"][0]["PCK@0.2"]["value"] == 0.5
    assert "nobody" in html


def test_the_report_says_who_wins_and_what_went_wrong(report: Path):
    text = (report / "report.md").read_text()
    assert "one is better by PCK@0.2 for everybody and 48 to 96 px; at the shoulder" in text
    assert "two is better" not in text
    # Of the smaller people, 8.6 pixels put the right ear, hip and knee onto the left ones.
    assert "| on the same joint of the other side | 0.0 % (0) | 8.8 % (60) |" in text
    assert "| near: within half a torso | 0.0 % (0) | 41.2 % (280) |" in text
    assert "9 px or 0.3 torsos off, score 0.50" in text


def test_a_report_of_one_model_compares_nothing(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat, tmp_path: Path
):
    study = run(repeat(labelled, 3), [engine_for(labelled)])
    write_report(study, Facts("labels.json", "pictures"), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "beside" not in text and "resolution" not in text.partition("How it was measured")[0]
    assert "too few" in text
    assert json.loads((tmp_path / "report.json").read_text())["models"][0]["conditions"][1:] == []


def test_too_few_people_have_no_calibration(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat, tmp_path: Path
):
    study = run(repeat(labelled, 9), [engine_for(labelled)], STEPS)
    write_report(study, Facts("labels.json", "pictures"), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| blur σ 1 px | 306 | too few | too few |" in text
    numbers = text.partition("## Scores and variances")[2].partition("## How")[0]
    assert re.findall(r"\| -?\d+\.\d+ ", numbers) == []
    assert not list((tmp_path / "pictures").glob("scores_*"))


def test_nobody_found_is_still_a_report(
    labelled: PoseDataset, engine_for: EngineFor, repeat: Repeat, tmp_path: Path
):
    engine = engine_for(labelled, found=())
    protocol = Protocol("detected", detector_size=320)
    study = run(repeat(labelled, 20), [engine], STEPS, protocol=protocol)
    write_report(study, Facts("labels.json", "pictures"), tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    clean = content["models"][0]["conditions"][0]
    assert clean["found"] == 0
    assert clean["everybody"]["AP"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert clean["mistakes"]["not_found"] == 40 * 17
    text = (tmp_path / "report.md").read_text()
    assert "the person was not found | 100.0 % (680)" in text
    assert "| frames | people found | AP |" in text and "| blur σ 1 px | 0 | 0.000 (" in text


def test_the_same_study_is_the_same_report_and_a_full_folder_an_error(
    side_by_side: Study, report: Path, tmp_path: Path
):
    write_report(side_by_side, Facts("labels.json", "pictures"), tmp_path, examples=3)
    for name in ("report.html", "report.md", "report.json"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()
    with pytest.raises(ReportFolderError, match="pictures: File exists"):
        write_report(side_by_side, Facts("labels.json", "pictures"), tmp_path, examples=0)


def test_names_with_marks_of_the_format_stay_text():
    name = "<script>a|b*c_d`"
    table = Table(("", name), ((name, Value(name, name)),), name)
    document = Document(name, name, (Section(name, (Paragraph(name), table)),))
    html = to_html(document)
    assert "<script>" not in html
    assert html.count("&lt;script&gt;a|b*c_d`") == 12
    markdown = to_markdown(document)
    assert markdown.startswith("# \\<script\\>a\\|b\\*c\\_d\\`\n")
    assert markdown.replace("\\|", "").count("|") == 3 + 3 + 3
