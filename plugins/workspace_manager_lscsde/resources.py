"""From the two custom resources, as the API server has them, to small records.

Nothing is fetched and nobody is let in. Each field is honoured, or the resource is refused with its reason: what a
field may hold is the framework's to say (``Workspace.problem``), so a record that exists is right. Which claims a
workspace names is read from refused ones as well, so that no other can take them for its own (rule S3).

The portal writes null, an empty text or ``{}`` where a field is not set. The day of ``expires`` is the one on which
access is over, so the last day is the day before (rule A1).

Fields that are known and deliberately not looked at: a binding's ``comments`` and ``replicas``, a workspace's
``virtualMachineWorkspace``, and every label, the username label first of all (rule A2).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from workspace_managers import (
    HOME,
    SHARED_CLAIM,
    SHARED_NAME,
    Resources,
    StorageRefused,
    User,
    Volume,
    Workspace,
    check_volumes,
    default_claim,
    is_name,
    parse_day,
    quote,
)

from . import compat
from .matching import Rule, read_rule
from .refused import Refused, Trouble

ADDITIONAL_LIMIT = 32
"""Most entries of ``additionalStorage``: far more than a pod can use, and few enough to compare each with each."""
PROVISIONED = "Provisioned"
_DELETING = "Deleting"

_JUPYTER = "spec.jupyterWorkspace"
# Where a resource has what the framework calls otherwise.
_PLACES = {
    "name": "metadata.name",
    "display_name": "spec.displayName",
    "description": "spec.description",
    "first_day": "spec.validity.availableFrom",
    "last_day": "spec.validity.expires",
    "default_url": f"{_JUPYTER}.defaultUri",
    "labels": f"{_JUPYTER}.extraLabels",
    "node_selector": f"{_JUPYTER}.nodeSelector",
}


# The records are named tuples, as the cache reads those back several times as fast as data classes.


class Binding(NamedTuple):
    """A grant of one workspace to the users that it matches.

    Attributes:
        name: Its own name.
        workspace: The workspace that it grants.
        username: In lower case; None where the identity claims alone say who.
        last_day: Last day of the grant.
        rules: What the user's identity claims must meet, all of it; empty only where there is a username.
        version: Its ``resourceVersion``.
    """

    name: str
    workspace: str
    username: str | None
    last_day: date
    rules: tuple[Rule, ...]
    version: str

    def grants(self, user: User) -> bool:
        """Whether it is this user's: the whole username, and every rule, where it has them (rule A2)."""
        if not user.username or (self.username is None and not self.rules):
            return False
        return self.username in (None, user.username) and all(rule.holds(user.identity_claims) for rule in self.rules)


class Storage(NamedTuple):
    """One claim that a workspace asks for.

    Attributes:
        claim: Its name.
        mount_path: Where it is mounted.
        storage_class: For its creation; None for the hub's default.
    """

    claim: str
    mount_path: str
    storage_class: str | None


class Status(NamedTuple):
    """What the resource's status said when it was read; None for what it did not say."""

    text: str | None
    claim: str | None
    additional: Mapping[str, str]


