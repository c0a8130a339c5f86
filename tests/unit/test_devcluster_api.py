"""The embedded Kubernetes API: it answers as a real one does, or says what it does not implement.

Raw HTTP where the wire form is the point; both Python clients and `kubectl` where being usable by them is.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes import client as sync_client
from kubernetes import config as sync_config
from kubernetes_asyncio import client, config, watch

from workspace_managers.devcluster import patch, selectors
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.devcluster.errors import ApiError
from workspace_managers.devcluster.store import StateFileError

pytestmark = pytest.mark.asyncio

Object = dict[str, Any]
CORE = "/api/v1/namespaces/default"
CUSTOM = "/apis/xlscsde.nhs.uk/v1/namespaces/default"
MERGE, JSON, STRATEGIC = patch.MERGE_PATCH, patch.JSON_PATCH, patch.STRATEGIC_PATCH


class Caller:
    """Sends requests and reads JSON answers."""

    def __init__(self, api: EmbeddedApi, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str
    ) -> tuple[int, Any]:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": kind}
        url = self.api.url + path
        stream = None if content is None else io.BytesIO(content)
        async with self.session.request(method, url, data=stream, headers=headers, params=query) as answer:
            return answer.status, await answer.json() if "json" in answer.content_type else await answer.text()

    async def made(self, path: str, body: Object) -> Object:
        code, item = await self("POST", path, body)
        assert code == 201, item
        return dict(item)

    def watch(self, path: str, **query: str) -> Watcher:
        return Watcher(self, path, query)


class Watcher:
    """An open watch; `event` waits for the next event, `end` for the end of the stream."""

    def __init__(self, call: Caller, path: str, query: dict[str, str]) -> None:
        params = {"watch": "true", **query}
        self._request = call.session.get(call.api.url + path, params=params)

    async def __aenter__(self) -> Watcher:
        async with asyncio.timeout(20):
            self.response = await self._request.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.response.close()

    async def event(self) -> tuple[str, Object]:
        async with asyncio.timeout(20):
            line = await self.response.content.readline()
        assert line, "the stream has ended"
        read = json.loads(line)
        return read["type"], read["object"]

    async def events(self, count: int) -> list[tuple[str, str]]:
        return [(kind, item["metadata"]["name"]) for kind, item in [await self.event() for _ in range(count)]]

    async def end(self) -> None:
        async with asyncio.timeout(20):
            assert await self.response.content.read() == b""


@pytest_asyncio.fixture
async def api() -> AsyncIterator[EmbeddedApi]:
    server = EmbeddedApi(bookmark_seconds=0.1)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def call(api: EmbeddedApi) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(api, session)


def pod(name: str = "p", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


def container(**fields: Any) -> Object:
    return {"containers": [{"name": "c", "image": "i:1", **fields}]}


def claim(name: str = "v", storage: Any = "1Gi", **spec: Any) -> Object:
    requests = {"requests": {"storage": storage}}
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": requests, **spec},
    }


def binding(name: str = "b", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    known = {"workspace": "w", "expires": "2030-01-07", "username": "a@x", **spec}
    return {
        "apiVersion": "xlscsde.nhs.uk/v1",
        "kind": "AnalyticsWorkspaceBinding",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {key: value for key, value in known.items() if value is not ...},
    }


def workspace(name: str = "w", **spec: Any) -> Object:
    known = {
        "displayName": "W",
        "description": "d",
        "validity": {"availableFrom": "2022-01-03", "expires": "2030-01-07"},
        "jupyterWorkspace": {"image": "i:1"},
        **spec,
    }
    return {
        "apiVersion": "xlscsde.nhs.uk/v1",
        "kind": "AnalyticsWorkspace",
        "metadata": {"name": name},
        "spec": {key: value for key, value in known.items() if value is not ...},
    }


# --- What is served ---


@pytest.mark.parametrize(
    ("method", "path", "code", "reason", "message"),
    [
        ("GET", "/api/v1/nodes", 501, "NotImplemented", "the resource type nodes"),
        ("GET", f"{CORE}/services", 501, "NotImplemented", "the resource type services"),
        ("GET", "/apis/apps/v1/deployments", 501, "NotImplemented", "the API group apps"),
        ("GET", f"{CORE}/pods/p/log", 501, "NotImplemented", "pods/log"),
        ("GET", "/api/v1/watch/pods", 501, "NotImplemented", "below /watch/"),
        (
            "DELETE",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x",
            501,
            "NotImplemented",
            "delete of cus",
        ),
        ("GET", f"{CORE}/gadgets", 404, "NotFound", "could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/namespaces/default", 404, "NotFound", "the requested resource"),
        ("GET", "/api/v1/pods/p", 404, "NotFound", "could not find the requested resource"),
        ("GET", "/", 501, "NotImplemented", "the path /"),
        ("DELETE", "/api/v1/configmaps", 405, "MethodNotAllowed", "does not allow this method"),
        ("DELETE", "/api/v1/namespaces", 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", f"{CORE}/pods/p", 404, "NotFound", 'pods "p" not found'),
        (
            "GET",
            f"{CUSTOM}/analyticsworkspaces/w",
            404,
            "NotFound",
            'analyticsworkspaces.xlscsde.nhs.uk "w" not found',
        ),
        ("POST", f"{CORE}/pods/p", 405, "MethodNotAllowed", "does not allow this method"),
        ("GET", f"{CORE}/pods?limit=many", 400, "BadRequest", "limit must be a number"),
        ("GET", f"{CORE}/pods?labelSelector=a%20b", 400, "BadRequest", "unable to parse requirement"),
        ("GET", f"{CORE}/pods?fieldSelector=spec.hostname=a", 400, "BadRequest", "field label not supported"),
        ("GET", f"{CORE}/pods?resourceVersion=999999", 504, "Timeout", "Too large resource version: 999999"),
        ("GET", f"{CORE}/pods?resourceVersionMatch=Exact", 422, "Invalid", "unless resourceVersion is provided"),
        ("GET", f"{CORE}/pods?continue=x", 400, "BadRequest", "continue key is not valid"),
        ("GET", f"{CORE}/pods?watch=true&sendInitialEvents=true", 422, "Invalid", "resourceVersionMatch to NotOlder"),
        ("GET", f"{CORE}/pods?sendInitialEvents=true", 422, "Invalid", "is forbidden for list"),
        ("DELETE", f"{CORE}/pods/p?propagationPolicy=Foreground", 501, "NotImplemented", "propagationPolicy"),
        ("DELETE", f"{CORE}/pods/p?dryRun=All", 501, "NotImplemented", "dryRun"),
    ],
)
async def test_refusal_is_a_status_that_says_what(
    call: Caller, *, method: str, path: str, code: int, reason: str, message: str
) -> None:
    found, status = await call(method, path)
    assert (found, status["kind"], status["code"], status["reason"]) == (code, "Status", code, reason)
    assert message in status["message"]


async def test_unknown_path_of_a_custom_group_is_404_in_plain_text(call: Caller) -> None:
    for path in ("/apis/example.org/v1/things", f"{CUSTOM}/gadgets", "/gadgets"):
        assert await call("GET", path) == (404, "404 page not found\n")


async def test_discovery_lists_what_is_served_and_no_more(call: Caller) -> None:
    _, core = await call("GET", "/api/v1")
    _, custom = await call("GET", "/apis/xlscsde.nhs.uk/v1")
    _, groups = await call("GET", "/apis")
    _, crds = await call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    names = {one["name"]: one for one in core["resources"] + custom["resources"]}
    assert {"pods", "pods/status", "pods/binding", "persistentvolumeclaims/status", "secrets"} <= names.keys()
    assert names["analyticsworkspaces"]["shortNames"] == ["aws"]
    assert names["analyticsworkspacebindings/status"]["verbs"] == ["get", "patch", "update"]
    assert "services" not in names
    assert {one["name"] for one in groups["groups"]} == {
        "events.k8s.io",
        "apiextensions.k8s.io",
        "xlscsde.nhs.uk",
    }
    assert [one["spec"]["names"]["shortNames"] for one in crds["items"]] == [["awsb"], ["aws"]]


# --- What is refused ---

LONG = "a" * 64
MOUNT = {"name": "v", "mountPath": "/v"}
INVALID_PODS: dict[str, tuple[Object, str]] = {
    "name": (pod("Not_Legal"), "metadata.name"),
    "name of 254": (pod("a" * 254), "metadata.name"),
    "no name": (pod(""), "metadata.name"),
    "no containers": (pod(containers=[]), "spec.containers"),
    "no image": (pod(**container(image="")), "spec.containers[0].image"),
    "same container twice": (pod(containers=container()["containers"] * 2), "spec.containers[1].name"),
    "volume name of 64": (pod(volumes=[{"name": LONG}]), "spec.volumes[0].name"),
    "volume name with a dot": (pod(volumes=[{"name": "a.b"}]), "spec.volumes[0].name"),
    "same volume twice": (pod(volumes=[{"name": "v"}, {"name": "v"}]), "spec.volumes[1].name"),
    "no claim name": (
        pod(volumes=[{"name": "v", "persistentVolumeClaim": {}}]),
        "spec.volumes[0].persistentVolumeClaim.claimName",
    ),
    "mount of no volume": (pod(**container(volumeMounts=[MOUNT])), "spec.containers[0].volumeMounts[0].name"),
    "mount path twice": (
        pod(**container(volumeMounts=[MOUNT, MOUNT]), volumes=[{"name": "v"}]),
        "spec.containers[0].volumeMounts[1].mountPath",
    ),
    "mount of no volume in an init container": (
        pod(initContainers=[{"name": "i", "image": "i", "volumeMounts": [MOUNT]}]),
        "spec.initContainers[0].volumeMounts[0].name",
    ),
    "requests above limits": (
        pod(**container(resources={"requests": {"cpu": 2}, "limits": {"cpu": "1900m"}})),
        "spec.containers[0].resources.requests",
    ),
    "label value of 64": ({**pod(), "metadata": {"name": "p", "labels": {"a": LONG}}}, "metadata.labels"),
    "label value with a space": (
        {**pod(), "metadata": {"name": "p", "labels": {"a": "b c"}}},
        "metadata.labels",
    ),
    "label key": ({**pod(), "metadata": {"name": "p", "labels": {"-a": "b"}}}, "metadata.labels"),
    "node selector": (pod(nodeSelector={"a b": "c"}), "spec.nodeSelector"),
    "restart policy": (pod(restartPolicy="Sometimes"), "spec.restartPolicy"),
}
INVALID_CLAIMS: dict[str, tuple[Object, str]] = {
    "no modes": (claim(accessModes=[]), "spec.accessModes"),
    "unknown mode": (claim(accessModes=["ReadWriteMany", "WriteOnly"]), "spec.accessModes"),
    "single pod with others": (claim(accessModes=["ReadWriteOncePod", "ReadWriteMany"]), "spec.accessModes"),
    "no storage": (claim(resources={}), "spec.resources[storage]"),
    "nothing of storage": (claim(storage=0), "spec.resources[storage]"),
    "class": (claim(storageClassName="Fast_Disk"), "spec.storageClassName"),
}
INVALID_WORKSPACES: dict[str, tuple[Object, str]] = {
    "no title": (workspace(displayName=...), "spec.displayName"),
    "no last day": (workspace(validity={"availableFrom": "2022-01-03"}), "spec.validity.expires"),
    "not a day": (
        workspace(validity={"availableFrom": "2022-01-03", "expires": "soon"}),
        "spec.validity.expires",
    ),
    "day of no month": (
        workspace(validity={"availableFrom": "2022-02-30", "expires": "2030-01-01"}),
        "spec.validity.availableFrom",
    ),
    "neither sort": (workspace(jupyterWorkspace=...), "spec"),
    "no image": (workspace(jupyterWorkspace={}), "spec.jupyterWorkspace.image"),
    "label not text": (
        workspace(jupyterWorkspace={"image": "i", "extraLabels": {"a": 1}}),
        "spec.jupyterWorkspace.e",
    ),
    "hosts": (workspace(virtualMachineWorkspace={"maxHosts": 1.5}), "spec.virtualMachineWorkspace.maxHosts"),
    "null is no text": (workspace(description=None), "spec.description"),
}
INVALID_BINDINGS: dict[str, tuple[Object, str]] = {
    "for nobody": (binding(username=...), "spec"),
    "no workspace": (binding(workspace=...), "spec.workspace"),
    "operator": (
        binding(claims=[{"name": "a", "operator": "LIKE", "value": "b"}]),
        "spec.claims[0].operator",
    ),
    "replicas": (binding(replicas="two"), "spec.replicas"),
}
INVALID = [
    pytest.param(path, body, field, id=f"{path.rpartition('/')[2]}: {name}")
    for path, table in {
        f"{CORE}/pods": INVALID_PODS,
        f"{CORE}/persistentvolumeclaims": INVALID_CLAIMS,
        f"{CUSTOM}/analyticsworkspaces": INVALID_WORKSPACES,
        f"{CUSTOM}/analyticsworkspacebindings": INVALID_BINDINGS,
    }.items()
    for name, (body, field) in table.items()
]


@pytest.mark.parametrize(("path", "body", "field"), INVALID)
async def test_invalid_object_is_422_and_names_the_field(call: Caller, path: str, body: Object, field: str) -> None:
    code, status = await call("POST", path, body)
    assert (code, status["reason"]) == (422, "Invalid"), status
    assert status["details"]["causes"][0]["field"].startswith(field)
    assert field in status["message"]
    assert (await call("GET", path))[1]["items"] == []


async def test_pod_at_the_limits_is_legal(call: Caller) -> None:
    volumes = [{"name": "a" * 63, "persistentVolumeClaim": {"claimName": "x.y"}}]
    mounts = [{"name": "a" * 63, "mountPath": "/a"}, {"name": "a" * 63, "mountPath": "/b"}]
    made = await call.made(
        f"{CORE}/pods",
        pod("a" * 253, volumes=volumes, **container(volumeMounts=mounts, resources={"limits": {"cpu": 0.5}})),
    )
    assert made["status"] == {"phase": "Pending"}
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m"}
    assert (made["spec"]["restartPolicy"], made["spec"]["terminationGracePeriodSeconds"]) == ("Always", 30)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("pods", b"{", "must be valid JSON"),
        ("pods", b'{"a": NaN}', "NaN is not JSON"),
        ("pods", b"[]", "must be a JSON object"),
        ("pods", b"[" * 100_000, "must be valid JSON"),
        ("pods", {"kind": "Secret", **pod()}, "does not match the expected kind (Pod)"),
        ("pods", {"apiVersion": "v2", **pod()}, "the API version in the data (v2)"),
        (
            "pods",
            {**pod(), "metadata": {"name": "p", "namespace": "other"}},
            "does not match the namespace sent",
        ),
        ("pods", {"metadata": "p", "spec": {}}, "cannot unmarshal string into metadata"),
        ("secrets", {"metadata": {"name": "s"}, "data": {"a": "%"}}, "illegal base64 data in data.a"),
        ("pods", {"metadata": {"name": "p"}, "spec": []}, "cannot unmarshal array into spec"),
        ("pods", pod(containers={"name": "c"}), "cannot unmarshal object into spec.containers"),
        ("pods", pod(nodeSelector={"a": 1}), "cannot unmarshal integer into spec.nodeSelector.a"),
        (
            "pods",
            {**pod(), "metadata": {"name": "p", "labels": ["a"]}},
            "cannot unmarshal array into metadata.labels",
        ),
        ("pods", pod(**container(resources={"limits": {"cpu": "NaN"}})), "quantities must match"),
        ("persistentvolumeclaims", claim(storage="1 Gi"), "quantities must match the regular expression"),
        ("persistentvolumeclaims", claim(storage="lots"), "quantities must match the regular expression"),
    ],
)
async def test_body_that_cannot_be_read_is_400(call: Caller, path: str, body: Any, message: str) -> None:
    code, status = await call("POST", f"{CORE}/{path}", body)
    assert (code, status["reason"]) == (400, "BadRequest")
    assert message in status["message"]


async def test_custom_resource_must_say_its_kind(call: Caller) -> None:
    body = workspace()
    del body["kind"]
    code, status = await call("POST", f"{CUSTOM}/analyticsworkspaces", body)
    assert (code, status["message"]) == (400, "Object 'Kind' is missing in the request's body")


async def test_what_cannot_be_kept_is_501_not_dropped(call: Caller) -> None:
    body = {**pod(), "metadata": {"name": "p", "finalizers": ["example.org/wait"]}}
    assert (await call("POST", f"{CORE}/pods", body))[1]["message"].endswith("metadata.finalizers")
    code, status = await call("POST", f"{CORE}/pods", b"k8s", "application/vnd.kubernetes.protobuf")
    assert (code, status["reason"]) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("pods", pod(affinity={"podAffinity": {}}), "pods with spec.affinity.podAffinity"),
        ("pods", pod(volumes=[{"name": "v", "nfs": {}}]), "pods with spec.volumes[].nfs"),
        ("pods", pod(**container(livenessProbe={})), "pods with spec.containers[].livenessProbe"),
        ("persistentvolumeclaims", claim(selector={}), "persistentvolumeclaims with spec.selector"),
        ("secrets", {"metadata": {"name": "s"}, "type": "kubernetes.io/ssh-auth"}, "secrets of the type kubernetes.io"),
    ],
)
async def test_field_that_is_not_checked_is_501(call: Caller, path: str, body: Object, what: str) -> None:
    code, status = await call("POST", f"{CORE}/{path}", body)
    assert (code, status["reason"], what in status["message"]) == (501, "NotImplemented", True), status
    assert (await call("GET", f"{CORE}/{path}"))[1]["items"] == []


async def test_exists_and_missing_namespace(call: Caller) -> None:
    await call.made(f"{CORE}/pods", pod())
    code, status = await call("POST", f"{CORE}/pods", pod())
    assert (code, status["reason"], status["message"]) == (409, "AlreadyExists", 'pods "p" already exists')
    assert status["details"] == {"name": "p", "kind": "pods"}
    code, status = await call("POST", "/api/v1/namespaces/nowhere/pods", pod())
    assert (code, status["message"]) == (404, 'namespaces "nowhere" not found')


async def test_body_above_the_limit_is_413(call: Caller) -> None:
    code, status = await call("POST", f"{CORE}/configmaps", {"data": {"a": "x" * 4_000_000}})
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


# --- Metadata, status and generation ---


async def test_server_decides_its_metadata(call: Caller) -> None:
    given = {
        "generateName": "b-",
        "uid": "mine",
        "creationTimestamp": "2000-01-01T00:00:00Z",
        "selfLink": "x",
    }
    body = binding()
    body["metadata"] = given
    metadata = (await call.made(f"{CUSTOM}/analyticsworkspacebindings", body))["metadata"]
    assert re.fullmatch("b-[a-z0-9]{5}", metadata["name"])
    assert metadata["uid"] != "mine"
    assert not metadata["creationTimestamp"].startswith("2000")
    assert (metadata["generation"], metadata["namespace"]) == (1, "default")
    assert "selfLink" not in metadata


async def test_spec_and_status_are_written_apart(call: Caller) -> None:
    path = f"{CUSTOM}/analyticsworkspaces"
    made = await call.made(path, workspace() | {"status": {"statusText": "Provisioned"}})
    assert "status" not in made
    change: Object = {"spec": {"displayName": "N"}, "status": {"persistentVolumeClaim": "c", "unknown": 1}}
    _, spec = await call("PATCH", f"{path}/w", change, MERGE)
    assert (spec["spec"]["displayName"], spec["metadata"]["generation"], "status" in spec) == ("N", 2, False)
    change["spec"]["displayName"] = "M"
    _, status = await call("PATCH", f"{path}/w/status", change, MERGE)
    assert (status["spec"]["displayName"], status["metadata"]["generation"]) == ("N", 2)
    assert status["status"] == {"persistentVolumeClaim": "c", "statusText": "Waiting"}
    assert (await call("GET", f"{path}/w/status"))[1] == status


async def test_unknown_fields_are_pruned_and_free_maps_kept(call: Caller) -> None:
    free: Object = {"image": "i", "resources": {"limits": {"cpu": 2}}, "tolerations": [{"x": 1}], "odd": 1}
    path = f"{CUSTOM}/analyticsworkspaces"
    body = workspace(jupyterWorkspace=free, extra=True)
    code, status = await call("POST", path, body, fieldValidation="Strict")
    assert (code, status["reason"]) == (400, "BadRequest")
    assert 'unknown field "spec.jupyterWorkspace.odd"' in status["message"]
    made = await call.made(path, body)
    del free["odd"]
    assert (made["spec"]["jupyterWorkspace"], "extra" in made["spec"]) == (free, False)


async def test_update_needs_the_latest_resource_version(call: Caller) -> None:
    path = f"{CUSTOM}/analyticsworkspacebindings"
    first = await call.made(path, binding())
    code, second = await call("PUT", f"{path}/b", first | {"spec": first["spec"] | {"comments": "x"}})
    assert code == 200
    for method, kind in (("PUT", "application/json"), ("PATCH", MERGE)):
        code, status = await call(method, f"{path}/b", first, kind)
        assert (code, status["reason"]) == (409, "Conflict")
        assert "the object has been modified; please apply your changes" in status["message"]
    assert (await call("PUT", f"{path}/b", second))[1] == second, "the same again changes nothing"
    code, status = await call("PUT", f"{path}/b", binding())
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
    code, status = await call("PUT", f"{path}/b", second | {"metadata": second["metadata"] | {"name": "c"}})
    assert (code, status["reason"]) == (400, "BadRequest")


async def test_pod_spec_is_fixed_but_for_its_images(call: Caller) -> None:
    await call.made(f"{CORE}/pods", pod())
    code, status = await call("PATCH", f"{CORE}/pods/p", {"spec": {"hostname": "x"}}, MERGE)
    assert (code, "pod updates may not change fields" in status["message"]) == (422, True)
    image = {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}
    code, changed = await call("PATCH", f"{CORE}/pods/p", image, STRATEGIC)
    assert (code, changed["spec"]["containers"][0]["image"]) == (200, "i:2")


async def test_claim_grows_when_bound_and_never_shrinks(call: Caller) -> None:
    path = f"{CORE}/persistentvolumeclaims"
    await call.made(path, claim())

    async def resize(storage: str) -> tuple[int, Any]:
        return await call("PATCH", f"{path}/v", {"spec": {"resources": {"requests": {"storage": storage}}}}, MERGE)

    assert (await resize("2Gi"))[0] == 422, "a claim that is not bound cannot grow"
    code, _ = await call("PATCH", f"{path}/v", {"spec": {"storageClassName": "x"}}, MERGE)
    assert code == 200, "a pending claim without a class may get one"
    await call("PATCH", f"{path}/v/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}, MERGE)
    assert (await resize("2Gi"))[0] == 200
    code, status = await resize("1Gi")
    assert (code, status["details"]["causes"][0]["reason"]) == (422, "FieldValueForbidden")
    code, status = await call("PATCH", f"{path}/v", {"spec": {"storageClassName": "y"}}, MERGE)
    assert (code, "spec is immutable after creation" in status["message"]) == (422, True)


async def test_secret_text_is_kept_as_data(call: Caller) -> None:
    made = await call.made(f"{CORE}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (made["data"], made["type"], "stringData" in made) == ({"a": "Yg=="}, "Opaque", False)


async def test_an_event_is_one_object_under_two_groups(call: Caller) -> None:
    involved = {"kind": "Pod", "name": "p", "namespace": "default"}
    body = {"metadata": {"name": "e"}, "involvedObject": involved, "message": "m", "type": "Normal"}
    made = await call.made(f"{CORE}/events", body)
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    _, shown = await call("GET", f"{path}/e")
    assert (shown["regarding"], shown["note"], shown["apiVersion"]) == (involved, "m", "events.k8s.io/v1")
    assert shown["metadata"] == made["metadata"]
    told = {"type": "Normal", "action": "Test", "reason": "Told", "eventTime": "2026-01-01T00:00:00.000000Z"}
    told |= {"reportingController": "example.org/test", "reportingInstance": "t"}
    await call.made(path, {"metadata": {"name": "f"}, "regarding": involved, "note": "n", **told})
    assert (await call("GET", f"{CORE}/events/f"))[1]["message"] == "n"
    async with call.watch(path, fieldSelector="regarding.name=p") as watcher:
        kind, first = await watcher.event()
        assert (kind, first["note"], first["apiVersion"]) == ("ADDED", "m", "events.k8s.io/v1")
    for where, field in ((f"{CORE}/events", "involvedObject"), (path, "regarding")):
        _, found = await call("GET", where, fieldSelector=f"{field}.kind=Pod,{field}.name=p")
        assert [item["metadata"]["name"] for item in found["items"]] == ["e", "f"]
    code, status = await call(
        "POST", f"{CORE}/events", {"metadata": {"name": "g"}, "involvedObject": {"namespace": "x"}}
    )
    assert (code, "does not match event.namespace" in status["message"]) == (422, True)


# --- Patches ---

ORIGINAL: Object = {
    "metadata": {"labels": {"a": "1", "b": "2"}},
    "spec": {
        "containers": [{"name": "x", "image": "1", "env": [{"name": "E", "value": "1"}]}, {"name": "y"}],
        "n": [1, 2],
    },
}


CONTAINERS = ORIGINAL["spec"]["containers"]


def strategic(*containers: Object, **directives: Any) -> Object:
    return {"spec": {"containers": list(containers), **directives}}


@pytest.mark.parametrize(
    ("kind", "change", "select", "expected"),
    [
        (MERGE, {"metadata": {"labels": {"a": None, "c": "3"}}}, "labels", {"b": "2", "c": "3"}),
        (MERGE, {"spec": {"containers": [{"name": "z"}]}}, "containers", [{"name": "z"}]),
        (JSON, [{"op": "remove", "path": "/spec/containers/0"}], "containers", [{"name": "y"}]),
        (JSON, [{"op": "add", "path": "/spec/n~1m", "value": 1}], "n/m", 1),
        (JSON, [{"op": "replace", "path": "/spec/m", "value": 1}], "m", 1),
        (JSON, [{"op": "add", "path": "/spec/m"}], "m", None),
        (STRATEGIC, strategic({"name": "y", "$patch": "delete"}), "containers", CONTAINERS[:1]),
        (
            STRATEGIC,
            strategic({"name": "y", "image": "2"}),
            "containers",
            [CONTAINERS[0], {"name": "y", "image": "2"}],
        ),
        (STRATEGIC, strategic({"name": "z"}), "containers", [{"name": "z"}, *CONTAINERS]),
        (STRATEGIC, strategic(**{"$setElementOrder/containers": []}), "containers", CONTAINERS),
        (STRATEGIC, strategic({"$patch": "replace"}, {"name": "z"}), "containers", [{"name": "z"}]),
        (STRATEGIC, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}, "labels", {"c": "3"}),
        (STRATEGIC, {"spec": {"n": [3]}}, "n", [3]),
    ],
)
async def test_patch_gives(kind: str, change: Any, select: str, expected: Any) -> None:
    before = json.dumps(ORIGINAL)
    patched = patch.apply(kind, ORIGINAL, change, custom=False)
    assert {**patched["metadata"], **patched["spec"]}[select] == expected
    assert json.dumps(ORIGINAL) == before


@pytest.mark.parametrize(
    ("kind", "change", "custom", "code", "message"),
    [
        (
            STRATEGIC,
            {},
            True,
            415,
            "accepted media types include: application/json-patch+json, app",
        ),
        ("text/plain", {}, False, 415, "strategic-merge-patch"),
        (patch.APPLY_PATCH, {}, False, 501, "server-side apply"),
        (MERGE, [], False, 400, "must be a JSON object"),
        (JSON, {"spec": {}}, False, 400, "error decoding patch"),
        (JSON, [{"op": "jump", "path": "/a"}], False, 422, "rejected our request"),
        (
            patch.JSON_PATCH,
            [{"op": "replace", "path": "/none/x", "value": 1}],
            False,
            422,
            "rejected our request",
        ),
        (
            patch.JSON_PATCH,
            [{"op": "test", "path": "/spec/n", "value": 1}],
            False,
            422,
            "rejected our request",
        ),
        (STRATEGIC, {"spec": {"containers": [{"image": "1"}]}}, False, 500, "merge key: name"),
        (STRATEGIC, {"spec": {"$patch": "jump"}}, False, 500, "unknown patch type: jump"),
        (JSON, [{"op": "replace", "path": "", "value": {}}], False, 501, "a JSON patch of the whole object"),
        (STRATEGIC, {"spec": {"$retainKeys": ["n"]}}, False, 501, "$retainKeys"),
    ],
)
async def test_patch_is_refused(kind: str, change: Any, custom: bool, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        patch.apply(kind, ORIGINAL, change, custom=custom)
    assert (caught.value.code, message in caught.value.message) == (code, True), caught.value.message


# --- Selectors and lists ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "abcd"),
        ("app=hub", "a"),
        ("app==hub,tier=1", "a"),
        ("app!=hub", "bcd"),
        ("app in (hub, web)", "ab"),
        ("app notin (hub,web)", "cd"),
        ("app", "abc"),
        ("!app", "d"),
        ("app=", "c"),
        ("tier>1", "b"),
        ("tier<2,app in (hub,web)", "a"),
        ("example.org/x=y", "d"),
    ],
)
async def test_label_selector_finds(text: str, found: str) -> None:
    labels = {
        "a": {"app": "hub", "tier": "1"},
        "b": {"app": "web", "tier": "2"},
        "c": {"app": ""},
        "d": {"example.org/x": "y"},
    }
    matches = selectors.labels(text)
    assert "".join(name for name, one in labels.items() if matches({"metadata": {"labels": one}})) == found


@pytest.mark.parametrize(
    "text", ["a b", "a in b", "a=b,", "=b", "a=b c", "a>x", "a in (b", f"{LONG}=b", "a=-b", "a/b/c=d"]
)
async def test_text_that_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unable to parse requirement|must be an integer"):
        selectors.labels(text)


async def test_list_by_field_over_all_namespaces(call: Caller) -> None:
    await call.made("/api/v1/namespaces", {"metadata": {"name": "other"}})
    await call.made("/api/v1/namespaces/other/pods", pod("a", nodeName="n"))
    await call.made(f"{CORE}/pods", pod("b"))

    async def names(**query: str) -> list[str]:
        _, found = await call("GET", "/api/v1/pods", **query)
        assert found["kind"] == "PodList"
        assert all("kind" not in item for item in found["items"])
        return [item["metadata"]["name"] for item in found["items"]]

    assert await names() == ["b", "a"], "ordered by namespace, then name"
    assert await names(fieldSelector="spec.nodeName=") == ["b"]
    assert await names(fieldSelector="spec.nodeName!=") == ["a"]
    assert await names(fieldSelector="metadata.namespace=other,status.phase=Pending") == ["a"]
    assert await names(fieldSelector="status.phase=Running") == []


async def test_later_pages_belong_to_the_first(call: Caller) -> None:
    path = f"{CUSTOM}/analyticsworkspacebindings"
    for index in range(5):
        await call.made(path, binding(f"b{index}"))
    _, first = await call("GET", path, limit="2")
    assert first["metadata"]["remainingItemCount"] == 3
    await call("DELETE", f"{path}/b3")
    token = first["metadata"]["continue"]
    _, second = await call("GET", path, **{"limit": "2", "continue": token})
    assert [item["metadata"]["name"] for item in second["items"]] == ["b2", "b3"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, last = await call("GET", path, **{"limit": "2", "continue": second["metadata"]["continue"]})
    assert ([item["metadata"]["name"] for item in last["items"]], "continue" in last["metadata"]) == (
        ["b4"],
        False,
    )
    call.api.compact()
    code, status = await call("GET", path, **{"limit": "2", "continue": token})
    assert (code, status["reason"]) == (410, "Expired")


async def test_list_as_of_an_earlier_version(call: Caller) -> None:
    path = f"{CUSTOM}/analyticsworkspacebindings"
    for name in "ab":
        await call.made(path, binding(name))
    _, then = await call("GET", path)
    await call("DELETE", f"{path}/a")
    await call("PATCH", f"{path}/b", {"spec": {"comments": "x"}}, MERGE)
    await call.made(path, binding("c"))
    query = {"resourceVersion": then["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
    assert (await call("GET", path, **query))[1] == then
    call.api.compact()
    code, status = await call("GET", path, **query)
    assert (code, status["reason"]) == (410, "Expired")


async def test_ten_thousand_bindings_are_listed_in_one_answer(call: Caller) -> None:
    kind = call.api.store.kind("xlscsde.nhs.uk", "analyticsworkspacebindings")
    for index in range(10_000):
        call.api.store.create(kind, "default", binding(f"b{index}", {"app": "x"}))
    _, found = await call("GET", f"{CUSTOM}/analyticsworkspacebindings", labelSelector="app=x")
    assert len(found["items"]) == 10_000
    assert "continue" not in found["metadata"]


# --- Watches ---


async def test_watch_sends_what_is_there_then_what_changes(call: Caller) -> None:
    path = f"{CUSTOM}/analyticsworkspacebindings"
    await call.made(path, binding("a"))
    async with call.watch(path) as unset, call.watch(path, resourceVersion="0") as zero:
        await call.made(path, binding("b"))
        await call("PATCH", f"{path}/a", {"spec": {"comments": "x"}}, MERGE)
        await call.made(f"{CUSTOM}/analyticsworkspaces", workspace())
        await call("DELETE", f"{path}/b")
        for watcher in (unset, zero):
            expected = [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
            assert await watcher.events(4) == expected


async def test_watch_goes_on_from_a_list_without_gap(call: Caller) -> None:
    path = f"{CORE}/pods"
    await call.made(path, pod("a"))
    _, listed = await call("GET", path)
    await call.made(path, pod("b"))
    async with call.watch("/api/v1/pods", resourceVersion=listed["metadata"]["resourceVersion"]) as watcher:
        await call.made(path, pod("c"))
        assert await watcher.events(2) == [("ADDED", "b"), ("ADDED", "c")]
        _, deleted = await call("DELETE", f"{path}/b")
        kind, last = await watcher.event()
        assert (kind, last["kind"], last["metadata"]["uid"]) == ("DELETED", "Pod", deleted["metadata"]["uid"])
        assert int(last["metadata"]["resourceVersion"]) == call.api.store.revision


async def test_watch_with_a_selector_sees_objects_come_and_go(call: Caller) -> None:
    path = f"{CORE}/configmaps"

    async def label(value: str | None) -> None:
        await call("PATCH", f"{path}/a", {"metadata": {"labels": {"on": value}}}, MERGE)

    await call.made(path, {"metadata": {"name": "a"}})
    async with call.watch(path, labelSelector="on=yes") as watcher:
        for value in ("yes", "no", "yes", None, "no"):
            await label(value)
        await label("yes")
        expected = ["ADDED", "DELETED", "ADDED", "DELETED", "ADDED"]
        events = [await watcher.event() for _ in expected]
        assert [kind for kind, _ in events] == expected
        assert events[1][1]["metadata"]["labels"] == {"on": "yes"}, "as it last matched"
        versions = [int(item["metadata"]["resourceVersion"]) for _, item in events]
        assert versions == sorted(set(versions))


async def test_bookmarks_tell_of_changes_that_the_watch_does_not_see(call: Caller) -> None:
    async with call.watch(f"{CORE}/pods", allowWatchBookmarks="true", labelSelector="a=b") as watcher:
        kind, item = await watcher.event()
        assert (kind, item["kind"]) == ("BOOKMARK", "Pod")
        assert item["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        made = await call.made(f"{CORE}/pods", pod())
        kind, item = await watcher.event()
        assert (kind, item["metadata"]) == ("BOOKMARK", {"resourceVersion": made["metadata"]["resourceVersion"]})
        await call.made(f"{CORE}/pods", {**pod("q"), "metadata": {"name": "q", "labels": {"a": "b"}}})
        assert await watcher.events(1) == [("ADDED", "q")], "no bookmark came between that says nothing new"


async def test_watch_ends_cleanly_after_its_timeout(call: Caller) -> None:
    async with call.watch(f"{CORE}/pods", timeoutSeconds="1") as watcher:
        await watcher.end()


@pytest.mark.parametrize("forget", ["compact", "window"])
async def test_watch_from_too_long_ago_is_200_then_410_expired(forget: str) -> None:
    api = EmbeddedApi(history=3)
    await api.start()
    async with aiohttp.ClientSession() as session:
        call = Caller(api, session)
        _, listed = await call("GET", f"{CORE}/pods")
        for index in range(1 if forget == "compact" else 5):
            await call.made(f"{CORE}/pods", pod(f"p{index}"))
        if forget == "compact":
            api.compact()
        async with call.watch(f"{CORE}/pods", resourceVersion=listed["metadata"]["resourceVersion"]) as watcher:
            assert watcher.response.status == 200
            kind, status = await watcher.event()
            assert (kind, status["kind"], status["code"], status["reason"]) == (
                "ERROR",
                "Status",
                410,
                "Expired",
            )
            assert "too old resource version" in status["message"]
            await watcher.end()
        async with call.watch(f"{CORE}/pods", resourceVersion=str(api.store.revision)) as watcher:
            await call.made(f"{CORE}/pods", pod("last"))
            assert await watcher.events(1) == [("ADDED", "last")]
    await api.stop()


async def test_dropped_watches_break_and_stopped_ones_end(call: Caller) -> None:
    async with call.watch(f"{CORE}/pods") as watcher:
        call.api.drop_watches()
        with pytest.raises(aiohttp.ClientError):
            await watcher.end()
    async with call.watch(f"{CORE}/pods") as watcher:
        await asyncio.gather(call.api.stop(), watcher.end())


async def test_watch_whose_client_has_gone_is_forgotten(call: Caller) -> None:
    async with call.watch(f"{CORE}/pods"):
        assert len(call.api._watches) == 1
    for _ in range(50):
        await asyncio.sleep(0.01)
        if not call.api._watches:
            return
    pytest.fail("the watch is still there")


# --- Deletion ---


async def test_pod_on_a_node_ends_in_two_steps(call: Caller) -> None:
    path = f"{CORE}/pods"
    await call.made(path, pod(terminationGracePeriodSeconds=7))
    taken = {"metadata": {"name": "p"}, "target": {"name": "n"}}
    assert (await call("POST", f"{path}/p/binding", taken))[0] == 201
    code, status = await call("POST", f"{path}/p/binding", {**taken, "target": {"name": "m"}})
    assert (code, 'already assigned to node "n"' in status["message"]) == (409, True)
    async with call.watch(path, resourceVersion=str(call.api.store.revision)) as watcher:
        _, ending = await call("DELETE", f"{path}/p")
        assert ending["metadata"]["deletionGracePeriodSeconds"] == 7
        assert (await call("DELETE", f"{path}/p"))[1] == ending, "asking again changes nothing"
        assert (await call("GET", f"{path}/p"))[1]["metadata"]["deletionTimestamp"]
        await call("DELETE", f"{path}/p", {"gracePeriodSeconds": 0})
        assert await watcher.events(2) == [("MODIFIED", "p"), ("DELETED", "p")]
    assert (await call("GET", f"{path}/p"))[0] == 404


async def test_pod_of_no_node_or_that_has_ended_goes_at_once(call: Caller) -> None:
    await call.made(f"{CORE}/pods", pod("a"))
    await call.made(f"{CORE}/pods", pod("b", nodeName="n"))
    await call("PATCH", f"{CORE}/pods/b/status", {"status": {"phase": "Succeeded"}}, MERGE)
    for name in "ab":
        await call("DELETE", f"{CORE}/pods/{name}")
        assert (await call("GET", f"{CORE}/pods/{name}"))[0] == 404


@pytest.mark.parametrize("what", ["uid", "resourceVersion"])
async def test_precondition_that_does_not_hold_is_409(call: Caller, what: str) -> None:
    made = await call.made(f"{CORE}/configmaps", {"metadata": {"name": "a"}})
    code, status = await call("DELETE", f"{CORE}/configmaps/a", {"preconditions": {what: "1"}})
    assert (code, status["reason"], "Precondition failed" in status["message"]) == (409, "Conflict", True)
    good = {"preconditions": {what: made["metadata"][what]}}
    code, status = await call("DELETE", f"{CORE}/configmaps/a", good)
    assert (code, status["status"], status["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])


@pytest.mark.parametrize("options", [{"preconditions": "x"}, {"gracePeriodSeconds": "soon"}, []])
async def test_deletion_with_options_that_cannot_be_read_deletes_nothing(call: Caller, options: Any) -> None:
    await call.made(f"{CORE}/configmaps", {"metadata": {"name": "a"}})
    code, status = await call("DELETE", f"{CORE}/configmaps/a", options)
    assert (code, "reason" in status) == (500, False), "as on the real server"
    assert (await call("GET", f"{CORE}/configmaps/a"))[0] == 200


async def test_collection_and_namespace_deletion(call: Caller) -> None:
    path = f"{CORE}/configmaps"
    for name in "abc":
        await call.made(path, {"metadata": {"name": name, "labels": {"x": name}}})
    _, gone = await call("DELETE", path, labelSelector="x in (a,b)")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    async with call.watch("/api/v1/configmaps", resourceVersion=str(call.api.store.revision)) as watcher:
        await call("DELETE", "/api/v1/namespaces/default")
        assert await watcher.events(1) == [("DELETED", "c")]
    assert (await call("GET", "/api/v1/namespaces/default"))[0] == 404


# --- State, faults, clients ---


def body(item: Object) -> Any:
    """A JSON object where a client's annotations ask for a model; it takes both."""
    return item


