"""What a fact may hold: pure functions from a value to what is wrong with it, or None where it is right.

Each says in a few words what was found and what is accepted, bounded, whatever the value is; none raises. What ends up
in a pod is checked as kube-apiserver 1.34 checks it, so that nothing is offered that cannot start.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from .errors import quote
from .names import LABEL_LIMIT, NAME_LIMIT, is_label, is_name, is_namespace
from .quantities import quantity_value

Check = Callable[[Any], str | None]

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
RESERVED_DOMAINS = ("hub.jupyter.org/", "app.kubernetes.io/", "workspace-managers/")
"""Prefixes of labels and annotations that are the hub's own: what finds its pods and tells whose they are."""

# How many characters of a value are shown.
_SHOWN = 80
_ENTRIES_LIMIT = 100
_QUANTITY_LIMIT = 64
# Of a label with its prefix.
_KEY_LIMIT = NAME_LIMIT + 1 + LABEL_LIMIT
_URL_LIMIT = 2048
_PATH_LIMIT = 4096
_IMAGE_NAME_LIMIT = 255
# The API server takes 256 KiB of annotations on a pod; the hub's own need far less than what is left for them.
_ANNOTATIONS_LIMIT = 248 * 1024
# Of all names and values. The API server has no limit, a process has: 128 KiB for each, and the stack for all.
_ENVIRONMENT_LIMIT = 64 * 1024
_SECONDS_LIMIT = 999_999_999
# The largest quantity that Kubernetes has, which no node comes near. What comes in pieces it counts in thousandths.
_AMOUNT_LIMIT = 2**63 - 1
_PIECES_LIMIT = _AMOUNT_LIMIT // 1000

_HOST = (
    r"(?:[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])"
    r"(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::\w[-.\w]{{0,127}})?(?:@[A-Za-z][-+._A-Za-z0-9]*:[0-9A-Fa-f]{{32,128}})?",
    re.ASCII,
)
_UNUSABLE_IN_A_PATH = re.compile(r"[\x00-\x1f:]")
_VARIABLE = re.compile(r"[A-Za-z_][-.\w]*", re.ASCII)
_HUB_VARIABLES = frozenset({"MEM_LIMIT", "MEM_GUARANTEE", "CPU_LIMIT", "CPU_GUARANTEE"})
_HUB_VARIABLE_PREFIXES = ("JUPYTERHUB_", "JPY_", "JUPYTER_IMAGE")

_SHARED_OUT = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"
_KUBERNETES = "kubernetes.io/"
_QUOTA = "requests."

_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_TOLERATION_TEXTS = ("key", "operator", "value", "effect")
_TOLERATION_SECONDS = "tolerationSeconds"


def first_problem(fact: object, table: Iterable[tuple[str, Check]]) -> str | None:
    """The first thing that is wrong with a fact, after the field's name; None where every field is right."""
    for field, check in table:
        found = check(getattr(fact, field))
        if found is not None:
            return f"{field}: {found}"
    return None


def optional(check: Check) -> Check:
    """The same check for a field that may be None."""
    return lambda value: None if value is None else check(value)


def text(value: object) -> str | None:
    """Any text."""
    return None if isinstance(value, str) else _wrong(value, "a text")


def flag(value: object) -> str | None:
    """True or False."""
    return None if isinstance(value, bool) else _wrong(value, "True or False")


def day(value: object) -> str | None:
    """A day; a moment is none, although ``datetime`` is a subclass of ``date``."""
    return None if type(value) is date else _wrong(value, "a day of the type datetime.date")


def seconds(value: object) -> str | None:
    """A number of seconds above zero."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _SECONDS_LIMIT:
        return None
    return _wrong(value, f"a whole number of seconds from 1 to {_SECONDS_LIMIT}")


def name(value: object) -> str | None:
    """The name of a Kubernetes object: a DNS-1123 subdomain."""
    if isinstance(value, str) and len(value) <= NAME_LIMIT and _is_name(value):
        return None
    return _wrong(value, f"lower-case letters, digits, hyphens and dots, at most {NAME_LIMIT} characters")


def identifier(value: object) -> str | None:
    """What somebody else made to tell things apart, such as a UID."""
    if isinstance(value, str) and 0 < len(value) <= NAME_LIMIT and value.isprintable():
        return None
    return _wrong(value, f"a text of 1 to {NAME_LIMIT} printable characters")


def image(value: object) -> str | None:
    """A container image, as a reference that can be pulled."""
    if isinstance(value, str) and len(value) <= 4 * _IMAGE_NAME_LIMIT and _is_image(value):
        return None
    return _wrong(value, f"an image such as registry.example.org/notebook:1.0, its name of at most {_IMAGE_NAME_LIMIT}")


def url_path(value: object) -> str | None:
    """A path that Jupyter opens: it stays on the user's own server."""
    if isinstance(value, str) and len(value) <= _URL_LIMIT and _stays_on_server(value):
        return None
    return _wrong(value, "a path on the user's server such as /lab, with a single / first, without blanks, \\ or ..")


