from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import pytest

from farpose.cli import main, user_message
from farpose.evaluation.dataset import DatasetError
from farpose.geometry import BoxError
from farpose.options import PoseOptions

ENTRY_POINTS = """
[farpose.commands]
greet = farpose_greeting:greet
lost = farpose_lost:command [serve,train]
bare = farpose_lost:command
late = farpose_greeting:late [export]
tools = farpose_greeting:tools
"""

MODULE = '''
from typing import Annotated

import typer

print("imported")


class GreetingError(ValueError):
    """Ours."""


def greet(name: str, times: Annotated[int, typer.Option()] = 1) -> None:
    """Say hello."""
    if name == "nobody":
        raise GreetingError("there is nobody\\nto greet")
    if name == "file":
        open("/no/such/file")
    if name == "bug":
        raise ZeroDivisionError("a bug")
    for _ in range(times):
        typer.echo(f"hello {name}")


def late() -> None:
    """Needs something only when it runs."""
    import no_such_package


tools = typer.Typer()


@tools.callback()
def root() -> None:
    """Tools."""


@tools.command()
def hammer() -> None:
    """Hits."""
    typer.echo("bang")
'''


@pytest.fixture(autouse=True)
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution beside Farpose's, with commands of its own."""
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(ENTRY_POINTS))
    (tmp_path / "farpose_greeting.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "farpose_greeting", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["farpose", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_a_command_of_another_distribution_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, "greet", "you", "--times", "2") == 0
    assert capsys.readouterr().out == "imported\nhello you\nhello you\n"


def test_subcommands_of_another_distribution_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, "tools", "hammer") == 0
    assert capsys.readouterr().out == "imported\nbang\n"


def test_other_commands_are_not_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, "predict", "--help") == 0
    assert "imported" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        (("lost", "--some", "option"), "serve,train"),  # as the entry point says
        (("bare",), "bare"),  # named after the command
        (("late",), "export"),  # imports it only when it runs
    ],
)
def test_missing_packages_name_the_extra_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    extras: str,
):
    assert run(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: `farpose {arguments[0]}` needs packages that are not installed")
    assert line.endswith(f"in a clone of Farpose, pip install '.[{extras}]'")


def test_help_lists_every_command_even_without_its_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    for name in ("predict", "evaluate", "bench", "greet", "lost", "late", "tools"):
        assert f" {name} " in out
    assert "Say hello." in out
    assert "Find people and their keypoints" in out
    assert "imported" not in out


def test_a_mistyped_command_is_suggested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(monkeypatch, "predcit") == 2
    assert "Did you mean 'predict'" in capsys.readouterr().err


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == version("farpose")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "error: there is nobody to greet\n"),
        ("file", "error: /no/such/file: No such file or directory\n"),
    ],
)
def test_errors_of_the_user_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, message: str
):
    assert run(monkeypatch, "greet", name) == 1
    assert capsys.readouterr().err == message


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["farpose", "greet", "bug"])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DatasetError("no such file"), "no such file"),
        (BoxError("box 0\n  is wrong"), "box 0 is wrong"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "a.jpg: No such file"),
        (OSError("nothing is named"), None),
        (ValueError("a bug"), None),
    ],
)
def test_which_errors_are_the_user_s(error: Exception, message: str | None):
    assert user_message(error) == message


def test_option_errors_name_the_option():
    with pytest.raises(ValueError, match="multiple") as caught:
        PoseOptions(detector_size=333)
    assert user_message(caught.value) == "detector_size: Input should be a multiple of 32"


def test_the_root_imports_no_stage_and_no_runtime():
    code = (
        "import sys, farpose.cli; "
        "heavy = {'torch', 'fastapi', 'onnxruntime', 'tritonclient', 'farpose_training', "
        "'farpose_export', 'farpose_serving'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
