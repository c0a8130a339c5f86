"""What the shipped plugin asks of the API server, on the embedded one and, by ``on_server``, on the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.apiserver.cluster import until
from workspace_manager_lscsde import LscsdeWorkspaceManager
from workspace_manager_lscsde.contract import LscsdeWorld
from workspace_managers import AccessDenied
from workspace_managers.contract.proxy import Seen, delay
from workspace_managers.contract.stage import Stage, fixed, hub_pod, mounted, staged

STUDIES = "/apis/xlscsde.nhs.uk/v1/namespaces/{namespace}"
CLAIMS = "/api/v1/namespaces/{namespace}/persistentvolumeclaims"


async def warm(stage: Stage) -> None:
    """A workspace whose form has been shown and whose claims are there, and caches that vouch."""
    await stage.study("cardio", "alice")
    await stage.begin()
    assert await stage.listed("alice") == {"cardio"}
    await stage.start("alice", "cardio")
    manager = stage.manager
    assert isinstance(manager, LscsdeWorkspaceManager)

    async def settled() -> bool:
        return manager._bindings.age == manager._workspaces.age == 0.0

    async with asyncio.timeout(20):
        await until(settled)


def rounds(requests: Sequence[Seen]) -> list[list[Seen]]:
    """Requests that were under way together, in the order of the rounds."""
    found: list[list[Seen]] = []
    for seen in sorted(requests, key=lambda each: each.began):
        if found and seen.began < min(each.ended or each.began for each in found[-1]):
            found[-1].append(seen)
        else:
            found.append([seen])
    return found


async def test_start_on_a_warm_cache_makes_four_requests_in_two_rounds() -> None:
    """The binding and the workspace side by side, then the claims side by side; nothing is listed."""
    async with staged(LscsdeWorkspaceManager, world := LscsdeWorld()) as stage:
        await warm(stage)
        before = len(world.faults.requests)
        with world.faults.inject(delay(0.2), concerns=lambda seen: not seen.is_watch):
            await stage.start("alice", "cardio")
        asked = [seen for seen in world.faults.requests[before:] if not seen.is_watch]
        (binding,) = await world.objects(STUDIES.format(namespace=world.namespace) + "/analyticsworkspacebindings")
        shown = [
            sorted(
                f"{seen.method} {seen.path} {seen.status}".replace(world.namespace, "{namespace}") for seen in together
            )
            for together in rounds(asked)
        ]
        assert shown == [
            [
                f"GET {STUDIES}/analyticsworkspacebindings/{binding} 200",
                f"GET {STUDIES}/analyticsworkspaces/cardio 200",
            ],
            [f"GET {CLAIMS}/jupyter-cardio 200", f"GET {CLAIMS}/jupyter-shared 200"],
        ]


async def test_form_on_a_warm_cache_makes_no_request() -> None:
    """What was listed once is watched."""
    async with staged(LscsdeWorkspaceManager, world := LscsdeWorld()) as stage:
        await warm(stage)
        before = [seen for seen in world.faults.requests if not seen.is_watch]
        for _ in range(3):
            assert await stage.listed("alice") == {"cardio"}
        assert [seen for seen in world.faults.requests if not seen.is_watch] == before


async def test_plugin_without_the_proxy_starts_denies_and_closes() -> None:
    """Everything else here goes through a proxy, by HTTP; a hub's client meets the server itself, and its TLS."""
    world = LscsdeWorld()
    await world.start()
    try:
        stage = Stage(LscsdeWorkspaceManager, world)
        await stage.study("cardio", "alice")
        manager = LscsdeWorkspaceManager(replace(world.context, kube=world.administrator))
        alice = world.user("alice")
        await manager.start()
        assert [card.slug for card in (await manager.build_form(alice)).cards] == ["cardio"]
        provision = await manager.provision(alice, "cardio", fixed(hub_pod()))
        assert set(mounted(provision.pod)) == set(await world.claims())
        await world.revoke("alice", "cardio")
        with pytest.raises(AccessDenied):
            await manager.provision(alice, "cardio", fixed(hub_pod()))

        async def gone() -> bool:
            return not (await manager.build_form(alice)).cards

        async with asyncio.timeout(10):
            await until(gone)
        await manager.close()
        assert not world.faults.requests
    finally:
        await world.stop()
