"""Pictures never touch a disk: the service works where it cannot write a byte."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tests.service import Service
from tests.serving.encoded import noise_png
from tests.serving.test_command import FARPOSE

BOUNDARY = "frontier"


@pytest.fixture(scope="module")
def unwritable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`farpose` in a process that may not make any file longer than nothing."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        missing("no prlimit: it is part of util-linux")
    command = tmp_path_factory.mktemp("unwritable") / "farpose"
    command.write_text(f'#!/bin/sh\nexec {prlimit} --fsize=0 {FARPOSE} "$@"\n')
    command.chmod(0o755)
    return command


def opened_by(process: int) -> list[Path]:
    """What a process has open, but for its output, which the tests capture in a file."""
    opened = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        if int(descriptor.name) > 2:
            with suppress(FileNotFoundError):  # it has just been closed
                opened.append(descriptor.readlink())
    return opened


def test_a_large_upload_is_answered_where_nothing_can_be_written(unwritable: Path):
    picture = noise_png(1350)
    assert 5_000_000 < len(picture) < 20_000_000
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="large.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    with Service(unwritable, ROOT) as service:
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        assert "Max file size             0 " in limits
        request = urllib.request.Request(
            f"{service.url}/pose",
            body,
            {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        opened = opened_by(service.process.pid)
    assert not [path for path in opened if path.is_relative_to(tempfile.gettempdir())]