def mount_path(value: object) -> str | None:
    """An absolute path in the container, written as plainly as it can be."""
    if isinstance(value, str) and 1 < len(value) <= _PATH_LIMIT and _is_plain_path(value):
        return None
    return _wrong(value, "an absolute path such as /data, without '..', '.', ':' and doubled or trailing slashes")


def namespace(value: object) -> str | None:
    """The name of a namespace."""
    if is_namespace(value):
        return None
    return _wrong(value, f"at most {LABEL_LIMIT} lowercase letters, digits and hyphens, no hyphen at either end")


def access_modes(value: object) -> str | None:
    """Access modes of a claim; none at all is right."""
    if not isinstance(value, tuple) or not all(isinstance(mode, str) for mode in value):
        return _wrong(value, "a tuple of texts")
    problem = access_modes_problem(value)
    return problem and f"{problem}; accepted: {', '.join(ACCESS_MODES)}"


def access_modes_problem(modes: Sequence[str]) -> str | None:
    """What is wrong with these access modes, as what follows "it"."""
    unknown = [mode for mode in modes if mode not in ACCESS_MODES]
    if unknown:
        return f"names {', '.join(map(quote, unknown[:4]))}, which Kubernetes does not know"
    if len(set(modes)) < len(modes):
        return "names an access mode twice"
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        return "puts ReadWriteOncePod beside another access mode, which Kubernetes refuses"
    return None


def capacity(value: object) -> str | None:
    """The size of a claim: a quantity of at least one byte."""
    if isinstance(value, str):
        size = _amount(value)
        if size is not None and size >= 1:
            return None
    return _wrong(value, "a quantity above zero, such as 10Gi")


def labels(value: object) -> str | None:
    """Labels of a pod, or a node selector."""
    if (problem := _entries(value)) or not isinstance(value, dict):
        return problem
    for key, each in value.items():
        # A long text is none, and would fill the cache.
        if len(key) > _KEY_LIMIT or len(each) > LABEL_LIMIT or not _is_label(key, each):
            accepted = f"a key and a value that a label can have, at most {LABEL_LIMIT} characters each"
            return f"{quote(key, _SHOWN)}: {_wrong(each, accepted)}"
    return None


def pod_annotations(value: object) -> str | None:
    """Annotations of a pod: none of the hub's own, and no more than the API server takes."""
    if (problem := _entries(value)) or not value or not isinstance(value, dict):
        return problem
    for key in value:
        # The API server folds the case of these, and of no others.
        if not is_label(key.lower(), ""):
            return f"{quote(key, _SHOWN)} is not a key that Kubernetes takes; accepted: a name of at most 63 characters"
        if key.lower().startswith(RESERVED_DOMAINS):
            return f"{quote(key, _SHOWN)} is the hub's own; accepted: any domain but {', '.join(RESERVED_DOMAINS)}"
    return _size_problem(value, _ANNOTATIONS_LIMIT)


def environment(value: object) -> str | None:
    """Environment variables of a server: none that the hub sets."""
    if (problem := _entries(value)) or not value or not isinstance(value, dict):
        return problem
    for key, each in value.items():
        if len(key) > NAME_LIMIT or not _VARIABLE.fullmatch(key):
            return f"{quote(key, _SHOWN)} is not the name of a variable; accepted: letters, digits, _, - and ."
        if key in _HUB_VARIABLES or key.startswith(_HUB_VARIABLE_PREFIXES):
            return f"{quote(key, _SHOWN)} is set by the hub; accepted: any other name"
        if "\0" in each:
            return f"{quote(key, _SHOWN)} has a value with a NUL; accepted: any other text"
    return _size_problem(value, _ENVIRONMENT_LIMIT)


