"""A stand-in Keycloak for each test, and the plugin pointed at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .. import KeycloakWorkspaceManager
from .realm import ENVIRONMENTS, Realm, context


@pytest.fixture
async def realm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Realm]:
    made = Realm()
    await made.start()
    for name, value in made.environ(ENVIRONMENTS).items():
        monkeypatch.setenv(name, value)
    yield made
    await made.stop()


@pytest.fixture
async def manager(realm: Realm) -> AsyncIterator[KeycloakWorkspaceManager]:
    made = KeycloakWorkspaceManager(context())
    await made.start()
    yield made
    await made.close()
