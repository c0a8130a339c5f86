"""Home folders that are kept (S8): there when a person comes back, and for nobody else and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.apiserver.cluster import RealCluster
from tests.cluster.node import NodeCluster
from tests.e2e.conftest import Hub, Person, audit_of
from workspace_managers import personal_claim
from workspace_managers.devcluster.demo import Demo, load_samples
from workspace_managers.kube.claims import OWNER_ANNOTATION, PERSON_ANNOTATION, USED_ANNOTATION
from workspace_managers.kube.client import Kube

ENVIRON = {"WORKSPACE_HOME": "claim", "WORKSPACE_HOME_CAPACITY": "1Gi"}
NOTE = {"type": "file", "format": "text", "content": "found something"}
IMAGE = load_samples()[0]["spec"]["jupyterWorkspace"]["image"]  # a server of files, on every API
Make = Callable[..., Awaitable[Person]]


@pytest.fixture
def notes(person: Make, hub: Hub, demo: Demo) -> Callable[..., Awaitable[Any]]:
    """Somebody's server of a workspace: started, asked, and stopped."""
    people: dict[str, Person] = {}

    async def ask(name: str, workspace: str, *questions: tuple[Any, ...]) -> list[tuple[int, Any]]:
        if name not in people:
            await hub.call("POST", f"/users/{name}")
            people[name] = await person(name)
        someone = people[name]
        await started(hub, name, workspace)
        await someone.page.route("**/static/lab/*.js*", lambda route: route.abort())
        await someone.page.goto(f"{demo.url}/user/{name}/{workspace}/lab", wait_until="commit")
        answers = [await someone.contents(*_whole(*question), workspace) for question in questions]
        await hub.stop(name, workspace)
        return answers

    return ask


def _whole(path: str, method: str = "GET", body: object = None) -> tuple[str, str, object]:
    return path, method, body


async def started(hub: Hub, user: str, workspace: str) -> None:
    """Start a server, once the hub has heard that it may be."""
    async with asyncio.timeout(90):
        while True:
            if (await hub.call("POST", f"/users/{user}/servers/{workspace}"))[0] in (201, 202):
                break
            await asyncio.sleep(0.2)
    await hub.wait(user, lambda server: bool(server.get("ready")), workspace)


async def denied(hub: Hub, user: str, workspace: str) -> None:
    """Wait until a server is not started any more."""
    async with asyncio.timeout(90):
        while (await hub.call("POST", f"/users/{user}/servers/{workspace}"))[0] != 403:
            await hub.stop(user, workspace)


