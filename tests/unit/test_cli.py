"""The command ``workspace-managers`` (L1 to L3 as the person who sets up a hub meets them)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import workspace_managers
from workspace_managers import Finding
from workspace_managers.__main__ import main
from workspace_managers.explain import Explanation
from workspace_managers.settings import VARIABLES

REPOSITORY = Path(workspace_managers.__file__).parent.parent
DEMO = "workspace_managers.devcluster.demo"

Install = Callable[..., Path]
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("POD_NAMESPACE", "hub")


def choose(monkeypatch: pytest.MonkeyPatch, name: str, **others: str) -> None:
    for variable, value in {"WORKSPACE_MANAGER": name, **others}.items():
        monkeypatch.setenv(variable, value)


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "workspace_managers", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)]), **environ},
    )


def row(output: str, name: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if name in line.split())


def test_list_shows_name_distribution_version_object_and_marks_the_chosen(install: Install) -> None:
    """L1, as a process of its own."""
    done = run(install("plain", "broken"), "list", WORKSPACE_MANAGER="PLAIN-files")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:4] == ["NAME", "DISTRIBUTION", "VERSION", "OBJECT"]
    assert row(done.stdout, "Plain-Files") == [
        "*",
        "Plain-Files",
        "workspace-manager-plain",
        "2.3.1",
        "wm_plain:PlainManager",
    ]
    assert row(done.stdout, "abstract")[0] == "abstract"


def test_list_json_is_one_document(install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    install("plain")
    choose(monkeypatch, "plain-files")
    assert main(["list", "--json"]) == 0
    rows = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert rows["Plain-Files"] == {
        "name": "Plain-Files",
        "distribution": "workspace-manager-plain",
        "version": "2.3.1",
        "object": "wm_plain:PlainManager",
        "chosen": True,
    }


@pytest.mark.parametrize(
    ("chosen", "note"),
    [
        pytest.param("keyclok", "WORKSPACE_MANAGER names 'keyclok', which is not installed: ", id="not-installed"),
        pytest.param("", "WORKSPACE_MANAGER is set, but empty", id="empty"),
        pytest.param("twin", "WORKSPACE_MANAGER names 'twin', which is registered more than once: ", id="twice"),
    ],
)
def test_list_notes_a_choice_that_cannot_be_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output, chosen: str, note: str
) -> None:
    """L1, L2: the list is shown all the same."""
    install("twin_one", "twin_two")
    choose(monkeypatch, chosen, KS_START_TIMEOUT="15m")
    assert main(["list"]) == 0
    output = capsys.readouterr()
    assert "workspace-manager-twin-one" in output.out
    assert output.err.startswith(note)


def test_list_of_nothing_says_so(install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(sys, "path", [str(install())])
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "No workspace manager is installed.\n"


def test_check_of_what_is_well_tells_what_the_hub_would_use(install: Install) -> None:
    """L1, L3, as a process of its own."""
    folder = install("plain")
    done = run(folder, "check", WORKSPACE_MANAGER="plain-files", POD_NAMESPACE="science")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        "No problem: the hub would start with Plain-Files of workspace-manager-plain 2.3.1 "
        f"(object wm_plain:PlainManager, file {folder}/wm_plain.py)."
    )
    assert row(done.stdout, "POD_NAMESPACE") == ["POD_NAMESPACE", "science"]
    assert row(done.stdout, "DEFAULT_STORAGE_CAPACITY") == ["DEFAULT_STORAGE_CAPACITY", "10Gi"]


def test_check_json_is_one_document_whatever_a_plugin_prints(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    folder = install("plain")
    choose(monkeypatch, "plain-files")
    assert main(["check", "--json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert document["ok"] is True
    assert document["problems"] == []
    assert document["workspace_manager"] == {
        "name": "Plain-Files",
        "distribution": "workspace-manager-plain",
        "version": "2.3.1",
        "object": "wm_plain:PlainManager",
        "file": f"{folder}/wm_plain.py",
    }
    assert document["settings"]["POD_NAMESPACE"] == "hub"
    assert output.err == "wm_plain was imported\n"


def test_check_tells_every_problem_of_settings_and_plugin_at_once(install: Install) -> None:
    """L1, L2, L3: as a process of its own; no traceback, exit code 1."""
    done = run(
        install("broken"),
        "check",
        WORKSPACE_MANAGER="everything",
        DEFAULT_STORAGE_CAPACITY="10GB",
        DEFAULT_STORAGE_ACCESS_MODES="ReadWriteManny",
        KS_START_TIMEOUT="15m",
    )
    assert (done.returncode, done.stderr) == (1, "")
    head, *problems = done.stdout.splitlines()
    assert head == "7 problems:"
    assert [problem[:30] for problem in problems[:3]] == [
        "- DEFAULT_STORAGE_ACCESS_MODES",
        "- DEFAULT_STORAGE_CAPACITY='10",
        "- KS_START_TIMEOUT='15m' is no",
    ]
    assert all(problem.startswith("- workspace manager 'everything' of ") for problem in problems[3:])


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        pytest.param("keyclok", "WORKSPACE_MANAGER='keyclok' names no workspace manager", id="typo"),
        pytest.param("", "WORKSPACE_MANAGER is set, but empty", id="empty"),
        pytest.param("twin", "the workspace manager 'twin' is registered 2 times", id="two-distributions"),
        pytest.param("no-library", "workspace manager 'no-library' of workspace-manager-broken 0.9", id="import-error"),
        pytest.param("exits", "workspace manager 'exits' of workspace-manager-broken 0.9", id="exits"),
        pytest.param(
            "no-instance", "workspace manager 'no-instance' of workspace-manager-broken 0.9", id="constructor"
        ),
    ],
)
def test_a_choice_that_cannot_be_loaded_is_one_problem(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output, chosen: str, expected: str
) -> None:
    """L1, L2: exit code 1, told once, nothing on standard error."""
    install("twin_one", "twin_two", "broken")
    choose(monkeypatch, chosen)
    for command in ("check", "doctor"):
        assert main([command, "--json"]) == 1
        output = capsys.readouterr()
        document = json.loads(output.out)
        assert document["ok"] is False
        assert len(document["problems"]) == 1
        assert document["problems"][0].startswith(expected)
        assert document["workspace_manager"] is None
        assert output.err == ""
        assert main([command]) == 1
        assert capsys.readouterr().out.startswith(f"One problem:\n- {expected}")


def test_check_asks_the_plugin_nothing(install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """L3: no API call; a plugin whose backend is away passes."""
    install("odd")
    choose(monkeypatch, "unready")
    assert main(["check"]) == 0
    assert sys.modules["wm_odd"].closed == []
    assert capsys.readouterr().out.startswith("No problem: ")


@pytest.mark.parametrize(
    ("chosen", "code", "problems"),
    [
        pytest.param("sick", 1, ["the first thing is wrong", "the second thing is wrong"], id="two"),
        pytest.param("unready", 2, ["start failed: the backend of this plugin is away"], id="start-fails"),
        pytest.param("hangs", 2, ["problems did not end within 0.1 s"], id="hangs"),
        pytest.param("raises", 2, ["problems failed: LookupError: 'no key\\nof that name'"], id="raises"),
        pytest.param(
            "leaks",
            2,
            [
                "problems failed: CancelledError: ''",
                "close failed: CancelledError: ''",
            ],
            id="stray-cancellation",
        ),
        pytest.param(
            "mumbles",
            1,
            ["problems answered with \"'all is lost'\"; expected: a sequence of sentences"],
            id="not-a-sequence",
        ),
        pytest.param("falsy", 0, [], id="none"),
    ],
)
def test_doctor_tells_what_the_plugin_says_in_bounded_time(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output, *, chosen: str, code: int, problems: list[str]
) -> None:
    """Exit code 1 for a problem; 2 where a question had no answer, as then nobody knows."""
    install("odd")
    choose(monkeypatch, chosen)
    assert main(["doctor", "--json", "--timeout", "0.1"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == problems
    fit, guard = document["notes"] or (
        "the hub needs it is not known",
        "guard, image/admission.yaml, is on is not known",
    )
    assert "the hub needs it is not known" in fit
    assert "guard, image/admission.yaml, is on is not known" in guard
    assert document["workspace_manager"]["name"] == chosen
    assert len(sys.modules["wm_odd"].closed) == 1


def test_ctrl_c_is_130_and_no_traceback(install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    install("odd")
    choose(monkeypatch, "interrupted")
    assert main(["doctor"]) == 130
    assert capsys.readouterr() == ("", "\nInterrupted.\n")


DEMO_DEFAULTS: dict[str, object] = {
    "port": 8000, "state": Path(".demo"), "kubeconfig": None, "namespace": "", "node": "", "hub_host": "",
}  # fmt: skip


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType(DEMO)
    monkeypatch.setitem(sys.modules, DEMO, module)
    return module


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], DEMO_DEFAULTS, id="defaults"),
        pytest.param(
            ["--port", "9000", "--state", "x/y"], {**DEMO_DEFAULTS, "port": 9000, "state": Path("x/y")}, id="both"
        ),
        pytest.param(
            ["--kubeconfig", "k", "--namespace", "n", "--node", "local"],
            {**DEMO_DEFAULTS, "kubeconfig": Path("k"), "namespace": "n", "node": "local"},
            id="a-cluster",
        ),
    ],
)
def test_demo_is_called_with_its_options(
    demo: types.ModuleType, arguments: list[str], expected: dict[str, object]
) -> None:
    calls: list[dict[str, Any]] = []

    def demo_main(**given: Any) -> int:
        calls.append(given)
        return 3

    vars(demo)["main"] = demo_main
    assert main(["demo", *arguments]) == 3
    assert calls == [expected]


def test_demo_without_its_packages_says_what_to_install(demo: types.ModuleType, capsys: Output) -> None:
    def demo_main(**_: Any) -> int:
        raise ModuleNotFoundError("No module named 'jsonschema.validators'", name="jsonschema.validators")

    vars(demo)["main"] = demo_main
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "The demo needs the package jsonschema.validators, which is not installed: "
        "run pip install 'jupyterhub-workspace-managers[demo]' and start it again.\n"
    )


def test_demo_of_which_our_own_part_is_missing_is_a_bug(demo: types.ModuleType) -> None:
    def demo_main(**_: Any) -> int:
        raise ModuleNotFoundError("No module named 'workspace_managers.devcluster.x'", name="workspace_managers.x")

    vars(demo)["main"] = demo_main
    with pytest.raises(ModuleNotFoundError, match="devcluster"):
        main(["demo"])


def test_help_shows_the_commands_and_every_variable_with_its_default(capsys: Output) -> None:
    """L3: the same table that is read."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for command in ("list", "check", "doctor", "demo", "--version"):
        assert f" {command} " in shown
    for variable in VARIABLES:
        assert f"{variable.name} {variable.purpose} Default: {variable.default}" in shown


