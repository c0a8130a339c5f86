"""What people read in JupyterLab itself, whose image knows nothing of it: their workspace, and when access ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

import aiohttp
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Route, expect

from tests.e2e.conftest import Hub, Person
from tests.e2e.test_sessions import utc_today
from workspace_managers.devcluster.demo import Demo
from workspace_managers.hub import lab, outlook

Make = Callable[..., Awaitable[Person]]

IMAGE = "example/lab:1.0"  # of a real server, where the one that others ask for is no Lab
HOSTILE = '<img src=x onerror="window.hacked = true"> {{ 7 * 7 }} </script>'
# The browser's clock, as many seconds before the end; and the page looks at it.
CLOCK = """([end, seconds]) => {
    const moment = Date.parse(end) - seconds * 1000;
    Date.now = () => moment;
    document.dispatchEvent(new Event("visibilitychange"));
}"""


async def open_lab(person: Person, hub: Hub, demo: Demo, workspace: str, **grant: Any) -> list[str]:
    """A workspace's JupyterLab, loaded whole; what its page throws, as it comes."""
    thrown: list[str] = []
    person.page.on("pageerror", lambda error: thrown.append(str(error)))
    await hub.grant(person.name, workspace, image=IMAGE, **grant)
    status, answer = await hub.start(person.name, {"profile": workspace})
    assert status in (201, 202), answer
    await load(person, demo)
    return thrown


async def load(person: Person, demo: Demo) -> None:
    await person.page.goto(f"{demo.url}/user/{person.name}/lab")
    await expect(person.page.locator(".jp-LauncherCard").first).to_be_visible(timeout=60_000)


async def address_of(person: Person, file: str) -> str:
    """Where a file of the extension is, which only the Lab's page says."""
    address: str = await person.page.evaluate(
        """(file) => {
            const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
            const [ours] = config.federated_extensions.filter((each) => each.name.startsWith("workspace-managers-"));
            return new URL(`${config.fullLabextensionsUrl}/${ours.name}/${file}`, location.href).href;
        }""",
        file,
    )
    return address


async def test_lab_shows_the_workspaces_title_as_text(person: Make, hub: Hub, demo: Demo) -> None:
    """E2, F1: at the top, with the last day at hand; no warning while there is time, and nothing else is disturbed."""
    alice = await person("alice")
    thrown = await open_lab(alice, hub, demo, "in-lab", displayName=HOSTILE)
    name = alice.page.locator("#workspace-name")
    await expect(name).to_have_text(HOSTILE)
    await expect(name).to_be_in_viewport(ratio=1)
    kept = "What is saved in the folder in-lab is kept. Everything else goes when this server stops."
    await expect(name).to_have_attribute("title", f"{HOSTILE}\nOpen until the end of 31 December 2089.\n{kept}")
    await expect(alice.page.locator("#workspace-ends")).to_have_count(0)
    await expect(alice.page.get_by_role("menubar").get_by_text("File", exact=True)).to_be_visible()
    await alice.shot("lab-name")
    assert await alice.page.evaluate("window.hacked") is None
    assert thrown == []
    await hub.stop("alice")


async def test_save_that_fails_is_told_as_what_it_may_be(person: Make, hub: Hub, demo: Demo) -> None:
    """F2: Jupyter Server says of a full disk that a file of another name was not found."""
    said = "Unexpected error while saving file: full/x.txt [Errno 2] No such file or directory: '.~x.txt' -> 'x.txt'"

    async def fail(route: Route) -> None:
        if route.request.method == "PUT":
            await route.fulfill(status=500, json={"message": said, "reason": None})
        else:
            await route.continue_()

    alice = await person("alice")
    await open_lab(alice, hub, demo, "full")
    await alice.page.route("**/api/contents/**", fail)
    await alice.page.locator(".jp-LauncherCard[data-category=Other]", has_text="Text File").click()
    await expect(alice.page.locator(".jp-FileEditor")).to_be_visible(timeout=30_000)
    await alice.page.locator(".jp-FileEditor .cm-content").click()
    await alice.page.keyboard.type("found something")
    await alice.page.keyboard.press("Control+s")
    await alice.page.get_by_role("button", name="Rename and Save").click()
    dialog = alice.page.locator(".jp-Dialog", has_text="Unexpected error while saving file")
    await expect(dialog).to_contain_text("There may be no room left: then nothing more can be saved", timeout=30_000)
    await expect(dialog.locator(".workspace-full")).to_have_count(1)
    await alice.shot("lab-full")
    await alice.page.goto("about:blank")
    await hub.stop("alice")


async def test_lab_opens_where_files_are_kept(person: Make, hub: Hub, demo: Demo) -> None:
    """A notebook made without a look at the folders is there after a stop; what is elsewhere is one click away."""
    alice = await person("alice")
    thrown = await open_lab(alice, hub, demo, "kept", displayName="Kept")
    crumbs, files = alice.page.locator(".jp-BreadCrumbs"), alice.page.locator(".jp-DirListing-item")
    await expect(crumbs).to_contain_text("kept")
    await expect(alice.page.locator("#workspace-name")).to_have_attribute(
        "title", re.compile("What is saved in the folder kept is kept. Everything else goes when this server stops.")
    )
    await alice.page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    await expect(files.filter(has_text="Untitled.ipynb")).to_be_visible(timeout=60_000)
    await alice.shot("lab-folder")
    await alice.page.locator(".jp-BreadCrumbs-home").click()
    await expect(files.filter(has_text="shared")).to_be_visible()
    assert thrown == []
    await alice.page.goto("about:blank")  # a Lab that is open throws when its server goes
    await hub.stop("alice")
    await open_lab(alice, hub, demo, "kept")
    await expect(files.filter(has_text="Untitled.ipynb")).to_be_visible(timeout=60_000)
    await hub.stop("alice")


