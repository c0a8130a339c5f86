"""The worked example, ``docs/example-plugin``, in an environment of its own, on a real PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.environments import ROOT, Environment, wheel

EXAMPLE = ROOT / "docs" / "example-plugin"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The example beside the framework of this checkout."""
    folder = tmp_path_factory.mktemp("example")
    made = Environment(folder / "venv", ROOT, ROOT / "plugins")
    made.install("asyncpg")
    made.install("--no-deps", wheel(EXAMPLE, folder))
    return made


def test_contract_is_kept(environment: Environment, tmp_path: Path) -> None:
    """Every clause but the two that the tables rule out, each with its reason."""
    done = environment.run("python", "-m", "workspace_managers", "contract", "postgresql", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("postgresql: "))
    assert "1 unsupported" in line
    assert "broken" not in line


def test_its_own_tests_pass(environment: Environment, tmp_path: Path) -> None:
    """Connections refused, queries cancelled, tables missing; and no password in the log."""
    command = (
        "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        EXAMPLE / "pyproject.toml",
        EXAMPLE / "tests",
    )
    done = environment.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_chosen_by_the_variable_alone(environment: Environment, tmp_path: Path) -> None:
    """L1: side by side with the shipped one; neither stands in for the other."""
    check = ("python", "-m", "workspace_managers", "check")
    dsn = {"POSTGRESQL_DSN": "postgresql://reader:hush-hush@127.0.0.1:1/studies"}
    for name, distribution in (
        ("postgresql", "workspace-manager-postgresql"),
        ("lscsde", "jupyterhub-workspace-managers"),
    ):
        done = environment.run(*check, cwd=tmp_path, WORKSPACE_MANAGER=name, **dsn)
        assert done.returncode == 0, done.stdout
        assert f"the hub would start with {name} of {distribution} " in done.stdout
        assert "hush-hush" not in done.stdout
    done = environment.run(*check, cwd=tmp_path, WORKSPACE_MANAGER="postgresql")
    assert done.returncode == 1
    assert "POSTGRESQL_DSN is not set; give it the database's address" in done.stdout
