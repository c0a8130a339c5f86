"""The image, built once for all tests of a run, and the real API server with a node that it is run on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.apiserver.cluster import RealCluster
from tests.image.store import RESULTS, ROOT, Image, Store
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
    return store.base("k8s-hub-3.2.1")


@pytest.fixture(scope="session")
def image(store: Store, base: Image) -> Image:
    return store.build("localhost/workspace-managers:test", ROOT, base)


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
    tools = {"quay.io/jupyterhub/k8s-network-tools:3.2.1": ["true"]}
    node = Node(cluster.kubeconfig(), namespace=cluster.namespace, root=tmp_path_factory.mktemp("node"), images=tools)
    await node.start()
    yield node
    await node.stop()


@pytest.fixture(scope="session")
def newer_base(store: Store) -> Image:
    """The stand-in for the newest release, on the Python that it has where the machine has one to copy."""
    found = python_312()
    if found is None:
        print("No Python 3.12 here: the newer base is tried with Debian's own.")  # noqa: T201 - said aloud
    return store.base("k8s-hub-4.3.1", found)


def python_312() -> Path | None:
    """The prefix of a Python 3.12 on this machine, on the path or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for program in ("python3.12", *map(str, sorted(pyenv.glob("versions/3.12.*/bin/python3.12")))):
        with suppress(OSError):
            told = subprocess.run(
                [program, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=False
            )
            # A copy of /usr would bring all of the machine along.
            if told.returncode == 0 and (prefix := Path(told.stdout.strip())) not in (Path("/usr"), Path("/usr/local")):
                return prefix
    return None
