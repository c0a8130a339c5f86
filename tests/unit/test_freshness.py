"""How old what the identity provider says may be, and when it is asked anew (rule E6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from math import inf
from typing import Any

import pytest
from jupyterhub import crypto, orm
from jupyterhub import user as hub_user

from workspace_managers import Settings
from workspace_managers.hub import freshness, identity
from workspace_managers.hub.freshness import Refresher, Told, age
from workspace_managers.loglimit import LogLimit

HOUR = 3600.0
SETTINGS = Settings.from_environ({"WORKSPACE_CLAIMS_HOURS": "24"})


class Provider:
    """An authenticator with a provider behind it."""

    enable_auth_state = True
    auth_refresh_age = 300

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def refresh_user(self, user: Any, handler: Any = None) -> Any:
        self.asked.append((user.name, handler))
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Alice:
    """A user of the hub, whose auth state is stored unencrypted."""

    name = "alice"

    def __init__(self, db: Any) -> None:
        self.db = db
        self.orm_user = orm.User(name=self.name)
        db.add(self.orm_user)
        db.commit()
        self.authenticator = Provider()
        self.state: Any = None

    async def get_auth_state(self) -> Any:
        return self.state

    async def save_auth_state(self, state: Any) -> None:
        self.state = state
        self.orm_user.encrypted_auth_state = repr(state).encode()
        self.db.commit()

    def grow_old(self, seconds: float) -> None:
        """Have time pass for what was told."""
        self.db.get(Told, self.orm_user.id).at -= timedelta(seconds=seconds)
        self.db.commit()


@pytest.fixture
def db() -> Iterator[Any]:
    made = orm.new_session_factory("sqlite:///:memory:")()
    yield made
    made.close()


@pytest.fixture
async def alice(db: Any) -> Alice:
    made = Alice(db)
    await made.save_auth_state({"user": {"groups": ["cardio"]}})
    return made


@pytest.fixture
def refresher(caplog: pytest.LogCaptureFixture) -> Refresher:
    return Refresher(asyncio.create_task, LogLimit(logging.getLogger("test")))


async def claims(user: Any, settings: Settings = SETTINGS) -> Any:
    return (await identity.person(user, settings)).identity_claims


async def test_claims_count_until_they_are_too_old(alice: Alice) -> None:
    assert await claims(alice) == {"groups": ("cardio",)}
    alice.grow_old(23.9 * HOUR)
    assert await claims(alice) is not None
    alice.grow_old(0.2 * HOUR)
    assert await claims(alice) is None
    assert await claims(alice, Settings.from_environ({"WORKSPACE_CLAIMS_HOURS": "0"})) is not None
    await alice.save_auth_state({"user": {"groups": []}})
    assert await claims(alice) == {"groups": ()}


async def test_claims_of_unknown_age_are_unknown(alice: Alice) -> None:
    """As those that a hub without this table has stored; and time that was set back makes nothing young."""
    alice.grow_old(-25 * HOUR)
    assert await claims(alice) is None
    alice.db.delete(alice.db.get(Told, alice.orm_user.id))
    alice.db.commit()
    assert age(alice) == inf
    assert await claims(alice) is None


async def test_no_claims_have_no_age(alice: Alice) -> None:
    """What an authenticator without claims keeps denies nothing, however old it is."""
    await alice.save_auth_state({})
    alice.grow_old(100 * HOUR)
    assert await claims(alice) == {}


async def test_moment_goes_with_its_user(alice: Alice) -> None:
    """Whoever gets the number later is somebody else."""
    alice.db.delete(alice.orm_user)
    alice.db.commit()
    assert alice.db.query(Told).all() == []


@pytest.fixture
def keys() -> Iterator[Any]:
    """As many keys for the hub's auth states."""

    def made(count: int) -> None:
        crypto.CryptKeeper.clear_instance()
        crypto.CryptKeeper.instance(keys=[bytes([number]) * 32 for number in range(count)])

    yield made
    crypto.CryptKeeper.clear_instance()


def stored(db: Any) -> Any:
    """A user as the hub itself has them, with encryption and all."""
    alice = orm.User(name="alice")
    db.add(alice)
    db.commit()
    return hub_user.User(alice, {"authenticator": Provider()})


@pytest.mark.parametrize("count", [1, 2])
async def test_reading_is_no_news(db: Any, keys: Any, count: int) -> None:
    """With two keys, one of them going out of use, the hub stores an auth state anew at each reading."""
    keys(count)
    told: list[str] = []
    freshness.listen(told.append)
    user = stored(db)
    await user.save_auth_state({"user": {"groups": ["cardio"]}})
    assert told == ["alice"]
    Alice.grow_old(user, HOUR)
    before = user.orm_user.encrypted_auth_state
    assert await claims(user) == {"groups": ("cardio",)}
    assert (user.orm_user.encrypted_auth_state != before) is (count == 2)
    assert age(user) >= HOUR
    assert told == ["alice"], "else a review would bring the next one about"


