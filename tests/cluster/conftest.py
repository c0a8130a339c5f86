"""One whole cluster for all tests of a run, or one that `KUBECONFIG=` of make names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.apiserver.cluster import ClusterError, GivenCluster, cluster_given
from tests.cluster.node import NodeCluster, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run on the one loop of the cluster."""
    for item in items:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster() -> AsyncIterator[NodeCluster | GivenCluster]:
    given = cluster_given()
    if given is None and (why := missing()):
        pytest.skip(f"a whole cluster cannot run here: {why}")
    try:
        async with given or NodeCluster() as cluster:
            yield cluster
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def own_cluster(cluster: NodeCluster | GivenCluster) -> NodeCluster:
    """The cluster, for tests that look behind the API, or kill what runs it."""
    if not isinstance(cluster, NodeCluster):
        pytest.skip("only for a cluster of our own, and TEST_KUBECONFIG gives another")
    return cluster
