"""One size, measured in a process of its own: ours and the reference side by side, on the same data and event loop.

Always true here: the process has imported, and frozen, what a hub has. What the API server did is told by the server's
own metrics and by the kernel, not by the clients. A pair is one question to ours and the same to the reference, one
after the other.

Reads a `Job` as JSON from its input and writes the results as JSON to its output.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import logging
import os
import ssl
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from kubernetes_asyncio import client, config
from lscsde_workspace_mgmt import AnalyticsWorkspaceManager
from traitlets.config import Config

from tests import factories
from tests.benchmarks import load
from tests.processes import resident
from workspace_manager_lscsde import LscsdeWorkspaceManager
from workspace_managers import AccessDenied, BackendUnavailable, Context, Settings, User, WatchCache
from workspace_managers.hub import configure
from workspace_managers.kube.client import ApiError, Kube

PAIRS = 50
WARM_UP = 3
REVOCATIONS = 20
CLAIMS_BINDINGS = 1000
BEAT_SECONDS = 0.001
ROUND_TRIP_SECONDS = 0.2
LOG = logging.getLogger("benchmark")

Result = dict[str, Any]
Form = Callable[[User], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure.

    Attributes:
        what: ``speed`` or ``memory``.
        bindings: How many there are, and as many workspaces.
        namespace: Where they are.
        kubeconfig: Of an administrator.
        pids: Process ids of the API server and its etcd.
        crowds: How many users ask for their forms at once, the most last.
    """

    what: str
    bindings: int
    namespace: str
    kubeconfig: dict[str, Any]
    pids: list[int]
    crowds: list[int]

    @property
    def users(self) -> int:
        """How many users have all their bindings."""
        return self.bindings // load.BINDINGS_EACH

    def user(self, number: int) -> User:
        """A user, counted around, so that there is always one."""
        return User.identify(load.username(number % self.users))


class Server:
    """The API server: what it says it did, and requests of the administrator."""

    _COUNTED = tuple(f'resource="{each}"' for each in (load.WORKSPACES, load.BINDINGS, "persistentvolumeclaims"))
    # Watches are counted while they are open, all other requests when they end.
    _REQUESTS = ("apiserver_request_total{", "apiserver_longrunning_requests{")
    _BYTES = ("apiserver_response_sizes_sum{", "apiserver_watch_events_sizes_sum{")

    def __init__(self, kubeconfig: Mapping[str, Any], pids: Sequence[int]) -> None:
        cluster = kubeconfig["clusters"][0]["cluster"]
        self.url = cluster["server"]
        self._pids = pids
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._headers = {"Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}"}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), headers=self._headers, raise_for_status=True
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def call(self, method: str, path: str, body: object = None) -> str:
        """One request of the administrator."""
        assert self._http is not None
        async with self._http.request(method, self.url + path, json=body) as answer:
            return await answer.text()

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[Result]:
        """What the server did inside the block; filled in at its end."""
        used: Result = {}
        requests, sent = await self._told()
        cpu, started = cpu_seconds(self._pids), perf_counter()
        yield used
        used["seconds"] = perf_counter() - started
        used["server_cpu_seconds"] = cpu_seconds(self._pids) - cpu
        requests_then, sent_then = await self._told()
        used |= {"requests": requests_then - requests, "server_bytes": sent_then - sent}

    async def _told(self) -> tuple[int, int]:
        lines = [
            line
            for line in (await self.call("GET", "/metrics")).splitlines()
            if any(each in line for each in self._COUNTED)
        ]

        def total(families: tuple[str, ...]) -> int:
            return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith(families))

        return total(self._REQUESTS), total(self._BYTES)


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes have used of the processors so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class ForgettableKube(Kube):
    """A client whose watches can be made to end and to have lost their place in the history, as after a compaction."""

    def __init__(self, namespace: str, kubeconfig: Mapping[str, Any]) -> None:
        super().__init__(namespace, kubeconfig)
        self._streams: set[tuple[str, aiohttp.StreamReader]] = set()  # of a collection, several at times
        self._lost: set[str] = set()

    def forget(self) -> None:
        """End each open watch; the next one of its collection is answered with 410."""
        self._lost = {path for path, _ in self._streams}
        for _, stream in self._streams:
            stream.set_exception(ConnectionResetError("cut by the benchmark"))

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """As a `Kube` does it, unless the place is lost."""
        if path in self._lost:
            self._lost.remove(path)
            raise ApiError(410, "Expired", "the benchmark says so")
        async with super().stream(path, query, silence=silence) as stream:
            self._streams.add((path, stream))
            try:
                yield stream
            finally:
                self._streams.discard((path, stream))


