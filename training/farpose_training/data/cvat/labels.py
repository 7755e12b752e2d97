"""Joint labels as annotators type them, recognised whatever their case and separators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.keypoints import COCO17, KEYPOINT_SETS, KeypointSet
from farpose_training.data.cvat.errors import CvatError

KNOWN: Final = tuple(dict.fromkeys(j for s in KEYPOINT_SETS.values() for j in s.joints))
"""The joints of all keypoint sets."""

_JOINTS: Final = {joint.replace("_", ""): joint for joint in KNOWN}
_SIDES: Final = {"l": "left", "r": "right", "left": "left", "right": "right"}
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def joint_of(label: str) -> str | None:
    """The joint that a label means, None if it is no known one.

    >>> joint_of("Left Shoulder"), joint_of("shoulder-left"), joint_of("L_Shoulder")
    ('left_shoulder', 'left_shoulder', 'left_shoulder')
    """
    words = [word.lower() for word in _WORD.findall(label)]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    return _JOINTS.get("".join(sides + [word for word in words if word not in _SIDES]))


@dataclass(frozen=True)
class JointLabels:
    """How the labels of an export become the joints of a keypoint set."""

    target: KeypointSet = COCO17

    drop: tuple[str, ...] = ()
    """Labels to leave out although no keypoint set has them."""

    def channels(self, labels: Sequence[str], source: str) -> NDArray[np.intp]:
        """`[L]` channel of the target for each label, -1 for a joint that it lacks.

        Raises:
            CvatError: a label is no joint, two mean the same one, or the target has none of them.
        """
        joints = [None if label in self.drop else self._joint(label, source) for label in labels]
        known = [joint for joint in joints if joint is not None]
        twice = next((joint for joint in known if known.count(joint) > 1), None)
        if twice is not None:
            same = [label for label, joint in zip(labels, joints, strict=True) if joint == twice]
            raise CvatError(f"{source}: the labels {same} all mean {twice}; rename one in CVAT")
        index = {joint: channel for channel, joint in enumerate(self.target.joints)}
        channels = np.array([index.get(joint or "", -1) for joint in joints], np.intp)
        if (channels < 0).all():
            raise CvatError(
                f"{source}: none of its joints {list(labels)} is one of {self.target.name}: "
                f"{', '.join(self.target.joints)}"
            )
        return channels

    def _joint(self, label: str, source: str) -> str:
        joint = joint_of(label)
        if joint is None:
            raise CvatError(
                f"{source}: the label {label!r} is no known joint; rename it in CVAT, or leave it "
                f"out with --drop {label!r}. Known are, in any case and with spaces, hyphens or "
                f"underscores: {', '.join(KNOWN)}"
            )
        return joint
