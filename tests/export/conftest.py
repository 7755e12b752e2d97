"""Real pictures with people in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from farpose.evaluation.dataset import load_dataset
from farpose.images import decode_image

PICTURES = 20


@pytest.fixture(scope="session")
def real_people(data: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Frames `[H,W,3]`, each with the boxes `[P,4]` of the people in it."""
    dataset = load_dataset(data / "coco_mini/val.json", data / "coco_mini/val")
    return [
        (
            decode_image(dataset.pictures[index].path.read_bytes()),
            dataset.boxes[dataset.picture_index == index].astype(np.float32),
        )
        for index in np.unique(dataset.picture_index)[:PICTURES]
    ]
