from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from farpose.crop import crop_affine
from farpose.keypoints import COCO17
from farpose_training.config import AugmentationConfig, parse_train_config
from farpose_training.data import rendering
from farpose_training.data.augment import Augmenter
from farpose_training.data.gpu_crops import crop_packed, pack, packed_bytes, recolor
from farpose_training.data.loader import Loader
from farpose_training.data.order import EpochOrder
from farpose_training.data.people import load_people
from farpose_training.data.rendering import DeviceRenderer, HostRenderer, renderer_for
from farpose_training.data.views import View, crop_matrix

CPU = torch.device("cpu")
NOISE = np.random.default_rng(0)
PICTURES = [
    NOISE.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for height, width in ((231, 317), (64, 50), (400, 300), (1, 7))
]
PACKED = pack(PICTURES, range(4), CPU)


@given(
    chosen=st.integers(0, 3),
    x=st.floats(-0.3, 1.3),
    y=st.floats(-0.3, 1.3),
    log_side=st.floats(np.log(8), np.log(4000)),
    angle=st.floats(-180, 180),
    mirrored=st.booleans(),
    resolution=st.sampled_from([32, 64]),
)
@settings(max_examples=60, deadline=None)
def test_crops_are_those_of_the_reference(
    chosen: int,
    x: float,
    y: float,
    log_side: float,
    angle: float,
    mirrored: bool,
    resolution: int,
):
    picture = PICTURES[chosen]
    center = np.array([x, y]) * picture.shape[1::-1]
    matrix = crop_matrix(center, float(np.exp(log_side)), angle, mirrored, resolution)
    found = crop_packed(PACKED, np.array([chosen]), matrix[None], resolution)[0].numpy()
    difference = np.abs(found.astype(int) - crop_affine(picture, matrix, resolution))
    assert difference.max() <= 2
    assert difference.mean() <= 0.1


def test_a_teachers_batch_is_made_in_parts_of_bounded_memory(monkeypatch: pytest.MonkeyPatch):
    center = np.array([150.0, 200.0])
    matrices = np.stack([crop_matrix(center, 300.0, a, False, 256) for a in (0.0, 20.0, 40.0)])
    chosen = np.array([2, 0, 2])
    whole = crop_packed(PACKED, chosen, matrices, 256)
    monkeypatch.setattr("farpose_training.data.gpu_crops.PIXELS_AT_ONCE", 1)
    assert whole.shape == (3, 256, 256, 3)
    assert (crop_packed(PACKED, chosen, matrices, 256) == whole).all()


def test_outside_the_picture_is_black():
    matrix = crop_matrix(np.array([-500.0, -500.0]), 100.0, 0.0, False, 32)
    assert crop_packed(PACKED, np.array([0]), matrix[None], 32).max() == 0


def test_only_used_pictures_are_packed():
    alone = pack(PICTURES, [1], CPU)
    # 64 x 50, 32 x 25, 16 x 13, 8 x 7, 4 x 4, 2 x 2, 1 x 1.
    assert len(alone.pixels) == 3200 + 800 + 208 + 56 + 16 + 4 + 1
    assert packed_bytes(PICTURES, [1]) == 3 * len(alone.pixels)
    matrix = crop_matrix(np.array([25.0, 32.0]), 70.0, 10.0, False, 32)[None]
    of_all = crop_packed(PACKED, np.array([1]), matrix, 32)
    assert (crop_packed(alone, np.array([1]), matrix, 32) == of_all).all()


def test_colors_are_looked_up_per_crop_and_channel():
    crops = torch.full((2, 32, 32, 3), 7, dtype=torch.uint8)
    tables = np.zeros((2, 256, 3), np.uint8)
    tables[:, 7] = [[1, 2, 3], [40, 50, 60]]
    assert recolor(crops, tables)[:, 5, 5].tolist() == [[1, 2, 3], [40, 50, 60]]


def drawn(config: AugmentationConfig, count: int = 12) -> list[View]:
    augmenter = Augmenter(config, COCO17)
    box, keypoints = np.array([20.0, 10.0, 40.0, 60.0]), np.full((17, 3), 30, np.float32)
    return [augmenter.draw(box, keypoints, np.random.default_rng(i)) for i in range(count)]


def test_a_device_shows_student_and_teacher_what_the_processor_does():
    views = drawn(AugmentationConfig(half_body=0, heights=(20, 120), degradation={}))
    # A few neither shrunk nor degraded: those are the device's own.
    views[::3] = [replace(view, shrinking=1.0, degradation=None) for view in views[::3]]
    chosen = np.arange(12) % 3
    host, device = HostRenderer(PICTURES), DeviceRenderer(PICTURES, range(3), CPU)
    for one, other in (
        (host.student(chosen, views, 64), device.student(chosen, views, 64)),
        (host.teacher(chosen, views, 128), device.teacher(chosen, views, 128)),
    ):
        assert one.shape == other.shape
        difference = (one.int() - other.int()).abs()
        assert difference.max() <= 3
        assert difference.float().mean() <= 0.1
        assert one.float().std() > 20


def test_a_loader_gives_the_same_batches_whatever_renders_them(settings: dict):
    config = parse_train_config(settings)
    people = load_people(config.train, COCO17)
    augmenter = Augmenter(config.augmentation, COCO17)
    order = EpochOrder(len(people), 8, seed=0)
    first, second = (
        list(Loader(people, augmenter, renderer, order, 32, 64).epoch(0))
        for renderer in (
            HostRenderer(people.pictures),
            DeviceRenderer(people.pictures, range(24), CPU),
        )
    )
    for one, other in zip(first, second, strict=True):
        assert (one.crops.int() - other.crops.int()).abs().max() <= 3
        assert (one.teacher_crops.int() - other.teacher_crops.int()).abs().max() <= 3
        assert (one.keypoints == other.keypoints).all()


def test_pictures_too_large_for_a_gpu_are_cropped_on_the_processor(
    settings: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    people = load_people(parse_train_config(settings).train, COCO17)
    monkeypatch.setattr(rendering.torch.cuda, "mem_get_info", lambda device: (10**6, 10**9))
    assert isinstance(renderer_for(people, torch.device("cuda", 0)), HostRenderer)
    assert "the GPU has 0.0 GB left: crops are made on the CPU" in capsys.readouterr().out


def test_pictures_that_are_not_all_in_memory_are_cropped_on_the_processor(
    settings: dict, capsys: pytest.CaptureFixture[str]
):
    people = load_people(parse_train_config(settings).train, COCO17, memory_gb=1e-4)
    assert isinstance(renderer_for(people, torch.device("cuda", 0)), HostRenderer)
    said = capsys.readouterr().out
    assert "pictures are read when they are used" in said
    needed = re.search(r"take (\S+) GB, more than runtime\.picture_memory_gb", said)
    assert needed is not None
    whole = load_people(parse_train_config(settings).train, COCO17, memory_gb=float(needed[1]))
    assert whole.pictures.kept == 24
