"""The client of the Kubernetes API: what it makes of answers and of what is raised inside (A4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio.client.exceptions import ApiException

from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.errors import BackendUnavailable
from workspace_managers.kube import client
from workspace_managers.kube.client import RETRY_AFTER_SECONDS, ApiError, Kube

PATH = "/api/v1/namespaces/hub/configmaps"


RETRY_AFTER: list[tuple[dict[str, str], object, float]] = [
    ({}, None, 0),
    ({"Retry-After": "3"}, None, 3),
    ({"retry-after": "3"}, None, 3),
    ({}, {"retryAfterSeconds": 4}, 4),
    ({"Retry-After": "3"}, {"retryAfterSeconds": 4}, 4),
    ({"Retry-After": "3"}, {"retryAfterSeconds": 0}, 3),
    ({"Retry-After": "Wed, 21 Oct 2037 07:28:00 GMT"}, None, 0),
    ({"Retry-After": "soon"}, {"retryAfterSeconds": "soon"}, 0),
    ({"Retry-After": "-3"}, {"retryAfterSeconds": -4}, 0),
    ({"Retry-After": "1.5"}, {"retryAfterSeconds": 1.5}, 1.5),
    ({"Retry-After": "9" * 4000}, None, RETRY_AFTER_SECONDS),
    ({}, {"retryAfterSeconds": 10**400}, RETRY_AFTER_SECONDS),
    ({}, {"retryAfterSeconds": float("inf")}, RETRY_AFTER_SECONDS),
    ({}, {"retryAfterSeconds": float("nan")}, 0),
    ({}, {"retryAfterSeconds": True}, 0),
    ({}, [4], 0),
    ({}, "4", 0),
]


@pytest.mark.parametrize("by", ["the client", "a library"])
@pytest.mark.parametrize(("headers", "details", "expected"), RETRY_AFTER)
async def test_retry_after_is_read_from_headers_and_status(  # noqa: PLR0917 - fixtures and a table
    kube: Kube, api: EmbeddedApi, by: str, headers: Mapping[str, str], details: object, expected: float
) -> None:
    status = json.dumps({"kind": "Status", "code": 403, "reason": "Forbidden", "details": details})

    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=status, status=403, headers=headers, content_type="application/json")

    async def library(opened: Any) -> Any:
        return await opened.call_api(PATH, "GET", response_types_map={}, auth_settings=["BearerToken"])

    api.fault = refuse
    with pytest.raises(ApiError, match="403 Forbidden") as caught:
        await (kube.get(PATH) if by == "the client" else kube.call("GET something", library))
    assert caught.value.retry_after == expected


def test_answer_of_a_library_without_headers_asks_for_nothing() -> None:
    assert client.from_library(ApiException(status=503, reason="x")).retry_after == 0


@pytest.mark.parametrize(("asked", "expected"), [("2", 2.0), ("40", 5.0)], ids=["as asked", "no longer than a try"])
async def test_request_is_repeated_when_the_server_asked_for_it(
    kube: Kube, api: EmbeddedApi, monkeypatch: pytest.MonkeyPatch, asked: str, expected: float
) -> None:
    slept: list[float] = []

    async def sleep_at_once(seconds: float) -> None:
        slept.append(seconds)

    async def busy(_request: web.Request) -> web.StreamResponse:
        api.fault = None
        return web.Response(status=429, headers={"Retry-After": asked})

    api.fault = busy
    monkeypatch.setattr("workspace_managers.kube.client.asyncio.sleep", sleep_at_once)
    assert (await kube.get(PATH))["items"] == []
    assert slept == [expected]


async def test_cancellation_that_nobody_asked_for_is_no_answer(kube: Kube) -> None:
    tries: list[int] = []

    async def stray(_api: object) -> object:
        tries.append(1)
        raise asyncio.CancelledError

    with pytest.raises(BackendUnavailable, match="got no answer in 3 tries; the last: CancelledError"):
        await kube.call("GET something", stray)
    assert len(tries) == 3


async def test_cancellation_while_it_connects_that_nobody_asked_for_is_no_answer(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stray(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(kube, "_configure", stray)
    with pytest.raises(BackendUnavailable, match="no Kubernetes API to talk to"):
        await kube.get(PATH)


async def test_cancelled_request_ends(kube: Kube) -> None:
    begun = asyncio.Event()

    async def hangs(_api: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    asking = asyncio.create_task(kube.call("GET something", hangs))
    await begun.wait()
    asking.cancel()
    await asyncio.wait([asking], timeout=20)
    assert asking.cancelled()


async def test_request_takes_no_longer_than_its_time_out(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TRIES", 1)
    kube.timeouts = replace(kube.timeouts, request=0.01)

    async def hangs(_api: object) -> None:
        await asyncio.sleep(60)

    with pytest.raises(BackendUnavailable, match="got no answer in 1 tries; the last: TimeoutError"):
        await kube.call("GET something", hangs)
