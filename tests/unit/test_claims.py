"""Claims on the embedded API: made once, adopted only for certain, never another's (S2, S3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from tests.factories import shared, volume
from workspace_managers import HOME, BackendUnavailable, Settings, StorageRefused, Volume
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.kube import client
from workspace_managers.kube.claims import OWNER_ANNOTATION, ensure_claims
from workspace_managers.kube.client import ApiError, Kube

SETTINGS = Settings.from_environ({"POD_NAMESPACE": "hub"})
CLAIMS = "/api/v1/namespaces/hub/persistentvolumeclaims"


@pytest.fixture
async def api() -> AsyncIterator[EmbeddedApi]:
    api = EmbeddedApi(namespaces=("hub",))
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def kube(api: EmbeddedApi) -> AsyncIterator[Kube]:
    kube = Kube("hub", api.kubeconfig("hub"))
    yield kube
    await kube.close()


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


async def ensure(kube: Kube, *volumes: Volume, workspace: str = "cardio") -> None:
    await ensure_claims(kube, SETTINGS, workspace, volumes or (volume(), shared()))


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
    wanted = volume("contested", sole=True)
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
        *(ensure(kube, volume("contested", sole=True), workspace=name) for name in ("cardio", "asthma")),
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
        await ensure(kube, volume(), shared(), volume("scans", "/mnt/scans", sole=True))
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


@pytest.mark.parametrize(
    ("asked", "adopted"),
    [
        pytest.param(volume("jupyter-cardio"), True, id="its-own-default"),
        pytest.param(volume("old-study", sole=True), True, id="named-by-it-alone"),
        pytest.param(volume("old-study"), False, id="nobody-can-tell"),
        pytest.param(volume("old-study", sole=False), False, id="named-by-others-too"),
        pytest.param(volume("jupyter-asthma"), False, id="the-default-of-another"),
    ],
)
@pytest.mark.parametrize("exists", [True, False], ids=["there", "to-be-made"])
async def test_claim_without_an_owner_is_taken_only_when_certain(
    kube: Kube, asked: Volume, adopted: bool, exists: bool
) -> None:
    """S3: adopting one and making one need the same certainty."""
    if exists:
        await put(kube, asked.claim)
    if adopted:
        await ensure(kube, asked)
        assert await owner(kube, asked.claim) == "cardio"
        return
    with pytest.raises(StorageRefused, match=OWNER_ANNOTATION):
        await ensure(kube, asked)
    found = await claim(kube, asked.claim)
    assert (found is not None) is exists
    assert OWNER_ANNOTATION not in ((found or {}).get("metadata", {}).get("annotations") or {})


async def test_default_claim_that_another_workspace_uses_is_adopted_by_neither(kube: Kube) -> None:
    """S3: a new workspace whose default name is an older study's claim must not be shown that study's files."""
    await put(kube)
    with pytest.raises(StorageRefused, match="not the only one"):
        await ensure(kube, volume(sole=False))
    with pytest.raises(StorageRefused, match="not the only one"):
        await ensure(kube, volume(sole=False), workspace="older-study")
    assert await owner(kube) is None


async def test_default_claim_that_is_not_there_is_made_though_another_names_it(kube: Kube) -> None:
    """S3: nothing is in it yet, and from then on its owner is told."""
    await ensure(kube, volume(sole=False))
    assert await owner(kube) == "cardio"
    with pytest.raises(StorageRefused, match="belongs to 'cardio'"):
        await ensure(kube, volume(sole=False), workspace="older-study")


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {"component": "hub", "app": "jupyterhub"}}, id="the-hubs-database"),
        pytest.param({"labels": {"heritage": "jupyterhub"}}, id="old-personal"),
        pytest.param({"labels": {"chart": "jupyterhub-3.2.1"}}, id="the-charts-of-old"),
        pytest.param({"labels": {"hub.jupyter.org/username": "alice"}}, id="personal"),
        pytest.param({"annotations": {"hub.jupyter.org/username": "alice"}}, id="personal-by-annotation"),
        pytest.param({"labels": {"app.kubernetes.io/managed-by": "kubespawner"}}, id="new-personal"),
        pytest.param({"labels": {"app.kubernetes.io/name": "jupyterhub"}}, id="the-charts"),
    ],
)
@pytest.mark.parametrize("asked", [volume("jupyter-cardio"), volume("hub-db-dir", sole=True)], ids=["default", "named"])
async def test_hubs_own_and_personal_claims_are_never_adopted(
    kube: Kube, metadata: dict[str, Any], asked: Volume
) -> None:
    """S3."""
    await put(kube, asked.claim, **metadata)
    with pytest.raises(StorageRefused, match="the hub's own or a person's"):
        await ensure(kube, asked)


async def test_shared_claim_of_a_workspace_is_refused(kube: Kube) -> None:
    """S2."""
    await put(kube, "jupyter-shared", annotations={OWNER_ANNOTATION: "asthma"})
    with pytest.raises(StorageRefused, match="belongs to 'asthma'"):
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
