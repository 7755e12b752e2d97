"""A clone to type commands in, with what a reader has, and a service that `make run` started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.blocks import Command
from tests.docs.existing import FOLDERS

PORT = 8080
"""Of `make run`. If something else listens there, commands get another port."""

FILES = ("Makefile", "README.md", "pyproject.toml", "LICENSE")

START_SECONDS = 180
COMMAND_SECONDS = 600

LABELLED_PICTURES = 6
"""In the reader's own set, `val.json` and `val/`."""


def make_workspace(folder: Path, picture: Path) -> Path:
    """A folder that looks like a clone with everything installed; what is written stays in it."""
    folder.mkdir()
    for name in (*FOLDERS, *FILES):
        (folder / name).symlink_to(ROOT / name)
    environment = folder / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        (environment / path.name).symlink_to(path)
    for stamp in (".bootstrap", ".serve", ".setup"):
        (environment / stamp).unlink(missing_ok=True)
        (environment / stamp).touch()
    shutil.copy(picture, folder / "street.jpg")
    shutil.copy(picture, folder / "frame.jpg")
    # Without this curl is content with any answer, whatever its status.
    (folder / ".curlrc").write_text("fail-with-body\n")
    for archive in ("folder", "archive"):
        (folder / archive).mkdir()
        shutil.copy(picture, folder / archive / "street.jpg")
    (folder / "runs/mine").mkdir(parents=True)
    bundled = ROOT / "model_repository/lowres_pose/checkpoint.safetensors"
    shutil.copy(bundled, folder / "runs/mine/checkpoint.safetensors")
    clip = [sys.executable, ROOT / "clients/sample_clip.py", picture, folder / "clip.mp4"]
    subprocess.run([*clip, "--frames", "6"], check=True)
    return folder


def add_labelled(folder: Path, data: Path) -> None:
    """Put a few labelled people of the data folder where a reader has his own."""
    labels = json.loads((data / "coco_mini/val.json").read_text())
    labels["images"] = labels["images"][:LABELLED_PICTURES]
    kept = {image["id"] for image in labels["images"]}
    labels["annotations"] = [a for a in labels["annotations"] if a["image_id"] in kept]
    (folder / "val.json").write_text(json.dumps(labels))
    (folder / "val").symlink_to(data / "coco_mini/val")


@dataclass
class Terminal:
    """Somebody who types the commands of one page, from the top to the bottom."""

    folder: Path
    port: int
    exports: list[str] = field(default_factory=list)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        """Type a command; what `export` sets holds for those that follow."""
        if command.python:
            words, given = [".venv/bin/python", "-"], self._aimed(command.text)
        else:
            script = "\n".join(["set -euo pipefail", *self.exports, self._aimed(command.text)])
            words, given = ["bash", "-c", script], ""
            if command.name.startswith("export "):
                self.exports.append(command.text)
        environment = dict(os.environ)
        environment["CURL_HOME"] = str(self.folder)
        environment["PATH"] = f"{self.folder / '.venv/bin'}:{environment['PATH']}"
        return subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def _aimed(self, text: str) -> str:
        """The command for the port that the service has."""
        if self.port == PORT:
            return text
        if "clients/camera.py" in text and "--url" not in text:
            text += f" --url ws://localhost:{self.port}/stream"
        return text.replace(f"localhost:{PORT}", f"localhost:{self.port}")


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """`make run` in a terminal of its own, and Ctrl-C at the end; the service's port."""
    port = PORT if _is_free(PORT) else _free_port()
    command = ["make", "run"] if port == PORT else ["make", "run", f"PORT={port}"]
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health/ready", folder / "service.log")
            yield port
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise RuntimeError(f"`make run` did not become ready:\n{log.read_text()}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
