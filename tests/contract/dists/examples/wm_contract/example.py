"""A plugin that is as it should be, over a backend in memory, with a cache that ``confirm`` passes by.

Always true here: every answer is made from the question's own user and the backend's facts of the moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

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
    require_open,
)
from workspace_managers.contract import WorkspaceManagerContract, World


@dataclass
class Backend:
    """What a directory of studies knows."""

    workspaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    grants: list[tuple[str, str, date]] = field(default_factory=list)
    down: bool = False

    async def read(self) -> tuple[dict[str, dict[str, Any]], list[tuple[str, str, date]]]:
        """All that it knows, after the time that a network takes."""
        await asyncio.sleep(0)
        if self.down:
            raise BackendUnavailable("the directory of studies does not answer")
        return dict(self.workspaces), list(self.grants)


backend = Backend()


class ExampleManager(WorkspaceManager):
    """Right in every clause."""

    interface_version = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.seen: dict[str, list[Workspace]] = {}
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Watch the backend, as a plugin with a cache does."""
        self.task = asyncio.create_task(asyncio.sleep(3600))

    async def close(self) -> None:
        """Stop to watch."""
        if self.task is not None:
            self.task.cancel()

    def holds(self, user: User, username: str) -> bool:
        """Whether a grant to this username is this user's."""
        return bool(user.username) and user.username == username.casefold()

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        """A grant."""
        return Workspace(name=name, grant_expires=until, **facts)

    async def grants(self, user: User) -> list[Workspace]:
        """What the backend says now."""
        workspaces, grants = await backend.read()
        return [
            self.build(name, workspaces[name], until)
            for username, name, until in grants
            if name in workspaces and self.holds(user, username)
        ]

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """What the backend says now; remembered for nobody but the plugins that break a clause."""
        self.seen[user.name] = await self.grants(user)
        return self.seen[user.name]

    async def confirm(self, user: User, name: str) -> Workspace:
        """The backend's own answer."""
        return require_open(user, name, await self.grants(user), self.context.today())

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """Its own claim, and the shared one."""
        name = workspace.name
        return (self.own(workspace, default_claim(name)), self.shared())

    def own(self, workspace: Workspace, claim: str) -> Volume:
        """The workspace's folder."""
        return Volume(claim=claim, mount_path=f"{HOME}/{workspace.name}", sole=True)

    def shared(self) -> Volume:
        """The folder that everybody reads."""
        return Volume(claim=SHARED_CLAIM, mount_path=f"{HOME}/{SHARED_NAME}", read_only=True, shared=True)


class ExampleWorld(World):
    """The backend in memory, emptied for each clause."""

    async def start(self) -> None:
        """An empty backend."""
        await super().start()
        backend.__init__()  # type: ignore[misc]  # the plugin holds on to the object

    async def put_workspace(self, name: str, **facts: Any) -> None:
        """Write it."""
        backend.workspaces[name] = facts

    async def grant(self, username: str, workspace: str, expires: date) -> None:
        """Write it."""
        backend.grants.append((username, workspace, expires))

    async def revoke(self, username: str, workspace: str) -> None:
        """Take it away."""
        backend.grants = [each for each in backend.grants if each[:2] != (username, workspace)]

    async def delete_workspace(self, name: str) -> None:
        """Take it away."""
        del backend.workspaces[name]

    async def outage(self) -> None:
        """Answer nothing."""
        backend.down = True

    async def recover(self) -> None:
        """Answer again."""
        backend.down = False


class ExampleContract(WorkspaceManagerContract):
    """Every clause holds."""

    manager_class = ExampleManager
    world = ExampleWorld


def changed(workspaces: Iterable[Workspace], **changes: Any) -> list[Workspace]:
    """The same grants with other facts."""
    return [replace(each, **changes) for each in workspaces]
