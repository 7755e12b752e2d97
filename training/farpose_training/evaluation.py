"""A checkpoint as an engine, so that it is evaluated by the same code as an exported model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import torch

from farpose.engine import ModelMetadata, TensorInfo, Tensors, UnknownModelError
from farpose.engines.batching import Batcher
from farpose.pose_model import DEFAULT_POSE_MODEL
from farpose_training.checkpoint import load_model
from farpose_training.models.flip import FlipTest
from farpose_training.models.network import build_decoder

MAX_BATCH_SIZE = 64


class CheckpointEngine:
    """Serves one checkpoint under the name of the default pose model.

    Args:
        path: of the checkpoint.
        flip: average each crop with its mirror image.

    Raises:
        CheckpointError: the file cannot be loaded.
        ConfigError: it has no SimCC head, and is to be flipped.
    """

    def __init__(self, path: Path, *, flip: bool = False) -> None:
        loaded = load_model(path)
        self._model = FlipTest(loaded.model, loaded.keypoint_set) if flip else loaded.model
        self._decoder = build_decoder(loaded.model.config)
        size, joints = loaded.model.config.resolution, len(loaded.keypoint_set)
        float32 = np.dtype(np.float32)
        self._metadata = ModelMetadata(
            name=DEFAULT_POSE_MODEL,
            version=path.name,
            inputs=(TensorInfo("crops", np.dtype(np.uint8), (None, size, size, 3)),),
            outputs=(
                TensorInfo("keypoints", float32, (None, joints, 2)),
                TensorInfo("scores", float32, (None, joints)),
                TensorInfo("variances", float32, (None, joints, 2)),
            ),
            max_batch_size=MAX_BATCH_SIZE,
            properties={**loaded.facts, "keypoint_set": loaded.keypoint_set.name},
        )
        # Requests that arrive while others run become one batch.
        self._batcher = Batcher(
            lambda merged: asyncio.to_thread(self._run, merged),
            max_size=MAX_BATCH_SIZE,
            preferred_size=MAX_BATCH_SIZE,
            max_delay=0,
        )

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """See `farpose.engine.Engine.infer`."""
        await self.metadata(model)
        return await self._batcher.submit(inputs)

    async def metadata(self, model: str) -> ModelMetadata:
        """See `farpose.engine.Engine.metadata`."""
        if model != DEFAULT_POSE_MODEL:
            raise UnknownModelError(f"a checkpoint serves only {DEFAULT_POSE_MODEL}, not {model!r}")
        return self._metadata

    @torch.no_grad()
    def _run(self, inputs: Tensors) -> Tensors:
        keypoints, scores, variances = self._decoder(self._model(torch.from_numpy(inputs["crops"])))
        return {
            "keypoints": keypoints.numpy(),
            "scores": scores.numpy(),
            "variances": variances.numpy(),
        }


def checkpoint_engine(path: Path, *, flip: bool = False) -> CheckpointEngine:
    """The engine of a checkpoint file; what `farpose evaluate` calls."""
    return CheckpointEngine(path, flip=flip)
