"""The view bank: augmented views, and what a teacher says of them, in files that are mapped.

The teacher is most of the cost of distilling, and on a small machine rendering is much of the
rest. A bank pays both once: `V` views per person are rendered and shown to the teacher, and every
epoch of every run draws from them. The teacher's bins are kept unmerged, so that one bank serves
students of every resolution, split factor and alignment.

Shapes: P distinct people, V views, J joints, L the teacher's bins.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from farpose.cores import usable_cores
from farpose.keypoints import KeypointSet
from farpose_training.config import ConfigError, TrainConfig
from farpose_training.data.augment import Augmenter
from farpose_training.data.bank_manifest import (
    bank_settings,
    bank_teacher,
    manifest_of,
    refuse_full_disk,
    refuse_other,
)
from farpose_training.data.people import TrainingPeople, identities
from farpose_training.data.views import render, render_for_teacher
from farpose_training.distillation.teacher import Teacher, load_teacher
from farpose_training.locks import locked
from farpose_training.whole_file import write_whole

CHUNK = 64
"""People per step of making a bank; a killed one goes on with the first unfinished step."""

RENDERED = "rendered.json"
"""How many people are done."""

MANIFEST = "manifest.json"
"""What the bank was made of."""

COUNTS = "people.json"
"""Distinct people of each source."""

UNIT = 1024
"""Joints are computed at this resolution and kept as fractions of it."""

LEAST = -1e4
"""Least log-probability that is kept."""


@dataclass(frozen=True)
class Bank:
    """The mapped arrays of a bank; all but the first start with `[P,V,...]`."""

    identities: NDArray[np.intp]
    """`[P']` the row of each person of a run; repeated people share one."""

    crops: dict[int, NDArray[np.uint8]]
    """Per resolution `[P,V,R,R,3]` RGB."""

    keypoints: NDArray[np.float32]
    """`[P,V,J,2]` pixels of a crop of resolution 1."""

    weights: NDArray[np.uint8]
    """`[P,V,J]` 1 for labelled joints."""

    feature: NDArray[np.float16] | None
    """`[P,V,C,H,W]` of the teacher."""

    x: NDArray[np.float16] | None
    """`[P,V,J,L]` the teacher's log-probabilities over columns, at temperature 1."""

    y: NDArray[np.float16] | None
    """`[P,V,J,L]` over rows."""


def open_bank(
    config: TrainConfig,
    load: Callable[[], TrainingPeople],
    augmenter: Augmenter,
    joints: KeypointSet,
    device: torch.device,
) -> Bank:
    """Map the bank of a run; what is missing of it is made first.

    Args:
        config: of the run.
        load: reads the people; called only if something is missing.
        augmenter: draws their views.
        joints: what the networks predict.
        device: where the teacher runs.

    Raises:
        ConfigError: the folder holds a bank of something else, or the disk is too full for it, or
            bank and distillation name two teachers.
    """
    settings = bank_settings(config)
    path = bank_teacher(config)
    resolutions = settings.resolutions or (config.model.resolution,)
    if config.model.resolution not in resolutions:
        raise ConfigError(
            f"bank.resolutions: {list(resolutions)} lacks the student's {config.model.resolution}"
        )
    manifest = manifest_of(config, resolutions, path)
    settings.folder.mkdir(parents=True, exist_ok=True)
    # One process makes a bank; others that want it wait.
    with locked(settings.folder / "lock"):
        stored = _read(settings.folder / MANIFEST)
        if stored is not None:
            refuse_other(settings.folder, stored, manifest)
        counts = _read(settings.folder / COUNTS)
        if stored is None or _read(settings.folder / RENDERED) < sum(counts):
            people = load()
            public = settings.teacher_model
            if public is None and config.distillation is not None:
                public = config.distillation.teacher_model
            named = "distillation" if config.distillation else "bank"
            teacher = None if path is None else load_teacher(path, joints, public, device, named)
            if stored is None:
                counts = people.counts
                shapes = _shapes(sum(counts), settings.views, len(joints), resolutions, teacher)
                refuse_full_disk(settings.folder, shapes)
                for name, (shape, kind) in shapes.items():
                    _map(settings.folder, name, shape, kind)
                _write(settings.folder / COUNTS, counts)
                _write(settings.folder / RENDERED, 0)
                _write(settings.folder / MANIFEST, manifest)
            _make(config, people, augmenter, teacher)
    return _mapped(config, identities(counts, config.train))


