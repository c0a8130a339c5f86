"""Results as a table and as a plot.

Always true here: pure functions from what was measured to text. A ratio is the reference's figure divided by ours, how
many times as fast ours is; but for starts it is ours divided by the bare spawner's, how many times as long ours takes.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.plot import Axis, Line, plot

Result = Mapping[str, Any]

_TARGETS: tuple[tuple[str, str, str, float, Callable[[Result], float], int], ...] = (
    # The last figure is the smallest size that it holds for: with fewer objects, resident memory is mostly that of the
    # buffers which every size needs, and the reference has little to look through.
    ("resident memory of a binding", "bytes", "at most", 1024, lambda r: r["memory"]["bytes_per_binding"], 100_000),
    ("resident memory of a workspace", "bytes", "at most", 1024, lambda r: r["memory"]["bytes_per_workspace"], 100_000),
    ("requests of a warm form", "", "at most", 0, lambda r: r["warm"]["ours"]["requests"], 0),
    ("a warm form, times as fast", "", "at least", 50, lambda r: r["warm"]["ratio"], 10_000),
    ("500 forms at once, times the rate", "", "at least", 10, lambda r: _rate(_largest(r)), 0),
    ("longest block of the loop, first list", "ms CPU", "at most", 50, lambda r: _block(r["cold"]["ours"]), 0),
    ("longest block of the loop, 500 forms", "ms CPU", "at most", 50, lambda r: _block(_largest(r)["ours"]), 0),
    ("longest block of the loop, relist", "ms CPU", "at most", 50, lambda r: _block(r["relist"]), 0),
    ("requests that a start adds", "", "at most", 4, lambda r: r["start"]["requests"], 0),
    ("round trips that a start adds", "", "at most", 2, lambda r: r["start"]["round_trips"], 0),
    ("from a revocation until a start refuses", "ms", "at most", 1000, lambda r: _revoked(r, "start"), 0),
    ("from a revocation until the form refuses", "ms", "at most", 1000, lambda r: _revoked(r, "form"), 0),
)
_STEPS = (
    # Each begins where the one before ends.
    ("from the click until the pod is created", "created"),
    ("until its container runs", "runs"),
    ("until the server in it listens", "listens"),
    ("until the hub tells the page that it is ready", "ready"),
    ("until the person has the page of JupyterLab", "lab"),
)
_MOST_TIMES = 1.1
"""How many times as long as with the bare spawner a start may take."""
_SAMPLES = 4000
_COLOURS = {"ours": "#0b6e4f", "reference": "#b3401f"}


def table(results: Sequence[Result]) -> str:
    """All sizes, in Markdown: ours beside the reference, and ours beside what is to be reached."""
    lines = []
    for result in results:
        machine = result["machine"]
        lines += [
            f"## {result['bindings']:,} bindings and as many workspaces",
            "",
            f"{machine['cores']} cores ({machine['cpu']}), load {machine['load']:.1f} before; "
            f"kube-apiserver {machine['apiserver']}, Python {machine['python']}.",
            "",
            "| | ours | reference | ratio |",
            "| --- | ---: | ---: | ---: |",
            *_compared(result),
            "",
            "| to reach | | measured | |",
            "| --- | ---: | ---: | --- |",
            *_reached(result),
            "",
            *_notes(result),
            "",
        ]
    return "\n".join(lines)


def start_table(result: Result) -> str:
    """Starts of both hubs in turn, in Markdown: medians of each step and of the whole, and the ratios."""
    machine, pairs = result["machine"], result["pairs"]
    whole = {side: _seconds(pairs, side, None, "lab") for side in ("ours", "bare")}
    medians = {side: statistics.median(seconds) for side, seconds in whole.items()}
    ratio = medians["ours"] / medians["bare"]
    paired = [ours / bare for ours, bare in zip(whole["ours"], whole["bare"], strict=True)]
    least, most = _drawn_again(list(zip(whole["ours"], whole["bare"], strict=True)))
    lines = [
        f"{result['date']}, `{result['command']}`: {len(pairs)} pairs on one whole cluster (Kubernetes "
        f"{machine['apiserver']}), JupyterHub {result['jupyterhub']}, KubeSpawner {result['kubespawner']}, Python "
        f"{machine['python']}; {machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, load "
        f"{machine['load']:.1f} before.",
        "",
        "| medians, in seconds | ours | bare | ratio |",
        "| --- | ---: | ---: | ---: |",
        *_of_steps(pairs),
        f"| from the click to JupyterLab | {medians['ours']:.2f} | {medians['bare']:.2f} | {ratio:.2f} |",
        "",
        "| spread, from the click to JupyterLab | least | quarter | median | three quarters | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(_spread(f"{side}: s", seconds) for side, seconds in whole.items()),
        _spread("ours divided by bare, pair by pair", paired),
        "",
        "Of the pairs drawn again and again, as many as there are, the ratio of the medians is from "
        f"{least:.2f} to {most:.2f} in 95 of 100 cases.",
        "",
        "| to reach | | measured | |",
        "| --- | ---: | ---: | --- |",
        f"| from the click to JupyterLab, times as long as bare | at most {_MOST_TIMES:g} | {ratio:.2f} | "
        f"{'yes' if ratio <= _MOST_TIMES else '**no**'} |",
        "",
    ]
    return "\n".join(lines)


def _of_steps(pairs: Sequence[Result]) -> Iterable[str]:
    before = None
    for what, step in _STEPS:
        ours, bare = (statistics.median(_seconds(pairs, side, before, step)) for side in ("ours", "bare"))
        yield f"| {what} | {ours:.2f} | {bare:.2f} | {ours / bare:.2f} |"
        before = step


def _seconds(pairs: Sequence[Result], side: str, before: str | None, step: str) -> list[float]:
    return [pair[side][step] - (pair[side][before] if before else 0.0) for pair in pairs]


def _spread(what: str, values: Sequence[float]) -> str:
    figures = (min(values), *statistics.quantiles(values, n=4, method="inclusive"), max(values))
    return " | ".join([f"| {what}", *(f"{figure:.2f}" for figure in figures)]) + " |"


def _drawn_again(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Between which ratios of medians 95 of 100 samples of the pairs are: what chance alone may do (the bootstrap)."""
    chance = random.Random(0)  # noqa: S311 - the same table of the same result
    ratios = []
    for _ in range(_SAMPLES):
        ours, bare = zip(*chance.choices(pairs, k=len(pairs)), strict=True)
        ratios.append(statistics.median(ours) / statistics.median(bare))
    cuts = statistics.quantiles(ratios, n=40)
    return cuts[0], cuts[-1]


