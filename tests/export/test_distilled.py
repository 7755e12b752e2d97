"""Distillation costs nothing at inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from farpose.keypoints import COCO17
from farpose_export.graph import to_onnx
from farpose_training.checkpoint import load_model, save_model
from farpose_training.config import DistillationConfig, ModelConfig
from farpose_training.distillation.teacher import TeacherShape
from farpose_training.models.network import PoseNet
from farpose_training.objective import Objective

HRNET = {"kind": "timm", "name": "hrnet_w18_small"}


def test_a_distilled_student_has_the_baselines_graph(tmp_path: Path):
    config = ModelConfig.model_validate({"backbone": HRNET})
    teacher = TeacherShape(channels=32, cells=64, resolution=256, split_factor=3)
    distillation = DistillationConfig.model_validate(
        {"teacher": "t.safetensors", "temperature": {"kind": "etht"}}
    )
    graphs = {}
    for name, objective in {
        "baseline": Objective(PoseNet(config, 17)),
        "distilled": Objective(PoseNet(config, 17), distillation, teacher),
    }.items():
        save_model(tmp_path / name, objective.student, COCO17, {})
        graphs[name] = to_onnx(load_model(tmp_path / name).model, 17, {}).graph
    baseline, distilled = graphs["baseline"], graphs["distilled"]
    # Nodes, their attributes and how they are joined: MACs follow.
    assert list(distilled.node) == list(baseline.node)
    assert list(distilled.input) == list(baseline.input)
    assert list(distilled.output) == list(baseline.output)
    sizes = [
        sorted((w.name, w.data_type, tuple(w.dims)) for w in graph.initializer)
        for graph in graphs.values()
    ]
    assert sizes[0] == sizes[1]
    values = [{w.name: w.raw_data for w in graph.initializer} for graph in graphs.values()]
    assert values[0] != values[1]  # two networks, not one twice
    weights = sum(int(np.prod(w.dims)) for w in distilled.initializer if w.data_type == 1)
    learned = sum(p.numel() for p in PoseNet(config, 17).parameters())
    # Batch norm is folded into the convolutions, so the graph has at most what is learned,
    # and constants of normalisation and decoding.
    assert weights < learned + 1000
    whole = sum(p.numel() for p in objective.parameters())
    assert whole > learned + 3 * 256 * 4096  # what is dropped: three projectors among others
