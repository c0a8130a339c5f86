"""A small, honest Kubernetes API on aiohttp, for the demo, third parties' contract tests and fault injection.

Always true here:
* It does what a real API server does, or answers 501 with a `Status` that names what is missing; a resource
  type that no Kubernetes knows is 404. Where it checks less than the real server, `store` says so.
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
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web

from . import patch, selectors
from .selectors import Object, Predicate
from .store import (
    ApiError,
    Change,
    Kind,
    Problem,
    Store,
    Stored,
    bad_request,
    encode,
    expired,
    not_implemented,
)

log = logging.getLogger(__name__)

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

SERVER_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.4-embedded", "platform": "python/asyncio"}
SAVE_DELAY = 0.5
LARGEST_BODY = 3 * 1024 * 1024  # bytes; the real server's limit
_PAGES_KEPT = 100
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

# An OpenAPI v2 document that describes nothing: version, title and no paths, in the protobuf form that
# `kubectl` insists on. It reads this for a `kind: List` only, and skips validating what is not described.
_OPENAPI_V2 = b"\n\x032.0\x12\x0e\n\x08embedded\x12\x02v1B\x00"
_OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


_OTHER_MEDIA_TYPES = {"application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"}


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


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path names: a collection when `name` is empty; of all namespaces when `namespace` is."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


@dataclass(frozen=True, slots=True)
class _Page:
    """A list that was begun, as it was then, so that its later pages belong to the first."""

    items: Sequence[Stored]
    revision: int
    selected: bool


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
        self._loaded = False
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._watches: set[_Watch] = set()
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._pages_begun = 0
        self._save_timer: asyncio.TimerHandle | None = None
        self._save_task: asyncio.Task[None] | None = None
        self._save_lock = asyncio.Lock()
        self._handlers: dict[str, Callable[[web.Request, _Target], Awaitable[web.StreamResponse]]] = {
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
        """Forget the history: a watch from an older resourceVersion, and a list's next page, get 410."""
        self.store.compact()
        self._pages.clear()

    def drop_watches(self) -> None:
        """Cut every open watch in the middle, without an end of the stream."""
        for watch in tuple(self._watches):
            _reset(watch.request)

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
            _reset(request)
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
            return web.Response(body=_OPENAPI_V2, content_type=_OPENAPI_V2_TYPE)
        if (
            request.method == "GET"
            and (document := _discovery(parts, self.store.kinds.values(), self._url)) is not None
        ):
            return _json(document)
        target = self._target(parts)
        if target.subresource and not (target.subresource == "status" and target.kind.has_status):
            return await self._subresource(request, target)
        verb = _verb(request, target)
        if verb not in target.kind.verbs:
            raise not_implemented(f"{verb} of {target.kind.resource}")
        if "as=PartialObjectMetadata" in request.headers.get("Accept", ""):
            raise not_implemented("PartialObjectMetadata")
        if "dryRun" in request.query:
            raise not_implemented("dryRun")
        return await self._handlers[verb](request, target)

    async def _subresource(self, request: web.Request, target: _Target) -> web.StreamResponse:
        if (target.subresource, target.kind.plural, request.method) == ("binding", "pods", "POST"):
            return self._bind(target, await _read_object(request))
        if target.subresource in _MISSING_SUBRESOURCES:
            raise not_implemented(f"{target.kind.plural}/{target.subresource}")
        raise _unknown()

    def _target(self, parts: Sequence[str]) -> _Target:
        """Read a path: `apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>/<subresource>`."""
        if len(parts) > 1 and parts[0] == "apis" and parts[1] in _MISSING_GROUPS:
            raise not_implemented(f"the API group {parts[1]}")
        if len(parts) >= 3 and parts[0] == "api":
            group, version, rest = "", parts[1], list(parts[2:])
        elif len(parts) >= 4 and parts[0] == "apis":
            group, version, rest = parts[1], parts[2], list(parts[3:])
        else:
            raise _unknown()
        if rest[0] == "watch":
            raise not_implemented("the deprecated paths below /watch/")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        kind = self.store.kinds.get((group, version, rest[0]))
        if kind is None:
            if (group, version) == ("", "v1") and rest[0] in _MISSING_CORE:
                raise not_implemented(f"the resource type {rest[0]}")
            raise _unknown()
        name, subresource = (*rest[1:], "", "")[:2]
        if len(rest) > 3 or ((namespace or name) and bool(namespace) is not kind.namespaced):
            raise _unknown()
        return _Target(kind, namespace, name, subresource)

    # --- Reading ---

    async def _get(self, request: web.Request, target: _Target) -> web.Response:
        stored = self.store.get(target.kind, target.namespace, target.name)
        if _wants_table(request):
            return _json(_table(target.kind, [stored.object], stored.revision))
        return _raw(_shown(target.kind, stored))

    async def _list(self, request: web.Request, target: _Target) -> web.Response:
        kind, query = target.kind, request.query
        limit = _number(query.get("limit"), "limit")
        if token := query.get("continue"):
            page_id, page, start = self._continued(token)
        else:
            self._check_list_revision(query.get("resourceVersion"), query.get("resourceVersionMatch"))
            matches = _matches(request, target)
            items = self.store.list(kind, target.namespace, matches)
            selected = bool(query.get("labelSelector") or query.get("fieldSelector"))
            page_id, page, start = "", _Page(items, self.store.revision, selected), 0
        end = start + limit if limit else len(page.items)
        metadata: Object = {"resourceVersion": str(page.revision)}
        if end < len(page.items):
            metadata["continue"] = _token(page_id or self._keep(page), page.revision, end)
            # With a selector the real server does not know how many objects are left.
            metadata |= {} if page.selected else {"remainingItemCount": len(page.items) - end}
        items = page.items[start:end]
        if _wants_table(request):
            table = _table(kind, [stored.object for stored in items], page.revision)
            return _json(table | {"metadata": metadata})
        head = encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata})
        return _raw(head[:-1] + b',"items":[' + b",".join(_listed(kind, items)) + b"]}")

    def _check_list_revision(self, text: str | None, match: str | None) -> None:
        revision = _number(text, "resourceVersion")
        if revision > self.store.revision:
            message = f"Timeout: Too large resource version: {revision}, current: {self.store.revision}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})
        if match == "Exact" and revision < self.store.revision:
            raise expired(f"The resourceVersion for the provided list is too old: {revision} ({self.store.revision})")

    def _keep(self, page: _Page) -> str:
        self._pages_begun += 1
        self._pages[str(self._pages_begun)] = page
        while len(self._pages) > _PAGES_KEPT:
            self._pages.popitem(last=False)
        return str(self._pages_begun)

    def _continued(self, token: str) -> tuple[str, _Page, int]:
        try:
            read = json.loads(base64.urlsafe_b64decode(token))
            page_id, start = str(read["page"]), int(read["start"])
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise bad_request("continue key is not valid") from error
        if page_id not in self._pages:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You can start a new list without the continue parameter."
            )
        return page_id, self._pages[page_id], start

    # --- Watching ---

    async def _watch(self, request: web.Request, target: _Target) -> web.StreamResponse:
        kind, query = target.kind, request.query
        if "sendInitialEvents" in query:
            raise not_implemented("sendInitialEvents")
        matches = _matches(request, target)
        since = _number(query.get("resourceVersion"), "resourceVersion")
        events = _Events(kind, matches, since or self.store.revision, _wants_table(request))
        seconds = _number(query.get("timeoutSeconds"), "timeoutSeconds")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = _Watch(request)
        try:
            if since:
                first = events.lines(self.store.changes_since(since))
            else:
                items = self.store.list(kind, target.namespace, matches)
                first = b"".join(events.line("ADDED", item.object, item.raw) for item in items)
        except ApiError as error:
            # Too old: the real server has sent its 200 by the time it finds out.
            await response.prepare(request)
            await response.write(b'{"type":"ERROR","object":' + encode(error.status()) + b"}\n")
            return response
        # From here on no change is lost: it has been read above, or it comes through the queue.
        self._watches.add(watch)
        try:
            await response.prepare(request)
            if first:
                await response.write(first)
            async with asyncio.timeout(seconds or None):
                await self._stream(watch, response, events, "true" in query.get("allowWatchBookmarks", ""))
        except TimeoutError:
            pass
        finally:
            self._watches.discard(watch)
        return response

    async def _stream(self, watch: _Watch, response: web.StreamResponse, events: _Events, bookmarks: bool) -> None:
        loop = asyncio.get_running_loop()
        next_bookmark = loop.time() + self._bookmark_seconds
        while True:
            change: Change | None
            try:
                async with asyncio.timeout_at(next_bookmark if bookmarks else None):
                    change = await watch.changes.get()
            except TimeoutError:
                next_bookmark = loop.time() + self._bookmark_seconds
                if watch.changes.empty():
                    await response.write(events.bookmark(self.store.revision))
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

    async def _create(self, request: web.Request, target: _Target) -> web.Response:
        body = _decoded(target, await _read_object(request))
        if target.kind.namespaced and not target.namespace:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        strict = request.query.get("fieldValidation") == "Strict"
        stored = self.store.create(target.kind, target.namespace, target.kind.taken(body), strict=strict)
        return _raw(_shown(target.kind, stored), 201)

    async def _update(self, request: web.Request, target: _Target) -> web.Response:
        body = _decoded(target, await _read_object(request))
        metadata = body.get("metadata")
        if target.kind.schema is not None and not (isinstance(metadata, dict) and metadata.get("resourceVersion")):
            text = "Invalid value: 0x0: must be specified for an update"
            raise target.kind.invalid(target.name, [Problem("metadata.resourceVersion", "FieldValueInvalid", text)])
        return self._replace(request, target, body)

    async def _patch(self, request: web.Request, target: _Target) -> web.Response:
        # Read before the object is: between these two nothing may be awaited, or the patch could undo a
        # write.
        change = await _read_json(request) if request.content_type != patch.APPLY_PATCH else {}
        stored = self.store.get(target.kind, target.namespace, target.name)
        original = target.kind.shown(stored.copy())
        body = patch.apply(request.content_type, original, change, custom=target.kind.schema is not None)
        return self._replace(request, target, _decoded(target, body))

    def _replace(self, request: web.Request, target: _Target, body: Object) -> web.Response:
        stored = self.store.replace(
            target.kind,
            target.namespace,
            target.name,
            target.kind.taken(body),
            status=target.subresource == "status",
            strict=request.query.get("fieldValidation") == "Strict",
        )
        return _raw(_shown(target.kind, stored))

    async def _delete(self, request: web.Request, target: _Target) -> web.Response:
        options = await _read_object(request) if request.can_read_body else {}
        query = request.query
        if "gracePeriodSeconds" in query:
            options["gracePeriodSeconds"] = _number(query["gracePeriodSeconds"], "gracePeriodSeconds")
        if options.get("dryRun"):
            raise not_implemented("dryRun")
        if not isinstance(options.get("gracePeriodSeconds"), int | None):
            raise bad_request("gracePeriodSeconds is not a number of seconds")
        if not isinstance(options.get("preconditions"), dict | None):
            raise bad_request("preconditions is not an object")
        if "Foreground" in (options.get("propagationPolicy"), query.get("propagationPolicy")):
            raise not_implemented("propagationPolicy Foreground")
        kind = target.kind
        if not target.name:
            items = self.store.list(kind, target.namespace, _matches(request, target))
            gone = [self.store.delete(kind, *stored.key, options) for stored in items]
            head = encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": {}})
            return _raw(head[:-1] + b',"items":[' + b",".join(_listed(kind, gone)) + b"]}")
        stored = self.store.delete(kind, target.namespace, target.name, options)
        if kind.returned:
            return _raw(_shown(kind, stored))
        details = kind.details(target.name) | {"uid": stored.object["metadata"]["uid"]}
        return _json(_success() | {"details": details})

    def _bind(self, target: _Target, body: Object) -> web.Response:
        node = body.get("target")
        if not isinstance(node, dict) or not isinstance(node.get("name"), str) or not node["name"]:
            problem = Problem("target.name", "FieldValueRequired", "Required value")
            raise target.kind.invalid(target.name, [problem])
        self.store.bind(target.namespace, target.name, node["name"])
        return _json(_success() | {"code": 201}, 201)


