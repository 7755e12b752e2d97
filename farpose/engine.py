"""What the pipeline needs of whatever runs the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]
"""Named arrays, in or out of a model."""


class EngineError(RuntimeError):
    """A model could not be run."""


class UnknownModelError(EngineError):
    """The engine has no model of that name."""


class InvalidInputError(EngineError):
    """A model refused what it was given.

    Args:
        message: for people.
        reason: the model's own words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class EngineUnavailableError(EngineError):
    """Nobody runs models at the moment: it may work a little later."""


class EngineOverloadedError(EngineUnavailableError):
    """Too many others wait, or one waited too long: it may work a little later."""


class EngineTimeoutError(EngineError):
    """The answer did not come in time."""


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    """With the batch axis; None where it may vary."""


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says about itself."""

    name: str
    version: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    max_batch_size: int
    properties: Mapping[str, str] = field(default_factory=dict)
    """Facts of this version: keypoint set, resolution, training data, metrics, ..."""


class Engine(Protocol):
    """Runs models by name. Implementations never block the event loop."""

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """Run a model on a batch (first axis) and return its outputs by name.

        Raises:
            UnknownModelError: there is no such model.
            EngineError: it failed; the message says why.
        """
        ...

    async def metadata(self, model: str) -> ModelMetadata:
        """What is known of a model; `UnknownModelError` if there is none."""
        ...
