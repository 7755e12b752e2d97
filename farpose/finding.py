"""What `farpose.Pose` does on its event loop: pictures, lists of them, and frames of a video."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from farpose.archive.overlap import overlapped
from farpose.frame_clock import FrameClock
from farpose.given_pictures import Picture, read_picture
from farpose.images import ImageError
from farpose.loop_thread import LoopThread
from farpose.options import PoseOptions
from farpose.pipeline import PosePipeline
from farpose.result import PoseResult
from farpose.sources import Frame
from farpose.tracking.session import CameraSession

AT_ONCE: Final = 4
"""Pictures of a list that are worked on together."""

FindInFrame = Callable[[Frame], Coroutine[Any, Any, PoseResult]]


async def find(
    pipeline: PosePipeline, picture: Picture, name: str | None, *, keep: bool, options: PoseOptions
) -> PoseResult:
    """The people of a picture.

    Args:
        pipeline: finds them.
        picture: where.
        name: what messages call it.
        keep: whether the result holds the picture.
        options: as for the pipeline.

    Raises:
        ImageError: it cannot be decoded.
    """
    try:
        result = await pipeline(picture.content, options)
    except ImageError as error:
        if name is None:
            raise
        raise type(error)(f"{name}: {error}") from error
    return replace(result, picture=picture.content if keep else None, source=picture.source)


async def find_all(
    pipeline: PosePipeline, given: Sequence[Any], *, bgr: bool, keep: bool, options: PoseOptions
) -> list[PoseResult]:
    """The people of each of some pictures, several at a time; the first error ends it all."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def find_one(number: int, one: Any) -> PoseResult:
        name = f"picture {number} of the list"
        async with slots:
            try:
                of_array = bgr and isinstance(one, np.ndarray)
                picture = await asyncio.to_thread(read_picture, one, bgr=of_array)
            except (ImageError, TypeError) as error:
                raise type(error)(f"{name}: {error}") from error
            name = picture.source or name
            return await find(pipeline, picture, name, keep=keep, options=options)

    return await _all_or_none([find_one(number, one) for number, one in enumerate(given)])


async def _all_or_none(work: Sequence[Coroutine[Any, Any, PoseResult]]) -> list[PoseResult]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def find_in_frames(
    pipeline: PosePipeline, session: CameraSession | None, *, keep: bool, options: PoseOptions
) -> FindInFrame:
    """A function for the frames of one video, in order. With a session, one waits for the other."""
    one_by_one = asyncio.Lock()
    clock = FrameClock()

    async def answered(frame: Frame) -> PoseResult:
        if session is None:
            return await pipeline(frame.image, options)
        async with one_by_one:
            return await session.find(frame.image, options, clock(frame), pipeline)

    async def find_in_frame(frame: Frame) -> PoseResult:
        return replace(
            await answered(frame),
            picture=frame.image if keep else None,
            source=str(frame.source),
            index=frame.index or 0,
            time=frame.time,
        )

    return find_in_frame


def answered_in_order(
    loop: LoopThread, frames: Iterator[Frame], find_in_frame: FindInFrame
) -> Generator[PoseResult, None, None]:
    """Results in order, while frames are decoded ahead.

    The results of frames before one that cannot be read come before the error.
    """

    def answer(frame: Frame) -> asyncio.Future[PoseResult]:
        return asyncio.wrap_future(loop.submit(find_in_frame(frame)))

    with contextlib.closing(overlapped(frames, answer)) as answers:
        for _, result in answers:
            yield result
