"""Calls side by side.

Always true here: whoever goes on, by a result or by a failure, leaves nothing running behind. ``asyncio.gather`` does
not stop the others when one fails, and a call that goes on by itself may open what its caller closes next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Await all, and let all end, before the first failure is raised."""
    found: list[T] = []
    for each in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found


@asynccontextmanager
async def beside(call: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """The call goes on beside the block, and no longer than that."""
    task = asyncio.create_task(call)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
