from __future__ import annotations

import numpy as np
import pytest
import supervision

from farpose.drawing import PLAIN_BACKGROUND, draw_anonymous, draw_people
from farpose.keypoints import COCO17
from farpose.people import People


def two_people() -> People:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(5, 95, (2, 17, 3)).astype(np.float32)
    keypoints[:, :, 2] = 0.5
    keypoints[0, 0, 2] = 0.1
    return People(
        boxes=np.array([[1, 2, 31, 62], [40, 10, 90, 90]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        keypoints=keypoints,
        variances=np.ones((2, 17, 2), np.float32),
        models=("lowres_pose", "lowres_pose_32"),
    )


def test_to_list_is_the_http_answer():
    person = two_people().to_list()[0]
    assert list(person) == ["score", "box", "model", "keypoints"]
    assert person["box"] == [1, 2, 31, 62]
    assert person["model"] == "lowres_pose"
    assert np.shape(person["keypoints"]) == (17, 3)
    assert np.shape(two_people().to_list(variances=True)[0]["variances"]) == (17, 2)


def test_to_dict_names_the_joints_even_when_nobody_is_there():
    assert People.empty().to_dict() == {"keypoint_names": list(COCO17.joints), "people": []}


def test_to_coco_scores_by_box_and_sure_joints():
    result = two_people().to_coco(image_id=7)[0]
    assert result["image_id"] == 7
    assert result["bbox"] == [1, 2, 30, 60]
    assert len(result["keypoints"]) == 51
    assert result["score"] == pytest.approx(0.9 * 0.5)  # the joint at 0.1 does not count


def test_to_supervision_keeps_positions_and_scores():
    people = two_people()
    converted = people.to_supervision()
    assert isinstance(converted, supervision.KeyPoints)
    assert (converted.xy == people.keypoints[:, :, :2]).all()
    assert len(People.empty().to_supervision()) == 0


@pytest.mark.parametrize(
    "index", [slice(1, 2), [1], np.array([False, True])], ids=["slice", "list", "mask"]
)
def test_some_of_the_people(index):
    chosen = two_people()[index]
    assert chosen.scores.tolist() == [0.5]
    assert chosen.models == ("lowres_pose_32",)


def test_unsure_joints_become_zero():
    people = two_people().without_unsure_joints(0.3)
    assert people.keypoints[0, 0].tolist() == [0, 0, 0]
    assert (people.keypoints[0, 1:, 2] == 0.5).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boxes", np.zeros((1, 4), np.float32)),
        ("keypoints", np.zeros((2, 16, 3), np.float32)),
        ("variances", np.zeros((2, 17, 3), np.float32)),
        ("models", ("lowres_pose",)),
    ],
)
def test_arrays_that_disagree_are_refused(field: str, value: object):
    people = two_people()
    fields = {name: getattr(people, name) for name in people.__dataclass_fields__}
    with pytest.raises(ValueError, match=field):
        People(**fields | {field: value})


def test_drawing_changes_the_copy_near_the_people_only():
    frame = np.full((100, 200, 3), 77, np.uint8)
    drawn = draw_people(frame, two_people())
    assert (frame == 77).all()
    assert (drawn[:, :100] != 77).any()
    assert (drawn[:, 110:] == 77).all()


def test_the_privacy_view_has_skeletons_and_nothing_of_the_picture():
    view = draw_anonymous(200, 100, two_people())
    assert view.shape == (100, 200, 3)
    assert tuple(view[50, 150]) == PLAIN_BACKGROUND
    assert (view != PLAIN_BACKGROUND).any()
    assert (draw_anonymous(200, 100, People.empty()) == PLAIN_BACKGROUND).all()


def test_joints_below_the_threshold_are_not_drawn():
    drawn = draw_anonymous(200, 100, two_people(), threshold=0.6)
    assert (drawn == PLAIN_BACKGROUND).all()


def test_to_list_rounds_as_python_does():
    people = two_people()
    person = people.to_list(variances=True)[1]
    assert person["score"] == round(float(people.scores[1]), 4)
    assert person["keypoints"] == [
        [round(x, 2), round(y, 2), round(score, 4)] for x, y, score in people.keypoints[1].tolist()
    ]
    assert person["variances"] == [[1.0, 1.0]] * 17
