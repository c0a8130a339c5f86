"""The demo's story in a real browser: what alice, bob and carol see, and what is theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import expect

from tests.apiserver.cluster import CHART, RBAC, GivenCluster, RealCluster, documents_of, until
from tests.apiserver.privileges import disagreements, requests_of, rights, used
from tests.e2e.conftest import Hub, Person, assert_accessible
from workspace_managers.devcluster.demo import Demo
from workspace_managers.hub import lab
from workspace_managers.kube.claims import OWNER_ANNOTATION
from workspace_managers.kube.client import Kube
from workspace_managers.quantities import octets

Make = Callable[..., Awaitable[Person]]


async def start(person: Person, name: str) -> None:
    """Start a server whose files are what matters: JupyterLab itself, seconds of it, is left out."""
    await person.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await person.page.goto(person.page.url.split("/hub/")[0].split("/user/")[0] + "/hub/spawn")
    await person.page.locator(f'input[name="profile"][value="{name}"]').check(force=True)
    await person.page.get_by_role("button", name="Start").click()
    await person.page.wait_for_url("**/user/*/lab**", timeout=120_000, wait_until="commit")


async def test_alice_sees_hers_by_state(person: Make) -> None:
    """F2, A3: two that she can start, one that opens later with its date, one that has expired."""
    alice = await person("alice")
    await expect(alice.page.get_by_role("radio")).to_have_count(2)
    assert await alice.page.locator("fieldset legend").count() == 1
    text = await alice.page.inner_text("main")
    for title in ("Cardio", "Asthma", "Opens ", "Expired "):
        assert title in text
    assert "Rare" not in text
    await alice.shot("form")
    await assert_accessible(alice)


async def test_form_fits_a_phone_and_dark_mode(person: Make) -> None:
    """F2: at 360 pixels nothing is cut off; dark where the hub has it."""
    alice = await person("alice", viewport={"width": 360, "height": 740}, color_scheme="dark")
    overflow = await alice.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0
    await alice.shot("form-phone-dark")
    await assert_accessible(alice)


async def test_form_works_without_a_mouse(person: Make) -> None:
    """F2: Tab reaches the choices, arrows move between them, focus can be seen."""
    alice = await person("alice")
    chosen = alice.page.locator('input[name="profile"]:checked')
    first = await chosen.get_attribute("value")
    for _ in range(30):
        await alice.page.keyboard.press("Tab")
        if await alice.page.evaluate("document.activeElement.name === 'profile'"):
            break
    else:
        pytest.fail("Tab never reached the choices")
    await alice.page.keyboard.press("ArrowDown")
    assert await chosen.get_attribute("value") != first
    await alice.page.keyboard.press("ArrowUp")
    assert await chosen.get_attribute("value") == first


async def test_carol_is_told_whom_to_ask(person: Make) -> None:
    """F2: a friendly page, and nothing to start."""
    carol = await person("carol")
    assert "carol" in await carol.page.inner_text("main")
    await expect(carol.page.get_by_role("radio")).to_have_count(0)
    await expect(carol.page.get_by_role("button", name="Start")).to_have_count(0)
    await carol.look("empty")


async def test_bobs_title_is_text(person: Make) -> None:
    """F1: markup in a display name is shown, not made."""
    bob = await person("bob")
    await expect(bob.page.get_by_text('Rare <i>diseases</i> & "genes"', exact=False).first).to_be_visible()
    assert await bob.page.locator("main i", has_text="diseases").count() == 0
    await bob.shot("form-bob")
    await assert_accessible(bob)


async def test_files_stay_in_their_workspace(
    person: Make, hub: Hub, cluster: RealCluster | GivenCluster | None
) -> None:
    """S1, S2: the whole story: start, save, stop, start again, another workspace, another user."""
    alice = await person("alice")
    await alice.page.locator('input[name="profile"][value="cardio-outcomes"]').check(force=True)
    await alice.page.get_by_role("button", name="Start").click()
    await alice.page.wait_for_url("**/user/alice/lab**", timeout=120_000)
    await expect(alice.page.locator(".jp-BreadCrumbs")).to_contain_text("cardio-outcomes", timeout=30_000)
    await alice.page.locator(".jp-BreadCrumbs-home").click()
    await expect(alice.page.locator(".jp-DirListing-item", has_text="cardio-outcomes")).to_be_visible()
    await expect(alice.page.locator(".jp-DirListing-item", has_text="shared")).to_be_visible()
    await expect(alice.page.locator("#workspace-name")).to_have_text("Cardiovascular outcomes")
    await alice.shot("lab")
    assert await alice.folders() == {"cardio-outcomes", "shared"}

    note = {"type": "file", "format": "text", "content": "found something"}
    status, answer = await alice.contents("cardio-outcomes/note.txt", "PUT", note)
    assert status == 201, answer
    status, _ = await alice.contents("shared/README.md")
    assert status == (404 if cluster is not None and cluster.hub_host else 200), (
        "only the demo's own node has put it there"
    )
    for path in ("shared/note.txt", "shared/README.md"):
        status, _ = await alice.contents(path, "PUT", note)
        assert status in (403, 500), "the shared folder is read-only"

    await hub.stop("alice")
    await start(alice, "cardio-outcomes")
    status, answer = await alice.contents("cardio-outcomes/note.txt")
    assert (status, answer["content"]) == (200, "found something")

    await hub.stop("alice")
    await start(alice, "asthma-cohort")
    assert await alice.folders() == {"asthma-cohort", "shared"}
    status, listed = await alice.contents("asthma-cohort")
    assert [each["name"] for each in listed["content"]] == []
    await hub.stop("alice")  # two such servers ask for four cores, which a whole cluster may not have

    bob = await person("bob")
    await start(bob, "asthma-cohort")
    assert await bob.folders() == {"asthma-cohort", "shared"}
    status, _ = await bob.contents("cardio-outcomes/note.txt")
    assert status == 404
    await hub.stop("bob")


async def test_operator_reads_each_decision_in_log_and_metrics(hub: Hub, demo: Demo) -> None:
    """F1: who, what, and on which versions; the metrics name nobody."""
    await hub.grant("kate", "audited")
    status, answer = await hub.start("kate", {"profile": "audited"})
    assert status in (201, 202), answer
    made = [pod["metadata"]["uid"] for pod in (await hub.pods()).values()]
    await hub.stop("kate")
    status, _ = await hub.start("kate", {"profile": "cardio-outcomes"})
    assert status == 403
    logged = [line[line.index("{") :] for line in demo.hub_log.read_text().splitlines() if '{"decision": ' in line]
    pod, refused = [line for line in map(json.loads, logged) if line["user"] == "kate"]
    assert (pod["decision"], pod["workspace"], pod["outcome"], set(pod["versions"])) == (
        *("pod", "audited", "allowed"),
        {"workspace", "binding"},
    )
    assert pod["pod"]["uid"] in made
    assert refused.pop("time") >= pod["time"]
    assert f"Request {refused.pop('request')}: denied at pod for 'kate'" in demo.hub_log.read_text()
    assert refused == {
        "decision": "pod",
        "user": "kate",
        "by": {"service": "demo"},
        "server": "",
        "workspace": "cardio-outcomes",
        "outcome": "denied",
        "rule": "A2",
        "versions": {},
        "pod": None,
    }
    ours = [line for line in (await hub.metrics()).splitlines() if line.startswith("workspace_managers_")]
    assert any(line.startswith('workspace_managers_decisions_total{outcome="denied",rule="A2"') for line in ours)
    (held,) = [line for line in ours if "cache_objects" in line and "bindings" in line]
    assert float(held.split()[-1]) > 1
    assert not [line for line in ours if "kate" in line or "audited" in line]


async def test_last_used_workspace_is_preselected(person: Make, hub: Hub) -> None:
    """F1: the choice of the last time, when it is still open."""
    for name in ("first-of-two", "second-of-two"):
        await hub.grant("alice", name)
    for name in ("first-of-two", "second-of-two"):
        status, answer = await hub.start("alice", {"profile": name})
        assert status in (201, 202), answer
        await hub.stop("alice")
        alice = await person("alice")
        assert await alice.page.locator('input[name="profile"]:checked').get_attribute("value") == name


async def test_forged_choice_is_denied_on_the_form(person: Make, hub: Hub) -> None:
    """A3, A4: a choice that is not the user's is refused on the form, with a sentence."""
    alice = await person("alice")
    await alice.page.locator('input[name="profile"][value="cardio-outcomes"]').check(force=True)
    await alice.page.evaluate(
        "document.querySelector('input[name=profile][value=cardio-outcomes]').value = 'rare-diseases'"
    )
    await alice.page.get_by_role("button", name="Start").click()
    await expect(alice.page.get_by_role("alert")).to_contain_text("not open to you")
    text = await alice.page.inner_text("body")
    assert "No such profile" not in text
    assert "HTTP 403" not in text
    await alice.look("denied")
    assert "jupyter-alice" not in await hub.pods()


