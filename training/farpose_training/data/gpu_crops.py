"""The reference crop in PyTorch: batches cut from pictures that stay on a device.

The pixels of all pictures, and of their pyramids of 2x2 means, lie one after another in one tensor,
so that a batch is cut from pictures of many sizes at once. The crops are those of `farpose.crop`
but for rounding: within 1 grey level on average and 6 at most. That is tested on the CPU; none of
this has been run on a GPU by us.

Shapes: B crops, P pictures, N pixels of all levels, S levels of the largest picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIXELS_AT_ONCE = 2**22
"""Samples taken in one go, which bounds the memory for intermediate results to about 400 MB."""

_FROM_DOUBLED = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]])
"""A pixel of the doubled crop is half a crop pixel wide: index h lies at (h - 1/2) / 2."""


@dataclass(frozen=True)
class PackedPictures:
    """Pictures with their mean pyramids, on one device."""

    pixels: Tensor
    """`[N,3]` UINT8 RGB, row by row."""

    starts: NDArray[np.int64]
    """`[P,S]` where each level begins in `pixels`; beyond the last one, which is a single pixel,
    that one again."""

    sizes: NDArray[np.int64]
    """`[P,S,2]` width and height of each level."""


def packed_bytes(pictures: Sequence[NDArray[np.uint8]], used: Iterable[int]) -> int:
    """How much device memory `pack` takes."""
    return 3 * sum(width * height for i in used for width, height in _level_sizes(pictures[i]))


def pack(
    pictures: Sequence[NDArray[np.uint8]], used: Sequence[int], device: torch.device
) -> PackedPictures:
    """Bring pictures to a device, and make their pyramids there.

    Args:
        pictures: `P` of `[H,W,3]` RGB.
        used: those that will be cropped; the others are left out.
        device: where to keep them.
    """
    levels = {index: _level_sizes(pictures[index]) for index in used}
    deepest = max(map(len, levels.values()))
    sizes = np.zeros((len(pictures), deepest, 2), np.int64)
    starts = np.zeros((len(pictures), deepest), np.int64)
    size = packed_bytes(pictures, used) // 3
    pixels = torch.empty(size, 3, dtype=torch.uint8, device=device)
    end = 0
    for index, ladder in levels.items():
        level = torch.tensor(pictures[index], device=device)
        for depth, (width, height) in enumerate(ladder):
            if depth:
                level = _halved(level[None])[0]
            starts[index, depth:] = end
            sizes[index, depth:] = width, height
            pixels[end : end + width * height] = level.reshape(-1, 3)
            end += width * height
    return PackedPictures(pixels, starts, sizes)


def crop_packed(
    packed: PackedPictures,
    chosen: NDArray[np.intp],
    matrices: NDArray[np.float64],
    resolution: int,
) -> Tensor:
    """Cut crops along affine maps, as `farpose.crop.crop_affine` does.

    Args:
        packed: the pictures.
        chosen: `[B]` which of them.
        matrices: `[B,2,3]` maps from crop pixels to picture pixels (pixel-centre indices).
        resolution: `R`.

    Returns:
        `[B,R,R,3]` UINT8 on the pictures' device.
    """
    picture_pixels_per_pixel = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])))
    levels = np.maximum(0, np.floor(np.log2(picture_pixels_per_pixel / 2))).astype(np.int64)
    to_level = matrices @ _FROM_DOUBLED
    # A pixel of level L with index i covers 2^L picture pixels, about 2^L i + (2^L - 1) / 2.
    to_level[:, :, 2] -= (2.0 ** levels[:, None] - 1) / 2
    to_level /= 2.0 ** levels[:, None, None]

    stored = np.minimum(levels, packed.starts.shape[1] - 1)
    device = packed.pixels.device
    starts = torch.from_numpy(packed.starts[chosen, stored]).to(device)
    sizes = torch.from_numpy(packed.sizes[chosen, stored]).to(device)
    maps = torch.from_numpy(to_level.astype(np.float32)).to(device)
    parts = zip(
        *(
            rows.split(max(1, PIXELS_AT_ONCE // (2 * resolution) ** 2))
            for rows in (starts, sizes, maps)
        ),
        strict=True,
    )
    return torch.cat([_halved(_warped(packed.pixels, *part, 2 * resolution)) for part in parts])


def recolor(crops: Tensor, tables: NDArray[np.uint8]) -> Tensor:
    """Look up crops `[B,R,R,3]` UINT8 in tables `[B,256,3]`, one for each."""
    table = torch.from_numpy(tables).to(crops.device)
    return table.gather(1, crops.flatten(1, 2).long()).view_as(crops)


def _warped(pixels: Tensor, starts: Tensor, sizes: Tensor, maps: Tensor, side: int) -> Tensor:
    """Sample levels bilinearly, with zeros around them.

    Args:
        pixels: `[N,3]` UINT8.
        starts: `[B]` where each level begins.
        sizes: `[B,2]` its width and height.
        maps: `[B,2,3]` from the pixels of the result to the level's.
        side: of the result.

    Returns:
        `[B,side,side,3]` UINT8.
    """
    index = torch.arange(side, device=pixels.device, dtype=maps.dtype)
    across, down, offset = maps[..., None, None].unbind(2)
    position = across * index + down * index[:, None] + offset
    low = position.floor()
    x1, y1 = (position - low).unbind(1)
    column, row = low.long().unbind(1)
    width, height = sizes[..., None, None].unbind(1)
    total = torch.zeros(*column.shape, 3, device=pixels.device)
    for right, weight_x in enumerate((1 - x1, x1)):
        for below, weight_y in enumerate((1 - y1, y1)):
            x, y = column + right, row + below
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            place = torch.where(inside, starts[:, None, None] + y * width + x, 0)
            total += (weight_x * weight_y * inside)[..., None] * pixels[place]
    return total.round_().to(torch.uint8)


def _halved(images: Tensor) -> Tensor:
    """2x2 means of UINT8 `[B,H,W,3]`, rounded half up; an odd last row or column counts twice."""
    height, width = images.shape[1:3]
    if height % 2:
        images = torch.cat([images, images[:, -1:]], dim=1)
    if width % 2:
        images = torch.cat([images, images[:, :, -1:]], dim=2)
    blocks = images.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return ((blocks.sum((2, 4), dtype=torch.int32) + 2) // 4).to(torch.uint8)


def _level_sizes(picture: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Width and height of each level of a picture's pyramid, down to one pixel."""
    height, width = picture.shape[:2]
    sizes = [(width, height)]
    while max(width, height) > 1:
        width, height = (width + 1) // 2, (height + 1) // 2
        sizes.append((width, height))
    return sizes
