"""The plugin: groups that the login's claim names, and that Keycloak still counts the account into.

Always true here: every question is answered by Keycloak as it is now, so ``confirm`` needs no code of its own. A
workspace is granted only by both of these:

- the claim ``realm_groups``, which says what the account was in when it signed in: who is put into a group signs in
  again to see it;
- the account's groups now. A claim outlives what it tells of by as long as the person stays signed in, so it alone
  would let people start what was taken from them. An account that was disabled or deleted has none.

The account is found by the claim ``sub``, which is Keycloak's own id of it. A username can be handed on to somebody
else, and may be spelled differently in the hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from workspace_managers import (
    HOME,
    SHARED_CLAIM,
    SHARED_NAME,
    BackendUnavailable,
    Context,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
    quote,
)

from .client import Keycloak
from .groups import GROUPS_CLAIM, Group, claimed_paths, read_groups
from .variables import KeycloakSettings


class KeycloakWorkspaceManager(WorkspaceManager):
    """Workspaces from the sub-groups of ``/jupyter-workspaces``. Legacy: kept for hubs that have not gone over yet."""

    interface_versions = (1, 1)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = KeycloakSettings.from_environ()
        self._keycloak = Keycloak(settings)
        self._environments = settings.environments
        self._reading = asyncio.Lock()
        self._readings = 0
        self._groups: Sequence[Group] | None = None
        self._told: frozenset[str] = frozenset()
        self._told_of_claims = False
        context.log.warning(
            "The workspace manager keycloak is legacy. Write an AnalyticsWorkspace for each group and a binding for "
            "each member, then set WORKSPACE_MANAGER=lscsde; the storage stays. The plugin's README tells how."
        )

    async def start(self) -> None:
        """Make ready to ask Keycloak."""
        await self._keycloak.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._keycloak.close()

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """Every group that the claim names and that the account is in now; without the claim, nothing is asked."""
        if user.identity_claims is None:
            raise BackendUnavailable(f"the identity claims of {quote(user.name)} are not known now")
        paths, account = claimed_paths(user.identity_claims), user.identity_claims.get("sub")
        if not user.identity_claims:
            self._tell_of_claims(user)
        if not paths or not isinstance(account, str) or not account:
            return []
        known = await self._keycloak.account(account)
        if known is None or known.get("enabled") is not True:
            return []
        member_of = await self._keycloak.memberships(account)
        return [each.workspace for each in await self._groups_now() if each.id in member_of and each.path in paths]

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """The workspace's own claim in its folder, and the shared claim read-only."""
        own = Volume(claim=default_claim(workspace.name), mount_path=f"{HOME}/{workspace.name}")
        shared = Volume(claim=SHARED_CLAIM, mount_path=f"{HOME}/{SHARED_NAME}", read_only=True, shared=True)
        return own, shared

    async def problems(self) -> Sequence[str]:
        """Every group that is set aside, and why."""
        _, problems = read_groups(await self._keycloak.workspace_groups(), self._environments)
        return problems

    async def _groups_now(self) -> Sequence[Group]:
        """The groups, by a reading that began after this question: one serves all who came before it began."""
        begun = self._readings
        async with self._reading:
            if self._readings == begun or self._groups is None:
                self._readings += 1
                self._groups = None
                groups, problems = read_groups(await self._keycloak.workspace_groups(), self._environments)
                self._tell(problems)
                self._groups = groups
            return self._groups

    def _tell(self, problems: Sequence[str]) -> None:
        # Each when it first appears, not at each question.
        for problem in problems:
            if problem not in self._told:
                self.context.log.warning("Keycloak: %s", problem)
        self._told = frozenset(problems)

    def _tell_of_claims(self, user: User) -> None:
        if not self._told_of_claims:
            self._told_of_claims = True
            self.context.log.warning(
                "The hub knows no identity claims of %s, so they have no workspaces: set "
                "Authenticator.enable_auth_state, and have Keycloak put sub and %s into the userinfo",
                quote(user.name),
                GROUPS_CLAIM,
            )
