"""What a study file expands to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from farpose.evaluation.dataset import DatasetError, load_dataset
from farpose.evaluation.ignored import Ignored
from farpose_training.config import ConfigError, parse_train_config
from farpose_training.config.base import merged
from farpose_training.config.data import PartConfig
from farpose_training.data.parts import part_of
from farpose_training.study.config import StudyConfig, read_study
from farpose_training.study.grid import Run, expand, scores_of

CCA = {"distillation": {"feature": None}}


@pytest.fixture
def study(settings: dict, tmp_path: Path) -> dict:
    """Two variants, two rows, two seeds."""
    base = {name: value for name, value in settings.items() if name != "output"}
    return {
        "output": str(tmp_path / "study"),
        "teacher": str(tmp_path / "teacher.safetensors"),
        "base": base,
        "variants": {"32": {}, "64": {"model": {"resolution": 64, "head": {"split_factor": 3}}}},
        "rows": {"baseline": {}, "cca": CCA},
        "seeds": [0, 1],
        "score": [{"name": "people", "source": settings["val"]}],
    }


def parsed(study: dict, **changes: object) -> StudyConfig:
    return StudyConfig.model_validate(study | changes)


def test_runs_go_variant_by_variant_and_in_each_seed_by_seed(study: dict):
    assert [run.key for run in expand(parsed(study))] == [
        ("32", "baseline", 0),
        ("32", "cca", 0),
        ("32", "baseline", 1),
        ("32", "cca", 1),
        ("64", "baseline", 0),
        ("64", "cca", 0),
        ("64", "baseline", 1),
        ("64", "cca", 1),
    ]


def test_a_run_has_the_settings_of_base_variant_and_row(study: dict, tmp_path: Path):
    run = expand(parsed(study))[-1]
    assert run.name == "64 cca seed 1"
    assert run.config.output == tmp_path / "study/64/cca/seed_1"
    assert run.config.seed == 1
    assert run.config.model.resolution == 64
    assert run.config.model.head.split_factor == 3
    assert run.config.model.backbone.width == 8  # the base's
    assert run.config.distillation.teacher == tmp_path / "teacher.safetensors"
    assert run.config.distillation.feature is None


def test_a_study_without_variants_has_one_without_a_name(study: dict, tmp_path: Path):
    runs = expand(parsed(study, variants={}, seeds=[3]))
    assert [run.key for run in runs] == [("", "baseline", 3), ("", "cca", 3)]
    assert runs[0].config.output == tmp_path / "study/baseline/seed_3"
    assert runs[0].name == "baseline seed 3"


def test_a_null_takes_away_what_a_layer_below_set_even_where_the_default_is_something():
    base = {"distillation": {"logit": {"kind": "cca", "align": "paper"}, "alpha": 5}}
    assert merged(base, {"distillation": {"logit": None}}) == {
        "distillation": {"logit": None, "alpha": 5}
    }
    assert merged(base, {"distillation": {"logit": {"kind": "other"}}})["distillation"] == {
        "logit": {"kind": "other"},
        "alpha": 5,
    }
    assert base["distillation"]["logit"] == {"kind": "cca", "align": "paper"}


def test_the_digest_sees_what_changes_learning_and_nothing_else(settings: dict):
    def digest(**changes: object) -> str:
        return Run("", "row", 0, parse_train_config(settings | changes)).settings

    same = {"output": "elsewhere", "threads": 2, "runtime": {"accelerator": "cpu"}}
    assert digest(**same) == digest()
    moved = {
        name: f"/mnt/{Path(value).parent.name}/{Path(value).name}"
        for name, value in settings["val"].items()
    }
    assert digest(val=moved) == digest()
    assert digest(seed=1) != digest()
    assert digest(optimizer=settings["optimizer"] | {"learning_rate": 2e-3}) != digest()


def test_base_and_teacher_files_are_found_beside_the_study(study: dict, tmp_path: Path):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "student.yaml").write_text(yaml.safe_dump(study["base"]))
    (folder / "teacher.yaml").write_text(yaml.safe_dump(study["base"] | {"output": "runs/t"}))
    changes = {"base": "student.yaml", "teacher": "teacher.yaml"}
    (folder / "study.yaml").write_text(yaml.safe_dump(study | changes, sort_keys=False))
    read = read_study(folder / "study.yaml", ["parallel=2"])
    assert read.parallel == 2
    assert read.base == study["base"]
    assert expand(read)[1].config.distillation.teacher == Path("runs/t/checkpoint.safetensors")


def test_names_may_look_like_numbers_and_have_no_settings(study: dict, tmp_path: Path):
    text = yaml.safe_dump({k: v for k, v in study.items() if k not in ("variants", "rows")})
    (tmp_path / "study.yaml").write_text(f"{text}\nvariants: {{32: }}\nrows: {{1: , 2: }}\n")
    assert [run.key for run in expand(read_study(tmp_path / "study.yaml"))] == [
        ("32", "1", 0),
        ("32", "2", 0),
        ("32", "1", 1),
        ("32", "2", 1),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {}}, "rows"),
        ({"rows": {"a/b": {}}}, "rows"),
        ({"seeds": [1, 1]}, "seeds holds .* twice"),
        ({"score": []}, "give score, or holdout"),
        ({"holdout": 10}, "give score, or holdout"),
        ({"base": "none.yaml"}, "none.yaml: cannot be read"),
        ({"base": {"task": "pose", "extends": 3}, "rows": {"x": {"a": 1}}}, None),
    ],
)
def test_a_wrong_study_is_refused_by_field(
    study: dict, tmp_path: Path, changes: dict, message: str | None
):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study | changes, sort_keys=False))
    if message is None:  # the training's settings are checked as the grid is made
        with pytest.raises(ConfigError, match=r"rows\.x: .*model: Field required"):
            expand(read_study(path))
    else:
        with pytest.raises(ConfigError, match=message):
            read_study(path)


def test_held_out_pictures_are_scored_on_and_not_trained_on(study: dict, stick_people: Path):
    twice = [study["base"]["train"][0] | {"repeat": 2}]
    held = parsed(study, score=[], holdout=3, base=study["base"] | {"train": twice})
    config = expand(held)[0].config
    (score,) = scores_of(held, config)
    assert (config.train[0].repeat, score.source.repeat) == (2, 1)
    assert config.val == score.source
    ids = [
        set(part_of(load_dataset(s.annotations, s.images), s.part).ids)
        for s in (config.train[0], score.source)
    ]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == set(range(24))
    assert score.name == stick_people.name


def test_parts_keep_people_with_their_pictures(stick_people: Path):
    dataset = load_dataset(stick_people / "people.json", stick_people)
    crowds = Ignored(np.arange(24), dataset.boxes, dataset.areas, np.ones(24, bool))
    dataset = replace(dataset, ignored=crowds)  # one where each person is
    parts = [part_of(dataset, PartConfig(of=3, fold=fold, keep="in")) for fold in range(3)]
    assert sorted(np.concatenate([part.ids for part in parts])) == list(range(24))
    assert all(len(part) > 3 for part in parts)
    for part in parts:
        pictures = [part.pictures[i].id for i in part.picture_index]
        assert pictures == list(part.ids)  # person i is in picture i
        assert np.array_equal(part.ignored.picture_index, part.picture_index)
        assert np.array_equal(part.ignored.boxes, part.boxes)
    assert part_of(dataset, None) is dataset
    with pytest.raises(DatasetError, match="part 5 of 3: nobody is in it"):
        part_of(dataset, PartConfig(of=3, fold=5, keep="in"))


def test_the_bundled_studies_are_valid(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FARPOSE_DATA", "data")
    folder = Path(__file__).parents[2] / "training/configs/study"
    studies = {
        path.stem: read_study(path)
        for path in folder.glob("*.yaml")
        if "rows" in yaml.safe_load(path.read_text())
    }
    sizes = {name: len(expand(study)) for name, study in studies.items()}
    assert sizes == {"cdkd": 48, "tune_32": 24, "tune_64": 12, "smoke": 8}
    runs = {run.key: run.config for run in expand(studies["cdkd"])}
    teacher = Path("docs/study/teacher_256.safetensors")
    assert {config.bank.teacher for config in runs.values()} == {teacher}
    assert runs["64", "sape", 2].distillation.logit is None
    assert runs["64", "baseline", 2].distillation is None
    assert runs["32", "necm", 0].distillation.temperature.tau == 1
    for name in ("tune_32", "tune_64"):  # as many trials for the baseline as for the distiller
        distilled = [run.config.distillation is not None for run in expand(studies[name])]
        assert 2 * sum(distilled) == len(distilled)
