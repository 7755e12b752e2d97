"""What a training run can be told: typed settings that a YAML file fills.

Each module holds one subject; every field says what it does, and a wrong key is refused.
"""

from farpose_training.config.base import Config, ConfigError, parse, read_yaml
from farpose_training.config.data import (
    AugmentationConfig,
    DegradationConfig,
    ProceduralSource,
    Source,
    SourceConfig,
    annotated,
)
from farpose_training.config.distillation import (
    BankConfig,
    ConvDownsampleConfig,
    DistillationConfig,
    EasyToHardConfig,
    FixedTemperatureConfig,
    FullyConnectedFeatureConfig,
    LogitConfig,
    SapeConfig,
)
from farpose_training.config.model import (
    CalConfig,
    HeatmapConfig,
    ModelConfig,
    OnnxBackbone,
    RegressionConfig,
    ResNetBackbone,
    SimCCConfig,
    TimmBackbone,
)
from farpose_training.config.train import (
    OptimizerConfig,
    RuntimeConfig,
    TrainConfig,
    parse_train_config,
)

__all__ = [
    "AugmentationConfig",
    "BankConfig",
    "CalConfig",
    "Config",
    "ConfigError",
    "ConvDownsampleConfig",
    "DegradationConfig",
    "DistillationConfig",
    "EasyToHardConfig",
    "FixedTemperatureConfig",
    "FullyConnectedFeatureConfig",
    "HeatmapConfig",
    "LogitConfig",
    "ModelConfig",
    "OnnxBackbone",
    "OptimizerConfig",
    "ProceduralSource",
    "RegressionConfig",
    "ResNetBackbone",
    "RuntimeConfig",
    "SapeConfig",
    "SimCCConfig",
    "Source",
    "SourceConfig",
    "TimmBackbone",
    "TrainConfig",
    "annotated",
    "parse",
    "parse_train_config",
    "read_yaml",
]
