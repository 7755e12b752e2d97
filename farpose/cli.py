"""`farpose`: the root of the command line.

A command is an entry point of the group `farpose.commands`: its name, and a function with Typer
annotations or a `typer.Typer` of subcommands. It is imported when it is called, so that no command
waits for, or needs, the packages of another. Its extras (`module:function [train]`) say what to
install when they are missing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

GROUP: Final = "farpose.commands"

CORE_COMMANDS: Final = (
    EntryPoint("predict", "farpose.commands.predict:predict [serve]", GROUP),
    EntryPoint("evaluate", "farpose.commands.evaluate:evaluate [serve,evaluate]", GROUP),
    EntryPoint("bench", "farpose.commands.bench:bench [serve]", GROUP),
)
"""Commands of this package; those of the stages come with their distribution."""


class MissingExtraError(RuntimeError):
    """A command needs packages that are not installed."""


class CommandMap(Mapping[str, Any]):
    """Command names to stand-ins that only know their summary: enough for a list of commands."""

    def __init__(self) -> None:
        installed = {point.name: point for point in entry_points(group=GROUP)}
        core = {point.name: point for point in CORE_COMMANDS}
        self._points = core | {name: installed[name] for name in sorted(installed)}

    def __getitem__(self, name: str) -> Any:
        def stand_in() -> None: ...

        stand_in.__doc__ = _summary(self._points[name])
        return _command(name, stand_in)

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def load(self, name: str) -> Any:
        """Import the command itself.

        Raises:
            MissingExtraError: packages that it needs are not installed.
        """
        try:
            return _command(name, self._points[name].load())
        except ImportError as error:
            raise self.missing_extra(name, error) from error

    def missing_extra(self, name: str, error: ImportError) -> MissingExtraError:
        """What to say of a command that cannot be imported or run."""
        extras = ",".join(self._points[name].extras) or name
        return MissingExtraError(
            f"`farpose {name}` needs packages that are not installed ({error}): "
            f"pip install 'farpose[{extras}]'"
        )


class CommandGroup(TyperGroup):
    """The root's commands, from `CommandMap`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._map = CommandMap()
        self.commands: Any = self._map

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, the core's first."""
        return list(self._map)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that was called."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and self._map.load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a package that it turns out to lack is a `MissingExtraError`."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if ctx.invoked_subcommand is None:
                raise
            raise self._map.missing_extra(ctx.invoked_subcommand, error) from error


app = typer.Typer(
    name="farpose",
    cls=CommandGroup,
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
        parts = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return "; ".join(parts)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    package = type(error).__module__.partition(".")[0]
    if package == "farpose" or package.startswith("farpose_"):
        return " ".join(str(error).split())
    return None


def _summary(point: EntryPoint) -> str:
    """The beginning of the command's docstring, or its module's, read without importing it."""
    try:
        spec = find_spec(point.module)
    except ImportError:
        return ""
    if spec is None or spec.origin is None:
        return ""
    module = ast.parse(Path(spec.origin).read_text())
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    docstring = ast.get_docstring(functions.get(point.attr, module)) or ""
    return docstring.partition("\n\n")[0]


def _command(name: str, loaded: Any) -> Any:
    """The command of a function, or of a Typer application with subcommands."""
    if isinstance(loaded, typer.Typer):
        return typer.main.get_command(loaded)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(loaded)
    return typer.main.get_command(single)


if __name__ == "__main__":
    main()