def versions(value: object) -> str | None:
    """Versions of resources, which go into an annotation and the audit line."""
    if (problem := _entries(value)) or not isinstance(value, dict):
        return problem
    for key, each in value.items():
        if len(key) > NAME_LIMIT or len(each) > NAME_LIMIT:
            return _wrong(max(key, each, key=len), f"texts of at most {NAME_LIMIT} characters")
    return None


def tolerations(value: object) -> str | None:
    """Tolerations, as in a pod."""
    if not isinstance(value, tuple) or len(value) > _ENTRIES_LIMIT:
        return _wrong(value, f"a sequence of at most {_ENTRIES_LIMIT} tolerations")
    for index, each in enumerate(value):
        problem = _toleration_problem(each)
        if problem is not None:
            return f"[{index}] {problem}"
    return None


def quantities(value: object) -> str | None:
    """Names of resources with their quantities, as texts; what they mean to each other is ``resources``'."""
    return _entries(value, accepted="resource names with quantities, both as texts")


def resources(requests: Mapping[str, str], limits: Mapping[str, str]) -> str | None:
    """What is wrong with the requests and limits of a container, each right by ``quantities``."""
    return _resources(tuple(requests.items()), tuple(limits.items())) if requests or limits else None


@lru_cache(maxsize=1024)
def _resources(requests: tuple[tuple[str, str], ...], limits: tuple[tuple[str, str], ...]) -> str | None:
    # Workspaces ask for the same few things over and over.
    for part, asked in (("requests", requests), ("limits", limits)):
        for resource, quantity in asked:
            if problem := _quantity_problem(resource, quantity):
                return f"{part}: {quote(resource, _SHOWN)}: {problem}"
    reserved, most = (
        {resource: quantity_value(quantity) for resource, quantity in asked} for asked in (requests, limits)
    )
    for resource, amount in reserved.items():
        if problem := _request_problem(resource, amount, most.get(resource)):
            return f"requests: {quote(resource, _SHOWN)}: {problem}"
    names = {*reserved, *most}
    if any(each.startswith(_HUGE_PAGES) for each in names) and not names & {"cpu", "memory"}:
        return f"limits: {_HUGE_PAGES}* without cpu or memory; accepted: beside one of them"
    return None


def _quantity_problem(resource: str, quantity: str) -> str | None:
    if not _is_resource(resource):
        return "no resource of a container; accepted: cpu, memory, ephemeral-storage, hugepages-2Mi or example.com/gpu"
    amount = _amount(quantity)
    if amount is None:
        return _wrong(quantity, "a number and a unit, such as 500m, 2, 1500M or 4Gi, below 2^63")
    if resource.startswith(_HUGE_PAGES):
        page = _amount(resource.removeprefix(_HUGE_PAGES))
        if not page or page % 1 or amount % page:
            return _wrong(quantity, "a whole multiple of the size of a page")
    if _is_counted(resource) and (amount % 1 or amount > _PIECES_LIMIT):
        return _wrong(quantity, f"a whole number of at most {_PIECES_LIMIT}")
    return None


def _request_problem(resource: str, amount: Decimal, limit: Decimal | None) -> str | None:
    if not _is_shared_out(resource):
        return None if amount == limit else "no limit that is the same; accepted: a limit, and the same request or none"
    if limit is not None and amount > limit:
        return "the request is more than the limit; accepted: at most as much"
    return None


def _is_resource(resource: str) -> bool:
    if "/" not in resource:
        return resource in _SHARED_OUT or (resource.startswith(_HUGE_PAGES) and is_label(resource, ""))
    if not is_label(resource, ""):
        return False
    # What a quota counts has another name, which must be one as well.
    return _KUBERNETES in resource or (not resource.startswith(_QUOTA) and is_label(f"{_QUOTA}{resource}", ""))


def _is_shared_out(resource: str) -> bool:
    """Whether a container may have less than its limit reserved."""
    return resource in _SHARED_OUT or _KUBERNETES in resource


def _is_counted(resource: str) -> bool:
    """Whether it comes in whole pieces, such as a GPU."""
    return not _is_shared_out(resource) and not resource.startswith(_HUGE_PAGES)


def _amount(quantity: str) -> Decimal | None:
    try:
        amount = quantity_value(quantity) if len(quantity) <= _QUANTITY_LIMIT else None
    except ValueError:
        return None
    return amount if amount is not None and amount <= _AMOUNT_LIMIT else None


