"""etcd itself, asked past the API server: every change since the beginning, in its order.

Always true here: it is one watch, which a restart of the API server does not touch, so nothing is missed. The objects
are JSON because the API server was told to store them so (`STORED_AS_JSON`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from time import monotonic

import aiohttp

from tests.faults.oracle import Change

STORED_AS_JSON = "--storage-media-type=application/json"
_REGISTRY = "/registry/"


class Truth:
    """Tells of every change in a namespace: ``async with Truth(url, namespace, hear) as truth``.

    Args:
        url: Where etcd is.
        namespace: The namespace.
        hear: Called with each change, in order.

    Attributes:
        existed_before: While true, changes are told as having been there before the hub.
    """

    def __init__(self, url: str, namespace: str, hear: Callable[[Change], None]) -> None:
        self.existed_before = True
        self._url = url
        self._namespace = namespace
        self._hear = hear
        self._heard = 0
        self._more = asyncio.Condition()

    async def __aenter__(self) -> Truth:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._http.close()

    async def revision(self) -> int:
        """The revision of the last change that etcd has made."""
        async with self._http.post(f"{self._url}/v3/kv/range", json={"key": _encoded("/")}) as answer:
            return int((await answer.json())["header"]["revision"])

    async def up_to_now(self) -> int:
        """Wait until every change that has been made is heard of; the revision of the last one."""
        revision = await self.revision()
        async with asyncio.timeout(60), self._more:
            await self._more.wait_for(lambda: self._heard >= revision or self._following.done())
        if self._following.done():
            self._following.result()
        return revision

    async def _follow(self) -> None:
        watch = {"key": _encoded(_REGISTRY), "range_end": _encoded(_REGISTRY[:-1] + chr(ord("/") + 1))}
        body = {"create_request": {**watch, "start_revision": "1"}}
        async with self._http.post(f"{self._url}/v3/watch", json=body) as answer:
            # Lines of any length: the first ones hold all that was there.
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    await self._tell(json.loads(line)["result"])
        raise ConnectionError("etcd ended the watch")

    async def _tell(self, result: dict[str, object]) -> None:
        assert "canceled" not in result, result
        events = result.get("events")
        for event in events if isinstance(events, list) else ():
            stored = event["kv"]
            self._heard = int(stored["mod_revision"])
            *_, resource, namespace, name = f"//{base64.b64decode(stored['key']).decode()}".split("/")
            if namespace != self._namespace:
                continue
            document = None if event.get("type") == "DELETE" else json.loads(base64.b64decode(stored["value"]))
            at = float("-inf") if self.existed_before else monotonic()
            self._hear(Change(self._heard, resource, name, document, at))
        async with self._more:
            self._more.notify_all()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
