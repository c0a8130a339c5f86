"""The last lines of a run: the clauses of each plugin, and how they went."""

from __future__ import annotations

from collections import Counter
from typing import Any

_WORDS = {"passed": "kept", "failed": "broken", "error": "not run", "xfailed": "unsupported", "skipped": "left out"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Called by pytest at the end."""
    plugins: dict[str, Counter[str]] = {}
    for outcome, word in _WORDS.items():
        for report in terminalreporter.stats.get(outcome, ()):
            parts = getattr(report, "nodeid", "").split("::")
            if len(parts) == 3 and parts[1].startswith("Test_"):
                plugins.setdefault(parts[1].removeprefix("Test_"), Counter())[word] += 1
    for plugin, counts in sorted(plugins.items()):
        ways = ", ".join(f"{count} {word}" for word, count in counts.items())
        terminalreporter.write_line(f"{plugin}: {sum(counts.values())} clauses on the embedded API: {ways}")
