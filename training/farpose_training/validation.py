"""PCK of a network in training, on crops made by the reference crop."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.evaluation.pck import correct_joints, pck
from farpose.geometry import CropGeometry
from farpose.keypoints import KeypointSet
from farpose_training.config import ModelConfig, Source
from farpose_training.data.boxes import detector_like_boxes
from farpose_training.data.drawn.source import materialised
from farpose_training.data.sources import load_source
from farpose_training.models.network import PoseNet, build_decoder

BATCH = 128

METRICS = ("pck_0.2", "pck_0.5")
"""What a network is scored by."""


class Validator:
    """Scores networks on one annotated set, whose crops are made once and kept.

    Args:
        source: the set.
        joints: what the networks predict.
        model: their resolution and decoding.
    """

    def __init__(self, source: Source, joints: KeypointSet, model: ModelConfig) -> None:
        source = materialised(source)
        dataset = load_source(source).converted(joints)
        self._joints, self._truth = joints, dataset.keypoints
        self._geometry = CropGeometry.from_boxes(detector_like_boxes(dataset, source))
        self._resolution = model.resolution
        self._decoder = build_decoder(model)
        self._crops = np.empty((len(dataset), model.resolution, model.resolution, 3), np.uint8)
        for index, picture in enumerate(dataset.pictures):
            people = np.flatnonzero(dataset.picture_index == index)
            if len(people):
                geometry = CropGeometry(
                    self._geometry.centers[people], self._geometry.sides[people]
                )
                self._crops[people] = crop_people(picture.read(), geometry, model.resolution)

    @torch.no_grad()
    def __call__(self, model: PoseNet) -> dict[str, float]:
        """`METRICS` over the limb joints; the network is left in eval mode."""
        model.eval()
        device = model.mean.device
        decoder = self._decoder.to(device)
        parts: list[NDArray[np.float32]] = []
        for crops in torch.from_numpy(self._crops).split(BATCH):
            keypoints, _, _ = decoder(model(crops.to(device)))
            parts.append(keypoints.cpu().numpy())
        predicted = self._geometry.to_frame(np.concatenate(parts), self._resolution)
        return {
            f"pck_{fraction}": pck(correct_joints(predicted, self._truth, self._joints, fraction))
            for fraction in (0.2, 0.5)
        }
