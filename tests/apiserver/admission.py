"""`image/admission.yaml` on a cluster of the tests, for namespaces of theirs, and whether it is active there yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import yaml

from tests.apiserver.cluster import RBAC, Cluster, Object, Refused, until
from workspace_managers.names import SHARED_CLAIM
from workspace_managers.pods import WORKSPACE_ANNOTATION

ADMISSION = RBAC.with_name("admission.yaml")
NAMESPACES = "[jupyterhub]"
"""Where the file has them: the one place."""
MOUNTS, SHARED, OWNERS = POLICIES = tuple(f"workspace-managers-{name}" for name in ("mounts", "shared", "owners"))
REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
WORKSPACES = "/apis/xlscsde.nhs.uk/v1/namespaces/{}/analyticsworkspaces"
ACTIVE_SECONDS = 30.0
CLAIM: Object = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}

_COLLECTIONS = {
    "ValidatingAdmissionPolicy": f"{REGISTRATION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{REGISTRATION}/validatingadmissionpolicybindings",
}


def documents(namespaces: Sequence[str]) -> list[Object]:
    """What the file has, for these namespaces, as `kubectl apply` would send it."""
    text = ADMISSION.read_text()
    assert text.count(NAMESPACES) == 1
    read = yaml.safe_load_all(text.replace(NAMESPACES, f"[{', '.join(namespaces)}]"))
    return [each for document in read for each in document.get("items", [document])]


@asynccontextmanager
async def applied(cluster: Cluster, namespaces: Sequence[str]) -> AsyncIterator[None]:
    """The file is applied, which holds some moments later."""
    made = documents(namespaces)
    for document in made:
        await cluster.call("POST", _COLLECTIONS[document["kind"]], document)
    try:
        yield
    finally:
        for document in reversed(made):
            await cluster.call("DELETE", f"{_COLLECTIONS[document['kind']]}/{document['metadata']['name']}")


def pod(*claims: str, named: str | None = None, read_only: Sequence[str] = (SHARED_CLAIM,), **changes: Any) -> Object:
    """A pod that mounts these claims, as KubeSpawner and the hub make it."""
    volumes = [{"name": f"v{at}", "persistentVolumeClaim": {"claimName": claim}} for at, claim in enumerate(claims)]
    mounts = [
        {"name": f"v{at}", "mountPath": f"/mnt/{at}", "readOnly": claim in read_only} for at, claim in enumerate(claims)
    ]
    spec: Object = {"containers": [{"name": "notebook", "image": "x", "volumeMounts": mounts}]}
    metadata: Object = {"name": "asked-for"}
    if volumes:
        spec["volumes"] = volumes
    if named is not None:
        metadata["annotations"] = {WORKSPACE_ANNOTATION: named}
    return {"metadata": metadata, "spec": spec | changes}


def claim(name: str = "asked-for", **annotations: str) -> Object:
    """A claim; the names of its annotations are those after `workspace-managers/`, with `_` for `-`."""
    written = {f"workspace-managers/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": name, "annotations": written}, "spec": CLAIM}


def workspace(name: str, jupyter: Object | None = None) -> Object:
    """A workspace whose claims are those that this part of its spec names."""
    described = {"displayName": name, "description": name}
    validity = {"availableFrom": "2022-01-01", "expires": "2099-12-31"}
    return {
        "apiVersion": "xlscsde.nhs.uk/v1",
        "kind": "AnalyticsWorkspace",
        "metadata": {"name": name},
        "spec": {**described, "validity": validity, "jupyterWorkspace": {"image": "x", **(jupyter or {})}},
    }


async def refusal(cluster: Cluster, method: str, path: str, body: object, token: str | None = None) -> str | None:
    """Why this would be refused; None where it would be done. It is not done (`dryRun`)."""
    try:
        await cluster.call(method, f"{path}?dryRun=All", body, token=token)
    except Refused as refused:
        return str(refused)
    return None


async def make(cluster: Cluster, namespace: str, workspaces: Iterable[Object]) -> None:
    """Make workspaces, with the status that each has."""
    collection = WORKSPACES.format(namespace)
    for each in workspaces:
        await cluster.call("POST", collection, each)
        if "status" in each:
            path = f"{collection}/{each['metadata']['name']}/status"
            await cluster.call("PATCH", path, {"status": each["status"]})


async def until_active(cluster: Cluster, namespace: str, last: str) -> None:
    """Wait until each policy holds, and knows all workspaces up to the one that was made last.

    The API server hears of them in the order in which they were written, so to know the last one is to know all.
    """
    core = f"/api/v1/namespaces/{namespace}"
    probes = {
        MOUNTS: ("pods", pod(f"jupyter-{last}")),
        SHARED: ("pods", pod(SHARED_CLAIM, read_only=())),
        OWNERS: ("persistentvolumeclaims", claim(owner="nobody")),
    }
    for policy, (plural, body) in probes.items():

        async def refused(policy: str = policy, plural: str = plural, body: Object = body) -> bool:
            return policy in (await refusal(cluster, "POST", f"{core}/{plural}", body) or "")

        async with asyncio.timeout(ACTIVE_SECONDS):
            await until(refused)
