"""``make bench``: load a real API server, measure, and write what came out.

Always true here: each size has an API server of its own, and each of its two measurements a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.apiserver.cluster import RealCluster
from tests.benchmarks import load, report
from tests.benchmarks.machine import machine
from tests.benchmarks.measure import Job

SMALLEST = 100
CROWDS = (200, 500)
MEASURE_SECONDS = 3600.0


async def bench(bindings: int, crowds: Sequence[int] = CROWDS) -> dict[str, Any]:
    """Everything that is measured at one size."""
    before = os.getloadavg()[0]
    async with RealCluster() as cluster:
        version = await cluster.call("GET", "/version")
        _say(f"{bindings:,} bindings and as many workspaces: loading")
        await load.load(cluster, bindings)
        result: dict[str, Any] = {"bindings": bindings, "machine": machine(before, version["gitVersion"])}
        for what in ("memory", "speed"):
            _say(f"measuring {what}")
            job = Job(what, bindings, cluster.namespace, cluster.kubeconfig(), cluster.pids, list(crowds))
            measured = await _measured(job)
            result |= {"memory": measured} if what == "memory" else measured
    return result


async def _measured(job: Job) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.measure"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MEASURE_SECONDS):
            output, _ = await process.communicate(json.dumps(asdict(job)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SystemExit(f"The measurement of {job.what} at {job.bindings:,} bindings failed; its error is above.")
    measured: dict[str, Any] = json.loads(output)
    return measured


def write(results: list[dict[str, Any]], folder: Path) -> str:
    """Keep the results, make table and plot anew from all that the folder has; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        (folder / f"{result['bindings']}.json").write_text(json.dumps(result, indent=2) + "\n")
    kept = sorted(
        (json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")), key=lambda each: each["bindings"]
    )
    (folder / "form.svg").write_text(report.form_plot(kept))
    (folder / "table.md").write_text(report.table(kept))
    return report.table(results)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for whoever waits


def main() -> None:
    """Measure each size that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("bindings", nargs="+", type=int, help=f"how many bindings, {SMALLEST} or more")
    parser.add_argument("--output", type=Path, required=True, help="the folder for JSON, table and plot")
    asked = parser.parse_args()
    if min(asked.bindings) < SMALLEST:
        parser.error(f"{min(asked.bindings)} bindings are too few; at least {SMALLEST} are needed")
    results = []
    for bindings in asked.bindings:
        results.append(asyncio.run(bench(bindings)))
        table = write(results, asked.output)
    print(table)  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
