"""Performs the steps of a Dockerfile without Docker, with this machine's root as the base image.

Every stage is an overlay over `/` in a mount namespace of its own: nothing on this machine changes.
What differs from a build by Docker: the base image, no layers, no cache, the machine's network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tests.docker.dockerfile import Instruction, read
from tests.docker.namespace import Namespace, StepError

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Stage:
    """One stage, and what its instructions set."""

    def __init__(self, namespace: Namespace, number: int, programs: Path | None) -> None:
        self._namespace = namespace
        folder = Path(f"/mnt/{number}")
        self.root = folder / "root"
        path = BASE_PATH if programs is None else f"{programs}:{BASE_PATH}"
        self.environment = {"PATH": path}
        self.folder = "/"
        self.user = "0:0"
        self.said: dict[str, Instruction] = {}
        namespace.run("mkdir", "-p", self.root, folder / "upper", folder / "work")
        overlay = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        namespace.run("mount", "-t", "overlay", "overlay", "-o", overlay, self.root)
        for system in ("proc", "dev"):
            namespace.run("mount", "--rbind", f"/{system}", self.root / system)

    def path(self, name: str) -> Path:
        """A file of the image, as the namespace sees it."""
        return self.root / str(PurePosixPath(self.folder, name)).lstrip("/")

    def command(
        self, command: Sequence[str], variables: Mapping[str, str], user: str = ""
    ) -> list[str]:
        """The command line that runs something in the stage, without any capability if not root."""
        uid, gid = (user or self.user).split(":")
        drop = [] if uid == "0" else ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return self._namespace.inside(
            "env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            "chroot", self.root,
            "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *drop,
            "env", f"--chdir={self.folder}", *command,
        )  # fmt: skip


class Image:
    """The last stage of a Dockerfile, built.

    Args:
        namespace: where it is built; one image per namespace.
        dockerfile: its path.
        context: the folder that is sent to the build.
        programs: a folder whose programs come before those of the system, such as another Python.

    Raises:
        StepError: a step failed; the message has its output.
    """

    def __init__(
        self, namespace: Namespace, dockerfile: Path, context: Path, programs: Path | None = None
    ) -> None:
        self._namespace = namespace
        self._programs = programs
        self._context = context
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, Stage] = {}
        for instruction in read(dockerfile):
            self._perform(instruction)

    def command(self, *command: str, user: str = "", **variables: str) -> list[str]:
        """The command line that runs something in the image as its user, or as another."""
        return self.stage.command(command, {**self.stage.environment, **variables}, user)

    @property
    def default(self) -> list[str]:
        """What a container runs."""
        said = self.stage.said
        return [w for name in ("ENTRYPOINT", "CMD") if name in said for w in said[name].arguments]

    @property
    def health(self) -> list[str]:
        """The command of HEALTHCHECK."""
        words = self.stage.said["HEALTHCHECK"].value
        return Instruction("CMD", (), words.removeprefix("CMD ")).arguments

    def make_read_only(self) -> None:
        """As `docker run --read-only` does."""
        self._namespace.run("mount", "-o", "remount,ro", self.stage.root)

    def mount_memory(self, folder: str) -> None:
        """As `docker run --tmpfs` does."""
        place = self.stage.path(folder)
        self._namespace.run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", place)

    def _perform(self, instruction: Instruction) -> None:
        step = getattr(self, f"_{instruction.name.lower()}", None)
        if step is not None:
            step(instruction)
        elif instruction.name in {"ENTRYPOINT", "CMD", "HEALTHCHECK", "STOPSIGNAL", "EXPOSE"}:
            self.stage.said[instruction.name] = instruction
        else:
            _refuse(instruction)

    def _from(self, instruction: Instruction) -> None:
        _, *name = instruction.value.split(" AS ")
        self.stage = Stage(self._namespace, len(self._stages), self._programs)
        self._stages[name[0] if name else ""] = self.stage

    def _arg(self, instruction: Instruction) -> None:
        self._arguments |= instruction.pairs({})

    def _env(self, instruction: Instruction) -> None:
        self.stage.environment |= instruction.pairs(self._variables)

    def _label(self, instruction: Instruction) -> None:
        self.stage.said["LABEL"] = instruction
        instruction.pairs(self._variables)

    def _user(self, instruction: Instruction) -> None:
        self.stage.user = instruction.value

    def _workdir(self, instruction: Instruction) -> None:
        self.stage.folder = str(PurePosixPath(self.stage.folder, instruction.value))
        self._namespace.run("mkdir", "-p", self.stage.path("."))

    def _copy(self, instruction: Instruction) -> None:
        flags = dict(instruction.flags)
        *sources, target = instruction.arguments
        root = self._stages[flags["from"]].root if "from" in flags else self._context
        place = self.stage.path(target)
        for source in sources:
            found = root / source.lstrip("/")
            if found.is_dir() or "from" in flags:
                self._namespace.run("mkdir", "-p", place)
                self._copy_files(f"{found}/.", place, flags)
            elif target.endswith("/"):
                self._namespace.run("mkdir", "-p", place)
                self._copy_files(found, place / found.name, flags)
            else:
                self._copy_files(found, place, flags)

    def _copy_files(self, source: object, target: Path, flags: Mapping[str, str]) -> None:
        self._namespace.run("cp", "-r", "--no-dereference", "--preserve=mode", source, target)
        if "chown" in flags:
            self._namespace.run("chown", "-R", flags["chown"], target)

    def _run(self, instruction: Instruction) -> None:
        places = [
            self._bind(dict(pair.split("=") for pair in value.split(",")))
            for name, value in instruction.flags
            if name == "mount" and "type=bind" in value.split(",")
        ]
        variables = {**_index_settings(), "HOME": "/root", **self._variables}
        command = self.stage.command(["sh", "-c", instruction.value], variables)
        self._namespace.run(*command[command.index("--") + 1 :])
        for place in places:
            self._namespace.run("umount", place)

    def _bind(self, mount: Mapping[str, str]) -> Path:
        root = self._stages[mount["from"]].root if "from" in mount else self._context
        source, place = root / mount["source"].lstrip("/"), self.stage.path(mount["target"])
        self._namespace.run("mkdir", "-p", place.parent)
        kind = "mkdir -p" if self._is_folder(source) else "touch"
        self._namespace.run("sh", "-c", f"{kind} {place}")
        self._namespace.run("mount", "--bind", source, place)
        self._namespace.run("mount", "-o", "remount,bind,ro", place)
        return place

    def _is_folder(self, path: Path) -> bool:
        return self._namespace.run("stat", "--format=%F", path).strip() == "directory"

    @property
    def _variables(self) -> dict[str, str]:
        return {**self._arguments, **self.stage.environment}


def make_context(source: Path, target: Path) -> Path:
    """What Docker sends to a build: the files of a source tree that `.dockerignore` lets pass."""
    everything, *lines = [
        line
        for line in (source / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert everything == "*", "only files that are named are sent"
    names = [line[1:] for line in lines if line.startswith("!")]
    unwanted = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    assert len(names) + len(unwanted) == len(lines), "patterns that this function does not know"
    target.mkdir()
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns(*unwanted))
        else:
            shutil.copy2(source / name, target / name)
    return target


def _index_settings() -> dict[str, str]:
    """How this machine reaches package indexes."""
    prefixes = ("PIP_", "UV_", "SSL_CERT_")
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(prefixes) or name.lower().endswith("_proxy")
    }


def _refuse(instruction: Instruction) -> NoReturn:
    raise StepError(f"{instruction.name} is not known to the tests")
