"""The identity provider's claims, as the authenticators that people use keep them (rule E6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from oauthenticator.auth0 import Auth0OAuthenticator
from oauthenticator.azuread import AzureAdOAuthenticator
from oauthenticator.cilogon import CILogonOAuthenticator
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.github import GitHubOAuthenticator
from oauthenticator.gitlab import GitLabOAuthenticator
from oauthenticator.globus import GlobusOAuthenticator
from oauthenticator.google import GoogleOAuthenticator
from oauthenticator.openshift import OpenShiftOAuthenticator
from traitlets.config import Config

from workspace_managers import Settings
from workspace_managers.hub import identity

USER_INFO = {"sub": "alice", "groups": ["cardio"]}
TOKEN_INFO: dict[str, Any] = {
    "access_token": "not-a-claim",
    "refresh_token": None,
    "id_token": None,
    "scope": "",
    "other_tokens": [],
}
CONFIG = Config(
    {
        "Auth0OAuthenticator": {"auth0_domain": "idp.example.org"},
        "CILogonOAuthenticator": {
            "allowed_idps": {
                "https://github.com/login/oauth/authorize": {"username_derivation": {"username_claim": "email"}}
            }
        },
        "OpenShiftOAuthenticator": {"openshift_auth_api_url": "https://idp.example.org"},
    }
)


@pytest.mark.parametrize(
    "kind",
    [
        *(Auth0OAuthenticator, AzureAdOAuthenticator, CILogonOAuthenticator, GenericOAuthenticator),
        *(GitHubOAuthenticator, GitLabOAuthenticator, GlobusOAuthenticator, GoogleOAuthenticator),
        OpenShiftOAuthenticator,
    ],
)
async def test_claims_are_found_where_an_authenticator_keeps_them(kind: Any) -> None:
    """And nothing beside them: no token is a claim."""
    authenticator = kind(config=CONFIG, enable_auth_state=True)
    state = authenticator.build_auth_state_dict(dict(TOKEN_INFO), dict(USER_INFO))

    async def get_auth_state() -> Any:
        return state

    user = SimpleNamespace(name="alice", authenticator=authenticator, get_auth_state=get_auth_state)
    found = (await identity.person(user, Settings.from_environ({"WORKSPACE_CLAIMS_HOURS": "0"}))).identity_claims
    assert found is not None
    assert {name: found[name] for name in USER_INFO} == {"sub": "alice", "groups": ("cardio",)}
    assert "not-a-claim" not in repr(found)
