"""The bindings of a workspace as the API server has them: one list for everybody who asks before it begins.

A thousand people whose access ends together are asked about one by one, and a list of all bindings for each of them
would keep the API server busy for minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from .resources import workspace_named_by

Raw = Mapping[str, Any]


class Listing:
    """Lists that are shared.

    Args:
        bindings: Lists every binding.
    """

    def __init__(self, bindings: Callable[[], AsyncIterator[Raw]]) -> None:
        self._bindings = bindings
        self._names: set[str] = set()
        self._under_way: asyncio.Task[Any] | None = None
        self._next: asyncio.Task[dict[str | None, list[Raw]]] | None = None

    async def bindings_of(self, workspace: str) -> Sequence[Raw]:
        """Those that name this workspace, and those that name none, from a list that began after this call.

        Raises:
            BackendUnavailable: They cannot be listed.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._list(self._under_way))
            self._next.add_done_callback(_retrieve)
        self._names.add(workspace)
        found = await asyncio.shield(self._next)
        return [*found.get(workspace, ()), *found.get(None, ())]

    async def _list(self, before: asyncio.Task[Any] | None) -> dict[str | None, list[Raw]]:
        if before is not None:
            await asyncio.wait([before])
        # Who asks from here on waits for another list.
        self._under_way, self._next = self._next, None
        names, self._names = self._names, set()
        found: dict[str | None, list[Raw]] = {}
        async for raw in self._bindings():
            workspace = workspace_named_by(raw)
            if workspace is None or workspace in names:
                found.setdefault(workspace, []).append(raw)
        return found

    async def close(self) -> None:
        """End what is under way; who waits for it is cancelled."""
        tasks = [task for task in (self._next, self._under_way) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Whoever waited has been given the failure; where nobody did, asyncio would report it as never retrieved."""
    if not task.cancelled():
        task.exception()
