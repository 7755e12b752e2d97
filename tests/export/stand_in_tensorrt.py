"""A stand-in of the `tensorrt` package, as TensorRT itself runs on GPUs alone.

It has only names that the Python bindings of 10.13.0 and 11.4.0 have, with their parameters, and
what differs between the two, differs. `test_tensorrt_engine.py` compares it with the real package
wherever that can be imported.
"""

from __future__ import annotations

import enum
from types import ModuleType
from typing import ClassVar

import onnx

VERSIONS = ("10.13.0.35", "11.4.0.106")

FLAGS_OF_10 = ("FP16", "INT8")
"""Of the flags that 11 has no longer, those that matter here."""


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        raise NotImplementedError


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class ParserError:
    def __init__(self, node: onnx.NodeProto) -> None:
        self._node = node

    def node_name(self) -> str:
        return self._node.name

    def node_operator(self) -> str:
        return self._node.op_type

    def node(self) -> int:
        return 7

    def desc(self) -> str:
        return f"No importer registered for op: {self._node.op_type}"


class ITensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.shape = tuple(
            d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim
        )


class INetworkDefinition:
    def __init__(self) -> None:
        self._inputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]


class OnnxParser:
    """Reads the inputs of a real ONNX file; takes all operators but `Unique`."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    def parse_from_file(self, model: str) -> bool:
        graph = onnx.load(model).graph
        self._network._inputs = [ITensor(value) for value in graph.input]
        self._errors = [ParserError(node) for node in graph.node if node.op_type == "Unique"]
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(
        self,
        input: str,  # noqa: A002 - the real name
        min: tuple[int, ...],  # noqa: A002
        opt: tuple[int, ...],
        max: tuple[int, ...],  # noqa: A002
    ) -> None:
        if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("not in order")
        self._shapes[input] = (min, opt, max)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> memoryview:
        return memoryview(self._content)


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {"TF32"}  # as the real one begins
        self._profiles: list[IOptimizationProfile] = []
        self._pools: dict[MemoryPoolType, int] = {}
        self._cache: ITimingCache | None = None

    def set_flag(self, flag: enum.Enum) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Takes what an earlier build on this GPU left."""
        if cache._content not in {b"", b"timings of this GPU"}:
            return ignore_mismatch
        self._cache = cache
        return True


class Builder:
    """Keeps what it was asked for in `asked`; every engine is the same few bytes."""

    asked: ClassVar[list[tuple[int, IBuilderConfig]]] = []
    says: ClassVar[str] = ""
    """What it logs instead of building."""

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self._flags = 0
        if Builder.says.startswith("CUDA"):
            logger.log(ILogger.Severity.ERROR, Builder.says)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        self._flags = flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> memoryview | None:
        Builder.asked.append((self._flags, config))
        if Builder.says:
            self._logger.log(ILogger.Severity.WARNING, "slow")
            self._logger.log(ILogger.Severity.ERROR, Builder.says)
            return None
        (profile,) = config._profiles
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            low, _, high = profile._shapes[tensor.name]
            for stated, smallest, largest in zip(tensor.shape, low, high, strict=True):
                assert stated == -1 or smallest == largest == stated
        assert config._cache is not None
        config._cache._content = b"timings of this GPU"
        return memoryview(b"an engine")


def stand_in(version: str) -> ModuleType:
    """The package of one version."""
    trt = ModuleType("tensorrt")
    old = version.startswith("10.")
    classes = (
        ILogger,
        MemoryPoolType,
        ParserError,
        ITensor,
        INetworkDefinition,
        OnnxParser,
        IOptimizationProfile,
        ITimingCache,
        IBuilderConfig,
        Builder,
    )
    names = {c.__name__: c for c in classes}
    creation = ("EXPLICIT_BATCH", "STRONGLY_TYPED") if old else ("STRONGLY_TYPED",)
    trt.__dict__.update(
        names,
        __version__=version,
        BuilderFlag=enum.IntEnum("BuilderFlag", [*(FLAGS_OF_10 if old else ()), "TF32"]),
        NetworkDefinitionCreationFlag=enum.IntEnum(
            "NetworkDefinitionCreationFlag", list(creation), start=0
        ),
    )
    Builder.asked.clear()
    Builder.says = ""
    return trt
