"""What a site sets of its pages: the language, to a browser in another country; the only workspace started at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from playwright.async_api import expect

from tests.e2e.conftest import Hub, Person, assert_accessible

API = "embedded"  # what is said is the same on every API
ENVIRON = {"WORKSPACE_LANGUAGE": "de", "WORKSPACE_START_SINGLE": "true"}
Make = Callable[..., Awaitable[Person]]
ZONE = "Asia/Tokyo"


async def test_a_day_in_german(person: Make, hub: Hub) -> None:
    """Every page says so to those who hear it; moments are in the browser's own zone."""
    alice = await person("alice", "/hub/home", locale="de-DE", timezone_id=ZONE)
    page = alice.page
    await expect(page).to_have_title("Ihre Arbeitsbereiche · JupyterHub")
    await expect(page.locator("main")).to_have_attribute("lang", "de")
    await expect(page.locator("#wm-home")).to_contain_text("Offen für Sie")
    # The day is over at midnight of the hub's zone, UTC.
    await expect(page.locator(".wm-there").first).to_have_text(re.compile(r"^Bei Ihnen ist das .*, 09:00\.$"))
    await expect(page.locator("#wm-zone")).to_have_text("Tage beginnen und enden hier wie in der Zeitzone UTC.")
    await assert_accessible(alice)
    await alice.shot("german-home")
    await page.route("**/static/lab/*.js*", lambda route: route.abort())
    await page.get_by_role("button", name="Asthma cohort starten").click()
    await expect(page.get_by_role("heading", name="Ihr Arbeitsbereich startet")).to_be_visible(timeout=30_000)
    await alice.shot("german-starting")
    await page.wait_for_url("**/user/alice/asthma-cohort/lab**", timeout=120_000, wait_until="commit")

    await alice.visit("/hub/home")
    started = page.locator("#wm-home time")
    moment = datetime.fromisoformat(await started.get_attribute("datetime") or "").astimezone(UTC)
    there = moment.astimezone(ZoneInfo(ZONE))
    # A day of its own is said only where it is not today's.
    await expect(started).to_have_text(re.compile(rf"{there:%H:%M}$"))
    await page.get_by_role("button", name="Asthma cohort anhalten").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Was Sie nicht in seinem Ordner gespeichert haben")
    await alice.shot("german-stop")
    await page.get_by_role("button", name="Anhalten", exact=True).click()
    await expect(page.get_by_role("button", name="Asthma cohort starten")).to_be_visible(timeout=30_000)
    await alice.visit("/hub/user/alice/asthma-cohort/lab")
    await expect(page.get_by_role("heading", name="Asthma cohort läuft nicht")).to_be_visible()

    status, answer = await hub.call("POST", "/users/alice/servers/rare-diseases")
    assert (status, answer["message"].split(". ")[0]) == (403, "Dieser Arbeitsbereich ist nicht für Sie offen")


async def test_only_workspace_is_started_at_once_and_not_again(person: Make, hub: Hub) -> None:
    """Who has several chooses, as Alice above."""
    await hub.call("POST", "/users/gina")
    gina = await person("gina", "/hub/home")
    await gina.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await hub.grant("gina", "only-one", displayName="Only one")
    async with asyncio.timeout(30):
        while True:  # asked aside: the page leaves by itself once it knows
            if "only-one" in await (await gina.page.request.get(gina.page.url)).text():
                break
            await asyncio.sleep(0.2)
    await gina.page.goto(gina.page.url, wait_until="commit")
    await gina.page.wait_for_url("**/user/gina/only-one/**", timeout=60_000, wait_until="commit")
    await hub.stop("gina", "only-one")
    await gina.visit("/hub/home")
    await expect(gina.page.get_by_role("button", name="Only one starten")).to_be_enabled()
    await gina.page.wait_for_timeout(500)
    assert not await hub.pods()
