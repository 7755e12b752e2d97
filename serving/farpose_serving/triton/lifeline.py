"""Become another program that is told to stop when this one's parent dies.

Run as `python lifeline.py PARENT_PID PROGRAM ARGUMENTS...`. Linux sends the signal when the
*thread* that started this process ends, however it ends; SIGKILL of the parent is no exception. It
is asked for here, after the fork and before the program takes over, because code between fork and
exec of a threaded parent may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main() -> None:
    """Ask for the signal, and become the program."""
    parent, *command = sys.argv[1:]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM)):
        sys.exit("prctl(PR_SET_PDEATHSIG) is refused")
    if os.getppid() != int(parent):  # it died before the signal was asked for
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main()
