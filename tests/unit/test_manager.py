"""What the framework does for every plugin: it decides, and a plugin that fails is unavailable (A1 to A4, S1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tests.factories import pod, shared, volume, workspace
from workspace_managers import (
    AccessDenied,
    BackendUnavailable,
    Context,
    Settings,
    StorageRefused,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    manager,
)
from workspace_managers.kube.claims import Naming
from workspace_managers.kube.client import Kube

ALICE = User.identify("alice")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 6, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Plugin(WorkspaceManager):
    """Answers with what a test puts into it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.grants: Any = [workspace("cardio"), workspace("asthma")]
        self.fresh: Any = None
        self.volumes: Any = [volume(), shared()]
        self.names: Any = ["cardio"]
        self.written: list[str] = []
        self.fail: Callable[[str], None] = lambda _method: None

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        self.fail("list_workspaces")
        return self.grants  # type: ignore[no-any-return]  # a test may put anything there

    async def confirm(self, user: User, name: str) -> Workspace:
        self.fail("confirm")
        return self.fresh if self.fresh is not None else await super().confirm(user, name)

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        self.fail("volumes_for")
        return self.volumes  # type: ignore[no-any-return]  # a test may put anything there

    async def naming(self, claim: str) -> Collection[str] | None:
        self.fail("naming")
        return self.names  # type: ignore[no-any-return]  # a test may put anything there

    async def provisioned(self, user: User, workspace: Workspace, volumes: Sequence[Volume]) -> None:
        self.fail("provisioned")
        self.written.append(workspace.name)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The claims that were asked for; made by nobody here."""
    asked: list[tuple[str, list[str]]] = []

    async def ensure(
        _kube: object, _settings: object, workspace: Workspace, volumes: Sequence[Volume], naming: Naming
    ) -> None:
        await naming(volumes[0].claim)
        asked.append((workspace.name, [each.claim for each in volumes]))

    monkeypatch.setattr(manager, "ensure_claims", ensure)
    return asked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plugin(clock: Clock, made: object) -> Plugin:
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})
    return Plugin(Context(settings=settings, kube=Kube("hub"), log=logging.getLogger("test"), clock=clock))


async def test_start_provisions_the_confirmed_workspace(plugin: Plugin, made: list[Any]) -> None:
    """S1: claims, then the pod, then the status."""
    rebuilt = await plugin.provision(ALICE, "cardio", pod())
    assert made == [("cardio", ["jupyter-cardio", "jupyter-shared"])]
    assert rebuilt["metadata"]["labels"]["workspace"] == "cardio"
    assert plugin.written == ["cardio"]


@pytest.mark.parametrize(
    "name",
    ["", None, "unknown", "CARDIO", "card", 3, ["cardio"], {"profile": "cardio"}, "cardio\x00", "../cardio"],
    ids=repr,
)
@pytest.mark.parametrize("method", ["choose", "provision"])
async def test_what_names_no_open_workspace_is_denied(plugin: Plugin, made: list[Any], method: str, name: Any) -> None:
    """A2, A3: missing, forged, unknown; with no claim made."""
    with pytest.raises(AccessDenied):
        await (plugin.choose(ALICE, name) if method == "choose" else plugin.provision(ALICE, name, pod()))
    assert made == []


async def test_user_without_workspaces_cannot_start_anything(plugin: Plugin, made: list[Any]) -> None:
    """A3: no workspace, no pod."""
    plugin.grants = []
    for name in ("cardio", None):
        with pytest.raises(AccessDenied):
            await plugin.provision(ALICE, name, pod())
    assert made == []


async def test_workspace_that_expired_between_form_and_start_is_denied(
    plugin: Plugin, clock: Clock, made: list[Any]
) -> None:
    """A1, A3: the clock is read when the question is asked."""
    await plugin.choose(ALICE, "cardio")
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    for question in (plugin.choose(ALICE, "cardio"), plugin.provision(ALICE, "cardio", pod())):
        with pytest.raises(AccessDenied, match="today is 2027-01-01"):
            await question
    assert made == []


@pytest.mark.parametrize(("patience", "confirmations"), [(60.0, 1), (0.0, 2)], ids=["at once", "after a while"])
async def test_access_that_ended_while_the_claims_were_made_is_denied(
    plugin: Plugin, made: list[Any], monkeypatch: pytest.MonkeyPatch, patience: float, confirmations: int
) -> None:
    """A3: claims may be slow to come; a start that they did not hold up costs no second confirmation."""
    monkeypatch.setattr(manager, "CONFIRMED_SECONDS", patience)
    asked: list[str] = []
    plugin.fail = asked.append
    await plugin.provision(ALICE, "cardio", pod())
    assert asked.count("confirm") == confirmations

    def ended(method: str) -> None:
        if method == "confirm" and len(made) == 2:
            raise AccessDenied("it has ended")

    plugin.fail = ended
    with nullcontext() if confirmations == 1 else pytest.raises(AccessDenied, match="it has ended"):
        await plugin.provision(ALICE, "cardio", pod())
    assert len(plugin.written) == (2 if confirmations == 1 else 1)


async def test_midnight_while_the_backend_answers_is_noticed(plugin: Plugin, clock: Clock) -> None:
    """A1: the clock is read after the answer, not before."""

    def midnight(method: str) -> None:
        clock.now = datetime(2027, 1, 1, tzinfo=UTC)

    before = clock.now
    plugin.fresh = workspace("cardio")
    plugin.fail = midnight
    with pytest.raises(AccessDenied):
        await plugin.provision(ALICE, "cardio", pod())
    clock.now = before
    with pytest.raises(AccessDenied):
        await plugin.choose(ALICE, "cardio")
    clock.now = before
    assert {card.state for card in (await plugin.build_form(ALICE)).cards} == {"expired"}


@pytest.mark.parametrize(
    ("zone", "today"),
    [("UTC", date(2026, 12, 31)), ("Europe/Berlin", date(2027, 1, 1)), ("America/New_York", date(2026, 12, 31))],
)
def test_today_is_the_day_in_the_time_zone_of_the_hub(zone: str, today: date) -> None:
    """A1: WORKSPACE_TIMEZONE, whatever zone the clock tells the moment in."""
    settings = Settings.from_environ({"WORKSPACE_TIMEZONE": zone})
    moment = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    context = Context(settings=settings, kube=Kube("hub"), log=logging.getLogger("test"), clock=lambda: moment)
    assert context.today() == today


def test_clock_of_the_hub_runs_and_tells_its_zone() -> None:
    """A1: read at the moment of the question, not when something was imported or made."""
    context = Context(settings=Settings.from_environ({}), kube=Kube("hub"), log=logging.getLogger("test"))
    before = datetime.now(UTC)
    assert before <= context.clock() <= datetime.now(UTC)


@pytest.mark.parametrize("name", [None, "", {}], ids=repr)
async def test_only_workspace_of_a_user_is_not_chosen_for_them(plugin: Plugin, name: Any) -> None:
    """A3: a REST start with {}."""
    plugin.grants = [workspace("cardio")]
    with pytest.raises(AccessDenied, match="without choosing"):
        await plugin.choose(ALICE, name)


async def test_form_has_one_card_a_workspace_in_every_state(plugin: Plugin) -> None:
    """F1, F2: unique slugs though there are two grants, and nothing hidden."""
    plugin.grants = [
        workspace("cardio", grant_expires=date(2026, 2, 1)),
        workspace("cardio"),
        workspace("closed", expires=date(2026, 2, 1)),
        workspace("later", available_from=date(2026, 8, 1)),
    ]
    cards = (await plugin.build_form(ALICE)).cards
    assert [(card.slug, card.state) for card in cards] == [
        ("cardio", "open"),
        ("later", "future"),
        ("closed", "expired"),
    ]


async def test_wrong_answer_is_bounded_in_the_log(plugin: Plugin) -> None:
    """F1."""
    plugin.grants = ["x" * 10_000]
    with pytest.raises(BackendUnavailable) as caught:
        await plugin.build_form(ALICE)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "fresh",
    [
        pytest.param(workspace("asthma"), id="another-workspace"),
        pytest.param(workspace("cardio", grant_expires=date(2026, 6, 14)), id="expired"),
        pytest.param(workspace("cardio", available_from=date(2026, 6, 16)), id="future"),
    ],
)
async def test_confirmation_is_checked_by_the_framework(plugin: Plugin, made: list[Any], fresh: Workspace) -> None:
    """A1, A3: a plugin only tells facts."""
    plugin.fresh = fresh
    with pytest.raises(AccessDenied):
        await plugin.provision(ALICE, "cardio", pod())
    assert made == []


async def test_scoped_session_is_held_to_its_scope(plugin: Plugin) -> None:
    """A2: though the plugin answers with more."""
    scoped = User.identify("asthma\\alice")
    assert [card.slug for card in (await plugin.build_form(scoped)).cards] == ["asthma"]
    for question in (plugin.choose(scoped, "cardio"), plugin.provision(scoped, "cardio", pod())):
        with pytest.raises(AccessDenied):
            await question


async def test_refused_storage_makes_no_claim(plugin: Plugin, made: list[Any]) -> None:
    """S1, S2."""
    plugin.volumes = [volume("jupyter-shared")]
    with pytest.raises(StorageRefused, match="names the shared claim"):
        await plugin.provision(ALICE, "cardio", pod())
    plugin.volumes = [volume()]
    with pytest.raises(StorageRefused, match="no container"):
        await plugin.provision(ALICE, "cardio", pod(containers=[]))
    assert made == []


QUESTIONS: dict[str, Callable[[Plugin], Any]] = {
    "form": lambda plugin: plugin.build_form(ALICE),
    "choose": lambda plugin: plugin.choose(ALICE, "cardio"),
    "provision": lambda plugin: plugin.provision(ALICE, "cardio", pod()),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize(
    "grants",
    [None, "cardio", {"cardio": 1}, [None], [{"name": "cardio"}], 3, [workspace(), "x"]],
    ids=lambda grants: repr(grants)[:24],
)
async def test_wrong_types_are_unavailable_and_name_the_method(
    plugin: Plugin, question: Callable[[Plugin], Any], grants: Any
) -> None:
    """A4: never "no workspaces"."""
    plugin.grants = grants
    with pytest.raises(BackendUnavailable, match=r"Plugin\.(list_workspaces|confirm)"):
        await question(plugin)


@pytest.mark.parametrize(
    ("names", "taken"), [(None, True), ((), True), ({"a"}, True), ("cardio", False), (b"cardio", False), (3, False)]
)
async def test_names_of_workspaces_are_several_or_unknown(plugin: Plugin, names: Any, taken: bool) -> None:
    """S3, A4: text is no collection of names, though it has letters."""
    plugin.names = names
    with nullcontext() if taken else pytest.raises(BackendUnavailable, match=r"Plugin\.naming answered with"):
        await plugin.provision(ALICE, "cardio", pod())


async def test_volumes_that_are_taken_off_are_told_once_a_start(
    plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """S1: by name and kind."""
    volumes = [{"name": "data", "nfs": {"server": "x"}}, {"name": "own", "persistentVolumeClaim": {"claimName": "y"}}]
    document = pod(volumes=volumes, containers=[{"name": "notebook"}])
    with caplog.at_level(logging.INFO, "test"):
        await plugin.provision(ALICE, "cardio", document)
        await plugin.provision(ALICE, "cardio", pod(volumes=[], containers=[{"name": "notebook"}]))
    assert [record.getMessage() for record in caplog.records] == [
        "Volumes taken off the pod of 'alice' in workspace 'cardio': 'data' ('nfs'), 'own' ('persistentVolumeClaim')"
    ]


@pytest.mark.parametrize("method", ["list_workspaces", "volumes_for", "confirm", "naming"])
async def test_plugin_that_raises_is_unavailable(plugin: Plugin, made: list[Any], method: str) -> None:
    """A4: with the cause for the log, and none of it for the user."""

    def fail(asked: str) -> None:
        if asked == method:
            raise KeyError("secret-token " * 100)

    plugin.fail = fail
    with pytest.raises(BackendUnavailable, match=r"Plugin\.\w+ failed: KeyError") as caught:
        await plugin.provision(ALICE, "cardio", pod())
    assert len(str(caught.value)) < 400
    assert "secret-token" not in caught.value.user_message
    assert isinstance(caught.value.__cause__, KeyError)
    assert made == []


async def test_plugin_that_never_returns_is_unavailable(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: bounded in time."""
    monkeypatch.setattr(manager, "ANSWER_SECONDS", 0.01)

    async def forever(user: User) -> Sequence[Workspace]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(plugin, "list_workspaces", forever)
    async with asyncio.timeout(20):
        with pytest.raises(BackendUnavailable, match="did not answer within"):
            await plugin.build_form(ALICE)


async def test_status_that_cannot_be_written_does_not_stop_a_start(
    plugin: Plugin, made: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(method: str) -> None:
        if method == "provisioned":
            raise RuntimeError("no right to")

    plugin.fail = fail
    rebuilt = await plugin.provision(ALICE, "cardio", pod())
    assert rebuilt["metadata"]["labels"]["workspace"] == "cardio"
    assert "was not written" in caplog.text


async def test_hostile_names_are_bounded_in_the_log(plugin: Plugin) -> None:
    """F1."""
    with pytest.raises(AccessDenied) as caught:
        await plugin.choose(ALICE, "x\n<script>" * 1000)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
