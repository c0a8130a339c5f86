"""Everything that is served: the built-in kinds, and the custom resources of `crds.yaml`.

Always true here: what differs from kind to kind is an attribute of `Kind`, or a function of `validation.py` that is
found by the kind's plural.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from .errors import ApiError, Problem, Undecodable, invalid
from .schemas import StructuralSchema, WrongType, decode
from .selectors import Object

CRD_FILE = Path(__file__).with_name("crds.yaml")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_EVERY_FIELD = frozenset({"metadata.name", "metadata.namespace"})
_EVENT_FIELDS = frozenset(
    {f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")}
    | {"involvedObject.fieldPath", "reason", "reportingComponent", "type"}
)
_POD_FIELDS = frozenset(
    {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
    }
    | {"status.phase", "status.podIP", "status.nominatedNodeName"}
)
# The fields that core/v1 (left, as stored) and events.k8s.io/v1 (right) name differently for one and the same
# event.
_EVENT_RENAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "source": "deprecatedSource",
}


@dataclass(frozen=True, eq=False)
class Kind:
    """One resource type that is served.

    Attributes:
        lasting: Whether its objects are kept in the state file.
        returned: Whether a deletion answers with the object; otherwise with a `Status`.
        columns: Title and path of what `kubectl get` shows between the name and the age.
        stored_as: The kind whose objects this one shows under other field names (`renames`), if it has none
            of its own.
    """

    plural: str
    name: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    has_status: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    fields: frozenset[str] = frozenset()
    lasting: bool = True
    returned: bool = False
    schema: StructuralSchema | None = None
    columns: tuple[tuple[str, str], ...] = ()
    stored_as: Kind | None = None
    renames: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The plural with its group, as messages name a resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def selectable(self) -> frozenset[str]:
        """The paths that a field selector may name."""
        paths = {self.renamed(path) for path in self.fields}
        return _EVERY_FIELD | paths

    def renamed(self, path: str, *, back: bool = False) -> str:
        """Give the name under which this kind shows a stored path, or `back` from that to the stored one."""
        names = {shown: stored for stored, shown in self.renames.items()} if back else self.renames
        first, dot, rest = path.partition(".")
        return f"{names.get(first, first)}{dot}{rest}"

    def shown(self, item: Object) -> Object:
        """Give a stored object as this kind shows it."""
        if self.stored_as is None:
            return item
        return {self.renamed(key): value for key, value in item.items()} | {"apiVersion": self.api_version}

    def decode(self, body: Object, *, strict: bool = False) -> Object:
        """Give an object of this kind, from a client, as it is stored.

        Args:
            strict: Whether unknown fields are refused, as `fieldValidation=Strict` asks for; else they are dropped.

        Raises:
            Undecodable: A field cannot be read as what it is, or is unknown.
        """
        try:
            item, dropped = decode(body, self._model) if self.schema is None else self.schema.decode(body)
        except WrongType as error:
            raise self.undecodable(str(error)) from error
        if strict and dropped:
            unknown = ", ".join(f'unknown field "{path}"' for path in dropped)
            raise self.undecodable(f"strict decoding error: {unknown}")
        if self.stored_as is None:
            return item
        stored = {self.renamed(key, back=True): value for key, value in item.items()}
        return stored | {"apiVersion": self.stored_as.api_version}

    @property
    def _model(self) -> str:
        """The model of a built-in type in the client library."""
        if self.name == "Event":
            return "EventsV1Event" if self.group else "CoreV1Event"
        return f"V1{self.name}"

    def not_found(self, name: str) -> ApiError:
        """404 for an object of this kind."""
        return ApiError(404, "NotFound", f'{self.resource} "{name}" not found', self.details(name))

    def conflict(self, name: str, why: str) -> ApiError:
        """409 for an object of this kind."""
        message = f'Operation cannot be fulfilled on {self.resource} "{name}": {why}'
        return ApiError(409, "Conflict", message, self.details(name))

    def invalid(self, name: str, problems: Iterable[Problem]) -> ApiError:
        """422 for an object of this kind."""
        group = (self.stored_as or self).group
        title = f"{self.name}.{group}" if group else self.name
        details = {"name": name, "group": group, "kind": self.name}
        return invalid(f'{title} "{name}"', {key: value for key, value in details.items() if value}, problems)

    def undecodable(self, why: str) -> Undecodable:
        """400 for a body that is not of this kind's shape."""
        return Undecodable(f'{self.name} in version "{self.version}" cannot be handled as a {self.name}: {why}')

    def details(self, name: str) -> Object:
        """The `details` of a `Status` about one object of this kind."""
        named = {"name": name} if name else {}
        return named | {"kind": self.plural} | ({"group": self.group} if self.group else {})


