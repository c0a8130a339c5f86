"""What the embedded API keeps: objects, the resourceVersion that every write raises, and the last changes.

Always true here:
* Nothing is stored that a real API server would refuse for a reason that is checked here; what is refused is
  an `ApiError`, which says in a `Status` what the real server says.
* A stored object is never changed in place and is serialised once, when it is written; reading costs no copy.
* Every change gets a resourceVersion of its own and goes to each listener, in order, before the write
  returns.
* Nothing here awaits, so a read, the checks and the write that follows are one step. A store belongs to one
  event loop.

What is checked: names, labels, and of pods and claims what a spawner or a storage provider can get wrong.
Unknown fields of built-in types are kept, where the real server drops them; those of custom resources are
pruned by their schema.
"""

from __future__ import annotations

import base64
import json
import random
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml
from kubernetes.utils.quantity import parse_quantity

from .selectors import DNS_LABEL, DNS_SUBDOMAIN, Object, Predicate, label_key_problem, label_value_problem

CRD_FILE = Path(__file__).with_name("crds.yaml")
# A process that dies loses the writes since its last save; the numbers of those must not be given out a
# second time.
REVISIONS_SKIPPED_ON_LOAD = 1000
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
# The alphabet of generated names: nothing that reads as another character, or that could spell a word.
_SUFFIXES = "bcdfghjklmnpqrstvwxz2456789"
_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")


class StateFileError(Exception):
    """The state file cannot be used; the message says which file, why, and what to do."""


class ApiError(Exception):
    """A refusal, as the `Status` object that a Kubernetes API answers with."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Object:
        """Give the `Status` object."""
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message, "code": self.code} | ({"reason": self.reason} if self.reason else {})
        return status | ({"details": self.details} if self.details else {})


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def not_implemented(what: str) -> ApiError:
    """501: a real API server does this, and the embedded one does not."""
    return ApiError(501, "NotImplemented", f"the embedded Kubernetes API does not implement {what}")


def expired(message: str) -> ApiError:
    """410: the resourceVersion or the continue token is older than what is remembered."""
    return ApiError(410, "Expired", message)


@dataclass(frozen=True, slots=True)
class Problem:
    """One cause of a 422: a field, the machine-readable reason and the text that the real server writes."""

    field: str
    reason: str
    text: str


def _required(path: str, text: str = "") -> Problem:
    return Problem(path, "FieldValueRequired", "Required value" + (f": {text}" if text else ""))


def _illegal(path: str, value: object, text: str) -> Problem:
    return Problem(path, "FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {text}")


def _duplicate(path: str, value: object) -> Problem:
    return Problem(path, "FieldValueDuplicate", f"Duplicate value: {json.dumps(value)}")


def _forbidden(path: str, text: str) -> Problem:
    return Problem(path, "FieldValueForbidden", f"Forbidden: {text}")


def _unsupported(path: str, value: object, supported: Iterable[object]) -> Problem:
    accepted = ", ".join(json.dumps(one) for one in supported)
    return Problem(
        path,
        "FieldValueNotSupported",
        f"Unsupported value: {json.dumps(value)}: supported values: {accepted}",
    )


# --- Kinds: what is served ---

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

    def taken(self, body: Object) -> Object:
        """Give an object of this kind, from a client, as it is stored."""
        if self.stored_as is None:
            return body
        stored = {self.renamed(key, back=True): value for key, value in body.items()}
        return stored | {"apiVersion": self.stored_as.api_version}

    def not_found(self, name: str) -> ApiError:
        """404 for an object of this kind."""
        return ApiError(404, "NotFound", f'{self.resource} "{name}" not found', self.details(name))

    def conflict(self, name: str, why: str) -> ApiError:
        """409 for an object of this kind."""
        message = f'Operation cannot be fulfilled on {self.resource} "{name}": {why}'
        return ApiError(409, "Conflict", message, self.details(name))

    def invalid(self, name: str, problems: Sequence[Problem]) -> ApiError:
        """422 for an object of this kind."""
        texts = [f"{problem.field}: {problem.text}" for problem in problems]
        summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        title = f"{self.name}.{self.group}" if self.group else self.name
        causes = [{"reason": p.reason, "message": p.text, "field": p.field} for p in problems]
        details = self.details(name) | {"kind": self.name, "causes": causes}
        return ApiError(422, "Invalid", f'{title} "{name}" is invalid: {summary}', details)

    def undecodable(self, why: str) -> ApiError:
        """400 for a body that is not of this kind's shape."""
        return bad_request(f'{self.name} in version "{self.version}" cannot be handled as a {self.name}: {why}')

    def details(self, name: str) -> Object:
        """The `details` of a `Status` about one object of this kind."""
        named = {"name": name} if name else {}
        return named | {"kind": self.plural} | ({"group": self.group} if self.group else {})


