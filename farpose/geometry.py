"""From person boxes to square crops and back: geometry only, no pixels.

Positions are pixel-centre indices (0 is the centre of the first pixel); box edges are continuous
(the first pixel spans 0 to 1), so a continuous position is an index plus one half. The centre of a
crop lies at index `(R/2, R/2)` whatever `R` is: a position in a 256-pixel crop is exactly 4 times
that in the 64-pixel crop of the same person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

BOX_SCALE: Final = 1.25
"""A crop is this much larger than the longer side of its box (the convention of top-down pose
estimation since SimpleBaseline)."""


class BoxError(ValueError):
    """A box that cannot be cropped: not finite, or without area."""


@dataclass(frozen=True)
class CropGeometry:
    """Where `N` upright square crops lie in a frame."""

    centers: NDArray[np.float64]
    """`[N,2]` crop centres, pixel-centre indices of the frame."""

    sides: NDArray[np.float64]
    """`[N]` side lengths in frame pixels."""

    @classmethod
    def from_boxes(cls, boxes: ArrayLike, scale: float = BOX_SCALE) -> Self:
        """Square crops around boxes `[N,4]` (x1, y1, x2, y2, continuous frame pixels).

        Raises:
            BoxError: a box is not finite or has no area.
        """
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        sizes = corners[:, 2:] - corners[:, :2]
        bad = ~(np.isfinite(corners).all(axis=1) & (sizes > 0).all(axis=1))
        if bad.any():
            i = int(np.argmax(bad))
            raise BoxError(
                f"box {i} is {corners[i].tolist()}: give x1,y1,x2,y2 in pixels with x1 < x2 "
                "and y1 < y2"
            )
        return cls(corners.reshape(-1, 2, 2).mean(axis=1) - 0.5, sizes.max(axis=1) * scale)

    def __len__(self) -> int:
        return len(self.sides)

    def to_frame(self, points: ArrayLike, resolution: int) -> NDArray[np.float64]:
        """Map points `[N,J,2]` in crop pixels to frame pixels."""
        scales = (self.sides / resolution)[:, None, None]
        return (np.asarray(points, np.float64) - resolution / 2) * scales + self.centers[:, None]

    def to_crop(self, points: ArrayLike, resolution: int) -> NDArray[np.float64]:
        """Map points `[N,J,2]` in frame pixels to crop pixels."""
        scales = (self.sides / resolution)[:, None, None]
        return (np.asarray(points, np.float64) - self.centers[:, None]) / scales + resolution / 2

    def matrices(self, resolution: int) -> NDArray[np.float64]:
        """`[N,2,3]` affine maps from crop pixels to frame pixels, both pixel-centre indices."""
        scales = self.sides / resolution
        matrices = np.zeros((len(self), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = scales
        matrices[:, :, 2] = self.centers - scales[:, None] * resolution / 2
        return matrices


def box_iou(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union `[K,P]` of boxes `[K,4]` and `[P,4]`, xyxy."""
    a = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, dtype=np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = [np.prod(np.maximum(box[..., 2:] - box[..., :2], 0.0), axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
