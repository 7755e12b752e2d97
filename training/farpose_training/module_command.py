"""Commands that are run as `python -m MODULE`: errors end in one line, as those of `farpose` do."""

from __future__ import annotations

import sys

import typer

from farpose.cli import user_message

ERROR = 2
"""Exit code of an error; 1 is left to commands that answer a question with it."""


def run(app: typer.Typer, module: str) -> None:
    """Run a module's command line."""
    try:
        app(prog_name=f"python -m {module}")
    except Exception as error:  # all others go on as they are
        message = user_message(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        sys.exit(ERROR)
