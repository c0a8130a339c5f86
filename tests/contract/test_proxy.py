"""The proxy passes on what it is not told to spoil, and spoils what it is told to, as often as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.apiserver.cluster import until
from workspace_managers.contract.proxy import (
    EXPIRED_EVENT,
    HALF_A_LINE,
    Fault,
    FaultProxy,
    Gate,
    delay,
    lose_answer,
    refuse,
    reset,
)
from workspace_managers.devcluster.api import EmbeddedApi

MAPS = "/api/v1/namespaces/default/configmaps"
SECONDS = 10


class Between:
    """A client, the proxy, and an API server that has no part in the faults."""

    def __init__(self, api: EmbeddedApi, proxy: FaultProxy, client: aiohttp.ClientSession) -> None:
        self.api, self.proxy, self.client = api, proxy, client
        self.opened: list[aiohttp.ClientResponse] = []

    async def put(self, name: str) -> int:
        """Create a config map through the proxy; the status."""
        async with self.client.post(MAPS, json={"metadata": {"name": name}}) as answer:
            return answer.status

    async def names(self) -> list[str]:
        """Those that the API server has, asked past the proxy."""
        async with aiohttp.ClientSession() as direct, direct.get(f"{self.api.url}{MAPS}") as answer:
            return [each["metadata"]["name"] for each in (await answer.json())["items"]]

    async def watch(self) -> aiohttp.ClientResponse:
        """Open a watch through the proxy."""
        self.opened.append(await self.client.get(MAPS, params={"watch": "1"}))
        assert [seen.is_watch for seen in self.proxy.requests].count(True) == len(self.opened)
        return self.opened[-1]


@pytest_asyncio.fixture
async def between() -> AsyncIterator[Between]:
    api = EmbeddedApi()
    await api.start()
    proxy = FaultProxy(api.kubeconfig())
    await proxy.start()
    (cluster,) = proxy.kubeconfig("default")["clusters"]
    async with aiohttp.ClientSession(cluster["cluster"]["server"]) as client:
        between = Between(api, proxy, client)
        yield between
        for watch in between.opened:
            watch.close()
    await proxy.stop()
    await api.stop()


async def event(watch: aiohttp.ClientResponse) -> Any:
    """The next event of a watch."""
    async with asyncio.timeout(SECONDS):
        return json.loads(await watch.content.readline())


async def test_request_passes_unchanged(between: Between) -> None:
    """Method, path, query, body, status and answer; and it is noted."""
    assert await between.put("one") == 201
    async with between.client.get(f"{MAPS}?limit=1&labelSelector=a%3Db%2Cc") as answer:
        assert answer.status == 200
        assert (await answer.json())["items"] == []
    assert between.api.requests[-1].query == {"limit": "1", "labelSelector": "a=b,c"}
    assert [(seen.method, seen.path, seen.status) for seen in between.proxy.requests] == [
        ("POST", MAPS, 201),
        ("GET", MAPS, 200),
    ]
    assert all(seen.ended is not None and seen.ended >= seen.began for seen in between.proxy.requests)


@pytest.mark.parametrize("status", [403, 409, 410, 429, 500])
async def test_refusal_is_the_answer_and_nothing_is_asked(between: Between, status: int) -> None:
    """With the body of the API, and the wait that the server asks for."""
    with between.proxy.inject(refuse(status, "Injected", retry_after=7)):
        async with between.client.post(MAPS, json={"metadata": {"name": "one"}}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
            told = await answer.json()
    assert (told["kind"], told["code"], told["reason"]) == ("Status", status, "Injected")
    assert await between.names() == []


@pytest.mark.parametrize(("fault", "there"), [(reset, []), (lose_answer, ["one"])], ids=["reset", "lose_answer"])
async def test_broken_connection_tells_nothing(between: Between, fault: Fault, there: list[str]) -> None:
    """In the one case the request was not made, in the other it was."""
    with between.proxy.inject(fault), pytest.raises((aiohttp.ClientError, ConnectionError)):
        await between.put("one")
    assert await between.names() == there
    assert between.proxy.requests[-1].status is None


async def test_delay_and_gate_hold_a_request_back(between: Between) -> None:
    """It has not been made while it is held, and is made then."""
    gate = Gate()
    with between.proxy.inject(gate, times=1), between.proxy.inject(delay(0.3), times=1):
        held = asyncio.create_task(between.put("held"))
        await gate.reached.wait()
        began = asyncio.get_running_loop().time()
        assert await between.put("late") == 201
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert await between.names() == ["late"]
        gate.open()
        assert await held == 201


async def test_fault_is_done_to_what_it_concerns_as_often_as_it_was_told(between: Between) -> None:
    """And to nothing when it is stopped; the one that was injected first comes first."""
    concerned = between.proxy.inject(refuse(500), concerns=lambda seen: seen.method == "POST", times=2)
    second = between.proxy.inject(refuse(429), concerns=lambda seen: seen.method == "POST")
    async with between.client.get(MAPS) as answer:
        assert answer.status == 200
    assert [await between.put("one") for _ in range(3)] == [500, 500, 429]
    second.stop()
    assert await between.put("one") == 201
    assert (concerned.used, second.used) == (2, 1)


async def test_watch_passes_as_it_comes(between: Between) -> None:
    """Each event at once, and the end of the client is the end of the watch upstream."""
    watch = await between.watch()
    for name in ("one", "two"):
        await between.put(name)
        assert (await event(watch))["object"]["metadata"]["name"] == name
    assert between.proxy.watches == 1
    watch.close()

    async def ended() -> bool:
        return not between.proxy.watches

    async with asyncio.timeout(SECONDS):
        await until(ended)


@pytest.mark.parametrize("last", [EXPIRED_EVENT, HALF_A_LINE], ids=["expired", "half-a-line"])
async def test_watch_ends_after_the_last_bytes(between: Between, last: bytes) -> None:
    """These bytes, and then the end; a watch that comes later is sound."""
    watch = await between.watch()
    await between.put("one")
    await event(watch)
    await between.proxy.cut_watches(last)
    async with asyncio.timeout(SECONDS):
        assert await watch.content.read() == last
    assert (await event(await between.watch()))["object"]["metadata"]["name"] == "one"


async def test_watch_whose_client_has_just_gone_is_cut_all_the_same(between: Between) -> None:
    """On a busy machine a client gives up on its own; the clause is no less right for it."""
    await between.watch()
    (open_one,) = between.proxy._watches
    assert open_one.request.transport is not None
    open_one.request.transport.close()
    await between.proxy.cut_watches(EXPIRED_EVENT)


async def test_watch_is_reset_in_the_middle(between: Between) -> None:
    """Without an end that a client could take for the server's."""
    watch = await between.watch()
    await between.proxy.cut_watches()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        async with asyncio.timeout(SECONDS):
            await watch.content.read()


async def test_stalled_watch_is_open_and_says_nothing(between: Between) -> None:
    """Those that are open; one that comes later hears everything."""
    stalled = await between.watch()
    between.proxy.stall_watches(concerns=lambda seen: seen.path == MAPS)
    await between.put("one")
    assert (await event(await between.watch()))["object"]["metadata"]["name"] == "one"
    assert stalled.content.total_bytes == 0
    assert not stalled.content.at_eof()


async def test_api_server_that_goes_away_breaks_what_is_asked(between: Between) -> None:
    """As it would without the proxy, which finds it again when it is back at its place."""
    port = int(between.api.url.rpartition(":")[2])
    await between.api.stop()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await between.put("one")
    await between.api.start(port=port)
    assert await between.put("one") == 201
