"""From the two custom resources, as the API server has them, to small records.

Always true here: nothing is fetched and nobody is let in. Each field is honoured, or the resource is refused with its
reason; a record that exists is right. Which claims a workspace names is read from refused ones as well, so that no
other can take them for its own (rule S3).

Fields that are known and deliberately not looked at: a binding's ``comments`` and ``replicas``, a workspace's
``virtualMachineWorkspace``, and every label, the username label first of all (rule A2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
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

from . import compat, pod_fields
from .matching import Rule, read_rule
from .refused import Refused, Trouble

ADDITIONAL_LIMIT = 32
"""Most entries of ``additionalStorage``: far more than a pod can use, and few enough to compare each with each."""
PROVISIONED = "Provisioned"
_DELETING = "Deleting"

# Every binding has a date, and few are different: they share the objects.
_day = lru_cache(maxsize=4096)(parse_day)


# The records are named tuples, as the cache reads those back several times as fast as data classes.


class Binding(NamedTuple):
    """A grant of one workspace to the users that it matches.

    Attributes:
        name: Its own name.
        workspace: The workspace that it grants.
        username: Casefolded; None where the claims alone say who.
        expires: Last day of the grant.
        rules: What the user's claims must meet, all of it; empty only where there is a username.
        version: Its ``resourceVersion``.
    """

    name: str
    workspace: str
    username: str | None
    expires: date
    rules: tuple[Rule, ...]
    version: str

    def grants(self, user: User) -> bool:
        """Whether it is this user's: the whole username, and every rule, where it has them (rule A2)."""
        if not user.username or (self.username is None and not self.rules):
            return False
        return self.username in (None, user.username) and all(rule.holds(user.claims) for rule in self.rules)


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

    The others are those of ``Workspace``.
    """

    name: str
    uid: str | None
    version: str
    storage: tuple[Storage, ...]
    status: Status
    display_name: str
    description: str
    available_from: date
    expires: date
    image: str
    resources: Resources
    default_url: str | None
    labels: Mapping[str, str]
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]

    def grant(self, binding: Binding) -> Workspace:
        """This workspace as granted by a binding."""
        return Workspace(
            name=self.name,
            display_name=self.display_name,
            description=self.description,
            available_from=self.available_from,
            expires=self.expires,
            grant_expires=binding.expires,
            image=self.image,
            resources=self.resources,
            default_url=self.default_url,
            labels=self.labels,
            node_selector=self.node_selector,
            tolerations=self.tolerations,
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
    spec = compat.binding_spec(raw.get("spec"))
    if not is_name(spec.workspace):
        raise Refused(f"spec.workspace {quote(spec.workspace, 80)} is not the name of a workspace")
    expires = _date(spec.expires, "spec.expires")
    rules = tuple(read_rule(item.name, item.operator, item.value) for item in spec.claims or ())
    if spec.username is None and not rules:
        raise Refused("neither spec.username nor spec.claims says whom it is for")
    if spec.username is not None and not spec.username.strip():
        # Not the same as no username: with claims beside it that would open the workspace to more people.
        raise Refused("spec.username is empty")
    return Binding(
        name=str(raw["metadata"]["name"]),
        workspace=spec.workspace,
        username=None if spec.username is None else spec.username.casefold(),
        expires=expires,
        rules=rules,
        version=str(raw["metadata"].get("resourceVersion") or ""),
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
    raw_spec = raw.get("spec")
    spec = compat.workspace_spec(raw_spec)
    jupyter = compat.jupyter_of(spec)
    if jupyter is None or not isinstance(raw_spec, Mapping):
        raise Refused("there is no spec.jupyterWorkspace", Trouble.NOT_FOR_JUPYTER)
    if spec.validity is None:
        raise Refused("spec.validity is missing")
    available_from = _date(spec.validity.available_from, "spec.validity.availableFrom")
    expires = _date(spec.validity.expires, "spec.validity.expires")
    if available_from > expires:
        raise Refused(f"spec.validity: it is available from {available_from}, after it expires on {expires}")
    status = _status(raw)
    # These the models do not check, so they are taken from the JSON.
    unchecked: Mapping[str, Any] = raw_spec["jupyterWorkspace"]
    record = WorkspaceRecord(
        name=name,
        uid=str(raw["metadata"].get("uid") or "") or None,
        version=version,
        storage=tuple(_storage(jupyter, name, status)),
        status=status,
        display_name=(spec.display_name or "").strip() or name,
        description=spec.description or "",
        available_from=available_from,
        expires=expires,
        image=pod_fields.image(jupyter.image),
        resources=pod_fields.resources(unchecked.get("resources")),
        default_url=pod_fields.default_url(jupyter.default_uri),
        labels=pod_fields.label_map(jupyter.extra_labels, "spec.jupyterWorkspace.extraLabels"),
        node_selector=pod_fields.label_map(unchecked.get("nodeSelector"), "spec.jupyterWorkspace.nodeSelector"),
        tolerations=pod_fields.tolerations(unchecked.get("tolerations")),
    )
    try:
        check_volumes(name, record.volumes())
    except StorageRefused as refused:
        raise Refused(str(refused), Trouble.STORAGE) from refused
    return record


def _status(raw: Mapping[str, Any]) -> Status:
    status = compat.workspace_status(raw.get("status"))
    # Not the model's own default, which would tell a missing text and a written one as the same.
    text = status.status_text if "status_text" in status.model_fields_set else None
    return Status(text, status.persistent_volume_claim, dict(status.additional_storage or {}))


def _storage(jupyter: Any, name: str, status: Status) -> Iterator[Storage]:
    main = jupyter.persistent_volume_claim
    wanted, storage_class = (main.name, main.storage_class_name) if main else (None, None)
    # Rule S3. An empty name is none, as in a Helm template that left it out.
    claim = wanted or status.claim or default_claim(name)
    yield _claim(claim, f"{HOME}/{name}", storage_class, "spec.jupyterWorkspace.persistentVolumeClaim")
    items = jupyter.additional_storage or ()
    field_name = "spec.jupyterWorkspace.additionalStorage"
    if len(items) > ADDITIONAL_LIMIT:
        raise Refused(f"{field_name} has {len(items)} entries; at most {ADDITIONAL_LIMIT}", Trouble.STORAGE)
    for index, item in enumerate(items):
        if not item.persistent_volume_claim:
            raise Refused(f"{field_name}[{index}].persistentVolumeClaim is missing", Trouble.STORAGE)
        claim = item.persistent_volume_claim
        # Without a path it goes where the library puts it.
        path = item.mount_path or f"/mnt/{claim}"
        yield _claim(claim, path, item.storage_class_name, f"{field_name}[{index}]")


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


def _date(value: str | None, field_name: str) -> date:
    parse: Callable[[Any], date] = _day
    try:
        return parse(value)
    except ValueError as error:
        raise Refused(f"{field_name}: {error}") from error
