"""A whole cluster with images: people's servers, by each name that a workspace asks for, and a release of the chart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.node import NodeCluster
from tests.image import release
from tests.image.store import ROOT, Store
from tests.stacks import STACKS, current
from workspace_managers.devcluster.demo import load_samples

OF_TESTS = ("example/notebook:1.0", "example/first:1", "example/second:1")


@asynccontextmanager
async def cluster_of_tests(
    values: release.Values | None = None, earlier: release.Values | None = None
) -> AsyncIterator[NodeCluster]:
    """It, with the images imported; they are of the stack that runs this.

    Args:
        values: Of a release that is to run on it: its images, the hub's among them, are imported too.
        earlier: Of the release before, whose hub's image is on the oldest base.

    Raises:
        ClusterError: It cannot run here.
    """
    archives = await asyncio.to_thread(_archives, values, earlier)
    async with NodeCluster() as cluster:
        for archive, names in archives.items():
            await cluster.import_image(archive, *names)
        yield cluster


def _archives(values: release.Values | None, earlier: release.Values | None) -> dict[Path, Iterable[str]]:
    """Each image as a file, with its names."""
    with Store() as store:
        servers = sorted(f"docker.io/{name}" for name in {*_of_samples(), *OF_TESTS})
        archives: dict[Path, Iterable[str]] = {store.archive(store.server(current())): servers}
        if values is not None:
            base = current().base
            assert base is not None, "a release is of a stack that a chart has"
            archives[store.archive(store.hub(store.base(base)))] = [release.hub_image(values)]
            archives[store.archive(store.proxy())] = [release.PROXY_IMAGE, release.tools_image(values)]
        if earlier is not None:
            oldest = next(filter(None, (stack.base for stack in STACKS)))
            image = store.build("localhost/hub-before:test", ROOT, store.base(oldest))
            archives[store.archive(image)] = [release.hub_image(earlier)]
        return archives


def _of_samples() -> set[str]:
    workspaces = (sample["spec"] for sample in load_samples() if sample["kind"] == "AnalyticsWorkspace")
    return {workspace["jupyterWorkspace"]["image"] for workspace in workspaces}
