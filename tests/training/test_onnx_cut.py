from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from farpose_training.models.onnx_cut import OnnxCut, OnnxCutError, cut

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_cut_computes_the_original_graphs_tensors(small_network: Path):
    graph = cut(onnx.load(str(small_network)), ["fine", "coarse"])
    session = ort.InferenceSession(graph.SerializeToString())
    expected = session.run(["fine", "coarse"], {"image": IMAGES.numpy()})
    found = OnnxCut.from_file(small_network, ["fine", "coarse"])(IMAGES)
    for a, b in zip(expected, found, strict=True):
        assert np.abs(a - b.detach().numpy()).max() < 1e-5


def test_nodes_and_weights_after_the_cut_are_gone(small_network: Path):
    graph = cut(onnx.load(str(small_network)), ["fine"])
    assert {node.name for node in graph.graph.node if node.op_type == "Conv"} == {"stem", "fine"}
    assert len(graph.graph.initializer) == 4


def test_its_weights_receive_gradients(small_network: Path):
    net = OnnxCut.from_file(small_network, ["fine", "coarse"])
    sum(t.sum() for t in net(IMAGES)).backward()
    gradients = [p.grad for p in net.parameters()]
    assert len(gradients) == 6
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)


def test_a_skeleton_and_a_state_rebuild_it(small_network: Path):
    net = OnnxCut.from_file(small_network, ["coarse"])
    rebuilt = OnnxCut.from_skeleton(net.skeleton())
    assert not torch.equal(rebuilt(IMAGES)[0], net(IMAGES)[0])
    rebuilt.load_state_dict(net.state_dict())
    assert torch.equal(rebuilt(IMAGES)[0], net(IMAGES)[0])
    assert torch.equal(rebuilt.skeleton(), net.skeleton())


def test_reversed_channels_read_bgr_weights_from_rgb(small_network: Path):
    plain = OnnxCut.from_file(small_network, ["fine"])
    reverse = OnnxCut.from_file(small_network, ["fine"], reverse_channels=True)
    assert torch.allclose(plain(IMAGES)[0], reverse(IMAGES.flip(1))[0], atol=1e-6)


def test_an_unknown_tensor_is_refused_by_name(small_network: Path):
    with pytest.raises(OnnxCutError, match="no tensor named 'missing'"):
        OnnxCut.from_file(small_network, ["missing"])
