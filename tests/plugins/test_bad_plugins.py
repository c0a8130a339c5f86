"""What a plugin does wrong once it is loaded: told by its class and method, in bounded time, and the hub lives on.

What is wrong with it before, so that the hub does not start, is in ``tests/unit/test_registry.py`` (L2).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import dists
from tests.factories import start
from workspace_managers import AccessDenied, BackendUnavailable, Context, Settings, User, WorkspaceManager, engine
from workspace_managers.__main__ import _asked
from workspace_managers.devcluster.demo import Demo
from workspace_managers.hub.service import Service
from workspace_managers.kube.client import Kube
from workspace_managers.timeouts import Timeouts

HANGS = 0.05
FAILURES = {
    "hangs": "did not answer within 0.05 s",
    "raises": "failed: KeyError: ",
    "exits": "failed: SystemExit: '3'",
    "is-cancelled": "failed: CancelledError: ''",
}
AT_A_START = ("confirm", "volumes_for")
METHODS = ("list_workspaces", *AT_A_START)
SENTENCE = "Your workspaces cannot be looked up at the moment."


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the plugin is installed in."""
    made = tmp_path_factory.mktemp("rude")
    with zipfile.ZipFile(dists.wheel(str(Path(__file__).parent / "dists" / "rude"), made)) as archive:
        archive.extractall(made / "site")
    sys.path.insert(0, str(made / "site"))
    yield made / "site"
    sys.path.remove(str(made / "site"))
    sys.modules.pop("wm_rude", None)


@pytest.fixture
def rude(site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin."""
    from wm_rude import RudeManager  # type: ignore[import-not-found]  # noqa: PLC0415 - installed a moment ago

    async def made(*_: object, **__: object) -> None:
        """No claim is made here."""

    monkeypatch.setattr(engine, "ensure_claims", made)
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})
    rude = RudeManager(Context(settings=settings, kube=Kube("hub"), log=logging.getLogger("test")))
    rude.context.kube.timeouts = Timeouts(answer=HANGS)
    return rude


def answers(table: str) -> list[tuple[str, str]]:
    """Each method and each answer of it in one of the plugin's tables."""
    sys.path.insert(0, str(Path(__file__).parent / "dists" / "rude"))
    try:
        found = vars(importlib.import_module("wm_rude"))[table]
    finally:
        del sys.path[0]
        sys.modules.pop("wm_rude", None)
    return [(method, answer) for method in METHODS for answer in found[method]]


async def unavailable(plugin: WorkspaceManager, method: str, how: str) -> str:
    """The cause of the refusal: of the form where the form asks that method, of a start elsewhere."""
    user = User.identify(f"{method}:{how}")
    with pytest.raises(BackendUnavailable) as refusal:
        async with asyncio.timeout(20):
            await (plugin.build_form(user) if method == "list_workspaces" else start(plugin, user, "study"))
    assert refusal.value.user_message.startswith(SENTENCE)
    return str(refusal.value)


async def test_right_answers_are_taken(rude: Any) -> None:
    """Or the refusals below would be worth nothing."""
    alice = User.identify("alice")
    assert [card.slug for card in (await rude.build_form(alice)).cards] == ["study"]
    await start(rude, alice, "study")


@pytest.mark.parametrize(("method", "answer"), answers("WRONG"))
async def test_wrong_answer_names_plugin_and_method(rude: Any, method: str, answer: str) -> None:
    """A4: never "no workspaces", and never an exception that nobody wrote a sentence for."""
    told = await unavailable(rude, method, answer)
    assert told.startswith(f"RudeManager.{method} answered with ")
    assert "; expected: " in told
    assert len(told) < 400


@pytest.mark.parametrize(("method", "answer"), answers("SPOILT"))
async def test_spoilt_fact_is_set_aside(rude: Any, method: str, answer: str, caplog: pytest.LogCaptureFixture) -> None:
    """F3, S2: the workspace it is of is not offered, or not started; that is told, and is no outage."""
    user = User.identify(f"{method}:{answer}")
    if method == "list_workspaces":
        assert (await rude.build_form(user)).cards == ()
        assert "is set aside: " in caplog.text
        return
    with pytest.raises(AccessDenied) as refusal:
        await start(rude, user, "study")
    assert refusal.value.rule == ("F3" if method == "confirm" else "S2")
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("method", METHODS)
async def test_failure_names_plugin_and_method(rude: Any, method: str, how: str) -> None:
    """A4: bounded in time and in the log, with the cause."""
    told = await unavailable(rude, method, how)
    assert told.startswith(f"RudeManager.{method} {FAILURES[how]}")
    assert len(told) < 400


@pytest.mark.parametrize("how", FAILURES)
async def test_status_that_is_not_written_stops_no_start(rude: Any, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin's note of a start is not the start."""
    async with asyncio.timeout(20):
        await start(rude, User.identify(f"provisioned:{how}"), "study")
    assert f"RudeManager.provisioned {FAILURES[how]}" in caplog.text


@pytest.mark.parametrize("how", FAILURES)
async def test_failed_start_of_the_plugin_is_unavailable(rude: Any, how: str) -> None:
    """A4: and the next question tries again."""
    rude.mood = f"start:{how}"
    with pytest.raises(BackendUnavailable, match=f"RudeManager.start {FAILURES[how]}"):
        async with asyncio.timeout(20):
            await engine.Lifecycle(rude).begin()
    rude.mood = ""
    await engine.Lifecycle(rude).begin()


async def test_question_that_is_cancelled_is_no_failure_of_the_plugin(rude: Any) -> None:
    """A user who goes away must not be told as an outage."""
    question = asyncio.create_task(rude.build_form(User.identify("list_workspaces:hangs")))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question


@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        ("problems:none", "problems answered with 'None'; expected: a sequence of sentences"),
        ("problems:text", "problems answered with \"'one problem'\"; expected: a sequence of sentences"),
        ("problems:of-numbers", "problems answered with '[1]'; expected: a sequence of sentences"),
        ("problems:hangs", "problems did not end within 0.05 s"),
        ("problems:raises", "problems failed: KeyError: "),
        ("problems:exits", "problems failed: SystemExit: '3'"),
        ("start:hangs", "start did not end within 0.05 s"),
        ("close:raises", "close failed: KeyError: "),
    ],
)
async def test_doctor_tells_what_the_plugin_does_wrong(rude: Any, mood: str, expected: str) -> None:
    """In a sentence each, and it ends."""
    rude.mood = mood
    async with asyncio.timeout(20):
        unanswered: list[str] = []
        found = await _asked(rude, HANGS, [], unanswered)
    (told,) = [*found, *unanswered]
    assert told.startswith(expected)


