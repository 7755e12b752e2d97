"""`farpose export`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from farpose_export.graph import to_onnx
from farpose_export.parity import check_parity
from farpose_export.repository import pose_config, write_version
from farpose_training.checkpoint import load_model
from farpose_training.config import HeatmapConfig, ModelConfig, SimCCConfig


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint.safetensors of farpose train.")],
    repository: Annotated[Path, typer.Option(help="The Triton model repository to add it to.")],
    name: Annotated[str, typer.Option(help="The model's name there.")] = "lowres_pose",
) -> None:
    """Freeze a checkpoint to ONNX as a new version of a model in a Triton repository.

    The graph is compared with the checkpoint first; if they disagree nothing is written.
    """
    loaded = load_model(checkpoint)
    model, joints = loaded.model, loaded.keypoint_set
    facts = {
        **loaded.facts,
        "name": name,
        "keypoint_set": joints.name,
        "resolution": str(model.config.resolution),
        **_head_facts(model.config),
        "precision": "fp32",
        "license": "Apache-2.0",
    }
    graph = to_onnx(model, len(joints), facts)
    parity = check_parity(model, graph)
    config = pose_config(name, model.config.resolution, len(joints))
    version = write_version(repository, config, graph, parity)
    shutil.copyfile(checkpoint, version.parent / "checkpoint.safetensors")
    typer.echo(
        f"{version}: largest difference to the checkpoint {parity.max_keypoint_pixels:.2g} px, "
        f"{parity.max_score:.2g} in score"
    )


def _head_facts(config: ModelConfig) -> dict[str, str]:
    """What the metadata say of the head."""
    match config.head:
        case SimCCConfig() as head:
            labels = {"label_sigma_bins": str(head.sigma)} if head.labels == "gaussian" else {}
            split_factor = str(head.split_factor)
            return {"head": "simcc", "split_factor": split_factor, "score": head.score, **labels}
        case HeatmapConfig() as head:
            return {"head": "heatmap", "label_sigma_cells": str(head.sigma)}
        case head:
            return {"head": head.kind}
