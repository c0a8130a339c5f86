"""The plugin keeps the contract, but for what a Keycloak group has no place for."""

from __future__ import annotations

from ..contract import KeycloakContract


class TestKeycloak(KeycloakContract):
    """Collected as in any plugin's own tests."""
