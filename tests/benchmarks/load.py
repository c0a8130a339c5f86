"""So many bindings and workspaces in an API server, within minutes.

Always true here: one workspace and one binding are made through the API, and all are copies of what etcd then holds, so
that the server reads what it would have written itself. Each user has three bindings, each for a
workspace of its own, labelled and with all resources named, as `lscsde-workspace-mgmt` wants them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import aiohttp

from tests.apiserver.cluster import RealCluster, Refused, until

GROUP = "xlscsde.nhs.uk"
WORKSPACES = "analyticsworkspaces"
BINDINGS = "analyticsworkspacebindings"
BINDINGS_EACH = 3
"""Bindings of one user."""
_AT_ONCE = 16

Object = dict[str, Any]


def path(namespace: str, plural: str) -> str:
    """Where a collection is."""
    return f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"


def username(user: int) -> str:
    """The name of a user."""
    return f"user.{user:06}@example.org"


def workspace_name(number: int) -> str:
    """The name of a workspace; the binding of the same number grants it."""
    return f"study-{number:06}"


def binding_name(number: int) -> str:
    """The name of a binding."""
    return f"binding-{number:032x}"


def workspace(number: int) -> Object:
    """A workspace that asks for what most ask for, and has been started before."""
    name = workspace_name(number)
    amount = {"cpu": "2", "memory": "4Gi"}
    spec = {
        "displayName": f"Study {number}",
        "description": "Outcomes of patients after surgery, as the registry has them, without names and addresses.",
        "validity": {"availableFrom": "2022-01-03", "expires": "2099-12-31"},
        "jupyterWorkspace": {
            "image": "example/datascience-notebook:1.0",
            "extraLabels": {"example.org/cost-centre": "42"},
            "persistentVolumeClaim": {},
            "resources": {"requests": amount, "limits": amount},
        },
    }
    status = {"statusText": "Provisioned", "persistentVolumeClaim": f"jupyter-{name}"}
    return _object("AnalyticsWorkspace", name, spec) | {"status": status}


def binding(number: int) -> Object:
    """The grant of the workspace of the same number."""
    name = username(number // BINDINGS_EACH)
    spec = {"workspace": workspace_name(number), "username": name, "expires": "2099-12-31", "comments": "Approved"}
    made = _object("AnalyticsWorkspaceBinding", binding_name(number), spec)
    made["metadata"]["labels"] = {f"{GROUP}/username": name.replace("@", "___")}
    return made


def binding_by_claims(number: int) -> Object:
    """A binding without a username, for the members of a group."""
    rules = [{"name": "groups", "operator": "IN", "value": f"group-{number}, staff-{number}"}]
    spec = {"workspace": workspace_name(0), "claims": rules, "expires": "2099-12-31"}
    return _object("AnalyticsWorkspaceBinding", f"claims-{number:06}", spec)


async def load(cluster: RealCluster, count: int) -> None:
    """Put so many bindings and as many workspaces into an empty namespace."""
    for plural, make in ((WORKSPACES, workspace), (BINDINGS, binding)):
        collection = path(cluster.namespace, plural)
        template = make(0)["metadata"]["name"]
        await cluster.call("POST", collection, make(0))
        async with aiohttp.ClientSession(cluster.etcd_url) as etcd:
            key = f"/registry/{GROUP}/{plural}/{cluster.namespace}/"
            stored = await _stored(etcd, key + template)
            await cluster.call("DELETE", f"{collection}/{template}")
            made = map(make, range(count))
            await asyncio.gather(*(_write(etcd, key, stored, made) for _ in range(_AT_ONCE)))
        async with asyncio.timeout(120):
            await until(partial(_is_served, cluster, collection, count))


async def _is_served(cluster: RealCluster, collection: str, count: int) -> bool:
    """Whether the server's own cache has all of it: until it has caught up with etcd, it answers 504."""
    try:
        return len((await cluster.call("GET", f"{collection}?labelSelector=none"))["items"]) == 0
    except (Refused, aiohttp.ContentTypeError):
        return False


async def _stored(etcd: aiohttp.ClientSession, key: str) -> Object:
    async with etcd.post("/v3/kv/range", json={"key": _text(key)}, raise_for_status=True) as answer:
        found: Object = json.loads(base64.b64decode((await answer.json())["kvs"][0]["value"]))
        return found


async def _write(etcd: aiohttp.ClientSession, key: str, stored: Object, made: Iterator[Object]) -> None:
    # One by one, as each needs a version of its own: of a hundred with the same the server's cache makes heavy weather.
    for each in made:
        metadata = stored["metadata"] | each["metadata"] | {"uid": str(uuid4())}
        value = json.dumps(stored | each | {"metadata": metadata})
        put = {"key": _text(key + metadata["name"]), "value": _text(value)}
        async with etcd.post("/v3/kv/put", json=put, raise_for_status=True):
            pass


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
