"""Servers that run while access ends: what people read, what is stopped, and what goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import jupyterhub
from playwright.async_api import expect

from tests.e2e.conftest import MOVED_CLOCK, OUTLIVE, Hub, Person, assert_accessible, audit_of, moved
from workspace_managers.devcluster.demo import Demo
from workspace_managers.kube.client import Kube

SECONDS = 90_000
REVOKED_SECONDS = 10.0
"""Within so long a revoked access ends its server (rule E1)."""
Make = Callable[..., Awaitable[Person]]

# Where servers can be shared, the tests' service may do so.
SHARING = """
import jupyterhub
if jupyterhub.version_info[0] >= 5:
    sharer = {"name": "sharer", "scopes": ["shares", "read:users:name"], "services": ["demo"]}
    c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, sharer]
"""
LATER = OUTLIVE + MOVED_CLOCK + SHARING


def decisions_of(demo: Demo, stage: str, name: str) -> list[dict[str, Any]]:
    """The audit lines of a stage for a person."""
    return [line for line in audit_of(demo, name) if line["decision"] == stage]


async def running(hub: Hub, name: str, workspace: str, **grant: Any) -> str:
    """Somebody's server that runs, and its pod's name."""
    await hub.grant(name, workspace, **grant)
    before = set(await hub.pods())
    status, answer = await hub.start(name, {"profile": workspace})
    assert status in (201, 202), answer
    (pod,) = set(await hub.pods()) - before
    return pod


async def runs(hub: Hub, name: str) -> bool:
    _, answer = await hub.call("GET", f"/users/{name}")
    return bool((answer.get("servers") or {}).get("", {}).get("ready"))


async def test_deleted_binding_ends_the_server_and_nobody_elses(person: Make, hub: Hub, demo: Demo) -> None:
    """E1, in a browser: the person reads why on the hub's page, and the colleague in the same workspace works on."""
    alice = await person("alice")
    alices = await running(hub, "alice", "trial")
    bobs = await running(hub, "bob", "trial")
    await alice.page.goto(f"{demo.url}/hub/home")
    await expect(alice.page.locator(".wm-closing")).to_have_text("Open until the end of 31 December 2089.")
    await hub.revoke("alice", "trial")
    await gone(hub, alices)
    await hub.wait("alice", lambda server: not server)
    await alice.page.goto(f"{demo.url}/hub/home")
    told = alice.page.locator("main .wm-note, main .wm-warning")
    await expect(told).to_contain_text("Your access to this workspace was taken away")
    await expect(told).to_contain_text("The files in its folder are kept.")
    await alice.shot("session-taken")
    await assert_accessible(alice)
    await alice.page.goto(f"{demo.url}/user/alice/lab")
    await expect(alice.page.locator("#wm-stopped")).to_contain_text("was taken away")
    assert bobs in await hub.pods()
    assert await runs(hub, "bob")
    await until_lines(demo, "alice", 1)
    (line,) = decisions_of(demo, "session", "alice")
    assert (line["outcome"], line["rule"], line["workspace"]) == ("denied", "A2", "trial")
    assert line["pod"]["uid"]
    assert not decisions_of(demo, "session", "bob")
    await hub.stop("bob")


async def test_last_day_is_told_and_ends(person: Make, hub: Hub, demo: Demo) -> None:
    """E2, E1: warned on the hub's page on the last day, stopped as it ends; another's grant goes on."""
    today = await utc_today()
    carol = await person("carol")
    carols = await running(hub, "carol", "last-day", expires=str(today + timedelta(days=1)))
    bobs = await running(hub, "bob", "trial")
    await carol.page.goto(f"{demo.url}/hub/home")
    told = carol.page.locator("main .wm-note, main .wm-warning")
    await expect(told).to_contain_text("Your access to this workspace ends at the end of")
    await carol.look("session-warned")
    moved(demo).write_text(str(86_400))
    await gone(hub, carols)
    await hub.wait("carol", lambda server: not server)
    await carol.page.goto(f"{demo.url}/user/carol/lab")
    await expect(carol.page.locator("#wm-stopped")).to_contain_text("has ended with its last day")
    await carol.look("session-over")
    assert bobs in await hub.pods()
    await until_lines(demo, "carol", 1)
    (line,) = decisions_of(demo, "session", "carol")
    assert (line["outcome"], line["rule"]) == ("denied", "A1")
    moved(demo).unlink()
    await hub.stop("bob")


