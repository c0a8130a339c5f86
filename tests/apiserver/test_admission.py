"""`image/admission.yaml` on the real API server: what it refuses, whoever asks, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests import factories
from tests.apiserver.admission import (
    CLAIM,
    MOUNTS,
    OWNERS,
    REGISTRATION,
    SHARED,
    applied,
    claim,
    make,
    pod,
    refusal,
    until_active,
    workspace,
)
from tests.apiserver.cluster import Object, RealCluster, until
from workspace_managers import Kube, Settings
from workspace_managers.kube.claims import OWNER_ANNOTATION, OWNER_UID_ANNOTATION, ensure_claims
from workspace_managers.kube.guard import Guard as Guarded
from workspace_managers.kube.guard import guard as is_guarded
from workspace_managers.names import SHARED_CLAIM, default_claim, personal_claim
from workspace_managers.pods import rebuild

SETTINGS = Settings.from_environ({"POD_NAMESPACE": "unused"})
GUARDED, EMPTY, OTHER = "guarded", "guarded-empty", "unguarded"
LONG = "long" * 62
LAST = "last"
WORKSPACES = [
    workspace("heart", {"additionalStorage": [{"persistentVolumeClaim": "heart-scans"}, {"mountPath": "/mnt/none"}]}),
    workspace("lungs", {"persistentVolumeClaim": {"name": "lungs-data"}}),
    {
        **workspace("brain"),
        "status": {"persistentVolumeClaim": "brain-old", "additionalStorage": {"scans": "brain-scans"}},
    },
    workspace(
        "greedy",
        {
            "persistentVolumeClaim": {"name": "hub-db-dir"},
            "additionalStorage": [{"persistentVolumeClaim": SHARED_CLAIM}],
        },
    ),
    workspace("second", {"persistentVolumeClaim": {"name": "jupyter-first"}}),
    workspace("first"),
    workspace(LONG),
    workspace(LAST),
]
PERSON = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims", "persistentvolumeclaims/status"], "verbs": ["*"]},
]
OWNED, UNOWNED, RUNNING = "jupyter-owned", "jupyter-unowned", "running"


@dataclass(frozen=True)
class Guard:
    """The namespaces as they are for each row, and who asks there: hub, person, or the cluster's administrator."""

    cluster: RealCluster
    tokens: dict[tuple[str, str], str | None]

    async def refusal(self, who: str, method: str, path: str, body: Object, namespace: str = GUARDED) -> str | None:
        token = self.tokens[who, namespace]
        return await refusal(self.cluster, method, f"/api/v1/namespaces/{namespace}/{path}", body, token)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guard(own_cluster: RealCluster) -> AsyncIterator[Guard]:
    tokens: dict[tuple[str, str], str | None] = {}
    for namespace in (GUARDED, EMPTY, OTHER):
        await own_cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        tokens["hub", namespace] = await own_cluster.hub_token(namespace)
        tokens["person", namespace] = await own_cluster.service_account_token("person", PERSON, namespace=namespace)
        tokens["administrator", namespace] = None
    core = f"/api/v1/namespaces/{GUARDED}"
    await own_cluster.call("POST", f"{core}/persistentvolumeclaims", claim(OWNED, owner="heart", owner_uid="one"))
    await own_cluster.call("POST", f"{core}/persistentvolumeclaims", claim(UNOWNED))
    running = pod(SHARED_CLAIM)
    running["metadata"]["name"] = RUNNING
    await own_cluster.call("POST", f"{core}/pods", running)
    for namespace, workspaces in ((GUARDED, WORKSPACES), (OTHER, WORKSPACES)):
        await make(own_cluster, namespace, workspaces)
    async with applied(own_cluster, (GUARDED, EMPTY)):
        await until_active(own_cluster, GUARDED, LAST)
        yield Guard(own_cluster, tokens)


def made_by_the_hub() -> Object:
    """The pod of a server, whatever was in it before."""
    volumes = [factories.volume("jupyter-heart"), factories.shared()]
    return rebuild(pod("jupyter-brain"), factories.workspace("heart"), volumes, 3600).pod


