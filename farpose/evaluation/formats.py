"""Annotations of whatever layout, recognised by their file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from farpose.evaluation.dataset import PoseDataset, load_dataset
from farpose.evaluation.mpii import load_mpii

AnnotationFormat = Literal["auto", "coco", "mpii"]


def load_annotated(
    annotations: str | Path, images: str | Path, layout: AnnotationFormat = "auto"
) -> PoseDataset:
    """Read a COCO-style keypoint file or one of MPII's.

    Args:
        annotations: the file.
        images: the folder of its pictures.
        layout: `auto` goes by the file, see `format_of`.

    Raises:
        DatasetError: see `load_dataset` and `load_mpii`.
    """
    load = load_mpii if format_of(annotations, layout) == "mpii" else load_dataset
    return load(annotations, images)


def format_of(
    annotations: str | Path, layout: AnnotationFormat = "auto"
) -> Literal["coco", "mpii"]:
    """`mpii` for a MATLAB file or a JSON list, as HRNet's MPII files are; otherwise `coco`.

    Args:
        annotations: the file; it may be missing, which the reader then says.
        layout: the answer, unless it is `auto`.
    """
    if layout != "auto":
        return layout
    path = Path(annotations)
    if path.suffix == ".mat":
        return "mpii"
    if not path.is_file():
        return "coco"
    with path.open("rb") as file:
        return "mpii" if file.read(64).lstrip().startswith(b"[") else "coco"
