from __future__ import annotations

import subprocess
import sys
from typing import get_type_hints

import pytest

import farpose
from farpose.options import PoseOptions
from farpose.pose import PoseKeywords

PUBLIC = [
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


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_public_names_are_these():
    assert farpose.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(farpose, name).__name__ == name
        assert name in dir(farpose)
    with pytest.raises(AttributeError, match="Poses"):
        _ = farpose.Poses


def test_import_farpose_imports_nothing_heavy_and_pose_no_engine():
    done = run(
        "import sys, farpose\n"
        "print([m for m in ('numpy', 'cv2', 'PIL', 'pydantic') if m in sys.modules])\n"
        "from farpose import Pose\n"
        "print([m for m in ('onnxruntime', 'supervision', 'torch') if m in sys.modules])"
    )
    assert done.stdout == "[]\n[]\n", done.stderr


def test_without_onnxruntime_the_error_says_what_to_install():
    done = run("import sys; sys.modules['onnxruntime'] = None\nimport farpose; farpose.Pose()")
    assert done.returncode == 1
    assert "ImportError: Pose runs its models with ONNX Runtime" in done.stderr
    assert "pip install '.[serve]'" in done.stderr


def test_calls_take_the_options_of_the_pipeline():
    """All but `variances`, which is about the text of an answer: results always have them."""
    assert list(get_type_hints(PoseKeywords)) == [
        name for name in PoseOptions.model_fields if name != "variances"
    ]
