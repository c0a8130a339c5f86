"""What the framework hands to a plugin: settings, the Kubernetes client, a logger and the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from .kube.client import Kube
from .loglimit import LogLimit
from .settings import Settings
from .timeouts import Timeouts


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

    def __post_init__(self) -> None:
        """Make what hangs on the others."""
        object.__setattr__(self, "limited_log", LogLimit(self.log))

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
