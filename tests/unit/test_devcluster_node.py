"""The node on the embedded API: a pod's whole life, its storage, and that nothing of it outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import stat
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client, config

from workspace_managers.devcluster import node as node_module
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.devcluster.node import NODE_NAME, Node, kill_marked

NAMESPACE = "jupyterhub"
SERVE = [sys.executable, "-m", "http.server", "--bind", "{ip}", "{port}"]
# Ignores SIGTERM and starts a child in a session of its own, as a kernel is; the child ignores SIGTERM too.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "cardio-outcomes/pids")
time.sleep(600)
"""
WRITE = """
import errno, pathlib
def attempt(do):
    try:
        do()
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]
said = [attempt(lambda: pathlib.Path("shared/new").write_text("x")),
        attempt(lambda: pathlib.Path("shared/README.md").write_text("x")),
        attempt(lambda: pathlib.Path("cardio-outcomes/new").write_text("x")),
        pathlib.Path("shared/README.md").read_text()]
pathlib.Path("cardio-outcomes/said").write_text(" ".join(said))
"""
IMAGES = {
    "serve": SERVE,
    "fail": [sys.executable, "-c", "raise SystemExit(3)"],
    "finish": [sys.executable, "-c", "pass"],
    "sleep": [sys.executable, "-c", "import time; time.sleep(600)"],
    "stubborn": [sys.executable, "-c", STUBBORN],
    "write": [sys.executable, "-c", WRITE],
    "nothing": ["no-such-command"],
    "environment": [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
}


class Cluster:
    """The API, the node and what tests ask of them."""

    def __init__(self, api: EmbeddedApi, core: Any, root: Path) -> None:
        self.api = api
        self.core = core
        self.root = root
        self.node = self.new_node()

    def new_node(self, *, guest: bool = False) -> Node:
        return Node(
            self.api.kubeconfig(NAMESPACE), namespace=NAMESPACE, root=self.root, log=logging.getLogger("test"),
            images=IMAGES, guest=guest,
        )  # fmt: skip

    async def claim(self, name: str) -> None:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
        await self.core.create_namespaced_persistent_volume_claim(NAMESPACE, body)

    async def pod(self, image: str, name: str = "jupyter-alice", **mounts: str) -> None:
        """Make a pod that mounts each claim under the home; a claim named ``shared`` read-only."""
        volumes = [
            {"name": volume_name(path), "persistentVolumeClaim": {"claimName": claim}} for path, claim in mounts.items()
        ]
        volume_mounts = [
            {"name": volume_name(path), "mountPath": f"/home/jovyan/{volume_name(path)}", "readOnly": path == "shared"}
            for path in mounts
        ]
        container = {"name": "notebook", "image": image, "ports": [{"name": "notebook-port", "containerPort": 8888}],
                     "volumeMounts": volume_mounts}  # fmt: skip
        await self.create(name, {"containers": [container], "volumes": volumes})

    async def create(self, name: str, spec: dict[str, Any]) -> None:
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        await self.core.create_namespaced_pod(NAMESPACE, body)

    async def delete(self, name: str = "jupyter-alice", grace: int = 1) -> None:
        await self.core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=grace)

    async def read(self, name: str = "jupyter-alice") -> Any:
        pods = await self.core.list_namespaced_pod(NAMESPACE, field_selector=f"metadata.name={name}")
        return pods.items[0] if pods.items else None

    async def until(self, holds: Callable[[Any], bool], name: str = "jupyter-alice") -> Any:
        async def found() -> tuple[Any] | None:
            pod = await self.read(name)
            return (pod,) if holds(pod) else None

        return (await eventually(found))[0]

    async def until_ready(self, name: str = "jupyter-alice") -> Any:
        return await self.until(lambda pod: pod and is_ready(pod), name)

    async def until_phase(self, phase: str, name: str = "jupyter-alice") -> Any:
        return await self.until(lambda pod: pod and pod.status.phase == phase, name)

    async def events(self) -> list[tuple[str, str]]:
        found = await self.core.list_namespaced_event(NAMESPACE)
        return [(event.reason, event.message) for event in sorted(found.items, key=lambda event: event.metadata.name)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    api = EmbeddedApi(namespaces=(NAMESPACE,))
    await api.start()
    async with await config.new_client_from_config_dict(api.kubeconfig(NAMESPACE)) as api_client:
        cluster = Cluster(api, client.CoreV1Api(api_client), tmp_path)
        await cluster.node.start()
        yield cluster
        await cluster.node.stop()
    await api.stop()


def volume_name(path: str) -> str:
    return path.replace("_", "-")


def is_ready(pod: Any) -> bool:
    conditions = {condition.type: condition.status for condition in pod.status.conditions or ()}
    return conditions.get("Ready") == "True"


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def eventually(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is a true one."""
    async with asyncio.timeout(20):
        while not (found := await ask()):  # noqa: ASYNC110 - processes and files have no event to wait for
            await asyncio.sleep(0.02)
    return found


async def until_file(path: Path) -> str:
    async def read() -> str:
        return path.read_text() if path.exists() else ""  # noqa: ASYNC240 - a small local file

    text: str = await eventually(read)
    return text


async def until_dead(pids: Sequence[int]) -> None:
    async def dead() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await eventually(dead)


def fetch(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback address
        return int(answer.status)


async def test_pod_runs_is_ready_and_goes_with_its_process(cluster: Cluster) -> None:
    await cluster.pod("serve")
    pod = await cluster.until_ready()
    assert pod.status.phase == "Running"
    assert pod.status.pod_ip.startswith("127.0.1")
    assert pod.status.container_statuses[0].ready
    assert pod.status.container_statuses[0].state.running
    assert await asyncio.to_thread(fetch, f"http://{pod.status.pod_ip}:8888/") == 200
    assert [reason for reason, _ in await cluster.events()] == ["Scheduled", "Pulled", "Created", "Started"]

    await cluster.delete()
    await cluster.until(lambda pod: pod is None)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(fetch, f"http://{pod.status.pod_ip}:8888/")


async def test_two_pods_have_port_8888_each(cluster: Cluster) -> None:
    await cluster.pod("serve", "jupyter-alice")
    await cluster.pod("serve", "jupyter-bob")
    alice, bob = await cluster.until_ready("jupyter-alice"), await cluster.until_ready("jupyter-bob")
    assert alice.status.pod_ip != bob.status.pod_ip


async def test_pod_is_not_ready_before_its_port_answers(cluster: Cluster) -> None:
    await cluster.pod("sleep")
    pod = await cluster.until_phase("Running")
    await asyncio.sleep(0.3)
    pod = await cluster.read()
    assert not is_ready(pod)
    assert not pod.status.container_statuses[0].ready


@pytest.mark.parametrize(
    ("image", "phase", "code"), [("fail", "Failed", 3), ("finish", "Succeeded", 0), ("nothing", "Failed", 127)]
)
async def test_process_that_ends_by_itself_ends_the_pod(cluster: Cluster, image: str, phase: str, code: int) -> None:
    await cluster.pod(image)
    pod = await cluster.until_phase(phase)
    assert pod.status.container_statuses[0].state.terminated.exit_code == code
    assert not is_ready(pod)
    await cluster.delete(grace=0)
    await cluster.until(lambda pod: pod is None)


async def test_pod_waits_for_a_claim_that_is_missing_and_says_so(cluster: Cluster) -> None:
    await cluster.pod("serve", cardio_outcomes="jupyter-cardio-outcomes")
    await asyncio.sleep(0.5)
    assert (await cluster.read()).status.phase == "Pending"
    assert ("FailedMount", 'Waiting for storage: persistentvolumeclaim "jupyter-cardio-outcomes" not found') in (
        await cluster.events()
    )
    await cluster.claim("jupyter-cardio-outcomes")
    await cluster.until_ready()


async def test_pod_that_waits_for_a_claim_can_be_deleted(cluster: Cluster) -> None:
    await cluster.pod("serve", cardio_outcomes="jupyter-cardio-outcomes")
    await asyncio.sleep(0.2)
    await cluster.delete()
    await cluster.until(lambda pod: pod is None)


async def test_read_only_mount_cannot_be_written_to_even_by_root(cluster: Cluster) -> None:
    for claim in ("jupyter-shared", "jupyter-cardio-outcomes"):
        await cluster.claim(claim)
    readme = cluster.root / "claims" / "jupyter-shared" / "README.md"
    readme.parent.mkdir()
    readme.write_text("from the start")
    await cluster.pod("write", shared="jupyter-shared", cardio_outcomes="jupyter-cardio-outcomes")
    await cluster.until_phase("Succeeded")
    said = (cluster.root / "claims" / "jupyter-cardio-outcomes" / "said").read_text()
    denied = errno.errorcode[errno.EACCES]
    assert said == f"{denied} {denied} written from the start"
    assert stat.S_IMODE(readme.parent.stat().st_mode) == 0o555
    assert stat.S_IMODE(readme.stat().st_mode) == 0o444

    await cluster.node.stop()
    readme.write_text("now it can be written to")


async def test_files_of_a_claim_outlive_the_pod_and_the_rest_does_not(cluster: Cluster) -> None:
    await cluster.claim("jupyter-cardio-outcomes")
    await cluster.pod("stubborn", cardio_outcomes="jupyter-cardio-outcomes")
    await until_file(cluster.root / "claims" / "jupyter-cardio-outcomes" / "pids")
    await cluster.delete(grace=0)
    await cluster.until(lambda pod: pod is None)
    (folder,) = (cluster.root / "pods").iterdir()

    async def only_the_log() -> bool:
        return [path.name for path in folder.iterdir()] == ["log"]

    await eventually(only_the_log)
    assert (cluster.root / "claims" / "jupyter-cardio-outcomes" / "pids").exists()


@pytest.mark.parametrize("ends", ["deletion", "forced deletion", "node stop"])
async def test_no_process_outlives_its_pod(cluster: Cluster, ends: str) -> None:
    await cluster.claim("jupyter-cardio-outcomes")
    await cluster.pod("stubborn", cardio_outcomes="jupyter-cardio-outcomes")
    pids = [int(pid) for pid in (await until_file(cluster.root / "claims/jupyter-cardio-outcomes/pids")).split()]
    assert all(is_alive(pid) for pid in pids)
    if ends == "node stop":
        await cluster.node.stop()
        assert (await cluster.until_phase("Failed")).status.container_statuses[0].state.terminated.exit_code == 137
    else:
        await cluster.delete(grace=1 if ends == "deletion" else 0)
        await cluster.until(lambda pod: pod is None)
    await until_dead(pids)


async def test_pod_left_over_from_an_earlier_run_is_deleted(cluster: Cluster) -> None:
    await cluster.pod("serve")
    await cluster.until_ready()
    body = {"status": {"phase": "Running", "startTime": "2025-01-01T00:00:00Z", "podIP": "127.0.10.9"}}
    await cluster.node.stop()
    kind = {"_content_type": "application/merge-patch+json"}
    await cluster.core.patch_namespaced_pod_status("jupyter-alice", NAMESPACE, body, **kind)
    await cluster.pod("serve", "jupyter-bob")
    cluster.node = cluster.new_node()
    await cluster.node.start()
    await cluster.until(lambda pod: pod is None)
    await cluster.until_ready("jupyter-bob")  # nobody had begun with it


async def test_guest_runs_what_asks_for_it_and_touches_nothing_else(cluster: Cluster) -> None:
    """On a cluster with nodes of its own: neither pods that wait for these, nor pods that run there."""
    await cluster.node.stop()
    await cluster.claim("jupyter-cardio")
    await cluster.pod("serve", "waiting")
    await cluster.pod("serve", "running")
    body = {"status": {"phase": "Running", "startTime": "2025-01-01T00:00:00Z", "podIP": "10.0.0.9"}}
    kind = {"_content_type": "application/merge-patch+json"}
    await cluster.core.patch_namespaced_pod_status("running", NAMESPACE, body, **kind)
    others = [await cluster.read(name) for name in ("waiting", "running")]
    cluster.node = cluster.new_node(guest=True)
    await cluster.node.start()
    container = {"name": "notebook", "image": "serve", "volumeMounts": [{"name": "c", "mountPath": "/home/jovyan/c"}]}
    volume = {"name": "c", "persistentVolumeClaim": {"claimName": "jupyter-cardio"}}
    spec = {"schedulerName": NODE_NAME, "containers": [container], "volumes": [volume]}
    await cluster.create("jupyter-alice", spec)
    pod = await cluster.until_ready()
    assert pod.spec.node_name is None, "a cluster deletes what runs on a node that it does not have"
    claim = await cluster.core.read_namespaced_persistent_volume_claim("jupyter-cardio", NAMESPACE)
    assert claim.status.phase != "Bound", "claims are the cluster's own affair"
    await cluster.delete()
    await cluster.until(lambda pod: pod is None)
    await cluster.node.stop()
    assert [await cluster.read(name) for name in ("waiting", "running")] == others


async def test_environment_is_the_containers_and_nothing_of_the_developers(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "/developer")
    monkeypatch.setenv("SECRET", "developer")
    env = [
        {"name": "JUPYTERHUB_SERVICE_URL", "value": "http://0.0.0.0:8888/user/alice/"},
        {"name": "JUPYTERHUB_ROOT_DIR", "value": "/home/jovyan/work"},
        {"name": "HOME", "value": "/home/jovyan"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TOLD", "value": "I am $(POD), not $(OTHER)"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
    ]
    await cluster.create("jupyter-alice", {"containers": [{"name": "notebook", "image": "environment", "env": env}]})
    pod = await cluster.until_phase("Succeeded")
    (folder,) = (cluster.root / "pods").iterdir()
    found = json.loads((folder / "log").read_text())
    assert found["JUPYTERHUB_SERVICE_URL"] == f"http://{pod.status.pod_ip}:8888/user/alice/"
    assert found["JUPYTERHUB_ROOT_DIR"] == str(folder / "home" / "work")
    assert found["HOME"] == str(folder / "home")
    assert found["TOLD"] == "I am jupyter-alice, not $(OTHER)"
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert not {"KEY", "SECRET"} & found.keys()
    assert found["JUPYTER_PATH"] == str(folder / "rootfs/usr/local/share/jupyter"), "as every Jupyter looks there"
    assert ("EnvironmentIgnored", "This node cannot fill in KEY") in await cluster.events()
    paths = [value for name, value in found.items() if name.startswith(("JUPYTER_", "JUPYTERLAB_", "XDG_", "IPYTHON"))]
    assert paths
    assert all(value.startswith(str(folder)) for value in paths)


async def test_init_container_runs_first_and_its_failure_fails_the_pod(cluster: Cluster) -> None:
    first = {"name": "first", "image": "fail"}
    await cluster.create(
        "jupyter-alice", {"initContainers": [first], "containers": [{"name": "notebook", "image": "serve"}]}
    )
    pod = await cluster.until_phase("Failed")
    assert pod.status.init_container_statuses[0].state.terminated.exit_code == 3
    assert "Started" in [reason for reason, _ in await cluster.events()]


async def test_init_container_with_a_command_of_its_own_runs_that(cluster: Cluster) -> None:
    """Whatever stands in for servers of its image."""
    first = {"name": "first", "image": "fail", "command": ["/bin/sh", "-c", "exit 0"]}
    await cluster.create(
        "jupyter-alice", {"initContainers": [first], "containers": [{"name": "notebook", "image": "serve"}]}
    )
    await cluster.until_ready()


async def test_privileged_container_is_not_run_on_this_machine(cluster: Cluster) -> None:
    """The Helm chart's changes the rules of its network."""
    first = {"name": "first", "image": "fail", "securityContext": {"privileged": True}}
    await cluster.create(
        "jupyter-alice", {"initContainers": [first], "containers": [{"name": "notebook", "image": "serve"}]}
    )
    await cluster.until_ready()
    assert "PrivilegedIgnored" in [reason for reason, _ in await cluster.events()]


async def test_mount_outside_of_the_home_is_under_the_pods_rootfs(cluster: Cluster) -> None:
    await cluster.claim("data")
    container = {"name": "notebook", "image": "serve", "volumeMounts": [{"name": "v", "mountPath": "/mnt/data"}]}
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await cluster.create("jupyter-alice", {"containers": [container], "volumes": volumes})
    await cluster.until_ready()
    (folder,) = (cluster.root / "pods").iterdir()
    assert (folder / "rootfs" / "mnt" / "data").resolve() == cluster.root / "claims" / "data"


async def test_annotations_are_files_behind_the_links_that_a_kubelet_makes(cluster: Cluster) -> None:
    field = {"fieldPath": "metadata.annotations['example.org/told']"}
    volume = {"name": "v", "downwardAPI": {"items": [{"path": "told.txt", "fieldRef": field}]}}
    container = {"name": "notebook", "image": "serve", "volumeMounts": [{"name": "v", "mountPath": "/mnt/told"}]}
    metadata = {"name": "jupyter-alice", "annotations": {"example.org/told": "größer\n"}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    await cluster.core.create_namespaced_pod(
        NAMESPACE, body | {"spec": {"containers": [container], "volumes": [volume]}}
    )
    await cluster.until_ready()
    (folder,) = (cluster.root / "pods").iterdir()
    file = folder / "rootfs" / "mnt" / "told" / "told.txt"
    assert file.read_text(encoding="utf-8") == "größer\n"
    assert str(file.readlink()) == "..data/told.txt"


async def test_pod_that_cannot_run_says_why(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object) -> None:
        raise RuntimeError("no loopback address has port 8888 free")

    monkeypatch.setattr(Node, "_give_address", taken)
    await cluster.pod("serve")
    await cluster.until_phase("Failed")
    assert ("Failed", "The pod cannot run: no loopback address has port 8888 free") in await cluster.events()


@pytest.mark.parametrize(
    ("spec", "command"),
    [
        ({}, [sys.executable, "-m", "jupyterhub.singleuser"]),
        ({"args": ["jupyterhub-singleuser", "--debug"]}, [sys.executable, "-m", "jupyterhub.singleuser", "--debug"]),
        ({"args": ["--debug"]}, [sys.executable, "-m", "jupyterhub.singleuser", "--debug"]),
        ({"command": ["/usr/local/bin/start-singleuser.sh"]}, [sys.executable, "-m", "jupyterhub.singleuser"]),
        ({"command": ["bash", "-c"], "args": ["true"]}, ["bash", "-c", "true"]),
        ({"image": "serve"}, [sys.executable, "-m", "http.server", "--bind", "127.0.10.2", "8888"]),
    ],
    ids=["no command", "args", "flags only", "start script", "another program", "image with a command"],
)
def test_command(tmp_path: Path, spec: dict[str, Any], command: list[str]) -> None:
    spec = {"name": "notebook", "image": "quay.io/jupyter/base-notebook", **spec}
    container = node_module._Container(spec)
    raw = {"metadata": {"name": "p", "uid": "u"}, "spec": {}}
    pod = node_module._Pod(raw, tmp_path, [container], [], ip="127.0.10.2")
    node = Node({}, namespace=NAMESPACE, root=tmp_path, images=IMAGES)
    assert node._command(pod, container) == command


PARENT = """
import subprocess
from workspace_managers.devcluster.node import tied
subprocess.run(tied(["sh", "-c", "echo up; exec sleep 600"]))
"""


async def test_process_ends_when_the_one_that_it_is_tied_to_is_killed() -> None:
    mark = str(os.getpid())
    env = dict(os.environ, NODE_TEST=mark, PYTHONPATH=os.pathsep.join(sys.path))
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, env=env)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(20):
        await parent.stdout.read()  # the end of the pipe: the child has gone too
    assert await kill_marked("NODE_TEST", mark) == 0


@pytest.mark.parametrize("turns", range(8))
async def test_readiness_probe_never_outlives_its_cancellation(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """At whichever turn of the loop refusal and cancellation meet; a pod whose probe goes on is never stopped."""
    refused = asyncio.Event()

    async def refuse(*_: object) -> None:
        await refused.wait()
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    probe = asyncio.create_task(node_module._accepts("127.0.10.1", 8888))
    await asyncio.sleep(0.01)
    refused.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if probe.cancel():
        await asyncio.wait({probe})
        assert probe.cancelled()


async def test_watch_goes_on_after_the_api_server_was_away(cluster: Cluster) -> None:
    host, port = cluster.api.url.removeprefix("http://").split(":")
    await cluster.api.stop()
    await asyncio.sleep(0.3)
    await cluster.api.start(host, int(port))
    await cluster.pod("serve")
    await cluster.until_ready()
