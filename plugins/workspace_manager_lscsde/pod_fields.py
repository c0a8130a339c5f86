"""The fields of a workspace that end up in a pod or in the browser: honoured whole, or refused with a reason.

Always true here: pure functions from what the resource says to what the pod gets. What the API server would refuse in a
pod is refused here already, so that an author's mistake is seen by the operator, not by the user at each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from workspace_managers import Resources, is_label, quantity_value, quote

from .refused import Refused

_SHOWN = 80
_QUANTITY_LIMIT = 64
_ITEMS_LIMIT = 100
_NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"
_OPERATORS = frozenset({"Exists", "Equal"})
_EFFECTS = frozenset({"NoSchedule", "PreferNoSchedule", "NoExecute"})
_TEXTS = ("key", "operator", "value", "effect")
_SECONDS = "tolerationSeconds"


def image(value: object) -> str:
    """The container image: text without a blank or a character that cannot be seen."""
    if not isinstance(value, str) or not value:
        raise Refused("spec.jupyterWorkspace.image is missing")
    if not _plain(value):
        raise Refused(f"spec.jupyterWorkspace.image {quote(value, _SHOWN)} has blanks or control characters")
    return value


def default_url(value: str | None) -> str | None:
    """The path that Jupyter opens: it stays on the user's own server, or is refused."""
    if not value:
        return None
    field = f"spec.jupyterWorkspace.defaultUri {quote(value, _SHOWN)}"
    if not value.startswith("/") or value.startswith("//"):
        raise Refused(f"{field} is not a path that starts with a single /")
    if not _plain(value) or "\\" in value:
        raise Refused(f"{field} has blanks, backslashes or control characters")
    path = value.partition("?")[0].partition("#")[0]
    # A browser resolves an encoded dot as well; decoding twice is for a proxy that decodes once.
    if {".", ".."} & set(unquote(unquote(path)).replace("\\", "/").split("/")):
        raise Refused(f"{field} climbs out of the user's server with '.' or '..'")
    return value


def label_map(value: object, field: str) -> Mapping[str, str]:
    """``extraLabels`` or ``nodeSelector``: keys and values as Kubernetes takes them."""
    found = _map(value, field)
    for key, text in found.items():
        if not isinstance(text, str):
            raise Refused(f"{field}: the value of {quote(key, _SHOWN)} is not text; put it in quotes")
        if key.startswith("/") or not is_label(key, text):
            raise Refused(f"{field}: {quote(key, _SHOWN)}: {quote(text, _SHOWN)} is not a label that Kubernetes takes")
    return found


def resources(value: object) -> Resources:
    """Requests and limits; any part may be missing."""
    field = "spec.jupyterWorkspace.resources"
    parts = _map(value, field)
    if parts.pop("claims", None):
        raise Refused(f"{field}.claims (dynamic resource allocation) is not supported; remove it")
    requests = _quantities(parts.pop("requests", None), f"{field}.requests")
    limits = _quantities(parts.pop("limits", None), f"{field}.limits")
    if parts:
        raise Refused(f"{field}: {quote(next(iter(parts)), _SHOWN)} is not known; accepted are requests and limits")
    for name in {**requests, **limits}:
        _check_pair(f"{field}: {name}", name, requests.get(name), limits.get(name))
    return Resources(requests=requests, limits=limits)


def tolerations(value: object) -> tuple[Mapping[str, Any], ...]:
    """Tolerations, as in a pod."""
    field = "spec.jupyterWorkspace.tolerations"
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _ITEMS_LIMIT:
        raise Refused(f"{field} is not a list of at most {_ITEMS_LIMIT}")
    return tuple(_toleration(item, f"{field}[{index}]") for index, item in enumerate(value))


def _plain(text: str) -> bool:
    return text.isprintable() and " " not in text


def _map(value: object, field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > _ITEMS_LIMIT or not all(isinstance(key, str) for key in value):
        raise Refused(f"{field} is not a map of at most {_ITEMS_LIMIT} entries")
    return dict(value)


def _quantities(value: object, field: str) -> dict[str, str]:
    found = _map(value, field)
    for name, quantity in found.items():
        if not _is_resource(name):
            raise Refused(
                f"{field}: {quote(name, _SHOWN)} is not the name of a resource, such as cpu, memory or example.com/gpu"
            )
        if len(str(quantity)) > _QUANTITY_LIMIT:
            raise Refused(f"{field}.{name} is longer than a quantity")
        try:
            quantity_value(quantity)
        except ValueError as error:
            raise Refused(f"{field}.{name}: {error}") from error
    return {name: str(quantity) for name, quantity in found.items()}


def _is_resource(name: str) -> bool:
    return name in _NATIVE or (is_label(name, "") and ("/" in name[1:] or name.startswith(_HUGE_PAGES)))


def _check_pair(field: str, name: str, request: str | None, limit: str | None) -> None:
    reserved = None if request is None else quantity_value(request)
    most = None if limit is None else quantity_value(limit)
    if reserved is not None and most is not None and reserved > most:
        raise Refused(f"{field}: the request {request} is more than the limit {limit}")
    if name in _NATIVE:
        return
    # The API server's own rules for what cannot be shared out twice, such as a GPU.
    if any(each is not None and each != each.to_integral_value() for each in (reserved, most)):
        raise Refused(f"{field}: takes whole numbers only")
    if _differ(reserved, most):
        raise Refused(f"{field}: needs a limit, and a request that is the same or is left out")


def _differ(reserved: Decimal | None, most: Decimal | None) -> bool:
    return reserved is not None and reserved != most


def _toleration(value: object, field: str) -> Mapping[str, Any]:
    found = {key: each for key, each in _map(value, field).items() if each is not None}
    for key, each in found.items():
        if key == _SECONDS:
            if isinstance(each, bool) or not isinstance(each, int):
                raise Refused(f"{field}.{key} is not a whole number of seconds")
        elif key not in _TEXTS:
            raise Refused(f"{field}: {quote(key, _SHOWN)} is not known; accepted are {', '.join((*_TEXTS, _SECONDS))}")
        elif not isinstance(each, str):
            raise Refused(f"{field}.{key} is not text; put it in quotes")
    if problem := _toleration_problem(found):
        raise Refused(f"{field}: {problem}")
    return found


def _toleration_problem(found: Mapping[str, Any]) -> str | None:
    key, value = found.get("key", ""), found.get("value", "")
    operator, effect = found.get("operator") or "Equal", found.get("effect", "")
    checks = (
        (
            operator not in _OPERATORS,
            f"operator {quote(operator, _SHOWN)} is not one of {', '.join(sorted(_OPERATORS))}",
        ),
        (
            effect and effect not in _EFFECTS,
            f"effect {quote(effect, _SHOWN)} is not one of {', '.join(sorted(_EFFECTS))}",
        ),
        (not key and operator != "Exists", "without a key the operator must be Exists"),
        (
            key and (key.startswith("/") or not is_label(key, "")),
            f"key {quote(key, _SHOWN)} is not one that Kubernetes takes",
        ),
        (value and operator == "Exists", "a value is not looked at with the operator Exists; remove one of them"),
        (not is_label("key", value), f"value {quote(value, _SHOWN)} is not one that Kubernetes takes"),
        (_SECONDS in found and effect != "NoExecute", f"{_SECONDS} needs the effect NoExecute"),
    )
    return next((problem for wrong, problem in checks if wrong), None)
