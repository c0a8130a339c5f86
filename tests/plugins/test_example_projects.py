"""The worked example ``docs/example-projects``, in an environment of its own, on a real TLS server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.environments import ROOT, Environment, wheel

EXAMPLE = ROOT / "docs" / "example-projects"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The example beside the framework of this checkout."""
    folder = tmp_path_factory.mktemp("example-projects")
    made = Environment(folder / "venv", ROOT, ROOT / "plugins")
    made.install("--no-deps", wheel(EXAMPLE, folder))
    return made


def test_contract_is_kept(environment: Environment, tmp_path: Path) -> None:
    """Every clause but the one that namespaces rule out, with its reason; those of homes and namespaces as well."""
    done = environment.run("python", "-m", "workspace_managers", "contract", "projects", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("projects: "))
    assert "1 unsupported" in line
    assert "broken" not in line


def test_its_own_tests_pass(environment: Environment, tmp_path: Path) -> None:
    """Certificates that are none, tokens that are over, answers without an end; and no token in the log."""
    settings = ("-p", "no:cacheprovider", "-c", EXAMPLE / "pyproject.toml")
    done = environment.run("python", "-m", "pytest", "-q", *settings, EXAMPLE / "tests", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_settings_are_checked_before_the_hub_starts(environment: Environment, tmp_path: Path) -> None:
    """L3: every problem at once, without the platform and without the token's file."""
    check = ("python", "-m", "workspace_managers", "check")
    right = {"PROJECTS_URL": "https://127.0.0.1:1/api", "PROJECTS_TOKEN_FILE": "/nowhere/token"}
    done = environment.run(*check, cwd=tmp_path, WORKSPACE_MANAGER="projects", **right)
    assert done.returncode == 0, done.stdout
    assert "the hub would start with projects of workspace-manager-projects " in done.stdout
    done = environment.run(*check, cwd=tmp_path, WORKSPACE_MANAGER="projects", PROJECTS_CA="ca.pem")
    assert done.returncode == 1
    for problem in ("PROJECTS_URL is ''; accepted: ", "PROJECTS_CA is 'ca.pem'; ", "PROJECTS_TOKEN_FILE is ''; "):
        assert problem in done.stdout
