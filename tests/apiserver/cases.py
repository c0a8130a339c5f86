"""The table of requests that both servers get: name of the case, and its requests in order.

Always true here: a case starts in an empty namespace of its own, `{ns}`, and every answer of it is compared, those
that only set the scene too. What the unit tests of the embedded API say to be refused is in the table as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.apiserver.answers import JSON, MERGE, STRATEGIC, Answer, Request, Step
from tests.unit.test_devcluster_api import (
    INVALID_BINDINGS,
    INVALID_CLAIMS,
    INVALID_PODS,
    INVALID_WORKSPACES,
    claim,
    container,
    pod,
    workspace,
)
from tests.unit.test_devcluster_api import binding as binding_with_labels

Object = dict[str, Any]
Cases = dict[str, Sequence[Step]]

CORE = "/api/v1/namespaces/{ns}"
PODS, CLAIMS, MAPS = f"{CORE}/pods", f"{CORE}/persistentvolumeclaims", f"{CORE}/configmaps"
SECRETS, ACCOUNTS, EVENTS = f"{CORE}/secrets", f"{CORE}/serviceaccounts", f"{CORE}/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/{ns}/events"
GROUP = "/apis/xlscsde.nhs.uk/v1/namespaces/{ns}"
WORKSPACES, BINDINGS = f"{GROUP}/analyticsworkspaces", f"{GROUP}/analyticsworkspacebindings"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LONG = "a" * 64


def get(path: str, **query: str) -> Request:
    return Request("GET", path, query=query)


def post(path: str, body: Any, **query: str) -> Request:
    return Request("POST", path, body, query=query)


def put(path: str, body: Any, **query: str) -> Request:
    return Request("PUT", path, body, query=query)


def patch(path: str, body: Any, media_type: str = MERGE, **query: str) -> Request:
    return Request("PATCH", path, body, media_type, query)


def delete(path: str, body: Any = None, **query: str) -> Request:
    return Request("DELETE", path, body, query=query)


def watch(path: str, **query: str) -> Request:
    return Request("GET", path, query={"watch": "true", "timeoutSeconds": "1", **query}, watch=True)


def config(name: str = "a", labels: Mapping[str, str] | None = None, **fields: Any) -> Object:
    return {"metadata": {"name": name} | ({"labels": dict(labels)} if labels else {}), **fields}


def binding(name: str = "b", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    made = binding_with_labels(name, labels, **spec)
    if not labels:
        del made["metadata"]["labels"]
    return made


def prefer(operator: str, *values: str, key: str = "hub.jupyter.org/node-purpose") -> Object:
    """What a pod prefers of a node's labels."""
    rule: Object = {"key": key, "operator": operator} | ({"values": list(values)} if values else {})
    return {"matchExpressions": [rule]}


def preferring(*preferences: Object, weight: int = 1) -> Object:
    wishes = [{"weight": weight, "preference": preference} for preference in preferences]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wishes}}


def named(body: Object, **metadata: Any) -> Object:
    return body | {"metadata": body["metadata"] | metadata}


def last(seen: Sequence[Answer], **fields: Any) -> Object:
    """The object that the last answer gave, with other fields."""
    return dict(seen[-1].body) | fields


def since(seen: Sequence[Answer], index: int = 0) -> str:
    """The resourceVersion of an earlier answer."""
    return seen[index].metadata("resourceVersion")


def without(body: Object, *names: str) -> Object:
    return {key: value for key, value in body.items() if key not in names}


def bound_to(node: str) -> Object:
    return {"metadata": {"name": "p"}, "target": {"name": node}}


def annotation(path: str, key: str) -> Object:
    return {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}


EVENT: Object = {
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
    "reason": "Started",
    "message": "m",
    "type": "Normal",
}
# What KubeSpawner makes of a profile, in short.
SPAWNED: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "jupyter-a---b1c2",
        "labels": {"app": "jupyterhub", "hub.jupyter.org/username": "a---b1c2", "component": "singleuser-server"},
        "annotations": {"hub.jupyter.org/username": "a@x"},
    },
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "notebook",
                "image": "example/notebook:1.0",
                "imagePullPolicy": "IfNotPresent",
                "args": ["jupyterhub-singleuser"],
                "lifecycle": {},
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"containerPort": 8888, "name": "notebook-port"}],
                "resources": {"limits": {"cpu": 2.0, "memory": 1073741824}, "requests": {"cpu": 0.5, "memory": "1G"}},
                "securityContext": {"allowPrivilegeEscalation": False, "runAsUser": 1000},
                "volumeMounts": [{"name": "home", "mountPath": "/home/jovyan", "subPath": "a/b"}],
            }
        ],
        "initContainers": [{"name": "init", "image": "busybox", "command": ["true"]}],
        "nodeSelector": {"pool": "a"},
        "restartPolicy": "OnFailure",
        "securityContext": {"fsGroup": 100},
        "tolerations": [
            {"key": "hub.jupyter.org/dedicated", "operator": "Equal", "value": "u", "effect": "NoSchedule"}
        ],
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-a"}}],
    },
}

NOT_THERE: Cases = {
    "unknown type": [get(f"{CORE}/gadgets")],
    "unknown type of the custom group": [get(f"{GROUP}/gadgets")],
    "unknown group": [get("/apis/example.org/v1/things")],
    "unknown version of a group": [get("/apis/xlscsde.nhs.uk/v2/namespaces/{ns}/analyticsworkspaces")],
    "unknown version of core": [get("/api/v2/namespaces/{ns}/pods")],
    "unknown root": [get("/gadgets")],
    "post to an unknown type": [post(f"{CORE}/gadgets", config())],
    "unknown type of another built-in group": [get("/apis/events.k8s.io/v1/namespaces/{ns}/gadgets")],
    "unknown type of the definitions' group": [get("/apis/apiextensions.k8s.io/v1/gadgets")],
    "unknown version of a built-in group": [get("/apis/events.k8s.io/v2/namespaces/{ns}/events")],
    "unknown subresource of a custom resource": [post(BINDINGS, binding()), get(f"{BINDINGS}/b/gadget")],
    "custom resource without its namespace": [get("/apis/xlscsde.nhs.uk/v1/analyticsworkspacebindings/b")],
    "unknown subresource": [post(PODS, pod()), get(f"{PODS}/p/gadget")],
    "subresource of a kind without": [post(MAPS, config()), get(f"{MAPS}/a/status")],
    "namespaced object without its namespace": [get("/api/v1/pods/p")],
    "namespace in a namespace": [get(f"{CORE}/namespaces/a")],
    "too deep a path": [get(f"{PODS}/p/status/more")],
    "no pod": [get(f"{PODS}/p")],
    "no claim": [get(f"{CLAIMS}/v")],
    "no secret": [get(f"{SECRETS}/s")],
    "no config map": [get(f"{MAPS}/a")],
    "no service account": [get(f"{ACCOUNTS}/a")],
    "no event": [get(f"{EVENTS}/e")],
    "no event of the new group": [get(f"{NEW_EVENTS}/e")],
    "no workspace": [get(f"{WORKSPACES}/w")],
    "no binding": [get(f"{BINDINGS}/b")],
    "no namespace": [get("/api/v1/namespaces/nowhere")],
    "no definition": [get(f"{CRDS}/things.example.org")],
    "no status": [get(f"{PODS}/p/status")],
    "no status of a custom resource": [get(f"{WORKSPACES}/w/status")],
    "put of no config map": [put(f"{MAPS}/a", config())],
    "put of no custom resource": [put(f"{BINDINGS}/b", named(binding(), resourceVersion="1"))],
    "put of no custom resource without version": [put(f"{BINDINGS}/b", binding())],
    "patch of no pod": [patch(f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})],
    "patch of no custom resource": [patch(f"{BINDINGS}/b", {"spec": {}})],
    "delete of no pod": [delete(f"{PODS}/p")],
    "delete of no custom resource": [delete(f"{BINDINGS}/b")],
    "list in no namespace": [get("/api/v1/namespaces/nowhere/pods")],
    "create in no namespace": [post("/api/v1/namespaces/nowhere/configmaps", config())],
    "create a custom resource in no namespace": [
        post("/apis/xlscsde.nhs.uk/v1/namespaces/nowhere/analyticsworkspacebindings", binding())
    ],
}

WRONG_METHOD: Cases = {
    "post to a name": [post(f"{PODS}/p", pod())],
    "post to a name of a custom resource": [post(f"{BINDINGS}/b", binding())],
    "put to a collection": [put(MAPS, config())],
    "put to a collection of custom resources": [put(BINDINGS, binding())],
    "patch of a collection": [patch(MAPS, {})],
    "patch of a collection of custom resources": [patch(BINDINGS, {})],
    "delete of a status": [post(PODS, pod()), delete(f"{PODS}/p/status")],
    "delete of a custom resource's status": [post(BINDINGS, binding()), delete(f"{BINDINGS}/b/status")],
    "get of a binding to a node": [post(PODS, pod()), get(f"{PODS}/p/binding")],
    "post over all namespaces": [post("/api/v1/pods", pod())],
    "post of a custom resource over all namespaces": [
        post("/apis/xlscsde.nhs.uk/v1/analyticsworkspacebindings", binding())
    ],
    "post to a custom resource's status": [post(BINDINGS, binding()), post(f"{BINDINGS}/b/status", binding())],
    "post to a pod's status": [post(PODS, pod()), post(f"{PODS}/p/status", pod())],
    "delete of custom resources over all namespaces": [
        delete("/apis/xlscsde.nhs.uk/v1/analyticsworkspacebindings", labelSelector="no=thing")
    ],
    "delete over all namespaces": [delete("/api/v1/configmaps", labelSelector="no=thing")],
    "delete of a collection of namespaces": [delete("/api/v1/namespaces", labelSelector="no=thing")],
    "options": [Request("OPTIONS", f"{MAPS}/a")],
}

