from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import onnx
import pytest
import typer
from typer.testing import CliRunner

from farpose_export.doctor.command import doctor
from farpose_export.doctor.engines import EngineHost, engine_findings, tensorrt_versions
from farpose_export.doctor.findings import Finding
from farpose_export.doctor.machine import Processor, this_processor
from farpose_export.doctor.models import examine
from farpose_export.doctor.packages import (
    installed_versions,
    package_findings,
    pinned_versions,
    provider_findings,
)
from farpose_export.tensorrt.manifest import EngineManifest, Gpu, ShapeRange

L4 = Gpu(name="NVIDIA L4", compute_capability="8.9", driver="550.54.15", cuda="12.4")
RTX = L4.model_copy(update={"name": "NVIDIA GeForce RTX 4090"})
A100 = Gpu(name="NVIDIA A100", compute_capability="8.0", driver="550.54.15", cuda="12.4")
OLD_DRIVER = L4.model_copy(update={"driver": "535.183.01"})

HERE = EngineHost([L4], {"libnvinfer": "10.13.0"}, "25.06")
FAST = Processor("Xeon", 4, ("AVX2", "AVX512-VNNI"), 2**30)
PLAIN = Processor("Old", 4, ("AVX2",), 2**30)

OWNERS = {
    "cv2": ["opencv-python-headless"],
    "onnxruntime": ["onnxruntime"],
    "tritonclient": ["tritonclient"],
}

PLAN = b"an engine"


def manifest(**changes: Any) -> EngineManifest:
    content: dict[str, Any] = {
        "gpu": L4,
        "tensorrt": "10.13.0.35",
        "triton": "25.06",
        "precision": "fp16",
        "tf32": False,
        "onnx_sha256": "0" * 64,
        "plan_sha256": hashlib.sha256(PLAN).hexdigest(),
        "profiles": {"crops": ShapeRange(min=(1,), opt=(8,), max=(64,))},
        "build_seconds": 93.4,
    }
    return EngineManifest(**(content | changes))


def written(folder: Path, **changes: Any) -> Path:
    """A version's folder with an engine."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.plan").write_bytes(PLAN)
    (folder / "engine.json").write_text(manifest(**changes).to_json())
    return folder


def told(findings: list[Finding]) -> list[str]:
    return [f"{f.severity}: {f.subject} {f.text}" for f in findings]


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """Two of the bundled models, to be broken."""
    target = tmp_path / "models"
    for name in ("lowres_pose", "person_detector"):
        shutil.copytree(
            repository / name,
            target / name,
            ignore=shutil.ignore_patterns("*.safetensors", "*.md", "*.png"),
        )
    return target


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_bundled_models_are_well(copy: Path):
    code, out = run("--repository", copy)
    assert code == 0, out
    assert out.endswith("no problems\n")
    assert "lowres_pose/2: onnxruntime" in out
    assert f"packages    farpose {installed_versions()['farpose']}" in out
    assert "CPUExecutionProvider" in out


def test_the_bundled_repository_is_well(repository: Path):
    code, out = run("--repository", repository)
    assert code == 0, out
    assert out.endswith("no problems\n")
    assert "note: pose_pipeline/1 is of Triton's python backend and not tried here" in out


def test_json_has_what_the_text_has_and_problems_end_with_1(
    copy: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (copy / "lowres_pose/2/model.onnx").write_bytes(b"half a fi")
    (copy / "lowres_pose/2/parity.json").unlink()  # it would tell, too
    code, out = run("--repository", copy, "--json")
    content = json.loads(out)
    assert code == 1
    assert content["problems"] == 1
    (finding,) = (f for f in content["findings"] if f["severity"] == "problem")
    assert finding["subject"] == "lowres_pose/2"
    assert [model["name"] for model in content["models"]] == ["lowres_pose", "person_detector"]
    assert content["processor"]["cores"] >= 1
    assert content["versions"]["onnxruntime"]
    assert content["gpus"] == []
    code, out = run("--repository", copy)
    assert code == 1
    assert "problem: lowres_pose/2 does not load: " in out
    assert out.endswith("\n1 problem\n")


def test_a_gpu_is_told_and_engines_are_compared_with_it(nvidia_smi: Path, tmp_path: Path):
    folder = tmp_path / "lowres_pose"
    written(folder / "2", gpu=A100)
    (folder / "config.pbtxt").write_text('backend: "tensorrt"\n')
    code, out = run("--repository", tmp_path)
    assert code == 1
    assert "NVIDIA L4 (compute capability 8.9, driver 550.54.15, CUDA up to 12.4)" in out
    assert "lowres_pose/2: tensorrt, fp16, sha256" in out
    assert "problem: lowres_pose/2 is for NVIDIA A100 (compute capability 8.0) and will not" in out


def test_a_driver_that_fails_is_told(nvidia_smi: Path, copy: Path):
    nvidia_smi.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    code, out = run("--repository", copy)
    assert code == 0
    assert "warning: gpu nvidia-smi fails (no devices were found)" in out


def test_it_runs_without_what_serving_installs(copy: Path):
    script = dedent(
        """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"onnxruntime", "tritonclient", "google", "onnx", "torch"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import typer
        from farpose_export.doctor.command import doctor
        typer.run(doctor)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--repository", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "was not looked at: packages are missing" in done.stdout


