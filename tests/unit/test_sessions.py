"""Servers that run: reviewed when something may have changed, stopped where access has ended, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from kubernetes_asyncio.client.exceptions import ApiException
from traitlets.config import Config

from tests.factories import TODAY, workspace
from tests.unit import spawners
from tests.unit.spawners import Plugin, Pods, configure_with, make_spawner
from workspace_managers import TELLS_CHANGES, BackendUnavailable, User, Workspace
from workspace_managers.decisions import AUDIT
from workspace_managers.hub import sessions
from workspace_managers.hub import shares as sharing
from workspace_managers.hub.outlook import Outlook
from workspace_managers.hub.refusals import Refused
from workspace_managers.hub.sessions import Session
from workspace_managers.timeouts import Timeouts

QUIET_SECONDS = 0.3
"""After so long, what has not happened does not happen."""


@pytest.fixture
def audit() -> Iterator[list[dict[str, Any]]]:
    """The audit lines of sessions."""
    lines: list[dict[str, Any]] = []
    handler = logging.Handler()

    def keep(record: logging.LogRecord) -> None:
        line = json.loads(record.getMessage())
        if line["decision"] == "session":
            lines.append(line)

    handler.emit = keep  # type: ignore[method-assign]
    AUDIT.addHandler(handler)
    yield lines
    AUDIT.removeHandler(handler)


class Granting(Plugin):
    """Has grants for each user, tells of changes, and counts what it is asked."""

    capabilities = frozenset({TELLS_CHANGES})

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.granted: dict[str, Sequence[Workspace]] = {}
        self.reviewed: list[str] = []

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        if self.failure:
            raise self.failure
        return self.granted.get(user.name, self.grants)

    async def review(self, user: User, name: str) -> Workspace:
        self.reviewed.append(user.name)
        return await super().review(user, name)

    def take(self, name: str) -> None:
        self.granted[name] = ()
        self.context.changed(usernames=[name])


class Hub:
    """As much of a hub as a server that is stopped has to do with."""

    def __init__(self, c: Config, plugin: Granting) -> None:
        self.c = c
        self.plugin = plugin
        self.pods = Pods()
        self.routes: list[str] = []
        self.stopped: list[str] = []
        self.route_failure: Exception | None = None
        self.stop_failure: Exception | None = None

    @property
    def service(self) -> Any:
        return self.c.JupyterHub.spawner_class.workspace_service

    def spawner(self, name: str, **options: Any) -> Any:
        spawner = make_spawner(self.c, name, self.pods, **options)
        spawner.pod_name = f"jupyter-{len(name)}-{name.lower().replace(chr(92), '-')}"

        async def delete_user(user: Any, _server: str) -> None:
            self.routes.append(user.name)
            if self.route_failure is not None:
                raise self.route_failure

        async def stop(_server: str) -> None:
            spawner.stop_polling()
            self.stopped.append(name)
            if self.stop_failure is not None:
                raise self.stop_failure
            self.pods.there.pop(spawner.pod_name, None)

        spawner.user.settings = {"proxy": SimpleNamespace(delete_user=delete_user)}
        spawner.user.stop = stop
        return spawner

    async def running(self, name: str) -> Any:
        """The spawner of a server that runs, started by this hub."""
        spawner = self.spawner(name, profile="cardio")
        await spawner.start()
        await spawner.server.wait_up()
        spawner.start_polling()
        return spawner

    def found(self, name: str, state: dict[str, Any]) -> Any:
        """The spawner of a server that runs, started by an earlier hub."""
        spawner = self.spawner(name)
        spawner.load_state(state)
        self.pods.there[spawner.pod_name] = {"metadata": {"name": spawner.pod_name, "uid": "u", "annotations": {}}}
        spawner.start_polling()
        return spawner


@pytest.fixture
async def granting(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> Granting:
    """The plugin of the hub."""
    plugin.__class__ = Granting
    assert isinstance(plugin, Granting)
    plugin.granted, plugin.reviewed = {}, []
    for name in ("TURN_SECONDS", "RETRY_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(sessions, name, 0.02)
    monkeypatch.setattr("workspace_managers.hub.spawner._SECOND", 0.01)
    return plugin


@pytest.fixture
async def hub(granting: Granting) -> AsyncIterator[Hub]:
    yield Hub(configure_with(Config()), granting)
    await granting.context.kube.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.01)


async def test_e1_taken_access_ends_its_server_and_no_other(hub: Hub, audit: list[Any]) -> None:
    alice, bob = await hub.running("alice"), await hub.running("bob")
    uid = hub.pods.there[alice.pod_name]["metadata"]["uid"]
    hub.plugin.take("alice")
    await until(lambda: audit)
    assert (hub.routes, hub.stopped) == (["alice"], ["alice"])
    assert list(hub.pods.there) == [bob.pod_name]
    assert hub.plugin.reviewed == ["alice"]
    (line,) = audit
    assert (line["user"], line["workspace"], line["outcome"], line["rule"]) == ("alice", "cardio", "denied", "A2")
    assert line["by"] == {"hub": "jupyterhub"}
    assert line["pod"] == {"name": alice.pod_name, "uid": uid}
    assert "was taken away" in alice.news
    assert "kept" in alice.news
    assert alice.outlook is None
    assert bob.outlook.warnings == ()


async def test_e1_workspace_that_changed_has_its_servers_reviewed(hub: Hub) -> None:
    await hub.running("alice")
    hub.plugin.context.changed(workspaces=["asthma"])
    await asyncio.sleep(QUIET_SECONDS)
    assert hub.plugin.reviewed == []
    hub.plugin.context.changed(workspaces=["cardio"])
    await until(lambda: hub.plugin.reviewed == ["alice"])
    hub.plugin.context.changed()
    await until(lambda: hub.plugin.reviewed == ["alice"] * 2)
    assert hub.stopped == []


async def test_e1_user_is_told_of_by_their_username(hub: Hub) -> None:
    r"""`cardio\Alice` and Alice are one person."""
    await hub.running("cardio\\Alice")
    hub.plugin.context.changed(usernames=["alice"])
    await until(lambda: hub.plugin.reviewed == ["cardio\\Alice"])


async def test_e6_person_whom_the_identity_provider_tells_anew_of_is_reviewed(hub: Hub) -> None:
    """At each refresh: a group may be gone."""
    await hub.running("alice")
    await hub.running("bob")
    orm.User(name="alice").encrypted_auth_state = b"anew"
    await until(lambda: hub.plugin.reviewed == ["alice"])


async def test_e1_day_that_turns_has_all_reviewed(hub: Hub, monkeypatch: pytest.MonkeyPatch, audit: list[Any]) -> None:
    hub.plugin.granted["alice"] = (workspace("cardio", grant_last_day=TODAY),)
    alice = await hub.running("alice")
    await hub.running("bob")
    await asyncio.sleep(QUIET_SECONDS)
    assert hub.plugin.reviewed == []
    monkeypatch.setattr(spawners, "TODAY", TODAY + timedelta(days=1))
    await until(lambda: audit)
    assert hub.stopped == ["alice"]
    assert sorted(hub.plugin.reviewed) == ["alice", "bob"]
    assert audit[0]["rule"] == "A1"
    assert "with its last day" in alice.news


async def test_e1_plugin_that_cannot_tell_is_asked_again(granting: Granting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Granting, "capabilities", frozenset())
    hub = Hub(configure_with(Config(), WORKSPACE_REVIEW_MINUTES="1"), granting)
    monkeypatch.setattr(sessions.Sessions, "_later", lambda _self: monotonic() + 0.05)
    await hub.running("alice")
    await until(lambda: len(granting.reviewed) >= 2)
    granting.granted["alice"] = ()
    await until(lambda: hub.stopped == ["alice"])
    await granting.context.kube.close()


async def test_e4_uncertain_answer_stops_nothing_and_is_asked_again(hub: Hub, audit: list[Any]) -> None:
    alice = await hub.running("alice")
    hub.plugin.failure = BackendUnavailable("the backend is away")
    hub.plugin.context.changed()
    await until(lambda: len(hub.plugin.reviewed) >= 5)
    assert [(line["outcome"], line["rule"]) for line in audit] == [("unavailable", "A4")]
    assert hub.stopped == []
    assert alice.outlook.uncertain_seconds > 0
    hub.plugin.failure = None
    await until(lambda: len(audit) == 2)
    assert audit[1]["outcome"] == "allowed"
    assert alice.outlook.uncertain_seconds is None
    hub.plugin.take("alice")
    await until(lambda: hub.stopped == ["alice"])


async def test_e4_failure_that_nobody_has_foreseen_stops_nothing(hub: Hub, audit: list[Any]) -> None:
    await hub.running("alice")
    hub.plugin.failure = RuntimeError("a mistake")
    hub.plugin.context.changed()
    await until(lambda: len(hub.plugin.reviewed) >= 3)
    assert hub.stopped == []
    assert [line["outcome"] for line in audit] == ["unavailable"]


@pytest.mark.parametrize(("hours", "stopped"), [("12", ["alice"]), ("0", [])], ids=["a-limit", "no-limit"])
async def test_e4_what_stays_uncertain_ends_after_the_operators_hours(
    granting: Granting, monkeypatch: pytest.MonkeyPatch, audit: list[Any], hours: str, stopped: list[str]
) -> None:
    monkeypatch.setattr(sessions, "_HOUR", 0.01)
    hub = Hub(configure_with(Config(), WORKSPACE_UNCERTAIN_HOURS=hours), granting)
    alice = await hub.running("alice")
    granting.failure = BackendUnavailable("the backend is away")
    granting.context.changed()
    await asyncio.sleep(QUIET_SECONDS)
    assert hub.stopped == stopped
    if stopped:
        await until(lambda: len(audit) == 2)
        assert (audit[1]["outcome"], audit[1]["rule"]) == ("unavailable", "E4")
        assert "could not be confirmed" in alice.news
    await granting.context.kube.close()


async def test_e5_form_waits_until_what_ran_before_is_reviewed(hub: Hub, audit: list[Any]) -> None:
    before = await hub.running("alice")
    state = before.get_state()
    assert json.loads(json.dumps(state)) == state
    before.stop_polling()
    gate = asyncio.Event()
    ask = hub.plugin.list_workspaces

    async def late(user: User) -> Sequence[Workspace]:
        await gate.wait()
        return await ask(user)

    hub.plugin.granted["alice"] = ()
    hub.plugin.list_workspaces = late  # type: ignore[method-assign]
    hub.found("alice", state)
    form = asyncio.create_task(hub.spawner("bob").get_options_form())
    await asyncio.sleep(QUIET_SECONDS)
    assert not form.done()
    gate.set()
    assert 'value="cardio"' in await form
    await until(lambda: hub.stopped == ["alice"])
    assert audit[0]["rule"] == "A2"


async def test_e5_form_that_would_wait_too_long_is_refused(granting: Granting, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(configure_with(Config()), granting)
    monkeypatch.setattr(granting.context.kube, "timeouts", Timeouts(answer=0.1))
    monkeypatch.setattr(sessions.Sessions, "_unseen", lambda _self: True)
    spawner = hub.spawner("bob")
    assert "cannot be looked up" in await spawner.get_options_form()
    assert spawner.handler.status == 503
    await granting.context.kube.close()


async def test_server_of_which_nothing_says_what_it_rests_on_is_uncertain(hub: Hub, audit: list[Any]) -> None:
    """E4: as one that another manager started."""
    hub.found("alice", {"pod_name": "jupyter-alice"})
    await until(lambda: audit)
    assert [(line["outcome"], line["rule"], line["workspace"]) for line in audit] == [("unavailable", "E4", None)]
    assert hub.stopped == []


@pytest.mark.parametrize(
    "state",
    [
        *(None, 7, "x", [], {"name": 3}, {"name": ["cardio"], "uid": {}, "ends": 5}),
        {"name": None, "uid": None, "ends": "2026-02-31", "terms": None},
    ],
    ids=repr,
)
def test_state_that_is_not_right_is_not_known(state: Any) -> None:
    session = Session.read({"workspace": state})
    assert (session.workspace, session.uid, session.ends, session.terms) == (None,) * 4


def test_what_a_workspace_was_called_outlives_its_server() -> None:
    """For the page that says that it has stopped, also after the hub was restarted and a start that failed."""
    state: dict[str, Any] = {}
    Session("cardio", "u", title="Heart").over().write(state)
    found = Session.read(state)
    assert (found.workspace, found.uid, found.title) == (None, None, "")
    assert found.was == found.over().was == ("cardio", "Heart")


async def test_s6_workspace_that_was_made_anew_ends_the_server_of_the_old_one(hub: Hub, audit: list[Any]) -> None:
    hub.plugin.grants = (workspace("cardio", uid="first"),)
    alice = await hub.running("alice")
    hub.plugin.grants = (workspace("cardio", uid="second"),)
    hub.plugin.context.changed(workspaces=["cardio"])
    await until(lambda: audit)
    assert audit[0]["rule"] == "S6"
    assert "made anew" in alice.news


async def test_extended_and_changed_grants_go_on_and_are_told(hub: Hub) -> None:
    hub.plugin.grants = (
        workspace("cardio", versions={"workspace": "1"}, last_day=date(2091, 1, 1), grant_last_day=date(2090, 7, 1)),
    )
    alice = await hub.running("alice")
    later = {"versions": {"workspace": "2"}, "last_day": date(2091, 1, 1), "grant_last_day": date(2090, 8, 1)}
    hub.plugin.grants = (workspace("cardio", **later),)
    hub.plugin.context.changed()
    await until(lambda: len(alice.outlook.warnings) == 1)
    assert "extended" in alice.outlook.warnings[0]
    assert "1 July 2090" in alice.outlook.warnings[0]
    assert alice.outlook.closing == "Open until the end of 1 August 2090."
    hub.plugin.grants = (workspace("cardio", **{**later, "image": "other:2", "versions": {"workspace": "3"}}),)
    hub.plugin.context.changed()
    await until(lambda: len(alice.outlook.warnings) == 2)
    assert "was changed" in alice.outlook.warnings[1]
    assert hub.stopped == []


async def test_start_under_way_ends_with_its_access(hub: Hub) -> None:
    """E1: a pod that waits for a machine is not let run."""
    hub.pods.running = False
    alice = hub.spawner("alice", profile="cardio")
    start = alice.start()
    await until(lambda: hub.pods.there)
    hub.plugin.take("alice")
    with pytest.raises(Refused) as caught:
        await start
    assert caught.value.status_code == 403
    await until(lambda: not hub.pods.there)


async def test_server_that_has_not_answered_yet_ends_with_its_access(hub: Hub) -> None:
    alice = hub.spawner("alice", profile="cardio")

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    alice._server = SimpleNamespace(base_url="/user/x/", url="http://127.0.0.1:1/", wait_up=never)
    await alice.start()
    alice.start_polling()
    answer = asyncio.create_task(alice.server.wait_up())
    await asyncio.sleep(0)
    hub.plugin.take("alice")
    with pytest.raises(Refused) as caught:
        await answer
    assert caught.value.status_code == 403


@pytest.mark.parametrize("what", ["route_failure", "stop_failure"])
async def test_stop_that_fails_is_told_and_the_pod_goes_all_the_same(
    hub: Hub, audit: list[Any], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    await hub.running("alice")
    setattr(hub, what, RuntimeError("a proxy that is away"))
    hub.plugin.take("alice")
    await until(lambda: audit)
    assert not hub.pods.there
    assert hub.stopped == ["alice"]
    assert "could not be stopped" in caplog.text
    assert "a proxy that is away" in caplog.text


async def test_pod_that_cannot_be_deleted_is_tried_again(
    hub: Hub, audit: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.running("alice")
    hub.stop_failure = RuntimeError("no answer")
    delete, tries = hub.pods.delete_namespaced_pod, 0

    async def refuse(*args: Any, **options: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ApiException(status=500)
        await delete(*args, **options)

    monkeypatch.setattr(hub.pods, "delete_namespaced_pod", refuse)
    hub.plugin.take("alice")
    await until(lambda: audit)
    assert not hub.pods.there


async def test_server_that_is_started_while_the_old_one_goes_is_reviewed_as_well(
    hub: Hub, audit: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1: a hub may start the next server of a spawner while the pod of the last one is still going."""
    alice = await hub.running("alice")
    gone = asyncio.Event()

    async def remove_pod(_uid: str | None, _patience: float) -> None:
        await gone.wait()

    monkeypatch.setattr(alice, "remove_pod", remove_pod)
    hub.plugin.take("alice")
    await until(lambda: hub.stopped)
    hub.plugin.granted.clear()
    await alice.start()
    alice.start_polling()
    gone.set()
    await until(lambda: audit)
    before = len(hub.plugin.reviewed)
    hub.plugin.context.changed(usernames=["alice"])
    await until(lambda: len(hub.plugin.reviewed) > before)


