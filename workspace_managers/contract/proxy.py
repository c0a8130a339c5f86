"""A proxy between a plugin and the Kubernetes API that fails, when it is told to, as API servers and networks do.

Always true here: a request that no fault concerns passes unchanged, and so does its answer; a watch passes in whole
lines, as they come. A fault does what it says to the requests that it concerns, as often as it was told, and to no
other. Every request is noted before anything is done to it. Upstream the proxy is one client with the rights of its
kubeconfig, over TLS where the server has it; to the plugin it speaks HTTP, on a loopback address, and takes any token.

    proxy = FaultProxy(kubeconfig)
    await proxy.start()
    kube = Kube(namespace, proxy.kubeconfig(namespace))
    with proxy.inject(refuse(429, retry_after=1), times=2) as fault:
        await kube.get(path)
    assert fault.used == 2
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from ..devcluster.api import reset_connection
from ..kube.client import Kube

Forward = Callable[[], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
"""What is done to a request instead of forwarding it: given the request, and how to forward it after all."""

# Between two neighbours only; the answer's length and chunks are made anew, and the rights are the proxy's own.
_NOT_PASSED_ON = frozenset(
    {"authorization", "connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
)
_LARGEST_BODY = 16 * 2**20


# What may be injected


def refuse(status: int, reason: str = "", message: str = "injected", *, retry_after: int | None = None) -> Fault:
    """Answer with an error, and do not ask the API server.

    Args:
        status: HTTP status.
        reason: That of the ``Status`` object, such as ``Expired``.
        message: Its message.
        retry_after: Seconds that the client is asked to wait.
    """

    async def answer(_request: web.Request, _forward: Forward) -> web.StreamResponse:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.json_response(error_status(status, reason, message), status=status, headers=headers)

    return answer


async def reset(request: web.Request, _forward: Forward) -> web.StreamResponse:
    """Break the connection, and do not ask the API server."""
    reset_connection(request)
    return web.Response()


async def lose_answer(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Have the API server do what was asked, and break the connection instead of telling so."""
    await forward()
    reset_connection(request)
    return web.Response()


