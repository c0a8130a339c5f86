"""One clause's world and plugin, and what a clause says to them.

Always true here: everything that was made is closed when the clause ends, whatever way it ends, and no clause outlasts
``CLAUSE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime
from typing import Any

from .. import engine
from ..engine import Lifecycle, MakePod
from ..errors import AccessDenied, BackendUnavailable
from ..forms import Form
from ..manager import WorkspaceManager
from ..models import User, Workspace
from ..names import SHARED_CLAIM
from ..pods import NOTEBOOK
from .world import World

CLAUSE_SECONDS = 60.0
"""Longest time for one clause."""
FIRST_DAY = date(2026, 1, 1)
LAST_DAY = date(2026, 12, 31)

_POD: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "jupyter-user", "labels": {"app": "jupyterhub", "component": "singleuser-server"}},
    "spec": {
        "containers": [
            {
                "name": NOTEBOOK,
                "image": "example/notebook:1.0",
                "volumeMounts": [
                    {"name": "volume-user", "mountPath": "/home/jovyan"},
                    {"name": "settings", "mountPath": "/etc/jupyter"},
                ],
            }
        ],
        "volumes": [
            {"name": "volume-user", "persistentVolumeClaim": {"claimName": "claim-user"}},
            {"name": "settings", "configMap": {"name": "settings"}},
        ],
    },
}


def hub_pod() -> dict[str, Any]:
    """A pod as KubeSpawner makes it, with the Helm chart's personal storage on."""
    return copy.deepcopy(dict(_POD))


def mounted(pod: Mapping[str, Any]) -> dict[str, bool]:
    """The claims that a pod mounts, and whether it may only read them."""
    claims = _claims_by_volume(pod)
    found: dict[str, bool] = dict.fromkeys(claims.values(), True)
    for mount in _mounts(pod):
        if mount["name"] in claims and not mount.get("readOnly", False):
            found[claims[mount["name"]]] = False
    return found


def mounted_at(pod: Mapping[str, Any], path: str) -> tuple[str, bool]:
    """The claim that a pod mounts at a path, and whether it may only read it.

    Raises:
        AssertionError: There is not just one mount at this path.
    """
    mounts = [mount for mount in _mounts(pod) if mount["mountPath"] == path]
    assert len(mounts) == 1, f"{len(mounts)} mounts at {path}"  # noqa: S101 - for a clause
    return _claims_by_volume(pod)[mounts[0]["name"]], mounts[0].get("readOnly", False)


def _claims_by_volume(pod: Mapping[str, Any]) -> dict[str, str]:
    return {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }


