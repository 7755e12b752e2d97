"""Optimisation profiles: the shapes that an engine takes, from the model's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tritonclient.grpc import model_config_pb2 as pb

from farpose_export.tensorrt.manifest import ShapeRange

OPT_BATCH_SIZE: Final = 8
"""What kernels are chosen for where the configuration prefers no batch size."""

DYNAMIC_SIZES: Final[Mapping[str, ShapeRange]] = {
    # Height, width, channels. The longer side is 1280 pixels at most, 640 by default; the shorter
    # one is padded to the next multiple of 32 and no further, so 16:9 frames are 384 high.
    "images": ShapeRange(min=(32, 32, 3), opt=(384, 640, 3), max=(1280, 1280, 3)),
    # A fused graph: one frame and the boxes in it.
    "image": ShapeRange(min=(64, 64, 3), opt=(1080, 1920, 3), max=(2160, 3840, 3)),
    "boxes": ShapeRange(min=(1, 4), opt=(8, 4), max=(64, 4)),
}
"""By name of an input: its dimensions without the batch."""


class ProfileError(ValueError):
    """Sizes that do not fit the configuration, or are missing."""


def profiles(
    config: pb.ModelConfig,
    sizes: Mapping[str, ShapeRange] = DYNAMIC_SIZES,
    opt_batch_size: int | None = None,
) -> dict[str, ShapeRange]:
    """The shapes of each input, from Triton's configuration of the model.

    The batch goes from 1 to `max_batch_size`, which is what Triton demands of an engine.

    Args:
        config: of the model that the engine is for.
        sizes: of inputs whose dimensions the configuration leaves open (-1).
        opt_batch_size: what kernels are chosen for; the first preferred batch size, or
            `OPT_BATCH_SIZE`, if not given.

    Raises:
        ProfileError: an open dimension has no size, a size does not fit the configuration, or
            the batch size is beyond `max_batch_size`.
    """
    largest = config.max_batch_size
    if opt_batch_size is None:
        preferred = config.dynamic_batching.preferred_batch_size
        opt_batch_size = min([*preferred[:1], largest] if preferred else [OPT_BATCH_SIZE, largest])
    elif not 1 <= opt_batch_size <= max(largest, 1):
        raise ProfileError(
            f"batches of {opt_batch_size} are asked for; {config.name} takes 1 to {largest}"
        )
    found = {}
    for tensor in config.input:
        shapes = _sizes(config.name, tensor, sizes)
        found[tensor.name] = shapes
        if largest > 0:
            found[tensor.name] = ShapeRange(
                min=(1, *shapes.min),
                opt=(opt_batch_size, *shapes.opt),
                max=(largest, *shapes.max),
            )
    return found


def _sizes(model: str, tensor: pb.ModelInput, sizes: Mapping[str, ShapeRange]) -> ShapeRange:
    """The dimensions of an input without the batch."""
    stated = tuple(tensor.dims)
    if -1 not in stated:
        return ShapeRange(min=stated, opt=stated, max=stated)
    if tensor.name not in sizes:
        raise ProfileError(f"{model}: the sizes of its input {tensor.name} {stated} are not known")
    chosen = sizes[tensor.name]
    for shape in (chosen.min, chosen.opt, chosen.max):
        fits = len(shape) == len(stated) and all(
            wanted in {-1, size} for wanted, size in zip(stated, shape, strict=True)
        )
        if not fits:
            raise ProfileError(f"{model}: {shape} does not fit its input {tensor.name} {stated}")
    rows = zip(chosen.min, chosen.opt, chosen.max, strict=True)
    if not all(low <= middle <= high for low, middle, high in rows):
        raise ProfileError(f"{model}: the sizes of {tensor.name} are not in order: {chosen}")
    return chosen
