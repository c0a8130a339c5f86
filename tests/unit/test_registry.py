"""What is installed, and the one that is loaded (L1, L2); every plugin in here is a real installed distribution."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import workspace_managers
from tests import dists
from workspace_managers import ConfigurationError, Context, Settings, WorkspaceManager
from workspace_managers.kube.client import Kube
from workspace_managers.registry import CONTRACT_GROUP, create, find, installed, load

REPOSITORY = Path(workspace_managers.__file__).parent.parent
ASYNC = ["list_workspaces", "volumes_for", "confirm", "provisioned", "start", "close", "problems"]

Install = Callable[..., Path]


@pytest.fixture
def context() -> Context:
    return Context(settings=Settings.from_environ({}), kube=Kube("default"), log=logging.getLogger("test"))


def refused(name: str, context: Context | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(name) if context is None else create(name, context)
    assert all(problem.isprintable() for problem in caught.value.problems)
    return caught.value


def test_l1_installed_tells_name_distribution_version_and_object_without_importing(install: Install) -> None:
    install("plain", "twin_one", "odd")
    found = [registration for registration in installed() if registration.object.startswith("wm_")]
    assert [(r.name, r.distribution, r.version, r.object) for r in found] == [
        ("Plain-Files", "workspace-manager-plain", "2.3.1", "wm_plain:PlainManager"),
        ("falsy", "workspace-manager-odd", "1.0", "wm_odd:Falsy"),
        ("hangs", "workspace-manager-odd", "1.0", "wm_odd:Hangs"),
        ("interrupted", "workspace-manager-odd", "1.0", "wm_odd:Interrupted"),
        ("leaks", "workspace-manager-odd", "1.0", "wm_odd:Leaks"),
        ("mumbles", "workspace-manager-odd", "1.0", "wm_odd:Mumbles"),
        ("raises", "workspace-manager-odd", "1.0", "wm_odd:Raises"),
        ("sick", "workspace-manager-odd", "1.0", "wm_odd:Sick"),
        ("twin", "workspace-manager-twin-one", "1.1", "wm_twin_one:Manager"),
        ("unready", "workspace-manager-odd", "1.0", "wm_odd:Unready"),
    ]
    assert not [module for module in sys.modules if module.startswith("wm_")]


def test_l1_contracts_are_found_under_the_same_names(install: Install) -> None:
    install("plain")
    assert "wm_plain:no_contract_yet" in [registration.object for registration in installed(CONTRACT_GROUP)]


@pytest.mark.parametrize(
    "name", ["plain-files", "Plain-Files", " PLAIN-FILES\n"], ids=["lower", "as-is", "upper-blank"]
)
def test_l1_a_third_party_plugin_is_loaded_whatever_the_case(install: Install, name: str, context: Context) -> None:
    install("plain")
    assert load(name).__qualname__ == "PlainManager"
    manager = create(name, context)
    assert isinstance(manager, WorkspaceManager)
    assert manager.context is context


def test_l1_a_typing_mistake_is_told_with_what_is_installed_and_a_guess(install: Install) -> None:
    install("plain", "twin_one")
    error = refused("plan-files")
    (problem,) = error.problems
    assert problem.startswith(
        "WORKSPACE_MANAGER='plan-files' names no workspace manager that is installed; installed: "
    )
    assert "Plain-Files (workspace-manager-plain 2.3.1)" in problem
    assert "twin (workspace-manager-twin-one 1.1)" in problem
    assert "Did you mean 'plain-files'?" in problem
    assert problem.endswith(
        "Set WORKSPACE_MANAGER to one of these, "
        "or install the distribution that registers it in the environment of the hub."
    )


@pytest.mark.parametrize(
    "name",
    ["", "zzzzzz", "wm_plain:PlainManager", "plain", "x" * 300, "a\nb"],
    ids=["empty", "unlike-any", "object", "prefix", "long", "line-break"],
)
def test_l1_nothing_but_a_whole_name_is_taken(install: Install, name: str) -> None:
    install("plain")
    (problem,) = refused(name).problems
    assert "names no workspace manager that is installed" in problem
    assert len(problem) < 3000
    assert "wm_plain" not in sys.modules


def test_l1_a_missing_default_is_called_the_default(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(install())])
    (problem,) = refused("lscsde").problems
    assert problem == (
        "WORKSPACE_MANAGER='lscsde' (the default) names no workspace manager that is installed; installed: none. "
        "Install the distribution that registers it in the environment of the hub."
    )


def test_l2_two_distributions_with_one_name_are_both_named_and_neither_imported(install: Install) -> None:
    folder = install("twin_one", "twin_two")
    (problem,) = refused("twin").problems
    assert problem == (
        "the workspace manager 'twin' is registered 2 times: "
        f"workspace-manager-twin-two 1.2 (object wm_twin_two:Manager, file {folder}/wm_twin_two.py), "
        f"workspace-manager-twin-one 1.1 (object wm_twin_one:Manager, file {folder}/wm_twin_one.py). "
        "Which of them is meant cannot be known; uninstall all but one, or have one registered under another name."
    )


def test_l2_a_name_that_two_distributions_share_does_not_stop_another(install: Install) -> None:
    install("twin_one", "twin_two", "broken", "plain")
    assert load("plain-files").__qualname__ == "PlainManager"


@pytest.mark.parametrize(
    ("name", "reference", "file", "expected"),
    [
        pytest.param(
            "no-library",
            "wm_broken.no_library:Manager",
            "wm_broken/no_library.py",
            "could not be imported: ModuleNotFoundError: \"No module named 'wm_library_that_is_not_installed'\" "
            "({folder}/wm_broken/no_library.py, line 3). Repair or reinstall workspace-manager-broken",
            id="import-error",
        ),
        pytest.param(
            "no-module",
            "wm_broken.nowhere:Manager",
            None,
            "could not be imported: ModuleNotFoundError: \"No module named 'wm_broken.nowhere'\".",
            id="no-module",
        ),
        pytest.param(
            "no-attribute",
            "wm_broken.interface:Missing",
            "wm_broken/interface.py",
            "could not be imported: AttributeError: \"module 'wm_broken.interface' has no attribute 'Missing'\".",
            id="no-attribute",
        ),
        pytest.param("no-reference", "not a reference", None, "must be of the form module:Class", id="no-reference"),
        pytest.param(
            "exits",
            "wm_broken.exits:Manager",
            "wm_broken/exits.py",
            "could not be imported: SystemExit: 'usage: exits FILE' ({folder}/wm_broken/exits.py, line 3).",
            id="exits",
        ),
        pytest.param(
            "not-a-class",
            "wm_broken.interface:not_a_class",
            "wm_broken/interface.py",
            "is not a class: found function '<function not_a_class at",
            id="not-a-class",
        ),
        pytest.param(
            "not-a-plugin",
            "wm_broken.interface:NotAPlugin",
            "wm_broken/interface.py",
            "is not a subclass of workspace_managers.WorkspaceManager: found 'NotAPlugin'",
            id="not-a-plugin",
        ),
        pytest.param(
            "version",
            "wm_broken.interface:Version",
            "wm_broken/interface.py",
            "works with interface versions 99 to 99, and this framework has 1; install a version of the plugin",
            id="version",
        ),
        pytest.param(
            "version-true",
            "wm_broken.interface:VersionTrue",
            "wm_broken/interface.py",
            "has the interface_versions '(True, True)'; expected: the lowest and the highest",
            id="version-true",
        ),
        pytest.param(
            "arguments",
            "wm_broken.interface:Arguments",
            "wm_broken/interface.py",
            "has a confirm that cannot be called as the framework does: found",
            id="arguments",
        ),
    ],
)
def test_l2_a_plugin_that_cannot_be_used_is_told_with_distribution_object_file_and_cause(
    install: Install, name: str, reference: str, file: str | None, expected: str
) -> None:
    folder = install("broken")
    error = refused(name)
    (problem,) = error.problems
    where = f"{folder}/{file}" if file else "not found"
    assert problem.startswith(
        f"workspace manager '{name}' of workspace-manager-broken 0.9 (object {reference}, file {where}) "
    )
    assert expected.format(folder=folder) in problem


def test_l2_the_exception_of_the_import_is_kept_as_the_cause(install: Install) -> None:
    install("broken")
    cause = refused("no-library").__cause__
    assert isinstance(cause, ModuleNotFoundError)
    assert cause.name == "wm_library_that_is_not_installed"


def told(problems: tuple[str, ...], start: str) -> list[str]:
    """What each problem says, without the place, which is the same for all."""
    assert all(problem.startswith(start) for problem in problems)
    return [problem.removeprefix(start).partition(") ")[2] for problem in problems]


def test_l2_each_abstract_method_is_told(install: Install) -> None:
    install("broken")
    assert told(refused("abstract").problems, "workspace manager 'abstract' of workspace-manager-broken 0.9") == [
        "does not define list_workspaces, which is abstract",
        "does not define volumes_for, which is abstract",
    ]


def test_l2_each_method_that_is_not_async_is_told(install: Install) -> None:
    install("broken")
    problems = told(refused("not-async").problems, "workspace manager 'not-async' of workspace-manager-broken 0.9")
    assert problems == [
        f"has a {name} that is not async; define it with `async def` (a decorator on it must return an `async def` too)"
        for name in ASYNC
    ]


def test_l2_each_final_method_that_is_overridden_is_told(install: Install) -> None:
    """L2: also one that a mixin brings. Any name that is not documented is the plugin's to use."""
    install("broken")
    assert told(refused("final").problems, "workspace manager 'final' of workspace-manager-broken 0.9") == [
        "overrides build_form, which is final; the framework decides there",
        "overrides provision (from wm_broken.interface.Mixin), which is final; the framework decides there",
    ]