UNREADABLE: Cases = {
    "half an object": [post(PODS, b"{")],
    "no object at all": [post(PODS, b"")],
    "a list": [post(PODS, b"[]")],
    "text": [post(PODS, b'"pod"')],
    "null": [post(PODS, b"null")],
    "null for a custom resource": [post(BINDINGS, b"null")],
    "a whole number as a fraction": [post(PODS, pod(terminationGracePeriodSeconds=5.0))],
    "a flag that is text": [post(PODS, pod(automountServiceAccountToken="no"))],
    "a time that is none": [post(PODS, named(pod(), creationTimestamp="soon"))],
    "a deep field of another type": [post(PODS, pod(**container(env=[{"name": "A", "value": 1}])))],
    "answers in no known form": [Request("GET", MAPS, headers={"Accept": "text/plain"})],
    "not a number": [post(MAPS, b'{"metadata": {"name": "a"}, "data": {"a": NaN}}')],
    "half a custom resource": [post(BINDINGS, b"{")],
    "a list for a custom resource": [post(BINDINGS, b"[]")],
    "another kind": [post(PODS, {"kind": "Secret", "apiVersion": "v1", **pod()})],
    "another kind, without apiVersion": [post(PODS, {"kind": "Secret", **pod()})],
    "another version": [post(PODS, {"kind": "Pod", "apiVersion": "v2", **pod()})],
    "another version, without kind": [post(PODS, {"apiVersion": "v2", **pod()})],
    "a custom resource of another kind": [post(BINDINGS, workspace())],
    "a custom resource of another version": [
        post(BINDINGS, binding() | {"apiVersion": "xlscsde.nhs.uk/v2"}),
    ],
    "a custom resource without kind": [post(BINDINGS, without(binding(), "kind"))],
    "a custom resource without apiVersion": [post(BINDINGS, without(binding(), "apiVersion"))],
    "another namespace": [post(PODS, named(pod(), namespace="other"))],
    "another namespace of a custom resource": [post(BINDINGS, named(binding(), namespace="other"))],
    "metadata that is text": [post(PODS, {"metadata": "p", "spec": {}})],
    "metadata of a custom resource that is text": [post(BINDINGS, binding() | {"metadata": "b"})],
    "spec that is a list": [post(PODS, {"metadata": {"name": "p"}, "spec": []})],
    "containers that are an object": [post(PODS, pod(containers={"name": "c"}))],
    "a label that is a number": [post(MAPS, config(labels={"a": 1}))],  # type: ignore[dict-item] # the point
    "labels that are a list": [post(MAPS, {"metadata": {"name": "a", "labels": ["a"]}})],
    "labels of a custom resource that are a list": [post(BINDINGS, named(binding(), labels=["a"]))],
    "a name that is a number": [post(MAPS, {"metadata": {"name": 1}})],
    "a name of a custom resource that is a number": [post(BINDINGS, named(binding(), name=1))],
    "a node selector that is a number": [post(PODS, pod(nodeSelector={"a": 1}))],
    "a grace period that is text": [post(PODS, pod(terminationGracePeriodSeconds="soon"))],
    "no quantity": [post(PODS, pod(**container(resources={"limits": {"cpu": "NaN"}})))],
    "a quantity with a space": [post(CLAIMS, claim(storage="1 Gi"))],
    "a quantity in words": [post(CLAIMS, claim(storage="lots"))],
    "a quantity with a large K": [post(CLAIMS, claim(storage="5K"))],
    "data that is a number": [post(MAPS, config(data={"a": 1}))],
    "secret data that is not base64": [post(SECRETS, config(data={"a": "%"}))],
    "text is no media type for an object": [Request("POST", MAPS, config(), "text/plain")],
    "text is no media type for a custom resource": [Request("POST", BINDINGS, binding(), "text/plain")],
    "a form is no media type": [Request("POST", MAPS, b"a=b", "application/x-www-form-urlencoded")],
    "a body above the limit": [post(MAPS, config(data={"a": "x" * 3_200_000}))],
    "put of another kind": [post(MAPS, config()), put(f"{MAPS}/a", config() | {"kind": "Secret", "apiVersion": "v1"})],
    "put of half an object": [post(MAPS, config()), put(f"{MAPS}/a", b"{")],
}

