"""Refused: no pod, no claim, and a sentence that the user can understand; and starts that fail (A1 to A4, S1 to S5)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jupyterhub
import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes_asyncio.client import CustomObjectsApi
from playwright.async_api import expect

from tests.e2e.conftest import Hub, Person, assert_accessible
from workspace_managers.devcluster.demo import Demo
from workspace_managers.errors import FILES_ARE_KEPT
from workspace_managers.hub.spawner import CANCEL_VERSION
from workspace_managers.kube.client import Kube

API = "embedded"  # whose faults these tests use
START_SECONDS = 20  # one start here takes them to the end, and none is of JupyterLab, which may need more
CONTAINER = re.compile("container", re.IGNORECASE)
Make = Callable[..., Awaitable[Person]]
YESTERDAY = str((datetime.now(UTC) - timedelta(days=1)).date())


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def no_fault_is_left(demo: Demo) -> AsyncIterator[None]:
    yield
    demo.api.fault = None


async def assert_refused(hub: Hub, user: str, options: Any, status: int, sentence: str) -> None:
    claims = await hub.claims()
    before = await hub.pods()
    answered, answer = await hub.start(user, options)
    assert (answered, sentence in str(answer)) == (status, True), answer
    for private in ("Traceback", "rare-diseases", "claim-", "analyticsworkspace", "127.0.0.1"):
        assert private not in str(answer)
    assert await hub.pods() == before
    assert (await hub.claims()).keys() == claims.keys()


@pytest.mark.parametrize(
    ("user", "options", "status", "sentence"),
    [
        pytest.param("alice", {"profile": "closed-study"}, 403, "not open to you", id="expired"),
        pytest.param("alice", {"profile": "next-study"}, 403, "not open yet", id="future"),
        pytest.param("alice", {"profile": "rare-diseases"}, 403, "not open to you", id="somebody-elses"),
        pytest.param("alice", {"profile": "no-such-workspace"}, 403, "not open to you", id="unknown"),
        pytest.param("alice", {"profile": "Cardio-Outcomes"}, 403, "not open to you", id="other-case"),
        pytest.param("dave", {}, 400, "No workspace was chosen", id="no-workspace-and-no-choice"),
        pytest.param("dave", None, 400, "No workspace was chosen", id="no-workspace-and-no-body"),
        pytest.param("dave", {"profile": ""}, 400, "No workspace was chosen", id="empty-choice"),
        pytest.param("alice2", {"profile": "cardio-outcomes"}, 403, "not open to you", id="username-with-a-prefix"),
    ],
)
async def test_refused_over_the_rest_api(hub: Hub, user: str, options: Any, status: int, sentence: str) -> None:
    """A2, A3: what names no workspace is no denial."""
    await assert_refused(hub, user, options, status, sentence)


async def test_ten_refusals_in_a_row_leave_the_hub_running(hub: Hub) -> None:
    """The chart makes a hub exit after five failed starts in a row; anybody could cause those."""
    for _ in range(10):
        status, _ = await hub.start("alice", {"profile": "rare-diseases"})
        assert status == 403
    await asyncio.sleep(3)
    status, answer = await hub.call("GET", "/")
    assert (status, "version" in answer) == (200, True)


async def test_binding_deleted_between_form_and_start(hub: Hub, kube: Kube, demo: Demo) -> None:
    """A3: the pod asks the API server itself, whatever the cache still believes."""
    await hub.grant("erin", "revoked")
    status, answer = await hub.start("erin", {"profile": "revoked"})
    assert status in (201, 202), answer
    await hub.stop("erin")
    await _delete_binding(kube, "erin-revoked")
    await assert_refused(hub, "erin", {"profile": "revoked"}, 403, "not open to you")


async def test_binding_deleted_while_the_watch_is_cut_off(hub: Hub, kube: Kube, demo: Demo) -> None:
    """A3: the cache has not heard of it yet, and the start is refused all the same."""
    await hub.grant("frank", "cut-off")
    status, answer = await hub.start("frank", {"profile": "cut-off"})
    assert status in (201, 202), answer
    await hub.stop("frank")

    heard = asyncio.Event()

    async def deaf(request: web.Request) -> web.StreamResponse | None:
        if "watch" in request.query and "analyticsworkspace" in request.path:
            await heard.wait()
        return None

    demo.api.fault = deaf
    demo.api.drop_watches()
    await _delete_binding(kube, "frank-cut-off")
    await assert_refused(hub, "frank", {"profile": "cut-off"}, 403, "not open to you")
    heard.set()
    await asyncio.sleep(1)


async def test_workspace_that_expired_between_form_and_start(hub: Hub) -> None:
    """A1, A3."""
    await hub.grant("grace", "ending")
    status, answer = await hub.start("grace", {"profile": "ending"})
    assert status in (201, 202), answer
    await hub.stop("grace")
    await hub.grant("grace", "ending", expires=YESTERDAY)
    await assert_refused(hub, "grace", {"profile": "ending"}, 403, "not open to you")


async def test_saved_choice_is_checked_again(hub: Hub) -> None:
    """A3: a start with no options takes those of the last time, which may have ended."""
    await hub.grant("heidi", "saved")
    status, answer = await hub.start("heidi", {"profile": "saved"})
    assert status in (201, 202), answer
    await hub.stop("heidi")
    status, answer = await hub.start("heidi", None)
    assert status in (201, 202), answer
    await hub.stop("heidi")
    await hub.grant("heidi", "saved", expires=YESTERDAY)
    await assert_refused(hub, "heidi", None, 403, "not open to you")


def answers(status: int) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        if "analyticsworkspace" not in request.path and "persistentvolumeclaims" not in request.path:
            return None
        if status == 0:
            await asyncio.sleep(60)
        body = {
            "kind": "Status",
            "status": "Failure",
            "code": status,
            "reason": "InternalError",
            "message": "of a test",
        }
        return web.json_response(body, status=status)

    return fault


@pytest.mark.parametrize("status", [500, 0, 403], ids=["500", "hangs", "forbidden"])
async def test_api_server_without_an_answer(hub: Hub, demo: Demo, status: int) -> None:
    """A4: unavailable is not denied, and there is no pod either."""
    await hub.grant("ivan", "patient")
    started, answer = await hub.start("ivan", {"profile": "patient"})
    assert started in (201, 202), answer
    await hub.stop("ivan")
    claims, pods = (await hub.claims()).keys(), await hub.pods()
    demo.api.fault = answers(status)
    answered, answer = await hub.call("POST", "/users/ivan/server", {"profile": "patient"})
    if answered == 202:
        # The hub does not keep a request waiting for ten seconds; the refusal comes with the progress.
        await hub.wait("ivan", lambda server: not server)
    else:
        assert (answered, "cannot be looked up" in str(answer)) == (503, True), answer
    demo.api.fault = None
    assert (await hub.claims()).keys() == claims
    assert await hub.pods() == pods


async def test_api_server_that_is_gone_and_comes_back(hub: Hub, demo: Demo) -> None:
    """A4: refused while it is gone, and right again when it is back, with no restart of the hub."""
    await hub.grant("judy", "returning")
    started, answer = await hub.start("judy", {"profile": "returning"})
    assert started in (201, 202), answer
    await hub.stop("judy")
    port = int(demo.api.url.rsplit(":", 1)[1])
    await demo.api.stop()
    try:
        answered, answer = await hub.call("POST", "/users/judy/server", {"profile": "returning"})
        if answered == 202:
            await hub.wait("judy", lambda server: not server)
        else:
            assert (answered, "cannot be looked up" in str(answer)) == (503, True), answer
    finally:
        await demo.api.start("127.0.0.1", port)
    assert "jupyter-judy" not in await hub.pods()
    async with asyncio.timeout(60):
        while (await hub.start("judy", {"profile": "returning"}))[0] not in (201, 202):  # noqa: ASYNC110 - a hub's REST API
            await asyncio.sleep(1)
    await hub.stop("judy")


async def test_unavailable_backend_has_a_page_of_its_own(person: Make, demo: Demo) -> None:
    """A4, F2: never "you have no workspaces" when nobody could ask; and all is well again when the API is."""

    async def broken(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=500) if "analyticsworkspace" in request.path else None

    alice = await person("alice")
    demo.api.fault = broken
    demo.api.drop_watches()
    async with asyncio.timeout(60):
        while (await loaded(alice, demo)) == 200:  # noqa: ASYNC110 - nothing tells when the grace of the cache is over
            await asyncio.sleep(1)
    assert await loaded(alice, demo) == 503
    text = await alice.page.inner_text("main")
    assert "cannot be looked up" in text
    assert FILES_ARE_KEPT in text
    await expect(alice.page.get_by_role("radio")).to_have_count(0)
    await expect(alice.page.get_by_role("button", name="Start")).to_have_count(0)
    await alice.look("unavailable")
    demo.api.fault = None
    async with asyncio.timeout(60):
        while (await loaded(alice, demo)) != 200:  # noqa: ASYNC110 - nor when the watch is back
            await asyncio.sleep(1)


async def loaded(person: Person, demo: Demo) -> int:
    answer = await person.page.goto(f"{demo.url}/hub/spawn")
    assert answer is not None
    return answer.status


async def test_progress_and_failed_start_say_what_to_do(person: Make, hub: Hub) -> None:
    """F2: what is going on while it starts; then that no data is lost, and the way back to the list."""
    await hub.grant("alice", "broken-start", image="example/fails:1", displayName="Broken start")
    alice = await person("alice")
    await alice.page.locator('input[name="profile"][value="broken-start"]').check(force=True)
    await alice.page.get_by_role("button", name="Start").click()
    await alice.page.wait_for_url("**/spawn-pending/**")
    await expect(alice.page.locator("#progress-message")).to_contain_text("Its software has started", timeout=20_000)
    await expect(alice.page.locator("#progress-log")).to_contain_text(CONTAINER)
    assert "Workspace: Broken start" in await alice.page.inner_text("main")
    await alice.shot("progress")
    await assert_accessible(alice)
    alert = alice.page.get_by_role("alert")
    await expect(alert).to_contain_text(
        "The software of this workspace ended as soon as it was started", timeout=90_000
    )
    await expect(alert).to_contain_text("What is saved in the folder of a workspace is kept.")
    await alice.shot("failed-start")
    await assert_accessible(alice)
    await alice.page.goto(alice.page.url.split("/hub/")[0] + "/hub/spawn-pending/alice")
    await alice.look("failed-start-page")


async def test_start_can_be_cancelled_on_its_page(person: Make, hub: Hub) -> None:
    """F2: where the hub can interrupt a start; the way home is in the bar at the top on every hub."""
    await hub.grant("bob", "never-up", image="example/silent:1", displayName="Never up")
    bob = await person("bob")
    await bob.page.locator('input[name="profile"][value="never-up"]').check(force=True)
    await bob.page.get_by_role("button", name="Start").click()
    await bob.page.wait_for_url("**/spawn-pending/**")
    cancel = bob.page.get_by_role("button", name="Cancel the start")
    if jupyterhub.version_info[:2] < CANCEL_VERSION:
        await expect(cancel).to_have_count(0)
        return
    await bob.shot("cancel")
    await cancel.click()
    await bob.page.wait_for_url("**/hub/spawn/bob")
    await hub.wait("bob", lambda server: not server)
    async with asyncio.timeout(60):
        while any("bob" in name for name in await hub.pods()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.2)


async def test_nothing_of_the_last_workspace_is_left(hub: Hub) -> None:
    """S5: the same server, one workspace after the other."""
    await hub.grant(
        "mallory",
        "first",
        image="example/first:1",
        extraLabels={"only": "first"},
        nodeSelector={"pool": "first"},
        tolerations=[{"key": "first", "operator": "Exists"}],
        resources={"limits": {"cpu": 2, "memory": "4Gi"}},
        defaultUri="/tree",
    )
    await hub.grant("mallory", "second", image="example/second:1")
    seen = []
    for name in ("first", "second"):
        status, answer = await hub.start("mallory", {"profile": name})
        assert status in (201, 202), answer
        seen.append(next(pod for pod_name, pod in (await hub.pods()).items() if "mallory" in pod_name))
        await hub.stop("mallory")
    first, second = seen
    assert first["metadata"]["labels"]["only"] == "first"
    assert first["spec"]["nodeSelector"] == {"pool": "first"}
    assert "first" not in str(second["spec"]) + str(second["metadata"]["labels"])
    assert not second["spec"].get("nodeSelector")
    assert not second["spec"].get("tolerations")
    assert not (second["spec"]["containers"][0].get("resources") or {}).get("limits")
    assert {"name": "JUPYTERHUB_DEFAULT_URL", "value": "/tree"} in first["spec"]["containers"][0]["env"]
    assert {"name": "JUPYTERHUB_DEFAULT_URL", "value": "/tree"} not in second["spec"]["containers"][0]["env"]


async def test_personal_claim_is_never_made(hub: Hub) -> None:
    """S1: neither by us nor by KubeSpawner before our hook."""
    assert not [name for name in await hub.claims() if name.startswith("claim-")]


async def test_no_token_is_in_the_hubs_log(demo: Demo) -> None:
    """F1: of the whole run so far, refusals and failures included."""
    log = demo.hub_log.read_text()
    assert "denied at pod for 'alice'" in log
    assert demo.hub_api_token not in log
    assert "JUPYTERHUB_API_TOKEN" not in log


async def _delete_binding(kube: Kube, name: str) -> None:
    await CustomObjectsApi(await kube.api()).delete_namespaced_custom_object(
        "xlscsde.nhs.uk", "v1", kube.namespace, "analyticsworkspacebindings", name
    )
