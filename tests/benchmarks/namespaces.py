"""``make bench-namespaces``: what it costs the hub to see many namespaces, by one watch of each or one of all.

The watches are KubeSpawner's own, of pods and of events, as a hub has them whose servers run there; each way in a
process of its own, on one real API server whose audit log counts the requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubespawner.clients import load_config
from kubespawner.spawner import EventReflector, PodReflector

from tests.apiserver.cluster import RealCluster
from tests.benchmarks.machine import machine
from tests.processes import resident
from workspace_managers.hub.spawner import lift_connection_limit
from workspace_managers.tasks import together

NAMESPACES, SERVERS = 200, 1_000
WATCHED_SECONDS = 30.0
"""For which requests are counted once everything has been listed; KubeSpawner ends a watch after ten seconds."""
WAYS = {"one watch of each": False, "one watch of all": True}
_LABELS = {"component": "singleuser-server"}


@dataclass(frozen=True)
class Cost:
    """What one way costs.

    Attributes:
        seconds: Until all pods are known.
        requests: Until then.
        requests_a_second: From then on.
        bytes: Of the process's memory, more than before.
    """

    seconds: float
    requests: int
    requests_a_second: float
    bytes: int


def name_of(number: int) -> str:
    return f"project-{number:03}"


async def measured(namespaces: int = NAMESPACES, servers: int = SERVERS, watched: float = WATCHED_SECONDS) -> Any:
    """The cost of each way, and on what machine."""
    before = os.getloadavg()[0]
    async with RealCluster() as cluster:
        version = await cluster.call("GET", "/version")
        names = [name_of(number) for number in range(namespaces)]
        for first in range(0, namespaces, 20):
            await together(*(_fill(cluster, name, servers // namespaces) for name in names[first : first + 20]))
        costs = {}
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            kubeconfig.write_text(json.dumps(cluster.kubeconfig()))
            for way, omit in WAYS.items():
                costs[way] = await _cost(cluster, kubeconfig, namespaces, omit, watched)
        return costs, machine(before, version["gitVersion"])


async def _fill(cluster: RealCluster, namespace: str, pods: int) -> None:
    await cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    account = {"metadata": {"name": "default"}}
    await cluster.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    for number in range(pods):
        body = {
            "metadata": {"name": f"jupyter-{number}", "labels": _LABELS},
            "spec": {"containers": [{"name": "notebook", "image": "example/notebook:1"}]},
        }
        await cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods", body)


async def _cost(cluster: RealCluster, kubeconfig: Path, namespaces: int, omit: bool, watched: float) -> Cost:
    def requests() -> int:
        return sum(1 for line in cluster.audit_log.read_text().splitlines() if '"ResponseComplete"' in line)

    arguments = (str(namespaces), "all" if omit else "each")
    before = requests()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.namespaces", "--watch", *arguments),
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        found: dict[str, Any] = json.loads(await process.stdout.readline())
        listed = requests()
        await asyncio.sleep(watched)
        later = requests()
    finally:
        process.kill()
        await process.wait()
    return Cost(found["seconds"], listed - before, (later - listed) / watched, found["bytes"])


async def _watch(namespaces: int, omit: bool) -> None:
    """Watch as a hub does, say what it took, and go on until this process is ended."""
    load_config()
    memory, began = resident(os.getpid()), time.perf_counter()
    reflectors = []
    for name in [""] if omit else [name_of(number) for number in range(namespaces)]:
        for kind, options in ((PodReflector, {"labels": _LABELS}), (EventReflector, {})):
            reflector = kind(namespace=name or "default", omit_namespace=omit, **options)
            lift_connection_limit(reflector.api)  # as in such a hub
            await reflector.start()
            reflectors.append(reflector)
    for reflector in reflectors:
        await reflector.first_load_future
    took = {"seconds": time.perf_counter() - began, "bytes": resident(os.getpid()) - memory}
    print(json.dumps(took), flush=True)  # noqa: T201 - for the process that has started this one
    await asyncio.Event().wait()


def table(costs: dict[str, Cost]) -> str:
    """As Markdown."""
    lines = ["| | s until all pods are known | requests until then | requests a second then | MiB more |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    lines += [
        f"| {way} | {cost.seconds:.1f} | {cost.requests:,} | {cost.requests_a_second:.1f} | {cost.bytes / 2**20:.1f} |"
        for way, cost in costs.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    if sys.argv[1:2] == ["--watch"]:
        asyncio.run(_watch(int(sys.argv[2]), sys.argv[3] == "all"))
        return
    costs, where = asyncio.run(measured())
    print(f"{NAMESPACES} namespaces with {SERVERS:,} servers; {where}\n\n{table(costs)}")  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
