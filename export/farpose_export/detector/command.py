"""`farpose export-detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from farpose.images import ImageError, decode_image
from farpose.letterbox import letterbox
from farpose_export.detector.check import check_detector
from farpose_export.detector.mmdeploy import read_mmdeploy
from farpose_export.detector.network import DetectorError, Network
from farpose_export.detector.ultralytics import LICENSE, read_ultralytics
from farpose_export.detector.wrapping import wrap
from farpose_export.graph import with_facts
from farpose_export.model_config import detector_config
from farpose_export.repository import Publication, write_version

SIZES: Final = (320, 640)
"""Longer sides, in pixels, that every picture is compared at."""

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")


def export_detector(
    weights: Annotated[
        Path, typer.Argument(help="Ultralytics .pt weights, or RTMDet as MMDeploy's .onnx.")
    ],
    repository: Annotated[Path, typer.Option(help="The Triton model repository to add it to.")],
    pictures: Annotated[
        Path,
        typer.Option(help="A picture with people, or a folder of some, to compare the two on."),
    ],
    name: Annotated[str, typer.Option(help="The model's name there.")] = "person_detector",
) -> None:
    """Put a detector of your own into a Triton repository, with the contract of person_detector.

    It is compared with the original on your pictures first; if they disagree nothing is written.
    """
    network = _read(weights)
    graph = wrap(network)
    parity = check_detector(graph, network.predict, _pictures(pictures))
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    facts |= {"name": name, "parity": parity.text()}
    publication = Publication(
        config=detector_config(name),
        graph=with_facts(graph, facts),
        report=parity.to_json() | {"source_sha256": facts["source_sha256"]},
    )
    version = write_version(repository, publication)
    if facts["license"] == LICENSE:
        typer.echo(f"licence of these weights: {LICENSE}")
    typer.echo(f"{version}: {parity.text()}")


def _read(weights: Path) -> Network:
    match weights.suffix.lower():
        case ".pt":
            return read_ultralytics(weights)
        case ".onnx":
            return read_mmdeploy(weights)
    raise DetectorError(f"{weights}: give Ultralytics weights (.pt) or an MMDeploy export (.onnx)")


def _pictures(source: Path) -> list[NDArray[np.uint8]]:
    """Letterboxed pictures; `DetectorError` if there are none or one cannot be read."""
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DetectorError(f"{source}: has no pictures ({', '.join(SUFFIXES)})")
    found = []
    for path in paths:
        try:
            frame = decode_image(path.read_bytes())
        except ImageError as error:
            raise DetectorError(f"{path}: {error}") from error
        found += [letterbox(frame, size).image for size in SIZES]
    return found
