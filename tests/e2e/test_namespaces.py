"""Projects with namespaces of their own on a whole cluster (S9), by the example plugin whose backend has them."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.apiserver.privileges import requests_of, rights, used
from tests.cluster.node import NodeCluster
from tests.e2e.conftest import Hub, Person, audit_of
from tests.stacks import STACKS, current
from workspace_managers import personal_claim
from workspace_managers.devcluster.demo import Demo, load_samples
from workspace_managers.kube.namespaces import LABEL
from workspace_managers.names import server_name

API = "cluster"  # a whole one
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "example-projects" / "workspace_manager_projects"
NAMESPACE = ROOT / "image" / "namespace"
IMAGE = load_samples()[0]["spec"]["jupyterWorkspace"]["image"]
MORE = ("north", "south", "west")
PROJECTS = ("asthma", "brain", "skin", "unlabelled", "elsewhere", *MORE)
MEMBERS = {
    "asthma": ("alice", "bob"),
    "brain": ("carol",),
    "skin": ("dora",),
    "unlabelled": ("alice",),
    **dict.fromkeys(MORE, ("frank",)),
}
NOTE = {"type": "file", "format": "text", "content": "found something"}
REVIEWED_SECONDS = 90
# What a plugin tells nothing of is looked at every few minutes; here, of seconds.
LATER = """
import time

sessions = c.JupyterHub.spawner_class.workspace_sessions
sessions._later = lambda: time.monotonic() + 5
c.KubeSpawner.poll_interval = 5
c.JupyterHub.upgrade_db = True
c.JupyterHub.db_url = "sqlite:///hubs.sqlite"
"""
ENVIRON: dict[str, str] = {}
Make = Callable[..., Awaitable[Person]]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """The projects' backend, and a hub whose plugin asks it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, site / EXAMPLE.name)
    distribution = site / "workspace_manager_projects-0.1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: workspace-manager-projects\nVersion: 0.1.0\n")
    points = "[workspace_managers]\nprojects = workspace_manager_projects:ProjectsManager\n"
    (distribution / "entry_points.txt").write_text(points)
    (site / "policy.yaml").write_text("namespaces: ['project-[!e]*']\n")
    sys.path.insert(0, str(site))
    from workspace_manager_projects.backend import Platform  # type: ignore[import-not-found]  # noqa: PLC0415 - on the path from now on

    made = Platform()
    await made.start()
    profile = {"name": None, "title": None, "image": IMAGE, "cpu": "200m", "memory": "512Mi"}
    days = {"first_day": "2020-01-01", "last_day": "2090-01-01"}
    for name in PROJECTS:
        project = {"name": name, "uid": f"uid-of-{name}", "title": f"The {name} study", "text": "Of a test", **days}
        made.projects[name] = {**project, "profiles": [profile]}
        made.members += [(person, name, "2090-01-01") for person in MEMBERS.get(name, ())]
    ENVIRON.update(
        WORKSPACE_MANAGER="projects",
        WORKSPACE_POLICY=str(site / "policy.yaml"),
        WORKSPACE_REVIEW_MINUTES="1",
        WORKSPACES_AT_ONCE="0",
        PROJECTS_URL=made.url,
        PROJECTS_CA=str(made.folder / "ca.pem"),
        PROJECTS_TOKEN_FILE=str(made.folder / "token"),
        PYTHONPATH=str(site),
    )
    yield made
    await made.stop()
    sys.path.remove(str(site))


def documents(name: str, hub: str, *files: str) -> list[dict[str, Any]]:
    """What image/namespace has, for this namespace and the hub's."""
    found: list[dict[str, Any]] = []
    for file in files or ("namespace", "rights", "network", "quota"):
        text = (NAMESPACE / f"{file}.yaml").read_text()
        found += yaml.safe_load_all(text.replace("project-example", name).replace(": jupyterhub", f": {hub}"))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def namespaces(platform: Any, demo: Demo, cluster: NodeCluster) -> None:
    """A namespace for each project; one has lost the label, one is of a name that the policy does not have."""
    for project in PROJECTS:
        for document in documents(f"project-{project}", demo.namespace):
            await cluster.apply(document)
    await label(cluster, "unlabelled", None)
    # One from before, without an owner.
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    body = {"metadata": {"name": "jupyter-brain"}, "spec": {**spec, "storageClassName": "jupyter-default"}}
    await cluster.call("POST", "/api/v1/namespaces/project-brain/persistentvolumeclaims", body)


async def label(cluster: NodeCluster, project: str, value: str | None) -> None:
    body = {"metadata": {"labels": {LABEL: value}}}
    await cluster.call("PATCH", f"/api/v1/namespaces/project-{project}", body)


async def start(hub: Hub, user: str, workspace: str) -> None:
    await hub.call("POST", f"/users/{user}")
    status, answer = await hub.call("POST", f"/users/{user}/servers/{server_name(workspace)}", {"profile": workspace})
    assert status in (201, 202), answer
    await hub.wait(user, lambda server: bool(server.get("ready")), workspace)


