"""`farpose`: the root of the command line; commands are imported when they are called."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from farpose.commands.lazy import CommandGroup


class RootCommands(CommandGroup):
    """The commands of `farpose`."""

    prefix = "farpose"
    group = "farpose.commands"
    core = (
        EntryPoint("predict", "farpose.commands.predict:predict [serve]", group),
        EntryPoint("watch", "farpose.commands.watch:watch [serve,track,watch]", group),
        EntryPoint("evaluate", "farpose.commands.evaluate:evaluate [serve,evaluate]", group),
        EntryPoint("bench", "farpose.commands.bench:bench", group),
    )


app = typer.Typer(
    name="farpose",
    cls=RootCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version("farpose"))
        except PackageNotFoundError:
            typer.echo("not installed")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Pose estimation for people who are only a few dozen pixels tall."""


def main() -> None:
    """Run the command line; errors that the user can act on are one line on stderr."""
    try:
        app(prog_name="farpose")
    except Exception as error:  # all others go on as they are
        message = user_message(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        sys.exit(1)


def user_message(error: Exception) -> str | None:
    """One line for the user, or None where only a traceback helps.

    Farpose's own exception classes are all written for users: each says what is wrong with what.
    """
    if isinstance(error, ValidationError):
        return "; ".join(map(_complaint, error.errors()))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    package = type(error).__module__.partition(".")[0]
    if package == "farpose" or package.startswith("farpose_"):
        return " ".join(str(error).split())
    return None


def _complaint(error: ErrorDetails) -> str:
    """One of pydantic's, without its own words for what a validator of ours says."""
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


if __name__ == "__main__":
    main()
