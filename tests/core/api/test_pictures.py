from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from farpose import (
    BoxError,
    EngineError,
    ImageError,
    OptionsError,
    Pose,
    PoseOptions,
    PoseResult,
    RepositoryError,
    SourceError,
)
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.pipeline import PosePipeline

Street = NDArray[np.uint8]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def same(one: PoseResult, other: PoseResult) -> bool:
    """Runs in one batch with others differ in the last digits."""
    return one.keypoints.shape == other.keypoints.shape and bool(
        np.allclose(one.keypoints, other.keypoints, atol=0.05)
        and np.allclose(one.boxes, other.boxes, atol=0.05)
    )


def test_three_lines_find_what_the_pipeline_finds(pose: Pose, bus: Path, repository: Path):
    people = pose(bus)
    with OnnxRuntimeEngine(repository) as engine:
        expected = asyncio.run(PosePipeline(engine)(bus.read_bytes()))
    assert same(people, expected)
    assert len(people) == 4
    assert (people.width, people.height, people.source) == (810, 1080, str(bus))
    assert people.models == {"person_detector": "1", "lowres_pose": expected.models["lowres_pose"]}


@pytest.mark.parametrize(
    "given",
    [
        lambda bus, street: str(bus),
        lambda bus, street: bus.read_bytes(),
        lambda bus, street: bytearray(bus.read_bytes()),
        lambda bus, street: street,
        lambda bus, street: street[::-1][::-1],  # not contiguous
        lambda bus, street: Image.fromarray(street),
        lambda bus, street: Image.fromarray(street).convert("RGBA"),
        lambda bus, street: png(Image.fromarray(street)),
    ],
    ids=["path", "bytes", "bytearray", "array", "view", "pillow", "rgba", "png"],
)
def test_a_picture_may_be_given_in_many_ways(
    given: Callable[[Path, Street], Any], pose: Pose, bus: Path, street: Street
):
    assert same(pose(given(bus, street)), pose(bus))


def test_arrays_are_rgb_unless_they_are_said_to_be_bgr(pose: Pose, street: Street):
    expected = pose(street)
    bgr = np.ascontiguousarray(street[..., ::-1])
    assert same(pose(bgr, bgr=True), expected)
    assert (pose(bgr, bgr=True).image == street).all()
    assert not same(pose(bgr), expected)


def test_pillow_images_are_turned_as_their_exif_says_and_16_bits_kept(pose: Pose, street: Street):
    turned = Image.fromarray(street).rotate(90, expand=True)
    turned.getexif()[0x0112] = 6  # turn it by 90 degrees clockwise to look at it
    assert same(pose(turned), pose(street))
    grey = np.asarray(Image.fromarray(street).convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 256)
    assert same(pose(deep), pose(np.stack([grey] * 3, axis=-1)))


def test_a_list_is_answered_in_order(pose: Pose, bus: Path, street: Street):
    nobody = np.zeros((90, 120, 3), np.uint8)
    results = pose([bus, nobody, street[:, :400], bus.read_bytes(), Image.fromarray(street)])
    assert [result.width for result in results] == [810, 120, 400, 810, 810]
    assert len(results[1]) == 0
    assert same(results[0], results[3])
    assert same(results[0], results[4])
    assert pose([]) == []


def test_options_are_those_of_the_pipeline(pose: Pose, street: Street):
    boxes = np.array([[220, 400, 350, 870], [10, 400, 250, 910]])
    assert (pose(street, boxes=boxes).boxes == boxes).all()
    assert len(pose(street, max_people=2)) == 2
    assert (pose(street, keypoint_threshold=1.0).keypoints == 0).any()
    assert set(pose(street, pose_model="lowres_pose_32").people.models) == {"lowres_pose_32"}
    assert len(pose(street, detection_threshold=0.9, detector_size=320)) < 4


