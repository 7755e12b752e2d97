"""Compares a detector with its start weights: recall by height and the price in false boxes.

    python -m farpose_training.detection.report --start rtmdet_nano.onnx \
        --model model_repository/person_detector/1/model.onnx \
        --annotations val.json --images val --plot curve.png

The comparison is fair where both make the same number of false boxes: the new detector is read at
the score threshold that lets as many through as the start weights do at 0.3. A false box is on
nobody of the truth and on nobody whom the start weights see at 640 pixels with a score above 0.3
(the truth lists only people with keypoints).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import load_dataset
from farpose.evaluation.detection import (
    Detect,
    DetectionReport,
    LabelledPicture,
    evaluate_detector,
)
from farpose.evaluation.pck import HEIGHT_BINS
from farpose.letterbox import Resizer, resize
from farpose_training.detection.inference import model_detector, onnx_detector
from farpose_training.detection.model import PersonDetector

SIZES = (320, 416, 640)
REFERENCE_SIZE, REFERENCE_SCORE = 640, 0.3
SMALL = 96.0
"""People lower than this many picture pixels are called small."""

RESIZERS: dict[str, Resizer] = {
    "bilinear": lambda image, width, height: _resized(image, width, height, cv2.INTER_LINEAR),
    "area": lambda image, width, height: _resized(image, width, height, cv2.INTER_AREA),
    "halving, then cubic (ours)": resize,
}
"""Interpolations that are compared on the start weights."""

PRICES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""False boxes per picture at which the curve is tabulated."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Start weights and new detector at one input size."""

    size: int
    start: DetectionReport
    model: DetectionReport

    @property
    def threshold(self) -> float:
        """Score at which the new detector makes as many false boxes as the start at 0.3."""
        return self.model.threshold_for(self.start.false_boxes(REFERENCE_SCORE))


def compare(
    start: Detect,
    model: Detect,
    pictures: Sequence[LabelledPicture],
    sizes: Sequence[int] = SIZES,
) -> list[Comparison]:
    """Evaluate both detectors at every size."""
    return [
        Comparison(
            size,
            evaluate_detector(start, pictures, size),
            evaluate_detector(model, pictures, size),
        )
        for size in sizes
    ]


def labelled_pictures(annotations: Path, images: Path, start: Detect) -> Iterator[LabelledPicture]:
    """Every picture of a COCO-style file, and who else is there according to `start`.

    Raises:
        DatasetError: the annotations or pictures cannot be read.
    """
    dataset = load_dataset(annotations, images)
    for index, picture in enumerate(dataset.pictures):
        image = picture.read()
        boxes, scores = start(image, REFERENCE_SIZE)
        yield LabelledPicture(
            image, dataset.boxes[dataset.picture_index == index], boxes[scores > REFERENCE_SCORE]
        )


def write_interpolations(
    start: Callable[[Resizer], Detect], pictures: Sequence[LabelledPicture], out: TextIO
) -> None:
    """Markdown: what the start weights find at their usual threshold, by interpolation."""
    out.write(f"| start weights, score {REFERENCE_SCORE} |")
    out.write(f" {' | '.join(f'at {size}' for size in SIZES)} |\n|---{'|---' * len(SIZES)}|\n")
    for name, resizer in RESIZERS.items():
        reports = [evaluate_detector(start(resizer), pictures, size) for size in SIZES]
        cells = [
            f"{r.found(REFERENCE_SCORE)}, {r.found(REFERENCE_SCORE, 0, SMALL)} small, "
            f"{r.false_boxes(REFERENCE_SCORE)} false"
            for r in reports
        ]
        out.write(f"| {name} | {' | '.join(cells)} |\n")


def write_tables(comparisons: Sequence[Comparison], out: TextIO) -> None:
    """Markdown: recall at equal price, recall by height, and the curves."""
    out.write(
        "| size | detector | score | false boxes | duplicates | found | recall | "
        f"under {SMALL:.0f} px |\n|---|---|---|---|---|---|---|---|\n"
    )
    for c in comparisons:
        rows = (
            ("start", c.start, REFERENCE_SCORE),
            ("model", c.model, c.threshold),
            ("model", c.model, REFERENCE_SCORE),
        )
        for name, report, score in rows:
            out.write(
                f"| {c.size} | {name} | {score:.3f} | {report.false_boxes(score)} | "
                f"{report.duplicate_boxes(score)} | {report.found(score)}/{report.people()} | "
                f"{report.recall(score):.3f} | "
                f"{report.found(score, 0, SMALL)}/{report.people(0, SMALL)} |\n"
            )
    out.write("\nFound by height in picture pixels, at the same number of false boxes:\n\n")
    bins = list(pairwise(HEIGHT_BINS))
    names = [f"{low:.0f}-{high:.0f}" if np.isfinite(high) else f"{low:.0f}+" for low, high in bins]
    out.write(f"| size | detector | {' | '.join(names)} |\n|---|---{'|---' * len(bins)}|\n")
    for c in comparisons:
        for name, report, score in (
            ("start", c.start, REFERENCE_SCORE),
            ("model", c.model, c.threshold),
        ):
            cells = [f"{report.found(score, *b)}/{report.people(*b)}" for b in bins]
            out.write(f"| {c.size} | {name} | {' | '.join(cells)} |\n")
    out.write("\nRecall at a price in false boxes per picture (score threshold in brackets):\n\n")
    heads = [f"{name} {c.size}" for c in comparisons for name in ("start", "model")]
    out.write(f"| false boxes | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|\n")
    curves = [report.curve(PRICES) for c in comparisons for report in (c.start, c.model)]
    for index, price in enumerate(PRICES):
        cells = [f"{curve[index].recall:.3f} ({curve[index].threshold:.2f})" for curve in curves]
        out.write(f"| {price:g} | {' | '.join(cells)} |\n")


def _resized(
    image: NDArray[np.uint8], width: int, height: int, interpolation: int
) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def plot_curves(comparison: Comparison, path: Path) -> None:
    """PNG of recall over false boxes per picture, everybody and small people."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True)
    prices = np.arange(0, 3 * comparison.model.pictures + 1) / comparison.model.pictures
    for panel, high, title in zip(
        panels, (np.inf, SMALL), ("everybody", f"under {SMALL:.0f} px"), strict=True
    ):
        for name, report in (("RTMDet-nano", comparison.start), ("Farpose", comparison.model)):
            counts = np.round(prices * report.pictures).astype(int)
            recalls = [report.recall(report.threshold_for(n), 0, high) for n in counts]
            panel.plot(prices, recalls, label=name)
        panel.set_title(f"{title}, input {comparison.size}", fontsize=10)
        panel.set_xlabel("false boxes per picture")
        panel.set_ylabel("recall at IoU 0.5")
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the plot if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start", type=Path, required=True, help="rtmdet_nano.onnx")
    parser.add_argument("--model", type=Path, required=True, help="exported person_detector")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--plot", type=Path, help="PNG to write, of the smallest size")
    options = parser.parse_args(arguments)
    weights = PersonDetector.from_onnx(options.start)
    start = model_detector(weights)
    pictures = list(labelled_pictures(options.annotations, options.images, start))
    write_interpolations(
        lambda resizer: model_detector(weights, resizer=resizer), pictures, sys.stdout
    )
    sys.stdout.write("\n")
    comparisons = compare(start, onnx_detector(options.model), pictures)
    write_tables(comparisons, sys.stdout)
    if options.plot is not None:
        plot_curves(comparisons[0], options.plot)


if __name__ == "__main__":
    main()