def _mounts(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    notebook = next(each for each in pod["spec"]["containers"] if each["name"] == NOTEBOOK)
    return list(notebook["volumeMounts"])


def own_claims(pod: Mapping[str, Any]) -> set[str]:
    """The claims that a pod mounts beside the shared one."""
    return set(mounted(pod)) - {SHARED_CLAIM}


class Stage:
    """What a clause is given. Put the facts first, then ``begin``, then ask.

    Attributes:
        world: The backend, the clock and the claims.
        manager_class: The plugin's class.
        manager: The plugin, from ``begin`` on.
        told: Usernames and workspaces of each change that it has told of.
    """

    manager: WorkspaceManager
    lifecycle: Lifecycle

    def __init__(self, manager_class: type[WorkspaceManager], world: World) -> None:
        self.world = world
        self.manager_class = manager_class
        self._managers: list[WorkspaceManager] = []
        self.told: list[tuple[frozenset[str], frozenset[str]]] = []

    async def study(self, name: str, *usernames: str, until: date = LAST_DAY, **changes: Any) -> None:
        """A workspace, and a grant of it to each of these users until a day."""
        facts: dict[str, Any] = {
            "first_day": FIRST_DAY,
            "last_day": LAST_DAY,
            "display_name": f"Study {name[:40]}",
            "description": "Outcomes after surgery",
            "image": "example/notebook:1.0",
            "node_selector": {},
        }
        await self.world.put_workspace(name, **{**facts, **changes})
        for username in usernames:
            await self.world.grant(username, name, until)

    def make(self) -> WorkspaceManager:
        """The plugin, made with the world's context and closed at the end of the clause."""
        context = self.world.context
        context.listen(lambda usernames, workspaces: self.told.append((usernames, workspaces)))
        manager = self.manager_class(context)
        self._managers.append(manager)
        return manager

    async def begin(self) -> WorkspaceManager:
        """Make the plugin and start it, as the hub does."""
        self.prepare()
        await self.lifecycle.begin()
        return self.manager

    def prepare(self) -> WorkspaceManager:
        """Make the plugin; it is started by ``lifecycle.begin``."""
        self.manager = self.make()
        self.lifecycle = Lifecycle(self.manager)
        return self.manager

    async def form(self, identity: str | User) -> Form:
        """The form of a user."""
        return await self.manager.build_form(self._user(identity))

    async def listed(self, identity: str | User) -> set[str]:
        """The workspaces on the form of a user, open or not."""
        return {card.slug for card in (await self.form(identity)).cards}

    async def start(self, identity: str | User, workspace: str) -> dict[str, Any]:
        """The pod of a user's start of a workspace."""
        user = self._user(identity)
        provision = await self.manager.provision(user, workspace, fixed(hub_pod()))
        await engine.provisioned(self.manager, user, provision)
        return dict(provision.pod)

    async def review(self, identity: str | User, workspace: str) -> engine.Review:
        """What a review says of a server that a user has running in a workspace."""
        return await engine.review(self.manager, self._user(identity), workspace)

    def is_told_of(self, username: str, workspace: str) -> bool:
        """Whether a change was told for which the hub reviews this user's server of a workspace."""
        return any(
            username in usernames or workspace in workspaces or not (usernames or workspaces)
            for usernames, workspaces in self.told
        )

    async def starts(self, identity: str | User, workspace: str, now: datetime | None = None) -> bool:
        """Whether a start is let through (True) or denied (False), which the form must say as well."""
        if now is not None:
            self.world.now = now
        openable = {card.slug for card in (await self.form(identity)).openable}
        try:
            await self.start(identity, workspace)
            started = True
        except AccessDenied:
            started = False
        assert started == (workspace in openable), "the form and the start had different answers"  # noqa: S101 - for a clause
        return started

    async def denied(self, identity: str | User, workspace: str) -> AccessDenied:
        """The refusal of a start.

        Raises:
            AssertionError: The start was let through, or the answer was that there is none.
        """
        before = set(await self.world.claims())
        try:
            await self.start(identity, workspace)
        except AccessDenied as refusal:
            assert set(await self.world.claims()) == before, "a start that was denied has made a claim"  # noqa: S101 - as above
            return refusal
        except BackendUnavailable as error:
            raise AssertionError(f"a start that must be denied was unavailable: {error}") from error
        raise AssertionError(f"{identity!r} started {workspace!r}, which must be denied")

    def _user(self, identity: str | User) -> User:
        return self.world.user(identity) if isinstance(identity, str) else identity

    async def close(self) -> None:
        """Close every plugin that was made, the last one first; each is closed once."""
        while self._managers:
            await self._managers.pop().close()


def fixed(pod: Mapping[str, Any]) -> MakePod:
    """The hub's way to a pod, where it is this one for every grant."""

    async def make(_grant: Workspace) -> Mapping[str, Any]:
        return pod

    return make


@asynccontextmanager
async def staged(manager_class: type[WorkspaceManager], world: World) -> AsyncIterator[Stage]:
    """A stage on a world that is started, and both ended after it."""
    try:
        await world.start()
    except BaseException:
        with suppress(Exception):
            await world.stop()
        raise
    try:
        stage = Stage(manager_class, world)
        try:
            yield stage
        finally:
            # Where a clause has failed already, that failure is the one to tell.
            with suppress(Exception):
                async with asyncio.timeout(CLAUSE_SECONDS):
                    await stage.close()
    finally:
        await world.stop()
