"""The drawn person of the figures, and the two networks that look at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.geometry import CropGeometry
from farpose_training.checkpoint import Checkpoint, load_model
from farpose_training.data.drawn.picture import DrawnPerson, draw_person

ROOT = Path(__file__).parent.parent.parent.parent
STUDENT = ROOT / "model_repository/lowres_pose/checkpoint.safetensors"
TEACHER = ROOT / "docs/study/teacher_256.safetensors"

SEED = 9
"""Of a person who stands free and is seen whole."""

HEIGHT = 60.0
"""Pixels from head to foot in the picture."""

COLORS = {"teacher": "#0072B2", "student": "#D55E00", "label": "#000000", "other": "#009E73"}
"""Okabe and Ito's, which colour-blind people tell apart."""


@dataclass(frozen=True)
class Seen:
    """What a network sees and says of the person."""

    crop: NDArray[np.uint8]
    """`[R,R,3]` RGB."""

    joints: NDArray[np.float64]
    """`[17,2]` true positions in crop pixels."""

    probabilities: NDArray[np.float32]
    """`[2,17,L]` over columns and over rows."""

    network: Checkpoint


@cache
def person() -> DrawnPerson:
    """The person, the same each time."""
    return draw_person(HEIGHT, np.random.default_rng(SEED))


@cache
def seen_by(checkpoint: Path) -> Seen:
    """The person's crop, through a network."""
    drawn, network = person(), load_model(checkpoint)
    resolution = network.model.config.resolution
    geometry = CropGeometry.from_boxes(drawn.box)
    crops = crop_people(drawn.picture, geometry, resolution)
    with torch.no_grad():
        logits = network.model(torch.from_numpy(crops))
    probabilities = torch.stack([axis[0].softmax(-1) for axis in logits]).numpy()
    joints = geometry.to_crop(drawn.keypoints[None, :, :2], resolution)[0]
    return Seen(crops[0], joints, probabilities, network)
