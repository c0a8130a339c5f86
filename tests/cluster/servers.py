"""A whole cluster with an image for people's servers, under each name that the demo's workspaces and tests ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.node import NodeCluster
from tests.image.store import Store
from tests.stacks import current
from workspace_managers.devcluster.demo import load_samples

OF_TESTS = ("example/notebook:1.0", "example/first:1", "example/second:1")


@asynccontextmanager
async def cluster_of_tests() -> AsyncIterator[NodeCluster]:
    """It, with the image imported; the image is of the stack that runs this.

    Raises:
        ClusterError: It cannot run here.
    """
    archive = await asyncio.to_thread(_archive)
    async with NodeCluster() as cluster:
        await cluster.import_image(archive, *sorted(f"docker.io/{name}" for name in {*_of_samples(), *OF_TESTS}))
        yield cluster


def _archive() -> Path:
    with Store() as store:
        return store.archive(store.server(current()))


def _of_samples() -> set[str]:
    workspaces = (sample["spec"] for sample in load_samples() if sample["kind"] == "AnalyticsWorkspace")
    return {workspace["jupyterWorkspace"]["image"] for workspace in workspaces}
