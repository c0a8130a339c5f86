"""The plugin's contract: its world, made of raw custom resources on the embedded API.

Always true here: only the contract imports this module, and it writes what an operator would write, never through the
plugin or its library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

from aiohttp import web

from workspace_managers.contract import WorkspaceManagerContract, World

from .compat import BINDINGS, GROUP, WORKSPACES
from .manager import LscsdeWorkspaceManager


class LscsdeWorld(World):
    """``AnalyticsWorkspace`` and ``AnalyticsWorkspaceBinding`` resources; an outage is 503 for both of them."""

    async def put_workspace(
        self,
        name: str,
        *,
        available_from: date,
        expires: date,
        display_name: str,
        description: str,
        image: str,
        node_selector: Mapping[str, str],
    ) -> None:
        """Write the workspace."""
        spec = {
            "displayName": display_name,
            "description": description,
            "validity": {"availableFrom": str(available_from), "expires": str(expires)},
            "jupyterWorkspace": {"image": image, "nodeSelector": dict(node_selector)},
        }
        self.put_object(GROUP, WORKSPACES.plural, {"metadata": {"name": name}, "spec": spec})

    async def grant(self, username: str, workspace: str, expires: date) -> None:
        """Write a binding, by the username alone."""
        digest = hashlib.sha256(f"{username} {workspace} {expires}".encode()).hexdigest()[:20]
        spec = {"workspace": workspace, "username": username, "expires": str(expires)}
        self.put_object(GROUP, BINDINGS.plural, {"metadata": {"name": f"binding-{digest}"}, "spec": spec})

    async def revoke(self, username: str, workspace: str) -> None:
        """Delete the user's bindings of the workspace."""
        for name, binding in self.objects(GROUP, BINDINGS.plural).items():
            if (binding["spec"]["username"], binding["spec"]["workspace"]) == (username, workspace):
                self.delete_object(GROUP, BINDINGS.plural, name)

    async def delete_workspace(self, name: str) -> None:
        """Delete the workspace."""
        self.delete_object(GROUP, WORKSPACES.plural, name)

    async def outage(self) -> None:
        """Refuse every request for either resource, and cut the watches."""
        self.faults.append(_refuse)
        self.api.drop_watches()

    async def recover(self) -> None:
        """Answer again."""
        self.faults.remove(_refuse)


class LscsdeContract(WorkspaceManagerContract):
    """Every clause holds."""

    manager_class = LscsdeWorkspaceManager
    world = LscsdeWorld


async def _refuse(request: web.Request) -> web.StreamResponse | None:
    if f"/{GROUP}/" not in request.path:
        return None
    return web.json_response({"message": "the API server is starting"}, status=503)
