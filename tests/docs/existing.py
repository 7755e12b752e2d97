"""Whether a command that is not run could be: its target, subcommand, options and files exist."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from farpose.cli import app
from tests.conftest import ROOT

FOLDERS = {"clients", "docker", "docs", "export", "farpose", "model_repository", "requirements",
           "serving", "tests", "training"}  # fmt: skip

PYTHONS = {"python", "python3"}

FROM_ELSEWHERE = {"cd", "curl", "docker", "git", "uv", "cp", "ray"}
"""Programs that are not ours; of their commands the files and extras are looked at."""


class NotThereError(AssertionError):
    """A command of the documentation names something that does not exist."""


def check(command: str, workspace: Path) -> None:
    """Look at a command without running it.

    Args:
        command: on one line, without comments.
        workspace: where `make` finds the Makefile and what it would install.

    Raises:
        NotThereError: its program, target, subcommand, an option or a file does not exist.
    """
    words = shlex.split(command)
    while words and re.match(r"^[A-Za-z_]+=", words[0]):
        del words[0]
    if not words:
        return
    program, arguments = Path(words[0]).name, words[1:]
    if words[0].startswith(".venv/bin/") and not Path(sys.executable).with_name(program).exists():
        raise NotThereError(f"{words[0]} is not installed")
    check_files(arguments)
    if program == "make":
        check_target(arguments, workspace)
    elif program == "farpose":
        check_options(typer.main.get_command(app), arguments)
    elif program in PYTHONS:
        check_python(arguments)
    elif program == "pip":
        check_packages(arguments)
    elif program not in FROM_ELSEWHERE and not words[0].startswith(".venv/bin/"):
        raise NotThereError(f"{program}: not a program whose commands this test can look at")


def check_files(arguments: list[str]) -> None:
    """Files inside the repository's folders are there."""
    for argument in arguments:
        if argument.split("/")[0] in FOLDERS and not (ROOT / argument).exists():
            raise NotThereError(f"{argument} does not exist")


def check_target(arguments: list[str], workspace: Path) -> None:
    """`make` knows the targets."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotThereError(done.stderr.strip())


def check_options(command: Any, arguments: list[str]) -> None:
    """A command line of ours has these subcommands and options, with values where they want one."""
    context = command.context_class(command, info_name=command.name)
    usage_error = importlib.import_module(type(context).__module__).UsageError
    try:
        while hasattr(command, "resolve_command"):
            name, command, arguments = command.resolve_command(context, arguments)
            context = command.context_class(command, info_name=name, parent=context)
        given, _, _ = command.make_parser(context).parse_args(list(arguments))
    except usage_error as error:
        raise NotThereError(error.format_message()) from error
    missing = [p.name for p in command.params if p.required and given.get(p.name) in (None, ())]
    if missing:
        raise NotThereError(f"{command.name} needs {', '.join(missing)}")


def check_python(arguments: list[str]) -> None:
    """A module or script exists and has these options."""
    if arguments[:1] != ["-m"]:
        check_help([str(ROOT / arguments[0])], arguments[1:])
        return
    module = arguments[1]
    spec = find_spec(module)
    if spec is None:
        raise NotThereError(f"there is no module {module}")
    is_package = spec.submodule_search_locations is not None
    loaded = importlib.import_module(f"{module}.__main__" if is_package else module)
    if isinstance(getattr(loaded, "app", None), typer.Typer):
        check_options(typer.main.get_command(loaded.app), arguments[2:])
    else:
        check_help(["-m", module], arguments[2:])


def check_help(start: list[str], arguments: list[str]) -> None:
    """The help of a program names these options."""
    done = subprocess.run(
        [sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotThereError(done.stderr.strip())
    known = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    options = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
    if options - known:
        raise NotThereError(f"{' '.join(start)} has no {', '.join(sorted(options - known))}")


def check_packages(arguments: list[str]) -> None:
    """Farpose is installed from the clone, with extras that are declared and have one `cv2`."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for argument in arguments:
        if re.match(r"farpose\b", argument):
            raise NotThereError(f"{argument} is on no package index")
        for extras in re.findall(r"^\.\[([\w,-]+)\]$", argument):
            names = set(extras.split(","))
            unknown = names - set(declared["optional-dependencies"])
            if unknown:
                raise NotThereError(f"farpose has no extra {', '.join(sorted(unknown))}")
            if names & {"track", "ultralytics"}:
                raise NotThereError(f"{argument} installs a second cv2 over the first")
