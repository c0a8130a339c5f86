"""The page of a start, open in a browser while its hub ends and comes back; what the hub leaves and finds."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import LATE_FILE, OUTLIVE, Hub, Person, assert_accessible
from workspace_managers.devcluster.demo import Demo

API = "embedded"  # whose images these tests use
SECONDS = 90_000
Make = Callable[..., Awaitable[Person]]

LATER = f"{OUTLIVE}\nc.KubeSpawner.http_timeout = 10"


@pytest.fixture(autouse=True)
def nothing_answers_yet() -> Iterator[None]:
    LATE_FILE.unlink(missing_ok=True)
    yield
    LATE_FILE.unlink(missing_ok=True)


async def waiting(person: Make, hub: Hub, name: str) -> Person:
    """Somebody whose workspace starts, until nothing but its answer is missing."""
    await hub.grant(name, "late", image="example/late:1")
    someone = await person(name)
    await someone.page.get_by_role("radio", name="late").check(force=True)
    await someone.page.get_by_role("button", name="Start").click()
    await expect(someone.page.locator("#wm-state")).to_have_text("Starting your workspace")
    await expect(someone.page.locator("#progress-log")).to_contain_text("Started container", timeout=SECONDS)
    return someone


async def test_start_that_the_killed_hub_finds_again_goes_on_by_itself(person: Make, hub: Hub, demo: Demo) -> None:
    someone = await waiting(person, hub, "alice")
    await demo.end_hub(signal.SIGKILL)
    await expect(someone.page.locator("#progress-message")).to_contain_text("does not answer", timeout=SECONDS)
    await someone.shot("restart-away")
    await assert_accessible(someone)
    LATE_FILE.touch()
    await demo.start_hub()
    await someone.page.wait_for_url("**/user/alice/**", timeout=SECONDS)
    await hub.stop("alice")


async def test_start_that_a_restart_drops_is_told_as_dropped(person: Make, hub: Hub, demo: Demo) -> None:
    someone = await waiting(person, hub, "bob")
    await demo.end_hub(signal.SIGTERM)
    await expect(someone.page.locator("#progress-message")).to_contain_text("does not answer", timeout=SECONDS)
    await asyncio.sleep(5)
    assert "/hub/spawn-pending/" in someone.page.url
    await demo.start_hub()
    await expect(someone.page.get_by_role("alert")).to_contain_text("the start was dropped", timeout=SECONDS)
    await someone.shot("restart-dropped")
    await assert_accessible(someone)
    await someone.page.get_by_role("link", name="Back to workspaces").click()
    await expect(someone.page.get_by_role("heading", level=1)).to_have_text("Choose a workspace")
