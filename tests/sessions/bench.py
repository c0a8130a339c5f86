"""``make bench-sessions``: how soon an access that ends is noticed, and what the reviews of many servers cost.

On a real API server, whose pods no kubelet runs; the hub's part that reviews is this process alone. Each size has a
server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, perf_counter, thread_time
from typing import Any

from tests.apiserver.cluster import RealCluster
from tests.benchmarks.measure import Heartbeat
from tests.benchmarks.measure import Server as ApiServer
from tests.benchmarks.plot import Axis, Line, plot
from tests.sessions.servers import Backend, Hub, side_by_side
from workspace_managers.decisions import AUDIT

EACH = 10
"""Servers of a workspace."""
ONE_BY_ONE = 100
"""Revocations, or half of the servers where there are fewer."""
PAUSE_SECONDS = 0.1
QUIET_SECONDS = 2.0
PATIENCE_SECONDS = 300.0
Result = dict[str, Any]


async def measure(size: int) -> Result:
    """Everything that is measured with so many servers running."""
    _say(f"{size:,} servers: starting")
    async with RealCluster() as cluster:
        backend = Backend(cluster)
        people = [(f"user-{number}", f"study-{number // EACH}") for number in range(size)]
        await side_by_side([backend.workspace(name) for name in dict.fromkeys(name for _, name in people)])
        await side_by_side([backend.grant(user, name) for user, name in people])
        await side_by_side([backend.pod(f"jupyter-{user}") for user, _ in people])
        hub = Hub(cluster.namespace, cluster.kubeconfig())
        for user, name in people:
            hub.ran_before(user, name)
        await hub.start()
        await hub.reviewed(size, PATIENCE_SECONDS)
        result: Result = {"servers": size, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        async with ApiServer(cluster.kubeconfig(), cluster.pids) as server:
            _say("reviewing all")
            result["review"] = await _review_all(hub, server, size)
        _say("revoking")
        some = people[:: max(1, size // ONE_BY_ONE)][: min(ONE_BY_ONE, size // 2)]
        result["one_by_one"] = await _one_by_one(hub, backend, some)
        rest = [each for each in people if each not in some]
        result["at_once"] = await _at_once(hub, backend, rest[:ONE_BY_ONE])
        await hub.kill()
    return result


async def _review_all(hub: Hub, server: ApiServer, size: int) -> Result:
    await _quiet(hub)
    before = hub.manager.reviews
    async with server.used() as used, Heartbeat() as heart:
        began, cpu = perf_counter(), thread_time()
        hub.manager.context.changed()
        await hub.reviewed(before + size, PATIENCE_SECONDS)
        seconds, cpu = perf_counter() - began, thread_time() - cpu
    each = {"requests_each": used["requests"] / size, "cpu_ms_each": cpu * 1000 / size}
    return {"seconds": seconds, **each, **heart.result}


async def _quiet(hub: Hub) -> None:
    """Wait until nothing is reviewed any more: each cache that has just begun has had all servers reviewed."""
    before = -1
    while before != hub.manager.reviews:
        before = hub.manager.reviews
        await asyncio.sleep(QUIET_SECONDS)


async def _one_by_one(hub: Hub, backend: Backend, people: Sequence[tuple[str, str]]) -> Result:
    seconds = []
    for user, name in people:
        server = hub.servers[user]
        await backend.revoke(user, name)
        revoked = monotonic()
        await _gone(server)
        assert server.stopped_at is not None
        seconds.append(max(0.0, server.stopped_at - revoked))
        await asyncio.sleep(PAUSE_SECONDS)
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"revocations": len(seconds), "median": statistics.median(seconds), "p99": p99, "longest": ordered[-1]}


async def _at_once(hub: Hub, backend: Backend, people: Sequence[tuple[str, str]]) -> Result:
    servers = [hub.servers[user] for user, _ in people]
    await side_by_side([backend.revoke(user, name) for user, name in people])
    revoked = monotonic()
    for server in servers:
        await _gone(server)
    return {"revocations": len(servers), "last": max(server.stopped_at or 0.0 for server in servers) - revoked}


async def _gone(server: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while server.stopped_at is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


def table(results: Sequence[Result]) -> str:
    """The figures, for the documentation."""
    lines = [
        "| Servers | One revocation until the pod is gone: median, 99th of 100, longest | 100 at once: the last | "
        "Review of all | Requests each | CPU each | Longest block of the loop (CPU) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        one, once, review = each["one_by_one"], each["at_once"], each["review"]
        block = f"{review['longest_block_cpu_ms']:.0f} ms"
        lines.append(
            f"| {each['servers']:,} | {one['median']:.3f} s, {one['p99']:.3f} s, {one['longest']:.3f} s "
            f"({one['revocations']}) | {once['last']:.2f} s ({once['revocations']}) | {review['seconds']:.2f} s | "
            f"{review['requests_each']:.2f} | {review['cpu_ms_each']:.2f} ms | {block} |"
        )
    return "\n".join(lines) + "\n"


def revocation_plot(results: Sequence[Result]) -> str:
    """By the servers that run, the seconds from a revocation until the pod is gone, and those of a review of all."""

    def by_servers(part: str, what: str) -> list[tuple[float, float]]:
        return [(each["servers"], max(each[part][what], 0.001)) for each in results]

    return plot(
        "Seconds from a revocation until the pod is gone, and for a review of all, by the servers that run",
        Axis("servers", [10**power for power in range(1, 5)], powers=True),
        Axis("seconds", [10.0**power for power in range(-3, 3)], powers=True),
        [
            Line("gone, median", "#0b6e4f", by_servers("one_by_one", "median")),
            Line("gone, 99 of 100", "#0b6e4f", by_servers("one_by_one", "p99"), dashed=True),
            Line("review of all", "#b3401f", by_servers("review", "seconds")),
        ],
    )


def main() -> None:
    """Measure each size, and write what came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.sessions.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("servers", nargs="+", type=int, help="how many servers run, 10 or more")
    parser.add_argument("--output", type=Path, required=True, help="the folder for JSON and table")
    asked = parser.parse_args()
    logging.getLogger().setLevel(logging.CRITICAL)
    AUDIT.handlers = []
    gc.collect()
    gc.freeze()  # as `configure` does when the hub's config has loaded
    results = [asyncio.run(measure(size)) for size in asked.servers]
    (asked.output / "sessions.json").write_text(json.dumps(results, indent=2) + "\n")
    (asked.output / "sessions.md").write_text(table(results))
    if len(results) > 1:
        (asked.output / "sessions.svg").write_text(revocation_plot(results))
    _say(table(results))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for whoever waits


if __name__ == "__main__":
    main()