async def test_authenticator_that_says_nothing_leaves_nothing_unknown(
    db: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many keep nothing, and the chart's values have it kept: whoever signed in has no claims, and that is certain."""
    keys(1)
    kept = True
    monkeypatch.setattr(freshness, "_is_kept", lambda: kept)
    user = stored(db)
    assert await claims(user) is None, "nobody has signed in since it is kept"
    await user.save_auth_state(None)
    assert await claims(user) == {}
    Alice.grow_old(user, 100 * HOUR)
    assert await claims(user) == {}
    kept = False
    await user.save_auth_state(None)
    assert await claims(user) is None, "what was said meanwhile is not known"


async def test_auth_state_that_cannot_be_read_is_unknown(db: Any, keys: Any) -> None:
    keys(1)
    user = stored(db)
    await user.save_auth_state({"user": {"groups": ["cardio"]}})
    crypto.CryptKeeper.clear_instance()
    crypto.CryptKeeper.instance(keys=[b"x" * 32])
    assert await claims(user) is None


async def test_refresh_asks_once_the_hub_would_and_keeps_the_answer(alice: Alice, refresher: Refresher) -> None:
    provider = alice.authenticator
    provider.answer = {"name": "alice", "auth_state": {"user": {"groups": ["stroke"]}}}
    await refresher.refresh(alice)
    assert provider.asked == []
    alice.grow_old(301)
    await refresher.refresh(alice, older=HOUR)
    assert provider.asked == []
    await refresher.refresh(alice, handler="request")
    assert provider.asked == [("alice", "request")]
    assert await claims(alice) == {"groups": ("stroke",)}
    assert age(alice) < 60


@pytest.mark.parametrize("answer", [True, False, None, {"name": "alice"}, RuntimeError("no route")])
async def test_answer_without_claims_changes_nothing(
    alice: Alice, refresher: Refresher, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """They stay as old as they are; and the provider is not asked again at once."""
    provider = alice.authenticator
    provider.answer = answer
    alice.grow_old(HOUR)
    await refresher.refresh(alice)
    await refresher.refresh(alice)
    assert len(provider.asked) == 1
    assert await claims(alice) == {"groups": ("cardio",)}
    assert age(alice) >= HOUR
    assert ("no route" in caplog.text) == isinstance(answer, Exception)


@pytest.mark.parametrize("switch", ["auth_refresh_age", "enable_auth_state"])
async def test_nobody_is_asked_where_the_operator_switched_it_off(
    alice: Alice, refresher: Refresher, switch: str
) -> None:
    setattr(alice.authenticator, switch, 0)
    alice.grow_old(HOUR)
    await refresher.refresh(alice)
    assert alice.authenticator.asked == []


async def test_slow_provider_holds_nobody_up_and_its_answer_is_kept(
    alice: Alice, refresher: Refresher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh token that was spent must not be lost with whoever waited; two who wait ask once."""
    monkeypatch.setattr(freshness, "WAIT_SECONDS", 0.05)
    provider = alice.authenticator
    provider.gate.clear()
    provider.answer = {"auth_state": {"user": {"groups": ["stroke"]}}}
    alice.grow_old(HOUR)
    first = asyncio.create_task(refresher.refresh(alice))
    await refresher.refresh(alice)
    first.cancel()
    provider.gate.set()
    async with asyncio.timeout(10):
        while await claims(alice) != {"groups": ("stroke",)}:  # noqa: ASYNC110 - what it writes to tells nobody
            await asyncio.sleep(0.01)
    assert len(provider.asked) == 1


async def test_running_server_is_looked_at_before_its_claims_are_too_old(alice: Alice, refresher: Refresher) -> None:
    limit = 24 * HOUR
    assert await refresher.keep(alice, inf) == inf
    assert await refresher.keep(alice, limit) == pytest.approx(12 * HOUR, abs=60)
    assert alice.authenticator.asked == []
    alice.grow_old(12 * HOUR)
    assert await refresher.keep(alice, limit) == pytest.approx(3 * HOUR, abs=60)
    assert len(alice.authenticator.asked) == 1, "and there was no answer"
    alice.grow_old(9.5 * HOUR)
    assert await refresher.keep(alice, limit) == pytest.approx(2.5 * HOUR, abs=60)
    alice.grow_old(3 * HOUR)
    assert await refresher.keep(alice, limit) == inf
    alice.authenticator.enable_auth_state = False
    assert await refresher.keep(alice, limit) == inf
