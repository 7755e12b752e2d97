"""A mount namespace to build in: what is mounted there, nobody else sees."""

from __future__ import annotations

import subprocess
from typing import Self

STEP_SECONDS = 300


class NamespaceError(RuntimeError):
    """This machine or user may not mount file systems."""


class StepError(AssertionError):
    """A step of the Dockerfile failed."""


class Namespace:
    """A mount namespace that lives as long as the `with` block."""

    def __enter__(self) -> Self:
        command = ["unshare", "--mount", "--propagation", "private"]
        command += ["sh", "-c", "mount -t tmpfs tmpfs /mnt && echo mounted && exec sleep infinity"]
        try:
            self._holder = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except FileNotFoundError as error:
            raise NamespaceError(str(error)) from error
        assert self._holder.stdout
        line = self._holder.stdout.readline().strip()
        if line != "mounted":
            self.__exit__()
            raise NamespaceError(line)
        return self

    def __exit__(self, *exception: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    def inside(self, *command: object) -> list[str]:
        """The command line that runs a command in here, where `/mnt` is an empty file system."""
        enter = ["nsenter", "--mount", f"--target={self._holder.pid}", "--"]
        return [*enter, *map(str, command)]

    def run(self, *command: object) -> str:
        """What a command prints; `StepError` if it fails."""
        done = subprocess.run(
            self.inside(*command), capture_output=True, text=True, timeout=STEP_SECONDS, check=False
        )
        if done.returncode:
            words = " ".join(map(str, command))
            raise StepError(f"{words}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
