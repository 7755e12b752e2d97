"""Reports of what was done to a service: on the screen, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer


class PageError(ValueError):
    """A page has no place for a report."""


def write_report(
    name: str, machine: str, rows: Sequence[tuple[str, str]], output: Path | None
) -> None:
    """Print rows of a name and a value, and write them to `output/NAME.md` if there is one.

    Where a page of the folder's name lies beside it (`docs/reliability.md`), the report takes its
    place there: between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        PageError: the page has no such place.
    """
    width = max(len(label) for label, _ in rows)
    typer.echo(machine)
    for label, said in rows:
        typer.echo(f"{label:<{width}}  {said}")
    if output is None:
        return
    lines = [f"{machine}.", "", "| | |", "|---|---|"]
    lines += [f"| {label} | {said} |" for label, said in rows]
    text = "\n".join(lines) + "\n"
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.md").write_text(text)
    page = output.with_name(f"{output.name}.md")
    if page.is_file():
        page.write_text(_with_report(page, name, text))


def _with_report(page: Path, name: str, report: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise PageError(f"{page}: has no lines {begin.strip()} and {end} to put the report between")
    return f"{before}{begin}\n{report}\n{end}{after}"
