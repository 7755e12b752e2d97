"""What `POST /pose` answers, as typed models that OpenAPI documents."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from farpose.answer import answer_of
from farpose.pipeline import PoseResult


class ImageSize(BaseModel):
    """Size of the displayed picture (EXIF orientation applied), in pixels."""

    width: int
    height: int


class Person(BaseModel):
    """One person, in pixels of the displayed picture."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    track_id: int | None = None
    """Who it is among the people of the camera, if the picture came from one: the same number in
    every picture, from the second one on that the person is seen in."""

    score: float
    """How sure the detector is, 0 to 1; 1 where the caller gave the box."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2, continuous edges: 0 is the left edge of the first pixel."""

    model: str
    """Which pose model saw the person."""

    keypoints: list[tuple[float, float, float]]
    """x, y (0 is the centre of the first pixel) and score, in the order of `keypoint_names`."""

    unsure: list[bool]
    """For each keypoint, whether it is more likely wrong than right: four of five such joints are
    off by more than a fifth of the torso."""

    variances: list[tuple[float, float]] | None = None
    """Spread of x and y in pixels squared, if asked for."""


class PoseAnswer(BaseModel):
    """The people of one picture; nobody is an empty list."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "id": "0f8e6a7c2b1d4f0e9a3c5b7d9e1f2a3b",
                "image": {"width": 1280, "height": 720},
                "models": {"person_detector": "1", "lowres_pose": "1"},
                "keypoint_names": ["nose", "left_eye", "right_eye"],
                "people": [
                    {
                        "score": 0.91,
                        "box": [411.5, 212.25, 430.0, 261.75],
                        "model": "lowres_pose",
                        "keypoints": [
                            [421.3, 216.8, 0.83],
                            [422.1, 215.6, 0.7],
                            [420.4, 215.7, 0.7],
                        ],
                        "unsure": [False, False, False],
                    }
                ],
                "timing_ms": {"decode": 6.1, "detector": 41.0, "pose": 9.5, "total": 58.2},
            }
        },
    )

    id: str
    """The request's id, as in the header `X-Request-ID`."""

    image: ImageSize

    models: dict[str, str]
    """Name to version of the models that ran."""

    keypoint_names: list[str]
    """Names of the keypoints of every person, in order."""

    people: list[Person]
    """The people, the surest first, or in the order of the given boxes."""

    timing_ms: dict[str, float]
    """Milliseconds per stage, and `total`; waiting for other requests counts."""

    @classmethod
    def from_result(
        cls, result: PoseResult, identifier: str, *, variances: bool, **more: Any
    ) -> Self:
        """The answer for what the pipeline found, and what else a subclass has."""
        answer = answer_of(result, variances=variances)
        return cls.model_validate({"id": identifier, **answer, **more})
