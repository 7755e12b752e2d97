"""Keypoint sets: which joints a person has, how they connect, and how sets map to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KeypointSet:
    """A skeleton: an ordered list of named joints.

    Raises:
        ValueError: an edge, flip pair or sigma does not fit the names.
    """

    name: str
    """Identifier written into model metadata, such as `coco17`."""

    joints: tuple[str, ...]
    """Joint names in channel order, `J` of them."""

    edges: tuple[tuple[str, str], ...]
    """Limbs to draw."""

    sigmas: tuple[float, ...]
    """OKS falloff per joint, as a fraction of the square root of the person's area."""

    def __post_init__(self) -> None:
        if len(set(self.joints)) != len(self.joints):
            raise ValueError(f"keypoint set {self.name!r} repeats a joint name")
        if len(self.sigmas) != len(self.joints):
            raise ValueError(
                f"keypoint set {self.name!r} has {len(self.joints)} joints "
                f"but {len(self.sigmas)} sigmas"
            )
        for joint in (joint for edge in self.edges for joint in edge):
            if joint not in self.joints:
                raise ValueError(f"keypoint set {self.name!r} has no joint {joint!r} for its edge")

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Channel of a joint name; `ValueError` names the set when there is none."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ValueError(f"keypoint set {self.name!r} has no joint {joint!r}") from None

    @cached_property
    def edge_indices(self) -> tuple[tuple[int, int], ...]:
        """Limbs as pairs of channels."""
        return tuple((self.index(a), self.index(b)) for a, b in self.edges)

    @cached_property
    def flip_indices(self) -> NDArray[np.intp]:
        """`[J]` channel that each joint becomes in a mirrored picture."""
        return np.array([self.joints.index(_mirrored(joint)) for joint in self.joints], np.intp)

    @cached_property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Left/right pairs of channels, each once."""
        return tuple((i, int(j)) for i, j in enumerate(self.flip_indices) if i < j)

    @cached_property
    def limb_indices(self) -> tuple[int, ...]:
        """Channels of the twelve limb joints that every set here shares, in `LIMB_JOINTS` order."""
        return tuple(self.index(joint) for joint in LIMB_JOINTS)

    def mapping_to(self, other: KeypointSet) -> NDArray[np.intp]:
        """`[J_other]` channel of this set for each joint of `other`, -1 where there is none."""
        return np.array(
            [self.joints.index(j) if j in self.joints else -1 for j in other.joints], np.intp
        )

    def convert(self, keypoints: NDArray[np.floating], other: KeypointSet) -> NDArray[np.float32]:
        """Reorder keypoints `[..., J, D]` of this set into `other`'s `[..., J_other, D]`.

        Joints that this set lacks become zeros, which is visibility 0 for `D = 3`.
        """
        mapping = self.mapping_to(other)
        converted = np.asarray(keypoints, np.float32)[..., np.maximum(mapping, 0), :]
        converted[..., mapping < 0, :] = 0
        return converted


def _mirrored(joint: str) -> str:
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


LIMB_JOINTS: Final = tuple(
    f"{side}_{part}"
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The twelve joints that COCO, MPII and LSP all label."""

_LIMB_EDGES: Final = (
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
)

_SIGMA: Final = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "pelvis": 0.107,
    "thorax": 0.079,
    "neck": 0.079,
    "upper_neck": 0.079,
    "head_top": 0.079,
}
"""COCO's per-joint standard deviations. COCO has no trunk or head-top joints: those take the
sigma of the nearest joint it has (hip for the pelvis, shoulder for the others)."""


def _sigmas(joints: Sequence[str]) -> tuple[float, ...]:
    return tuple(_SIGMA[j.removeprefix("left_").removeprefix("right_")] for j in joints)


_COCO17_JOINTS: Final = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    *LIMB_JOINTS,
)

COCO17: Final = KeypointSet(
    name="coco17",
    joints=_COCO17_JOINTS,
    edges=(
        *_LIMB_EDGES,
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
    ),
    sigmas=_sigmas(_COCO17_JOINTS),
)
"""The COCO person skeleton, the default."""

_MPII16_JOINTS: Final = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "thorax",
    "upper_neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)

MPII16: Final = KeypointSet(
    name="mpii16",
    joints=_MPII16_JOINTS,
    edges=(
        *_LIMB_EDGES,
        ("pelvis", "left_hip"),
        ("pelvis", "right_hip"),
        ("pelvis", "thorax"),
        ("thorax", "left_shoulder"),
        ("thorax", "right_shoulder"),
        ("thorax", "upper_neck"),
        ("upper_neck", "head_top"),
    ),
    sigmas=_sigmas(_MPII16_JOINTS),
)
"""The MPII Human Pose skeleton."""

_LSP14_JOINTS: Final = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "neck",
    "head_top",
)

LSP14: Final = KeypointSet(
    name="lsp14",
    joints=_LSP14_JOINTS,
    edges=(
        *_LIMB_EDGES,
        ("neck", "left_shoulder"),
        ("neck", "right_shoulder"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_hip", "right_hip"),
        ("neck", "head_top"),
    ),
    sigmas=_sigmas(_LSP14_JOINTS),
)
"""The Leeds Sports Pose skeleton (person-centric left and right)."""

KEYPOINT_SETS: Final = {s.name: s for s in (COCO17, MPII16, LSP14)}


def keypoint_set(name: str) -> KeypointSet:
    """Look a built-in set up by name; `ValueError` lists the names there are."""
    try:
        return KEYPOINT_SETS[name]
    except KeyError:
        raise ValueError(
            f"unknown keypoint set {name!r}: use one of {', '.join(KEYPOINT_SETS)}"
        ) from None


def keypoint_set_of(joints: Sequence[str]) -> KeypointSet | None:
    """The built-in set with exactly these joint names in this order, if there is one."""
    return next((s for s in KEYPOINT_SETS.values() if s.joints == tuple(joints)), None)
