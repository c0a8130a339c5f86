"""The plugin's contract: its world, made of raw custom resources on the API server.

Only the contract imports this module, and it writes what an operator would write, never through the plugin or its
library.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta

from workspace_managers import ApiError, BackendUnavailable
from workspace_managers.contract import (
    Injection,
    Seen,
    WorkspaceManagerContract,
    World,
    definitions,
    refuse,
)

from .compat import BINDINGS, GROUP, VERSION, WORKSPACES, Kind
from .manager import LscsdeWorkspaceManager

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DEFINED_SECONDS = 30.0


class LscsdeWorld(World):
    """``AnalyticsWorkspace`` and ``AnalyticsWorkspaceBinding`` resources; an outage is 503 for both of them."""

    _refusal: Injection

    async def start(self) -> None:
        """Define the two resources where the API server does not know them; they stay."""
        await super().start()
        for definition, kind in zip(definitions(), (WORKSPACES, BINDINGS), strict=True):
            await self._define(definition, self._path(kind))

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
        """Write the workspace."""
        spec = {
            "displayName": display_name,
            "description": description,
            "validity": {"availableFrom": str(first_day), "expires": _expires(last_day)},
            "jupyterWorkspace": {"image": image, "nodeSelector": dict(node_selector)},
        }
        await self._put(WORKSPACES, name, spec)

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Write a binding, by the username alone."""
        digest = hashlib.sha256(f"{username} {workspace} {last_day}".encode()).hexdigest()[:20]
        spec = {"workspace": workspace, "username": username, "expires": _expires(last_day)}
        await self._put(BINDINGS, f"binding-{digest}", spec)

    async def revoke(self, username: str, workspace: str) -> None:
        """Delete the user's bindings of the workspace."""
        for name, binding in (await self.objects(self._path(BINDINGS))).items():
            if (binding["spec"]["username"], binding["spec"]["workspace"]) == (username, workspace):
                await self.delete_object(self._path(BINDINGS), name)

    async def delete_workspace(self, name: str) -> None:
        """Delete the workspace."""
        await self.delete_object(self._path(WORKSPACES), name)

    async def break_workspace(self, name: str) -> None:
        """Ask for a quantity that is none, which the resource's schema lets pass."""
        spec = dict((await self.objects(self._path(WORKSPACES)))[name]["spec"])
        spec["jupyterWorkspace"] = {**spec["jupyterWorkspace"], "resources": {"limits": {"cpu": "several"}}}
        await self._put(WORKSPACES, name, spec)

    async def keep_home(self, workspace: str) -> None:
        """Keep them all."""
        self.environ["WORKSPACE_HOME"] = "claim"

    async def outage(self) -> None:
        """Refuse every request for either resource, and cut the watches."""
        self._refusal = self.faults.inject(refuse(503, "ServiceUnavailable"), concerns=_is_ours)
        await self.faults.cut_watches()

    async def recover(self) -> None:
        """Answer again."""
        self._refusal.stop()

    def _path(self, kind: Kind) -> str:
        return kind.path(self.namespace)

    async def _put(self, kind: Kind, name: str, spec: Mapping[str, object]) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind.kind, "metadata": {"name": name}, "spec": spec}
        await self.put_object(self._path(kind), body)

    async def _define(self, definition: Mapping[str, object], collection: str) -> None:
        with suppress(ApiError):
            await self.administrator.get(collection, {"limit": "1"})
            return
        try:
            await self.administrator.create(_DEFINITIONS, definition)
        except ApiError as error:
            if error.status != 409:  # another world was faster
                raise
        async with asyncio.timeout(_DEFINED_SECONDS):
            while True:
                with suppress(BackendUnavailable):  # 404 and 429, until it is served
                    await self.administrator.get(collection, {"limit": "1"})
                    return
                await asyncio.sleep(0.05)


class LscsdeContract(WorkspaceManagerContract):
    """Every clause holds."""

    manager_class = LscsdeWorkspaceManager
    world = LscsdeWorld


def _expires(last_day: date) -> str:
    """The day on which access is over."""
    return str(last_day + timedelta(days=1))


def _is_ours(seen: Seen) -> bool:
    return f"/{GROUP}/" in seen.path
