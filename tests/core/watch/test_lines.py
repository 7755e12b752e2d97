"""Records in a file: whole lines, whatever happens to the disk or to who reads."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from farpose.watch.records import Record
from farpose.watch.sinks.lines import LinesError, LinesFile
from farpose.watch.sinks.queue import ClosedError, LostError

NEVER = threading.Event()


def record(number: int) -> Record:
    return Record("gate", json.dumps({"frame": number}).encode())


def test_lines_are_appended_and_a_torn_one_stays_by_itself(tmp_path: Path):
    path = tmp_path / "people.jsonl"
    path.write_bytes(b'{"frame": 0}\n{"fra')
    lines = LinesFile(path)
    for number in (1, 2):
        lines.deliver(record(number), NEVER)
        assert path.read_bytes().endswith(record(number).body + b"\n"), "it is not kept back"
    assert path.read_text().splitlines() == [
        '{"frame": 0}',
        '{"fra',
        '{"frame": 1}',
        '{"frame": 2}',
    ]


def test_a_full_disk_loses_records_and_leaves_no_half_of_one(tmp_path: Path, monkeypatch):
    (tmp_path / "people.jsonl").write_text('{"fra')
    lines = LinesFile(tmp_path / "people.jsonl")
    write, room = os.write, [5]

    def full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LostError, match="the disk is full"):
        lines.deliver(record(1), NEVER)
    room[0] = 1000
    lines.deliver(record(2), NEVER)
    assert (tmp_path / "people.jsonl").read_text() == '{"fra\n{"frame": 2}\n'


def test_a_real_full_device_is_said_to_be_full():
    with pytest.raises(LostError, match="the disk is full"):
        LinesFile(Path("/dev/full")).deliver(record(0), NEVER)


def test_nobody_reads_a_pipe_any_more(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = LinesFile(path)
    lines.deliver(record(0), NEVER)
    os.close(reader)
    with pytest.raises(ClosedError, match="nobody reads"):
        lines.deliver(record(1), NEVER)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path):
    with pytest.raises(LinesError, match="Is a directory"):
        LinesFile(tmp_path)
    with pytest.raises(LinesError, match="No such file"):
        LinesFile(tmp_path / "no" / "people.jsonl")
