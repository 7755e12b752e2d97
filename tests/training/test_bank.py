from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farpose.keypoints import COCO17
from farpose_training.checkpoint import load_model, save_model
from farpose_training.config import ConfigError, ModelConfig, TrainConfig, parse_train_config
from farpose_training.data import bank as bank_module
from farpose_training.data.augment import Augmenter
from farpose_training.data.bank_loader import BankLoader
from farpose_training.data.batch import Batch
from farpose_training.data.loader import CPU, Loader, build_loader
from farpose_training.data.people import load_people
from farpose_training.distillation.teacher import Teacher
from farpose_training.models.network import PoseNet


@pytest.fixture
def teacher(settings: dict, tmp_path: Path) -> Path:
    path = tmp_path / "teacher.safetensors"
    torch.manual_seed(0)
    head = {"kind": "simcc", "split_factor": 3}
    config = ModelConfig.model_validate(settings["model"] | {"resolution": 64, "head": head})
    save_model(path, PoseNet(config, 17).eval(), COCO17, {})
    return path


@pytest.fixture
def distilled(settings: dict, teacher: Path, tmp_path: Path) -> dict:
    """Distilling settings with a bank of two views."""
    bank = {"folder": str(tmp_path / "bank"), "views": 2}
    return settings | {"distillation": {"teacher": str(teacher)}, "bank": bank}


def loader(settings: dict, rank: int = 0, world: int = 1) -> Loader | BankLoader:
    config = parse_train_config(settings)
    load = partial(load_people, config.train, COCO17)
    return build_loader(config, load, COCO17, None, rank, world)


def seen(batches: Iterator[Batch]) -> list[np.ndarray]:
    return [batch.crops.numpy() for batch in batches]


def test_the_bank_holds_what_the_teacher_says_of_the_views(distilled: dict, teacher: Path):
    config = parse_train_config(distilled)
    people = load_people(config.train, COCO17)
    bank = bank_module.open_bank(
        config, lambda: people, Augmenter(config.augmentation, COCO17), COCO17, CPU
    )
    assert bank.crops[32].shape == (24, 2, 32, 32, 3)
    assert bank.keypoints.shape == (24, 2, 17, 2)
    assert bank.feature.shape == (24, 2, 8, 16, 16)
    assert bank.x.shape == (24, 2, 17, 192)
    assert np.exp(bank.x[3, 1].astype(np.float64)).sum(-1) == pytest.approx(np.ones(17), abs=0.01)

    # The same view, drawn and shown to the teacher here.
    augmenter = Augmenter(config.augmentation, COCO17)
    rng = np.random.default_rng((0, 5, 1))
    view = augmenter.draw(people.boxes[5], people.keypoints[5], rng)
    picture = people.pictures[people.picture_index[5]]
    crop = bank_module.render_for_teacher(picture, view, 64)
    said = Teacher(load_model(teacher).model)(torch.from_numpy(crop[None]))
    assert bank.feature[5, 1] == pytest.approx(said.feature[0].numpy(), rel=1e-3, abs=1e-2)
    assert bank.x[5, 1] == pytest.approx(said.log_probabilities.x[0].numpy(), rel=1e-3, abs=1e-2)
    assert (bank.crops[32][5, 1] == bank_module.render(picture, view, 32)).all()
    joints, labelled = augmenter.joints(view, people.keypoints[5], 32)
    assert np.abs(bank.keypoints[5, 1] * 32 - joints).max() < 1e-3
    assert (bank.weights[5, 1] == labelled).all()


def test_batches_read_one_view_per_person_with_the_teachers_word(distilled: dict):
    batches = list(loader(distilled).epoch(0))
    assert all(type(batch.teacher_feature) is torch.Tensor for batch in batches)
    first = batches[0]
    assert first.crops.dtype == torch.uint8
    assert first.teacher_feature.dtype == torch.float16
    assert first.teacher_x.shape[2] == 192
    epochs = [np.concatenate(seen(loader(distilled).epoch(number))) for number in (0, 0, 1)]
    assert (epochs[0] == epochs[1]).all()
    assert not (epochs[0] == epochs[2]).all()


