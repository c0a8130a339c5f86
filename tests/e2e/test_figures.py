"""What the pages cost a person: clicks and seconds, and bytes and time on a slow phone.

Each figure is in ``figures.md`` of the run's results. No time is judged; how much is loaded is, and from where.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import SHOTS, Hub, Person
from workspace_managers.devcluster.demo import Demo

API = "embedded"  # the same on every API
Make = Callable[..., Awaitable[Person]]
SLOWER = 4
"""A phone in the middle of the market beside a desktop computer, as Lighthouse takes it."""
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True}
PAGES = {
    "JupyterHub's own page of tokens": "/hub/token",
    "home": "/hub/home",
    "form": "/hub/spawn",
    "a workspace's start": "/hub/spawn/alice/asthma-cohort",
    "a workspace that is not running": "/hub/user/alice/cardio-outcomes/lab",
    "an error": "/hub/nothing-here",
}
OUR_HTML_BYTES = 80 * 1024
MANY = 300
_MEASURE = """() => {
    const [page] = performance.getEntriesByType("navigation");
    const all = [page, ...performance.getEntriesByType("resource")];
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    return {
        html: page.decodedBodySize, sent: all.reduce((sum, each) => sum + each.encodedBodySize, 0),
        requests: all.length, paint: paint.startTime, loaded: page.loadEventEnd,
    };
}"""


@pytest.fixture(scope="module")
def figures() -> list[str]:
    """Lines of the file, as they come."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / "figures.md").unlink(missing_ok=True)
    return []


def tell(figures: list[str], *lines: str) -> None:
    figures += lines
    (SHOTS / "figures.md").write_text("\n".join(figures) + "\n")


@asynccontextmanager
async def slowed(page: Page) -> AsyncIterator[None]:
    """A processor that is slower, and nothing in the browser's memory."""
    session = await page.context.new_cdp_session(page)
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    try:
        yield
    finally:
        await session.send("Emulation.setCPUThrottlingRate", {"rate": 1})


async def test_pages_are_small_and_load_nothing_from_elsewhere(person: Make, demo: Demo, figures: list[str]) -> None:
    """F2: each is little more than the hub's own, of which most is JupyterHub's style sheet and scripts."""
    alice = await person("alice", "/hub/home", **PHONE)
    asked: list[str] = []
    alice.page.on("request", lambda request: asked.append(request.url))
    tell(figures, "| page, on a slow phone | first paint, ms | loaded, ms | HTML, KiB | sent, KiB | requests |")
    tell(figures, "| --- | ---: | ---: | ---: | ---: | ---: |")
    sent = {}
    async with slowed(alice.page):
        for name, path in PAGES.items():
            await alice.page.goto(f"{demo.url}{path}", wait_until="load")
            await expect(alice.page.locator("h1, h2").first).to_be_visible()
            found = await alice.page.evaluate(_MEASURE)
            sizes = f"{found['html'] / 1024:.0f} | {found['sent'] / 1024:.0f} | {found['requests']}"
            tell(figures, f"| {name} | {found['paint']:.0f} | {found['loaded']:.0f} | {sizes} |")
            assert found["html"] < OUR_HTML_BYTES, name
            sent[name] = found["sent"]
    assert [url for url in asked if not url.startswith((demo.url, "data:"))] == []
    own = sent[next(iter(PAGES))]
    assert {name: size for name, size in sent.items() if size > own + OUR_HTML_BYTES} == {}


async def test_many_workspaces_are_found_as_fast_as_one_types(person: Make, hub: Hub, figures: list[str]) -> None:
    """F2: search and its list, with as many as nobody has."""
    await hub.call("POST", "/users/harry")
    for first in range(0, MANY, 30):
        await asyncio.gather(*(hub.grant("harry", f"many-{n:03}") for n in range(first, first + 30)))
    harry = await person("harry", "/hub/home", **PHONE)
    async with asyncio.timeout(60):
        while await harry.page.locator("#wm-home h3").count() < MANY:
            await harry.page.reload()
    async with slowed(harry.page):
        await harry.page.reload(wait_until="load")
        found = await harry.page.evaluate(_MEASURE)
        typed = await harry.page.evaluate(
            """async () => {
                const field = document.getElementById("wm-find"), took = [];
                for (const text of ["m", "ma", "many", "many-2", "many-29", ""]) {
                    const began = performance.now();
                    field.value = text;
                    field.dispatchEvent(new Event("input"));
                    document.body.getBoundingClientRect();  // with the layout that follows
                    took.push(performance.now() - began);
                    await new Promise((done) => requestAnimationFrame(done));
                }
                return Math.max(...took);
            }"""
        )
    tell(
        figures,
        "",
        f"{MANY} workspaces at home, on a slow phone: first paint {found['paint']:.0f} ms, loaded "
        f"{found['loaded']:.0f} ms, HTML {found['html'] / 1024:.0f} KiB; the slowest letter {typed:.0f} ms.",
    )
    assert found["html"] / MANY < OUR_HTML_BYTES / 20


class Clicks:
    """Counts them, from the beginning of a way."""

    def __init__(self, person: Person) -> None:
        self.count = 0
        self.began = monotonic()
        self._person = person

    async def on(self, target: Locator) -> None:
        self.count += 1
        await target.click()

    async def until_lab(self, server: str) -> str:
        """What it took until the Lab of a server opened."""
        path = f"**/user/alice/{server + '/' if server else ''}lab**"
        await self._person.page.wait_for_url(path, timeout=120_000, wait_until="commit")
        return f"{self.count} click{'s' * (self.count > 1)}, {monotonic() - self.began:.1f} s"


async def test_from_sign_in_to_a_lab_and_to_another(person: Make, hub: Hub, figures: list[str]) -> None:
    """Beside the way over JupyterHub's own pages: the form, and a server that is stopped and started by hand."""
    alice = await person("alice", "/hub/home")
    page = alice.page
    await page.route("**/static/lab/*.js*", lambda route: route.abort())
    tell(figures, "", "| way | at home | by the form and by hand |", "| --- | --- | --- |")

    clicks = Clicks(alice)
    await clicks.on(page.get_by_role("button", name="Start Cardiovascular outcomes"))
    first = await clicks.until_lab("cardio-outcomes")
    await alice.visit("/hub/home")
    clicks = Clicks(alice)
    await clicks.on(page.get_by_role("button", name="Start Asthma cohort"))
    await clicks.on(page.get_by_role("button", name="Stop Cardiovascular outcomes and start Asthma cohort"))
    change = await clicks.until_lab("asthma-cohort")
    await hub.stop("alice", "asthma-cohort")

    await alice.visit("/hub/home")
    clicks = Clicks(alice)
    clicks.count += 1  # "Start My Server", of JupyterHub's own home
    await alice.visit("/hub/spawn")
    await clicks.on(page.locator("label", has_text="Cardiovascular outcomes"))
    await clicks.on(page.locator("#wm-start"))
    form = await clicks.until_lab("")
    await alice.visit("/hub/home")
    clicks = Clicks(alice)
    clicks.count += 1  # "Stop My Server"
    await hub.stop("alice")
    clicks.count += 1  # "Start My Server"
    await alice.visit("/hub/spawn")
    await clicks.on(page.locator("label", has_text="Asthma cohort"))
    await clicks.on(page.locator("#wm-start"))
    by_hand = await clicks.until_lab("")
    await hub.stop("alice")
    tell(
        figures,
        f"| from sign-in to an open Lab | {first} | {form} |",
        f"| to another workspace | {change} | {by_hand} |",
    )
    assert (first[0], change[0]) == ("1", "2")
