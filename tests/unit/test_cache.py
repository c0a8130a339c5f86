"""The watch cache against an API server that misbehaves as each test says.

Rule A4 asks that "no answer" is never read as "nothing", rule A3 that an ended access is seen. The other tests hold
what these two need: no event is lost, whatever happens to the connection.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from time import sleep
from typing import Any

import pytest
from aiohttp import web

from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.errors import BackendUnavailable
from workspace_managers.kube import cache as module
from workspace_managers.kube import client
from workspace_managers.kube.cache import WatchCache
from workspace_managers.kube.client import Kube
from workspace_managers.loglimit import LINES_PER_MINUTE, LINES_PER_SUBJECT
from workspace_managers.timeouts import Timeouts

PATH = "/apis/xlscsde.nhs.uk/v1/namespaces/hub/analyticsworkspacebindings"
LOG = logging.getLogger("cache-test")


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    user: str
    workspace: str


def keep(raw: Mapping[str, Any]) -> Binding | None:
    spec = raw["spec"]
    if spec["username"] is None:
        return None
    return Binding(raw["metadata"]["name"], spec["username"].casefold(), spec["workspace"])


def keys(binding: Binding) -> Iterable[str]:
    return (binding.user,)


class ScriptedApi:
    """One collection of a Kubernetes API, with history; each request may be told to go wrong.

    Attributes:
        streams: Whether a list can be the beginning of its watch; where not, that is refused as older servers do it.
        lists, watches: What the next requests do; empty: what a sound server does. A list that is streamed is a list.
        requests: Every request's query, in order, without those that an older server refuses.
        refused: How many those were.
        open: Watches that are open now.
        present_reads: How often it was asked for its present version.
        witnesses: The versions from which short watches began, which end with a bookmark.
        bookmarks: The versions of their bookmarks; empty: the present one.
        held: What watches that are "held" have not sent yet waits for this.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, bytes]] = []
        self.version = 100
        self.streams = False
        self.refused = 0
        self.lists: deque[str] = deque()
        self.watches: deque[str] = deque()
        self.requests: list[dict[str, str]] = []
        self.open: set[asyncio.Queue[bytes | str]] = set()
        self.present_reads = 0
        self.witnesses: list[str] = []
        self.bookmarks: deque[int] = deque()
        self.held = asyncio.Event()
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(PATH, self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            for site in tuple(self._runner.sites):  # first, so that nobody comes back while the watches are cut
                await site.stop()
            self.tell("reset")
            await asyncio.sleep(0.01)
            await self._runner.cleanup()
            self._runner = None

    def put(self, name: str, user: str | None, workspace: str = "cardio", *, told: bool = True, **more: object) -> None:
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.version += 1
        self.objects[name] = {
            "metadata": {"name": name, "resourceVersion": str(self.version)},
            "spec": {"username": user, "workspace": workspace, **more},
        }
        self._tell(kind, self.objects[name], told)

    def delete(self, name: str, *, told: bool = True) -> None:
        self.version += 1
        gone = self.objects.pop(name)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", gone, told)

    def _tell(self, kind: str, body: Mapping[str, Any], told: bool) -> None:
        line = _event(kind, body)
        self.history.append((self.version, line))
        if told:
            self.tell(line)

    def tell(self, what: bytes | str) -> None:
        """Send bytes to each open watch, or make them ``end``, ``reset`` or send ``half`` of the next event and end."""
        for queue in self.open:
            queue.put_nowait(what)

    def bookmark(self) -> None:
        self.version += 1
        self.tell(_event("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}))

    def _end_of_list(self) -> bytes:
        annotations = {"k8s.io/initial-events-end": "true"}
        return _event("BOOKMARK", {"metadata": {"resourceVersion": str(self.version), "annotations": annotations}})

    def asked(self, *, watch: bool) -> list[dict[str, str]]:
        return [query for query in self.requests if ("resourceVersion" in query) == watch]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        if "fieldSelector" in query:
            return self._present(query)
        if int(query.get("timeoutSeconds", 300)) < 300:
            return await self._witness(request, query["resourceVersion"])
        if "sendInitialEvents" in query and not self.streams:
            self.refused += 1
            return web.json_response({"kind": "Status", "code": 422, "reason": "Invalid"}, status=422)
        self.requests.append(query)
        script = self.watches if "resourceVersion" in query else self.lists
        what = script.popleft() if script else ""
        if what == "hang":
            await asyncio.sleep(60)
        if what[:3].isdigit() and what != "410-event":
            code, _, after = what.partition("-after-")
            reason = {"410": "Expired", "403": "Forbidden"}.get(code, "InternalError")
            status = {"kind": "Status", "code": int(code), "reason": reason}
            return web.json_response(status, status=int(code), headers={"Retry-After": after} if after else None)
        if what == "nonsense":
            return web.json_response({"kind": "Namespace", "metadata": {"resourceVersion": "7"}})
        return await self._watch(request, query, what) if "watch" in query else self._list(query)

    def _list(self, query: Mapping[str, str]) -> web.Response:
        names = sorted(self.objects)
        start, limit = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(start + limit)} if start + limit < len(names) else {}
        items = [self.objects[name] for name in names[start : start + limit]]
        return web.json_response({"metadata": {"resourceVersion": str(self.version), **more}, "items": items})

    def _present(self, query: Mapping[str, str]) -> web.Response:
        assert query == {"fieldSelector": "metadata.name=-"}
        self.present_reads += 1
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": []})

    async def _witness(self, request: web.Request, since: str) -> web.StreamResponse:
        self.witnesses.append(since)
        response = web.StreamResponse()
        await response.prepare(request)
        for version, line in self.history:
            if version > int(since):
                await response.write(line)
        version = self.bookmarks.popleft() if self.bookmarks else self.version
        await response.write(_event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}}))
        return response

    async def _watch(self, request: web.Request, query: Mapping[str, str], what: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        if what == "held":
            await self.held.wait()
            what = ""
        queue: asyncio.Queue[bytes | str] = asyncio.Queue()
        if "sendInitialEvents" in query:
            assert query["resourceVersionMatch"] == "NotOlderThan"
            for each in self.objects.values():
                queue.put_nowait(_event("ADDED", each))
            queue.put_nowait(what)
            queue.put_nowait(self._end_of_list())
            what = ""
        for version, line in self.history:
            if version > int(query.get("resourceVersion", self.version)):
                queue.put_nowait(line)
        if what == "410-event":
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            queue.put_nowait(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        elif what:
            queue.put_nowait(what)
        self.open.add(queue)
        try:
            return await self._feed(request, response, queue)
        finally:
            self.open.discard(queue)

    async def _feed(
        self, request: web.Request, response: web.StreamResponse, queue: asyncio.Queue[bytes | str]
    ) -> web.StreamResponse:
        mode = ""
        while True:
            line = await queue.get()
            if isinstance(line, bytes):
                await response.write(line[: len(line) // 2] if mode else line)
                if mode == "half-reset":
                    await asyncio.sleep(0.02)
                    line = "reset"
                elif mode == "half-end":
                    line = "end"
                elif mode == "half-stall":
                    await asyncio.sleep(60)
            if line == "stall":
                await asyncio.sleep(60)
            if line == "end":
                return response
            if line == "reset" and request.transport is not None:
                request.transport.abort()
                return response
            if isinstance(line, str):
                mode = line


def _event(kind: str, body: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_OBJECTS", 3)
    monkeypatch.setattr(module, "WITNESS_SECONDS", (0, 1))
    monkeypatch.setattr(client, "TRIES", 1)


SHORT = Timeouts(grace=60.0, pause=(0.02, 0.1), wake=0.05)


def no_grace(kube: Kube, *, patience: float = 0.2) -> None:
    """As if the grace had passed; and a question waits this long."""
    kube.timeouts = replace(kube.timeouts, grace=0.0, first_list=patience, patience=patience)


@pytest.fixture
async def api(request: pytest.FixtureRequest) -> AsyncIterator[ScriptedApi]:
    server = ScriptedApi()
    server.streams = getattr(request, "param", False)
    await server.start()
    yield server
    await server.stop()


both_ways = pytest.mark.parametrize("api", [False, True], ids=["in pages", "streamed"], indirect=True)


def kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
    }


@pytest.fixture
async def kube(api: ScriptedApi) -> AsyncIterator[Kube]:
    opened = Kube("hub", kubeconfig(f"http://127.0.0.1:{api.port}"), timeouts=SHORT)
    yield opened
    await opened.close()


@pytest.fixture
async def cache(kube: Kube) -> AsyncIterator[WatchCache[Binding]]:
    made = WatchCache(kube, PATH, keep=keep, keys=keys, log=LOG)
    yield made
    await made.close()


async def names(cache: WatchCache[Any], user: str) -> list[str]:
    return sorted(binding.name for binding in await cache.by_key(user))


async def until(condition: Any) -> None:
    """Wait until it holds; it has to be a state that lasts, for a busy machine looks late."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is another's state, which has no event
            await asyncio.sleep(0.005)


async def settled(api: ScriptedApi, cache: WatchCache[Any]) -> None:
    await cache.start()
    await until(lambda: api.open and cache.age == 0.0)


# Answers
@both_ways
async def test_first_question_starts_the_cache_and_waits_for_the_first_list(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    api.put("b1", "Alice@example.org")
    assert cache.age == float("inf")
    assert await names(cache, "alice@example.org") == ["b1"]
    assert await names(cache, "bob") == []
    assert await cache.get("b1") == Binding("b1", "alice@example.org", "cardio")
    assert await cache.get("b2") is None
    assert await cache.keys_count("alice@example.org") == 1


async def test_warm_answers_make_no_request(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    before = len(api.requests)
    for _ in range(100):
        assert await names(cache, "alice") == ["b1"]
    assert len(api.requests) == before == 2
    assert cache.age == 0.0


async def test_crowd_of_questions_lets_other_tasks_have_their_turn(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    """However many ask at once, and use what they are told: each slice of it is short."""
    api.put("b1", "alice")
    await settled(api, cache)
    turns: list[int] = []
    asked = 0

    async def other() -> None:
        while True:
            turns.append(asked)
            await asyncio.sleep(0)

    async def question() -> None:
        nonlocal asked
        assert await names(cache, "alice") == ["b1"]
        asked += 1
        sleep(0.001)  # noqa: ASYNC251 - a task that holds the loop up is what is looked at

    task = asyncio.create_task(other())
    await asyncio.gather(*(question() for _ in range(100)))
    task.cancel()
    longest = max(after - before for before, after in pairwise(turns))
    assert longest <= 1 + module.SLICE_SECONDS / 0.001


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10], ids=["empty", "one", "one page", "two pages", "many pages"])
async def test_all_pages_of_the_list_are_kept(api: ScriptedApi, cache: WatchCache[Binding], count: int) -> None:
    for number in range(count):
        api.put(f"b{number}", "alice" if number % 2 else "bob")
    await settled(api, cache)
    assert len(cache) == count
    assert await cache.keys_count("alice") == count // 2
    assert {query["limit"] for query in api.asked(watch=False)} == {"3"}


async def test_watch_starts_from_the_list_with_bookmarks_and_a_time_limit(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    (query,) = api.asked(watch=True)
    assert query["resourceVersion"] == "101"
    assert query["allowWatchBookmarks"] == "true"
    assert 300 <= int(query["timeoutSeconds"]) <= 600


async def test_change_between_two_pages_is_not_lost(
    api: ScriptedApi, cache: WatchCache[Binding], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of this server are no snapshot: the version of the first one is what the watch must go from."""
    for number in range(5):
        api.put(f"b{number}", "alice")
    pages = api._list

    def listed(query: Mapping[str, str]) -> web.Response:
        answer = pages(query)
        if "continue" not in query:
            api.put("b0", "bob")
        return answer

    monkeypatch.setattr(api, "_list", listed)
    await settled(api, cache)
    assert await names(cache, "alice") == ["b1", "b2", "b3", "b4"]
    assert await names(cache, "bob") == ["b0"]


@pytest.mark.parametrize("count", [1, 2, 3, 30])
async def test_key_with_many_objects_gains_and_loses_them(
    api: ScriptedApi, cache: WatchCache[Binding], count: int
) -> None:
    for number in range(count):
        api.put(f"b{number:02}", "alice")
    await settled(api, cache)
    for number in range(count):
        assert await cache.keys_count("alice") == count - number
        api.delete(f"b{number:02}")
        await until(lambda left=count - number - 1: len(cache) == left)
    assert await names(cache, "alice") == []
    assert cache._content is not None
    assert cache._content.index == {}


async def test_what_is_remembered_is_nothing_that_the_garbage_collector_walks(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    """The loop stays free: of 100,000 objects it would walk each, for tens of milliseconds, again and again."""
    api.put("b1", "alice")
    await settled(api, cache)
    assert cache._content is not None
    assert not any(map(gc.is_tracked, cache._content.objects.values()))


async def test_each_who_asks_gets_an_object_of_their_own(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    first, second = await cache.get("b1"), await cache.get("b1")
    assert first == second
    assert first is not second


async def test_object_that_cannot_be_remembered_hides_no_other(api: ScriptedApi, kube: Kube) -> None:
    """As one that ``keep`` raises for: what it grants is not certain."""
    for name in ("b1", "b2"):
        api.put(name, "alice")
    cache = WatchCache(
        kube,
        PATH,
        keep=lambda raw: keep(raw) if raw["metadata"]["name"] == "b1" else lambda: None,
        keys=lambda _one: ("alice",),
        log=LOG,
    )
    await settled(api, cache)
    assert await names(cache, "alice") == ["b1"]
    assert cache.skipped == 1
    await cache.close()


async def test_moved_object_leaves_its_old_key(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    """Rule A2: an access that now names another person is not the first one's any more."""
    api.put("b1", "alice")
    api.put("b2", "alice")
    await settled(api, cache)
    api.put("b1", "bob")
    api.put("b3", "bob")
    await until(lambda: len(cache) == 3)
    assert await names(cache, "alice") == ["b2"]
    assert await names(cache, "bob") == ["b1", "b3"]


@both_ways
async def test_revocation_event_removes(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    """Rule A3."""
    api.put("b1", "alice")
    await settled(api, cache)
    api.delete("b1")
    await until(lambda: len(cache) == 0)
    assert await names(cache, "alice") == []
    assert await cache.get("b1") is None


async def test_object_that_is_not_kept_any_more_is_forgotten(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    api.put("b1", None)
    await until(lambda: len(cache) == 0)
    assert cache.skipped == 0


@both_ways
async def test_broken_keep_hides_only_its_own_object(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    """Rule F3; and an access whose new text cannot be read grants nothing."""
    for name in ("b1", "b2", "b3"):
        api.put(name, "alice")
    api.objects["b2"]["spec"] = {"username": 7 * "x" * 500}
    await settled(api, cache)
    assert await names(cache, "alice") == ["b1", "b3"]
    assert "'b2' is left out: KeyError" in caplog.text
    del api.objects["b3"]["spec"]
    api._tell("MODIFIED", api.objects["b3"], True)
    await until(lambda: len(cache) == 1)
    assert await names(cache, "alice") == ["b1"]
    assert cache.skipped == 2
    assert all(len(record.getMessage()) < 600 for record in caplog.records)


@both_ways
async def test_thousand_broken_objects_do_not_flood_the_log(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_OBJECTS", 500)
    for number in range(1000):
        api.put(f"b{number}", "alice")
        del api.objects[f"b{number}"]["spec"]
    api.put("good", "alice")
    await settled(api, cache)
    assert await names(cache, "alice") == ["good"]
    assert cache.skipped == 1000
    assert len(caplog.records) == LINES_PER_MINUTE


# A list as the beginning of its watch

streamed = pytest.mark.parametrize("api", [True], ids=[""], indirect=True)


@streamed
async def test_streamed_list_goes_on_as_the_watch(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    for number in range(5):
        api.put(f"b{number}", "alice")
    await settled(api, cache)
    assert await cache.keys_count("alice") == 5
    api.delete("b0")
    api.put("b5", "alice")
    await until(lambda: cache._version == "107")
    assert await names(cache, "alice") == ["b1", "b2", "b3", "b4", "b5"]
    api.tell("end")
    await until(lambda: len(api.requests) == 2)
    first, second = api.requests
    assert first.items() >= {("watch", "1"), ("allowWatchBookmarks", "true"), ("sendInitialEvents", "true")}
    assert second["resourceVersion"] == "107"
    assert "sendInitialEvents" not in second
    assert (cache.faults, cache.relists) == (0, 0)


async def test_older_server_is_listed_in_pages_and_that_is_no_fault(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        api.put(f"b{number}", "alice")
    await settled(api, cache)
    api.watches.append("410")
    api.history.clear()
    api.tell("end")
    await until(lambda: cache.relists == 1)
    assert await cache.keys_count("alice") == 5
    assert [query["limit"] for query in api.asked(watch=False)] == ["3"] * 4
    assert api.refused == 1, "what is known of the server is not asked again"
    assert cache.faults == 1
    assert "422" not in caplog.text


@streamed
@pytest.mark.parametrize("what", ["end", "reset", "half-end", "half-reset", "half-stall", "stall"])
async def test_streamed_list_that_does_not_become_whole_is_no_list(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, what: str
) -> None:
    """Rule A4: a part of the list says nothing of the rest; and what cannot be streamed is read in pages."""
    kube.timeouts = replace(kube.timeouts, opening=1.5)  # of which a busy machine needs a part to connect
    kube.timeouts = replace(kube.timeouts, line=0.3)
    for number in range(5):
        api.put(f"b{number}", "alice")
    api.lists.append(what)
    assert await cache.keys_count("alice") == 5
    await until(lambda: cache.age == 0.0)
    assert ["limit" in query for query in api.asked(watch=False)] == [False, True, True]
    assert cache.faults == 1
    api.history.clear()
    api.watches.append("410")
    api.tell("reset")
    await until(lambda: cache.relists == 1)
    assert "sendInitialEvents" in api.asked(watch=False)[-1], "once is an accident"


@streamed
async def test_streamed_relist_that_breaks_off_leaves_the_old_content(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    for number in range(5):
        api.put(f"b{number}", "alice")
    await settled(api, cache)
    api.history.clear()
    api.watches.append("410")
    api.lists.extend(["reset", "500", "held"])
    api.tell("reset")
    api.delete("b0", told=False)
    await until(lambda: len(api.asked(watch=False)) == 4)
    assert await cache.keys_count("alice") == 5
    api.held.set()
    await until(lambda: cache.relists == 1)
    assert await names(cache, "alice") == ["b1", "b2", "b3", "b4"]


@streamed
async def test_change_during_a_streamed_list_is_not_lost(
    api: ScriptedApi, cache: WatchCache[Binding], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b1", "b2"):
        api.put(name, "alice")
    end_of_list = api._end_of_list

    def changed_meanwhile() -> bytes:
        api.delete("b1", told=False)
        api.put("b2", "bob", told=False)
        return b"".join(line for version, line in api.history if version > 102) + end_of_list()

    monkeypatch.setattr(api, "_end_of_list", changed_meanwhile)
    await settled(api, cache)
    assert await names(cache, "alice") == []
    assert await names(cache, "bob") == ["b2"]


@streamed
async def test_streamed_list_vouches_only_when_what_happened_meanwhile_has_come_in(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule A3: it is as old as its request; an access that ended since is told of right after it."""
    no_grace(kube, patience=5.0)
    api.put("b1", "alice")
    end_of_list = api._end_of_list

    def ended_meanwhile() -> bytes:
        line = end_of_list()
        api.delete("b1", told=False)
        asyncio.get_running_loop().call_later(0.1, api.tell, api.history[-1][1])
        return line

    monkeypatch.setattr(api, "_end_of_list", ended_meanwhile)
    assert await cache.by_key("alice") == []


# The watch ends, breaks, falls silent


async def test_clean_end_watches_again_from_the_last_version(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    await settled(api, cache)
    api.put("b1", "alice")
    api.bookmark()
    await until(lambda: len(cache) == 1)
    api.tell("end")
    await until(lambda: len(api.asked(watch=True)) == 2)
    assert api.asked(watch=True)[1]["resourceVersion"] == "102"
    assert len(api.asked(watch=False)) == 1
    assert cache.faults == 0


@both_ways
@pytest.mark.parametrize("what", ["reset", "end"])
async def test_event_during_the_gap_is_not_lost(api: ScriptedApi, cache: WatchCache[Binding], what: str) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    api.tell(what)
    api.delete("b1", told=False)
    api.put("b2", "alice", told=False)
    await until(lambda: cache._version == "103")
    assert await names(cache, "alice") == ["b2"]
    assert cache.relists == 0


@both_ways
@pytest.mark.parametrize("how", ["half-reset", "half-end", "half-stall"])
async def test_half_sent_line_loses_nothing(api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, how: str) -> None:
    kube.timeouts = replace(kube.timeouts, line=0.5)
    api.put("b1", "alice")
    await settled(api, cache)
    api.tell(how)
    api.delete("b1")
    await until(lambda: len(cache) == 0)
    assert {query["resourceVersion"] for query in api.asked(watch=True)} == {"101"}
    assert (cache.faults, cache.relists) == (1, 0)


async def test_unreadable_line_is_asked_for_again_and_in_the_end_listed(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    api.put("b1", "alice")
    await settled(api, cache)
    api.put("b2", "alice", told=False)
    api.history[-1] = (api.version, b'{"type": "ADDED", "object": {"secret\n')
    api.tell("reset")
    await until(lambda: cache.relists == 1)
    assert await names(cache, "alice") == ["b1", "b2"]
    assert [query["resourceVersion"] for query in api.asked(watch=True)[:4]] == ["101"] * 4
    assert "secret" not in caplog.text


async def test_line_over_many_chunks_and_many_lines_in_one(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    await settled(api, cache)
    api.put("big", "alice", comments="ü" * 1_000_000)
    for number in range(50):
        api.put(f"b{number}", "bob", told=False)
    api.tell(b"".join(line for version, line in api.history[1:]))
    await until(lambda: len(cache) == 51)
    assert await cache.keys_count("bob") == 50
    assert cache.faults == 0


@both_ways
async def test_silent_connection_is_given_up(api: ScriptedApi, cache: WatchCache[Binding], kube: Kube) -> None:
    kube.timeouts = replace(kube.timeouts, silence=1.0)
    api.put("b1", "alice")
    await settled(api, cache)
    api.delete("b1", told=False)  # the connection is open, and tells nothing
    api.watches.extend(["hang"] * 100)
    await until(lambda: cache.faults >= 1)
    assert "Timeout" in cache._problem
    # A timer of the loop, and aiohttp's, may end some milliseconds early.
    assert cache.age >= 0.9, "a connection that fell silent was good until its last sign of life, not until its end"
    api.watches.clear()
    await until(lambda: len(cache) == 0)


async def test_watch_that_hangs_before_it_opens_is_given_up(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube
) -> None:
    kube.timeouts = replace(kube.timeouts, opening=0.5)
    api.watches.extend(["hang", "hang"])
    await settled(api, cache)
    assert len(api.asked(watch=True)) == 3


@pytest.mark.parametrize("status", ["500", "429", "403"])
async def test_refused_watch_is_tried_again_without_a_list(
    api: ScriptedApi, cache: WatchCache[Binding], status: str
) -> None:
    api.watches.extend([status] * 3)
    await settled(api, cache)
    assert len(api.asked(watch=True)) == 4
    assert len(api.asked(watch=False)) == 1
    assert cache.faults == 3


# The place in the history is lost


@both_ways
@pytest.mark.parametrize("how", ["410", "410-event"])
async def test_relist_after_410_drops_what_vanished(api: ScriptedApi, cache: WatchCache[Binding], how: str) -> None:
    for name in ("b1", "b2"):
        api.put(name, "alice")
    await settled(api, cache)
    assert cache._content is not None
    unchanged = cache._content.objects["b2"]
    api.watches.append(how)
    api.history.clear()
    api.tell("reset")
    api.delete("b1", told=False)
    api.put("b3", "bob", told=False)
    api.history.clear()
    await until(lambda: cache.relists == 1)
    assert await names(cache, "alice") == ["b2"]
    assert await names(cache, "bob") == ["b3"]
    assert cache._content.objects["b2"] is unchanged, "what did not change is held once"
    assert await cache.get("b1") is None
    assert len(api.asked(watch=False)) == 2


@both_ways
async def test_readers_see_the_old_or_the_new_content_during_a_relist(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    for number in range(60):
        api.put(f"b{number:02}", "alice", "old")
    await settled(api, cache)
    seen = set()

    async def read() -> None:
        while cache.relists == 0:
            seen.add(tuple(sorted({(one.workspace) for one in await cache.by_key("alice")})))
            await asyncio.sleep(0)

    reader = asyncio.create_task(read())
    for number in range(60):
        api.put(f"b{number:02}", "alice", "new", told=False)
    api.history.clear()
    api.watches.append("410")
    api.tell("reset")
    await reader
    seen.add(tuple({one.workspace for one in await cache.by_key("alice")}))
    assert seen == {("old",), ("new",)}


async def test_relist_past_the_grace_vouches_for_nothing_until_it_is_whole(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube
) -> None:
    """Rules A3 and A4: what was known before the place was lost may have ended since, so it is not answered with."""
    no_grace(kube)
    kube.timeouts = replace(kube.timeouts, request=0.5)
    for number in range(5):
        api.put(f"b{number}", "alice")
    await settled(api, cache)
    api.delete("b0", told=False)
    api.history.clear()
    api.watches.append("410")
    api.lists.extend(["", "hang"])  # the second page is long in coming
    api.tell("reset")
    await until(lambda: len(api.asked(watch=False)) == 4)
    with pytest.raises(BackendUnavailable, match="was last known current"):
        await cache.by_key("alice")
    no_grace(kube, patience=5.0)
    assert await names(cache, "alice") == ["b1", "b2", "b3", "b4"]


async def test_continue_token_that_expires_restarts_the_list(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    for number in range(8):
        api.put(f"b{number}", "alice")
    api.lists.extend(["", "", "410"])
    await settled(api, cache)
    assert await cache.keys_count("alice") == 8
    assert [query.get("continue") for query in api.asked(watch=False)] == [None, "3", "6", None, "3", "6"]


ONE = '{"metadata": {"name": "b1"}, "spec": {"username": "alice", "workspace": "items", "items": [{"items": [1]}]}}'
OTHER = ONE.replace("b1", "b2").replace("items", '\\"items\\":[', 1)


@pytest.mark.parametrize(
    ("page", "there"),
    [
        ('{"items":[],"metadata":{"resourceVersion":"7"}}', []),
        ('{"items":null,"metadata":{"resourceVersion":"7"}}', []),
        (f'{{"items":[{ONE},{OTHER}],"kind":"L","metadata":{{"resourceVersion":"7"}}}}', ["b1", "b2"]),
        (f'{{ "metadata" : {{"resourceVersion":"7"}},\n "items" : [\n {ONE} ,\n {OTHER}\n ]\n}}\n', ["b1", "b2"]),
        (f'{{"kind":"L","metadata":{{"resourceVersion":"7"}},"items":[{OTHER}]}}', ["b2"]),
        (f'{{"items":[{ONE},{OTHER}', None),
        (f'{{"items":[{ONE},{OTHER}],"metadata":{{"resourceVersion":"7"', None),
        (f'{{"items":[{ONE},{OTHER[:50]}', None),
        (f'{{"items":[{ONE},{OTHER}],"metadata":{{}}}}', None),
        ('{"items":[],"metadata":"7"}', None),
        ('{"items":[7],"metadata":{"resourceVersion":"7"}}', None),
        (f'[{{"items":[{ONE}]}}]', None),
        ('{"metadata":{"resourceVersion":"7"}}', None),
        ("", None),
    ],
)
async def test_page_is_read_object_by_object_and_never_in_part(  # noqa: PLR0917 - fixtures and a table
    api: ScriptedApi,
    cache: WatchCache[Binding],
    kube: Kube,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    there: list[str] | None,
) -> None:
    """A4: the lists of the API servers differ in their order and white space; what is no whole list is none at all."""
    no_grace(kube, patience=0.2 if there is None else 5.0)
    kube.timeouts = replace(kube.timeouts, grace=60.0)
    monkeypatch.setattr(api, "_list", lambda query: web.Response(text=page, content_type="application/json"))
    if there is not None:
        assert await names(cache, "alice") == there
        return
    with pytest.raises(BackendUnavailable, match="is not listed yet; the last fault: "):
        await cache.by_key("alice")


async def test_fault_of_a_plugin_in_the_index_lists_again(api: ScriptedApi, kube: Kube) -> None:
    """A fault in the middle of a change may leave the index wrong: the whole content is made anew."""
    wrong: list[str] = []
    cache = WatchCache(kube, PATH, keep=keep, keys=lambda one: (one.user, *wrong), log=LOG)
    api.put("b1", "alice")
    await settled(api, cache)
    wrong.append("other")
    api.delete("b1")
    await until(lambda: len(api.asked(watch=False)) == 2)
    assert await names(cache, "alice") == []
    await cache.close()


# No answer
@both_ways
async def test_api_gone_past_the_grace_is_unavailable_and_comes_back(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube
) -> None:
    """Rule A4: no answer is never "nothing"."""
    api.put("b1", "alice")
    await settled(api, cache)
    await api.stop()
    await until(lambda: cache.age > 0.0)
    assert await names(cache, "alice") == ["b1"], "the seconds of a usual reconnect disturb nobody"
    no_grace(kube)
    with pytest.raises(
        BackendUnavailable, match=r"was last known current \d+ s ago; the last fault: Client\w+"
    ) as info:
        await cache.by_key("alice")
    assert PATH in str(info.value)
    assert 0.2 <= cache.age < 60
    assert len(cache) == 1

    api.delete("b1", told=False)
    await api.start()
    await until(lambda: len(cache) == 0)
    no_grace(kube, patience=5.0)
    assert await names(cache, "alice") == []
    assert cache.relists == 0


async def reopened(api: ScriptedApi, cache: WatchCache[Binding], *, elsewhere: int = 0) -> None:
    """Cut the watch off, and have objects of other collections written to the API server meanwhile."""
    await settled(api, cache)
    await api.stop()
    await until(lambda: cache.age > 0.0)
    api.version += elsewhere
    await api.start()


@pytest.mark.parametrize("elsewhere", [0, 5], ids=["the last write", "others after it"])
async def test_event_that_is_late_is_not_passed_over(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, elsewhere: int
) -> None:
    """Rule A3: an access that ended while the API was out of reach is not seen as open, by how much it is ever late.

    The event is held back for longer than the API server takes for everything else that it is asked.
    """
    no_grace(kube, patience=20.0)
    api.put("b1", "alice")
    await settled(api, cache)
    await api.stop()
    await until(lambda: cache.age > 0.0)
    api.delete("b1", told=False)
    api.version += elsewhere
    api.watches.append("held")
    question = asyncio.create_task(cache.by_key("alice"))
    await api.start()
    await until(lambda: api.witnesses)
    await until(lambda: cache._goal == "102")
    assert await _stays(lambda: not question.done() and cache.age > 0.0)
    api.held.set()
    assert await question == []
    await until(lambda: cache.age == 0.0)
    assert (api.present_reads, api.witnesses) == (2, ["101"])


async def _stays(condition: Any) -> bool:
    """Whether it holds at each of many turns of the loop, in which requests are answered."""
    for _ in range(50):
        await asyncio.sleep(0.005)
        if not condition():
            return False
    return True


@both_ways
async def test_quiet_watch_settles_though_others_write(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube
) -> None:
    """It has no event and no bookmark for a minute, and needs none: two requests tell that it missed nothing."""
    no_grace(kube, patience=20.0)
    api.put("b1", "alice")
    await reopened(api, cache, elsewhere=5)
    assert await names(cache, "alice") == ["b1"]
    assert cache.age == 0.0
    assert (api.present_reads, api.witnesses) == (2, ["101"])


async def test_watch_settles_without_a_witness_where_nothing_was_written(
    api: ScriptedApi, cache: WatchCache[Binding]
) -> None:
    api.put("b1", "alice")
    await reopened(api, cache)
    await until(lambda: cache.age == 0.0)
    assert (api.present_reads, api.witnesses) == (2, [])


@pytest.mark.parametrize("behind", [[101], [103, 104]], ids=["once", "twice"])
async def test_bookmark_that_is_behind_the_present_settles_nothing(
    api: ScriptedApi, cache: WatchCache[Binding], behind: list[int]
) -> None:
    """One of several API servers may be late itself: another witness is called."""
    api.put("b1", "alice")
    api.bookmarks.extend(behind)
    await reopened(api, cache, elsewhere=5)
    await until(lambda: cache.age == 0.0)
    assert api.witnesses == ["101"] * (len(behind) + 1)
    assert cache.relists == 0


async def test_bookmark_of_the_watch_itself_settles_it(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube
) -> None:
    """Then the witness is sent away, whatever becomes of it."""
    no_grace(kube)
    api.put("b1", "alice")
    api.bookmarks.extend([101] * 1000)
    await reopened(api, cache, elsewhere=5)
    await until(lambda: len(api.witnesses) >= 2)
    with pytest.raises(BackendUnavailable, match="was last known current"):
        await cache.by_key("alice")
    api.bookmark()
    await until(lambda: cache.age == 0.0)
    sent = len(api.witnesses)
    assert await _stays(lambda: len(api.witnesses) <= sent + 1)


@pytest.mark.parametrize(
    ("version", "goal", "reached"),
    [
        ("101", "101", True),
        ("102", "101", True),
        ("100", "101", False),
        ("99", "101", False),
        ("1000", "999", True),
        ("abc", "abc", True),
        ("abd", "abc", False),
        ("101", "abc", False),
        ("²", "1", False),
        ("9" * 5000, "1", False),
    ],
)
def test_versions_are_compared_as_numbers_or_for_equality(version: str, goal: str, reached: bool) -> None:
    """A4: what cannot be compared vouches for nothing."""
    assert module._is_at(version, goal) == reached


async def test_question_waits_for_the_reconnect(api: ScriptedApi, cache: WatchCache[Binding], kube: Kube) -> None:
    no_grace(kube, patience=5.0)
    api.put("b1", "alice")
    await settled(api, cache)
    await api.stop()
    await until(lambda: cache.age > 0.0)
    question = asyncio.create_task(cache.by_key("alice"))
    await asyncio.sleep(0.05)
    await api.start()
    assert len(await question) == 1


async def test_question_cuts_a_long_pause_short(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_grace(kube, patience=5.0)
    kube.timeouts = replace(kube.timeouts, pause=(60.0, 60.0))
    monkeypatch.setattr("workspace_managers.kube.cache.random.uniform", lambda low, high: high)
    await settled(api, cache)
    api.tell("reset")
    await until(lambda: not api.open)
    assert await names(cache, "alice") == []


@both_ways
@pytest.mark.parametrize("what", ["500", "403", "hang", "nonsense"])
async def test_nothing_listed_is_unavailable_never_empty(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, what: str
) -> None:
    """Rule A4."""
    no_grace(kube)
    kube.timeouts = replace(kube.timeouts, request=0.5)
    kube.timeouts = replace(kube.timeouts, opening=0.5)
    api.lists.extend([what] * 100)
    api.put("b1", "alice")
    for question in (cache.by_key("alice"), cache.get("b1"), cache.keys_count("alice")):
        with pytest.raises(BackendUnavailable, match="is not listed yet; the last fault: ") as info:
            await question
        assert len(str(info.value)) < 500
    api.lists.clear()
    no_grace(kube, patience=5.0)
    assert await names(cache, "alice") == ["b1"]


async def test_outage_writes_few_log_lines(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await settled(api, cache)
    api.watches.extend(["500"] * 20)
    api.tell("reset")
    await until(lambda: cache.faults == 21)
    await until(lambda: cache.age == 0.0)
    lines = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert len(lines) == 6
    assert "fault 16" in lines[4]
    assert "watched again after 21 faults" in lines[5]


# The end


async def test_close_leaves_no_task_and_no_connection(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    before = asyncio.all_tasks()
    api.put("b1", "alice")
    await settled(api, cache)
    await cache.close()
    await cache.close()
    await until(lambda: not api.open)
    await until(lambda: {task for task in asyncio.all_tasks() - before if "cache" in task.get_name()} == set())
    assert len(cache) == 0
    assert cache.age == float("inf")
    await cache.start()
    with pytest.raises(BackendUnavailable, match="is closed"):
        await cache.by_key("alice")
    assert len(api.requests) == 2


@both_ways
async def test_close_answers_those_who_wait(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    api.lists.extend(["hang"])
    question = asyncio.create_task(cache.by_key("alice"))
    await until(lambda: api.requests)
    await cache.close()
    with pytest.raises(BackendUnavailable, match="is closed"):
        await question


async def test_close_before_the_start_does_nothing(api: ScriptedApi, cache: WatchCache[Binding]) -> None:
    await cache.close()
    with pytest.raises(BackendUnavailable, match="is closed"):
        await cache.get("b1")
    assert api.requests == []


@both_ways
@pytest.mark.parametrize("state", ["watching", "pausing", "listing"])
async def test_cancelled_task_ends(api: ScriptedApi, cache: WatchCache[Binding], state: str) -> None:
    """A hub that ends cancels every task."""
    if state == "listing":
        api.lists.append("hang")
        await cache.start()
        await until(lambda: api.requests)
    else:
        await settled(api, cache)
    if state == "pausing":
        await api.stop()
        await until(lambda: cache.faults > 0)
    assert cache._task is not None
    cache._task.cancel()
    await asyncio.wait([cache._task], timeout=20)
    assert cache._task.cancelled()
    with pytest.raises(BackendUnavailable, match="is closed"):
        await cache.by_key("alice")


# What is raised inside and is not for the cache


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("raiser", ["keep", "keys"])
async def test_plugin_that_raises_anything_leaves_out_that_object_alone(
    api: ScriptedApi, kube: Kube, raiser: str, error: type[BaseException]
) -> None:
    def raises(name: str) -> None:
        if name == "b1":
            raise error

    def kept(raw: Mapping[str, Any]) -> Binding | None:
        if raiser == "keep":
            raises(raw["metadata"]["name"])
        return keep(raw)

    def key(binding: Binding) -> Iterable[str]:
        if raiser == "keys":
            raises(binding.name)
        return keys(binding)

    cache = WatchCache(kube, PATH, keep=kept, keys=key, log=LOG)
    for name in ("b1", "b2"):
        api.put(name, "alice")
    await settled(api, cache)
    assert await names(cache, "alice") == ["b2"]
    assert (cache.skipped, cache.faults) == (1, 0)
    await cache.close()


@pytest.mark.parametrize("where", ["stream", "text", "get", "pause", "keys"])
async def test_cancellation_that_nobody_asked_for_is_a_fault(
    api: ScriptedApi, cache: WatchCache[Binding], kube: Kube, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A library may raise it, or have cancelled a task of its own: the cache goes on, and loses no event."""
    raised: list[str] = []

    def once(function: Any) -> Any:
        def stray(*arguments: Any, **named: Any) -> Any:
            if not raised:
                raised.append(where)
                raise asyncio.CancelledError
            return function(*arguments, **named)

        return stray

    api.put("b1", "alice")
    if where in ("stream", "text", "get"):
        monkeypatch.setattr(kube, where, once(getattr(kube, where)))
    await settled(api, cache)
    if where == "pause":
        monkeypatch.setattr(cache, "_pause", once(cache._pause))
        api.tell("reset")
        await until(lambda: raised)
    elif where == "keys":
        assert cache._content is not None
        monkeypatch.setattr(cache._content, "_keys", once(cache._content._keys))
        api.delete("b1")
        await until(lambda: raised)
        api.put("b1", "alice")
    await until(lambda: cache.faults == (2 if where == "pause" else 1) and cache.age == 0.0)
    api.put("b2", "alice")
    await until(lambda: len(cache) == 2)
    assert await names(cache, "alice") == ["b1", "b2"]
    assert raised == [where]


async def test_cancellation_that_a_library_turns_into_another_error_ends_the_cache(
    api: ScriptedApi, cache: WatchCache[Binding], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def swallows(*_: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("closed") from None

    monkeypatch.setattr(cache, "_list", swallows)
    api.streams = False
    await cache.start()
    await until(lambda: api.refused)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        await cache.close()
    assert cache._task is not None
    assert cache._task.cancelled()


# Retry-After


@pytest.mark.parametrize("of", ["watch", "list", "event"])
async def test_cache_leaves_an_api_server_alone_for_as_long_as_it_asks(
    api: ScriptedApi, cache: WatchCache[Binding], monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """Also where somebody waits for an answer, who else cuts a pause short."""
    pauses: list[float] = []
    pause = cache._pause

    async def noted(asked: float) -> None:
        pauses.append(asked)
        await pause(asked / 10)

    monkeypatch.setattr(cache, "_pause", noted)
    if of == "event":
        status = {"code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 3}}
        await settled(api, cache)
        api.tell(_event("ERROR", status))
    else:
        (api.watches if of == "watch" else api.lists).append("429-after-3")
    await settled(api, cache)
    await until(lambda: pauses)
    assert pauses == [3.0]


async def test_question_does_not_cut_short_what_the_api_server_asks_for(
    cache: WatchCache[Binding], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep_at_once(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("workspace_managers.kube.cache.asyncio.sleep", sleep_at_once)
    cache._asked.set()
    cache._failures = 1
    await cache._pause(7.0)
    assert slept == [7.0]


# The log


async def test_resource_that_is_rewritten_without_end_floods_no_log_and_hides_no_other(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    await settled(api, cache)
    for number in range(100):
        api.put("b1", None, username=number)
    api.put("b2", None, username=7)
    await until(lambda: cache.skipped == 101)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("'b1' is left out" in line for line in lines) == LINES_PER_SUBJECT
    assert sum("'b2' is left out" in line for line in lines) == 1


async def test_watch_that_breaks_without_end_floods_no_log(
    api: ScriptedApi, cache: WatchCache[Binding], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for count in range(1, 13):
        await until(lambda: api.open and cache.age == 0.0) if cache._task else await settled(api, cache)
        api.tell("reset")
        await until(lambda count=count: cache.faults == count)
    await settled(api, cache)
    lines = [record for record in caplog.records if record.name == LOG.name]
    assert len(lines) == 2 * LINES_PER_SUBJECT


# The embedded API


async def test_embedded_api_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WITNESS_SECONDS", (3,))
    monkeypatch.setattr(client, "TRIES", 3)  # a pooled connection may have ended with the server
    server = EmbeddedApi(namespaces=("hub",), history=5)
    kube = Kube("hub", kubeconfig(await server.start()), timeouts=SHORT)
    cache = WatchCache(kube, PATH, keep=keep, keys=keys, log=LOG)

    def binding(name: str, user: str) -> dict[str, Any]:
        return {
            "apiVersion": "xlscsde.nhs.uk/v1",
            "kind": "AnalyticsWorkspaceBinding",
            "metadata": {"name": name},
            "spec": {"username": user, "workspace": "cardio", "expires": "2030-01-01", "comments": "made by a test"},
        }

    try:
        for number in range(7):
            await kube.create(PATH, binding(f"b{number}", "Alice"))
        assert await cache.keys_count("alice") == 7
        await until(lambda: cache.age == 0.0)
        await kube.merge_patch(f"{PATH}/b0", {"spec": {"username": "bob"}})
        await until(lambda: cache._content is not None and cache._content.names("bob"))
        server.drop_watches()
        await kube.create("/api/v1/namespaces/hub/configmaps", {"metadata": {"name": "elsewhere"}})
        await kube.create(PATH, binding("b7", "Alice"))
        await kube.create("/api/v1/namespaces/hub/configmaps", {"metadata": {"name": "elsewhere-later"}})
        await until(lambda: len(cache) == 8)
        assert cache.relists == 0
        server.drop_watches()
        await until(lambda: cache.age > 0.0)
        await until(lambda: cache.age == 0.0)  # though nothing comes

        port = int(server.url.rsplit(":", 1)[1])
        await server.stop()
        await server.start(port=port)
        for number in range(8, 20):
            await kube.create(PATH, binding(f"b{number}", "Alice"))
        server.compact()
        await until(lambda: len(cache) == 20)
        assert await cache.keys_count("alice") == 19
    finally:
        await cache.close()
        await kube.close()
        await server.stop()
