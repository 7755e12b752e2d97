"""`farpose evaluate --report`: opens the models, shows how far it is, writes the report."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from farpose.evaluation.dataset import PoseDataset
from farpose.evaluation.report.degradations import (
    DEGRADATIONS,
    Degradation,
    parse_degradation,
)
from farpose.evaluation.report.folder import check_labels, make_folder, some_pictures
from farpose.evaluation.report.measuring import Protocol
from farpose.evaluation.report.study import Candidate, joints_of, run_study
from farpose.evaluation.report.writing import Facts, write_report
from farpose.pipeline import PosePipeline


class ReportOptionError(ValueError):
    """Options of a report that do not go together."""


@dataclass(frozen=True)
class ReportRequest:
    """What the user asked for."""

    models: tuple[Path, ...]
    """One, or two to be compared."""

    folder: Path
    facts: Facts
    protocol: Protocol
    degradations: tuple[Degradation, ...]
    limit: int | None
    """At most so many pictures."""

    flip: bool
    detector: Path | None
    """Repository whose detector finds people; None where boxes are given."""


def check_report_options(
    report: Path | None, only_with: Mapping[str, object], not_with: Mapping[str, object]
) -> None:
    """Refuse options that would be ignored.

    Args:
        report: the folder, None where no report is asked for.
        only_with: values of options that only a report knows, None where not given.
        not_with: values of options that a report does not know, empty where not given.

    Raises:
        ReportOptionError: there is one.
    """
    if report is None:
        given = [name for name, value in only_with.items() if value is not None]
        reason = "needs --report DIR"
    else:
        given = [name for name, value in not_with.items() if value]
        reason = "does not go with --report, which has a section on reliability"
    if given:
        raise ReportOptionError(f"{given[0]} {reason}")


def chosen_degradations(texts: Sequence[str] | None) -> tuple[Degradation, ...]:
    """What `--degrade` asks for; a few of each kind where it is not given.

    Raises:
        DegradationError: one is not known.
        ReportOptionError: `none` beside another.
    """
    if texts is None:
        return DEGRADATIONS
    if "none" in texts:
        if len(texts) > 1:
            raise ReportOptionError("--degrade none does not go with another --degrade")
        return ()
    return tuple(dict.fromkeys(map(parse_degradation, texts)))


def report_content(request: ReportRequest, dataset: PoseDataset) -> dict[str, Any]:
    """Measure, write the report, and answer its numbers.

    Args:
        request: what to do.
        dataset: the people as they are labelled, in the boxes to crop by.

    Raises:
        ReportFolderError: the folder cannot be used.
        DatasetError: the labels are of other pictures, or a picture cannot be read.
        SkeletonError: the models, or a model and the labels, do not fit each other.
        ReportOptionError: a model is a detector.
        EngineError: a model cannot be loaded or failed.
        ModuleNotFoundError: a package of the extra `evaluate` is missing.
    """
    for package in ("matplotlib", "pycocotools", "scipy"):
        importlib.import_module(package)  # better missed now than after an hour
    make_folder(request.folder)
    request, dataset = _sampled(request, dataset)
    check_labels(dataset)
    progress = _ProgressLine()
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        candidates = _opened(request, stack)
        dataset = runner.run(joints_of(candidates, dataset))
        study = runner.run(
            run_study(
                candidates,
                dataset,
                request.protocol,
                request.degradations,
                progress=progress.tell,
            )
        )
    progress.end("writing the report")
    written = write_report(study, request.facts, request.folder)
    progress.end("")
    typer.echo(f"the report: {written.page}")
    return written.content


def _opened(request: ReportRequest, stack: contextlib.ExitStack) -> list[Candidate]:
    from farpose.engines.combined import CombinedEngine
    from farpose.engines.opening import open_detector, open_model

    detector = None
    if request.detector is not None:
        detector = stack.enter_context(open_detector(request.detector))
    candidates = []
    for path, label in zip(request.models, labels_of(request.models), strict=True):
        opened = stack.enter_context(open_model(path, flip=request.flip))
        if opened.is_detector:
            raise ReportOptionError(f"{path} is a detector: a report is of pose models")
        engine = opened.engine if detector is None else CombinedEngine(opened.engine, detector)
        candidates.append(Candidate(label, str(path), PosePipeline(engine), opened.name))
    return candidates


def labels_of(models: Sequence[Path]) -> tuple[str, ...]:
    """Short names that tell the models apart.

    >>> labels_of([Path("one/checkpoint.pt"), Path("two/checkpoint.pt")])
    ('one/checkpoint', 'two/checkpoint')
    """
    paths = [path.resolve() for path in models]
    names = [path.name if path.is_dir() else path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return tuple(names)


def _sampled(request: ReportRequest, dataset: PoseDataset) -> tuple[ReportRequest, PoseDataset]:
    """The pictures that `limit` allows, and the boxes of other detectors in them."""
    if request.limit is None:
        return request, dataset
    sample, kept = some_pictures(dataset, request.limit, request.protocol.seed)
    found = request.protocol.detections
    if found is not None:
        found = replace(
            found,
            boxes=tuple(found.boxes[i] for i in kept),
            scores=tuple(found.scores[i] for i in kept),
        )
    labelled = len(set(dataset.picture_index.tolist()))
    left_out = labelled - len(set(sample.picture_index.tolist()))
    return (
        replace(
            request,
            protocol=replace(request.protocol, detections=found),
            facts=replace(request.facts, left_out_pictures=left_out),
        ),
        sample,
    )


class _ProgressLine:
    """On a terminal one line that is rewritten, with the time left; in a log a line each step."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._step = ""
        self._terminal = sys.stderr.isatty()

    def tell(self, step: str, done: int, total: int) -> None:
        """`done` of `total` pictures, in all steps together."""
        if self._terminal:
            left = (time.monotonic() - self._start) * (total - done) / max(done, 1)
            self._rewrite(f"{step}: {done}/{total} pictures, {_duration(left)} left")
        elif step != self._step:
            typer.echo(f"{step} (picture {done} of {total})", err=True)
        self._step = step

    def end(self, text: str) -> None:
        """Another text, or nothing, in place of the progress."""
        if self._terminal:
            self._rewrite(text)

    def _rewrite(self, text: str) -> None:
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
