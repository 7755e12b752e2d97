"""Rendering the views of a batch: by OpenCV, or on a GPU that holds the pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from farpose_training.data.gpu_crops import crop_packed, pack, packed_bytes, recolor
from farpose_training.data.people import GIGABYTE, TrainingPeople
from farpose_training.data.views import View, render, render_for_teacher

MEMORY_SHARE = 0.5
"""Of the free memory of a GPU, that pictures may take; the rest is left to the networks."""


class Renderer(Protocol):
    """Makes the crops of a batch.

    Both methods take `[B]` indices of pictures with a view of each, and give `[B,R,R,3]` UINT8 RGB.
    """

    def student(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """What the student sees: shrunk and degraded where the view says so."""

    def teacher(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """The same views as the teacher sees them."""


class HostRenderer:
    """Renders with OpenCV on the CPU.

    Args:
        pictures: `[H,W,3]` RGB each.
    """

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._pictures = pictures

    def student(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """See `Renderer`."""
        crops = [
            render(self._pictures[picture], view, resolution)
            for picture, view in zip(chosen, views, strict=True)
        ]
        return torch.from_numpy(np.stack(crops))

    def teacher(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """See `Renderer`."""
        crops = [
            render_for_teacher(self._pictures[picture], view, resolution)
            for picture, view in zip(chosen, views, strict=True)
        ]
        return torch.from_numpy(np.stack(crops))


class DeviceRenderer:
    """Renders on the device that holds the pictures; the crops are left there.

    A student's view that is shrunk or degraded is rendered by OpenCV and copied: area resampling
    and JPEG are OpenCV's own. The teacher's crops, 16 times as many pixels, never are.

    Args:
        pictures: `[H,W,3]` RGB each.
        used: indices of those that will be asked for.
        device: where to keep them.
    """

    def __init__(
        self, pictures: Sequence[NDArray[np.uint8]], used: Sequence[int], device: torch.device
    ) -> None:
        self._host = HostRenderer(pictures)
        self._packed = pack(pictures, used, device)
        self._device = device

    def student(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """See `Renderer`."""
        plain = np.array([view.shrinking >= 1 and view.degradation is None for view in views])
        crops = torch.empty(
            len(views), resolution, resolution, 3, dtype=torch.uint8, device=self._device
        )
        for rows, renderer in ((plain, self.teacher), (~plain, self._host.student)):
            index = np.flatnonzero(rows)
            if len(index):
                rendered = renderer(chosen[index], [views[i] for i in index], resolution)
                crops[torch.from_numpy(index)] = rendered.to(self._device)
        return crops

    def teacher(self, chosen: NDArray[np.intp], views: Sequence[View], resolution: int) -> Tensor:
        """See `Renderer`."""
        matrices = np.stack([view.to_picture(resolution) for view in views])
        crops = crop_packed(self._packed, chosen, matrices, resolution)
        unchanged = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        tables = [unchanged if view.colors is None else view.colors for view in views]
        return recolor(crops, np.stack(tables))


def renderer_for(people: TrainingPeople, device: torch.device) -> Renderer:
    """On a GPU where all pictures fit into its memory and the processor's, else on the CPU."""
    pictures, used = people.pictures, np.unique(people.picture_index).tolist()
    if device.type != "cuda":
        return HostRenderer(pictures)
    if pictures.kept < len(used):
        gigabytes = math.ceil(10 * pictures.needed / GIGABYTE) / 10
        tqdm.write(
            f"pictures are read when they are used: all of them take {gigabytes} GB, more than "
            "runtime.picture_memory_gb, so crops are made on the CPU"
        )
        return HostRenderer(pictures)
    needed, (free, _) = packed_bytes(pictures, used), torch.cuda.mem_get_info(device)
    if needed > MEMORY_SHARE * free:
        tqdm.write(
            f"the training pictures take {needed / 1e9:.1f} GB and the GPU has {free / 1e9:.1f} GB "
            "left: crops are made on the CPU"
        )
        return HostRenderer(pictures)
    return DeviceRenderer(pictures, used, device)