def _toleration_problem(found: object) -> str | None:
    if not isinstance(found, dict):
        return _wrong(found, "a mapping, as in a pod")
    for key, each in found.items():
        if key == _TOLERATION_SECONDS:
            if isinstance(each, bool) or not isinstance(each, int) or abs(each) >= 2**63:
                return f"{key}: {_wrong(each, 'a whole number of seconds')}"
        elif key not in _TOLERATION_TEXTS:
            return _wrong(key, ", ".join((*_TOLERATION_TEXTS, _TOLERATION_SECONDS)))
        elif not isinstance(each, str) or len(each) > _KEY_LIMIT:
            return f"{key}: {_wrong(each, f'a text of at most {_KEY_LIMIT} characters')}"
    texts = (found.get(key, "") for key in _TOLERATION_TEXTS)
    return _tolerated(*texts, bounded=_TOLERATION_SECONDS in found)


@lru_cache(maxsize=1024)
def _tolerated(key: str, operator: str, value: str, effect: str, *, bounded: bool) -> str | None:
    operator = operator or "Equal"
    problems = (
        (operator not in _OPERATORS, "operator", operator, " or ".join(_OPERATORS)),
        (effect and effect not in _EFFECTS, "effect", effect, ", ".join(_EFFECTS)),
        (not key and operator != "Exists", "operator", operator, "Exists, where there is no key"),
        (key and not is_label(key, ""), "key", key, "a key of at most 63 characters that Kubernetes takes"),
        (value and operator == "Exists", "value", value, "none, with the operator Exists"),
        (not is_label("key", value), "value", value, "at most 63 characters that a label can have"),
        (bounded and effect != "NoExecute", "effect", effect, f"NoExecute, with {_TOLERATION_SECONDS}"),
    )
    return next((f"{field}: {_wrong(each, accepted)}" for wrong, field, each, accepted in problems if wrong), None)


def _entries(value: object, accepted: str = "text keys with text values") -> str | None:
    # Not Mapping: it is what ``freeze`` made of one, and dict is asked for ten times as fast.
    if not isinstance(value, dict) or len(value) > _ENTRIES_LIMIT:
        return _wrong(value, f"a mapping of at most {_ENTRIES_LIMIT} {accepted}")
    for key, each in value.items():
        if not isinstance(key, str):
            return _wrong(key, accepted)
        if not isinstance(each, str):
            return f"{quote(key, _SHOWN)}: {_wrong(each, accepted)}"
    return None


def _size_problem(entries: Mapping[str, str], limit: int) -> str | None:
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in entries.items())
    except UnicodeEncodeError:
        return "a text with half a character; accepted: texts that are UTF-8"
    return f"{size} bytes; accepted: at most {limit} for all names and values" if size > limit else None


def _stays_on_server(value: str) -> bool:
    if not value.startswith("/") or value.startswith("//"):
        return False
    if not value.isprintable() or " " in value or "\\" in value:
        return False
    path = value.partition("?")[0].partition("#")[0]
    # A browser resolves an encoded dot as well; decoding twice is for a proxy that decodes once.
    return not {".", ".."} & set(unquote(unquote(path)).replace("\\", "/").split("/"))


def _is_plain_path(value: str) -> bool:
    return (
        value.startswith("/")
        and not value.startswith("//")
        and posixpath.normpath(value) == value
        and not _UNUSABLE_IN_A_PATH.search(value)
    )


@lru_cache(maxsize=4096)
def _is_image(value: str) -> bool:
    found = _IMAGE.fullmatch(value)
    return found is not None and len(found["name"]) <= _IMAGE_NAME_LIMIT


_is_name = lru_cache(maxsize=4096)(is_name)
_is_label = lru_cache(maxsize=4096)(is_label)


def _wrong(value: object, accepted: str) -> str:
    return f"{_shown(value)}; accepted: {accepted}"


def _shown(value: object) -> str:
    """A value in a few words. One of a wrong type is not shown: it may be anything, a secret in the wrong place too."""
    if isinstance(value, str):
        return quote(value, _SHOWN) if value else "nothing"
    if value is None or isinstance(value, bool | float | date):
        return repr(value)
    if isinstance(value, Mapping | list | tuple):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    return "a number" if isinstance(value, int) else f"something of the type {quote(type(value).__qualname__, _SHOWN)}"
