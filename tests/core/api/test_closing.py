from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from pathlib import Path

import pytest

from farpose import Pose
from farpose.loop_thread import ClosedError, LoopThread


def threads_of(owner: str) -> int:
    return sum(thread.name == owner for thread in threading.enumerate())


def test_a_closed_one_says_so(bus: Path):
    with Pose(pose_model="lowres_pose_32", threads=1) as pose:
        assert set(pose(bus).people.models) == {"lowres_pose_32"}
        assert repr(pose).endswith("pose_model='lowres_pose_32'>")
    pose.close()
    assert repr(pose).endswith(", closed>")
    with pytest.raises(ClosedError, match="this Pose is closed"):
        pose(bus)


def test_one_that_nobody_has_gives_its_thread_back():
    before = threads_of("Pose")
    pose = Pose()
    assert threads_of("Pose") == before + 1
    del pose
    gc.collect()
    assert threads_of("Pose") == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_told_and_does_not_hang(pose: Pose, bus: Path):
    child = os.fork()
    if not child:
        try:
            pose(bus)
        except ClosedError as error:
            os._exit(0 if "made in another process" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_closing_lets_what_runs_come_to_its_end():
    loop = LoopThread("test")
    started = threading.Event()

    async def work() -> str:
        started.set()
        await asyncio.sleep(0.2)
        return "done"

    future = loop.submit(work())
    started.wait()
    loop.close()
    assert future.result(timeout=0) == "done"
    assert threads_of("test") == 0


def test_ctrl_c_cancels_what_runs():
    loop = LoopThread("test")
    ended = threading.Event()

    async def work() -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert ended.wait(5)
    loop.close()


def test_the_last_reference_may_go_on_the_loop_itself():
    loop = LoopThread("test")

    async def close() -> None:
        loop.close()

    loop.submit(close())
    for thread in threading.enumerate():
        if thread.name == "test":
            thread.join(5)
    assert threads_of("test") == 0
