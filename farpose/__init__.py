"""What a pose is: keypoint sets, crops, SimCC codec, results, and the pipeline over an engine.

Nothing in this package imports torch, fastapi, or a stage of the project. The names below are there
for scripts and notebooks; each is imported when it is first asked for, so that `import farpose`
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farpose.engine import EngineError
    from farpose.geometry import BoxError
    from farpose.images import ImageError
    from farpose.keypoints import KeypointSet
    from farpose.options import OptionsError, PoseOptions
    from farpose.people import People
    from farpose.pose import Pose
    from farpose.repository import RepositoryError
    from farpose.result import PoseResult
    from farpose.sources import SourceError

__all__ = [
    "BoxError",
    "EngineError",
    "ImageError",
    "KeypointSet",
    "OptionsError",
    "People",
    "Pose",
    "PoseOptions",
    "PoseResult",
    "RepositoryError",
    "SourceError",
]

_MODULES = {
    "BoxError": "geometry",
    "EngineError": "engine",
    "ImageError": "images",
    "KeypointSet": "keypoints",
    "OptionsError": "options",
    "People": "people",
    "Pose": "pose",
    "PoseOptions": "options",
    "PoseResult": "result",
    "RepositoryError": "repository",
    "SourceError": "sources",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
