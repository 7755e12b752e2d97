"""Frames made worse, each in one way and by a stated strength, before anything is cut from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from farpose.evaluation.dataset import Picture, PoseDataset
from farpose.evaluation.shrink import shrink, shrunk_truth

Kind = Literal["blur", "jpeg", "noise", "resolution"]

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "blur": (0.1, 50),
    "jpeg": (1, 100),
    "noise": (0.1, 255),
    "resolution": (0.01, 0.99),
}


class DegradationError(ValueError):
    """A degradation that there is not; the message says which there are."""


@dataclass(frozen=True)
class Degradation:
    """One way of making a frame worse.

    Raises:
        DegradationError: the strength is out of range.
    """

    kind: Kind
    strength: float
    """`blur`: standard deviation of the Gaussian in pixels of the frame. `jpeg`: quality, 1 to 100,
    of OpenCV's encoder (chroma halved). `noise`: standard deviation of Gaussian noise on every
    channel, in grey levels. `resolution`: the frame's new size as a share of the old; it is
    area-resampled and stays small, as if the camera had fewer pixels."""

    def __post_init__(self) -> None:
        low, high = _RANGES[self.kind]
        if not low <= self.strength <= high:
            raise DegradationError(
                f"{self.name}: the strength of {self.kind} is {low:g} to {high:g}"
            )

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        return f"{self.kind}={self.strength:g}"

    @property
    def label(self) -> str:
        """As people read it."""
        return {
            "blur": f"blur σ {self.strength:g} px",
            "jpeg": f"JPEG quality {self.strength:g}",
            "noise": f"noise σ {self.strength:g}",
            "resolution": f"{self.strength:.3g}x resolution",
        }[self.kind]

    def apply(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """The worse frame of `[H,W,3]` UINT8 RGB; smaller for `resolution`.

        Args:
            image: the frame.
            rng: draws the noise.
        """
        if self.kind == "blur":
            return np.asarray(cv2.GaussianBlur(image, (0, 0), self.strength), np.uint8)
        if self.kind == "jpeg":
            return _through_jpeg(image, round(self.strength))
        if self.kind == "noise":
            noise = rng.standard_normal(image.shape, np.float32) * np.float32(self.strength)
            return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
        return shrink(image, self.strength).image


DEGRADATIONS: Final = (
    Degradation("blur", 1),
    Degradation("blur", 2),
    Degradation("blur", 4),
    Degradation("jpeg", 50),
    Degradation("jpeg", 20),
    Degradation("jpeg", 10),
    Degradation("noise", 10),
    Degradation("noise", 20),
    Degradation("noise", 40),
    Degradation("resolution", 0.5),
    Degradation("resolution", 0.25),
)
"""What a report tries unless told otherwise; of each kind the mildest first."""


def parse_degradation(text: str) -> Degradation:
    """Read `blur=2`, `jpeg=20`, `noise=10` or `resolution=0.5`.

    Raises:
        DegradationError: it is none of these.
    """
    name, _, number = text.partition("=")
    kinds: dict[str, Kind] = {
        "blur": "blur",
        "jpeg": "jpeg",
        "noise": "noise",
        "resolution": "resolution",
    }
    try:
        return Degradation(kinds[name], float(number))
    except (KeyError, ValueError) as error:
        if isinstance(error, DegradationError):
            raise
        raise DegradationError(
            f"{text!r} is no degradation: give blur=PIXELS, jpeg=QUALITY, noise=LEVELS or "
            "resolution=SHARE"
        ) from None


@dataclass(frozen=True)
class DegradedPicture(Picture):
    """A picture that is read worse than it is on disk."""

    degradation: Degradation = DEGRADATIONS[0]
    seed: tuple[int, int] = (0, 0)
    """Of the report and of the picture: the noise does not depend on the order of reading."""

    def read(self) -> NDArray[np.uint8]:
        """See `Picture.read`."""
        return self.degradation.apply(super().read(), np.random.default_rng(self.seed))


@dataclass(frozen=True)
class DegradedDataset:
    """The same people in worse frames."""

    dataset: PoseDataset
    """In pixels of the frames as they are now."""

    scales: NDArray[np.float64]
    """`[I,2]` their pixels per pixel of the source, x and y."""

    def to_source(
        self, points: NDArray[np.floating], pictures: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Points `[K,J,2]` (pixel-centre indices) of these pictures, in pixels of the source."""
        return np.asarray((points + 0.5) / self.scales[pictures][:, None] - 0.5, np.float64)


def degrade(dataset: PoseDataset, degradation: Degradation, seed: int) -> DegradedDataset:
    """Put a degradation between a dataset and whoever reads its pictures.

    Args:
        dataset: of which the declared sizes of pictures are true.
        degradation: what happens to each.
        seed: of the noise.
    """
    scales = np.ones((len(dataset.pictures), 2))
    if degradation.kind == "resolution":
        sizes = np.array([(p.width, p.height) for p in dataset.pictures], np.float64)
        scales = np.maximum(1, np.rint(sizes * degradation.strength)) / sizes
    pictures = tuple(
        DegradedPicture(
            id=picture.id,
            path=picture.path,
            width=round(picture.width * scales[index, 0]),
            height=round(picture.height * scales[index, 1]),
            degradation=degradation,
            seed=(seed, index),
        )
        for index, picture in enumerate(dataset.pictures)
    )
    worse = shrunk_truth(dataset, scales[dataset.picture_index])
    return DegradedDataset(replace(worse, pictures=pictures), scales)


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    done, data = cv2.imencode(".jpg", image[..., ::-1], flags)
    if not done:
        raise DegradationError(f"a picture of {image.shape[1]}x{image.shape[0]} is too large")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
