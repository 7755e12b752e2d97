from __future__ import annotations

import re
from pathlib import Path

import pytest

from farpose_export.tensorrt.gpu import GpuError, find_gpus, the_gpu

L4 = "GPU-1a2b, NVIDIA L4, 8.9, 550.54.15"
OTHER_L4 = "GPU-3c4d, NVIDIA L4, 8.9, 550.54.15"
A100 = "GPU-5e6f, NVIDIA A100-SXM4-80GB, 8.0, 550.54.15"


def test_a_gpu_is_read_from_the_drivers_own_tool(nvidia_smi: Path):
    gpu = the_gpu()
    assert (gpu.name, gpu.compute_capability) == ("NVIDIA L4", "8.9")
    assert (gpu.driver, gpu.cuda) == ("550.54.15", "12.4")


def test_newer_drivers_name_their_cuda_version_otherwise(nvidia_smi: Path):
    text = nvidia_smi.read_text().replace("CUDA Version", "CUDA UMD Version")
    nvidia_smi.write_text(text)
    assert the_gpu().cuda == "12.4"
    nvidia_smi.write_text(text.replace("CUDA UMD Version", "no such line"))
    assert the_gpu().cuda is None


def test_without_a_driver_there_is_no_gpu(tmp_path: Path):
    assert find_gpus({"PATH": str(tmp_path)}) == []
    with pytest.raises(GpuError, match="no NVIDIA GPU here"):
        the_gpu({"PATH": str(tmp_path)})


def test_a_driver_that_is_not_loaded_is_said(nvidia_smi: Path):
    nvidia_smi.write_text("#!/bin/sh\necho 'could not communicate with the driver'\nexit 9\n")
    with pytest.raises(GpuError, match=re.escape("(could not communicate with the driver)")):
        find_gpus()


@pytest.mark.parametrize(
    ("gpus", "visible", "order", "expected"),
    [
        ([L4, OTHER_L4], None, None, "NVIDIA L4"),  # of one kind: either
        ([L4, OTHER_L4], "1", None, "NVIDIA L4"),  # among equals a number is clear
        ([L4, A100], "GPU-5e6f", None, "NVIDIA A100-SXM4-80GB"),
        ([L4, A100], "GPU-5", None, "NVIDIA A100-SXM4-80GB"),  # CUDA takes the beginning of one
        ([L4, A100], "1", "PCI_BUS_ID", "NVIDIA A100-SXM4-80GB"),  # nvidia-smi's own order
        ([L4, A100], None, None, "different GPUs here.*GPU-1a2b.*CUDA_VISIBLE_DEVICES=UUID"),
        ([L4, A100], "1", None, "different GPUs here"),  # CUDA's order may be another
        ([L4], "", None, "no NVIDIA GPU here"),  # all hidden
        ([L4], "3", None, "names a GPU that nvidia-smi does not"),
    ],
)
def test_the_gpu_that_an_engine_is_for(
    gpus: list[str],
    visible: str | None,
    order: str | None,
    expected: str,
    nvidia_smi: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SMI_GPUS", "\n".join(gpus))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if order is not None:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    if expected.startswith("NVIDIA"):
        assert the_gpu().name == expected
    else:
        with pytest.raises(GpuError, match=expected):
            the_gpu()
