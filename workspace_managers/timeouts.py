"""How long the product waits, for what a test, the contract or an operator may need to be another length."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Times in seconds. ``Kube`` carries them, so that everything that has the client has the same ones.

    Attributes:
        answer: How long a plugin may take for one answer before it counts as unavailable.
        confirmed: How old a confirmation may be when the claims are there; after more, access is confirmed once more.
        close: How long a plugin may take to close before the hub or the command ends all the same.
        request: Longest time for one try of one request to the Kubernetes API.
        first_list: Longest wait for a cache's first list, counted from the start of the cache.
        patience: Longest wait for a cache whose connection is to come back.
        grace: How long a cache's content is good for after it was last known current: the seconds of a usual reconnect.
        silence: Longest time without a byte on a watch; an API server sends a bookmark about every minute.
        opening: Longest time for a watch to open, and between two parts of a streamed list.
        line: Longest time for the rest of a line of which a part has come.
        pause: Upper bound of the random pause after the first fault of a cache, and the longest that it becomes.
        wake: Whoever waits for a cache cuts its pause short, but not below this.
    """

    answer: float = 30.0
    confirmed: float = 2.0
    close: float = 10.0
    request: float = 5.0
    first_list: float = 10.0
    patience: float = 2.0
    grace: float = 5.0
    silence: float = 90.0
    opening: float = 10.0
    line: float = 5.0
    pause: tuple[float, float] = (0.2, 10.0)
    wake: float = 0.5
