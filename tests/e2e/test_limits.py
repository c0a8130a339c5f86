"""Limits that the hub itself has, and servers that it stops because nobody uses them, with servers that have names."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from tests.e2e.conftest import LATE_FILE, Hub, Person
from workspace_managers.devcluster.demo import Demo

API = "embedded"  # the hub's own, the same on every API
START_SECONDS = 120
LATER = """
c.JupyterHub.named_server_limit_per_user = 2
c.JupyterHub.concurrent_spawn_limit = 1
"""
Make = Callable[..., Awaitable[Person]]


async def test_as_many_named_servers_as_a_person_may_have(person: Make, hub: Hub) -> None:
    """A sentence, and not the hub's own."""
    await hub.grant("alice", "third")
    for name in ("cardio-outcomes", "asthma-cohort"):
        status, answer = await hub.call("POST", f"/users/alice/servers/{name}")
        assert status in (201, 202), answer
        await hub.wait("alice", lambda found: bool(found.get("ready")), name)
        await hub.stop("alice", name)
    alice = await person("alice", "/hub/home")
    await alice.page.get_by_role("button", name="Start third").click()
    main = alice.page.locator("main")
    await expect(main).to_contain_text("You have started as many different workspaces as this service lets one person")
    await alice.shot("limit-servers")
    # One of those that there are goes on to start.
    await alice.visit("/hub/home")
    await alice.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await alice.page.get_by_role("button", name="Start Asthma cohort").click()
    await alice.page.wait_for_url("**/user/alice/asthma-cohort/lab**", timeout=60_000, wait_until="commit")
    await hub.stop("alice", "asthma-cohort")


async def test_too_many_starts_at_once(person: Make, hub: Hub) -> None:
    """A sentence, and not a raw 429; nothing is counted."""
    await hub.grant("bob", "slow", image="example/late:1")
    try:
        status, answer = await hub.call("POST", "/users/bob/servers/slow")
        assert status in (201, 202), answer
        bob = await person("bob", "/hub/spawn-pending/bob/slow")
        await expect(bob.page.get_by_role("heading", name="Starting your workspace")).to_be_visible()
        await bob.look("starting")
        await bob.page.emulate_media(forced_colors="active")
        bar, rest = [
            await bob.page.locator(part).evaluate("part => getComputedStyle(part).backgroundColor")
            for part in ("#progress-bar", ".wm-bar")
        ]
        assert bar != rest, "how far it is cannot be seen"
        alice = await person("alice", "/hub/home")
        await alice.page.get_by_role("button", name="Start Asthma cohort").click()
        main = alice.page.locator("main")
        await expect(main).to_contain_text("Too many people are starting a workspace")
        assert "HTTP 429" not in await main.inner_text()
        await alice.look("limit-starts")
    finally:
        LATE_FILE.touch()
        await hub.wait("bob", lambda found: bool(found.get("ready")), "slow")
        LATE_FILE.unlink()
        await hub.stop("bob", "slow")


async def test_server_that_nobody_uses_is_culled(hub: Hub, demo: Demo) -> None:
    """By the hub's own idle culler, as the chart runs it."""
    status, answer = await hub.call("POST", "/users/alice/servers/cardio-outcomes")
    assert status in (201, 202), answer
    await hub.wait("alice", lambda found: bool(found.get("ready")), "cardio-outcomes")
    culler = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jupyterhub_idle_culler", f"--url={demo.url}/hub/api", "--timeout=1", "--cull-every=1"),
        env={"JUPYTERHUB_API_TOKEN": demo.hub_api_token},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await hub.wait("alice", lambda found: not found, "cardio-outcomes")
    finally:
        culler.terminate()
        await culler.wait()
    assert not await hub.pods()
