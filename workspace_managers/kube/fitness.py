"""Whether the cluster lets the hub do what it has to: rights, storage class, new claims, quotas, clock; read only.

For ``workspace-managers doctor``. What the API server does not tell is a note, and no problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from ..errors import quote
from ..quantities import quantity_value
from ..settings import Settings
from ..tasks import together
from .client import ApiError, Kube

CLOCK_SECONDS = 30.0
"""How far the clocks of hub and API server may be apart: days of access begin and end by the hub's."""
RIGHTS = (
    *(("", "pods", verb) for verb in ("create", "get", "list", "watch", "delete")),
    *(("", "events", verb) for verb in ("list", "watch")),
    *(("", "persistentvolumeclaims", verb) for verb in ("get", "create", "patch")),
)
"""What the hub's account needs for every plugin: API group, resource and verb, in the hub's namespace."""
NEARLY = Decimal("0.9")
"""The part of a quota from which on it is told."""
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SMALL = "1Mi"


@attrs.frozen
class Fitness:
    """What was found.

    Attributes:
        problems: A sentence each, with what to do.
        notes: What is not known, and why.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def fitness(kube: Kube, settings: Settings, clock: Callable[[], datetime]) -> Fitness:
    """Look at all of it.

    Raises:
        BackendUnavailable: The API server gave no answer.
    """
    asked = (_rights(kube), _storage_class(kube, settings), _new_claim(kube, settings, clock), _quotas(kube))
    found = await together(*asked)
    return Fitness(
        tuple(each for part in found for each in part.problems), tuple(each for part in found for each in part.notes)
    )


async def missing_rights(kube: Kube, rights: Iterable[tuple[str, str, str]]) -> list[str]:
    """Those of some rights that the client's account lacks in its namespace, a sentence each.

    Args:
        kube: The client.
        rights: API group, resource and verb of each; a subresource after a slash.

    Raises:
        ApiError: The API server does not tell.
        BackendUnavailable: It gave no answer.
    """
    return [sentence for sentence in await together(*(_lack(kube, *right) for right in rights)) if sentence]


async def may(kube: Kube, group: str, resource: str, verb: str, namespace: str = "") -> bool:
    """Whether the client's account has a right.

    Args:
        kube: The client.
        group: API group; empty for Kubernetes' own core.
        resource: In the plural; a subresource after a slash.
        verb: Such as ``get``.
        namespace: Where; empty for all, and for what has none.

    Raises:
        ApiError: The API server does not tell.
        BackendUnavailable: It gave no answer.
    """
    name, _, subresource = resource.partition("/")
    asked = {"namespace": namespace, "group": group, "resource": name, "subresource": subresource, "verb": verb}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value or key == "group"}},
    }
    return ((await kube.create(REVIEWS, body)).get("status") or {}).get("allowed") is True


async def _lack(kube: Kube, group: str, resource: str, verb: str) -> str | None:
    if await may(kube, group, resource, verb, kube.namespace):
        return None
    whole = f"{resource}.{group}" if group else resource
    return (
        f"the hub's account may not {verb} {whole} in namespace {quote(kube.namespace)}: apply image/rbac.yaml there, "
        "beside the chart's own role (rbac.create)"
    )


async def _rights(kube: Kube) -> Fitness:
    try:
        return Fitness(problems=tuple(await missing_rights(kube, RIGHTS)))
    except ApiError as error:
        return Fitness(notes=(f"Which rights the hub's account has is not known: {quote(str(error))}",))


async def _storage_class(kube: Kube, settings: Settings) -> Fitness:
    asked = {"DEFAULT_STORAGE_CLASS": settings.storage_class}
    if settings.homes:
        asked["WORKSPACE_HOME_STORAGE_CLASS"] = settings.home_storage_class
    problems, notes = [], []
    for variable, name in asked.items():
        unknown = f"Whether the StorageClass {quote(name)} is there is not known"
        try:
            # A hub has no right to look, and needs none; a request that is refused is somebody's alarm.
            if not await may(kube, "storage.k8s.io", "storageclasses", "get"):
                notes.append(f"{unknown}, as the hub's account may not read it")
            elif not await _is_there(kube, f"/apis/storage.k8s.io/v1/storageclasses/{name}"):
                missing = f"the StorageClass {quote(name)} is not there, so no new claim gets a volume"
                problems.append(f"{missing}: make it, or set {variable}")
        except ApiError as error:
            notes.append(f"{unknown}: {quote(str(error))}")
    return Fitness(tuple(problems), tuple(notes))


async def _quotas(kube: Kube) -> Fitness:
    unknown = "Whether a quota of the namespace is nearly used up is not known"
    try:
        if not await may(kube, "", "resourcequotas", "list", kube.namespace):
            return Fitness(notes=(f"{unknown}, as the hub's account may not list quotas",))
        found = await kube.get(f"/api/v1/namespaces/{kube.namespace}/resourcequotas")
    except ApiError as error:
        return Fitness(notes=(f"{unknown}: {quote(str(error))}",))
    return Fitness(problems=tuple(sentence for quota in found.get("items") or () for sentence in _nearly_used(quota)))


def _nearly_used(quota: Mapping[str, Any]) -> Iterator[str]:
    status = quota.get("status") or {}
    used = status.get("used") or {}
    for resource, hard in (status.get("hard") or {}).items():
        if quantity_value(used.get(resource, "0")) >= quantity_value(hard) * NEARLY:
            yield (
                f"the quota {quote(quota['metadata']['name'])} has {quote(used.get(resource))} of {quote(hard)} of "
                f"{quote(resource)} in use, and what would be more is refused: raise it, or stop what is not needed"
            )


async def _is_there(kube: Kube, path: str) -> bool:
    try:
        await kube.get(path)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def _new_claim(kube: Kube, settings: Settings, clock: Callable[[], datetime]) -> Fitness:
    """Ask for a claim as a dry run, whose answer tells what the API server's clock says."""
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"generateName": "workspace-managers-doctor-"},
        "spec": {
            "accessModes": list(settings.access_modes),
            "storageClassName": settings.storage_class,
            "resources": {"requests": {"storage": _SMALL}},
        },
    }
    path = f"/api/v1/namespaces/{kube.namespace}/persistentvolumeclaims"
    try:
        made = await kube.request("POST", path, query={"dryRun": "All"}, body=body)
        told = datetime.fromisoformat(made["metadata"]["creationTimestamp"])
    except ApiError as error:
        if error.status in (403, 422):
            return Fitness(problems=(f"a new claim would not be taken: {quote(str(error))}",))
        return Fitness(notes=(f"Whether a new claim would be taken is not known: {quote(str(error))}",))
    except (KeyError, TypeError, ValueError):
        return Fitness(notes=("What the API server's clock says is not known.",))
    apart = (clock() - told).total_seconds()
    if abs(apart) <= CLOCK_SECONDS:
        return Fitness()
    way = "ahead of" if apart > 0 else "behind"
    return Fitness(
        problems=(
            f"the hub's clock is {abs(apart):.0f} s {way} the API server's, and days of access begin and end by the "
            "hub's: set the clocks of the nodes",
        )
    )
