"""One real API server for all tests of a run, and an embedded one beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.apiserver.answers import Side
from tests.apiserver.cases import GROWING
from tests.apiserver.cluster import ClusterError, GivenCluster, RealCluster, cluster_of_tests
from workspace_managers.devcluster.api import EmbeddedApi

NOTE = "note"
"""The user property of a test whose value is printed at the end of the run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run on the one loop of the cluster."""
    for item in items:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests noted: what is left out, and why."""
    notes = sorted(
        {
            str(value)
            for outcome in ("passed", "failed", "skipped", "xfailed")
            for report in terminalreporter.stats.get(outcome, [])
            for name, value in report.user_properties
            if name == NOTE
        }
    )
    if notes:
        terminalreporter.section("left out")
        for note in notes:
            terminalreporter.write_line(note)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster() -> AsyncIterator[RealCluster | GivenCluster]:
    try:
        async with cluster_of_tests() as cluster:
            yield cluster
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def own_cluster(cluster: RealCluster | GivenCluster) -> RealCluster:
    """The cluster, for tests that hold for this one version and set-up, or look behind the API."""
    if not isinstance(cluster, RealCluster):
        pytest.skip("only for a kube-apiserver of our own, and TEST_KUBECONFIG gives another cluster")
    return cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_api() -> AsyncIterator[EmbeddedApi]:
    # Between the server's own bookmark, two seconds before the end of a watch of four, and that end.
    api = EmbeddedApi(bookmark_seconds=2.5)
    await api.start()
    yield api
    await api.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def real(own_cluster: RealCluster) -> AsyncIterator[Side]:
    # The embedded API lets each bound claim grow; the real one, where the claim's class says so.
    growing = {"metadata": {"name": GROWING}, "provisioner": "example.org/none", "allowVolumeExpansion": True}
    await own_cluster.call("POST", "/apis/storage.k8s.io/v1/storageclasses", growing)
    side = Side("real", own_cluster.url, own_cluster.token, own_cluster.tls())
    yield side
    await side.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded(embedded_api: EmbeddedApi) -> AsyncIterator[Side]:
    side = Side("embedded", embedded_api.url, "any")
    yield side
    await side.close()
