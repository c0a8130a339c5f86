"""The lscsde plugin against the embedded Kubernetes API: what it answers, what it asks, and when it refuses."""

from __future__ import annotations

import ast
import asyncio
import copy
import importlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import workspace_manager_lscsde
from tests.factories import home, start
from workspace_manager_lscsde import LscsdeWorkspaceManager, recent
from workspace_manager_lscsde.compat import WORKSPACES as WORKSPACE_KIND
from workspace_manager_lscsde.resources import Binding
from workspace_managers import (
    HOME,
    AccessDenied,
    ApiError,
    BackendUnavailable,
    Context,
    IncompleteAnswer,
    Settings,
    StorageRefused,
    User,
    Workspace,
    engine,
)
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.explain import Explanation, explain
from workspace_managers.kube import client
from workspace_managers.kube.client import Kube
from workspace_managers.loglimit import LINES_PER_SUBJECT
from workspace_managers.timeouts import Timeouts

NAMESPACE = "jupyterhub"
GROUP = "xlscsde.nhs.uk"
WORKSPACES = "analyticsworkspaces"
BINDINGS = "analyticsworkspacebindings"
ALICE = User.identify("alice")
LOG = "test.lscsde"


@dataclass
class World:
    """A hub's namespace, the plugin in it, and a clock to turn."""

    api: EmbeddedApi
    kube: Kube
    now: datetime = datetime(2026, 6, 15, 12, tzinfo=UTC)
    manager: LscsdeWorkspaceManager = field(init=False)

    def __post_init__(self) -> None:
        self.configure()

    def configure(self, **environ: str) -> None:
        """A plugin of a hub with these variables, none of which has asked anything yet."""
        settings = Settings.from_environ({"POD_NAMESPACE": NAMESPACE, **environ})
        context = Context(settings=settings, kube=self.kube, log=logging.getLogger(LOG), clock=lambda: self.now)
        self.manager = LscsdeWorkspaceManager(context)

    def put(self, plural: str, name: str, spec: dict[str, Any], **more: Any) -> None:
        """Create an object, or put it in the place of the one that is there."""
        kind = self.api.store.kind(GROUP, plural)
        version = f"{GROUP}/v1"
        body = {"apiVersion": version, "kind": kind.name, "metadata": {"name": name} | more.pop("metadata", {})}
        body |= {"spec": spec, **more}
        if any(each.object["metadata"]["name"] == name for each in self.api.store.list(kind, NAMESPACE)):
            self.api.store.replace(kind, NAMESPACE, name, body)
            return
        self.api.store.create(kind, NAMESPACE, copy.deepcopy(body))  # the store makes what it is given its own
        if "status" in more:
            self.api.store.replace(kind, NAMESPACE, name, body, status=True)

    def workspace(self, name: str, status: dict[str, Any] | None = None, **changes: Any) -> None:
        spec: dict[str, Any] = {
            "displayName": name.title(),
            "description": "A study",
            "validity": {"availableFrom": "2026-01-01", "expires": "2026-12-31"},
            "jupyterWorkspace": {"image": "example/notebook:1.0"},
        }
        spec |= changes
        self.put(WORKSPACES, name, spec, **({"status": status} if status else {}))

    def binding(self, name: str, workspace: str = "cardio", **changes: Any) -> None:
        spec = {"workspace": workspace, "username": "alice", "expires": "2026-12-31"} | changes
        spec = {key: value for key, value in spec.items() if value is not None}
        self.put(BINDINGS, name, spec)

    def delete(self, plural: str, name: str) -> None:
        self.api.store.delete(self.api.store.kind(GROUP, plural), NAMESPACE, name, {})

    def status(self, name: str) -> Any:
        return self.api.store.get(self.api.store.kind(GROUP, WORKSPACES), NAMESPACE, name).object.get("status")

    def deafen(self) -> None:
        """From here on no watch hears of a change, so that the caches know only what was."""
        self.api.store.listeners.clear()

    async def names(self, user: User = ALICE) -> list[str]:
        return sorted(grant.name for grant in await self.manager.list_workspaces(user))

    async def eventually(self, expected: list[str], user: User = ALICE) -> None:
        async with asyncio.timeout(20):
            while await self.names(user) != expected:  # noqa: ASYNC110 - the cache tells nobody when it changes
                await asyncio.sleep(0.01)

    def asked_since(self, count: int) -> list[str]:
        """Requests since there were ``count``, without the watches that were open already."""
        return [f"{each.method} {each.path.partition(NAMESPACE + '/')[2]}" for each in self.api.requests[count:]]


SHORT = Timeouts(patience=0.3, pause=(0.02, 0.1), wake=0.05)


@pytest.fixture(autouse=True)
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TRIES", 1)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    api = EmbeddedApi(namespaces=(NAMESPACE,))
    await api.start()
    kube = Kube(NAMESPACE, api.kubeconfig(NAMESPACE), timeouts=SHORT)
    made = World(api, kube)
    yield made
    await made.manager.close()
    await kube.close()
    await api.stop()


async def warm(world: World) -> None:
    """Both collections listed and watched."""
    await world.manager.start()
    await world.names()
    async with asyncio.timeout(20):
        while world.manager._bindings.age or world.manager._workspaces.age:  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.01)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the plugin itself told the log, without the watches' faults."""
    messages = [record.getMessage() for record in caplog.records if record.name == LOG]
    return sorted(message for message in messages if "watched" not in message)


def test_making_the_plugin_asks_for_nothing() -> None:
    """L3: no loop, no connection, no API that could answer."""
    kube = Kube(NAMESPACE, {"a": "configuration that could not be used"})
    settings = Settings.from_environ({"POD_NAMESPACE": NAMESPACE})
    LscsdeWorkspaceManager(Context(settings=settings, kube=kube, log=logging.getLogger(LOG)))


# The form