@pytest.mark.parametrize("path", ["/hub/spawn/bob", "/hub/nothing-here"])
async def test_error_pages_are_accessible(person: Make, demo: Demo, path: str) -> None:
    alice = await person("alice")
    await alice.page.goto(demo.url + path)
    await alice.shot("error" + path.replace("/", "-"))
    await assert_accessible(alice)


HOSTILE = "<script>window.hacked = true</script>\"'{{ 7 * 7 }}"


async def test_hostile_text_in_every_field_is_only_text(person: Make, hub: Hub) -> None:
    """F1: on the page, and in the pod that is started from it."""
    await hub.grant(
        "alice",
        "hostile",
        displayName=HOSTILE,
        description=HOSTILE * 30,
        image="example/notebook:1.0",
    )
    alice = await person("alice")
    await alice.look("form-hostile")
    assert await alice.page.evaluate("window.hacked") is None
    text = await alice.page.inner_text("main")
    assert "<script>" in text
    assert "{{ 7 * 7 }}" in text
    await assert_accessible(alice)
    status, answer = await hub.start("alice", {"profile": "hostile"})
    assert status in (201, 202), answer
    pod = next(pod for name, pod in (await hub.pods()).items() if "alice" in name)
    told = json.loads(pod["metadata"]["annotations"].pop(f"{lab.ANNOTATION}{lab.ACCESS}"))
    assert told["title"] == HOSTILE
    assert "7 * 7" not in str(pod)
    assert pod["metadata"]["labels"]["workspace"] == "hostile"
    await hub.stop("alice")