class WorkspaceRecord(NamedTuple):
    """A workspace for Jupyter that is right in every field.

    Attributes:
        uid: Its UID, which no other workspace has, of whatever name and time.
        version: Its ``resourceVersion``.
        storage: What it mounts, its own claim first; without the shared one.
        without_claim: How many items of its further storage name no claim, and are left out.

    The others are those of ``Workspace``.
    """

    name: str
    uid: str | None
    version: str
    storage: tuple[Storage, ...]
    without_claim: int
    status: Status
    display_name: str
    description: str
    first_day: date
    last_day: date
    image: str
    resources: Resources
    default_url: str | None
    labels: Mapping[str, str]
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]

    def grant(self, binding: Binding, *, keeps_home: bool = False) -> Workspace:
        """This workspace as granted by a binding."""
        return Workspace(
            name=self.name,
            display_name=self.display_name,
            description=self.description,
            first_day=self.first_day,
            last_day=self.last_day,
            grant_last_day=binding.last_day,
            image=self.image,
            resources=self.resources,
            default_url=self.default_url,
            labels=self.labels,
            node_selector=self.node_selector,
            tolerations=self.tolerations,
            keeps_home=keeps_home,
            uid=self.uid,
            versions={"workspace": self.version, "binding": binding.version},
            source=self,
        )

    def volumes(self) -> tuple[Volume, ...]:
        """What is mounted."""
        recorded = {self.status.claim, *self.status.additional.values()}
        own = (
            Volume(
                claim=each.claim,
                mount_path=each.mount_path,
                recorded=each.claim in recorded,
                storage_class=each.storage_class,
            )
            for each in self.storage
        )
        shared = Volume(claim=SHARED_CLAIM, mount_path=f"{HOME}/{SHARED_NAME}", read_only=True, shared=True)
        return (*own, shared)

    def wanted_status(self) -> dict[str, Any]:
        """What the status should say once the storage is there; empty where it says so already.

        Which claims it has is written once and never changed (rule S7): a name that the spec gives and takes back again
        leaves the files where they were.
        """
        main, *additional = self.storage
        missing = {each.claim: each.claim for each in additional if each.claim not in self.status.additional}
        wanted: dict[str, Any] = {}
        if self.status.text != PROVISIONED:
            wanted["statusText"] = PROVISIONED
        if not self.status.claim:
            wanted["persistentVolumeClaim"] = main.claim
        if missing:
            wanted["additionalStorage"] = missing
        return wanted


class SetAside(NamedTuple):
    """A workspace that is not offered.

    Attributes:
        name: Its name.
        version: Its ``resourceVersion``.
        reason: Why, in one bounded line.
        trouble: What kind of reason that is.
    """

    name: str
    version: str
    reason: str
    trouble: Trouble


def read_binding(raw: Mapping[str, Any]) -> Binding:
    """Read a binding.

    Raises:
        Refused: It grants nothing, for this reason.
    """
    _refuse_deleting(raw)
    spec = compat.binding_spec(_with_unset(raw.get("spec"), "claims", "comments"))
    if not is_name(spec.workspace):
        raise Refused(f"spec.workspace {quote(spec.workspace, 80)} is not the name of a workspace")
    last_day = _day_before(spec.expires, "spec.expires")
    rules = tuple(read_rule(item.name, item.operator, item.value) for item in spec.claims or ())
    if spec.username is None and not rules:
        raise Refused("neither spec.username nor spec.claims says whom it is for")
    if spec.username is not None and not spec.username.strip():
        # Not the same as no username: with claims beside it that would open the workspace to more people.
        raise Refused("spec.username is empty")
    return Binding(
        name=str(raw["metadata"]["name"]),
        workspace=spec.workspace,
        username=None if spec.username is None else spec.username.lower(),
        last_day=last_day,
        rules=rules,
        version=str(raw["metadata"].get("resourceVersion") or ""),
    )


def workspace_named_by(raw: Mapping[str, Any]) -> str | None:
    """The workspace that a binding names, right or wrong in the rest; None where it names none."""
    named = _mapping(raw.get("spec")).get("workspace")
    return named if is_name(named) else None


def may_be_for(raw: Mapping[str, Any], username: str, workspace: str) -> bool:
    """Whether a binding with a mistake in it may have been meant for this user and workspace.

    Args:
        raw: The binding.
        username: As ``User.username``.
        workspace: The workspace's name.
    """
    whom = _mapping(raw.get("spec")).get("username")
    return workspace_named_by(raw) in (None, workspace) and (
        not isinstance(whom, str) or whom.strip().lower() in ("", username)
    )


def read_workspace(raw: Mapping[str, Any]) -> WorkspaceRecord | SetAside:
    """Read a workspace; one that cannot be offered is set aside with the reason."""
    metadata = raw["metadata"]
    name, version = str(metadata["name"]), str(metadata.get("resourceVersion") or "")
    try:
        return _read_workspace(raw, name, version)
    except Refused as refused:
        return SetAside(name, version, refused.reason, refused.trouble)
    except Exception as error:
        # Left to the cache, it would look as if there was no such workspace.
        return SetAside(name, version, f"cannot be read: {type(error).__name__}", Trouble.BROKEN)


