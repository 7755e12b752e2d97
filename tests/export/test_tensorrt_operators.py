from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farpose_export.fused import fuse
from farpose_export.precision.fp16 import to_fp16
from farpose_export.precision.int8 import Quantizer
from farpose_export.tensorrt.operators import operator_list, unsupported
from tests.conftest import ROOT

GRAPHS = sorted((ROOT / "model_repository").glob("*/*/model.onnx"))

FLOAT, UINT8, INT8, INT64 = (
    TensorProto.FLOAT,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.INT64,
)


@pytest.fixture(scope="module")
def pose(repository: Path) -> onnx.ModelProto:
    return onnx.load(str(repository / "lowres_pose/2/model.onnx"))


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, int],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def reasons(graph: onnx.ModelProto) -> list[str]:
    return [finding.text() for finding in unsupported(graph)]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.parts[-3])
def test_the_bundled_graphs_pass(path: Path):
    graph = onnx.load(str(path))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.ir_version <= 10
    assert max(opset.version for opset in graph.opset_import) <= 20
    assert graph.graph.input[0].type.tensor_type.elem_type == UINT8
    assert reasons(graph) == []


def test_every_model_that_is_bundled_has_a_graph():
    names = {path.parts[-3] for path in GRAPHS}
    assert names == {"lowres_pose", "lowres_pose_32", "person_detector"}


def test_lower_precisions_for_tensorrt_pass(pose: onnx.ModelProto, crops: np.ndarray):
    assert reasons(to_fp16(pose)) == []
    quantized = Quantizer(pose, crops, "tensorrt")()
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph.node)
    assert reasons(quantized) == []


def test_int8_for_processors_does_not_pass(pose: onnx.ModelProto, crops: np.ndarray):
    found = unsupported(Quantizer(pose, crops, "cpu")())
    told = {(f.operator, f.reason) for f in found}
    assert ("QuantizeLinear", "quantises to UINT8; TensorRT takes INT8") in told
    zero = "has a zero point that is not 0; TensorRT quantises symmetrically"
    assert {("QuantizeLinear", zero), ("DequantizeLinear", zero)} <= told


def test_of_the_fused_graphs_only_tensorrts_passes(pose: onnx.ModelProto):
    assert reasons(fuse(pose, "tensorrt")) == []
    assert any("works on UINT8" in reason for reason in reasons(fuse(pose, "onnxruntime")))


def test_an_operator_that_is_not_read_is_named_with_its_node(repository: Path):
    graph = onnx.load(str(repository / "lowres_pose/2/model.onnx"))
    output = graph.graph.output[1].name
    graph.graph.node.append(helper.make_node("Unique", [output], ["u"], name="/decoder/odd"))
    (finding,) = unsupported(graph)
    assert finding.node == "/decoder/odd"
    assert finding.text() == "Unique '/decoder/odd' is not read by TensorRT 10.15"


