"""Whether something grew: the last quarter of a run beside its second one, once everybody has been there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.plot import Axis, Line, plot

QUANTITIES = ("memory", "files", "sockets", "tasks", "log")
MOST = 1.10
"""How many times as much the last quarter may have."""
SPARE = {"memory": 0.0, "files": 5.0, "sockets": 5.0, "tasks": 10.0, "log": 0.0}
"""So much more is nothing, of what is counted in small numbers."""


@dataclass(slots=True)
class Sample:
    """What the hub's process has at a moment.

    Attributes:
        seconds: Since the run began.
        running: Servers of people.
        memory: Resident, in bytes.
        files: Open file descriptors.
        sockets: Of these.
        tasks: Of its event loop.
        log: Bytes of its log in all.
    """

    seconds: float
    running: int
    memory: int
    files: int
    sockets: int
    tasks: int
    log: int


def quarters(samples: Sequence[Sample], what: str) -> tuple[float, float]:
    """The second and the last one: the median, or of the log the bytes a minute."""
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    return _of(before, what), _of(after, what)


def _of(part: Sequence[Sample], what: str) -> float:
    if what == "log":
        return 60 * (part[-1].log - part[0].log) / max(part[-1].seconds - part[0].seconds, 1.0)
    return float(median(getattr(each, what) for each in part))


def grown(samples: Sequence[Sample]) -> list[str]:
    """What has grown."""
    if len(samples) < 8:
        raise ValueError(f"{len(samples)} samples tell nothing; at least 8 are needed")
    found = []
    for what in QUANTITIES:
        before, after = quarters(samples, what)
        if after > before * MOST + SPARE[what]:
            found.append(what)
    return found


def resource_plot(samples: Sequence[Sample]) -> str:
    """Over the run, the memory, and the servers of people that run meanwhile."""
    minutes = samples[-1].seconds / 60
    memory = [(each.seconds / 60, each.memory / 2**20) for each in samples]
    running = [(each.seconds / 60, float(each.running)) for each in samples]
    most = 50 * (int(max(high for _, high in memory + running) / 50) + 1)
    return plot(
        "Memory of the hub's process, and servers that run, over the run",
        Axis("minutes", [minutes / 6 * part for part in range(7)]),
        Axis("MiB, and servers", [float(most * part / 5) for part in range(6)]),
        [
            Line("memory, MiB", "#0b6e4f", memory, marked=False),
            Line("servers", "#b3401f", running, dashed=True, marked=False),
        ],
    )


def table(samples: Sequence[Sample], did: Mapping[str, int], *, speed: float) -> str:
    """The result, in Markdown."""
    minutes = samples[-1].seconds / 60
    running = [each.running for each in samples]
    found = grown(samples)
    units = {"memory": (2**20, "MiB"), "log": (1024, "KiB a minute")}
    lines = [
        "# A hub for a long time",
        "",
        f"{minutes:.0f} minutes, the clock {speed:g} times as fast and past midnight in the middle. Servers at a time: "
        f"{median(running):.0f} in the middle, {max(running)} at most. "
        f"{', '.join(f'{count} {what}' for what, count in sorted(did.items()))}.",
        "",
        "| of the hub's process | second quarter | last quarter | |",
        "| --- | ---: | ---: | --- |",
    ]
    for what in QUANTITIES:
        size, unit = units.get(what, (1, ""))
        before, after = (value / size for value in quarters(samples, what))
        lines.append(
            f"| {what} | {before:,.0f} {unit} | {after:,.0f} {unit} | {'**grown**' if what in found else 'flat'} |"
        )
    return "\n".join(lines) + "\n"
