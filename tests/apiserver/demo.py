"""``make demo API=server``: the demo as the guest of a real kube-apiserver, its hub with the roles that a hub has.

The API server holds nothing from run to run, whereas the files of claims stay in the state. With ``API=cluster`` a
whole cluster runs the servers, as pods with mounted volumes, and all of it goes when the demo stops.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

from tests.apiserver.cluster import ClusterError, GivenCluster, RealCluster
from tests.cluster import servers
from workspace_managers.devcluster.demo import Cluster, run, without_proxy


async def prepared(cluster: RealCluster | GivenCluster, folder: Path) -> Cluster:
    """The cluster as a demo takes it: the demo is its administrator, and the hub has the roles that a hub has."""
    for name, token in (("kubeconfig", None), ("hub", await cluster.hub_token())):
        (folder / name).write_text(json.dumps(cluster.kubeconfig(token=token)))
    return Cluster(
        folder / "kubeconfig",
        cluster.namespace,
        hub_host=cluster.hub_host,
        hub_kubeconfig=folder / "hub",
        temporary=isinstance(cluster, RealCluster),
    )


async def serve(port: int, state: Path, api: str) -> int:
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        try:
            async with servers.cluster_of_tests() if api == "cluster" else RealCluster() as cluster:
                return await run(port, state, cluster=await prepared(cluster, Path(folder)))
        except ClusterError as error:
            sys.stdout.write(f"{error}\n")
            return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.apiserver.demo")
    parser.add_argument("--api", choices=("server", "cluster"), default="server")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--state", type=Path, default=Path(".demo"))
    parsed = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ |= without_proxy(os.environ)
    sys.exit(asyncio.run(serve(parsed.port, parsed.state, parsed.api)))
