"""What one training step sees."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """`B` samples as tensors."""

    crops: Tensor
    """`[B,R,R,3]` UINT8 RGB."""

    keypoints: Tensor
    """`[B,J,2]` crop pixels of the student."""

    weights: Tensor
    """`[B,J]` 1 for labelled joints, else 0."""

    teacher_crops: Tensor | None = None
    """`[B,R_t,R_t,3]` UINT8 RGB: the same views at the teacher's resolution, for a teacher that
    runs in the step."""

    teacher_feature: Tensor | None = None
    """`[B',C_t,H_t,W_t]` what the teacher sees in the first views, at least in those whose features
    are compared, where that was kept (a view bank)."""

    teacher_x: Tensor | None = None
    """`[B,J,L_t]` the teacher's log-probabilities over columns, likewise."""

    teacher_y: Tensor | None = None
    """`[B,J,L_t]` over rows."""

    def to(self, device: object) -> Batch:
        """The same batch on another device."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **moved)
