"""What cannot be exported is named, and the repository stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from farpose_export import precise
from farpose_export.gate.check import ParityError
from farpose_export.graph import to_onnx
from farpose_export.precise import LabelledFiles, Precision, export_pose
from farpose_export.repository import RepositoryWriteError
from farpose_training.checkpoint import CheckpointError
from farpose_training.models.network import PoseNet


@dataclass(frozen=True)
class Wish:
    """What is exported, to be spoilt."""

    checkpoint: Path
    people: LabelledFiles
    calibration: LabelledFiles
    scratch: Path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, hidden files and empty folders too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def filled(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one version."""
    repository = tmp_path_factory.mktemp("filled")
    export_pose(checkpoint, repository, "lowres_pose")
    return repository


def cut_off(wish: Wish) -> Wish:
    content = wish.checkpoint.read_bytes()
    (wish.scratch / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return Wish(wish.scratch / "cut.safetensors", wish.people, wish.calibration, wish.scratch)


def of_another_version(wish: Wish) -> Wish:
    path = wish.scratch / "newer.safetensors"
    with safe_open(str(wish.checkpoint), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, {**file.metadata(), "format": "farpose-pose-9"})
    return Wish(path, wish.people, wish.calibration, wish.scratch)


def without_calibration_pictures(wish: Wish) -> Wish:
    files = LabelledFiles(wish.calibration.annotations, wish.scratch / "nowhere")
    return Wish(wish.checkpoint, wish.people, files, wish.scratch)


def without_calibration_annotations(wish: Wish) -> Wish:
    files = LabelledFiles(wish.scratch / "nowhere.json", wish.calibration.images)
    return Wish(wish.checkpoint, wish.people, files, wish.scratch)


def without_pictures(wish: Wish) -> Wish:
    files = LabelledFiles(wish.people.annotations, wish.scratch / "nowhere")
    return Wish(wish.checkpoint, files, wish.calibration, wish.scratch)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (cut_off, "CheckpointError", r"cut\.safetensors: not a readable safetensors file"),
        (of_another_version, "CheckpointError", r"its format is 'farpose-pose-9', this version re"),
        (without_pictures, "DatasetError", r"nowhere"),
        (without_calibration_pictures, "DatasetError", r"nowhere"),
        (without_calibration_annotations, "DatasetError", r"nowhere\.json: no such"),
    ],
)
def test_what_cannot_be_read_is_named(
    filled: Path,
    checkpoint: Path,
    people: LabelledFiles,
    others: LabelledFiles,
    tmp_path: Path,
    spoil: Callable[[Wish], Wish],
    error: str,
    message: str,
):
    before = tree(filled)
    spoilt = spoil(Wish(checkpoint, people, others, tmp_path))
    with pytest.raises(Exception, match=message) as raised:
        export_pose(
            spoilt.checkpoint,
            filled,
            "lowres_pose",
            Precision.INT8,
            people=spoilt.people,
            calibration=spoilt.calibration,
        )
    assert type(raised.value).__name__ == error
    assert tree(filled) == before


@pytest.mark.parametrize("left_out", ["Sub", "Div"])
def test_an_export_without_its_normalisation_is_refused(
    filled: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, left_out: str
):
    def damaged(model: PoseNet, joints: int, facts: dict[str, str]) -> onnx.ModelProto:
        graph = to_onnx(model, joints, facts)
        node = next(node for node in graph.graph.node if node.op_type == left_out)
        for reader in graph.graph.node:
            reader.input[:] = [node.input[0] if i == node.output[0] else i for i in reader.input]
        graph.graph.node.remove(node)
        onnx.checker.check_model(graph)
        return graph

    monkeypatch.setattr(precise, "to_onnx", damaged)
    before = tree(filled)
    with pytest.raises(ParityError, match=r"fp32 disagrees with the checkpoint: .*nothing was wr"):
        export_pose(checkpoint, filled, "lowres_pose")
    assert tree(filled) == before


def test_a_place_that_cannot_be_a_folder_is_named(checkpoint: Path, tmp_path: Path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(RepositoryWriteError, match=r"cannot be written \(Not a directory\)"):
        export_pose(checkpoint, tmp_path / "file/repository", "lowres_pose")
    assert tree(tmp_path) == {"file": b"text"}


def test_a_checkpoint_that_is_not_there_is_named(filled: Path, tmp_path: Path):
    before = tree(filled)
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: no such checkpoint"):
        export_pose(tmp_path / "gone.safetensors", filled, "lowres_pose")
    assert tree(filled) == before
