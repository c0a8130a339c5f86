"""Objects that were read from the API server a moment ago, for the forms of many people while a cache is behind.

Everybody's candidates are read anew then. Those that many have in common are read once in some seconds, and only so
many requests are under way at a time, so that a crowd keeps neither the hub nor the API server from other work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from .compat import Kind

AT_ONCE = 8
KEPT = 1000

Raw = Mapping[str, Any]


class Recent:
    """Reads that are shared.

    Args:
        read: Reads one object; None where there is none.
        seconds: How old an answer may be.
    """

    def __init__(self, read: Callable[[Kind, str], Awaitable[Raw | None]], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._answers: dict[tuple[str, str], tuple[float, Raw | None]] = {}

    async def get(self, kind: Kind, name: str) -> Raw | None:
        """An object as the API server had it at most so many seconds ago, or None where there was none.

        Raises:
            BackendUnavailable: It cannot be read.
        """
        key = kind.word, name
        async with self._turn:
            known = self._answers.get(key)
            if known is not None and monotonic() - known[0] < self._seconds:
                return known[1]
            asked_at = monotonic()
            raw = await self._read(kind, name)
        self._answers.pop(key, None)  # so that the oldest come first
        self._answers[key] = asked_at, raw
        while len(self._answers) > KEPT:
            del self._answers[next(iter(self._answers))]
        return raw
