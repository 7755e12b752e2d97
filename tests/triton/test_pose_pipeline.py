"""`pose_pipeline` inside a real Triton server, called by `tritonclient` alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.keypoints import COCO17
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose_serving.triton.server import TritonServer
from tests.serving.encoded import encode, gradient
from tests.triton.loading import ModelLoader
from tests.triton.statistics import counted

OUTPUTS = ("boxes", "scores", "keypoints", "variances", "details")


@pytest.fixture(scope="module")
def client(triton: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(f"{triton.host}:{triton.ports.grpc}") as client:
        yield client


def ask(
    client: grpc.InferenceServerClient, image: bytes, options: Any = None
) -> dict[str, np.ndarray]:
    values = {"image": image}
    if options is not None:
        values["options"] = options if isinstance(options, bytes) else json.dumps(options).encode()
    inputs = []
    for name, value in values.items():
        inputs.append(grpc.InferInput(name, [1], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array([value], object))
    result = client.infer("pose_pipeline", inputs, client_timeout=60)
    return {name: result.as_numpy(name) for name in OUTPUTS}


def test_it_answers_what_the_pipeline_here_answers(
    client: grpc.InferenceServerClient, pictures: list[bytes], repository: Path
):
    options = {"detector_size": 320, "detection_threshold": 0.5, "max_people": 2}
    with OnnxRuntimeEngine(repository, threads=2) as engine:
        pipeline = PosePipeline(engine)
        for picture in pictures:
            for given in ({}, options):
                here = asyncio.run(pipeline(picture, PoseOptions(**given)))
                there = ask(client, picture, given)
                np.testing.assert_allclose(there["boxes"], here.people.boxes, atol=1e-3)
                np.testing.assert_allclose(there["scores"], here.people.scores, atol=1e-5)
                np.testing.assert_allclose(there["keypoints"], here.people.keypoints, atol=1e-3)
                np.testing.assert_allclose(there["variances"], here.people.variances, rtol=1e-3)
                details = json.loads(there["details"][0])
                assert (details["width"], details["height"]) == (here.width, here.height)
                assert details["models"] == here.models
                assert tuple(details["keypoint_names"]) == COCO17.joints


@pytest.mark.parametrize("options", [{"detection_threshold": 1}, {"boxes": ""}, {"boxes": []}])
def test_nobody_is_zero_rows(client: grpc.InferenceServerClient, options: dict[str, Any]):
    answer = ask(client, encode(gradient(), ".png"), options)
    assert [answer[name].shape for name in OUTPUTS[:4]] == [(0, 4), (0,), (0, 17, 3), (0, 17, 2)]


def test_given_boxes_and_thresholds_are_as_over_http(
    client: grpc.InferenceServerClient, pictures: list[bytes]
):
    answer = ask(client, pictures[0], {"boxes": "10,20,60,140;70,20,120,140"})
    assert answer["boxes"].tolist() == [[10, 20, 60, 140], [70, 20, 120, 140]]
    assert answer["scores"].tolist() == [1, 1]
    blank = ask(client, pictures[0], {"boxes": [[10, 20, 60, 140]], "keypoint_threshold": 1.0})
    assert blank["keypoints"][blank["keypoints"][..., 2] == 0].sum() == 0


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (b"", {}, "ImageError: the picture is empty"),
        (b"no picture", {}, "ImageError: the bytes are not a picture"),
        (None, {"detector_sizes": 320}, "OptionsError: options.detector_sizes: "),
        (None, {"max_people": 0}, "OptionsError: options.max_people: "),
        (None, b"{", "OptionsError: options: Invalid JSON"),
        (None, {"pose_model": "tall"}, "OptionsError: pose_model: there is no model 'tall'"),
        (None, {"pose_model": "../x"}, "OptionsError: pose_model: there is no model"),
        (None, {"pose_model": "person_detector"}, "OptionsError: pose_model: .*is not a pose"),
        (None, {"boxes": "999,0,1009,10"}, "BoxError: box 0 .* outside the 96x64 picture"),
    ],
)
def test_what_the_caller_can_put_right_is_named(
    client: grpc.InferenceServerClient, image: bytes | None, options: Any, message: str
):
    picture = encode(gradient(), ".png") if image is None else image
    with pytest.raises(InferenceServerException, match=message) as refused:
        ask(client, picture, options)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_frames_overlap(client: grpc.InferenceServerClient, pictures: list[bytes]):
    def milliseconds(picture: bytes) -> float:
        return float(json.loads(ask(client, picture)["details"][0])["timing_ms"]["total"])

    with ThreadPoolExecutor(4) as cameras:
        list(cameras.map(milliseconds, pictures[:4]))  # the first of each instance is slower
        start = time.perf_counter()
        spent = sum(cameras.map(milliseconds, pictures))
        wall = (time.perf_counter() - start) * 1e3
    # One after the other, all of them together would take no longer than the wall clock.
    assert spent > 1.5 * wall


def test_it_is_described_to_clients(client: grpc.InferenceServerClient):
    metadata = client.get_model_metadata("pose_pipeline")
    assert {t.name: (t.datatype, list(t.shape)) for t in metadata.inputs} == {
        "image": ("BYTES", [1]),
        "options": ("BYTES", [1]),
    }
    assert {t.name: list(t.shape) for t in metadata.outputs} == {
        "boxes": [-1, 4],
        "scores": [-1],
        "keypoints": [-1, -1, 3],
        "variances": [-1, -1, 2],
        "details": [1],
    }
    config = client.get_model_config("pose_pipeline").config
    assert config.instance_group[0].count == 4
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 64
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 10_000_000


def test_answers_are_not_kept(client: grpc.InferenceServerClient, pictures: list[bytes]):
    def counts(requests: int = 0) -> tuple[int, int]:
        model = counted(client, "pose_pipeline", requests)
        return model.inference_stats.success.count, model.execution_count

    for model in client.get_model_repository_index().models:
        assert not client.get_model_config(model.name).config.response_cache.enable
    requests, runs = counts()
    for _ in range(2):
        ask(client, pictures[0])
    assert counts(requests + 2)[1] - runs == 2


def test_small_people_go_to_the_small_model_where_its_parameter_says_so(
    loader: ModelLoader, repository: Path, bus: Path
):
    parameter = 'parameters { key: "small_person" value { string_value: "430" } }'
    for model in ("person_detector", "lowres_pose", "lowres_pose_32", "pose_pipeline"):
        shutil.copytree(repository / model, loader.repository / model)
    config = loader.repository / "pose_pipeline" / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 4", "count: 1") + parameter)
    for model in ("person_detector", "lowres_pose", "lowres_pose_32", "pose_pipeline"):
        loader.client.load_model(model)
    found = ask(loader.client, bus.read_bytes())
    details = json.loads(found["details"][0])
    heights = found["boxes"][:, 3] - found["boxes"][:, 1]
    assert {"lowres_pose", "lowres_pose_32"} == set(details["pose_models"])
    for height, model in zip(heights, details["pose_models"], strict=True):
        assert model == ("lowres_pose_32" if height < 430 else "lowres_pose")
