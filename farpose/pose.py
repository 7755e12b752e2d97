"""`farpose.Pose`: people in pictures and videos, for scripts and notebooks."""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farpose.extras import how_to_install
from farpose.finding import FindInFrame, answered_in_order, find, find_all, find_in_frames
from farpose.given_pictures import GivenPicture, is_video_file, read_picture
from farpose.keyword_names import refuse_unknown
from farpose.loop_thread import LoopThread
from farpose.options import PoseOptions, checked_options
from farpose.pipeline import PosePipeline
from farpose.repository import default_repository
from farpose.result import PoseResult
from farpose.sources import Frame, SourceError, read_frames
from farpose.tracking.session import CameraSession

if TYPE_CHECKING:
    from farpose.engines.onnxruntime import OnnxRuntimeEngine

DETECT_EVERY: Final = 3
"""With `track`, the detector looks at least at every so many-th frame, as in the service."""

DEFAULTS: Final = PoseOptions().model_dump()

DEVICES: Final = ("cpu", "cuda")


class PoseKeywords(TypedDict, total=False):
    """The options of a call: those of `PoseOptions` that change what is found."""

    detection_threshold: float
    keypoint_threshold: float
    max_people: int
    detector_size: int
    pose_model: str
    boxes: NDArray[Any] | Sequence[Sequence[float]] | None


