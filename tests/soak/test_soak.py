"""What grows is found, what goes up and down is not; and a short run is whole. No figure of it is judged."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.soak import __main__ as program
from tests.soak.judge import QUANTITIES, Sample, grown, table

FLAT = {"memory": 200 * 2**20, "files": 60, "sockets": 40, "tasks": 50}


def samples(growth: Mapping[str, float], count: int = 40) -> list[Sample]:
    """A run in which some quantities grow by so much of themselves from its second quarter to its last."""

    def at(number: int, what: str) -> int:
        return int(FLAT[what] * (1 + growth.get(what, 0.0) * (number / count - 0.375) / 0.5))

    return [
        Sample(
            seconds=5.0 * number,
            running=number % 7,
            log=int(1000 * number * (1 + growth.get("log", 0.0) * number / count)),
            **{what: at(number, what) for what in FLAT},
        )
        for number in range(count)
    ]


def test_run_that_stays_as_it_is_is_flat() -> None:
    assert grown(samples({})) == []
    assert grown(samples({"memory": 0.05, "tasks": 0.1, "log": 0.02})) == []
    assert "| memory | 200 MiB | 200 MiB | flat |" in table(samples({}), {"stops": 3}, speed=20)


@pytest.mark.parametrize("what", QUANTITIES)
def test_what_grows_is_told(what: str) -> None:
    run = samples({what: 0.5})
    assert grown(run) == [what]
    assert table(run, {}, speed=20).count("**grown**") == 1


def test_too_few_samples_tell_nothing() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        grown(samples({}, 7))


async def test_short_run_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """People sign in, see their workspace, start and stop it; the clock goes past midnight, which ends some access."""
    monkeypatch.setattr(program, "STAY_SECONDS", (1.0, 5.0))
    monkeypatch.setattr(program, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(program, "SAMPLE_SECONDS", 1.0)
    monkeypatch.setattr(program, "LAST_DAY_EVERY", 2)
    found, did = await program.soak(0.7, 6)
    assert len(found) >= 8
    assert min(each.tasks for each in found[2:]) > 0
    assert min(each.memory for each in found) > 2**20
    assert did["forms"] == did["sign-ins 302"] > did["forms without it"] > 0
    assert did["starts 201"] >= did["stops"] > 0
    assert not [what for what in did if what.startswith("failed")]