async def test_lab_goes_where_its_address_says(person: Make, hub: Hub, demo: Demo) -> None:
    """An address that names a place is a colleague's link, or the workspace's own; and a reload moves nobody."""
    bob = await person("bob")
    await open_lab(bob, hub, demo, "linked")
    other = await bob.page.context.new_page()
    await other.goto(f"{demo.url}/user/bob/lab/tree/shared")
    await expect(other.locator(".jp-BreadCrumbs")).to_contain_text("shared", timeout=60_000)
    await expect(other.locator("#workspace-name")).to_be_visible()
    await expect(other.locator(".jp-BreadCrumbs")).to_contain_text("shared")
    await other.close()
    await bob.page.locator(".jp-BreadCrumbs-home").click()
    files = bob.page.locator(".jp-DirListing-item")
    await expect(files.filter(has_text="shared")).to_be_visible()
    await asyncio.sleep(2)  # until JupyterLab has written down where it is
    await bob.page.reload()
    await expect(bob.page.locator("#workspace-name")).to_be_visible(timeout=60_000)
    await expect(files.filter(has_text="shared")).to_be_visible()
    await hub.stop("bob")


async def test_lab_tells_strangers_nothing(person: Make, hub: Hub, demo: Demo) -> None:
    """F1: JupyterLab asks nobody who reads an extension's files to sign in, so their address is the start's own."""
    alice = await person("alice")
    addresses = []
    for _ in range(2):
        await hub.stop("alice")
        await open_lab(alice, hub, demo, "secret-study", displayName="A secret study")
        addresses.append(await address_of(alice, lab.ACCESS))
    earlier, known = addresses
    folder = known.split("/")[-2]
    assert folder not in earlier
    guesses = (earlier, known.replace(folder, "workspace-managers"), known.removesuffix(lab.ACCESS))
    async with aiohttp.ClientSession() as stranger:
        for address in guesses:
            async with stranger.get(address) as answer:
                assert "secret study" not in await answer.text()
                assert answer.status in (403, 404)
        async with stranger.get(f"{demo.url}/user/alice/lab") as answer:
            assert folder not in await answer.text()
    await hub.stop("alice")


async def test_lab_warns_on_the_last_day_in_the_words_of_the_hub(person: Make, hub: Hub, demo: Demo) -> None:
    """E2: by the browser's clock, and the end that the pod was given."""
    today = await utc_today()
    carol = await person("carol")
    thrown = await open_lab(
        carol, hub, demo, "ends-today", displayName="Ends today", expires=str(today + timedelta(days=1))
    )
    box = carol.page.locator("#workspace-ends[role=alert]")
    await expect(box).to_be_in_viewport(ratio=1)
    told = await box.locator("span").evaluate("(left) => left.parentNode.firstChild.data + '|' + left.nextSibling.data")
    await carol.shot("lab-warned")
    found = await Axe().run(carol.page, context={"include": [["#workspace-ends"], ["#workspace-name"]]})
    assert found.violations_count == 0, found.generate_report()
    assert thrown == []
    await carol.page.goto(f"{demo.url}/hub/home")
    said = await carol.page.locator("main .wm-note, main .wm-warning").inner_text()
    before, after = told.split("|")
    assert (said[: len(before)], said[-len(after) :]) == (before, after)
    await hub.stop("carol")


async def test_lab_warns_a_day_an_hour_and_ten_minutes_before_the_end(person: Make, hub: Hub, demo: Demo) -> None:
    """E2: not before; closed it is out of the way until the next time; and what it says goes on with the clock."""
    bob = await person("bob", viewport={"width": 480, "height": 740})
    await open_lab(bob, hub, demo, "far", displayName="An uncommonly long title that no narrow window has room for")
    box = bob.page.locator("#workspace-ends")
    last_day, end = date(2089, 12, 31), "2090-01-01T00:00:00Z"

    async def at(seconds: float) -> None:
        await bob.page.evaluate(CLOCK, [end, seconds])

    async def says(seconds: float) -> None:
        await at(seconds)
        await expect(box).to_have_text(outlook.ending(last_day, outlook.duration(seconds)) + "Close")

    await at(86_401)
    await expect(box).to_have_count(0)
    for seconds in (86_400, 7_200, 7_199.9, 3_601):
        await says(seconds)
    await bob.shot("lab-warned-narrow")
    for due, later in ((3_600, 601), (600, 119), (None, 0)):
        await box.get_by_role("button", name="Close").click()
        await expect(box).to_have_count(0)
        await at(due + 1 if due else 60)
        await expect(box).to_have_count(0)
        if due:
            await says(due)
            await says(later)
    await at(86_400)
    await expect(box).to_have_count(0)
    await hub.stop("bob")


async def test_lab_that_cannot_read_when_access_ends_is_a_lab_all_the_same(person: Make, hub: Hub, demo: Demo) -> None:
    """E2: whatever is missing, nothing is thrown and nothing is shown."""
    alice = await person("alice")
    thrown = await open_lab(alice, hub, demo, "unread")
    for status, body in (
        (404, "gone"),
        (200, "{}"),
        (200, '{"title": "t", "closing": "c", "warning": "w", "end": "soon"}'),
    ):
        await alice.page.route(f"**/{lab.ACCESS}", partial(Route.fulfill, status=status, body=body))
        await load(alice, demo)
        await expect(alice.page.locator("#workspace-ends")).to_have_count(0)
        await alice.page.unroute(f"**/{lab.ACCESS}")
    assert thrown == []
    await hub.stop("alice")
