"""The whole cluster as a fixture: what it must do that an API server alone cannot, and that it leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.apiserver.cluster import GivenCluster, Refused, until
from tests.cluster import archives
from tests.cluster.node import NodeCluster
from tests.factories import workspace
from workspace_managers.hub import lab
from workspace_managers.pods import NOTEBOOK

SECONDS = 60

# A cluster in a process of its own, which says so and then waits for a line, or for its end.
ANOTHER = """
import asyncio, sys
from tests.cluster.node import NodeCluster
async def main():
    async with NodeCluster() as cluster:
        print(cluster.state, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""


def _left(path: str) -> set[str]:
    try:
        return set(Path(path).read_text().splitlines())
    except FileNotFoundError:
        return set()


def everything() -> dict[str, set[str]]:
    """All of this machine that a cluster may change."""

    def printed(*command: str) -> set[str]:
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    rules = (line for line in printed("iptables-save") if not line.startswith(("#", ":")))
    settings = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {
        "mounts": _left("/proc/self/mounts"),
        "interfaces": printed("ip", "-oneline", "link", "show"),
        "routes": printed("ip", "route"),
        "rules": set(rules),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob("*/cluster-*")},
        "settings": {f"{name} {_left(f'/proc/sys/{name}')}" for name in settings},
        "folders": {str(path) for path in Path(tempfile.gettempdir()).glob("cluster-*")},
        "processes": {line.split(maxsplit=1)[1] for line in printed("ps", "-eo", "pid,args") if "cluster-" in line},
    }


@pytest.mark.parametrize("how", ["asked", "killed"])
async def test_cluster_leaves_nothing_behind(own_cluster: NodeCluster, how: str) -> None:
    """However its test run ends; a second one beside the first is in nobody's way."""
    before = everything()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ANOTHER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    async with asyncio.timeout(SECONDS):
        folder = (await process.stdout.readline()).decode().strip()
    during = everything()
    assert folder in during["folders"] - before["folders"]
    for what in ("interfaces", "routes", "cgroups", "processes"):
        assert during[what] - before[what], f"{what} that show nothing of a cluster would show nothing of what is left"
    if how == "asked":
        process.stdin.write(b"\n")
        assert await process.wait() == 0
    else:
        process.kill()
        await process.wait()

    async def nothing() -> bool:
        return {what: found - before[what] for what, found in everything().items() if found - before[what]} == {}

    try:
        async with asyncio.timeout(SECONDS if how == "killed" else 1):
            await until(nothing)
    except TimeoutError:
        assert everything() == before
    assert during["settings"] == before["settings"]
    assert during["rules"] == before["rules"]
    assert during["mounts"] == before["mounts"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tool(own_cluster: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The name of an image that has the program `sh` and little else."""
    busybox = Path(shutil.which("busybox") or "busybox")
    archive = tmp_path_factory.mktemp("images") / "tool.tar"
    archives.write(archive, "localhost/tool:1", {"busybox": busybox})
    await own_cluster.import_image(archive)
    yield "localhost/tool:1"


async def pod(cluster: NodeCluster, name: str, image: str, script: str, **spec: Any) -> None:
    container = {
        "name": "main",
        "image": image,
        "command": ["/busybox", "sh", "-c", script],
        "volumeMounts": spec.pop("mounts", []),
        "resources": spec.pop("resources", {}),
    }
    body = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec}
    await cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})


async def ended(cluster: NodeCluster, name: str) -> dict[str, Any]:
    """How the pod's container ended."""
    found: dict[str, Any] = {}

    async def over() -> bool:
        status = (await cluster.call("GET", f"/api/v1/namespaces/{cluster.namespace}/pods/{name}"))["status"]
        for container in status.get("containerStatuses", []):
            found.update(container["state"].get("terminated", {}))
        return bool(found)

    async with asyncio.timeout(SECONDS):
        await until(over)
    return found


async def claim(cluster: NodeCluster, name: str, storage_class: str = "jupyter-default") -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    spec["storageClassName"] = storage_class
    await cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})


def volumes(*names: str, read_only: Iterable[str] = ()) -> dict[str, Any]:
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in names]
    sources = [{"claimName": name, "readOnly": name in read_only} for name in names]
    return {
        "mounts": mounts,
        "volumes": [
            {"name": name, "persistentVolumeClaim": source} for name, source in zip(names, sources, strict=True)
        ],
    }


async def test_claims_are_mounted_as_their_pod_says(own_cluster: NodeCluster, tool: str) -> None:
    """Bound at the first use, writable to the pod's group, read-only where it says so, and kept from pod to pod."""
    for name in ("kept", "shown"):
        await claim(own_cluster, name)
    who = {"securityContext": {"runAsUser": 1000, "fsGroup": 100}}
    script = "/busybox echo found > /kept/note && { /busybox touch /shown/note 2> /dev/termination-log; true; }"
    await pod(own_cluster, "writes", tool, script, **who, **volumes("kept", "shown", read_only=["shown"]))
    wrote = await ended(own_cluster, "writes")
    assert (wrote["exitCode"], "Read-only file system" in wrote["message"]) == (0, True), wrote
    await pod(own_cluster, "reads", tool, "/busybox cat /kept/note > /dev/termination-log", **who, **volumes("kept"))
    assert (await ended(own_cluster, "reads"))["message"] == "found\n"


