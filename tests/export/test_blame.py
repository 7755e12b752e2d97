from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest

from farpose_export.precision.blame import blame, fewest_kept
from farpose_export.precision.layers import Layer, UnknownGraphError, layers_of

LAYERS = [Layer(f"layer{index}", (f"layer{index}",)) for index in range(20)]


def harm(errors: dict[int, float]):
    """A conversion whose layers do the given harm, and its measure; the graph's name carries it."""

    def convert(kept: Sequence[Layer]) -> onnx.ModelProto:
        lowered = [index for index, layer in enumerate(LAYERS) if layer not in kept]
        graph = onnx.ModelProto()
        graph.producer_name = str(sum(errors.get(index, 0.0) for index in lowered))
        return graph

    return convert, lambda graph: float(graph.producer_name)


def test_the_layers_at_fault_are_found_worst_first():
    found = blame(LAYERS, *harm({3: 1.0, 17: 4.0, 5: 0.04}))
    assert [(one.layer.name, one.error) for one in found] == [("layer17", 4.0), ("layer3", 1.0)]


def test_a_layer_whose_answers_are_no_numbers_is_the_worst():
    found = blame(LAYERS, *harm({3: float("nan"), 4: float("inf")}))
    assert {one.layer.name for one in found} == {"layer3", "layer4"}


def test_nobody_is_blamed_for_nothing():
    convert, error = harm({})
    assert blame(LAYERS, convert, lambda graph: error(graph)) == []


@pytest.mark.parametrize("needed", [1, 2, 5, 20])
def test_the_fewest_layers_that_pass_stay(needed: int):
    tried: list[int] = []

    def passes(kept: Sequence[Layer]) -> bool:
        tried.append(len(kept))
        return len(kept) >= needed

    assert fewest_kept(LAYERS, passes) == LAYERS[:needed]
    assert len(tried) <= 6
    assert needed in tried  # what is published was measured


def test_where_all_layers_are_not_enough_there_is_no_answer():
    assert fewest_kept(LAYERS, lambda kept: False) is None


def test_a_foreign_graph_has_no_layers():
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name="relu")
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    with pytest.raises(UnknownGraphError, match="no nodes named /decoder/"):
        layers_of(graph)
    node.name = ""
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    with pytest.raises(UnknownGraphError, match="without a name"):
        layers_of(graph)
