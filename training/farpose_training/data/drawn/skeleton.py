"""A body: bones of human proportions, turned at the joints.

The body's axes are x to its own left, y up and z forwards; lengths are in standing body heights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = dict[str, NDArray[np.float64]]
"""`[3]` of each name."""

SIDES: Final = (("left", 1), ("right", -1))
"""Names of the sides, and the sign of their x."""

BONES: Final = {
    "trunk": 0.288,
    "shoulders": 0.118,
    "hips": 0.080,
    "upper_arm": 0.186,
    "forearm": 0.146,
    "hand": 0.060,
    "thigh": 0.245,
    "shank": 0.246,
    "foot": 0.100,
}
"""Lengths (half widths of shoulders and hips), after Drillis and Contini, "Body segment
parameters", 1966; hips and shoulders are a little narrower, where annotators see the joints."""

FACE: Final = {
    "nose": (0.0, -0.014, 0.068),
    "left_eye": (0.021, 0.010, 0.055),
    "right_eye": (-0.021, 0.010, 0.055),
    "left_ear": (0.050, 0.0, 0.0),
    "right_ear": (-0.050, 0.0, 0.0),
}
"""Where they are from the middle of the head."""


@dataclass(frozen=True)
class Arm:
    """Angles in degrees; all zero hangs straight down."""

    forwards: float
    outwards: float
    inwards: float
    """The upper arm's turn about itself, which brings a bent forearm before the body."""

    elbow: float


@dataclass(frozen=True)
class Leg:
    """Angles in degrees; all zero is straight down."""

    forwards: float
    outwards: float
    knee: float


@dataclass(frozen=True)
class Angles:
    """A pose, in degrees; pairs are left and right."""

    arms: tuple[Arm, Arm]
    legs: tuple[Leg, Leg]
    lean: float
    """Of the trunk, forwards."""

    tilt: float
    """Of the trunk, to its right."""

    twist: float
    """Of the shoulders over the hips, to the left."""

    turn: float
    """Of the head over the shoulders, to the left."""

    nod: float


@dataclass(frozen=True)
class Body:
    """A posed body."""

    points: Points
    """The seventeen COCO joints, `pelvis`, `neck` and `head` (middles), hands, heels and toes."""

    trunk: NDArray[np.float64]
    """`[3,3]` its axes are the columns."""

    head: NDArray[np.float64]
    """`[3,3]` its axes are the columns."""

    head_scale: float
    """1 is a grown-up's; children's are larger."""


def posed(angles: Angles, lengths: dict[str, float], head_scale: float) -> Body:
    """Turn the bones.

    Args:
        angles: the pose.
        lengths: of `BONES`, in body heights.
        head_scale: size of the head; 1 is a grown-up's.
    """
    trunk = about_x(angles.lean) @ about_z(angles.tilt) @ about_y(angles.twist)
    head = trunk @ about_y(angles.turn) @ about_x(angles.nod)
    thorax = trunk @ (0, lengths["trunk"], 0)
    neck = thorax + trunk @ np.array((0, 0.035, 0))
    middle = neck + head @ np.array((0, 0.082, 0.012)) * head_scale
    points = {"pelvis": np.zeros(3), "neck": neck, "head": middle}
    for name, place in FACE.items():
        points[name] = middle + head @ np.array(place) * head_scale
    for (side, sign), arm, leg in zip(SIDES, angles.arms, angles.legs, strict=True):
        shoulder = thorax + trunk @ np.array((sign * lengths["shoulders"], 0, 0))
        upper = (
            trunk
            @ about_z(sign * arm.outwards)
            @ about_x(-arm.forwards)
            @ about_y(-sign * arm.inwards)
        )
        fore = upper @ about_x(-arm.elbow)
        elbow = shoulder + upper @ _down(lengths["upper_arm"])
        wrist = elbow + fore @ _down(lengths["forearm"])
        hip = np.array((sign * lengths["hips"], 0, 0))
        thigh = about_z(sign * leg.outwards) @ about_x(-leg.forwards)
        shank = thigh @ about_x(leg.knee)
        knee = hip + thigh @ _down(lengths["thigh"])
        ankle = knee + shank @ _down(lengths["shank"])
        points |= {
            f"{side}_shoulder": shoulder,
            f"{side}_elbow": elbow,
            f"{side}_wrist": wrist,
            f"{side}_hand": wrist + fore @ _down(lengths["hand"]),
            f"{side}_hip": hip,
            f"{side}_knee": knee,
            f"{side}_ankle": ankle,
            f"{side}_heel": ankle + shank @ np.array((0, -0.025, -0.015)),
            f"{side}_toe": ankle + shank @ np.array((0, -0.028, lengths["foot"])),
        }
    return Body(points, trunk, head, head_scale)


def about_x(degrees: float) -> NDArray[np.float64]:
    """`[3,3]` rotation that brings up forwards."""
    c, s = _cos_sin(degrees)
    return np.array(((1, 0, 0), (0, c, -s), (0, s, c)))


def about_y(degrees: float) -> NDArray[np.float64]:
    """`[3,3]` rotation that brings forwards to the left."""
    c, s = _cos_sin(degrees)
    return np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def about_z(degrees: float) -> NDArray[np.float64]:
    """`[3,3]` rotation that brings left up."""
    c, s = _cos_sin(degrees)
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))


def _cos_sin(degrees: float) -> tuple[float, float]:
    radians = np.deg2rad(degrees)
    return float(np.cos(radians)), float(np.sin(radians))


def _down(length: float) -> NDArray[np.float64]:
    return np.array((0, -length, 0))
