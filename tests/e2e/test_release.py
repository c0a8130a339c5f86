"""A release of the Helm chart on a whole cluster, its hub a pod of the image: what people and operators rely on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.apiserver.cluster import CHART, RBAC, documents_of, until
from tests.apiserver.privileges import disagreements, requests_of, rights
from tests.cluster.installed import Installed, installed
from tests.cluster.node import NodeCluster
from tests.e2e.conftest import SHOTS, Hub, Person
from tests.e2e.test_story import start
from tests.image.release import chart_values, hub_pod, merged
from tests.image.store import ROOT
from tests.stacks import STACKS, current

pytestmark = pytest.mark.timeout(900)  # the first one may have to build four images

API = "cluster"
TOKEN = "a-token-of-the-tests"
# What an operator sets beside image/values.yaml, for people to sign in and for these tests to ask.
RELEASE = chart_values(
    {
        "hub": {
            "config": {"Authenticator": {"allowed_users": ["alice", "bob"]}},
            "loadRoles": {"tests": {"name": "tests", "services": ["tests"], "scopes": ["admin:servers", "read:users"]}},
            "services": {"tests": {"apiToken": TOKEN}},
        }
    }
)
# The release that was there first, with the hub of the oldest chart.
EARLIER = merged(RELEASE, {"hub": {"image": {"tag": "before"}}})
NOTE = {"type": "file", "format": "text", "content": "found something"}
Make = Callable[..., Awaitable[Person]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def demo(cluster: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installed]:
    """In place of a demo."""
    kubeconfig = tmp_path_factory.mktemp("release") / "kubeconfig"
    async with installed(cluster, EARLIER, kubeconfig=kubeconfig, hub_api_token=TOKEN) as release:
        yield release
        SHOTS.mkdir(parents=True, exist_ok=True)
        (SHOTS / "test_release.log").write_text(await release.said())


async def test_hub_is_upgraded_while_a_server_runs(person: Make, hub: Hub, demo: Installed) -> None:
    """S2, E5: from the oldest chart's hub to the newest's, whose database is upgraded, and which knows the server."""
    assert (await hub.call("GET", "/"))[1] == {"version": STACKS[0].hub}
    await hub.grant("alice", "heart", displayName="Study of the heart")
    alice = await person("alice")
    await start(alice, "heart")
    status, answer = await alice.contents("heart/before.txt", "PUT", NOTE)
    assert status == 201, answer
    server = (await hub.pods())["jupyter-alice"]

    await demo.upgrade_hub(RELEASE)
    assert (await hub.call("GET", "/"))[1] == {"version": current().hub}
    assert (await hub.pods())["jupyter-alice"]["metadata"]["uid"] == server["metadata"]["uid"]
    status, known = await hub.call("GET", "/users/alice")
    assert (status, [each["ready"] for each in known["servers"].values()]) == (200, [True])
    status, answer = await alice.contents("heart/before.txt")
    assert (status, answer["content"]) == (200, NOTE["content"])
    await alice.page.goto(f"{demo.url}/hub/home")
    await expect(alice.page.locator(".wm-closing")).to_be_visible()  # reviewed by the new one
    await hub.revoke("alice", "heart")
    await hub.wait("alice", lambda server: not server)
    assert "jupyter-alice" not in await hub.pods()


async def test_files_outlive_the_server_and_the_server_the_hub(person: Make, hub: Hub, demo: Installed) -> None:
    """S1, S2: start, save, stop, start again; then the hub's pod is deleted, and the next one knows the server."""
    await hub.grant("alice", "heart", displayName="Study of the heart")
    alice = await person("alice")
    await expect(alice.page.get_by_role("radio")).to_have_count(1)
    await expect(alice.page.locator("main")).to_contain_text("Study of the heart")
    await start(alice, "heart")
    assert await alice.folders() == {"heart", "shared"}
    status, answer = await alice.contents("heart/note.txt", "PUT", NOTE)
    assert status == 201, answer

    await hub.stop("alice")
    assert "jupyter-alice" not in await hub.pods()
    await start(alice, "heart")
    status, answer = await alice.contents("heart/note.txt")
    assert (status, answer["content"]) == (200, NOTE["content"])

    server = (await hub.pods())["jupyter-alice"]
    before = await demo.hub_pod()
    await demo.delete_hub_pod()
    assert (await alice.contents("heart/note.txt"))[0] == 200, "the proxy and the server need no hub for it"
    after = await demo.hub_pod()
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    status, known = await hub.call("GET", "/users/alice")
    assert (status, [each["ready"] for each in known["servers"].values()]) == (200, [True])
    assert (await hub.pods())["jupyter-alice"]["metadata"]["uid"] == server["metadata"]["uid"]
    status, answer = await alice.contents("heart/note.txt")
    assert (status, answer["content"]) == (200, NOTE["content"])
    await alice.page.goto(f"{demo.url}/hub/home")  # still signed in: the cookie's secret and the database are the same
    await expect(alice.page.get_by_role("button", name="Stop Study of the heart")).to_be_visible()
    await hub.stop("alice")
    assert "jupyter-alice" not in await hub.pods()