def test_l2_every_problem_of_a_plugin_is_in_one_message(install: Install) -> None:
    install("broken")
    error = refused("everything")
    problems = told(error.problems, "workspace manager 'everything' of workspace-manager-broken 0.9")
    assert [problem.split(";")[0].split(",")[0] for problem in problems] == [
        "works with interface versions 2 to 3",
        "does not define volumes_for",
        "overrides provision (from wm_broken.interface.Mixin)",
        "has a list_workspaces that is not async",
    ]
    assert str(error).count("\n") == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "no-instance",
            "could not be made: its constructor raised OSError: 'no certificate in /etc/certificates' "
            "({folder}/wm_broken/constructors.py, line 14); it is called with the Context alone",
            id="raises",
        ),
        pytest.param("no-arguments", "could not be made: its constructor raised TypeError: ", id="no-arguments"),
        pytest.param("no-context", "does not keep its context; call super().__init__(context)", id="no-context"),
        pytest.param("other-context", "does not keep its context; call super().__init__(context)", id="other-context"),
        pytest.param("other-instance", "could not be made: its __new__ answered with '{{}}'", id="other-instance"),
        pytest.param(
            "late-final", "sets provision on its instance, which the framework keeps to itself", id="late-final"
        ),
    ],
)
def test_l2_a_plugin_that_cannot_be_made_is_refused(
    install: Install, context: Context, name: str, expected: str
) -> None:
    folder = install("broken")
    error = refused(name, context)
    (problem,) = error.problems
    assert problem.startswith(
        f"workspace manager '{name}' of workspace-manager-broken 0.9 (object wm_broken.constructors:"
    )
    assert f"file {folder}/wm_broken/constructors.py) {expected.format(folder=folder)}" in problem


