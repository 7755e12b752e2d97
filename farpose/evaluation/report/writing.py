"""From a study to the files of its report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farpose.evaluation.report.bootstrap import FEWEST_PEOPLE, FEWEST_PICTURES
from farpose.evaluation.report.compared_section import comparison
from farpose.evaluation.report.comparing import Comparison, compare
from farpose.evaluation.report.content import to_json
from farpose.evaluation.report.degraded_section import degradations
from farpose.evaluation.report.document import (
    TOO_FEW,
    Bullets,
    Cell,
    Document,
    Section,
    Table,
    difference,
    estimated,
    heights,
    listed,
    number,
)
from farpose.evaluation.report.folder import ReportFolderError
from farpose.evaluation.report.html import to_html
from farpose.evaluation.report.markdown import PICTURES, to_markdown
from farpose.evaluation.report.scoring import METRICS
from farpose.evaluation.report.sections import accuracy, calibration, mistakes
from farpose.evaluation.report.study import Measured, Study

HTML, MARKDOWN, JSON = "report.html", "report.md", "report.json"


@dataclass(frozen=True)
class Facts:
    """What the caller knows of a report and its numbers do not say."""

    annotations: str
    images: str
    detections: str | None = None
    left_out_pictures: int = 0
    """Of those with labelled people, where only a sample was asked for."""

    box_scale: float = 1.0
    """By which labelled boxes were enlarged."""


@dataclass(frozen=True)
class Written:
    """A report that is there."""

    page: Path
    """The HTML file."""

    content: dict[str, Any]
    """Its numbers, as they are in the JSON file."""


def write_report(study: Study, facts: Facts, folder: Path, *, examples: int = 12) -> Written:
    """Write `report.html`, `report.md` with its pictures, and `report.json`.

    Args:
        study: what was measured.
        facts: where the data is from.
        folder: an empty one.
        examples: the worst people to draw of each model; a third as many, at least two, of those
            that degradations spoilt, and of those that each of two models won.

    Raises:
        ReportFolderError: a file cannot be written.
        DatasetError: a picture to be drawn cannot be read.
    """
    compared = compare(*study.models) if len(study.models) == 2 else None
    document = _document(study, facts, compared, examples)
    content: dict[str, Any] = {
        "annotations": facts.annotations,
        "images": facts.images,
        "detections": facts.detections,
        "box_scale": facts.box_scale,
        **to_json(study, compared),
    }
    try:
        (folder / PICTURES).mkdir()
        for picture in document.pictures:
            (folder / PICTURES / f"{picture.name}.png").write_bytes(picture.png)
        (folder / MARKDOWN).write_text(to_markdown(document), encoding="utf-8")
        (folder / JSON).write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")
        (folder / HTML).write_text(to_html(document), encoding="utf-8")
    except OSError as error:
        raise ReportFolderError(f"{error.filename or folder}: {error.strerror}") from error
    return Written(folder / HTML, content)


def _document(study: Study, facts: Facts, compared: Comparison | None, examples: int) -> Document:
    few = max(2, examples // 3) if examples else 0
    sections = [_overview(study), accuracy(study)]
    if compared is not None:
        sections.append(comparison(study, compared, few))
    sections += [mistakes(study, examples), calibration(study)]
    if study.models[0].degraded:
        sections.append(degradations(study, few and max(2, few // 2)))
    sections.append(_method(study, facts))
    people = f"{len(study.dataset)} people in {len(study.dataset.pictures)} pictures"
    return Document(
        title=f"Pose report: {listed([model.label for model in study.models])}",
        subtitle=f"{people}, {facts.annotations}",
        sections=tuple(sections),
    )


def _overview(study: Study) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (
            model.label,
            *(estimated(model.clean.scores.everybody.estimates.get(m)) for m in METRICS),
            str(int(model.clean.poses.found.sum())),
            number(model.clean.calibration.reliability.doubt_relative, 2)
            if model.clean.calibration.enough
            else TOO_FEW,
        )
        for model in study.models
    ]
    header = ("model", *METRICS, "people found", "rank of scores and errors")
    notes = [*(_worst_degradation(model) for model in study.models), _few(study)]
    return Section(
        "In short",
        (
            Table(header, tuple(rows), "Everybody, frames as they are"),
            Bullets(tuple(note for note in notes if note)),
        ),
    )


def _worst_degradation(model: Measured) -> str:
    """Which degradation costs most, if there is any."""
    clean = model.clean.scores.everybody.estimates.get("PCK@0.2")
    costs = {
        c.label: c.scores.everybody.estimates["PCK@0.2"] - clean
        for c in model.degraded
        if clean is not None and "PCK@0.2" in c.scores.everybody.estimates
    }
    if not costs:
        return ""
    name, cost = min(costs.items(), key=lambda item: item[1].value)
    found = difference(cost)
    return (
        f"Of the degradations tried, {name} costs {model.label} most: it changes PCK@0.2 by "
        f"{found.text} ({found.detail})."
    )


def _few(study: Study) -> str:
    """Which heights there are too few people of, if any."""
    few = [
        f"{heights(cell.low, cell.high)} ({cell.people} people)"
        for cell in study.models[0].clean.scores.heights
        if cell.people and len(cell.estimates) < len(METRICS)
    ]
    if not few:
        return ""
    return (
        f"Heights with too few people for some number: {listed(few)}. Label more such people to "
        "learn how well they are served."
    )


def _method(study: Study, facts: Facts) -> Section:
    protocol = study.protocol
    if protocol.boxes == "truth":
        boxes = "People are cropped by their labelled boxes"
        boxes += f", enlarged by {facts.box_scale:g}." if facts.box_scale != 1 else "."
    elif facts.detections is not None:
        boxes = f"People are cropped by the boxes of {facts.detections}."
    else:
        boxes = f"People are cropped by detected boxes, detector size {protocol.detector_size}."
    sample = ""
    if facts.left_out_pictures:
        sample = f" This is a sample: {facts.left_out_pictures} pictures with people are left out."
    joints = study.dataset.keypoint_set
    items = [
        *(f"{model.label}: {model.path}" for model in study.models),
        f"Labels: {facts.annotations}; pictures: {facts.images}.{sample}",
        f"Joints: {joints.name}, {len(joints)} of them. {boxes}",
        "AP: COCO's, over OKS 0.50 to 0.95 and at most 20 people a picture. In a bin of heights, "
        "people of other heights neither count nor are missed, and a prediction on nobody is wrong "
        "if its box is of that height.",
        "PCK: share of the twelve limb joints within 0.2 or 0.5 torsos of the label; a torso runs "
        "from the left shoulder to the right hip, and people without it do not count. Mean OKS: "
        "over people. Who was not found is wrong in all joints and has OKS 0.",
        f"Intervals: 95 % percentile intervals of {study.resamples} bootstrap draws of pictures, "
        f"seed {protocol.seed}; numbers need {FEWEST_PEOPLE} people in {FEWEST_PICTURES} pictures.",
        "Degradations, before cropping: Gaussian blur with σ in pixels; JPEG by OpenCV with chroma "
        f"halved; Gaussian noise on each channel, seed {protocol.seed} and the picture's number; "
        "resolution: area resampling, as if the camera had fewer pixels.",
        "Spreads: predicted standard deviations, from the model's variances of x and y.",
    ]
    return Section("How it was measured", (Bullets(tuple(items)),))
