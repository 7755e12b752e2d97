"""What is written of a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farpose.watch.pictures import Picture


@dataclass(frozen=True)
class Record:
    """One answered picture of one camera, as outputs take it."""

    camera: str
    body: bytes
    """One JSON object in UTF-8 without a line break."""


@dataclass
class RecordWriter:
    """Makes one camera's records, or decides that there is none.

    Args:
        camera: its name.
        only_people: whether pictures of nobody are left out.
        interval: least seconds between two records.
    """

    camera: str
    only_people: bool = False
    interval: float = 0.0

    _dropped: int = 0
    _skipped: int = 0
    _last: float = float("-inf")

    def record(
        self, picture: Picture, answer: Mapping[str, Any], dropped: int, latency_ms: float
    ) -> Record | None:
        """The record of a picture; None if there is none of it.

        Args:
            picture: what was looked at.
            answer: its people, as `POST /pose` answers them.
            dropped: the camera's pictures that gave way to newer ones, ever.
            latency_ms: from when it was read to the answer.
        """
        now = time.monotonic()
        if (self.only_people and not answer["people"]) or now - self._last < self.interval:
            self._skipped += 1
            return None
        document = {
            "camera": self.camera,
            "time": picture.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "timestamp": round(picture.timestamp, 3),
            "frame": picture.number,
            "dropped": dropped - self._dropped,
            "skipped": self._skipped,
            "latency_ms": round(latency_ms, 1),
            **answer,
        }
        self._dropped, self._skipped, self._last = dropped, 0, now
        return Record(self.camera, json.dumps(document, separators=(",", ":")).encode())