class Heartbeat:
    """How long the event loop kept its other tasks waiting inside the block, at the longest.

    Two cores are shared with the API server, so beside the time by the clock there is the loop's own CPU time.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * BEAT_SECONDS)  # so that it comes after what was started last
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            wall, cpu = perf_counter(), thread_time()
            await asyncio.sleep(BEAT_SECONDS)
            self.wall = max(self.wall, perf_counter() - wall - BEAT_SECONDS)
            self.cpu = max(self.cpu, thread_time() - cpu)

    @property
    def result(self) -> Result:
        """Both, in milliseconds."""
        return {"longest_block_ms": self.wall * 1000, "longest_block_cpu_ms": self.cpu * 1000}


def ours(job: Job, kube: Kube) -> LscsdeWorkspaceManager:
    """The manager, as the hub has it."""
    environ = {"POD_NAMESPACE": job.namespace}
    return LscsdeWorkspaceManager(Context(settings=Settings.from_environ(environ), kube=kube, log=LOG))


@contextlib.asynccontextmanager
async def reference(job: Job) -> AsyncIterator[Form]:
    """The library's own answer for one user's form, with a client of its own that has no connection yet."""
    settings = client.Configuration()
    await config.load_kube_config_from_dict(job.kubeconfig, client_configuration=settings)
    async with client.ApiClient(settings) as api:
        manager = AnalyticsWorkspaceManager(api, LOG)

        async def form(user: User) -> Any:
            # As a form would: the moment is not the one of the import, which is the default.
            now = datetime.now(UTC).replace(tzinfo=None)
            return await manager.get_permitted_workspaces(job.namespace, user.username, date_now=now)

        yield form


async def answered(question: Callable[[], Awaitable[Any]]) -> tuple[Any, int]:
    """The first answer, and how often it was unavailable before."""
    unavailable = 0
    while True:
        try:
            return await question(), unavailable
        except BackendUnavailable:
            unavailable += 1


async def measure_memory(job: Job) -> Result:
    """Resident memory before and after each of the two caches holds its objects."""
    kube = Kube(job.namespace, job.kubeconfig)
    manager = ours(job, kube)
    await kube.get("/version")
    sizes = [_resident()]
    for cache in (manager._bindings, manager._workspaces):
        await answered(partial(cache.get, ""))
        await _settled(cache)
        assert len(cache) == job.bindings, f"{len(cache)} of {job.bindings} are there"
        sizes.append(_resident())
    await manager.close()
    await kube.close()
    empty, bindings, both = sizes
    return {
        "empty_bytes": empty,
        "bytes_per_binding": (bindings - empty) / job.bindings,
        "bytes_per_workspace": (both - bindings) / job.bindings,
    }


def _resident() -> int:
    gc.collect()
    return resident(os.getpid())


async def measure_speed(job: Job) -> Result:
    """Everything else, in the order in which a hub meets it."""
    kube = ForgettableKube(job.namespace, job.kubeconfig)
    manager = ours(job, kube)
    async with Server(job.kubeconfig, job.pids) as server, reference(job) as theirs:
        try:
            result: Result = {"cold": await _cold(job, server, manager, theirs)}
            result["warm"] = await _warm(job, server, manager, theirs)
            result["crowds"] = {str(size): await _crowd(job, server, manager, theirs, size) for size in job.crowds}
            result["start"] = await _start(job, server, manager)
            result["revocation"] = await _revocation(job, server, manager)
            result["relist"] = await _relist(job, server, kube, manager)
            result["claims"] = await _claims(job, server, manager)
        finally:
            await manager.close()
            await kube.close()
    return result


async def _cold(job: Job, server: Server, manager: LscsdeWorkspaceManager, theirs: Form) -> Result:
    result: Result = {}
    async with server.used() as result["ours"], Heartbeat() as heart:
        form, unavailable = await answered(partial(manager.build_form, job.user(0)))
    assert len(form.cards) == load.BINDINGS_EACH
    result["ours"] |= {**heart.result, "unavailable": unavailable}
    async with server.used() as result["reference"]:
        assert len(await theirs(job.user(0))) == load.BINDINGS_EACH
    await _settled(manager._bindings, manager._workspaces)
    return result


async def _warm(job: Job, server: Server, manager: LscsdeWorkspaceManager, theirs: Form) -> Result:
    """Pairs of forms, each of another user; and all forms of either once more, for what the server did."""
    users = [job.user(number) for number in range(1, min(PAIRS, job.users - 1) + 1)]
    for user in users[:WARM_UP]:
        await theirs(user)
    pairs = [(await _timed(manager.build_form, user), await _timed(theirs, user)) for user in users]
    ratio = statistics.median(theirs_took / ours_took for ours_took, theirs_took in pairs)
    result: Result = {"ratio": ratio}
    for index, (name, form) in enumerate((("ours", manager.build_form), ("reference", theirs))):
        times = [pair[index] for pair in pairs]
        async with server.used() as used:
            for user in users:
                await form(user)
        result[name] = {
            "median_seconds": statistics.median(times),
            "longest_seconds": max(times),
            "requests": used["requests"] / len(users),
            "server_cpu_seconds": used["server_cpu_seconds"] / len(users),
            "server_bytes": used["server_bytes"] / len(users),
        }
    return result


async def _timed(form: Form, user: User) -> float:
    started = perf_counter()
    await form(user)
    return perf_counter() - started


async def _crowd(job: Job, server: Server, manager: LscsdeWorkspaceManager, theirs: Form, size: int) -> Result:
    """So many users ask for their forms at once."""
    # Users whose forms nobody has asked for yet, where there are so many.
    users = [job.user(PAIRS + size + number) for number in range(size)]
    result = {}
    for name, form in (("ours", manager.build_form), ("reference", theirs)):
        async with server.used() as used, Heartbeat() as heart:
            answers = await asyncio.gather(*(form(user) for user in users), return_exceptions=True)
            used["failed"] = sum(isinstance(answer, BaseException) for answer in answers)
        result[name] = {**used, **heart.result}
    return result


async def _start(job: Job, server: Server, manager: LscsdeWorkspaceManager) -> Result:
    """What a start adds when its claims are there; its round trips are seen by making each of them slow."""
    name = load.workspace_name(0)
    await factories.start(manager, job.user(0), name)
    async with server.used() as used:
        await factories.start(manager, job.user(0), name)
    async with Relay(server.url, ROUND_TRIP_SECONDS) as relay:
        kubeconfig = json.loads(json.dumps(job.kubeconfig).replace(server.url, relay.url))
        far = Kube(job.namespace, kubeconfig)
        try:
            slow = LscsdeWorkspaceManager(Context(settings=manager.context.settings, kube=far, log=LOG))
            # Only what the start itself asks goes the long way.
            slow._bindings, slow._workspaces = manager._bindings, manager._workspaces
            provision = partial(factories.start, slow, name=name)
            await provision(job.user(0))  # opens the connections
            took = min([await _timed(provision, job.user(0)) for _ in range(3)])  # the server may be busy once
        finally:
            await far.close()
    return {**used, "round_trips": int(took / ROUND_TRIP_SECONDS)}


class Relay:
    """A way to the API server on which each request takes longer."""

    def __init__(self, target: str, delay: float) -> None:
        self._host, self._port = urlsplit(target).hostname, urlsplit(target).port
        self._delay = delay
        self._pumps: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._pumps |= {
            asyncio.create_task(_pump(reader, back, self._delay)),
            asyncio.create_task(_pump(there, writer, 0.0)),
        }


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        while chunk := await reader.read(2**16):
            await asyncio.sleep(delay)
            writer.write(chunk)
    finally:
        writer.close()


async def _revocation(job: Job, server: Server, manager: LscsdeWorkspaceManager) -> Result:
    """From the API server's answer to the deletion of a binding until the start and the form refuse."""
    starts, forms = [], []
    for number in range(1, REVOCATIONS + 1):
        binding = (job.users - number) * load.BINDINGS_EACH
        user, name = job.user(job.users - number), load.workspace_name(binding)
        assert name in _slugs(await manager.build_form(user))
        await server.call("DELETE", f"{load.path(job.namespace, load.BINDINGS)}/{load.binding_name(binding)}")
        revoked = perf_counter()
        with contextlib.suppress(AccessDenied):
            await factories.start(manager, user, name)
            raise AssertionError(f"{name} started after its binding was deleted")
        starts.append(perf_counter() - revoked)
        while name in _slugs(await manager.build_form(user)):  # noqa: ASYNC110 - the cache tells nobody when it changes
            await asyncio.sleep(BEAT_SECONDS)
        forms.append(perf_counter() - revoked)
    return {"revocations": REVOCATIONS, "start_seconds": max(starts), "form_seconds": max(forms)}


