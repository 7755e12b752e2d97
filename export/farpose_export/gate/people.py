"""Labelled people as crops, and the scores of poses in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.evaluation.boxes import EXTENT_SCALE, are_joint_extents, with_scaled_boxes
from farpose.evaluation.dataset import DatasetError, PoseDataset
from farpose.evaluation.formats import load_annotated
from farpose.evaluation.heights import accuracy
from farpose.evaluation.oks import Predictions, average_precision
from farpose.geometry import CropGeometry
from farpose.keypoints import KeypointSet


@dataclass(frozen=True)
class PeopleScores:
    """How good poses are, as shares of 1."""

    pck: float
    """PCK@0.2; nan where no torso is labelled."""

    ap: float
    """COCO's average precision with labelled boxes."""


@dataclass(frozen=True)
class LabelledPeople:
    """Crops of labelled people, made once for all graphs that are compared on them."""

    crops: NDArray[np.uint8]
    """`[P,R,R,3]` RGB."""

    geometry: CropGeometry
    dataset: PoseDataset
    name: str
    """The annotations' file name."""

    @classmethod
    def load(cls, annotations: Path, images: Path, joints: KeypointSet, resolution: int) -> Self:
        """Crop everybody of a dataset by the labelled box.

        Boxes that only span the joints are enlarged, as `farpose evaluate` does.

        Args:
            annotations: as of `farpose evaluate`.
            images: the folder of its pictures.
            joints: of the model.
            resolution: `R`.

        Raises:
            DatasetError: something of it cannot be read, or nobody is in it.
        """
        dataset = load_annotated(annotations, images).converted(joints)
        if not len(dataset):
            raise DatasetError(f"{annotations}: has no people with labelled joints")
        if are_joint_extents(dataset):
            dataset = with_scaled_boxes(dataset, EXTENT_SCALE)
        geometry = CropGeometry.from_boxes(dataset.boxes)
        crops = np.empty((len(dataset), resolution, resolution, 3), np.uint8)
        for index, picture in enumerate(dataset.pictures):
            people = np.flatnonzero(dataset.picture_index == index)
            if len(people):
                part = CropGeometry(geometry.centers[people], geometry.sides[people])
                crops[people] = crop_people(picture.read(), part, resolution)
        return cls(crops, geometry, dataset, annotations.name)

    def score(self, keypoints: NDArray[np.floating], scores: NDArray[np.floating]) -> PeopleScores:
        """Scores of poses, keypoints `[P,J,2]` crop pixels and scores `[P,J]`, one per person."""
        placed = self.geometry.to_frame(keypoints, self.crops.shape[1])
        predicted = np.concatenate([placed, scores[..., None]], axis=-1)
        precision = average_precision(
            self.dataset,
            Predictions(
                picture_index=self.dataset.picture_index,
                boxes=self.dataset.boxes,
                scores=np.ones(len(self.dataset)),
                keypoints=predicted,
            ),
        )
        return PeopleScores(pck=accuracy(predicted, self.dataset).pck_02, ap=precision.ap)