def copied(claim: str, *fields: str) -> Object:
    """A pod with a claim of its own, which is a copy of another where one of these fields says so."""
    spec = CLAIM | {field: {"kind": "PersistentVolumeClaim", "name": claim} for field in fields}
    return pod(volumes=[{"name": "copy", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}])


def of_shared(**changes: Any) -> Object:
    """A pod whose one volume is the shared claim, which its one container does not mount."""
    volume = {"name": "v0", "persistentVolumeClaim": {"claimName": SHARED_CLAIM}}
    return pod(**{"volumes": [volume], **changes})


def container(**mounting: Any) -> Object:
    return {"name": "another", "image": "x", **mounting}


WRITES = {"volumeMounts": [{"name": "v0", "mountPath": "/mnt/0"}]}
BLOCK = {"volumeDevices": [{"name": "v0", "devicePath": "/dev/x"}]}
READ_ONLY_VOLUME = {"name": "v0", "persistentVolumeClaim": {"claimName": SHARED_CLAIM, "readOnly": True}}
LOOSE = [{"name": "v0", "emptyDir": {}}, {"name": "v1", "configMap": {"name": "x"}}]
HEART, LUNGS, BRAIN = (
    f"is of workspace {name}, which its annotation workspace-managers/workspace does not name"
    for name in ("heart", "lungs", "brain")
)
READS = "claim jupyter-shared is only read"

# Who asks, what for, and a part of why it is refused; None where it is done.
PODS: dict[str, tuple[str, Object, str | None]] = {
    "hub names no workspace": ("hub", pod("jupyter-heart"), HEART),
    "hub names another workspace": ("hub", pod("jupyter-heart", named="lungs"), HEART),
    "hub names a workspace that is not there": ("hub", pod("jupyter-heart", named="gone"), HEART),
    "hub names it in the label alone": (
        "hub",
        pod("jupyter-heart") | {"metadata": {"name": "asked-for", "labels": {"workspace": "heart"}}},
        HEART,
    ),
    "hub names the workspace": ("hub", pod("jupyter-heart", SHARED_CLAIM, named="heart"), None),
    "pod as the hub makes it": ("hub", made_by_the_hub(), None),
    "person names no workspace": ("person", pod("jupyter-heart"), HEART),
    "person names another workspace": ("person", pod("jupyter-heart", named="brain"), HEART),
    "person names the workspace": ("person", pod("jupyter-heart", named="heart"), None),
    "administrator names no workspace": ("administrator", pod("jupyter-heart"), HEART),
    "claim beside the workspace's own": ("hub", pod("jupyter-heart", "jupyter-brain", named="heart"), BRAIN),
    "claim that two workspaces name": ("hub", pod("jupyter-first", named="first"), "is of workspace second, "),
    "claim that two workspaces name, by the other": (
        "hub",
        pod("jupyter-first", named="second"),
        "is of workspace first, ",
    ),
    "claim that the spec names": ("hub", pod("lungs-data"), LUNGS),
    "claim that the spec names, by its workspace": ("hub", pod("lungs-data", named="lungs"), None),
    "default name beside a name in the spec": ("hub", pod("jupyter-lungs"), LUNGS),
    "claim that the status names": ("hub", pod("brain-old"), BRAIN),
    "claim that the status names, by its workspace": ("hub", pod("brain-old", named="brain"), None),
    "default name beside a name in the status": ("hub", pod("jupyter-brain"), BRAIN),
    "additional storage": ("hub", pod("heart-scans", named="lungs"), HEART),
    "additional storage, by its workspace": ("hub", pod("jupyter-heart", "heart-scans", named="heart"), None),
    "additional storage in the status": ("hub", pod("brain-scans"), BRAIN),
    "additional storage in the status, by its workspace": ("hub", pod("brain-scans", named="brain"), None),
    "default name that is cut": ("hub", pod(default_claim(LONG)), f"is of workspace {LONG}, "),
    "default name that is cut, by its workspace": ("hub", pod(default_claim(LONG), named=LONG), None),
    "home folder of a person in it": ("hub", pod(personal_claim("alice", "heart")), HEART),
    "home folder of a person in it, by another workspace": (
        "hub",
        pod(personal_claim("alice", "heart"), named="lungs"),
        HEART,
    ),
    "home folder of a person in it, by its workspace": (
        "hub",
        pod(personal_claim("alice", "heart"), named="heart"),
        None,
    ),
    "home folder with a name that is cut": ("hub", pod(personal_claim("alice", LONG)), f"is of workspace {LONG}, "),
    "home folder with a name that is cut, by its workspace": (
        "hub",
        pod(personal_claim("alice", LONG), named=LONG),
        None,
    ),
    "home folder of a workspace whose name ends alike": ("hub", pod(personal_claim("alice", "my-heart")), None),
    "copy of a claim": ("person", copied("jupyter-heart", "dataSource"), HEART),
    "copy of a claim, by its other field": ("person", copied("jupyter-heart", "dataSourceRef"), HEART),
    "copy of a claim that nobody names": ("person", copied("scratch", "dataSource"), None),
    "new claim for the pod alone": ("person", copied(""), None),
    "read-only": ("person", pod("jupyter-heart", read_only=["jupyter-heart"]), HEART),
    "mounted nowhere in the pod": (
        "person",
        pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "jupyter-heart"}}]),
        HEART,
    ),
    "the hub's database, which a workspace names": ("administrator", pod("hub-db-dir"), None),
    "claim that nobody names": ("person", pod("scratch"), None),
    "claim that nobody names, in a pod that names one": ("person", pod("scratch", named="heart"), None),
    "no volume": ("person", pod(), None),
    "volumes without a claim": ("person", pod(volumes=LOOSE), None),
    "shared, to write": ("person", pod(SHARED_CLAIM, read_only=()), READS),
    "shared, to write, by the hub": ("hub", pod("jupyter-heart", SHARED_CLAIM, named="heart", read_only=()), READS),
    "shared, to write before the pod starts": ("person", of_shared(initContainers=[container(**WRITES)]), READS),
    "shared, as a block device": ("person", of_shared(containers=[container(**BLOCK)]), READS),
    "shared, to read": ("person", pod(SHARED_CLAIM), None),
    "shared, to read by the volume": (
        "person",
        of_shared(volumes=[READ_ONLY_VOLUME], containers=[container(**WRITES)]),
        None,
    ),
}


