"""The whole pipeline as one Triton model: an encoded picture in, its people out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from farpose.engine import EngineError, EngineUnavailableError
from farpose.engines.bls import BlsEngine
from farpose.geometry import BoxError
from farpose.images import MAX_PIXELS, ImageError
from farpose.options import PoseOptions
from farpose.pipeline import DETECTOR, PosePipeline
from farpose.remote_pipeline import OptionsError, error_text, parse_options, to_tensors
from farpose.repository import RepositoryError


def encoded_black() -> bytes:
    """A small picture."""
    return cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()


class TritonPythonModel:
    """One instance: it works on one request at a time, so several instances overlap frames."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what the models beside this one are."""
        parameters = json.loads(args["model_config"])["parameters"]

        def number(name: str, default: float) -> float:
            return float(parameters.get(name, {}).get("string_value", default))

        try:
            engine = BlsEngine(Path(args["model_repository"]).parent)
            self._pipeline = PosePipeline(
                engine, int(number("max_pixels", MAX_PIXELS)), number("small_person", 0)
            )
            asyncio.run(engine.metadata(DETECTOR))
            asyncio.run(self._pipeline.routing("auto"))
            # The first picture of a process takes a tenth of a second longer to decode. Here the
            # other models may not be there yet, so it has nobody.
            asyncio.run(self._pipeline(encoded_black(), PoseOptions(boxes=())))
        except (RepositoryError, EngineError) as error:
            raise pb_utils.TritonModelException(str(error)) from error

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; decoding and cropping run in threads."""
        return list(await asyncio.gather(*map(self._answer, requests)))

    async def _answer(self, request: Any) -> Any:
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        options = pb_utils.get_input_tensor_by_name(request, "options")
        try:
            chosen = parse_options(b"{}" if options is None else options.as_numpy()[0])
            await self._check_model(chosen.pose_model)
            result = await self._pipeline(image[0], chosen)
        except (ImageError, BoxError, OptionsError) as error:
            return _failure(error, pb_utils.TritonError.INVALID_ARG)
        except EngineUnavailableError as error:
            return _failure(error, pb_utils.TritonError.UNAVAILABLE)
        except EngineError as error:
            return _failure(error, pb_utils.TritonError.INTERNAL)
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor(name, array)
                for name, array in to_tensors(result).items()
                if name in wanted
            ]
        )

    async def _check_model(self, name: str) -> None:
        """Refuse a model that a caller named and that is not there or is no pose model."""
        try:
            await self._pipeline.routing(name)
        except EngineError as error:
            raise OptionsError(f"pose_model: {error}") from error


def _failure(error: Exception, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(error_text(error), code))
