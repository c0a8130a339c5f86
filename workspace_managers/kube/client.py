"""The client of the Kubernetes API that the framework and its plugins share.

Nothing connects before the first call, and each request ends in bounded time. A request without a certain answer is
``BackendUnavailable``; one that the server refuses is ``ApiError`` with the server's own status. Requests are repeated
only after an outcome that is safe to repeat, and every caller takes 409 and 404 as answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from kubernetes_asyncio import client, config
from kubernetes_asyncio.client.exceptions import ApiException

from ..errors import BackendUnavailable, quote
from ..metrics import API_ERRORS
from ..tasks import being_cancelled
from ..timeouts import Timeouts

TRIES = 3
CONNECT_SECONDS = 5.0
TLS_SECONDS = 0.25
"""What aiohttp's documentation says to wait after closing a session, for TLS connections to end."""
_LEAVES_TLS_OPEN = tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) < (3, 12)
PAGE_OBJECTS = 500
"""Most objects in one answer of ``Kube.items``."""
RETRY_AFTER_SECONDS = 60.0
"""The longest that an API server may ask to be left alone: a wrong number must not silence the hub for a day."""
_REPEATABLE = frozenset({408, 429, 500, 502, 503, 504})
_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)
_PATH = re.compile(r"(/[A-Za-z0-9][-A-Za-z0-9._]*)+", re.ASCII)
_MERGE_PATCH = "application/merge-patch+json"

T = TypeVar("T")
_DEFAULTS = Timeouts()