@pytest.mark.parametrize(("who", "body", "said"), PODS.values(), ids=PODS)
async def test_pod(guard: Guard, who: str, body: Object, said: str | None) -> None:
    await held(guard, who, "POST", "pods", body, said, MOUNTS if said != READS else SHARED)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(pod("jupyter-heart"), None, id="no-workspace-has-it"),
        pytest.param(pod("hub-db-dir"), None, id="the-hub-comes-up"),
        pytest.param(pod(), None, id="no-volume"),
        pytest.param(pod(SHARED_CLAIM, read_only=()), READS, id="shared-to-write"),
    ],
)
async def test_pod_where_there_is_no_workspace_at_all(guard: Guard, body: Object, said: str | None) -> None:
    await held(guard, "hub", "POST", "pods", body, said, SHARED, EMPTY)


@pytest.mark.parametrize(
    ("mounting", "said"),
    [
        pytest.param(WRITES, READS, id="to-write"),
        pytest.param({"volumeMounts": [WRITES["volumeMounts"][0] | {"readOnly": True}]}, None, id="to-read"),
        pytest.param({}, None, id="not-at-all"),
    ],
)
async def test_ephemeral_container_mounts_the_shared_claim(guard: Guard, mounting: Object, said: str | None) -> None:
    body = {"spec": {"ephemeralContainers": [container(**mounting)]}}
    await held(guard, "person", "PATCH", f"pods/{RUNNING}/ephemeralcontainers", body, said, SHARED)


CLAIMS = "persistentvolumeclaims"
SAYS = f"is for system:serviceaccount:{GUARDED}:hub to say, not for "
BY_PERSON = f"{SAYS}system:serviceaccount:{GUARDED}:person"


