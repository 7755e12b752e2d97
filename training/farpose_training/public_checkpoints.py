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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from farpose_training.checkpoint import CheckpointError, read_tensors
from farpose_training.config import HeatmapConfig, ModelConfig
from farpose_training.models.network import PoseNet

SUFFIXES = frozenset({".pth", ".pt", ".tar", ".bin"})
"""Files that PyTorch wrote."""

WRAPPERS = ("state_dict", "best_state_dict", "model")
"""Keys that training scripts keep the weights under."""

HEADS = ("", "head.", "keypoint_head.")
BACKBONE = "backbone.net."
LAST_STAGE = f"{BACKBONE}stage4."


def is_public(path: Path) -> bool:
    """Whether a file is one of PyTorch's, or a safetensors file with their names of an HRNet.

    A network of ours is none, whatever its backbone.
    """
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return path.suffix.lower() in SUFFIXES
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            ours = any(BACKBONE in name for name in names)
            return not ours and _has_last_stage(_renamed(names).values())
    except SafetensorError:
        return False  # what reads it says what is wrong with it


def public_tensors(path: Path) -> dict[str, Tensor]:
    """The weights of a public checkpoint under the names that `PoseNet` has for them.

    Weights that no `PoseNet` has keep their names.

    Raises:
        CheckpointError: the file is missing, unreadable, or of no layout that is known.
    """
    stored = _stored(path)
    names = _renamed(stored)
    if not _has_last_stage(names.values()):
        raise CheckpointError(
            f"{path}: no HRNet of Pose-HRNet, SimCC or MMPose; its first names are "
            f"{', '.join(list(stored)[:4])}"
        )
    return {names[name]: value for name, value in stored.items()}


def load_public(path: Path, config: ModelConfig, joints: int) -> PoseNet:
    """A network with the weights of a public checkpoint, in eval mode.

    Args:
        path: the file.
        config: its architecture.
        joints: `J`.

    Raises:
        CheckpointError: weights are missing, have another shape, or have no place in the network;
            the message names some.
    """
    tensors = public_tensors(path)
    # Heatmaps and SimCC's joint maps are both made by `final_layer`.
    if isinstance(config.head, HeatmapConfig):
        tensors = {name.replace("head.joints.", "head.maps."): v for name, v in tensors.items()}
    backbone = config.backbone.model_copy(update={"pretrained": False})
    network = PoseNet(config.model_copy(update={"backbone": backbone}), joints)
    state = network.state_dict()
    problems = [
        *(f"{name} is missing" for name in state if name not in tensors and not _is_counter(name)),
        *(
            f"{name} is {list(value.shape)}, not {list(state[name].shape)}"
            for name, value in tensors.items()
            if name in state and value.shape != state[name].shape
        ),
        *(
            f"{name} has no place in it"
            for name in tensors
            if name not in state and not _is_counter(name) and not _is_unread(name)
        ),
    ]
    if problems:
        raise CheckpointError(
            f"{path}: does not fit the configured model: {'; '.join(problems[:4])}"
            + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        )
    network.load_state_dict({**state, **{k: v for k, v in tensors.items() if k in state}})
    return network.eval()


def _renamed(names: Iterable[str]) -> dict[str, str]:
    """Our names of weights by theirs; what we have not keeps its own."""
    return {name: _ours(name.removeprefix("module.")) for name in names}


def _ours(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    for head in HEADS:
        for theirs, ours in (("final_layer", "joints"), ("mlp_head_x", "x"), ("mlp_head_y", "y")):
            if layer == f"{head}{theirs}":
                return f"head.{ours}.{kind}"
    bare = name.removeprefix("backbone.")
    if bare.startswith(("conv", "bn", "layer1.", "transition", "stage")):
        return f"backbone.net.{bare}"
    return name


def _has_last_stage(ours: Iterable[str]) -> bool:
    """Whether these are weights of an HRNet that are not ours already."""
    return any(name.startswith(LAST_STAGE) for name in ours)


def _is_counter(name: str) -> bool:
    """Batch norms count batches in newer versions of PyTorch only; nothing reads it."""
    return name.endswith("num_batches_tracked")


def _is_unread(name: str) -> bool:
    """Fusions of the last stage that feed other branches than the first: we delete them."""
    return name.startswith(LAST_STAGE) and ".fuse_layers." in name


def _stored(path: Path) -> dict[str, Tensor]:
    if path.suffix.lower() not in SUFFIXES:
        return read_tensors(path)[0]
    try:
        with torch.serialization.safe_globals(_array_parts()):
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


def _array_parts() -> list[Any]:
    """What a pickled NumPy array or number of a plain type is made of.

    MMPose keeps some about its training set beside the weights. NumPy 2 has moved the module that
    their makers are in, so files name it in two ways.
    """
    makers = (np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0])
    named = [
        (maker, f"numpy.{core}.multiarray.{maker.__name__}")
        for maker in makers
        for core in ("core", "_core")
    ]
    return [np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}, *named]
