"""The engine over a real Triton server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc

from farpose.engine import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    InvalidInputError,
    UnknownModelError,
)
from farpose.engines import shared_memory
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.engines.triton import TritonEngine
from farpose.engines.triton_pipeline import TritonPipeline
from farpose.images import ImageError, ImageFormatError, decode_image
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose.remote_pipeline import OptionsError
from farpose_serving.triton.server import TritonServer
from tests.serving.encoded import encode, gradient
from tests.triton.servers import StartServer, free_ports
from tests.triton.statistics import counted

CAMERAS = 8


def with_engine(
    url: str, use: Callable[[TritonEngine], Awaitable[Any]], timeout: float = 60.0
) -> Any:
    """What `use` returns."""

    async def connected() -> Any:
        async with TritonEngine(url, timeout) as engine:
            return await use(engine)

    return asyncio.run(connected())


@pytest.fixture(scope="module")
def url(triton: TritonServer) -> str:
    return f"{triton.host}:{triton.ports.grpc}"


def test_models_are_described_as_by_the_engine_here(url: str, repository: Path):
    found = with_engine(url, lambda engine: engine.models())
    assert {m.name for m in found} >= {"lowres_pose", "person_detector", "pose_pipeline"}
    with OnnxRuntimeEngine(repository) as engine:
        for here in engine.loaded:
            there = next(m for m in found if m.name == here.name)
            assert there.version == here.version
            assert there.max_batch_size == here.max_batch_size
            assert there.properties.get("keypoint_set") == here.properties.get("keypoint_set")
            tensors = {t.name: (t.dtype, len(t.shape)) for t in (*here.inputs, *here.outputs)}
            assert tensors == {
                t.name: (t.dtype, len(t.shape)) for t in (*there.inputs, *there.outputs)
            }


def test_people_are_the_same_through_every_engine(
    url: str, repository: Path, pictures: list[bytes]
):
    async def both(engine: TritonEngine) -> list[Any]:
        pipelines = PosePipeline(engine), TritonPipeline(engine)
        return [[await pipeline(p) for pipeline in pipelines] for p in pictures]

    with OnnxRuntimeEngine(repository, threads=2) as engine:
        local = [asyncio.run(PosePipeline(engine)(picture)) for picture in pictures]
    assert any(len(result.people) > 1 for result in local)
    for here, results in zip(local, with_engine(url, both), strict=True):
        for there in results:
            assert (there.width, there.height) == (here.width, here.height)
            assert there.people.models == here.people.models
            assert there.models == here.models
            for name in ("boxes", "scores", "keypoints", "variances"):
                np.testing.assert_allclose(
                    getattr(there.people, name), getattr(here.people, name), atol=1e-3, rtol=1e-5
                )


def test_requests_of_several_cameras_are_merged(url: str, pictures: list[bytes]):
    frame = max((decode_image(p) for p in pictures), key=lambda p: p.size)

    def counts(requests: int = 0) -> tuple[int, int]:
        with grpc.InferenceServerClient(url) as client:
            model = counted(client, "lowres_pose", requests)
        return model.inference_stats.success.count, model.execution_count

    async def watch(engine: TritonEngine) -> None:
        pipeline = PosePipeline(engine)

        async def camera() -> None:
            for _ in range(6):
                result = await pipeline(frame, PoseOptions(detector_size=320))
                assert len(result.people)

        await asyncio.gather(*(camera() for _ in range(CAMERAS)))

    with_engine(url, lambda engine: engine.metadata("lowres_pose"))
    before = counts()
    with_engine(url, watch)
    after = counts(before[0] + CAMERAS * 6)
    requests, runs = (b - a for a, b in zip(before, after, strict=True))
    assert requests >= CAMERAS * 6
    assert requests / runs > 1.5


def test_answers_belong_to_their_pictures(url: str, pictures: list[bytes]):
    async def ask(engine: TritonEngine) -> tuple[list[Any], list[Any]]:
        pipelines = PosePipeline(engine), TritonPipeline(engine)
        alone = [await pipelines[0](picture) for picture in pictures]
        crowd = await asyncio.gather(
            *(pipeline(p) for _ in range(3) for pipeline in pipelines for p in pictures)
        )
        return alone, crowd

    alone, crowd = with_engine(url, ask)
    assert len({result.people.boxes.tobytes() for result in alone}) > 1
    for i, result in enumerate(crowd):
        expected = alone[i % len(alone)].people
        np.testing.assert_allclose(result.people.keypoints, expected.keypoints, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (b"nothing", {}, ImageError, "not a picture"),
        (encode(gradient(), ".bmp"), {}, ImageFormatError, "BMP picture is not supported"),
        (None, {"pose_model": "tall"}, OptionsError, "there is no model 'tall'"),
    ],
)
def test_refusals_keep_their_kind(
    url: str, image: bytes | None, options: dict[str, Any], error: type[Exception], message: str
):
    picture = encode(gradient(), ".png") if image is None else image
    with pytest.raises(error, match=message):
        with_engine(url, lambda engine: TritonPipeline(engine)(picture, PoseOptions(**options)))


@pytest.mark.parametrize(
    ("model", "inputs", "error", "message"),
    [
        ("nobody", {}, UnknownModelError, "the server has no model 'nobody'"),
        ("lowres_pose", {"crops": (0, 64, 64, 3)}, EngineError, "crops"),
        ("lowres_pose", {"crops": (65, 64, 64, 3)}, InvalidInputError, "64"),
        ("lowres_pose", {"crops": (1, 32, 32, 3)}, InvalidInputError, "unexpected shape"),
        ("lowres_pose", {"images": (1, 64, 64, 3)}, InvalidInputError, "images"),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    url: str, model: str, inputs: dict[str, Any], error: type[Exception], message: str
):
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in inputs.items()}
    with pytest.raises(error, match=message):
        with_engine(url, lambda engine: engine.infer(model, arrays))


def test_an_answer_that_takes_too_long_is_not_waited_for(url: str):
    frames = {"images": np.zeros((16, 1280, 1280, 3), np.uint8)}

    async def ask(engine: TritonEngine) -> None:
        await engine.metadata("person_detector")
        engine._timeout = 0.05
        with pytest.raises(EngineTimeoutError, match="Deadline Exceeded"):
            await engine.infer("person_detector", frames)

    with_engine(url, ask)


def test_nobody_at_the_address_is_said_at_once():
    url = f"127.0.0.1:{free_ports().grpc}"

    async def ask(engine: TritonEngine) -> None:
        assert not await engine.is_ready("lowres_pose")
        for asked in (engine.metadata("lowres_pose"), engine.models()):
            with pytest.raises(EngineUnavailableError, match=url):
                await asyncio.wait_for(asked, 5)

    with_engine(url, ask)


def test_frames_in_shared_memory_have_the_same_people(
    url: str, pictures: list[bytes], triton: TritonServer
):
    def regions() -> set[str]:
        return {path.name for path in Path("/dev/shm").glob("psm_*")}  # noqa: S108

    async def ask() -> tuple[list[Any], list[Any]]:
        results = []
        for shared in (False, True):
            async with TritonEngine(url, 60, shared_memory=shared) as engine:
                pipeline = PosePipeline(engine)
                results.append(await asyncio.gather(*map(pipeline, pictures * 2)))
                if shared:
                    assert engine._shared is not None
                    # At most a frame and the crops of its people at a time.
                    assert 0 < len(engine._shared._regions) <= 4 * len(pictures)
        return results[0], results[1]

    before = regions()
    for plain, shared in zip(*asyncio.run(ask()), strict=True):
        np.testing.assert_array_equal(plain.people.keypoints, shared.people.keypoints)
    assert regions() == before
    with grpc.InferenceServerClient(url) as client:
        assert not client.get_system_shared_memory_status().regions


def test_a_region_is_not_used_again_after_a_request_was_given_up(url: str):
    frames = {"images": np.zeros((16, 1280, 1280, 3), np.uint8)}

    async def ask() -> None:
        async with TritonEngine(url, 60, shared_memory=True) as engine:
            await engine.metadata("person_detector")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.infer("person_detector", frames), 0.3)
            assert engine._shared is not None
            (given_up,) = engine._shared._regions
            await engine.infer("person_detector", {"images": frames["images"][:, :640]})
            await engine.infer("person_detector", frames)
            assert given_up not in [r for free in engine._shared._free.values() for r in free]

    asyncio.run(ask())


def test_memory_of_a_request_that_was_given_up_or_failed_is_replaced(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(shared_memory, "MOST_REGIONS", 1)
    frame = np.zeros((1, 320, 320, 3), np.uint8)
    many = np.zeros((8, 1280, 1280, 3), np.uint8)

    async def ask() -> None:
        async with TritonEngine(url, 60, shared_memory=True) as engine:
            assert engine._shared is not None
            regions = engine._shared._regions

            async def infer(images: np.ndarray) -> np.ndarray:
                return (await engine.infer("person_detector", {"images": images}))["scores"]

            async def until_replaced() -> None:
                (old,) = regions
                while regions == [old]:
                    np.testing.assert_array_equal(await infer(frame), expected)
                assert engine._shared is not None
                assert [r for free in engine._shared._free.values() for r in free] == regions

            request = asyncio.create_task(infer(many))
            while not regions or regions[0].registered < 0:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # the server has it
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            (given_up,) = regions
            expected = await infer(frame)
            assert regions == [given_up]  # the server still read it
            await until_replaced()
            with pytest.raises(EngineError):
                await infer(frame.reshape(1, 320, 3, 320))
            await until_replaced()
            # As a server that has been restarted, this one does not know it any more.
            await engine._client.unregister_system_shared_memory(regions[0].name)
            await until_replaced()

    asyncio.run(asyncio.wait_for(ask(), 60))
    (warning,) = caplog.messages
    assert warning.startswith("inputs go over gRPC, not through shared memory, until the server")


def test_shared_memory_survives_a_restart_of_the_server(
    repository: Path, start_triton: StartServer
):
    frames = {"images": np.zeros((1, 640, 640, 3), np.uint8)}
    ports = free_ports()
    only = ("--model-control-mode=explicit", "--load-model=person_detector")
    first = start_triton(repository, *only, ports=ports)

    async def ask() -> None:
        async with TritonEngine(f"127.0.0.1:{ports.grpc}", 60, shared_memory=True) as engine:
            expected = await engine.infer("person_detector", frames)
            first.stop()
            start_triton(repository, *only, ports=ports)
            for _ in range(2):  # the second one in shared memory again
                found = await engine.infer("person_detector", frames)
                np.testing.assert_array_equal(found["scores"], expected["scores"])

    asyncio.run(ask())
