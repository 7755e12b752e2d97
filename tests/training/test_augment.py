from __future__ import annotations

import numpy as np
import pytest

from farpose.crop import crop_affine
from farpose.keypoints import COCO17
from farpose_training.config import AugmentationConfig
from farpose_training.data.augment import Augmenter
from farpose_training.data.views import View, apply_affine, crop_matrix, invert_affine, shrink

NOTHING = AugmentationConfig(
    scale=0, shift=0, rotation=0, rotation_probability=0, flip=0, half_body=0, color=0
)
EVERYTHING = AugmentationConfig(shift=0.1, half_body=0.5, heights=(16, 200))
BOX = np.array([60.0, 40.0, 240.0, 360.0])


def person() -> tuple[np.ndarray, np.ndarray]:
    """A picture with one bright dot at every joint, and the joints."""
    rng = np.random.default_rng(3)
    keypoints = np.column_stack(
        [rng.uniform(80, 220, 17), rng.uniform(60, 340, 17), np.full(17, 2)]
    ).astype(np.float32)
    picture = np.zeros((400, 300, 3), np.uint8)
    return picture, keypoints


def dot_at(point: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:400, :300]
    blob = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 6.0**2))
    return np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, axis=2)


def middle(crop: np.ndarray) -> np.ndarray:
    gray, index = crop[:, :, 0].astype(float), np.arange(len(crop))
    return np.array([gray.sum(0) @ index, gray.sum(1) @ index]) / gray.sum()


def test_pixels_and_joints_move_together():
    _, keypoints = person()
    augmenter = Augmenter(EVERYTHING.model_copy(update={"color": 0}), COCO17)
    checked = 0
    for seed in range(40):
        joint = seed % 17
        picture = dot_at(keypoints[joint])
        sample = augmenter(picture, BOX, keypoints, np.random.default_rng(seed), 64)
        # A mirrored sample has the dot under the name of the joint's partner.
        names = [joint, COCO17.flip_indices[joint]]
        well_inside = (np.abs(sample.keypoints[names] - 32) < 20).all(axis=1)
        if well_inside.all() and sample.crop.max() > 40:
            errors = np.abs(sample.keypoints[names] - middle(sample.crop)).max(axis=1)
            assert errors.min() < 0.6
            checked += 1
    assert checked >= 15


def test_without_augmentation_the_crop_is_the_reference_crop():
    picture, keypoints = person()
    picture[:] = np.random.default_rng(0).integers(0, 255, picture.shape, dtype=np.uint8)
    sample = Augmenter(NOTHING, COCO17)(picture, BOX, keypoints, np.random.default_rng(0), 64)
    matrix = crop_matrix((BOX[:2] + BOX[2:]) / 2 - 0.5, 320 * 1.25, 0, False, 64)
    assert (sample.crop == crop_affine(picture, matrix, 64)).all()
    assert sample.weights.tolist() == [1.0] * 17


def test_mirroring_swaps_left_and_right():
    picture, keypoints = person()
    mirror = NOTHING.model_copy(update={"flip": 1.0})
    plain = Augmenter(NOTHING, COCO17)(picture, BOX, keypoints, np.random.default_rng(0), 64)
    flipped = Augmenter(mirror, COCO17)(picture, BOX, keypoints, np.random.default_rng(0), 64)
    left, right = COCO17.index("left_knee"), COCO17.index("right_knee")
    x, y = plain.keypoints[right]
    assert flipped.keypoints[left] == pytest.approx([64 - x, y], abs=1e-4)


def test_the_same_seed_draws_the_same_sample():
    picture, keypoints = person()
    augmenter = Augmenter(EVERYTHING, COCO17)
    first, second = (
        augmenter(picture, BOX, keypoints, np.random.default_rng(5), 64) for _ in range(2)
    )
    assert (first.crop == second.crop).all()
    assert (first.keypoints == second.keypoints).all()


def test_affine_maps_invert():
    matrix = crop_matrix(np.array([31.0, 17.0]), 90.0, 33.0, True, 64)
    points = np.array([[1.0, 2.0], [60.0, 5.0]])
    assert np.allclose(apply_affine(invert_affine(matrix), apply_affine(matrix, points)), points)