async def test_hub_that_was_away_stops_what_was_revoked_before_it_answers(
    person: Make, hub: Hub, demo: Demo, kube: Kube
) -> None:
    """E5: the servers outlive the hub; those whose access ended meanwhile are stopped, the others known again."""
    alices = await running(hub, "alice", "trial")
    bobs = await running(hub, "bob", "trial")
    before = (await hub.pods())[bobs]["metadata"]["uid"]
    await demo.end_hub(signal.SIGKILL)
    await hub.revoke("alice", "trial")
    await demo.start_hub()
    carol = await person("carol")
    await expect(carol.page.get_by_role("heading", level=1)).to_have_text("Choose a workspace")
    lines = demo.hub_log.read_text().splitlines()
    restarted = max(number for number, line in enumerate(lines) if "Running JupyterHub version" in line)
    after = "\n".join(lines[restarted:])
    assert after.index("the server of 'alice' is stopped") < after.index('{"decision": "form"')
    await gone(hub, alices)
    assert (await hub.pods())[bobs]["metadata"]["uid"] == before
    assert await runs(hub, "bob")
    await hub.stop("bob")


async def test_pod_ends_by_itself_with_its_last_day(hub: Hub) -> None:
    """E3: what Kubernetes is told."""
    today = await utc_today()
    pod = await running(hub, "alice", "deadline", expires=str(today + timedelta(days=2)))
    seconds = (await hub.pods())[pod]["spec"]["activeDeadlineSeconds"]
    assert 86_400 < seconds <= 2 * 86_400
    await hub.stop("alice")


if jupyterhub.version_info[0] >= 5:

    async def test_shares_are_for_those_who_may_open_the_workspace(hub: Hub, demo: Demo) -> None:
        """E7: of somebody without a grant, one whose grant ends, and of a server that goes on to another workspace."""
        for name in ("bob", "carol"):
            await hub.call("POST", f"/users/{name}")
        await hub.grant("bob", "trial")
        await running(hub, "alice", "trial")
        for name in ("bob", "carol"):
            status, answer = await hub.call("POST", "/shares/alice/", {"user": name})
            assert status == 200, answer
        await shared_with(hub, {"bob"})
        (line,) = decisions_of(demo, "share", "carol")
        assert (line["server"], line["workspace"], line["outcome"], line["rule"]) == ("alice/", "trial", "denied", "A2")
        await asyncio.sleep(1)
        await hub.revoke("bob", "trial")
        await shared_with(hub, set())
        await hub.grant("bob", "trial")
        assert (await hub.call("POST", "/shares/alice/", {"user": "bob"}))[0] == 200
        await asyncio.sleep(1)
        await shared_with(hub, {"bob"})
        await hub.stop("alice")
        await running(hub, "alice", "next")
        await shared_with(hub, set())
        assert len(decisions_of(demo, "share", "bob")) == 2
        await hub.stop("alice")


async def shared_with(hub: Hub, people: set[str]) -> None:
    """Wait until alice's server is shared with these people and nobody else."""
    async with asyncio.timeout(REVOKED_SECONDS):
        while True:
            _, answer = await hub.call("GET", "/shares/alice/")
            if {item["user"]["name"] for item in answer["items"]} == people:
                return
            await asyncio.sleep(0.1)


async def gone(hub: Hub, pod: str) -> None:
    """Wait until a pod is gone; it has no longer than a revocation may take."""
    async with asyncio.timeout(REVOKED_SECONDS):
        while pod in await hub.pods():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)


async def until_lines(demo: Demo, name: str, count: int) -> None:
    async with asyncio.timeout(30):
        while len(decisions_of(demo, "session", name)) < count:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.1)


async def utc_today() -> date:
    """The day in the hub's time zone, at least a minute before it turns."""
    now = time.time()
    if now % 86_400 > 86_400 - 60:
        await asyncio.sleep(61)
    return date.fromtimestamp(time.time())
