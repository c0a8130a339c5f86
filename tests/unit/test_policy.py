"""What an operator allows: one file, checked whole before the hub starts (L3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspace_managers import ConfigurationError, Settings
from workspace_managers.policy import STRICT, Policy


def read(file: Path, text: str | bytes) -> Policy:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Settings.from_environ({"POD_NAMESPACE": "hub", "WORKSPACE_POLICY": str(file)}).policy


def test_without_a_file_nothing_is_allowed() -> None:
    assert Settings.from_environ({}).policy == STRICT == Policy(claims=(), service_accounts=())
    assert not STRICT.allows_claim("jupyter-x")
    assert not STRICT.allows_service_account("default")
    assert not STRICT.allows_namespace("project-x")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        pytest.param("{}", STRICT, id="nothing"),
        pytest.param("claims: []", STRICT, id="empty-list"),
        pytest.param("claims: [data-*, 'x']", Policy(claims=("data-*", "x")), id="one-list"),
        pytest.param("namespaces: [project-*]", Policy(namespaces=("project-*",)), id="namespaces"),
        pytest.param("claims: ['*']\nservice_accounts: [a]", Policy(("*",), ("a",)), id="both"),
    ],
)
def test_file_is_read(tmp_path: Path, text: str, policy: Policy) -> None:
    found = read(tmp_path / "policy.yaml", text)
    assert found == policy
    environ = Settings.from_environ({"WORKSPACE_POLICY": str(tmp_path / "policy.yaml")}).as_environ()
    assert environ["WORKSPACE_POLICY"] == str(tmp_path / "policy.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "holds 'None', which is no map of lists", id="empty"),
        pytest.param("- a", "which is no map of lists", id="a-list"),
        pytest.param("claims: data-*", "has 'data-*' as claims, which is no list", id="no-list"),
        pytest.param("claims:", "has 'None' as claims, which is no list", id="null"),
        pytest.param("claims: ['']", "has '' among its claims, which is no pattern", id="empty-pattern"),
        pytest.param("claims: [' ']", "has ' ' among its claims, which is no pattern", id="blank-pattern"),
        pytest.param("claims: [1]", "has '1' among its claims, which is no pattern", id="number"),
        pytest.param("claims: [*]", "is no YAML", id="an-alias"),
        pytest.param("claims: [", "is no YAML", id="half-a-file"),
        pytest.param("claim: [a]", "has 'claim', which is not known", id="unknown"),
        pytest.param("1: [a]", "has '1', which is not known", id="unknown-number"),
        pytest.param("file: [a]", "has 'file', which is not known", id="a-field-of-ours"),
        pytest.param("claims: [a]\nclaims: [b]", "has 'claims' twice", id="twice"),
        pytest.param(b"\xff", "cannot be read (UnicodeDecodeError", id="no-text"),
        pytest.param("[" * 5000, "cannot be read (RecursionError", id="nested"),
        pytest.param("a: []\nclaims: [1]", "has 'a', which is not known; has '1' among", id="every-mistake"),
    ],
)
def test_mistake_stops_the_hub_with_one_message(tmp_path: Path, text: str | bytes, told: str) -> None:
    """L3: never a policy that is half of what was written."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path / "policy.yaml", text)
    (problem,) = caught.value.problems
    assert problem.startswith("WORKSPACE_POLICY=")
    assert told in problem
    assert (
        "accepted: none, or the path of a YAML file, a map of claims, service_accounts, namespaces to lists" in problem
    )


@pytest.mark.parametrize("name", ["missing.yaml", ""], ids=["missing", "a-folder"])
def test_file_that_cannot_be_read_stops_the_hub(tmp_path: Path, name: str) -> None:
    """L3."""
    with pytest.raises(ConfigurationError, match=r"cannot be read \((FileNotFound|IsADirectory)Error"):
        Settings.from_environ({"WORKSPACE_POLICY": str(tmp_path / name)})
