"""The contract of ``projects``: how the platform is changed, so that every rule can be tried over a real connection.

Always true here: the platform is changed past the plugin, and each of its projects has a namespace from the beginning.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import date

from aiohttp import web

from workspace_managers import is_label
from workspace_managers.contract import WorkspaceManagerContract, World

from . import ProjectsManager
from .backend import Platform


class ProjectsWorld(World):
    """A platform for each clause; an outage is 503. A workspace with a dot in its name is a profile of a project."""

    def __init__(self) -> None:
        super().__init__()
        self.platform = Platform()

    async def start(self) -> None:
        """A platform without projects, and the variables that lead to it."""
        await super().start()
        await self.platform.start()
        os.environ["PROJECTS_URL"] = self.platform.url
        os.environ["PROJECTS_CA"] = str(self.platform.folder / "ca.pem")
        os.environ["PROJECTS_TOKEN_FILE"] = str(self.platform.folder / "token")
        os.environ["PROJECTS_NAMESPACE_PREFIX"] = f"{self.namespace}-"

    async def stop(self) -> None:
        """Nothing is left of it."""
        for name in ("PROJECTS_URL", "PROJECTS_CA", "PROJECTS_TOKEN_FILE", "PROJECTS_NAMESPACE_PREFIX"):
            os.environ.pop(name, None)
        await self.platform.stop()
        await super().stop()

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
        """Write a project with one profile, and make its namespace; there is no place for a node selector."""
        project, _, profile = name.partition(".")
        before = self.platform.projects.get(name, {})
        self.platform.projects[name] = {
            "name": project,
            "uid": before.get("uid", str(uuid.uuid4())),
            "title": display_name,
            "text": description,
            "first_day": str(first_day),
            "last_day": str(last_day),
            "profiles": [{"name": profile or None, "title": None, "image": image, "cpu": None, "memory": None}],
        }
        if is_label("name", namespace := self.namespace_of(name)):  # a longer one, nobody can make
            await self.make_namespace(namespace)

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Make a member."""
        self.platform.members.append((username, workspace, str(last_day)))

    async def revoke(self, username: str, workspace: str) -> None:
        """Make a member no longer one."""
        members = self.platform.members
        members[:] = [member for member in members if member[:2] != (username, workspace)]

    async def delete_workspace(self, name: str) -> None:
        """Take the project away."""
        del self.platform.projects[name]

    async def break_workspace(self, name: str) -> None:
        """A null where the image was."""
        self.platform.projects[name]["profiles"][0]["image"] = None

    async def keep_home(self, workspace: str) -> None:
        """They are all kept."""

    async def own_namespace(self, workspace: str) -> str:
        """Each project has one."""
        return self.namespace_of(workspace)

    def namespace_of(self, workspace: str) -> str:
        """That of the project."""
        return f"{self.namespace}-{workspace.partition('.')[0]}"

    async def outage(self) -> None:
        """Answer with 503 alone."""
        self.platform.handler = _unavailable

    async def recover(self) -> None:
        """Answer again."""
        self.platform.handler = None


async def _unavailable(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=503)


class ProjectsContract(WorkspaceManagerContract):
    """Every clause holds but those that namespaces rule out."""

    manager_class = ProjectsManager
    world = ProjectsWorld
    unsupported = {  # noqa: RUF012 - read only
        "test_volume_names_are_legal_and_unique": "a project's name is part of a namespace's, which has 63 characters",
    }
