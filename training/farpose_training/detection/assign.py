"""Which anchor points answer for which person: RTMDet's dynamic soft label assignment.

Lyu et al., "RTMDet" (2022), section 3.3. For a point and a person the cost is

    C = C_cls + 3 C_reg + C_center
    C_cls    = BCE(logit, Y) |Y - sigmoid(logit)|^2,  with the soft label Y = IoU
    C_reg    = -log IoU
    C_center = 10^(|x_point - x_person| / stride - 3)

and a person takes its k cheapest points, k being the sum of its 13 best IoUs, at least 1.

Shapes: A anchor points, P people of one picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

REGRESSION_WEIGHT = 3.0
CENTER_BASE, CENTER_RADIUS = 10.0, 3.0
CANDIDATES = 13
FORBIDDEN = 1e8
"""Cost of points outside a person's box."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What each anchor point of one picture should say.

    Attributes:
        person: `[A]` int64, index of the person a point answers for, -1 for background.
        quality: `[A]`, IoU of the point's predicted box with its person; 0 for background.
    """

    person: Tensor
    quality: Tensor


@torch.no_grad()
def assign(
    logits: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, people: Tensor
) -> Assignment:
    """Assign the points of one picture.

    Args:
        logits: `[A]`, predicted person logits.
        boxes: `[A,4]`, predicted boxes, xyxy in input pixels.
        points: `[A,2]`, as in `Predictions`.
        strides: `[A]`, as in `Predictions`.
        people: `[P,4]`, true boxes, xyxy in input pixels.
    """
    person = torch.full_like(logits, -1, dtype=torch.long)
    quality = torch.zeros_like(logits)
    if len(people) == 0:
        return Assignment(person, quality)
    inside_ap = _inside(points, people)
    for index in torch.nonzero(~inside_ap.any(dim=0)).flatten().tolist():
        inside_ap[_nearest(points, strides, people[index]), index] = True
    rows = torch.nonzero(inside_ap.any(dim=1)).flatten()
    iou_rp = pairwise_iou(boxes[rows], people)
    score = logits[rows].sigmoid()[:, None]
    cost_class = (
        nn.functional.binary_cross_entropy_with_logits(
            logits[rows][:, None].expand_as(iou_rp), iou_rp, reduction="none"
        )
        * (iou_rp - score) ** 2
    )
    cost_box = -torch.log(iou_rp + 1e-7)
    centers = (people[:, :2] + people[:, 2:]) / 2
    distance = torch.cdist(points[rows], centers) / strides[rows][:, None]
    cost_center = CENTER_BASE ** (distance - CENTER_RADIUS)
    cost = cost_class + REGRESSION_WEIGHT * cost_box + cost_center
    cost = torch.where(inside_ap[rows], cost, FORBIDDEN)

    best_iou = iou_rp.where(inside_ap[rows], 0.0)
    counts = best_iou.topk(min(CANDIDATES, len(rows)), dim=0).values.sum(dim=0).int().clamp(min=1)
    chosen_rp = torch.zeros_like(cost, dtype=torch.bool)
    for index, count in enumerate(counts.tolist()):
        cheapest = cost[:, index].topk(min(count, len(rows)), largest=False).indices
        chosen_rp[cheapest, index] = cost[cheapest, index] < FORBIDDEN
    owner = cost.where(chosen_rp, 2 * FORBIDDEN).argmin(dim=1)
    taken = chosen_rp.any(dim=1)
    person[rows[taken]] = owner[taken]
    quality[rows[taken]] = iou_rp[taken].gather(1, owner[taken][:, None])[:, 0]
    return Assignment(person, quality)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union `[A,P]` of boxes `[A,4]` and `[P,4]`, xyxy."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=-1) for box in (boxes, others)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clamp(min=1e-7)


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """`[A]` bool: the point lies in at least one of the boxes `[Q,4]`."""
    return _inside(points, boxes).any(dim=1)


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    x, y = points[:, None, 0], points[:, None, 1]
    left, top, right, bottom = boxes.unbind(dim=1)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _nearest(points: Tensor, strides: Tensor, person: Tensor) -> Tensor:
    """The finest-stride point nearest to a person too small to hold any point."""
    distance = (points - (person[:2] + person[2:]) / 2).norm(dim=1)
    return (distance + 1e6 * (strides > strides.min())).argmin()