def _slugs(form: Any) -> set[str]:
    return {card.slug for card in form.cards}


async def _relist(job: Job, server: Server, kube: ForgettableKube, manager: LscsdeWorkspaceManager) -> Result:
    """Both watches end and have lost their place; meanwhile one user asks for forms and starts, then a crowd."""
    answers: Counter[str] = Counter()
    crowd: asyncio.Task[Result] | None = None
    user, name = job.user(0), load.workspace_name(0)
    caches: tuple[WatchCache[Any], ...] = (manager._bindings, manager._workspaces)
    relists = [cache.relists for cache in caches]
    async with server.used() as used, Heartbeat() as heart:
        kube.forget()
        while not all(cache.relists > before and not cache.age for cache, before in zip(caches, relists, strict=True)):
            if crowd is None and max(cache.age for cache in caches) > kube.timeouts.grace:
                crowd = asyncio.create_task(_crowd_behind(job, manager))
            answers[f"forms {await _form_in_a_word(manager, user)}"] += 1
            try:
                await factories.start(manager, user, name)
                answers["starts made"] += 1
            except BackendUnavailable:
                answers["starts unavailable"] += 1
            await asyncio.sleep(0.02)
        behind = None if crowd is None else await crowd
    return {**used, **heart.result, "answers": dict(answers), "crowd": behind}