def _without(verbs: tuple[str, ...], *left_out: str) -> tuple[str, ...]:
    return tuple(verb for verb in verbs if verb not in left_out)


def kinds() -> list[Kind]:
    """Give everything that is served: the built-in kinds and the custom resources of `crds.yaml`."""
    phase = ("Status", ".status.phase")
    told = (
        ("Type", ".type"),
        ("Reason", ".reason"),
        ("Object", ".involvedObject.name"),
        ("Message", ".message"),
    )
    event = Kind("events", "Event", short=("ev",), fields=_EVENT_FIELDS, lasting=False, columns=told)
    found = [
        Kind(
            "namespaces",
            "Namespace",
            namespaced=False,
            short=("ns",),
            has_status=True,
            verbs=_without(ALL_VERBS, "deletecollection"),
            fields=frozenset({"status.phase"}),
            columns=(phase,),
        ),
        Kind(
            "pods",
            "Pod",
            short=("po",),
            has_status=True,
            fields=_POD_FIELDS,
            lasting=False,
            returned=True,
            columns=(
                phase,
                ("IP", ".status.podIP"),
                ("Node", ".spec.nodeName"),
                ("Ending", ".metadata.deletionTimestamp"),
            ),
        ),
        Kind(
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            short=("pvc",),
            has_status=True,
            returned=True,
            columns=(
                phase,
                ("Size", ".spec.resources.requests.storage"),
                ("Class", ".spec.storageClassName"),
            ),
        ),
        Kind("secrets", "Secret", fields=frozenset({"type"})),
        Kind("configmaps", "ConfigMap", short=("cm",)),
        Kind("serviceaccounts", "ServiceAccount", short=("sa",), returned=True),
        event,
        Kind(
            "events",
            "Event",
            "events.k8s.io",
            short=("ev",),
            # A change would have to be checked against the rules of this group, which nobody needs.
            verbs=_without(ALL_VERBS, "update", "patch"),
            fields=_EVENT_FIELDS,
            columns=told,
            stored_as=event,
            renames=_EVENT_RENAMES,
        ),
        Kind(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            "apiextensions.k8s.io",
            namespaced=False,
            short=("crd", "crds"),
            verbs=("get", "list", "watch"),
            lasting=False,
        ),
    ]
    return found + [_custom(definition["spec"]) for definition in definitions()]


def definitions() -> list[Object]:
    """Read the CustomResourceDefinitions of `crds.yaml`."""
    found: list[Object] = json.loads(_definitions_as_json())
    return found


@cache
def _definitions_as_json() -> str:
    """Read the file once for all servers of a process: parsing YAML takes longer than the rest of a start."""
    return json.dumps(list(yaml.safe_load_all(CRD_FILE.read_text(encoding="utf-8"))))


def _custom(spec: Object) -> Kind:
    names, version = spec["names"], spec["versions"][0]
    return Kind(
        names["plural"],
        names["kind"],
        spec["group"],
        version["name"],
        short=tuple(names["shortNames"]),
        has_status="status" in version["subresources"],
        schema=StructuralSchema(version["schema"]["openAPIV3Schema"]),
        columns=tuple((column["name"], column["jsonPath"]) for column in version["additionalPrinterColumns"][:-1]),
    )
