"""The benchmark works: a small run of it, with what must be so at any size and on any machine. No time is judged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import admission, namespaces

BINDINGS = 120


async def test_small_run_is_whole(tmp_path: Path) -> None:
    """A form without a request, a start with four in two round trips, and a table and a plot of it."""
    result = await program.bench(BINDINGS, crowds=(5, 10))
    warm, start = result["warm"], result["start"]
    assert (warm["ours"]["requests"], warm["reference"]["requests"]) == (0, 5)
    assert (start["requests"], start["round_trips"]) == (4, 2)
    # A watch of each collection, which begins with its list. Then the list that it is compared with, and where
    # something else was written meanwhile a second watch; a form need not wait for these.
    assert 2 <= result["cold"]["ours"]["requests"] <= 6
    for who, requests in (("ours", 0), ("reference", 50)):
        crowd = result["crowds"]["10"][who]
        assert (crowd["requests"], crowd["failed"]) == (requests, 0)
    assert result["relist"]["requests"] >= 2
    assert set(result["relist"]["answers"]) <= {"forms whole", "starts made"}, "so few are listed within the grace"
    assert result["claims"]["bindings"] == BINDINGS

    table = program.write([result], tmp_path)
    assert "| warm form: requests | 0 | 5 |" in table
    assert json.loads((tmp_path / f"{BINDINGS}.json").read_text()) == result
    assert (tmp_path / "table.md").read_text() == table
    lines = ElementTree.parse(tmp_path / "form.svg").iter("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own
    assert len(list(lines)) == 4


def test_too_small_a_size_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--output", "x", "99"])
    with pytest.raises(SystemExit):
        program.main()
    assert "99 bindings are too few; at least 100 are needed" in capsys.readouterr().err


async def test_small_run_of_admission_has_a_row_for_each_size() -> None:
    table = admission.table(await admission.measured(sizes=(1, 3), pairs=2))
    rows = [line.split(" | ")[0] for line in table.splitlines()[4:]]
    assert rows == ["| 1", "| 3"]


async def test_small_run_of_namespaces_counts_a_watch_of_each_and_of_all() -> None:
    """S9: two lists for each namespace, or two for all, and then watches."""
    costs, _ = await namespaces.measured(namespaces=10, servers=10, watched=1.0)
    assert [cost.requests >= least for cost, least in zip(costs.values(), (20, 2), strict=True)] == [True, True]
    each, of_all = costs.values()  # a slow machine opens its watches more than once
    assert of_all.requests < each.requests
    assert namespaces.table(costs).count("\n") == 3
