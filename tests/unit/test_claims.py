"""Claims on the embedded API: made once, adopted only for certain, never another's (S2, S3, S6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.factories import ALICE, TODAY, home, pod, shared, volume
from tests.factories import workspace as workspace_of
from workspace_managers import HOME, BackendUnavailable, Settings, StorageRefused, User, Volume, personal_claim
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.kube import client
from workspace_managers.kube.claims import (
    OWNER_ANNOTATION,
    OWNER_UID_ANNOTATION,
    PERSON_ANNOTATION,
    USED_ANNOTATION,
    ensure_claims,
    shared_claim_problem,
)
from workspace_managers.kube.client import ApiError, Kube
from workspace_managers.policy import Policy

SETTINGS = Settings.from_environ({"POD_NAMESPACE": "hub"})
CLAIMS = "/api/v1/namespaces/hub/persistentvolumeclaims"
PODS = "/api/v1/namespaces/hub/pods"
EARLIER_OWNER = "workspace.xlscsde.nhs.uk/workspace"


async def claim(kube: Kube, name: str = "jupyter-cardio") -> dict[str, Any] | None:
    try:
        return await kube.get(f"{CLAIMS}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def owner(kube: Kube, name: str = "jupyter-cardio") -> str | None:
    found = await claim(kube, name)
    assert found is not None
    annotations: dict[str, str] = found["metadata"].get("annotations") or {}
    return annotations.get(OWNER_ANNOTATION)


async def put(kube: Kube, name: str = "jupyter-cardio", **metadata: Any) -> None:
    await kube.create(
        CLAIMS,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, **metadata},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )


async def ensure(
    kube: Kube,
    *volumes: Volume,
    workspace: str = "cardio",
    uid: str | None = None,
    named_by: Collection[str] | None = ("itself",),
    policy: Policy | None = None,
    person: User = ALICE,
    today: date = TODAY,
) -> None:
    """As the hub does it; ``itself`` stands for the workspace among those that name each claim."""

    async def naming(_claim: str) -> Collection[str] | None:
        return None if named_by is None else {workspace if name == "itself" else name for name in named_by}

    settings = replace(SETTINGS, policy=policy or SETTINGS.policy)
    grant = workspace_of(workspace, uid=uid)
    await ensure_claims(kube, settings, grant, volumes or (volume(), shared()), naming, user=person, today=today)


async def test_missing_claims_are_made_as_the_environment_says(kube: Kube) -> None:
    """S2."""
    await ensure(kube)
    made = await claim(kube)
    assert made is not None
    assert made["spec"]["storageClassName"] == "jupyter-default"
    assert made["spec"]["accessModes"] == ["ReadWriteMany"]
    assert made["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert await owner(kube) == "cardio"
    assert await owner(kube, "jupyter-shared") == "shared"


async def test_volume_with_wishes_of_its_own_gets_them(kube: Kube) -> None:
    await ensure(kube, volume(storage_class="fast", access_modes=("ReadWriteOnce",), capacity="1Ti"))
    made = await claim(kube)
    assert made is not None
    assert made["spec"]["storageClassName"] == "fast"
    assert made["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert made["spec"]["resources"]["requests"]["storage"] == "1Ti"


async def test_second_start_reads_each_claim_once_and_changes_nothing(kube: Kube, api: EmbeddedApi) -> None:
    """S2: at most the two reads, side by side."""
    await ensure(kube)
    before = await claim(kube)
    api.requests.clear()
    await ensure(kube)
    assert sorted((each.method, each.path.rpartition("/")[2]) for each in api.requests) == [
        ("GET", "jupyter-cardio"),
        ("GET", "jupyter-shared"),
    ]
    assert await claim(kube) == before


async def test_fifty_callers_at_once_make_one_claim(kube: Kube) -> None:
    """S2: 409 is success after a read."""
    await asyncio.gather(*(ensure(kube) for _ in range(50)))
    listed = await kube.get(CLAIMS)
    assert sorted(each["metadata"]["name"] for each in listed["items"]) == ["jupyter-cardio", "jupyter-shared"]


async def test_two_workspaces_racing_for_one_claim_never_both_get_it(kube: Kube) -> None:
    """S2: whoever is second is refused, in whatever order they come."""
    wanted = volume("contested")
    results = await asyncio.gather(
        *(ensure(kube, wanted, workspace=name) for name in ("cardio", "asthma") * 10), return_exceptions=True
    )
    refused = [isinstance(result, StorageRefused) for result in results]
    assert all(result is None or isinstance(result, StorageRefused) for result in results)
    assert refused[0::2] != refused[1::2]
    assert len(set(refused[0::2])) == len(set(refused[1::2])) == 1


async def test_racing_adoption_never_gives_one_claim_to_two(kube: Kube) -> None:
    """S3: adoption changes only what was read."""
    await put(kube, "contested")
    results = await asyncio.gather(
        *(ensure(kube, volume("contested", recorded=True), workspace=name) for name in ("cardio", "asthma")),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "StorageRefused"]


async def test_claim_of_another_workspace_is_refused_and_none_is_made(kube: Kube, api: EmbeddedApi) -> None:
    """S2: the owner annotation tells, though the name is the workspace's own default."""
    await put(kube, annotations={OWNER_ANNOTATION: "asthma"})
    api.requests.clear()
    with pytest.raises(StorageRefused, match="belongs to 'asthma'") as caught:
        await ensure(kube)
    assert "asthma" not in caught.value.user_message
    assert {each.method for each in api.requests} == {"GET"}
    assert await claim(kube, "jupyter-shared") is None


