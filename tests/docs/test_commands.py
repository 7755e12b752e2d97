"""Every command of the documentation is run, or listed with the reason why it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import LOOKS_LIKE_A_COMMAND, Block, blocks, commands, pages, shell_commands
from tests.docs.existing import FOLDERS, NotThereError, check
from tests.docs.not_run import NOT_RUN, RUN_ELSEWHERE, RUN_ONCE
from tests.docs.workspace import Terminal, add_labelled, make_workspace, served

PAGES = [page for page in pages() if page not in RUN_ELSEWHERE and commands(page)]

THE_SERVICE = "make run"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, bus: Path) -> Iterator[int]:
    """Of the service that `make run` started, for all pages."""
    folder = make_workspace(tmp_path_factory.mktemp("service") / "farpose", bus)
    with served(folder) as port:
        yield port


@pytest.fixture
def workspace(tmp_path: Path, bus: Path) -> Path:
    return make_workspace(tmp_path / "farpose", bus)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page: str, workspace: Path, request: pytest.FixtureRequest):
    asked = [
        command
        for command in commands(page)
        if command.name not in NOT_RUN and RUN_ONCE.get(command.name, page) == page
    ]
    texts = " ".join(command.text for command in asked)
    if "FARPOSE_DATA" in texts or "val.json" in texts:
        add_labelled(workspace, request.getfixturevalue("data"))
    uses_service = ":8080" in texts or "clients/camera.py" in texts or THE_SERVICE in texts
    terminal = Terminal(workspace, request.getfixturevalue("port") if uses_service else 0)
    for command in asked:
        if command.name == THE_SERVICE:
            continue  # the fixture's
        done = terminal.run(command)
        assert done.returncode == 0, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}\n"
            "If it cannot be run here, list it in tests/docs/not_run.py with the reason."
        )
    for command in commands(page):
        if command.name in NOT_RUN:
            try:
                check(command.name, workspace)
            except NotThereError as error:
                pytest.fail(f"{command}: {error}")


def test_the_list_holds_no_command_that_is_not_shown():
    shown = {(command.name, page) for page in pages() for command in commands(page)}
    assert sorted(set(NOT_RUN) - {name for name, _ in shown}) == []
    assert sorted(set(RUN_ONCE.items()) - shown) == []


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_pages_that_another_test_runs_are_read_by_it(page: str, test: str):
    assert (ROOT / page).is_file()
    assert Path(page).name in (ROOT / test).read_text()
    assert "findall" in (ROOT / test).read_text()


@pytest.mark.parametrize("page", pages())
def test_blocks_of_commands_say_so(page: str):
    """A command in a block of another language would be neither run nor looked at."""
    for block in blocks(page):
        where = f"{page}:{block.line}"
        assert block.language, f"{where}: say what it is: bash, python, text, ..."
        if block.language == "text":
            found = [li for li in block.text.splitlines() if LOOKS_LIKE_A_COMMAND.match(li)]
            assert found == [], f"{where}: commands belong into a block of bash"


def test_nobody_is_told_to_install_farpose_from_an_index():
    """It is on none, so anybody could take the name there."""
    files = [path for folder in FOLDERS - {"tests"} for path in (ROOT / folder).rglob("*.py")]
    files += [ROOT / page for page in pages()]
    told = re.compile(r"pip install ['\"]?farpose")
    assert [str(path) for path in files if told.search(path.read_text())] == []
    assert len(files) > 300


def test_what_a_reader_types_is_found():
    text = "make run  # a remark\n\n# another\ncurl \\\n  'a # b'\nprintf '%s' 'one\ntwo'"
    names = [command.name for command in shell_commands(Block("page.md", 10, "bash", text))]
    assert names == ["make run", "curl 'a # b'", "printf '%s' 'one two'"]
    console = Block("page.md", 10, "console", "$ make run\nFarpose serves\n$ make help")
    assert [(c.line, c.name) for c in shell_commands(console)] == [
        (10, "make run"),
        (12, "make help"),
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("make nothing", "No rule to make target"),
        (".venv/bin/farpose forecast street.jpg", "No such command"),
        (".venv/bin/farpose predict street.jpg --colour red", "No such option"),
        (".venv/bin/farpose evaluate model_repository/lowres_pose --images val", "annotations"),
        (".venv/bin/farpose bench nothing", "No such command"),
        (".venv/bin/farpose train training/configs/nothing.yaml", "does not exist"),
        (".venv/bin/python clients/demo.py street.jpg --colour red", "has no --colour"),
        (".venv/bin/python clients/nothing.py", "does not exist"),
        (".venv/bin/python -m farpose_training.nothing", "no module"),
        (".venv/bin/python -m farpose_training.blend a b c --share 2", "No such option"),
        (".venv/bin/nothing", "not installed"),
        ("pip install '.[everything]'", "no extra everything"),
        ("pip install '.[serve,track]'", "a second cv2"),
        ("pip install 'farpose[serve]'", "on no package index"),
        ("pip install -e ./clients/python farpose-client", "on no package index"),
        ("docker compose --file docker/nothing.yaml up", "does not exist"),
        ("farposed street.jpg", "not a program"),
    ],
)
def test_commands_that_could_not_be_run_are_refused(command: str, message: str, workspace: Path):
    with pytest.raises(NotThereError, match=message):
        check(command, workspace)