CREATED: Cases = {
    "config map": [post(MAPS, config(data={"a": "b"})), get(f"{MAPS}/a")],
    "config map with its kind": [post(MAPS, {"apiVersion": "v1", "kind": "ConfigMap", **config()})],
    "config map in the namespace that it names": [post(MAPS, {"metadata": {"name": "a", "namespace": "{ns}"}})],
    "config map with labels and annotations": [
        post(MAPS, {"metadata": {"name": "a", "labels": {"x": "y", "example.org/z": ""}, "annotations": {"k": "v w"}}})
    ],
    "config map with nulls": [
        post(MAPS, {"metadata": {"name": "a", "labels": None, "annotations": {}}, "data": None}),
        get(f"{MAPS}/a"),
    ],
    "config map with an owner": [
        post(
            MAPS,
            named(
                config(),
                ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1-2", "controller": True}],
            ),
        )
    ],
    "nulls in maps": [post(MAPS, {"metadata": {"name": "a", "labels": {"x": None}}, "data": {"a": None}})],
    "nulls in lists": [post(PODS, pod(**container(args=[None, "a"])))],
    "null for a container": [post(PODS, pod(containers=[None]))],
    "two controllers": [
        post(
            MAPS,
            named(
                config(),
                ownerReferences=[
                    {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": True} for name in "pq"
                ],
            ),
        )
    ],
    "owner without a uid": [
        post(MAPS, named(config(), ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "p"}]))
    ],
    "owner without anything": [post(MAPS, named(config(), ownerReferences=[{}]))],
    "owner of a custom resource without a uid": [
        post(BINDINGS, named(binding(), ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "p"}]))
    ],
    "config map with a resourceVersion": [post(MAPS, named(config(), resourceVersion="1"))],
    "custom resource with a resourceVersion": [post(BINDINGS, named(binding(), resourceVersion="1"))],
    "config map without a name": [post(MAPS, {"metadata": {}})],
    "config map without metadata": [post(MAPS, {"data": {}})],
    "custom resource without a name": [post(BINDINGS, binding() | {"metadata": {}})],
    "custom resource without metadata": [post(BINDINGS, without(binding(), "metadata"))],
    "generated name": [post(MAPS, {"metadata": {"generateName": "a-"}})],
    "generated name of an illegal prefix": [post(MAPS, named(config(), generateName="A b"))],
    "generated name of a long prefix": [post(MAPS, {"metadata": {"generateName": LONG}})],
    "config map with a bad key": [post(MAPS, config(data={"a b": "c"}))],
    "config map with binary data": [post(MAPS, config(binaryData={"a": "Yg=="}))],
    "config map with one key in both": [post(MAPS, config(data={"a": ""}, binaryData={"a": "Yg=="}))],
    "config map of a name with a slash": [post(MAPS, config("a/b"))],
    "config map of a name of 253": [post(MAPS, config("a" * 253))],
    "config map of a name of 254": [post(MAPS, config("a" * 254))],
    "config map of a name with a dot": [post(MAPS, config("a.b-c"))],
    "unknown field of a built-in type": [post(MAPS, config(odd=1)), get(f"{MAPS}/a")],
    "unknown field of a built-in type, strictly": [post(MAPS, config(odd=1), fieldValidation="Strict")],
    "field given twice, strictly": [
        post(MAPS, b'{"metadata": {"name": "a", "name": "a"}}', fieldValidation="Strict"),
    ],
    "unknown fields here and there, strictly": [
        post(PODS, pod(odd=1, **container(odd=2, env=[{"name": "A", "odd": 3}])), fieldValidation="Strict")
    ],
    "unknown fields here and there": [post(PODS, pod(odd=1, **container(odd=2, env=[{"name": "A", "odd": 3}])))],
    "unknown field of metadata, strictly": [post(MAPS, named(config(), odd=1), fieldValidation="Strict")],
    "custom resource with a field given twice, strictly": [
        post(
            BINDINGS,
            b'{"apiVersion":"xlscsde.nhs.uk/v1","kind":"AnalyticsWorkspaceBinding","metadata":{"name":"b"},'
            b'"spec":{"workspace":"v","workspace":"w","expires":"2030-01-07","username":"a"}}',
            fieldValidation="Strict",
        )
    ],
    "validation of no sort": [post(MAPS, config(), fieldValidation="Sometimes")],
    "config map that exists": [post(MAPS, config()), post(MAPS, config())],
    "annotations above the limit": [post(MAPS, named(config(), annotations={"a": "x" * 270_000}))],
    "data above the limit": [post(MAPS, config(data={"a": "x" * 1_100_000}))],
    "secret data above the limit": [post(SECRETS, config(stringData={"a": "x" * 1_100_000}))],
    "config map of nothing": [post(MAPS, config(data={}, binaryData={}))],
    "config map with a key of two dots": [post(MAPS, config(data={"..": ""}))],
    "config map with a binary key that is bad": [post(MAPS, config(binaryData={"a b": ""}))],
    "illegal annotation": [post(MAPS, named(config(), annotations={"a b": "c"}))],
    "label value of 63": [post(MAPS, config(labels={"a": "b" * 63}))],
    "label value of 64": [post(MAPS, config(labels={"a": "b" * 64}))],
    "label key of 64": [post(MAPS, config(labels={LONG: "b"}))],
    "label key with two slashes": [post(MAPS, config(labels={"a/b/c": "d"}))],
    "label of a custom resource": [post(BINDINGS, binding(labels={"a": "b c"}))],
    "name of a custom resource": [post(BINDINGS, binding("Not_Legal"))],
    "name of a custom resource of 254": [post(BINDINGS, binding("a" * 254))],
    "secret": [post(SECRETS, config(data={"a": "Yg=="}))],
    "secret of text": [post(SECRETS, config(stringData={"a": "b"}, data={"a": "YQ==", "c": ""}))],
    "secret of a type": [post(SECRETS, config(type="example.org/token"))],
    "secret of a type with rules": [post(SECRETS, config(type="kubernetes.io/tls"))],
    "secret of a type with rules that it keeps": [
        post(SECRETS, config(type="kubernetes.io/tls", stringData={"tls.crt": "c", "tls.key": "k"}))
    ],
    "secret with a bad key": [post(SECRETS, config(data={"a b": ""}))],
    "service account": [post(ACCOUNTS, config()), get(f"{ACCOUNTS}/a")],
    "namespace": [
        post("/api/v1/namespaces", {"metadata": {"name": "{ns}-more"}}),
        get("/api/v1/namespaces/{ns}-more"),
    ],
    "namespace that exists": [post("/api/v1/namespaces", {"metadata": {"name": "{ns}"}})],
    "namespace with a dot": [post("/api/v1/namespaces", {"metadata": {"name": "a.b"}})],
    "namespace of 64": [post("/api/v1/namespaces", {"metadata": {"name": LONG}})],
    "event": [post(EVENTS, EVENT), get(f"{EVENTS}/e")],
    "event as the other group shows it": [post(EVENTS, EVENT), get(f"{NEW_EVENTS}/e")],
    "event of another namespace": [post(EVENTS, EVENT | {"involvedObject": {"namespace": "other"}})],
    "event of no namespace": [post(EVENTS, EVENT | {"involvedObject": {"kind": "Node", "name": "n"}})],
    "event of the new group": [
        post(
            NEW_EVENTS,
            {
                "metadata": {"name": "e"},
                "regarding": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
                "reason": "Started",
                "note": "n",
                "type": "Normal",
                "action": "Starting",
                "reportingController": "example.org/c",
                "reportingInstance": "c-1",
                "eventTime": "2026-01-01T00:00:00.000000Z",
            },
        ),
        get(f"{EVENTS}/e"),
    ],
    "event of the new group without its source": [
        post(
            NEW_EVENTS,
            {
                "metadata": {"name": "e"},
                "regarding": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
                "type": "Odd",
                "eventTime": "2026-01-01T00:00:00.000000Z",
            },
        )
    ],
    "event with a time without its source": [post(EVENTS, EVENT | {"eventTime": "2026-01-01T00:00:00.000000Z"})],
    "event of the new group without its time": [
        post(NEW_EVENTS, {"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "{ns}"}}),
    ],
    "pod": [post(PODS, pod()), get(f"{PODS}/p")],
    "pod as KubeSpawner makes it": [post(PODS, SPAWNED), get(f"{PODS}/jupyter-a---b1c2")],
    "pod with a status": [post(PODS, pod() | {"status": {"phase": "Running", "podIP": "10.0.0.1"}})],
    "pod of a node": [post(PODS, pod(nodeName="n"))],
    "pod that exists": [post(PODS, pod()), post(PODS, pod())],
    "pod without a spec": [post(PODS, {"metadata": {"name": "p"}})],
    "pod with limits only": [post(PODS, pod(**container(resources={"limits": {"cpu": 0.5, "memory": "1Gi"}})))],
    "pod with numbers for quantities": [
        post(PODS, pod(**container(resources={"requests": {"cpu": 1.5, "memory": 1_000_000_000}})))
    ],
    "pod of an image without a tag": [post(PODS, pod(**container(image="i")))],
    "pod of the latest image": [post(PODS, pod(**container(image="host:5000/i:latest")))],
    "pod of a digest": [post(PODS, pod(**container(image="i@sha256:" + "a" * 64)))],
    "pod with every sort of volume": [
        post(
            PODS,
            pod(
                volumes=[
                    {"name": "e", "emptyDir": {}},
                    {"name": "m", "configMap": {"name": "a"}},
                    {"name": "s", "secret": {"secretName": "a"}},
                    {"name": "p", "persistentVolumeClaim": {"claimName": "v", "readOnly": True}},
                    {"name": "d", "downwardAPI": {"items": [annotation("told", "example.org/Told.js")]}},
                    {"name": "n"},
                ]
            ),
        )
    ],
    "pod with two sources for a volume": [
        post(PODS, pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "a"}}]))
    ],
    "pod with a port out of range": [post(PODS, pod(**container(ports=[{"containerPort": 70_000}])))],
    "pod with empty fields": [
        post(
            PODS,
            pod(
                hostNetwork=False,
                hostname="",
                nodeSelector={},
                tolerations=[],
                volumes=[],
                automountServiceAccountToken=False,
                **container(env=[{"name": "A", "value": ""}], args=[], tty=False, workingDir=""),
            ),
        )
    ],
    "pod with variables from elsewhere": [
        post(
            PODS,
            pod(
                **container(
                    env=[
                        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
                        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
                    ]
                )
            ),
        )
    ],
    "pod with variables from nowhere": [
        post(
            PODS,
            pod(
                **container(
                    env=[
                        {"name": "A", "valueFrom": {}},
                        {"name": "B", "valueFrom": {"fieldRef": {}}},
                        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "S", "key": "a b"}}},
                        {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "s"}}},
                        {"name": "E", "value": "e", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
                        {
                            "name": "F",
                            "valueFrom": {
                                "fieldRef": {"fieldPath": "metadata.name"},
                                "secretKeyRef": {"name": "s", "key": "k"},
                            },
                        },
                    ]
                )
            ),
        )
    ],
    "pod with illegal ports": [
        post(
            PODS,
            pod(
                **container(
                    ports=[
                        {},
                        {"containerPort": 1, "name": "12"},
                        {"containerPort": 2, "name": "a" * 16},
                        {"containerPort": 3, "name": "x"},
                        {"containerPort": 4, "name": "x", "protocol": "ICMP"},
                        {"containerPort": -5},
                    ]
                )
            ),
        )
    ],
    "pod with an absolute path inside a volume": [
        post(
            PODS,
            pod(
                **container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "/x"}]),
                volumes=[{"name": "v", "emptyDir": {}}],
            ),
        )
    ],
    "pod with illegal volumes": [
        post(
            PODS,
            pod(
                volumes=[
                    {"name": "a", "configMap": {}},
                    {"name": "b", "secret": {"defaultMode": 512}},
                    {"name": "c", "emptyDir": {"sizeLimit": "-1"}},
                    {"name": "d", "emptyDir": {}, "configMap": {"name": "c"}, "persistentVolumeClaim": {}},
                    {"name": "e", "downwardAPI": {"defaultMode": 512}, "configMap": {"name": "c"}},
                ]
            ),
        )
    ],
    "pod with a volume of a size": [post(PODS, pod(volumes=[{"name": "a", "emptyDir": {"sizeLimit": "1024Mi"}}]))],
    "pod with illegal choices": [
        post(PODS, pod(dnsPolicy="Ask", **container(imagePullPolicy="Maybe", terminationMessagePolicy="Loud")))
    ],
    "pod with illegal names": [post(PODS, pod(hostname="A", subdomain="b.c", nodeName="D", serviceAccountName="E"))],
    "pod with illegal numbers": [
        post(
            PODS,
            pod(
                activeDeadlineSeconds=0,
                securityContext={"fsGroup": -1, "supplementalGroups": [1, -2]},
                **container(securityContext={"runAsUser": -1, "runAsGroup": 2**31}),
            ),
        )
    ],
    "pod of a service account": [post(PODS, pod(serviceAccountName="a"))],
    "pod of a service account by the old name": [post(PODS, pod(serviceAccount="a"))],
    "pod with every sort of toleration": [
        post(
            PODS,
            pod(
                tolerations=[
                    {"operator": "Exists"},
                    {"key": "a", "value": "b"},
                    {"key": "a.b/c", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
                ]
            ),
        )
    ],
    "pod with illegal tolerations": [
        post(
            PODS,
            pod(
                tolerations=[
                    {"value": "b"},
                    {"key": "a", "value": "b c"},
                    {"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5},
                ]
            ),
        )
    ],
    "pod as the Helm chart's": [
        post(
            PODS,
            pod(
                affinity=preferring(prefer("In", "user"), weight=100),
                schedulerName="user-scheduler",
                securityContext={"fsGroup": 100},
                tolerations=[{"key": "hub.jupyter.org/dedicated", "value": "user", "effect": "NoSchedule"}],
                initContainers=[
                    {
                        "name": "block-cloud-metadata",
                        "image": "i",
                        "command": ["iptables"],
                        "securityContext": {
                            "runAsUser": 0,
                            "privileged": True,
                            "capabilities": {"add": ["NET_ADMIN"]},
                        },
                    }
                ],
            ),
        ),
        get(f"{PODS}/p"),
    ],
    "pod with every sort of preference": [
        post(
            PODS,
            pod(
                affinity=preferring(
                    prefer("NotIn", "a"), prefer("Exists"), prefer("DoesNotExist"), prefer("Gt", "1"), prefer("Lt", "2")
                )
            ),
        )
    ],
    "pod with illegal preferences": [
        post(
            PODS,
            pod(
                affinity=preferring(
                    prefer("In"),
                    prefer("Exists", "a"),
                    prefer("Gt"),
                    prefer("Like", "a"),
                    prefer("In", "a b"),
                    prefer("Exists", key="a b"),
                    weight=0,
                )
            ),
        )
    ],
    "pod prepared by a privileged container that may not gain privileges": [
        post(
            PODS,
            pod(
                initContainers=[
                    {
                        "name": "first",
                        "image": "i",
                        "securityContext": {"privileged": True, "allowPrivilegeEscalation": False},
                    }
                ]
            ),
        )
    ],
    "pod with an extended resource without a limit": [
        post(PODS, pod(**container(resources={"requests": {"nvidia.com/gpu": 1}})))
    ],
    "pod with another request than limit of an extended resource": [
        post(
            PODS,
            pod(**container(resources={"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}})),
        )
    ],
    "pod with a port": [post(PODS, pod(**container(ports=[{"containerPort": 8888}])))],
    "pod with a variable without a name": [post(PODS, pod(**container(env=[{"value": "a"}])))],
    "pod with an illegal variable": [post(PODS, pod(**container(env=[{"name": "a=b"}])))],
    "pod with a path that leaves": [
        post(
            PODS,
            pod(
                **container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "../x"}]),
                volumes=[{"name": "v", "emptyDir": {}}],
            ),
        )
    ],
    "pod with an illegal toleration": [
        post(PODS, pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b", "effect": "NoSchedule"}]))
    ],
    "pod with an unknown toleration operator": [post(PODS, pod(tolerations=[{"key": "a", "operator": "Like"}]))],
    "pod with an unknown effect": [post(PODS, pod(tolerations=[{"key": "a", "value": "b", "effect": "Sometimes"}]))],
    "pod with an illegal toleration key": [post(PODS, pod(tolerations=[{"key": "a b", "value": "b"}]))],
    "pod with a negative grace period": [post(PODS, pod(terminationGracePeriodSeconds=-1))],
    "pod with negative requests": [post(PODS, pod(**container(resources={"requests": {"cpu": -1}})))],
    "pod with an unknown resource": [post(PODS, pod(**container(resources={"limits": {"gpu": 1}})))],
    "pod with an extended resource": [post(PODS, pod(**container(resources={"limits": {"nvidia.com/gpu": 1}})))],
    "pod with half an extended resource": [
        post(PODS, pod(**container(resources={"limits": {"nvidia.com/gpu": "500m"}})))
    ],
    "pod at the limits of names": [
        post(
            PODS,
            pod(
                "a" * 253,
                volumes=[{"name": "a" * 63, "persistentVolumeClaim": {"claimName": "x.y"}}],
                **container(
                    volumeMounts=[{"name": "a" * 63, "mountPath": "/a"}, {"name": "a" * 63, "mountPath": "/b"}]
                ),
            ),
        )
    ],
    "claim": [post(CLAIMS, claim()), get(f"{CLAIMS}/v")],
    "claim of a class": [post(CLAIMS, claim(storageClassName="fast"))],
    "claim of the empty class": [post(CLAIMS, claim(storageClassName=""))],
    "claim of a number": [post(CLAIMS, claim(storage=1024))],
    "claim of an odd size": [post(CLAIMS, claim(storage="1.5Gi"))],
    "claim of a size that is not in its shortest form": [post(CLAIMS, claim(storage="1024Mi"))],
    "claim of thousandths": [post(CLAIMS, claim(storage="1500m"))],
    "claim of a negative size": [post(CLAIMS, claim(storage="-1Gi"))],
    "claim of another volume mode": [post(CLAIMS, claim(volumeMode="Tape"))],
    "claim with a status": [post(CLAIMS, claim() | {"status": {"phase": "Bound"}})],
    "claim that exists": [post(CLAIMS, claim()), post(CLAIMS, claim())],
    "claim without a spec": [post(CLAIMS, {"metadata": {"name": "v"}})],
    "workspace": [post(WORKSPACES, workspace()), get(f"{WORKSPACES}/w")],
    "workspace with fractions": [
        post(WORKSPACES, workspace(jupyterWorkspace={"image": "i", "resources": {"limits": {"cpu": 2.0, "x": 0.5}}}))
    ],
    "workspace with a status": [post(WORKSPACES, workspace() | {"status": {"statusText": "Provisioned"}})],
    "workspace with unknown fields": [
        post(WORKSPACES, workspace(extra=True, jupyterWorkspace={"image": "i", "odd": 1, "resources": {"x": {"y": 1}}}))
    ],
    "workspace with unknown fields, strictly": [
        post(WORKSPACES, workspace(extra=True), fieldValidation="Strict"),
    ],
    "workspace with unknown fields, with a warning": [
        post(WORKSPACES, workspace(extra=True), fieldValidation="Warn"),
    ],
    "workspace with hosts as text": [post(WORKSPACES, workspace(virtualMachineWorkspace={"maxHosts": "3"}))],
    "workspace with hosts as a number": [post(WORKSPACES, workspace(virtualMachineWorkspace={"maxHosts": 3}))],
    "workspace with an unknown field of metadata": [post(WORKSPACES, named(workspace(), odd=1))],
    "workspace with a generated name": [
        post(WORKSPACES, workspace() | {"metadata": {"generateName": "w-"}}),
    ],
    "workspace with nulls in lists and maps": [
        post(WORKSPACES, workspace(jupyterWorkspace={"image": "i", "tolerations": None, "defaultUri": None}))
    ],
    "workspace without a spec": [post(WORKSPACES, without(workspace(), "spec"))],
    "workspace with a spec that is text": [post(WORKSPACES, workspace() | {"spec": "x"})],
    "workspace with everything wrong": [
        post(WORKSPACES, workspace(displayName=1, validity={"expires": "soon"}, jupyterWorkspace={}))
    ],
    "binding": [post(BINDINGS, binding()), get(f"{BINDINGS}/b"), get(f"{BINDINGS}/b/status")],
    "binding with no labels in its labels": [post(BINDINGS, named(binding(), labels={}, annotations={}))],
    "binding by claims": [
        post(BINDINGS, binding(username=..., claims=[{"name": "g", "operator": "IN", "value": "a"}]))
    ],
    "binding that exists": [post(BINDINGS, binding()), post(BINDINGS, binding())],
    "binding with a time for a day": [post(BINDINGS, binding(expires="2030-01-07T00:00:00Z"))],
    "binding with an empty day": [post(BINDINGS, binding(expires=""))],
    "binding with a day that is a number": [post(BINDINGS, binding(expires=20300107))],
    "binding with half a number": [post(BINDINGS, binding(replicas=1.5))],
    "binding with a whole number as a fraction": [
        post(
            BINDINGS,
            b'{"apiVersion":"xlscsde.nhs.uk/v1","kind":"AnalyticsWorkspaceBinding","metadata":{"name":"b"},'
            b'"spec":{"workspace":"w","expires":"2030-01-07","username":"a","replicas":2.0}}',
        )
    ],
}

REFUSED: Cases = {
    f"{what}: {name}": [post(path, body), get(path)]
    for what, path, table in (
        ("pod", PODS, INVALID_PODS),
        ("claim", CLAIMS, INVALID_CLAIMS),
        ("workspace", WORKSPACES, INVALID_WORKSPACES),
        ("binding", BINDINGS, INVALID_BINDINGS),
    )
    for name, (body, _) in table.items()
}

_FOUR: list[Step] = [
    post(MAPS, config("a", {"app": "hub", "tier": "1"})),
    post(MAPS, config("b", {"app": "web", "tier": "2"})),
    post(MAPS, config("c", {"app": ""})),
    post(MAPS, config("d", {"example.org/x": "y"})),
]
_TWO_PODS: list[Step] = [post(PODS, pod("a", nodeName="n")), post(PODS, pod("b"))]
_FIVE: list[Step] = [post(BINDINGS, binding(f"b{index}", {"odd": str(index % 2)})) for index in range(5)]
SELECTORS = (
    *("app=hub", "app==hub,tier=1", "app!=hub", "app in (hub, web)", "app notin (hub,web)", "app", "!app"),
    *("app=", "tier>1", "tier<2,app in (hub,web)", "example.org/x=y", "app in (hub", "a b", "a in b", "app=hub,"),
    *(
        "=b",
        "app=b c",
        "tier>x",
        f"{LONG}=b",
        "app=-b",
        "a/b/c=d",
        ",",
        "app in ()",
        "app,",
        " app = hub ",
        "app!",
        "!",
    ),
    *("app=hub,,tier=1", "a=b=c", "app in (hub),tier"),
)
FIELDS = (
    *(
        "metadata.name=a",
        "metadata.name!=a",
        "spec.nodeName=",
        "spec.nodeName!=",
        "spec.nodeName=n",
        "metadata.name==b",
    ),
    *("status.phase=Pending,metadata.name=b", "status.phase=Running", "spec.restartPolicy=Always", "spec.hostname=a"),
    *("metadata.labels=a", "metadata.name", "=a", ",", "metadata.name=a,", "metadata.namespace={ns}"),
    *("spec.hostNetwork=false", "spec.schedulerName=default-scheduler", "status.podIP="),
)

LISTED: Cases = {
    "nothing": [get(PODS)],
    "no custom resources": [get(BINDINGS)],
    "config maps": [*_FOUR, get(MAPS)],
    "custom resources": [*_FIVE, get(BINDINGS)],
    "pods": [*_TWO_PODS, get(PODS)],
    "events of the new group": [post(EVENTS, EVENT), get(NEW_EVENTS)],
    "over all namespaces": [*_TWO_PODS, get("/api/v1/pods", fieldSelector="metadata.namespace={ns}")],
    "custom resources over all namespaces": [
        *_FIVE,
        get("/apis/xlscsde.nhs.uk/v1/analyticsworkspacebindings", fieldSelector="metadata.namespace={ns}"),
    ],
    "one namespace by name": [get("/api/v1/namespaces", fieldSelector="metadata.name={ns}")],
    "definitions": [get(CRDS, fieldSelector="metadata.name=analyticsworkspaces.xlscsde.nhs.uk")],
    **{f"by label {text}": [*_FOUR, get(MAPS, labelSelector=text)] for text in SELECTORS},
    "custom resources by label": [*_FIVE, get(BINDINGS, labelSelector="odd=1")],
    "custom resources by no label": [*_FIVE, get(BINDINGS, labelSelector="a b")],
    **{f"by field {text}": [*_TWO_PODS, get(PODS, fieldSelector=text)] for text in FIELDS},
    "custom resources by name": [*_FIVE, get(BINDINGS, fieldSelector="metadata.name=b1")],
    "custom resources by another field": [*_FIVE, get(BINDINGS, fieldSelector="spec.username=a@x")],
    "claims by a field that they have not": [get(CLAIMS, fieldSelector="status.phase=Bound")],
    "secrets by type": [post(SECRETS, config()), get(SECRETS, fieldSelector="type=Opaque")],
    "events by what they are about": [post(EVENTS, EVENT), get(EVENTS, fieldSelector="involvedObject.name=p")],
    "events of the new group by what they are about": [
        post(EVENTS, EVENT),
        get(NEW_EVENTS, fieldSelector="regarding.name=p"),
    ],
    "in pages": [
        *_FIVE,
        get(BINDINGS, limit="2"),
        lambda seen: get(BINDINGS, **{"limit": "2", "continue": seen[-1].metadata("continue")}),
        lambda seen: get(BINDINGS, **{"limit": "2", "continue": seen[-1].metadata("continue")}),
    ],
    "in pages of a built-in type": [
        *_FOUR,
        get(MAPS, limit="3"),
        lambda seen: get(MAPS, **{"limit": "3", "continue": seen[-1].metadata("continue")}),
    ],
    "in pages, as it was at the first": [
        *_FIVE,
        get(BINDINGS, limit="2"),
        delete(f"{BINDINGS}/b3"),
        lambda seen: get(BINDINGS, **{"limit": "2", "continue": seen[-2].metadata("continue")}),
    ],
    "in pages of a selection": [
        *_FIVE,
        get(BINDINGS, limit="1", labelSelector="odd=1"),
        lambda seen: get(
            BINDINGS, **{"limit": "1", "labelSelector": "odd=1", "continue": seen[-1].metadata("continue")}
        ),
    ],
    "a page that holds all": [*_FIVE, get(BINDINGS, limit="5")],
    "a limit of nothing": [*_FIVE, get(BINDINGS, limit="0")],
    "a limit that is text": [get(PODS, limit="many")],
    "a limit below nothing": [get(PODS, limit="-1")],
    "a limit for custom resources that is text": [get(BINDINGS, limit="many")],
    "a page of no list": [get(PODS, **{"continue": "x"})],
    "a page of no list of custom resources": [get(BINDINGS, **{"limit": "1", "continue": "x"})],
    "a page at a resourceVersion": [
        *_FIVE,
        get(BINDINGS, limit="2"),
        lambda seen: get(
            BINDINGS, **{"limit": "2", "continue": seen[-1].metadata("continue"), "resourceVersion": since(seen, -1)}
        ),
    ],
    "at any version": [*_FIVE, get(BINDINGS, resourceVersion="0")],
    "not older than now": [
        *_FIVE,
        lambda seen: get(BINDINGS, resourceVersion=since(seen, -1), resourceVersionMatch="NotOlderThan"),
    ],
    "exactly now": [
        *_FIVE,
        lambda seen: get(BINDINGS, resourceVersion=since(seen, -1), resourceVersionMatch="Exact"),
    ],
    "exactly then": [
        *_FIVE,
        lambda seen: get(BINDINGS, resourceVersion=since(seen, 1), resourceVersionMatch="Exact"),
    ],
    "a page at any version": [
        *_FOUR,
        get(MAPS, limit="3"),
        lambda seen: get(MAPS, **{"continue": seen[-1].metadata("continue"), "resourceVersion": "0"}),
    ],
    "a page at a match": [get(MAPS, **{"continue": "x", "resourceVersionMatch": "Exact"})],
    "exactly at any version": [get(MAPS, resourceVersion="0", resourceVersionMatch="Exact")],
    "in pages at a version": [
        *_FIVE,
        get(BINDINGS),
        delete(f"{BINDINGS}/b1"),
        lambda seen: get(BINDINGS, resourceVersion=since(seen, -2), limit="3"),
    ],
    "one at a version that is text": [*_FOUR, get(f"{MAPS}/a", resourceVersion="now")],
    "at a version that is text": [get(PODS, resourceVersion="now")],
    "as a watch would": [get(PODS, sendInitialEvents="true")],
    "at a match without a version": [get(PODS, resourceVersionMatch="Exact")],
    "at an unknown match": [get(PODS, resourceVersion="1", resourceVersionMatch="Nearly")],
    "in the future": [get(PODS, resourceVersion="999999999")],
    "custom resources in the future": [get(BINDINGS, resourceVersion="999999999")],
    "one in the future": [post(MAPS, config()), get(f"{MAPS}/a", resourceVersion="999999999")],
}

LIST_FIRST = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
WATCHED: Cases = {
    "what is there, then nothing": [*_FIVE, watch(BINDINGS)],
    "from any version": [*_FIVE, watch(BINDINGS, resourceVersion="0")],
    "from a list": [
        get(MAPS),
        post(MAPS, config("a", {"x": "1"})),
        patch(f"{MAPS}/a", {"data": {"k": "v"}}),
        post(SECRETS, config()),
        delete(f"{MAPS}/a"),
        lambda seen: watch(MAPS, resourceVersion=since(seen)),
    ],
    "custom resources from a list": [
        get(BINDINGS),
        post(BINDINGS, binding()),
        patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}}),
        patch(f"{BINDINGS}/b/status", {"status": {"statusText": "ok"}}),
        delete(f"{BINDINGS}/b"),
        lambda seen: watch(BINDINGS, resourceVersion=since(seen)),
    ],
    "custom resources over all namespaces": [
        post(BINDINGS, binding()),
        post(BINDINGS, binding("c")),
        lambda seen: watch(
            "/apis/xlscsde.nhs.uk/v1/analyticsworkspacebindings",
            resourceVersion=since(seen),
            fieldSelector="metadata.namespace={ns}",  # other cases go on beside this one
        ),
    ],
    "objects that come and go by label": [
        get(MAPS),
        post(MAPS, config()),
        *(
            patch(f"{MAPS}/a", {"metadata": {"labels": {"on": value}}})
            for value in ("yes", "no", "yes", None, "no", "yes")
        ),
        lambda seen: watch(MAPS, resourceVersion=since(seen), labelSelector="on=yes"),
    ],
    "one by name": [
        *_FOUR,
        patch(f"{MAPS}/b", {"data": {"k": "v"}}),
        patch(f"{MAPS}/c", {"data": {"k": "v"}}),
        lambda seen: watch(MAPS, resourceVersion=since(seen), fieldSelector="metadata.name=b"),
    ],
    "one by its path": [*_FOUR, watch(f"{MAPS}/b")],
    "pods that a node took": [
        get(PODS),
        post(PODS, pod()),
        post(f"{PODS}/p/binding", bound_to("n")),
        patch(f"{PODS}/p/status", {"status": {"phase": "Running"}}, STRATEGIC),
        lambda seen: watch(PODS, resourceVersion=since(seen), fieldSelector="spec.nodeName=n"),
    ],
    "events of the new group": [
        get(NEW_EVENTS),
        post(EVENTS, EVENT),
        lambda seen: watch(NEW_EVENTS, resourceVersion=since(seen)),
    ],
    "from a version that is text": [watch(PODS, resourceVersion="now")],
    "custom resources from a version that is text": [watch(BINDINGS, resourceVersion="now")],
    "by text that is no label": [watch(PODS, labelSelector="a b")],
    "by an unknown field": [watch(PODS, fieldSelector="spec.hostname=a")],
    "with a match": [watch(PODS, resourceVersion="1", resourceVersionMatch="Exact")],
    "list first": [*_FOUR, watch(MAPS, **LIST_FIRST)],
    "list first of nothing": [watch(MAPS, **LIST_FIRST)],
    "list first of custom resources": [*_FIVE, watch(BINDINGS, **LIST_FIRST)],
    "list first by label": [*_FOUR, watch(MAPS, **LIST_FIRST, labelSelector="app=hub")],
    "list first without a bookmark": [*_FOUR, watch(MAPS, **LIST_FIRST | {"allowWatchBookmarks": "false"})],
    "list first not older than now": [
        *_FOUR,
        lambda seen: watch(MAPS, **LIST_FIRST, resourceVersion=since(seen, -1)),
    ],
    "list first from the future": [watch(MAPS, **LIST_FIRST, resourceVersion="999999999")],
    "list first without a match": [watch(MAPS, sendInitialEvents="true")],
    "list first with another match": [watch(MAPS, **LIST_FIRST | {"resourceVersionMatch": "Exact"})],
    "list first on a page": [watch(MAPS, **LIST_FIRST, **{"continue": "x"})],
    "without the list": [*_FOUR, watch(MAPS, **LIST_FIRST | {"sendInitialEvents": "false"})],
    "without the list from a version": [
        *_FOUR,
        lambda seen: watch(MAPS, **LIST_FIRST | {"sendInitialEvents": "false"}, resourceVersion=since(seen, 1)),
    ],
    "without the list or a match": [watch(MAPS, sendInitialEvents="false")],
    "without an end that can be read": [
        Request("GET", PODS, query={"watch": "true", "timeoutSeconds": "soon"}, watch=True)
    ],
    "with a flag that is text": [Request("GET", PODS, query={"watch": "maybe", "timeoutSeconds": "1"}, watch=True)],
    "with an empty flag": [Request("GET", MAPS, query={"watch": "", "timeoutSeconds": "1"}, watch=True)],
    "with a flag of 1": [Request("GET", MAPS, query={"watch": "1", "timeoutSeconds": "1"}, watch=True)],
}

