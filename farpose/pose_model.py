"""What the pipeline must know of a pose model, and who goes to which one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from farpose.engine import EngineError, ModelMetadata
from farpose.keypoints import KeypointSet, keypoint_set

DEFAULT_POSE_MODEL: Final = "lowres_pose"
SMALL_POSE_MODEL: Final = "lowres_pose_32"


@dataclass(frozen=True)
class PoseModel:
    """A model that takes crops of `resolution` pixels and answers joints of a keypoint set."""

    metadata: ModelMetadata
    resolution: int
    keypoint_set: KeypointSet

    @classmethod
    def from_metadata(cls, metadata: ModelMetadata) -> PoseModel:
        """Check that a model keeps the pose contract.

        Raises:
            EngineError: it does not.
        """
        crops = next((tensor for tensor in metadata.inputs if tensor.name == "crops"), None)
        outputs = {tensor.name for tensor in metadata.outputs}
        if crops is None or not {"keypoints", "scores", "variances"} <= outputs:
            raise EngineError(f"{metadata.name} is not a pose model: it has no crops to keypoints")
        height, width = crops.shape[1:3]
        if height is None or height != width:
            raise EngineError(f"{metadata.name}: its crops are {height}x{width}, not square")
        try:
            joints = keypoint_set(metadata.properties.get("keypoint_set", ""))
        except ValueError as error:
            raise EngineError(f"{metadata.name}: {error}") from error
        return cls(metadata, height, joints)


@dataclass(frozen=True)
class Routing:
    """Who goes to which pose model.

    Raises:
        EngineError: the two models answer different joints.
    """

    pose: PoseModel
    small: PoseModel | None = None
    """For people lower than `threshold`; None sends everybody to `pose`."""

    threshold: float = 0.0
    """Height of a box in frame pixels."""

    def __post_init__(self) -> None:
        if self.small is not None and self.small.keypoint_set != self.pose.keypoint_set:
            raise EngineError(
                f"{self.small.metadata.name} answers {self.small.keypoint_set.name}, "
                f"{self.pose.metadata.name} {self.pose.keypoint_set.name}: "
                "people cannot be shared out between them"
            )

    def groups(self, boxes: NDArray[np.float32]) -> list[tuple[PoseModel, NDArray[np.intp]]]:
        """Models with the indices of their people, of boxes `[P,4]` in frame pixels."""
        low = boxes[:, 3] - boxes[:, 1] < self.threshold
        if self.small is None:
            low[:] = False
        shared = ((self.pose, ~low), (self.small, low))
        return [(model, np.flatnonzero(mask)) for model, mask in shared if model and mask.any()]
