"""Access that rests on what an identity provider says of a person, for as long as it says so."""

from __future__ import annotations

import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import expect

from tests.e2e.conftest import MOVED_CLOCK, OUTLIVE, Hub, Person, moved
from tests.e2e.test_sessions import decisions_of, gone
from workspace_managers.devcluster.demo import Demo

Make = Callable[..., Awaitable[Person]]
# An identity provider that is a file, and an authenticator that asks it at a sign-in and again.
LATER = (
    OUTLIVE
    + MOVED_CLOCK
    + """
import json, pathlib
from jupyterhub.auth import DummyAuthenticator

SAYS = pathlib.Path(MOVED).with_name("says.json")

class Provider(DummyAuthenticator):
    async def authenticate(self, handler, data):
        return {"name": data["username"], "auth_state": self.says(data["username"])}

    async def refresh_user(self, user, handler=None):
        said = self.says(user.name)
        return {"name": user.name, "auth_state": said} if said else True

    def says(self, name):
        return {"user": {"groups": json.loads(SAYS.read_text())[name]}} if SAYS.exists() else None

c.JupyterHub.authenticator_class = Provider
c.Provider.enable_auth_state = True
c.Provider.auth_refresh_age = 1
c.CryptKeeper.keys = ["0" * 64, "1" * 64]  # one of them going out of use
"""
)


def says(demo: Demo, **groups: list[str]) -> Path:
    """Have the provider say this."""
    file = moved(demo).with_name("says.json")
    file.write_text(json.dumps(groups))
    return file


async def granted_by_claim(hub: Hub, workspace: str, group: str) -> None:
    """A workspace that a group may open."""
    await hub.grant("nobody", workspace)
    claims = [{"name": "groups", "operator": "IN", "value": group}]
    spec = {"workspace": workspace, "claims": claims, "expires": "2090-01-01"}
    await hub.put("AnalyticsWorkspaceBinding", f"group-{group}", spec)


async def test_group_that_is_taken_away_ends_the_server(person: Make, hub: Hub, demo: Demo) -> None:
    """E6: at the next refresh, which a page of the hub brings; somebody who is still in the group works on."""
    says(demo, alice=["trial"], bob=["trial"])
    await granted_by_claim(hub, "by-group", "trial")
    alice, bob = await person("alice"), await person("bob")
    for someone in (alice, bob):
        status, answer = await hub.start(someone.name, {"profile": "by-group"})
        assert status in (201, 202), answer
    says(demo, alice=[], bob=["trial"])
    await alice.page.wait_for_timeout(1500)  # what was said is older than a second
    for someone in (alice, bob):
        await someone.page.goto(f"{demo.url}/hub/home")
    await gone(hub, "jupyter-alice")
    await hub.wait("alice", lambda server: not server)
    await alice.page.goto(f"{demo.url}/hub/home")
    await expect(alice.page.locator("main .wm-note, main .wm-warning")).to_contain_text(
        "Your access to this workspace was taken away"
    )
    assert [line["rule"] for line in decisions_of(demo, "session", "alice")] == ["A2"]
    assert "jupyter-bob" in await hub.pods()
    await hub.stop("bob")


async def test_start_is_decided_by_what_the_provider_says_then(person: Make, hub: Hub, demo: Demo) -> None:
    """E6: a portal asks for the start, long after the person has signed in."""
    says(demo, carol=["trial"])
    carol = await person("carol")
    await expect(carol.page.locator('input[value="by-group"]')).to_have_count(1)
    says(demo, carol=[])
    await carol.page.wait_for_timeout(1500)
    status, answer = await hub.start("carol", {"profile": "by-group"})
    assert (status, "not open to you" in answer["message"]) == (403, True), answer
    says(demo, carol=["trial"])
    await carol.page.wait_for_timeout(1500)
    status, answer = await hub.start("carol", {"profile": "by-group"})
    assert status in (201, 202), answer
    await hub.stop("carol")


async def test_restart_of_the_hub_does_not_forget_when_it_was_said(person: Make, hub: Hub, demo: Demo) -> None:
    """E6: claims count as long as before, and no longer."""
    says(demo, carol=["trial"])
    carol = await person("carol")
    says(demo).unlink()  # the provider says nothing any more
    await demo.end_hub(signal.SIGTERM)
    await demo.start_hub()
    await carol.page.goto(f"{demo.url}/hub/spawn")
    await expect(carol.page.locator('input[value="by-group"]')).to_have_count(1)
    await expect(carol.page.get_by_text("You may have more workspaces")).to_have_count(0)