def _compared(result: Result) -> Iterable[str]:
    cold, warm = result["cold"], result["warm"]
    yield _row("first form: s", *(cold[each]["seconds"] for each in _COLOURS))
    yield _row("first form: requests", *(cold[each]["requests"] for each in _COLOURS))
    yield _row("first form: MB sent by the server", *(cold[each]["server_bytes"] / 1e6 for each in _COLOURS))
    yield _row("first form: s of server CPU", *(cold[each]["server_cpu_seconds"] for each in _COLOURS))
    times = [warm[each]["median_seconds"] * 1e3 for each in _COLOURS]
    yield _row("warm form: ms (median of pairs)", times[0], times[1], warm["ratio"])
    yield _row("warm form: requests", *(warm[each]["requests"] for each in _COLOURS))
    yield _row("warm form: kB sent by the server", *(warm[each]["server_bytes"] / 1e3 for each in _COLOURS))
    yield _row("warm form: ms of server CPU", *(warm[each]["server_cpu_seconds"] * 1e3 for each in _COLOURS))
    for size, crowd in result["crowds"].items():
        what = f"{size} forms at once"
        yield _row(f"{what}: s", *(crowd[each]["seconds"] for each in _COLOURS))
        yield _row(f"{what}: failed", *(crowd[each]["failed"] for each in _COLOURS))
        yield _row(f"{what}: requests", *(crowd[each]["requests"] for each in _COLOURS))
        yield _row(f"{what}: MB sent by the server", *(crowd[each]["server_bytes"] / 1e6 for each in _COLOURS))
        yield _row(f"{what}: s of server CPU", *(crowd[each]["server_cpu_seconds"] for each in _COLOURS))
        yield _row(f"{what}: ms that the loop was blocked", *(crowd[each]["longest_block_ms"] for each in _COLOURS))


