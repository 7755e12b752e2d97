"""What the detector is trained to minimise.

Classification: quality focal loss (Li et al., "Generalized Focal Loss", 2020, eq. 2, beta = 2)
against the IoU of the predicted box times how sure the label is. Boxes: GIoU (Rezatofighi et al.,
2019), weight 2, each point weighted by its quality. Drift: on background, logits above those of
the start weights are punished, so that what the start weights learned from 118,000 pictures not to
take for a person (animals, fruit, lamps) is not forgotten on a few thousand.
All are divided by the batch's summed quality, as in RTMDet.

Shapes: B batch, A anchor points, M matched points over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from farpose_training.detection.assign import assign, points_in_boxes
from farpose_training.detection.model import Predictions

BETA = 2.0
BOX_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Targets:
    """Truth of one picture, boxes xyxy in input pixels.

    Attributes:
        people: `[P,4]`.
        certainty: `[P]`, how sure each label is, 0..1.
        ignored: `[Q,4]`, regions whose background points are not punished.
    """

    people: Tensor
    certainty: Tensor
    ignored: Tensor


@dataclass(frozen=True, slots=True)
class DetectionLoss:
    """The parts of the loss, scalars that can be differentiated; weights are in them."""

    classification: Tensor
    boxes: Tensor
    drift: Tensor

    @property
    def total(self) -> Tensor:
        """The sum to minimise."""
        return self.classification + self.boxes + self.drift


def detection_loss(
    predictions: Predictions,
    targets: Sequence[Targets],
    start_logits: Tensor,
    drift_weight: float,
) -> DetectionLoss:
    """Loss of a batch of `len(targets)` pictures.

    Args:
        predictions: of the detector in training.
        targets: truth of each picture.
        start_logits: `[B,A]`, what the start weights say about the same input.
        drift_weight: weight of the squared rise of background logits above those.
    """
    quality_ba = torch.zeros_like(predictions.logits)
    counted_ba = torch.ones_like(predictions.logits)
    background_ba = torch.ones_like(predictions.logits)
    matched_boxes, true_boxes, weights = [], [], []
    for index, target in enumerate(targets):
        found = assign(
            predictions.logits[index],
            predictions.boxes[index],
            predictions.points,
            predictions.strides,
            target.people,
        )
        matched = found.person >= 0
        quality = found.quality[matched] * target.certainty[found.person[matched]]
        quality_ba[index, matched] = quality
        background_ba[index, matched] = 0.0
        if len(target.ignored):
            unknown = points_in_boxes(predictions.points, target.ignored) & ~matched
            counted_ba[index, unknown] = 0.0
            background_ba[index, unknown] = 0.0
        matched_boxes.append(predictions.boxes[index][matched])
        true_boxes.append(target.people[found.person[matched]])
        weights.append(quality)
    weights_m = torch.cat(weights)
    norm = weights_m.sum().clamp(min=1.0)
    classification = (quality_focal_loss(predictions.logits, quality_ba) * counted_ba).sum() / norm
    overlap = giou(torch.cat(matched_boxes), torch.cat(true_boxes))
    boxes = BOX_WEIGHT * ((1.0 - overlap) * weights_m).sum() / norm
    rise = (predictions.logits - start_logits).clamp(min=0.0) ** 2
    drift = drift_weight * (rise * background_ba).sum() / norm
    return DetectionLoss(classification, boxes, drift)


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """`BCE(sigmoid(logit), quality) * |quality - sigmoid(logit)|^beta`, elementwise."""
    scale = (quality - logits.sigmoid()).abs() ** BETA
    return nn.functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * scale


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU `[M]`, -1..1, of paired boxes `[M,4]`, xyxy."""
    shared = (
        (torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2]))
        .clamp(min=0)
        .prod(dim=1)
    )
    around = (
        (torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2]))
        .clamp(min=0)
        .prod(dim=1)
        .clamp(min=1e-7)
    )
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=1) for box in (boxes, others)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-7)
    return shared / union - (around - union) / around
