"""The rules of the built-in kinds: what is filled in, what is refused, and what is not known well enough to be taken.

Always true here: a rule names the field and the reason that the real server names. A field of a pod or a claim that the
real server has rules for and that nothing here checks is answered with 501, so what is stored would be stored there
too.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .errors import (
    Problem,
    duplicate,
    forbidden,
    illegal,
    not_implemented,
    required,
    too_long,
    unsupported,
)
from .kinds import Kind
from .schemas import quantity
from .selectors import DNS_LABEL, DNS_SUBDOMAIN, Object, label_key_problem, label_value_problem

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
LARGEST_ANNOTATIONS = 256 * 1024  # bytes; the real server's limits
LARGEST_DATA = 1024 * 1024
_PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_VARIABLE_NAME = re.compile(r"[ -<>-~]+")
_DATA_KEY = re.compile(r"(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}")
_OF_ANNOTATION = re.compile(r"metadata\.annotations\['([^']+)'\]")
_NOT_A_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
_NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', must start and end "
    "with an alphanumeric character, and have at most 253"
)
# What a container may ask for by a name without a domain.
_CONTAINER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_FIELD_PATHS = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"}
_FIELD_PATHS |= {"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
# What a pod would rather have, which one node need not know of; what it requires is not checked.
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

# The fields that are checked below, or that take whatever their type takes; `*` is any item of a list.
_CONTAINER_FIELDS = {
    "": "args command env image imagePullPolicy lifecycle name ports resources securityContext stdin stdinOnce "
    "terminationMessagePath terminationMessagePolicy tty volumeMounts workingDir",
    ".lifecycle": "",  # KubeSpawner always sets it, to nothing
    ".env.*": "name value valueFrom",
    ".env.*.valueFrom": "configMapKeyRef fieldRef secretKeyRef",
    ".ports.*": "containerPort name protocol",
    ".resources": "limits requests",
    ".securityContext": "allowPrivilegeEscalation capabilities readOnlyRootFilesystem privileged runAsGroup "
    "runAsNonRoot runAsUser",
    ".securityContext.capabilities": "add drop",
    ".volumeMounts.*": "mountPath name readOnly subPath",
}
_KNOWN_FIELDS: dict[str, dict[str, frozenset[str]]] = {
    plural: {path: frozenset(names.split()) for path, names in fields.items()}
    for plural, fields in {
        "pods": {
            "spec": "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsPolicy "
            "enableServiceLinks hostname imagePullSecrets initContainers nodeName nodeSelector restartPolicy "
            "schedulerName securityContext serviceAccount serviceAccountName shareProcessNamespace subdomain "
            "terminationGracePeriodSeconds tolerations volumes",
            "spec.affinity": "nodeAffinity",
            "spec.affinity.nodeAffinity": _PREFERRED,
            f"spec.affinity.nodeAffinity.{_PREFERRED}.*": "preference weight",
            f"spec.affinity.nodeAffinity.{_PREFERRED}.*.preference": "matchExpressions",
            f"spec.affinity.nodeAffinity.{_PREFERRED}.*.preference.matchExpressions.*": "key operator values",
            "spec.securityContext": "fsGroup runAsGroup runAsNonRoot runAsUser supplementalGroups",
            "spec.volumes.*": "configMap downwardAPI emptyDir name persistentVolumeClaim secret",
            "spec.volumes.*.configMap": "defaultMode name optional",
            "spec.volumes.*.downwardAPI": "defaultMode items",
            "spec.volumes.*.downwardAPI.items.*": "fieldRef path",
            "spec.volumes.*.downwardAPI.items.*.fieldRef": "apiVersion fieldPath",
            "spec.volumes.*.secret": "defaultMode optional secretName",
            "spec.volumes.*.emptyDir": "medium sizeLimit",
            **{
                f"spec.{group}.*{path}": names
                for group in ("containers", "initContainers")
                for path, names in _CONTAINER_FIELDS.items()
            },
        },
        "persistentvolumeclaims": {
            "spec": "accessModes resources storageClassName volumeMode volumeName",
            "spec.resources": "limits requests",
        },
    }.items()
}


def admit(kind: Kind, item: Object, before: Object | None) -> Object:
    """Give a decoded object as it is to be stored: with defaults, and found valid.

    Args:
        kind: The kind that the request named; where it shows another's objects, its own rules hold as well.
        before: The object in whose place it is to be stored, if there is one.

    Raises:
        ApiError: 422 for a rule that is broken, 501 for a field that is not checked.
    """
    if item["metadata"].get("finalizers"):
        raise not_implemented("metadata.finalizers")
    if kind.schema is not None:
        problems = [*_metadata_problems(kind, item["metadata"]), *kind.schema.problems(item)]
    else:
        for path, known in _KNOWN_FIELDS.get(kind.plural, {}).items():
            for found in _at(item, path.split(".")):
                if unchecked := sorted(found.keys() - known):
                    raise not_implemented(f"{kind.plural} with {path.replace('.*', '[]')}.{unchecked[0]}")
        _fill_in(kind, item, new=before is None)
        problems = list(_metadata_problems(kind, item["metadata"]))
        if rules := _RULES.get(kind.plural):
            problems += rules(kind, item, before)
    if problems:
        raise kind.invalid(item["metadata"]["name"], problems)
    return item


def _at(item: Any, steps: Sequence[str]) -> Iterator[Object]:
    """Give the objects at a path, `*` being any item of a list."""
    if not steps:
        yield item
    elif steps[0] == "*":
        for one in item:
            yield from _at(one, steps[1:])
    elif steps[0] in item:
        yield from _at(item[steps[0]], steps[1:])


# --- What is filled in ---

# Go writes these whether they are set or not, and KubeSpawner reads two of them without asking.
_EVENT_ZEROS: Object = {
    **dict.fromkeys(("eventTime", "firstTimestamp", "lastTimestamp")),
    "source": {},
}
_FIRST_PHASE = {"namespaces": "Active", "pods": "Pending", "persistentvolumeclaims": "Pending"}


def _fill_in(kind: Kind, item: Object, *, new: bool) -> None:
    """Set the defaults that a client can see or rely on, in place."""
    if kind.plural == "pods":
        _fill_in_pod(item.setdefault("spec", {}))
    elif kind.plural == "persistentvolumeclaims":
        item.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    elif kind.plural == "namespaces":
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
        item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    elif kind.plural == "events":
        for name, value in _EVENT_ZEROS.items():
            item.setdefault(name, value)
    elif kind.plural == "secrets":
        item.setdefault("type", "Opaque")
        for key, text in item.pop("stringData", {}).items():
            item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    if new and kind.has_status:
        item["status"] = {"phase": _FIRST_PHASE[kind.plural]}


def _fill_in_pod(spec: Object) -> None:
    defaults = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    for name, value in {**defaults, "terminationGracePeriodSeconds": 30, "securityContext": {}}.items():
        spec.setdefault(name, value)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes", []):
        if not volume.keys() - {"name"}:
            volume["emptyDir"] = {}
        for source in ("configMap", "downwardAPI", "secret"):
            if source in volume:
                volume[source].setdefault("defaultMode", 0o644)
        for file in volume.get("downwardAPI", {}).get("items", []):
            file.get("fieldRef", {}).setdefault("apiVersion", "v1")
    for container in (*spec.get("containers", []), *spec.get("initContainers", [])):
        _fill_in_container(container)


def _fill_in_container(container: Object) -> None:
    image = container.get("image", "")
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent")
    resources = container.setdefault("resources", {})
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **resources.get("requests", {})}
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", []):
        if "fieldRef" in variable.get("valueFrom", {}):
            variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")


# --- Metadata ---


def _metadata_problems(kind: Kind, metadata: Object) -> Iterator[Problem]:
    label = kind.plural == "namespaces"
    legal, longest, text = (DNS_LABEL, 63, _NOT_A_LABEL) if label else (DNS_SUBDOMAIN, 253, _NOT_A_SUBDOMAIN)
    if prefix := metadata.get("generateName"):
        # A prefix may end in what a name may not.
        beginning = re.sub("-$", "a", prefix)
        if not legal.fullmatch(beginning) or len(beginning) > longest:
            yield illegal("metadata.generateName", prefix, text)
    name = metadata["name"]
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif not legal.fullmatch(name) or len(name) > longest:
        yield illegal("metadata.name", name, text)
    yield from _label_problems("metadata.labels", metadata.get("labels", {}))
    annotations = metadata.get("annotations", {})
    for key in annotations:
        if problem := label_key_problem(key.lower()):
            yield illegal("metadata.annotations", key, problem)
    if _size(*annotations, *annotations.values()) > LARGEST_ANNOTATIONS:
        yield too_long("metadata.annotations", LARGEST_ANNOTATIONS)
    for owner in metadata.get("ownerReferences", []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield illegal(f"metadata.ownerReferences.{field}", "", "must not be empty")
    if sum(owner.get("controller", False) for owner in metadata.get("ownerReferences", [])) > 1:
        yield illegal("metadata.ownerReferences", "...", "only one reference can have controller set to true")


def _label_problems(path: str, labels: Mapping[str, str]) -> Iterator[Problem]:
    for key, value in labels.items():
        if problem := label_key_problem(key):
            yield illegal(path, key, problem)
        if problem := label_value_problem(value):
            yield illegal(path, value, problem)


def _size(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


# --- Pods ---


def _pod_problems(_kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    spec = item["spec"]
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes", [])):
        path = f"spec.volumes[{index}]"
        yield from _name_problems(f"{path}.name", volume.get("name", ""), volumes)
        yield from _volume_problems(path, volume)
    if not spec.get("containers"):
        yield required("spec.containers")
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, [])):
            path = f"spec.{group}[{index}]"
            yield from _name_problems(f"{path}.name", container.get("name", ""), names)
            yield from _container_problems(path, container, volumes)
    yield from _label_problems("spec.nodeSelector", spec.get("nodeSelector", {}))
    for index, toleration in enumerate(spec.get("tolerations", [])):
        yield from _toleration_problems(f"spec.tolerations[{index}]", toleration)
    yield from _preference_problems(spec.get("affinity", {}).get("nodeAffinity", {}).get(_PREFERRED, []))
    yield from _choice_problems("spec.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))
    if spec["dnsPolicy"] == "None":
        raise not_implemented("pods with spec.dnsPolicy None")
    yield from _choice_problems(
        "spec.dnsPolicy", spec["dnsPolicy"], ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    )
    for field in ("hostname", "subdomain"):
        if (name := spec.get(field)) and not (DNS_LABEL.fullmatch(name) and len(name) <= 63):
            yield illegal(f"spec.{field}", name, _NOT_A_LABEL)
    for field in ("nodeName", "serviceAccountName"):
        if (name := spec.get(field)) and not (DNS_SUBDOMAIN.fullmatch(name) and len(name) <= 253):
            yield illegal(f"spec.{field}", name, _NOT_A_SUBDOMAIN)
    yield from _identity_problems("spec.securityContext", spec["securityContext"])
    if not 0 < spec.get("activeDeadlineSeconds", 1) < 2**31:
        yield illegal("spec.activeDeadlineSeconds", spec["activeDeadlineSeconds"], "must be between 1 and 2147483647")
    if before is not None:
        yield from _pod_change_problems(spec, before["spec"])
        yield from _address_problems(item.get("status", {}))


def _name_problems(path: str, name: str, taken: set[str]) -> Iterator[Problem]:
    if not name:
        yield required(path)
    elif not DNS_LABEL.fullmatch(name):
        yield illegal(path, name, _NOT_A_LABEL)
    elif len(name) > 63:
        yield illegal(path, name, "must be no more than 63 characters")
    elif name in taken:
        yield duplicate(path, name)
    taken.add(name)


def _choice_problems(path: str, value: str, choices: Collection[str]) -> Iterator[Problem]:
    if value not in choices:
        yield unsupported(path, value, choices)


def _volume_problems(path: str, volume: Object) -> Iterator[Problem]:
    kinds = ("emptyDir", "secret", "persistentVolumeClaim", "downwardAPI", "configMap")
    sources = [name for name in kinds if name in volume]
    for source in sources[1:]:
        yield forbidden(f"{path}.{source}", "may not specify more than 1 volume type")
    source, found = sources[0], volume[sources[0]]
    name = {"secret": "secretName", "persistentVolumeClaim": "claimName", "configMap": "name"}.get(source)
    if name and not found.get(name):
        yield required(f"{path}.{source}.{name}")
    if not 0 <= found.get("defaultMode", 0) <= 0o777:
        yield illegal(f"{path}.{source}.defaultMode", found["defaultMode"], "must be between 0 and 0777 (octal)")
    if "sizeLimit" in found and quantity(found["sizeLimit"]) < 0:
        yield forbidden(f"{path}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")
    for file in found.get("items", []):
        field = file.get("fieldRef", {})
        key = _OF_ANNOTATION.fullmatch(field.get("fieldPath", ""))
        plain = _DATA_KEY.fullmatch(file.get("path", "")) and field.get("apiVersion") == "v1"
        if not plain or key is None or label_key_problem(key[1].lower()):
            raise not_implemented("downwardAPI volumes but for annotations as files with plain names")


def _identity_problems(path: str, context: Object) -> Iterator[Problem]:
    found: Object = {name: context[name] for name in ("fsGroup", "runAsUser", "runAsGroup") if name in context}
    found |= {
        f"supplementalGroups[{index}]": group for index, group in enumerate(context.get("supplementalGroups", []))
    }
    for name, number in found.items():
        if not 0 <= number < 2**31:
            yield illegal(f"{path}.{name}", number, "must be between 0 and 2147483647, inclusive")


def _container_problems(path: str, container: Object, volumes: Collection[str]) -> Iterator[Problem]:
    if not container.get("image", "").strip():
        yield required(f"{path}.image")
    yield from _choice_problems(
        f"{path}.imagePullPolicy", container["imagePullPolicy"], ("Always", "IfNotPresent", "Never")
    )
    if policy := container.get("terminationMessagePolicy"):
        yield from _choice_problems(f"{path}.terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError"))
    yield from _privilege_problems(path, container.get("securityContext", {}))
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts", [])):
        name, where, inside = (mount.get(field, "") for field in ("name", "mountPath", "subPath"))
        if not name:
            yield required(f"{path}.volumeMounts[{index}].name")
        elif name not in volumes:
            yield Problem(f"{path}.volumeMounts[{index}].name", "FieldValueNotFound", f"Not found: {name}")
        if not where:
            yield required(f"{path}.volumeMounts[{index}].mountPath")
        elif where in mounted:
            yield illegal(f"{path}.volumeMounts[{index}].mountPath", where, "must be unique")
        mounted.add(where)
        # As the real server: without the index.
        if inside.startswith("/"):
            yield illegal(f"{path}.volumeMounts.subPath", inside, "must be a relative path")
        if ".." in inside.split("/"):
            yield illegal(f"{path}.volumeMounts.subPath", inside, "must not contain '..'")
    port_names: set[str] = set()
    for index, port in enumerate(container.get("ports", [])):
        yield from _port_problems(f"{path}.ports[{index}]", port, port_names)
    for index, variable in enumerate(container.get("env", [])):
        yield from _variable_problems(f"{path}.env[{index}]", variable)
    yield from _resource_problems(f"{path}.resources", container["resources"])


def _port_problems(path: str, port: Object, taken: set[str]) -> Iterator[Problem]:
    if name := port.get("name"):
        if not _PORT_NAME.fullmatch(name):
            yield illegal(f"{path}.name", name, "must be at most 15 letters, digits and '-', with a letter among them")
        elif name in taken:
            yield duplicate(f"{path}.name", name)
        taken.add(name)
    number = port.get("containerPort", 0)
    if number == 0:
        yield required(f"{path}.containerPort")
    elif not 0 < number < 2**16:
        yield illegal(f"{path}.containerPort", number, "must be between 1 and 65535, inclusive")
    yield from _choice_problems(f"{path}.protocol", port["protocol"], ("SCTP", "TCP", "UDP"))


def _variable_problems(path: str, variable: Object) -> Iterator[Problem]:
    name, sources = variable.get("name", ""), variable.get("valueFrom")
    if not name:
        yield required(f"{path}.name")
    elif not _VARIABLE_NAME.fullmatch(name):
        yield illegal(f"{path}.name", name, "must consist only of printable ASCII characters other than '='")
    if sources is None:
        return
    if not sources:
        yield illegal(f"{path}.valueFrom", "", "must specify one of the sources")
    elif len(sources) > 1:
        yield illegal(f"{path}.valueFrom", "", "may not have more than one field specified at a time")
    if variable.get("value"):
        yield illegal(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    for source in sources.keys() & {"configMapKeyRef", "secretKeyRef"}:
        yield from _reference_problems(f"{path}.valueFrom.{source}", sources[source])
    if reference := sources.get("fieldRef"):
        if not reference.get("fieldPath"):
            yield required(f"{path}.valueFrom.fieldRef.fieldPath")
        elif reference["fieldPath"] not in _FIELD_PATHS or reference["apiVersion"] != "v1":
            raise not_implemented(f"environment variables from the field {reference['fieldPath']}")


def _reference_problems(path: str, reference: Object) -> Iterator[Problem]:
    """Check a reference to one key of a secret or a config map."""
    name, key = reference.get("name", ""), reference.get("key")
    if not DNS_SUBDOMAIN.fullmatch(name) or len(name) > 253:
        yield illegal(f"{path}.name", name, _NOT_A_SUBDOMAIN)
    if not key:
        yield required(f"{path}.key")
    elif not _DATA_KEY.fullmatch(key):
        yield illegal(f"{path}.key", key, "a valid config key consists of alphanumeric characters, '-', '_' or '.'")


def _resource_problems(path: str, resources: Object) -> Iterator[Problem]:
    limits, requests = (
        {name: quantity(value) for name, value in resources.get(section, {}).items()}
        for section in ("limits", "requests")
    )
    for section, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            here, given = f"{path}.{section}[{name}]", resources[section][name]
            if name.startswith("hugepages-"):
                raise not_implemented("huge pages")
            if "/" not in name and name not in _CONTAINER_RESOURCES:
                yield illegal(here, name, "must be a standard resource type or fully qualified")
            elif problem := label_key_problem(name):
                yield illegal(here, name, problem)
            if amount < 0:
                yield illegal(here, given, "must be greater than or equal to 0")
            if _is_extended(name) and amount != int(amount):
                yield illegal(here, given, "must be an integer")
    for name, amount in requests.items():
        if _is_extended(name) and name not in limits:
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif _is_extended(name) and amount != limits[name]:
            yield illegal(f"{path}.requests", str(amount), f"must be equal to {name} limit of {limits[name]}")
        elif amount > limits.get(name, Decimal("Infinity")):
            yield illegal(f"{path}.requests", str(amount), f"must be less than or equal to {name} limit")


def _is_extended(name: str) -> bool:
    """Whether a resource is a device or the like, which cannot be had in parts nor be overcommitted."""
    return "/" in name and "kubernetes.io/" not in name


def _toleration_problems(path: str, toleration: Object) -> Iterator[Problem]:
    key, operator, value, effect = (toleration.get(field, "") for field in ("key", "operator", "value", "effect"))
    if key and (problem := label_key_problem(key)):
        yield illegal(f"{path}.key", key, problem)
    if not key and operator != "Exists":
        yield illegal(f"{path}.operator", operator, "operator must be Exists when `key` is empty")
    if "tolerationSeconds" in toleration and effect != "NoExecute":
        yield illegal(f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator in ("", "Equal") and (problem := label_value_problem(value)):
        yield illegal(f"{path}.operator", value, problem)
    elif operator == "Exists" and value:
        yield illegal(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
    yield from _choice_problems(f"{path}.operator", operator or "Equal", ("Equal", "Exists"))
    yield from _choice_problems(
        f"{path}.effect", effect or "NoSchedule", ("NoSchedule", "PreferNoSchedule", "NoExecute")
    )


def _privilege_problems(path: str, context: Object) -> Iterator[Problem]:
    yield from _identity_problems(f"{path}.securityContext", context)
    if context.get("privileged"):
        if not path.startswith("spec.initContainers"):
            raise not_implemented("pods with spec.containers[].securityContext.privileged")
        if context.get("allowPrivilegeEscalation") is False:
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield illegal(f"{path}.securityContext", context, text)


def _preference_problems(preferred: Sequence[Object]) -> Iterator[Problem]:
    for index, each in enumerate(preferred):
        path = f"spec.affinity.nodeAffinity.{_PREFERRED}[{index}]"
        if not 1 <= each.get("weight", 0) <= 100:
            yield illegal(f"{path}.weight", each.get("weight", 0), "must be in the range 1-100")
        for number, rule in enumerate(each.get("preference", {}).get("matchExpressions", [])):
            yield from _node_rule_problems(f"{path}.preference.matchExpressions[{number}]", rule)


def _node_rule_problems(path: str, rule: Object) -> Iterator[Problem]:
    operator, values = rule.get("operator", ""), rule.get("values", [])
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        yield illegal(f"{path}.operator", operator, "not a valid selector operator")
    if problem := label_key_problem(rule.get("key", "")):
        yield illegal(f"{path}.key", rule.get("key", ""), problem)


def _pod_change_problems(spec: Object, old: Object) -> Iterator[Problem]:
    for group in ("containers", "initContainers"):
        if len(spec.get(group, [])) != len(old.get(group, [])):
            yield forbidden(f"spec.{group}", "pod updates may not add or remove containers")
            return
    deadline, former = (one.get("activeDeadlineSeconds") for one in (spec, old))
    if former is not None and (deadline is None or deadline > former):
        yield illegal("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")
    kept = [_lasting_toleration(one) for one in spec.get("tolerations", [])]
    if any(_lasting_toleration(one) not in kept for one in old.get("tolerations", [])):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    if _fixed_pod_spec(spec) != _fixed_pod_spec(old):
        yield forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.tolerations`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`",
        )


def _lasting_toleration(toleration: Object) -> Object:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _fixed_pod_spec(spec: Object) -> Object:
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for group in ("containers", "initContainers"):
        fixed[group] = [{k: v for k, v in one.items() if k != "image"} for one in spec.get(group, [])]
    return fixed


def _address_problems(status: Object) -> Iterator[Problem]:
    first = [status["podIP"]] if "podIP" in status else []
    for index, address in enumerate([one.get("ip", "") for one in status.get("podIPs", [])] or first):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield illegal(f"status.podIPs[{index}]", address, "must be a valid IP address")


# --- Claims ---


def _claim_problems(_kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    spec = item["spec"]
    modes = spec.get("accessModes", [])
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    for mode in modes:
        yield from _choice_problems("spec.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")
    storage = _storage(spec)
    if storage is None:
        yield required("spec.resources[storage]")
    elif storage <= 0:
        yield illegal("spec.resources[storage]", str(storage), "must be greater than zero")
    if (name := spec.get("storageClassName")) and not (DNS_SUBDOMAIN.fullmatch(name) and len(name) <= 253):
        yield illegal("spec.storageClassName", name, _NOT_A_SUBDOMAIN)
    yield from _choice_problems("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    if before is not None:
        yield from _claim_change_problems(item, before)


def _storage(spec: Object) -> Decimal | None:
    given = spec.get("resources", {}).get("requests", {}).get("storage")
    return None if given is None else quantity(given)


def _claim_change_problems(item: Object, before: Object) -> Iterator[Problem]:
    spec, old, status = item["spec"], before["spec"], before.get("status", {})
    grown = {"resources"} if status.get("phase") == "Bound" else set()
    named = {name for name in ("volumeName", "storageClassName") if name not in old}

    def fixed(one: Object) -> Object:
        return {key: value for key, value in one.items() if key not in grown | named}

    if fixed(spec) != fixed(old):
        yield forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    size, former = _storage(spec) or Decimal(0), _storage(old) or Decimal(0)
    if size < former and size <= quantity(status.get("capacity", {}).get("storage", "0")):
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


# --- Config maps, secrets and events ---


def _config_map_problems(_kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    data, binary = item.get("data", {}), item.get("binaryData", {})
    for key in data.keys() & binary.keys():
        yield illegal(f"data[{key}]", key, "duplicate of key present in binaryData")
    for field, found in (("data", data), ("binaryData", binary)):
        yield from _data_key_problems(field, found)
    if _size(*data.values()) + _bytes(binary) > LARGEST_DATA:
        yield too_long("[]", LARGEST_DATA)
    yield from _immutable_problems(item, before, ("data", "binaryData"))


def _secret_problems(_kind: Kind, item: Object, before: Object | None) -> Iterator[Problem]:
    data, sort = item.get("data", {}), item["type"]
    yield from _data_key_problems("data", data)
    if _bytes(data) > LARGEST_DATA:
        yield too_long("data", LARGEST_DATA)
    if sort == "kubernetes.io/tls":
        for key in ("tls.crt", "tls.key"):
            if key not in data:
                yield required(f"data[{key}]")
    elif sort.startswith("kubernetes.io/"):
        raise not_implemented(f"secrets of the type {sort}")
    if before is not None and sort != before["type"]:
        yield illegal("type", sort, "field is immutable")
    yield from _immutable_problems(item, before, ("data",))


def _data_key_problems(field: str, data: Mapping[str, str]) -> Iterator[Problem]:
    for key in data:
        if not _DATA_KEY.fullmatch(key):
            text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            yield illegal(f"{field}[{key}]", key, text)


def _bytes(data: Mapping[str, str]) -> int:
    """Give the bytes that base64 stands for."""
    return sum(len(base64.b64decode(text)) for text in data.values())


def _immutable_problems(item: Object, before: Object | None, fields: Collection[str]) -> Iterator[Problem]:
    if before is None or not before.get("immutable"):
        return
    if not item.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if item.get(field) != before.get(field):
            yield forbidden(field, "field is immutable when `immutable` is set")


def _event_problems(kind: Kind, item: Object, _before: Object | None) -> Iterator[Problem]:
    involved, namespace = item.get("involvedObject", {}).get("namespace", ""), item["metadata"]["namespace"]
    if involved != namespace and (involved or namespace != "default"):
        yield illegal("involvedObject.namespace", involved, "does not match event.namespace")
    if item["eventTime"]:
        for field in ("reportingComponent", "reportingInstance", "action", "reason"):
            if not item.get(field):
                yield required(kind.renamed(field))
        controller = item.get("reportingComponent", "")
        if problem := label_key_problem(controller):
            yield illegal(kind.renamed("reportingComponent"), controller, problem)
    if kind.stored_as is not None:
        if not item["eventTime"]:
            yield required("eventTime")
        if item.get("type") not in ("Normal", "Warning"):
            yield illegal("type", item.get("type", ""), "has invalid value")


_RULES: dict[str, Callable[[Kind, Object, Object | None], Iterator[Problem]]] = {
    "pods": _pod_problems,
    "persistentvolumeclaims": _claim_problems,
    "configmaps": _config_map_problems,
    "secrets": _secret_problems,
    "events": _event_problems,
}
