"""A small, honest Kubernetes API on aiohttp, for the demo, third parties' contract tests and fault injection.

Always true here:
* It does what a real API server does, or answers 501 with a `Status` that names what is missing; a resource
  type that no Kubernetes knows is 404.
* There is no authentication: any bearer token, and none, may do everything. Listen on a loopback address
  only.
* Handlers await only before and after the store is used, so every request is one step to all others.

Served: namespaces, pods (status, binding), persistentvolumeclaims (status), secrets, configmaps,
serviceaccounts, events (core/v1, and the same events as events.k8s.io/v1), the two custom resources of
`crds.yaml` (status), their definitions for reading, and the discovery and OpenAPI documents that `kubectl`
needs to find these. There are no controllers: nothing is garbage collected by owner, a claim binds and a pod
runs only when a node sees to it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import contextvars
import json
import logging
import os
import socket
import struct
import tempfile
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from . import patch
from .discovery import OPENAPI_V2, OPENAPI_V2_TYPE, discovery
from .errors import ApiError, Problem, Undecodable, bad_request, illegal, not_implemented, unprepared
from .kinds import Kind
from .request import (
    Target,
    check_headers,
    check_list_options,
    check_names,
    check_twice,
    check_watch_options,
    deletion_options,
    exact_number,
    flag,
    is_strict,
    matching,
    no_such_path,
    not_allowed,
    number,
    read_json,
    read_object,
    unknown,
    verb_of,
    wants_table,
)
from .schemas import WrongType, decode
from .selectors import Object, Predicate
from .store import Change, Store, Stored, encode
from .tables import table

log = logging.getLogger(__name__)

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

SAVE_DELAY = 0.5
LARGEST_BODY = 3 * 1024 * 1024  # bytes; the real server's limit
_REQUESTS_KEPT = 50_000
# What a real server has and this one does not: these are 501, where a name that no server knows is 404.
_MISSING_CORE = {
    "bindings",
    "componentstatuses",
    "endpoints",
    "limitranges",
    "nodes",
    "persistentvolumes",
    "podtemplates",
}
_MISSING_CORE |= {"replicationcontrollers", "resourcequotas", "services"}
_MISSING_GROUPS = {"apps", "autoscaling", "batch", "policy"} | {
    f"{name}.k8s.io"
    for name in (
        *("admissionregistration", "apiregistration", "authentication", "authorization", "certificates"),
        *("coordination", "discovery", "flowcontrol.apiserver", "networking", "node", "rbac.authorization"),
        *("resource", "scheduling", "storage", "metrics"),
    )
}
_MISSING_ROOTS = {"metrics", "debug", "openid", ".well-known"}
_MISSING_SUBRESOURCES = {
    "attach",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
}
_MISSING_SUBRESOURCES |= {"resize", "scale", "token"}


@dataclass(slots=True)
class RequestRecord:
    """One request, for tests to count; `status` stays None until an answer begins."""

    method: str
    path: str
    query: dict[str, str]
    status: int | None = None


@dataclass(slots=True, eq=False)
class _Watch:
    """One open watch: its connection, and the changes it has yet to send; None ends it."""

    request: web.Request
    changes: asyncio.Queue[Change | None] = field(default_factory=asyncio.Queue)


class EmbeddedApi:
    """The API server.

    Args:
        state_file: Where everything but pods and events is kept over a restart; None keeps nothing.
        namespaces: Namespaces to create at the start when they are not there.
        bookmark_seconds: How often a watch that asks for bookmarks gets one.
        history: How many changes a watch may go back; older ones are answered with 410.
    """

    def __init__(
        self,
        *,
        state_file: Path | None = None,
        namespaces: Sequence[str] = ("default",),
        bookmark_seconds: float = 15.0,
        history: int = 1000,
    ) -> None:
        self.store = Store(history)
        self.requests: list[RequestRecord] = []
        self.fault: Fault | None = None
        self._state_file = state_file
        self._namespaces = tuple(namespaces)
        self._bookmark_seconds = bookmark_seconds
        self._read_up_to: dict[Kind, int] = {}
        self._loaded = False
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._watches: set[_Watch] = set()
        self._save_timer: asyncio.TimerHandle | None = None
        self._save_task: asyncio.Task[None] | None = None
        self._save_lock = asyncio.Lock()
        self._handlers: dict[str, Callable[[web.Request, Target], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete,
        }
        self.store.listeners.add(self._changed)

    # --- Life ---

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, with what the state file holds; after `stop`, go on with what was there.

        Args:
            port: 0 takes one that is free.

        Returns:
            The URL of the API.

        Raises:
            StateFileError: The state file is there and cannot be used.
        """
        if self._runner is not None:
            raise RuntimeError(f"the embedded Kubernetes API is already listening at {self._url}")
        if not self._loaded:
            if self._state_file is not None:
                self.store.load(self._state_file)
            self._create_namespaces()
            self._loaded = True
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_record_status)
        app.on_shutdown.append(self._end_watches)
        # Cancellation ends the handler of a watch whose client has gone, which would else wait for the next
        # change.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            self._runner = None
            raise
        self._url = f"http://{host}:{self._runner.addresses[0][1]}"
        return self._url

    async def stop(self) -> None:
        """End all watches, stop listening, and write the state file."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        await runner.cleanup()
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        if self._state_file is not None:
            await self._save(self._state_file)

    @property
    def url(self) -> str:
        """The URL of the API, from `start` on."""
        return self._url

    def kubeconfig(self, namespace: str = "default") -> dict[str, Any]:
        """Give a kubeconfig, for `kubectl` (written to a file as JSON) and for the Python clients."""
        name = "embedded"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self._url}}],
            "users": [{"name": name, "user": {"token": "any"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "current-context": name,
        }

    def compact(self) -> None:
        """Forget the history: a watch from an older resourceVersion, and a list as of one, get 410."""
        self.store.compact()

    def drop_watches(self) -> None:
        """Cut every open watch in the middle, without an end of the stream."""
        for watch in tuple(self._watches):
            reset_connection(watch.request)

    def _create_namespaces(self) -> None:
        kind = self.store.kind("", "namespaces")
        for name in self._namespaces:
            with contextlib.suppress(ApiError):
                self.store.get(kind, "", name)
                continue
            self.store.create(kind, "", {"metadata": {"name": name}})

    async def _end_watches(self, _: web.Application) -> None:
        for watch in self._watches:
            watch.changes.put_nowait(None)

    def _changed(self, change: Change) -> None:
        for watch in self._watches:
            watch.changes.put_nowait(change)
        if self._state_file is not None and self._save_timer is None and self._runner is not None:
            loop = asyncio.get_running_loop()
            self._save_timer = loop.call_later(SAVE_DELAY, self._begin_save, self._state_file)

    def _begin_save(self, file: Path) -> None:
        self._save_timer = None
        self._save_task = asyncio.create_task(self._save(file))
        self._save_task.add_done_callback(_log_failure)

    async def _save(self, file: Path) -> None:
        async with self._save_lock:
            await asyncio.to_thread(_write_atomically, file, self.store.dump())

    # --- A request ---

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        record = RequestRecord(request.method, request.path, dict(request.query))
        if len(self.requests) >= _REQUESTS_KEPT:
            del self.requests[: _REQUESTS_KEPT // 5]
        self.requests.append(record)
        _record.set(record)
        try:
            if self.fault is not None:
                response = await self.fault(request)
                if response is not None:
                    return response
                if request.transport is None or request.transport.is_closing():
                    raise ConnectionResetError
            return await self._answer(request)
        except ApiError as error:
            return _json(error.status(), error.code)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {LARGEST_BODY}"
            return _json(ApiError(413, "RequestEntityTooLarge", message).status(), 413)
        except ConnectionError:
            reset_connection(request)
            return web.Response()
        except web.HTTPException:
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            message = f"Internal error occurred: {type(error).__name__}: {error}"
            return _json(ApiError(500, "InternalError", message).status(), 500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        if parts and parts[0] in ("healthz", "livez", "readyz"):
            return web.Response(text="ok")
        if parts == ["openapi", "v2"]:
            return web.Response(body=OPENAPI_V2, content_type=OPENAPI_V2_TYPE)
        if request.method == "GET" and (document := discovery(parts, self.store.kinds.values(), self._url)) is not None:
            return _json(document)
        target = self._target(parts)
        if target.subresource and not (target.subresource == "status" and target.kind.has_status):
            return await self._subresource(request, target)
        verb = verb_of(request, target)
        if verb not in target.kind.verbs:
            raise not_implemented(f"{verb} of {target.kind.resource}")
        check_headers(request)
        if "dryRun" in request.query:
            raise not_implemented("dryRun")
        return await self._handlers[verb](request, target)

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        if (target.subresource, target.kind.plural) == ("binding", "pods"):
            if request.method != "POST":
                raise not_allowed()
            return self._bind(target, (await read_object(request))[0])
        if target.subresource in _MISSING_SUBRESOURCES:
            raise not_implemented(f"{target.kind.plural}/{target.subresource}")
        raise unknown() if target.kind.schema is None else target.kind.not_found(target.name)

    def _target(self, parts: Sequence[str]) -> Target:
        """Read a path: `apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>/<subresource>`."""
        if len(parts) > 1 and parts[0] == "apis" and parts[1] in _MISSING_GROUPS:
            raise not_implemented(f"the API group {parts[1]}")
        if not parts or parts[0] in _MISSING_ROOTS:
            raise not_implemented(f"the path /{'/'.join(parts)}")
        if len(parts) >= 3 and parts[0] == "api":
            group, version, rest = "", parts[1], list(parts[2:])
        elif len(parts) >= 4 and parts[0] == "apis":
            group, version, rest = parts[1], parts[2], list(parts[3:])
        else:
            raise no_such_path()
        if rest[0] == "watch":
            raise not_implemented("the deprecated paths below /watch/")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        kind = self.store.kinds.get((group, version, rest[0]))
        if kind is None:
            if (group, version) == ("", "v1") and rest[0] in _MISSING_CORE:
                raise not_implemented(f"the resource type {rest[0]}")
            # The groups of custom resources are served by a part of the real server that knows no others.
            built_in = {one.group for one in self.store.kinds.values() if one.schema is None}
            raise unknown() if group in built_in else no_such_path()
        name, subresource = (*rest[1:], "", "")[:2]
        if len(rest) > 3 or ((namespace or name) and bool(namespace) is not kind.namespaced):
            raise unknown() if kind.schema is None else no_such_path()
        return Target(kind, namespace, name, subresource)

    # --- Reading ---

    async def _get(self, request: web.Request, target: Target) -> web.Response:
        self._check_revision(exact_number(request.query.get("resourceVersion")))
        stored = self.store.get(target.kind, target.namespace, target.name)
        if wants_table(request):
            return _json(table(target.kind, [stored.object], stored.revision))
        return _raw(_shown(target.kind, stored))

    async def _list(self, request: web.Request, target: Target) -> web.Response:
        kind, query = target.kind, request.query
        check_list_options(query)
        limit = max(number(query.get("limit"), "limit"), 0)
        revision = number(query.get("resourceVersion"), "resourceVersion")
        matches = matching(request, target)
        self._check_revision(revision)
        after = ("", "")
        if token := query.get("continue"):
            if revision:
                raise bad_request("specifying resource version is not allowed when using continue")
            revision, after = _continued(token)
        elif not limit and query.get("resourceVersionMatch") != "Exact":
            revision = 0  # not older than that, and now is not
        if not revision:
            # What reads the present has the watches of the kind come up to it: it is in their next bookmark.
            revision = self._read_up_to[kind.stored_as or kind] = self.store.revision
        everything = self.store.as_of(revision, kind, target.namespace)
        items: list[Stored] = []
        position = bisect_right(everything, after, key=lambda stored: stored.key)
        while position < len(everything) and not (limit and len(items) == limit):
            if matches is None or matches(everything[position].object):
                items.append(everything[position])
            position += 1
        metadata: Object = {"resourceVersion": str(revision)}
        if left := len(everything) - position:
            metadata["continue"] = _token(revision, items[-1].key)
            # With a selector the real server does not know how many objects are left.
            selected = query.get("labelSelector") or query.get("fieldSelector")
            metadata |= {} if selected else {"remainingItemCount": left}
        if wants_table(request):
            shown = table(kind, [stored.object for stored in items], revision)
            return _json(shown | {"metadata": metadata})
        return _raw(_list_of(kind, items, metadata))

    def _check_revision(self, revision: int) -> None:
        if revision > self.store.revision:
            message = f"Timeout: Too large resource version: {revision}, current: {self.store.revision}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})

    # --- Watching ---

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        kind, query = target.kind, request.query
        check_watch_options(query)
        matches = matching(request, target)
        since = exact_number(query.get("resourceVersion"))
        oldest, list_first = 0, flag(query.get("sendInitialEvents"))
        if list_first:
            oldest, since = since, 0
        elif "sendInitialEvents" in query:
            since = since or self.store.revision
        bookmarks = flag(query.get("allowWatchBookmarks"))
        events = _Events(kind, matches, since, self.store.revision, wants_table(request), self._read_up_to)
        seconds = number(query.get("timeoutSeconds"), "timeoutSeconds")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = _Watch(request)
        try:
            self._check_revision(oldest)
            if since:
                first = events.lines(self.store.changes_since(since))
            else:
                items = self.store.list(kind, target.namespace, matches)
                first = b"".join(events.line("ADDED", item.object, item.raw) for item in items)
        except ApiError as error:
            # Too old, or too new: the real server has sent its 200 by the time it finds out.
            await response.prepare(request)
            await response.write(b'{"type":"ERROR","object":' + encode(error.status()) + b"}\n")
            return response
        # From here on no change is lost: it has been read above, or it comes through the queue.
        self._watches.add(watch)
        try:
            await response.prepare(request)
            if list_first and bookmarks:
                first += events.bookmark()
            if first:
                await response.write(first)
            async with asyncio.timeout(seconds or None):
                # The real server has one for each watch two seconds before its end.
                last = min(self._bookmark_seconds, seconds - 2) if seconds > 2 else self._bookmark_seconds
                await self._stream(watch, response, events, last if bookmarks else None)
        except TimeoutError:
            pass
        finally:
            self._watches.discard(watch)
        return response

    async def _stream(self, watch: _Watch, response: web.StreamResponse, events: _Events, first: float | None) -> None:
        """Send what happens, and bookmarks, where a time for the first one is given."""
        loop = asyncio.get_running_loop()
        next_bookmark = None if first is None else loop.time() + first
        while True:
            change: Change | None
            try:
                async with asyncio.timeout_at(next_bookmark):
                    change = await watch.changes.get()
            except TimeoutError:
                next_bookmark = loop.time() + self._bookmark_seconds
                if watch.changes.empty() and (line := events.bookmark()):
                    await response.write(line)
                continue
            batch: list[Change] = []
            while change is not None:
                batch.append(change)
                if watch.changes.empty():
                    break
                change = watch.changes.get_nowait()
            if lines := events.lines(batch):
                await response.write(lines)
            if change is None:
                return

    # --- Writing ---

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        strict = is_strict(request, "CreateOptions")
        body, twice = await read_object(request)
        check_names(target, body)
        check_twice(target.kind, twice, strict=strict)
        stored = self.store.create(target.kind, target.namespace, body, strict=strict)
        return _raw(_shown(target.kind, stored), 201)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        kind, strict = target.kind, is_strict(request, "UpdateOptions")
        body, twice = await read_object(request)
        check_names(target, body)
        check_twice(kind, twice, strict=strict)
        metadata = body.get("metadata")
        given = metadata if isinstance(metadata, dict) else {}
        if kind.schema is not None and "name" in given and not given.get("resourceVersion"):
            self.store.get(kind, target.namespace, target.name)  # whether it is there comes first
            text = "Invalid value: 0x0: must be specified for an update"
            error = kind.invalid(target.name, [Problem("metadata.resourceVersion", "FieldValueInvalid", text)])
            error.details["kind"] = kind.plural  # here, and only here, the real server does not name the kind
            raise error
        return self._replace(target, body, strict=strict)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        kind, strict = target.kind, is_strict(request, "PatchOptions")
        # Read before the object is: between these two nothing may be awaited, or the patch could undo a
        # write.
        change, twice = await read_json(request) if request.content_type != patch.APPLY_PATCH else ({}, [])
        stored = self.store.get(kind, target.namespace, target.name)
        original = kind.shown(stored.copy())
        body = patch.apply(request.content_type, original, change, custom=kind.schema is not None)
        try:
            check_twice(kind, twice, strict=strict)
            check_names(target, body, patched=True)
            metadata = body.get("metadata")
            uid = metadata.get("uid") if isinstance(metadata, dict) else None
            if isinstance(uid, str) and uid not in ("", stored.object["metadata"]["uid"]):
                raise kind.invalid(target.name, [illegal("metadata.uid", uid, "field is immutable")])
            return self._replace(target, body, strict=strict)
        except Undecodable as error:
            raise error.of_patch() from error

    def _replace(self, target: Target, body: Object, *, strict: bool) -> web.Response:
        status = target.subresource == "status"
        stored = self.store.replace(target.kind, target.namespace, target.name, body, status=status, strict=strict)
        return _raw(_shown(target.kind, stored))

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options = await deletion_options(request)
        kind = target.kind
        if not target.name:
            items = self.store.list(kind, target.namespace, matching(request, target))
            metadata = {"resourceVersion": str(self.store.revision)}
            for stored in items:
                self.store.delete(kind, *stored.key, options)
            return _raw(_list_of(kind, items, metadata))
        stored = self.store.delete(kind, target.namespace, target.name, options)
        if kind.returned:
            return _raw(_shown(kind, stored))
        details = kind.details(target.name) | {"uid": stored.object["metadata"]["uid"]}
        return _json(_success() | {"details": details})

    def _bind(self, target: Target, body: Object) -> web.Response:
        try:
            binding, _ = decode(body, "V1Binding")
        except WrongType as error:
            raise bad_request(f'Binding in version "v1" cannot be handled as a Binding: {error}') from error
        if binding.get("metadata", {}).get("name") != target.name:
            raise bad_request("name in URL does not match name in Binding object")
        node = binding.get("target", {})
        if not node.get("name") or node.get("kind", "Node") != "Node":
            raise unprepared("target: it must name a node")
        self.store.bind(target.namespace, target.name, node["name"])
        return _json(_success() | {"code": 201}, 201)


class _Events:
    """Turns changes into the lines of one watch: what its selector sees, in the form that it asked for."""

    def __init__(  # noqa: PLR0917 - what one watch is, for this module alone
        self,
        kind: Kind,
        matches: Predicate | None,
        since: int,
        now: int,
        as_table: bool,
        read_up_to: Mapping[Kind, int],
    ) -> None:
        self._read_up_to = read_up_to
        self._kind = kind
        self._stored_kind = kind.stored_as or kind
        self._matches = matches or (lambda _: True)
        self._since = self._latest = self._told = since or now
        # A watch that starts with what there is gets one bookmark in any case, at the end of that.
        self._initial = not since
        self._as_table = as_table
        self._columns_sent = False

    def lines(self, changes: Iterable[Change]) -> bytes:
        """Give one line for each change that this watch sees."""
        found: list[bytes] = []
        for change in changes:
            if change.kind is self._stored_kind and change.revision > self._since:
                self._latest = change.revision
                if (event := change.seen_by(self._matches)) is not None:
                    self._told = change.revision
                    found.append(self.line(*event))
        return b"".join(found)

    def line(self, what: str, item: Object, raw: bytes) -> bytes:
        """Give one event."""
        if self._as_table:
            shown = table(self._kind, [item], int(item["metadata"]["resourceVersion"]))
            # As the real server does it: only the first event describes the columns.
            raw = encode(shown if not self._columns_sent else shown | {"columnDefinitions": None})
            self._columns_sent = True
        elif self._kind.stored_as is not None:
            raw = encode(self._kind.shown(item))
        return b'{"type":"' + what.encode() + b'","object":' + raw + b"}\n"

    def bookmark(self) -> bytes:
        """Give a bookmark, an object of the kind with nothing but a resourceVersion; nothing when that is known."""
        self._latest = max(self._latest, self._read_up_to.get(self._stored_kind, 0))
        if self._latest == self._told and not self._initial:
            return b""
        item: Object = {"kind": self._kind.name, "apiVersion": self._kind.api_version}
        item["metadata"] = {"resourceVersion": str(self._latest)}
        if self._initial:
            item["metadata"]["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self._kind.plural == "pods":
            item |= {"spec": {"containers": None}, "status": {}}
        self._told, self._initial = self._latest, False
        return b'{"type":"BOOKMARK","object":' + encode(item) + b"}\n"


# --- Requests and answers ---


_record: contextvars.ContextVar[RequestRecord] = contextvars.ContextVar("record")


async def _record_status(_request: web.Request, response: web.StreamResponse) -> None:
    _record.get().status = response.status


def reset_connection(request: web.Request) -> None:
    """Close the connection so that the client sees a reset, not an end."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


