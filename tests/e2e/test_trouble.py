"""What becomes of servers that run, on a real cluster: what people read of it, and that the hub knows them again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from playwright.async_api import Error, expect

from tests.apiserver.cluster import until
from tests.cluster.node import NodeCluster
from tests.e2e.conftest import MOVED_CLOCK, OUTLIVE, Hub, Person, assert_accessible, moved
from workspace_managers.devcluster.demo import Demo

API = "cluster"  # a whole one
SECONDS = 90_000
LEFT_SECONDS = 60.0
KEPT = "What was saved in the folder of the workspace is kept."
Make = Callable[..., Awaitable[Person]]

# The server reads a body whole, and needs its memory several times.
EAT = """async (path) => {
    const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/g);
    const body = JSON.stringify({type: "file", format: "text", content: "x".repeat(80000000)});
    await fetch(path, {method: "PUT", body, headers: {"X-XSRFToken": xsrf[xsrf.length - 1].split("=")[1]}});
}"""

LATER = f"{OUTLIVE}\nc.KubeSpawner.http_timeout = 20\n{MOVED_CLOCK}"


async def running(person: Make, hub: Hub, name: str, **workspace: Any) -> Person:
    """Somebody whose server runs, with a file in their workspace."""
    await hub.grant(name, name, **workspace)
    await hub.call("POST", f"/users/{name}")
    someone = await person(name)
    status, answer = await hub.start(name, {"profile": name})
    assert status in (201, 202), answer
    await someone.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await someone.page.goto(f"{someone.page.url.partition('/hub/')[0]}/user/{name}/lab", wait_until="commit")
    note = {"type": "file", "format": "text", "content": "found something"}
    status, answer = await someone.contents(f"{name}/note.txt", "PUT", note)
    assert status == 201, answer
    return someone


async def home(someone: Person, path: str = "home") -> None:
    await someone.page.goto(f"{someone.page.url.partition('/hub/')[0].partition('/user/')[0]}/hub/{path}")


async def note(someone: Person) -> Any:
    """What the person's file has, once their server answers."""
    url = f"{someone.page.url.partition('/hub/')[0].partition('/user/')[0]}/user/{someone.name}/lab"
    read: list[Any] = []

    async def is_read() -> bool:
        await someone.page.goto(url, wait_until="commit")
        with suppress(Error):  # the page goes on to another
            read[:] = await someone.contents(f"{someone.name}/note.txt")
        return bool(read and read[0] == 200)

    async with asyncio.timeout(60):
        await until(is_read)
    return read[1]["content"]


async def pod_of(hub: Hub, name: str) -> dict[str, Any]:
    return (await hub.pods())[f"jupyter-{name}"]


async def told(someone: Person, words: str) -> None:
    """The hub's page says so, within the time of a node that is given up."""

    async def is_there() -> bool:
        await home(someone)
        return words in await someone.page.inner_text("main")

    async with asyncio.timeout(SECONDS / 1000):
        await until(is_there)
    await expect(someone.page.locator("main .wm-note, main .wm-warning").first).to_contain_text(KEPT)


async def test_server_out_of_memory(person: Make, hub: Hub) -> None:
    someone = await running(person, hub, "eater", resources={"limits": {"memory": "220Mi"}})
    with suppress(Error):  # nobody is left to answer
        await someone.page.evaluate(EAT, "/user/eater/api/contents/eater/large.txt")

    async def has_ended() -> bool:
        status = (await pod_of(hub, "eater"))["status"]["containerStatuses"][0]
        return bool((status.get("lastState") or {}).get("terminated", {}).get("reason") == "OOMKilled")

    async with asyncio.timeout(60):
        await until(has_ended)
    await told(someone, "Your workspace used more memory than it has, and was ended and started anew.")
    await someone.shot("trouble-memory")
    await assert_accessible(someone)
    assert await note(someone) == "found something"
    await hub.stop("eater")
    await home(someone)
    assert "more memory" not in await someone.page.inner_text("main")


async def test_pod_that_is_evicted(person: Make, hub: Hub, cluster: NodeCluster) -> None:
    someone = await running(person, hub, "evicted")
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/jupyter-evicted"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "jupyter-evicted"}}
    await cluster.call("POST", f"{path}/eviction", eviction)

    async def is_gone() -> bool:
        return "jupyter-evicted" not in await hub.pods()

    async with asyncio.timeout(60):
        await until(is_gone)
    await told(someone, "The cluster has ended your workspace")
    await home(someone, "spawn")
    await expect(someone.page.locator("main .wm-note, main .wm-warning").first).to_contain_text(
        "The cluster has ended your workspace"
    )
    await someone.shot("trouble-evicted")
    await assert_accessible(someone)
    status, answer = await hub.start("evicted", {"profile": "evicted"})
    assert status in (201, 202), answer
    assert await note(someone) == "found something"
    await hub.stop("evicted")


