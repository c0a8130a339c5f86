"""Classes that do not keep to the interface. mypy says so as well, hence what is ignored here."""

from collections.abc import Awaitable, Sequence
from typing import Any

from workspace_managers import User, Volume, Workspace, WorkspaceManager


class Whole(WorkspaceManager):
    """As it should be; each class below breaks one thing of it."""

    interface_versions = (1, 1)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """None."""
        return ()

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """None."""
        return ()


def not_a_class(context: object) -> Whole:
    """A factory, where a class is asked for."""
    raise NotImplementedError


class NotAPlugin:
    """Looks like one, and is none."""

    interface_versions = (1, 1)


class Abstract(WorkspaceManager):
    """Defines neither of the abstract methods."""

    interface_versions = (1, 1)


class NotAsync(WorkspaceManager):
    """Plain functions, an async generator and something that is no function, wherever an ``async def`` belongs."""

    interface_versions = (1, 1)

    def list_workspaces(self, user: User) -> Sequence[Workspace]:  # type: ignore[override]
        """Would block."""
        return ()

    async def volumes_for(self, user: User, workspace: Workspace) -> Any:
        """An async generator cannot be awaited."""
        yield workspace

    def confirm(self, user: User, name: str) -> Awaitable[Workspace]:  # type: ignore[override]
        """Nearly right; but then so is a function that answers with something else after all."""
        raise NotImplementedError

    def provisioned(self, *_: object) -> None:  # type: ignore[override]
        """Would block."""

    start = None  # type: ignore[assignment]

    def close(self) -> None:  # type: ignore[override]
        """Would block."""

    @property
    def problems(self) -> Sequence[str]:  # type: ignore[override]
        """Not to be called at all."""
        return ()


class Mixin:
    """Brings a method in front of the framework's own."""

    async def provision(self, user: User, name: object, make_pod: object) -> Any:
        """Would give any storage to anybody."""


class Final(Mixin, Whole):  # type: ignore[misc]
    """Overrides all that the framework keeps to itself; any other name is the plugin's to use."""

    build_form = None  # type: ignore[assignment,misc]

    async def _grants(self, user: User) -> list[Workspace]:
        return []

    async def _ask(self, method: str, answer: object) -> Any:
        return None

    def _checked(self, method: str, answer: object, kind: type[Any]) -> list[Any]:
        return []


class Version(Whole):
    """Made for a framework to come."""

    interface_versions = (99, 99)


class VersionTrue(Whole):
    """True equals 1, and is no version."""

    interface_versions = (True, True)


class Arguments(Whole):
    """Takes other arguments than the framework gives."""

    async def confirm(self, user: User) -> Workspace:  # type: ignore[override]
        """Has no name."""
        raise NotImplementedError


class Everything(Mixin, WorkspaceManager):  # type: ignore[misc]
    """Several mistakes at once."""

    interface_versions = (2, 3)

    def list_workspaces(self, user: User) -> Sequence[Workspace]:  # type: ignore[override]
        """Would block."""
        return ()