async def test_refused_claim_comes_before_any_is_made_wherever_it_stands(kube: Kube, api: EmbeddedApi) -> None:
    """S2: also when it is the last one of several."""
    await put(kube, "scans", annotations={OWNER_ANNOTATION: "asthma"})
    api.requests.clear()
    with pytest.raises(StorageRefused, match="belongs to 'asthma'"):
        await ensure(kube, volume(), shared(), volume("scans", "/mnt/scans"))
    assert {each.method for each in api.requests} == {"GET"}


@pytest.mark.parametrize("other", ["cardio2", "cardi", "CARDIO", ""])
async def test_owner_is_compared_whole(kube: Kube, other: str) -> None:
    """S2: neither a beginning nor another case, and an empty owner is not none."""
    await put(kube, annotations={OWNER_ANNOTATION: other})
    with pytest.raises(StorageRefused, match="belongs to"):
        await ensure(kube)


async def test_claims_are_read_side_by_side(kube: Kube, api: EmbeddedApi) -> None:
    """S2: one round trip, however many there are."""
    await ensure(kube)
    waiting, both = [0], asyncio.Event()

    async def hold(_request: web.Request) -> web.StreamResponse | None:
        waiting[0] += 1
        if waiting[0] == 2:
            both.set()
        await both.wait()
        return None

    api.fault = hold
    await ensure(kube)
    assert waiting == [2]


async def test_claim_that_may_not_be_read_is_not_made(kube: Kube, api: EmbeddedApi) -> None:
    """S2, A4: "may not be read" is not "is not there"."""

    async def blind(request: web.Request) -> web.StreamResponse | None:
        return status(403, "Forbidden") if request.method == "GET" else None

    api.fault = blind
    with pytest.raises(BackendUnavailable, match="403"):
        await ensure(kube)
    assert {each.method for each in api.requests} == {"GET"}