def test_only_the_features_that_are_compared_are_read(distilled: dict):
    whole = next(iter(loader(distilled).epoch(0)))
    share = {"distillation": distilled["distillation"] | {"feature_share": 0.3}}
    few = next(iter(loader(distilled | share).epoch(0)))
    assert len(few.crops) == len(few.teacher_x) == len(whole.crops) == 8
    assert torch.equal(few.teacher_feature, whole.teacher_feature[:3])
    assert torch.equal(few.teacher_x, whole.teacher_x)


def test_an_epoch_may_start_in_the_middle(distilled: dict, settings: dict):
    for chosen in (distilled, settings):
        whole = seen(loader(chosen).epoch(2))
        rest = seen(loader(chosen).epoch(2, first_step=1))
        assert len(rest) == len(whole) - 1
        assert all((a == b).all() for a, b in zip(rest, whole[1:], strict=True))


def test_processes_share_the_batches_of_one(distilled: dict, settings: dict):
    for chosen in (distilled, settings):
        whole = seen(loader(chosen).epoch(1))
        shares = [seen(loader(chosen, rank, 2).epoch(1)) for rank in (0, 1)]
        for batch, first, second in zip(whole, *shares, strict=True):
            assert (batch == np.concatenate([first, second])).all()


def test_a_run_without_a_teacher_reads_the_bank_of_one_with(distilled: dict, teacher: Path):
    list(loader(distilled).epoch(0))
    plain = {key: value for key, value in distilled.items() if key != "distillation"}
    plain["bank"] = distilled["bank"] | {"teacher": str(teacher)}
    batch = next(iter(loader(plain).epoch(0)))
    assert batch.teacher_feature is None
    assert batch.teacher_x is None


def test_a_run_without_a_teacher_makes_the_bank_of_a_public_one(settings: dict, tmp_path: Path):
    backbone = {"kind": "timm", "name": "hrnet_w18_small"}
    head = {"kind": "simcc", "split_factor": 3}
    model = {"backbone": backbone, "resolution": 64, "head": head}
    torch.manual_seed(0)
    network = PoseNet(ModelConfig.model_validate(model), 17).eval()
    save_model(tmp_path / "own.safetensors", network, COCO17, {})
    names = {"backbone.net.": "", "head.joints": "final_layer", "head.": "mlp_head_"}
    tensors = network.state_dict()
    for ours, theirs in names.items():
        tensors = {name.replace(ours, theirs): value for name, value in tensors.items()}
    torch.save(tensors, tmp_path / "public.pth")

    def made(teacher: str, **more: Any) -> np.ndarray:
        folder = tmp_path / Path(teacher).stem
        bank = {"folder": str(folder), "views": 1, "teacher": str(tmp_path / teacher)}
        list(loader(settings | {"bank": bank | more}).epoch(0))
        return np.load(folder / "feature.npy")

    with pytest.raises(ConfigError, match=r"^bank\.teacher_model: .*say which model it is"):
        made("public.pth")
    assert (made("public.pth", teacher_model=model) == made("own.safetensors")).all()


def test_a_bank_and_a_distillation_have_one_teacher(
    distilled: dict, settings: dict, teacher: Path, tmp_path: Path
):
    copied = shutil.copy(teacher, tmp_path / "copied.safetensors")
    list(loader(distilled | {"bank": distilled["bank"] | {"teacher": str(copied)}}).epoch(0))
    other = tmp_path / "other.safetensors"
    larger = ModelConfig.model_validate(settings["model"] | {"resolution": 64})
    save_model(other, PoseNet(larger, 17), COCO17, {})
    bank = {"folder": str(tmp_path / "second"), "views": 2, "teacher": str(other)}
    with pytest.raises(
        ConfigError, match=rf"bank\.teacher: {other} is not distillation\.teacher, {teacher}"
    ):
        loader(distilled | {"bank": bank})
    assert not list((tmp_path / "second").glob("*.npy"))


