"""Asks `person_detector` and `lowres_pose` directly: letterbox, boxes, crops, and back.

    python clients/grpc/models.py street.jpg --url localhost:8001

This shows the contracts of the two models in plain NumPy and OpenCV. Its resampling is a simple
stand-in: the models were trained and measured on the crop of `farpose.crop` and the letterbox of
`farpose.letterbox`, which `pose_pipeline` uses. Keypoints differ a little from its keypoints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from people import People, empty, text
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

STRIDE = 32
"""The detector takes heights and widths that are multiples of this."""

GREY = 114
"""Of the detector's padding."""

MARGIN = 1.25
"""A crop is this much larger than the longer side of its box."""

TIMEOUT = 60.0
"""Seconds to wait for an answer."""

Pixels = NDArray[np.uint8]


class Models:
    """The two models behind a connection."""

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        config = client.get_model_config("lowres_pose").config
        self._most_crops = config.max_batch_size
        self.resolution = config.input[0].dims[0]
        joints = next(output.dims[0] for output in config.output if output.name == "scores")
        self.joint_names = self._labels(joints)

    def detect(self, image: Pixels, size: int, threshold: float) -> tuple[Any, Any]:
        """Boxes `[P,4]` in pixels of the picture and scores `[P]`, the surest first."""
        height, width = image.shape[:2]
        scale = size / max(height, width)
        small = cv2.resize(
            image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
        )
        bottom, right = -small.shape[0] % STRIDE, -small.shape[1] % STRIDE
        padded = cv2.copyMakeBorder(
            small, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY)
        )
        images = np.asarray(padded, np.uint8)[None]
        boxes, scores = self._infer("person_detector", "images", images, "boxes", "scores")
        sure = scores[0] >= threshold
        return np.clip(boxes[0][sure] / scale, 0, [width, height] * 2), scores[0][sure]

    def pose(self, image: Pixels, boxes: NDArray[Any]) -> NDArray[Any]:
        """Keypoints `[P,J,3]` of the people in these boxes: x, y in pixels of the picture, score.

        Everybody goes into one request, up to the model's largest batch: Triton refuses more, and
        it refuses none.
        """
        squares = [square(box) for box in boxes]
        answers = []
        for start in range(0, len(squares), self._most_crops):
            crops = [cut(image, at, self.resolution) for at in squares[start:][: self._most_crops]]
            found, scores = self._infer(
                "lowres_pose", "crops", np.stack(crops), "keypoints", "scores"
            )
            answers.append(np.concatenate([found, scores[..., None]], axis=2))
        return to_picture(np.concatenate(answers), squares, self.resolution)

    def _labels(self, joints: int) -> list[str]:
        """The names of the joints: a classification answers SCORE:INDEX:NAME, by score."""
        black = np.zeros((1, self.resolution, self.resolution, 3), np.uint8)
        wanted = [InferRequestedOutput("scores", class_count=joints)]
        result = self._client.infer("lowres_pose", [tensor("crops", black)], outputs=wanted)
        parts = [bytes(label).decode().split(":") for label in result.as_numpy("scores")[0]]
        return [name for _, name in sorted((int(index), name) for _, index, name in parts)]

    def _infer(self, model: str, name: str, array: Pixels, *outputs: str) -> list[NDArray[Any]]:
        result = self._client.infer(model, [tensor(name, array)], client_timeout=TIMEOUT)
        return [result.as_numpy(output) for output in outputs]


def tensor(name: str, array: NDArray[Any]) -> InferInput:
    """An array as the input of that name."""
    value = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    value.set_data_from_numpy(np.ascontiguousarray(array))
    return value


def square(box: NDArray[Any]) -> tuple[int, int, int]:
    """Left, top and side of the square around a box, in whole pixels."""
    x1, y1, x2, y2 = map(float, box)
    side = max(1, round(max(x2 - x1, y2 - y1) * MARGIN))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def cut(image: Pixels, at: tuple[int, int, int], resolution: int) -> Pixels:
    """A square of the picture as `[R,R,3]`; black outside the picture."""
    left, top, side = at
    height, width = image.shape[:2]
    content = np.zeros((side, side, 3), np.uint8)
    inside = image[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    y, x = max(-top, 0), max(-left, 0)
    content[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    resized = cv2.resize(content, (resolution, resolution), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def to_picture(
    keypoints: NDArray[Any], squares: list[tuple[int, int, int]], resolution: int
) -> NDArray[Any]:
    """Keypoints `[P,J,3]` of crops, in pixels of the picture they were cut from."""
    mapped = np.array(keypoints, np.float64)
    # Positions are those of pixel centres: half a pixel is added for edges, and taken off again.
    for person, (left, top, side) in zip(mapped, squares, strict=True):
        person[:, :2] = (person[:, :2] + 0.5) * side / resolution - 0.5 + (left, top)
    return mapped


def main() -> int:
    """Print the people; 1 if there is no answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path, help="any format that OpenCV reads")
    parser.add_argument("--url", default="localhost:8001", help="HOST:PORT of the gRPC endpoint")
    parser.add_argument("--size", type=int, default=640, help="of the detector's input")
    parser.add_argument("--threshold", type=float, default=0.35, help="of the detector's score")
    arguments = parser.parse_args()
    image = cv2.imread(str(arguments.picture))
    if image is None:
        print(f"error: {arguments.picture}: OpenCV cannot read it", file=sys.stderr)
        return 1
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    try:
        with InferenceServerClient(arguments.url) as client:
            models = Models(client)
            boxes, scores = models.detect(rgb, arguments.size, arguments.threshold)
            people = empty(models.joint_names)
            if len(boxes):
                people = People(boxes, scores, models.pose(rgb, boxes), models.joint_names)
    except InferenceServerException as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text(people))
    return 0


if __name__ == "__main__":
    sys.exit(main())