async def test_warm_form_makes_no_request(world: World) -> None:
    """Issue part 2: the form is answered from memory, for users with and without workspaces."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    before = len(world.api.requests)
    for user in (ALICE, User.identify("mallory"), User.identify("cardio\\alice")):
        await world.manager.build_form(user)
    assert world.asked_since(before) == []


async def test_grants_of_every_state_are_told(world: World) -> None:
    """F2: expired and future ones too, each binding as a grant of its own, with its own end."""
    world.workspace("cardio")
    world.workspace("closed", validity={"availableFrom": "2025-01-01", "expires": "2025-12-31"})
    world.workspace("next", validity={"availableFrom": "2027-01-01", "expires": "2027-12-31"})
    world.binding("old", expires="2026-02-01")
    world.binding("new", expires="2026-11-30")
    world.binding("three", "closed")
    world.binding("four", "next")
    grants = await world.manager.list_workspaces(ALICE)
    assert sorted((grant.name, grant.grant_last_day) for grant in grants) == [
        ("cardio", date(2026, 1, 31)),
        ("cardio", date(2026, 11, 29)),
        ("closed", date(2026, 12, 30)),
        ("next", date(2026, 12, 30)),
    ]


async def test_unknown_user_has_none(world: World) -> None:
    """A2."""
    world.workspace("cardio")
    world.binding("one")
    for identity in ("mallory", "", "cardio\\", "\\alice\\"):
        assert await world.names(User.identify(identity)) == []


async def test_look_alikes_that_share_a_label_see_only_their_own(world: World) -> None:
    """A2: three users, one label value."""
    for index, name in enumerate(("john-smith@x", "john_smith@x", "john@smith@x")):
        world.workspace(f"study-{index}")
        spec = {"workspace": f"study-{index}", "username": name, "expires": "2026-12-31"}
        world.put(BINDINGS, f"b{index}", spec, metadata={"labels": {f"{GROUP}/username": "john___smith___x"}})
    for index, name in enumerate(("john-smith@x", "john_smith@x", "John@Smith@X")):
        assert await world.names(User.identify(name)) == [f"study-{index}"]


async def test_scoped_session_sees_its_workspace_only(world: World) -> None:
    r"""A2: ``workspace\user``, the scope in any case."""
    for name in ("cardio", "hip"):
        world.workspace(name)
        world.binding(f"b-{name}", name)
    assert await world.names(User.identify("HIP\\Alice")) == ["hip"]
    assert await world.names(User.identify("other\\alice")) == []
    before = len(world.api.requests)
    with pytest.raises(AccessDenied):
        await world.manager.confirm(User.identify("hip\\alice"), "cardio")
    assert "GET" not in " ".join(each for each in world.asked_since(before) if each.endswith("cardio"))


async def test_bindings_by_claims(world: World) -> None:
    """A2, issue part 3: with and without a username beside the claims."""
    rules = [{"name": "groups", "operator": "IN", "value": "cardio, hip"}]
    for name in ("all", "both", "none"):
        world.workspace(name)
    world.binding("one", "all", username=None, claims=rules)
    world.binding("two", "both", claims=rules)
    world.binding(
        "three", "none", username=None, claims=[*rules, {"name": "x", "operator": "NOT EQUALS", "value": "y"}]
    )
    member = {"groups": ["hip"]}
    assert await world.names(User.identify("alice", member)) == ["all", "both"]
    assert await world.names(User.identify("bob", member)) == ["all"]
    assert await world.names(User.identify("bob", {"groups": ["x"]})) == []
    assert await world.names(User.identify("alice")) == []
    assert (await world.manager.confirm(User.identify("bob", member), "all")).name == "all"
    with pytest.raises(AccessDenied):
        await world.manager.confirm(User.identify("bob", member), "both")


async def test_only_bindings_with_a_claim_in_common_are_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form takes no longer for the bindings of other groups, in whatever order their rules are."""
    world.workspace("cardio")
    not_guest = {"name": "grade", "operator": "NOT EQUALS", "value": "guest"}
    for index in range(20):
        group = {"name": "groups", "operator": "IN", "value": f"g{index}, h{index}"}
        world.binding(f"in-{index}", username=None, claims=[not_guest, group])
    world.binding("not", username=None, claims=[not_guest])
    await warm(world)
    tried: list[str] = []
    grants = Binding.grants

    def noted(self: Binding, user: User) -> bool:
        tried.append(self.name)
        return grants(self, user)

    monkeypatch.setattr(Binding, "grants", noted)
    user = User.identify("bob", {"groups": ["g3", "h3", "h17", "other"], "grade": "staff"})
    assert await world.names(user) == ["cardio"] * 3
    assert sorted(tried) == ["in-17", "in-3", "not"]
    assert await world.names(User.identify("bob", {"groups": "g3"})) == []
    assert await world.names(User.identify("groups=g3")) == []


async def test_broken_resources_hide_nothing_and_are_warned_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F3: one warning for each version, however many questions; a workspace that is not for Jupyter has none."""
    world.workspace("cardio")
    world.workspace("broken", jupyterWorkspace={"image": "x", "nodeSelector": {"gpu": True}, "extraLabels": {}})
    world.put(
        WORKSPACES,
        "machines",
        {
            "displayName": "x",
            "description": "",
            "validity": {"availableFrom": "2026-01-01", "expires": "2026-12-31"},
            "virtualMachineWorkspace": {"maxHosts": "50%"},
        },
    )
    world.binding("sound")
    world.binding("to-broken", "broken")
    world.binding("to-machines", "machines")
    world.binding("to-nothing", "gone")
    world.binding("without-value", claims=[{"name": "a", "operator": "IN"}])
    with caplog.at_level(logging.WARNING, LOG):
        await warm(world)
        for _ in range(3):
            assert await world.names() == ["cardio"]
    assert told(caplog) == [
        "The binding 'without-value' is set aside: spec.claims: the item for 'a' has no value",
        "The workspace 'broken' is set aside: spec.jupyterWorkspace.nodeSelector: 'gpu': True; accepted: text "
        "keys with text values",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, LOG):
        world.workspace("broken", jupyterWorkspace={"image": "x", "defaultUri": "//lab"})
        world.workspace("added")
        world.binding("to-added", "added")
        await world.eventually(["added", "cardio"])
    assert told(caplog) == [
        "The workspace 'broken' is set aside: spec.jupyterWorkspace.defaultUri: '//lab'; accepted: a path on the "
        "user's server such as /lab, with a single / first, without blanks, \\ or ..",
    ]
    world.workspace("broken")
    await world.eventually(["added", "broken", "cardio"])


async def test_new_list_repeats_no_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """F3: what was warned of in this version is not warned of again."""
    world.workspace("broken", jupyterWorkspace={"image": "x", "defaultUri": "//lab"})
    world.binding("blank", username=" ")
    world.binding("to-nothing", "gone")
    with caplog.at_level(logging.INFO, LOG):
        await warm(world)
    assert told(caplog) == [
        "The binding 'blank' is set aside: spec.username is empty",
        "The binding 'to-nothing' is set aside: its workspace 'gone' does not exist",
        "The workspace 'broken' is set aside: spec.jupyterWorkspace.defaultUri: '//lab'; accepted: a path on the "
        "user's server such as /lab, with a single / first, without blanks, \\ or ..",
    ]
    caplog.clear()
    world.deafen()
    world.workspace("later")
    with caplog.at_level(logging.INFO, LOG):
        world.api.compact()
        world.api.drop_watches()
        async with asyncio.timeout(20):
            while len([each for each in world.api.requests if "sendInitialEvents" in each.query]) < 4:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await warm(world)
        assert await world.names() == []
    assert told(caplog) == []


async def test_resource_that_is_rewritten_without_end_floods_no_log_and_hides_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F3: broken in each version anew, or broken and mended by turns."""
    await warm(world)
    with caplog.at_level(logging.WARNING, LOG):
        for number in range(50):
            world.workspace("broken", jupyterWorkspace={"image": "x", "defaultUri": f"//host{number}"})
            world.binding("broken", username=" " if number % 2 else "alice")
        world.workspace("other", jupyterWorkspace={"image": "x", "defaultUri": "//host"})
        world.binding("last", "cardio")
        world.workspace("cardio")
        await world.eventually(["cardio"])
    lines = told(caplog)
    assert sum("workspace 'broken'" in line for line in lines) == LINES_PER_SUBJECT
    assert sum("binding 'broken'" in line for line in lines) == LINES_PER_SUBJECT
    assert sum("workspace 'other'" in line for line in lines) == 1


async def test_changes_are_seen_without_a_list(world: World) -> None:
    """A3: a binding that is added, moved or taken away."""
    for name in ("cardio", "hip"):
        world.workspace(name)
    await warm(world)
    assert await world.names() == []
    world.binding("one")
    await world.eventually(["cardio"])
    world.binding("one", "hip")
    await world.eventually(["hip"])
    world.binding("one", username="bob")
    await world.eventually([])
    await world.eventually(["cardio"], User.identify("bob"))
    world.delete(BINDINGS, "one")
    await world.eventually([], User.identify("bob"))


