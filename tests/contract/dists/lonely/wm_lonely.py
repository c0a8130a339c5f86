"""Plugins whose contracts are missing, or are registered wrongly in each way."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from workspace_managers import User, Volume, Workspace, WorkspaceManager
from workspace_managers.contract import WorkspaceManagerContract, World


class LonelyManager(WorkspaceManager):
    """Has no workspaces at all."""

    interface_versions = (1, 1)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """None."""
        return ()

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """None."""
        return ()


class OtherManager(LonelyManager):
    """Another class than the contract is for."""


class LonelyWorld(World):
    """Takes everything and keeps nothing."""

    async def put_workspace(self, name: str, **facts: Any) -> None:
        """Nothing."""

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Nothing."""

    async def revoke(self, username: str, workspace: str) -> None:
        """Nothing."""

    async def delete_workspace(self, name: str) -> None:
        """Nothing."""

    async def outage(self) -> None:
        """Nothing."""

    async def recover(self) -> None:
        """Nothing."""


class LonelyContract(WorkspaceManagerContract):
    """Whole, for ``LonelyManager``."""

    manager_class = LonelyManager
    world = LonelyWorld
    unsupported: ClassVar[Mapping[str, str]] = {"test_hostile_text_stays_text": "it has no texts"}