def _read_workspace(raw: Mapping[str, Any], name: str, version: str) -> WorkspaceRecord:
    _refuse_deleting(raw)
    given = _given(raw.get("spec"))
    spec = compat.workspace_spec(given)
    if compat.jupyter_of(spec) is None:
        raise Refused(f"there is no {_JUPYTER}", Trouble.NOT_FOR_JUPYTER)
    if spec.validity is None:
        raise Refused("spec.validity is missing")
    status = _status(raw)
    # What the library's models do not check is taken from the JSON.
    jupyter: Mapping[str, Any] = given["jupyterWorkspace"]
    facts = Workspace(
        name=name,
        display_name=(spec.display_name or "").strip() or name,
        description=spec.description or "",
        first_day=_date(spec.validity.available_from, "spec.validity.availableFrom"),
        last_day=_day_before(spec.validity.expires, "spec.validity.expires"),
        grant_last_day=date.max,
        image=jupyter.get("image", ""),
        resources=_resources(jupyter.get("resources", {})),
        default_url=jupyter.get("defaultUri"),
        labels=jupyter.get("extraLabels", {}),
        node_selector=jupyter.get("nodeSelector", {}),
        tolerations=_tolerations(jupyter.get("tolerations", ())),
    )
    if problem := facts.problem():
        raise Refused(_in_the_resource(problem))
    storage, without_claim = _storage(compat.jupyter_of(spec), name, status)
    record = WorkspaceRecord(
        name=name,
        uid=str(raw["metadata"].get("uid") or "") or None,
        version=version,
        storage=storage,
        without_claim=without_claim,
        status=status,
        display_name=facts.display_name,
        description=facts.description,
        first_day=facts.first_day,
        last_day=facts.last_day,
        image=facts.image,
        resources=facts.resources,
        default_url=facts.default_url,
        labels=facts.labels,
        node_selector=facts.node_selector,
        tolerations=facts.tolerations,
    )
    volumes = record.volumes()
    try:
        check_volumes(name, volumes)
    except StorageRefused as refused:
        raise Refused(str(refused), Trouble.STORAGE) from refused
    if problem := next(filter(None, (volume.problem() for volume in volumes)), None):
        raise Refused(f"{_JUPYTER}: {problem}", Trouble.STORAGE)
    return record


def _in_the_resource(problem: str) -> str:
    """A problem of the framework's, with the resource's own name of the field."""
    field, colon, rest = problem.partition(":")
    return f"{_PLACES.get(field, f'{_JUPYTER}.{field}')}{colon}{rest}"


def _given(raw: object) -> Any:
    """The ``spec`` of a workspace without what is not set; what is of another type is left for a check to find."""
    spec = _with_unset(raw, "displayName", "description", "virtualMachineWorkspace")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("jupyterWorkspace"), Mapping):
        return spec
    jupyter = _set_only(spec["jupyterWorkspace"])
    for part in ("persistentVolumeClaim", "resources"):
        jupyter = {**jupyter, part: _set_only(jupyter[part])} if part in jupyter else jupyter
    storage = jupyter.get("additionalStorage")
    if isinstance(storage, list):
        items = [_set_only({} if item in _UNSET else item) for item in storage]
        jupyter = {**jupyter, "additionalStorage": items}
    return {**spec, "jupyterWorkspace": jupyter}


_UNSET: tuple[object, ...] = (None, "", {})


def _set_only(value: Any) -> Any:
    """A mapping without the fields that are not set."""
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if each not in _UNSET}


def _with_unset(raw: object, *fields: str) -> Any:
    """A ``spec`` without those of these fields that are not set."""
    if not isinstance(raw, Mapping):
        return raw
    return {key: each for key, each in raw.items() if key not in fields or each not in _UNSET}


def _resources(value: object) -> Any:
    """Requests and limits, numbers as their texts."""
    if not isinstance(value, Mapping):
        return value
    if value.get("claims"):
        raise Refused(f"{_JUPYTER}.resources.claims (dynamic resource allocation) is not supported; remove it")
    if unknown := set(value) - {"requests", "limits", "claims"}:
        raise Refused(f"{_JUPYTER}.resources: {quote(min(unknown), 80)} is not known; accepted are requests and limits")
    return Resources(requests=_quantities(value.get("requests", {})), limits=_quantities(value.get("limits", {})))


def _quantities(value: object) -> Any:
    return (
        {key: _written(each) for key, each in value.items() if each not in _UNSET}
        if isinstance(value, Mapping)
        else value
    )