def test_the_signature_tells_the_options_and_their_defaults(pose: Pose):
    for function in (pose.__call__, pose.video):
        shown = inspect.signature(function).parameters
        assert shown["detection_threshold"].default == PoseOptions().detection_threshold
        assert shown["boxes"].kind is inspect.Parameter.KEYWORD_ONLY
        assert not any(p.kind is p.VAR_KEYWORD for p in shown.values())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        # What is unknown is named, with what was probably meant.
        (lambda pose, a: pose(a, detection_treshold=0.5), TypeError,
         "no argument 'detection_treshold': did you mean 'detection_threshold'"),
        (lambda pose, a: pose(a, colour="red"), TypeError, "'colour'; there are bgr, .*boxes"),
        (lambda pose, a: pose.video("x.mp4", tracks=True), TypeError, "did you mean 'track'"),
        (lambda pose, a: Pose(devise="cpu"), TypeError, "did you mean 'device'"),
        # Values.
        (lambda pose, a: pose(a, detection_threshold=3), OptionsError, "detection_threshold: .* 1"),
        (lambda pose, a: pose(a, detector_size=100), OptionsError, "detector_size: "),
        (lambda pose, a: pose(a, boxes=[(1, 2, 3)]), OptionsError, "boxes"),
        (lambda pose, a: pose(a, boxes="1,2"), OptionsError, "^boxes.0.2: Field required"),
        (lambda pose, a: pose(a, boxes="x"), OptionsError, "^boxes: 'x' is not x1,y1,x2,y2"),
        (lambda pose, a: pose(a, boxes=[(5, 5, 5, 9)]), BoxError, "box 0"),
        (lambda pose, a: pose(a, pose_model="tall"), EngineError, "no model 'tall'.*lowres_pose"),
        (lambda pose, a: Pose(pose_model="tall"), EngineError, "no model 'tall'"),
        (lambda pose, a: Pose(pose_model="person_detector"), EngineError, "not a pose"),
        (lambda pose, a: Pose(device="gpu"), ValueError, "'cpu' or 'cuda'"),
        (lambda pose, a: Pose(threads=0), ValueError, "threads is 0"),
        (lambda pose, a: Pose(repository="/nowhere"), RepositoryError, "/nowhere"),
        # Files.
        (lambda pose, a: pose("nowhere.jpg"), SourceError, "nowhere.jpg: no such file"),
        (lambda pose, a: pose("nowhere.mp4"), SourceError, "nowhere.mp4: no such file"),
        (lambda pose, a: pose("."), SourceError, "folder: give a list"),
        (lambda pose, a: pose("a\0b.jpg"), SourceError, "cannot be read"),
        (lambda pose, a: pose("https://example.org/a.jpg"), SourceError, "give its bytes"),
        (lambda pose, a: pose(__file__), ImageError, "test_pictures.py: .* not a picture"),
        (lambda pose, a: pose(b""), ImageError, "0 bytes"),
        (lambda pose, a: pose(["a.mp4"]), SourceError, "a.mp4: it is a video: use pose.video"),
        (lambda pose, a: pose.video("."), SourceError, "is a folder"),
        (lambda pose, a: pose.video(b"mp4"), TypeError, "a video is a path, not bytes"),
        # Arrays.
        (lambda pose, a: pose(a / 255), ImageError, r"float64 .*astype\(np.uint8\) .times 255"),
        (lambda pose, a: pose(a.astype(int)), ImageError, "int64 .*astype"),
        (lambda pose, a: pose(a[..., 0]), ImageError, r"uint8 \[40, 30\], .*np.stack"),
        (lambda pose, a: pose(a[..., :1]), ImageError, "np.repeat"),
        (lambda pose, a: pose(np.dstack([a, a[..., 0]])), ImageError, "transparency"),
        (lambda pose, a: pose(a.transpose(2, 0, 1)), ImageError, "transpose"),
        (lambda pose, a: pose(a[None]), ImageError, r"list\(images\)"),
        (lambda pose, a: pose(a[:0]), ImageError, "no pixels"),
        # Other things.
        (lambda pose, a: pose(None), TypeError, "not NoneType"),
        (lambda pose, a: pose([a, 3]), TypeError, "picture 1 of the list: .* not int"),
        (lambda pose, a: pose([a, b"no"]), ImageError, "picture 1 of the list: "),
        (lambda pose, a: pose(b"no", bgr=True), TypeError, "bgr=True is about arrays"),
        (lambda pose, a: pose.video("a.mp4", track=True, boxes=[(0, 0, 9, 9)]), TypeError,
         "boxes do not go with track"),
    ],
)  # fmt: skip
def test_mistakes_are_told(
    call: Callable[[Pose, Street], object], kind: type[Exception], message: str, pose: Pose
):
    with pytest.raises(kind, match=message):
        call(pose, np.zeros((40, 30, 3), np.uint8))


def test_a_damaged_pillow_image_is_told(pose: Pose, bus: Path):
    with pytest.raises(ImageError, match="Pillow image cannot be decoded"):
        pose(Image.open(io.BytesIO(bus.read_bytes()[:20_000])))


def test_threads_share_one(pose: Pose, street: Street):
    parts = [street, street[:, :500], street[300:], street[:, 200:]]
    expected = [pose(part) for part in parts]
    meeting = threading.Barrier(len(parts))

    def find(part: Street) -> PoseResult:
        meeting.wait()
        return pose(part)

    with ThreadPoolExecutor(len(parts)) as threads:
        found = list(threads.map(find, parts))
    assert all(map(same, found, expected))


def test_it_works_where_an_event_loop_runs(pose: Pose, bus: Path):
    async def cell() -> PoseResult:
        return pose(bus)

    assert len(asyncio.run(cell())) == 4
