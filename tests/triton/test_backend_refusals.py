"""What our backend `onnxruntime` does not serve, and what the user is told then."""

from __future__ import annotations

import pytest
from onnx import TensorProto

from tests.triton.loading import ModelLoader
from tests.triton.small_models import FLOAT, config, graph, identity


def parameter(name: str, value: str) -> str:
    return config(more=f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}')


TWO_INPUTS = graph(
    [("Add", ["x", "bias"], ["y"])],
    [("x", FLOAT, ("N", "K")), ("bias", FLOAT, ("N", "K"))],
    [("y", FLOAT, ("N", "K"))],
)


REFUSED: list[tuple[str, bytes, str, str]] = [
    ("not_onnx", b"nothing", config(), "ONNX Runtime does not load it"),
    ("cut_off", identity()[:-9], config(), "ONNX Runtime does not load it"),
    (
        "other_output",
        identity(),
        config().replace('"y"', '"z"'),
        "config.pbtxt names the output z, the file has y",
    ),
    (
        "other_input",
        identity(),
        config().replace('"x"', '"z"'),
        "config.pbtxt names the input z, the file has x",
    ),
    ("input_left_out", TWO_INPUTS, config(), "config.pbtxt leaves out its inputs bias"),
    (
        "other_type",
        identity(),
        config("TYPE_FP64"),
        "input x is TYPE_FP64 in config.pbtxt and tensor(float) in the file",
    ),
    # NumPy has no such type.
    (
        "bfloat16",
        identity(TensorProto.BFLOAT16),
        config("TYPE_BF16"),
        "input x is TYPE_BF16 in config.pbtxt and tensor(bfloat16) in the file: not supported",
    ),
    (
        "other_size",
        identity(shape=("N", 3)),
        config(dims="[ 4 ]"),
        "input x is [-1, 4] by config.pbtxt and [-1, 3] in the file",
    ),
    (
        "more_sizes",
        identity(shape=("N", 3)),
        config(dims="[ 3, 1 ]"),
        "input x is [-1, 3, 1] by config.pbtxt and [-1, 3] in the file",
    ),
    (
        "no_batch",
        identity(shape=(1, 3)),
        config(dims="[ 3 ]"),
        "input x is [-1, 3] by config.pbtxt and [1, 3] in the file",
    ),
    # NVIDIA's backend wants the same sizes of an output in both.
    (
        "open_output",
        identity(),
        config(dims="[ 3 ]"),
        "output y is [-1, 3] by config.pbtxt and [-1, -1] in the file",
    ),
    *(
        (
            f"{name}_{value}",
            identity(),
            parameter(name, value),
            f"parameter {name} in config.pbtxt is '{value}', not a number from 0 to {largest}",
        )
        for name, value, largest in (
            ("intra_op_thread_count", "two", 1024),
            ("intra_op_thread_count", "-1", 1024),
            ("inter_op_thread_count", "99999999999", 1024),
            ("execution_mode", "2", 1),
        )
    ),
    (
        "ragged",
        identity(shape=("N",)),
        config(x="allow_ragged_batch: true"),
        "allow_ragged_batch in config.pbtxt: not supported by this backend",
    ),
    (
        "sequences",
        identity(),
        config(more="sequence_batching { }"),
        "sequence_batching in config.pbtxt: not supported by this backend",
    ),
    (
        "optional_in_a_batch",
        identity(),
        config(x="optional: true"),
        "optional inputs with max_batch_size above 0 in config.pbtxt",
    ),
    (
        "decoupled",
        identity(),
        config(more="model_transaction_policy { decoupled: true }"),
        "decoupled in config.pbtxt: not supported by this backend",
    ),
]
"""Name, ONNX file, config.pbtxt, and what the user reads."""


@pytest.mark.parametrize(("name", "content", "text", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_cannot_be_served_is_refused_with_its_reason(
    loader: ModelLoader, name: str, content: bytes, text: str, words: str
):
    loader.refused(name, content, text, words)


def test_a_missing_file_is_named(loader: ModelLoader):
    loader.refused("missing", identity(), config(), "no such model file", "1/other.onnx")
