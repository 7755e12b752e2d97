"""Writes `docs/reference/commands.md`, what the commands' own help says.

python docs/figures/command_reference.py

Every command is imported for it, so `make setup` must have installed what they need.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from farpose.cli import app

PAGE = Path(__file__).parent.parent / "reference/commands.md"

INTRODUCTION = """# Commands

<!-- Written by `make command-reference`. -->

What `farpose COMMAND --help` says. A command whose packages are not installed says which extra has
them. An error that you can act on is one line on stderr, and the exit status is then 1; a wrong
command line ends with 2.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, *sections(typer.main.get_command(app), "farpose", 2)]
    return "\n".join(parts).rstrip("\n") + "\n"


def sections(group: Any, path: str, level: int) -> Iterator[str]:
    """A section for each command of a group, subcommands below it."""
    context = group.context_class(group, info_name=path)
    for word in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [word])
        full = f"{path} {word}"
        yield f"{'#' * level} {full}\n"
        yield inspect.cleandoc(command.help or "") + "\n"
        if hasattr(command, "list_commands"):
            yield from sections(command, full, level + 1)
        else:
            yield from usage(command, full)


def usage(command: Any, path: str) -> Iterator[str]:
    """How a command is typed, and its arguments and options."""
    context = command.context_class(command, info_name=path)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p not in arguments and "--help" not in p.opts]
    words = [path, *(["[OPTIONS]"] if options else []), *(name(p, context) for p in arguments)]
    yield f"`{' '.join(words)}`\n"
    for parameter in [*arguments, *options]:
        record = parameter.get_help_record(context)
        if record is not None:
            yield f"- `{name(parameter, context)}`: {prose(record[1])}"
    yield ""


def name(parameter: Any, context: Any) -> str:
    """How a parameter is typed; an argument without the type that its help adds."""
    typed = str((parameter.get_help_record(context) or [parameter.name])[0])
    if parameter.param_type_name == "argument":
        typed = typed.partition(" <")[0]
        typed = typed.upper() if typed == parameter.name else typed
    return typed.replace(" range>", ">")


def prose(text: str) -> str:
    """Text of a help as Markdown that looks the same."""
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(reference())