def test_l2_the_exception_of_the_constructor_is_kept_as_the_cause(install: Install, context: Context) -> None:
    install("broken")
    assert isinstance(refused("no-instance", context).__cause__, OSError)


def test_l2_a_class_and_an_instance_that_are_falsy_are_a_plugin_like_any_other(
    install: Install, context: Context
) -> None:
    """L2: stevedore's DriverManager.driver would answer with the class."""
    install("odd")
    assert not load("falsy")
    manager = create("falsy", context)
    assert type(manager).__name__ == "Falsy"
    assert manager.context is context


def test_l1_what_is_installed_later_is_seen_and_what_is_removed_is_not(install: Install) -> None:
    """L1: stevedore's caches, in memory and on disk, would tell otherwise."""
    refused("plain-files")
    folder = install("plain")
    points = folder / "workspace_manager_plain-2.3.1.dist-info" / "entry_points.txt"
    before = points.stat()
    assert load("plain-files").__qualname__ == "PlainManager"
    points.write_text("[workspace_managers]\nrenamed = wm_plain:PlainManager\n")
    os.utime(points, (before.st_atime, before.st_mtime))
    assert find("renamed").object == "wm_plain:PlainManager"
    assert load("renamed").__qualname__ == "PlainManager"
    refused("plain-files")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param("Metadata-Version: 2.1\n", "an unnamed distribution of unknown version", id="no-name"),
        pytest.param(None, "an unnamed distribution of unknown version", id="no-metadata"),
    ],
)
def test_l1_a_distribution_without_metadata_hides_no_other(
    install: Install, metadata: str | None, expected: str
) -> None:
    file = install("plain", "twin_one") / "workspace_manager_twin_one-1.1.dist-info" / "METADATA"
    if metadata is None:
        file.unlink()
    else:
        file.write_text(metadata)
    sources = [registration.source for registration in installed()]
    assert any(source.startswith(expected) for source in sources)
    assert load("plain-files").__qualname__ == "PlainManager"


def test_l1_entry_points_that_cannot_be_read_are_a_problem_and_no_traceback(install: Install) -> None:
    folder = install("plain")
    (folder / "workspace_manager_plain-2.3.1.dist-info" / "entry_points.txt").write_text(
        "[workspace_managers]\nnonsense\n"
    )
    (problem,) = refused("plain-files").problems
    assert problem.startswith("the entry points of the installed distributions cannot be read (")
    assert "install it again" in problem


def test_l1_what_pip_installs_is_what_is_listed(tmp_path: Path) -> None:
    """L1: the wheels of these tests are installed by pip itself here, and listed by a process of its own."""
    target = tmp_path / "site"
    wheel = dists.wheel("plain", tmp_path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    program = "from workspace_managers.registry import installed; print(*map(str, installed()), sep='\\n')"
    listed = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(target), str(REPOSITORY)])},
        cwd=tmp_path,
    )
    assert "Plain-Files (workspace-manager-plain 2.3.1)" in listed.stdout.splitlines()


def test_l2_what_the_framework_decides_is_final() -> None:
    """L2: the checks read the marks, so a mark that is lost would open the method to every plugin."""
    final = {name for name, method in vars(WorkspaceManager).items() if getattr(method, "__final__", False)}
    assert final == {"build_form", "provision"}
