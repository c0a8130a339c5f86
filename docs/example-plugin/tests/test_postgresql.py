"""What the contract does not ask: every way in which a database fails to answer, and that its password is not told."""
# ruff: noqa: S101, S608 - asserts, and queries made of constants

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import asyncpg
import pytest
import workspace_manager_postgresql
from workspace_manager_postgresql import _FOLDED, VARIABLE, PostgresqlManager
from workspace_manager_postgresql.contract import PASSWORD, READER, PostgresqlWorld

from workspace_managers import BackendUnavailable, ConfigurationError, User

ALICE = User.identify("alice")


@pytest.fixture
async def world() -> AsyncIterator[PostgresqlWorld]:
    """A database in which alice has one workspace."""
    world = PostgresqlWorld()
    await world.start()
    first, last = date(2026, 1, 1), date(2026, 12, 31)
    texts = {"display_name": "Cardio", "description": "", "image": "example/notebook:1.0"}
    await world.put_workspace("cardio", first_day=first, last_day=last, node_selector={}, **texts)
    await world.grant("Alice", "cardio", last)
    yield world
    await world.stop()


@pytest.fixture
async def plugin(world: PostgresqlWorld) -> AsyncIterator[PostgresqlManager]:
    """The plugin, started."""
    plugin = PostgresqlManager(world.context)
    await plugin.start()
    yield plugin
    await plugin.close()


async def refused(plugin: PostgresqlManager) -> str:
    """What the log would get; there is no answer to the user, and none of the password in it."""
    with pytest.raises(BackendUnavailable) as refusal:
        await plugin.build_form(ALICE)
    assert PASSWORD not in str(refusal.value)
    return str(refusal.value)


async def seen_waiting(world: PostgresqlWorld) -> None:
    """Until a query waits for the table."""
    async with asyncio.timeout(10):
        while not await world.admin.fetch("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def test_answers(plugin: PostgresqlManager) -> None:
    """Or the refusals below would be worth nothing."""
    assert [card.slug for card in (await plugin.build_form(ALICE)).cards] == ["cardio"]


async def test_missing_table_is_unavailable(plugin: PostgresqlManager, world: PostgresqlWorld) -> None:
    """A4: a database that was restored half is no database without grants."""
    await world.admin.execute("DROP TABLE grants")
    assert "UndefinedTableError" in await refused(plugin)


async def test_missing_right_is_unavailable(plugin: PostgresqlManager, world: PostgresqlWorld) -> None:
    """A4."""
    await world.admin.execute(f"REVOKE SELECT ON grants FROM {READER}")
    assert "InsufficientPrivilegeError" in await refused(plugin)


async def test_cancelled_query_is_unavailable(plugin: PostgresqlManager, world: PostgresqlWorld) -> None:
    """A4: an administrator ends a query that waits."""
    async with world.admin.transaction():
        await world.admin.execute("LOCK TABLE grants")
        question = asyncio.create_task(refused(plugin))
        await seen_waiting(world)
        await world.admin.execute("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted")
        assert "QueryCanceledError" in await question


async def test_query_that_never_ends_is_unavailable(
    plugin: PostgresqlManager, world: PostgresqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: bounded in time, and so is the wait for one of the few connections."""
    monkeypatch.setattr(workspace_manager_postgresql, "ANSWER_SECONDS", 0.3)
    async with world.admin.transaction(), asyncio.timeout(10):
        await world.admin.execute("LOCK TABLE grants")
        told = await asyncio.gather(*(refused(plugin) for _ in range(3 * workspace_manager_postgresql.CONNECTIONS)))
        seen = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        assert await world.admin.fetchval(seen, READER) <= workspace_manager_postgresql.CONNECTIONS
    assert all("TimeoutError" in each for each in told)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        pytest.param(f"postgresql://{READER}:{PASSWORD}@127.0.0.1:1/x", "ConnectionRefusedError", id="nobody-listens"),
        pytest.param(f"postgresql://{READER}:{PASSWORD}/x@host/x", "ValueError", id="password-with-a-slash"),
        pytest.param(f"mysql://{READER}:{PASSWORD}@host/x", "ClientConfigurationError", id="another-database"),
        pytest.param("no address", "ClientConfigurationError", id="no-address"),
    ],
)
async def test_wrong_address_is_unavailable(
    world: PostgresqlWorld, monkeypatch: pytest.MonkeyPatch, address: str, word: str
) -> None:
    """A4, F1: and no part of it is told."""
    monkeypatch.setenv(VARIABLE, address)
    plugin = PostgresqlManager(world.context)
    await plugin.start()
    assert word in await refused(plugin)
    await plugin.close()


async def test_wrong_password_is_unavailable(world: PostgresqlWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4."""
    monkeypatch.setenv(VARIABLE, os.environ[VARIABLE].replace(PASSWORD, "another"))
    plugin = PostgresqlManager(world.context)
    await plugin.start()
    assert "InvalidPasswordError" in await refused(plugin)
    await plugin.close()


async def test_nothing_can_be_written(plugin: PostgresqlManager) -> None:
    """Not even with a role that may."""
    assert plugin._pool is not None
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await plugin._pool.execute("CREATE TEMPORARY TABLE x AS SELECT 1; DELETE FROM grants")


async def test_close_waits_for_no_query(
    plugin: PostgresqlManager, world: PostgresqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L3: a hub that ends is not held up by a query."""
    monkeypatch.setattr(workspace_manager_postgresql, "CLOSE_SECONDS", 0.1)
    async with asyncio.timeout(5), world.admin.transaction():
        await world.admin.execute("LOCK TABLE grants")
        question = asyncio.create_task(refused(plugin))
        await seen_waiting(world)
        await plugin.close()
        await question


async def test_no_letter_is_lost_between_database_and_plugin(world: PostgresqlWorld) -> None:
    """A2: whoever has one name in lower case is found by the query, for every letter that there is."""
    letters = [letter for letter in map(chr, range(1, 0x110000)) if letter.lower() != letter]
    differ = f"{_FOLDED.format('a')} <> {_FOLDED.format('b')}"
    query = f"SELECT a, b FROM unnest($1::text[], $2::text[]) AS pairs(a, b) WHERE {differ}"
    assert len(letters) > 1000
    assert await world.admin.fetch(query, letters, [letter.lower() for letter in letters]) == []


async def test_look_alike_of_the_query_is_somebody_else(plugin: PostgresqlManager, world: PostgresqlWorld) -> None:
    """A2: to the query a dotless i is an i; the plugin's own comparison tells them apart."""
    await world.grant("al\u0131ce", "cardio", date(2026, 12, 31))
    assert await world.admin.fetchval(f"SELECT {_FOLDED.format('$1::text')}", "al\u0131ce") == "ALICE"
    assert len(await plugin.list_workspaces(ALICE)) == 1
    assert [each.name for each in await plugin.list_workspaces(User.identify("al\u0131ce"))] == ["cardio"]


async def test_missing_address_stops_the_hub(world: PostgresqlWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: with what to do."""
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigurationError, match=f"{VARIABLE} is not set; give it the database's address"):
        PostgresqlManager(world.context)
    monkeypatch.setenv(VARIABLE, "for the world's end")


def test_server_ends_with_its_process() -> None:
    """Even where that is killed."""
    code = "from workspace_manager_postgresql.server import server; print(server(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    running = folder / "data" / "postmaster.pid"  # the server's own, until it has ended
    try:
        assert running.exists()
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 10
        while running.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        shutil.rmtree(folder)