class StructuralSchema:
    """The schema of a custom resource: drops what it does not know, fills in defaults, then validates."""

    def __init__(self, schema: Object) -> None:
        self.document = schema
        checker = jsonschema.FormatChecker(formats=["date"])
        self._validator = jsonschema.Draft202012Validator(_as_json_schema(schema), format_checker=checker)

    def prune(self, item: Object) -> list[str]:
        """Take off unknown fields and fill in defaults, in place; give the paths that were dropped."""
        return list(_prune(item, self.document, ""))

    def problems(self, item: Object) -> Iterator[Problem]:
        """Say everything that is wrong with an object."""
        for error in sorted(self._validator.iter_errors(item), key=lambda error: [str(p) for p in error.absolute_path]):
            yield from _schema_problems(error)


def _as_json_schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return {key: _as_json_schema(value) for key, value in schema.items()}


def _prune(item: Any, schema: Object, path: str) -> Iterator[str]:
    if isinstance(item, list):
        for index, one in enumerate(item):
            yield from _prune(one, schema.get("items", {}), f"{path}[{index}]")
    if not isinstance(item, dict):
        return
    known, free = schema.get("properties", {}), schema.get("additionalProperties")
    for key, one in known.items():
        # As on the real server, before defaults and validation: null for what is not nullable is nothing.
        if key in item and item[key] is None and not one.get("nullable"):
            del item[key]
    for key in list(item):
        here = f"{path}.{key}" if path else key
        if key in known:
            # The type of metadata is the server's own, whatever the schema says of it.
            yield from () if here == "metadata" else _prune(item[key], known[key], here)
        elif free is not None:
            yield from _prune(item[key], free, here)
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            del item[key]
            yield here
    for key, one in known.items():
        if "default" in one:
            item.setdefault(key, one["default"])


def _schema_problems(error: jsonschema.ValidationError) -> Iterator[Problem]:
    path = error.json_path.removeprefix("$").removeprefix(".")
    found = error.instance
    if error.validator == "required":
        missing = re.fullmatch(r"'(.*)' is a required property", error.message)
        yield _required(f"{path}.{missing[1]}" if missing and path else missing[1] if missing else path)
    elif error.validator in ("type", "format"):
        shown = found if error.validator == "format" else _json_type(found)
        wanted = error.validator_value
        wanted = " or ".join(wanted) if isinstance(wanted, list) else wanted
        problem = _illegal(path, shown, f"{path} in body must be of type {wanted}: {json.dumps(shown)}")
        yield replace(problem, reason="FieldValueTypeInvalid")
    elif error.validator == "enum":
        yield _unsupported(path, found, list(cast(Iterable[object], error.validator_value)))
    elif error.validator == "anyOf":
        yield from _schema_problems(error.context[0])
        yield _illegal("<nil>", "", f'"{path}" must validate at least one schema (anyOf)')
    else:
        yield _illegal(path, found, error.message)


