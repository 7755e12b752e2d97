"""The model `pose_pipeline` of a Triton server, called as the pipeline here is."""

from __future__ import annotations

import numpy as np

from farpose.engine import InvalidInputError
from farpose.engines.triton import TritonEngine
from farpose.options import PoseOptions
from farpose.pipeline import DEFAULT_OPTIONS, PoseResult
from farpose.remote_pipeline import PIPELINE, callers_error, from_tensors, options_text


class TritonPipeline:
    """Finds people in pictures with one call of a server, which decodes them itself.

    Args:
        engine: the server.
    """

    def __init__(self, engine: TritonEngine) -> None:
        self._engine = engine

    async def __call__(self, image: bytes, options: PoseOptions = DEFAULT_OPTIONS) -> PoseResult:
        """Find the people of one encoded picture.

        Raises:
            ImageError, BoxError: as `PosePipeline`.
            OptionsError: an option does not fit the server's models.
            EngineError: the server failed, or does not answer.
        """
        inputs = {
            "image": np.array([image], object),
            "options": np.array([options_text(options)], object),
        }
        try:
            return from_tensors(await self._engine.infer(PIPELINE, inputs))
        except InvalidInputError as error:
            refused = callers_error(error.reason)
            if refused is None:
                raise
            raise refused from error
