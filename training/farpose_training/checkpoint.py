"""Checkpoints: safetensors files that hold tensors and a configuration, never code.

A model checkpoint (`checkpoint.safetensors`) has the weights of one network, and for a network cut
from an ONNX file the graph too, so it can be rebuilt anywhere. `run_state` keeps unfinished runs.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from farpose.keypoints import KeypointSet, keypoint_set
from farpose_training.config import ModelConfig
from farpose_training.models.backbones import FusedBackbone
from farpose_training.models.network import PoseNet

FORMAT = "farpose-pose-2"
FIRST_FORMAT = "farpose-simcc-1"
"""The format before other heads than SimCC: its settings lie beside the backbone's."""
SKELETON_KEY = "skeleton"


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message names the file and says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A network read from a file."""

    model: PoseNet
    keypoint_set: KeypointSet
    facts: dict[str, str]
    """What was written beside it: training data, metrics, commit."""


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file so that a reader sees the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, metadata)
    partial.chmod(0o644)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata; `CheckpointError` if that is not possible."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def model_tensors(model: PoseNet) -> dict[str, Tensor]:
    """Everything needed to rebuild the network, but for its configuration."""
    tensors = dict(model.state_dict())
    if isinstance(model.backbone, FusedBackbone):
        tensors[SKELETON_KEY] = model.backbone.body.skeleton()
    return tensors


def save_model(path: Path, model: PoseNet, joints: KeypointSet, facts: dict[str, str]) -> None:
    """Write a model checkpoint; of the backbone's file only the name is kept."""
    config = model.config
    if config.backbone.kind == "onnx":
        backbone = config.backbone.model_copy(update={"path": Path(config.backbone.path.name)})
        config = config.model_copy(update={"backbone": backbone})
    metadata = {
        "format": FORMAT,
        "model": config.model_dump_json(),
        "keypoint_set": joints.name,
        "facts": json.dumps(facts),
    }
    write_tensors(path, model_tensors(model), metadata)


def load_model(path: Path) -> Checkpoint:
    """Rebuild the network of a model checkpoint, in eval mode.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or does not fit.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") not in (FORMAT, FIRST_FORMAT):
        raise CheckpointError(
            f"{path}: its format is {metadata.get('format')!r}, this version reads {FORMAT!r}"
        )
    joints = keypoint_set(metadata["keypoint_set"])
    settings = json.loads(metadata["model"])
    if metadata["format"] == FIRST_FORMAT:
        settings = _with_head(settings)
    config = ModelConfig.model_validate(settings)
    if config.backbone.kind in ("timm", "resnet"):
        config = config.model_copy(
            update={"backbone": config.backbone.model_copy(update={"pretrained": False})}
        )
    model = PoseNet(config, len(joints), tensors.pop(SKELETON_KEY, None))
    load_state(model, tensors, path)
    return Checkpoint(model.eval(), joints, json.loads(metadata.get("facts", "{}")))


def _with_head(settings: dict[str, Any]) -> dict[str, Any]:
    """Model settings of the first format as this version has them."""
    names = {"split_factor": "split_factor", "label_sigma": "sigma", "head_stride": "stride"}
    head = {new: settings.pop(old) for old, new in names.items() if old in settings}
    return settings | {"head": {"kind": "simcc", **head}}


def load_state(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load a state dict; `CheckpointError` says what does not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the model: {error}") from error


def load_fitting(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> list[str]:
    """Load the tensors whose name and shape fit, and return the names of the others.

    Raises:
        CheckpointError: none fits.
    """
    state = module.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in state and v.shape == state[k].shape}
    if not fitting:
        raise CheckpointError(f"{path}: holds nothing that fits the model")
    module.load_state_dict(state | fitting)
    return [name for name in state if name not in fitting]
