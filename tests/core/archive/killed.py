"""`killed.py MOMENT ARGUMENT...`: `farpose predict`, with parts that are closed soon, which kills
its own process with SIGKILL at a moment such as `kept:2`, when the second part is kept."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import farpose.archive.journal
import farpose.archive.merge
import farpose.archive.work
from farpose.cli import main
from farpose.outputs import JsonLines

MOMENTS: dict[str, tuple[Any, str]] = {
    "writing": (farpose.archive.journal, "to_disk"),  # a part that is not renamed yet
    "kept": (farpose.archive.journal, "folder_to_disk"),
    "merging": (JsonLines, "write"),
    "labelling": (Path, "write_text"),  # a label file that is not renamed yet
    "drawing": (Path, "write_bytes"),  # and a drawn picture
    "marked": (farpose.archive.merge, "_mark_finished"),  # the output is not in its place yet
    "placed": (farpose.archive.merge, "folder_to_disk"),  # and the parts are still there
}


def killing(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The function, which the process does not survive for so many times."""
    called = 0

    def call(*arguments: Any) -> Any:
        nonlocal called
        called += 1
        value = function(*arguments)
        if called == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    return call


name, _, times = sys.argv[1].partition(":")
if name in MOMENTS:
    place, attribute = MOMENTS[name]
    setattr(place, attribute, killing(getattr(place, attribute), int(times or 1)))
farpose.archive.work.PART_SECONDS = 0.02
farpose.archive.work.PART_SHARE = 0.0
sys.argv = ["farpose", "predict", *sys.argv[2:]]
main()
