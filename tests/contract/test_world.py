"""A world is alone where it is, is changed past the faults, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from workspace_manager_lscsde.contract import LscsdeWorld
from workspace_managers import ApiError
from workspace_managers.contract.proxy import refuse
from workspace_managers.contract.stage import FIRST_DAY, LAST_DAY
from workspace_managers.contract.world import KUBECONFIG
from workspace_managers.devcluster.api import EmbeddedApi

FACTS: dict[str, Any] = {
    "first_day": FIRST_DAY,
    "last_day": LAST_DAY,
    "display_name": "x",
    "description": "x",
    "image": "x",
}


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedApi]:
    """A cluster of somebody's own."""
    api = EmbeddedApi()
    await api.start()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(api.kubeconfig()))
    monkeypatch.setenv(KUBECONFIG, str(kubeconfig))
    yield api
    await api.stop()


def held(api: EmbeddedApi) -> list[str]:
    """Every object that the cluster has, but the definitions."""
    kinds = [kind for kind in api.store.kinds.values() if kind.plural != "customresourcedefinitions"]
    return [f"{kind.plural}/{each.object['metadata']['name']}" for kind in kinds for each in api.store.list(kind, "")]


async def test_worlds_on_one_cluster_are_apart_and_leave_nothing(cluster: EmbeddedApi) -> None:
    """Clauses run side by side on a cluster, and whoever owns it has it back as it was."""
    before = held(cluster)
    worlds = [LscsdeWorld(), LscsdeWorld()]
    for number, world in enumerate(worlds):
        await world.start()
        await world.put_workspace(f"study-{number}", **FACTS, node_selector={})
        await world.grant("alice", f"study-{number}", LAST_DAY)
        await world.put_claim(f"claim-{number}", annotations={}, labels={})
    assert [set(await world.claims()) for world in worlds] == [{"claim-0"}, {"claim-1"}]
    for world in worlds:
        await world.stop()
    assert held(cluster) == before


async def test_world_that_cannot_start_leaves_everything_as_it_was(cluster: EmbeddedApi) -> None:
    """Also a namespace that it has not made."""
    before = held(cluster)
    world = LscsdeWorld()
    world.namespace = "default"
    with pytest.raises(ApiError, match="409 AlreadyExists"):
        await world.start()
    assert held(cluster) == before


async def test_verbs_put_in_place_and_pass_the_faults_by(cluster: EmbeddedApi) -> None:
    """What they write is there whatever the plugin is made to see."""
    world = LscsdeWorld()
    await world.start()
    with world.faults.inject(refuse(500)):
        for label in ("one", "two"):
            await world.put_claim("claim", annotations={"a": label}, labels={"l": label})
    (claim,) = (await world.claims()).values()
    assert claim["metadata"]["annotations"] == {"a": "two"}
    assert claim["metadata"]["labels"] == {"l": "two"}
    assert not world.faults.requests
    await world.stop()
