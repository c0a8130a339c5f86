"""What the framework does for every plugin: it decides, and a plugin that fails is unavailable (A1 to A4, S1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tests.factories import home, pod, shared, start, volume, workspace
from workspace_managers import (
    HOME,
    HOMES,
    IDENTITY_CLAIMS,
    NAMESPACES,
    AccessDenied,
    BackendUnavailable,
    Context,
    IncompleteAnswer,
    Settings,
    StorageRefused,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    engine,
)
from workspace_managers.errors import NotAllowed, NothingChosen, ServiceFault
from workspace_managers.kube.claims import Naming
from workspace_managers.kube.client import Kube
from workspace_managers.names import volume_name
from workspace_managers.policy import Policy
from workspace_managers.timeouts import Timeouts

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
        _kube: object,
        _settings: object,
        workspace: Workspace,
        volumes: Sequence[Volume],
        naming: Naming,
        **_of_a_home: object,
    ) -> None:
        await naming(volumes[0].claim)
        asked.append((workspace.name, [each.claim for each in volumes]))

    monkeypatch.setattr(engine, "ensure_claims", ensure)
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
    rebuilt = await start(plugin, ALICE, "cardio")
    assert made == [("cardio", ["jupyter-cardio", "jupyter-shared"])]
    assert rebuilt["metadata"]["labels"]["workspace"] == "cardio"
    assert plugin.written == ["cardio"]


@pytest.mark.parametrize("name", ["unknown", "CARDIO", "card", "cardio\x00", "../cardio"], ids=repr)
async def test_what_names_no_open_workspace_is_denied(plugin: Plugin, made: list[Any], name: Any) -> None:
    """A2: forged or unknown; with no claim made."""
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, name)
    assert made == []


@pytest.mark.parametrize("name", ["", None, 3, ["cardio"], {"profile": "cardio"}, {}], ids=repr)
async def test_nothing_chosen_is_no_denial(plugin: Plugin, made: list[Any], name: Any) -> None:
    """A3: and the only workspace of a user is not chosen for them."""
    plugin.grants = [workspace("cardio")]
    with pytest.raises(NothingChosen, match="without choosing"):
        await start(plugin, ALICE, name)
    assert made == []


async def test_user_without_workspaces_cannot_start_anything(plugin: Plugin, made: list[Any]) -> None:
    """A3: no workspace, no pod."""
    plugin.grants = []
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, "cardio")
    assert made == []


async def test_workspace_that_expired_between_form_and_start_is_denied(
    plugin: Plugin, clock: Clock, made: list[Any]
) -> None:
    """A1, A3: the clock is read when the question is asked."""
    await engine.confirm(plugin, ALICE, "cardio")
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    for question in (engine.confirm(plugin, ALICE, "cardio"), start(plugin, ALICE, "cardio")):
        with pytest.raises(AccessDenied, match="today is 2027-01-01"):
            await question
    assert made == []


@pytest.mark.parametrize(("patience", "confirmations"), [(60.0, 1), (0.0, 2)], ids=["at once", "after a while"])
async def test_access_that_ended_while_the_claims_were_made_is_denied(
    plugin: Plugin, made: list[Any], patience: float, confirmations: int
) -> None:
    """A3: claims may be slow to come; a start that they did not hold up costs no second confirmation."""
    plugin.context.kube.timeouts = Timeouts(confirmed=patience)
    asked: list[str] = []
    plugin.fail = asked.append
    await start(plugin, ALICE, "cardio")
    assert asked.count("confirm") == confirmations

    def ended(method: str) -> None:
        if method == "confirm" and len(made) == 2:
            raise AccessDenied("it has ended")

    plugin.fail = ended
    with nullcontext() if confirmations == 1 else pytest.raises(AccessDenied, match="it has ended"):
        await start(plugin, ALICE, "cardio")
    assert len(plugin.written) == (2 if confirmations == 1 else 1)


async def test_midnight_while_the_backend_answers_is_noticed(plugin: Plugin, clock: Clock) -> None:
    """A1: the clock is read after the answer, not before."""

    def midnight(method: str) -> None:
        clock.now = datetime(2027, 1, 1, tzinfo=UTC)

    before = clock.now
    plugin.fresh = workspace("cardio")
    plugin.fail = midnight
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, "cardio")
    clock.now = before
    with pytest.raises(AccessDenied):
        await engine.confirm(plugin, ALICE, "cardio")
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


async def test_form_has_one_card_a_workspace_in_every_state(plugin: Plugin) -> None:
    """F1, F2: unique slugs though there are two grants, and nothing hidden."""
    plugin.grants = [
        workspace("cardio", grant_last_day=date(2026, 2, 1)),
        workspace("cardio"),
        workspace("closed", last_day=date(2026, 2, 1)),
        workspace("later", first_day=date(2026, 8, 1)),
    ]
    cards = (await plugin.build_form(ALICE)).cards
    assert [(card.slug, card.state) for card in cards] == [
        ("cardio", "open"),
        ("later", "future"),
        ("closed", "expired"),
    ]


def partly(*found: Workspace) -> Callable[[str], None]:
    def fail(_method: str) -> None:
        raise IncompleteAnswer("the cache is behind", found)

    return fail


async def test_form_of_an_incomplete_answer_says_so(plugin: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    """A4: what is certain can be opened; that there is no more is not certain."""
    assert not (await plugin.build_form(ALICE)).incomplete
    plugin.fail = partly(workspace("cardio"), workspace("closed", last_day=date(2026, 2, 1)))
    form = await plugin.build_form(ALICE)
    assert ([card.slug for card in form.cards], form.incomplete) == (["cardio", "closed"], True)
    assert "may be incomplete: the cache is behind" in caplog.text


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([], id="nothing"),
        pytest.param([workspace("closed", last_day=date(2026, 2, 1))], id="closed"),
        pytest.param([workspace("later", first_day=date(2026, 8, 1))], id="later"),
        pytest.param(["cardio"], id="no fact"),
    ],
)
async def test_incomplete_answer_with_nothing_open_is_unavailable(plugin: Plugin, found: list[Any]) -> None:
    """A4: nobody reads that they have no workspace, or that all have closed, while there may be more."""
    plugin.fail = partly(*found)
    with pytest.raises(BackendUnavailable):
        await plugin.build_form(ALICE)


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
        pytest.param(workspace("cardio", grant_last_day=date(2026, 6, 14)), id="expired"),
        pytest.param(workspace("cardio", first_day=date(2026, 6, 16)), id="future"),
    ],
)
async def test_confirmation_is_checked_by_the_framework(plugin: Plugin, made: list[Any], fresh: Workspace) -> None:
    """A1, A3: a plugin only tells facts."""
    plugin.fresh = fresh
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, "cardio")
    assert made == []


def allow(plugin: Plugin, **lines: Any) -> None:
    settings = replace(plugin.context.settings, policy=Policy(**lines))
    plugin.context = replace(plugin.context, settings=settings)


async def test_f4_workspace_beyond_the_policy_is_shown_and_not_started(
    plugin: Plugin, made: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """With its reason in the log, and a card that says so; the others are as they were."""
    plugin.grants = [
        workspace("cardio"),
        workspace("asthma", image="evil.example/x:1"),
        workspace("later", image="evil.example/x:1", first_day=date(2026, 8, 1)),
        workspace("closed", image="evil.example/x:1", last_day=date(2026, 2, 1)),
    ]
    allow(plugin, images=("registry.example.org/*", workspace().image))
    form = await plugin.build_form(ALICE)
    assert [(card.slug, card.state, card.when) for card in form.cards if card.state != "expired"] == [
        ("cardio", "open", "Open until the end of 31 December 2026"),
        ("asthma", "not-allowed", "Cannot be started"),
        ("later", "not-allowed", "Cannot be started"),
    ]
    assert [card.slug for card in form.openable] == ["cardio"]
    assert "The workspace 'asthma' is set aside: it asks for the image 'evil.example/x:1', which" in caplog.text
    assert "'closed'" not in caplog.text
    with pytest.raises(NotAllowed, match="the workspace 'asthma' is set aside") as caught:
        await start(plugin, ALICE, "asthma")
    assert (caught.value.rule, made) == ("F4", [])
    await start(plugin, ALICE, "cardio")


async def test_f4_server_that_runs_is_not_stopped_by_a_narrower_policy(plugin: Plugin) -> None:
    """E4: whose access it is has not changed; what is uncertain has its own end."""
    allow(plugin, images=())
    found = await engine.review(plugin, ALICE, "cardio")
    assert found.answer is engine.Answer.UNCERTAIN
    assert isinstance(found.error, NotAllowed)


async def test_f4_volume_beyond_the_policy(plugin: Plugin, made: list[Any]) -> None:
    """The form asks for volumes only where the policy says something of them."""
    asked: list[str] = []
    plugin.fail = asked.append
    await plugin.build_form(ALICE)
    assert asked == ["list_workspaces"]
    allow(plugin, mount_paths=("/data/*",))
    plugin.volumes = [volume(), volume("more", "/srv"), shared()]
    assert {card.state for card in (await plugin.build_form(ALICE)).cards} == {"not-allowed"}
    with pytest.raises(NotAllowed, match="it asks for a volume at '/srv', which"):
        await start(plugin, ALICE, "cardio")
    assert made == []
    # What cannot be told of them is for the start to tell.
    plugin.volumes = [volume("jupyter-shared")]
    assert {card.state for card in (await plugin.build_form(ALICE)).cards} == {"open"}


async def test_scoped_session_is_held_to_its_scope(plugin: Plugin) -> None:
    """A2: though the plugin answers with more."""
    scoped = User.identify("asthma\\alice")
    assert [card.slug for card in (await plugin.build_form(scoped)).cards] == ["asthma"]
    for question in (engine.confirm(plugin, scoped, "cardio"), start(plugin, scoped, "cardio")):
        with pytest.raises(AccessDenied):
            await question


async def test_refused_storage_makes_no_claim(plugin: Plugin, made: list[Any]) -> None:
    """S1, S2."""
    plugin.volumes = [volume("jupyter-shared")]
    with pytest.raises(StorageRefused, match="names the shared claim"):
        await start(plugin, ALICE, "cardio")
    plugin.volumes = [volume()]
    with pytest.raises(ServiceFault, match="no container"):
        await start(plugin, ALICE, "cardio", pod(containers=[]))
    assert made == []


@pytest.mark.parametrize(
    ("capabilities", "keeps_home", "volumes", "reason"),
    [
        pytest.param(set(), True, [volume(), home()], "does not declare the capability homes", id="not-declared"),
        pytest.param({HOMES}, True, [volume()], "mounts nothing at the home folder", id="promised"),
        pytest.param(
            {HOMES}, True, [volume(), home(mount_path="/home/jovyan/x")], "mounts nothing at", id="not-the-home-folder"
        ),
        pytest.param({HOMES}, False, [volume(), home()], "mounts a volume at the home folder", id="kept-in-silence"),
        pytest.param({HOMES}, True, [volume(), home("bob")], "is not the claim of 'alice'", id="another-persons"),
    ],
)
async def test_s8_home_that_is_not_as_it_is_told_starts_nothing(
    plugin: Plugin,
    made: list[Any],
    *,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: set[str],
    keeps_home: bool,
    volumes: list[Volume],
    reason: str,
) -> None:
    monkeypatch.setattr(Plugin, "capabilities", frozenset(capabilities))
    plugin.grants, plugin.volumes = [workspace(keeps_home=keeps_home)], volumes
    with pytest.raises(StorageRefused, match=reason) as caught:
        await start(plugin, ALICE, "cardio")
    assert caught.value.rule == "S8"
    assert made == []


async def test_s8_home_is_in_the_pod_and_on_the_form(
    plugin: Plugin, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S8: also where the session is one workspace's alone, or the name is written otherwise."""
    monkeypatch.setattr(Plugin, "capabilities", frozenset({HOMES}))
    plugin.grants, plugin.volumes = [workspace(keeps_home=True)], [volume(), home()]
    for user in (ALICE, User.identify("ALICE"), User.identify("cardio\\Alice")):
        made_pod = await start(plugin, user, "cardio")
        mounts = made_pod["spec"]["containers"][0]["volumeMounts"]
        assert mounts[0] == {"name": volume_name(home().claim), "mountPath": HOME, "readOnly": False}
        assert [card.keeps_home for card in (await plugin.build_form(user)).cards] == [True]
    assert made == [("cardio", ["jupyter-cardio", home().claim])] * 3