class ApiError(BackendUnavailable):
    """The API server answered a request with an error, such as 404 or 409.

    Whoever asked may take that as an answer; where nobody does, as for 401, it counts as unavailable.

    Attributes:
        status: HTTP status.
        reason: The ``reason`` of the API's ``Status`` object, such as ``AlreadyExists``; empty where there is none.
        message: The server's message.
        retry_after: Seconds that the server asks to be left alone, at most a minute; 0 where it does not say.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {quote(message)}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Kube:
    """The one lazily opened client of the Kubernetes API.

    Args:
        namespace: The namespace of the hub.
        kubeconfig: A kubeconfig's path or content. None: the pod's service account, else ``KUBECONFIG``, else the
            user's own file, as KubeSpawner does it.
        timeouts: How long requests may take, and what is made with this client, such as a ``WatchCache``.
    """

    def __init__(
        self, namespace: str, kubeconfig: Path | Mapping[str, Any] | None = None, *, timeouts: Timeouts = _DEFAULTS
    ) -> None:
        self.namespace = namespace
        self.timeouts = timeouts
        self._kubeconfig = kubeconfig
        self._api: client.ApiClient | None = None
        self._opening = asyncio.Lock()

    async def api(self) -> client.ApiClient:
        """The client, opened at the first call, for libraries that take one.

        Raises:
            BackendUnavailable: There is no usable configuration to reach a cluster with.
        """
        async with self._opening:
            if self._api is None:
                settings = client.Configuration()
                try:
                    await self._configure(settings)
                except (Exception, asyncio.CancelledError) as error:
                    if being_cancelled():
                        raise
                    raise BackendUnavailable(f"no Kubernetes API to talk to: {quote(str(error))}") from error
                self._api = client.ApiClient(settings)
            return self._api

    async def _configure(self, settings: client.Configuration) -> None:
        if isinstance(self._kubeconfig, Mapping):
            await config.load_kube_config_from_dict(dict(self._kubeconfig), client_configuration=settings)
            return
        if self._kubeconfig is not None:
            await config.load_kube_config(config_file=str(self._kubeconfig), client_configuration=settings)
            return
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=settings)

    async def close(self) -> None:
        """Close every connection; the next call opens the client again."""
        async with self._opening:
            api, self._api = self._api, None
            if api is not None:
                await api.close()
                if _LEAVES_TLS_OPEN:
                    await asyncio.sleep(TLS_SECONDS)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read an object or a list; ``path`` is the API's own, such as ``/api/v1/namespaces/x/pods``."""
        return await self.request("GET", path, query=query)

    async def items(self, path: str, *, page: int = PAGE_OBJECTS) -> AsyncIterator[dict[str, Any]]:
        """The objects of a collection, as they are now, read ``page`` at a time.

        Raises:
            ApiError: The server refused; 410 where it forgot the list between two pages.
            BackendUnavailable: There was no certain answer.
        """
        query = {"limit": str(page)}
        while True:
            found = await self.get(path, query)
            for each in found.get("items") or ():
                yield each
            token = (found.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Read a list as it is sent, for whoever decodes its JSON in slices."""

        async def once(api: client.ApiClient) -> str:
            async with await self._send(api, "GET", path, query) as response:
                return (await _answer(response)).decode()

        return await self.call(f"GET {path}", once)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object. After a try without an answer it may exist: 409 then tells."""
        return await self.request("POST", path, body=body)

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a JSON merge patch; with ``metadata.resourceVersion`` in it, only what was read."""
        return await self.request("PATCH", path, body=body, content_type=_MERGE_PATCH)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Any other request with a JSON answer; it is repeated as ``call`` says."""

        async def once(api: client.ApiClient) -> dict[str, Any]:
            async with await self._send(api, method, path, query, body, content_type) as response:
                return _object(await _answer(response))

        return await self.call(f"{method} {path}", once)

    async def call(self, what: str, request: Callable[[client.ApiClient], Awaitable[T]]) -> T:
        """Run a request of any library on this client, in bounded time, its failures told apart.

        Args:
            what: The request in words, for the log.
            request: Called with the open client; again after a time-out, a broken connection,
                an answer that cannot be read, 429 or 5xx.

        Raises:
            ApiError: The server refused with an answer, such as 403, 404 or 409.
            BackendUnavailable: There was no certain answer.
        """
        api = await self.api()
        last: BaseException | None = None
        for attempt in range(TRIES):
            if attempt:
                asked = last.retry_after if isinstance(last, ApiError) else 0.0
                jitter = random.uniform(0.5, 1.0) * 0.2 * 2**attempt  # noqa: S311 - no secret
                await asyncio.sleep(max(jitter, min(asked, self.timeouts.request)))
            try:
                async with asyncio.timeout(self.timeouts.request):
                    return await request(api)
            except (ApiException, ApiError) as error:
                answer = error if isinstance(error, ApiError) else from_library(error)
                if answer.status not in _REPEATABLE:
                    raise answer from error
                last = answer
            except (TimeoutError, aiohttp.ClientError, OSError, asyncio.CancelledError, *_UNREADABLE) as error:
                if isinstance(error, asyncio.CancelledError) and being_cancelled():
                    raise
                API_ERRORS.labels("none").inc()
                last = error
        raise BackendUnavailable(
            f"{what} got no answer in {TRIES} tries; the last: {type(last).__name__} {quote(str(last))}"
        ) from last

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open a request whose answer arrives over time, such as a watch.

        Args:
            path: The API's own path.
            query: Query parameters.
            silence: Seconds without a byte after which the connection counts as broken.

        Raises:
            ApiError: The server refused.
            aiohttp.ClientError, OSError, TimeoutError: The connection could not be made, or broke.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        async with await self._send(await self.api(), "GET", path, query, timeout=limits) as response:
            if response.status >= 400:
                await _answer(response)
            yield response.content

    async def _send(  # noqa: PLR0917 - the parts of one request, for this module alone
        self,
        api: client.ApiClient,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        if not _PATH.fullmatch(path) or ".." in path:
            # A name that climbs would ask for another object than the one that was checked.
            raise ValueError(f"{quote(path)} is not a path of the Kubernetes API")
        # The library's own deserialisation is passed by: it costs more than the request, and objects are read as JSON.
        response: aiohttp.ClientResponse = await api.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=dict(body) if body is not None else None,
            auth_settings=["BearerToken"],
            _preload_content=False,
            # ``call`` bounds it. aiohttp's own total would, before 3.12, leave the task marked as cancelled for ever.
            _request_timeout=timeout or aiohttp.ClientTimeout(total=None),
        )
        return response


async def _answer(response: aiohttp.ClientResponse) -> bytes:
    raw = await response.read()
    if response.status < 400:
        return raw
    raise _error(response.status, raw, response.headers)


def _object(raw: bytes) -> dict[str, Any]:
    """Of what answers with anything else, a gateway say, nothing is known: least of all that there is nothing."""
    found = json.loads(raw)
    if not isinstance(found, dict):
        raise aiohttp.ClientPayloadError("the answer is no JSON object")
    return found


def from_library(error: ApiException) -> ApiError:
    """The refusal that a library has raised as its own exception."""
    body = error.body if isinstance(error.body, str | bytes) else ""
    return _error(error.status or 0, body, error.headers or {})


def _error(status: int, body: str | bytes, headers: Mapping[str, str]) -> ApiError:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        parsed = {"message": body.decode(errors="replace") if isinstance(body, bytes) else body}
    API_ERRORS.labels(str(status)).inc()
    return error_of_status(status, parsed, headers)


def error_of_status(code: int, status: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ApiError:
    """The error that a ``Status`` object of the API tells of.

    Args:
        code: HTTP status.
        status: The object, of which nothing is certain.
        headers: Those of the answer that it came with.
    """
    # A reason is one word, or it is not one.
    reason = "".join(filter(str.isalnum, str(status.get("reason") or "")))[:64]
    details = status.get("details")
    asked = (
        _seconds((headers or {}).get("Retry-After")),
        _seconds(details.get("retryAfterSeconds") if isinstance(details, dict) else None),
    )
    return ApiError(code, reason, str(status.get("message") or ""), max(asked))


def _seconds(asked: object) -> float:
    """The time of a ``Retry-After``: 0 for what is no number of seconds, such as a date."""
    if isinstance(asked, str) and asked.isascii() and asked.isdecimal():
        asked = float(asked)  # of any length: what is too large for a float is infinite
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        return 0.0
    # In this order, "not a number" is 0, and an integer too large for a float is not made one.
    return max(0.0, float(min(asked, RETRY_AFTER_SECONDS)))
