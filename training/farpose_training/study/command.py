"""`farpose study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def study(
    config: Annotated[Path, typer.Argument(help="A YAML file, see training/configs/study/.")],
    results: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Where results are kept, report and plots beside it; by default results.csv in "
            "the study's output folder.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after so long; the next call goes on where this one was."),
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the report anew, train nothing.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one setting: parallel=2.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Train a grid of settings over several seeds, and compare them in tables and plots.

    What was interrupted goes on where it was; finished runs are not made again.
    """
    from farpose_training.study.config import read_study
    from farpose_training.study.report import sets_of, write_report
    from farpose_training.study.results import Ledger
    from farpose_training.study.runner import Runner
    from farpose_training.study.scoring import score_columns

    settings = read_study(config, overrides or ())
    ledger = Ledger(results or settings.output / "results.csv", score_columns(sets_of(settings)))
    if not report_only:
        runner = Runner(settings, ledger, typer.echo)
        try:
            runner.run(None if minutes is None else 60 * minutes)
        finally:
            left = len(runner.pending)
            if left:
                typer.echo(f"{left} of {len(runner.runs)} runs are left: call again to go on")
            if left < len(runner.runs):
                typer.echo(str(write_report(settings, ledger)))
    else:
        typer.echo(str(write_report(settings, ledger)))
