"""The plugin's contract: its world, a stand-in Keycloak on a real socket.

Always true here: the claims of a user name every group that was ever granted, as those of somebody who stays signed in
do: what is revoked or deleted later is still in them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from typing import Any
from unittest import mock

from aiohttp import web

from workspace_managers import User
from workspace_managers.contract import WorkspaceManagerContract, World

from .groups import GROUPS_CLAIM, PARENT
from .manager import KeycloakWorkspaceManager
from .standin import KeycloakStandIn

_ONE_END = "a group has one end for all of its members"


class KeycloakWorld(World):
    """Groups, accounts and memberships; an outage is 503 for everything, the token endpoint included."""

    def __init__(self) -> None:
        super().__init__()
        self.keycloak = KeycloakStandIn()
        self._environments: dict[str, Any] = {"jupyter_default": {"image": "example/notebook:1.0"}}
        self._claimed: dict[str, list[str]] = {}

    async def start(self) -> None:
        """Start the stand-in, and point the plugin's variables to it."""
        await super().start()
        await self.keycloak.start()
        self._environ = mock.patch.dict(os.environ, self.keycloak.environ(self._environments))
        self._environ.start()

    async def stop(self) -> None:
        """Leave the environment as it was."""
        self._environ.stop()
        await self.keycloak.stop()
        await super().stop()

    def user(self, username: str) -> User:
        """The user, with the claims of Keycloak's userinfo."""
        known = User.identify(username).username
        if known not in self._claimed:
            return User.identify(username)
        claims = {"sub": self.keycloak.put_account(known), "preferred_username": known}
        return User.identify(username, {**claims, GROUPS_CLAIM: list(self._claimed[known])})

    async def put_workspace(
        self,
        name: str,
        *,
        first_day: date,
        last_day: date,
        display_name: str,
        description: str,
        image: str,
        node_selector: Mapping[str, str],
    ) -> None:
        """Write the group, and an environment for its image. A group has no title but its name, and no node."""
        self._environments[image] = {"image": image}
        os.environ.update(self.keycloak.environ(self._environments))
        facts = {
            "environment": image,
            "startDate": str(first_day),
            "endDate": str(last_day),
            "description": description,
        }
        self.keycloak.put_group(
            _group_name(name), {f"workspace.xlscsde.nhs.uk/{key}": [text] for key, text in facts.items()}
        )

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Make the user a member, and have them sign in. A membership has no end of its own."""
        self._claimed.setdefault(username.lower(), []).append(f"/{PARENT}/{_group_name(workspace)}")
        account = self.keycloak.put_account(username)
        self.keycloak.members |= {(account, group) for group in self._groups_of(workspace)}

    async def revoke(self, username: str, workspace: str) -> None:
        """Take the membership away; the claim stays what it was at sign-in."""
        account = self.keycloak.put_account(username)
        self.keycloak.members -= {(account, group) for group in self._groups_of(workspace)}

    async def delete_workspace(self, name: str) -> None:
        """Delete the group, and its memberships with it; the claims still name it."""
        for group in self._groups_of(name):
            del self.keycloak.groups[group]

    async def break_workspace(self, name: str) -> None:
        """Give the group a last day that is none."""
        for group in self._groups_of(name):
            self.keycloak.groups[group]["attributes"]["workspace.xlscsde.nhs.uk/endDate"] = ["next summer"]

    async def outage(self) -> None:
        """Answer nothing."""
        self.keycloak.fault = _refuse

    async def recover(self) -> None:
        """Answer again."""
        self.keycloak.fault = None

    def _groups_of(self, workspace: str) -> list[str]:
        return [key for key, each in self.keycloak.groups.items() if each["name"] == _group_name(workspace)]


class KeycloakContract(WorkspaceManagerContract):
    """Every clause holds but for what a group has no place for."""

    manager_class = KeycloakWorkspaceManager
    world = KeycloakWorld
    unsupported = {  # noqa: RUF012 - the base class declares it
        "test_earlier_end_holds": _ONE_END,
        "test_any_window_in_any_zone_opens_by_the_calendar": _ONE_END,
        "test_hostile_text_stays_text": "a group's one name is the title and makes the workspace's name",
    }


def _group_name(workspace: str) -> str:
    # A name as people write it, which the plugin has to bring back to the workspace's.
    return workspace.replace("-", " ").capitalize()


async def _refuse(_request: web.Request) -> web.StreamResponse | None:
    return web.json_response({"error": "starting"}, status=503)
