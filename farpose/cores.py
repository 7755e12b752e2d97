"""How many processor cores this process may use."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """Cores that the scheduler may give to this process; a container or `taskset` may allow few."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
