"""Writing a model into a Triton model repository, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from tritonclient.grpc import model_config_pb2 as pb

from farpose.engines.repository import read_config
from farpose.keypoints import keypoint_set
from farpose.repository import RepositoryError
from farpose_export.model_config import LABEL_FILE, config_text, same_contract
from farpose_export.tensorrt.manifest import MANIFEST_FILE, EngineManifest, ManifestError

MODEL_FILE: Final = "model.onnx"
REPORT_FILE: Final = "parity.json"
CHECKPOINT_FILE: Final = "checkpoint.safetensors"

FIRST_PRECISION: Final = "fp32"
"""Of models whose metadata do not say."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class RepositoryWriteError(RuntimeError):
    """The repository cannot be written; it is as it was."""


@dataclass(frozen=True)
class Publication:
    """What becomes a version of a model."""

    config: pb.ModelConfig
    graph: onnx.ModelProto
    report: Mapping[str, Any]
    """For `parity.json`; the sha256 of the model file is added."""

    checkpoint: Path | None = None
    """Kept beside the versions, for later exports and trainings."""


def write_version(repository: Path, publication: Publication) -> Path:
    """Add the next version of a model; earlier versions are never touched.

    Everything is written under a temporary name first and renamed at the end. A `config.pbtxt` that
    is there stays, so that its scheduling may be tuned by hand.

    Returns:
        The new version's folder.

    Raises:
        RepositoryWriteError: a different model has that name, other models of the repository have
            another precision or backend, the folder is no repository, or cannot be written.
    """
    folder = repository / publication.config.name
    new = [path for path in (folder, repository) if not path.exists()]
    try:
        check_place(repository, publication.config, precision_of(publication.graph))
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        try:
            return _write(folder, partial, publication)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        for path in new:
            with contextlib.suppress(OSError):  # not empty, or never made
                path.rmdir()
        raise RepositoryWriteError(f"{folder}: cannot be written ({error.strerror})") from error


def _write(folder: Path, partial: Path, publication: Publication) -> Path:
    version = partial / "version"
    version.mkdir()
    model = publication.graph.SerializeToString()
    write_file(version / MODEL_FILE, model)
    report = {**publication.report, "model_sha256": hashlib.sha256(model).hexdigest()}
    write_file(version / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())
    write_config(folder, partial, publication.config, publication.graph)
    checkpoint = publication.checkpoint
    kept = folder / CHECKPOINT_FILE
    if checkpoint is not None and not (kept.exists() and kept.samefile(checkpoint)):
        shutil.copyfile(checkpoint, partial / CHECKPOINT_FILE)
    target = rename_to_next(version, folder)
    if (partial / CHECKPOINT_FILE).is_file():
        (partial / CHECKPOINT_FILE).replace(kept)
    return target


def write_config(
    folder: Path, partial: Path, config: pb.ModelConfig, graph: onnx.ModelProto
) -> None:
    """Give a model's folder its `config.pbtxt` and joint names, if it has none.

    They are written to a temporary folder first.
    """
    joints = _facts(graph).get("keypoint_set")
    files = {"config.pbtxt": config_text(config)}
    if joints is not None:
        files[LABEL_FILE] = "".join(f"{joint}\n" for joint in keypoint_set(joints).joints)
    for name, text in reversed(files.items()):  # the configuration refers to the names
        if not (folder / name).is_file():
            write_file(partial / name, text.encode())
            (partial / name).replace(folder / name)


def rename_to_next(version: Path, folder: Path) -> Path:
    """Give a version the next number; another export may take one at the same time."""
    while True:
        taken = [int(v.name) for v in folder.iterdir() if v.name.isdecimal()]
        target = folder / str(max(taken, default=0) + 1)
        try:
            return version.rename(target)
        except OSError:
            if not target.exists():
                raise


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_place(repository: Path, config: pb.ModelConfig, precision: str) -> None:
    """Refuse a repository that a model does not belong into.

    Raises:
        RepositoryWriteError: see `write_version`.
    """
    if not NAME.fullmatch(config.name):
        raise RepositoryWriteError(
            f"{config.name!r} is no name of a model: use letters, digits, '_', '-' and '.'"
        )
    if not repository.exists():
        return
    if not repository.is_dir():
        raise RepositoryWriteError(f"{repository} is a file: --repository wants a folder")
    models = [path.parent for path in sorted(repository.glob("*/config.pbtxt"))]
    target = repository / config.name
    if (not models and _visible(repository) - {config.name}) or (
        # In this order: another export may write the configuration just now, before its version.
        target.exists() and _visible(target) and not (target / "config.pbtxt").is_file()
    ):
        raise RepositoryWriteError(
            f"{repository} holds other things than models: give a model repository or a new folder"
        )
    for folder in models:
        _refuse_neighbour(folder, config, precision)


def _visible(folder: Path) -> set[str]:
    """Names of what is in a folder, but for what is hidden, as unfinished versions are."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _refuse_neighbour(folder: Path, config: pb.ModelConfig, precision: str) -> None:
    try:
        found = read_config(folder / "config.pbtxt")
    except RepositoryError as error:
        raise RepositoryWriteError(str(error)) from error
    if folder.name == config.name:
        found.name = found.name or folder.name
        if not same_contract(found, config):
            raise RepositoryWriteError(
                f"{folder / 'config.pbtxt'} describes another model: choose another --name, or "
                f"move {folder} away"
            )
    if found.backend not in ("onnxruntime", "tensorrt"):
        return
    there = _newest_precision(folder)
    if found.backend != config.backend or (there is not None and there != precision):
        raise RepositoryWriteError(
            f"{folder} is {there or 'a model'} of backend {found.backend}, this one is {precision} "
            f"of {config.backend}: a repository has one precision and backend, give another "
            "--repository"
        )


def _newest_precision(folder: Path) -> str | None:
    versions = [
        path
        for name in (MODEL_FILE, MANIFEST_FILE)
        for path in folder.glob(f"*/{name}")
        if path.parent.name.isdecimal()
    ]
    if not versions:
        return None
    newest = max(versions, key=lambda path: int(path.parent.name))
    if newest.name == MANIFEST_FILE:
        try:
            return EngineManifest.load(newest).precision
        except ManifestError as error:
            raise RepositoryWriteError(str(error)) from error
    return precision_of(onnx.load(str(newest), load_external_data=False))


def precision_of(graph: onnx.ModelProto) -> str:
    """What a graph's metadata say of its precision."""
    return _facts(graph).get("precision", FIRST_PRECISION)


def _facts(graph: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in graph.metadata_props}