async def test_extension_for_jupyterlab_is_in_whatever_image_a_pod_has(own_cluster: NodeCluster, tool: str) -> None:
    """E2: one without such a folder, read-only, for a user who is not root; each file whole, behind links."""
    grant = workspace(display_name="<b>größer</b> $(HOME) {{ 7 * 7 }}")
    script = (
        f"cd {lab.FOLDER}/workspace-managers-* && {{ /busybox cat {lab.ACCESS}; /busybox readlink {lab.ACCESS};"
        "/busybox sha256sum package.json remoteEntry.js; } > /dev/termination-log"
    )
    container = {
        "name": NOTEBOOK,
        "image": tool,
        "command": ["/busybox", "sh", "-c", script],
        "volumeMounts": [],
        "securityContext": {"readOnlyRootFilesystem": True, "runAsUser": 1000},
    }
    spec = {"containers": [container], "volumes": [], "restartPolicy": "Never", "securityContext": {"fsGroup": 100}}
    told = lab.furnish({"metadata": {"name": "lab", "annotations": {}}, "spec": spec}, grant, UTC)
    await own_cluster.apply({"apiVersion": "v1", "kind": "Pod", **told.pod})
    found = await ended(own_cluster, "lab")
    files = {key.removeprefix(lab.ANNOTATION): text for key, text in told.pod["metadata"]["annotations"].items()}
    digests = [
        f"{hashlib.sha256(files[file].encode()).hexdigest()}  {file}\n" for file in ("package.json", "remoteEntry.js")
    ]
    assert found["message"] == f"{files[lab.ACCESS]}..data/{lab.ACCESS}\n{''.join(digests)}"


async def test_memory_limit_ends_a_container(own_cluster: NodeCluster, tool: str) -> None:
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    await pod(own_cluster, "greedy", tool, "x=x; while :; do x=$x$x; done", **limits)
    assert (await ended(own_cluster, "greedy"))["reason"] == "OOMKilled"


async def test_names_of_services_and_the_api_server_are_reached(own_cluster: NodeCluster, tool: str) -> None:
    """And this machine, at the address that a hub here gives to its servers, but not by its others: no way out."""
    listed = subprocess.run(["ip", "-4", "-json", "address"], capture_output=True, text=True, check=True).stdout
    addresses = [known["local"] for link in json.loads(listed) for known in link["addr_info"]]
    others = [own for own in addresses if not own.startswith(("127.", "198.18."))]

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(answer, "0.0.0.0", 0) as server:  # noqa: S104 - the test is about the others
        port = server.sockets[0].getsockname()[1]
        lines = [
            "/busybox nslookup kubernetes.default.svc.cluster.local > /dev/null || exit 1",
            "/busybox nc -w 2 kubernetes.default 443 < /dev/null || exit 2",
            f"/busybox nc -w 2 {own_cluster.hub_host} {port} < /dev/null || exit 3",
            *(f"! /busybox nc -w 1 {other} {port} < /dev/null || exit 4" for other in others),
        ]
        await pod(own_cluster, "calls", tool, "\n".join(lines))
        assert (await ended(own_cluster, "calls"))["exitCode"] == 0


async def test_kubelet_that_was_killed_comes_back_to_its_pods(own_cluster: NodeCluster, tool: str) -> None:
    await pod(own_cluster, "outlives", tool, "until [ -e /go ]; do /busybox sleep 0.1; done")

    async def phase() -> Any:
        return (await own_cluster.call("GET", f"/api/v1/namespaces/{own_cluster.namespace}/pods/outlives"))["status"]

    async def runs() -> bool:
        return bool((await phase())["phase"] == "Running")

    async with asyncio.timeout(SECONDS):
        await until(runs)
    started = (await phase())["containerStatuses"][0]["state"]["running"]["startedAt"]
    await own_cluster.kill("kubelet")
    await own_cluster.start("kubelet")
    await pod(own_cluster, "after", tool, "true")
    assert (await ended(own_cluster, "after"))["exitCode"] == 0
    assert (await phase())["containerStatuses"][0]["state"]["running"]["startedAt"] == started


async def test_given_cluster_takes_what_the_tests_make(cluster: NodeCluster | GivenCluster) -> None:
    """As the administrator that they need."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-a-test"}, "data": {"a": "b"}}
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    assert (await cluster.call("POST", path, body))["data"] == {"a": "b"}
    with pytest.raises(Refused):
        await cluster.call("POST", path, body)
