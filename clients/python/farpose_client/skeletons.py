"""Limbs between joints, by the joints' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LIMBS: Final = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for upper, lower in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("hip", "knee"),
        ("knee", "ankle"),
    )
    for side in ("left", "right")
)

_SIDES: Final = (
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "right_hip"),
)

_COCO: Final = (
    *_SIDES,
    ("left_shoulder", "right_shoulder"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
)

_LSP: Final = (
    *_SIDES,
    ("neck", "left_shoulder"),
    ("neck", "right_shoulder"),
    ("neck", "head_top"),
)

_MPII: Final = (
    ("pelvis", "left_hip"),
    ("pelvis", "right_hip"),
    ("pelvis", "thorax"),
    ("thorax", "left_shoulder"),
    ("thorax", "right_shoulder"),
    ("thorax", "upper_neck"),
    ("upper_neck", "head_top"),
)


def limbs(joints: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of indices of joints to draw a line between.

    The skeletons of COCO, MPII and LSP are known; of others, those limbs that have both joints.
    """
    trunk = _MPII if "pelvis" in joints else _LSP if "neck" in joints else _COCO
    index = {joint: i for i, joint in enumerate(joints)}
    return [(index[a], index[b]) for a, b in (*_LIMBS, *trunk) if a in index and b in index]
