"""Which joints are more likely wrong than right, going by what the model says of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.people import People

UNSURE_BELOW: Final = {"lowres_pose": 0.19, "lowres_pose_32": 0.17}
"""Scores of the bundled models below which four of five joints are off by more than a fifth of the
torso: 79 % and 80 % of them, and 34 % and 49 % of all such joints, are on the half of the labelled
people of `lspet/val` and `coco_mini/val` that the thresholds were not chosen on (`farpose bench
unsure`). The spread relative to the person's size tells less, alone and together with the score."""

DEFAULT: Final = 0.15
"""For other models, of which nothing is known."""


def unsure_joints(people: People) -> NDArray[np.bool_]:
    """`[P,J]`: joints that score below the threshold of the model that saw the person."""
    thresholds = [UNSURE_BELOW.get(model, DEFAULT) for model in people.models]
    return np.asarray(people.keypoints[:, :, 2] < np.reshape(thresholds, (-1, 1)))
