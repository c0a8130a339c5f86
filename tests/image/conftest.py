"""The image on the base of this stack, built once for all tests of a run, and the cluster that it is run on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.apiserver.cluster import RealCluster
from tests.image.store import RESULTS, Image, Store
from tests.stacks import current
from workspace_managers.devcluster.node import Node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run on the one loop of the cluster; the first ones may have to build a base."""
    for item in items:
        item.add_marker(pytest.mark.timeout(600))
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    if os.geteuid() != 0:
        pytest.fail("To build and run an image without a daemon takes root: run this as root.", pytrace=False)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with Store() as store:
        yield store


@pytest.fixture(scope="session")
def base(store: Store) -> Image:
    base_packages = current().base
    if base_packages is None:
        pytest.fail("No release of the chart has the hub of this stack: run this on another one.", pytrace=False)
    return store.base(base_packages)


@pytest.fixture(scope="session")
def image(store: Store, base: Image) -> Image:
    return store.hub(base)


@pytest.fixture(scope="session")
def root(store: Store, image: Image) -> Iterator[Path]:
    """A root of the image that nothing runs in."""
    with store.root(image) as root:
        yield root


@pytest.fixture(scope="session")
def base_root(store: Store, base: Image) -> Iterator[Path]:
    with store.root(base) as root:
        yield root


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster() -> AsyncIterator[RealCluster]:
    async with RealCluster() as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def token(cluster: RealCluster) -> str:
    """The hub's service account's, with what the chart's role and image/rbac.yaml give it."""
    return await cluster.hub_token()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    node = Node(cluster.kubeconfig(), namespace=cluster.namespace, root=tmp_path_factory.mktemp("node"))
    await node.start()
    yield node
    await node.stop()
