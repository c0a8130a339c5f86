"""The day of a person at home: what runs, what can be opened, and from one workspace to another in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from playwright.async_api import Locator, expect

from tests.e2e.conftest import Hub, Person, audit_of
from workspace_managers.devcluster.demo import Demo

Make = Callable[..., Awaitable[Person]]
HEART, LUNGS = "Cardiovascular outcomes", "Asthma cohort"
NOTE = {"type": "file", "format": "text", "content": "found something"}


def entry(person: Person, title: str) -> Locator:
    """A workspace on the home page."""
    return person.page.locator("#wm-home li").filter(has=person.page.get_by_role("heading", name=title, exact=True))


async def labs(hub: Hub) -> list[str]:
    """The workspaces of the pods that there are."""
    return sorted(pod["metadata"]["labels"]["workspace"] for pod in (await hub.pods()).values())


async def test_a_day(person: Make, hub: Hub, demo: Demo) -> None:
    """W1, W2: sign in, start, save, change workspace in one step, come back and find the file, stop."""
    alice = await person("alice", "/hub/home")
    page = alice.page
    await expect(page).to_have_title("Your workspaces · JupyterHub")
    assert (await page.locator("#wm-home h3").all_inner_texts())[:2] == [LUNGS, HEART]
    await expect(entry(alice, HEART).get_by_role("button")).to_have_text("Start")
    await alice.look("home")

    await entry(alice, HEART).get_by_role("button").click()
    await expect(page.get_by_text(f"Workspace: {HEART}")).to_be_visible(timeout=30_000)
    await expect(page).to_have_title(f"Starting {HEART} · JupyterHub")
    await page.wait_for_url("**/user/alice/cardio-outcomes/lab**", timeout=120_000)
    await expect(page.locator("#workspace-name")).to_have_text(HEART, timeout=60_000)
    assert (await alice.contents("cardio-outcomes/day.txt", "PUT", NOTE, "cardio-outcomes"))[0] == 201

    await alice.visit("/hub/home")
    await expect(entry(alice, HEART)).to_contain_text("Running since")
    assert await page.locator("#wm-home h3").first.inner_text() == HEART
    await alice.look("home-running")
    read_out = [each for each in await alice.read_out() if each[0] in ("heading", "link", "button")]
    assert read_out[read_out.index(("heading", "Your workspaces")) :] == [
        ("heading", "Your workspaces"),
        *(("heading", "Open now"), ("heading", HEART), ("link", f"Open {HEART}"), ("button", f"Stop {HEART}")),
        *(("heading", "Open to you"), ("heading", LUNGS), ("button", f"Start {LUNGS}")),
        *(("heading", "Opening later"), ("heading", "Winter pressures")),
        *(("heading", "Closed"), ("heading", "Hip fracture audit 2023")),
    ]
    await page.reload()
    await page.keyboard.press("Enter")  # one key, and on with it
    await page.wait_for_url("**/user/alice/cardio-outcomes/lab**")

    await alice.visit("/hub/home")
    await entry(alice, LUNGS).get_by_role("button", name="Start").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(f"{HEART} is open. Stop it to start {LUNGS}?")
    await expect(dialog).to_contain_text("What you have not saved in its folder is lost when it stops.")
    await alice.look("home-change")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert await labs(hub) == ["cardio-outcomes"]
    await entry(alice, LUNGS).get_by_role("button", name="Start").click()
    await dialog.get_by_role("button", name=f"Stop {HEART} and start {LUNGS}").click()
    await page.wait_for_url("**/user/alice/asthma-cohort/lab**", timeout=120_000)
    assert await labs(hub) == ["asthma-cohort"]

    await alice.visit("/hub/home")
    await entry(alice, LUNGS).get_by_role("button", name="Stop").click()
    await dialog.get_by_role("button", name="Stop", exact=True).click()
    await expect(entry(alice, LUNGS).get_by_role("button", name="Start")).to_be_visible(timeout=30_000)
    assert await labs(hub) == []

    await entry(alice, HEART).get_by_role("button", name="Start").click()
    await page.wait_for_url("**/user/alice/cardio-outcomes/lab**", timeout=120_000)
    status, answer = await alice.contents("cardio-outcomes/day.txt", server="cardio-outcomes")
    assert (status, answer["content"]) == (200, "found something")
    await hub.stop("alice", "cardio-outcomes")
    pods = [(line["server"], line["workspace"]) for line in audit_of(demo, "alice") if line["decision"] == "pod"]
    assert pods == [(name, name) for name in ("cardio-outcomes", "asthma-cohort", "cardio-outcomes")]


async def test_script_that_got_into_a_page_does_not_run(person: Make) -> None:
    """F1: as it would come in through a template of a site's own that lets text be markup."""
    alice = await person("alice", "/hub/home")
    for page in ("/hub/home", "/hub/spawn", "/hub/token"):
        await alice.visit(page)
        await alice.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = true";
                const main = document.getElementById("wm-main");
                main.append(script);
                main.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'>");
            }"""
        )
        await expect(alice.page.locator("#wm-main > img")).to_have_js_property("complete", value=True)
        assert await alice.page.evaluate("window.ran") is None
        assert len(alice.blocked) == 2
        alice.blocked.clear()


async def test_two_windows_follow_what_happens_elsewhere(person: Make, hub: Hub) -> None:
    """Without a reload, and what has the focus keeps it."""
    alice = await person("alice", "/hub/home")
    first = entry(alice, HEART)
    await entry(alice, LUNGS).get_by_role("button", name="Start").focus()
    assert (await hub.call("POST", "/users/alice/servers/cardio-outcomes"))[0] in (201, 202)
    await expect(first).to_contain_text("Running since", timeout=60_000)
    await expect(entry(alice, LUNGS).get_by_role("button", name="Start")).to_be_focused()
    await expect(alice.page.locator("#wm-said")).to_contain_text(f"{HEART} is running")

    other = Person(await alice.page.context.new_page(), alice._demo, "alice")
    await other.visit("/hub/home")
    await entry(other, HEART).get_by_role("button", name="Stop").click()
    await other.page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    await expect(first.get_by_role("button", name="Start")).to_be_visible(timeout=60_000)

    await other.visit("/hub/user/alice/cardio-outcomes/lab")
    await expect(other.page.get_by_role("heading", name=f"{HEART} is not running")).to_be_visible()
    await expect(other.page).to_have_title(f"{HEART} is not running · JupyterHub")
    await expect(other.page.get_by_role("link", name="Start it again")).to_be_visible()
    await other.look("stopped")
    await other.visit("/hub/nothing-here")
    await other.look("error")


async def test_from_sign_in_to_a_workspace_without_a_mouse(person: Make, hub: Hub) -> None:
    """F2: Tab, and Enter."""
    alice = await person("alice", "/hub/home")
    await alice.page.route("**/static/lab/*.js*", lambda route: route.abort())
    for _ in range(30):
        await alice.page.keyboard.press("Tab")
        if await alice.page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Start {HEART}":
            break
    await alice.page.keyboard.press("Enter")
    await alice.page.wait_for_url("**/user/alice/cardio-outcomes/lab**", timeout=120_000, wait_until="commit")
    await hub.stop("alice", "cardio-outcomes")


async def test_links_and_scripts_from_before_servers_had_names(person: Make, hub: Hub) -> None:
    """W1: the server without a name opens what is chosen, over REST, by a link, and where it runs already."""
    alice = await person("alice", "/hub/spawn?profile=asthma-cohort")
    await expect(alice.page.locator('input[name="profile"]:checked')).to_have_value("asthma-cohort")
    await alice.look("form")
    assert (await hub.start("alice", {"profile": "cardio-outcomes"}))[0] in (201, 202)
    await alice.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await alice.page.goto(alice.page.url.split("/hub/")[0] + "/hub/user-redirect/lab", wait_until="commit")
    await alice.page.wait_for_url("**/user/alice/lab**", wait_until="commit")
    await alice.visit("/hub/home")
    await expect(entry(alice, HEART)).to_contain_text("Running since")
    assert (await entry(alice, HEART).get_by_role("link", name="Open").get_attribute("href")) == "/user/alice/"
    assert await alice.page.locator("#wm-home h3", has_text=HEART).count() == 1

    await alice.visit("/hub/spawn/alice/asthma-cohort")
    await expect(alice.page.get_by_role("radio")).to_have_count(1)
    await alice.page.get_by_role("button", name="Start").click()
    await expect(alice.page.get_by_role("alert")).to_contain_text(
        f"You can have one workspace open at a time. {HEART} is running. Stop it first"
    )
    await expect(alice.page.get_by_role("radio")).to_have_count(1)
    await expect(alice.page.get_by_role("radio")).to_have_value("asthma-cohort")
    await alice.look("home-another-runs")
    await hub.stop("alice")


async def test_scripts_start_servers_by_the_name_of_a_workspace(hub: Hub, demo: Demo) -> None:
    """W1, W2, A2."""
    tried = [
        ("cardio-outcomes", {"profile": "asthma-cohort"}, 400),
        ("rare-diseases", None, 403),
        ("no-such-study", None, 403),
        ("cardio-outcomes", {"profile": "cardio-outcomes"}, 201),
        ("asthma-cohort", None, 409),
    ]
    for server, body, expected in tried:
        status, answer = await hub.call("POST", f"/users/alice/servers/{server}", body)
        assert status in {expected, 202 if expected == 201 else expected}, (server, answer)
        await hub.wait("alice", lambda found: not found or bool(found.get("ready")), server)
    assert await labs(hub) == ["cardio-outcomes"]
    await hub.stop("alice", "cardio-outcomes")
    outcomes = [line["outcome"] for line in audit_of(demo, "alice") if line["decision"] == "pod"]
    assert outcomes[-5:] == ["invalid", "denied", "denied", "allowed", "limited"]


async def test_workspace_that_is_not_theirs_has_no_start_page(person: Make) -> None:
    """A2, A4: and the page tells nothing of it."""
    alice = await person("alice", "/hub/spawn/alice/rare-diseases")
    await expect(alice.page.get_by_role("heading", name="This is not open to you")).to_be_visible()
    await expect(alice.page.get_by_role("button", name="Start")).to_have_count(0)
    assert "genes" not in await alice.page.content()


async def test_many_workspaces_and_any_title(person: Make, hub: Hub) -> None:
    """F1, F2: 300 of them, titles that read from right to left, of pictures, and without an end."""
    await hub.call("POST", "/users/frida")
    titles = {"arabic": "دراسة القلب", "emoji": "🫀 Heart 👩🏽‍⚕️", "endless": "Very " * 1000}
    await asyncio.gather(*(hub.grant("frida", name, displayName=title) for name, title in titles.items()))
    for first in range(0, 297, 33):
        await asyncio.gather(*(hub.grant("frida", f"study-{n:03}") for n in range(first, first + 33)))
    frida = await person("frida", "/hub/home")
    async with asyncio.timeout(30):
        while await frida.page.locator("#wm-home h3").count() < 300:
            await frida.page.reload()
    await expect(frida.page.get_by_role("heading", name=titles["arabic"])).to_be_visible()
    await expect(frida.page.get_by_role("heading", name=titles["emoji"])).to_be_visible()
    assert await frida.page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    await frida.page.get_by_label("Find a workspace").fill("دراسة")
    await expect(frida.page.locator("#wm-home h3:visible")).to_have_text([titles["arabic"]])
    await expect(frida.page.locator("#wm-found")).to_have_text("1 of 300 workspaces")
    await frida.shot("home-many")
    await frida.page.get_by_role("button", name="Start").and_(frida.page.locator(":visible")).click()
    await frida.page.wait_for_url("**/user/frida/arabic/**", timeout=120_000)
    await hub.stop("frida", "arabic")
