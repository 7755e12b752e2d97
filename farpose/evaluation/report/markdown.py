"""A document as Markdown beside its PNG files."""

from __future__ import annotations

import re
from typing import Final

from farpose.evaluation.report.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Paragraph,
    Picture,
    Table,
    Value,
)

PICTURES: Final = "pictures"
"""Folder of the PNG files, beside the Markdown."""

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#])")


def to_markdown(document: Document) -> str:
    """The whole report; pictures are linked as `pictures/NAME.png`."""
    parts = [f"# {_escaped(document.title)}", _escaped(document.subtitle)]
    for section in document.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _escaped(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_escaped(item)}" for item in block.items)
    if isinstance(block, Table):
        return _table(block)
    return "\n\n".join(map(_picture, block.pictures))


def _picture(picture: Picture) -> str:
    name = picture.name.replace("_", " ")
    return f"![{name}]({PICTURES}/{picture.name}.png)\n\n*{_escaped(picture.text)}*"


def _table(table: Table) -> str:
    lines = [
        "| " + " | ".join(map(_escaped, table.header)) + " |",
        "|" + "|".join(["---", *["---:"] * (len(table.header) - 1)]) + "|",
        *("| " + " | ".join(map(_cell, row)) + " |" for row in table.rows),
    ]
    if table.caption:
        lines = [f"**{_escaped(table.caption)}**", "", *lines]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Value) and cell.detail:
        return f"{_escaped(cell.text)} ({_escaped(cell.detail)})"
    return _escaped(cell.text if isinstance(cell, Value) else cell)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
