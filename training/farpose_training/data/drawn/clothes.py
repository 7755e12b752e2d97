"""What a figure wears: random colours, and how wide it is."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Color = tuple[int, int, int]
"""RGB."""

SKIN: Final = ((255, 224, 196), (234, 192, 154), (198, 145, 104), (141, 94, 62), (84, 55, 40))
HAIR: Final = ((25, 20, 18), (60, 40, 28), (112, 74, 40), (196, 160, 98), (150, 150, 150))

HAIR_CONTRAST: Final = 40
"""Least difference of hair and skin, grey levels."""


@dataclass(frozen=True)
class Clothes:
    """Colours and widths of one figure."""

    skin: Color
    hair: Color
    hair_length: float
    """0 is short; 1 hangs over the neck."""

    shirt: Color
    sleeves: Literal["long", "short", "none"]
    stripes: Color | None
    """Around the trunk."""

    front: Color | None
    """A band down the chest, as a zip or tie."""

    trousers: Color
    legs: Literal["long", "short", "hot"]
    shoes: Color
    backpack: Color | None
    width: float
    """Of trunk and limbs; 1 is average."""


def random_clothes(rng: np.random.Generator) -> Clothes:
    """Something to wear."""
    sleeves: tuple[Literal["long", "short", "none"], ...] = ("long", "short", "none")
    legs: tuple[Literal["long", "short", "hot"], ...] = ("long", "short", "hot")
    skin = SKIN[rng.integers(len(SKIN))]
    # Hair that is told from skin: without it a small face looks like the back of a head.
    hairs = [hair for hair in HAIR if abs(sum(hair) - sum(skin)) > 3 * HAIR_CONTRAST]
    return Clothes(
        skin=_near(skin, rng),
        hair=_near(hairs[rng.integers(len(hairs))], rng),
        hair_length=float(rng.choice((0.0, 0.5, 1.2), p=(0.5, 0.2, 0.3))),
        shirt=_cloth(rng),
        sleeves=sleeves[rng.choice(3, p=(0.5, 0.4, 0.1))],
        stripes=_cloth(rng) if rng.random() < 0.2 else None,
        front=_cloth(rng) if rng.random() < 0.7 else None,
        trousers=_cloth(rng),
        legs=legs[rng.choice(3, p=(0.6, 0.3, 0.1))],
        shoes=_cloth(rng),
        backpack=_cloth(rng) if rng.random() < 0.2 else None,
        width=float(np.clip(rng.normal(1, 0.13), 0.75, 1.4)),
    )


def _cloth(rng: np.random.Generator) -> Color:
    """Mostly muted, sometimes loud, as in a street."""
    saturation = rng.beta(1.2, 2.2)
    return _rgb(rng.random(), saturation, rng.uniform(0.12, 0.95))


def _near(color: Color, rng: np.random.Generator) -> Color:
    red, green, blue = np.clip(np.array(color) * rng.normal(1, 0.07) + rng.normal(0, 4, 3), 0, 255)
    return int(red), int(green), int(blue)


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