async def test_many_at_once_are_reviewed_side_by_side_and_bounded(hub: Hub) -> None:
    at_once = most = 0
    ask = hub.plugin.list_workspaces

    async def slow(user: User) -> Sequence[Workspace]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return await ask(user)

    people = [f"person-{number}" for number in range(60)]
    for name in people:
        await hub.running(name)
    hub.plugin.list_workspaces = slow  # type: ignore[method-assign]
    hub.plugin.context.changed()
    await until(lambda: sorted(hub.plugin.reviewed) == sorted(people))
    assert 1 < most <= sessions.AT_ONCE


async def test_those_that_are_tried_again_and_again_keep_nobody_waiting(hub: Hub) -> None:
    """E1: a revocation is seen in time while many others have no answer."""
    people = [f"person-{number}" for number in range(3 * sessions.AT_ONCE)]
    for name in [*people, "alice"]:
        await hub.running(name)

    async def away(user: User) -> Sequence[Workspace]:
        if user.name == "alice":
            return ()
        await asyncio.sleep(2 * sessions.RETRY_SECONDS)
        raise BackendUnavailable("away")

    hub.plugin.list_workspaces = away  # type: ignore[method-assign]
    hub.plugin.context.changed()
    await until(lambda: hub.stopped == ["alice"])
    assert set(people) <= set(hub.plugin.reviewed), "they had waited as long"