def test_making_a_bank_goes_on_where_it_was_stopped(
    distilled: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    whole = seen(loader(distilled | {"bank": distilled["bank"] | {"folder": str(tmp_path / "b")}})
                 .epoch(0))  # fmt: skip
    monkeypatch.setattr(bank_module, "CHUNK", 5)
    rendered: list[int] = []
    original = bank_module._render_person

    def stop_at_twelve(bank: Any, row: int, *rest: Any) -> None:
        if row == 12 and 12 not in rendered:
            rendered.append(row)
            raise KeyboardInterrupt
        rendered.append(row)
        original(bank, row, *rest)

    monkeypatch.setattr(bank_module, "_render_person", stop_at_twelve)
    with pytest.raises(KeyboardInterrupt):
        loader(distilled)
    rendered.append(-1)
    assert all((a == b).all() for a, b in zip(seen(loader(distilled).epoch(0)), whole, strict=True))
    assert rendered[rendered.index(-1) + 1] == 10  # the unfinished chunk, not the whole


def test_a_finished_bank_is_read_without_the_pictures(distilled: dict):
    whole = seen(loader(distilled).epoch(0))

    def load() -> None:
        raise AssertionError("the pictures are not needed any more")

    config = parse_train_config(distilled)
    again = seen(build_loader(config, load, COCO17, None).epoch(0))
    assert all((a == b).all() for a, b in zip(again, whole, strict=True))


def test_repeated_people_are_stored_once(distilled: dict):
    twice = distilled | {"train": [distilled["train"][0] | {"repeat": 2}]}
    repeated = loader(twice)
    assert len(repeated._bank.weights) == 24
    assert len(repeated) == 2 * 24 // distilled["optimizer"]["batch_size"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"augmentation": {"rotation": 10}}, "augmentation"),
        ({"bank": {"views": 3}}, r"bank\.views"),
        ({"bank": {"resolutions": [32, 64]}}, r"bank\.resolutions"),
        ({"bank": {"seed": 1}}, r"bank\.seed"),
    ],
)
def test_a_bank_of_something_else_is_refused_by_name(distilled: dict, change: dict, named: str):
    loader(distilled)
    changed = distilled | {key: distilled.get(key, {}) | value for key, value in change.items()}
    with pytest.raises(ConfigError, match=rf"made with another {named}"):
        loader(changed)


def test_a_bank_needs_the_students_resolution(distilled: dict):
    changed = distilled | {"bank": distilled["bank"] | {"resolutions": [64]}}
    with pytest.raises(ConfigError, match=r"bank\.resolutions: \[64\] lacks the student's 32"):
        loader(changed)


def test_a_full_disk_is_told_before_anything_is_written(
    distilled: dict, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ConfigError, match=r"takes 0\.0 GB.*has 0\.0 GB left"):
        loader(distilled)
    assert not list(Path(distilled["bank"]["folder"]).glob("*.npy"))


def test_too_few_people_for_a_batch_are_told_by_name(settings: dict):
    with pytest.raises(ConfigError, match=r"optimizer\.batch_size: 24 people"):
        loader(settings | {"optimizer": settings["optimizer"] | {"batch_size": 25}})


def test_an_online_teacher_gets_crops_of_its_own(settings: dict):
    config: TrainConfig = parse_train_config(settings)
    people = load_people(config.train, COCO17)
    batch = next(
        iter(build_loader(config, lambda: people, COCO17, teacher_resolution=128).epoch(0))
    )
    assert batch.teacher_crops.shape[1:] == (128, 128, 3)
    assert batch.crops.shape[1:] == (32, 32, 3)
