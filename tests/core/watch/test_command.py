"""`farpose watch` as people start it: models here or in a service, records, view, signals, ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from farpose.cli import main
from farpose_serving.access import hashed, new_key
from tests.conftest import ROOT
from tests.core.watch.cameras import HttpCamera, answering
from tests.service import Service

FARPOSE = Path(sys.executable).with_name("farpose")
KEY = new_key()


@pytest.fixture(scope="module")
def folder(bus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `people.mp4`, twelve pictures of a street, and the service's keys."""
    folder = tmp_path_factory.mktemp("watch")
    clip = [sys.executable, ROOT / "clients/sample_clip.py", bus, folder / "people.mp4"]
    subprocess.run([*clip, "--frames", "12"], check=True)
    (folder / "keys").write_text(f"watch:{hashed(KEY)}\n")
    (folder / "key").write_text(KEY)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    before = os.environ.get("FARPOSE_API_KEYS_FILE")
    os.environ["FARPOSE_API_KEYS_FILE"] = str(folder / "keys")
    try:
        with Service(FARPOSE, folder) as service:
            yield service
    finally:
        os.environ.pop("FARPOSE_API_KEYS_FILE")
        if before is not None:
            os.environ["FARPOSE_API_KEYS_FILE"] = before


def command(service: Service, *arguments: object) -> list[str]:
    url = ("--url", service.url, "--api-key-file", "key")
    return [str(FARPOSE), "watch", *map(str, arguments), *url]