@pytest.mark.parametrize("broken", ["gone", 500, 403])
async def test_cold_form_without_an_answer_is_unavailable(
    world: World, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: never "no workspaces"."""
    world.workspace("cardio")
    world.binding("one")
    if broken == "gone":
        await world.api.stop()
    else:
        world.api.fault = answer_with(broken)
    world.kube.timeouts = replace(SHORT, first_list=0.5)
    with pytest.raises(BackendUnavailable) as error:
        await world.manager.list_workspaces(ALICE)
    assert "is not listed yet" in str(error.value)


async def test_closed_plugin_answers_nobody(world: World) -> None:
    """A4."""
    await warm(world)
    await world.manager.close()
    with pytest.raises(BackendUnavailable):
        await world.manager.list_workspaces(ALICE)
    with pytest.raises(BackendUnavailable):
        await world.manager.confirm(ALICE, "cardio")


# While a cache is behind


async def fall_behind(world: World, *, named: Any = None) -> None:
    """Neither cache can list or watch any more; what is asked for by name is answered, or goes to ``named``."""
    await warm(world)

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith((f"/{WORKSPACES}", f"/{BINDINGS}")):
            return await answer_with(503)(request)
        return None if named is None else await named(request)

    world.api.fault = fault
    world.deafen()
    world.kube.timeouts = replace(world.kube.timeouts, silence=0.1, grace=0.1)
    await asyncio.sleep(0.2)


async def test_form_while_a_cache_is_behind_has_what_the_api_server_confirms(world: World) -> None:
    """A4: each candidate is read anew, its workspace too; that there is no more is not said."""
    for name in ("cardio", "asthma", "stroke", "bone"):
        world.workspace(name)
        world.binding(f"mine-{name}", name)
    world.binding("bobs", "stroke", username="bob")
    await fall_behind(world)
    world.delete(BINDINGS, "mine-asthma")
    world.binding("mine-stroke", "stroke", username="bob")
    world.delete(WORKSPACES, "bone")
    world.workspace("cardio", displayName="Heart")
    with pytest.raises(IncompleteAnswer) as answer:
        await world.manager.list_workspaces(ALICE)
    assert [(grant.name, grant.display_name) for grant in answer.value.found] == [("cardio", "Heart")]
    form = await world.manager.build_form(ALICE)
    assert ([card.slug for card in form.cards], form.incomplete) == (["cardio"], True)


async def test_form_while_a_cache_is_behind_never_says_that_there_is_nothing(world: World) -> None:
    """A4: neither of somebody whose candidates are gone, nor of somebody who never had one."""
    world.workspace("cardio")
    world.binding("mine")
    await fall_behind(world)
    world.delete(BINDINGS, "mine")
    for user in (ALICE, User.identify("bob")):
        with pytest.raises(BackendUnavailable):
            await world.manager.build_form(user)


async def test_start_while_a_cache_is_behind_rests_on_what_is_confirmed(world: World) -> None:
    """A3, A4: a candidate that the API server confirms is certain; that there is no other grant is not."""
    for name in ("cardio", "asthma", "unbound"):
        world.workspace(name)
        world.binding(f"mine-{name}", name)
    await fall_behind(world)
    world.delete(BINDINGS, "mine-asthma")
    assert (await start(world.manager, ALICE, "cardio"))["spec"]["volumes"]
    world.workspace("unbound", jupyterWorkspace={"image": "x", "persistentVolumeClaim": {"name": "-"}})
    with pytest.raises(StorageRefused):
        await world.manager.confirm(ALICE, "unbound")
    for name in ("asthma", "unknown"):
        with pytest.raises(BackendUnavailable, match="of those known last"):
            await world.manager.confirm(ALICE, name)


async def test_review_needs_no_cache(world: World) -> None:
    """E1, E4: the API server itself is asked for every binding before a server is stopped."""
    for name in ("cardio", "asthma"):
        world.workspace(name)
        world.binding(f"mine-{name}", name)
    await fall_behind(world)
    world.delete(BINDINGS, "mine-asthma")
    assert (await engine.review(world.manager, ALICE, "cardio")).answer is engine.Answer.GOES_ON
    assert (await engine.review(world.manager, ALICE, "asthma")).answer is engine.Answer.UNCERTAIN

    async def no_watch(request: web.Request) -> web.StreamResponse | None:
        return await answer_with(503)(request) if "watch" in request.query else None

    world.api.fault = no_watch
    assert (await engine.review(world.manager, ALICE, "asthma")).answer is engine.Answer.ENDED


async def test_form_while_nothing_answers_takes_bounded_time(world: World) -> None:
    """A4: the one candidate that is answered in time is shown."""
    for name in ("cardio", "asthma"):
        world.workspace(name)
        world.binding(f"mine-{name}", name)

    async def one_hangs(request: web.Request) -> None:
        if request.path.endswith("asthma"):
            await hang(request)

    world.kube.timeouts = replace(SHORT, request=0.5)
    await fall_behind(world, named=one_hangs)
    async with asyncio.timeout(20):
        assert [card.slug for card in (await world.manager.build_form(ALICE)).cards] == ["cardio"]


async def test_crowd_behind_a_cache_reads_what_it_shares_once(world: World) -> None:
    """A thousand people in one study do not ask for it a thousand times, nor for the binding that lets them all in."""
    world.workspace("cardio")
    world.binding("everybody", username=None, claims=[{"name": "groups", "operator": "IN", "value": "study"}])
    most, now = 0, 0

    async def count(_: web.Request) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    await fall_behind(world, named=count)
    world.kube.timeouts = replace(world.kube.timeouts, patience=0.0)
    world.manager._recent._seconds = 60.0
    before = len(world.api.requests)
    people = [User.identify(f"user{index}", {"groups": ["study"]}) for index in range(200)]
    forms = await asyncio.gather(*map(world.manager.build_form, people))
    assert {tuple(card.slug for card in form.cards) for form in forms} == {("cardio",)}
    named = [each for each in world.asked_since(before) if each.count("/")]
    assert len(named) <= 2 * recent.AT_ONCE
    assert most <= recent.AT_ONCE


async def test_what_was_read_recently_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT", 2)
    read = recent.Recent(world.manager._read, 60.0)
    for name in ("cardio", "asthma", "stroke"):
        assert await read.get(WORKSPACE_KIND, name) is None
    world.workspace("cardio")
    world.workspace("stroke")
    assert await read.get(WORKSPACE_KIND, "cardio") is not None, "the oldest was forgotten"
    assert await read.get(WORKSPACE_KIND, "stroke") is None, "a moment ago there was none"


# The start


async def test_confirm_asks_the_api_server_twice(world: World) -> None:
    """A3: the binding and the workspace, uncached, and nothing else."""
    world.workspace("cardio")
    world.binding("one")
    world.binding("bobs", username="bob")
    await warm(world)
    before = len(world.api.requests)
    grant = await world.manager.confirm(ALICE, "cardio")
    assert (grant.name, grant.grant_last_day) == ("cardio", date(2026, 12, 30))
    assert sorted(world.asked_since(before)) == [f"GET {BINDINGS}/one", f"GET {WORKSPACES}/cardio"]


async def test_confirm_reads_side_by_side(world: World) -> None:
    """One round trip: the second request comes before the first is answered."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    waiting: list[str] = []
    both = asyncio.Event()

    async def hold(request: web.Request) -> None:
        waiting.append(request.path)
        if len(waiting) == 2:
            both.set()
        async with asyncio.timeout(20):
            await both.wait()

    world.api.fault = hold
    await world.manager.confirm(ALICE, "cardio")
    assert len(waiting) == 2


async def test_confirm_leaves_nothing_running_behind_a_failure(world: World) -> None:
    """A4: the slower read has ended before the faster one's failure is raised."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    ended: list[str] = []

    async def one_fails(request: web.Request) -> web.StreamResponse | None:
        if f"/{WORKSPACES}/" in request.path:
            return await answer_with(403)(request)
        await asyncio.sleep(0.2)
        ended.append(BINDINGS)
        return None

    world.api.fault = one_fails
    with pytest.raises(BackendUnavailable, match="403"):
        await world.manager.confirm(ALICE, "cardio")
    assert ended == [BINDINGS]


@pytest.mark.parametrize("name", ["cardio", "bobs", "unknown", "../cardio", "x" * 300])
async def test_confirm_of_what_is_not_the_users_asks_for_nothing(world: World, name: str) -> None:
    """A3, A4: denied, and the denial is the same for a foreign and for an unknown workspace."""
    world.workspace("cardio")
    world.workspace("bobs")
    world.binding("one", "bobs", username="bob")
    await warm(world)
    before = len(world.api.requests)
    with pytest.raises(AccessDenied) as error:
        await world.manager.confirm(ALICE, name)
    assert error.value.user_message == AccessDenied.default_user_message
    assert world.asked_since(before) == []


CHANGES: list[Any] = [
    pytest.param(lambda world: world.delete(BINDINGS, "one"), id="binding-deleted"),
    pytest.param(lambda world: world.binding("one", username="bob"), id="binding-of-another-user"),
    pytest.param(lambda world: world.binding("one", "hip"), id="binding-for-another-workspace"),
    pytest.param(lambda world: world.binding("one", expires="2026-06-15"), id="binding-expires-today"),
    pytest.param(
        lambda world: world.binding("one", claims=[{"name": "a", "operator": "EQUALS", "value": "b"}]),
        id="binding-with-a-condition",
    ),
    pytest.param(lambda world: world.binding("one", claims=[{"name": "a"}]), id="binding-broken"),
    pytest.param(lambda world: world.delete(WORKSPACES, "cardio"), id="workspace-deleted"),
    pytest.param(
        lambda world: world.workspace("cardio", validity={"availableFrom": "2026-01-01", "expires": "2026-06-15"}),
        id="workspace-expired",
    ),
    pytest.param(
        lambda world: world.workspace("cardio", validity={"availableFrom": "2026-06-16", "expires": "2026-12-31"}),
        id="workspace-moved-to-later",
    ),
    pytest.param(
        lambda world: world.workspace("cardio", jupyterWorkspace={"image": "x", "defaultUri": "//evil"}),
        id="workspace-broken",
    ),
    pytest.param(
        lambda world: world.workspace(
            "cardio",
            jupyterWorkspace={"image": "x", "additionalStorage": [{"persistentVolumeClaim": "a", "mountPath": "/etc"}]},
        ),
        id="workspace-with-bad-storage",
    ),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_change_between_form_and_start_is_refused(world: World, change: Callable[[World], None]) -> None:
    """A3: also when the cache has not heard of it. No claim is made."""
    world.workspace("cardio")
    world.workspace("hip")
    world.binding("one")
    await warm(world)
    assert await world.names() == ["cardio"]
    world.deafen()
    change(world)
    assert await world.names() == ["cardio"], "the cache should not know"
    with pytest.raises(AccessDenied):
        await world.manager.confirm(ALICE, "cardio")
    with pytest.raises(AccessDenied):
        await start(world.manager, ALICE, "cardio")
    assert world.api.store.list(world.api.store.kind("", "persistentvolumeclaims"), NAMESPACE) == []


async def test_bad_storage_is_told_apart_from_no_access(world: World) -> None:
    """A4, S2: the user reads that it is the storage."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    world.deafen()
    world.workspace("cardio", jupyterWorkspace={"image": "x", "persistentVolumeClaim": {"name": "jupyter-shared"}})
    with pytest.raises(StorageRefused, match="names the shared claim"):
        await world.manager.confirm(ALICE, "cardio")


@pytest.mark.parametrize("day", [29, 30])
async def test_clock_is_read_at_the_start(world: World, day: int) -> None:
    """A1, A3: the last day passes between form and start; on the day on which it expires, it is over."""
    world.workspace("cardio")
    world.binding("one", expires="2026-08-30")
    await warm(world)
    world.now = datetime(2026, 8, day, 23, 59, tzinfo=UTC)
    if day == 29:
        assert (await world.manager.confirm(ALICE, "cardio")).name == "cardio"
        return
    with pytest.raises(AccessDenied, match="today is 2026-08-30"):
        await world.manager.confirm(ALICE, "cardio")


async def test_longest_of_many_grants_counts(world: World) -> None:
    """A1: the one that lasts longest is asked for first; where it is gone, the others still count."""
    world.workspace("cardio")
    for index in range(9):
        world.binding(f"b{index}", expires=f"2026-07-{10 + index}")
    await warm(world)
    before = len(world.api.requests)
    assert (await world.manager.confirm(ALICE, "cardio")).grant_last_day == date(2026, 7, 17)
    assert len(world.asked_since(before)) == 5
    world.deafen()
    for index in range(1, 9):
        world.binding(f"b{index}", expires="2026-06-01")
    before = len(world.api.requests)
    assert (await world.manager.confirm(ALICE, "cardio")).grant_last_day == date(2026, 7, 9)
    assert len(world.asked_since(before)) == 10
    world.delete(BINDINGS, "b0")
    with pytest.raises(AccessDenied):
        await world.manager.confirm(ALICE, "cardio")


def answer_with(status: int, text: str = "{}") -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type="application/json")

    return answer


