"""What finished runs gave, in CSV files that only grow: one line per run, and one per epoch.

A line is written at once, so a file is whole but for a last line that is being written or was cut
off by a power failure. Results come after curves, so the curves of a run without a result are those
of a run that is being recorded or will be again. Neither is read, and the next run to be recorded
removes what stands in its way: files are written only by the process that makes the study, while
any other may read them.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from farpose_training.study.grid import Run
from farpose_training.whole_file import write_whole

KEY = ("variant", "row", "seed")
DIGESTS = ("settings", "scoring", "teacher")
"""What a result depends on: the training's settings, those of the scores, the teacher's weights."""

LOSSES = ("loss", "task", "feature", "logit")
ADVERSARY = ("tau", "xi", "alpha", "beta")
RATIOS = ("feature_gradient_ratio", "logit_gradient_ratio")
FACTS = (*KEY, "epochs", *DIGESTS, "machine", "cores", "threads", "precision", "torch", "seconds")
LAST = (*LOSSES, *ADVERSARY, *RATIOS)
"""Of a run's last epoch."""

CURVE = (*KEY, "epoch", *LOSSES, "learning_rate", *ADVERSARY, *RATIOS, "pck_0.2", "pck_0.5")

Line = Mapping[str, object]


class StudyError(ValueError):
    """A study cannot go on; the message names the file or the run and says what to do."""


@dataclass(frozen=True)
class Result:
    """A finished run as its line has it."""

    variant: str
    row: str
    seed: int
    facts: dict[str, str]
    """`FACTS` but the key."""

    values: dict[str, float]
    """`LAST` and the scores; what is not there or not a number is left out."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others."""
        return self.variant, self.row, self.seed


class GrowingTable:
    """A CSV file to which lines are added.

    Args:
        path: made when the first line is added.
        columns: its header.

    Raises:
        StudyError: the file has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = list(columns)
        self._refuse_other_columns()

    def read(self) -> list[dict[str, str]]:
        """All whole lines."""
        return list(csv.DictReader(io.StringIO(self._whole().decode(), newline="")))

    def append(self, lines: Sequence[Line]) -> None:
        """Add lines in place of one that was cut off, and see that they are on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        end = len(self._whole())
        text = self._text(lines, header=not end)
        with self._path.open("ab") as file:
            file.truncate(end)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Remove all other lines."""
        lines = self.read()
        kept = [line for line in lines if wanted(line)]
        if len(kept) < len(lines):
            write_whole(self._path, self._text(kept, header=True))

    def _text(self, lines: Sequence[Line], *, header: bool) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, self._columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)
        return out.getvalue()

    def _whole(self) -> bytes:
        """The content up to the end of its last whole line."""
        content = self._path.read_bytes() if self._path.is_file() else b""
        return content[: content.rfind(b"\n") + 1]

    def _refuse_other_columns(self) -> None:
        header = self._whole().decode().partition("\n")[0]
        found = next(csv.reader([header]))
        if header and found != self._columns:
            differing = sorted(set(found) ^ set(self._columns)) or ["their order"]
            raise StudyError(
                f"{self._path} has other columns than this study ({', '.join(differing[:3])}): was "
                "score changed since? Use another --csv, or remove the file to score all runs again"
            )


class Ledger:
    """The results of a study: `results.csv`, and `curves.csv` beside it.

    Args:
        path: of the results.
        scores: the columns that follow the facts.

    Raises:
        StudyError: a file has other columns.
    """

    def __init__(self, path: Path, scores: Sequence[str]) -> None:
        self.path = path
        self._scores = list(scores)
        self._results = GrowingTable(path, (*FACTS, *LAST, *scores))
        self._curves = GrowingTable(path.with_name("curves.csv"), CURVE)

    def results(self) -> list[Result]:
        """All finished runs; a later line of a run replaces an earlier one."""
        found = {}
        for line in self._results.read():
            values = {name: float(line[name]) for name in (*LAST, *self._scores) if line[name]}
            facts = {name: line[name] for name in FACTS if name not in KEY}
            found[_key(line)] = Result(*_key(line), facts, values)
        return list(found.values())

    def curves(self) -> dict[tuple[str, str, int], list[dict[str, float]]]:
        """Per finished run, its epochs: every column of `CURVE` that has a number."""
        finished = {result.key for result in self.results()}
        runs: dict[tuple[str, str, int], list[dict[str, float]]] = {}
        for line in self._curves.read():
            if _key(line) in finished:
                epoch = {name: float(line[name]) for name in CURVE[len(KEY) :] if line[name]}
                runs.setdefault(_key(line), []).append(epoch)
        return runs

    def add(self, run: Run, facts: Line, scores: Mapping[str, float]) -> None:
        """Record a finished run, with the log its training left.

        Only for the process that makes the study.
        """
        key = dict(zip(KEY, run.key, strict=True))
        epochs = read_log(run.config.output)
        self._curves.keep(lambda line: _key(line) != run.key)
        self._curves.append([key | {k: v for k, v in e.items() if k in CURVE} for e in epochs])
        last = {name: value for name, value in epochs[-1].items() if name in LAST}
        self._results.append([key | dict(facts) | last | dict(scores)])

    def refuse_changes(self, runs: Sequence[Run], digests: Callable[[Run], Line]) -> None:
        """See that the recorded runs are those that the study would make now.

        Raises:
            StudyError: one was made with other settings.
        """
        wanted = {run.key: run for run in runs}
        for result in self.results():
            run = wanted.get(result.key)
            if run is None:
                continue
            for name, now in digests(run).items():
                if now and result.facts[name] and result.facts[name] != now:
                    what = {
                        "settings": "with other training settings",
                        "scoring": "with other settings of score",
                        "teacher": "by a teacher with other weights",
                    }[name]
                    raise StudyError(
                        f"{self.path}: {run.name} was made {what}; put the old ones back, use "
                        f"another output and --csv, or remove its line and {run.config.output}"
                    )


def read_log(output: Path) -> list[dict[str, float]]:
    """The epochs of a training, from its `log.jsonl`.

    Raises:
        StudyError: there is none.
    """
    path = output / "log.jsonl"
    epochs = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if not epochs:
        raise StudyError(f"{path}: has no epoch; remove {output} to train again")
    return epochs


def _key(line: Mapping[str, str]) -> tuple[str, str, int]:
    return line["variant"], line["row"], int(line["seed"])


def _cell(value: object) -> object:
    """Six digits are more than a score has; what is not a number stays empty."""
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if math.isfinite(value) else ""
