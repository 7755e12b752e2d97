"""`farpose bench`: benchmarks, each an entry point of the group `farpose.benchmarks`."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import typer

from farpose.commands.lazy import CommandGroup


class BenchCommands(CommandGroup):
    """The commands of `farpose bench`."""

    prefix = "farpose bench"
    group = "farpose.benchmarks"
    core = (EntryPoint("pipeline", "farpose.benchmarks.command:pipeline [serve]", group),)


bench = typer.Typer(
    cls=BenchCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@bench.callback()
def root() -> None:
    """Time the models and the pipeline on this machine."""