async def test_state_survives_all_but_pods_and_events(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state.json"
    uids: list[list[str]] = []
    revision = 0
    for _ in range(2):
        api = EmbeddedApi(state_file=file, namespaces=("hub",))
        await api.start()
        assert api.store.revision > revision
        async with aiohttp.ClientSession() as session:
            call = Caller(api, session)
            if not uids:
                await call.made("/api/v1/namespaces/hub/pods", pod())
                await call.made("/api/v1/namespaces/hub/persistentvolumeclaims", claim())
            _, pods = await call("GET", "/api/v1/pods")
            _, claims = await call("GET", "/api/v1/persistentvolumeclaims")
            uids.append([item["metadata"]["uid"] for item in claims["items"]])
            assert len(pods["items"]) == (len(uids) == 1)
            async with call.watch("/api/v1/pods", resourceVersion=str(revision or 1)) as watcher:
                assert (await watcher.event())[0] == ("ERROR" if revision else "ADDED")
        revision = api.store.revision
        await api.stop()
    assert uids[0] == uids[1]
    assert [one.name for one in file.parent.iterdir()] == ["state.json"], "no temporary file is left"


async def test_state_is_written_while_running_and_a_restart_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    api = EmbeddedApi(state_file=file)
    await api.start()
    port = int(api.url.rpartition(":")[2])
    api.store.create(api.store.kind("", "configmaps"), "default", {"metadata": {"name": "kept"}})
    await asyncio.sleep(0.8)
    assert b"kept" in file.read_bytes()
    await api.stop()
    assert await api.start(port=port) == f"http://127.0.0.1:{port}"
    api.store.get(api.store.kind("", "configmaps"), "default", "kept")
    await api.stop()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "objects": [{}]}', "\x00"])
