"""What keeps a start waiting on a real cluster, and what the person in front of the page reads of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.cluster import archives
from tests.cluster.node import NODE, NodeCluster
from tests.e2e.conftest import Hub, Person, assert_accessible, audit_of
from workspace_managers.devcluster.demo import Demo
from workspace_managers.hub import refusals, waiting
from workspace_managers.hub.waiting import Cause
from workspace_managers.kube.claims import OWNER_ANNOTATION

API = "cluster"  # a whole one
START_SECONDS = 150
LATER = 'c.KubeSpawner.cmd = ["jupyterhub-singleuser"]'  # of the Helm chart
WITHIN = 60_000
NO_COMMAND, ENDS = "docker.io/example/no-command:1", "docker.io/example/ends:1"
ELSEWHERE = {
    "required": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["elsewhere"]}]}
        ]
    }
}
Make = Callable[..., Awaitable[Person]]

# Whose start waits for what: the workspace, the cause, and a part of what the log has of it.
STORIES: dict[str, tuple[Mapping[str, Any], Cause, str]] = {
    "no-class": ({"persistentVolumeClaim": {"storageClassName": "missing"}}, waiting.STORAGE, '"missing" not found'),
    "never": ({"persistentVolumeClaim": {"storageClassName": "never"}}, waiting.STORAGE, "unbound immediate"),
    "zone": ({}, waiting.STORAGE, "node affinity"),
    "room": ({"resources": {"limits": {"memory": "64Gi"}}}, waiting.ROOM, "Insufficient memory"),
    "no-image": ({"image": "localhost/example/missing:1"}, waiting.IMAGE, "missing:1"),
    "no-command": ({"image": NO_COMMAND}, waiting.SETUP, "executable file not found"),
    "ends": ({"image": ENDS}, waiting.ENDED, "Back-off restarting failed container"),
}


@asynccontextmanager
async def made(cluster: NodeCluster, *documents: Mapping[str, Any]) -> AsyncIterator[None]:
    """Objects of the namespace, for as long as the block runs."""
    for document in documents:
        await cluster.apply(dict(document))
    try:
        yield
    finally:
        for document in documents:
            plural = document["kind"].lower() + "s"
            name = document["metadata"]["name"]
            await cluster.call("DELETE", f"/api/v1/namespaces/{cluster.namespace}/{plural}/{name}")


async def import_images(cluster: NodeCluster, folder: Path) -> None:
    """One without the server's command, and one whose command ends."""
    tool = Path("/bin/busybox")
    assert shutil.which(tool), "busybox-static of Debian"
    for image, program in ((NO_COMMAND, "busybox"), (ENDS, "usr/local/bin/jupyterhub-singleuser")):
        archives.write(folder / "image.tar", image, {program: tool}, starts=False)
        await cluster.import_image(folder / "image.tar")


async def volume_elsewhere(cluster: NodeCluster, workspace: str) -> None:
    """The claim of this workspace, bound to a volume of a zone that no node is in."""
    name = f"jupyter-{workspace}"
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    await cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": spec
            | {
                "capacity": {"storage": "1Gi"},
                "claimRef": {"namespace": cluster.namespace, "name": name},
                "hostPath": {"path": "/nowhere"},
                "nodeAffinity": ELSEWHERE,
            },
        }
    )
    resources = {"requests": {"storage": "1Gi"}}
    await cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "annotations": {OWNER_ANNOTATION: workspace}},
            "spec": spec | {"resources": resources, "volumeName": name},
        }
    )


async def pending(person: Make, hub: Hub, name: str) -> Person:
    """Somebody with the page of a start before them; the start is asked for as a portal does."""
    await hub.call("POST", f"/users/{name}")
    someone = await person(name)
    status, answer = await hub.call("POST", f"/users/{name}/server", {"profile": name})
    assert status == 202, answer
    await someone.page.goto(f"{someone.page.url.partition('/hub/')[0]}/hub/spawn-pending/{name}")
    return someone


def audit(demo: Demo, user: str) -> list[Any]:
    return [(line["decision"], line["outcome"]) for line in audit_of(demo, user) if line["decision"] != "form"]


async def assert_failed(someone: Person, hub: Hub, demo: Demo, cause: Cause, said: str) -> None:
    """A start that was given up: the page, the log, the audit, the workspace."""
    name = someone.name
    await expect(someone.page.locator("#wm-reason")).to_have_text(cause.failed, timeout=START_SECONDS * 1000)
    await someone.shot(f"failed-{name}")
    log = [line for line in demo.hub_log.read_text().splitlines() if f"failed at start for '{name}'" in line]
    assert len(log) == 1, log
    assert said in log[0].replace("\\'", "'")
    assert audit(demo, name) == [("pod", "allowed"), ("start", "failed")]
    if cause is not waiting.ENDED:  # whose volumes were mounted, for as long as it ran
        assert "status" not in await hub.workspace(name), "not provisioned"


