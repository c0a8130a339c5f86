"""What the embedded API keeps: objects, the resourceVersion that every write raises, and the last changes.

Always true here:
* Nothing is stored that a real API server would refuse for a reason that `validation` checks; what is refused is an
  `ApiError`, which says in a `Status` what the real server says.
* A stored object is never changed in place and is serialised once, when it is written; reading costs no copy.
* Every change gets a resourceVersion of its own and goes to each listener, in order, before the write
  returns.
* Nothing here awaits, so a read, the checks and the write that follows are one step. A store belongs to one
  event loop.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from .errors import ApiError, bad_request, expired, unprepared
from .kinds import Kind, definitions, kinds
from .selectors import Object, Predicate
from .validation import admit

# A process that dies loses the writes since its last save; the numbers of those must not be given out a
# second time.
REVISIONS_SKIPPED_ON_LOAD = 1000
# The alphabet of generated names: nothing that reads as another character, or that could spell a word.
_SUFFIXES = "bcdfghjklmnpqrstvwxz2456789"


class StateFileError(Exception):
    """The state file cannot be used; the message says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as it was at one resourceVersion, and the bytes of its JSON."""

    object: Object
    raw: bytes
    revision: int

    @property
    def key(self) -> tuple[str, str]:
        """Its namespace, empty for an object that is in none, and its name."""
        return self.object["metadata"].get("namespace", ""), self.object["metadata"]["name"]

    def copy(self) -> Object:
        """Give an object that may be changed."""
        copied: Object = json.loads(self.raw)
        return copied


@dataclass(frozen=True, slots=True)
class Change:
    """One write: no `before` for a creation, no `after` for a removal."""

    revision: int
    kind: Kind
    before: Stored | None
    after: Stored | None

    def undo(self, table: dict[tuple[str, str], Stored]) -> None:
        """Put a table of the objects of this kind back to before this change."""
        if self.before is not None:
            table[self.before.key] = self.before
        elif self.after is not None:
            del table[self.after.key]

    def seen_by(self, matches: Predicate) -> tuple[str, Object, bytes] | None:
        """Give the event type, object and JSON that a watch with this selector sees, or None for nothing.

        An object that starts to match is ADDED, and one that ceases to match is DELETED, in the state it last
        matched.
        """
        before = self.before if self.before is not None and matches(self.before.object) else None
        if self.after is not None and matches(self.after.object):
            return ("MODIFIED" if before else "ADDED"), self.after.object, self.after.raw
        if before is None:
            return None
        last = before.copy()
        last["metadata"]["resourceVersion"] = str(self.revision)
        return "DELETED", last, encode(last)


def encode(item: object) -> bytes:
    """Serialise to compact JSON; ASCII only, so that no string a client sent can fail to encode."""
    return json.dumps(item, separators=(",", ":")).encode()


def _now(later: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All objects, by kind, namespace and name.

    Args:
        history: How many changes are remembered for watches that start from an older resourceVersion.
    """

    def __init__(self, history: int = 1000) -> None:
        self.kinds = {(kind.group, kind.version, kind.plural): kind for kind in kinds()}
        self.revision = 1
        self.compacted = 1
        self.listeners: set[Callable[[Change], None]] = set()
        self._history: deque[Change] = deque()
        self._window = history
        # What was is what it was, so the pages of a list need not be made anew one by one.
        self._as_of = lru_cache(maxsize=8)(self._list_as_of)
        self._tables: dict[Kind, dict[tuple[str, str], Stored]] = {
            kind: {} for kind in self.kinds.values() if kind.stored_as is None
        }
        definition_kind = self.kind("apiextensions.k8s.io", "customresourcedefinitions")
        for definition in definitions():
            self.create(definition_kind, "", _established(definition))

    def kind(self, group: str, plural: str, version: str = "v1") -> Kind:
        """Look up a kind that is known to be served."""
        return self.kinds[group, version, plural]

    def get(self, kind: Kind, namespace: str, name: str) -> Stored:
        """Give one object.

        Raises:
            ApiError: 404 when there is none.
        """
        found = self._table(kind).get((namespace, name))
        if found is None:
            raise kind.not_found(name)
        return found

    def list(self, kind: Kind, namespace: str, matches: Predicate | None = None) -> Sequence[Stored]:
        """Give the objects of one namespace (empty: of all) in the order of namespace and name."""
        return [
            stored for stored in self.as_of(self.revision, kind, namespace) if matches is None or matches(stored.object)
        ]

    def as_of(self, revision: int, kind: Kind, namespace: str) -> Sequence[Stored]:
        """Give the objects of one namespace (empty: of all) as they were at a resourceVersion, in their order.

        Raises:
            ApiError: 410 when what has changed since is no longer remembered.
        """
        self._check_remembered(revision)
        return self._as_of(revision, kind, namespace)

    def _list_as_of(self, revision: int, kind: Kind, namespace: str) -> Sequence[Stored]:
        table = dict(self._table(kind))
        for change in reversed(self.changes_since(revision)):
            if change.kind is (kind.stored_as or kind):
                change.undo(table)
        return tuple(stored for (where, _), stored in sorted(table.items()) if not namespace or where == namespace)

    def changes_since(self, revision: int) -> Sequence[Change]:
        """Give the changes after a resourceVersion.

        Raises:
            ApiError: 410 when they are no longer remembered.
        """
        self._check_remembered(revision)
        return [change for change in self._history if change.revision > revision]

    def _check_remembered(self, revision: int) -> None:
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted})")

    def create(self, kind: Kind, namespace: str, body: Object, *, strict: bool = False) -> Stored:
        """Store a new object.

        Args:
            strict: Whether unknown fields are refused, as `fieldValidation=Strict` asks for.

        Raises:
            ApiError: 400, 404 (namespace), 409 (exists), 422 or 501.
        """
        item = kind.decode(body, strict=strict)
        given = item.get("metadata", {})
        if "resourceVersion" in given:
            raise unprepared("resourceVersion should not be set on objects to be created")
        name = given.get("name", "")
        if not name and (prefix := given.get("generateName")):
            name = prefix[:58] + "".join(random.SystemRandom().choices(_SUFFIXES, k=5))
        if namespace and ("", namespace) not in self._tables[self.kind("", "namespaces")]:
            raise self.kind("", "namespaces").not_found(namespace)
        item["metadata"] = _own_metadata(given) | {"name": name} | ({"namespace": namespace} if namespace else {})
        item["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if kind.schema is not None:
            item.pop("status", None)
        if kind.schema is not None or kind.plural == "customresourcedefinitions":
            item["metadata"]["generation"] = 1
        item = admit(kind, item, None)
        if (namespace, name) in self._table(kind):
            raise ApiError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', kind.details(name))
        return self._put(kind, None, item)

    def replace(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Object,
        *,
        status: bool = False,
        strict: bool = False,
    ) -> Stored:
        """Store an object in place of the one that is there, or its status only; the same changes nothing.

        Raises:
            ApiError: 400, 404, 409 when `body` carries another resourceVersion or uid than the stored object,
                422 or 501.
        """
        decoded = kind.decode(body, strict=strict)
        given = decoded.get("metadata", {})
        if "name" not in given:
            raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        if given["name"] != name:
            raise bad_request(f"the name of the object ({given['name']}) does not match the name on the URL ({name})")
        before = self.get(kind, namespace, name)
        old = before.object["metadata"]
        _check_preconditions(kind, old, given.get("uid"), None)
        version = given.get("resourceVersion", old["resourceVersion"])
        if not version.isdecimal():
            raise unprepared(f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if version != old["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise kind.conflict(name, why)
        item = before.copy()
        if status:
            item.pop("status", None)
            item |= {"status": decoded["status"]} if "status" in decoded else {}
            if kind.schema is None:
                # A built-in type's status takes the labels and annotations along; a custom resource's does not.
                kept = {k: v for k, v in item["metadata"].items() if k not in ("labels", "annotations")}
                item["metadata"] = kept | {k: given[k] for k in ("labels", "annotations") if given.get(k)}
        else:
            kept = {key: value for key, value in item["metadata"].items() if key not in _CLIENTS_METADATA}
            item = {key: item[key] for key in ("status",) if kind.has_status and key in item} | {
                key: value for key, value in decoded.items() if not (kind.has_status and key == "status")
            }
            item["metadata"] = _own_metadata(given) | kept
        item = admit(kind, item, before.object)
        if kind.schema is not None and item.get("spec") != before.object.get("spec"):
            item["metadata"]["generation"] = old["generation"] + 1
        return before if item == before.object else self._put(kind, before, item)

    def bind(self, namespace: str, name: str, node: str) -> Stored:
        """Give a pod to a node, as a scheduler does through `pods/binding`."""
        kind = self.kind("", "pods")
        before = self.get(kind, namespace, name)
        if before.object["spec"].get("nodeName"):
            conflict = kind.conflict(
                name, f'pod {name} is already assigned to node "{before.object["spec"]["nodeName"]}"'
            )
            conflict.details["kind"] = "pods/binding"
            raise conflict
        item = before.copy()
        item["spec"]["nodeName"] = node
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": _now()}
        item["status"].setdefault("conditions", []).append(scheduled)
        return self._put(kind, before, item)

    def delete(self, kind: Kind, namespace: str, name: str, options: Object) -> Stored:
        """Remove an object; or, for a pod that runs on a node, ask for its end, for the node to remove it.

        Args:
            options: `gracePeriodSeconds` and `preconditions` of a `DeleteOptions`.

        Returns:
            The object as it was last.

        Raises:
            ApiError: 404, or 409 for a precondition that does not hold.
        """
        before = self.get(kind, namespace, name)
        wanted = options.get("preconditions") or {}
        try:
            _check_preconditions(kind, before.object["metadata"], wanted.get("uid"), wanted.get("resourceVersion"))
        except ApiError as error:
            error.details |= {"kind": kind.name}  # here, and only here, the real server names the kind
            raise
        grace = _grace(before.object, options) if kind.plural == "pods" else 0
        if grace > 0:
            if before.object["metadata"].get("deletionGracePeriodSeconds", grace + 1) <= grace:
                return before
            item = before.copy()
            item["metadata"] |= {"deletionTimestamp": _now(grace), "deletionGracePeriodSeconds": grace}
            return self._put(kind, before, item)
        if kind.plural == "namespaces":
            for other, table in self._tables.items():
                for stored in [stored for (where, _), stored in table.items() if where == name]:
                    self._remove(other, stored)
        self._remove(kind, before)
        if kind.plural != "pods":
            return before
        item = before.copy()
        item["metadata"] |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
        return Stored(item, encode(item), before.revision)

    def compact(self) -> None:
        """Forget all changes, so that no watch can start from before now."""
        self._history.clear()
        self.compacted = self.revision

    def _table(self, kind: Kind) -> dict[tuple[str, str], Stored]:
        return self._tables[kind.stored_as or kind]

    def _put(self, kind: Kind, before: Stored | None, item: Object) -> Stored:
        kind = kind.stored_as or kind
        self.revision += 1
        # apiVersion and kind come first: a list of built-in objects leaves them off by cutting the prefix.
        item = {"apiVersion": kind.api_version, "kind": kind.name, **item}
        item["metadata"]["resourceVersion"] = str(self.revision)
        after = Stored(item, encode(item), self.revision)
        self._tables[kind][after.key] = after
        self._remember(Change(self.revision, kind, before, after))
        return after

    def _remove(self, kind: Kind, before: Stored) -> Stored:
        kind = kind.stored_as or kind
        self.revision += 1
        del self._tables[kind][before.key]
        self._remember(Change(self.revision, kind, before, None))
        return before

    def _remember(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > self._window:
            self.compacted = self._history.popleft().revision
        for listener in tuple(self.listeners):
            listener(change)

    def dump(self) -> bytes:
        """Serialise what outlives a restart: all but pods, events and the definitions of `crds.yaml`."""
        lasting = (stored.raw for kind, table in self._tables.items() if kind.lasting for stored in table.values())
        head = f'{{"format":1,"resourceVersion":{self.revision},"objects":[\n'.encode()
        return head + b",\n".join(lasting) + b"\n]}\n"

    def load(self, file: Path) -> None:
        """Take over what an earlier process saved, if it did.

        Raises:
            StateFileError: The file is there and is not what `dump` writes.
        """
        try:
            state = json.loads(file.read_bytes())
            if state["format"] != 1:
                raise ValueError(f"its format is {state['format']!r}, not 1")
            for read in state["objects"]:
                group, _, version = read["apiVersion"].rpartition("/")
                names = (group, version, read["kind"])
                kind = next(k for k in self._tables if (k.group, k.version, k.name) == names)
                item = {"apiVersion": read["apiVersion"], "kind": read["kind"], **read}
                stored = Stored(item, encode(item), int(item["metadata"]["resourceVersion"]))
                self._tables[kind][stored.key] = stored
            self.revision = max(self.revision, int(state["resourceVersion"])) + REVISIONS_SKIPPED_ON_LOAD
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise StateFileError(
                f"the state file {file} cannot be used: {type(error).__name__}: {error}. "
                "Only the embedded Kubernetes API writes it; move it away to start with an empty cluster."
            ) from error
        self.compact()


_CLIENTS_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")


def _own_metadata(given: Object) -> Object:
    """Give the part of metadata that a client decides; the rest is the server's."""
    return {key: given[key] for key in (*_CLIENTS_METADATA, "generateName") if given.get(key) not in (None, {}, [], "")}


def _check_preconditions(kind: Kind, metadata: Object, uid: object, revision: object) -> None:
    for what, wanted, found in (
        ("UID", uid, metadata["uid"]),
        ("ResourceVersion", revision, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            raise kind.conflict(metadata["name"], why)


def _grace(pod: Object, options: Object) -> int:
    """Give the seconds that a pod is left to end: none if no node has it, or if it has already ended."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or not pod["spec"].get("nodeName"):
        return 0
    given = options.get("gracePeriodSeconds")
    seconds = int(pod["spec"]["terminationGracePeriodSeconds"] if given is None else given)
    return 1 if seconds < 0 else seconds


def _established(definition: Object) -> Object:
    conditions = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
    names = definition["spec"]["names"]
    status = {"conditions": conditions, "acceptedNames": names, "storedVersions": ["v1"]}
    return definition | {"spec": definition["spec"] | {"conversion": {"strategy": "None"}}, "status": status}
