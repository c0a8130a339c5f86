"""The stand-in Keycloak as the tests speak to it, and the context of a plugin."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workspace_managers import Context, Settings, User
from workspace_managers.kube.client import Kube

from ..standin import KeycloakStandIn

ENVIRONMENTS = {"jupyter_default": {"image": "example/notebook:1.0"}}
OPEN: Mapping[str, Any] = {"workspace.xlscsde.nhs.uk/endDate": ["2026-12-31"]}
LOGGER = "test.keycloak"


def context() -> Context:
    return Context(
        settings=Settings.from_environ({"POD_NAMESPACE": "hub"}),
        kube=Kube("hub"),
        log=logging.getLogger(LOGGER),
        clock=lambda: datetime(2026, 6, 15, 12, tzinfo=UTC),
    )


class Realm(KeycloakStandIn):
    """What the tests say to it."""

    def study(self, name: str, *usernames: str, **attributes: list[str]) -> str:
        """A group with these members; it is open today. Its id."""
        own = {f"workspace.xlscsde.nhs.uk/{key}": value for key, value in attributes.items()}
        group: str = self.put_group(name, {**OPEN, **own})["id"]
        self.members |= {(self.put_account(username), group) for username in usernames}
        return group

    def login(self, username: str, *paths: str, **changes: Any) -> User:
        """The user, with the claims of a sign-in that named these groups."""
        return User.identify(username, {"sub": self.put_account(username), "realm_groups": list(paths), **changes})

    def asked(self, part: str) -> int:
        """How many requests had this in their path."""
        return sum(part in path for _, path in self.requests)
