"""Checkpoints and drawn people, which every machine has, and real pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from farpose.evaluation.dataset import load_dataset
from farpose.images import decode_image
from farpose.keypoints import COCO17
from farpose_export.precise import LabelledFiles
from farpose_training.checkpoint import save_model
from farpose_training.config import ModelConfig
from farpose_training.data.drawn.writing import write_procedural
from farpose_training.models.network import PoseNet

PICTURES = 20

HRNET = {"backbone": {"kind": "timm", "name": "hrnet_w18_small"}}


NVIDIA_SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) echo "$SMI_GPUS" ;;
"") echo "| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |" ;;
*) echo "unknown option $1" >&2; exit 2 ;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one GPU, as far as `nvidia-smi` tells; `SMI_GPUS` has its lines."""
    path = tmp_path_factory.mktemp("driver") / "nvidia-smi"
    path.write_text(NVIDIA_SMI)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SMI_GPUS", "GPU-1a2b, NVIDIA L4, 8.9, 550.54.15")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_TRITON_SERVER_VERSION", raising=False)
    return path


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> LabelledFiles:
    """Drawn people with exact joints."""
    return drawn(tmp_path_factory.mktemp("drawn"), 24, seed=0)


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> LabelledFiles:
    """Other drawn people, to calibrate on."""
    return drawn(tmp_path_factory.mktemp("others"), 40, seed=1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained HRNet student."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    model = PoseNet(ModelConfig.model_validate(HRNET), 17).eval()
    save_model(path, model, COCO17, {"training_data": "none"})
    return path


@pytest.fixture(scope="session")
def trained(repository: Path) -> Path:
    """The bundled model's checkpoint."""
    return repository / "lowres_pose/checkpoint.safetensors"


def drawn(folder: Path, people: int, seed: int) -> LabelledFiles:
    """A folder of drawn people."""
    write_procedural(folder / "people", people, seed, (24.0, 96.0))
    (annotations,) = (folder / "people").rglob("*.json")
    return LabelledFiles(annotations, annotations.parent)


@pytest.fixture(scope="session")
def real_people(data: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Frames `[H,W,3]`, each with the boxes `[P,4]` of the people in it."""
    dataset = load_dataset(data / "coco_mini/val.json", data / "coco_mini/val")
    return [
        (
            decode_image(dataset.pictures[index].path.read_bytes()),
            dataset.boxes[dataset.picture_index == index].astype(np.float32),
        )
        for index in np.unique(dataset.picture_index)[:PICTURES]
    ]
