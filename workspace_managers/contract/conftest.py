"""The last lines of a run: the clauses of each plugin, on which API, and how they went."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from ..errors import ConfigurationError
from .world import name_of_api, own_cluster

_WORDS = {"passed": "kept", "failed": "broken", "error": "not run", "xfailed": "unsupported", "skipped": "left out"}
_API = "API"
"""The user property of a clause: where it ran, so that the lines tell of every process that ran some."""


@pytest.fixture(scope="session")
def api() -> str:
    """The API of this run, in words; a run that has none is ended at once, by one sentence."""
    try:
        return asyncio.run(name_of_api(own_cluster()))
    except ConfigurationError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(autouse=True)
def _note_api(api: str, record_property: Any) -> None:
    record_property(_API, api)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Called by pytest at the end."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for outcome, word in _WORDS.items():
        for report in terminalreporter.stats.get(outcome, ()):
            parts = getattr(report, "nodeid", "").split("::")
            if len(parts) == 3 and parts[1].startswith("Test_"):
                where = dict(report.user_properties).get(_API, "no API")
                found.setdefault((parts[1].removeprefix("Test_"), where), Counter())[word] += 1
    for (plugin, where), counts in sorted(found.items()):
        ways = ", ".join(f"{count} {word}" for word, count in counts.items())
        terminalreporter.write_line(f"{plugin}: {sum(counts.values())} clauses on {where}: {ways}")
