"""The plugin's environment variables."""
# ruff: noqa: S101, S105, S106 - tests assert, on made-up secrets

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workspace_managers import ConfigurationError, registry

from ..variables import _VARIABLES, KeycloakSettings
from .realm import context

SECRET = "s3cret-of-the-client"
GOOD = {
    "KEYCLOAK_API_BASE_URL": "https://id.example.org/auth/admin/realms/hub/",
    "KEYCLOAK_TOKEN_URL": "https://id.example.org/auth/realms/hub/protocol/openid-connect/token",
    "KEYCLOAK_CLIENT_ID": "jupyterhub",
    "KEYCLOAK_CLIENT_SECRET": f"{SECRET}\n",
    "KEYCLOAK_ENVIRONMENTS": '{"r": {"image": "example/r:1", "resources": {"limits": {"cpu": 2, "memory": "4Gi"}}}}',
}


def problems(**changes: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        KeycloakSettings.from_environ({**GOOD, **changes})
    return refused.value.problems


def test_good_values_are_taken() -> None:
    settings = KeycloakSettings.from_environ(GOOD)
    assert settings.base_url == "https://id.example.org/auth/admin/realms/hub"
    assert settings.client_secret == SECRET
    assert settings.environments["r"].resources.limits == {"cpu": "2", "memory": "4Gi"}


def test_secret_is_in_no_repr() -> None:
    """F1."""
    assert SECRET not in repr(KeycloakSettings.from_environ(GOOD))


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.org/admin/realms/hub",
        "http://127.0.0.1.example.org/admin",
        "ftp://id.example.org/admin",
        "id.example.org/admin",
        "https:///admin",
        "https://id.example.org",
        "https://id.example.org:port/admin",
        "https://id.example.org/admin?x=1",
        "https://id.example.org/admin#x",
        "https://id.example.org/ad min",
        "https://[/admin",
    ],
)
@pytest.mark.parametrize("name", ["KEYCLOAK_API_BASE_URL", "KEYCLOAK_TOKEN_URL"])
def test_bad_url_is_one_sentence(name: str, url: str) -> None:
    """L3."""
    (problem,) = problems(**{name: url})
    assert problem.startswith(f"{name} is ")
    assert "accepted: an https:// URL" in problem


def test_password_in_a_url_is_not_told() -> None:
    """F1."""
    (problem,) = problems(KEYCLOAK_TOKEN_URL="https://admin:hunter2@id.example.org/token")
    assert "has a user or a password in it" in problem
    assert "hunter2" not in problem


def test_http_is_for_this_machine_alone() -> None:
    url = "http://127.0.0.1:8080/admin/realms/hub"
    assert KeycloakSettings.from_environ({**GOOD, "KEYCLOAK_API_BASE_URL": url}).base_url == url


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "is '[]', which names no environment"),
        ("{}", "which names no environment"),
        ('{"r": "example/r:1"}', "has the environment 'r', which is not an image and resources alone"),
        ('{"r": {"image": "example/r:1", "mem_limit": "4G"}}', "which is not an image and resources alone"),
        ('{"r": {}}', "has the environment 'r' without an image"),
        ('{"r": {"image": "example/r: 1"}}', "without an image"),
        ('{"r": {"image": "i", "resources": {"limit": {}}}}', "whose resources are not requests and limits alone"),
        ('{"r": {"image": "i", "resources": {"limits": 4}}}', "whose resources are not maps of quantities"),
        ('{"r": {"image": "i", "resources": {"limits": {"memory": "4GB"}}}}', "whose 'memory' is wrong: '4GB' is not"),
    ],
)
def test_bad_environments_are_one_sentence(value: str, told: str) -> None:
    (problem,) = problems(KEYCLOAK_ENVIRONMENTS=value)
    assert problem.startswith("KEYCLOAK_ENVIRONMENTS ")
    assert told in problem
    assert "accepted: JSON such as " in problem


def test_form_that_errors_show_is_accepted() -> None:
    (problem,) = problems(KEYCLOAK_ENVIRONMENTS="{")
    shown = problem.partition("accepted: JSON such as ")[2].removesuffix(".")
    settings = KeycloakSettings.from_environ({**GOOD, "KEYCLOAK_ENVIRONMENTS": shown})
    assert settings.environments.keys() == json.loads(shown).keys()


def test_hub_is_told_every_problem_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: by the entry point, as a hub would; nothing has a default, and an empty value is told as such."""
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYCLOAK_CLIENT_SECRET", " ")
    with pytest.raises(ConfigurationError) as refused:
        registry.create("keycloak", context())
    told = str(refused.value)
    for name in GOOD:
        found = "is set, but empty" if name == "KEYCLOAK_CLIENT_SECRET" else "is not set"
        assert f"{name} {found}; accepted: " in told
    assert len(refused.value.problems) == len(GOOD)


@pytest.mark.parametrize("name", _VARIABLES)
def test_readme_has_the_variable(name: str) -> None:
    assert f"| `{name}` |" in (Path(__file__).parents[1] / "README.md").read_text()
