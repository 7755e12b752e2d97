"""A table of people in Parquet, a row for each, and one for each frame without people."""

from __future__ import annotations

import contextlib
import importlib
import json
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final, Self

import numpy as np

from farpose.extras import how_to_install
from farpose.keypoints import KeypointSet
from farpose.outputs import atomic_file
from farpose.people import NOBODY
from farpose.pipeline import PoseResult
from farpose.sources import Frame

ROWS: Final = 8192
"""Of a row group; so many are in memory at most."""


class ParquetUnavailableError(RuntimeError):
    """The package that writes Parquet is not installed."""


class ParquetTable:
    """The table; `schema` says its columns.

    Raises:
        ParquetUnavailableError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrow, self._parquet = arrow()
        self._resources = contextlib.ExitStack()
        self._schema: Any = None
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []

    def write(self, frame: Frame, result: PoseResult) -> None:
        """See `Output.write`."""
        if self._writer is None:
            self._schema = schema(self._arrow, result.people.keypoint_set)
            partial = self._resources.enter_context(atomic_file(self._path))
            self._writer = self._parquet.ParquetWriter(partial, self._schema, compression="zstd")
            self._resources.callback(self._writer.close)
        self._rows += _rows(frame, result)
        if len(self._rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._resources:
            if kind is None:
                self._flush()
            else:
                # The file that is not finished must not take the place of another.
                self._resources.__exit__(kind, error, trace)


def arrow() -> tuple[ModuleType, ModuleType]:
    """The packages `pyarrow` and `pyarrow.parquet`.

    Raises:
        ParquetUnavailableError: they are not installed.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ParquetUnavailableError(
            f"Parquet needs pyarrow, which is not installed ({error}): "
            f"{how_to_install('serve', 'archive')}"
        ) from error


def schema(pa: ModuleType, joints: KeypointSet) -> Any:
    """The table's columns, described in docs/archives.md."""
    count = len(joints)
    return pa.schema(
        [
            pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("frame", pa.int64()),
            pa.field("time", pa.float64()),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("people", pa.int32(), nullable=False),
            pa.field("person", pa.int32()),
            pa.field("track_id", pa.int64()),
            pa.field("score", pa.float32()),
            pa.field("box", pa.list_(pa.float32(), 4)),
            pa.field("keypoints", pa.list_(pa.float32(), 3 * count)),
            pa.field("variances", pa.list_(pa.float32(), 2 * count)),
            pa.field("model", pa.dictionary(pa.int32(), pa.string())),
            pa.field("model_version", pa.dictionary(pa.int32(), pa.string())),
            pa.field("detector_version", pa.dictionary(pa.int32(), pa.string())),
        ],
        metadata={
            "farpose_schema": "1",
            "keypoint_set": joints.name,
            "keypoint_names": json.dumps(list(joints.joints)),
        },
    )


def _rows(frame: Frame, result: PoseResult) -> list[dict[str, Any]]:
    people = result.people
    place = {
        "source": str(frame.source),
        "frame": frame.index,
        "time": frame.time,
        "width": result.width,
        "height": result.height,
        "people": len(people),
        "detector_version": result.models.get("person_detector"),
    }
    if not len(people):
        return [place]
    ids = [NOBODY] * len(people) if people.track_ids is None else people.track_ids.tolist()
    return [
        place
        | {
            "person": i,
            "track_id": None if ids[i] == NOBODY else ids[i],
            "score": people.scores[i],
            "box": people.boxes[i],
            "keypoints": np.ravel(people.keypoints[i]),
            "variances": np.ravel(people.variances[i]),
            "model": people.models[i],
            "model_version": result.models.get(people.models[i]),
        }
        for i in range(len(people))
    ]