def annotated(**annotations: str | None) -> Object:
    """A merge patch; None takes one away."""
    return {"metadata": {"annotations": {f"workspace-managers/{key}": value for key, value in annotations.items()}}}


OTHER_UID = {"metadata": {"annotations": {OWNER_UID_ANNOTATION: "two"}}}
OWNERSHIP: dict[str, tuple[str, str, str, Object, str | None]] = {
    "person makes one with an owner": ("person", "POST", CLAIMS, claim(owner="heart"), BY_PERSON),
    "person makes one with a UID": ("person", "POST", CLAIMS, claim(owner_uid="one"), BY_PERSON),
    "person makes one without": ("person", "POST", CLAIMS, claim(), None),
    "administrator makes one with an owner": ("administrator", "POST", CLAIMS, claim(owner="heart"), f"{SAYS}admin"),
    "hub makes one with an owner": ("hub", "POST", CLAIMS, claim(owner="heart", owner_uid="one"), None),
    "person changes the owner": ("person", "PATCH", f"{CLAIMS}/{OWNED}", annotated(owner="brain"), BY_PERSON),
    "person takes the owner away": ("person", "PATCH", f"{CLAIMS}/{OWNED}", annotated(owner=None), BY_PERSON),
    "person changes the UID": ("person", "PATCH", f"{CLAIMS}/{OWNED}", OTHER_UID, BY_PERSON),
    "person takes all annotations away": (
        *("person", "PATCH", f"{CLAIMS}/{OWNED}"),
        {"metadata": {"annotations": None}},
        BY_PERSON,
    ),
    "person changes the owner beside the status": (
        *("person", "PATCH", f"{CLAIMS}/{OWNED}/status"),
        annotated(owner="brain"),
        BY_PERSON,
    ),
    "person gives one without an owner away": (
        *("person", "PATCH", f"{CLAIMS}/{UNOWNED}"),
        annotated(owner="brain"),
        BY_PERSON,
    ),
    "administrator changes the owner": (
        *("administrator", "PATCH", f"{CLAIMS}/{OWNED}"),
        annotated(owner="brain"),
        f"{SAYS}administrator",
    ),
    "person changes something else": (
        *("person", "PATCH", f"{CLAIMS}/{OWNED}"),
        {"metadata": {"labels": {"a": "b"}, "annotations": {"workspace-managers/note": "x"}}},
        None,
    ),
    "person says whose home folder it is": (
        *("person", "PATCH", f"{CLAIMS}/{OWNED}"),
        annotated(person="mallory"),
        BY_PERSON,
    ),
    "hub says whose home folder it is": ("hub", "PATCH", f"{CLAIMS}/{OWNED}", annotated(person="alice"), None),
    "person says the same of the owner": ("person", "PATCH", f"{CLAIMS}/{OWNED}", annotated(owner="heart"), None),
    "status is written": ("person", "PATCH", f"{CLAIMS}/{OWNED}/status", {"status": {"phase": "Bound"}}, None),
    "hub changes the owner": ("hub", "PATCH", f"{CLAIMS}/{OWNED}", annotated(owner="brain"), None),
    "hub adopts": ("hub", "PATCH", f"{CLAIMS}/{UNOWNED}", annotated(owner="brain"), None),
}


@pytest.mark.parametrize(("who", "method", "path", "body", "said"), OWNERSHIP.values(), ids=OWNERSHIP)
async def test_owner_of_a_claim(  # noqa: PLR0917 - the columns of a row
    guard: Guard, who: str, method: str, path: str, body: Object, said: str | None
) -> None:
    """S6: nobody but the hub says whose it is."""
    await held(guard, who, method, path, body, said, OWNERS)