def _raw(body: bytes, code: int = 200) -> web.Response:
    return web.Response(body=body, status=code, content_type="application/json")


def _json(item: Object, code: int = 200) -> web.Response:
    return _raw(encode(item), code)


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


def _shown(kind: Kind, stored: Stored) -> bytes:
    return stored.raw if kind.stored_as is None else encode(kind.shown(stored.object))


def _listed(kind: Kind, items: Iterable[Stored]) -> Iterable[bytes]:
    """Give the items of a list; as on the real server, only custom resources carry their kind there."""
    if kind.stored_as is not None:
        names = ("kind", "apiVersion")
        return (encode({k: v for k, v in kind.shown(one.object).items() if k not in names}) for one in items)
    if kind.schema is not None:
        return (one.raw for one in items)
    prefix = len(encode({"apiVersion": kind.api_version, "kind": kind.name}))
    return (b"{" + one.raw[prefix:] for one in items)


def _list_of(kind: Kind, items: Iterable[Stored], metadata: Object) -> bytes:
    head = encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(_listed(kind, items)) + b"]}"


def _token(revision: int, last: tuple[str, str]) -> str:
    """Give what a client sends to get the next page: of which version it is, and after which object it starts."""
    read = {"v": "meta.k8s.io/v1", "rv": revision, "start": last}
    return base64.urlsafe_b64encode(encode(read)).decode()


def _continued(token: str) -> tuple[int, tuple[str, str]]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token))
        namespace, name = map(str, read["start"])
        return int(read["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid") from error


def _write_atomically(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as temporary:
        try:
            temporary.write(content)
            temporary.flush()
            os.replace(temporary.name, file)
        except BaseException:
            os.unlink(temporary.name)
            raise


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("the state of the embedded Kubernetes API could not be saved: %s", error)