class Pose:
    """Finds people and their joints, with models that run in this process.

    ```python
    from farpose import Pose

    pose = Pose()
    people = pose("street.jpg")
    ```

    Calls are synchronous, also where an event loop runs, as in a notebook. Threads may share one;
    the models put together what they ask at the same time. It holds the models and a few threads
    until `close()`, the end of a `with` block, or nobody has it any more.

    Args:
        repository: a folder of models; the bundled ones if not given.
        device: `cpu`, or `cuda`, which needs the package onnxruntime-gpu.
        threads: CPU threads per model; ONNX Runtime's choice if not given.
        pose_model: a pose model of the repository, or `auto`; calls may name another.

    Raises:
        ImportError: ONNX Runtime is not installed; the message says what to install.
        TypeError: an argument that there is none of.
        ValueError: a device or a number of threads that there is none of.
        RepositoryError: the repository cannot be used.
        EngineError: a model cannot be loaded, or there is no such pose model or device.
    """

    @refuse_unknown()
    def __init__(
        self,
        *,
        repository: str | os.PathLike[str] | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int | None = None,
        pose_model: str = "auto",
    ) -> None:
        folder = default_repository() if repository is None else Path(repository)
        engine = _open_engine(folder, device, threads)
        self._pose_model = pose_model
        self._description = f"repository={os.fspath(folder)!r}, device={device!r}"
        self._pipeline = PosePipeline(engine)
        self._loop = LoopThread("Pose")
        self._close = weakref.finalize(self, _close, self._loop, engine)
        try:
            self._loop.run(self._pipeline.pose_model(pose_model))
        except BaseException:
            self.close()
            raise

    @overload
    def __call__(
        self,
        image: bytes | NDArray[np.uint8] | Image.Image,
        /,
        *,
        bgr: bool = False,
        keep_picture: bool = True,
        **options: Unpack[PoseKeywords],
    ) -> PoseResult: ...

    @overload
    def __call__(  # a video's path gives what `video()` does, which a type cannot tell
        self,
        image: str | os.PathLike[str],
        /,
        *,
        bgr: bool = False,
        keep_picture: bool = True,
        **options: Unpack[PoseKeywords],
    ) -> PoseResult | Any: ...

    @overload
    def __call__(
        self,
        image: list[Any] | tuple[Any, ...],
        /,
        *,
        bgr: bool = False,
        keep_picture: bool = True,
        **options: Unpack[PoseKeywords],
    ) -> list[PoseResult]: ...

    @refuse_unknown(PoseKeywords, DEFAULTS)
    def __call__(
        self,
        image: GivenPicture | list[Any] | tuple[Any, ...],
        /,
        *,
        bgr: bool = False,
        keep_picture: bool = True,
        **options: Unpack[PoseKeywords],
    ) -> PoseResult | list[PoseResult] | Any:
        """The people of a picture, or of each picture of a list.

        Args:
            image: a path, an encoded picture (JPEG, PNG, WebP), an array `[H,W,3]` UINT8 RGB, a
                Pillow image, or a list of these. The path of a video gives what `video()` does.
            bgr: arrays have their channels in the order of OpenCV.
            keep_picture: whether results keep their picture, to draw on.
            options: those of `PoseOptions`.

        Raises:
            TypeError: no kind of picture, or an option that there is none of.
            OptionsError: an option has a value that is not allowed.
            SourceError: a file cannot be read.
            ImageError: a picture cannot be decoded, or an array is none of a picture.
            BoxError: a given box has no area or lies outside the picture.
            EngineError: a model is missing or failed.
            ClosedError: it is closed.
        """
        asked = self._options(options)
        if isinstance(image, list | tuple):
            return self._loop.run(
                find_all(self._pipeline, image, bgr=bgr, keep=keep_picture, options=asked)
            )
        if is_video_file(image):
            if bgr:
                raise TypeError("bgr=True is about arrays; a video says what it is")
            return self._frames(Path(image), asked, None, keep_picture)  # type: ignore[arg-type]
        picture = read_picture(image, bgr=bgr)
        return self._loop.run(
            find(self._pipeline, picture, picture.source, keep=keep_picture, options=asked)
        )

    @refuse_unknown(PoseKeywords, DEFAULTS)
    def video(
        self,
        source: str | os.PathLike[str],
        /,
        *,
        track: bool = False,
        keep_picture: bool = True,
        **options: Unpack[PoseKeywords],
    ) -> Generator[PoseResult, None, None]:
        """The people of every frame of a video, in order, each with its `index` and `time`.

        Frames are decoded ahead, while the models look at those before them.

        Args:
            source: a video or animated GIF.
            track: people keep an id from frame to frame (`track_ids`), joints are smoothed, and the
                detector rests while people can be followed; needs the extra `track`.
            keep_picture: whether results keep their frame, to draw on. A list of all results of a
                long video does not fit into memory with it.
            options: those of `PoseOptions`; with `track` all but `boxes`.

        Raises:
            TypeError: an option that there is none of, or no path.
            OptionsError: an option has a value that is not allowed.
            SourceError: the file cannot be read. What cannot be decoded is found when the first
                frame is asked for.
            TrackingUnavailableError: the package that follows people is not installed.
        """
        asked = self._options(options)
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"a video is a path, not {type(source).__name__}")
        if track and asked.boxes is not None:
            raise TypeError("boxes do not go with track=True, which finds the boxes itself")
        session = CameraSession(detect_every=DETECT_EVERY, smoothing=True) if track else None
        return self._frames(Path(source), asked, session, keep_picture)

    def close(self) -> None:
        """Let running calls come to their end, and free models and threads."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self._close.alive else ", closed"
        return f"<Pose {self._description}, pose_model={self._pose_model!r}{state}>"

    def _options(self, given: PoseKeywords) -> PoseOptions:
        values: dict[str, Any] = {"pose_model": self._pose_model, **given}
        if isinstance(values.get("boxes"), np.ndarray):
            values["boxes"] = values["boxes"].tolist()
        return checked_options(values)

    def _frames(
        self, path: Path, options: PoseOptions, session: CameraSession | None, keep: bool
    ) -> Generator[PoseResult, None, None]:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "no such file"
            raise SourceError(f"{path}: {what}")
        find_in_frame = find_in_frames(self._pipeline, session, keep=keep, options=options)
        return self._answered(read_frames(path), find_in_frame)

    def _answered(
        self, frames: Iterator[Frame], find_in_frame: FindInFrame
    ) -> Generator[PoseResult, None, None]:
        # The generator keeps this object: nobody else may have it, as in `Pose().video(...)`.
        yield from answered_in_order(self._loop, frames, find_in_frame)


def _open_engine(
    repository: Path, device: Literal["cpu", "cuda"], threads: int | None
) -> OnnxRuntimeEngine:
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}: it can be {' or '.join(map(repr, DEVICES))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}: it must be at least 1")
    try:
        from farpose.engines.onnxruntime import OnnxRuntimeEngine as Engine
    except ImportError as error:
        raise ImportError(
            f"Pose runs its models with ONNX Runtime, which is not installed ({error}): "
            f"{how_to_install('serve')}, or '.[serve-gpu]' for device='cuda'",
            name=error.name,
        ) from error
    return Engine(repository, device, threads)


def _close(loop: LoopThread, engine: OnnxRuntimeEngine) -> None:
    loop.close()
    engine.close()
