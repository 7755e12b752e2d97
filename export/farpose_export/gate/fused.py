"""Whether a fused graph crops as the reference does, and then says what the plain graph says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from farpose.crop import crop_people
from farpose.geometry import CropGeometry
from farpose_export.gate.check import ParityError
from farpose_export.gate.outputs import onnx_network
from farpose_export.graph import OUTPUTS

PEOPLE: Final = 64
"""In each frame."""

FRAMES: Final = ((240, 320), (361, 643))
"""Height and width."""

MAX_MEAN_GREY_LEVELS: Final = 1.0
MAX_GREY_LEVELS: Final = 6.0
MAX_MOVED_SHARE: Final = 0.001
MAX_SCORE_DIFFERENCE: Final = 1e-4


@dataclass(frozen=True)
class FusedParity:
    """How a fused graph differs from the reference crop and from the plain graph."""

    people: int
    max_crop_mean_grey_levels: float
    """Mean over a crop, of the crop where it is largest."""

    max_crop_grey_levels: float
    max_keypoint_pixels: float
    """Crop pixels, to the plain graph on the fused graph's own crops; so are the following."""

    mean_keypoint_pixels: float
    moved_share: float
    """Joints that differ by more than one class of the head."""

    max_score: float

    def failures(self) -> list[str]:
        """What is past its limit, in words; empty where the graph is fine."""
        checks = (
            ("mean of a crop's grey levels", self.max_crop_mean_grey_levels, MAX_MEAN_GREY_LEVELS),
            ("largest change of a grey level", self.max_crop_grey_levels, MAX_GREY_LEVELS),
            ("share of joints moved by more than a class", self.moved_share, MAX_MOVED_SHARE),
            ("largest change of a score", self.max_score, MAX_SCORE_DIFFERENCE),
        )
        # Not a number is past every limit.
        return [
            f"{what} {value:.3g} is above {limit:g}"
            for what, value, limit in checks
            if not value <= limit
        ]

    def text(self) -> str:
        """One line for people."""
        return (
            f"crop in the graph: grey levels differ by {self.max_crop_grey_levels:.2g} at most, "
            f"keypoints on the same crops by {self.max_keypoint_pixels:.2g} px at most, scores by "
            f"{self.max_score:.2g} at most"
        )


def check_fused(
    plain: onnx.ModelProto, fused: onnx.ModelProto, pixels_per_class: float, seed: int = 0
) -> FusedParity:
    """Compare the two on generated frames, with people of 8 to 2000 pixels in and around them.

    Keypoints are compared on the same crops: one grey level can move the peak of an unsure joint
    to another place, in any graph.

    Args:
        plain: the pose graph.
        fused: what `fuse` made of it.
        pixels_per_class: see `class_pixels`.
        seed: of the frames and people.

    Raises:
        ParityError: they differ by more than the limits of this module.
    """
    rng = np.random.default_rng(seed)
    session, network = _session_with_crops(fused), onnx_network(plain)
    grey_levels, distances, scores = [], [], []
    for height, width in FRAMES:
        image = generated_frame(rng, height, width)
        boxes = generated_boxes(rng, height, width, PEOPLE)
        geometry = CropGeometry.from_boxes(boxes)
        crops, *found = session.run(["crops", *OUTPUTS], {"image": image, "boxes": boxes})
        resolution = crops.shape[1]
        reference = crop_people(image, geometry, resolution)
        grey_levels.append(np.abs(crops.astype(np.float32) - reference))
        expected = network(crops.astype(np.uint8))
        distances.append(np.abs(geometry.to_crop(found[0], resolution) - expected.keypoints))
        scores.append(np.abs(found[1] - expected.scores))
    difference, distance = np.concatenate(grey_levels), np.concatenate(distances)
    parity = FusedParity(
        people=len(difference),
        max_crop_mean_grey_levels=float(difference.mean(axis=(1, 2, 3)).max()),
        max_crop_grey_levels=float(difference.max()),
        max_keypoint_pixels=float(distance.max()),
        mean_keypoint_pixels=float(distance.mean()),
        moved_share=float((distance.max(axis=-1) > pixels_per_class).mean()),
        max_score=float(np.concatenate(scores).max()),
    )
    failures = parity.failures()
    if failures:
        raise ParityError(
            "the fused graph disagrees with the reference crop or the plain graph: "
            f"{'; '.join(failures)}; nothing was written"
        )
    return parity


def generated_frame(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Patches of random colour, with noise on the left half: `[H,W,3]`."""
    patches = rng.uniform(0, 255, (height // 16 + 1, width // 16 + 1, 3))
    frame = patches.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    frame[:, : width // 2] += rng.normal(0, 30, (height, width // 2, 3))
    return np.clip(frame, 0, 255).astype(np.uint8)


def generated_boxes(
    rng: np.random.Generator, height: int, width: int, people: int
) -> NDArray[np.float32]:
    """Boxes `[P,4]` of 8 to 2000 pixels, some of them partly or wholly outside the frame."""
    centers = rng.uniform(-0.1, 1.1, (people, 2)) * (width, height)
    sizes = np.exp(rng.uniform(np.log(8), np.log(2000), (people, 2)))
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1).astype(np.float32)


def _session_with_crops(graph: onnx.ModelProto) -> ort.InferenceSession:
    """The graph, with the crops inside it as one more output."""
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    shown.graph.output.append(
        onnx.helper.make_tensor_value_info("crops", onnx.TensorProto.FLOAT, None)
    )
    return ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
