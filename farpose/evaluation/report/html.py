"""A document as one HTML file that needs nothing else: pictures and style are inside."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files

from farpose.evaluation.report.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Paragraph,
    Picture,
    Section,
    Table,
    Value,
)


def to_html(document: Document) -> str:
    """The whole report; light or dark as the reader's system is."""
    style = files(__package__).joinpath("page.css").read_text()
    links = "".join(
        f'<li><a href="#{_anchor(section)}">{escape(section.title)}</a></li>'
        for section in document.sections
    )
    sections = "\n".join(map(_section, document.sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(document.title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(document.title)}</h1>
<p>{escape(document.subtitle)}</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return (
        f'<section id="{_anchor(section)}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>'
    )


def _anchor(section: Section) -> str:
    return "".join(c if c.isalnum() else "-" for c in section.title.lower())


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Table):
        return _table(block)
    figures = "\n".join(map(_figure, block.pictures))
    wide = any(picture.wide for picture in block.pictures)
    return f'<div class="gallery{" wide" if wide else ""}">\n{figures}\n</div>'


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    caption = f"<figcaption>{escape(table.caption)}</figcaption>" if table.caption else ""
    # Wide tables scroll by themselves, also by keyboard; the page does not.
    return (
        f'<figure class="table">{caption}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(table.caption or "Table")}"><table>\n<thead><tr>{header}</tr></thead>'
        f"\n<tbody>\n{rows}\n</tbody></table></div></figure>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, Value):
        detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
        return f"<span>{escape(cell.text)}</span>{detail}"
    return escape(cell)


def _figure(picture: Picture) -> str:
    dark = ""
    if picture.dark_png is not None:
        source = _data(picture.dark_png)
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{source}">'
    width, height = _size(picture.png)
    return (
        f'<figure><div class="frame"><picture>{dark}<img src="{_data(picture.png)}" '
        f'width="{width}" height="{height}" alt="{escape(picture.text)}" loading="lazy">'
        "</picture></div>"
        f"<figcaption>{escape(picture.text)}</figcaption></figure>"
    )


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, from a PNG's header, so that the page does not jump while it loads."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
