"""Several engines behind one, such as a checkpoint's beside the one with the detector."""

from __future__ import annotations

from farpose.engine import Engine, ModelMetadata, Tensors, UnknownModelError


class CombinedEngine:
    """Each model is run by the first of the engines that has it."""

    def __init__(self, *engines: Engine) -> None:
        self._engines = engines

    async def infer(self, model: str, inputs: Tensors) -> Tensors:
        """See `Engine.infer`."""
        engine, _ = await self._find(model)
        return await engine.infer(model, inputs)

    async def metadata(self, model: str) -> ModelMetadata:
        """See `Engine.metadata`."""
        _, metadata = await self._find(model)
        return metadata

    async def _find(self, model: str) -> tuple[Engine, ModelMetadata]:
        reasons = []
        for engine in self._engines:
            try:
                return engine, await engine.metadata(model)
            except UnknownModelError as error:
                reasons.append(str(error))
        raise UnknownModelError("; ".join(reasons))