async def test_nothing_is_left_running_behind_a_refusal(kube: Kube, api: EmbeddedApi) -> None:
    """S2: each request has ended before the first failure is raised."""
    ended: list[str] = []

    async def one_fails(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and (await request.json())["metadata"]["name"] == "jupyter-cardio":
            return status(422, "Invalid")
        if request.method == "POST":
            await asyncio.sleep(0.2)
            ended.append("shared")
        return None

    api.fault = one_fails
    with pytest.raises(StorageRefused, match="cannot be made"):
        await ensure(kube)
    assert ended == ["shared"]


@pytest.mark.parametrize("path", [f"{CLAIMS}/../secrets/x", f"{CLAIMS}/a?x=1", f"{CLAIMS}/a/", f"{CLAIMS}/%2e%2e", "x"])
async def test_path_that_climbs_asks_for_nothing(kube: Kube, api: EmbeddedApi, path: str) -> None:
    """S2: a name never becomes another object's path."""
    with pytest.raises(ValueError, match="is not a path"):
        await kube.get(path)
    assert api.requests == []


DATA = Policy(claims=("data-*",))


@pytest.mark.parametrize(
    ("asked", "named_by", "label", "policy", "reason"),
    [
        pytest.param("jupyter-cardio", ["itself"], None, None, None, id="its-own-default"),
        pytest.param("jupyter-cardio", None, None, None, None, id="its-own-default-and-nobody-can-tell"),
        pytest.param("jupyter-cardio", ["itself", "x"], None, None, "'x' names it as well", id="default-of-two"),
        pytest.param("jupyter-cardio", ["x"], None, None, "'x' names it as well", id="default-of-another-by-name"),
        pytest.param("jupyter-cardio", [], None, None, "nobody can tell", id="not-even-named-by-itself"),
        pytest.param("recorded", ["itself"], None, None, None, id="recorded"),
        pytest.param("recorded", None, None, None, "nobody can tell", id="recorded-and-nobody-can-tell"),
        pytest.param("recorded", ["itself", "x"], None, None, "'x' names it as well", id="recorded-and-of-two"),
        pytest.param("data-db-0", ["itself"], None, None, "nothing but workspace 'cardio' itself", id="only-its-word"),
        pytest.param("data-db-0", ["itself"], None, DATA, None, id="allowed"),
        pytest.param("data-db-0", ["itself", "x"], None, DATA, "'x' names it as well", id="allowed-and-of-two"),
        pytest.param("data-db-0", None, None, DATA, "nobody can tell", id="allowed-and-nobody-can-tell"),
        pytest.param("my-data-0", ["itself"], None, DATA, "nothing but workspace", id="pattern-is-of-the-whole"),
        pytest.param("DATA-0".lower(), ["itself"], None, Policy(claims=("DATA-*",)), "nothing but", id="pattern-case"),
        pytest.param("jupyter-gone", ["itself"], None, None, "default of another workspace", id="default-of-another"),
        pytest.param("jupyter-gone", ["itself"], None, Policy(claims=("*",)), None, id="default-of-another-allowed"),
        pytest.param("data", ["itself"], "cardio", None, None, id="earlier-owner"),
        pytest.param("jupyter-gone", ["itself"], "cardio", None, None, id="earlier-owner-of-a-strange-name"),
        pytest.param("jupyter-cardio", ["itself"], "beta", None, "says that it is 'beta's", id="earlier-owner-other"),
        pytest.param("data-0", ["itself"], "beta", DATA, "says that it is 'beta's", id="earlier-owner-beats-policy"),
        pytest.param("data", ["itself", "x"], "cardio", None, "'x' names it as well", id="earlier-owner-and-of-two"),
    ],
)
async def test_claim_without_an_owner_is_adopted_only_when_certain(  # noqa: PLR0917 - one column of the table each
    kube: Kube,
    asked: str,
    named_by: Collection[str] | None,
    label: str | None,
    policy: Policy | None,
    reason: str | None,
) -> None:
    """S3: what the workspace itself asks for is no proof that it is its own."""
    await put(kube, asked, labels={EARLIER_OWNER: label} if label else {})
    wanted = volume(asked, recorded=asked == "recorded")
    if reason is None:
        await ensure(kube, wanted, named_by=named_by, policy=policy)
        assert await owner(kube, asked) == "cardio"
        return
    with pytest.raises(StorageRefused, match=reason.replace("'s", r"'.s")) as caught:
        await ensure(kube, wanted, named_by=named_by, policy=policy)
    assert caught.value.rule == "S3"
    assert f"set its annotation {OWNER_ANNOTATION}" in str(caught.value)
    assert await owner(kube, asked) is None


@pytest.mark.parametrize(
    ("asked", "named_by", "made"),
    [
        pytest.param("jupyter-cardio", ["itself", "x"], True, id="its-own-default"),
        pytest.param("scans", ["itself"], True, id="named-by-it-alone"),
        pytest.param("scans", ["itself", "x"], False, id="named-by-others-too"),
        pytest.param("scans", None, False, id="nobody-can-tell"),
        pytest.param("jupyter-asthma", ["itself", "asthma"], False, id="default-of-another"),
    ],
)
async def test_claim_is_made_under_another_name_only_for_the_one_that_names_it(
    kube: Kube, asked: str, named_by: Collection[str] | None, made: bool
) -> None:
    """S3: what is not there holds nobody's files, and from then on its owner is told."""
    if made:
        await ensure(kube, volume(asked), named_by=named_by)
        assert await owner(kube, asked) == "cardio"
        return
    with pytest.raises(StorageRefused, match="not certain that workspace 'cardio' is the only one"):
        await ensure(kube, volume(asked), named_by=named_by)
    assert await claim(kube, asked) is None


async def test_nobody_is_asked_about_a_claim_that_has_its_owner(kube: Kube, api: EmbeddedApi) -> None:
    """S3: a start like any other costs no list of pods and no question to the backend."""
    await ensure(kube, volume(), shared(), volume("scans", "/mnt/scans"))

    async def naming(_claim: str) -> None:
        raise AssertionError("a claim with an owner")

    api.requests.clear()
    volumes = (volume(), shared(), volume("scans", "/mnt/scans"))
    await ensure_claims(kube, SETTINGS, workspace_of(), volumes, naming, user=ALICE, today=TODAY)
    assert [each.method for each in api.requests] == ["GET"] * 3
    assert not [each for each in api.requests if each.path == PODS]


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {"component": "hub", "app": "jupyterhub"}}, id="the-hubs-database"),
        pytest.param({"labels": {"heritage": "jupyterhub"}}, id="old-personal"),
        pytest.param({"labels": {"chart": "jupyterhub-3.2.1"}}, id="the-charts-of-old"),
        pytest.param({"labels": {"hub.jupyter.org/username": "alice"}}, id="personal"),
        pytest.param({"annotations": {"hub.jupyter.org/username": "alice"}}, id="personal-by-annotation"),
        pytest.param({"labels": {"app.kubernetes.io/managed-by": "kubespawner"}}, id="new-personal"),
        pytest.param({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, id="managed-by-helm"),
        pytest.param({"labels": {"app.kubernetes.io/name": "jupyterhub"}}, id="the-charts"),
        pytest.param({"labels": {"app.kubernetes.io/name": "postgresql"}}, id="a-database"),
        pytest.param({"labels": {"app.kubernetes.io/instance": "db"}}, id="an-instance"),
        pytest.param({"labels": {"app.kubernetes.io/part-of": "portal"}}, id="a-part"),
        pytest.param({"annotations": {"meta.helm.sh/release-name": "db"}}, id="of-a-release"),
        pytest.param({"labels": {"helm.sh/chart": "postgresql-12"}}, id="of-a-chart"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "etl-0", "uid": "u"}]}, id="owned-by-a-pod"
        ),
    ],
)
@pytest.mark.parametrize("asked", [volume("jupyter-cardio"), volume("data-0", recorded=True)], ids=["default", "named"])
async def test_what_something_else_owns_is_never_adopted(kube: Kube, metadata: dict[str, Any], asked: Volume) -> None:
    """S3: whatever the name, the backend's record and the policy say."""
    await put(kube, asked.claim, **metadata)
    for policy in (None, Policy(claims=("*",))):
        with pytest.raises(StorageRefused, match=r"owns it|the hub's own or a person's|an application's") as caught:
            await ensure(kube, asked, policy=policy)
        assert caught.value.rule == "S3"
    assert await owner(kube, asked.claim) is None
    path = f"{CLAIMS}/{asked.claim}"
    await kube.merge_patch(path, {"metadata": {"annotations": {OWNER_ANNOTATION: "cardio"}}})
    await ensure(kube, asked)


