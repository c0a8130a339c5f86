"""What the hub's own ``/hub/metrics`` tells of workspaces: decisions, provisioning times, caches, API errors.

Always true here: no label has the name of a user or of a workspace, so the number of series stays small, and who may
read metrics learns of nobody.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

DECISIONS = Counter(
    "workspace_managers_decisions",
    "Decisions by where they were made, how they ended, and the rule that refused",
    ("stage", "outcome", "rule"),
)
DECISION_SECONDS = Histogram(
    "workspace_managers_decision_seconds",
    "Time of a decision; at stage pod it is that of the provisioning, claims included",
    ("stage",),
    buckets=_SECONDS,
)
SESSIONS = Gauge(
    "workspace_managers_sessions",
    "Servers that run, by whether the last review of their users' access had a certain answer",
    ("answer",),
)
API_ERRORS = Counter(
    "workspace_managers_api_errors",
    "Requests to the Kubernetes API that failed, by HTTP status; none where no answer came",
    ("code",),
)


class Cache(Protocol):
    """What is told of a cache.

    Attributes:
        collection: What it holds, in one word.
        relists: Lists made after the first one.
        faults: Faults that a pause followed.
        skipped: Objects left out because they could not be read.
    """

    collection: str
    relists: int
    faults: int
    skipped: int

    @property
    def age(self) -> float:
        """Seconds since the content was last known current; inf before the first list."""

    def __len__(self) -> int: ...


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def watch_cache(cache: Cache) -> None:
    """Tell of this cache for as long as somebody holds it."""
    _caches.add(cache)


class _Caches(Collector):
    _GAUGES: tuple[tuple[str, str, Callable[[Cache], float]], ...] = (
        ("age_seconds", "Seconds since a cache was last known current; 0 while its watch is alive", lambda c: c.age),
        ("objects", "Objects that a cache holds", len),
    )
    _COUNTERS: tuple[tuple[str, str, Callable[[Cache], float]], ...] = (
        ("relists", "Lists that a cache made after its first one", lambda c: c.relists),
        ("faults", "Faults of a cache's list or watch", lambda c: c.faults),
        ("skipped", "Objects that a cache left out because they could not be read", lambda c: c.skipped),
    )

    def collect(self) -> Iterable[Metric]:
        """One sample of each for each collection."""
        caches = {cache.collection: cache for cache in _caches}
        for family, kinds in ((GaugeMetricFamily, self._GAUGES), (CounterMetricFamily, self._COUNTERS)):
            for name, text, value in kinds:
                metric = family(f"workspace_managers_cache_{name}", text, labels=["collection"])
                for collection, cache in caches.items():
                    metric.add_metric([collection], value(cache))
                yield metric


REGISTRY.register(_Caches())
