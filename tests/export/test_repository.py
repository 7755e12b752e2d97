from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from farpose_export.model_config import config_text, pose_config, same_contract
from farpose_export.repository import Publication, RepositoryWriteError, write_version


def publication(
    name: str = "lowres_pose", precision: str = "fp32", checkpoint: Path | None = None
) -> Publication:
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "nothing", [], []))
    onnx.helper.set_model_props(graph, {"precision": precision})
    return Publication(pose_config(name, 64, 17), graph, {"steps": []}, checkpoint)


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_configuration_survives_tritons_own_parser():
    config = pose_config("lowres_pose", 64, 17)
    parsed = text_format.Parse(config_text(config), pb.ModelConfig())
    assert parsed == config
    assert parsed.max_batch_size == 64
    assert list(parsed.dynamic_batching.preferred_batch_size) == [8, 16, 32, 64]
    assert not parsed.dynamic_batching.HasField("default_queue_policy")
    assert parsed.instance_group[0].count == 1
    assert parsed.instance_group[0].kind == pb.ModelInstanceGroup.KIND_AUTO
    assert [warmup.batch_size for warmup in parsed.model_warmup] == [1, 8]
    assert list(parsed.model_warmup[0].inputs["crops"].dims) == [64, 64, 3]


def test_a_tuned_schedule_stays_and_another_contract_does_not_pass(tmp_path: Path):
    write_version(tmp_path, publication())
    path = tmp_path / "lowres_pose/config.pbtxt"
    tuned = path.read_text().replace("preferred_batch_size: 32", "preferred_batch_size: 40")
    path.write_text(tuned)
    assert write_version(tmp_path, publication()).name == "2"
    assert path.read_text() == tuned
    assert not same_contract(pose_config("a", 64, 17), pose_config("a", 32, 17))
    path.write_text(tuned.replace("dims: 17", "dims: 14"))
    with pytest.raises(RepositoryWriteError, match="describes another model"):
        write_version(tmp_path, publication())
    assert not (tmp_path / "lowres_pose/3").exists()


def test_the_next_version_follows_the_highest(tmp_path: Path):
    write_version(tmp_path, publication())
    (tmp_path / "lowres_pose/1").rename(tmp_path / "lowres_pose/41")
    assert write_version(tmp_path, publication()).name == "42"


def test_exports_at_the_same_time_get_versions_of_their_own(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: write_version(tmp_path, publication()), range(16)))
    assert sorted(int(path.name) for path in written) == list(range(1, 17))
    assert sorted(p.name for p in (tmp_path / "lowres_pose").iterdir() if p.is_file()) == [
        "config.pbtxt"
    ]


def test_the_checkpoint_is_kept_beside_the_versions_and_may_come_from_there(tmp_path: Path):
    source = tmp_path / "run.safetensors"
    source.write_bytes(b"first")
    write_version(tmp_path / "r", publication(checkpoint=source))
    kept = tmp_path / "r/lowres_pose/checkpoint.safetensors"
    assert kept.read_bytes() == b"first"
    write_version(tmp_path / "r", publication(checkpoint=kept))
    assert kept.read_bytes() == b"first"
    source.write_bytes(b"second")
    write_version(tmp_path / "r", publication(checkpoint=source))
    assert kept.read_bytes() == b"second"


@pytest.mark.parametrize(
    ("there", "new"),
    [
        (publication("person_detector"), publication(precision="int8")),
        (publication(precision="fp16"), publication()),
    ],
)
def test_a_repository_has_one_precision(tmp_path: Path, there: Publication, new: Publication):
    write_version(tmp_path, there)
    before = files(tmp_path)
    with pytest.raises(RepositoryWriteError, match="give another --repository"):
        write_version(tmp_path, new)
    assert files(tmp_path) == before


def test_a_repository_has_one_backend(tmp_path: Path):
    write_version(tmp_path, publication())
    engine = publication("other")
    engine.config.backend = "tensorrt"
    with pytest.raises(RepositoryWriteError, match="of backend onnxruntime, this one is fp32 of t"):
        write_version(tmp_path, engine)
    assert not (tmp_path / "other").exists()


def test_models_of_the_python_backend_are_no_neighbours_in_precision(tmp_path: Path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/config.pbtxt").write_text('name: "pipeline" backend: "python"')
    assert write_version(tmp_path, publication(precision="int8")).name == "1"


def test_a_folder_with_other_things_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(RepositoryWriteError, match="holds other things than models"):
        write_version(tmp_path, publication())
    with pytest.raises(RepositoryWriteError, match="is a file"):
        write_version(tmp_path / "thesis.tex", publication())
    assert list(files(tmp_path)) == ["thesis.tex"]
    run = tmp_path / "runs/lowres_pose"
    run.mkdir(parents=True)
    (run / "log.jsonl").touch()
    with pytest.raises(RepositoryWriteError, match="holds other things than models"):
        write_version(tmp_path / "runs", publication())


def test_a_broken_configuration_is_named(tmp_path: Path):
    (tmp_path / "lowres_pose").mkdir()
    (tmp_path / "lowres_pose/config.pbtxt").write_text("name = lowres_pose")
    with pytest.raises(RepositoryWriteError, match=r"config.pbtxt: not a Triton model config"):
        write_version(tmp_path, publication())


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "a/b"])
def test_names_that_are_no_folders_are_refused(tmp_path: Path, name: str):
    with pytest.raises(RepositoryWriteError, match="is no name of a model"):
        write_version(tmp_path / "r", publication(name))
    assert not (tmp_path / "r").exists()


def test_a_disk_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_version(tmp_path / "r", publication())
    before = files(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for repository in (tmp_path / "r", tmp_path / "new"):
        with pytest.raises(RepositoryWriteError, match=r"cannot be written \(No space left"):
            write_version(repository, publication())
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()
