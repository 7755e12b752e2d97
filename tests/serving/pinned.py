"""What has changed between two documents, a line each."""

from __future__ import annotations

from typing import Any


def differences(before: Any, now: Any, place: str = "") -> list[str]:
    """Where two JSON documents differ, such as `Person.properties.score: ... is now ...`."""
    if isinstance(before, dict) and isinstance(now, dict):
        lines = [
            f"{place}.{name}: is gone".lstrip(".") for name in sorted(before.keys() - now.keys())
        ]
        lines += [
            f"{place}.{name}: is new".lstrip(".") for name in sorted(now.keys() - before.keys())
        ]
        for name in sorted(before.keys() & now.keys()):
            lines += differences(before[name], now[name], f"{place}.{name}".lstrip("."))
        return lines
    return [] if before == now else [f"{place}: {before!r} is now {now!r}"]
