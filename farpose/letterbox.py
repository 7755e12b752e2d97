"""Resizing a frame for the detector, and mapping its boxes back to the frame.

The picture keeps its shape: its longer side becomes `size` pixels and the right and bottom are
padded with grey to the next multiple of 32, no further, so a 1280x720 frame at 640 costs 640x384
pixels and not 640x640. Box edges are continuous coordinates: 0 is the left edge of the first
pixel and `width` the right edge of the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 32
"""Height and width of a detector input are multiples of this: its coarsest feature stride."""

PADDING = 114
"""Grey level of the padding (RTMDet was trained with it)."""


@dataclass(frozen=True, slots=True)
class Letterboxed:
    """A frame as the detector sees it.

    Attributes:
        image: UINT8 `[H,W,3]` RGB; H and W are multiples of 32.
        scale: input pixels per frame pixel, (x, y). The two differ by less than one input pixel
            over the picture, because the resized picture has a whole number of pixels.
        frame_size: (width, height) of the frame in pixels.
    """

    image: NDArray[np.uint8]
    scale: tuple[float, float]
    frame_size: tuple[int, int]

    def boxes_to_frame(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map boxes `[K,4]`, xyxy in pixels of `image`, to frame pixels, clipped to the frame."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        edges = np.array(self.frame_size * 2, dtype=np.float32)
        mapped = boxes / np.array(self.scale * 2, dtype=np.float32)
        return np.clip(mapped, 0.0, edges).astype(np.float32)

    def boxes_from_frame(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map boxes `[K,4]`, xyxy in frame pixels, to pixels of `image`."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        return boxes * np.array(self.scale * 2, dtype=np.float32)


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize UINT8 `[H,W,3]` to `width` x `height` pixels without aliasing and without blur.

    While the picture is more than twice too large it is halved by 2x2 means, in which every pixel
    counts; the rest is cubic. Bilinear and area interpolation blur small people more, and the
    detector finds fewer of them (the numbers are in `person_detector`'s model card).
    """
    while image.shape[1] > 2 * width and image.shape[0] > 2 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


Resizer = Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]]
"""(UINT8 `[H,W,3]`, new width, new height) -> UINT8 `[new height, new width, 3]`."""


def letterbox(frame: NDArray[np.uint8], size: int, *, resizer: Resizer = resize) -> Letterboxed:
    """Resize `frame` so that its longer side is `size` pixels, and pad it to multiples of 32.

    Args:
        frame: UINT8 `[H,W,3]` RGB, at least one pixel.
        size: longer side of the input in pixels, a positive multiple of 32.
        resizer: another interpolation, for comparisons.

    Raises:
        ValueError: `size` is no positive multiple of 32, or `frame` is no UINT8 `[H,W,3]`.
    """
    if size <= 0 or size % STRIDE:
        raise ValueError(f"the detector size is a positive multiple of {STRIDE}, not {size}")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise ValueError(f"a frame is UINT8 [H,W,3], not {frame.dtype} {list(frame.shape)}")
    height, width = frame.shape[:2]
    factor = size / max(height, width)
    new_width, new_height = max(1, round(width * factor)), max(1, round(height * factor))
    image = np.full((_padded(new_height), _padded(new_width), 3), PADDING, dtype=np.uint8)
    inside = image[:new_height, :new_width]
    inside[...] = resizer(frame, new_width, new_height)
    return Letterboxed(image, (new_width / width, new_height / height), (width, height))


def _padded(length: int) -> int:
    return -(-length // STRIDE) * STRIDE