class _Events:
    """Turns changes into the lines of one watch: what its selector sees, in the form that it asked for."""

    def __init__(self, kind: Kind, matches: Predicate | None, since: int, table: bool) -> None:
        self._kind = kind
        self._stored_kind = kind.stored_as or kind
        self._matches = matches or (lambda _: True)
        self._since = since
        self._table = table
        self._columns_sent = False

    def lines(self, changes: Iterable[Change]) -> bytes:
        """Give one line for each change that this watch sees."""
        seen = (
            change.seen_by(self._matches)
            for change in changes
            if change.kind is self._stored_kind and change.revision > self._since
        )
        return b"".join(self.line(*event) for event in seen if event is not None)

    def line(self, what: str, item: Object, raw: bytes) -> bytes:
        """Give one event."""
        if self._table:
            table = _table(self._kind, [item], int(item["metadata"]["resourceVersion"]))
            # As the real server does it: only the first event describes the columns.
            raw = encode(table if not self._columns_sent else table | {"columnDefinitions": None})
            self._columns_sent = True
        elif self._kind.stored_as is not None:
            raw = encode(self._kind.shown(item))
        return b'{"type":"' + what.encode() + b'","object":' + raw + b"}\n"

    def bookmark(self, revision: int) -> bytes:
        """Give a bookmark: an object of the kind with nothing in it but the resourceVersion."""
        item: Object = {"kind": self._kind.name, "apiVersion": self._kind.api_version}
        item["metadata"] = {"resourceVersion": str(revision)}
        if self._kind.plural == "pods":
            item |= {"spec": {"containers": None}, "status": {}}
        return b'{"type":"BOOKMARK","object":' + encode(item) + b"}\n"


