"""The demo as a guest on a cluster that is there already: what is asked of it first, and what is put there.

Always true here: nothing is deleted. The demo uses a namespace that it has made itself, or that its owner has given it
by a label: one that is in use, by a hub or with the workspaces of real people, is refused. Definitions of the custom
resources that are there stay as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailable
from ..kube.client import ApiError, Kube
from .kinds import definitions

GIVEN = {"workspace-managers/demo": "true"}
"""The label of a namespace that the demo may use."""
REACH_SECONDS = 10.0

_NAMESPACES = "/api/v1/namespaces"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERVED_SECONDS = 30.0
_SERVED_PAUSE = 0.1


class GuestError(Exception):
    """The demo cannot be a guest there; the text is one sentence that says what to do."""


async def reach(kube: Kube, kubeconfig: Path) -> bool:
    """Make sure, before anything is started, that the cluster answers and that the namespace is the demo's to use.

    Returns:
        Whether the namespace is there.

    Raises:
        GuestError: One sentence that says what to do.
    """
    try:
        host = (await kube.api()).configuration.host
    except BackendUnavailable as error:
        raise GuestError(f"{kubeconfig} is not a kubeconfig that can be used: {error}") from error
    try:
        async with asyncio.timeout(REACH_SECONDS):
            namespace = await _find(kube, _NAMESPACES, kube.namespace)
    except (BackendUnavailable, TimeoutError) as error:
        why = str(error) or f"no answer within {REACH_SECONDS:g} seconds"
        raise GuestError(f"The cluster of {kubeconfig}, {host}, cannot be used: {why}") from error
    if namespace is None:
        return False
    if not GIVEN.items() <= (namespace["metadata"].get("labels") or {}).items():
        ((label, value),) = GIVEN.items()
        raise GuestError(
            f"The namespace {kube.namespace} of {host} was not made by the demo, which leaves alone what is not its "
            "own: name one that does not exist, or give it this one with "
            f"kubectl label namespace {kube.namespace} {label}={value}"
        )
    return True


async def furnish(kube: Kube, *, namespace_exists: bool) -> None:
    """Put the namespace and the definitions of the custom resources there, where they are not.

    Raises:
        BackendUnavailable: The cluster refuses.
        TimeoutError: It does not serve the custom resources.
    """
    if not namespace_exists:
        await kube.create(_NAMESPACES, {"metadata": {"name": kube.namespace, "labels": GIVEN}})
    for definition in definitions():
        if await _find(kube, _DEFINITIONS, definition["metadata"]["name"]) is None:
            await kube.create(_DEFINITIONS, definition)
    async with asyncio.timeout(_SERVED_SECONDS):
        for definition in definitions():
            spec = definition["spec"]
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/namespaces/{kube.namespace}"
            while not await _is_served(kube, f"{path}/{spec['names']['plural']}"):  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(_SERVED_PAUSE)


async def _find(kube: Kube, path: str, name: str) -> Mapping[str, Any] | None:
    try:
        return await kube.get(f"{path}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def _is_served(kube: Kube, path: str) -> bool:
    """Whether a new type is served: once it is established, the answer is 404 and then 429 for a moment more."""
    try:
        await kube.get(path, {"limit": "1"})
    except BackendUnavailable as error:
        if isinstance(error, ApiError) and error.status != 404:
            raise
        return False
    return True
