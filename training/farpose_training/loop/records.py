"""The log of a run: a line per epoch in `log.jsonl`, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farpose_training.config import ConfigError
from farpose_training.loop.progress import Record
from farpose_training.whole_file import write_whole


class RunLog:
    """Files that follow from the records of the run's state, so that neither runs ahead.

    Args:
        folder: the run's output.
        tensorboard: whether to write for TensorBoard too.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool) -> None:
        self._path = folder / "log.jsonl"
        self._writer = _summary_writer(folder / "tensorboard") if tensorboard else None
        self._shown = 0

    def write(self, records: Sequence[Record]) -> None:
        """Make the files say exactly these records."""
        write_whole(self._path, "".join(json.dumps(record) + "\n" for record in records))
        if self._writer is not None:
            for record in records[self._shown :]:
                for name, value in record.items():
                    if name != "epoch":
                        self._writer.add_scalar(name, value, int(record["epoch"]))
            self._writer.flush()
        self._shown = len(records)

    def close(self) -> None:
        """End the files."""
        if self._writer is not None:
            self._writer.close()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "runtime.tensorboard: the package tensorboard is not installed; install it, or say "
            "false"
        ) from error
    # Everything is written anew, and what an earlier process wrote is purged.
    return SummaryWriter(str(folder), purge_step=0)  # type: ignore[no-untyped-call]