def _written(quantity: object) -> object:
    is_number = isinstance(quantity, int | float) and not isinstance(quantity, bool)
    return repr(quantity) if is_number else quantity


def _tolerations(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [
        {key: each for key, each in one.items() if each is not None} if isinstance(one, Mapping) else one
        for one in value
    ]


def _status(raw: Mapping[str, Any]) -> Status:
    status = compat.workspace_status(raw.get("status"))
    # Not the model's own default, which would tell a missing text and a written one as the same.
    text = status.status_text if "status_text" in status.model_fields_set else None
    return Status(text, status.persistent_volume_claim, dict(status.additional_storage or {}))


def _storage(jupyter: Any, name: str, status: Status) -> tuple[tuple[Storage, ...], int]:
    """What is mounted, the workspace's own claim first, and how many items name no claim."""
    main = jupyter.persistent_volume_claim
    wanted, storage_class = (main.name, main.storage_class_name) if main else (None, None)
    # Rule S3.
    claim = wanted or status.claim or default_claim(name)
    found = [_claim(claim, f"{HOME}/{name}", storage_class, f"{_JUPYTER}.persistentVolumeClaim")]
    items = jupyter.additional_storage or ()
    field_name = f"{_JUPYTER}.additionalStorage"
    if len(items) > ADDITIONAL_LIMIT:
        raise Refused(f"{field_name} has {len(items)} entries; at most {ADDITIONAL_LIMIT}", Trouble.STORAGE)
    for index, item in enumerate(items):
        if claim := item.persistent_volume_claim:
            # Without a path it goes where the library puts it; a slash at the end says nothing.
            path = (item.mount_path or f"/mnt/{claim}").rstrip("/") or "/"
            found.append(_claim(claim, path, item.storage_class_name, f"{field_name}[{index}]"))
    return tuple(found), len(items) + 1 - len(found)


def _claim(claim: str, path: str, storage_class: str | None, field_name: str) -> Storage:
    if not is_name(claim):
        raise Refused(f"{field_name}: {quote(claim, 80)} is not the name of a claim", Trouble.STORAGE)
    if storage_class and not is_name(storage_class):
        raise Refused(f"{field_name}: {quote(storage_class, 80)} is not the name of a storage class", Trouble.STORAGE)
    return Storage(claim, path, storage_class or None)


def named_claims(raw: Mapping[str, Any]) -> frozenset[str]:
    """Every claim that a workspace names or could have used, whether it is offered or not; more than it mounts."""
    status = _mapping(raw.get("status"))
    jupyter = _mapping(_mapping(raw.get("spec")).get("jupyterWorkspace"))
    main = _mapping(jupyter.get("persistentVolumeClaim")).get("name")
    additional = jupyter.get("additionalStorage")
    found = [
        default_claim(str(raw["metadata"]["name"])),
        main,
        status.get("persistentVolumeClaim"),
        *_mapping(status.get("additionalStorage")).values(),
        *(_mapping(item).get("persistentVolumeClaim") for item in (additional if isinstance(additional, list) else ())),
    ]
    return frozenset(each for each in found if isinstance(each, str) and each)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _refuse_deleting(raw: Mapping[str, Any]) -> None:
    deleting = _mapping(raw.get("metadata")).get("deletionTimestamp")
    if deleting or _mapping(raw.get("status")).get("statusText") == _DELETING:
        raise Refused("it is being deleted", Trouble.DELETING)


# Every binding has a date, and few are different: they share the objects.
@lru_cache(maxsize=4096)
def _day(text: str) -> date:
    return parse_day(text)


@lru_cache(maxsize=4096)
def _before(text: str) -> date:
    day = parse_day(text)
    if day == date.min:
        raise ValueError(f"{text} has no day before it, which would be the last one")
    return day - timedelta(days=1)


def _date(value: object, field_name: str) -> date:
    try:
        return _day(value) if isinstance(value, str) else parse_day(value)
    except ValueError as error:
        raise Refused(f"{field_name}: {error}") from error


def _day_before(value: object, field_name: str) -> date:
    """The last day of what expires on a day."""
    try:
        return _before(value) if isinstance(value, str) else parse_day(value)
    except ValueError as error:
        raise Refused(f"{field_name}: {error}") from error
