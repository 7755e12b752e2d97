"""The bytes of results in a part: frames of files, without loss and readable by any process.

A part is a sequence of records: kind, length and checksum, then the content. JSON says what a
record is, and the arrays of a frame follow as little-endian bytes: nothing in a part is executed.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from farpose.keypoints import keypoint_set
from farpose.people import People
from farpose.pipeline import PoseResult
from farpose.sources import Frame

BEGIN: Final = b"B"
"""The frames that follow are of a file, from one of them on."""

FRAME: Final = b"F"
END: Final = b"E"
"""Of a file."""

_HEAD: Final = struct.Struct("<cII")
_FLOATS: Final = np.dtype("<f4")
_NO_IMAGE: Final = np.zeros((0, 0, 3), np.uint8)


class DamagedPartError(ValueError):
    """A part does not hold what was written."""


@dataclass(frozen=True)
class Record:
    """One of a part."""

    kind: bytes
    content: bytes

    def facts(self) -> dict[str, Any]:
        """What a `BEGIN` or `END` says."""
        facts: dict[str, Any] = json.loads(self.content)
        return facts


def packed(kind: bytes, content: bytes) -> bytes:
    """A record as it stands in a part."""
    return _HEAD.pack(kind, len(content), zlib.crc32(content)) + content


def packed_facts(kind: bytes, **facts: Any) -> bytes:
    """A `BEGIN` or an `END`."""
    return packed(kind, json.dumps(facts).encode())


def packed_frame(frame: Frame, result: PoseResult) -> bytes:
    """A frame's results; not its picture, and not how long they took."""
    people = result.people
    head = {
        "index": frame.index,
        "rate": frame.rate,
        "time": frame.time,
        "frames": frame.frames,
        "width": result.width,
        "height": result.height,
        "models": dict(result.models),
        "keypoint_set": people.keypoint_set.name,
        "pose_models": list(people.models),
        "track_ids": None if people.track_ids is None else people.track_ids.tolist(),
    }
    text = json.dumps(head).encode()
    arrays = (people.boxes, people.scores, people.keypoints, people.variances)
    floats = b"".join(np.ascontiguousarray(array, _FLOATS).tobytes() for array in arrays)
    return packed(FRAME, struct.pack("<I", len(text)) + text + floats)


def frame_of(content: bytes, source: Path) -> tuple[Frame, PoseResult]:
    """What `packed_frame` packed; the frame has no picture."""
    (length,) = struct.unpack_from("<I", content)
    head = json.loads(content[4 : 4 + length])
    joints = keypoint_set(head["keypoint_set"])
    count = len(head["pose_models"])
    floats = np.frombuffer(content, _FLOATS, offset=4 + length).astype(np.float32)
    shapes = ((count, 4), (count,), (count, len(joints), 3), (count, len(joints), 2))
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = np.split(floats, np.cumsum(sizes)[:-1])
    boxes, scores, keypoints, variances = (
        part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
    )
    ids = head["track_ids"]
    people = People(
        boxes,
        scores,
        keypoints,
        variances,
        tuple(head["pose_models"]),
        joints,
        None if ids is None else np.array(ids, np.int64),
    )
    frame = Frame(source, _NO_IMAGE, head["index"], head["rate"], head["time"], head["frames"])
    return frame, PoseResult(people, head["width"], head["height"], head["models"])


def records(stream: IO[bytes], end: int | None = None) -> Iterator[Record]:
    """Those from where the stream stands, up to a position or its end.

    Raises:
        DamagedPartError: something else is there.
    """
    while end is None or stream.tell() < end:
        head = stream.read(_HEAD.size)
        if not head:
            return
        if len(head) < _HEAD.size:
            raise DamagedPartError("it is cut off")
        kind, length, checksum = _HEAD.unpack(head)
        content = stream.read(length)
        if len(content) < length or zlib.crc32(content) != checksum:
            raise DamagedPartError("its bytes are not those that were written")
        yield Record(kind, content)