@pytest.mark.parametrize("factor", [0.5, 0.31, 0.1])
def test_shrinking_keeps_positions_and_never_enlarges(factor: float):
    picture = dot_at(np.array([151.0, 203.0]))
    matrix = crop_matrix(np.array([150.0, 200.0]), 300.0, 20.0, False, 64)
    small, moved = shrink(picture, matrix, 64, factor)
    assert max(small.shape[:2]) <= 400 * factor + 4
    before = crop_affine(picture, matrix, 64)
    after = crop_affine(small, moved, 64)

    assert np.abs(middle(before) - middle(after)).max() < 0.2
    same, unchanged = shrink(picture, matrix, 64, 1.3)
    assert same is picture and unchanged is matrix


def test_color_changes_brightness_only_within_its_strength():
    picture = np.full((400, 300, 3), 100, np.uint8)
    _, keypoints = person()
    colored = Augmenter(NOTHING.model_copy(update={"color": 0.3}), COCO17)
    values = [
        colored(picture, BOX, keypoints, np.random.default_rng(i), 64).crop[32, 32]
        for i in range(20)
    ]
    assert len({tuple(v) for v in values}) > 10
    assert all(v.min() > 20 and v.max() < 190 for v in values)


def labelled(count: int) -> np.ndarray:
    """COCO-17 joints on a slope of 10 pixels a joint, of which the last `count` are labelled."""
    index = np.arange(17)
    seen = np.where(index >= 17 - count, 2, 0)
    return np.column_stack([100 + 5 * index, 50 + 10 * index, seen]).astype(np.float32)


def draws(config: AugmentationConfig, keypoints: np.ndarray, count: int = 400) -> list[View]:
    augmenter = Augmenter(config, COCO17)
    return [augmenter.draw(BOX, keypoints, np.random.default_rng(i)) for i in range(count)]


@pytest.mark.parametrize(("scale", "rotation"), [(0.25, 30.0), (0.35, 45.0), (0.3, 40.0)])
def test_scale_is_cut_off_at_one_deviation_and_rotation_at_two(scale: float, rotation: float):
    config = NOTHING.model_copy(
        update={"scale": scale, "rotation": rotation, "rotation_probability": 0.6}
    )
    views = draws(config, labelled(17))
    factors = np.array([view.side / (320 * 1.25) for view in views])
    angles = np.array([view.angle for view in views])
    assert factors.min() == pytest.approx(1 - scale)
    assert factors.max() == pytest.approx(1 + scale)
    # A normal deviate is beyond one deviation in 32 % of the cases, beyond two in 4.6 %.
    assert np.isclose(np.abs(factors - 1), scale).mean() == pytest.approx(0.32, abs=0.07)
    assert (angles != 0).mean() == pytest.approx(0.6, abs=0.08)
    assert np.abs(angles).max() == pytest.approx(2 * rotation)
    assert angles[angles != 0].std() == pytest.approx(0.96 * rotation, rel=0.12)


def test_half_a_body_is_cropped_at_one_and_a_half_times_its_extent():
    views = draws(NOTHING.model_copy(update={"half_body": 1.0}), labelled(17), count=20)
    # Nose to wrists are joints 0 to 10, hips to ankles 11 to 16.
    assert {round(view.side, 6) for view in views} == {1.5 * 100, 1.5 * 50}
    for view in views:
        middle = [125.0, 100.0] if view.side > 100 else [167.5, 185.0]
        assert view.center.tolist() == pytest.approx(middle)


@pytest.mark.parametrize(("count", "halved"), [(8, False), (9, True)])
def test_only_people_with_more_than_eight_joints_are_halved(count: int, halved: bool):
    views = draws(NOTHING.model_copy(update={"half_body": 1.0}), labelled(count), count=20)
    assert all((view.side < 320 * 1.25) == halved for view in views)


def test_a_half_with_two_joints_gives_way_to_the_other():
    keypoints = labelled(17)
    keypoints[13:, 2] = 0
    views = draws(NOTHING.model_copy(update={"half_body": 1.0}), keypoints, count=20)
    assert {round(view.side, 6) for view in views} == {1.5 * 100}