async def objects(cluster: NodeCluster, project: str, plural: str) -> dict[str, dict[str, Any]]:
    listed = await cluster.call("GET", f"/api/v1/namespaces/project-{project}/{plural}")
    return {each["metadata"]["name"]: each for each in listed["items"]}


async def uids(cluster: NodeCluster, project: str) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in (await objects(cluster, project, "pods")).items()}


async def gone(hub: Hub, user: str, server: str) -> None:
    async with asyncio.timeout(REVIEWED_SECONDS):
        while True:
            _, answer = await hub.call("GET", f"/users/{user}")
            if server not in (answer.get("servers") or {}):
                return
            await asyncio.sleep(1)


async def at_server(person: Make, demo: Demo, name: str, workspace: str) -> Person:
    """Somebody whose browser is at their server."""
    someone = await person(name)
    await someone.page.route("**/static/lab/*.js*", lambda route: route.abort())
    await someone.page.goto(f"{demo.url}/user/{name}/{workspace}/lab", wait_until="commit")
    return someone


async def test_two_projects_three_people(person: Make, hub: Hub, demo: Demo, cluster: NodeCluster) -> None:
    """S8, S9: each pod, claim, mount and variable is the project's; colleagues share its folder, and no home."""
    for user, project in (("alice", "asthma"), ("bob", "asthma"), ("carol", "brain")):
        await start(hub, user, project)
    assert set(await hub.pods()) == set()
    for project, people in (("asthma", ("alice", "bob")), ("brain", ("carol",))):
        pods = await objects(cluster, project, "pods")
        assert len(pods) == len(people)
        claims = await objects(cluster, project, "persistentvolumeclaims")
        assert set(claims) == {f"jupyter-{project}", *(personal_claim(user, project) for user in people)}
        for pod in pods.values():
            (server,) = pod["spec"]["containers"]
            environ = {each["name"]: each.get("value") for each in server["env"]}
            assert (environ["PROJECT_NAME"], environ["PROJECT_TITLE"]) == (project, f"The {project} study")
            user = pod["metadata"]["annotations"]["hub.jupyter.org/username"]
            mounted = {
                each["persistentVolumeClaim"]["claimName"]
                for each in pod["spec"]["volumes"]
                if "persistentVolumeClaim" in each
            }
            assert mounted == {f"jupyter-{project}", personal_claim(user, project)}
    assert {line["pod"]["namespace"] for line in audit_of(demo, "alice") if line["pod"]} == {"project-asthma"}

    alice = await at_server(person, demo, "alice", "asthma")
    for path in ("note.txt", "asthma/note.txt"):
        status, answer = await alice.contents(path, "PUT", NOTE, "asthma")
        assert status == 201, answer
    bob = await at_server(person, demo, "bob", "asthma")
    assert [(await bob.contents(path, server="asthma"))[0] for path in ("note.txt", "asthma/note.txt")] == [404, 200]
    carol = await at_server(person, demo, "carol", "brain")
    status, listed = await carol.contents("", server="brain")
    assert (status, {each["name"] for each in listed["content"]}) == (200, {"brain"})


async def test_alice_sees_nothing_of_another_project(hub: Hub, demo: Demo, platform: Any, cluster: NodeCluster) -> None:
    """S9: by ten attempts, none of which starts anything or tells anything; her own server's token among them."""
    before = await objects(cluster, "brain", "pods"), await objects(cluster, "brain", "persistentvolumeclaims")
    names = (
        "brain",
        "project-brain",
        "brain.",
        "asthma.brain",
        "../brain",
        "BRAIN",
        "carol",
        "unlabelled",
        "elsewhere",
    )
    for name in names:
        body = {"profile": name}
        status, answer = await hub.call("POST", f"/users/alice/servers/{server_name(name.lower().strip('./'))}", body)
        assert status in (400, 403), (name, answer)
        assert "carol" not in str(answer)
    assert audit_of(demo, "alice")[-2]["rule"] == "S9", "a namespace without the label"
    # The token that her server has.
    pods = await objects(cluster, "asthma", "pods")
    alices = next(pod for pod in pods.values() if pod["metadata"]["annotations"]["hub.jupyter.org/username"] == "alice")
    environ = {each["name"]: each.get("value") for each in alices["spec"]["containers"][0]["env"]}
    for method, path in (("GET", "/users/carol"), ("POST", "/users/carol/servers/brain"), ("GET", "/users")):
        status, answer = await hub.call(method, path, token=environ["JUPYTERHUB_API_TOKEN"])
        assert status in (403, 404), answer
    # A project that the backend has put where the policy does not let it be.
    platform.projects["asthma"]["name"] = "elsewhere"
    try:
        status, answer = await hub.call("POST", "/users/bob/servers/elsewhere", {"profile": "elsewhere"})
        assert status == 403, answer
    finally:
        platform.projects["asthma"]["name"] = "asthma"
    after = await objects(cluster, "brain", "pods"), await objects(cluster, "brain", "persistentvolumeclaims")
    assert [set(each) for each in after] == [set(each) for each in before]