def _make(
    config: TrainConfig, people: TrainingPeople, augmenter: Augmenter, teacher: Teacher | None
) -> None:
    """Render what is missing, a chunk at a time, its people on all cores."""
    settings = bank_settings(config)
    rows = identities(people.counts, config.train)
    _, first = np.unique(rows, return_index=True)
    bank = _mapped(config, rows, writable=True)
    arrays = [*bank.crops.values(), bank.keypoints, bank.weights, bank.feature, bank.x, bank.y]
    starts = range(_read(settings.folder / RENDERED), len(first), CHUNK)

    def render_person(row: int) -> None:
        _render_person(bank, row, people, int(first[row]), augmenter, settings.seed, teacher)

    with ThreadPoolExecutor(max(1, usable_cores() // torch.get_num_threads())) as pool:
        for start in tqdm(starts, desc=f"view bank {settings.folder}", unit=f" x {CHUNK} people"):
            chunk = range(start, min(start + CHUNK, len(first)))
            deque(pool.map(render_person, chunk), maxlen=0)
            for array in arrays:
                if isinstance(array, np.memmap):
                    array.flush()
            _write(settings.folder / RENDERED, chunk.stop)


def _render_person(
    bank: Bank,
    row: int,
    people: TrainingPeople,
    person: int,
    augmenter: Augmenter,
    seed: int,
    teacher: Teacher | None,
) -> None:
    """All views of one person."""
    picture = people.pictures[people.picture_index[person]]
    keypoints = people.keypoints[person]
    views = [
        augmenter.draw(people.boxes[person], keypoints, np.random.default_rng((seed, row, view)))
        for view in range(bank.weights.shape[1])
    ]
    for index, view in enumerate(views):
        for resolution, crops in bank.crops.items():
            crops[row, index] = render(picture, view, resolution)
        points, labelled = augmenter.joints(view, keypoints, UNIT)
        bank.keypoints[row, index] = points / UNIT
        bank.weights[row, index] = labelled
    if teacher is not None:
        size = teacher.shape.resolution
        crops = np.stack([render_for_teacher(picture, view, size) for view in views])
        seen = teacher(torch.from_numpy(crops).to(teacher.network.mean.device))
        if bank.feature is not None:
            bank.feature[row] = seen.feature.cpu().numpy()
        if seen.log_probabilities is not None and bank.x is not None and bank.y is not None:
            # Log-probabilities of impossible bins are far below what fp16 holds.
            bank.x[row], bank.y[row] = (
                axis.clamp(min=LEAST).cpu().numpy() for axis in seen.log_probabilities
            )


def _shapes(
    people: int, views: int, joints: int, resolutions: tuple[int, ...], teacher: Teacher | None
) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shape and type of every file."""
    lead = (people, views)
    shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        f"crops_{r}": ((*lead, r, r, 3), np.uint8) for r in resolutions
    }
    shapes["keypoints"] = ((*lead, joints, 2), np.float32)
    shapes["weights"] = ((*lead, joints), np.uint8)
    if teacher is not None:
        cells = teacher.shape.cells
        shapes["feature"] = ((*lead, teacher.shape.channels, cells, cells), np.float16)
        if teacher.shape.split_factor is not None:
            shapes["x"] = shapes["y"] = ((*lead, joints, teacher.shape.bins), np.float16)
    return shapes


def _mapped(config: TrainConfig, rows: NDArray[np.intp], *, writable: bool = False) -> Bank:
    settings = bank_settings(config)

    def array(name: str) -> Any:
        path = settings.folder / f"{name}.npy"
        return np.load(path, mmap_mode="r+" if writable else "r") if path.is_file() else None

    return Bank(
        identities=rows,
        crops={r: array(f"crops_{r}") for r in settings.resolutions or (config.model.resolution,)},
        keypoints=array("keypoints"),
        weights=array("weights"),
        feature=array("feature"),
        x=array("x"),
        y=array("y"),
    )


def _map(folder: Path, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content))
