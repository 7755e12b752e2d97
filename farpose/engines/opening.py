"""An engine for the one model a user names: an ONNX file, a repository's model, a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from farpose.engine import Engine, EngineError
from farpose.engines.onnxruntime import OnnxRuntimeEngine
from farpose.engines.repository import RepositoryModel, onnx_models
from farpose.extras import how_to_install
from farpose.pipeline import DETECTOR
from farpose.pose_model import DEFAULT_POSE_MODEL

CHECKPOINT_ENGINES: Final = "farpose.checkpoint_engines"
"""Entry points of this group are functions from a checkpoint's path, and whether to flip, to an
engine that serves it under the name of the default pose model."""

CHECKPOINT_SUFFIXES: Final = frozenset({".ckpt", ".pt", ".pth", ".safetensors"})

MAX_BATCH_SIZE: Final = 64
"""Items per run of a model that comes without a configuration."""


class ModelNotFoundError(EngineError):
    """A path that is none of the kinds of model; the message says which there are."""


@dataclass(frozen=True)
class OpenedModel:
    """One model and the name it is served under."""

    engine: Engine
    name: str

    @property
    def is_detector(self) -> bool:
        """Whether it finds people, rather than their joints."""
        return self.name == DETECTOR


@contextlib.contextmanager
def open_model(path: Path, *, flip: bool = False) -> Iterator[OpenedModel]:
    """Serve an `.onnx` file, a model folder of a repository, or a checkpoint of `farpose train`.

    A model with an input `images` is served as the detector, others under the folder's name, or as
    the default pose model.

    Args:
        path: one of these.
        flip: average each crop with its mirror image, which only a checkpoint can.

    Raises:
        ModelNotFoundError: the path is nothing of that.
        EngineError: it cannot be loaded.
        RepositoryError: its repository is broken.
    """
    if path.suffix.lower() in CHECKPOINT_SUFFIXES and path.is_file():
        yield OpenedModel(_checkpoint_engine(path, flip), DEFAULT_POSE_MODEL)
        return
    if flip:
        raise ModelNotFoundError(f"{path}: the flip test needs a checkpoint of farpose train")
    model = _repository_model(path)
    with OnnxRuntimeEngine.from_models([model]) as engine:
        if model.name == DETECTOR or not _takes_images(engine):
            yield OpenedModel(engine, model.name)
            return
    with OnnxRuntimeEngine.from_models([replace(model, name=DETECTOR)]) as engine:
        yield OpenedModel(engine, DETECTOR)


def open_detector(repository: Path) -> OnnxRuntimeEngine:
    """An engine with the detector of a repository and nothing else.

    Raises:
        ModelNotFoundError: it has none.
    """
    models = onnx_models(repository)
    if DETECTOR not in models:
        raise ModelNotFoundError(f"{repository}: has no {DETECTOR}")
    return OnnxRuntimeEngine.from_models([models[DETECTOR]])


def _repository_model(path: Path) -> RepositoryModel:
    if path.suffix.lower() == ".onnx" and path.is_file():
        return RepositoryModel(
            name=DEFAULT_POSE_MODEL,
            version=1,
            path=path,
            max_batch_size=MAX_BATCH_SIZE,
            preferred_batch_size=MAX_BATCH_SIZE,
            max_queue_delay=0.0,
        )
    folder = path.resolve()
    if (folder / "config.pbtxt").is_file():
        models = onnx_models(folder.parent)
        if folder.name in models:
            return models[folder.name]
        raise ModelNotFoundError(f"{path}: its backend is not onnxruntime")
    if not path.exists():
        raise ModelNotFoundError(f"{path}: no such model")
    raise ModelNotFoundError(
        f"{path}: give an .onnx file, a model's folder in a repository (with config.pbtxt), or a "
        f"checkpoint ({', '.join(sorted(CHECKPOINT_SUFFIXES))})"
    )


def _takes_images(engine: OnnxRuntimeEngine) -> bool:
    return any(i.name == "images" for metadata in engine.loaded for i in metadata.inputs)


def _checkpoint_engine(path: Path, flip: bool) -> Engine:
    points: list[EntryPoint] = list(entry_points(group=CHECKPOINT_ENGINES))
    try:
        load = points[0].load()
    except (IndexError, ImportError) as error:
        raise ModelNotFoundError(
            f"{path}: a checkpoint needs packages that are not installed ({error}): "
            f"{how_to_install('train')}"
        ) from error
    engine: Engine = load(path, flip=flip)
    return engine