@pytest.mark.parametrize("slow", ["backend", "namespace"])
async def test_a3_answer_is_as_old_as_its_question(
    plugin: Plugin, made: list[Any], monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """A3: what was taken away while an answer was on its way opens nothing, whoever was slow."""
    plugin.context.kube.timeouts = Timeouts(confirmed=0.05)
    monkeypatch.setattr(Plugin, "capabilities", frozenset({NAMESPACES}))
    plugin.grants = [workspace(namespace="project-one")]

    async def revoked_meanwhile() -> None:
        plugin.grants = []
        await asyncio.sleep(0.1)

    async def look(*_: object) -> None:
        if slow == "namespace":
            await revoked_meanwhile()

    confirm = Plugin.confirm

    async def answer(self: Plugin, user: User, name: str) -> Workspace:
        found = await confirm(self, user, name)
        if slow == "backend":
            await revoked_meanwhile()
        return found

    monkeypatch.setattr(engine, "require_allowed", look)
    monkeypatch.setattr(Plugin, "confirm", answer)
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, "cardio")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], list[str]]:
    """The API server, where it is asked for a namespace: set its answer, and get what it was asked for since."""
    names: list[str] = []
    answer: list[Exception | None] = [None]

    async def look(_kube: Kube, _policy: object, namespace: str) -> None:
        names.append(namespace)
        if answer[0] is not None:
            raise answer[0]

    def answering(error: Exception | None) -> list[str]:
        answer[0] = error
        names.clear()
        return names

    monkeypatch.setattr(engine, "require_allowed", look)
    return answering