async def test_node_that_does_not_answer_and_comes_back(person: Make, hub: Hub, cluster: NodeCluster) -> None:
    someone = await running(person, hub, "stranded")
    await cluster.kill("kubelet")
    try:
        await told(someone, "The machine that your workspace runs on does not answer at the moment.")
        await someone.shot("trouble-node")
    finally:
        await cluster.start("kubelet")
    assert await note(someone) == "found something", "the server goes on"

    async def is_well() -> bool:
        await home(someone)
        return "does not answer" not in await someone.page.inner_text("main")

    async with asyncio.timeout(60):
        await until(is_well)
    await hub.stop("stranded")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
async def test_hub_that_comes_back_knows_its_servers_and_lets_nobody_in_who_may_not(
    person: Make, hub: Hub, demo: Demo, cluster: NodeCluster, how: signal.Signals
) -> None:
    """Servers go on meanwhile; an access that ended while the hub was away starts nothing."""
    name = how.name.lower()
    someone = await running(person, hub, name)
    await hub.grant(name, f"{name}-ended")
    uid = (await pod_of(hub, name))["metadata"]["uid"]
    await demo.end_hub(how)
    await hub.revoke(name, f"{name}-ended")
    assert (await pod_of(hub, name))["metadata"].get("deletionTimestamp") is None
    await demo.start_hub()
    await hub.wait(name, lambda server: bool(server.get("ready")))
    assert (await pod_of(hub, name))["metadata"]["uid"] == uid
    assert await note(someone) == "found something"
    await hub.stop(name)
    status, answer = await hub.start(name, {"profile": f"{name}-ended"})
    assert (status, "not open to you" in answer["message"]) == (403, True), answer


async def test_last_day_ends_a_server_while_the_hub_is_away(person: Make, hub: Hub, demo: Demo) -> None:
    """E3: the kubelet keeps to the day, and the hub that comes back knows why."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    moved(demo).write_text(str((midnight - now).total_seconds() - LEFT_SECONDS))
    someone = await running(person, hub, "lastday", expires=str(midnight.date()))
    left = (await pod_of(hub, "lastday"))["spec"]["activeDeadlineSeconds"]
    assert 0 < left <= LEFT_SECONDS
    await demo.end_hub(signal.SIGKILL)

    async def has_ended() -> bool:
        return bool((await pod_of(hub, "lastday"))["status"].get("reason") == "DeadlineExceeded")

    async with asyncio.timeout(LEFT_SECONDS + 30):
        await until(has_ended)
    await demo.start_hub()
    await home(someone)
    await expect(someone.page.locator("main .wm-note, main .wm-warning").first).to_contain_text(
        "has ended with its last day"
    )
    await someone.shot("trouble-last-day")
    await assert_accessible(someone)
    moved(demo).unlink()


async def test_api_server_that_is_killed_while_one_starts_and_one_runs(
    person: Make, hub: Hub, demo: Demo, cluster: NodeCluster
) -> None:
    someone = await running(person, hub, "outage")
    await hub.grant("starter", "starter")
    starting = asyncio.create_task(hub.start("starter", {"profile": "starter"}))
    await asyncio.sleep(0.5)
    await cluster.restart()
    assert await note(someone) == "found something"
    status, answer = await starting
    if status == 503:  # it was in the middle of what the start needs; then nothing of it is left
        assert "What is saved in the folder of a workspace is kept." in answer["message"]
        async with asyncio.timeout(90):
            while "jupyter-starter" in await hub.pods():  # noqa: ASYNC110 - a cluster's API
                await asyncio.sleep(0.5)
        status, answer = await hub.start("starter", {"profile": "starter"})
    assert status in (201, 202), answer
    await hub.wait("starter", lambda server: bool(server.get("ready")))
    assert (await hub.call("GET", "/users/outage"))[1]["servers"][""]["ready"]
    for name in ("outage", "starter"):
        await hub.stop(name)


async def test_kubelet_that_is_killed_while_one_starts(person: Make, hub: Hub, cluster: NodeCluster) -> None:
    await hub.grant("patient", "patient")
    await cluster.kill("kubelet")
    try:
        starting = asyncio.create_task(hub.start("patient", {"profile": "patient"}))
        await asyncio.sleep(5)
    finally:
        await cluster.start("kubelet")
    status, answer = await starting
    assert status in (201, 202), answer
    await hub.wait("patient", lambda server: bool(server.get("ready")))
    await hub.stop("patient")