async def test_label_that_is_taken_away_ends_what_runs(hub: Hub, demo: Demo, cluster: NodeCluster) -> None:
    """S9: with its rule in the audit line; nothing starts meanwhile, and it goes on with the label, files and all."""
    await label(cluster, "brain", None)
    await gone(hub, "carol", "brain")
    async with asyncio.timeout(30):
        while True:  # written once its pod is gone
            lines = [line for line in audit_of(demo, "carol") if line["decision"] == "session"]
            if lines:
                break
            await asyncio.sleep(0.2)
    ended = lines[-1]
    assert (ended["outcome"], ended["rule"], ended["pod"]["namespace"]) == ("denied", "S9", "project-brain")
    assert not await objects(cluster, "brain", "pods")
    status, answer = await hub.call("POST", "/users/carol/servers/brain")
    assert status == 403, answer
    assert "does not allow" in answer["message"]
    await label(cluster, "brain", "allowed")
    await start(hub, "carol", "brain")


async def test_namespace_that_vanishes_takes_its_server_and_nothing_else(
    hub: Hub, demo: Demo, cluster: NodeCluster
) -> None:
    """S9: the hub goes on, and says no to the next start there."""
    await start(hub, "dora", "skin")
    await cluster.call("DELETE", "/api/v1/namespaces/project-skin")
    await gone(hub, "dora", "skin")
    status, answer = await hub.call("POST", "/users/dora/servers/skin")
    assert status in (403, 503), answer
    await hub.stop("alice", "asthma")
    await start(hub, "alice", "asthma")


async def test_hub_that_was_killed_and_upgraded_knows_all_servers_again(
    hub: Hub, demo: Demo, platform: Any, cluster: NodeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9, E5: in five namespaces, by the pods' UIDs; who lost access meanwhile is stopped, in whatever namespace.

    On an older stack the hub that comes back is the newest one.
    """
    await asyncio.gather(*(start(hub, "frank", project) for project in MORE))
    projects = ("asthma", "brain", *MORE)
    before = {project: await uids(cluster, project) for project in projects}
    await demo.end_hub(signal.SIGKILL)
    platform.members.remove(("bob", "asthma", "2090-01-01"))
    platform.members.remove(("frank", "west", "2090-01-01"))
    # The right that makes one watch of many; the hub finds it as it starts.
    for document in documents("", demo.namespace, "watch-all"):
        await cluster.apply(document)
    newest = ROOT / ".venv" / "bin" / "python"
    if newest.exists():
        monkeypatch.setattr(sys, "executable", str(newest))
    await demo.start_hub()
    assert (await hub.call("GET", "/"))[1]["version"] == (STACKS[-1] if newest.exists() else current()).hub
    await gone(hub, "bob", "asthma")
    await gone(hub, "frank", "west")
    for user, project in (("alice", "asthma"), ("carol", "brain"), ("frank", "north"), ("frank", "south")):
        await hub.wait(user, lambda server: bool(server.get("ready")), project)
    after = {project: await uids(cluster, project) for project in projects}
    del before["asthma"]["jupyter-bob--asthma"]
    assert after == {**before, "west": {}}
    await hub.stop("frank", "north")
    await start(hub, "frank", "north")
    for project in ("north", "south"):
        await hub.stop("frank", project)


async def test_hub_asks_for_what_a_namespace_grants_it(demo: Demo, cluster: NodeCluster) -> None:
    """Least privilege, by the audit log of all that was done above; nothing is asked for in any other namespace."""
    granted = rights(rule for each in documents("x", demo.namespace) for rule in each.get("rules", ()))
    by_namespace: dict[str, list[dict[str, Any]]] = {}
    for request in requests_of(cluster.audit_log, f"system:serviceaccount:{demo.namespace}:hub"):
        by_namespace.setdefault(request.get("objectRef", {}).get("namespace", ""), []).append(request)
    elsewhere = {name: used(requests) for name, requests in by_namespace.items() if name != demo.namespace}
    everywhere = rights(rule for each in documents("", demo.namespace, "watch-all") for rule in each.get("rules", ()))
    assert elsewhere.pop("") == {"create selfsubjectaccessreviews.authorization.k8s.io", *everywhere}
    assert elsewhere.pop("project-unlabelled") == {"get namespaces"}
    assert elsewhere.pop("project-brain") == granted
    assert set(elsewhere) == {f"project-{name}" for name in ("asthma", "skin", *MORE)}
    assert [each - granted for each in elsewhere.values() if not each <= granted] == []