@pytest.mark.parametrize(
    ("changes", "host", "expected"),
    [
        ({}, HERE, []),
        # The GPU.
        ({}, EngineHost([], {}, "25.06"), [r"problem: .*NVIDIA L4 .*8\.9\) and there is no"]),
        ({"gpu": A100}, HERE, [r"problem: .*A100.*will not load on NVIDIA L4 \(8\.9\).*again"]),
        ({"gpu": RTX}, HERE, ["warning: .*built on NVIDIA GeForce RTX 4090; NVIDIA L4 has its"]),
        ({}, EngineHost([L4, A100], HERE.tensorrt, None), ["warning: .*some GPUs.*instance_group"]),
        ({}, EngineHost([OLD_DRIVER], HERE.tensorrt, None),
         [r"warning: .*driver 550\.54\.15, here is the older 535\.183\.01.*update the driver"]),
        ({"gpu": OLD_DRIVER}, HERE, []),  # a newer driver is fine
        # The version of TensorRT.
        ({"tensorrt": "10.13.0.99"}, HERE, []),  # another build of the same patch
        ({"tensorrt": "10.13.2.6"}, HERE, [r"problem: .*not load with 10\.13\.0 \(libnvinfer\)"]),
        ({"tensorrt": "11.4.0.1"}, HERE, [r"problem: .*Triton's container 25\.06"]),
        ({"tensorrt": "11.4.0.1", "triton": None}, HERE, ["problem: .*Triton container that has"]),
        ({"tensorrt": "11.4.0.1"}, EngineHost([L4], {"a": "10.13.0", "b": "11.4.0.1"}, None), []),
        # No version here: containers are compared.
        ({}, EngineHost([L4], {}, "25.06"), []),
        ({}, EngineHost([L4], {}, "25.09"), [r"warning: .*container 25\.06, this is 25\.09"]),
        ({}, EngineHost([L4], {}, None), [r"note: .*wants TensorRT 10\.13\.0\.35.*the container"]),
        # The file.
        ({"plan_sha256": "1" * 64}, HERE, [r"problem: .*model\.plan is not the file"]),
    ],
)  # fmt: skip
def test_an_engine_here(
    changes: dict[str, Any], host: EngineHost, expected: list[str], tmp_path: Path
):
    findings = told(list(engine_findings("pose/1", written(tmp_path / "1", **changes), host)))
    assert len(findings) == len(expected), findings
    for found, pattern in zip(findings, expected, strict=True):
        assert re.match(pattern, found), found


def test_an_engine_without_its_files(tmp_path: Path):
    folder = written(tmp_path / "1")
    (folder / "engine.json").write_text("{}")
    (finding,) = told(list(engine_findings("pose/1", folder, HERE)))
    assert finding.startswith("warning: pose/1 nothing is known of its engine: ")
    (folder / "model.plan").unlink()
    (finding,) = told(list(engine_findings("pose/1", folder, HERE)))
    assert finding.startswith("problem: pose/1 has no model.plan: build the engine again")


def test_tensorrt_is_found_by_its_library(tmp_path: Path):
    for name in ("libnvinfer.so.10", "libnvinfer.so.10.13.0", "libnvinfer_plugin.so.10.13.0"):
        (tmp_path / name).touch()
    expected = {str(tmp_path / "libnvinfer.so.10.13.0"): "10.13.0"}
    assert expected.items() <= tensorrt_versions({}, [str(tmp_path)]).items()
    found = tensorrt_versions({"LD_LIBRARY_PATH": f"/no/such:{tmp_path}:"}, [])
    assert expected.items() <= found.items()
    assert not any("nvinfer" in where for where in tensorrt_versions({}, []))


