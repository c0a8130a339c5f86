"""Discovery and OpenAPI: what a client asks to find out what is served.

Always true here: what is listed is served, and what is served is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .kinds import Kind
from .selectors import Object

SERVER_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.4-embedded", "platform": "python/asyncio"}
# An OpenAPI v2 document that describes nothing: version, title and no paths, in the protobuf form that
# `kubectl` insists on. It reads this for a `kind: List` only, and skips validating what is not described.
OPENAPI_V2 = b"\n\x032.0\x12\x0e\n\x08embedded\x12\x02v1B\x00"
OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def discovery(parts: Sequence[str], kinds: Iterable[Kind], url: str) -> Object | None:
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
