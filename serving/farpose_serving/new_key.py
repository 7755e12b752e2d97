"""`farpose new-key`: a key for a caller."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from farpose_serving.access import hashed, new_key


def new_key_command(
    name: Annotated[str, typer.Argument(help="Whose key it is: letters, digits, . _ -")],
) -> None:
    """Make an API key; the line for the file of keys goes to standard output."""
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise typer.BadParameter("take 1 to 64 letters, digits, dots, underscores or hyphens")
    key = new_key()
    typer.echo(f"The key, shown only now: {key}", err=True)
    typer.echo("Add this line to the file that FARPOSE_API_KEYS_FILE names:", err=True)
    typer.echo(f"{name}:{hashed(key)}")