def test_a_recorded_checksum_is_compared(copy: Path):
    version = copy / "lowres_pose/2"
    (version / "parity.json").write_text(json.dumps({"model_sha256": "ab" * 32}))
    models, findings = examine(copy, HERE, FAST)
    (found,) = told(findings)
    assert found.startswith("problem: lowres_pose/2 model.onnx is not the file")
    assert models[0].recorded
    (version / "parity.json").write_text(json.dumps({"model_sha256": models[0].sha256}))
    assert examine(copy, HERE, FAST)[1] == []
    (version / "parity.json").write_text("half a fi")
    (found,) = told(examine(copy, HERE, FAST)[1])
    assert found.startswith("warning: lowres_pose/2 its parity.json cannot be read")
    (version / "parity.json").unlink()
    models, findings = examine(copy, HERE, FAST)
    assert (models[0].recorded, findings) == (False, [])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("backend", "beckend"), "not a Triton model configuration"),
        (('"lowres_pose"', '"pose"'), "calls the model 'pose'"),
        (('backend: "onnxruntime"', ""), "names no backend"),
        (("dims: 17", "dims: 14"), r"the output \w+ is TYPE_FP32 \[14"),
        (("TYPE_UINT8", "TYPE_FP32"), r"the input crops is TYPE_FP32 .* it is uint8"),
        (('"crops"', '"pixels"'), r"has the input 'pixels', the model has \['crops'\]"),
        (('"variances"', '"spread"'), "has the output 'spread'"),
        (("max_batch_size: 64", "max_batch_size: 0"), "the input crops is"),
    ],
)
def test_a_configuration_that_does_not_fit(copy: Path, change: tuple[str, str], expected: str):
    path = copy / "lowres_pose/config.pbtxt"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    findings = told(examine(copy, HERE, FAST)[1])
    assert findings
    assert all(found.startswith("problem: lowres_pose") for found in findings)
    assert re.search(expected, findings[0])


def test_folders_that_hold_no_model(copy: Path, tmp_path: Path):
    (copy / "notes").mkdir()
    (copy / ".hidden").mkdir()
    shutil.rmtree(copy / "lowres_pose/2")
    (copy / "person_detector/1/model.onnx").unlink()
    findings = told(examine(copy, HERE, FAST)[1])
    assert [re.sub(r"/\S*/models/", "", found) for found in findings] == [
        "problem: lowres_pose has no version folder such as 1/",
        "warning: notes has no config.pbtxt and is not served",
        "problem: person_detector/1 does not load: person_detector/1/model.onnx: no such file",
    ]
    (empty,) = told(examine(copy / "notes", HERE, FAST)[1])
    assert empty.endswith("holds no model folder with a config.pbtxt")
    (absent,) = told(examine(tmp_path / "nowhere", HERE, FAST)[1])
    assert absent.endswith("is no folder: give a model repository")


def test_the_newest_version_is_the_one_that_is_tried(copy: Path):
    shutil.copytree(copy / "lowres_pose/2", copy / "lowres_pose/10")
    (copy / "lowres_pose/2/model.onnx").write_bytes(b"broken, and not served")
    models, findings = examine(copy, HERE, FAST)
    assert (models[0].version, findings) == ("10", [])


def test_int8_without_instructions_for_it_is_told(copy: Path):
    path = copy / "lowres_pose/2/model.onnx"
    path.with_name("parity.json").unlink()
    graph = onnx.load(str(path))
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {"precision": "int8"})
    onnx.save(graph, str(path))
    assert examine(copy, HERE, FAST)[1] == []
    (found,) = told(examine(copy, HERE, PLAIN)[1])
    assert found.startswith("warning: lowres_pose/2 is int8, and this processor has no")


def test_models_of_other_backends_are_named_and_not_tried(tmp_path: Path):
    (tmp_path / "pose_pipeline/1").mkdir(parents=True)
    (tmp_path / "pose_pipeline/config.pbtxt").write_text('backend: "python"\n')
    (found,) = told(examine(tmp_path, HERE, FAST)[1])
    assert found == "note: pose_pipeline/1 is of Triton's python backend and not tried here"


