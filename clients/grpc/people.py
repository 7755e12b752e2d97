"""The people of a picture, as the examples of this folder print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class People(NamedTuple):
    """`P` people of one picture, in its pixels."""

    boxes: NDArray[Any]
    """`[P,4]` x1, y1, x2, y2; continuous edges."""

    scores: NDArray[Any]
    """`[P]` how sure the detector is, 0..1."""

    keypoints: NDArray[Any]
    """`[P,J,3]` x, y (pixel-centre indices) and score of every joint."""

    names: Sequence[str]
    """Of the `J` joints."""


def text(people: People) -> str:
    """A line for every person, and a line below it for every joint."""
    count = len(people.boxes)
    lines = ["1 person" if count == 1 else f"{count} people"]
    for number in range(count):
        edges = " ".join(f"{edge:.1f}" for edge in people.boxes[number])
        lines.append(f"person {number + 1}: score {people.scores[number]:.2f}, box {edges}")
        lines += [
            f"  {name:<16} {x:8.1f} {y:8.1f}  {score:.2f}"
            for name, (x, y, score) in zip(people.names, people.keypoints[number], strict=True)
        ]
    return "\n".join(lines)


def empty(names: Sequence[str]) -> People:
    """Nobody."""
    return People(np.empty((0, 4)), np.empty(0), np.empty((0, len(names), 3)), names)
