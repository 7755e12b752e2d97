from __future__ import annotations

import numpy as np
import pytest

from farpose.keypoints import (
    COCO17,
    KEYPOINT_SETS,
    LIMB_JOINTS,
    LSP14,
    MPII16,
    KeypointSet,
    keypoint_set,
    keypoint_set_of,
)

SETS = list(KEYPOINT_SETS.values())


@pytest.mark.parametrize(
    ("joints", "count", "pairs"),
    [
        (COCO17, 17, 8),  # the nose alone has no partner
        (MPII16, 16, 6),  # pelvis, thorax, upper neck and head top have none
        (LSP14, 14, 6),  # neck and head top have none
    ],
)
def test_sets_have_their_joints_and_pairs(joints: KeypointSet, count: int, pairs: int):
    assert len(joints) == count
    assert len(joints.flip_pairs) == pairs


@pytest.mark.parametrize("joints", SETS, ids=lambda s: s.name)
def test_mirroring_twice_changes_nothing(joints: KeypointSet):
    flip = joints.flip_indices
    assert (flip[flip] == np.arange(len(joints))).all()
    for a, b in joints.flip_pairs:
        sides = {joints.joints[i].split("_")[0] for i in (a, b)}
        assert sides == {"left", "right"}


@pytest.mark.parametrize("joints", SETS, ids=lambda s: s.name)
def test_every_set_has_the_twelve_limb_joints(joints: KeypointSet):
    assert [joints.joints[i] for i in joints.limb_indices] == list(LIMB_JOINTS)


@pytest.mark.parametrize("joints", SETS, ids=lambda s: s.name)
def test_a_skeleton_is_drawn_by_edges_between_different_joints(joints: KeypointSet):
    assert all(a != b for a, b in joints.edge_indices)
    assert {joints.index(j) for j in LIMB_JOINTS} <= {i for e in joints.edge_indices for i in e}


def test_coco_sigmas_are_the_official_ones():
    official = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    assert np.allclose(np.array(COCO17.sigmas) * 1000, official)


@pytest.mark.parametrize("source", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("target", SETS, ids=lambda s: s.name)
def test_converting_keeps_shared_joints_and_zeroes_the_rest(
    source: KeypointSet, target: KeypointSet
):
    people = np.arange(2 * len(source) * 3, dtype=np.float32).reshape(2, len(source), 3) + 1
    converted = source.convert(people, target)
    assert converted.shape == (2, len(target), 3)
    for j, joint in enumerate(target.joints):
        expected = people[:, source.joints.index(joint)] if joint in source.joints else 0
        assert (converted[:, j] == expected).all()


def test_sets_are_found_by_name_and_by_joints():
    assert keypoint_set("lsp14") is LSP14
    assert keypoint_set_of(list(MPII16.joints)) is MPII16
    assert keypoint_set_of(["nose"]) is None
    with pytest.raises(ValueError, match="coco17, mpii16, lsp14"):
        keypoint_set("coco18")
    with pytest.raises(ValueError, match="no joint 'tail'"):
        COCO17.index("tail")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", ("a", "a"), (), (1.0, 1.0)), "repeats a joint"),
        (("x", ("a", "b"), (), (1.0,)), "2 joints but 1 sigmas"),
        (("x", ("a", "b"), (("a", "c"),), (1.0, 1.0)), "no joint 'c'"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        KeypointSet(*arguments)
