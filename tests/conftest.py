"""What holds for every test."""

from __future__ import annotations

import asyncio

# pytest-asyncio up to 1.1, the newest that does with the packages of chart 3.2.1, asks for the loop that was there
# before its own. Unless somebody has said that there is none, asyncio makes one then, and nobody closes it.
asyncio.set_event_loop(None)
