"""What the page of the hub's admins is made of: what does not answer hides nothing else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.factories import TODAY, workspace
from tests.unit.spawners import Plugin, TodayContext
from workspace_managers import IDENTITY_CLAIMS, BackendUnavailable, Settings, Workspace
from workspace_managers.hub import overview, shares
from workspace_managers.hub.overview import Overviews
from workspace_managers.kube.client import Kube


class Telling(Plugin):
    """Tells an operator of its workspaces, and of what is wrong."""

    every: Sequence[Workspace] | None = None
    told: Sequence[str] = ()
    asked_for_problems = 0

    async def problems(self) -> Sequence[str]:
        self.asked_for_problems += 1
        if self.failure:
            raise self.failure
        return self.told

    async def all_workspaces(self) -> Sequence[Workspace] | None:
        return self.every


class Sessions:
    """Servers that run, by their spawner, with the last day of access of each."""

    def __init__(self, **last_days: int | None) -> None:
        self.spawners = [spawner(name) for name in last_days]
        self._days = last_days

    def outlook(self, spawner: Any) -> SimpleNamespace | None:
        days = self._days[spawner.user.name]
        if days is None:
            return None
        return SimpleNamespace(last_day=TODAY + timedelta(days=days), warnings=("A warning.",) if not days else ())


def spawner(name: str) -> SimpleNamespace:
    started = datetime(2030, 7, 1, 8, 40)
    return SimpleNamespace(
        user=SimpleNamespace(name=name),
        title="Heart",
        workspace="heart",
        orm_spawner=SimpleNamespace(started=started, id=len(name)),
    )


@pytest.fixture
def plugin() -> Telling:
    settings = Settings.from_environ({"POD_NAMESPACE": "hub", "WORKSPACE_TIMEZONE": "Europe/London"})
    return Telling(TodayContext(settings=settings, kube=Kube("hub"), log=logging.getLogger("test")))


async def begun() -> None:
    pass


def made(plugin: Telling, **last_days: int | None) -> Overviews:
    settings = plugin.context.settings
    service: Any = SimpleNamespace(manager=plugin, settings=settings, warnings=("A setting.",), begin=begun)
    sessions: Any = Sessions(**last_days)
    return Overviews(service, sessions)


def handler(*roles: Any, auth_state: bool = True) -> Any:
    database = SimpleNamespace(query=lambda _kind: roles)
    return SimpleNamespace(db=database, authenticator=SimpleNamespace(enable_auth_state=auth_state))


def role(scope: str, *users: str, group: Sequence[str] = ()) -> SimpleNamespace:
    members = SimpleNamespace(users=[SimpleNamespace(name=name) for name in group])
    people = [SimpleNamespace(name=name) for name in users]
    return SimpleNamespace(scopes=[scope, "self"], users=people, groups=[members])


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "counted", lambda _db: {len("carol"): 2})


async def test_servers_whose_access_ends_first_come_first(plugin: Telling) -> None:
    found = await made(plugin, dora=None, adelheid=30, bob=0, carol=14).overview(handler())
    assert [(each.person, each.until, each.soon, each.notes) for each in found.running] == [
        ("bob", "15 June 2026", True, ("A warning.",)),
        ("carol", "29 June 2026", True, ("Shared 2 times.",)),
        ("adelheid", "15 July 2026", False, ()),
        ("dora", "", False, ()),
    ]
    assert {each.since for each in found.running} == {"1 July 2030, 09:40"}
    assert found.notes == ("A setting.",)


async def test_workspaces_that_close_soon_and_those_beyond_the_policy(plugin: Telling) -> None:
    """F4; those that are over are nobody's concern any more."""
    plugin.every = [
        workspace("soon", last_day=TODAY + timedelta(days=3)),
        workspace("over", last_day=TODAY - timedelta(days=1)),
        workspace("long"),
        workspace("account", service_account="hub"),
    ]
    backend = (await made(plugin).overview(handler())).backend
    assert backend.closing == (("Cardio outcomes", "soon", "Closes in 3 days"),)
    assert [name for name, _ in backend.set_aside] == ["account"]
    assert "service account 'hub'" in backend.set_aside[0][1]


@pytest.mark.parametrize(
    ("failure", "told"),
    [(BackendUnavailable("the backend is away"), "the backend is away"), (KeyError("x"), "KeyError: \"'x'\"")],
)
async def test_what_does_not_answer_is_told_and_hides_nothing_else(
    plugin: Telling, failure: Exception, told: str
) -> None:
    """A4: no answer does not read as no problem."""
    plugin.failure = failure
    found = await made(plugin, alice=1).overview(handler())
    assert (found.backend.unanswered, found.backend.problems) == (told, ())
    assert [each.person for each in found.running] == ["alice"]


async def test_backend_is_asked_once_a_minute(plugin: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have to read all of its resources for an answer."""
    page = made(plugin)
    for _ in range(3):
        await page.overview(handler())
    assert plugin.asked_for_problems == 1
    monkeypatch.setattr(overview, "KEPT_SECONDS", 0.0)
    await page.overview(handler())
    assert plugin.asked_for_problems == 2


async def test_no_claim_of_a_person_is_on_the_page(plugin: Telling) -> None:
    """F1: its name says whose it is to whoever knows how it is made."""
    plugin.told = [f"workspace 'x': 'home-{'0f' * 10}-heart.one' is called as a person's claim", "home-made"]
    found = await made(plugin).overview(handler())
    assert found.backend.problems == ("workspace 'x': '(a home folder)' is called as a person's claim", "home-made")


async def test_who_may_enter_everybodys_servers_is_told(plugin: Telling) -> None:
    many = [f"user-{index:02}" for index in range(25)]
    roles = (role("access:servers", "bob", group=["carol"]), role("access:servers!user=x", "dora"))
    (_, told) = (await made(plugin).overview(handler(*roles))).notes
    assert told.endswith("access:servers: 'bob', 'carol'")
    (_, told) = (await made(plugin).overview(handler(role("access:servers", *many)))).notes
    assert told.endswith("'user-19' and 5 more")


@pytest.mark.parametrize(("kept", "told"), [(True, "counts for 24 hours"), (False, "enable_auth_state is off")])
async def test_how_identity_claims_arrive_is_told(
    plugin: Telling, monkeypatch: pytest.MonkeyPatch, kept: bool, told: str
) -> None:
    """E6."""
    monkeypatch.setattr(Telling, "capabilities", frozenset({IDENTITY_CLAIMS}))
    (_, said) = (await made(plugin).overview(handler(auth_state=kept))).notes
    assert told in said
