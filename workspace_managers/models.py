"""The facts that the framework and its plugins exchange.

A fact takes whatever it is given: a plugin that makes a list of workspaces must not lose them all for one bad row.
What is wrong with it is said by ``problem``, and the framework sets that one aside by its name (rule F3). Facts cannot
be changed, can be pickled and copied, and are equal where what they say is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import attrs

from . import checks
from .frozen import EMPTY, FrozenDict, freeze

DISPLAY_LIMIT = 200
"""Most characters of a title that are kept; what is cut is told by an ellipsis."""
DESCRIPTION_LIMIT = 5000

# A scheme, or what a browser may take for one, is not made a path.
_RELATIVE = re.compile(r"\w[^:\\/]*(/[^\\]*)?", re.ASCII)


def _frozen(value: Any) -> Any:
    try:
        return value if type(value) is FrozenDict else freeze(value)
    except RecursionError:
        return value  # no check takes it


def _known_claims(value: Any) -> Any:
    try:
        return freeze(value)
    except RecursionError:
        return None


def _title(value: Any) -> Any:
    return _cut(value, DISPLAY_LIMIT)


def _description(value: Any) -> Any:
    return _cut(value, DESCRIPTION_LIMIT)


def _cut(value: Any, limit: int) -> Any:
    if not isinstance(value, str) or len(value) <= limit or (len(value) == limit + 1 and value.endswith("…")):
        return value  # the last is one that was cut before
    return f"{value[:limit]}…"


def _path(value: Any) -> Any:
    """``lab`` and ``/my notes`` as what they can only mean; what is not certain is left for the check to find."""
    if not isinstance(value, str):
        return value
    path = value.strip(" ").replace(" ", "%20")
    return (f"/{path}" if _RELATIVE.fullmatch(path) else path) or None


@attrs.frozen
class User:
    r"""Who asks. Made once by the hub for each question; plugins only read it.

    Attributes:
        name: The identity exactly as the hub knows it, such as ``a.user@example.org`` or ``study\a.user@example.org``.
        username: The name in lower case and without a workspace scope, as JupyterHub normalises names. Compare it
            whole, never a part of it, and bring the other side to lower case with ``str.lower`` (rule A2).
        scope: The name in lower case of the one workspace that this session may see, or None when it is not scoped.
        identity_claims: What the identity provider says of this login, frozen; empty when it says nothing, and None
            when that is not known now: then nothing may be granted by a claim, and nothing denied for want of one.
    """

    name: str
    username: str
    scope: str | None = None
    identity_claims: Mapping[str, Any] | None = attrs.field(default=EMPTY, converter=_known_claims, hash=False)

    @classmethod
    def identify(cls, name: str, identity_claims: Mapping[str, Any] | None = EMPTY, *, scoped: bool = True) -> User:
        r"""Read an identity in either of its two forms, ``username`` or ``workspace\username``.

        The first backslash separates; an empty part on either side leaves an identity that matches nothing.

        Args:
            name: The identity, as the hub knows it.
            identity_claims: As the attribute.
            scoped: Whether a backslash ends a scope (``WORKSPACE_SCOPED_NAMES``); if not, it is part of the username,
                as in ``domain\username``.
        """
        scope, separator, username = name.lower().partition("\\") if scoped else ("", "", "")
        if not separator:
            return cls(name, name.lower(), None, identity_claims)
        return cls(name, username, scope, identity_claims)


@attrs.frozen
class Resources:
    """What a workspace asks of a node, as in a pod: quantities such as ``500m`` or ``4Gi``, kept as they were written.

    Attributes:
        requests: Resource name to Kubernetes quantity; what is reserved.
        limits: Resource name to Kubernetes quantity; what may not be exceeded.
    """

    requests: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    limits: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)

    def problem(self) -> str | None:
        """The first thing that is wrong: the field, what was found, what is accepted; None where all is right."""
        return checks.first_problem(self, _RESOURCES_CHECKS) or checks.resources(self.requests, self.limits)


@attrs.frozen(kw_only=True)
class Workspace:
    """One grant of one workspace to one user. A user with two grants of a workspace has two of these.

    Attributes:
        name: The workspace's own name, a DNS-1123 subdomain (at most 253 characters), unique in the namespace.
        display_name: Title for people, cut after 200 characters. Not trusted.
        description: Free text for people, cut after 5,000 characters. Not trusted.
        first_day: First day of access.
        last_day: Last day of access to the workspace.
        grant_last_day: Last day of access by this user's grant; the earlier of both holds (rule A1).
        image: Container image.
        resources: Requests and limits.
        default_url: Path that Jupyter opens, such as ``/lab``; None for the hub's own default. ``lab`` is taken as
            ``/lab``, and a blank as ``%20``.
        labels: Further labels for the pod; they never replace those that the hub sets.
        annotations: Further annotations for the pod; none of the hub's own.
        environment: Further environment variables for the server; none that the hub sets.
        node_selector: As in a pod.
        tolerations: As in a pod.
        service_account: The pod's service account, which the operator's policy must allow; None for the hub's own.
        idle_seconds: Seconds without activity after which the server may end itself; None for never.
        keeps_home: Whether each person's home folder is kept as well, which pages say. Then, and only then, has
            ``volumes_for`` a personal volume at ``HOME`` (rule S8).
        namespace: Where its pods and claims are, for a plugin with the capability ``NAMESPACES``; None for the hub's
            own. It is there already, and allowed by the operator's policy and by its own label (rule S9).
        uid: What tells this workspace from an earlier one of the same name, as a Kubernetes UID does; None where the
            backend has no such thing. With it, a new workspace does not get the files of the old one (rule S6).
        versions: Versions of the resources that the grant rests on, by a word for each, such as ``binding``; for the
            audit line and the pod's annotation. Empty where the backend has none.
        source: Whatever the plugin needs again in ``volumes_for``, to be pickled like the rest; the framework never
            looks inside.
    """

    name: str
    display_name: str = attrs.field(converter=_title)
    description: str = attrs.field(converter=_description)
    first_day: date
    last_day: date
    grant_last_day: date
    image: str
    resources: Resources = Resources()
    default_url: str | None = attrs.field(default=None, converter=_path)
    labels: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    annotations: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    environment: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    node_selector: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    tolerations: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=_frozen, hash=False)
    service_account: str | None = None
    idle_seconds: int | None = None
    keeps_home: bool = False
    namespace: str | None = None
    uid: str | None = None
    versions: Mapping[str, str] = attrs.field(default=EMPTY, converter=_frozen, hash=False)
    source: Any = attrs.field(default=None, eq=False, repr=False)

    def problem(self) -> str | None:
        """The first thing that is wrong: the field, what was found, what is accepted; None where all is right."""
        found = checks.first_problem(self, _WORKSPACE_CHECKS)
        if found is None and self.first_day > self.last_day:
            return f"first_day: {self.first_day}; accepted: a day that is not after the last one, {self.last_day}"
        return found


@attrs.frozen(kw_only=True)
class Volume:
    """One claim and where a workspace mounts it.

    Attributes:
        claim: Name of the persistent volume claim.
        mount_path: Absolute path in the container.
        read_only: Whether the pod may write to it.
        shared: Whether this is the hub's one shared claim, which must be read-only (rule S2).
        personal: Whether it belongs to one person in one workspace, for a plugin with the capability ``HOMES``. Its
            claim is the one that ``personal_claim`` names, and its place the home folder, or a folder in it (rule S8).
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
    personal: bool = False
    recorded: bool = False
    storage_class: str | None = None
    access_modes: tuple[str, ...] = attrs.field(default=(), converter=_frozen)
    capacity: str | None = None

    def problem(self) -> str | None:
        """The first thing that is wrong: the field, what was found, what is accepted; None where all is right."""
        return checks.first_problem(self, _VOLUME_CHECKS)


