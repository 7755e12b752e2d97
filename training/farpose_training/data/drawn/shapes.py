"""What is drawn of a body: rounded shapes in groups that hide each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose_training.data.drawn.clothes import Clothes, Color
from farpose_training.data.drawn.skeleton import FACE, SIDES, Body

UP: Final = np.array((0.0, 1.0, 0.0))
FORWARDS: Final = np.array((0.0, 0.0, 1.0))

OWN_GROUPS: Final = {
    "shoulder": ("upper_arm", "trunk"),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm",),
    "hip": ("thigh", "trunk"),
    "knee": ("thigh", "shank"),
    "ankle": ("shank",),
}
"""A joint is seen where one of these is on top; all but the trunk are those of its side."""

BEHIND_TRUNK: Final = 0.07
"""A hip or shoulder so far behind the trunk's middle is not seen through it, body heights."""

FACING: Final = {"nose": 0.0, "eye": 0.15, "ear": 0.1}
"""Least cosine to the viewer of a face joint that is seen, from the middle of the head."""


@dataclass(frozen=True)
class Shape:
    """The convex hull of some balls."""

    centers: NDArray[np.float64]
    """`[n,3]` body heights; the viewer is at large z."""

    radii: NDArray[np.float64]
    """`[n]` body heights."""

    color: Color
    flat: bool = False
    """Whether it is a print on another shape, which light does not round."""


@dataclass(frozen=True)
class Group:
    """Shapes that are drawn one after the other, nothing between them."""

    name: str
    shapes: tuple[Shape, ...]
    depth: float
    """Those with a larger one are drawn later."""


def dressed(body: Body, clothes: Clothes, view: NDArray[np.float64]) -> list[Group]:
    """The groups of a body, from back to front.

    Args:
        body: what is drawn.
        clothes: its colours and widths.
        view: `[3,3]` rotation from the body's axes to the viewer's: x to the right of the picture,
            y up and z to the viewer.
    """
    at = {name: view @ point for name, point in body.points.items()}
    groups = [_trunk(body, at, clothes, view), _head(body, at, clothes, view)]
    for side, _ in SIDES:
        groups += _arm(side, at, clothes)
        groups += _leg(side, at, clothes)
    if clothes.backpack is not None:
        groups.append(_backpack(body, at, clothes.backpack, clothes.width, view))
    return sorted(groups, key=lambda group: group.depth)


def seen(joint: str, top: str, body: Body, view: NDArray[np.float64]) -> bool:
    """Whether a joint is seen where the group `top` is on top."""
    side, _, part = joint.rpartition("_")
    if part in FACING:
        towards = view @ (body.points[joint] - body.points["head"])
        return top == "head" and towards[2] > FACING[part] * float(np.linalg.norm(towards))
    if top == "trunk":
        depth = float((view @ body.points[joint])[2])
        middle = float((view @ (body.points["pelvis"] + body.points["neck"]))[2]) / 2
        return top in OWN_GROUPS[part] and depth > middle - BEHIND_TRUNK
    return top in {f"{side}_{group}" for group in OWN_GROUPS[part]}


def _trunk(
    body: Body, at: dict[str, NDArray[np.float64]], clothes: Clothes, view: NDArray[np.float64]
) -> Group:
    w = clothes.width
    inner = {
        name: at["neck"] * 0.12 + at[name] * 0.88 for name in ("left_shoulder", "right_shoulder")
    }
    hips = [at["left_hip"], at["right_hip"]]
    waist = [hip + (at["neck"] - at["pelvis"]) * 0.14 for hip in hips]
    shapes = [
        _shape([*hips, *waist], [0.058 * w] * 2 + [0.05 * w] * 2, clothes.trousers),
        _shape([*inner.values(), *waist], [0.042 * w] * 2 + [0.052 * w] * 2, clothes.shirt),
    ]
    if clothes.stripes is not None:
        for t in (0.2, 0.42, 0.64):
            ends = [
                inner[f"{side}_shoulder"] * (1 - t) + at[f"{side}_hip"] * t for side, _ in SIDES
            ]
            out = (ends[0] - ends[1]) * 0.12
            shapes.append(
                _shape([ends[0] + out, ends[1] - out], [0.014] * 2, clothes.stripes, flat=True)
            )
    neck = [
        at["neck"] - (view @ body.trunk @ UP) * 0.03,
        at["head"] - (view @ body.head @ UP) * 0.04,
    ]
    shapes.append(_shape(neck, [0.030 * w, 0.028], clothes.skin))
    front = view @ body.trunk @ FORWARDS
    if front[2] > 0.2:
        chest = at["neck"] - (view @ body.trunk @ UP) * 0.045 + front * 0.05 * w
        low = chest - (view @ body.trunk @ UP) * 0.17
        if clothes.front is not None:
            shapes.append(_shape([chest, low], [0.022, 0.022], clothes.front, flat=True))
        shapes.append(
            _shape(
                [chest, chest + (view @ body.trunk @ UP) * 0.03],
                [0.012, 0.03],
                clothes.skin,
                flat=True,
            )
        )
    depth = (at["pelvis"] + at["neck"])[2] / 2
    return Group("trunk", tuple(shapes), float(depth) + 0.01)


