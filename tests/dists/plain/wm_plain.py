"""A third party's plugin that is as it should be. It prints while it is imported, as careless libraries do."""

import sys
from collections.abc import Sequence

from workspace_managers import User, Volume, Workspace, WorkspaceManager

sys.stdout.write("wm_plain was imported\n")


class PlainManager(WorkspaceManager):
    """Has no workspaces at all."""

    interface_versions = (1, 1)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """None."""
        return ()

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """None."""
        return ()
