"""Two plugins that are as they should be, over a backend in memory; one has a cache that ``confirm`` passes by.

Always true here: every answer is made from the question's own user and the backend's facts, of the moment or, on the
form of the second, of the last change that a watch has told of.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import aiohttp
import attrs

from workspace_managers import (
    HOME,
    HOMES,
    NAMESPACES,
    SHARED_CLAIM,
    SHARED_NAME,
    TELLS_CHANGES,
    BackendUnavailable,
    Context,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
    personal_claim,
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

    interface_versions = (1, 1)

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
        return bool(user.username) and user.username == username.lower()

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        """A grant."""
        return Workspace(name=name, grant_last_day=until, **facts)

    async def grants(self, user: User) -> list[Workspace]:
        """What the backend says now."""
        workspaces, grants = await backend.read()
        mine = [(name, until) for username, name, until in grants if name in workspaces and self.holds(user, username)]
        for name in {name for name, _ in mine if workspaces[name]["image"] is None}:
            self.skip(name)
        return [self.build(name, workspaces[name], until) for name, until in mine if workspaces[name]["image"]]

    def skip(self, name: str) -> None:
        """Leave out a workspace without an image."""
        self.context.log.warning("The workspace %s has no image", name)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """What the backend says now; remembered for nobody but the plugins that break a clause."""
        self.seen[user.name] = await self.grants(user)
        return self.seen[user.name]

    async def confirm(self, user: User, name: str) -> Workspace:
        """The backend's own answer."""
        return require_open(user, name, await self.grants(user), self.context.today())

    async def all_workspaces(self) -> Sequence[Workspace]:
        """What the backend says now, whoever it is granted to."""
        workspaces, _ = await backend.read()
        return [self.build(name, facts, date.max) for name, facts in workspaces.items() if facts["image"]]

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """Its own claim, the shared one, and the person's where homes are kept."""
        name = workspace.name
        homes = [self.home(user, workspace)] if workspace.keeps_home else []
        return (self.own(workspace, default_claim(name)), self.shared(), *homes)

    def home(self, user: User, workspace: Workspace) -> Volume:
        """The person's home folder."""
        return Volume(claim=personal_claim(user.username, workspace.name), mount_path=HOME, personal=True)

    def own(self, workspace: Workspace, claim: str) -> Volume:
        """The workspace's folder."""
        return Volume(claim=claim, mount_path=f"{HOME}/{workspace.name}")

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
        """Write it; what is in the place of the one of this name is the same workspace."""
        known = backend.workspaces.get(name, {"uid": str(uuid.uuid4())})
        backend.workspaces[name] = {**facts, "uid": known["uid"]}

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Write it."""
        backend.grants.append((username, workspace, last_day))

    async def revoke(self, username: str, workspace: str) -> None:
        """Take it away."""
        backend.grants = [each for each in backend.grants if each[:2] != (username, workspace)]

    async def delete_workspace(self, name: str) -> None:
        """Take it away."""
        del backend.workspaces[name]

    async def keep_home(self, workspace: str) -> None:
        """Write it."""
        backend.workspaces[workspace]["keeps_home"] = True

    async def own_namespace(self, workspace: str) -> str:
        """Write it."""
        namespace = f"{self.namespace}-{workspace}"
        await self.make_namespace(namespace)
        backend.workspaces[workspace]["namespace"] = namespace
        return namespace

    async def outage(self) -> None:
        """Answer nothing."""
        backend.down = True

    async def recover(self) -> None:
        """Answer again."""
        backend.down = False

    async def break_workspace(self, name: str) -> None:
        """Forget its image."""
        backend.workspaces[name] = {**backend.workspaces[name], "image": None}


class WatchingManager(ExampleManager):
    """Keeps each form until the API server tells that the backend has changed, or the watch of it breaks."""

    capabilities = frozenset({HOMES, NAMESPACES, TELLS_CHANGES})

    @property
    def silence(self) -> float:
        """Seconds without a word after which the watch counts as broken."""
        return self.context.timeouts.silence

    def path(self) -> str:
        """Where it is told so."""
        return f"/api/v1/namespaces/{self.context.namespace}/configmaps"

    async def start(self) -> None:
        """Watch."""
        self.task = asyncio.create_task(self.watch())

    async def watch(self) -> None:
        """Watch again and again; what happened in between is unknown, so every form is forgotten."""
        while True:
            try:
                version = (await self.context.kube.get(self.path()))["metadata"]["resourceVersion"]
                self.lose()
                query = {"watch": "1", "resourceVersion": version}
                async with self.context.kube.stream(self.path(), query, silence=self.silence) as told:
                    async for line in told:
                        self.hear(json.loads(line))
            except (BackendUnavailable, aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.02)
            self.lose()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Something has changed."""
        self.seen.clear()
        told = event["object"].get("data") or {}
        if "username" in told:
            self.tell(usernames=[told["username"]])
        elif "workspace" in told:
            self.tell(workspaces=[told["workspace"]])

    def lose(self) -> None:
        """Something may have changed."""
        self.seen.clear()
        self.tell()

    def tell(self, **whom: Sequence[str]) -> None:
        """Have servers reviewed."""
        self.context.changed(**whom)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """What the backend said at the last change."""
        return self.seen.get(user.name) or await super().list_workspaces(user)

    async def confirm(self, user: User, name: str) -> Workspace:
        """Whether the backend is there is written on the API server; then its own answer."""
        await self.context.kube.get(self.path())
        return await super().confirm(user, name)


class WatchingWorld(ExampleWorld):
    """Tells the API server of each change."""

    async def put_workspace(self, name: str, **facts: Any) -> None:
        """Write it, and tell."""
        await super().put_workspace(name, **facts)
        await self.tell(workspace=name)

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Write it, and tell."""
        await super().grant(username, workspace, last_day)
        await self.tell(username=username.lower())

    async def revoke(self, username: str, workspace: str) -> None:
        """Take it away, and tell."""
        await super().revoke(username, workspace)
        await self.tell(username=username.lower())

    async def delete_workspace(self, name: str) -> None:
        """Take it away, and tell."""
        await super().delete_workspace(name)
        await self.tell(workspace=name)

    async def break_workspace(self, name: str) -> None:
        """Forget its image, and tell."""
        await super().break_workspace(name)
        await self.tell(workspace=name)

    async def tell(self, **what: str) -> None:
        """Change an object that is watched."""
        collection = f"/api/v1/namespaces/{self.namespace}/configmaps"
        data = {"last": str(uuid.uuid4()), **what}
        await self.put_object(collection, {"metadata": {"name": "changes"}, "data": data})


class ExampleContract(WorkspaceManagerContract):
    """Every clause holds."""

    manager_class = ExampleManager
    world = ExampleWorld


class WatchingContract(WorkspaceManagerContract):
    """Every clause holds, and none is left out."""

    manager_class = WatchingManager
    world = WatchingWorld


def changed(workspaces: Iterable[Workspace], **changes: Any) -> list[Workspace]:
    """The same grants with other facts."""
    return [attrs.evolve(each, **changes) for each in workspaces]
