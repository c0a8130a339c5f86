"""The memory of one collection of the Kubernetes API: list once, then watch, and answer without a request.

Always true here:

- The content is one state that the API server had, plus the events that followed it. A new list takes the place of the
  old content in one step; readers see the one or the other.
- A list is streamed as the beginning of its watch (``sendInitialEvents``, in Kubernetes since 1.32, not everywhere on),
  which costs the API server and us the least. Where the server refuses that, and after a stream that failed, it is read
  in pages.
- There is no periodic list. A list is made at the start, and when the API server can no longer tell what changed since
  the last known ``resourceVersion`` (an opaque string). Every other fault watches again from that version, so that no
  event is passed over.
- The cache answers only while it knows itself current. Otherwise it raises ``BackendUnavailable``, and never answers
  that there is nothing (rule A4).

The task goes round ``list -> watch -> watch -> ...``; a fault leads through a pause back to the watch, or to the list
where the place in the history is lost. A watch *settles* a moment after it opened, or after its list was whole, when
what happened in the meantime has come in: only then does it vouch for the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pickle
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

import aiohttp

from ..errors import BackendUnavailable, quote
from ..metrics import watch_cache
from .client import ApiError, Kube

FIRST_LIST_SECONDS = 10.0
"""Longest wait of a question for the first list, counted from the start of the cache."""
PATIENCE_SECONDS = 2.0
"""Longest wait of a question for a connection to come back."""
GRACE_SECONDS = 5.0
"""How long the content is good for after it was last known current: the seconds of a usual reconnect."""
SILENCE_SECONDS = 90.0
"""Longest time without a sign of life; an API server sends a bookmark about every minute."""
SETTLE_SECONDS = 1.0
"""From the opening of a watch until the events of the gap before it count as received."""
OPEN_SECONDS = 10.0
"""Longest time for a watch to open, and between two parts of a streamed list."""
LINE_SECONDS = 5.0
"""Longest time for the rest of a line of which a part has come."""
LINE_BYTES = 16 * 2**20
"""Ten times the largest object that etcd takes by default."""
WATCH_SECONDS = (300.0, 600.0)
"""The time that the API server is asked to end a watch after; random, so that many watches do not end together."""
PAUSE_SECONDS = (0.2, 10.0)
"""Upper bound of the random pause after the first fault, doubled with every further one up to the second value."""
WAKE_SECONDS = 0.5
"""A question cuts a pause short, but not below this."""
SLICE_SECONDS = 0.002
"""Work on the event loop before other tasks have their turn."""
PAGE_OBJECTS = 500
WARNINGS_PER_MINUTE = 20
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
        for key in set(self._keys(_unpickled(self.objects.pop(name)))):
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
        log: Where faults are told.

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
    ) -> None:
        self.collection = path.rpartition("/")[2]
        self.relists = 0
        self.faults = 0
        self.skipped = 0
        self._kube, self._path, self._keep, self._keys, self._log = kube, path, keep, keys, log
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
        # The watch: whether it vouches, and its last sign of life.
        self._settling: asyncio.TimerHandle | None = None
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
        self._warned: tuple[float, int] = (float("-inf"), 0)
        watch_cache(self)

    # Questions

    async def by_key(self, key: str) -> Sequence[T]:
        """The objects under a key, in no order; the first question starts the cache.

        Raises:
            BackendUnavailable: The cache does not know itself current, and did not within a short wait.
        """
        await self._breathe()
        content = self._vouched() or await self._wait()
        kept = [content.objects[name] for name in content.names(key)]  # of one moment, whatever becomes of the content
        found: list[T] = []
        for each in kept:
            found.append(_unpickled(each))
            await self._breathe()
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
        return self._settled and monotonic() - self._life < SILENCE_SECONDS

    def _vouched(self) -> _Content[T] | None:
        if self._alive() or monotonic() - self._known < GRACE_SECONDS:
            return self._content
        return None

    async def _wait(self) -> _Content[T]:
        await self.start()
        first = self._started + FIRST_LIST_SECONDS - monotonic() if self._content is None else 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(first, PATIENCE_SECONDS)):
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
        return f"{self._path} {state}; the last fault: {self._problem or 'none, the API server is still being asked'}"

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
        try:
            while True:
                try:
                    if not self._version and (not self._streams or self._lists_failed % 2):
                        await self._list()
                    await self._watch()
                except Exception as error:
                    if self._is_for_want_of_streams(error):
                        self._streams = False
                        continue
                    self._note(error)
                    await self._pause()
        finally:  # cancelled by close(), or by a hub that ends
            self._closed = True
            self._content = None
            self._look_again()

    def _is_for_want_of_streams(self, error: Exception) -> bool:
        """Whether it is no fault, but how a server that streams no lists answers."""
        listing = not self._version and self._streams
        return listing and isinstance(error, ApiError) and error.status == 422

    def _note(self, error: Exception) -> None:
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
        elif not isinstance(error, BackendUnavailable | aiohttp.ClientError | OSError | TimeoutError):
            self._version, self._content = "", None  # a fault of ours may have left the content half changed
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ... in a row: an outage floods no log
            self._log.warning("%s cannot be watched (fault %d): %s", self._path, self._failures, self._problem)
        self._look_again()

    async def _pause(self) -> None:
        first, longest = PAUSE_SECONDS
        pause = random.uniform(0, min(longest, first * 2 ** min(self._failures - 1, 16)))  # noqa: S311 - jitter
        rest = max(0.0, pause - WAKE_SECONDS)
        await asyncio.sleep(pause - rest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest):
                await self._asked.wait()
        self._asked.clear()

    async def _breathe(self) -> None:
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
                await self._breathe()
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
            return
        self.relists += 1
        # Freed in slices: in one piece it would hold the loop for tens of milliseconds.
        memory: dict[str, Any]
        for memory in (old.objects, old.index):
            while memory:
                memory.popitem()
                await self._breathe()

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
        known: float | None = None
        try:
            async with (
                asyncio.timeout(OPEN_SECONDS) as opening,
                self._kube.stream(self._path, query, silence=SILENCE_SECONDS) as stream,
            ):
                opening.reschedule(None)
                self._life = monotonic()
                if self._coming is None:
                    self._settle_soon()
                await self._follow(stream)
        except TimeoutError:
            known = self._life  # a connection that fell silent has told nothing since
            raise
        finally:
            self._coming = None
            settled, self._settled = self._settled, False
            if self._settling is not None:
                self._settling.cancel()
            if settled:
                self._known = max(self._known, monotonic() if known is None else known)
        if not settled:
            raise ConnectionError("the watch ended before it could vouch for anything")

    def _settle_soon(self) -> None:
        self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle)

    def _settle(self) -> None:
        self._settled = True
        if self._failures:
            self._log.info("%s is watched again after %d faults", self._path, self._failures)
        self._failures = 0
        self._look_again()

    async def _follow(self, stream: aiohttp.StreamReader) -> None:
        rest = bytearray()
        while True:
            listing = None if self._coming is None else OPEN_SECONDS
            async with asyncio.timeout(LINE_SECONDS if rest else listing):
                chunk = await stream.readany()
            if not chunk:
                break
            rest += chunk
            if b"\n" in chunk:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    await self._apply(line)
                    await self._breathe()
            elif len(rest) > LINE_BYTES:
                raise _Unreadable(f"a line of more than {LINE_BYTES} bytes")
        if rest:
            raise ConnectionError(f"the watch ended within a line, after {len(rest)} bytes")

    async def _apply(self, line: bytearray) -> None:
        try:
            event = json.loads(line)
            kind, body = event["type"], event["object"]
            metadata = body.get("metadata") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _Unreadable(f"an unreadable line of {len(line)} bytes: {type(error).__name__}") from error
        if kind == "ERROR":
            raise ApiError(int(body.get("code") or 0), str(body.get("reason")), str(body.get("message")))
        version = metadata.get("resourceVersion")
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not version:
            raise _Unreadable(f"an event of an unknown kind, {quote(kind, 40)}")
        content = self._content if self._coming is None else self._coming
        if content is not None and kind == "DELETED":
            content.remove(metadata["name"])
        elif content is not None and kind != "BOOKMARK":
            self._remember(content, body)
        self._life, self._unreadable = monotonic(), 0
        if self._coming is None:
            self._version = version
        elif kind == "BOOKMARK" and (metadata.get("annotations") or {}).get(_LIST_IS_WHOLE) == "true":
            whole, self._coming = self._coming, None
            await self._replace(whole, version, self._asked_at)
            self._settle_soon()

    def _remember(self, content: _Content[T], raw: Mapping[str, Any]) -> None:
        name = raw["metadata"]["name"]
        kept: bytes | None = None
        try:
            if (found := self._keep(raw)) is not None:
                keys = dict.fromkeys(self._keys(found))
                kept = pickle.dumps(found)
        except Exception as error:
            self._skip(name, error)
        if kept is None:
            content.remove(name)  # what it said before does not hold any more
            return
        if self._content is not None and (known := self._content.objects.get(name)) == kept:
            kept = known  # a relist of what has not changed makes nothing new to hold
        content.put(name, kept, keys)

    def _skip(self, name: str, error: Exception) -> None:
        self.skipped += 1
        since, count = self._warned if monotonic() - self._warned[0] < 60 else (monotonic(), 0)
        self._warned = (since, count + 1)
        if count < WARNINGS_PER_MINUTE:
            self._log.warning(
                "%s: %s is left out: %s %s", self._path, quote(name), type(error).__name__, quote(str(error))
            )


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
