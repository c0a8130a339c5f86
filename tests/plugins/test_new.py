"""``workspace-managers new``: what it writes, and that it writes nothing where the answer is no."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import dists
from workspace_managers.__main__ import main
from workspace_managers.contract import starter

ROOT = Path(__file__).parents[2]
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def third_party(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another plugin is installed, by the name ``Plain-Files``."""
    site = tmp_path_factory.mktemp("plain")
    with zipfile.ZipFile(dists.wheel("plain", site)) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))


def test_writes_a_plugin_and_says_what_is_next(folder: Path, capsys: Output) -> None:
    """Module, entry points in both groups, contract, test and README; nothing of the template is left."""
    assert main(["new", "our-own_studies2"]) == 0
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    module = "our-own_studies2/workspace_manager_our_own_studies2"
    assert written == {
        *(f"{module}/{name}" for name in ("__init__.py", "contract.py", "workspaces.yaml")),
        *(f"our-own_studies2/{name}" for name in ("README.md", "pyproject.toml", "tests/test_contract.py")),
    }
    text = "".join((folder / path).read_text() for path in written)
    assert "$" not in text
    for words in (
        'our-own_studies2 = "workspace_manager_our_own_studies2:OurOwnStudies2Manager"',
        'our-own_studies2 = "workspace_manager_our_own_studies2.contract:OurOwnStudies2Contract"',
        'VARIABLE = "OUR_OWN_STUDIES2_FILE"',
    ):
        assert words in text
    said = capsys.readouterr().out
    for command in (
        "pip install ./our-own_studies2\n",
        "workspace-managers contract our-own_studies2\n",
        "WORKSPACE_MANAGER=our-own_studies2 workspace-managers check\n",
    ):
        assert command in said


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--isolated", "--line-length=120", "--select=E,F,W,I,UP,B,SIM,RUF,ASYNC,C4,PT,RET"),
        ("ruff", "format", "--isolated", "--line-length=120", "--check"),
        ("mypy", "--strict"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_what_is_written_is_clean(folder: Path, command: tuple[str, ...]) -> None:
    """By the linter and the type checker, in their strict modes."""
    written = starter.write("demo", folder)
    done = subprocess.run(
        [sys.executable, "-m", *command, str(written / "workspace_manager_demo")],
        cwd=ROOT if command[0] == "mypy" else folder,
        env=os.environ | {"MYPYPATH": str(written)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Demo",
        "2demo",
        "demo.x",
        "demo x",
        "demo:x",
        "démo",
        "-demo",
        "demo-",
        "de--mo",
        "demo=x",
        "../demo",
        "a/b",
        "a\n",
    ],
    ids=repr,
)
def test_name_that_is_none_is_refused(folder: Path, name: str, capsys: Output) -> None:
    """One sentence with what is accepted."""
    assert main(["new", "--", name]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"{name!r} is no name for a workspace manager; use lower-case ASCII letters".replace("é", "\\xe9")
    )
    assert said.count("\n") == 1
    assert not any(folder.iterdir())
    assert not (folder.parent / "demo").exists()


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("lscsde", "jupyterhub-workspace-managers 0.1.0 (object workspace_manager_lscsde:"),
        ("plain-files", "workspace-manager-plain 2.3.1 (object wm_plain:"),
        ("plain_files", "workspace-manager-plain 2.3.1 (object wm_plain:"),
    ],
)
@pytest.mark.usefixtures("third_party")
def test_name_that_is_taken_is_refused(folder: Path, name: str, whose: str, capsys: Output) -> None:
    """With whose it is; a third party's plugin counts, in whatever case, and under the name of the same module."""
    assert main(["new", name]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"the name {name!r} is taken by {whose}")
    assert said.endswith("use another name\n")
    assert not any(folder.iterdir())


@pytest.mark.parametrize("there", ["folder", "file", "link to nothing"])
def test_what_is_there_is_not_written_over(folder: Path, there: str, capsys: Output) -> None:
    """Not even where it is empty."""
    path = folder / "demo"
    match there:
        case "folder":
            path.mkdir()
        case "file":
            path.write_text("mine")
        case _:
            path.symlink_to("nowhere")
    before = path.lstat()
    assert main(["new", "demo"]) == 1
    assert capsys.readouterr().err == "demo is there already, and nothing is written over; use another name\n"
    assert path.lstat() == before
    assert list(folder.iterdir()) == [path]


def test_folder_that_cannot_be_written_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A disk that is full half way."""
    write_text = Path.write_text
    written: list[Path] = []

    def full(self: Path, *arguments: str) -> int:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(self)
        return write_text(self, *arguments)

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["new", "demo"]) == 1
    assert capsys.readouterr().err == "demo cannot be written: No space left on device\n"
    assert len(written) == 3
    assert not any(folder.iterdir())


def test_place_where_nothing_can_be_made_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """One sentence."""

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["new", "demo"]) == 1
    assert capsys.readouterr().err == "demo cannot be made: Permission denied\n"