def _resources_problem(value: object) -> str | None:
    return value.problem() if isinstance(value, Resources) else "no Resources; accepted: an object of that class"


# Every field but ``source``, in the order in which they are looked at.
_RESOURCES_CHECKS: tuple[tuple[str, checks.Check], ...] = (
    ("requests", checks.quantities),
    ("limits", checks.quantities),
)
_WORKSPACE_CHECKS: tuple[tuple[str, checks.Check], ...] = (
    ("name", checks.name),
    ("display_name", checks.text),
    ("description", checks.text),
    ("first_day", checks.day),
    ("last_day", checks.day),
    ("grant_last_day", checks.day),
    ("image", checks.image),
    ("resources", _resources_problem),
    ("default_url", checks.optional(checks.url_path)),
    ("labels", checks.labels),
    ("annotations", checks.pod_annotations),
    ("environment", checks.environment),
    ("node_selector", checks.labels),
    ("tolerations", checks.tolerations),
    ("service_account", checks.optional(checks.name)),
    ("idle_seconds", checks.optional(checks.seconds)),
    ("keeps_home", checks.flag),
    ("namespace", checks.optional(checks.namespace)),
    ("uid", checks.optional(checks.identifier)),
    ("versions", checks.versions),
)
_VOLUME_CHECKS: tuple[tuple[str, checks.Check], ...] = (
    ("claim", checks.name),
    ("mount_path", checks.mount_path),
    ("read_only", checks.flag),
    ("shared", checks.flag),
    ("personal", checks.flag),
    ("recorded", checks.flag),
    ("storage_class", checks.optional(checks.name)),
    ("access_modes", checks.access_modes),
    ("capacity", checks.optional(checks.capacity)),
)