def pod_of(claim: str, **labels: str) -> dict[str, Any]:
    body = pod(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": claim}}])
    body["metadata"] = {"name": "etl-0", "labels": labels}
    body["spec"]["containers"] = [{"name": "main", "image": "x"}]
    return body


@pytest.mark.parametrize(
    ("claim", "labels", "adopted"),
    [
        pytest.param("jupyter-cardio", {}, False, id="a-database"),
        pytest.param("jupyter-cardio", {"workspace": "asthma"}, False, id="a-server-of-another-workspace"),
        pytest.param("jupyter-cardio", {"workspace": "cardio"}, True, id="an-older-hubs-server-of-this-workspace"),
        pytest.param("jupyter-cardio2", {}, True, id="mounts-another-claim"),
    ],
)
async def test_claim_that_another_pod_mounts_is_not_adopted(
    kube: Kube, api: EmbeddedApi, claim: str, labels: dict[str, str], adopted: bool
) -> None:
    """S3: one list of pods, and only where something would be adopted."""
    await put(kube)
    await put(kube, "jupyter-cardio2")
    await kube.create(PODS, pod_of(claim, **labels))
    api.requests.clear()
    if adopted:
        await ensure(kube, volume(), volume("scans", "/mnt/scans"))
        assert await owner(kube) == "cardio"
    else:
        with pytest.raises(StorageRefused, match=r"pod 'etl-0' mounts it, .* set its annotation") as caught:
            await ensure(kube, volume(), volume("scans", "/mnt/scans"))
        assert caught.value.rule == "S3"
        assert await owner(kube) is None
        assert await claim_is_missing(kube, "scans")
    assert len([each for each in api.requests if each.path == PODS]) == 1


async def claim_is_missing(kube: Kube, name: str) -> bool:
    return await claim(kube, name) is None


async def test_pods_that_may_not_be_listed_leave_it_uncertain(kube: Kube, api: EmbeddedApi) -> None:
    """S3, A4."""
    await put(kube)

    async def no_pods(request: web.Request) -> web.StreamResponse | None:
        return status(403, "Forbidden") if request.path == PODS else None

    api.fault = no_pods
    with pytest.raises(BackendUnavailable, match="pods cannot be listed"):
        await ensure(kube)
    assert await owner(kube) is None


def change_what_is_read(kube: Kube, name: str, change: dict[str, Any]) -> None:
    """Fields that the embedded API does not have, or that only controllers write."""
    original = kube.get

    async def get(path: str, query: Any = None) -> dict[str, Any]:
        found = await original(path, query)
        if path == f"{CLAIMS}/{name}":
            for field, value in change.items():
                found.setdefault(field, {}).update(value)
        return found

    kube.get = get  # type: ignore[method-assign]  # as above


BOUND = {"pv.kubernetes.io/bound-by-controller": "yes"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "jupyter-asthma"}}},
            r"made from 'PersistentVolumeClaim' 'jupyter-asthma' \(spec.dataSource\)",
            id="clone",
        ),
        pytest.param(
            {"spec": {"dataSourceRef": {"kind": "VolumeSnapshot", "name": "of-asthma"}}},
            r"made from 'VolumeSnapshot' 'of-asthma' \(spec.dataSourceRef\)",
            id="snapshot",
        ),
        pytest.param({"spec": {"volumeName": "pv-asthma"}}, "chose its volume 'pv-asthma'", id="chosen-volume"),
        pytest.param({"spec": {"volumeName": "pv-1"}}, None, id="volume-of-the-controller"),
    ],
)
async def test_claim_with_the_files_of_another_is_adopted_by_policy_alone(
    kube: Kube, change: dict[str, Any], reason: str | None
) -> None:
    """S3: a clone and a volume that somebody chose may hold another project's files, whatever the claim is called."""
    await put(kube, annotations=BOUND if reason is None else {})
    change_what_is_read(kube, "jupyter-cardio", change)
    if reason is not None:
        with pytest.raises(StorageRefused, match=reason) as caught:
            await ensure(kube)
        assert caught.value.rule == "S3"
        assert OWNER_ANNOTATION not in ((await claim(kube) or {})["metadata"].get("annotations") or {})
    await ensure(kube, policy=Policy(claims=("jupyter-cardio",)) if reason else None)
    assert await owner(kube) == "cardio"


