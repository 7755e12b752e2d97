"""The fenced code of the documentation, and the commands in it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>.*)$")
SHELLS = {"bash", "console", "sh", "shell"}
QUOTED_OR_COMMENT = re.compile(r"""('[^']*'|"[^"]*"|\\.)|(?:^|(?<=\s))\#[^\n]*""", re.DOTALL)

LOOKS_LIKE_A_COMMAND = re.compile(
    r"^\$? ?(make|curl|docker|farpose|export|uv|pip|python3?|git|cp|cd|\.venv/bin/\S+) \S"
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    """Path from the repository's root."""

    line: int
    """Of its first line of content, from 1."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a shell block, or a whole block of Python."""

    page: str
    line: int
    text: str
    """What a shell, or Python, is given."""

    python: bool = False

    @property
    def name(self) -> str:
        """On one line, without comments: how it is listed."""
        if self.python:
            return f"python: {self.page}: {self.text.splitlines()[0]}"
        return " ".join(without_comments(self.text.replace("\\\n", " ")).split())

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.name}"


def without_comments(text: str) -> str:
    """Shell code without its comments; a # inside quotes is none."""
    return QUOTED_OR_COMMENT.sub(lambda found: found[1] or "", text)


def pages() -> list[str]:
    """README, CONTRIBUTING, everything in docs, and pages that the site takes from elsewhere."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    found += [*ROOT.glob("clients/*/README.md"), *ROOT.glob("model_repository/*/README.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, from the top to the bottom."""
    lines = Path(ROOT / page).read_text().splitlines()
    opening: re.Match[str] | None = None
    start = 0
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if opening is None:
            opening, start = fence, number
        else:
            indent = opening["indent"]
            content = [inner.removeprefix(indent) for inner in lines[start : number - 1]]
            yield Block(page, start + 1, opening["language"], "\n".join(content))
            opening = None
    assert opening is None, f"{page}:{start}: a block that does not end"


def commands(page: str) -> list[Command]:
    """What a reader of the page types, in its order."""
    found: list[Command] = []
    for block in blocks(page):
        if block.language in SHELLS:
            found += shell_commands(block)
        elif block.language == "python":
            found.append(Command(page, block.line, block.text, python=True))
    return found


def shell_commands(block: Block) -> Iterator[Command]:
    """The commands of a block; in a console, those after a prompt."""
    lines = block.text.splitlines()
    pending: list[str] = []
    for number, line in enumerate(lines, start=block.line):
        if block.language == "console" and not pending:
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
        if not pending and not without_comments(line).strip():
            continue
        pending.append(line)
        text = "\n".join(pending)
        if not line.endswith("\\") and _is_complete(text):
            yield Command(block.page, number - len(pending) + 1, text)
            pending = []
    assert not pending, f"{block.page}:{block.line}: no complete command: {' '.join(pending)}"


def _is_complete(text: str) -> bool:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0
