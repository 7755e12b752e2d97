from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest
import stand_in_tensorrt as names
from stand_in_tensorrt import VERSIONS, Builder, stand_in
from tritonclient.grpc import model_config_pb2 as pb

from farpose.engines.model_config import label_file
from farpose.engines.repository import read_config
from farpose.keypoints import COCO17
from farpose_export.model_config import fused_config, pose_config
from farpose_export.repository import Publication, RepositoryWriteError, write_version
from farpose_export.tensorrt.command import export_engine
from farpose_export.tensorrt.engine import EngineSettings, build_engine
from farpose_export.tensorrt.gpu import GpuError
from farpose_export.tensorrt.library import MissingTensorRTError, load_tensorrt
from farpose_export.tensorrt.manifest import EngineManifest, ManifestError, ShapeRange
from farpose_export.tensorrt.network import BuilderSettings, EngineBuildError, GraphRefusedError
from farpose_export.tensorrt.profiles import DYNAMIC_SIZES, ProfileError, profiles
from farpose_export.tensorrt.publishing import publish_engine

POSE = pose_config("lowres_pose", 64, 17)


@pytest.fixture(params=VERSIONS)
def trt(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, nvidia_smi: Path
) -> ModuleType:
    """Both versions, on a machine with a GPU."""
    module = stand_in(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture(scope="session")
def pose_graph(repository: Path) -> Path:
    return repository / "lowres_pose/2/model.onnx"


def shapes(*sizes: tuple[int, ...]) -> ShapeRange:
    return ShapeRange(min=sizes[0], opt=sizes[1], max=sizes[2])


def test_an_engine_comes_with_its_manifest(trt: ModuleType, pose_graph: Path, tmp_path: Path):
    target = tmp_path / "new/1"
    manifest = build_engine(pose_graph, target, POSE)
    assert (target / "model.plan").read_bytes() == b"an engine"
    assert EngineManifest.load(target / "engine.json") == manifest
    assert [path.name for path in target.parent.iterdir()] == ["1"]
    assert manifest.gpu.name == "NVIDIA L4"
    assert manifest.gpu.compute_capability == "8.9"
    assert manifest.gpu.driver == "550.54.15"
    assert manifest.gpu.cuda == "12.4"
    assert manifest.tensorrt == trt.__version__
    assert manifest.triton is None
    assert manifest.precision == "fp32"
    assert manifest.onnx_sha256 == hashlib.sha256(pose_graph.read_bytes()).hexdigest()
    assert manifest.plan_sha256 == hashlib.sha256(b"an engine").hexdigest()
    assert manifest.profiles == {
        "crops": shapes((1, 64, 64, 3), (8, 64, 64, 3), (64, 64, 64, 3)),
    }


def test_networks_are_strongly_typed_and_fp32_is_not_rounded(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    build_engine(pose_graph, tmp_path / "1", POSE)
    loose = EngineSettings(BuilderSettings(tf32=True, workspace_bytes=2**30))
    assert build_engine(pose_graph, tmp_path / "2", POSE, loose).tf32
    (flags, strict), (_, rounded) = Builder.asked
    assert flags == 1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert strict._flags == set()
    assert rounded._flags == {"TF32"}
    assert rounded._pools == {trt.MemoryPoolType.WORKSPACE: 2**30}


def test_the_container_is_recorded(
    trt: ModuleType, pose_graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NVIDIA_TRITON_SERVER_VERSION", "25.06")
    assert build_engine(pose_graph, tmp_path / "1", POSE).triton == "25.06"


@pytest.mark.parametrize("before", [None, b"timings of this GPU", b"timings of another GPU"])
def test_timings_are_kept_and_those_of_another_gpu_are_not_used(
    trt: ModuleType, pose_graph: Path, tmp_path: Path, before: bytes | None
):
    cache = tmp_path / "caches/timings"
    if before is not None:
        cache.parent.mkdir()
        cache.write_bytes(before)
    build_engine(pose_graph, tmp_path / "1", POSE, EngineSettings(timing_cache=cache))
    assert cache.read_bytes() == b"timings of this GPU"
    assert [path.name for path in cache.parent.iterdir()] == ["timings"]


def test_the_detector_takes_every_size_that_the_service_letterboxes_to(
    trt: ModuleType, repository: Path, tmp_path: Path
):
    config = read_config(repository / "person_detector/config.pbtxt")
    graph = repository / "person_detector/1/model.onnx"
    manifest = build_engine(graph, tmp_path / "1", config)
    assert manifest.profiles == {
        "images": shapes((1, 32, 32, 3), (2, 384, 640, 3), (16, 1280, 1280, 3)),
    }


def test_a_refused_node_is_named(trt: ModuleType, pose_graph: Path, tmp_path: Path):
    model = onnx.load(str(pose_graph))
    model.graph.node.append(onnx.helper.make_node("Unique", ["crops"], ["u"], name="odd"))
    model.graph.node.append(onnx.helper.make_node("Unique", ["crops"], ["v"]))
    path = tmp_path / "odd.onnx"
    onnx.save(model, str(path))
    with pytest.raises(GraphRefusedError, match=r"odd\.onnx: .* Unique 'odd': No importer .*7: No"):
        build_engine(path, tmp_path / "1", POSE)
    assert not (tmp_path / "1").exists()


def test_a_failed_build_says_what_tensorrt_said_and_leaves_nothing(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    Builder.says = "out of memory"
    with pytest.raises(EngineBuildError, match=r"builds no engine \(out of memory\)"):
        publish_engine(pose_graph, tmp_path / "repository", POSE)
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_is_missing_is_said(trt: ModuleType, pose_graph: Path, tmp_path: Path):
    Builder.says = "CUDA initialization failure with error: 35"
    with pytest.raises(EngineBuildError, match=r"does not start \(CUDA .*35\): it needs an NVIDIA"):
        build_engine(pose_graph, tmp_path / "1", POSE)


def test_a_configuration_of_another_model_is_refused(
    trt: ModuleType, repository: Path, tmp_path: Path
):
    with pytest.raises(EngineBuildError, match=r"inputs \['images'\], its configuration \['crops"):
        build_engine(repository / "person_detector/1/model.onnx", tmp_path / "1", POSE)


def test_a_version_is_never_written_over(trt: ModuleType, pose_graph: Path, tmp_path: Path):
    build_engine(pose_graph, tmp_path / "1", POSE)
    with pytest.raises(RepositoryWriteError, match="never written over"):
        build_engine(pose_graph, tmp_path / "1", POSE)


def test_a_folder_that_cannot_be_written_is_named(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RepositoryWriteError, match=r"file.*cannot be written"):
        build_engine(pose_graph, tmp_path / "file/1", POSE)


def test_publishing_adds_versions_for_tritons_tensorrt_backend(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    versions = [publish_engine(pose_graph, tmp_path, POSE)[0] for _ in range(2)]
    assert [path.relative_to(tmp_path).as_posix() for path in versions] == [
        "lowres_pose/1",
        "lowres_pose/2",
    ]
    config = read_config(tmp_path / "lowres_pose/config.pbtxt")
    assert config.backend == "tensorrt"
    assert config.max_batch_size == POSE.max_batch_size
    assert POSE.backend == "onnxruntime"
    assert {path.name for path in (tmp_path / "lowres_pose").iterdir()} == {
        "1",
        "2",
        "config.pbtxt",
        "keypoints.txt",
    }
    assert label_file(config) == "keypoints.txt"
    labels = (tmp_path / "lowres_pose/keypoints.txt").read_text().split()
    assert labels == list(COCO17.joints)


def test_a_models_newest_version_becomes_an_engine(
    trt: ModuleType, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    export_engine(repository / "person_detector", tmp_path / "engines", tf32=True)
    version = tmp_path / "engines/person_detector/1"
    assert EngineManifest.load(version / "engine.json").tf32
    assert capsys.readouterr().out == (
        f"{version}: fp32 for NVIDIA L4, TensorRT {trt.__version__}\n"
    )


def test_engines_and_onnx_files_do_not_share_a_repository(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    graph = onnx.load(str(pose_graph))
    write_version(tmp_path, Publication(pose_config("other", 64, 17), graph, {"steps": []}))
    with pytest.raises(RepositoryWriteError, match="one precision and backend"):
        publish_engine(pose_graph, tmp_path, POSE)
    assert not Builder.asked


def test_precisions_of_engines_do_not_share_a_repository(
    trt: ModuleType, pose_graph: Path, tmp_path: Path
):
    publish_engine(pose_graph, tmp_path / "engines", POSE)
    model = onnx.load(str(pose_graph))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"precision": "fp16"})
    half = tmp_path / "half.onnx"
    onnx.save(model, str(half))
    with pytest.raises(RepositoryWriteError, match="is fp32 of backend tensorrt, this one is fp16"):
        publish_engine(half, tmp_path / "engines", pose_config("other", 64, 17))


@pytest.mark.parametrize("version", ["9.3.0", "12.0.0", "unknown"])
def test_other_versions_are_refused(version: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in(version))
    with pytest.raises(MissingTensorRTError, match=rf"TensorRT {version} is installed.*10 or 11"):
        load_tensorrt()


def test_a_missing_tensorrt_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingTensorRTError, match=r"pip install '.\[export,tensorrt\]'.*libs"):
        load_tensorrt()


def test_without_a_gpu_nothing_is_built(
    pose_graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in(VERSIONS[0]))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GpuError, match="no NVIDIA GPU here"):
        build_engine(pose_graph, tmp_path / "1", POSE)


@pytest.mark.parametrize(
    ("preferred", "largest", "asked", "expected"),
    [
        ([8, 16], 64, None, 8),  # the first preferred one
        ([16], 64, None, 16),
        ([], 64, None, 8),  # no preference
        ([], 4, None, 4),  # no more than the model takes
        ([8], 64, 32, 32),  # asked for
    ],
)
def test_the_batch_that_kernels_are_chosen_for(
    preferred: list[int], largest: int, asked: int | None, expected: int
):
    config = pb.ModelConfig(name="m", max_batch_size=largest)
    config.input.add(name="crops", dims=[32, 32, 3])
    config.dynamic_batching.preferred_batch_size.extend(preferred)
    found = profiles(config, opt_batch_size=asked)["crops"]
    assert (found.min[0], found.opt[0], found.max[0]) == (1, expected, largest)


def test_a_fused_model_has_no_batch_dimension():
    found = profiles(fused_config("lowres_pose_fused", 17))
    assert found == {name: DYNAMIC_SIZES[name] for name in ("image", "boxes")}


@pytest.mark.parametrize(
    ("sizes", "batch", "message"),
    [
        ({}, None, "sizes of its input images .* are not known"),
        ({"images": shapes((32, 32), (64, 64), (96, 96))}, None, "does not fit"),
        ({"images": shapes((32, 32, 1), (64, 64, 1), (96, 96, 1))}, None, "does not fit"),
        ({"images": shapes((64, 64, 3), (32, 32, 3), (96, 96, 3))}, None, "not in order"),
        (DYNAMIC_SIZES, 17, "batches of 17 are asked for"),
    ],
)
def test_sizes_that_do_not_fit(
    sizes: dict[str, ShapeRange], batch: int | None, message: str, repository: Path
):
    config = read_config(repository / "person_detector/config.pbtxt")
    with pytest.raises(ProfileError, match=message):
        profiles(config, sizes, batch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "no engine manifest"),
        ("{}", "gpu: Field required"),
        ('{"format": 2}', "format: Input should be 1"),
    ],
)
def test_a_broken_manifest_is_named(text: str | None, message: str, tmp_path: Path):
    path = tmp_path / "engine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ManifestError, match=rf"engine\.json: .*{message}"):
        EngineManifest.load(path)


def test_the_stand_in_has_no_name_that_the_real_package_lacks():
    try:
        real = importlib.import_module("tensorrt_bindings")
    except ImportError as error:
        pytest.skip(f"the bindings of TensorRT cannot be imported: {error}")
    fake = stand_in(VERSIONS[0] if real.__version__.startswith("10.") else VERSIONS[1])
    own = {"asked", "says"}
    for name, thing in vars(fake).items():
        if name.startswith("__"):
            continue
        assert hasattr(real, name), name
        for member in {m for m in vars(thing) if not m.startswith("_")} - own:
            assert hasattr(getattr(real, name), member), f"{name}.{member}"
    for name in ("set_shape", "set_timing_cache", "set_memory_pool_limit", "create_timing_cache"):
        for owner in ("IOptimizationProfile", "IBuilderConfig"):
            method = getattr(getattr(names, owner), name, None)
            if method is not None:
                documented = getattr(getattr(real, owner), name).__doc__
                assert all(f"{p}:" in documented for p in inspect.signature(method).parameters)