@pytest.mark.parametrize("name", ["jupyter-cardio", "jupyter-shared"])
async def test_claim_that_has_lost_its_volume_is_refused(kube: Kube, name: str) -> None:
    """S2: a pod would wait for it for ever; whoever it belongs to."""
    await ensure(kube)
    change_what_is_read(kube, name, {"spec": {"volumeName": "pv-1"}, "status": {"phase": "Lost"}})
    with pytest.raises(StorageRefused, match=f"claim '{name}' has lost its volume 'pv-1'"):
        await ensure(kube)


# The workspace's UID


async def owner_uid(kube: Kube) -> str | None:
    found = await claim(kube)
    assert found is not None
    uid: str | None = found["metadata"]["annotations"].get(OWNER_UID_ANNOTATION)
    return uid


async def test_claim_carries_the_uid_and_the_shared_one_does_not(kube: Kube, api: EmbeddedApi) -> None:
    """S6: and nothing is written again at the next start."""
    await ensure(kube, uid="one")
    assert (await owner(kube), await owner_uid(kube)) == ("cardio", "one")
    assert OWNER_UID_ANNOTATION not in (await claim(kube, "jupyter-shared") or {})["metadata"]["annotations"]
    api.requests.clear()
    await ensure(kube, uid="one")
    assert {each.method for each in api.requests} == {"GET"}


