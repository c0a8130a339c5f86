"""What ``pytest --pyargs workspace_managers.contract`` finds, in a process of its own, over installed distributions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workspace_managers import ConfigurationError
from workspace_managers.contract import WorkspaceManagerContract, collection
from workspace_managers.contract.world import KUBECONFIG
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.registry import CONTRACT_GROUP, GROUP, installed

CLAUSES = WorkspaceManagerContract.clauses()
PYTEST = ("-p", "no:cacheprovider", "-v", "-rf")


CHOSEN = "((Test_watching or Test_escapestext) and (hostile or secrets)) or test_plugin_has_a_contract"


def run(folder: Path, site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command of the README with options, in an empty folder, so without this repository's settings."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PYTEST, "--pyargs", "workspace_managers.contract", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def ran(site: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run of a part."""
    return run(tmp_path_factory.mktemp("empty"), site, "-k", CHOSEN)


@pytest.fixture(scope="module")
def found(site: Path) -> collection.Found:
    groups = [
        [each for each in installed(group) if each.distribution == "workspace-manager-lonely"]
        for group in (GROUP, CONTRACT_GROUP)
    ]
    return collection.find_contracts(*groups)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("lonely", "the workspace manager lonely (workspace-manager-lonely 0.3) has no contract; register a subclass"),
        ("orphan", "is for a workspace manager that is not installed"),
        ("other-class", "is for LonelyManager, and the workspace manager of that name is "),
        ("no-class", "is not a subclass of WorkspaceManagerContract: found "),
        ("no-import", "could not be imported: ModuleNotFoundError"),
        ("half", 'could not be imported: ContractError: "wm_lonely_half.HalfContract has no world; set it to'),
        ("twice", "the contract 'twice' is registered 2 times: workspace-manager-lonely 0.3"),
        ("itself", "is WorkspaceManagerContract itself; register a subclass of it"),
    ],
)
def test_each_problem_is_told_by_name(found: collection.Found, name: str, problem: str) -> None:
    """L2: one line, with the plugin in it, and it hides no other."""
    assert problem in found.problems[name]
    assert name in found.problems[name].casefold()
    assert "\n" not in found.problems[name]


def test_problems_are_all_that_was_found(found: collection.Found) -> None:
    """None of these has a contract to run."""
    assert not found.contracts
    assert len(found.problems) == 8


def test_plugin_without_a_contract_is_a_failing_test(ran: subprocess.CompletedProcess[str]) -> None:
    """And says what to register."""
    assert ran.returncode == 1, ran.stdout
    assert "test_plugin_has_a_contract[lonely] - Failed: the workspace manager lonely" in ran.stdout
    assert "test_plugin_has_a_contract[watching] PASSED" in ran.stdout


def test_installed_contract_is_collected(site: Path, tmp_path: Path) -> None:
    """Each clause by its name."""
    collected = run(tmp_path, site, "--collect-only").stdout
    for clause in CLAUSES:
        assert f"<Function {clause}>" in collected
    assert "<Class Test_watching>" in collected


def test_installed_contract_is_green(ran: subprocess.CompletedProcess[str]) -> None:
    """With the count of clauses at the end, and where they ran."""
    assert "::Test_watching::test_hostile_text_stays_text PASSED" in ran.stdout
    assert "watching: 2 clauses on the embedded API: 2 kept" in ran.stdout, ran.stdout


def test_installed_contract_of_a_broken_plugin_is_red(ran: subprocess.CompletedProcess[str]) -> None:
    """Red in its clause, with what was compared in the report."""
    assert "::Test_escapestext::test_hostile_text_stays_text FAILED" in ran.stdout
    assert "::Test_escapestext::test_secrets_stay_out_of_the_log PASSED" in ran.stdout
    assert "assert '&lt;script&g" in ran.stdout
    assert "escapestext: 2 clauses on the embedded API: 1 kept, 1 broken" in ran.stdout


def test_only_contracts_are_collected(ran: subprocess.CompletedProcess[str]) -> None:
    """Not the functions that make them, nor the class that they come from."""
    for name in ("::test_classes", "::test_class_name", "::WorkspaceManagerContract", "PytestCollectionWarning"):
        assert name not in ran.stdout


def test_names_that_make_one_class_name_make_two(found: collection.Found) -> None:
    """``a-b`` and ``a.b`` are two plugins."""
    whole = type("Whole", (WorkspaceManagerContract,), _members())
    made = collection.test_classes(collection.Found({"a-b": whole, "a.b": whole}, {}))
    assert list(made) == ["Test_a_b", "Test_a_b_"]


def test_contract_of_a_plugin_that_is_not_installed_is_one_sentence() -> None:
    """As ``workspace-managers contract NAME`` says it."""
    with pytest.raises(ConfigurationError, match="'nowhere' names no workspace manager that is installed"):
        collection.run("nowhere")


def test_kubeconfig_that_leads_nowhere_is_one_sentence(tmp_path: Path) -> None:
    """Before anything is run, as ``workspace-managers contract --kubeconfig`` says it; and as pytest says it."""
    nowhere = tmp_path / "kubeconfig"
    with pytest.raises(ConfigurationError, match=r"^the kubeconfig '.*' is not there$"):
        collection.run("lscsde", nowhere)
    nowhere.write_text(json.dumps(EmbeddedApi().kubeconfig()))
    with pytest.raises(ConfigurationError, match=r"^the kubeconfig '.*' leads to no Kubernetes API that answers: .*$"):
        collection.run("lscsde", nowhere)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *PYTEST, "--pyargs", f"{collection.TESTS}::test_a_plugin_is_installed"],
        cwd=tmp_path,
        env=os.environ | {KUBECONFIG: str(nowhere), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "leads to no Kubernetes API that answers" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_run_of_one_plugin_is_of_that_plugin_alone(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its class where it has a contract, else by the test that says that it has none."""
    asked: list[list[str]] = []

    def run(command: list[str], *, env: object, check: bool) -> subprocess.CompletedProcess[str]:
        asked.append(command[2:])
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(subprocess, "run", run)
    assert [collection.run("Example", options=["-x"]), collection.run("lonely"), collection.run()] == [5, 5, 5]
    tests = "workspace_managers.contract.test_installed"
    assert asked == [
        ["pytest", "--pyargs", f"{tests}::Test_example", "-x"],
        ["pytest", "--pyargs", f"{tests}::test_plugin_has_a_contract[lonely]"],
        ["pytest", "--pyargs", "workspace_managers.contract"],
    ]


def _members() -> dict[str, object]:
    from wm_lonely import LonelyManager, LonelyWorld  # type: ignore[import-not-found]  # noqa: PLC0415 - installed late

    return {"manager_class": LonelyManager, "world": LonelyWorld}