@pytest.fixture
def typed(folder: Path, monkeypatch, capfd) -> Callable[..., tuple[int, str]]:
    """Types a command in the folder, in this process: its exit code, and what it says on stderr."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["farpose", "watch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capfd.readouterr().err

    return run


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_models_here_and_in_a_service_find_the_same_people(typed, folder, service: Service):
    url = ("--url", service.url, "--api-key-file", "key")
    for name, where in (("here", ()), ("there", url)):
        words = ("street=people.mp4", "gone.mp4", "--every-frame", "--output", name, *where)
        code, told = typed(*words)
        assert code == 1, "gone.mp4 is not there"
        assert "gone: failed (there is no such file)" in told
        assert "street: ended, 12 pictures, 12 answered, 0 dropped" in told
    here, there = (records((folder / name).read_text()) for name in ("here", "there"))
    for own, sent in zip(here, there, strict=True):
        assert list(own) == list(sent) == documented_fields()
        assert own["camera"] == "street"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", own["time"])
        assert [own[k] for k in ("frame", "timestamp", "dropped", "image")] == [
            sent[k] for k in ("frame", "timestamp", "dropped", "image")
        ]
    # The service gets pictures as JPEG, and what is followed drifts apart: look at the first.
    assert len(here[0]["people"]) == len(there[0]["people"]) >= 3
    for mine, theirs in zip(here[0]["people"], there[0]["people"], strict=True):
        assert list(mine) == list(theirs)
        np.testing.assert_allclose(mine["box"], theirs["box"], atol=8)
    for found in (here, there):
        assert {1, 2} <= {p.get("track_id") for record in found for p in record["people"]}


def documented_fields() -> list[str]:
    table = (ROOT / "docs/watch.md").read_text().partition("| field | |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_a_wrong_key_ends_the_command(typed, service: Service, monkeypatch):
    monkeypatch.setenv("FARPOSE_API_KEY", "fp_wrong")
    code, told = typed("people.mp4", "--url", service.url)
    assert code == 1
    assert re.search(r"^error: .*key", told, re.MULTILINE)
    assert "fp_wrong" not in told


def test_what_is_no_service_ends_the_command(typed):
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        code, told = typed("people.mp4", "--url", f"http://127.0.0.1:{port}")
    assert code == 1
    assert re.search(rf"^error: .*127\.0\.0\.1:{port}", told, re.MULTILINE)


def test_a_service_of_a_version_that_does_not_fit_ends_the_command(typed):
    def answer(connection: ServerConnection) -> None:
        for message in connection:
            if isinstance(message, bytes):
                connection.send('{"frame": 0, "dropped": 0, "people": [{"joints": []}]}')

    with serve(answer, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.socket.getsockname()[1]
        code, told = typed("people.mp4", "--url", f"http://127.0.0.1:{port}")
        server.shutdown()
    assert code == 1
    assert re.search(r"^error: .*of a version that goes with this client", told, re.MULTILINE)


def test_without_the_client_the_error_says_what_to_install(typed, monkeypatch):
    monkeypatch.delitem(sys.modules, "farpose.watch.service", raising=False)
    monkeypatch.setitem(sys.modules, "farpose_client", None)
    code, told = typed("people.mp4", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert "error: --url needs the package farpose-client" in told
    assert "in a clone of Farpose, pip install ./clients/python" in told


def test_a_service_that_is_not_there_is_given_up_if_that_is_asked(typed):
    code, told = typed("people.mp4", "--url", "http://127.0.0.1:9", "--attempts", "2")
    assert code == 1
    assert "the service is away: http://127.0.0.1:9 cannot be reached" in told
    assert re.search(r"^error: .* given up after 2 attempts", told, re.MULTILINE)


def test_a_reader_that_leaves_ends_the_command(folder: Path, service: Service):
    with HttpCamera() as camera:
        words = command(service, camera.url)
        with subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watching:
            assert json.loads(watching.stdout.readline())["frame"] >= 0
            watching.stdout.close()
            told = watching.stderr.read()
            assert watching.wait(20) == 1
    assert "stdout: nobody reads the records any more" in told


def test_a_terminal_shows_the_cameras(folder: Path, service: Service):
    """What the view looks like on a terminal of 100 columns, and that it ends with Ctrl-C."""
    with HttpCamera() as camera:
        words = command(service, f"gate={camera.url}", "http://u:secret@127.0.0.1:9/yard")
        child, terminal = pty.fork()
        if not child:
            os.chdir(folder)
            os.environ["TERM"] = "xterm-256color"
            os.execv(words[0], words)  # noqa: S606
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        shown, stopped, end = b"", False, time.monotonic() + 40
        while time.monotonic() < end:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other side is gone
                break
            if not stopped and re.search(rb"160x120 h264[^\n]* \d+ ms ", shown):
                os.write(terminal, b"\x03")
                stopped = True
        _, status = os.waitpid(child, 0)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert stopped, text
    assert os.waitstatus_to_exitcode(status) == 1, "yard was never there"
    for heading in ("Camera", "State", "fps", "People", "Latency", "Pictures", "Dropped"):
        assert heading in text
    assert "lost, next attempt in" in text and "Connection refused" in text
    assert '{"camera"' not in text, "records do not tear the view"
    assert "secret" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a camera"),
        (["--cameras", "nothing"], "nothing: No such file"),
        (["0", "--url", "http://h:1", "--threads", "1", "--no-smoothing"], "--threads, --no-smoo"),
        (["0", "--api-key-file", "key"], "--api-key-file goes with --url"),
        (["0", "--mqtt", "mqtt://me:secret@host"], "name the topic"),
        (["0", "--webhook", "host"], "--webhook takes an address"),
        (["0", "--output", "no/people.jsonl"], "no/people.jsonl: No such file"),
        (["0", "--detector-size", "300"], "detector_size"),
        (["0", "--pose-model", "nothing"], "there is no model 'nothing'"),
        (["0", "--url", "here"], "url: 'here' is not like"),
    ],
)
def test_options_that_cannot_be_say_so(words: list[str], message: str, typed):
    code, told = typed(*words)
    assert code == 1
    assert message in told and "secret" not in told


def test_a_service_that_is_killed_and_comes_back_is_used_again(folder: Path, service: Service):
    with HttpCamera() as camera:
        words = command(service, f"gate={camera.url}", "--output", "gate.jsonl", "--timeout", "2")
        output = folder / "gate.jsonl"
        with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as watching:
            alarm = threading.Timer(90, watching.kill)
            alarm.start()
            try:
                grown(output, 3)
                service.process.kill()
                service.process.wait()
                told = until_told(watching, "the service is away")
                with service:  # on the same port
                    told += until_told(watching, "the service answers again")
                    grown(output, 3)
                    watching.send_signal(signal.SIGTERM)
                    told += watching.communicate(timeout=20)[1]
            finally:
                alarm.cancel()
                watching.kill()
            assert watching.returncode == 0, told
    assert "secret" not in told and KEY not in told
    assert "gate: live" in told
    assert [r["people"] for r in records(output.read_text())][-1] == []


def grown(path: Path, lines: int) -> None:
    """Wait until a file has so many lines more."""
    wanted = lines + (path.read_bytes().count(b"\n") if path.exists() else 0)
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < wanted:
        assert time.monotonic() < end, "no records"
        time.sleep(0.05)


def until_told(process: subprocess.Popen[str], words: str) -> str:
    """What a command says until it says this."""
    told = ""
    for line in process.stderr:
        told += line
        if words in line:
            return told
    raise AssertionError(told)
