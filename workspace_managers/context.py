"""What the framework hands to a plugin: settings, the Kubernetes client, a logger and the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from .kube.client import Kube
from .loglimit import LogLimit
from .settings import Settings
from .timeouts import Timeouts

Listener = Callable[[frozenset[str], frozenset[str]], None]
"""Takes usernames and workspaces; both empty for anybody's."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the framework hands to a plugin.

    Attributes:
        settings: The environment, read and checked.
        kube: The one Kubernetes client; it opens at the first call, never while the hub's config loads (rule L3).
        log: A logger of the plugin's own. Log no token and no secret, and texts from outside through ``errors.quote``.
        limited_log: The same log at a bounded rate, for what somebody else may cause without end.
        clock: The present moment, with a time zone; read it when the question is asked (rule A1).
    """

    settings: Settings
    kube: Kube
    log: logging.Logger
    clock: Callable[[], datetime] = field(default=_now)
    limited_log: LogLimit = field(init=False, repr=False, compare=False)
    _listeners: list[Listener] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make what hangs on the others."""
        object.__setattr__(self, "limited_log", LogLimit(self.log))

    def changed(self, usernames: Iterable[str] = (), workspaces: Iterable[str] = ()) -> None:
        """Tell that the backend has changed, so that the servers concerned are reviewed now (rule E1).

        For a plugin with the capability ``TELLS_CHANGES``, on the hub's loop, once the plugin itself has heard of the
        change. Tell of those alone whom it may concern: nobody else is asked about.

        Args:
            usernames: Whose access may have changed, as in ``User.username``.
            workspaces: What may have changed for everybody, by ``Workspace.name``; with neither, anything may have.
        """
        told = frozenset(usernames), frozenset(workspaces)
        for listener in self._listeners:
            listener(*told)

    def listen(self, listener: Listener) -> None:
        """Have a function called with what ``changed`` is told; for the framework."""
        self._listeners.append(listener)

    @property
    def timeouts(self) -> Timeouts:
        """How long the framework waits; its client has the same."""
        return self.kube.timeouts

    @property
    def namespace(self) -> str:
        """The namespace of the hub, its user pods and its claims."""
        return self.settings.namespace

    def today(self) -> date:
        """The calendar day now, in ``WORKSPACE_TIMEZONE``."""
        return self.clock().astimezone(self.settings.timezone).date()
