"""What the cluster does to a start that was decided, on a real hub: refused, late, away, and what is left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.e2e.conftest import Hub, audit_of
from workspace_managers.devcluster.demo import Demo
from workspace_managers.hub import refusals, waiting

API = "embedded"  # whose faults these tests use
START_SECONDS = 60
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

# The hub's reflectors end as they do after an outage of a minute: their task is over, and nobody is told.
LATER = """
async def give_up(spawner):
    if spawner.user.name == "giver":
        for reflector in spawner.reflectors.values():
            reflector.watch_task.cancel()
c.KubeSpawner.pre_spawn_hook = give_up
c.KubeSpawner.k8s_api_request_timeout = 2
c.KubeSpawner.http_timeout = 2
"""


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def no_fault_is_left(demo: Demo) -> AsyncIterator[None]:
    yield
    demo.api.fault = None


def refuses(user: str, status: int, message: str) -> Fault:
    """The creation of this user's pods is refused."""

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST" or not request.path.endswith("/pods") or user not in await request.text():
            return None
        body = {"kind": "Status", "status": "Failure", "code": status, "reason": "Forbidden", "message": message}
        return web.json_response(body, status=status)

    return fault


REFUSALS = [
    pytest.param(403, 'pods "x" is forbidden: exceeded quota: pods', waiting.ROOM.failed, "refused", id="quota"),
    pytest.param(
        403, "maximum memory usage per Container is 1Gi, but limit is 4Gi", refusals.TOO_LARGE, "refused", id="limits"
    ),
    pytest.param(403, 'violates PodSecurity "restricted:latest"', "did not accept", "refused", id="pod-security"),
    pytest.param(400, 'admission webhook "x" denied the request', "did not accept", "refused", id="webhook"),
    pytest.param(422, "Pod is invalid", "did not accept", "refused", id="invalid"),
    pytest.param(500, "etcdserver: no leader", refusals.AWAY, "unavailable", id="500"),
]


@pytest.mark.parametrize(("status", "message", "sentence", "outcome"), REFUSALS)
async def test_refused_pod_is_a_sentence_and_an_outcome(  # noqa: PLR0917 - fixtures and one row of the table
    hub: Hub, demo: Demo, status: int, message: str, sentence: str, outcome: str
) -> None:
    """A4: what it is, that files are safe, whom to tell; and nothing is left behind."""
    await hub.grant("quentin", "refused")
    demo.api.fault = refuses("quentin", status, message)
    answered, answer = await hub.start("quentin", {"profile": "refused"})
    assert answered == 503, answer
    assert sentence in answer["message"]
    assert "What is saved in the folder of a workspace is kept." in answer["message"]
    assert audit_of(demo, "quentin")[-1]["outcome"] == outcome
    assert "jupyter-quentin" not in await hub.pods()
    assert "status" not in await hub.workspace("refused")


async def test_workspace_is_provisioned_once_its_server_has_its_storage(hub: Hub) -> None:
    """A pod that is never ready may still wait for its volumes; what is ready has them mounted."""
    await hub.grant("petra", "waits", image="example/fails:1")
    await hub.grant("petra", "opens")
    await hub.call("POST", "/users/petra")
    status, answer = await hub.call("POST", "/users/petra/server", {"profile": "waits"})
    if status == 202:
        await hub.wait("petra", lambda server: not server)
    else:
        assert status == 503, answer
    assert "status" not in await hub.workspace("waits")
    status, answer = await hub.start("petra", {"profile": "opens"})
    assert status in (201, 202), answer
    async with asyncio.timeout(START_SECONDS):
        while (await hub.workspace("opens")).get("status", {}).get("statusText") != "Provisioned":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await hub.stop("petra")


async def test_fifty_refused_starts_leave_the_hub_to_others(hub: Hub, demo: Demo) -> None:
    """The chart makes a hub exit after five failed starts in a row."""
    await hub.grant("quentin", "refused")
    await hub.grant("rachel", "meanwhile")
    demo.api.fault = refuses("quentin", 403, "exceeded quota")
    statuses = []
    for number in range(50):
        status, _ = await hub.start("quentin", {"profile": "refused"})
        statuses.append(status)
        if number == 25:
            status, answer = await hub.start("rachel", {"profile": "meanwhile"})
            assert status in (201, 202), answer
    assert statuses == [503] * 50
    await asyncio.sleep(3)  # a hub that gives up ends two seconds later
    status, answer = await hub.call("GET", "/")
    assert (status, "version" in answer) == (200, True)
    await hub.stop("rachel")