async def test_change_that_comes_during_a_review_is_reviewed_again(hub: Hub) -> None:
    """E1: what the review has asked before is old by then."""
    await hub.running("alice")
    ask = hub.plugin.list_workspaces
    asked: list[str] = []

    async def then_changed(user: User) -> Sequence[Workspace]:
        asked.append(user.name)
        answer = await ask(user)
        if len(asked) == 1:
            hub.plugin.take("alice")
        return answer

    hub.plugin.list_workspaces = then_changed  # type: ignore[method-assign]
    hub.plugin.context.changed()
    await until(lambda: hub.stopped == ["alice"])
    assert len(asked) >= 2


class Shares:
    """The shares of one server, as the hub's database has them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *shares: Any) -> None:
        self.shares = list(shares)
        monkeypatch.setattr(sharing, "of", lambda _spawner: [*self.shares])
        monkeypatch.setattr(sharing, "_Share", self)

    def revoke(self, _db: Any, _spawner: Any, whom: Any) -> None:
        self.shares = [share for share in self.shares if whom not in (share.user, share.group)]

    @property
    def names(self) -> list[str]:
        return [(share.user or share.group).name for share in self.shares]


def member(name: str) -> Any:
    return SimpleNamespace(kind="user", name=name)


def with_user(name: str) -> Any:
    return SimpleNamespace(user=member(name), group=None)


def with_group(name: str, *members: str) -> Any:
    group = SimpleNamespace(kind="group", name=name, users=[member(each) for each in members])
    return SimpleNamespace(user=None, group=group)


async def shared(hub: Hub, monkeypatch: pytest.MonkeyPatch, *made: Any) -> Shares:
    """A server of alice's, shared as it starts."""
    everybody = SimpleNamespace(authenticator=spawners.Authenticator())
    alice = hub.spawner("alice", profile="cardio")
    alice.user.settings["users"] = Users(everybody)
    # Without a hub's database a spawner has none.
    monkeypatch.setattr(type(alice), "db", None, raising=False)
    shares = Shares(monkeypatch, *made)
    await alice.start()
    return shares


