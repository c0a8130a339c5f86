"""Run commands with ``CONTRACT_KUBECONFIG`` set to a real kube-apiserver, one after the other, as `make` does.

    python -m tests.contract.on_server COMMAND [ARGUMENT ...] [--then COMMAND [ARGUMENT ...]]

Always true here: the server is there for these commands alone, knows no custom resource when the first begins, and ends
with them; the exit status is that of the first command that fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from itertools import groupby

from tests.apiserver.cluster import ClusterError, RealCluster, until
from workspace_managers.contract.world import KUBECONFIG

THEN = "--then"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def run(commands: Iterable[list[str]]) -> int:
    """Run them; the exit status."""
    async with RealCluster() as cluster:
        await _forget_definitions(cluster)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as kubeconfig:
            json.dump(cluster.kubeconfig(), kubeconfig)
            kubeconfig.flush()
            for command in commands:
                process = await asyncio.create_subprocess_exec(*command, env=os.environ | {KUBECONFIG: kubeconfig.name})
                if status := await process.wait():
                    return status
    return 0


async def _forget_definitions(cluster: RealCluster) -> None:
    """Worlds define what they need; the cluster of these tests has it already."""
    await cluster.call("DELETE", _DEFINITIONS)

    async def gone() -> bool:
        return not (await cluster.call("GET", _DEFINITIONS))["items"]

    async with asyncio.timeout(30):
        await until(gone)


def main(arguments: list[str]) -> int:
    """Run the command line; the exit status."""
    commands = [list(group) for then, group in groupby(arguments, THEN.__eq__) if not then]
    try:
        return asyncio.run(run(commands))
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