def _reached(result: Result) -> Iterable[str]:
    for what, unit, bound, limit, figure, smallest in _TARGETS:
        if result["bindings"] < smallest:
            continue
        value = figure(result)
        reached = value <= limit if bound == "at most" else value >= limit
        yield f"| {what} | {bound} {limit:g} {unit} | {_number(value)} | {'yes' if reached else '**no**'} |"


def _notes(result: Result) -> Iterable[str]:
    cold, relist, claims = result["cold"]["ours"], result["relist"], result["claims"]
    crowd = _largest(result)["ours"]
    yield (
        "By the clock, with the server on the same cores, the longest blocks were "
        f"{cold['longest_block_ms']:.0f} ms (first list), {crowd['longest_block_ms']:.0f} ms (500 forms) and "
        f"{relist['longest_block_ms']:.0f} ms (relist). {_relisted(relist)} "
        f"With {claims['bindings']} bindings by claims alone a form took "
        f"{claims['after_seconds'] * 1e3:.2f} ms, without them {claims['before_seconds'] * 1e3:.2f} ms."
    )


def _relisted(relist: Result) -> str:
    answers, crowd = relist["answers"], relist["crowd"]
    kinds = ("forms whole", "forms incomplete", "forms unavailable", "starts made", "starts unavailable")
    told = (
        f"A relist took {relist['seconds']:.1f} s. Meanwhile one user asked for forms and starts in turn: "
        f"{_counted(answers, *kinds)}."
    )
    if crowd is None:
        return told
    return (
        f"{told} {crowd['people']} others asked at one moment of it and were answered in {crowd['seconds']:.1f} s: "
        f"{_counted(crowd, 'whole', 'incomplete', 'unavailable')}."
    )


def _counted(counts: Mapping[str, int], *kinds: str) -> str:
    return ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in kinds)


def _row(what: str, ours: float, reference: float, ratio: float | None = None) -> str:
    ratio = ratio or (reference / ours if ours else None)
    return f"| {what} | {_number(ours)} | {_number(reference)} | {'' if ratio is None else _number(ratio)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def _largest(result: Result) -> Result:
    crowd: Result = list(result["crowds"].values())[-1]
    return crowd


def _rate(crowd: Result) -> float:
    return float(crowd["reference"]["seconds"] / crowd["ours"]["seconds"])


def _block(measured: Result) -> float:
    return float(measured["longest_block_cpu_ms"])


def _revoked(result: Result, what: str) -> float:
    return float(result["revocation"][f"{what}_seconds"] * 1000)


def form_plot(results: Sequence[Result]) -> str:
    """By the bindings, the seconds of one warm form and of 500 at once."""
    lines = []
    for who, colour in _COLOURS.items():
        one = [(result["bindings"], result["warm"][who]["median_seconds"]) for result in results]
        crowd = [(result["bindings"], _largest(result)[who]["seconds"]) for result in results]
        lines += [Line(f"{who}, one form", colour, one), Line(f"{who}, 500 at once", colour, crowd, dashed=True)]
    return plot(
        "Seconds for one form and for 500 at once, by the number of bindings",
        Axis("bindings", [10**power for power in range(2, 7)], powers=True),
        Axis("seconds", [10.0**power for power in range(-5, 4)], powers=True),
        lines,
    )
