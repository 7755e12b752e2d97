"""From an ONNX file to the bytes of an engine, through TensorRT's builder.

Networks are strongly typed: every tensor has the type that the ONNX graph gives it. FP16 is an FP16
graph, INT8 a graph with symmetric Q/DQ nodes.

No engine has been built on a GPU with this module yet. Its tests run it against a stand-in of the
`tensorrt` package that has no names but those of the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from farpose_export.tensorrt.library import TensorRTError, error_log
from farpose_export.tensorrt.manifest import ShapeRange


class GraphRefusedError(TensorRTError):
    """TensorRT's parser does not take the graph; the message names the nodes."""


class EngineBuildError(TensorRTError):
    """The builder refuses or fails."""


@dataclass(frozen=True)
class BuilderSettings:
    """What the builder may do."""

    tf32: bool = False
    """Whether products of FP32 may be rounded to TF32: faster, and no longer what the ONNX graph
    was measured as."""

    workspace_bytes: int | None = None
    """Device memory that kernels may take while they run; all of it if not given."""


@dataclass(frozen=True)
class BuiltPlan:
    """What the builder made."""

    plan: bytes
    timing_cache: bytes
    """Timings of kernels, for the next build on the same GPU and version."""


def build_plan(
    trt: ModuleType,
    onnx_path: Path,
    ranges: Mapping[str, ShapeRange],
    settings: BuilderSettings,
    timing_cache: bytes = b"",
) -> BuiltPlan:
    """Build an engine for the GPU of this process.

    Args:
        trt: the package, of `load_tensorrt`.
        onnx_path: the graph.
        ranges: shapes of all its inputs, by name.
        settings: what the builder may do.
        timing_cache: of an earlier build; one of another GPU or version is not used.

    Raises:
        GraphRefusedError: the parser does not take the graph.
        EngineBuildError: the inputs are others, or the builder fails.
    """
    log = error_log(trt)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what the bindings raise where the library gives no builder
        raise EngineBuildError(
            f"TensorRT does not start{_said(log)}: it needs an NVIDIA GPU and its driver"
        ) from error
    # Version 11 has no other kind of network and ignores the flag.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    # The parser holds the weights: it must live until the engine is built. So must the cache.
    parser = trt.OnnxParser(network, log)
    _parse(parser, log, onnx_path)
    config = builder.create_builder_config()
    if settings.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    _add_profile(builder, config, network, ranges)
    cache = _set_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineBuildError(f"{onnx_path}: TensorRT builds no engine{_said(log)}")
    return BuiltPlan(bytes(plan), bytes(cache.serialize()))


def _parse(parser: Any, log: Any, onnx_path: Path) -> None:
    if parser.parse_from_file(str(onnx_path)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    listed = "; ".join(_parser_error(error) for error in errors) or f"no reason given{_said(log)}"
    raise GraphRefusedError(f"{onnx_path}: TensorRT does not take the graph: {listed}")


def _parser_error(error: Any) -> str:
    """The node, its operator, and what is wrong with it."""
    node = " ".join(filter(None, (error.node_operator(), repr(error.node_name() or error.node()))))
    return f"{node}: {error.desc()}"


def _add_profile(builder: Any, config: Any, network: Any, ranges: Mapping[str, ShapeRange]) -> None:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    names = {tensor.name for tensor in inputs}
    if names != ranges.keys():
        raise EngineBuildError(
            f"the graph has the inputs {sorted(names)}, its configuration {sorted(ranges)}"
        )
    profile = builder.create_optimization_profile()
    for name, shapes in ranges.items():
        try:
            profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
        except ValueError as error:
            raise EngineBuildError(f"{name}: shapes {shapes} are refused: {error}") from error
    if config.add_optimization_profile(profile) < 0:
        raise EngineBuildError(f"the shapes {dict(ranges)} do not fit the graph's inputs")


def _set_timing_cache(config: Any, content: bytes) -> Any:
    """Take timings over; where the library does not accept them, begin anew."""
    for candidate in (content, b""):
        cache = config.create_timing_cache(candidate)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    raise EngineBuildError("TensorRT takes no timing cache, not even an empty one")


def _said(log: Any) -> str:
    """What TensorRT logged as errors."""
    return f" ({'; '.join(log.errors)})" if log.errors else ""
