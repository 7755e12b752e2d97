"""Groups of commands that come from entry points and are imported when they are called.

A command is an entry point: its name, and a function with Typer annotations or a `typer.Typer` of
subcommands. No command waits for, or needs, the packages of another. Its extras
(`module:function [train]`) say what to install when they are missing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from farpose.extras import how_to_install


class MissingExtraError(RuntimeError):
    """A command needs packages that are not installed."""


class CommandMap(Mapping[str, Any]):
    """Command names to stand-ins that only know their summary: enough for a list of commands.

    Args:
        prefix: what is typed before a command's name.
        group: of the entry points.
        core: commands of this package; the others come with their distribution.
    """

    def __init__(self, prefix: str, group: str, core: tuple[EntryPoint, ...]) -> None:
        installed = {point.name: point for point in entry_points(group=group)}
        known = {point.name: point for point in core}
        self._prefix = prefix
        self._points = known | {name: installed[name] for name in sorted(installed)}

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
        extras = self._points[name].extras or [name]
        return MissingExtraError(
            f"`{self._prefix} {name}` needs packages that are not installed ({error}): "
            f"{how_to_install(*extras)}"
        )


class CommandGroup(TyperGroup):
    """Commands of a `CommandMap`, whose arguments a subclass names."""

    prefix: ClassVar[str]
    group: ClassVar[str]
    core: ClassVar[tuple[EntryPoint, ...]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._map = CommandMap(self.prefix, self.group, self.core)
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