@pytest.mark.parametrize(
    ("owners", "pins", "expected"),
    [
        ({}, {}, []),
        ({"cv2": ["opencv-python", "opencv-python-headless"]}, {},
         ["problem: cv2 opencv-python and opencv-python-headless install it over each other"]),
        ({"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]}, {},
         ["problem: onnxruntime onnxruntime and onnxruntime-gpu .*without onnxruntime-gpu"]),
        ({"onnxruntime": ["onnxruntime", "onnxruntime"]}, {}, []),  # one, listed twice
        ({"cv2": []}, {}, ["problem: cv2 is not installed"]),
        ({"onnxruntime": []}, {}, [r"problem: onnxruntime is not .*'\.\[serve\]'"]),
        ({}, {"opencv-python-headless": "4.9.0"},
         [r"warning: opencv-python-headless is 5\S+; Farpose is measured with 4\.9\.0"]),
    ],
)  # fmt: skip
def test_packages(owners: Mapping[str, list[str]], pins: dict[str, str], expected: list[str]):
    findings = told(list(package_findings({**OWNERS, **owners}, pins)))
    assert len(findings) == len(expected), findings
    assert all(re.match(e, f) for e, f in zip(expected, findings, strict=True)), findings


def test_a_missing_triton_client_is_told():
    owners = {name: OWNERS[name] for name in ("cv2", "onnxruntime")}
    (found,) = told(list(package_findings(owners, {})))
    assert found == (
        "problem: tritonclient is not installed: in a clone of Farpose, pip install '.[serve]'"
    )


def test_farposes_own_pins_hold_here():
    pins = pinned_versions()
    assert pins.keys() >= {"opencv-python-headless", "onnxruntime"}
    assert list(package_findings()) == []


@pytest.mark.parametrize(
    ("providers", "gpu", "versions", "expected"),
    [
        (["CPUExecutionProvider"], False, {"onnxruntime": "1"}, None),
        (["CPUExecutionProvider"], True, {"onnxruntime": "1"}, r"note: .*serve-gpu"),
        (["CPUExecutionProvider"], True, {"onnxruntime-gpu": "1"}, "problem: .*has no CUDA"),
        (["CUDAExecutionProvider"], True, {"onnxruntime-gpu": "1"}, None),
        (["CUDAExecutionProvider"], False, {"onnxruntime-gpu": "1"}, "warning: .*no GPU here"),
    ],
)
def test_onnx_runtime_and_the_gpu(
    providers: list[str], gpu: bool, versions: dict[str, str], expected: str | None
):
    findings = told(list(provider_findings(providers, gpu, versions)))
    assert len(findings) == (expected is not None)
    assert all(re.match(str(expected), found) for found in findings)


@pytest.mark.parametrize(
    ("flags", "features", "int8"),
    [
        ("flags\t\t: fpu sse avx2", ("AVX2",), False),
        ("flags\t\t: avx2 avx512f avx512_vnni", ("AVX2", "AVX-512", "AVX512-VNNI"), True),
        ("flags\t\t: avx2 amx_bf16 amx_int8", ("AVX2", "AMX-INT8", "AMX-BF16"), True),
        ("Features\t: fp asimd asimddp i8mm", ("DOTPROD", "I8MM"), True),  # ARM
        ("", (), False),
    ],
)
def test_the_processors_instructions(
    flags: str, features: tuple[str, ...], int8: bool, tmp_path: Path
):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    (tmp_path / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree: 1 kB\n")
    found = this_processor(tmp_path, tmp_path)
    assert (found.features, found.has_int8, found.memory_bytes) == (features, int8, 8 * 2**30)


@pytest.mark.parametrize(("limit", "expected"), [("max", 8.0), (str(2 * 2**30), 2.0)])
def test_a_containers_memory_limit_counts(limit: str, expected: float, tmp_path: Path):
    (tmp_path / "meminfo").write_text("MemTotal:        8388608 kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    found = this_processor(tmp_path, tmp_path)
    assert found.memory_bytes == expected * 2**30
    assert f"{expected} GiB memory" in found.text()


def test_a_machine_that_is_not_linux_is_described_too(tmp_path: Path):
    found = this_processor(tmp_path, tmp_path)
    assert (found.features, found.memory_bytes) == ((), None)
    assert "no vector instructions known" in found.text()