async def test_corrupt_state_is_one_clear_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(content)
    with pytest.raises(StateFileError, match=r"the state file .*state\.json cannot be used: .*move it away") as caught:
        await EmbeddedApi(state_file=file).start()
    assert caught.value.__cause__ is not None
    assert file.read_text() == content


async def test_fault_may_answer_reset_or_delay(call: Caller) -> None:
    async def answer(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({}, status=503) if request.method == "GET" else None

    async def close(request: web.Request) -> web.StreamResponse | None:
        assert request.transport is not None
        request.transport.abort()
        return None

    async def reset(request: web.Request) -> web.StreamResponse | None:
        raise ConnectionResetError

    async def delay(request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(0.1)
        return None

    call.api.fault = answer
    assert (await call("GET", f"{CORE}/pods"))[0] == 503
    assert (await call("POST", f"{CORE}/pods", pod("a")))[0] == 201
    for broken in (close, reset):
        call.api.fault = broken
        with pytest.raises(aiohttp.ClientError):
            await call("POST", f"{CORE}/pods", pod("b"))
    call.api.fault = delay
    started = time.perf_counter()
    _, found = await call("GET", f"{CORE}/pods")
    assert time.perf_counter() - started >= 0.1
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"], "a broken request changes nothing"


async def test_requests_are_recorded(call: Caller) -> None:
    await call("GET", f"{CORE}/pods", labelSelector="a=b")
    await call("GET", f"{CORE}/pods/p")
    async with call.watch(f"{CORE}/pods"):
        found = [(one.method, one.path, one.query, one.status) for one in call.api.requests]
    assert found == [
        ("GET", f"{CORE}/pods", {"labelSelector": "a=b"}, 200),
        ("GET", f"{CORE}/pods/p", {}, 404),
        ("GET", f"{CORE}/pods", {"watch": "true"}, 200),
    ]


async def test_second_start_is_refused(api: EmbeddedApi) -> None:
    with pytest.raises(RuntimeError, match="already listening at http://127"):
        await api.start()


async def test_kubernetes_asyncio_lists_patches_and_watches(api: EmbeddedApi) -> None:
    settings = client.Configuration()
    await config.load_kube_config_from_dict(api.kubeconfig(), client_configuration=settings)
    async with client.ApiClient(settings) as connection:
        core, custom = client.CoreV1Api(connection), client.CustomObjectsApi(connection)
        where = ("xlscsde.nhs.uk", "v1", "default", "analyticsworkspaces")
        await custom.create_namespaced_custom_object(*where, workspace())
        operations = [{"op": "add", "path": "/status", "value": {"persistentVolumeClaim": "c"}}]
        await custom.patch_namespaced_custom_object_status(*where, "w", operations)
        found = await custom.get_namespaced_custom_object(*where, "w")
        assert found["status"] == {"persistentVolumeClaim": "c", "statusText": "Waiting"}
        made = await core.create_namespaced_pod("default", body(pod("a")))
        patched = await core.patch_namespaced_pod("a", "default", {"metadata": {"labels": {"x": "y"}}})
        assert (made.status.phase, patched.metadata.labels) == ("Pending", {"x": "y"})
        seen = []
        async with watch.Watch() as stream:
            async for event in stream.stream(core.list_namespaced_pod, "default", timeout_seconds=1):
                seen.append((event["type"], event["object"].metadata.name))
                if len(seen) == 1:
                    await core.delete_namespaced_pod("a", "default")
                else:
                    break
        assert seen == [("ADDED", "a"), ("DELETED", "a")]
        with pytest.raises(client.ApiException) as caught:
            await core.read_namespaced_pod("a", "default")
        assert caught.value.status == 404


async def test_the_synchronous_client_works_too(api: EmbeddedApi) -> None:
    def use() -> Any:
        settings = sync_client.Configuration()
        load: Any = sync_config.load_kube_config_from_dict
        load(api.kubeconfig(), client_configuration=settings)
        with sync_client.ApiClient(settings) as connection:
            core = sync_client.CoreV1Api(connection)
            core.create_namespaced_persistent_volume_claim("default", body(claim()))
            return core.list_namespaced_persistent_volume_claim("default", label_selector="!x").items[0]

    found = await asyncio.to_thread(use)
    assert (found.spec.access_modes, found.status.phase) == (["ReadWriteMany"], "Pending")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_kubectl_creates_applies_shows_and_deletes(api: EmbeddedApi, tmp_path: Path) -> None:
    settings, manifest = tmp_path / "config", tmp_path / "manifest.json"
    settings.write_text(json.dumps(api.kubeconfig()))
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [workspace(), binding()]}))

    async def kubectl(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("kubectl", "--kubeconfig", str(settings), "--cache-dir", str(tmp_path / "cache"), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
        return output.decode()

    assert "analyticsworkspace.xlscsde.nhs.uk/w created" in await kubectl("create", "-f", str(manifest))
    table = (await kubectl("get", "aws")).splitlines()
    assert table[0].split() == ["NAME", "TITLE", "FROM", "UNTIL", "STATUS", "AGE"]
    assert table[1].split()[:4] == ["w", "W", "2022-01-03", "2030-01-07"]
    assert "configured" in await kubectl("apply", "-f", str(manifest))
    assert "username: a@x" in await kubectl("get", "awsb", "b", "-o", "yaml")
    assert '"w" deleted' in await kubectl("delete", "aws", "w")
    assert "NotFound" in await kubectl("get", "aws", "w")


@pytest.mark.parametrize("name", ["analyticsworkspaces", "analyticsworkspacebindings"])
async def test_definitions_are_structural(call: Caller, name: str) -> None:
    """What a real API server demands of a schema: a type in every place, or that it be an int or a string."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.xlscsde.nhs.uk"
    version = (await call("GET", path))[1]["spec"]["versions"][0]

    def check(schema: Object) -> None:
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), schema
        nested = [schema[key] for key in ("items", "additionalProperties") if key in schema]
        for one in (*schema.get("properties", {}).values(), *nested):
            check(one)

    assert version["subresources"] == {"status": {}}
    check(version["schema"]["openAPIV3Schema"])
