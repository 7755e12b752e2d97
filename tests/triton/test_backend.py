"""Our backend `onnxruntime` inside a real server: which `config.pbtxt` it serves, and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto
from tritonclient.utils import InferenceServerException

from farpose_serving.triton.server import TritonServer
from tests.triton.loading import ModelLoader, sent
from tests.triton.processes import children, command_line
from tests.triton.small_models import FLOAT, INTEGER, TEXT, add_model, config, graph, identity

WAIT_A_SECOND = "dynamic_batching { max_queue_delay_microseconds: 1000000 }"


def row(*values: Any, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {"x": np.array([values], dtype)}


@pytest.mark.parametrize("batch", [0, 8])
def test_every_type_comes_back_as_it_was_sent(loader: ModelLoader, batch: int):
    types = [
        (TensorProto.BOOL, "TYPE_BOOL", np.bool_),
        (TensorProto.UINT8, "TYPE_UINT8", np.uint8),
        (TensorProto.UINT16, "TYPE_UINT16", np.uint16),
        (TensorProto.UINT32, "TYPE_UINT32", np.uint32),
        (TensorProto.UINT64, "TYPE_UINT64", np.uint64),
        (TensorProto.INT8, "TYPE_INT8", np.int8),
        (TensorProto.INT16, "TYPE_INT16", np.int16),
        (TensorProto.INT32, "TYPE_INT32", np.int32),
        (TensorProto.INT64, "TYPE_INT64", np.int64),
        (TensorProto.FLOAT16, "TYPE_FP16", np.float16),
        (TensorProto.FLOAT, "TYPE_FP32", np.float32),
        (TensorProto.DOUBLE, "TYPE_FP64", np.float64),
        (TensorProto.STRING, "TYPE_STRING", np.object_),
    ]
    tensors = [(f"x{i}", f"y{i}", *one) for i, one in enumerate(types)]
    content = graph(
        [("Identity", [x], [y]) for x, y, *_ in tensors],
        [(x, onnx_type, ("N", "K")) for x, _, onnx_type, *_ in tensors],
        [(y, onnx_type, ("N", "K")) for _, y, onnx_type, *_ in tensors],
    )
    dims = "[ -1 ]" if batch else "[ -1, -1 ]"
    text = f'backend: "onnxruntime" max_batch_size: {batch} '
    for x, y, _, name, _ in tensors:
        text += f'input {{ name: "{x}" data_type: {name} dims: {dims} }} '
        text += f'output {{ name: "{y}" data_type: {name} dims: {dims} }} '
    name = loader.load(f"types_{batch}", content, text)

    arrays = {}
    for x, _, _, _, dtype in tensors:
        if dtype is np.object_:
            arrays[x] = np.array([[b"", "Wörter".encode()], [b"nul\0nul", b"\n"]], object)
        elif np.issubdtype(dtype, np.integer):
            info = np.iinfo(dtype)
            arrays[x] = np.array([[info.min, info.max], [0, 1]], dtype)
        else:
            arrays[x] = np.array([[0, 1], [0.5, 3.25]], dtype)
    result = loader.ask(name, [y for _, y, *_ in tensors], **arrays)
    for x, y, *_ in tensors:
        assert result.as_numpy(y).dtype == arrays[x].dtype
        np.testing.assert_array_equal(result.as_numpy(y), arrays[x])


def test_tensors_without_values_pass(loader: ModelLoader):
    text = config("TYPE_STRING", "[ -1, -1 ]", 0)
    name = loader.load("nothing", identity(TEXT), text)
    assert loader.ask(name, x=np.zeros((0, 2), object)).shape == (0, 2)
    assert loader.ask(name, x=np.zeros((3, 0), object)).shape == (3, 0)


def test_requests_that_arrive_together_run_as_one_batch(loader: ModelLoader):
    name = loader.load("merged", identity(), config(more=WAIT_A_SECOND))
    requests = [row(i, 10 * i) for i in range(5)]
    requests.append({"x": np.array([[7, 70], [8, 80], [9, 90]], np.float32)})
    for request, answer in zip(requests, loader.ask_together(name, requests), strict=True):
        np.testing.assert_array_equal(answer, request["x"])
    rows, runs = loader.counts(name, len(requests))
    assert rows == 8
    assert runs < len(requests)


def test_requests_of_other_shapes_get_their_own_answers(loader: ModelLoader):
    name = loader.load("shapes", identity(), config(more=WAIT_A_SECOND))
    requests = [row(*range(2 + i % 2)) for i in range(6)]
    for request, answer in zip(requests, loader.ask_together(name, requests), strict=True):
        np.testing.assert_array_equal(answer, request["x"])


def test_without_a_batch_dimension_each_request_runs_alone(loader: ModelLoader):
    content = graph(
        [("ReduceSum", ["x"], ["y"])], [("x", FLOAT, ("K",))], [("y", FLOAT, (1,))], keepdims=1
    )
    text = config(batch=0, y="data_type: TYPE_FP32 dims: [ 1 ]")
    name = loader.load("unbatched", content, text)
    requests = [{"x": np.arange(size, dtype=np.float32)} for size in (1, 4, 9)]
    answers = loader.ask_together(name, requests)
    assert [answer.tolist() for answer in answers] == [[0], [6], [36]]


TABLE = graph(
    [("Gather", ["table", "x"], ["y"])],
    [("x", INTEGER, ("N", 1))],
    [("y", FLOAT, ("N", 1))],
    {"table": np.array([1.5, 2.5, 3.5], np.float32)},
)
"""Fails for indices from 3 on."""


def table_config(more: str) -> str:
    return config("TYPE_INT64", "[ 1 ]", more=more, y="data_type: TYPE_FP32 dims: [ 1 ]")


def test_one_bad_request_does_not_fail_the_others_of_its_batch(loader: ModelLoader):
    name = loader.load("table", TABLE, table_config(WAIT_A_SECOND))
    requests = [row(i, dtype=np.int64) for i in (0, 1, 99, 2, 0, 1, 2, 0)]
    answers = loader.ask_together(name, requests)
    assert "indices element out of data bounds" in str(answers.pop(2))
    assert [answer.item() for answer in answers] == [1.5, 2.5, 3.5, 1.5, 2.5, 3.5, 1.5]


def test_texts_that_are_not_utf8_are_refused_alone(loader: ModelLoader):
    name = loader.load("texts", identity(TEXT), config("TYPE_STRING", more=WAIT_A_SECOND))
    answers = loader.ask_together(name, [row(b, dtype=object) for b in (b"one", b"\xff", b"two")])
    assert "input x: ONNX Runtime takes UTF-8 texts only" in str(answers[1])
    assert answers[0].item() == b"one"
    assert answers[2].item() == b"two"


def test_a_model_that_changes_the_number_of_rows_is_refused(loader: ModelLoader):
    content = graph(
        [("Concat", ["x", "x"], ["y"])],
        [("x", FLOAT, ("N", "K"))],
        [("y", FLOAT, ("M", "K"))],
        axis=0,
    )
    name = loader.load("doubled", content, config())
    with pytest.raises(InferenceServerException, match="output y has 2 rows for a batch of 1"):
        loader.ask(name, **row(1))


def test_only_the_outputs_that_are_asked_for_are_sent(loader: ModelLoader):
    shape = ("N", "K")
    content = graph(
        [("Neg", ["x"], ["y"]), ("Abs", ["x"], ["z"]), ("Exp", ["x"], ["unlisted"])],
        [("x", FLOAT, shape)],
        [(name, FLOAT, shape) for name in ("y", "z", "unlisted")],
    )
    more = 'output { name: "z" data_type: TYPE_FP32 dims: [ -1 ] }'
    name = loader.load("outputs", content, config(more=more))
    result = loader.ask(name, ["z"], **row(-2))
    assert [output.name for output in result.get_response().outputs] == ["z"]
    assert result.as_numpy("z").item() == 2
    everything = loader.client.infer(name, sent(row(-2))).get_response().outputs
    assert {output.name for output in everything} == {"y", "z"}


def test_an_optional_input_may_be_left_out(loader: ModelLoader):
    content = graph(
        [("Add", ["x", "bias"], ["y"])],
        [("x", FLOAT, ("K",)), ("bias", FLOAT, (1,))],
        [("y", FLOAT, ("K",))],
        {"bias": np.array([100], np.float32)},
    )
    more = 'input { name: "bias" data_type: TYPE_FP32 dims: [ 1 ] optional: true }'
    name = loader.load("optional", content, config(batch=0, more=more))
    x = np.array([1, 2], np.float32)
    assert loader.ask(name, x=x).tolist() == [101, 102]
    assert loader.ask(name, x=x, bias=np.array([5], np.float32)).tolist() == [6, 7]


def test_reshape_and_scalars(loader: ModelLoader):
    text = config(
        dims="[ 6 ]",
        x="reshape { shape: [ 2, 3 ] }",
        y="data_type: TYPE_FP32 dims: [ 6 ] reshape { shape: [ 2, 3 ] }",
    )
    name = loader.load("reshaped", identity(shape=("N", 2, 3)), text)
    assert loader.ask(name, **row(*range(6))).tolist() == [list(range(6))]

    text = config(
        dims="[ 1 ]",
        x="reshape { shape: [ ] }",
        y="data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }",
    )
    name = loader.load("flat", identity(shape=("N",)), text)
    assert loader.ask(name, x=np.array([[1], [2]], np.float32)).tolist() == [[1], [2]]

    name = loader.load("scalar", identity(shape=()), config(dims="[ 1 ]", batch=0))
    assert loader.ask(name, x=np.array([7], np.float32)).tolist() == [7]


def test_default_model_filename_and_version_policy(loader: ModelLoader):
    add = {str(i): graph([("Add", ["x", "c"], ["y"])], [("x", FLOAT, ("N", "K"))],
                         [("y", FLOAT, ("N", "K"))], {"c": np.float32(i)})
           for i in (1, 2, 3)}  # fmt: skip
    text = config(
        more='default_model_filename: "net.onnx" version_policy { specific { versions: [ 1, 3 ] } }'
    )
    for version, content in add.items():
        add_model(loader.repository, "versions", content, text, path=f"{version}/net.onnx")
    loader.client.load_model("versions")
    ready = [loader.client.is_model_ready("versions", version) for version in add]
    assert ready == [True, False, True]
    assert loader.ask("versions", **row(0)).item() == 3
    first = loader.client.infer("versions", sent(row(0)), "1").as_numpy("y")
    assert first.item() == 1


def test_warm_up_runs_before_a_model_is_ready(loader: ModelLoader):
    sample = """
        model_warmup { name: "made up" batch_size: 1 inputs { key: "x" value {
            data_type: TYPE_INT64 dims: [ 1 ] zero_data: true } } }
        model_warmup { name: "from a file" batch_size: 2 inputs { key: "x" value {
            data_type: TYPE_INT64 dims: [ 1 ] input_data_file: "sample" } } }"""
    file = loader.repository / "warm" / "warmup" / "sample"
    file.parent.mkdir(parents=True)
    file.write_bytes(np.int64(2).tobytes())
    loader.client.update_log_settings({"log_verbose_level": 1})
    loader.load("warm", TABLE, table_config(sample))
    loader.client.update_log_settings({"log_verbose_level": 0})
    log = loader.log.read_text()
    for name in ("made up", "from a file"):
        assert re.search(f"'warm' instance warm_0.* is running warmup sample '{name}", log)
    assert loader.ask("warm", **row(2, dtype=np.int64)).item() == 3.5


def stubs(server: TritonServer) -> set[int]:
    """The processes of its model instances."""
    return {pid for pid in children(server.pid) if b"stub" in command_line(pid)}


@pytest.mark.parametrize(
    "parameters",
    [
        {"intra_op_thread_count": 4},
        {"inter_op_thread_count": 4, "execution_mode": 1, "intra_op_thread_count": 1},
    ],
    ids=["within a node", "across nodes"],
)
def test_each_instance_is_a_process_with_the_threads_it_is_given(
    loader: ModelLoader, parameters: dict[str, int]
):
    threads = []
    for i, given in enumerate(({"intra_op_thread_count": 1}, parameters)):
        more = "instance_group { kind: KIND_CPU count: 2 }"
        for key, value in given.items():
            more += f' parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
        before = stubs(loader.server)
        loader.load(f"threads_{len(parameters)}_{i}", identity(), config(more=more))
        started = stubs(loader.server) - before
        assert len(started) == 2
        threads.append({len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in started})
    ((alone,), (together,)) = threads
    assert together == alone + 3


def test_graph_levels_are_those_of_onnxruntime(loader: ModelLoader):
    """The levels differ in rounding, so each gives exactly what ONNX Runtime gives at its level."""
    random = np.random.default_rng(0)
    content = graph(
        [
            ("Conv", ["x", "weights"], ["a"]),
            ("Mul", ["a", "scale"], ["b"]),
            ("Div", ["b", "root"], ["c"]),
            ("Erf", ["c"], ["d"]),
            ("Add", ["d", "one"], ["e"]),
            ("Mul", ["b", "e"], ["f"]),
            ("Mul", ["f", "half"], ["y"]),
        ],
        [("x", FLOAT, ("N", 16, 9, 9))],
        [("y", FLOAT, ("N", 32, 7, 7))],
        {
            "weights": random.normal(size=(32, 16, 3, 3)).astype(np.float32),
            "scale": random.normal(size=(32, 1, 1)).astype(np.float32),
            "root": np.float32(2**0.5),
            "one": np.float32(1),
            "half": np.float32(0.5),
        },
    )
    x = random.normal(size=(1, 16, 9, 9)).astype(np.float32)
    levels = ort.GraphOptimizationLevel
    seen = set()
    for level, here in (
        (-1, levels.ORT_ENABLE_BASIC),
        (0, levels.ORT_ENABLE_ALL),
        (1, levels.ORT_ENABLE_EXTENDED),
        (2, levels.ORT_DISABLE_ALL),
    ):
        options = ort.SessionOptions()
        options.graph_optimization_level = here
        (expected,) = ort.InferenceSession(content, options).run(None, {"x": x})
        more = f"optimization {{ graph {{ level: {level} }} }}"
        text = config(dims="[ 16, 9, 9 ]", more=more, y="data_type: TYPE_FP32 dims: [ 32, 7, 7 ]")
        answer = loader.ask(loader.load(f"level_{level + 1}", content, text), x=x)
        np.testing.assert_array_equal(answer, expected)
        seen.add(answer.tobytes())
    assert len(seen) > 2