@pytest.mark.parametrize(
    ("name", "resources", "expected"),
    [
        pytest.param("with.dots", None, ("standard", {}), id="dots-and-no-resources"),
        pytest.param("long-" + "x" * 248, None, ("standard", {}), id="253-characters"),
        pytest.param("memory-a", {"limits": {"memory": "1.5Gi"}}, ("1.5 GiB", {"memory": 1610612736}), id="1.5Gi"),
        pytest.param("memory-b", {"limits": {"memory": "1500M"}}, ("1500 MB", {"memory": 1500000000}), id="1500M"),
        pytest.param("memory-c", {"limits": {"memory": "1e9"}}, ("1 GB", {"memory": 1000000000}), id="1e9"),
        pytest.param("memory-d", {"limits": {"memory": 1073741824}}, ("1 GiB", {"memory": 1073741824}), id="integer"),
    ],
)
async def test_unusual_resources_are_right_on_the_page_and_in_the_pod(
    person: Make, hub: Hub, name: str, resources: dict[str, Any] | None, expected: tuple[str, dict[str, int]]
) -> None:
    """F2, F3, S4."""
    shown, limits = expected
    await hub.grant(
        "carol",
        name,
        displayName=f"Title of {name[:9]}",
        **({"resources": resources} if resources else dict[str, Any]()),
    )
    carol = await person("carol")
    card = carol.page.locator(".wm-card", has=carol.page.locator(f'input[value="{name}"]'))
    await expect(card).to_contain_text(shown)
    status, answer = await hub.start("carol", {"profile": name})
    assert status in (201, 202), answer
    pod = next(pod for pod_name, pod in (await hub.pods()).items() if "carol" in pod_name)
    notebook = pod["spec"]["containers"][0]
    told = (notebook.get("resources") or {}).get("limits") or {}
    assert {key: octets(value) for key, value in told.items()} == limits
    mounts = {each["mountPath"] for each in notebook["volumeMounts"] if each["name"] != lab.VOLUME}
    assert mounts == {f"/home/jovyan/{name}", "/home/jovyan/shared"}
    await hub.stop("carol")


async def test_hub_used_what_it_is_granted_and_nothing_else(
    person: Make, hub: Hub, kube: Kube, cluster: RealCluster | GivenCluster | None
) -> None:
    """Least privilege, by the API server's audit log: of this file's whole story, and a start that adopts."""
    if not isinstance(cluster, RealCluster):
        pytest.skip("only a kube-apiserver of our own has roles and an audit log to read: --api=server")
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{cluster.namespace}/persistentvolumeclaims"
    await kube.create(path, {"metadata": {"name": "jupyter-adopted"}, "spec": claim})
    await hub.grant("alice", "adopted")
    await person("alice")
    status, answer = await hub.start("alice", {"profile": "adopted"})
    assert status in (201, 202), answer
    await hub.stop("alice")
    assert (await hub.claims())["jupyter-adopted"]["metadata"]["annotations"][OWNER_ANNOTATION] == "adopted"

    ours, chart = (
        rights(rule for document in documents_of(file) for rule in document.get("rules", ())) for file in (RBAC, CHART)
    )
    # Where a server streams no lists the hub reads them in pages; tests/apiserver/test_lists.py sees that.
    in_pages = {right for right in ours if right.startswith("list ") and "bindings" in right}
    assert len(in_pages) == 1
    user = f"system:serviceaccount:{cluster.namespace}:hub"
    found: list[str] = []

    async def agrees() -> bool:
        requests = requests_of(cluster.audit_log, user)
        found[:] = disagreements(
            requests, granted=ours | chart, to_be_used=ours - in_pages, namespace=cluster.namespace
        )
        # KubeSpawner would need them for TLS between hub and servers, which we do not turn on.
        found.extend(right for right in used(requests) if right.endswith((" secrets", " services")))
        return not found

    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            await until(agrees)
    assert not found
