"""`farpose export-detector`."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from farpose_export.command import labelled_files
from farpose_export.detector.check import check_detector
from farpose_export.detector.checkpoint import read_checkpoint
from farpose_export.detector.labelled import LabelledPictures
from farpose_export.detector.lowering import lower_detector, refuse_missing
from farpose_export.detector.mmdeploy import read_mmdeploy
from farpose_export.detector.network import DetectorError, Network, Predict
from farpose_export.detector.pictures import CALIBRATION_PICTURES, read_pictures
from farpose_export.detector.ultralytics import LICENSE, read_ultralytics
from farpose_export.detector.wrapping import wrap
from farpose_export.graph import with_facts
from farpose_export.model_config import detector_config
from farpose_export.precise import VERSIONED, Precision, Target
from farpose_export.repository import Publication, write_version


def export_detector(
    weights: Annotated[
        Path,
        typer.Argument(
            help="A detector's checkpoint.safetensors, Ultralytics .pt weights, or RTMDet as "
            "MMDeploy's .onnx."
        ),
    ],
    repository: Annotated[Path, typer.Option(help="The Triton model repository to add it to.")],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="A picture with people, or a folder of some, to compare the two on; by default "
            "those of --images."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name there.")] = "person_detector",
    precision: Annotated[
        Precision,
        typer.Option(help="fp16 and int8 are compared with fp32 on --annotations first."),
    ] = Precision.FP32,
    target: Annotated[
        Target, typer.Option(help="What an int8 graph is for: their operators differ.")
    ] = Target.CPU,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Labelled people to be found, as of farpose evaluate."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of their pictures.")] = None,
    calibration_images: Annotated[
        Path | None,
        typer.Option(help="A folder of other pictures, that int8 is fitted to."),
    ] = None,
) -> None:
    """Put a detector of your own into a Triton repository, with the contract of person_detector.

    It is compared with the original on your pictures first, and in fewer bits with fp32 on labelled
    people; past a limit nothing is written.
    """
    files = labelled_files("--annotations", annotations, "--images", images)
    refuse_missing(precision, files is not None, calibration_images)
    compared = pictures or images
    if compared is None:
        raise DetectorError("give --pictures with people that the two detectors are compared on")
    people = fitted = None
    if precision is not Precision.FP32 and files is not None:
        people = LabelledPictures.load(files)
    if precision is Precision.INT8 and calibration_images is not None:
        fitted = read_pictures(calibration_images, CALIBRATION_PICTURES)
    graph, predict = _read(weights)
    parity = check_detector(graph, predict, read_pictures(compared))
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    facts |= {"name": name, "parity": parity.text()}
    report: dict[str, Any] = parity.to_json() | {
        "source_sha256": facts["source_sha256"],
        "precision": precision.value,
        "versions": {package: version_of(package) for package in VERSIONED},
    }
    said = [parity.text()]
    if people is not None:
        graph, step = lower_detector(graph, precision, target, people, fitted or ())
        facts |= {"precision": precision.value, "parity": step.text(), "parity_set": people.name}
        report |= {"steps": [step.to_json()], "people_set": people.name}
        if fitted is not None and calibration_images is not None:
            facts["calibration"] = calibration_images.name
            report |= {"target": target.value, "calibration": calibration_images.name}
        said.append(step.text())
    publication = Publication(
        config=detector_config(name),
        graph=with_facts(graph, facts),
        report=report,
        checkpoint=weights if weights.suffix == ".safetensors" else None,
    )
    version = write_version(repository, publication)
    if facts.get("license") == LICENSE:
        typer.echo(f"licence of these weights: {LICENSE}")
    typer.echo(f"{version}: {'; '.join(said)}")


def _read(weights: Path) -> tuple[onnx.ModelProto, Predict]:
    """The FP32 graph of the contract, and the original."""
    network: Network
    match weights.suffix.lower():
        case ".safetensors":
            return read_checkpoint(weights)
        case ".pt":
            network = read_ultralytics(weights)
        case ".onnx":
            network = read_mmdeploy(weights)
        case _:
            raise DetectorError(
                f"{weights}: give a detector's checkpoint (.safetensors), Ultralytics weights "
                "(.pt) or an MMDeploy export (.onnx)"
            )
    return wrap(network), network.predict