@pytest.mark.parametrize("annotations", [{}, {OWNER_ANNOTATION: "cardio"}], ids=["without-an-owner", "without-a-uid"])
async def test_claim_from_before_gets_the_uid_at_the_next_start(kube: Kube, annotations: dict[str, str]) -> None:
    """S6: of many at once as well."""
    await put(kube, annotations=annotations)
    await asyncio.gather(*(ensure(kube, volume(), uid="one") for _ in range(3)))
    assert (await owner(kube), await owner_uid(kube)) == ("cardio", "one")


async def test_two_of_one_name_racing_for_a_claim_from_before_never_both_get_it(kube: Kube) -> None:
    """S6: the UID is written only onto what was read."""
    await put(kube, annotations={OWNER_ANNOTATION: "cardio"})
    results = await asyncio.gather(*(ensure(kube, volume(), uid=uid) for uid in ("one", "two")), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "StorageRefused"]


@pytest.mark.parametrize(
    ("uid", "advice"),
    [
        ("two", f"set its annotation {OWNER_UID_ANNOTATION} to 'two'"),
        (None, f"remove its annotation {OWNER_UID_ANNOTATION}"),
    ],
)
@pytest.mark.parametrize("owned", [True, False])
async def test_new_workspace_under_an_old_name_does_not_get_the_old_files(
    kube: Kube, uid: str | None, advice: str, owned: bool
) -> None:
    """S6: deleted and made anew for somebody else; nothing is changed until somebody says so."""
    await put(kube, annotations={OWNER_UID_ANNOTATION: "one", **({OWNER_ANNOTATION: "cardio"} if owned else {})})
    before = await claim(kube)
    with pytest.raises(StorageRefused, match="belongs to another workspace of the name 'cardio'") as caught:
        await ensure(kube, uid=uid)
    assert caught.value.rule == "S6"
    assert advice in str(caught.value)
    assert await claim(kube) == before
    assert await claim(kube, "jupyter-shared") is None
    await kube.merge_patch(f"{CLAIMS}/jupyter-cardio", {"metadata": {"annotations": {OWNER_UID_ANNOTATION: uid}}})
    await ensure(kube, uid=uid)


async def test_shared_claim_that_somebody_took_is_named_with_what_to_do(kube: Kube) -> None:
    """S2: every start is refused, and ``doctor`` says why."""
    assert await shared_claim_problem(kube) is None
    await put(kube, "jupyter-shared", annotations={OWNER_ANNOTATION: "asthma"})
    told = (
        "claim 'jupyter-shared' belongs to 'asthma', though every workspace mounts it, so that no server starts; "
        "set its annotation workspace-managers/owner to 'shared', or remove it"
    )
    with pytest.raises(StorageRefused) as caught:
        await ensure(kube)
    assert str(caught.value) == told == await shared_claim_problem(kube)
    await kube.merge_patch(f"{CLAIMS}/jupyter-shared", {"metadata": {"annotations": {OWNER_ANNOTATION: "shared"}}})
    assert await shared_claim_problem(kube) is None
    await ensure(kube)


async def test_shared_claim_that_stands_is_used_as_it_is(kube: Kube) -> None:
    await put(kube, "jupyter-shared", labels={"app.kubernetes.io/managed-by": "Helm"})
    before = await claim(kube, "jupyter-shared")
    await ensure(kube)
    assert await claim(kube, "jupyter-shared") == before


async def test_claim_that_is_being_deleted_is_refused(kube: Kube) -> None:
    """S2: it would vanish under the study."""
    await put(kube, annotations={OWNER_ANNOTATION: "cardio"})
    await put(kube, "jupyter-shared")
    original = kube.get

    async def get(path: str, query: Any = None) -> dict[str, Any]:
        found = await original(path, query)
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return found

    kube.get = get  # type: ignore[method-assign]  # the embedded API deletes a claim at once
    with pytest.raises(StorageRefused, match="is being deleted"):
        await ensure(kube)


async def test_existing_claim_is_never_shrunk_or_changed(kube: Kube) -> None:
    """S2."""
    await ensure(kube, volume(capacity="1Ti"))
    before = await claim(kube)
    await ensure(kube, volume(capacity="1Gi", storage_class="other", access_modes=("ReadOnlyMany",)))
    assert await claim(kube) == before


