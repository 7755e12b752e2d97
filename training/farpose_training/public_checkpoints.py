"""Checkpoints of Pose-HRNet, SimCC and MMPose as networks of ours.

Their HRNets name the layers as timm does; what differs are prefixes and the head:

- Pose-HRNet: no prefix; `final_layer` makes the heatmaps.
- SimCC: the same; `final_layer` makes the joint maps, `mlp_head_x` and `mlp_head_y` follow.
- MMPose: `backbone.` and `head.` (before 1.0 `keypoint_head.`), with SimCC's names in the head.

Inputs are square here: a network trained on 256x192 crops gives its backbone, but its SimCC head
does not fit. Files are read without running code that they may hold.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from farpose_training.checkpoint import CheckpointError, read_tensors
from farpose_training.config import HeatmapConfig, ModelConfig
from farpose_training.models.network import PoseNet

SUFFIXES = frozenset({".pth", ".pt", ".tar", ".bin"})
"""Files that PyTorch wrote."""

WRAPPERS = ("state_dict", "best_state_dict", "model")
"""Keys that training scripts keep the weights under."""

HEADS = ("", "head.", "keypoint_head.")


def is_public(path: Path) -> bool:
    """Whether a file is one of PyTorch's and not a checkpoint of `farpose train`."""
    return path.suffix.lower() in SUFFIXES


def public_tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a public checkpoint under the names that `PoseNet` has for them.

    Raises:
        CheckpointError: the file is missing, unreadable, or of no layout that is known.
    """
    stored = _stored(path)
    known = {name.removeprefix("module."): value for name, value in stored.items()}
    renamed = {ours: value for name, value in known.items() if (ours := _ours(name)) is not None}
    if not any(name.startswith("backbone.net.stage4") for name in renamed):
        raise CheckpointError(
            f"{path}: no HRNet of Pose-HRNet, SimCC or MMPose; its first names are "
            f"{', '.join(list(stored)[:4])}"
        )
    return renamed


def load_public(path: Path, config: ModelConfig, joints: int) -> PoseNet:
    """A network with the weights of a public checkpoint, in eval mode.

    Args:
        path: the file.
        config: its architecture.
        joints: `J`.

    Raises:
        CheckpointError: weights are missing or have another shape; the message names some.
    """
    tensors = public_tensors(path)
    if isinstance(config.head, HeatmapConfig):
        tensors = {name.replace("head.joints.", "head.maps."): v for name, v in tensors.items()}
    backbone = config.backbone.model_copy(update={"pretrained": False})
    network = PoseNet(config.model_copy(update={"backbone": backbone}), joints)
    state = network.state_dict()
    missing = [name for name in state if name not in tensors and not _is_counter(name)]
    wrong = [
        f"{name} is {list(value.shape)}, not {list(state[name].shape)}"
        for name, value in tensors.items()
        if name in state and value.shape != state[name].shape
    ]
    if missing or wrong:
        problems = [f"{name} is missing" for name in missing] + wrong
        raise CheckpointError(
            f"{path}: does not fit the configured model: {'; '.join(problems[:4])}"
            + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        )
    network.load_state_dict({**state, **{k: v for k, v in tensors.items() if k in state}})
    return network.eval()


def _ours(name: str) -> str | None:
    """Our name of a weight; None for what we have not."""
    for head in HEADS:
        for theirs, ours in (("final_layer", "joints"), ("mlp_head_x", "x"), ("mlp_head_y", "y")):
            if name.startswith(f"{head}{theirs}."):
                return f"head.{ours}.{name.rpartition('.')[2]}"
    bare = name.removeprefix("backbone.")
    if bare.startswith(("conv", "bn", "layer1.", "transition", "stage")):
        return f"backbone.net.{bare}"
    return None


def _is_counter(name: str) -> bool:
    """Batch norms count batches in newer versions of PyTorch only; nothing reads it."""
    return name.endswith("num_batches_tracked")


def _stored(path: Path) -> dict[str, Tensor]:
    if not is_public(path):
        return read_tensors(path)[0]
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path}: cannot be read without running code from it; load it where you trust it and "
            "save its state_dict alone"
        ) from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not weights by name")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}