# --- Requests and answers ---


_record: contextvars.ContextVar[RequestRecord] = contextvars.ContextVar("record")


async def _record_status(_request: web.Request, response: web.StreamResponse) -> None:
    _record.get().status = response.status


def _reset(request: web.Request) -> None:
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


def _unknown() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def _verb(request: web.Request, target: _Target) -> str:
    """Name what the request does; a subresource is read and written, never listed or deleted."""
    one = bool(target.name)
    if request.method == "GET" and request.query.get("watch", "").lower() in ("true", "1") and not target.subresource:
        return "watch"
    verbs = {("GET", True): "get", ("PUT", True): "update", ("PATCH", True): "patch"}
    if not target.subresource:
        verbs |= {("GET", False): "list", ("POST", False): "create"}
        verbs |= {("DELETE", True): "delete", ("DELETE", False): "deletecollection"}
    if (request.method, one) not in verbs:
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    return verbs[request.method, one]


def _number(text: str | None, what: str) -> int:
    """Read a number of a query; absent, empty and 0 are 0."""
    if text and not (text.isascii() and text.isdigit()):
        raise bad_request(f'Invalid value: "{text}": {what} must be a number')
    return int(text or 0)


def _matches(request: web.Request, target: _Target) -> Predicate | None:
    """Give what selects the objects of a list or a watch, or None when nothing does."""
    kind, checks = target.kind, list[Predicate]()
    try:
        if text := request.query.get("labelSelector"):
            checks.append(selectors.labels(text))
        if text := request.query.get("fieldSelector"):
            by_field = selectors.fields(text, kind.selectable)
            checks.append(lambda item: by_field(kind.shown(item)))
    except ValueError as error:
        raise bad_request(str(error)) from error
    if target.namespace:
        checks.append(lambda item: bool(item["metadata"].get("namespace") == target.namespace))
    if target.name:
        checks.append(lambda item: bool(item["metadata"]["name"] == target.name))
    return (lambda item: all(check(item) for check in checks)) if checks else None