HOME_CLAIM = personal_claim("alice", "cardio")
OURS = {OWNER_ANNOTATION: "cardio", PERSON_ANNOTATION: "alice"}


async def test_s8_home_is_made_with_whose_it_is_and_when_it_was_used(kube: Kube, api: EmbeddedApi) -> None:
    """S8: and a start on another day writes nothing but the day."""
    await ensure(kube, home(storage_class="homes", access_modes=("ReadWriteOnce",), capacity="1Gi"), uid="one")
    made = await claim(kube, HOME_CLAIM)
    assert made is not None
    expected = {**OURS, OWNER_UID_ANNOTATION: "one", USED_ANNOTATION: "2026-06-15"}
    assert made["metadata"]["annotations"].items() >= expected.items()
    assert made["spec"]["storageClassName"] == "homes"
    assert made["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert made["spec"]["resources"]["requests"]["storage"] == "1Gi"
    for today, methods in ((TODAY, ["GET"]), (TODAY + timedelta(days=1), ["GET", "PATCH"])):
        api.requests.clear()
        await ensure(kube, home(), uid="one", today=today)
        assert [each.method for each in api.requests] == methods
    now = await claim(kube, HOME_CLAIM)
    assert now is not None
    assert now["metadata"]["annotations"].items() >= {**expected, USED_ANNOTATION: "2026-06-16"}.items()


@pytest.mark.parametrize(
    ("annotations", "metadata", "spec"),
    [
        pytest.param({}, {}, {}, id="nobodys"),
        pytest.param({OWNER_ANNOTATION: "cardio"}, {}, {}, id="the-workspaces"),
        pytest.param({PERSON_ANNOTATION: "alice"}, {}, {}, id="without-a-workspace"),
        pytest.param({**OURS, PERSON_ANNOTATION: "bob"}, {}, {}, id="of-another-person"),
        pytest.param({**OURS, PERSON_ANNOTATION: "Alice"}, {}, {}, id="compared-whole"),
        pytest.param({**OURS, OWNER_ANNOTATION: "hip"}, {}, {}, id="of-another-workspace"),
        pytest.param({**OURS, OWNER_ANNOTATION: "shared"}, {}, {}, id="shared"),
        pytest.param({**OURS, OWNER_UID_ANNOTATION: "before"}, {}, {}, id="of-an-earlier-workspace"),
        pytest.param(OURS, {"labels": {"app.kubernetes.io/name": "nextcloud"}}, {}, id="an-applications"),
        pytest.param(OURS, {"labels": {"component": "singleuser-storage"}}, {}, id="kubespawners"),
        pytest.param(OURS, {}, {"dataSource": {"kind": "PersistentVolumeClaim", "name": "of-bob"}}, id="a-clone"),
        pytest.param(OURS, {}, {"volumeName": "pv-of-bob"}, id="of-a-chosen-volume"),
    ],
)
async def test_s8_whatever_a_claim_says_it_is_not_made_a_home(
    kube: Kube, annotations: dict[str, str], metadata: dict[str, Any], spec: dict[str, Any]
) -> None:
    """S8: somebody with rights on claims has made one under the name of alice's home."""
    await put(kube, HOME_CLAIM, annotations=annotations, **metadata)
    if spec:
        change_what_is_read(kube, HOME_CLAIM, {"spec": spec})
    before = await claim(kube, HOME_CLAIM)
    with pytest.raises(StorageRefused) as caught:
        await ensure(kube, home(), uid="one")
    assert caught.value.rule == ("S6" if OWNER_UID_ANNOTATION in annotations else "S8")
    assert await claim(kube, HOME_CLAIM) == before


async def test_s8_home_that_was_restored_is_taken_where_the_policy_says_so(kube: Kube) -> None:
    await put(kube, HOME_CLAIM, annotations=OURS)
    change_what_is_read(kube, HOME_CLAIM, {"spec": {"volumeName": "pv-of-the-backup"}})
    with pytest.raises(StorageRefused, match="chose its volume"):
        await ensure(kube, home())
    await ensure(kube, home(), policy=Policy(claims=("home-*",)))


async def test_s8_home_is_mounted_as_nothing_else(kube: Kube) -> None:
    """S8: whatever name it has, as a claim's annotations can be written by others than the hub."""
    await put(kube, "scans", annotations={OWNER_ANNOTATION: "cardio", PERSON_ANNOTATION: "bob"})
    with pytest.raises(StorageRefused, match="belongs to the person 'bob'") as caught:
        await ensure(kube, volume("scans", "/mnt/scans"))
    assert caught.value.rule == "S8"


async def test_s8_racing_starts_of_one_person_have_one_home(kube: Kube) -> None:
    await asyncio.gather(*(ensure(kube, home()) for _ in range(20)))
    made = await claim(kube, HOME_CLAIM)
    assert made is not None
    assert made["metadata"]["annotations"].items() >= OURS.items()


def status(code: int, reason: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": f"{reason} of a test"}
    return web.json_response(body, status=code)


async def test_quota_reads_before_it_raises(kube: Kube, api: EmbeddedApi) -> None:
    """S2: a quota's 403 comes though the claim is there already."""

    async def quota(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        api.fault = None
        await put(kube, annotations={OWNER_ANNOTATION: "cardio"})
        return status(403, "Forbidden")

    api.fault = quota
    await ensure(kube, volume())
    assert await owner(kube) == "cardio"


async def test_quota_that_is_used_up_is_unavailable_with_its_sentence(kube: Kube, api: EmbeddedApi) -> None:
    """S2, A4."""

    async def quota(request: web.Request) -> web.StreamResponse | None:
        return status(403, "Forbidden") if request.method == "POST" else None

    api.fault = quota
    with pytest.raises(BackendUnavailable) as caught:
        await ensure(kube, volume())
    assert "quota" in caught.value.user_message


async def test_lost_answer_to_a_create_is_no_second_claim(kube: Kube, api: EmbeddedApi) -> None:
    """S2: time-outs retry; the claim was made, the answer never came."""
    kube.timeouts = replace(kube.timeouts, request=1.0)
    lost = [True]

    async def lose(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and lost:
            lost.clear()
            api.fault = None
            await put(kube, annotations={OWNER_ANNOTATION: "cardio"})
            await asyncio.sleep(5)
        return None

    api.fault = lose
    await ensure(kube, volume())
    assert await owner(kube) == "cardio"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_passing_fault_is_ridden_out(kube: Kube, api: EmbeddedApi, code: int) -> None:
    faults = [code, code]

    async def fail(_request: web.Request) -> web.StreamResponse | None:
        return status(faults.pop(), "Whatever") if faults else None

    api.fault = fail
    await ensure(kube, volume(f"jupyter-{'cardio'}", f"{HOME}/cardio"))
    assert await owner(kube) == "cardio"


@pytest.mark.parametrize("fault", ["500", "hangs", "401", "gone", "<html>", '{"metadata":', "\xff", "[]", "null", "{}"])
async def test_api_without_an_answer_is_unavailable(kube: Kube, api: EmbeddedApi, fault: str) -> None:
    """A4: and the sentence tells no internals."""
    if fault == "hangs":
        kube.timeouts = replace(kube.timeouts, request=0.5)

    async def fail(_request: web.Request) -> web.StreamResponse | None:
        if fault == "hangs":
            await asyncio.sleep(5)
        if fault.isdecimal():
            return status(int(fault), "Whatever")
        return web.Response(body=fault.encode("latin-1"), content_type="application/json")

    if fault == "gone":
        await api.stop()
    api.fault = fail
    with pytest.raises(BackendUnavailable) as caught:
        await ensure(kube)
    assert "of a test" not in caught.value.user_message


@pytest.mark.parametrize("answer", [b"<html>", b"\xff", b"[" * 100_000])
async def test_answer_that_a_library_cannot_read_is_unavailable(
    kube: Kube, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """A4: a plugin's own library reads the answers itself, and asks through the same client."""
    monkeypatch.setattr(client, "TRIES", 1)

    async def read(_api: object) -> object:
        return json.loads(answer)

    with pytest.raises(BackendUnavailable, match="got no answer in 1 tries"):
        await kube.call("GET something", read)


async def test_claim_that_the_api_takes_as_invalid_is_refused(kube: Kube) -> None:
    with pytest.raises(StorageRefused, match="cannot be made"):
        await ensure(kube, volume(access_modes=("ReadWriteManny",)))
