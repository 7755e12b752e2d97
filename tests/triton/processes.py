"""Which processes a process has started and what they share, from /proc."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> set[int]:
    """The processes that this one started and those that they started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = parents.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


def command_line(pid: int) -> bytes:
    """Its arguments; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def shared_memory(pids: set[int]) -> set[Path]:
    """The files of shared memory that these processes have mapped."""
    found = set()
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError:  # it has just ended
            continue
        found |= {line.split()[5] for line in maps.splitlines() if " /dev/shm/" in line}
    return {Path(name) for name in found}
