"""`python -m farpose_training.data.cvat`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from farpose.keypoints import COCO17, KEYPOINT_SETS
from farpose_training.data.cvat.annotations import CvatPicture, to_coco
from farpose_training.data.cvat.errors import CvatError
from farpose_training.data.cvat.export import open_export
from farpose_training.data.cvat.holdout import held_out
from farpose_training.data.cvat.labels import JointLabels
from farpose_training.module_command import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def convert(
    export: Annotated[
        Path, typer.Argument(help="CVAT's .zip, the folder it unpacks to, or its .json or .xml.")
    ],
    output: Annotated[
        Path, typer.Option(help="The file to write; with --holdout NAME_train and NAME_val.")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Also copy the exported pictures into this folder.")
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Hold this share of the pictures out of training, in runs of neighbours."
        ),
    ] = None,
    keypoint_set: Annotated[
        str, typer.Option(help=f"The joints to write: {', '.join(KEYPOINT_SETS)}.")
    ] = COCO17.name,
    drop: Annotated[
        list[str] | None, typer.Option(help="A joint label to leave out; give it once for each.")
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Read only skeletons with this label.")
    ] = None,
) -> None:
    """Turn people labelled in CVAT into files that farpose train and evaluate read."""
    if keypoint_set not in KEYPOINT_SETS:
        raise CvatError(f"--keypoint-set {keypoint_set}: use one of {', '.join(KEYPOINT_SETS)}")
    labels = JointLabels(KEYPOINT_SETS[keypoint_set], tuple(drop or ()))
    with open_export(export) as opened:
        pictures = opened.pictures(labels, skeleton)
        if images is not None:
            opened.copy_pictures(pictures, images)
    for path, part in _parts(pictures, output, holdout).items():
        content = to_coco(part, labels.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) + "\n")
        people, written = sum(len(p.people) for p in part), len(content["annotations"])
        left_out = f", {people - written} with fewer than 2 joints left out" * (people > written)
        typer.echo(f"{path}: {len(part)} pictures, {written} people{left_out}")


def _parts(
    pictures: list[CvatPicture], output: Path, holdout: float | None
) -> dict[Path, list[CvatPicture]]:
    """What to write into which file."""
    if holdout is None:
        return {output: pictures}
    try:
        val = held_out((picture.name for picture in pictures), holdout)
    except ValueError as error:
        raise CvatError(f"--holdout: {error}") from error
    return {
        output.with_stem(f"{output.stem}_train"): [p for p in pictures if p.name not in val],
        output.with_stem(f"{output.stem}_val"): [p for p in pictures if p.name in val],
    }


if __name__ == "__main__":
    run(app, "farpose_training.data.cvat")
