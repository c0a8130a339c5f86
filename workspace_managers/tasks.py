"""Calls side by side, and cancellation.

Whoever goes on, by a result or by a failure, leaves nothing running behind. ``asyncio.gather`` does not stop the others
when one fails, and a call that goes on by itself may open what its caller closes next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .errors import quote

T = TypeVar("T")


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Await all side by side, and let all end before the first failure is raised.

    Returns:
        The results, in the order of the calls.
    """
    results: list[T] = []
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def being_cancelled() -> bool:
    """Whether somebody is cancelling the current task.

    Where this is False, a ``CancelledError`` is the failure of something that the task called: a library may raise one,
    or have cancelled a task of its own. It must not end a task that is to go on.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Escaped(Exception):
    """What is no ``Exception`` escaped from a plugin; it is the cause."""


async def in_time(call: Awaitable[T], seconds: float) -> T:
    """Await a plugin, which may hang, raise anything, or let a cancellation escape that nobody asked for.

    Raises:
        TimeoutError: It did not end within so many seconds.
        Escaped: It raised ``SystemExit``, or a ``CancelledError`` though nobody cancels the current task.
        Exception: Whatever else it raised.
    """
    try:
        async with asyncio.timeout(seconds):
            return await call
    except (SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and being_cancelled():
            raise
        raise Escaped from error


def in_words(error: Exception) -> str:
    """A plugin's failure for the log: of which type it is, and what it says."""
    failure = error.__cause__ if isinstance(error, Escaped) else error
    return f"{type(failure).__name__}: {quote(str(failure))}"


@asynccontextmanager
async def beside(call: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """The call goes on beside the block, and no longer than that."""
    task = asyncio.create_task(call)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