async def _read_json(request: web.Request) -> Any:
    body = await request.read()
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the object provided is unrecognized (must be valid JSON): {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


async def _read_object(request: web.Request) -> Object:
    if "Content-Type" in request.headers and request.content_type != "application/json":
        if request.content_type in _OTHER_MEDIA_TYPES:
            raise not_implemented(f"requests in {request.content_type}; send application/json")
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise ApiError(415, "UnsupportedMediaType", message)
    body = await _read_json(request)
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be a JSON object)")
    return body


def _decoded(target: _Target, body: Object) -> Object:
    """Check that a body is of the kind and namespace that the path names, and say which when it does not."""
    kind = target.kind
    for name, expected, called in (
        ("kind", kind.name, "kind"),
        ("apiVersion", kind.api_version, "API version"),
    ):
        if kind.schema is None:
            # The path tells a built-in type, so leaving it out is legal.
            body.setdefault(name, expected)
        elif not body.get(name):
            raise bad_request(
                f"Object '{name.capitalize() if name == 'kind' else name}' is missing in the request's body"
            )
        if body[name] != expected:
            message = f"the {called} in the data ({body[name]}) does not match the expected {called} ({expected})"
            raise bad_request(message)
    metadata = body.get("metadata", {})
    if not isinstance(metadata, dict):
        raise kind.undecodable("json: cannot unmarshal metadata into an object")
    if (metadata.get("namespace") or target.namespace) != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request: "
            f"{metadata['namespace']!r} is not {target.namespace!r}"
        )
    return body


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


