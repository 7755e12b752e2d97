"""Skeletons drawn onto a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpose_client.errors import BadImageError
from farpose_client.pictures import Channels, Picture, as_image
from farpose_client.skeletons import limbs

if TYPE_CHECKING:
    from PIL.Image import Image

    from farpose_client.results import PoseResult

_PALETTE: Final = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
"""RGB colours that colour-blind people tell apart (Okabe and Ito, 2008); people take turns."""


def drawn(
    result: PoseResult, picture: Picture, threshold: float, boxes: bool, channels: Channels
) -> Image:
    """See `PoseResult.draw`."""
    canvas = as_image(picture, channels).convert("RGB")  # a copy, whatever it was
    from PIL import ImageDraw  # it is there, or as_image would have said so

    if canvas.size != (result.image.width, result.image.height):
        raise BadImageError(
            f"The picture has {canvas.width}x{canvas.height} pixels, and the result is of one with "
            f"{result.image.width}x{result.image.height}"
        )
    pen = ImageDraw.Draw(canvas)
    edges = limbs(result.keypoint_names)
    for number, person in enumerate(result.people):
        color = _PALETTE[number % len(_PALETTE)]
        width = max(1, round(person.box.height / 80))
        if boxes:
            # Continuous edges to the pixels they enclose.
            x1, y1, x2, y2 = (edge - 0.5 for edge in person.box)
            if x1 <= x2 and y1 <= y2:
                pen.rectangle((x1, y1, x2, y2), outline=color)
        sure = [joint.score >= threshold and joint.score > 0 for joint in person.keypoints]
        for a, b in edges:
            if sure[a] and sure[b]:
                pen.line((*person.keypoints[a][:2], *person.keypoints[b][:2]), color, width)
        radius = width * 0.6 + 1
        for joint in (j for j, is_sure in zip(person.keypoints, sure, strict=True) if is_sure):
            x, y = joint[:2]
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), "white")
    return canvas