async def unused_claims(demo: Demo) -> list[dict[str, Any]]:
    """What an operator is told of homes that nobody may open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workspace_managers", "claims", "--unused", "--json"),
        env={**os.environ, **ENVIRON, "KUBECONFIG": str(demo.kubeconfig_path), "POD_NAMESPACE": demo.namespace},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    found: list[dict[str, Any]] = json.loads(printed)
    return found


def statuses(answers: list[tuple[int, Any]]) -> list[int]:
    return [status for status, _ in answers]


async def folder_of(claim: str, demo: Demo, kube: Kube, cluster: object) -> Path:
    """Where the files of a claim are on this machine."""
    if not isinstance(cluster, NodeCluster):
        return demo.state / "claims" / claim
    path = f"/api/v1/namespaces/{demo.namespace}/persistentvolumeclaims/{claim}"
    administrator = Kube(demo.namespace, cluster.kubeconfig())
    try:
        volume = await administrator.get(f"/api/v1/persistentvolumes/{(await kube.get(path))['spec']['volumeName']}")
    finally:
        await administrator.close()
    return Path((volume["spec"].get("hostPath") or volume["spec"]["local"])["path"])


async def test_home_is_one_persons_in_one_workspace(
    notes: Any, hub: Hub, demo: Demo, kube: Kube, cluster: RealCluster | None
) -> None:
    """S8: there after a stop; empty for a colleague, and in another workspace; the folder is as it was."""
    for name in ("lungs", "skin"):
        await hub.grant("alice", name, image=IMAGE)
    await hub.grant("bob", "lungs", image=IMAGE)
    inside = ("lungs/note.txt", "PUT", NOTE)
    assert statuses(await notes("alice", "lungs", ("note.txt", "PUT", NOTE), inside)) == [201, 201]
    answers = await notes("alice", "lungs", ("note.txt",), ("lungs/note.txt",))
    assert [answer["content"] for _, answer in answers] == ["found something"] * 2
    assert statuses(await notes("bob", "lungs", ("note.txt",), ("lungs/note.txt",))) == [404, 200]
    assert statuses(await notes("alice", "skin", ("note.txt",))) == [404]

    claims = await hub.claims()
    for name, workspace in (("alice", "lungs"), ("bob", "lungs"), ("alice", "skin")):
        claim = claims[personal_claim(name, workspace)]
        annotations = claim["metadata"]["annotations"]
        assert (annotations[PERSON_ANNOTATION], annotations[OWNER_ANNOTATION]) == (name, workspace)
        assert annotations[USED_ANNOTATION]
        assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    if isinstance(cluster, NodeCluster):
        # What the image has in its home folder, which the claim would hide.
        home = await folder_of(personal_claim("alice", "lungs"), demo, kube, cluster)
        assert {".bashrc", ".profile", ".workspace-home", "note.txt"} <= {each.name for each in home.iterdir()}
        assert home.joinpath(".bashrc").stat().st_uid == 1000


async def test_s8_pages_say_what_is_kept(person: Make, hub: Hub) -> None:
    alice = await person("alice", "/hub/home")
    await hub.grant("alice", "nose", displayName="Nose", image=IMAGE)
    await alice.visit("/hub/spawn")
    await expect(alice.page.locator("dd", has_text="kept, for you alone").first).to_be_visible()
    await alice.look("home-kept-form")
    await alice.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await alice.visit("/hub/home")
    await alice.page.get_by_role("button", name="Start Nose").click()
    await alice.page.wait_for_url("**/user/alice/nose/**", timeout=120_000, wait_until="commit")
    await alice.visit("/hub/home")
    await alice.page.get_by_role("button", name="Stop Nose").click()
    dialog = alice.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("What you have not saved in its folder or in your home folder is lost")
    await alice.shot("home-kept-stop")
    await dialog.get_by_role("button", name="Stop", exact=True).click()
    await expect(alice.page.get_by_role("button", name="Start Nose")).to_be_visible(timeout=30_000)


async def test_s8_home_outlives_grant_name_and_user(notes: Any, hub: Hub, demo: Demo) -> None:
    """S8: access that comes back finds it; another name has another; a user that the hub has deleted loses nothing."""
    for name in ("dora", "dorothea"):
        await hub.grant(name, "bones", image=IMAGE)
    assert statuses(await notes("dora", "bones", ("note.txt", "PUT", NOTE))) == [201]
    before = (await hub.claims())[personal_claim("dora", "bones")]

    await hub.revoke("dora", "bones")
    await denied(hub, "dora", "bones")
    await hub.grant("dora", "bones", image=IMAGE)
    assert statuses(await notes("dora", "bones", ("note.txt",))) == [200]

    assert (await hub.call("PATCH", "/users/dora", {"name": "dorothea"}))[0] == 200
    await started(hub, "dorothea", "bones")
    await hub.stop("dorothea", "bones")
    claims = await hub.claims()
    assert personal_claim("dorothea", "bones") != before["metadata"]["name"]
    assert claims[personal_claim("dorothea", "bones")]["metadata"]["annotations"][PERSON_ANNOTATION] == "dorothea"

    await hub.revoke("dorothea", "bones")
    assert (await hub.call("DELETE", "/users/dorothea"))[0] == 204
    unused = {each["person"]: each for each in await unused_claims(demo)}
    assert unused["dorothea"]["claim"] == personal_claim("dorothea", "bones")
    assert unused["dorothea"]["outlook"].startswith("no grant by the username")
    assert unused["dorothea"]["last_started"]
    assert "dora" not in unused, "she has her grant still"
    after = await hub.claims()
    for name in ("dora", "dorothea"):
        assert "deletionTimestamp" not in after[personal_claim(name, "bones")]["metadata"]
    assert after[before["metadata"]["name"]]["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize("of", ["bob", "skin"])
async def test_s8_claim_that_says_it_is_anothers_starts_nothing(hub: Hub, kube: Kube, demo: Demo, of: str) -> None:
    """S8: whoever may write claims has written it over; the server does not start, and nothing is changed."""
    user = f"eve-{of}"
    await hub.grant(user, "eyes", image=IMAGE)
    name = personal_claim(user, "eyes")
    annotations = {OWNER_ANNOTATION: of if of == "skin" else "eyes", PERSON_ANNOTATION: of if of == "bob" else user}
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    collection = f"/api/v1/namespaces/{demo.namespace}/persistentvolumeclaims"
    await kube.create(collection, {"metadata": {"name": name, "annotations": annotations}, "spec": spec})
    await hub.call("POST", f"/users/{user}")
    async with asyncio.timeout(30):
        while not (lines := audit_of(demo, user)) or lines[-1]["rule"] == "A2":  # the binding is not heard of yet
            status, answer = await hub.call("POST", f"/users/{user}/servers/eyes")
            assert status == 403, answer
    assert (lines[-1]["outcome"], lines[-1]["rule"]) == ("denied", "S8")
    assert (await hub.claims())[name]["metadata"]["annotations"].items() >= annotations.items()


@asynccontextmanager
async def full(folder: Path, cluster: NodeCluster) -> AsyncIterator[None]:
    """A file system of 64 KiB in the place of a folder of the node."""
    await cluster.run("mount", "-t", "tmpfs", "-o", "size=64k,uid=1000,gid=100", "tmpfs", str(folder))
    try:
        yield
    finally:
        await cluster.run("umount", str(folder))


async def test_home_is_full_and_the_server_works_on(
    notes: Any, hub: Hub, demo: Demo, kube: Kube, cluster: RealCluster | None
) -> None:
    """S8: what does not fit is not saved; what is saved elsewhere is, and after something is deleted there is room."""
    if not isinstance(cluster, NodeCluster):
        pytest.skip("only a whole cluster has volumes that can be full")
    await hub.grant("fay", "teeth", image=IMAGE)
    assert statuses(await notes("fay", "teeth", ("small.txt", "PUT", NOTE))) == [201]
    home = await folder_of(personal_claim("fay", "teeth"), demo, kube, cluster)
    big = {"type": "file", "format": "text", "content": "x" * 500_000}
    async with full(home, cluster):
        too_much, inside, deleted, small = await notes(
            "fay",
            "teeth",
            ("big.txt", "PUT", big),
            ("teeth/big.txt", "PUT", big),
            ("big.txt", "DELETE"),
            ("small.txt", "PUT", NOTE),
        )
        assert too_much[0] >= 400
        assert (inside[0], small[0]) == (201, 201)
        assert deleted[0] in (204, 404)
    answers = await notes("fay", "teeth", ("small.txt",), ("teeth/big.txt",))
    assert statuses(answers) == [200, 200], "what was there before it was full, and what was saved meanwhile"
