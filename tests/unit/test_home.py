"""What the home page is made of: workspaces and servers, each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.factories import TODAY, workspace
from workspace_managers.forms import build_form
from workspace_managers.hub.home import Home, home_of
from workspace_managers.hub.service import Ended
from workspace_managers.names import server_name

LONDON = ZoneInfo("Europe/London")


def server(name: str, of: str = "", pending: str | None = None, active: bool = True) -> SimpleNamespace:
    started = datetime(2030, 7, 1, 8, 40)
    return SimpleNamespace(
        name=name,
        workspace=of or name,
        title=f"Title of {of or name}",
        pending=pending,
        active=active,
        keeps_home=False,
        outlook=None,
        news="",
        orm_spawner=SimpleNamespace(started=started),
    )


def home(
    *servers: SimpleNamespace,
    named: bool = True,
    names: tuple[str, ...] = ("a", "b", "c.d"),
    ended: tuple[Ended, ...] = (),
    closed: bool = False,
    keeps_home: bool = False,
) -> Home:
    grants = [workspace(name, display_name=name.upper(), keeps_home=keeps_home) for name in names]
    if closed:
        grants.append(workspace("closed", last_day=TODAY - timedelta(days=1)))
    form = build_form(grants, TODAY)
    user = SimpleNamespace(name="alice", spawners={each.name: each for each in servers}, allow_named_servers=named)
    became = {"alice": dict(enumerate(ended)), "bob": {"": Ended("a", "A", "Bob's has ended.")}}
    service: Any = SimpleNamespace(
        settings=SimpleNamespace(timezone=LONDON, at_once=1, start_single=False), became=became
    )
    return home_of(user, service, form if grants else None, None)


def test_each_workspace_once_and_what_runs_first() -> None:
    """F2."""
    found = home(server("b"), server("c-d", "c.d", "spawn")).entries
    assert [(each.title, each.server, each.state) for each in found] == [
        ("B", "b", "running"),
        ("C.D", "c-d", "starting"),
        ("A", "a", "stopped"),
    ]
    assert found[0].started == "1 July 2030, 09:40"
    assert found[2].started == ""


def test_server_that_opens_a_workspace_is_named_after_it() -> None:
    """W1; where an operator has turned names off, all are opened by the one without."""
    assert [each.server for each in home().entries] == ["a", "b", server_name("c.d")]
    assert [each.server for each in home(named=False).entries] == ["", "", ""]


def test_server_without_a_name_is_shown_with_its_workspace() -> None:
    """W1: as of before servers had names."""
    assert next((each.title, each.server, each.state) for each in home(server("", "b")).entries) == ("B", "", "running")


def test_server_of_a_workspace_that_is_not_on_the_form_is_shown() -> None:
    """A4: so that it can be opened and stopped, also where nothing can be looked up."""
    (found, *_) = home(server("old")).entries
    assert (found.title, found.card, found.state) == ("Title of old", None, "running")
    assert [each.title for each in home(server("old"), names=()).entries] == ["Title of old"]


def test_server_that_has_stopped_is_none() -> None:
    assert [each.state for each in home(server("a", active=False)).entries] == ["stopped"] * 3


def test_s8_what_is_kept_is_said_of_the_server_that_runs() -> None:
    """S8: its pod was made before the workspace was changed, or the hub's settings were."""
    before = server("a")
    since = server("b")
    since.keeps_home = True
    page = home(before, since, keeps_home=True)
    found = {each.title: (each.keeps_home, each.card is not None and each.card.keeps_home) for each in page.entries}
    assert found == {"A": (False, False), "B": (True, True), "C.D": (False, True)}


def test_what_became_of_a_server_is_told_with_its_workspace() -> None:
    """F1: to its person alone; by the title where the workspace is not on the form any more."""
    ended = (Ended("b", "B", "It has ended."), Ended("gone", "Gone study", "It was taken away."))
    page = home(ended=ended)
    assert [each.news for each in page.entries] == ["", "It has ended.", ""]
    assert page.ended == (ended[1],)
    assert [each.news for each in home(server("", "b"), ended=ended).entries] == ["", "", ""], "it runs again"


def test_what_became_of_a_server_whose_last_day_is_over_is_told() -> None:
    """E3: its workspace is on the form, as one that has closed."""
    ended = Ended("closed", "Closed", "Your access has ended with its last day.")
    page = home(names=(), ended=(ended,), closed=True)
    assert [(each.state, each.news) for each in page.entries] == [("expired", "")]
    assert page.ended == (ended,)


@pytest.mark.parametrize(
    ("page", "straight"),
    [
        (home(names=("a",)), True),
        (home(names=("a",), closed=True), True),
        (home(), False),
        (home(names=(), closed=True), False),
        (home(server("a"), names=("a",)), False),
        (home(server("old"), names=("a",)), False),
        (home(names=("a",), ended=(Ended("a", "A", "It has ended."),)), False),
        (home(names=("a",), ended=(Ended("gone", "Gone", "It was taken away."),)), False),
        (home(names=()), False),
    ],
    ids=["one", "one and a closed one", "three", "closed", "runs", "another runs", "news", "ended", "unknown"],
)
def test_only_workspace_may_be_started_at_once(page: Home, straight: bool) -> None:
    """Where that is set, and nothing is to be read or missing."""
    assert page.straight is False
    assert replace(page, start_single=True).straight is straight
    if page.form:
        for form in (replace(page.form, incomplete=True), replace(page.form, sign_in_again=True)):
            assert replace(page, start_single=True, form=form).straight is False


@pytest.mark.parametrize(
    ("pending", "at_once", "full"),
    [(None, 1, True), ("spawn", 1, True), ("stop", 1, False), (None, 2, False), (None, 0, False)],
)
def test_full(pending: str | None, at_once: int, full: bool) -> None:
    """W2."""
    assert replace(home(server("a", pending=pending)), at_once=at_once).full is full