_MAP: list[Step] = [post(MAPS, config("a", {"x": "1", "y": "2"}, data={"k": "v"}))]
_POD: list[Step] = [post(PODS, pod(**container(env=[{"name": "E", "value": "1"}])))]
_BINDING: list[Step] = [post(BINDINGS, binding("b", {"x": "1"}))]


def image(name: str) -> Object:
    return {"spec": {"containers": [{"name": "c", "image": name}]}}


PATCHED: Cases = {
    "merge": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"labels": {"x": None, "z": "3"}}, "data": {"l": "w"}})],
    "merge that takes everything": [*_MAP, patch(f"{MAPS}/a", {"data": None, "metadata": {"labels": None}})],
    "merge that changes nothing": [*_MAP, patch(f"{MAPS}/a", {"data": {"k": "v"}})],
    "merge of nothing": [*_MAP, patch(f"{MAPS}/a", {})],
    "merge of another name": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"name": "b"}})],
    "merge of another namespace": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"namespace": "other"}})],
    "merge of another uid": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"uid": "1"}})],
    "merge of another kind": [*_MAP, patch(f"{MAPS}/a", {"kind": "Secret"})],
    "merge of another kind of a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {"kind": "AnalyticsWorkspace"})],
    "merge of another version of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"apiVersion": "xlscsde.nhs.uk/v2"}),
    ],
    "merge of metadata of a custom resource that is text": [*_BINDING, patch(f"{BINDINGS}/b", {"metadata": "b"})],
    "merge of a field given twice, strictly": [
        *_MAP,
        patch(f"{MAPS}/a", b'{"data": {"k": "a", "k": "b"}}', fieldValidation="Strict"),
    ],
    "merge of an unknown field, strictly": [*_MAP, patch(f"{MAPS}/a", {"odd": 1}, fieldValidation="Strict")],
    "merge of validation of no sort": [*_MAP, patch(f"{MAPS}/a", {}, fieldValidation="Sometimes")],
    "merge by force": [*_MAP, patch(f"{MAPS}/a", {}, force="true")],
    "merge of an old version": [
        *_MAP,
        patch(f"{MAPS}/a", {"data": {"k": "w"}}),
        lambda seen: patch(f"{MAPS}/a", {"metadata": {"resourceVersion": since(seen)}, "data": {"k": "x"}}),
    ],
    "merge of the current version": [
        *_MAP,
        lambda seen: patch(f"{MAPS}/a", {"metadata": {"resourceVersion": since(seen)}, "data": {"k": "x"}}),
    ],
    "merge of a wrong type": [*_MAP, patch(f"{MAPS}/a", {"data": ["k"]})],
    "merge of an illegal label": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"labels": {"x": "b c"}}})],
    "merge of an unknown field": [*_MAP, patch(f"{MAPS}/a", {"odd": 1})],
    "merge of a list": [*_MAP, patch(f"{MAPS}/a", [])],
    "merge of text": [*_MAP, patch(f"{MAPS}/a", "x")],
    "merge of half a patch": [*_MAP, patch(f"{MAPS}/a", b"{")],
    "merge of no patch": [*_MAP, patch(f"{MAPS}/a", b"")],
    "merge of metadata that is text": [*_MAP, patch(f"{MAPS}/a", {"metadata": "a"})],
    "merge that takes the metadata": [*_MAP, patch(f"{MAPS}/a", {"metadata": None})],
    "merge that takes the uid": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"uid": None, "creationTimestamp": None}})],
    "merge of a list of a pod": [*_POD, patch(f"{PODS}/p", image("i:2"))],
    "merge of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}, "metadata": {"labels": {"x": None}}}),
    ],
    "merge of a custom resource that changes nothing": [*_BINDING, patch(f"{BINDINGS}/b", {"spec": {}})],
    "merge of metadata of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"metadata": {"annotations": {"k": "v"}}}),
    ],
    "merge of a custom resource that breaks its schema": [*_BINDING, patch(f"{BINDINGS}/b", {"spec": {"expires": 1}})],
    "merge of a custom resource that takes a field it needs": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"spec": {"expires": None}}),
    ],
    "merge of a custom resource that takes its spec": [*_BINDING, patch(f"{BINDINGS}/b", {"spec": None})],
    "merge of an old version of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}}),
        lambda seen: patch(f"{BINDINGS}/b", {"metadata": {"resourceVersion": since(seen)}, "spec": {"comments": "y"}}),
    ],
    "merge of another name of a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {"metadata": {"name": "c"}})],
    "merge of another uid of a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {"metadata": {"uid": "1"}})],
    "merge of unknown fields of a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {"spec": {"odd": 1}})],
    "merge of unknown fields of a custom resource, strictly": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"spec": {"odd": 1}}, fieldValidation="Strict"),
    ],
    "merge of a custom resource that is a list": [*_BINDING, patch(f"{BINDINGS}/b", [])],
    "merge of an illegal label of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"metadata": {"labels": {"x": "b c"}}}),
    ],
    "json": [
        *_MAP,
        patch(
            f"{MAPS}/a",
            [
                {"op": "test", "path": "/data/k", "value": "v"},
                {"op": "remove", "path": "/metadata/labels/x"},
                {"op": "add", "path": "/data/l", "value": "w"},
                {"op": "copy", "from": "/data/l", "path": "/data/m"},
                {"op": "move", "from": "/data/k", "path": "/data/n"},
                {"op": "replace", "path": "/data/m", "value": "x"},
            ],
            JSON,
        ),
    ],
    "json of nothing": [*_MAP, patch(f"{MAPS}/a", [], JSON)],
    "json whose test fails": [
        *_MAP,
        patch(f"{MAPS}/a", [{"op": "test", "path": "/data/k", "value": "x"}], JSON),
    ],
    "json of a path that is not there": [
        *_MAP,
        patch(f"{MAPS}/a", [{"op": "replace", "path": "/none/x", "value": "1"}], JSON),
    ],
    "json that removes what is not there": [*_MAP, patch(f"{MAPS}/a", [{"op": "remove", "path": "/data/x"}], JSON)],
    "json that replaces what is not there": [
        *_MAP,
        patch(f"{MAPS}/a", [{"op": "replace", "path": "/data/x", "value": "1"}], JSON),
    ],
    "json of an unknown operation": [*_MAP, patch(f"{MAPS}/a", [{"op": "jump", "path": "/data"}], JSON)],
    "json that is an object": [*_MAP, patch(f"{MAPS}/a", {"data": {}}, JSON)],
    "json of half a patch": [*_MAP, patch(f"{MAPS}/a", b"[", JSON)],
    "json without a path": [*_MAP, patch(f"{MAPS}/a", [{"op": "add", "value": 1}], JSON)],
    "json without a value": [*_MAP, patch(f"{MAPS}/a", [{"op": "add", "path": "/data/x"}], JSON)],
    "json of a path without a slash": [*_MAP, patch(f"{MAPS}/a", [{"op": "add", "path": "x", "value": 1}], JSON)],
    "json of a wrong type": [*_MAP, patch(f"{MAPS}/a", [{"op": "add", "path": "/data/x", "value": 1}], JSON)],
    "json of a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", [{"op": "add", "path": "/spec/comments", "value": "x"}], JSON),
    ],
    "json of a status that is not there": [
        *_BINDING,
        patch(f"{BINDINGS}/b/status", [{"op": "replace", "path": "/status/statusText", "value": "x"}], JSON),
    ],
    "json that adds a status": [
        *_BINDING,
        patch(f"{BINDINGS}/b/status", [{"op": "add", "path": "/status", "value": {"statusText": "x"}}], JSON),
    ],
    "json of an unknown operation on a custom resource": [
        *_BINDING,
        patch(f"{BINDINGS}/b", [{"op": "jump", "path": "/spec"}], JSON),
    ],
    "strategic": [*_POD, patch(f"{PODS}/p", image("i:2"), STRATEGIC)],
    "strategic of labels": [*_MAP, patch(f"{MAPS}/a", {"metadata": {"labels": {"x": None, "z": "3"}}}, STRATEGIC)],
    "strategic that replaces labels": [
        *_MAP,
        patch(f"{MAPS}/a", {"metadata": {"labels": {"$patch": "replace", "z": "3"}}}, STRATEGIC),
    ],
    "strategic that adds a container": [
        *_POD,
        patch(f"{PODS}/p", {"spec": {"containers": [{"name": "d", "image": "i"}]}}, STRATEGIC),
    ],
    "strategic without the key of a list": [
        *_POD,
        patch(f"{PODS}/p", {"spec": {"containers": [{"image": "i"}]}}, STRATEGIC),
    ],
    "strategic of tolerations": [
        *_POD,
        patch(
            f"{PODS}/p",
            {"spec": {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}]}},
            STRATEGIC,
        ),
    ],
    "strategic of a toleration that is there": [
        post(PODS, pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute"}])),
        patch(f"{PODS}/p", {"spec": {"tolerations": [{"key": "b", "operator": "Exists"}]}}, STRATEGIC),
    ],
    "strategic of a condition": [
        *_POD,
        patch(f"{PODS}/p/status", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, STRATEGIC),
        patch(f"{PODS}/p/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, STRATEGIC),
        patch(f"{PODS}/p/status", {"status": {"conditions": [{"type": "Other", "status": "True"}]}}, STRATEGIC),
        patch(f"{PODS}/p/status", {"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}, STRATEGIC),
    ],
    "strategic of an unknown directive": [*_MAP, patch(f"{MAPS}/a", {"data": {"$patch": "jump"}}, STRATEGIC)],
    "strategic of a list": [*_MAP, patch(f"{MAPS}/a", [], STRATEGIC)],
    "strategic of half a patch": [*_MAP, patch(f"{MAPS}/a", b"{", STRATEGIC)],
    "strategic of a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}}, STRATEGIC)],
    "a patch of no media type": [*_MAP, patch(f"{MAPS}/a", {}, "text/plain")],
    "a patch of the media type of an object": [*_MAP, patch(f"{MAPS}/a", {}, "application/json")],
    "a patch of no media type for a custom resource": [*_BINDING, patch(f"{BINDINGS}/b", {}, "text/plain")],
    "a pod's host name": [*_POD, patch(f"{PODS}/p", {"spec": {"hostname": "x"}})],
    "a pod's labels": [*_POD, patch(f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})],
    "a pod's image to nothing": [*_POD, patch(f"{PODS}/p", image(""), STRATEGIC)],
    "a pod's grace period": [*_POD, patch(f"{PODS}/p", {"spec": {"terminationGracePeriodSeconds": 5}})],
    "a pod's deadline to a later one": [
        post(PODS, pod(activeDeadlineSeconds=5)),
        patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": 4}}),
        patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": 6}}),
        patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": None}}),
    ],
    "a pod's deadline": [*_POD, patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": 5}})],
    "a pod's node": [*_POD, patch(f"{PODS}/p", {"spec": {"nodeName": "n"}})],
    "a pod's status beside its status": [*_POD, patch(f"{PODS}/p", {"status": {"phase": "Running"}})],
    "a secret's type": [post(SECRETS, config()), patch(f"{SECRETS}/a", {"type": "other"})],
    "a secret's text": [post(SECRETS, config()), patch(f"{SECRETS}/a", {"stringData": {"a": "b"}})],
    "a fixed secret": [
        post(SECRETS, config(immutable=True, stringData={"a": "b"})),
        patch(f"{SECRETS}/a", {"immutable": None, "stringData": {"a": "c"}}),
        patch(f"{SECRETS}/a", {"metadata": {"labels": {"a": "b"}}}),
    ],
    "a fixed config map": [
        post(MAPS, config(immutable=True, data={"a": "b"})),
        patch(f"{MAPS}/a", {"data": {"a": "c"}}),
    ],
}

_CLAIM: list[Step] = [post(CLAIMS, claim())]
# There is a storage class of this name, whose claims may grow, on the real server.
GROWING = "growing"
_BOUND: list[Step] = [
    post(CLAIMS, claim(storageClassName=GROWING)),
    patch(f"{CLAIMS}/v/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}),
]


def size(storage: str) -> Request:
    return patch(f"{CLAIMS}/v", {"spec": {"resources": {"requests": {"storage": storage}}}})


CLAIM_CHANGES: Cases = {
    "a pending claim grows": [*_CLAIM, size("2Gi")],
    "a pending claim shrinks": [*_CLAIM, size("1Mi")],
    "a bound claim grows": [*_BOUND, size("2Gi")],
    "a bound claim shrinks": [*_BOUND, size("1Mi")],
    "a bound claim of another class": [*_BOUND, patch(f"{CLAIMS}/v", {"spec": {"storageClassName": "x"}})],
    "a pending claim gets a class": [*_CLAIM, patch(f"{CLAIMS}/v", {"spec": {"storageClassName": "x"}})],
    "a pending claim of another mode": [*_CLAIM, patch(f"{CLAIMS}/v", {"spec": {"accessModes": ["ReadWriteOnce"]}})],
    "a pending claim gets a volume": [*_CLAIM, patch(f"{CLAIMS}/v", {"spec": {"volumeName": "pv"}})],
    "a claim loses its size": [*_CLAIM, patch(f"{CLAIMS}/v", {"spec": {"resources": None}})],
    "a claim of the same size, written otherwise": [*_CLAIM, size("1024Mi")],
    "a bound claim shrinks to what it has": [*_BOUND, size("3Gi"), size("2Gi"), size("1Gi")],
    "a claim's status": [*_BOUND, get(f"{CLAIMS}/v/status")],
    "a claim's phase of no sort": [*_CLAIM, patch(f"{CLAIMS}/v/status", {"status": {"phase": "Lost in space"}})],
}

STATUS: Cases = {
    "spec and status of a custom resource are apart": [
        post(WORKSPACES, workspace()),
        patch(f"{WORKSPACES}/w", {"spec": {"displayName": "N"}, "status": {"persistentVolumeClaim": "c"}}),
        patch(f"{WORKSPACES}/w/status", {"spec": {"displayName": "M"}, "status": {"persistentVolumeClaim": "c"}}),
        get(f"{WORKSPACES}/w"),
        get(f"{WORKSPACES}/w/status"),
    ],
    "status of a custom resource that breaks its schema": [
        post(WORKSPACES, workspace()),
        patch(f"{WORKSPACES}/w/status", {"status": {"statusText": 1}}),
    ],
    "status of a custom resource with unknown fields": [
        post(WORKSPACES, workspace()),
        patch(f"{WORKSPACES}/w/status", {"status": {"odd": 1, "additionalStorage": {"a": "b"}}}),
    ],
    "status that keeps unknown fields": [
        post(BINDINGS, binding()),
        patch(f"{BINDINGS}/b/status", {"status": {"odd": {"a": [1]}, "statusText": "x"}}),
    ],
    "labels through the status of a custom resource": [
        post(BINDINGS, binding()),
        patch(f"{BINDINGS}/b/status", {"metadata": {"labels": {"a": "b"}}, "status": {"statusText": "x"}}),
    ],
    "labels through a pod's status": [
        *_POD,
        patch(f"{PODS}/p/status", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}),
    ],
    "status of a custom resource in the place of another": [
        post(BINDINGS, binding()),
        lambda seen: put(f"{BINDINGS}/b/status", last(seen, status={"statusText": "x"})),
        lambda seen: put(f"{BINDINGS}/b/status", without(last(seen), "status")),
    ],
    "status of an old version": [
        post(BINDINGS, binding()),
        patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}}),
        lambda seen: put(f"{BINDINGS}/b/status", dict(seen[0].body) | {"status": {"statusText": "x"}}),
    ],
    "status of a custom resource without a version": [
        post(BINDINGS, binding()),
        put(f"{BINDINGS}/b/status", binding() | {"status": {"statusText": "x"}}),
    ],
    "a custom resource in the place of one with a status": [
        post(BINDINGS, binding()),
        patch(f"{BINDINGS}/b/status", {"status": {"statusText": "x"}}),
        lambda seen: put(f"{BINDINGS}/b", without(last(seen), "status")),
    ],
    "a pod that runs": [
        *_POD,
        patch(
            f"{PODS}/p/status",
            {
                "status": {
                    "phase": "Running",
                    "podIP": "127.0.10.2",
                    "podIPs": [{"ip": "127.0.10.2"}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": {}}
                    ],
                }
            },
            STRATEGIC,
        ),
        get(f"{PODS}/p"),
    ],
    "a pod's status that cannot be read": [*_POD, patch(f"{PODS}/p/status", {"status": {"conditions": "Ready"}})],
    "a pod's status with an address that is none": [*_POD, patch(f"{PODS}/p/status", {"status": {"podIP": "here"}})],
    "a pod's status in the place of another": [
        *_POD,
        lambda seen: put(f"{PODS}/p/status", last(seen, status={"phase": "Running"})),
    ],
    "a namespace's status": [get("/api/v1/namespaces/{ns}/status")],
    "a node takes a pod": [
        *_POD,
        post(f"{PODS}/p/binding", bound_to("n")),
        get(f"{PODS}/p"),
        post(f"{PODS}/p/binding", bound_to("m")),
    ],
    "nobody takes a pod": [*_POD, post(f"{PODS}/p/binding", bound_to(""))],
    "a node takes a pod without its name": [*_POD, post(f"{PODS}/p/binding", {"target": {"name": "n"}})],
    "a node takes a pod by another name": [
        *_POD,
        post(f"{PODS}/p/binding", {"metadata": {"name": "q"}, "target": {"name": "n"}}),
    ],
    "text takes a pod": [*_POD, post(f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": "n"})],
    "a node takes no pod": [post(f"{PODS}/p/binding", bound_to("n"))],
}

REPLACED: Cases = {
    "config map": [*_MAP, lambda seen: put(f"{MAPS}/a", last(seen, data={"k": "w"}))],
    "config map with the same": [*_MAP, lambda seen: put(f"{MAPS}/a", last(seen))],
    "config map without a version": [*_MAP, put(f"{MAPS}/a", config(data={"k": "w"}))],
    "config map of an old version": [
        *_MAP,
        patch(f"{MAPS}/a", {"data": {"k": "w"}}),
        lambda seen: put(f"{MAPS}/a", seen[0].body),
    ],
    "config map of a version that is text": [*_MAP, put(f"{MAPS}/a", named(config(), resourceVersion="now"))],
    "config map of another name": [*_MAP, put(f"{MAPS}/a", config("b"))],
    "config map without a name": [*_MAP, put(f"{MAPS}/a", {"metadata": {}, "data": {}})],
    "config map of another uid": [*_MAP, put(f"{MAPS}/a", named(config(), uid="1-2"))],
    "config map of another namespace": [*_MAP, put(f"{MAPS}/a", named(config(), namespace="other"))],
    "custom resource": [
        *_BINDING,
        lambda seen: put(f"{BINDINGS}/b", last(seen, spec=seen[0].body["spec"] | {"comments": "x"})),
        lambda seen: put(f"{BINDINGS}/b", last(seen)),
    ],
    "custom resource of an old version": [
        *_BINDING,
        patch(f"{BINDINGS}/b", {"spec": {"comments": "x"}}),
        lambda seen: put(f"{BINDINGS}/b", seen[0].body),
    ],
    "custom resource without a version": [*_BINDING, put(f"{BINDINGS}/b", binding())],
    "custom resource without a name": [*_BINDING, put(f"{BINDINGS}/b", binding() | {"metadata": {}})],
    "custom resource with an unknown field, strictly": [
        *_BINDING,
        lambda seen: put(
            f"{BINDINGS}/b", last(seen, spec=seen[-1].body["spec"] | {"odd": 1}), fieldValidation="Strict"
        ),
    ],
    "custom resource of another name": [
        *_BINDING,
        lambda seen: put(f"{BINDINGS}/b", named(seen[0].body, name="c")),
    ],
    "custom resource of another uid": [*_BINDING, lambda seen: put(f"{BINDINGS}/b", named(seen[0].body, uid="1-2"))],
    "custom resource that breaks its schema": [
        *_BINDING,
        lambda seen: put(f"{BINDINGS}/b", last(seen, spec={"workspace": "w"})),
    ],
    "pod with another spec": [
        *_POD,
        lambda seen: put(f"{PODS}/p", last(seen, spec=seen[0].body["spec"] | {"hostname": "x"})),
    ],
    "pod with another image": [
        *_POD,
        lambda seen: put(
            f"{PODS}/p",
            last(
                seen,
                spec=seen[0].body["spec"] | {"containers": [seen[0].body["spec"]["containers"][0] | {"image": "j"}]},
            ),
        ),
    ],
}

DELETED: Cases = {
    "config map": [*_MAP, delete(f"{MAPS}/a"), get(f"{MAPS}/a")],
    "secret": [post(SECRETS, config()), delete(f"{SECRETS}/a")],
    "service account": [post(ACCOUNTS, config()), delete(f"{ACCOUNTS}/a")],
    "event": [post(EVENTS, EVENT), delete(f"{EVENTS}/e")],
    "custom resource": [*_BINDING, delete(f"{BINDINGS}/b"), get(f"{BINDINGS}/b")],
    "claim": [*_CLAIM, delete(f"{CLAIMS}/v")],
    "pod of no node": [*_POD, delete(f"{PODS}/p"), get(f"{PODS}/p")],
    "pod of a node": [
        post(PODS, pod(nodeName="n", terminationGracePeriodSeconds=7)),
        delete(f"{PODS}/p"),
        get(f"{PODS}/p"),
        delete(f"{PODS}/p"),
        delete(f"{PODS}/p", {"gracePeriodSeconds": 2}),
        delete(f"{PODS}/p", {"gracePeriodSeconds": 0}),
        get(f"{PODS}/p"),
    ],
    "pod of a node with a period in the query": [
        post(PODS, pod(nodeName="n")),
        delete(f"{PODS}/p", gracePeriodSeconds="3"),
        delete(f"{PODS}/p", gracePeriodSeconds="0"),
    ],
    "pod that has ended": [
        post(PODS, pod(nodeName="n")),
        patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}}),
        delete(f"{PODS}/p"),
        get(f"{PODS}/p"),
    ],
    "with a uid that holds": [
        *_MAP,
        lambda seen: delete(f"{MAPS}/a", {"preconditions": {"uid": seen[0].metadata("uid")}}),
    ],
    "with a uid that does not hold": [*_MAP, delete(f"{MAPS}/a", {"preconditions": {"uid": "1-2"}}), get(f"{MAPS}/a")],
    "with a version that holds": [
        *_BINDING,
        lambda seen: delete(f"{BINDINGS}/b", {"preconditions": {"resourceVersion": since(seen)}}),
    ],
    "with a version that does not hold": [
        *_BINDING,
        delete(f"{BINDINGS}/b", {"preconditions": {"resourceVersion": "1"}}),
    ],
    "pod with a uid that does not hold": [*_POD, delete(f"{PODS}/p", {"preconditions": {"uid": "1-2"}})],
    "with options of their kind": [
        *_MAP,
        delete(f"{MAPS}/a", {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}),
    ],
    "with options of another kind": [*_MAP, delete(f"{MAPS}/a", {"kind": "Pod", "apiVersion": "v1"})],
    "with preconditions that are text": [*_MAP, delete(f"{MAPS}/a", {"preconditions": "x"}), get(f"{MAPS}/a")],
    "with a period that is text": [*_MAP, delete(f"{MAPS}/a", {"gracePeriodSeconds": "soon"})],
    "with a period below nothing": [
        post(PODS, pod(nodeName="n")),
        delete(f"{PODS}/p", {"gracePeriodSeconds": -1}),
    ],
    "with options that are a list": [*_MAP, delete(f"{MAPS}/a", [])],
    "with half an option": [*_MAP, delete(f"{MAPS}/a", b"{")],
    "with an unknown policy": [*_MAP, delete(f"{MAPS}/a", {"propagationPolicy": "Sideways"})],
    "with an unknown policy in the query": [*_MAP, delete(f"{MAPS}/a", propagationPolicy="Sideways")],
    "with two policies": [*_MAP, delete(f"{MAPS}/a", {"orphanDependents": True, "propagationPolicy": "Orphan"})],
    "without orphans": [*_MAP, delete(f"{MAPS}/a", {"orphanDependents": False})],
    "with a period in the query that is text": [*_MAP, delete(f"{MAPS}/a", gracePeriodSeconds="soon")],
    "in the background": [*_MAP, delete(f"{MAPS}/a", propagationPolicy="Background")],
    "a selection": [*_FOUR, delete(MAPS, labelSelector="app in (hub,web)"), get(MAPS)],
    "a selection of custom resources": [*_FIVE, delete(BINDINGS, labelSelector="odd=1"), get(BINDINGS)],
    "a selection by text that is none": [*_FOUR, delete(MAPS, labelSelector="a b"), get(MAPS)],
    "all pods": [*_TWO_PODS, delete(PODS)],
    "twice": [*_MAP, delete(f"{MAPS}/a"), delete(f"{MAPS}/a")],
    "and made again": [*_MAP, delete(f"{MAPS}/a"), *_MAP],
}