async def hang(_: web.Request) -> None:
    await asyncio.sleep(60)


FAULTS: list[Any] = [
    *(pytest.param(answer_with(status), id=str(status)) for status in (400, 401, 403, 409, 429, 500, 502, 503, 504)),
    pytest.param(answer_with(200, "<html>"), id="a-page"),
    pytest.param(answer_with(200, "[]"), id="a-list"),
    pytest.param(answer_with(200, "null"), id="null"),
    pytest.param(hang, id="hangs"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("of", [WORKSPACES, BINDINGS])
async def test_no_certain_answer_at_the_start_is_unavailable(
    world: World, of: str, fault: Callable[[web.Request], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: denied and unavailable are different answers, and both refuse."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    if fault is hang:
        world.kube.timeouts = replace(SHORT, request=1.0)  # the sound request beside it needs a part of it

    async def only_this(request: web.Request) -> web.StreamResponse | None:
        answer: web.StreamResponse | None = await fault(request) if f"/{of}/" in request.path else None
        return answer

    world.api.fault = only_this
    with pytest.raises(BackendUnavailable) as error:
        await start(world.manager, ALICE, "cardio")
    assert {WORKSPACES: "workspace", BINDINGS: "binding"}[of] in str(error.value)
    assert world.api.store.list(world.api.store.kind("", "persistentvolumeclaims"), NAMESPACE) == []


async def test_api_server_that_is_gone_at_the_start_is_unavailable(world: World) -> None:
    """A4."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    await world.api.stop()
    with pytest.raises(BackendUnavailable):
        await start(world.manager, ALICE, "cardio")


# Storage


CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"


async def put_claim(world: World, name: str, **metadata: Any) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, **metadata}, "spec": spec}
    await world.kube.create(CLAIMS, body)


async def owner(world: World, name: str) -> str | None:
    annotations = (await world.kube.get(f"{CLAIMS}/{name}"))["metadata"].get("annotations") or {}
    found: str | None = annotations.get("workspace-managers/owner")
    return found


def naming_claim(name: str) -> dict[str, Any]:
    return {"jupyterWorkspace": {"image": "x", "persistentVolumeClaim": {"name": name}}}


async def mounted_in_the_folder(world: World, name: str = "cardio") -> str:
    """The claim that a start mounts in the workspace's folder."""
    spec = (await start(world.manager, ALICE, name))["spec"]
    claims = {each["name"]: (each.get("persistentVolumeClaim") or {}).get("claimName") for each in spec["volumes"]}
    mounts = spec["containers"][0]["volumeMounts"]
    return next(str(claims[each["name"]]) for each in mounts if each["mountPath"] == f"{HOME}/{name}")


CLAIM_OF_OTHER: list[Any] = [
    pytest.param({"jupyterWorkspace": {"image": "x", "persistentVolumeClaim": {"name": "data"}}}, None, id="its-own"),
    pytest.param(
        {"jupyterWorkspace": {"image": "x", "additionalStorage": [{"persistentVolumeClaim": "data"}]}},
        None,
        id="additional",
    ),
    pytest.param({}, {"persistentVolumeClaim": "data"}, id="status"),
    pytest.param({}, {"additionalStorage": {"x": "data"}}, id="additional-of-status"),
    pytest.param(
        {"jupyterWorkspace": {"image": "x", "defaultUri": "//x", "persistentVolumeClaim": {"name": "data"}}},
        None,
        id="broken",
    ),
    pytest.param(
        {
            "jupyterWorkspace": {"image": "x", "persistentVolumeClaim": {"name": "data"}},
            "validity": {"availableFrom": "2020-01-01", "expires": "2020-12-31"},
        },
        None,
        id="expired",
    ),
]


@pytest.mark.parametrize(("spec", "status"), CLAIM_OF_OTHER)
@pytest.mark.parametrize("exists", [True, False], ids=["there", "to-be-made"])
async def test_claim_that_another_workspace_names_is_refused_though_the_watch_is_stalled(
    world: World, spec: dict[str, Any], status: dict[str, Any] | None, exists: bool
) -> None:
    """S3: whether the other one is broken, expired, or names it in its status alone; asked of the API server."""
    world.workspace("cardio", {"persistentVolumeClaim": "data"}, **naming_claim("data"))
    world.binding("one")
    await warm(world)
    world.deafen()
    world.workspace("other", status, **spec)
    assert await world.manager.naming("data") == {"cardio", "other"}
    if exists:
        await put_claim(world, "data")
    with pytest.raises(StorageRefused, match="workspace 'other' names it as well") as caught:
        await start(world.manager, ALICE, "cardio")
    assert caught.value.rule == "S3"
    if exists:
        assert await owner(world, "data") is None
    world.delete(WORKSPACES, "other")
    assert await mounted_in_the_folder(world) == "data"


async def test_every_workspace_counts_for_its_default_name(world: World) -> None:
    """S3: also where it names another claim now."""
    world.workspace("victim", **naming_claim("elsewhere"))
    world.workspace("cardio", **naming_claim("jupyter-victim"))
    world.binding("one")
    assert await world.manager.naming("jupyter-victim") == {"cardio", "victim"}
    with pytest.raises(StorageRefused, match="workspace 'victim' names it as well"):
        await start(world.manager, ALICE, "cardio")


STRANGE_CLAIMS: list[Any] = [
    pytest.param("data-db-0", {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "an application's", id="of-helm"),
    pytest.param("db", {"labels": {"app.kubernetes.io/name": "postgresql"}}, "an application's", id="database"),
    pytest.param("data-db-0", {}, "nothing but workspace 'cardio' itself", id="unmarked"),
    pytest.param(
        "old",
        {"labels": {"workspace.xlscsde.nhs.uk/workspace": "alpha"}},
        r"label workspace.xlscsde.nhs.uk/workspace says that it is 'alpha'",
        id="of-alpha-by-the-older-label",
    ),
    pytest.param("jupyter-deleted-study", {}, "default of another workspace", id="of-a-deleted-study"),
]


@pytest.mark.parametrize(("claim", "metadata", "reason"), STRANGE_CLAIMS)
@pytest.mark.parametrize("field_name", ["persistentVolumeClaim", "additionalStorage"])
async def test_claim_of_something_else_is_never_adopted(
    world: World, claim: str, metadata: dict[str, Any], reason: str, field_name: str
) -> None:
    """S3: named by one workspace, in either field."""
    wanted = {"name": claim} if field_name == "persistentVolumeClaim" else [{"persistentVolumeClaim": claim}]
    world.workspace("cardio", jupyterWorkspace={"image": "x", field_name: wanted})
    world.binding("one")
    await put_claim(world, claim, **metadata)
    with pytest.raises(StorageRefused, match=reason) as caught:
        await start(world.manager, ALICE, "cardio")
    assert caught.value.rule == "S3"
    assert await owner(world, claim) is None
    listed = await world.kube.get(CLAIMS)
    assert [each["metadata"]["name"] for each in listed["items"]] == [claim]


@pytest.mark.parametrize("claim", ["jupyter-cardio", "data"])
async def test_claim_of_the_workspace_itself_is_adopted(world: World, claim: str) -> None:
    """S3: its default, or what the status has recorded."""
    world.workspace("cardio", {"persistentVolumeClaim": claim} if claim == "data" else None)
    world.binding("one")
    await put_claim(world, claim)
    assert await mounted_in_the_folder(world) == claim
    assert await owner(world, claim) == "cardio"


async def test_adoption_without_an_answer_to_who_names_it_is_unavailable(world: World) -> None:
    """S3, A4: "nobody else names it" needs an answer."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    await put_claim(world, "jupyter-cardio")

    async def no_list(request: web.Request) -> web.StreamResponse | None:
        return await answer_with(500)(request) if request.path.endswith(f"/{WORKSPACES}") else None

    world.api.fault = no_list
    with pytest.raises(BackendUnavailable, match=WORKSPACES):
        await start(world.manager, ALICE, "cardio")
    assert await owner(world, "jupyter-cardio") is None


async def test_who_names_a_claim_is_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspace_manager_lscsde.manager.PAGE_OBJECTS", 2)
    for index in range(5):
        world.workspace(f"w{index}", **naming_claim("data"))
    before = len(world.api.requests)
    assert await world.manager.naming("data") == {f"w{index}" for index in range(5)}
    assert len(world.asked_since(before)) == 3


async def test_name_set_in_the_spec_and_taken_back_leaves_the_files_where_they_were(world: World) -> None:
    """S7: the status keeps the first claim."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    assert await mounted_in_the_folder(world) == "jupyter-cardio"
    recorded = world.status("cardio")
    world.workspace("cardio", **naming_claim("w-data"))
    assert await mounted_in_the_folder(world) == "w-data"
    assert world.status("cardio") == recorded
    world.workspace("cardio")
    assert await mounted_in_the_folder(world) == "jupyter-cardio"


async def test_workspace_made_anew_under_the_same_name_does_not_get_the_old_files(world: World) -> None:
    """S6: for somebody else."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    await start(world.manager, ALICE, "cardio")
    before = await world.kube.get(f"{CLAIMS}/jupyter-cardio")
    world.delete(WORKSPACES, "cardio")
    world.delete(BINDINGS, "one")
    world.workspace("cardio")
    world.binding("two", username="bob")
    bob = User.identify("bob")
    await world.eventually(["cardio"], bob)
    uid = (await world.manager.confirm(bob, "cardio")).uid
    with pytest.raises(StorageRefused, match=f"set its annotation workspace-managers/owner-uid to '{uid}'") as caught:
        await start(world.manager, bob, "cardio")
    assert caught.value.rule == "S6"
    assert await world.kube.get(f"{CLAIMS}/jupyter-cardio") == before


async def test_claim_named_twice_sets_the_workspace_aside_with_the_reason(world: World) -> None:
    """S2: in whatever fields, as one mistake."""
    storage = [{"persistentVolumeClaim": "jupyter-cardio"}]
    world.workspace("cardio", jupyterWorkspace={"image": "x", "additionalStorage": storage})
    assert await world.manager.problems() == [
        "workspace 'cardio': workspace 'cardio': it mounts 'jupyter-cardio' 2 times"
    ]


async def test_s8_home_is_kept_where_the_operator_says_so(world: World) -> None:
    """S8: in each workspace, for each of its people, as the variables say; else there is nothing more than before."""
    world.workspace("cardio")
    world.binding("one")
    grant = await world.manager.confirm(ALICE, "cardio")
    assert not grant.keeps_home
    assert not any(each.personal for each in await world.manager.volumes_for(ALICE, grant))
    await world.manager.close()
    world.configure(
        WORKSPACE_HOME="claim",
        WORKSPACE_HOME_STORAGE_CLASS="homes",
        WORKSPACE_HOME_ACCESS_MODES="ReadWriteOnce",
        WORKSPACE_HOME_CAPACITY="1Gi",
    )
    assert [each.keeps_home for each in await world.manager.list_workspaces(ALICE)] == [True]
    grant = await world.manager.confirm(ALICE, "cardio")
    first, *_ = await world.manager.volumes_for(ALICE, grant)
    assert first == home(storage_class="homes", access_modes=("ReadWriteOnce",), capacity="1Gi")
    assert (await world.manager.review(ALICE, "cardio")).keeps_home


@pytest.mark.parametrize("field", ["persistentVolumeClaim", "additionalStorage", "status"])
async def test_s8_workspace_that_names_somebodys_home_is_set_aside(world: World, field: str) -> None:
    """S8: in whatever way it names it."""
    claim = home("bob").claim
    storage: dict[str, Any] = {"persistentVolumeClaim": {"name": claim}}
    if field == "additionalStorage":
        storage = {field: [{"persistentVolumeClaim": claim, "mountPath": "/mnt/x"}]}
    status = {"persistentVolumeClaim": claim} if field == "status" else None
    world.workspace("cardio", status=status, jupyterWorkspace={"image": "x", **({} if status else storage)})
    world.binding("one")
    with pytest.raises(StorageRefused, match="is called as a person's claim"):
        await world.manager.confirm(ALICE, "cardio")
    assert [problem.count("is called as a person's claim") for problem in await world.manager.problems()] == [1]


def said(explanation: Explanation) -> list[tuple[str, bool | None, str]]:
    """The rule, whether it holds, and what was looked at, without versions."""
    return [
        (each.rule, each.holds, re.sub(r" \(version \d+\)", "", f"{each.what}: {each.found}"))
        for each in explanation.findings
    ]


async def test_explanation_of_a_start_that_is_let_through_names_all_it_rests_on(world: World) -> None:
    world.workspace("cardio")
    world.binding("one")
    world.binding("two", username="bob")
    found = await explain(world.manager, ALICE, "cardio")
    assert found.opens is True
    assert said(found) == [
        ("A2", True, "the person: 'alice'"),
        ("E6", None, "what the identity provider says: known: none"),
        ("A1", True, "workspace 'cardio', spec.validity: from 2026-01-01 to 2026-12-30"),
        ("A2", True, "binding 'one', spec.username: 'alice'"),
        ("A1", True, "binding 'one', spec.expires: last day 2026-12-30"),
        ("A2", None, "bindings of workspace 'cardio': 1 for others"),
        ("A1", True, "the grant of 'cardio': open from 2026-01-01 to 2026-12-30"),
        ("S2", True, "claim 'jupyter-cardio' at /home/jovyan/cardio: not there, and would be made"),
        ("S2", True, "claim 'jupyter-shared' at /home/jovyan/shared: not there, and would be made"),
    ]
    with pytest.raises(ApiError):
        await world.kube.get(f"{CLAIMS}/jupyter-cardio")


# What the workspace and its binding say other than usual, None where there is none; and what is said of it.
MISTAKES: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, tuple[str, str]]] = {
    "nothing": (None, None, ("A2", "workspace 'cardio': there is none of this name")),
    "no-binding": ({}, None, ("A2", "bindings of workspace 'cardio': there is none")),
    "binding-is-over": ({}, {"expires": "2026-02-01"}, ("A1", "binding 'one', spec.expires: last day 2026-01-31")),
    "workspace-is-over": (
        {"validity": {"availableFrom": "2026-01-01", "expires": "2026-02-01"}},
        {},
        ("A1", "workspace 'cardio', spec.validity: from 2026-01-01 to 2026-01-31"),
    ),
    "no-quantity": (
        {"jupyterWorkspace": {"image": "x", "resources": {"limits": {"cpu": "several"}}}},
        {},
        ("F3", "workspace 'cardio': set aside: "),
    ),
    "broken-binding": ({}, {"username": " "}, ("F3", "binding 'one': set aside: spec.username is empty")),
    "claims-do-not-hold": (
        {},
        {"username": None, "claims": [{"name": "group", "operator": "IN", "value": "a, b"}]},
        ("A2", "binding 'one', spec.claims: 'group' IN 'a', 'b'"),
    ),
}


@pytest.mark.parametrize(("of_workspace", "of_binding", "expected"), MISTAKES.values(), ids=MISTAKES)
async def test_explanation_says_what_keeps_somebody_out(
    world: World, of_workspace: dict[str, Any] | None, of_binding: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    """And the last finding is the decision of a start, with its rule."""
    if of_workspace is not None:
        world.workspace("cardio", **of_workspace)
    if of_binding is not None:
        world.binding("one", **of_binding)
    found = await explain(world.manager, ALICE, "cardio")
    assert found.opens is False
    told = [(rule, holds) for rule, holds, words in said(found) if words.startswith(expected[1])]
    assert told == [(expected[0], False)]
    assert (found.findings[-1].what, found.findings[-1].holds) == ("the decision", False)


async def test_explanation_without_claims_is_not_certain(world: World) -> None:
    """E6: what the identity provider would say may be just what opens it."""
    world.workspace("cardio")
    world.binding("one", username=None, claims=[{"name": "group", "operator": "EQUALS", "value": "a"}])
    unknown = User.identify("alice", None)
    found = await explain(world.manager, unknown, "cardio")
    assert (found.opens, found.findings[-1].rule) == (None, "E6")
    known = await explain(world.manager, User.identify("alice", {"group": "a"}), "cardio")
    assert known.opens is True


async def test_explanation_of_storage_names_the_claim(world: World) -> None:
    """S2: of another workspace; and nothing is written."""
    world.workspace("cardio")
    world.binding("one")
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    annotations = {"workspace-managers/owner": "hip"}
    await world.kube.create(CLAIMS, {"metadata": {"name": "jupyter-cardio", "annotations": annotations}, "spec": spec})
    before = await world.kube.get(f"{CLAIMS}/jupyter-cardio")
    found = await explain(world.manager, ALICE, "cardio")
    assert found.opens is False
    assert "claim 'jupyter-cardio' belongs to 'hip'" in found.findings[-1].found
    assert await world.kube.get(f"{CLAIMS}/jupyter-cardio") == before


async def test_workspace_of_another_plugin_has_no_storage_here(world: World) -> None:
    """S1: what was not confirmed by this plugin is refused."""
    day = date(2026, 1, 1)
    foreign = Workspace(
        name="x", display_name="", description="", first_day=day, last_day=day, grant_last_day=day, image="x"
    )
    with pytest.raises(StorageRefused, match="'x' does not come from this plugin"):
        await world.manager.volumes_for(ALICE, foreign)


# The whole start, and the status


async def test_start_makes_pod_claims_and_status(world: World) -> None:
    """A3, S1, S2: and the second start writes nothing any more."""
    world.workspace(
        "cardio",
        jupyterWorkspace={
            "image": "x",
            "extraLabels": {"example.org/cost": "42"},
            "nodeSelector": {"pool": "big"},
            "tolerations": [{"key": "big", "operator": "Exists"}],
            "resources": {"limits": {"example.com/gpu": 1}},
            "additionalStorage": [{"persistentVolumeClaim": "scans"}],
        },
    )
    world.binding("one")
    await warm(world)
    before = len(world.api.requests)
    made = await start(world.manager, ALICE, "cardio")
    asked = world.asked_since(before)
    assert sorted(asked) == [
        f"GET {BINDINGS}/one",
        f"GET {WORKSPACES}",  # who else names the claim scans, before it is made
        f"GET {WORKSPACES}/cardio",
        "GET persistentvolumeclaims/jupyter-cardio",
        "GET persistentvolumeclaims/jupyter-shared",
        "GET persistentvolumeclaims/scans",
        f"PATCH {WORKSPACES}/cardio/status",
        *["POST persistentvolumeclaims"] * 3,
    ]
    mounts = {each["mountPath"]: each["readOnly"] for each in made["spec"]["containers"][0]["volumeMounts"][1:]}
    assert mounts == {f"{HOME}/cardio": False, "/mnt/scans": False, f"{HOME}/shared": True}
    assert made["metadata"]["labels"] | {"workspace": "cardio", "example.org/cost": "42"} == made["metadata"]["labels"]
    assert made["spec"]["nodeSelector"] == {"pool": "big"}
    assert made["spec"]["tolerations"] == [{"key": "big", "operator": "Exists"}]
    assert world.status("cardio") == {
        "statusText": "Provisioned",
        "persistentVolumeClaim": "jupyter-cardio",
        "additionalStorage": {"scans": "scans"},
    }
    before = len(world.api.requests)
    await start(world.manager, ALICE, "cardio")
    assert not [each for each in world.asked_since(before) if not each.startswith("GET")]


async def test_status_never_changes_the_spec(world: World) -> None:
    """The hub writes no spec and no binding."""
    world.workspace("cardio")
    world.binding("one")
    kinds = [world.api.store.kind(GROUP, plural) for plural in (WORKSPACES, BINDINGS)]
    before = [world.api.store.list(kind, NAMESPACE)[0].object["spec"] for kind in kinds]
    await start(world.manager, ALICE, "cardio")
    assert [world.api.store.list(kind, NAMESPACE)[0].object["spec"] for kind in kinds] == before
    assert not [each for each in world.api.requests if each.method != "GET" and BINDINGS in each.path]


async def test_status_that_changed_since_is_left_alone(world: World) -> None:
    """A workspace that somebody began to delete does not become ``Provisioned`` again."""
    world.workspace("cardio")
    world.binding("one")
    grant = await world.manager.confirm(ALICE, "cardio")
    await world.kube.merge_patch(
        f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{WORKSPACES}/cardio/status", {"status": {"statusText": "Deleting"}}
    )
    await world.manager.provisioned(ALICE, grant, ())
    assert world.status("cardio")["statusText"] == "Deleting"
    world.delete(WORKSPACES, "cardio")
    await world.manager.provisioned(ALICE, grant, ())


async def test_status_that_cannot_be_written_stops_no_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The framework logs it; the server starts."""
    world.workspace("cardio")
    world.binding("one")
    await warm(world)
    forbid = answer_with(403, '{"reason": "Forbidden", "message": "no patch for you"}')

    async def no_patch(request: web.Request) -> web.StreamResponse | None:
        return await forbid(request) if request.method == "PATCH" else None

    world.api.fault = no_patch
    with caplog.at_level(logging.WARNING, LOG):
        assert (await start(world.manager, ALICE, "cardio"))["spec"]["volumes"]
    assert told(caplog) == [
        "The status of workspace 'cardio' was not written: the status of workspace cardio cannot be written: "
        "403 Forbidden: 'no patch for you'"
    ]


# Problems


async def test_problems_tell_each_resource_that_is_set_aside(world: World) -> None:
    """F3: with its reason; what is right, expired or not for Jupyter is none."""
    world.workspace("cardio")
    world.workspace("expired", validity={"availableFrom": "2020-01-01", "expires": "2020-12-31"})
    for name in ("one", "two"):
        world.workspace(name, jupyterWorkspace={"image": "x", "persistentVolumeClaim": {"name": "data"}})
    world.workspace("uri", jupyterWorkspace={"image": "x", "defaultUri": "//lab"})
    world.workspace("partly", jupyterWorkspace={"image": "x", "additionalStorage": [{"mountPath": "/x"}]})
    world.workspace("going", {"statusText": "Deleting"})
    world.binding("sound")
    world.binding("to-nothing", "gone")
    world.binding("blank", username=" ")
    assert await world.manager.problems() == [
        "workspace 'going': it is being deleted",
        "workspace 'one': claim 'data' is also named by workspace 'two', so it is used only once its owner annotation "
        "says whose it is",
        "workspace 'partly': spec.jupyterWorkspace.additionalStorage: 1 without a claim, left out",
        "workspace 'two': claim 'data' is also named by workspace 'one', so it is used only once its owner annotation "
        "says whose it is",
        "workspace 'uri': spec.jupyterWorkspace.defaultUri: '//lab'; accepted: a path on the user's server such as "
        "/lab, with a single / first, without blanks, \\ or ..",
        "binding 'blank': spec.username is empty",
        "binding 'to-nothing': its workspace 'gone' does not exist",
    ]


async def test_every_workspace_is_held_to_the_policy(world: World, tmp_path: Path) -> None:
    """F4: of each workspace, whoever it is for; with the line to change."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("images: [registry.example.org/*]\nmount_paths: [/data/*]\n")
    world.workspace("cardio")
    storage = [{"mountPath": "/srv", "persistentVolumeClaim": "more"}]
    jupyter = {"image": "registry.example.org/a:1", "additionalStorage": storage}
    world.workspace("stroke", jupyterWorkspace=jupyter)
    world.workspace("sound", jupyterWorkspace={"image": "registry.example.org/a:1"})
    world.configure(WORKSPACE_POLICY=str(policy))
    every = await engine.all_workspaces(world.manager)
    assert await engine.beyond_policy(world.manager, engine.NOBODY, every or ()) == {
        "cardio": "it asks for the image 'example/notebook:1.0', which the policy does not allow; add it to images "
        f"(line 1) in '{policy}'",
        "stroke": "it asks for a volume at '/srv', which the policy does not allow; "
        f"add it to mount_paths (line 2) in '{policy}'",
    }
    # Nobody has a home, so that kept ones are in nobody's way here.
    world.configure(WORKSPACE_POLICY=str(policy), WORKSPACE_HOME="claim")
    every = await engine.all_workspaces(world.manager)
    assert set(await engine.beyond_policy(world.manager, engine.NOBODY, every or ())) == {"cardio", "stroke"}
    world.configure(WORKSPACE_POLICY=str(policy))
    world.binding("one")
    found = await explain(world.manager, ALICE, "cardio")
    assert (found.opens, found.findings[-1].rule) == (False, "F4")
    assert "images (line 1)" in found.findings[-1].found


async def test_problems_tell_that_somebody_took_the_shared_claim(world: World) -> None:
    """S2: no server starts, so it comes first."""
    await put_claim(world, "jupyter-shared", annotations={"workspace-managers/owner": "cardio"})
    world.binding("to-nothing", "gone")
    first, _ = await world.manager.problems()
    assert first.startswith("claim 'jupyter-shared' belongs to 'cardio', though every workspace mounts it")


async def test_problems_are_bounded(world: World) -> None:
    """The first 50, and how many more."""
    for index in range(60):
        world.binding(f"b{index:03}", "gone")
    found = await world.manager.problems()
    assert len(found) == 51
    assert found[-1] == "and 10 more"
    world.delete(BINDINGS, "b000")
    assert (await world.manager.problems())[-1] == "and 9 more"


async def test_problems_are_read_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and answers stay small however many bindings there are."""
    monkeypatch.setattr("workspace_manager_lscsde.manager.PAGE_OBJECTS", 2)
    for index in range(5):
        world.binding(f"b{index}", "gone")
    assert len(await world.manager.problems()) == 5
    assert len([each for each in world.api.requests if BINDINGS in each.path]) == 3


@pytest.mark.parametrize("status", [403, 500])
async def test_problems_without_an_answer_are_unavailable(world: World, status: int) -> None:
    """A4: no answer is not "no problems"."""
    world.api.fault = answer_with(status)
    with pytest.raises(BackendUnavailable):
        await world.manager.problems()


async def test_problems_tell_what_the_definitions_lack(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older definition has no status: what a start writes there is ignored, and nobody is told."""
    assert await world.manager.problems() == []
    get = Kube.get

    async def older(self: Kube, path: str, *arguments: Any) -> Any:
        found = await get(self, path, *arguments)
        if path == f"/apis/{GROUP}/v1":
            return {**found, "resources": [each for each in found["resources"] if "/" not in each["name"]]}
        return found

    monkeypatch.setattr(Kube, "get", older)
    (problem,) = await world.manager.problems()
    assert problem.startswith("the definition of analyticsworkspaces has no status subresource in v1, so ")


async def test_problems_tell_a_binding_that_may_match_nobody(world: World) -> None:
    """A2: a name is compared whole, the blank included."""
    world.workspace("cardio")
    world.binding("blank", username="alice ")
    assert await world.manager.problems() == [
        "binding 'blank': spec.username 'alice ' has a blank at its end or beginning, so it may be nobody's"
    ]


async def test_every_workspace_is_told_to_the_operator(world: World) -> None:
    """Closed and future ones, and those of nobody; what is set aside is a problem, and no workspace."""
    world.workspace("cardio")
    world.workspace("expired", validity={"availableFrom": "2020-01-01", "expires": "2020-12-31"})
    world.workspace("odd", jupyterWorkspace={"image": "x", "defaultUri": "//lab"})
    found = await world.manager.all_workspaces()
    assert [(each.name, str(each.last_day), str(each.grant_last_day)) for each in found] == [
        ("cardio", "2026-12-30", "9999-12-31"),
        ("expired", "2020-12-30", "9999-12-31"),
    ]
    assert all(each.uid for each in found)


async def test_explanation_for_anybody_says_who_may_open_it(world: World) -> None:
    """Why a workspace is in nobody's list; and who is in one."""
    world.workspace("cardio")
    assert (await explain(world.manager, None, "cardio")).opens is False
    world.binding("old", expires="2026-01-01")
    world.binding("odd", username=" ")
    found = await explain(world.manager, None, "cardio")
    assert [(each.what.partition(" (")[0], each.found) for each in found.findings if each.holds is False] == [
        ("bindings of workspace 'cardio'", "2, of which 0 give access on 2026-06-15")
    ]
    world.binding("bobs", username="Bob")
    world.binding("group", username=None, claims=[{"name": "g", "operator": "EQUALS", "value": "x"}])
    found = await explain(world.manager, None, "cardio")
    assert found.opens is True
    said = [(each.what.partition(")")[2], each.found) for each in found.findings if each.what.startswith("binding ")]
    assert (", spec.username", "'bob'") in said
    assert (", spec.expires", "last day 2026-12-30") in said
    assert [each.rule for each in found.findings][-3:] == ["F4", "S2", "S2"]


@pytest.mark.parametrize(
    ("change", "rule", "told"),
    [
        pytest.param({"jupyterWorkspace": {"image": "x", "defaultUri": "//lab"}}, "F3", "set aside", id="mistake"),
        pytest.param({"validity": {"availableFrom": "2027-01-01", "expires": "2028-01-01"}}, "A1", "from", id="later"),
        pytest.param({"jupyterWorkspace": {"image": "evil.example/x"}}, "F4", "does not allow", id="policy"),
    ],
)
async def test_explanation_for_anybody_says_what_keeps_all_out(
    world: World, tmp_path: Path, change: dict[str, Any], rule: str, told: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("images: [example/*]")
    world.workspace("cardio", **change)
    world.binding("one")
    world.configure(WORKSPACE_POLICY=str(policy))
    found = await explain(world.manager, None, "cardio")
    assert found.opens is False
    assert [(each.rule, told in each.found) for each in found.findings if each.holds is False] == [(rule, True)]


async def test_explanation_for_anybody_of_no_workspace(world: World) -> None:
    found = await explain(world.manager, None, "cardio")
    assert (found.opens, found.findings[0].found) == (False, "there is none of this name")


# The package

PACKAGE = Path(workspace_manager_lscsde.__file__).parent


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_package_could_live_in_a_repository_of_its_own(module: Path) -> None:
    """It imports the framework by its public names, and its library in one module."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not [each.name for each in node.names if each.name.startswith(("workspace_managers", "lscsde"))]
        if isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            names = {each.name for each in node.names}
            if node.module.startswith("workspace_managers"):
                assert node.module in ("workspace_managers", "workspace_managers.contract")
                assert names <= set(importlib.import_module(node.module).__all__), node.module
            if node.module.startswith(("lscsde_workspace_mgmt", "kubernetes", "pydantic")):
                assert module.stem == "compat"


_MISTAKE = [{"name": "a", "operator": "IN"}]


async def reviewed(world: World, user: User = ALICE) -> tuple[engine.Answer, str | None]:
    """The answer of a review, and the rule where it is not that the server goes on."""
    review = await engine.review(world.manager, user, "cardio")
    return review.answer, None if review.error is None else review.error.rule


async def test_review_finds_a_binding_that_the_watch_has_not_told_of(world: World) -> None:
    """E1: a binding that replaces another is a grant that goes on, also while the cache knows only the old one."""
    world.workspace("cardio")
    world.binding("old")
    await warm(world)
    world.deafen()
    world.delete(BINDINGS, "old")
    assert await reviewed(world) == (engine.Answer.ENDED, "A2")
    world.binding("others", username="bob")
    world.binding("elsewhere", workspace="asthma")
    assert await reviewed(world) == (engine.Answer.ENDED, "A2")
    world.binding("new", expires="2026-06-15")
    assert await reviewed(world) == (engine.Answer.ENDED, "A1")
    world.binding("new")
    assert await reviewed(world) == (engine.Answer.GOES_ON, None)
    assert await reviewed(world, User.identify("asthma\\alice")) == (engine.Answer.ENDED, "A2")
    assert await reviewed(world, User.identify("")) == (engine.Answer.ENDED, "A2")


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        pytest.param({"claims": _MISTAKE}, engine.Answer.UNCERTAIN, id="its claims"),
        pytest.param({"claims": _MISTAKE, "username": " ALICE "}, engine.Answer.UNCERTAIN, id="in other letters"),
        pytest.param({"username": " "}, engine.Answer.UNCERTAIN, id="whose"),
        pytest.param({"workspace": "-"}, engine.Answer.UNCERTAIN, id="of what"),
        pytest.param({"claims": _MISTAKE, "username": "bob"}, engine.Answer.ENDED, id="somebody else's"),
        pytest.param({"claims": _MISTAKE, "workspace": "asthma"}, engine.Answer.ENDED, id="another workspace's"),
    ],
)
async def test_review_is_uncertain_where_a_binding_has_a_mistake(
    world: World, spec: dict[str, Any], answer: engine.Answer
) -> None:
    """E4: a slip in a binding is not its end; one in a binding of somebody else keeps nobody's server running."""
    world.workspace("cardio")
    world.binding("mine")
    await warm(world)
    assert (await reviewed(world))[0] is engine.Answer.GOES_ON
    world.binding("mine", **spec)
    assert (await reviewed(world))[0] is answer
    await world.eventually([])
    assert (await reviewed(world))[0] is answer


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"jupyterWorkspace": {"image": "x", "defaultUri": "//lab"}}, ("uncertain", "F3"), id="mistake"),
        pytest.param({"status": {"statusText": "Deleting"}}, ("ended", "A2"), id="being deleted"),
        pytest.param(
            {"jupyterWorkspace": None, "virtualMachineWorkspace": {"maxHosts": "50%"}},
            ("ended", "A2"),
            id="not for Jupyter any more",
        ),
    ],
)
async def test_review_tells_a_mistake_in_a_workspace_from_its_end(
    world: World, change: dict[str, Any], expected: tuple[str, str]
) -> None:
    """E4: a slip in a workspace is not its end; what its owner means is."""
    world.workspace("cardio")
    world.binding("mine")
    await warm(world)
    world.delete(WORKSPACES, "cardio")
    spec: dict[str, Any] = {
        "displayName": "Cardio",
        "description": "",
        "validity": {"availableFrom": "2026-01-01", "expires": "2026-12-31"},
        "jupyterWorkspace": {"image": "x"},
    }
    status = change.get("status")
    spec = {key: value for key, value in (spec | change).items() if value is not None and key != "status"}
    world.put(WORKSPACES, "cardio", spec, **({"status": status} if status else {}))
    answer, rule = await reviewed(world)
    assert (answer.value, rule) == expected


async def test_review_lists_no_binding_where_the_workspace_is_over(world: World) -> None:
    """E1: at a day's turn many servers end at once, and each list may be long."""
    world.workspace("cardio")
    world.binding("mine")
    await warm(world)
    world.now = datetime(2026, 12, 31, 12, tzinfo=UTC)
    before = len(world.api.requests)
    assert await reviewed(world) == (engine.Answer.ENDED, "A1")
    assert f"GET {BINDINGS}" not in world.asked_since(before)
    world.delete(WORKSPACES, "cardio")
    before = len(world.api.requests)
    assert await reviewed(world) == (engine.Answer.ENDED, "A2")
    assert f"GET {BINDINGS}" not in world.asked_since(before)