class Users(dict[Any, Any]):
    """The hub's users, by what its database has of them."""

    def __init__(self, one: Any) -> None:
        super().__init__()
        self.one = one

    def __getitem__(self, key: Any) -> Any:
        return SimpleNamespace(name=key.name, authenticator=self.one.authenticator)


async def test_e7_share_is_taken_from_those_who_may_not_open_the_workspace(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.plugin.granted["stranger"] = ()
    made = with_user("bob"), with_user("stranger"), with_group("all", "bob", "stranger"), with_group("few", "bob")
    shares = await shared(hub, monkeypatch, *made, with_group("nobody"))
    await until(lambda: shares.names == ["bob", "few", "nobody"])
    hub.plugin.take("bob")
    await until(lambda: shares.names == ["nobody"])
    assert hub.stopped == []


async def test_e7_share_of_which_nothing_is_certain_is_looked_at_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E4: and left until then."""
    ask = hub.plugin.list_workspaces
    away = True

    async def uncertain(user: User) -> Sequence[Workspace]:
        if away and user.name == "bob":
            raise BackendUnavailable("not for bob")
        return await ask(user)

    hub.plugin.list_workspaces = uncertain  # type: ignore[method-assign]
    hub.plugin.granted["bob"] = ()
    shares = await shared(hub, monkeypatch, with_user("bob"))
    await until(lambda: hub.plugin.reviewed.count("bob") >= 3)
    assert shares.names == ["bob"]
    away = False
    await until(lambda: shares.names == [])


def outlook(**changes: Any) -> Outlook:
    facts: dict[str, Any] = {
        "now": datetime(2026, 6, 15, 14, 30, tzinfo=UTC),
        "end": datetime(2026, 6, 17, tzinfo=UTC),
        "last_day": date(2026, 6, 16),
        "pod_ends": date(2026, 6, 16),
        "outdated": False,
        "uncertain_seconds": None,
        "uncertain_limit": 12 * 3600.0,
    }
    return Outlook(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({}, None, id="tomorrow"),
        pytest.param({"now": datetime(2026, 6, 16, 0, 0, 1, tzinfo=UTC)}, "in 23 hours", id="a-day"),
        pytest.param({"now": datetime(2026, 6, 16, 22, 30, tzinfo=UTC)}, "in 90 minutes", id="minutes"),
        pytest.param({"now": datetime(2026, 6, 16, 23, 59, 30, tzinfo=UTC)}, "in 1 minute.", id="a-minute"),
        pytest.param({"now": datetime(2026, 6, 17, 1, tzinfo=UTC)}, "in 1 minute.", id="over"),
        pytest.param({"pod_ends": date(2026, 6, 15)}, "ends with 15 June 2026", id="extended"),
        pytest.param({"pod_ends": date(2026, 6, 20)}, None, id="shortened"),
        pytest.param({"pod_ends": None}, None, id="not-known"),
        pytest.param({"outdated": True}, "was changed", id="outdated"),
        pytest.param({"uncertain_seconds": 60.0}, None, id="uncertain-for-a-minute"),
        pytest.param({"uncertain_seconds": 7200.0}, "stopped in 10 hours", id="uncertain-for-hours"),
    ],
)
def test_e2_person_is_told_what_lies_ahead(changes: dict[str, Any], words: str | None) -> None:
    warnings = outlook(**changes).warnings
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


def test_e2_uncertain_access_without_a_limit_threatens_nothing() -> None:
    (warning,) = outlook(uncertain_seconds=7200.0, uncertain_limit=float("inf")).warnings
    assert "stopped" not in warning


async def test_e6_server_is_reviewed_before_the_claims_of_its_user_are_too_old(hub: Hub) -> None:
    """By what the identity provider says then."""
    kept: list[float] = []

    class Provider:
        async def keep(self, _user: Any, limit: float) -> float:
            kept.append(limit)
            if len(kept) == 3:
                hub.plugin.granted["alice"] = ()
            return 0.02

        async def refresh(self, *_: Any, **__: Any) -> None: ...

    hub.service.refresher = Provider()
    await hub.running("alice")
    hub.plugin.context.changed(usernames=["alice"])
    await until(lambda: hub.stopped == ["alice"])
    assert kept == [24 * 3600.0] * 3
