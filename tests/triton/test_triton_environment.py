"""The folders that the local Triton server runs from."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import farpose
from farpose.package_folders import InstallError, default_folder, fingerprint, make_once
from farpose_serving.triton import environment as module
from farpose_serving.triton import interpreter
from farpose_serving.triton.environment import TritonEnvironment, prepare
from farpose_serving.triton.interpreter import TritonUnavailableError, shared_library

PREPARE = """
import sys
from pathlib import Path
from farpose_serving.triton.environment import prepare
print(prepare(Path(sys.argv[1])).folder)
"""
LIBRARY = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


@pytest.fixture
def root(environment: TritonEnvironment, tmp_path: Path) -> Path:
    """A folder that has the packages already, and no environment."""
    packages = environment.packages.resolve()
    (tmp_path / packages.name).symlink_to(packages)
    return tmp_path


def test_two_processes_at_once_make_one_environment_and_leave_nothing_half_made(
    environment: TritonEnvironment, tmp_path: Path
):
    for kind in ("packages", "server"):
        (tmp_path / f".triton-{kind}-abc" / "python").mkdir(parents=True)
    command = [sys.executable, "-c", PREPARE, tmp_path / "."]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate(timeout=300)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (folder,) = printed
    assert sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir() if path.is_dir()) == [
        "triton-packages",
        "triton-server",
    ]
    made = TritonEnvironment(Path(folder.strip()))
    assert made.folder.parent == tmp_path
    assert made.folder.name == environment.folder.name
    assert made.server.is_file()
    probe = "import farpose, numpy, onnxruntime; print(farpose.__file__, numpy.__version__)"
    done = subprocess.run(
        [made.python / "bin/python", "-I", "-c", probe], capture_output=True, text=True, check=True
    )
    where, version = done.stdout.split()
    assert Path(where).resolve() == Path(farpose.__file__).resolve()
    assert version.startswith("1.26.")


def test_one_that_is_there_is_not_touched(root: Path):
    made = prepare(root)
    for lock in root.glob("*.lock"):
        lock.unlink()
    inode = made.folder.stat().st_ino
    assert prepare(root) == made
    assert made.folder.stat().st_ino == inode
    assert not list(root.glob("*.lock"))


def test_the_backend_is_ours_at_any_time(root: Path):
    backends = prepare(root).backends
    assert (backends / "onnxruntime" / "model.py").samefile(module.BACKEND / "model.py")
    assert (backends / "python" / "triton_python_backend_stub").stat().st_mode & 0o111


def test_another_installation_or_interpreter_has_an_environment_of_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    first = prepare(root)
    monkeypatch.setattr(farpose, "__file__", str(root / "elsewhere" / "farpose" / "__init__.py"))
    second = prepare(root)
    assert second.folder != first.folder
    assert second.packages.resolve() == first.packages.resolve()
    linked = second.python / "lib" / f"python{module.PYTHON}" / "site-packages" / "farpose"
    assert linked.readlink() == root / "elsewhere" / "farpose"


def test_other_requirements_are_other_packages(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """These cannot be read by any installer: the reason is said, and nothing is left."""
    before = set(root.iterdir())
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("numpy === is = not = a = requirement\n")
    monkeypatch.setattr(module, "REQUIREMENTS", (wrong,))
    with pytest.raises(TritonUnavailableError, match=r"cannot be installed: .*wrong\.txt"):
        prepare(root)
    assert set(root.iterdir()) - before == {wrong, root / "triton-packages.lock"}


def test_an_interpreter_that_triton_does_not_know(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PYTHON", "3.99")
    with pytest.raises(
        TritonUnavailableError, match=r"no backend for Python 3\.99: run Farpose on .*3\.11"
    ):
        prepare(root)
    assert not list(root.glob("triton-server-*/"))


def test_other_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(TritonUnavailableError, match="runs on Linux, not on darwin"):
        prepare(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TritonUnavailableError, match="file/here: cannot hold Triton's packages"):
        prepare(tmp_path / "file" / "here")


def test_what_fails_while_a_folder_is_made_leaves_nothing(tmp_path: Path):
    def full(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        make_once(tmp_path / "kind-1", full)
    assert [path.name for path in tmp_path.iterdir()] == ["kind.lock"]


def test_fingerprints_tell_texts_apart():
    names = [fingerprint(), fingerprint("ab"), fingerprint("a", "b"), fingerprint("b", "a")]
    assert len(set(names)) == 4
    assert fingerprint("a", "b") == names[2]


def test_where_packages_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "farpose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "farpose"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InstallError, match="set XDG_CACHE_HOME"):
        default_folder()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An interpreter whose library is nowhere."""
    names = {"LIBDIR": str(tmp_path / "configured"), "MULTIARCH": "x86_64-linux-gnu"}
    monkeypatch.setattr(sysconfig, "get_config_var", names.get)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(interpreter, "SYSTEM", tmp_path / "usr")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    return tmp_path


@pytest.mark.parametrize(
    "folder",
    [
        "configured",  # pyenv with --enable-shared
        "prefix/lib",  # uv's Python: it was configured for another folder
        "usr/lib/x86_64-linux-gnu",  # Debian, Ubuntu
        "usr/lib64",  # Fedora
    ],
)
def test_the_interpreters_library_is_found(bare: Path, folder: str):
    library = bare / folder / LIBRARY
    library.parent.mkdir(parents=True)
    library.write_text("")
    assert shared_library() == library


def test_a_library_that_the_loader_finds_needs_no_folder(
    bare: Path, monkeypatch: pytest.MonkeyPatch, environment: TritonEnvironment
):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: LIBRARY)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    assert shared_library() == Path(LIBRARY)
    folders = environment.variables()["LD_LIBRARY_PATH"].split(":")
    assert folders == [str(environment.packages / module.LIBRARIES), "/mine"]


def test_a_missing_library_is_said_with_what_to_install(bare: Path):
    with pytest.raises(TritonUnavailableError, match=f"needs {LIBRARY}, which this interpreter"):
        shared_library()


def test_the_servers_environment_comes_first(
    environment: TritonEnvironment, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/mine")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    variables = environment.variables()
    assert variables["PATH"] == f"{environment.python}/bin:/mine"
    assert variables["LD_LIBRARY_PATH"].split(":") == [
        str(environment.packages / module.LIBRARIES),
        str(shared_library().parent),
    ]