@pytest.mark.timeout(600)
async def test_what_a_start_waits_for_is_told_in_time_and_at_its_end(
    person: Make, hub: Hub, demo: Demo, cluster: NodeCluster, tmp_path: Path
) -> None:
    """Each of them: the page within 60 s and at the end, the log, the audit, and nothing is left."""
    await import_images(cluster, tmp_path)
    await volume_elsewhere(cluster, "zone")
    for name, (spec, _, _) in STORIES.items():
        await hub.grant(name, name, **spec)
    there = await asyncio.gather(*(pending(person, hub, name) for name in STORIES))
    people = dict(zip(STORIES, there, strict=True))
    for name, (_, cause, _) in STORIES.items():
        await expect(people[name].page.locator("#progress-message")).to_have_text(cause.waiting, timeout=WITHIN)
        await people[name].shot(f"waits-{name}")
    await assert_accessible(people["room"])

    # Nobody says anything.
    await cluster.kill("kube-scheduler")
    try:
        await hub.grant("quiet", "quiet")
        people["quiet"] = await pending(person, hub, "quiet")
        for name, (_, cause, said) in STORIES.items():
            await assert_failed(people[name], hub, demo, cause, said)
        await assert_accessible(people["room"])
        quiet = people["quiet"].page.locator("#progress-message")
        await expect(quiet).to_have_text(waiting.NOBODY.waiting, timeout=130_000)
        await people["quiet"].shot("waits-quiet")
        await assert_failed(people["quiet"], hub, demo, waiting.NOBODY, "Kubernetes has said nothing about it")
    finally:
        await cluster.start("kube-scheduler")
    async with asyncio.timeout(30):
        while await hub.pods():  # noqa: ASYNC110 - a cluster's API
            await asyncio.sleep(0.5)
    assert (await hub.call("GET", "/"))[0] == 200, "eight failed starts do not end the hub"


async def test_start_goes_on_by_itself_when_there_is_room_again(person: Make, hub: Hub, cluster: NodeCluster) -> None:
    """A node that is cordoned, and then is not."""

    async def cordon(it_is: bool) -> None:
        await cluster.call("PATCH", f"/api/v1/nodes/{NODE}", {"spec": {"unschedulable": it_is}})

    await hub.grant("cordoned", "cordoned")
    await cordon(True)
    try:
        someone = await pending(person, hub, "cordoned")
        await expect(someone.page.locator("#progress-message")).to_have_text(waiting.ROOM.waiting, timeout=WITHIN)
    finally:
        await cordon(False)
    await someone.page.wait_for_url("**/user/cordoned/**", timeout=WITHIN, wait_until="commit")
    await hub.stop("cordoned")


QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
LIMITS = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}}
REFUSALS = [
    pytest.param(QUOTA | {"spec": {"hard": {"pods": "0"}}}, waiting.ROOM.failed, id="quota-of-pods"),
    pytest.param(QUOTA | {"spec": {"hard": {"requests.memory": "1Mi"}}}, waiting.ROOM.failed, id="quota-of-memory"),
    pytest.param(
        LIMITS | {"spec": {"limits": [{"type": "Container", "max": {"memory": "1Mi"}}]}},
        refusals.TOO_LARGE,
        id="limits",
    ),
]


@pytest.mark.parametrize(("document", "sentence"), REFUSALS)
async def test_pod_that_the_namespace_does_not_take_is_told_at_once(
    hub: Hub, demo: Demo, cluster: NodeCluster, document: Mapping[str, Any], sentence: str
) -> None:
    name = f"refused-{document['kind'].lower()}"
    await hub.grant(name, name, resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}})
    async with made(cluster, document):
        await asyncio.sleep(1)  # the API server has heard of it
        status, answer = await hub.start(name, {"profile": name})
    assert (status, sentence in answer["message"]) == (503, True), answer
    assert audit(demo, name)[-1] == ("pod", "refused")
    assert not await hub.pods()
    assert "status" not in await hub.workspace(name)


async def test_pod_that_pod_security_does_not_take_is_told_at_once(hub: Hub, demo: Demo, cluster: NodeCluster) -> None:
    async def enforce(level: str | None) -> None:
        labels = {"pod-security.kubernetes.io/enforce": level}
        await cluster.call("PATCH", f"/api/v1/namespaces/{cluster.namespace}", {"metadata": {"labels": labels}})

    await hub.grant("restricted", "restricted")
    await enforce("restricted")
    try:
        status, answer = await hub.start("restricted", {"profile": "restricted"})
    finally:
        await enforce(None)
    assert (status, "did not accept" in answer["message"]) == (503, True), answer
    assert audit(demo, "restricted")[-1] == ("pod", "refused")
    assert not await hub.pods()
