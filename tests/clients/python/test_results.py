"""Results: read strictly where they must be, frozen, and given to other packages."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from farpose.keypoints import KEYPOINT_SETS
from farpose.people import People
from farpose_client import (
    BadImageError,
    FarposeError,
    ImageSize,
    ModelInfo,
    Person,
    PoseResult,
    Problem,
    Skeleton,
    StreamReply,
    Tensor,
    UnexpectedAnswerError,
)
from farpose_client.errors import error_of
from farpose_client.results import result_of
from farpose_client.skeletons import limbs
from farpose_serving import answers, problems, status
from farpose_serving.cameras.messages import StreamAnswer

SERVED: dict[type[BaseModel], type[msgspec.Struct]] = {
    answers.ImageSize: ImageSize,
    answers.Person: Person,
    answers.PoseAnswer: PoseResult,
    StreamAnswer: StreamReply,
    status.Model: ModelInfo,
    status.Tensor: Tensor,
    status.Skeleton: Skeleton,
    problems.ProblemDetails: Problem,
}


@pytest.fixture
def people() -> People:
    """Two people, one of them unsure of everything."""
    random = np.random.default_rng(3)
    keypoints = random.uniform(5, 60, (2, 17, 3)).astype(np.float32)
    keypoints[0, :, 2] = random.uniform(0.3, 1, 17)
    keypoints[1, :, 2] = 0.1
    return People(
        boxes=np.array([[4, 5, 30, 60], [40, 2, 62, 44]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        keypoints=keypoints,
        variances=np.ones((2, 17, 2), np.float32),
        models=("lowres_pose",) * 2,
    )


def document(people: People, **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "image": {"width": 64, "height": 64},
        "models": {"lowres_pose": "2"},
        **people.to_dict(variances=True),
        "timing_ms": {"total": 1},
        **more,
    }


@pytest.fixture
def result(people: People) -> PoseResult:
    return result_of(json.dumps(document(people)).encode())


def test_coco_results_are_those_of_farpose(people: People, result: PoseResult):
    for own, theirs in zip(result.to_coco(7, 2), people.to_coco(7, 2), strict=True):
        assert own.keys() == theirs.keys()
        assert (own["image_id"], own["category_id"]) == (7, 2)
        assert own["bbox"] == theirs["bbox"]
        assert own["keypoints"] == pytest.approx(theirs["keypoints"], abs=0.01)
        assert own["score"] == pytest.approx(theirs["score"], abs=1e-3)
    assert result.to_coco(7)[1]["score"] == 0


def test_supervision_gets_joints_and_boxes(people: People):
    found = document(people)
    found["people"][0]["track_id"] = 5
    result = result_of(json.dumps(found).encode())
    joints, boxes = result.to_supervision(), result.to_detections()
    assert np.allclose(joints.xy, people.keypoints[:, :, :2], atol=0.01)
    assert np.allclose(joints.keypoint_confidence, people.keypoints[:, :, 2], atol=1e-3)
    assert np.allclose(boxes.xyxy, people.boxes, atol=0.01)
    assert np.allclose(boxes.confidence, people.scores)
    assert boxes.tracker_id.tolist() == [5, -1]
    del found["people"][0]["track_id"]
    assert result_of(json.dumps(found).encode()).to_detections().tracker_id is None
    nobody = result_of(json.dumps(document(People.empty())).encode())
    assert (len(nobody.to_supervision()), len(nobody.to_detections())) == (0, 0)
    assert nobody.to_coco(1) == []


def test_people_are_drawn_where_they_are(result: PoseResult, people: People):
    plain = np.full((64, 64, 3), 90, np.uint8)
    first = msgspec.structs.replace(result, people=result.people[:1])
    drawn = np.asarray(first.draw(plain))
    assert (plain == 90).all()
    for x, y, _ in people.keypoints[0]:
        assert (drawn[round(float(y)), round(float(x))] == 255).all()
    # Unsure joints are drawn if asked for; boxes are, if not asked otherwise.
    both = np.asarray(result.draw(plain))
    assert (both == 255).sum() <= (drawn == 255).sum()
    assert (np.asarray(result.draw(plain, threshold=0.05)) == 255).sum() > (both == 255).sum()
    _, y1, x2, y2 = people.boxes[1].astype(int)
    without = np.asarray(result.draw(plain, boxes=False))
    assert (both[y1:y2, x2 - 1] != without[y1:y2, x2 - 1]).any()
    assert (both[0] == 90).all()


def test_a_picture_of_another_size_or_none_is_not_drawn_on(result: PoseResult):
    with pytest.raises(BadImageError, match="64x32 pixels, and the result is of one with 64x64"):
        result.draw(np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(BadImageError, match="cannot be decoded"):
        result.draw(b"none")


def test_a_file_is_drawn_on_as_it_is_displayed(people: People, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    Image.new("RGB", (64, 32), "grey").save(tmp_path / "turned.jpg", exif=exif)
    turned = document(people, image={"width": 32, "height": 64})
    assert result_of(json.dumps(turned).encode()).draw(tmp_path / "turned.jpg").size == (32, 64)


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_limbs_are_those_of_farpose(name: str):
    known = KEYPOINT_SETS[name]
    assert set(limbs(known.joints)) == set(known.edge_indices)


def test_limbs_of_other_skeletons_are_those_they_share():
    assert limbs(("left_knee", "tail", "left_ankle")) == [(0, 2)]


def test_the_results_cannot_be_changed(result: PoseResult):
    with pytest.raises(AttributeError):
        result.people = ()
    with pytest.raises(AttributeError):
        result.people[0].score = 1.0
    assert isinstance(result.people, tuple) and isinstance(result.people[0].keypoints, tuple)
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(("served", "own"), SERVED.items())
def test_the_fields_are_those_that_the_service_answers(
    served: type[BaseModel], own: type[msgspec.Struct]
):
    """Nothing that it answers is missing here, and nothing is required that it may leave out."""
    fields = {field.name: field for field in msgspec.structs.fields(own)}
    of_streams = {StreamReply: {"connection"}, Problem: {"frame"}}.get(own, set())
    assert set(fields) - of_streams == set(served.model_fields)
    for name, field in served.model_fields.items():
        assert field.is_required() or not fields[name].required


@pytest.mark.parametrize(
    "field", ["id", "image", "models", "keypoint_names", "people", "timing_ms"]
)
def test_an_answer_without_a_field_is_not_understood(people: People, field: str):
    found = document(people)
    del found[field]
    with pytest.raises(UnexpectedAnswerError, match=field):
        result_of(json.dumps(found).encode())


@pytest.mark.parametrize("field", ["score", "box", "model", "keypoints"])
def test_a_person_without_a_field_is_not_understood(people: People, field: str):
    found = document(people)
    del found["people"][1][field]
    with pytest.raises(UnexpectedAnswerError, match=field):
        result_of(json.dumps(found).encode())


def test_what_a_newer_service_adds_is_passed_over(people: People, result: PoseResult):
    found = document(people, scene={"weather": "rain"})
    found["people"][0]["action"] = "walks"
    found["image"]["channels"] = 3
    assert result_of(json.dumps(found).encode()) == result


KINDS = [kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_problem_of_the_service_has_an_exception(kind: problems.Kind):
    error = error_of(Problem(kind.uri, kind.title, kind.status, "Said.", "id7"))
    expected = {
        "unreadable-image": "BadImageError",
        "unauthorized": "UnauthorizedError",
        "foreign-origin": "UnauthorizedError",
        "incomplete-body": "UnexpectedAnswerError",
        "no-http": "UnexpectedAnswerError",
        "too-large": "TooLargeError",
        "unsupported-type": "BadImageError",
        "superseded": "StaleFrameError",
        "stale-frame": "StaleFrameError",
        "one-worker": "UnsupportedError",
        "invalid-request": "InvalidOptionsError",
        "too-many-pictures": "RateLimitedError",
        "headers-too-large": "TooLargeError",
        "internal": "ServiceFailedError",
        "no-tracking": "UnsupportedError",
        "not-ready": "ServiceUnavailableError",
        "overloaded": "OverloadedError",
        "deadline": "DeadlineExceededError",
    }
    assert type(error).__name__ == expected[kind.name]
    assert isinstance(error, FarposeError)
    assert (error.status, error.detail, error.request_id) == (kind.status, "Said.", "id7")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.problem) == (type(error), str(error), error.problem)