def _head(
    body: Body, at: dict[str, NDArray[np.float64]], clothes: Clothes, view: NDArray[np.float64]
) -> Group:
    scale = body.head_scale
    axes = view @ body.head * scale

    def place(x: float, y: float, z: float) -> NDArray[np.float64]:
        return at["head"] + axes @ np.array((x, y, z))

    face = _shape(
        [place(0, 0.005, 0.012), place(0, -0.035, 0.022)],
        [0.051 * scale, 0.034 * scale],
        clothes.skin,
    )
    hair = _shape(
        [place(0, 0.020, -0.012), place(0, -0.06 * clothes.hair_length, -0.026)],
        [0.057 * scale, 0.04 * scale],
        clothes.hair,
    )
    front = axes @ FORWARDS
    shapes = [hair, face] if front[2] > -0.25 * scale else [face, hair]
    if front[2] > -0.25 * scale:
        fringe = [place(-0.028, 0.047, 0.030), place(0.028, 0.047, 0.030)]
        shapes.append(_shape(fringe, [0.024 * scale] * 2, clothes.hair))
    for joint in FACE:
        part = joint.rpartition("_")[2]
        if not seen(joint, "head", body, view):
            continue
        if part == "eye":
            shapes.append(_shape([at[joint]], [0.0105 * scale], (235, 235, 235), flat=True))
            shapes.append(_shape([at[joint]], [0.0065 * scale], (30, 25, 25), flat=True))
        else:
            radius = (0.013 if part == "nose" else 0.015) * scale
            color = tuple(int(0.82 * c) for c in clothes.skin)
            shapes.append(_shape([at[joint]], [radius], (color[0], color[1], color[2]), flat=True))
    if front[2] > 0.1 * scale:
        mouth = [place(-0.012, -0.038, 0.055), place(0.012, -0.038, 0.055)]
        shapes.append(_shape(mouth, [0.005 * scale] * 2, (150, 60, 60), flat=True))
    return Group("head", tuple(shapes), float(at["head"][2]) + 0.005)


def _arm(side: str, at: dict[str, NDArray[np.float64]], clothes: Clothes) -> list[Group]:
    w = clothes.width
    shoulder, elbow, wrist = (at[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist"))
    sleeve_end = shoulder + (elbow - shoulder) * 0.55
    upper = [_shape([shoulder, elbow], [0.034 * w, 0.026 * w], clothes.skin)]
    fore = [
        _shape([wrist, at[f"{side}_hand"]], [0.019, 0.020], clothes.skin),
        _shape([elbow, wrist], [0.025 * w, 0.019 * w], clothes.skin),
    ]
    if clothes.sleeves == "long":
        upper.append(_shape([shoulder, elbow], [0.039 * w, 0.031 * w], clothes.shirt))
        fore.append(_shape([elbow, wrist], [0.031 * w, 0.024 * w], clothes.shirt))
    elif clothes.sleeves == "short":
        upper.append(_shape([shoulder, sleeve_end], [0.040 * w, 0.036 * w], clothes.shirt))
    return [
        Group(f"{side}_upper_arm", tuple(upper), _depth(shoulder, elbow)),
        Group(f"{side}_forearm", tuple(fore), _depth(elbow, wrist)),
    ]


def _leg(side: str, at: dict[str, NDArray[np.float64]], clothes: Clothes) -> list[Group]:
    w = clothes.width
    hip, knee, ankle = (at[f"{side}_{j}"] for j in ("hip", "knee", "ankle"))
    shoe = _shape([at[f"{side}_heel"], at[f"{side}_toe"]], [0.026, 0.017], clothes.shoes)
    thigh = [_shape([hip, knee], [0.056 * w, 0.038 * w], clothes.skin)]
    shank = [_shape([knee, ankle], [0.036 * w, 0.022 * w], clothes.skin)]
    if clothes.legs == "long":
        thigh = [_shape([hip, knee], [0.058 * w, 0.042 * w], clothes.trousers)]
        shank = [_shape([knee, ankle], [0.041 * w, 0.031 * w], clothes.trousers)]
    else:
        end = hip + (knee - hip) * (0.75 if clothes.legs == "short" else 0.35)
        thigh.append(_shape([hip, end], [0.059 * w, 0.049 * w], clothes.trousers))
    return [
        Group(f"{side}_thigh", tuple(thigh), _depth(hip, knee)),
        Group(f"{side}_shank", (*shank, shoe), _depth(knee, ankle)),
    ]


def _backpack(
    body: Body,
    at: dict[str, NDArray[np.float64]],
    color: Color,
    width: float,
    view: NDArray[np.float64],
) -> Group:
    axes = view @ body.trunk
    corners = [
        at["pelvis"] + axes @ np.array((x, y, -0.10 * width))
        for x in (-0.055, 0.055)
        for y in (0.09, 0.24)
    ]
    shape = _shape(corners, [0.035] * 4, color)
    return Group("backpack", (shape,), _depth(*corners))


def _shape(
    centers: list[NDArray[np.float64]], radii: list[float], color: Color, *, flat: bool = False
) -> Shape:
    return Shape(np.stack(centers), np.array(radii), color, flat)


def _depth(*points: NDArray[np.float64]) -> float:
    return float(np.mean([point[2] for point in points]))
