"""A collection of the Kubernetes API held in memory: listed once, then watched, and read without a request.

- The content is one state that the API server had, plus the events that followed it. A new list takes the place of the
  old content in one step; readers see the one or the other.
- A list is streamed as the beginning of its watch (``sendInitialEvents``, in Kubernetes since 1.32, not everywhere on),
  which costs the API server and us the least. Where the server refuses that, and after a stream that failed, it is read
  in pages.
- There is no periodic list. A list is made at the start, and when the API server can no longer tell what changed since
  the last known ``resourceVersion``. Every other fault watches again from that version, so that no event is passed
  over.
- The cache answers only while it knows itself current. Otherwise it raises ``BackendUnavailable``, and never answers
  that there is nothing (rule A4).

The task goes round ``list -> watch -> watch -> ...``; a fault leads through a pause back to the watch, or to the list
where the place in the history is lost.

A watch *settles*, and only then vouches for the content, when the API server has shown that nothing from before its
opening is still to come. No time that passes shows that, as an event may be late by any time; nor does an event, as
others may follow it; and of bookmarks there is one a minute. So each watch, once it is open (and its list whole), is
compared with the server:

1. A consistent read of the collection, by a name that no object can have, gives the version L of that moment. A watch
   that has come to L, by an event or a bookmark, has everything. Where nothing was written to the API server at all in
   the meantime, it is there already.
2. The collection itself is usually quiet while L has gone on with others, and then the watch comes to L only with its
   next bookmark. A second watch, a *witness*, is opened from where the first one is, for some seconds, because
   kube-apiserver sends a bookmark two seconds before the end of a watch. When that bookmark is at L or past it, the
   last event that the witness saw is the last one of the collection before L: the first watch needs to have come no
   further than that.

Versions are compared as numbers, as Kubernetes defines since 1.35 and as all API servers make them; a version that is
no number is compared for equality alone, so that what cannot be compared vouches for nothing. From 1.31 on the
consistent read makes the server's next bookmark reach L. Before, that waits for etcd to tell its progress (each five
seconds with kubeadm), so the witness is called again, each time for longer, and a question may have to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import pickle
import random
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

import aiohttp

from ..errors import BackendUnavailable, quote
from ..loglimit import LogLimit
from ..metrics import watch_cache
from ..tasks import being_cancelled
from .client import ApiError, Kube, error_of_status

LINE_BYTES = 16 * 2**20
"""Ten times the largest object that etcd takes by default."""
WATCH_SECONDS = (300.0, 600.0)
"""The time that the API server is asked to end a watch after; random, so that many watches do not end together."""
SLICE_SECONDS = 0.002
"""Work on the event loop before other tasks have their turn."""
PAGE_OBJECTS = 500
WITNESS_SECONDS = (3, 6, 12, 24, 60)
"""How long one witness after the other is asked for; from the last on, each is as long as that."""
NOTHING = "metadata.name=-"
"""A field selector that no object can match: of a list, what it says beside its objects."""
_VERSION_DIGITS = 20  # of the 64 bits that a version has
# After these the content is as sound as before.
_HARMLESS = (BackendUnavailable, aiohttp.ClientError, OSError, TimeoutError, asyncio.CancelledError)
_LIST_IS_WHOLE = "k8s.io/initial-events-end"
# The first one is the list's own: what stands before it are two words and, on some servers, the list's own metadata.
_ITEMS = re.compile(r'"items"\s*:\s*\[')
_decode = json.JSONDecoder().raw_decode

T = TypeVar("T")


class _Unreadable(Exception):
    """The API server sent what is no list, or no event."""


class _Content(Generic[T]):
    """Objects by name, and their names by key.

    An object is kept as its pickle: small, and nothing that the garbage collector would walk; of 100,000 objects that
    takes it 20 ms and more a full collection. Whoever asks gets an object of their own.
    """

    __slots__ = ("_keys", "index", "objects")

    def __init__(self, keys: Callable[[T], Iterable[str]]) -> None:
        self.objects: dict[str, bytes] = {}
        self.index: dict[str, str | dict[str, None]] = {}  # most keys have one name: no container for it
        self._keys = keys

    def names(self, key: str) -> Collection[str]:
        names = self.index.get(key, ())
        return (names,) if isinstance(names, str) else names

    def put(self, name: str, kept: bytes, keys: Iterable[str]) -> None:
        self.remove(name)
        self.objects[name] = kept
        for key in keys:
            names = self.index.setdefault(key, name)
            if isinstance(names, dict):
                names[name] = None
            elif names != name:
                self.index[key] = {names: None, name: None}

    def remove(self, name: str) -> None:
        if name not in self.objects:
            return
        keys = set(self._keys(_unpickled(self.objects[name])))  # before anything is changed: it may raise
        del self.objects[name]
        for key in keys:
            names = self.index[key]
            if isinstance(names, dict):
                del names[name]
            if not names or names == name:
                del self.index[key]


class WatchCache(Generic[T]):
    """What a plugin asks often, held in memory and kept current by a watch.

    A plugin makes one for each collection that it reads, calls ``start`` from its own ``start`` and ``close`` from its
    own ``close``. All calls belong to one event loop.

    Args:
        kube: The client; the cache never closes it.
        path: The list path of one namespace's collection, such as ``/api/v1/namespaces/x/persistentvolumeclaims``.
        keep: From the object as the API has it to what is remembered of it: small, and such that pickle takes it; named
            tuples are read back the fastest. None: nothing is remembered. An object that it raises for is logged and
            not remembered, and hides no other.
        keys: The keys that a remembered object is found by. Must depend on nothing but the object.
        log: Where faults are reported, at a bounded rate.
        changed: Called on the loop with what was remembered of an object and what is now, None for nothing, once the
            cache has it; and with None twice after a first list, which says nothing of what was before.

    Attributes:
        collection: The last part of the path.
        relists: Lists made after the first one.
        faults: Faults that a pause followed.
        skipped: Objects and events left out because ``keep`` or ``keys`` raised.
    """

    def __init__(
        self,
        kube: Kube,
        path: str,
        *,
        keep: Callable[[Mapping[str, Any]], T | None],
        keys: Callable[[T], Iterable[str]],
        log: logging.Logger,
        changed: Callable[[T | None, T | None], None] | None = None,
    ) -> None:
        self.collection = path.rpartition("/")[2]
        self.relists = 0
        self.faults = 0
        self.skipped = 0
        self._kube, self._path, self._keep, self._keys, self._log = kube, path, keep, keys, log
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._started = 0.0
        # The content, the version it is at (empty: list first), and when it was last known current without a watch.
        self._content: _Content[T] | None = None
        self._version = ""
        self._known = float("-inf")
        # Whether the server streams lists, and lists that failed in a row; what is streamed now, and since when.
        self._streams = True
        self._lists_failed = 0
        self._coming: _Content[T] | None = None
        self._asked_at = 0.0
        # The watch: whether its list is whole, the version at which it settles (empty: not known yet), whether it has
        # and so vouches, and its last sign of life.
        self._listed = asyncio.Event()
        self._goal = ""
        self._settled = False
        self._life = float("-inf")
        # Faults in a row, unreadable lines in a row, and the last fault in words.
        self._failures = 0
        self._unreadable = 0
        self._problem = ""
        # ``_turn`` is set, and replaced, when those who wait should look again; ``_asked`` is set by those who wait.
        self._turn = asyncio.Event()
        self._asked = asyncio.Event()
        self._slice = 0.0
        self._faults_log, self._skips_log = LogLimit(log), LogLimit(log)
        watch_cache(self)

    # Questions

    async def by_key(self, key: str) -> Sequence[T]:
        """The objects under a key, in no order; the first question starts the cache.

        Raises:
            BackendUnavailable: The cache does not know itself current, and did not within a short wait.
        """
        await self._yield_to_loop()
        return await self._under(self._vouched() or await self._wait(), key)

    async def last_known(self, key: str) -> Sequence[T]:
        """The objects that were under a key when the cache last knew itself current; none where it never did.

        At once, whatever has happened since: each is a candidate, to be read anew before anything is made of it, and
        what is not among them may be there all the same (rule A4).
        """
        await self._yield_to_loop()
        return [] if self._content is None else await self._under(self._content, key)

    async def _under(self, content: _Content[T], key: str) -> list[T]:
        kept = [content.objects[name] for name in content.names(key)]  # of one moment, whatever becomes of the content
        found: list[T] = []
        for pickled in kept:
            found.append(_unpickled(pickled))
            await self._yield_to_loop()
        return found

    async def keys_count(self, key: str) -> int:
        """How many objects ``by_key`` would give."""
        return len((self._vouched() or await self._wait()).names(key))

    async def get(self, name: str) -> T | None:
        """The object of this ``metadata.name``, or None where there is none; raises as ``by_key`` does."""
        kept = (self._vouched() or await self._wait()).objects.get(name)
        return None if kept is None else _unpickled(kept)

    @property
    def age(self) -> float:
        """Seconds since the content was last known current: 0 while the watch is alive, inf before the first list."""
        if self._content is None:
            return float("inf")
        return 0.0 if self._alive() else monotonic() - self._known

    def __len__(self) -> int:
        return 0 if self._content is None else len(self._content.objects)

    def _alive(self) -> bool:
        return self._settled and monotonic() - self._life < self._kube.timeouts.silence

    def _vouched(self) -> _Content[T] | None:
        if self._alive() or monotonic() - self._known < self._kube.timeouts.grace:
            return self._content
        return None

    async def _wait(self) -> _Content[T]:
        await self.start()
        timeouts = self._kube.timeouts
        first = self._started + timeouts.first_list - monotonic() if self._content is None else 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(first, timeouts.patience)):
                while not self._closed:
                    if content := self._vouched():
                        return content
                    self._asked.set()
                    await self._turn.wait()
        raise BackendUnavailable(self._excuse())

    def _excuse(self) -> str:
        if self._closed:
            return f"the cache of {self._path} is closed"
        state = "is not listed yet" if self._content is None else f"was last known current {self.age:.0f} s ago"
        return f"{self._path} {state}; the last fault: {self._problem or 'none, the API server has not answered yet'}"

    def _look_again(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    # The task

    async def start(self) -> None:
        """Begin to list and watch, without waiting for either; once is enough, more does no harm."""
        if self._task is None and not self._closed:
            self._started = monotonic()
            self._task = asyncio.create_task(self._run(), name=f"cache of {self._path}")

    async def close(self) -> None:
        """End for good: the connection is closed, the content freed, and each later question ``BackendUnavailable``."""
        self._closed = True
        self._look_again()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        fault: BaseException | None = None
        try:
            while True:
                try:
                    if fault is not None:
                        await self._pause(_retry_after(fault))
                        fault = None
                    if not self._version and (not self._streams or self._lists_failed % 2):
                        await self._list()
                    await self._watch()
                except (Exception, asyncio.CancelledError) as error:
                    if being_cancelled():
                        raise asyncio.CancelledError from error  # whatever a library has made of it
                    if self._is_for_want_of_streams(error):
                        self._streams = False
                        continue
                    fault = error
                    self._note(error)
        finally:  # cancelled by close(), or by a hub that ends
            self._closed = True
            self._content = None
            self._look_again()

    def _is_for_want_of_streams(self, error: BaseException) -> bool:
        """Whether it is no fault, but how a server that streams no lists answers."""
        listing = not self._version and self._streams
        return listing and isinstance(error, ApiError) and error.status == 422

    def _note(self, error: BaseException) -> None:
        self._lists_failed += not self._version
        self.faults += 1
        self._failures += 1
        self._problem = f"{type(error).__name__} {quote(str(error))}"
        if isinstance(error, _Unreadable):
            self._unreadable += 1
            if self._unreadable > 2:  # it is no accident of the connection: the line itself is bad
                self._version, self._unreadable = "", 0
        elif isinstance(error, ApiError):
            if error.status in (400, 404, 410) or error.reason == "Expired" or "Too large resource" in error.message:
                self._version = ""  # this version has no history any more, or never had: another etcd, say
        elif not isinstance(error, _HARMLESS):
            self._version, self._content = "", None  # a fault of ours may have left the content half changed
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ... in a row: an outage floods no log
            message = "%s cannot be watched (fault %d): %s"
            self._faults_log.write(logging.WARNING, "faults", message, self._path, self._failures, self._problem)
        self._look_again()

    async def _pause(self, asked: float) -> None:
        """Wait a random while, longer after each fault in a row, and not shorter than the API server asks."""
        timeouts = self._kube.timeouts
        first, longest = timeouts.pause
        pause = random.uniform(0, min(longest, first * 2 ** min(self._failures - 1, 16)))  # noqa: S311 - jitter
        least = max(min(pause, timeouts.wake), asked)
        await asyncio.sleep(least)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause - least)):
                await self._asked.wait()
        self._asked.clear()

    async def _yield_to_loop(self) -> None:
        """Let other tasks have their turn, where this cache has worked, or many were answered by it, for a while."""
        while monotonic() - self._slice > SLICE_SECONDS:
            used_up = self._slice
            await asyncio.sleep(0)
            if self._slice == used_up:  # the first of those who waited for it begins the next
                self._slice = monotonic()

    async def _list(self) -> None:
        fresh = _Content(self._keys)
        version, asked_at, token = "", monotonic(), ""
        while True:
            query = {"limit": str(PAGE_OBJECTS)} | ({"continue": token} if token else {})
            page: dict[str, Any] = {}
            for item in _items(await self._kube.text(self._path, query), page):
                self._remember(fresh, item)
                await self._yield_to_loop()
            metadata = page.get("metadata") or {}
            if "items" not in page or not metadata.get("resourceVersion"):
                raise _Unreadable("the answer is not a list")  # to read it as an empty one would close every workspace
            # Events from the first page's version on are watched, whatever the server says of the later ones.
            version = version or str(metadata["resourceVersion"])
            token = metadata.get("continue") or ""
            if not token:
                break
        await self._replace(fresh, version, asked_at)

    async def _replace(self, fresh: _Content[T], version: str, asked_at: float) -> None:
        old, self._content, self._version, self._known = self._content, fresh, version, asked_at
        self._lists_failed = 0
        self._look_again()
        if old is None:
            self._tell("", None, None)
            return
        self.relists += 1
        if self._changed is not None:
            await self._tell_differences(old, fresh)
        # Freed in slices: in one piece it would hold the loop for tens of milliseconds.
        memory: dict[str, Any]
        for memory in (old.objects, old.index):
            while memory:
                memory.popitem()
                await self._yield_to_loop()

    async def _watch(self) -> None:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(random.uniform(*WATCH_SECONDS))),  # noqa: S311 - jitter, no secret
        }
        if self._version:
            query["resourceVersion"] = self._version
        else:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._coming, self._asked_at = _Content(self._keys), monotonic()
        self._goal, self._listed = "", asyncio.Event()
        timeouts = self._kube.timeouts
        known: float | None = None
        try:
            async with (
                asyncio.timeout(timeouts.opening) as opening,
                self._kube.stream(self._path, query, silence=timeouts.silence) as stream,
            ):
                opening.reschedule(None)
                self._life = monotonic()
                if self._coming is None:
                    self._listed.set()
                await self._follow_and_settle(stream)
        except TimeoutError:
            known = self._life  # nothing has come from a connection since it fell silent
            raise
        finally:
            self._coming = None
            settled, self._settled = self._settled, False
            if settled:
                self._known = max(self._known, monotonic() if known is None else known)
        if not settled:
            raise ConnectionError("the watch ended before it could vouch for anything")

    async def _follow_and_settle(self, stream: aiohttp.StreamReader) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                settling = group.create_task(self._settle(), name=f"settling of {self._path}")
                async for kind, body in self._events(stream):
                    await self._apply(kind, body)
                    if self._settled:
                        settling.cancel()  # else a witness that fails would end a watch that needs none
                    await self._yield_to_loop()
                settling.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _settle(self) -> None:
        """Learn from the API server how far the watch must have come; the head of this module says how.

        Raises:
            BackendUnavailable, aiohttp.ClientError, OSError, TimeoutError: There was no answer; the watch begins anew.
        """
        try:
            await self._listed.wait()
            page = await self._kube.get(self._path, {"fieldSelector": NOTHING})
            current = str((page.get("metadata") or {}).get("resourceVersion") or "")
            if not current or "items" not in page:
                raise _Unreadable("the answer is not a list")
            self._settle_at(current)
            for seconds in itertools.chain(WITNESS_SECONDS, itertools.repeat(WITNESS_SECONDS[-1])):
                if self._settled or await self._witness(current, seconds):
                    return
        except asyncio.CancelledError as error:
            if being_cancelled():
                raise
            # A group of tasks takes a cancelled one for one that has ended well.
            raise ConnectionError("what asks how far the watch must come was cancelled") from error

    async def _witness(self, current: str, seconds: int) -> bool:
        """Watch beside the watch itself, until a bookmark tells which event was the last one up to a version.

        Args:
            current: The version that the bookmark must have come to.
            seconds: The time after which the API server is to end the witness.

        Returns:
            Whether such a bookmark came.
        """
        last = self._version
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            "resourceVersion": last,
        }
        began, silence = monotonic(), seconds + self._kube.timeouts.opening
        async with asyncio.timeout(silence), self._kube.stream(self._path, query, silence=silence) as stream:
            async for kind, body in self._events(stream):
                version = body["metadata"]["resourceVersion"]
                if kind == "BOOKMARK" and _is_at(version, current):
                    self._settle_at(last)
                    return True
                last = last if kind == "BOOKMARK" else version
        # A server, or what stands before it, that ends it early is not asked again at once.
        await asyncio.sleep(max(0.0, began + min(seconds, WITNESS_SECONDS[0]) - monotonic()))
        return False

    def _settle_at(self, goal: str) -> None:
        self._goal = goal
        self._look_whether_settled()

    def _look_whether_settled(self) -> None:
        if self._settled or not self._goal or not _is_at(self._version, self._goal):
            return
        self._settled = True
        if self._failures:
            message = "%s is watched again after %d faults"
            self._faults_log.write(logging.INFO, "recovery", message, self._path, self._failures)
        self._failures = 0
        self._look_again()

    async def _events(self, stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """The events of a watch, each with its kind.

        Raises:
            ApiError: The API server ended the watch with an error.
            _Unreadable: A line is no event.
            ConnectionError: The watch ended within a line.
            TimeoutError: A line, or the list at the beginning, was too long in coming.
        """
        timeouts = self._kube.timeouts
        rest = bytearray()
        while True:
            between = None if self._coming is None else timeouts.opening
            async with asyncio.timeout(timeouts.line if rest else between):
                chunk = await stream.readany()
            if not chunk:
                break
            rest += chunk
            if b"\n" in chunk:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    yield _event(line)
            elif len(rest) > LINE_BYTES:
                raise _Unreadable(f"a line of more than {LINE_BYTES} bytes")
        if rest:
            raise ConnectionError(f"the watch ended within a line, after {len(rest)} bytes")

    async def _apply(self, kind: str, body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        content = self._content if self._coming is None else self._coming
        name = metadata.get("name", "")
        before = None if content is None else content.objects.get(name)
        if content is not None and kind == "DELETED":
            content.remove(name)
        elif content is not None and kind != "BOOKMARK":
            self._remember(content, body)
        self._life, self._unreadable = monotonic(), 0
        if self._coming is None:
            self._version = metadata["resourceVersion"]
            self._look_whether_settled()
            now = None if content is None else content.objects.get(name)
            if before != now:
                self._tell(name, before, now)
        elif kind == "BOOKMARK" and (metadata.get("annotations") or {}).get(_LIST_IS_WHOLE) == "true":
            whole, self._coming = self._coming, None
            await self._replace(whole, metadata["resourceVersion"], self._asked_at)
            self._listed.set()

    def _remember(self, content: _Content[T], raw: Mapping[str, Any]) -> None:
        name = raw["metadata"]["name"]
        kept: bytes | None = None
        try:
            if (found := self._keep(raw)) is not None:
                keys = dict.fromkeys(self._keys(found))
                kept = pickle.dumps(found)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # nothing is awaited: none is for this task
            self._skip(name, error)
        if kept is None:
            content.remove(name)  # what it said before does not hold any more
            return
        if self._content is not None and (known := self._content.objects.get(name)) == kept:
            kept = known  # a relist of what has not changed makes nothing new to hold
        content.put(name, kept, keys)

    async def _tell_differences(self, old: _Content[T], fresh: _Content[T]) -> None:
        for name in itertools.chain(old.objects, (name for name in fresh.objects if name not in old.objects)):
            before, now = old.objects.get(name), fresh.objects.get(name)
            if before != now:  # mostly one and the same, see _remember
                self._tell(name, before, now)
            await self._yield_to_loop()

    def _tell(self, name: str, before: bytes | None, now: bytes | None) -> None:
        if self._changed is None:
            return
        try:
            self._changed(*(None if kept is None else _unpickled(kept) for kept in (before, now)))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            message = "%s: the change of %s could not be told: %s %s"
            kind = type(error).__name__
            self._skips_log.write(logging.ERROR, name, message, self._path, quote(name), kind, quote(str(error)))

    def _skip(self, name: str, error: BaseException) -> None:
        self.skipped += 1
        message, kind = "%s: %s is left out: %s %s", type(error).__name__
        self._skips_log.write(logging.WARNING, name, message, self._path, quote(name), kind, quote(str(error)))


def _event(line: bytearray) -> tuple[str, Mapping[str, Any]]:
    """The kind and the object of a line of a watch, its ``metadata.resourceVersion`` a text that is not empty."""
    try:
        event = json.loads(line)
        kind, body = event["type"], event["object"]
        metadata = body.get("metadata") or {}
        version = metadata.get("resourceVersion")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _Unreadable(f"an unreadable line of {len(line)} bytes: {type(error).__name__}") from error
    if kind == "ERROR":
        code = body.get("code")
        raise error_of_status(code if isinstance(code, int) else 0, body)
    if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(version, str) or not version:
        raise _Unreadable(f"an event of an unknown kind, {quote(kind, 40)}")
    return kind, body


def _is_at(version: str, goal: str) -> bool:
    """Whether a version is another one, or past it."""
    return version == goal or (_is_number(version) and _is_number(goal) and int(version) >= int(goal))


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdecimal() and len(version) <= _VERSION_DIGITS


def _retry_after(error: BaseException) -> float:
    """Seconds that the API server asks to be left alone, also where its answer was the last of several tries."""
    answer = error if isinstance(error, ApiError) else error.__cause__
    return answer.retry_after if isinstance(answer, ApiError) else 0.0


def _items(text: str, page: dict[str, Any]) -> Iterator[Any]:
    """The objects of a page, decoded one by one: in one piece, a page of large ones would hold the loop for long.

    Args:
        text: The page.
        page: In the end, what the page says beside its objects.
    """
    try:
        if opening := _ITEMS.search(text):
            position = _next(text, opening.end())
            while text[position] != "]":
                item, position = _decode(text, position)
                yield item
                position = _next(text, position)
                if text[position] == ",":
                    position = _next(text, position + 1)
            text = text[: opening.end()] + text[position:]
        page.update(json.loads(text))
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise _Unreadable(f"an unreadable page: {type(error).__name__}") from error


def _next(text: str, position: int) -> int:
    """Where the next token begins."""
    while text[position].isspace():
        position += 1
    return position


def _unpickled(kept: bytes) -> Any:
    return pickle.loads(kept)  # noqa: S301 - made in this process, by ``_remember``
