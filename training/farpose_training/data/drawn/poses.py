"""What people do: random angles that belong together."""

from __future__ import annotations

from typing import Final

import numpy as np

from farpose_training.data.drawn.skeleton import BONES, Angles, Arm, Body, Leg, posed

ACTIVITIES: Final = {
    "standing": 0.25,
    "walking": 0.3,
    "running": 0.1,
    "sitting": 0.15,
    "reaching": 0.1,
    "crouching": 0.1,
}
"""How often each is drawn."""


def random_body(rng: np.random.Generator) -> Body:
    """Someone doing something."""
    lengths = {bone: length * rng.normal(1, 0.05) for bone, length in BONES.items()}
    head_scale = rng.choice((1.0, 1.35), p=(0.8, 0.2)) * rng.normal(1, 0.04)
    return posed(random_angles(rng), lengths, float(head_scale))


def random_angles(rng: np.random.Generator) -> Angles:
    """A pose of one of `ACTIVITIES`."""
    activity = str(rng.choice(list(ACTIVITIES), p=list(ACTIVITIES.values())))
    lean, legs, swing = _lower_half(activity, rng)
    # In half of all walks the arms swing against the legs, otherwise they do something else.
    swings = swing and rng.random() < 0.6
    arms = [
        _swinging(-phase, activity == "running", rng) if swings else _arm(activity, rng)
        for phase in (swing, -swing)
    ]
    return Angles(
        arms=(arms[0], arms[1]),
        legs=legs,
        lean=lean,
        tilt=rng.normal(0, 4),
        twist=rng.normal(0, 10),
        turn=float(np.clip(rng.normal(0, 25), -65, 65)),
        nod=rng.normal(8, 10),
    )


def _lower_half(activity: str, rng: np.random.Generator) -> tuple[float, tuple[Leg, Leg], float]:
    """Lean, left and right leg, and how far forwards the left leg swings, -1 to 1."""
    if activity in ("walking", "running"):
        run = activity == "running"
        phase = float(np.sin(rng.uniform(0, 2 * np.pi)))
        reach = rng.uniform(35, 60) if run else rng.uniform(18, 35)
        pair = [
            Leg(
                forwards=reach * side + (10 if run else 0),
                outwards=rng.normal(3, 3),
                knee=_bend(rng, 15 + (45 if run else 12) * (1 - side)),
            )
            for side in (phase, -phase)
        ]
        return rng.normal(12 if run else 4, 5), (pair[0], pair[1]), phase
    if activity == "sitting":
        apart = abs(rng.normal(8, 6))
        pair = [
            Leg(rng.normal(82, 10), apart + rng.normal(0, 4), _bend(rng, rng.uniform(60, 105)))
            for _ in range(2)
        ]
        return rng.normal(6, 12), (pair[0], pair[1]), 0
    if activity == "crouching":
        deep = rng.uniform(40, 110)
        pair = [
            Leg(deep + rng.normal(0, 15), rng.uniform(4, 25), _bend(rng, deep * 1.25))
            for _ in range(2)
        ]
        return 0.35 * deep + rng.normal(0, 8), (pair[0], pair[1]), 0
    pair = [Leg(rng.normal(2, 6), rng.uniform(0, 14), _bend(rng, 4)) for _ in range(2)]
    return rng.normal(2, 6), (pair[0], pair[1]), 0


def _swinging(phase: float, run: bool, rng: np.random.Generator) -> Arm:
    elbow = rng.normal(85, 12) if run else rng.normal(20, 10)
    return Arm(
        forwards=(45 if run else 25) * phase + rng.normal(0, 5),
        outwards=rng.normal(10, 4),
        inwards=rng.normal(15, 10),
        elbow=float(np.clip(elbow, 0, 140)),
    )


def _arm(activity: str, rng: np.random.Generator) -> Arm:
    if activity == "reaching" or rng.random() < 0.12:
        return Arm(rng.uniform(-10, 90), rng.uniform(70, 170), rng.normal(0, 30), _bend(rng, 30))
    if activity in ("sitting", "crouching"):
        return Arm(rng.uniform(10, 60), rng.uniform(5, 30), rng.uniform(0, 60), _bend(rng, 50))
    kind = rng.integers(4)
    if kind == 0:  # before the chest, as with a telephone or folded
        return Arm(rng.uniform(5, 45), rng.uniform(5, 30), rng.uniform(20, 70), _bend(rng, 105))
    if kind == 1:  # stretched out to the front or side
        return Arm(rng.uniform(20, 90), rng.uniform(10, 60), rng.uniform(0, 30), _bend(rng, 20))
    if kind == 2:  # akimbo
        return Arm(rng.uniform(-30, 0), rng.uniform(35, 55), rng.uniform(60, 100), _bend(rng, 85))
    return Arm(rng.normal(0, 10), rng.uniform(4, 20), rng.normal(10, 20), _bend(rng, 12))


def _bend(rng: np.random.Generator, degrees: float) -> float:
    """Of an elbow or a knee, which bend one way."""
    return float(np.clip(abs(rng.normal(degrees, 8)), 0, 145))
