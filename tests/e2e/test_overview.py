"""What the policy does not allow, as its person and the hub's admins read it; and the admins' page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import expect

from tests.e2e.conftest import Hub, Person, assert_accessible

API = "embedded"  # what is said is the same on every API
ENVIRON = {"WORKSPACE_POLICY": str(Path(__file__).with_name("policy.yaml"))}
LATER = 'c.Authenticator.admin_users = {"alice"}'
Make = Callable[..., Awaitable[Person]]
ASK = "It asks for something that this service does not allow. Please ask the people who run this service."


async def test_workspace_beyond_the_policy_says_whom_to_ask(person: Make, hub: Hub) -> None:
    """F4: it is on home and form, cannot be chosen, and a start by whatever way is refused."""
    await hub.call("POST", "/users/ines")
    await hub.grant("ines", "elsewhere", displayName="Elsewhere", nodeSelector={"disk": "ssd"})
    await hub.grant("ines", "too-large", displayName="Too large", resources={"limits": {"memory": "1Ti"}})
    ines = await person("ines", "/hub/home")
    page = ines.page
    await expect(page.get_by_role("heading", name="None of your workspaces can be started")).to_be_visible()
    await expect(page.locator(".wm-resting")).to_have_count(2)
    await expect(page.get_by_text(ASK)).to_have_count(2)
    await assert_accessible(ines)
    await ines.shot("not-allowed")
    await ines.visit("/hub/spawn")
    await expect(page.get_by_text(ASK)).to_have_count(2)
    await expect(page.get_by_role("radio")).to_have_count(0)
    status, answer = await hub.call("POST", "/users/ines/servers/elsewhere")
    assert status == 403
    assert answer["message"].startswith("This workspace was not started, because it asks for something")
    assert not [name for name in await hub.pods() if "elsewhere" in name]

    await hub.grant("ines", "within", displayName="Within", nodeSelector={"pool": "gpu"})
    await ines.visit("/hub/home")
    await expect(page.get_by_role("button", name="Start Within")).to_be_visible()
    await expect(page.get_by_role("heading", name="Cannot be started")).to_be_visible()


async def test_admins_see_who_has_what_open_and_what_is_wrong(person: Make, hub: Hub) -> None:
    await hub.grant("jo", "tomorrow", displayName="Ends soon <b>", expires="2090-01-01")
    await hub.put(
        "AnalyticsWorkspaceBinding", "to-nothing", {"username": "jo", "workspace": "gone", "expires": "2090-01-01"}
    )
    await hub.start("jo", {"profile": "tomorrow"})
    alice = await person("alice", "/hub/home")
    page = alice.page
    await page.get_by_role("link", name="Workspaces", exact=True).click()
    await expect(page.get_by_role("heading", name="Workspaces of everybody")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="jo")
    await expect(row).to_contain_text("Ends soon <b>")
    await expect(row).to_contain_text("31 December 2089")
    beyond = page.locator("section").filter(has=page.get_by_role("heading", name="Not allowed by the policy"))
    await expect(beyond).to_contain_text(
        "elsewhere: it asks for nodes with 'disk=ssd', which the policy does not allow"
    )
    await expect(beyond).to_contain_text(
        "too-large: it asks for '1Ti' of 'memory', where '64Gi' is the most (maxima (line 2)"
    )
    await expect(page.get_by_text("binding 'to-nothing': its workspace 'gone' does not exist")).to_be_visible()
    await expect(page.get_by_text("These may enter everybody's servers")).to_contain_text("'alice'")
    await assert_accessible(alice)
    for suffix, width, look in (("", 1280, "light"), ("-phone", 360, "light"), ("-dark", 1280, "dark")):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=look)  # type: ignore[arg-type]  # one of its texts
        await alice.shot(f"overview{suffix}")
    text = await page.content()
    assert (await hub.call("GET", "/users/jo"))[0] == 200
    for secret in (hub._demo.hub_api_token, "token", "home-"):
        assert secret not in text.replace("/hub/token", "").replace("xsrf_token", ""), secret


async def test_page_is_for_admins_alone(person: Make, hub: Hub) -> None:
    """Its scope is that of the hub's own page for admins, for whom the link is too."""
    bob = await person("bob", "/hub/home")
    await expect(bob.page.get_by_role("link", name="Workspaces", exact=True)).to_have_count(0)
    answer = await bob.page.request.get(bob.page.url.replace("/hub/home", "/hub/workspaces"))
    assert answer.status == 403
    assert "Ends soon" not in await answer.text()
    stranger = await bob.page.context.browser.new_context()  # type: ignore[union-attr]  # it has one
    answer = await stranger.request.get(bob.page.url.replace("/hub/home", "/hub/workspaces"))
    assert "/hub/login" in answer.url
    await stranger.close()
