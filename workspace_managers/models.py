"""The facts that the framework and its plugins exchange.

Always true here: every value is frozen, nothing imports Kubernetes or JupyterHub, and nothing decides anything
(decisions are in ``access`` and ``storage``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class User:
    r"""Who asks. Made once by the hub for each question; plugins only read it.

    Attributes:
        name: The identity exactly as the hub knows it, such as ``a.user@example.org`` or ``study\a.user@example.org``.
        username: The casefolded name without a workspace scope. Compare it whole, never a part of it (rule A2).
        scope: The casefolded name of the one workspace that this session may see, or None when it is not scoped.
        claims: The identity provider's claims for this login; empty when the hub keeps none.
    """

    name: str
    username: str
    scope: str | None = None
    claims: Mapping[str, Any] = field(default_factory=_nothing, hash=False)

    @classmethod
    def identify(cls, name: str, claims: Mapping[str, Any] | None = None) -> User:
        r"""Read an identity in either of its two forms, ``username`` or ``workspace\username``.

        The first backslash separates; an empty part on either side leaves an identity that matches nothing.
        """
        scope, separator, username = name.partition("\\")
        if not separator:
            scope, username = "", name
        return cls(
            name=name,
            username=username.casefold(),
            scope=scope.casefold() if separator else None,
            claims=MappingProxyType(dict(claims or {})),
        )


@dataclass(frozen=True, slots=True)
class Resources:
    """What a workspace asks of a node, as in a pod: quantities such as ``500m`` or ``4Gi``, kept as they were written.

    Attributes:
        requests: Resource name to Kubernetes quantity; what is reserved.
        limits: Resource name to Kubernetes quantity; what may not be exceeded.
    """

    requests: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    limits: Mapping[str, str] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One grant of one workspace to one user. A user with two grants of a workspace has two of these.

    Attributes:
        name: The workspace's own name, a DNS-1123 subdomain (at most 253 characters), unique in the namespace.
        display_name: Title for people. Not trusted.
        description: Free text for people. Not trusted.
        available_from: First day of access.
        expires: Last day of the workspace.
        grant_expires: Last day of this user's grant; the earlier of both ends holds (rule A1).
        image: Container image.
        resources: Requests and limits.
        default_url: Path that Jupyter opens, such as ``/lab``; None for the hub's own default.
        labels: Further labels for the pod; they never replace those that the hub sets.
        node_selector: As in a pod.
        tolerations: As in a pod.
        environment: Environment variables for the server, by name; they never replace one that the hub sets.
        annotations: Further annotations for the pod; they never replace those that the hub sets.
        idle_seconds: How long the server may be idle before it is stopped; None for the hub's own default.
        service_account: The pod's service account, which the operator's policy must allow; None for the hub's own.
        uid: What tells this workspace from an earlier one of the same name, as a Kubernetes UID does; None where the
            backend has no such thing. With it, a new workspace does not get the files of the old one (rule S6).
        versions: Versions of the resources that the grant rests on, by a word for each, such as ``binding``; for the
            audit line and the pod's annotation. Empty where the backend has none.
        source: Whatever the plugin needs again in ``volumes_for``; the framework never looks inside.
    """

    name: str
    display_name: str
    description: str
    available_from: date
    expires: date
    grant_expires: date
    image: str
    resources: Resources = field(default_factory=Resources)
    default_url: str | None = None
    labels: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    node_selector: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    tolerations: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    environment: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    annotations: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    idle_seconds: int | None = None
    service_account: str | None = None
    uid: str | None = None
    versions: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    source: Any = field(default=None, hash=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One claim and where a workspace mounts it.

    Attributes:
        claim: Name of the persistent volume claim.
        mount_path: Absolute path in the container.
        read_only: Whether the pod may write to it.
        shared: Whether this is the hub's one shared claim, which must be read-only (rule S2).
        recorded: Whether the backend's own record says that this claim is the workspace's, such as a status that was
            written when it was mounted; not what the workspace asks for. A claim without an owner is adopted under a
            name that is not the workspace's own default only where it is recorded, or the policy allows it (rule S3).
        storage_class: Used only when the claim is first made; None for ``DEFAULT_STORAGE_CLASS``.
        access_modes: Used only when the claim is first made; empty for ``DEFAULT_STORAGE_ACCESS_MODES``.
        capacity: A Kubernetes quantity, used only when the claim is first made; None for ``DEFAULT_STORAGE_CAPACITY``.
    """

    claim: str
    mount_path: str
    read_only: bool = False
    shared: bool = False
    recorded: bool = False
    storage_class: str | None = None
    access_modes: tuple[str, ...] = ()
    capacity: str | None = None


def wrong_fields(fact: object, kind: type) -> Iterator[str]:
    """The names of the fields that hold something else than ``kind`` says of them, which nothing else checks."""
    for name, fits in _checks(kind).items():
        value = getattr(fact, name)
        if isinstance(value, Resources):
            yield from (f"{name}.{each}" for each in wrong_fields(value, Resources))
        elif not fits(value):
            yield name


@cache
def _checks(kind: type) -> Mapping[str, Callable[[object], bool]]:
    hints = get_type_hints(kind)
    return {each.name: _check(hints[each.name]) for each in fields(kind)}


def _check(hint: Any) -> Callable[[object], bool]:
    """What tells whether a value is of a type; made once, as each form has dozens of fields."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda _value: True
    if origin is UnionType:
        options = [_check(each) for each in parts]
        return lambda value: any(fits(value) for fits in options)
    if origin is tuple:
        fits_item = _check(parts[0])
        return lambda value: isinstance(value, tuple) and all(map(fits_item, value))
    if origin is Mapping:
        fits_key, fits_value = map(_check, parts)
        return lambda value: (
            isinstance(value, Mapping) and all(map(fits_key, value)) and all(map(fits_value, value.values()))
        )
    if hint is date:
        return lambda value: type(value) is date  # a datetime is one too, and compares with none
    return lambda value: isinstance(value, hint)