async def test_s9_each_confirmation_looks_at_the_namespace(
    plugin: Plugin, looked_at: Callable[[Exception | None], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: a start and each review; a workspace of the hub's own namespace costs no question."""
    monkeypatch.setattr(Plugin, "capabilities", frozenset({NAMESPACES}))
    plugin.grants = [workspace(namespace="project-one")]
    asked = looked_at(None)
    await start(plugin, ALICE, "cardio")
    assert (await engine.review(plugin, ALICE, "cardio")).answer is engine.Answer.GOES_ON
    assert asked == ["project-one"] * 2
    looked_at(AccessDenied("no label", rule="S9"))
    with pytest.raises(AccessDenied):
        await start(plugin, ALICE, "cardio")
    assert (await engine.review(plugin, ALICE, "cardio")).answer is engine.Answer.ENDED
    looked_at(BackendUnavailable("away"))
    assert (await engine.review(plugin, ALICE, "cardio")).answer is engine.Answer.UNCERTAIN
    plugin.grants = [workspace()]
    asked = looked_at(None)
    await start(plugin, ALICE, "cardio")
    assert asked == []


async def test_s9_plugin_that_does_not_declare_namespaces_has_none(
    plugin: Plugin, made: list[Any], looked_at: Callable[[Exception | None], list[str]]
) -> None:
    plugin.grants = [workspace(namespace="project-one")]
    asked = looked_at(None)
    with pytest.raises(AccessDenied, match="does not declare the capability namespaces") as caught:
        await start(plugin, ALICE, "cardio")
    assert caught.value.rule == "F3"
    assert (await engine.review(plugin, ALICE, "cardio")).answer is engine.Answer.UNCERTAIN
    assert (asked, made) == ([], [])


QUESTIONS: dict[str, Callable[[Plugin], Any]] = {
    "form": lambda plugin: plugin.build_form(ALICE),
    "provision": lambda plugin: start(plugin, ALICE, "cardio"),
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
        await start(plugin, ALICE, "cardio")


@pytest.mark.parametrize("method", ["list_workspaces", "volumes_for", "confirm", "naming"])
async def test_plugin_that_raises_is_unavailable(plugin: Plugin, made: list[Any], method: str) -> None:
    """A4: with the cause for the log, and none of it for the user."""

    def fail(asked: str) -> None:
        if asked == method:
            raise KeyError("secret-token " * 100)

    plugin.fail = fail
    with pytest.raises(BackendUnavailable, match=r"Plugin\.\w+ failed: KeyError") as caught:
        await start(plugin, ALICE, "cardio")
    assert len(str(caught.value)) < 400
    assert "secret-token" not in caught.value.user_message
    assert isinstance(caught.value.__cause__, KeyError)
    assert made == []


async def test_plugin_that_never_returns_is_unavailable(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: bounded in time."""
    plugin.context.kube.timeouts = Timeouts(answer=0.01)

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
    rebuilt = await start(plugin, ALICE, "cardio")
    assert rebuilt["metadata"]["labels"]["workspace"] == "cardio"
    assert "was not written" in caplog.text


async def test_hostile_names_are_bounded_in_the_log(plugin: Plugin) -> None:
    """F1."""
    with pytest.raises(AccessDenied) as caught:
        await engine.confirm(plugin, ALICE, "x\n<script>" * 1000)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


# The plugin's life


class Starting(Plugin):
    """Starts as a test lets it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.failures: list[BaseException] = []

    async def start(self) -> None:
        self.calls.append("start")
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()

    async def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def starting(plugin: Plugin) -> Starting:
    return Starting(plugin.context)


async def test_everybody_waits_for_the_one_attempt_to_start(
    starting: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: a hundred people wait one time-out, not one after the other."""
    starting.context.kube.timeouts = Timeouts(answer=0.05)
    lifecycle = engine.Lifecycle(starting)
    answers = await asyncio.gather(*(lifecycle.begin() for _ in range(100)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {BackendUnavailable}
    assert starting.calls == ["start", "close"]
    starting.gate.set()
    await asyncio.gather(*(lifecycle.begin() for _ in range(100)))
    await lifecycle.begin()
    assert starting.calls == ["start", "close", "start"]


@pytest.mark.parametrize(
    "failure",
    [BackendUnavailable("away"), KeyError("x"), SystemExit(3), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_half_failed_start_is_closed_and_tried_again(starting: Starting, failure: BaseException) -> None:
    """A4: what it has opened does not stay open; a stray CancelledError ends nothing."""
    starting.gate.set()
    starting.failures = [failure]
    lifecycle = engine.Lifecycle(starting)
    with pytest.raises(BackendUnavailable):
        await lifecycle.begin()
    assert starting.calls == ["start", "close"]
    await lifecycle.begin()
    assert starting.calls == ["start", "close", "start"]


async def test_one_who_gives_up_waiting_does_not_end_the_attempt_of_the_others(starting: Starting) -> None:
    lifecycle = engine.Lifecycle(starting)
    first, second = (asyncio.ensure_future(lifecycle.begin()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    starting.gate.set()
    await second
    assert first.cancelled()
    assert starting.calls == ["start"]


async def test_close_ends_an_attempt_that_is_under_way(starting: Starting) -> None:
    lifecycle = engine.Lifecycle(starting)
    waiting = asyncio.ensure_future(lifecycle.begin())
    await asyncio.sleep(0.01)
    await lifecycle.close()
    await asyncio.wait([waiting])
    assert starting.calls[0] == "start"
    assert starting.calls.count("close") >= 1


@pytest.mark.parametrize("failure", [KeyError("x"), SystemExit(3), asyncio.CancelledError()], ids=repr)
async def test_close_that_fails_ends_nothing(
    starting: Starting, failure: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub that closes the plugin goes on to end in its own way."""

    async def fails() -> None:
        raise failure

    monkeypatch.setattr(starting, "close", fails)
    await engine.Lifecycle(starting).close()
    assert "did not close: " in caplog.text
    assert type(failure).__name__ in caplog.text


async def test_stray_cancellation_inside_a_plugin_is_no_answer(plugin: Plugin) -> None:
    """A4: nobody has cancelled the question."""

    def cancelled(_method: str) -> None:
        raise asyncio.CancelledError

    plugin.fail = cancelled
    with pytest.raises(BackendUnavailable, match="CancelledError"):
        await plugin.build_form(ALICE)


async def test_review_goes_on_with_the_grant_as_it_is_now(plugin: Plugin) -> None:
    """E1: what was changed or extended meanwhile ends nothing."""
    plugin.grants = [workspace("cardio", image="example/other:2.0", last_day=date(2027, 1, 1))]
    assert await engine.review(plugin, ALICE, "cardio") == engine.Review(engine.Answer.GOES_ON, grant=plugin.grants[0])


@pytest.mark.parametrize(
    ("grants", "rule"),
    [
        pytest.param([], "A2", id="no grant"),
        pytest.param([workspace("asthma")], "A2", id="another workspace"),
        pytest.param([workspace("cardio", grant_last_day=date(2026, 6, 14))], "A1", id="grant over"),
        pytest.param([workspace("cardio", last_day=date(2026, 6, 14))], "A1", id="workspace over"),
        pytest.param([workspace("cardio", first_day=date(2026, 6, 16))], "A1", id="moved to later"),
        pytest.param([workspace("cardio", uid="new")], "S6", id="made anew"),
    ],
)
async def test_review_tells_that_access_has_ended(plugin: Plugin, grants: list[Workspace], rule: str) -> None:
    """E1: with the rule by which it did."""
    plugin.grants = grants
    review = await engine.review(plugin, ALICE, "cardio", "old")
    assert (review.answer, review.grant) == (engine.Answer.ENDED, None)
    assert isinstance(review.error, AccessDenied)
    assert review.error.rule == rule


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        pytest.param(BackendUnavailable("away"), "A4", id="backend away"),
        pytest.param(ServiceFault("mistake"), "", id="mistake of the service"),
        pytest.param(StorageRefused("claims"), "S2", id="storage"),
        pytest.param(StorageRefused("claims", rule="A2"), "A2", id="storage under a rule of access"),
        pytest.param(AccessDenied("broken", rule="F3"), "F3", id="set aside"),
        pytest.param(KeyError("bug"), "A4", id="plugin fails"),
        pytest.param(asyncio.CancelledError(), "A4", id="stray cancellation"),
        pytest.param(TimeoutError(), "A4", id="time-out"),
    ],
)
async def test_review_ends_nothing_on_what_is_no_answer(plugin: Plugin, error: BaseException, rule: str) -> None:
    """E4: whatever way the question fails."""

    def fail(_method: str) -> None:
        raise error

    plugin.fail = fail
    review = await engine.review(plugin, ALICE, "cardio")
    assert review.answer is engine.Answer.UNCERTAIN
    assert review.error is not None
    assert review.error.rule == rule


async def test_review_of_a_workspace_with_a_mistake_is_uncertain(plugin: Plugin) -> None:
    """E4: a slip in a field takes nobody's access away."""
    plugin.fresh = workspace("cardio", image="")
    review = await engine.review(plugin, ALICE, "cardio")
    assert review.answer is engine.Answer.UNCERTAIN
    assert review.error is not None
    assert review.error.rule == "F3"


@pytest.mark.parametrize("grants", [[], [workspace("cardio", grant_last_day=date(2026, 6, 14))]], ids=["none", "over"])
async def test_review_is_uncertain_while_identity_claims_are_unknown(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, grants: list[Workspace]
) -> None:
    """E6: another grant, by claims, may be open."""
    monkeypatch.setattr(Plugin, "capabilities", frozenset({IDENTITY_CLAIMS}))
    plugin.grants = grants
    unknown = User.identify("alice", None)
    assert (await engine.review(plugin, unknown, "cardio")).answer is engine.Answer.UNCERTAIN
    assert (await engine.review(plugin, ALICE, "cardio")).answer is engine.Answer.ENDED
    plugin.grants = [workspace("cardio")]
    assert (await engine.review(plugin, unknown, "cardio")).answer is engine.Answer.GOES_ON