def test_version_names_the_command(capsys: Output) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("workspace-managers ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], "the following arguments are required: COMMAND", id="none"),
        pytest.param(["chek"], "invalid choice: 'chek'", id="unknown"),
        pytest.param(["doctor", "--timeout", "0"], "invalid number of seconds value: '0'", id="timeout-zero"),
        pytest.param(["doctor", "--timeout", "nan"], "invalid number of seconds value: 'nan'", id="timeout-nan"),
        pytest.param(["demo", "--port", "http"], "invalid int value: 'http'", id="port"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(arguments: list[str], expected: str, capsys: Output) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    assert expected in capsys.readouterr().err


FOUND = (Finding("A2", "the person", "'bob'", True), Finding("A1", "binding 'x'", "over", False, "a later day"))


@pytest.mark.parametrize(
    ("opens", "code", "said"),
    [(True, 0, "opens"), (False, 1, "does not open"), (None, 2, "it is not certain")],
)
def test_explain_prints_each_finding(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    *,
    tmp_path: Path,
    opens: bool | None,
    code: int,
    said: str,
) -> None:
    """Each with its rule, as text and as one document; for the day that was asked for, and with these claims."""
    asked: list[Any] = []

    async def explained(manager: Any, user: Any, name: str) -> Explanation:
        who = None if user is None else (user.username, user.identity_claims)
        asked.append((who, name, str(manager.context.today())))
        return Explanation(opens, FOUND)

    monkeypatch.setattr("workspace_managers.__main__.explain", explained)
    file = tmp_path / "claims.json"
    file.write_text('{"group": "a"}')
    assert main(["explain", "Bob", "heart", "--at", "2027-01-31"]) == code
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("On 2027-01-31, workspace 'heart' ")
    assert said in first
    assert lines == [
        "  A2  yes  the person: 'bob'",
        "  A1  no   binding 'x': over; right would be a later day",
    ]
    assert main(["explain", "Bob", "heart", "--json", "--claims", str(file), "--at", "2027-01-31"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["opens"], document["day"], len(document["findings"])) == (opens, "2027-01-31", 2)
    assert main(["explain", "heart", "--at", "2027-01-31"]) == code
    assert capsys.readouterr().out.splitlines()[0].endswith(("for those named below.", "for 'anybody'."))
    assert asked == [
        (("bob", None), "heart", "2027-01-31"),
        (("bob", {"group": "a"}), "heart", "2027-01-31"),
        (None, "heart", "2027-01-31"),
    ]


@pytest.mark.parametrize("text", [None, "{", "[]", '"x"'], ids=["missing", "half", "list", "text"])
def test_explain_takes_no_claims_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "claims.json"
    if text is not None:
        file.write_text(text)
    assert main(["explain", "bob", "heart", "--claims", str(file)]) == 1
    assert str(file) in capsys.readouterr().err
