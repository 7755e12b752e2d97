"""More than a real Triton server can answer: what waits too long, and what finds no place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc

from farpose.engine import EngineOverloadedError, EngineTimeoutError
from farpose.engines.triton import TritonEngine
from farpose.engines.triton_pipeline import TritonPipeline
from farpose.options import PoseOptions
from farpose_serving.triton.server import TritonServer
from tests.triton.statistics import counted

QUEUE, INSTANCES = 64, 4
"""Of `pose_pipeline`: pictures that may wait, and that are worked on."""

FLOOD = 120

LEFT_THE_QUEUE = 3
"""Requests of one model that its instance runs or holds; nobody can call them back."""

BOXES = ((10.0, 10.0, 60.0, 120.0),)


@pytest.fixture(scope="module")
def client(triton: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(f"{triton.host}:{triton.ports.grpc}") as client:
        yield client


def text(value: bytes, name: str) -> grpc.InferInput:
    return grpc.InferInput(name, [1], "BYTES").set_data_from_numpy(np.array([value], object))


def test_pictures_beyond_the_queue_are_refused_and_the_others_answered(
    client: grpc.InferenceServerClient, pictures: list[bytes]
):
    """Every tenth is to wait for a millisecond at most."""
    sent = [text(pictures[0], "image"), text(json.dumps({"boxes": BOXES}).encode(), "options")]
    alone = client.infer("pose_pipeline", sent).as_numpy("keypoints")
    answers: list[Future[Any]] = [Future() for _ in range(FLOOD)]
    for number, answer in enumerate(answers):
        client.async_infer(
            "pose_pipeline",
            sent,
            lambda result, error, answer=answer: answer.set_result(error or result),
            timeout=1000 if number % 10 == 5 else None,
            client_timeout=60,
        )
    found = [answer.result(60) for answer in answers]
    refused = [answer for answer in found if isinstance(answer, Exception)]
    assert {error.status() for error in refused} == {"StatusCode.UNAVAILABLE"}
    reasons = {error.message().rpartition("] ")[2] for error in refused}
    assert reasons == {"Exceeds maximum queue size", "Request timeout expired"}
    good = [answer for answer in found if not isinstance(answer, Exception)]
    assert len(good) >= QUEUE - FLOOD // 10
    for answer in good:
        np.testing.assert_array_equal(answer.as_numpy("keypoints"), alone)


def test_the_engine_tells_a_full_queue_from_a_server_that_is_away(
    triton: TritonServer, pictures: list[bytes]
):
    options = PoseOptions(boxes=BOXES)

    async def flood() -> list[Any]:
        async with TritonEngine(f"{triton.host}:{triton.ports.grpc}", 60) as engine:
            pipeline = TritonPipeline(engine)
            await pipeline(pictures[0], options)
            known = dict(engine._known)
            many = (pipeline(pictures[0], options) for _ in range(FLOOD))
            answers = await asyncio.gather(*many, return_exceptions=True)
            assert engine._known == known  # nothing is asked for anew because of it
            return answers

    answers = asyncio.run(flood())
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert {type(error) for error in refused} == {EngineOverloadedError}
    assert len(refused) <= FLOOD - QUEUE


def test_what_callers_gave_up_is_not_run(triton: TritonServer, client: grpc.InferenceServerClient):
    """The queues of the batched models have no limit: they hold what somebody waits for."""
    frames = {"images": np.zeros((16, 480, 480, 3), np.uint8)}  # as many as run at once

    async def ask(timeout: float, times: int) -> list[Any]:
        async with TritonEngine(f"{triton.host}:{triton.ports.grpc}", timeout) as engine:
            await engine.metadata("person_detector")
            many = (engine.infer("person_detector", frames) for _ in range(times))
            return await asyncio.gather(*many, return_exceptions=True)

    def counts(requests: int = 0) -> tuple[int, int]:
        model = counted(client, "person_detector", requests)
        return model.inference_stats.success.count, model.execution_count

    success, runs = counts()
    answers = asyncio.run(ask(0.2, 10))
    given_up = [answer for answer in answers if isinstance(answer, EngineTimeoutError)]
    in_time = len(answers) - len(given_up)
    assert in_time < 5
    (last,) = asyncio.run(ask(60, 1))  # behind all that is still there
    assert last["scores"].shape == (16, 100)
    # And those that had left the queue when their callers gave up: they run, or are about to.
    assert counts(success + in_time + 1)[1] - runs <= in_time + 1 + LEFT_THE_QUEUE
