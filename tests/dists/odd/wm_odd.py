"""Plugins that keep to the interface, and surprise all the same."""

import asyncio
from abc import ABCMeta
from collections.abc import Sequence

from workspace_managers import BackendUnavailable, User, Volume, Workspace, WorkspaceManager

closed: list[str] = []
"""The classes whose instances were closed, in order."""


class Odd(WorkspaceManager):
    """Has no workspaces; not registered itself."""

    interface_versions = (1, 1)

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """None."""
        return ()

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """None."""
        return ()

    async def close(self) -> None:
        """Leave a trace."""
        closed.append(type(self).__name__)


class FalsyMeta(ABCMeta):
    """Makes the class itself falsy."""

    def __bool__(cls) -> bool:
        return False


class Falsy(Odd, metaclass=FalsyMeta):
    """Falsy, empty and equal to everything: what asks for a truth value gets this wrong."""

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # what Python makes of a class with __eq__


class Sick(Odd):
    """Knows what is wrong with it."""

    async def problems(self) -> Sequence[str]:
        """Two sentences."""
        return ["the first thing is wrong", "the second thing is wrong"]


class Unready(Odd):
    """Cannot start."""

    async def start(self) -> None:
        """Fail on purpose."""
        raise BackendUnavailable("the backend of this plugin is away")


class Hangs(Odd):
    """Never answers."""

    async def problems(self) -> Sequence[str]:
        """Wait for ever."""
        await asyncio.Event().wait()
        return ()


class Raises(Odd):
    """Has a bug."""

    async def problems(self) -> Sequence[str]:
        """Fail by accident."""
        raise LookupError("no key\nof that name")


class Leaks(Odd):
    """Uses a library that cancels what nobody has cancelled."""

    async def problems(self) -> Sequence[str]:
        """Let it escape."""
        raise asyncio.CancelledError

    async def close(self) -> None:
        """Leave a trace, and let it escape."""
        await super().close()
        raise asyncio.CancelledError


class Mumbles(Odd):
    """Answers with one text instead of a sequence of them."""

    async def problems(self) -> Sequence[str]:
        """A str is a sequence of strings, too."""
        return "all is lost"


class Interrupted(Odd):
    """Somebody presses Ctrl-C while it is asked."""

    async def problems(self) -> Sequence[str]:
        """Do as the signal does."""
        raise KeyboardInterrupt