async def _crowd_behind(job: Job, manager: LscsdeWorkspaceManager) -> Result:
    """Different people who ask for their form at one moment."""
    began = perf_counter()
    people = [job.user(number) for number in range(min(job.crowds[-1], job.users))]
    words = await asyncio.gather(*(_form_in_a_word(manager, user) for user in people))
    return {"people": len(people), "seconds": perf_counter() - began, **Counter(words)}


async def _form_in_a_word(manager: LscsdeWorkspaceManager, user: User) -> str:
    try:
        form = await manager.build_form(user)
    except BackendUnavailable:
        return "unavailable"
    if form.incomplete:
        return "incomplete"
    assert len(form.cards) == load.BINDINGS_EACH
    return "whole"


async def _claims(job: Job, server: Server, manager: LscsdeWorkspaceManager) -> Result:
    """Forms before and after there are bindings without a username, each of which is tried for everybody."""
    count = min(CLAIMS_BINDINGS, job.bindings)
    user = User.identify(load.username(0), {"groups": [f"group-{count - 1}", "staff", "everybody"]})
    before = statistics.median([await _timed(manager.build_form, user) for _ in range(PAIRS)])
    there = len(manager._bindings)
    path = load.path(job.namespace, load.BINDINGS)
    for first in range(0, count, 50):
        numbers = range(first, min(first + 50, count))
        await asyncio.gather(*(server.call("POST", path, load.binding_by_claims(number)) for number in numbers))
    while len(manager._bindings) < there + count:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.05)
    after = statistics.median([await _timed(manager.build_form, user) for _ in range(PAIRS)])
    return {"bindings": count, "before_seconds": before, "after_seconds": after}


async def _settled(*caches: WatchCache[Any]) -> None:
    """Wait until the watches vouch for what was listed."""
    while any(cache.age for cache in caches):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.05)


def main() -> None:
    """Do the job that the input names."""
    job = Job(**json.load(sys.stdin))
    LOG.setLevel(logging.ERROR)  # the watches that are cut on purpose are no news
    configure(Config(), {"POD_NAMESPACE": job.namespace})  # for what a hub does to its process when its config loads
    result = asyncio.run({"memory": measure_memory, "speed": measure_speed}[job.what](job))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
