"""Object keypoint similarity, and the average precision made from it.

Lin et al., "Microsoft COCO", and its keypoint evaluation (cocodataset.org/#keypoints-eval). The
precision is computed by `pycocotools` itself; it works for any keypoint set.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from farpose.evaluation.dataset import PoseDataset

RESCORING_THRESHOLD: Final = 0.2
"""Joints that score more count in a person's score (Xiao et al., ECCV 2018)."""

NMS_THRESHOLD: Final = 0.9
"""Two predictions more similar than this are one person (the same)."""


@dataclass(frozen=True)
class Predictions:
    """`K` predicted people in the pictures of a dataset."""

    picture_index: NDArray[np.intp]
    """`[K]` which picture of the dataset."""

    boxes: NDArray[np.floating]
    """`[K,4]` x1, y1, x2, y2 in picture pixels."""

    scores: NDArray[np.floating]
    """`[K]` of the boxes."""

    keypoints: NDArray[np.floating]
    """`[K,J,3]` x, y in picture pixels, and score."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's summary over OKS thresholds 0.50, 0.55, ... 0.95; at most 20 people a picture."""

    ap: float
    ap50: float
    ap75: float
    ar: float


def oks(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    areas: ArrayLike,
    sigmas: ArrayLike,
) -> NDArray[np.float64]:
    """`[...]` similarity: the mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2)).

    A person without a labelled joint has nan.

    Args:
        predicted: `[...,J,2]` or `[...,J,3]`, pixels; infinitely far where there is none.
        truth: `[...,J,3]` with visibility, same pixels; leading axes broadcast.
        areas: `[...]` pixels squared.
        sigmas: `[J]`.
    """
    offsets = predicted[..., :2].astype(np.float64) - truth[..., :2]
    spread = np.asarray(areas, np.float64)[..., None] * (2 * np.asarray(sigmas, np.float64)) ** 2
    similarity = np.exp(-(offsets**2).sum(axis=-1) / (2 * spread))
    labelled = np.broadcast_to(truth[..., 2] > 0, similarity.shape)
    joints = labelled.sum(axis=-1)
    total = np.where(labelled, similarity, 0).sum(axis=-1)
    return np.asarray(np.where(joints > 0, total / np.maximum(joints, 1), np.nan))


def rescored(predictions: Predictions) -> NDArray[np.float64]:
    """`[K]` box score times the mean score of the joints above 0.2; 0 where none is."""
    joints = predictions.keypoints[..., 2].astype(np.float64)
    sure = joints > RESCORING_THRESHOLD
    means = np.where(sure, joints, 0).sum(axis=1) / np.maximum(sure.sum(axis=1), 1)
    return np.asarray(predictions.scores * means, np.float64)


def oks_nms(
    keypoints: NDArray[np.floating],
    scores: NDArray[np.floating],
    areas: NDArray[np.floating],
    sigmas: ArrayLike,
    threshold: float = NMS_THRESHOLD,
) -> NDArray[np.intp]:
    """Which of one picture's predictions stay, the highest score first.

    A prediction goes if its similarity to one that stays, over all joints and at their mean area,
    is above `threshold`.

    Args:
        keypoints: `[K,J,2+]` pixels.
        scores: `[K]`.
        areas: `[K]` of the boxes, pixels squared.
        sigmas: `[J]`.
        threshold: 0..1.
    """
    labelled = keypoints[..., :3].astype(np.float64)
    labelled[..., 2] = 1
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        mean_areas = (areas[best] + areas[waiting]) / 2
        similar = oks(labelled[waiting], labelled[best], mean_areas, sigmas) > threshold
        waiting = waiting[~similar]
    return np.array(kept, np.intp)


def without_duplicates(predictions: Predictions, sigmas: ArrayLike) -> Predictions:
    """The predictions that `oks_nms` keeps in each picture, by their rescored score."""
    scores = rescored(predictions)
    sizes = predictions.boxes[:, 2:] - predictions.boxes[:, :2]
    areas = sizes.prod(axis=1)
    kept = [np.zeros(0, np.intp)]
    for picture in np.unique(predictions.picture_index):
        people = np.flatnonzero(predictions.picture_index == picture)
        kept.append(
            people[oks_nms(predictions.keypoints[people], scores[people], areas[people], sigmas)]
        )
    chosen = np.concatenate(kept)
    return Predictions(
        predictions.picture_index[chosen],
        predictions.boxes[chosen],
        predictions.scores[chosen],
        predictions.keypoints[chosen],
    )


def average_precision(truth: PoseDataset, predictions: Predictions) -> AveragePrecision:
    """OKS AP and AR of predictions with the joints of `truth`, rescored first.

    As in COCO, a prediction on a crowd or on somebody without a labelled joint is not false.

    Raises:
        ImportError: `pycocotools` is not installed (extra `evaluate`).
    """
    if not len(predictions):
        return AveragePrecision(0.0, 0.0, 0.0, 0.0)
    evaluation = coco_evaluation(truth, predictions)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75, _, _, ar = (float(value) for value in evaluation.stats[:6])
    return AveragePrecision(ap, ap50, ap75, ar)


def coco_evaluation(truth: PoseDataset, predictions: Predictions) -> Any:
    """COCO's `COCOeval` after its `evaluate()`: every picture is matched, nothing is summed up.

    In it, image `i` is picture `i` of `truth`, annotation `i + 1` its person `i`, followed by those
    that are ignored, and result `i + 1` prediction `i`, whose score is the rescored one.

    Args:
        truth: the people.
        predictions: at least one, with the same joints.

    Raises:
        ImportError: `pycocotools` is not installed (extra `evaluate`).
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step
        expected = COCO()
        expected.dataset = _coco_truth(truth)
        expected.createIndex()
        found = expected.loadRes(_coco_results(truth, predictions))
        evaluation = COCOeval(expected, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(truth.keypoint_set.sigmas)
        evaluation.evaluate()
    return evaluation


def _coco_truth(truth: PoseDataset) -> dict[str, Any]:
    ignored = truth.ignored
    nowhere = np.zeros((len(ignored), *truth.keypoints.shape[1:]))
    people = (truth.picture_index, truth.boxes, truth.areas, truth.keypoints, np.zeros(len(truth)))
    others = (ignored.picture_index, ignored.boxes, ignored.areas, nowhere, ignored.crowds)
    listed = [*zip(*people, strict=True), *zip(*others, strict=True)]
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(truth.pictures))],
        "categories": [{"id": 1, "name": "person", "keypoints": list(truth.keypoint_set.joints)}],
        "annotations": [
            {
                "id": i,
                "image_id": int(picture),
                "category_id": 1,
                "iscrowd": int(crowd),
                "area": float(area),
                "bbox": _xywh(box),
                "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            }
            # Ids start at 1: COCOeval takes a match with annotation 0 for none.
            for i, (picture, box, area, keypoints, crowd) in enumerate(listed, start=1)
        ],
    }


def _coco_results(truth: PoseDataset, predictions: Predictions) -> list[dict[str, Any]]:
    return [
        {
            "image_id": int(picture),
            "category_id": 1,
            "keypoints": keypoints.astype(np.float64).ravel().tolist(),
            "score": float(score),
        }
        for picture, keypoints, score in zip(
            predictions.picture_index, predictions.keypoints, rescored(predictions), strict=True
        )
    ]


def _xywh(box: NDArray[np.floating]) -> list[float]:
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return [x1, y1, x2 - x1, y2 - y1]
