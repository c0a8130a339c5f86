"""The three kinds of patch that a Kubernetes API takes, applied to a JSON object.

Always true here: the object given is not changed; a patch that does not fit is an `ApiError`, never half
applied. Of strategic merge, the list merge keys that pods, claims and events use are known, and the
directives `$patch: delete` and `$patch: replace`; `$setElementOrder` is only about order and is passed over;
any other directive is answered with 501.
"""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any

import jsonpatch
import jsonpointer

from .errors import ApiError, not_implemented, unprepared
from .selectors import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# The field that tells the items of a list apart. A list that is not here is replaced as a whole, as in a
# merge patch.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "podIPs": "ip",
    "hostIPs": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "secrets": "name",
}


def apply(content_type: str, original: Object, patch: Any, *, custom: bool) -> Object:
    """Give the object that the patch makes of `original`.

    Args:
        content_type: The media type of the request, without parameters.
        original: The object as it is stored.
        patch: The request's body, parsed.
        custom: Whether it is a custom resource; the server knows no merge keys for those.

    Raises:
        ApiError: 400 a patch of the wrong form, 415 a type that this resource does not take, 422 a patch that
            does not fit the object, 501 one that is not implemented.
    """
    if content_type == APPLY_PATCH:
        raise not_implemented("server-side apply (application/apply-patch+yaml)")
    supported = [JSON_PATCH, MERGE_PATCH] if custom else [JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH]
    if content_type not in supported:
        accepted = ", ".join(supported)
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)
    if content_type == JSON_PATCH:
        return _json_patch(original, patch)
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "error decoding patch: the patch must be a JSON object")
    patched = _merge(original, patch) if content_type == MERGE_PATCH else _strategic(original, patch)
    return dict(patched)


class _Replace(jsonpatch.ReplaceOperation):
    """As in the server's library, a member of an object need not be there to be replaced."""

    def apply(self, obj: Any) -> Any:
        """Give the object with the value in its place."""
        container, key = self.pointer.to_last(obj)
        if not isinstance(container, dict) or key is None:
            return super().apply(obj)
        container[key] = self.operation["value"]
        return obj


class _ServersPatch(jsonpatch.JsonPatch):
    operations = MappingProxyType({**jsonpatch.JsonPatch.operations, "replace": _Replace})


def _json_patch(original: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise ApiError(400, "BadRequest", "error decoding patch: it must be a JSON array")
    for operation in patch:
        if isinstance(operation, dict):
            # In the server's library a value that is not there is null.
            operation.setdefault("value", None)
            if operation.get("path") == "":
                raise not_implemented("a JSON patch of the whole object")
    try:
        patched: Object = _ServersPatch(patch).apply(original)
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        TypeError,
        AttributeError,
    ) as error:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message) from error
    return patched


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _strategic(target: Any, patch: Object) -> Any:
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$"):
            if key == "$patch":
                raise unprepared(f"unknown patch type: {value} in map")
            raise not_implemented(f"the strategic merge directive {key}")
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _strategic(merged.get(key), value)
        elif isinstance(value, list) and key in _MERGE_KEYS:
            merged[key] = _merge_list(merged.get(key) or [], value, _MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _merge_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    if not all(isinstance(item, dict) for item in [*target, *patch]):
        raise ApiError(400, "BadRequest", f"error decoding patch: the items of a list merged by {key} must be objects")
    if {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    merged, added = copy.copy(target), list[Any]()
    for item in patch:
        if key not in item:
            raise unprepared(f"map: {item} does not contain declared merge key: {key}")
        position = next((i for i, old in enumerate(merged) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            if position is not None:
                del merged[position]
        elif position is None:
            added.append(_strategic({}, item))
        else:
            merged[position] = _strategic(merged[position], item)
    return added + merged  # new ones first, as the real server has it