@pytest.mark.parametrize(
    ("node", "inputs", "output", "constants", "expected"),
    [
        # UINT8 is for the graph's own inputs, and becomes FP32 or FP16 at once.
        (("Cast", {"to": FLOAT}), {"x": (UINT8, [2])}, FLOAT, {}, None),
        (("Cast", {"to": INT64}), {"x": (UINT8, [2])}, INT64, {}, "else than FP32 or FP16"),
        (("Transpose", {}), {"x": (UINT8, [2, 3])}, UINT8, {}, "Transpose 'n' works on UINT8"),
        # Integers of 64 bits are read, of 16 not.
        (("Add", {}), {"x": (INT64, [2]), "y": (INT64, [2])}, INT64, {}, None),
        (("Add", {}), {"x": (TensorProto.INT16, [2]), "y": (TensorProto.INT16, [2])},
         TensorProto.INT16, {}, "works on INT16"),
        # Sizes that depend on values.
        (("Range", {}), {"a": (INT64, []), "b": (INT64, []), "c": (INT64, [])}, INT64, {}, None),
        (("NonZero", {}), {"x": (FLOAT, ["N"])}, INT64, {}, None),
        (("NonMaxSuppression", {}),
         {"boxes": (FLOAT, [1, "N", 4]), "scores": (FLOAT, [1, 1, "N"])}, INT64, {}, None),
        (("Compress", {}), {"x": (FLOAT, ["N"]), "c": (TensorProto.BOOL, ["N"])}, FLOAT, {},
         "is not read"),
        # What is not a type.
        (("TopK", {}), {"x": (FLOAT, [5000])}, FLOAT, {"k": np.array([4000])}, "fewer than 3840"),
        (("TopK", {}), {"x": (FLOAT, [5000])}, FLOAT, {"k": np.array([100])}, None),
        (("TopK", {"sorted": 0}), {"x": (FLOAT, [9])}, FLOAT, {"k": np.array([2])}, "not sort"),
        (("ReduceSum", {}), {"x": (FLOAT, [2, 3]), "axes": (INT64, [1])}, FLOAT, {},
         "computes its axes"),
        (("ReduceSum", {}), {"x": (FLOAT, [2, 3])}, FLOAT, {"axes": np.array([1])}, None),
        (("Resize", {"mode": "cubic"}), {"x": (FLOAT, [1, 1, 4, 4])}, FLOAT,
         {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
         "has mode 'cubic'"),
        (("Resize", {"mode": "linear", "antialias": 1}), {"x": (FLOAT, [1, 1, 4, 4])}, FLOAT,
         {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
         "has antialias 1"),
        (("ScatterND", {"reduction": "add"}),
         {"x": (FLOAT, [4]), "i": (INT64, [1, 1]), "u": (FLOAT, [1])}, FLOAT, {},
         "reduction 'add'"),
        (("MaxPool", {"kernel_shape": [3]}), {"x": (FLOAT, [1, 1, 9])}, FLOAT, {},
         "pools over 1 dimensions"),
        (("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2]}),
         {"x": (FLOAT, [1, 1, 9, 9])}, FLOAT, {}, "dilation"),
        # Quantisation is symmetric and signed; without a zero point ONNX means UINT8.
        (("QuantizeLinear", {}), {"x": (FLOAT, [2])}, INT8,
         {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}, None),
        (("QuantizeLinear", {}), {"x": (FLOAT, [2])}, INT8,
         {"s": np.array(0.1, np.float32), "z": np.array(3, np.int8)}, "zero point that is not 0"),
        (("QuantizeLinear", {}), {"x": (FLOAT, [2])}, UINT8, {"s": np.array(0.1, np.float32)},
         "quantises to UINT8"),
    ],
)  # fmt: skip
def test_one_node(
    node: tuple[str, dict[str, object]],
    inputs: dict[str, tuple[int, list[int | str]]],
    output: int,
    constants: dict[str, np.ndarray],
    expected: str | None,
):
    operator, attributes = node
    outputs = ["o", "indices"] if operator == "TopK" else ["o"]
    made = helper.make_node(operator, [*inputs, *constants], outputs, name="n", **attributes)
    found = reasons(model([made], inputs, {"o": output}, constants))
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]


def test_nodes_inside_branches_are_looked_at():
    def branch(operator: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(operator, ["x"], [f"{operator}_out"])],
            operator,
            [],
            [helper.make_tensor_value_info(f"{operator}_out", FLOAT, [2])],
        )

    node = helper.make_node(
        "If", ["c"], ["o"], then_branch=branch("Abs"), else_branch=branch("Det")
    )
    inputs = {"c": (TensorProto.BOOL, []), "x": (FLOAT, [2, 2])}
    (finding,) = unsupported(model([node], inputs, {"o": FLOAT}))
    assert (finding.node, finding.operator) == ("Det_out", "Det")


def test_other_domains_are_refused_unless_the_graph_defines_them():
    node = helper.make_node("Twice", ["x"], ["o"], domain="ours", name="n")
    graph = model([node], {"x": (FLOAT, [2])}, {"o": FLOAT})
    graph.opset_import.append(helper.make_opsetid("ours", 1))
    (finding,) = unsupported(graph)
    assert "of the domain ours" in finding.reason
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 18)]
    graph.functions.append(helper.make_function("ours", "Twice", ["a"], ["b"], body, opsets))
    assert unsupported(graph) == []


@pytest.mark.parametrize(("opset", "count"), [(8, 1), (9, 0), (20, 0), (24, 0), (25, 1)])
def test_opsets_outside_the_published_range(opset: int, count: int):
    node = helper.make_node("Relu", ["x"], ["o"])
    found = unsupported(model([node], {"x": (FLOAT, [2])}, {"o": FLOAT}, opset=opset))
    assert len(found) == count


def test_every_listed_operator_is_one_of_onnx_or_older():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    older = {"ParametricSoftplus", "ImageScaler", "ScaledTanh"}
    assert operator_list().types.keys() - known <= older | {"ImageDecoder"}
    assert operator_list().types["NonMaxSuppression"] == {"FP32", "FP16"}
