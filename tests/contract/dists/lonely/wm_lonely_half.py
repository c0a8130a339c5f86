"""A contract class that is not whole."""

from wm_lonely import LonelyManager  # type: ignore[import-not-found]  # found where it is installed

from workspace_managers.contract import WorkspaceManagerContract


class HalfContract(WorkspaceManagerContract):
    """Has no world."""

    manager_class = LonelyManager
