"""One run of a study in a process of its own: train, or go on training, then score.

It reads `job.json` in the run's folder, leaves `scores.json` and writes what it says to
`worker.log`. It ends with the process that started it.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

import torch

from farpose_training.checkpoint import read_tensors
from farpose_training.config import Config, TrainConfig
from farpose_training.study.config import ScoreConfig
from farpose_training.study.scoring import score_checkpoint
from farpose_training.trainer import train
from farpose_training.whole_file import write_whole

JOB = "job.json"
SCORES = "scores.json"
LOG = "worker.log"


class Job(Config):
    """What a worker is asked to do."""

    train: TrainConfig
    score: tuple[ScoreConfig, ...] = ()
    """Nothing of a teacher."""

    settings: str = ""
    """`Run.settings`, to tell a later study with others."""

    teacher: str = ""
    """Digest of the teacher's weights, likewise."""


def work(folder: Path) -> None:
    """Train and score the run of a folder."""
    job = Job.model_validate_json((folder / JOB).read_text())
    if job.train.threads is not None:
        torch.set_num_threads(job.train.threads)
    checkpoint = job.train.output / "checkpoint.safetensors"
    if trained_epochs(checkpoint) < job.train.optimizer.epochs:
        train(job.train)
    scores = score_checkpoint(checkpoint, job.score)
    known = {name: value for name, value in scores.items() if math.isfinite(value)}
    write_whole(folder / SCORES, json.dumps(known))


def trained_epochs(checkpoint: Path) -> int:
    """How far the training of a checkpoint is; 0 where there is none."""
    if not checkpoint.is_file():
        return 0
    _, metadata = read_tensors(checkpoint)
    return int(json.loads(metadata["facts"]).get("epochs", 0))


def main(folder: Path) -> None:
    """Work in a process of its own, on the run of a folder."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    # An orderly exit, which gives back what is shared with other processes.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(folder)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
