"""What a distant, cheap camera does to a picture: blur, noise, compression, lost resolution.

Each is drawn apart, and applied in the order in which a camera does them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose_training.config.data import DegradationConfig

INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)


@dataclass(frozen=True)
class Degradation:
    """The strengths drawn for one picture; None is left out."""

    blur: float | None
    """Standard deviation of a gaussian, pixels."""

    motion: tuple[float, float] | None
    """Length in pixels and direction in radians of a motion blur."""

    resampling: tuple[float, int, int] | None
    """Factor below 1, and the interpolations down and up (indices of `INTERPOLATIONS`)."""

    noise: float | None
    """Standard deviation at mid-grey, grey levels; it grows with the square root of the light."""

    quality: int | None
    """Of a JPEG, 1..100."""

    seed: int
    """Of the noise."""


def draw_degradation(config: DegradationConfig, rng: np.random.Generator) -> Degradation:
    """Draw what happens to one picture."""

    def happens() -> bool:
        return bool(rng.random() < config.probability)

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    return Degradation(
        blur=between(min(0.1, config.blur), config.blur) if happens() and config.blur > 0 else None,
        motion=(between(1, config.motion), between(0, math.pi))
        if happens() and config.motion > 1
        else None,
        resampling=(
            between(config.resampling, 1),
            int(rng.integers(len(INTERPOLATIONS))),
            int(rng.integers(len(INTERPOLATIONS))),
        )
        if happens() and config.resampling < 1
        else None,
        noise=between(0, config.noise) if happens() and config.noise > 0 else None,
        quality=int(rng.integers(config.quality, 101))
        if happens() and config.quality < 100
        else None,
        seed=int(rng.integers(2**32)),
    )


def degrade(picture: NDArray[np.uint8], degradation: Degradation) -> NDArray[np.uint8]:
    """A picture `[H,W,3]` RGB as the camera would give it, of the same size."""
    if degradation.blur is not None:
        picture = _as_uint8(cv2.GaussianBlur(picture, (0, 0), degradation.blur))
    if degradation.motion is not None:
        picture = _as_uint8(cv2.filter2D(picture, -1, motion_kernel(*degradation.motion)))
    if degradation.resampling is not None:
        picture = _resampled(picture, *degradation.resampling)
    if degradation.noise is not None:
        picture = _noisy(picture, degradation.noise, degradation.seed)
    if degradation.quality is not None:
        picture = _compressed(picture, degradation.quality)
    return picture


def motion_kernel(length: float, direction: float) -> NDArray[np.float32]:
    """Odd-sized kernel, of sum 1, that smears a point over `length` pixels."""
    reach = math.ceil(length / 2)
    center = np.array([reach, reach])
    along = np.array([math.cos(direction), math.sin(direction)]) * length / 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for position in np.linspace(-1, 1, 8 * reach + 1):
        x, y = np.rint(center + position * along).astype(int)
        kernel[y, x] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _resampled(picture: NDArray[np.uint8], factor: float, down: int, up: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(picture, size, interpolation=INTERPOLATIONS[down])
    return _as_uint8(cv2.resize(small, (width, height), interpolation=INTERPOLATIONS[up]))


def _noisy(picture: NDArray[np.uint8], deviation: float, seed: int) -> NDArray[np.uint8]:
    light = picture.astype(np.float32)
    # Read-out noise, and the light's own, whose variance is proportional to it.
    spread = deviation * np.sqrt(0.5 + light / 255)
    noise = np.random.default_rng(seed).standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(light + spread * noise), 0, 255).astype(np.uint8)


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    # Channels are swapped for the encoder, whose colour planes are not treated alike.
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _as_uint8(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


def _as_uint8(picture: object) -> NDArray[np.uint8]:
    return np.asarray(picture, np.uint8)