async def test_close_that_hangs_does_not_hold_up_the_hub(rude: Any) -> None:
    """A hub that is told to end, ends."""
    rude.context.kube.timeouts = Timeouts(close=HANGS)
    service = Service(rude)
    await service.begin()
    await asyncio.sleep(0)
    rude.mood = "close:hangs"
    assert service._keeper is not None
    service._keeper.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await service._keeper


@pytest.fixture
async def demo(site: Path, tmp_path: Path) -> AsyncIterator[Demo]:
    """A real hub with the plugin."""
    environ = {"WORKSPACE_MANAGER": "rude", "PYTHONPATH": str(site)}
    async with Demo(tmp_path / "state", 0, environ=environ, say=lambda _line: None) as demo:
        yield demo


async def test_hub_lives_and_the_user_reads_a_sentence(demo: Demo) -> None:
    """A4: whatever each method does, all at once; and whoever is not concerned starts."""
    headers = {"Authorization": f"token {demo.hub_api_token}"}
    users = [f"{method}:{how}" for method in AT_A_START for how in (*FAILURES, "none")]
    async with aiohttp.ClientSession(f"{demo.url}/hub/api/", headers=headers) as http:

        async def start(user: str) -> tuple[int, str]:
            path = f"users/{user.replace(':', '%3A')}"
            async with http.post(path) as made:
                assert made.status == 201, await made.text()
            async with http.post(f"{path}/server", json={"profile": "study"}) as answer:
                return answer.status, await answer.text()

        for user, (status, told) in zip(users, await asyncio.gather(*map(start, users)), strict=True):
            assert (status, SENTENCE in told) == (503, True), f"{user}: {status} {told}"
            assert "RudeManager" not in told
            assert "secret-token" not in told
        status, told = await start("dora")
        assert status in (201, 202), told
    log = demo.hub_log.read_text()
    for method in AT_A_START:
        for words in ("did not answer within 1 s", "failed: KeyError", "failed: SystemExit", "answered with"):
            assert f"RudeManager.{method} {words}" in log