async def test_hub_makes_a_claim_and_adopts_one(guard: Guard) -> None:
    """S3, S6: by the code of a start."""
    claims = f"/api/v1/namespaces/{GUARDED}/{CLAIMS}"
    await guard.cluster.call("POST", claims, claim("jupyter-lungs"))
    kube = Kube(GUARDED, guard.cluster.kubeconfig(token=guard.tokens["hub", GUARDED]))
    try:
        for name in ("heart", "lungs"):
            started = factories.workspace(name, uid="one")
            await ensure_claims(
                kube,
                SETTINGS,
                started,
                [factories.volume(f"jupyter-{name}")],
                _named_by_its_own,
                user=factories.ALICE,
                today=factories.TODAY,
            )
            made = await guard.cluster.call("GET", f"{claims}/jupyter-{name}")
            expected = {OWNER_ANNOTATION: name, OWNER_UID_ANNOTATION: "one"}
            assert made["metadata"]["annotations"].items() >= expected.items()
    finally:
        await kube.close()


async def _named_by_its_own(claim: str) -> tuple[str, ...]:
    return (claim.removeprefix("jupyter-"),)


async def test_whom_the_operator_names_may_say_whose_a_claim_is(guard: Guard) -> None:
    """By name or by group; the list of the file is put back."""
    path = f"{REGISTRATION}/validatingadmissionpolicies/{OWNERS}"
    before = await guard.cluster.call("GET", path)
    person, group = f"system:serviceaccount:{GUARDED}:person", f"system:serviceaccounts:{GUARDED}"
    change = ("PATCH", f"{CLAIMS}/{OWNED}", annotated(owner="brain"))
    for variable, named in (("users", person), ("groups", group)):
        assert await guard.refusal("person", *change)
        variables = [
            each | {"expression": f"['{named}']"} if each["name"] == variable else each
            for each in before["spec"]["variables"]
        ]
        for written, allowed in ((variables, True), (before["spec"]["variables"], False)):
            await guard.cluster.call("PATCH", path, {"spec": {"variables": written}})

            async def heard(allowed: bool = allowed) -> bool:
                return (await guard.refusal("person", *change) is None) == allowed

            async with asyncio.timeout(10):
                await until(heard)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "pods", pod("jupyter-heart"), id="mount"),
        pytest.param("POST", "pods", pod(SHARED_CLAIM, read_only=()), id="shared"),
        pytest.param("POST", CLAIMS, claim(owner="heart"), id="owner"),
    ],
)
async def test_other_namespaces_are_left_alone(guard: Guard, method: str, path: str, body: Object) -> None:
    assert await guard.refusal("person", method, path, body, OTHER) is None


async def held(  # noqa: PLR0917 - the columns of a row
    guard: Guard,
    who: str,
    method: str,
    path: str,
    body: Object,
    said: str | None,
    policy: str,
    namespace: str = GUARDED,
) -> None:
    """What comes of it is what the row says, and where it is refused, by that policy."""
    refused = await guard.refusal(who, method, path, body, namespace)
    if said is None:
        assert refused is None
    else:
        assert refused is not None
        assert ": 422 " in refused
        assert f"ValidatingAdmissionPolicy '{policy}'" in refused
        assert said in refused


@pytest.mark.parametrize(("namespace", "expected"), [(GUARDED, Guarded.ON), (EMPTY, Guarded.ON), (OTHER, Guarded.OFF)])
async def test_doctor_tells_where_it_is_on(guard: Guard, namespace: str, expected: Guarded) -> None:
    """With the rights of the hub, and without making anything."""
    core = f"/api/v1/namespaces/{namespace}/pods"
    before = (await guard.cluster.call("GET", core))["items"]
    kube = Kube(namespace, guard.cluster.kubeconfig(token=guard.tokens["hub", namespace]))
    try:
        assert await is_guarded(kube) == (expected, "")
    finally:
        await kube.close()
    assert (await guard.cluster.call("GET", core))["items"] == before


async def test_doctor_knows_nothing_where_it_may_not_ask(guard: Guard) -> None:
    token = await guard.cluster.service_account_token("nobody", [], namespace=GUARDED)
    kube = Kube(GUARDED, guard.cluster.kubeconfig(token=token))
    try:
        on, why = await is_guarded(kube)
    finally:
        await kube.close()
    assert (on, "403 Forbidden" in why) == (Guarded.UNKNOWN, True), why
