"""Lines about what others may cause without end are few, and hide none about something else."""

from __future__ import annotations

import logging

import pytest

from workspace_managers import LogLimit
from workspace_managers.loglimit import LINES_PER_MINUTE, LINES_PER_SUBJECT

LOG = logging.getLogger("test.loglimit")


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def limit(clock: list[float], caplog: pytest.LogCaptureFixture) -> LogLimit:
    caplog.set_level(logging.INFO, LOG.name)
    return LogLimit(LOG, clock=lambda: clock[0])


def test_one_subject_has_a_share_and_leaves_room_for_others(limit: LogLimit, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        limit.write(logging.WARNING, "one", "one, %d", number)
    limit.write(logging.INFO, "other", "other")
    written = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert written == [*((logging.WARNING, f"one, {n}") for n in range(LINES_PER_SUBJECT)), (logging.INFO, "other")]


def test_many_subjects_have_a_share_together(limit: LogLimit, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        limit.write(logging.WARNING, str(number), "line")
    assert len(caplog.records) == LINES_PER_MINUTE


def test_next_minute_begins_with_how_many_lines_were_left_out(
    limit: LogLimit, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    for second in (0.0, 59.9, 60.0, 119.9, 300.0):
        clock[0] = second
        caplog.clear()
        for _ in range(LINES_PER_SUBJECT if second != 59.9 else 7):
            limit.write(logging.WARNING, "one", "line")
        expected = {0.0: ["line"] * 5, 59.9: [], 60.0: ["7 lines like the next one were left out", *["line"] * 5]}
        expected |= {119.9: [], 300.0: ["5 lines like the next one were left out", *["line"] * 5]}
        assert [record.getMessage() for record in caplog.records] == expected[second], second