def delay(seconds: float) -> Fault:
    """Forward after a while."""

    async def wait(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await forward()

    return wait


class Gate:
    """A fault that holds requests back until it is opened, and then forwards them.

    Attributes:
        reached: Set when a request is held.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let pass what is held, and what comes from now on."""
        self._opened.set()

    async def __call__(self, _request: web.Request, forward: Forward) -> web.StreamResponse:
        self.reached.set()
        await self._opened.wait()
        return await forward()


def error_status(status: int, reason: str, message: str = "injected") -> dict[str, Any]:
    """The API's ``Status`` object of an error."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": status,
    }


EXPIRED_EVENT = json.dumps({"type": "ERROR", "object": error_status(410, "Expired")}).encode() + b"\n"
"""What a watch is told when the API server has forgotten what it asks for."""
HALF_A_LINE = b'{"type":"MODIFIED","object":{"apiVersion"'
"""What is left of an event when its sender dies."""


# The proxy


@dataclass(slots=True, eq=False)
class Seen:
    """One request of the plugin.

    Attributes:
        method: HTTP method.
        path: Without the query.
        query: The query's parameters.
        began: When it arrived, in seconds of ``time.monotonic``.
        ended: When its answer had been made, or its connection was broken; None until then.
        status: HTTP status of the answer; None while there is none, and when the connection was broken.
    """

    method: str
    path: str
    query: Mapping[str, str]
    began: float = field(default_factory=monotonic)
    ended: float | None = None
    status: int | None = None

    @property
    def is_watch(self) -> bool:
        """Whether it opens a watch."""
        return self.query.get("watch", "").casefold() in ("1", "true")  # KubeSpawner writes "True"


Concerns = Callable[[Seen], bool]


def is_any(_seen: Seen) -> bool:
    """Every request."""
    return True


class Injection:
    """A fault in force, until ``stop`` or the end of a ``with``.

    Attributes:
        used: How many requests it was done to.
    """

    def __init__(self, fault: Fault, concerns: Concerns, times: int | None) -> None:
        self.used = 0
        self.fault = fault
        self._concerns = concerns
        self._left = times

    def takes(self, seen: Seen) -> bool:
        """Whether it is for this request; if so, that was one of its times."""
        if self.is_over or not self._concerns(seen):
            return False
        if self._left is not None:
            self._left -= 1
        self.used += 1
        return True

    @property
    def is_over(self) -> bool:
        """Whether it concerns no further request."""
        return self._left == 0

    def stop(self) -> None:
        """Concern no further request; what it was begun on goes on."""
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(slots=True, eq=False)
class _Watch:
    """One open watch: ``copying`` passes its lines on, and drops them while it is stalled."""

    seen: Seen
    request: web.Request
    response: web.StreamResponse
    copying: asyncio.Task[None] | None = None
    stalled: bool = False

    async def copy(self, source: aiohttp.StreamReader) -> None:
        """Whole lines only, so that what ``cut_watches`` adds begins one."""
        rest = b""
        while chunk := await source.readany():
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline and not self.stalled:
                await self.response.write(lines + newline)
        if rest and not self.stalled:
            await self.response.write(rest)


class FaultProxy:
    """The proxy.

    Args:
        kubeconfig: The API server and the rights on it: a kubeconfig's path or content.

    Attributes:
        requests: Every request that has arrived, in order.
    """

    def __init__(self, kubeconfig: Path | Mapping[str, Any]) -> None:
        self.requests: list[Seen] = []
        self._upstream = Kube("default", kubeconfig)
        self._injections: list[Injection] = []
        self._watches: set[_Watch] = set()
        self._runner: web.AppRunner | None = None
        self._url = ""

    async def start(self) -> None:
        """Listen on a port that is free."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Cancellation ends a watch upstream when its client has gone.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Break every watch and stop to listen."""
        if self._runner is not None:
            await self.cut_watches()
            await self._runner.cleanup()
            self._runner = None
        await self.hang_up()

    def kubeconfig(self, namespace: str) -> dict[str, Any]:
        """The kubeconfig of the plugin's client; from ``start`` on."""
        name = "through-the-proxy"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self._url}}],
            "users": [{"name": name, "user": {"token": "any"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "current-context": name,
        }

    async def hang_up(self) -> None:
        """Close the proxy's own connections to the API server; the next request opens one."""
        await self._upstream.close()

    def inject(self, fault: Fault, *, concerns: Concerns = is_any, times: int | None = None) -> Injection:
        """Put a fault in force. Of several that concern a request, the one that was injected first is done to it.

        Args:
            fault: What is done.
            concerns: To which requests.
            times: To how many of them; None for all.
        """
        made = Injection(fault, concerns, times)
        self._injections = [*(each for each in self._injections if not each.is_over), made]
        return made

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    async def cut_watches(self, last: bytes = b"", *, concerns: Concerns = is_any) -> None:
        """End every open watch, after these bytes; without any, by a reset in the middle."""
        for watch in [each for each in self._watches if concerns(each.seen)]:
            if watch.copying is not None:
                watch.copying.cancel()
            if last:
                with suppress(ConnectionError):  # its client has just gone by itself
                    await watch.response.write(last)
                    await watch.response.write_eof()
            else:
                reset_connection(watch.request)

    def stall_watches(self, *, concerns: Concerns = is_any) -> None:
        """Pass nothing on any more on the watches that are open, and leave them open."""
        for watch in self._watches:
            watch.stalled = watch.stalled or concerns(watch.seen)

    # A request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.path, dict(request.query))
        self.requests.append(seen)
        try:
            answer = await self._answer(request, seen)
            if request.transport is not None and not request.transport.is_closing():
                seen.status = answer.status
            return answer
        except (aiohttp.ClientError, OSError):
            # The API server is not there, or went away in the middle: so is its client's connection.
            reset_connection(request)
            return web.Response()
        finally:
            seen.ended = monotonic()

    async def _answer(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        async def forward() -> web.StreamResponse:
            return await self._forward(request, seen)

        for injection in self._injections:
            if injection.takes(seen):
                return await injection.fault(request, forward)
        return await forward()

    async def _forward(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        api = await self._upstream.api()
        answered: Any = api.configuration.auth_settings()
        # It has become a coroutine between the oldest version that is supported and the newest.
        rights = await answered if inspect.isawaitable(answered) else answered
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        headers |= {each["key"]: each["value"] for each in rights.values() if each["in"] == "header"}
        headers["Accept-Encoding"] = "identity"
        session: aiohttp.ClientSession = api.rest_client.pool_manager
        async with session.request(
            request.method,
            URL(f"{api.configuration.host}{request.raw_path}", encoded=True),
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            passed = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON]
            if seen.is_watch and answer.status == 200:
                return await self._pass_on(_Watch(seen, request, web.StreamResponse(headers=passed)), answer.content)
            return web.Response(status=answer.status, headers=passed, body=await answer.read())

    async def _pass_on(self, watch: _Watch, lines: aiohttp.StreamReader) -> web.StreamResponse:
        await watch.response.prepare(watch.request)
        watch.copying = asyncio.create_task(watch.copy(lines))
        self._watches.add(watch)
        try:
            await asyncio.wait([watch.copying])
            if not watch.copying.cancelled():  # by ``cut_watches``, which has ended it already
                watch.copying.result()
        finally:
            self._watches.discard(watch)
            watch.copying.cancel()
        return watch.response