def _token(page: str, revision: int, start: int) -> str:
    read = {"v": "meta.k8s.io/v1", "rv": revision, "page": page, "start": start}
    return base64.urlsafe_b64encode(encode(read)).decode()


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


# --- Tables, for `kubectl get` ---


def _wants_table(request: web.Request) -> bool:
    return "as=Table" in request.headers.get("Accept", "") and "v=v1;" in request.headers.get("Accept", "")


def _table(kind: Kind, items: Iterable[Object], revision: int) -> Object:
    columns = [("Name", ".metadata.name"), *kind.columns]
    definitions = [
        {"name": title, "type": "string", "format": "", "description": path, "priority": 0} for title, path in columns
    ]
    definitions[0]["format"] = "name"
    age = {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0}
    rows = [
        {
            "cells": [
                *(_cell(item, path) for _, path in columns),
                _age(item["metadata"]["creationTimestamp"]),
            ],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            },
        }
        for item in items
    ]
    table: Object = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": str(revision)},
    }
    return table | {"columnDefinitions": [*definitions, age], "rows": rows}


def _cell(item: Any, path: str) -> str:
    for step in path.strip(".").split("."):
        item = item.get(step) if isinstance(item, dict) else None
    return "" if item is None else str(item)


def _age(created: str) -> str:
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


# --- Discovery: what a client asks to find out what is served ---


def _discovery(parts: Sequence[str], kinds: Iterable[Kind], url: str) -> Object | None:
    """Give a discovery document, or None when the path is not one."""
    groups: dict[str, list[Kind]] = {}
    for kind in kinds:
        groups.setdefault(kind.group, []).append(kind)
    found: Object | None = None
    match parts:
        case ["version"]:
            found = dict(SERVER_VERSION)
        case ["api"]:
            address = {"clientCIDR": "0.0.0.0/0", "serverAddress": url.removeprefix("http://")}
            found = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}
        case ["apis"]:
            listed = [_group(group) for group in groups if group]
            found = {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["api", "v1"]:
            found = _resources("v1", groups[""])
        case ["apis", group] if group in groups:
            found = {"kind": "APIGroup", "apiVersion": "v1"} | _group(group)
        case ["apis", group, "v1"] if group in groups:
            found = _resources(f"{group}/v1", groups[group])
        case ["openapi", "v3"]:
            found = {"paths": {one: {"serverRelativeURL": f"/openapi/v3/{one}"} for one in map(_prefix, groups)}}
        case ["openapi", "v3", *rest]:
            found = next((_openapi(groups[one]) for one in groups if _prefix(one) == "/".join(rest)), None)
    return found


def _prefix(group: str) -> str:
    return f"apis/{group}/v1" if group else "api/v1"


def _group(group: str) -> Object:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resources(group_version: str, kinds: Iterable[Kind]) -> Object:
    found: list[Object] = []
    for kind in kinds:
        entry = {
            "name": kind.plural,
            "singularName": kind.name.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.name,
        }
        found.append(entry | {"verbs": list(kind.verbs), "shortNames": list(kind.short)})
        if kind.has_status:
            found.append(
                entry | {"name": f"{kind.plural}/status", "singularName": "", "verbs": ["get", "patch", "update"]}
            )
        if kind.plural == "pods":
            found.append(entry | {"name": "pods/binding", "singularName": "", "kind": "Binding", "verbs": ["create"]})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def _openapi(kinds: Iterable[Kind]) -> Object:
    """Say that the server takes `fieldValidation`, and describe the custom resources.

    The first is all that `kubectl create` reads here: it leaves validation to the server then. The second is
    for `kubectl explain`.
    """
    paths: Object = {}
    schemas: Object = {}
    for kind in kinds:
        names = {"group": kind.group, "version": kind.version, "kind": kind.name}
        if kind.schema is not None:
            known = kind.schema.document | {"x-kubernetes-group-version-kind": [names]}
            schemas[f"{'.'.join(reversed(kind.group.split('.')))}.{kind.version}.{kind.name}"] = known
        where = "namespaces/{namespace}/" if kind.namespaced else ""
        paths[f"/{_prefix(kind.group)}/{where}{kind.plural}/{{name}}"] = {
            "patch": {
                "x-kubernetes-group-version-kind": names,
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "OK"}},
            }
        }
    document = {"openapi": "3.0.0", "info": {"title": "Kubernetes, embedded", "version": "v1"}}
    return document | {"paths": paths, "components": {"schemas": schemas}}