async def test_two_people_work_in_one_workspace_and_one_in_two(hub: Hub, person: Make) -> None:
    """S1, S2: a claim that many may write is one folder for everybody who has the workspace, and for nobody else."""
    people = [await person(name) for name in ("alice", "bob")]
    for someone in people:
        await hub.grant(someone.name, "joint")
        await start(someone, "joint")
    alice, bob = people
    pods = await hub.pods()
    assert [claims_of(pods[f"jupyter-{each.name}"]) for each in people] == [{"jupyter-joint", "jupyter-shared"}] * 2
    for writer, reader in ((alice, bob), (bob, alice)):
        status, answer = await writer.contents(f"joint/{writer.name}.txt", "PUT", NOTE)
        assert status == 201, answer
        status, answer = await reader.contents(f"joint/{writer.name}.txt")
        assert (status, answer["content"]) == (200, NOTE["content"])

    await hub.grant("bob", "apart")
    await hub.stop("bob")
    await start(bob, "apart")
    assert await bob.folders() == {"apart", "shared"}
    assert (await bob.contents("joint/alice.txt"))[0] == 404
    assert (await alice.contents("joint/bob.txt"))[0] == 200, "and alice works on"
    for someone in people:
        await hub.stop(someone.name)


def claims_of(pod: Mapping[str, Any]) -> set[str]:
    return {
        each["persistentVolumeClaim"]["claimName"] for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each
    }


async def test_server_has_what_the_chart_gives_it(hub: Hub, person: Make, cluster: NodeCluster) -> None:
    """Where it may run, and what its node runs first: the manager keeps what the chart's values say of every server.

    In a namespace that denies what no policy allows, its label lets it speak to the hub. That this is enforced is not
    seen: the cluster has no network plugin.
    """
    deny = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    await cluster.apply(deny | {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}})
    await hub.grant("bob", "lungs")
    bob = await person("bob")
    await start(bob, "lungs")
    server = (await hub.pods())["jupyter-bob"]
    spec = server["spec"]
    assert spec["schedulerName"] == "user-scheduler"
    assert {each["key"] for each in spec["tolerations"]} >= {"hub.jupyter.org/dedicated", "hub.jupyter.org_dedicated"}
    (wish,) = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchExpressions"][0]["values"] == ["user"]
    (first,) = server["status"]["initContainerStatuses"]
    assert (first["name"], first["state"]["terminated"]["exitCode"]) == ("block-cloud-metadata", 0)
    assert server["metadata"]["labels"]["hub.jupyter.org/network-access-hub"] == "true"
    (container,) = spec["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "runAsUser": 1000}
    await hub.stop("bob")


async def test_hub_is_not_root_and_writes_to_its_volumes_alone(demo: Installed) -> None:
    assert await demo.run("id", "-u") == (0, "1000\n")
    for folder in ("/usr/local/etc/jupyterhub", "/home/jovyan"):
        code, said = await demo.run("touch", f"{folder}/of-a-test")
        assert (code, "Read-only file system" in said) == (1, True), said
    for folder in ("/srv/jupyterhub", "/tmp"):  # noqa: S108 - the container's
        assert await demo.run("touch", f"{folder}/of-a-test") == (0, "")


async def test_commands_of_the_readme_find_nothing_wrong(demo: Installed) -> None:
    readme = (ROOT / "image" / "README.md").read_text()
    commands = set(re.findall(r"kubectl exec -n jupyterhub deploy/hub -- ([^`\n]+)", readme))
    assert {"workspace-managers doctor", "workspace-managers claims"} <= commands
    for command in commands:
        code, said = await demo.run(*command.split())
        assert code == 0, f"{command}: {said}"


async def test_hub_that_cannot_start_says_why_last(demo: Installed) -> None:
    """L1: as the README says, the last line of its log has the reason; a pod beside the hub's, which goes on."""
    values = merged(RELEASE, {"hub": {"extraEnv": {"WORKSPACE_MANAGER": "elsewhere"}}})
    spec = {**hub_pod(values)["spec"], "restartPolicy": "Never"}
    await demo.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mistaken"}, "spec": spec})

    async def failed() -> bool:
        return bool((await demo.kube.get(f"{demo.pods}/mistaken"))["status"]["phase"] == "Failed")

    async with asyncio.timeout(60):
        await until(failed)
    log = (await demo.kube.text(f"{demo.pods}/mistaken/log")).splitlines()
    assert "WORKSPACE_MANAGER='elsewhere' names no workspace manager that is installed" in log[-1], log


async def test_hub_asks_for_nothing_that_it_is_not_granted(demo: Installed) -> None:
    """By the audit log of all that was done above, with the token that the kubelet gave to the pod."""
    asked = requests_of(demo.cluster.audit_log, f"system:serviceaccount:{demo.namespace}:hub")
    # Everybody may ask what they may do, and which kinds of a group there are.
    requests = [
        each
        for each in asked
        if each.get("objectRef", {}).get("resource") != "selfsubjectaccessreviews"
        and each["requestURI"] != "/apis/xlscsde.nhs.uk/v1"
    ]
    documents = [document for file in (RBAC, CHART) for document in documents_of(file)]
    granted = rights(rule for document in documents for rule in document.get("rules", ()))
    assert requests
    assert disagreements(requests, granted=granted, to_be_used=set(), namespace=demo.namespace) == []
