"""Writes the tables of facts in `docs/models/*.md`, read from the bundled models themselves.

python docs/figures/model_facts.py            # write them
python docs/figures/model_facts.py --check    # exit code 1 if a card says something else
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).parent.parent.parent
CARDS = ROOT / "docs/models"
REPOSITORY = ROOT / "model_repository"
MODELS = ("person_detector", "lowres_pose", "lowres_pose_32")

BEGIN = "<!-- facts of the model's files: written by `make model-cards` -->"
END = "<!-- end of facts -->"

PROPERTIES = {
    "task": "task",
    "keypoint_set": "joints",
    "resolution": "crop side, pixels",
    "input_sizes": "input sizes",
    "head": "head",
    "split_factor": "bins per crop pixel",
    "label_sigma_bins": "label width, bins",
    "precision": "precision",
    "nms_iou": "suppression at IoU",
    "score_floor": "score floor",
    "training_data": "trained on",
    "source_weights": "start weights",
    "epochs": "epochs of the last run",
    "training_steps": "training steps",
    "blend": "blend",
    "metrics": "measured when it was made",
    "license": "licence of the weights",
    "licence": "licence of the weights",
}
"""Keys of a graph's `metadata_props` and what a card calls them."""


TYPES = {"FLOAT": "FP32", "FLOAT16": "FP16"}
"""As Triton and the definitions of the contracts call them."""


class FactsError(ValueError):
    """A card or a model lacks what is needed; the message names it."""


def newest_version(model: str) -> Path:
    """The folder of the version that is served."""
    versions = [path for path in (REPOSITORY / model).iterdir() if path.name.isdecimal()]
    return max(versions, key=lambda path: int(path.name))


def facts(model: str) -> dict[str, str]:
    """What the files of a model say of it, in the order of the card."""
    version = newest_version(model)
    path = version / "model.onnx"
    content = path.read_bytes()
    graph = onnx.load_from_string(content)
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    weights = sum(math.prod(tensor.dims) for tensor in graph.graph.initializer)
    rows = {
        "file": f"`{path.relative_to(ROOT)}`, {len(content) / 1e6:.1f} MB",
        "SHA-256": f"`{hashlib.sha256(content).hexdigest()[:16]}…`",
        "ONNX": f"IR {graph.ir_version}, opset {graph.opset_import[0].version}",
        "weights and constants": f"{weights / 1e6:.2f} M",
        "inputs": ", ".join(_tensor(value) for value in graph.graph.input),
        "outputs": ", ".join(_tensor(value) for value in graph.graph.output),
    }
    rows |= {label: properties[key] for key, label in PROPERTIES.items() if key in properties}
    parity = version / "parity.json"
    if parity.is_file():
        rows |= _parity(json.loads(parity.read_text()))
    return rows


def _tensor(value: Any) -> str:
    kind = value.type.tensor_type
    sizes = [size.dim_param or str(size.dim_value) for size in kind.shape.dim]
    name = onnx.TensorProto.DataType.Name(kind.elem_type)
    return f"`{value.name}` {TYPES.get(name, name)} `[{','.join(sizes)}]`"


def _parity(parity: dict[str, Any]) -> dict[str, str]:
    """What the exported graph scored, and how far it is from its checkpoint."""
    last = parity["steps"][-1]
    after = last["after"]
    return {
        f"PCK@0.2 and AP on `{parity['people']}`": f"{after['pck']:.3f} and {after['ap']:.3f}",
        f"largest move of a joint by exporting, {last['crops']} crops": (
            f"{last['max_keypoint_pixels']:.1g} crop pixels"
        ),
    }


def table(model: str) -> str:
    """The facts as Markdown between the two markers."""
    lines = [BEGIN, "", "| | |", "|---|---|"]
    lines += [f"| {label} | {value} |" for label, value in facts(model).items()]
    return "\n".join([*lines, "", END])


def with_facts(card: str, model: str) -> str:
    """A card with its table renewed.

    Raises:
        FactsError: the card has no place for it.
    """
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FactsError(f"the card of {model} lacks {BEGIN!r} or {END!r}")
    return before + table(model) + after


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    for model in MODELS:
        path = CARDS / f"{model}.md"
        card = path.read_text()
        renewed = with_facts(card, model)
        if check and renewed != card:
            sys.exit(f"error: {path.relative_to(ROOT)} differs from the model: make model-cards")
        if renewed != card:
            path.write_text(renewed)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
