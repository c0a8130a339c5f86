"""The run of reviews finds what it looks for: a small one is right, and mistakes of the product are told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.sessions import __main__ as run_module
from tests.sessions.__main__ import BOUND_SECONDS, GOOD, LEFT, OUTLIVED, RETURN_SECONDS, Life, Run
from tests.sessions.outage import outage
from workspace_managers import engine
from workspace_managers.contract.proxy import refuse
from workspace_managers.engine import Answer, Review
from workspace_managers.hub import sessions


@pytest.fixture(autouse=True)
def quiet() -> Any:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    yield
    root.setLevel(level)


def life(*changes: tuple[float, float, bool], stopped_at: float | None = None, asked_at: float = 0.0) -> Any:
    server: Any = type("Stopped", (), {"stopped_at": stopped_at, "asked_at": asked_at})()
    return Life("alice", "study", server, list(changes))


@pytest.mark.parametrize(
    ("changes", "since", "until", "good"),
    [
        pytest.param([(0, 1, True)], 2, 3, True, id="always"),
        pytest.param([(0, 1, True)], 0.5, 3, False, id="not-certain-yet"),
        pytest.param([(0, 1, True), (2, 3, False)], 4, 5, False, id="ended-before"),
        pytest.param([(0, 1, True), (2, 3, False)], 1.5, 2.5, False, id="ends-meanwhile"),
        pytest.param([(0, 1, True), (6, 7, False)], 4, 5, True, id="ends-later"),
        pytest.param([(0, 1, True), (2, 3, False), (4, 5, True)], 5.5, 6, True, id="given-again"),
        pytest.param([(0, 1, True), (2, 3, False), (4, 5, True)], 3.5, 6, False, id="given-again-meanwhile"),
    ],
)
def test_grant_was_good_only_where_that_is_certain(changes: Any, since: float, until: float, good: bool) -> None:
    assert life(*changes).was_good(since, until) is good


def test_good_server_that_was_stopped_is_found() -> None:
    run = Run(1, 1, print)
    run._lives = {"alice": life((0, 1, True), stopped_at=5.0, asked_at=4.0)}
    run._judge()
    assert run.found[GOOD] == ["alice"]


@pytest.mark.parametrize(
    ("away", "now", "found"),
    [
        pytest.param([], BOUND_SECONDS + 2.5, ["alice"], id="too-late"),
        pytest.param([], BOUND_SECONDS, [], id="in-time"),
        pytest.param([(2.0, 20.0)], 20.0 + RETURN_SECONDS - 1, [], id="nobody-to-ask"),
        pytest.param([(2.0, 20.0)], 20.0 + RETURN_SECONDS + 1, ["alice"], id="too-late-after-an-outage"),
        pytest.param([(2.0, float("inf"))], 1000.0, [], id="still-away"),
        pytest.param([(40.0, 50.0)], BOUND_SECONDS + 3, ["alice"], id="away-later"),
    ],
)
def test_server_that_outlives_its_grant_is_found(
    monkeypatch: pytest.MonkeyPatch, away: list[tuple[float, float]], now: float, found: list[str]
) -> None:
    run = Run(1, 1, print)
    run._away = away
    run._lives = {"alice": life((0, 1, True), (1, 2, False))}
    monkeypatch.setattr(run_module, "monotonic", lambda: now)
    run._judge()
    assert run.found[OUTLIVED] == found


@pytest.mark.parametrize(
    ("away", "slowest"),
    [
        pytest.param([], 3.0, id="always-somebody"),
        pytest.param([(0.5, 1.5)], 3.0, id="away-before"),
        pytest.param([(0.5, 3.0)], 2.0, id="away-as-it-ended"),
        pytest.param([(0.5, 2.5), (3.0, 4.0)], 1.0, id="away-twice"),
        pytest.param([(4.0, 9.0)], 0.0, id="stopped-meanwhile"),
        pytest.param([(6.0, 9.0)], 3.0, id="away-later"),
    ],
)
def test_slowest_end_is_from_when_there_was_somebody_to_ask(away: list[tuple[float, float]], slowest: float) -> None:
    run = Run(1, 1, print)
    run._away = away
    run._measure(life((0, 1, True), (1, 2, False)), 5.0)
    assert run.slowest == slowest


async def test_small_run_is_right() -> None:
    run = Run(120, 7, print)
    await run.run()
    assert not any(run.found.values()), run.found
    assert run.happened["stopped"] > 10


async def test_uncertain_answer_that_is_taken_for_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = engine.review

    async def wrong(*args: Any) -> Review:
        review = await right(*args)
        return Review(Answer.ENDED, error=review.error) if review.answer is Answer.UNCERTAIN else review

    monkeypatch.setattr(engine, "review", wrong)
    monkeypatch.setattr(sessions, "RETRY_SECONDS", 0.1)
    run = Run(120, 3, print)

    async def refuse_what_every_server_is_reviewed_by() -> None:
        while True:
            with run._proxy.inject(refuse(503, "Injected")):
                run._hub.manager.context.changed()
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.3)

    monkeypatch.setattr(run, "_disturb", refuse_what_every_server_is_reviewed_by)
    await run.run()
    assert run.found[GOOD] + run.found[LEFT]


async def test_outage_stops_nothing_and_what_ended_meanwhile_is_stopped_after_it() -> None:
    seen = await outage(6)
    assert seen.is_right, seen
