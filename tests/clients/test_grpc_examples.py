"""The examples of clients/grpc, each as a program of its own, against a real Triton server."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.pipeline import PosePipeline
from farpose_serving.triton.server import TritonServer
from tests.conftest import ROOT, missing

EXAMPLES = ROOT / "clients" / "grpc"

JOINT = re.compile(r"^  (\w+) +(-?[\d.]+) +(-?[\d.]+)  ([\d.]+)$", re.MULTILINE)
BOX = re.compile(r"^person \d+: score ([\d.]+), box (.*)$", re.MULTILINE)


def run(triton: TritonServer, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    command += ["--url", f"{triton.host}:{triton.ports.grpc}"]
    return subprocess.run(
        command, cwd="/", capture_output=True, text=True, check=False, timeout=120
    )


def printed(done: subprocess.CompletedProcess[str]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[P,4]` and keypoints `[P,17,3]`."""
    assert done.returncode == 0, done.stderr
    boxes = [list(map(float, edges.split())) for _, edges in BOX.findall(done.stdout)]
    joints = JOINT.findall(done.stdout)
    assert [name for name, *_ in joints[:2]] == ["nose", "left_eye"]
    values = np.array([list(map(float, numbers)) for _, *numbers in joints])
    return np.array(boxes), values.reshape(len(boxes), 17, 3)


def test_what_is_printed_is_what_the_pipeline_finds(
    triton: TritonServer, bus: Path, repository: Path
):
    boxes, keypoints = printed(run(triton, "pose_sync.py", bus))
    with OnnxRuntimeEngine(repository, threads=2) as engine:
        here = asyncio.run(PosePipeline(engine)(bus.read_bytes())).people
    np.testing.assert_allclose(boxes, here.boxes, atol=0.06)
    np.testing.assert_allclose(keypoints[..., :2], here.keypoints[..., :2], atol=0.06)
    np.testing.assert_allclose(keypoints[..., 2], here.keypoints[..., 2], atol=0.006)


def test_options_are_sent(triton: TritonServer, bus: Path):
    done = run(triton, "pose_sync.py", bus, "--options", '{"max_people": 1}')
    assert done.stdout.startswith("1 person\n")
    refused = run(triton, "pose_sync.py", bus, "--options", '{"most_people": 1}')
    assert refused.returncode == 1
    assert "options.most_people" in refused.stderr


def test_many_pictures_are_posed_and_one_that_is_none_is_named(triton: TritonServer, bus: Path):
    done = run(triton, "pose_aio.py", bus, __file__, bus)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {__file__}: ") and done.stderr.count("\n") == 1
    first, second = done.stdout.split(f"{bus}: ")[1:]
    assert first == second
    assert first.startswith("4 people\n")


def test_the_two_models_alone_find_almost_the_same_people(triton: TritonServer, bus: Path):
    boxes, keypoints = printed(run(triton, "models.py", bus))
    reference_boxes, reference = printed(run(triton, "pose_sync.py", bus))
    assert len(boxes) == len(reference_boxes)
    heights = (reference_boxes[:, 3] - reference_boxes[:, 1])[:, None]
    distances = np.linalg.norm(keypoints[..., :2] - reference[..., :2], axis=2) / heights
    sure = reference[..., 2] > 0.5
    # A crop pixel is 1.25 / 64 of the height.
    assert np.median(distances[sure]) < 1.25 / 64


@pytest.mark.parametrize("side", [41, 64, 200])
@pytest.mark.parametrize("center", [(30, 40), (150, 100), (283, 17)])
def test_a_dot_is_found_again(monkeypatch: pytest.MonkeyPatch, side: int, center: tuple[int, int]):
    monkeypatch.syspath_prepend(EXAMPLES)
    example = runpy.run_path(str(EXAMPLES / "models.py"))
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, center, 6, (255, 255, 255), -1)
    x, y = center[0] + side / 7, center[1] - side / 9
    half = side / 2.5
    square = example["square"](np.array([x - half, y - half, x + half, y + half]))
    crop = example["cut"](image, square, 64)[..., 0].astype(float)
    found = [(crop * axis).sum() / crop.sum() for axis in (np.arange(64), np.arange(64)[:, None])]
    mapped = example["to_picture"](np.array([[[*found, 1]]]), [square], 64)
    # The resampled dot is rounded to whole grey levels.
    np.testing.assert_allclose(mapped[0, 0], [*center, 1], atol=0.1)


def test_nobody_is_no_request_for_poses(triton: TritonServer, bus: Path):
    done = run(triton, "models.py", bus, "--threshold", 1)
    assert (done.returncode, done.stdout) == (0, "0 people\n")


def test_cameras_share_a_connection(triton: TritonServer, bus: Path, data: Path):
    video = data / "video" / "one-by-one-person-detection.mp4"
    done = run(triton, "cameras.py", bus, data / "coco_mini" / "val", video, "--seconds", 1)
    assert done.returncode == 0, done.stderr
    _header, *cameras, everything = [line.rsplit(maxsplit=7) for line in done.stdout.splitlines()]
    assert len(cameras) == 3
    for _, rate, median, _, longest, dropped, failed, _ in [*cameras, everything]:
        assert float(rate) > 0 and float(median) <= float(longest)
        assert (dropped, failed) == ("0", "0")
    assert cameras[0][-1] == "4.0"
    assert float(everything[1]) == pytest.approx(sum(float(row[1]) for row in cameras), abs=0.2)


def test_a_camera_drops_what_finds_no_room(triton: TritonServer, bus: Path):
    arguments = ("--rate", 400, "--outstanding", 1, "--seconds", 0.5)
    done = run(triton, "cameras.py", bus, *arguments)
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[1].rsplit(maxsplit=7)
    assert int(row[5]) > 0 and row[6] == "0"


def test_frames_that_fail_are_counted(triton: TritonServer, bus: Path, tmp_path: Path):
    (tmp_path / "1.jpg").write_bytes(bus.read_bytes())
    (tmp_path / "2.jpg").write_bytes(b"no picture")
    done = run(triton, "cameras.py", tmp_path, "--outstanding", 1, "--seconds", 0.5)
    assert done.returncode == 1
    assert int(done.stdout.splitlines()[1].rsplit(maxsplit=7)[6]) > 0
    assert "ImageError" in done.stderr


@pytest.mark.parametrize("content", [None, b"no video"])
def test_a_camera_that_is_not_there_is_named(
    triton: TritonServer, bus: Path, tmp_path: Path, content: bytes | None
):
    source = tmp_path / "gate.mp4"
    if content is not None:
        source.write_bytes(content)
    done = run(triton, "cameras.py", bus, source, "--seconds", 30)
    assert done.returncode == 1
    assert f"error: {source}: " in done.stderr and "Traceback" not in done.stderr


def test_curl_of_the_readme(triton: TritonServer, bus: Path, tmp_path: Path):
    (snippet,) = re.findall(r"```sh\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    if subprocess.run(["which", "curl"], capture_output=True, check=False).returncode:
        missing("no curl")
    url = f"{triton.host}:{triton.ports.http}"
    done = subprocess.run(
        ["sh", "-euc", snippet, "sh", bus, url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = {output["name"]: output for output in json.loads(done.stdout)["outputs"]}
    assert outputs["keypoints"]["shape"] == [4, 17, 3]
    assert len(outputs["boxes"]["data"]) == 16


def test_the_examples_import_no_farpose():
    for path in EXAMPLES.glob("*.py"):
        assert not re.search(r"^\s*(from|import) farpose", path.read_text(), re.MULTILINE)
