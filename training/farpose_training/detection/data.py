"""Training samples: mosaics of shrunk pictures, so that most people in them are small.

Every sample is a function of (seed, index) alone, so a resumed run sees what the first would
have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.letterbox import PADDING, resize
from farpose_training.detection.config import MosaicConfig
from farpose_training.detection.labels import PictureLabels
from farpose_training.detection.sources import SOURCES, SourcePicture

MIN_SIDE = 3.0
"""People whose clipped box is narrower or lower than this many input pixels are ignored."""

MIN_VISIBLE = 0.35
"""People cut by a cell's edge are ignored if less of their box is left."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One input with its labels; boxes are xyxy in input pixels.

    Attributes:
        image: UINT8 `[S,S,3]` RGB.
        people: `[P,4]` FP32.
        scores: `[P]` FP32, teacher's score of each, 1 for the truth.
        ignored: `[Q,4]` FP32, people cut off or too small to count.
    """

    image: NDArray[np.uint8]
    people: NDArray[np.float32]
    scores: NDArray[np.float32]
    ignored: NDArray[np.float32]


class MosaicDataset:
    """Draws samples from labelled pictures held in memory.

    Args:
        pictures: UINT8 pictures.
        labels: labels of the same names; pictures without any person are kept,
            they teach what no person looks like.
        settings: composition.
        seed: of everything random.
    """

    def __init__(
        self,
        pictures: Sequence[SourcePicture],
        labels: Sequence[PictureLabels],
        settings: MosaicConfig,
        seed: int,
    ) -> None:
        by_name = {label.name: label for label in labels}
        missing = [picture.name for picture in pictures if picture.name not in by_name]
        if missing:
            raise ValueError(
                f"{len(missing)} pictures have no teacher labels, {missing[0]} first; "
                "delete the label cache to label them again"
            )
        self._entries: dict[str, list[tuple[NDArray[np.uint8], PictureLabels]]] = {
            source: [(p.image, by_name[p.name]) for p in pictures if p.source == source]
            for source in SOURCES
        }
        self._settings = settings
        self._seed = seed

    def sample(self, index: int, size: int) -> Sample:
        """Sample number `index` at `size` x `size` input pixels."""
        rng = np.random.default_rng((self._seed, index))
        grids = self._settings.grids
        cells = int(rng.choice(list(grids), p=list(grids.values())))
        image = np.full((size, size, 3), PADDING, dtype=np.uint8)
        rows, columns = _cuts(rng, size, cells), _cuts(rng, size, cells)
        parts = [
            self._fill(rng, image, (columns[j], rows[i], columns[j + 1], rows[i + 1]), cells)
            for i in range(cells)
            for j in range(cells)
        ]
        image = _recolour(rng, image)
        image = _degrade(rng, image, self._settings.degrade)
        return Sample(
            image,
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )

    def _fill(
        self,
        rng: np.random.Generator,
        image: NDArray[np.uint8],
        cell: tuple[int, int, int, int],
        cells: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Put one picture into a cell of `image`; its people, their scores, ignored boxes."""
        picture, labels = self._draw(rng)
        height, width = picture.shape[:2]
        low, high = np.log(self._settings.scale)
        longer = np.exp(rng.uniform(low, high)) * image.shape[0] / np.sqrt(cells)
        factor = longer / max(height, width)
        stretch = np.exp(rng.uniform(-0.15, 0.15))
        new_width = max(8, round(width * factor * stretch))
        new_height = max(8, round(height * factor / stretch))
        small = self._resize(rng, picture, new_width, new_height)
        mirrored = rng.random() < 0.5
        if mirrored:
            small = small[:, ::-1]
        left, top, right, bottom = cell
        x = int(rng.integers(*sorted((left, right - new_width)), endpoint=True))
        y = int(rng.integers(*sorted((top, bottom - new_height)), endpoint=True))
        x0, y0 = max(left, x), max(top, y)
        x1, y1 = min(right, x + new_width), min(bottom, y + new_height)
        image[y0:y1, x0:x1] = small[y0 - y : y1 - y, x0 - x : x1 - x]

        def place(boxes: Sequence[Sequence[float]]) -> NDArray[np.float32]:
            placed = np.array(boxes, dtype=np.float32).reshape(-1, 4)
            if mirrored:
                placed[:, [0, 2]] = width - placed[:, [2, 0]]
            scale = np.array([new_width / width, new_height / height] * 2, dtype=np.float32)
            return placed * scale + np.array([x, y, x, y], dtype=np.float32)

        window = np.array([x0, y0, x1, y1], dtype=np.float32)
        people, seen = _clip(place(labels.people), window)
        big = (people[:, 2:] - people[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE
        usable = big & (seen >= MIN_VISIBLE)
        ignored = people[~usable]
        solid = (ignored[:, 2:] > ignored[:, :2]).all(axis=1)
        scores = np.array(labels.scores, dtype=np.float32)
        return people[usable], scores[usable], ignored[solid]

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], PictureLabels]:
        weights = {s: w for s, w in self._settings.source_weights.items() if self._entries[s]}
        total = sum(weights.values())
        source = rng.choice(list(weights), p=[weight / total for weight in weights.values()])
        entries = self._entries[str(source)]
        return entries[int(rng.integers(len(entries)))]

    def _resize(
        self, rng: np.random.Generator, picture: NDArray[np.uint8], width: int, height: int
    ) -> NDArray[np.uint8]:
        if rng.random() >= self._settings.soften:
            return resize(picture, width, height)
        shrinks = width < picture.shape[1] and rng.random() < 0.5
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


def _cuts(rng: np.random.Generator, size: int, cells: int) -> list[int]:
    """Edges of the grid's cells: even, each inner one moved by up to 30% of a cell."""
    step = size / cells
    inner = [round(step * (k + rng.uniform(-0.3, 0.3))) for k in range(1, cells)]
    return [0, *inner, size]


def _clip(
    boxes: NDArray[np.float32], window: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes clipped to `window` and the share of each that is left."""
    low, high = np.tile(window[:2], 2), np.tile(window[2:], 2)
    clipped = np.clip(boxes, low, high)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (clipped, boxes)]
    return clipped, areas[0] / np.maximum(areas[1], 1e-6)


def _recolour(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Random brightness, contrast, saturation and sometimes grey."""
    gain, offset = rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
    mixed = image.astype(np.float32)
    grey = mixed.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.4)
    mixed = (grey + (mixed - grey) * saturation - 128) * gain + 128 + offset
    mixed *= rng.uniform(0.92, 1.08, size=3).astype(np.float32)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _degrade(
    rng: np.random.Generator, image: NDArray[np.uint8], probability: float
) -> NDArray[np.uint8]:
    """JPEG artefacts, blur and noise, each with `probability`."""
    if rng.random() < probability:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8)), np.uint8)
    if rng.random() < probability:
        noisy = image + rng.normal(0, rng.uniform(2, 8), image.shape)
        image = np.clip(noisy, 0, 255).astype(np.uint8)
    if rng.random() < probability:
        quality = int(rng.integers(40, 95))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return image
