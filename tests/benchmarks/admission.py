"""``make bench-admission``: what `image/admission.yaml` adds to the creation of a pod, by the number of workspaces.

Pods are made in pairs on one API server, one in a namespace that is guarded and one in a namespace that is not. The pod
is that of a workspace's server, with its own claim and the shared one, and the request is the hub's.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.apiserver.admission import applied, make, pod, until_active
from tests.apiserver.cluster import RealCluster
from tests.benchmarks import load
from tests.benchmarks.machine import machine
from tests.benchmarks.measure import cpu_seconds
from workspace_managers.names import SHARED_CLAIM, default_claim

SIZES = (10, 100, 1_000)
PAIRS = 40
_FREE = "free"


@dataclass
class Column:
    """What the creations took in one of the namespaces: the time of each, and all that the API server and etcd used."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """Both columns, without and with the policies, by the number of workspaces; and on what machine."""

    columns: dict[int, tuple[Column, ...]]
    pairs: int
    machine: dict[str, Any]


async def measured(sizes: Sequence[int] = SIZES, pairs: int = PAIRS) -> Result:
    """Create so many pods without and with the policies at each size."""
    before = os.getloadavg()[0]
    async with RealCluster() as cluster:
        version = await cluster.call("GET", "/version")
        namespaces = {size: f"guarded-{size}" for size in sizes}
        tokens = {}
        for namespace in (_FREE, *namespaces.values()):
            await cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            tokens[namespace] = await cluster.hub_token(namespace)
        for size, namespace in namespaces.items():
            await make(cluster, namespace, [load.workspace(number) for number in range(size)])
        found = {}
        async with applied(cluster, list(namespaces.values())):
            for size, namespace in namespaces.items():
                last = load.workspace_name(size - 1)
                await until_active(cluster, namespace, last)
                columns = {where: Column() for where in (_FREE, namespace)}
                for _ in range(pairs):
                    for where, column in columns.items():
                        await _create(cluster, where, last, tokens[where], column)
                found[size] = tuple(columns.values())
    return Result(found, pairs, machine(before, version["gitVersion"]))


async def _create(cluster: RealCluster, namespace: str, workspace: str, token: str, column: Column) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    body = pod(default_claim(workspace), SHARED_CLAIM, named=workspace)
    cpu, started = cpu_seconds(cluster.pids), time.perf_counter()
    await cluster.call("POST", pods, body, token=token)
    column.seconds.append(time.perf_counter() - started)
    column.cpu_seconds += cpu_seconds(cluster.pids) - cpu
    await cluster.call("DELETE", f"{pods}/{body['metadata']['name']}", {"gracePeriodSeconds": 0})


def table(result: Result) -> str:
    """What came out, in Markdown."""
    on, today = result.machine, datetime.datetime.now(datetime.UTC)
    lines = [
        f"{today:%-d %B %Y}, {on['cores']} cores ({on['cpu']}), load {on['load']:.1f} before; kube-apiserver "
        f"{on['apiserver']}; {result.pairs} pods each.",
        "",
        "| Workspaces | ms without: median | slowest | of CPU | ms with: median | slowest | of CPU |",
        f"|{' ---: |' * 7}",
    ]
    for size, columns in result.columns.items():
        cells = [
            f"{1000 * value:.0f}"
            for each in columns
            for value in (statistics.median(each.seconds), max(each.seconds), each.cpu_seconds / result.pairs)
        ]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(asyncio.run(measured())))