def _json_type(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


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


# --- Shape, defaults and rules of the built-in kinds ---

_TEXT: Object = {"type": "string"}
_TEXTS: Object = {"type": "object", "additionalProperties": _TEXT}


def _items(**properties: Object) -> Object:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def _struct(**properties: Object) -> Object:
    return {"type": "object", "properties": properties}


_QUANTITIES: Object = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_RESOURCES = _struct(limits=_QUANTITIES, requests=_QUANTITIES)
_METADATA = _struct(
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion"), _TEXT),
    labels=_TEXTS,
    annotations=_TEXTS,
    ownerReferences=_items(uid=_TEXT, name=_TEXT),
    finalizers={"type": "array", "items": _TEXT},
)
_CONTAINERS = _items(
    name=_TEXT,
    image=_TEXT,
    resources=_RESOURCES,
    volumeMounts=_items(name=_TEXT, mountPath=_TEXT, subPath=_TEXT, readOnly={"type": "boolean"}),
    env=_items(name=_TEXT, value=_TEXT),
    command={"type": "array", "items": _TEXT},
    args={"type": "array", "items": _TEXT},
    ports=_items(containerPort={"type": "integer"}, name=_TEXT),
)
_POD_SPEC = _struct(
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    volumes=_items(name=_TEXT, persistentVolumeClaim=_struct(claimName=_TEXT, readOnly={"type": "boolean"})),
    nodeSelector=_TEXTS,
    nodeName=_TEXT,
    tolerations=_items(**dict.fromkeys(("key", "operator", "value", "effect"), _TEXT)),
    terminationGracePeriodSeconds={"type": "integer"},
)
_CLAIM_SPEC = _struct(
    accessModes={"type": "array", "items": _TEXT},
    resources=_RESOURCES,
    storageClassName=_TEXT,
    volumeName=_TEXT,
)
# What a Go client library's types would not decode; deeper fields are not looked at.
_SHAPES = {
    plural: jsonschema.Draft202012Validator(_struct(metadata=_METADATA, status={"type": "object"}, **more))
    for plural, more in {
        "": {},
        "pods": {"spec": _POD_SPEC},
        "persistentvolumeclaims": {"spec": _CLAIM_SPEC},
        "secrets": {"data": _TEXTS, "stringData": _TEXTS, "type": _TEXT},
        "configmaps": {"data": _TEXTS},
        "events": {"involvedObject": _struct(namespace=_TEXT, name=_TEXT)},
    }.items()
}


def _without_nulls(value: Any) -> Any:
    """Drop nulls, which a built-in type decodes as if the field were not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _quantity(kind: Kind, value: object) -> Decimal:
    # The library takes more than the server does ("NaN", " 1", "5K"), so the form is checked first.
    if not _QUANTITY.fullmatch(str(value)):
        raise kind.undecodable(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': "
            + repr(value)
        )
    return Decimal(parse_quantity(value))


def _canonical(kind: Kind, value: object) -> str:
    """Write a quantity as the real server stores it: text, in the shortest form of the family that it came in."""
    amount = _quantity(kind, value)
    if str(value).endswith("i") and abs(amount) >= 1024 and amount == int(amount):
        for unit, power in (("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
            if not int(amount) % 2**power:
                return f"{int(amount) // 2**power}{unit}"
    if amount != int(amount):
        for unit, power in (("m", 3), ("u", 6), ("n", 9)):
            if (scaled := amount.scaleb(power)) == int(scaled):
                return f"{int(scaled)}{unit}"
        return str(value)
    for unit, power in (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)):
        if amount and not int(amount) % 10**power:
            return f"{int(amount) // 10**power}{unit}"
    return str(int(amount))


# Go writes these whether they are set or not, and KubeSpawner reads two of them without asking.
_EVENT_ZEROS: Object = {
    **dict.fromkeys(("eventTime", "firstTimestamp", "lastTimestamp")),
    "source": {},
}


def _fill_in(kind: Kind, item: Object, *, new: bool) -> None:
    """Set the defaults that a client can see or rely on, in place."""
    spec = item.setdefault("spec", {}) if kind.plural in ("pods", "persistentvolumeclaims") else {}
    if kind.plural == "pods":
        _fill_in_pod(kind, spec)
    elif kind.plural == "persistentvolumeclaims":
        spec.setdefault("volumeMode", "Filesystem")
        requests = spec.get("resources", {}).get("requests", {})
        requests |= {name: _canonical(kind, value) for name, value in requests.items()}
    elif kind.plural == "namespaces":
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
        spec = item.setdefault("spec", {})
        spec.setdefault("finalizers", ["kubernetes"])
    elif kind.plural == "events":
        for name, value in _EVENT_ZEROS.items():
            item.setdefault(name, value)
    elif kind.plural == "secrets":
        item.setdefault("type", "Opaque")
        for key, text in item.pop("stringData", {}).items():
            item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    if new and kind.has_status:
        phase = {"namespaces": "Active", "pods": "Pending", "persistentvolumeclaims": "Pending"}.get(kind.plural)
        item.pop("status", None)
        if phase:
            item["status"] = {"phase": phase}


def _fill_in_pod(kind: Kind, spec: Object) -> None:
    defaults = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    for name, value in {**defaults, "terminationGracePeriodSeconds": 30, "securityContext": {}}.items():
        spec.setdefault(name, value)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for volume in spec.get("volumes", []):
        if not volume.keys() - {"name"}:
            volume["emptyDir"] = {}
        for source in ("configMap", "secret"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 0o644)
    for container in (*spec.get("containers", []), *spec.get("initContainers", [])):
        image = container.get("image", "")
        latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
        container.setdefault("imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent")
        resources = container.setdefault("resources", {})
        if limits := resources.get("limits"):
            resources["requests"] = {**limits, **resources.get("requests", {})}
        for section in ("limits", "requests"):
            if section in resources:
                resources[section] = {name: _canonical(kind, value) for name, value in resources[section].items()}
        for port in container.get("ports", []):
            port.setdefault("protocol", "TCP")


def _metadata_problems(kind: Kind, metadata: Object) -> Iterator[Problem]:
    name = metadata["name"]
    label = kind.plural == "namespaces"
    if not (DNS_LABEL if label else DNS_SUBDOMAIN).fullmatch(name) or len(name) > (63 if label else 253):
        what = "label" if label else "subdomain"
        characters = "'-'" if label else "'-' or '.'"
        yield _illegal(
            "metadata.name",
            name,
            f"a lowercase RFC 1123 {what} must consist of lower case alphanumeric characters, {characters}, "
            f"must start and end with an alphanumeric character, and have at most {63 if label else 253}",
        )
    yield from _label_problems("metadata.labels", metadata.get("labels", {}))
    for key in metadata.get("annotations", {}):
        if problem := label_key_problem(key.lower()):
            yield _illegal("metadata.annotations", key, problem)


def _label_problems(path: str, labels: Mapping[str, str]) -> Iterator[Problem]:
    for key, value in labels.items():
        if problem := label_key_problem(key):
            yield _illegal(path, key, problem)
        if problem := label_value_problem(value):
            yield _illegal(path, value, problem)


def _pod_problems(kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    spec = item.get("spec", {})
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes", [])):
        path = f"spec.volumes[{index}]"
        yield from _name_problems(f"{path}.name", volume.get("name", ""), volumes)
        if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("claimName"):
            yield _required(f"{path}.persistentVolumeClaim.claimName")
    if not spec.get("containers"):
        yield _required("spec.containers")
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, [])):
            path = f"spec.{group}[{index}]"
            yield from _name_problems(f"{path}.name", container.get("name", ""), names)
            yield from _container_problems(kind, path, container, volumes)
    yield from _label_problems("spec.nodeSelector", spec.get("nodeSelector", {}))
    if spec.get("restartPolicy") not in ("Always", "OnFailure", "Never"):
        yield _unsupported("spec.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    if before is not None and _fixed_pod_spec(spec) != _fixed_pod_spec(before["spec"]):
        yield _forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.tolerations`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`",
        )


def _fixed_pod_spec(spec: Object) -> Object:
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for group in ("containers", "initContainers"):
        fixed[group] = [{k: v for k, v in one.items() if k != "image"} for one in spec.get(group, [])]
    return fixed


def _name_problems(path: str, name: str, taken: set[str]) -> Iterator[Problem]:
    if not name:
        yield _required(path)
    elif not DNS_LABEL.fullmatch(name):
        yield _illegal(
            path,
            name,
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
            "start and end with an alphanumeric character",
        )
    elif len(name) > 63:
        yield _illegal(path, name, "must be no more than 63 characters")
    elif name in taken:
        yield _duplicate(path, name)
    taken.add(name)


def _container_problems(kind: Kind, path: str, container: Object, volumes: set[str]) -> Iterator[Problem]:
    if not container.get("image", "").strip():
        yield _required(f"{path}.image")
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts", [])):
        name, where = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield _required(f"{path}.volumeMounts[{index}].name")
        elif name not in volumes:
            yield Problem(f"{path}.volumeMounts[{index}].name", "FieldValueNotFound", f"Not found: {json.dumps(name)}")
        if not where:
            yield _required(f"{path}.volumeMounts[{index}].mountPath")
        elif where in mounted:
            yield _illegal(f"{path}.volumeMounts[{index}].mountPath", where, "must be unique")
        mounted.add(where)
    resources = container.get("resources", {})
    limits = {name: _quantity(kind, value) for name, value in resources.get("limits", {}).items()}
    for name, value in resources.get("requests", {}).items():
        if _quantity(kind, value) > limits.get(name, Decimal("Infinity")):
            limit = resources["limits"][name]
            yield _illegal(
                f"{path}.resources.requests", value, f"must be less than or equal to {name} limit of {limit}"
            )
    for section in ("limits", "requests"):
        for name, value in resources.get(section, {}).items():
            if _quantity(kind, value) < 0:
                yield _illegal(f"{path}.resources.{section}[{name}]", value, "must be greater than or equal to 0")


def _claim_problems(kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    spec = item.get("spec", {})
    modes = spec.get("accessModes", [])
    if not modes:
        yield _required("spec.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield _unsupported("spec.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield _forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")
    storage = spec.get("resources", {}).get("requests", {}).get("storage")
    if storage is None:
        yield _required("spec.resources[storage]")
    elif _quantity(kind, storage) <= 0:
        yield _illegal("spec.resources[storage]", storage, "must be greater than zero")
    if (name := spec.get("storageClassName")) and not DNS_SUBDOMAIN.fullmatch(name):
        yield _illegal("spec.storageClassName", name, "must be a lowercase RFC 1123 subdomain")
    if before is not None and storage is not None:
        yield from _claim_change_problems(kind, spec, before)


def _claim_change_problems(kind: Kind, spec: Object, before: Object) -> Iterator[Problem]:
    old = before["spec"]
    grown = {"resources"} if before.get("status", {}).get("phase") == "Bound" else set()
    named = {name for name in ("volumeName", "storageClassName") if name not in old}

    def fixed(one: Object) -> Object:
        return {key: value for key, value in one.items() if key not in grown | named}

    if fixed(spec) != fixed(old):
        yield _forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    elif _quantity(kind, spec["resources"]["requests"]["storage"]) < _quantity(
        kind, old["resources"]["requests"]["storage"]
    ):
        yield _forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _event_problems(kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    involved = item.get("involvedObject", {}).get("namespace", "")
    if involved != item["metadata"]["namespace"] and (involved or item["metadata"]["namespace"] != "default"):
        yield _illegal("involvedObject.namespace", involved, "does not match event.namespace")


_RULES: dict[str, Callable[[Kind, Object, Object | None], Iterator[Problem]]] = {
    "pods": _pod_problems,
    "persistentvolumeclaims": _claim_problems,
    "events": _event_problems,
}


def _admit(kind: Kind, item: Object, before: Object | None, *, strict: bool) -> Object:
    """Give the object as it is to be stored: pruned, with defaults, and found valid.

    Raises:
        ApiError: 400 for a body of the wrong shape or, when `strict`, with unknown fields; 422 for a rule
            that is broken.
    """
    dropped: list[str] = []
    if kind.schema is None:
        item = _without_nulls(item)
    else:
        dropped = kind.schema.prune(item)
    for error in _SHAPES.get(kind.plural, _SHAPES[""]).iter_errors(
        item if kind.schema is None else {"metadata": item["metadata"]}
    ):
        raise kind.undecodable(f"json: cannot unmarshal {_json_type(error.instance)} into {error.json_path[2:]}")
    if strict and dropped:
        raise bad_request("strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in dropped))
    if item["metadata"].get("finalizers"):
        raise not_implemented("metadata.finalizers")
    problems = list(_metadata_problems(kind, item["metadata"]))
    if kind.schema is None:
        _fill_in(kind, item, new=before is None)
        if rules := _RULES.get(kind.plural):
            problems += rules(kind, item, before)
    else:
        problems += kind.schema.problems(item)
    if problems:
        raise kind.invalid(item["metadata"]["name"], problems)
    return item


# --- The store ---


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
            stored
            for (where, _), stored in sorted(self._table(kind).items())
            if (not namespace or where == namespace) and (matches is None or matches(stored.object))
        ]

    def changes_since(self, revision: int) -> Sequence[Change]:
        """Give the changes after a resourceVersion.

        Raises:
            ApiError: 410 when they are no longer remembered.
        """
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted})")
        return [change for change in self._history if change.revision > revision]

    def create(self, kind: Kind, namespace: str, body: Object, *, strict: bool = False) -> Stored:
        """Store a new object.

        Args:
            strict: Whether unknown fields of a custom resource are refused, as `fieldValidation=Strict` asks
                for.

        Raises:
            ApiError: 400, 404 (namespace), 409 (exists) or 422.
        """
        given = body.get("metadata")
        given = given if isinstance(given, dict) else {}
        if given.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        name = given.get("name")
        if not name and isinstance(prefix := given.get("generateName"), str) and prefix:
            name = prefix[:58] + "".join(random.SystemRandom().choices(_SUFFIXES, k=5))
        if not name or not isinstance(name, str):
            raise kind.invalid("", [_required("metadata.name", "name or generateName is required")])
        if namespace and ("", namespace) not in self._tables[self.kind("", "namespaces")]:
            raise self.kind("", "namespaces").not_found(namespace)
        body["metadata"] = _own_metadata(given) | {"name": name} | ({"namespace": namespace} if namespace else {})
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if kind.schema is not None:
            body["metadata"]["generation"] = 1
            body.pop("status", None)
        item = _admit(kind, body, None, strict=strict)
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
                or 422.
        """
        before = self.get(kind, namespace, name)
        old = before.object["metadata"]
        given = body.get("metadata")
        given = given if isinstance(given, dict) else {}
        if (given.get("name") or name) != name:
            raise bad_request(f"the name of the object ({given['name']}) does not match the name on the URL ({name})")
        _check_preconditions(kind, old, given.get("uid"), None)
        if (given.get("resourceVersion") or old["resourceVersion"]) != old["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise kind.conflict(name, why)
        item = before.copy()
        if status:
            item.pop("status", None)
            item |= {"status": body["status"]} if "status" in body else {}
            if kind.schema is None:
                # A built-in type's status takes the labels and annotations along; a custom resource's does not.
                kept = {k: v for k, v in item["metadata"].items() if k not in ("labels", "annotations")}
                item["metadata"] = kept | {k: given[k] for k in ("labels", "annotations") if given.get(k)}
        else:
            kept = {key: value for key, value in item["metadata"].items() if key not in _CLIENTS_METADATA}
            item = {key: item[key] for key in ("status",) if kind.has_status and key in item} | {
                key: value for key, value in body.items() if not (kind.has_status and key == "status")
            }
            item["metadata"] = _own_metadata(given) | kept
        item = _admit(kind, item, before.object, strict=strict)
        if kind.schema is not None and item.get("spec") != before.object.get("spec"):
            item["metadata"]["generation"] = old["generation"] + 1
        return before if item == before.object else self._put(kind, before, item)

    def bind(self, namespace: str, name: str, node: str) -> Stored:
        """Give a pod to a node, as a scheduler does through `pods/binding`."""
        kind = self.kind("", "pods")
        before = self.get(kind, namespace, name)
        if before.object["spec"].get("nodeName"):
            raise kind.conflict(name, f'pod {name} is already assigned to node "{before.object["spec"]["nodeName"]}"')
        item = before.copy()
        item["spec"]["nodeName"] = node
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
    return definition | {"status": {"conditions": conditions, "acceptedNames": names, "storedVersions": ["v1"]}}
