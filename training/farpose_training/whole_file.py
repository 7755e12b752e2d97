"""Text files that stay whole: whoever reads one sees the old text or the new, never half."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file beside `path` and put it in its place."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