async def test_server_that_never_answers_is_told_and_not_counted(hub: Hub, demo: Demo) -> None:
    """JupyterHub waits for it after the start, and would exit after the fifth."""
    await hub.grant("ursula", "silent", image="example/silent:1")
    for _ in range(6):
        await hub.call("POST", "/users/ursula")
        status, answer = await hub.call("POST", "/users/ursula/server", {"profile": "silent"})
        if status == 202:
            await hub.wait("ursula", lambda server: not server)
        else:
            assert (status, refusals.SILENT in str(answer)) == (503, True), answer
    await asyncio.sleep(3)
    status, answer = await hub.call("GET", "/")
    assert (status, "version" in answer) == (200, True)
    outcomes = [(line["decision"], line["outcome"]) for line in audit_of(demo, "ursula")]
    assert outcomes == [("pod", "allowed"), ("start", "failed")] * 6
    assert "jupyter-ursula" not in await hub.pods()


async def test_reflectors_that_gave_up_are_replaced(hub: Hub, demo: Demo) -> None:
    """The next start works at once; without that it would wait for a pod that nobody watches."""
    for user in ("warm", "giver"):
        await hub.grant(user, f"of-{user}")
    status, answer = await hub.start("warm", {"profile": "of-warm"})
    assert status in (201, 202), answer
    await hub.stop("warm")
    status, answer = await hub.start("giver", {"profile": "of-giver"})
    assert status in (201, 202), answer
    assert (await hub.call("GET", "/users/giver"))[1]["servers"][""]["ready"]
    await hub.stop("giver")


async def test_creation_answered_late_is_not_repeated_after_the_grant_has_ended(hub: Hub, demo: Demo) -> None:
    """A3: KubeSpawner tries for 30 s; the pod that comes up in the end is removed."""
    await hub.grant("sybil", "late")
    made: list[str] = []

    async def late(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST" or not request.path.endswith("/pods"):
            return None
        if not made:
            made.append("first")
            await hub.revoke("sybil", "late")
            # Longer than KubeSpawner waits for an answer; the pod is made all the same, and nobody hears of it.
            await asyncio.sleep(4)
        return None

    demo.api.fault = late
    status, answer = await hub.start("sybil", {"profile": "late"})
    if status == 202:
        await hub.wait("sybil", lambda server: not server)
    else:
        assert status == 403, answer
    assert audit_of(demo, "sybil")[-1]["outcome"] == "denied"
    async with asyncio.timeout(20):
        await asyncio.sleep(4)
        while "jupyter-sybil" in await hub.pods():  # noqa: ASYNC110 - a cluster's API
            await asyncio.sleep(0.5)


async def test_pod_comes_from_one_version_of_the_workspace(hub: Hub, demo: Demo) -> None:
    """A3, S5: it is changed between the form, the choice and the pod, and the pod has all of the last version."""
    old: dict[str, Any] = {
        "image": "example/first:1",
        "extraLabels": {"v": "1"},
        "defaultUri": "/one",
        "nodeSelector": {"pool": "a"},
    }
    new: dict[str, Any] = {
        "image": "example/second:1",
        "extraLabels": {"v": "2"},
        "defaultUri": "/two",
        "nodeSelector": {"pool": "b"},
    }
    await hub.grant("trudy", "changing", resources={"limits": {"cpu": 1}}, **old)
    status, answer = await hub.start("trudy", {"profile": "changing"})
    assert status in (201, 202), answer
    await hub.stop("trudy")

    changed: list[str] = []

    async def change(request: web.Request) -> web.StreamResponse | None:
        # Between the choice and the pod: as the start asks the API server for the grant.
        if not changed and request.method == "GET" and request.path.endswith("/analyticsworkspaces/changing"):
            changed.append("now")
            await hub.grant("trudy", "changing", resources={"limits": {"cpu": 2}}, **new)
        return None

    demo.api.fault = change
    status, answer = await hub.start("trudy", {"profile": "changing"})
    assert status in (201, 202), answer
    pod = next(pod for name, pod in (await hub.pods()).items() if "trudy" in name)
    notebook = pod["spec"]["containers"][0]
    workspace = await hub.workspace("changing")
    assert notebook["image"] == "example/second:1"
    assert str(notebook["resources"]["limits"]["cpu"]) == "2"
    assert pod["metadata"]["labels"]["v"] == "2"
    assert pod["spec"]["nodeSelector"]["pool"] == "b"
    assert {"name": "JUPYTERHUB_DEFAULT_URL", "value": "/two"} in notebook["env"]
    versions = json.loads(pod["metadata"]["annotations"]["workspace-managers/versions"])
    assert audit_of(demo, "trudy")[-1]["versions"] == versions
    assert versions["workspace"] == workspace["metadata"]["resourceVersion"]
    await hub.stop("trudy")