# What the real server does and the embedded one says it does not, in the last request.
_BEYOND: Cases = {
    "nodes": [get("/api/v1/nodes")],
    "services": [get(f"{CORE}/services")],
    "deployments": [get("/apis/apps/v1/namespaces/{ns}/deployments")],
    "roles": [get("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles")],
    "leases": [get("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases")],
    "access reviews": [
        post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}},
        )
    ],
    "tokens of a service account": [post(ACCOUNTS, config()), post(f"{ACCOUNTS}/a/token", {"spec": {}})],
    "log of a pod": [*_POD, get(f"{PODS}/p/log")],
    "eviction of a pod": [
        *_POD,
        post(f"{PODS}/p/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}),
    ],
    "binding of a pod by its collection": [
        *_POD,
        post(f"{CORE}/bindings", {"metadata": {"name": "p"}, "target": {"name": "n"}}),
    ],
    "watching by path": [
        Request("GET", "/api/v1/watch/namespaces/{ns}/pods", query={"timeoutSeconds": "1"}, watch=True)
    ],
    "server-side apply": [
        post(MAPS, config()),
        patch(
            f"{MAPS}/a",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
            "application/apply-patch+yaml",
            fieldManager="test",
        ),
    ],
    "a JSON patch of the whole": [*_MAP, patch(f"{MAPS}/a", [{"op": "replace", "path": "", "value": 1}], JSON)],
    "dry runs": [post(MAPS, config(), dryRun="All")],
    "finalizers": [post(MAPS, named(config(), finalizers=["example.org/wait"]))],
    "deletion in the foreground": [*_MAP, delete(f"{MAPS}/a", propagationPolicy="Foreground")],
    "deletion that orphans": [*_MAP, delete(f"{MAPS}/a", {"propagationPolicy": "Orphan"})],
    "objects in YAML": [Request("POST", MAPS, b"metadata: {name: a}", "application/yaml")],
    "new definitions": [delete(f"{CRDS}/things.example.org")],
    "metadata alone": [
        *_MAP,
        Request("GET", f"{MAPS}/a", headers={"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}),
    ],
    "the paths of the server": [get("/")],
    "the metrics of the server": [get("/metrics")],
    "answers in YAML": [Request("GET", MAPS, headers={"Accept": "application/yaml"})],
    "changes of events of the new group": [post(EVENTS, EVENT), patch(f"{NEW_EVENTS}/e", {"note": "n"})],
    "secrets of other types with rules": [post(SECRETS, config(type="kubernetes.io/basic-auth"))],
    "claims by a selector": [post(CLAIMS, claim(selector={"matchLabels": {"a": "b"}}))],
    "pods on the network of their node": [post(PODS, pod(hostNetwork=True))],
    "pods with an affinity to pods": [post(PODS, pod(affinity={"podAffinity": {}}))],
    "pods that require an affinity": [
        post(
            PODS,
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [prefer("Exists")]}
                    }
                }
            ),
        )
    ],
    "pods with a volume of their node": [post(PODS, pod(volumes=[{"name": "v", "hostPath": {"path": "/v"}}]))],
    "pods with a label in a file": [
        post(
            PODS,
            pod(
                volumes=[
                    {
                        "name": "v",
                        "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]},
                    }
                ]
            ),
        )
    ],
    "pods with an annotation in a folder": [
        post(PODS, pod(volumes=[{"name": "v", "downwardAPI": {"items": [annotation("a/b", "c")]}}]))
    ],
    "pods with a projected volume": [post(PODS, pod(volumes=[{"name": "v", "projected": {"sources": []}}]))],
    "pods with probes": [post(PODS, pod(**container(livenessProbe={"exec": {"command": ["true"]}})))],
    "pods with hooks": [post(PODS, pod(**container(lifecycle={"postStart": {"exec": {"command": ["true"]}}})))],
    "pods with variables of a label": [
        post(
            PODS,
            pod(
                **container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]),
            ),
        )
    ],
    "pods with all variables of a secret": [post(PODS, pod(**container(envFrom=[{"secretRef": {"name": "s"}}])))],
    "pods with privileges": [post(PODS, pod(**container(securityContext={"privileged": True})))],
    "pods with huge pages": [
        post(PODS, pod(**container(resources={"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi", "cpu": 1}})))
    ],
    "pods with name servers of their own": [
        post(PODS, pod(dnsPolicy="None", dnsConfig={"nameservers": ["10.0.0.10"]}))
    ],
}

CASES: Cases = {
    f"{group} - {name}": steps
    for group, cases in {
        "not there": NOT_THERE,
        "method": WRONG_METHOD,
        "unreadable": UNREADABLE,
        "create": CREATED,
        "refused": REFUSED,
        "list": LISTED,
        "watch": WATCHED,
        "patch": PATCHED,
        "claim": CLAIM_CHANGES,
        "status": STATUS,
        "put": REPLACED,
        "delete": DELETED,
    }.items()
    for name, steps in cases.items()
}
BEYOND: Cases = {f"beyond - {name}": steps for name, steps in _BEYOND.items()}
