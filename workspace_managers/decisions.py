"""Each decision, written once when its outcome is known: a line for the auditor, and the metrics.

The line is one line of JSON in ASCII, of bounded length, written to standard error by a handler of its own, which no
log level of the hub turns off. It has no text from a resource and no identity claim in it (rule F1). Its schema is in
``docs/audit.md``.
"""

from __future__ import annotations

import json
import logging
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from time import perf_counter

from . import metrics
from .errors import WorkspaceManagerError

NAME_LIMIT = 253
"""Longest name that the line shows whole: that of the longest workspace."""
_VERSIONS = 8
ALLOWED = "allowed"


class _ToStandardError(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the type stubs only
    """Writes to whatever standard error is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        return sys.stderr


def _audit_logger() -> logging.Logger:
    # Not below the hub's own logger, whose level and handlers are the operator's to choose.
    logger = logging.getLogger("workspace_managers.audit")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = _ToStandardError()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    return logger


AUDIT = _audit_logger()


def new_request() -> str:
    """An identifier for one question to the manager: 12 hexadecimal digits, in the audit line and in the hub's log."""
    return uuid.uuid4().hex[:12]


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a decision is about; whoever decides fills in what becomes known on the way.

    Attributes:
        stage: ``form``: a form was shown. ``pod``: a pod was asked for. ``start``: the pod was there, and its server
            did not come up. ``session``: a running server was stopped, or it became uncertain or certain again whether
            its user has access. ``share``: a share of a server was taken away, from ``user``; the server is then the
            owner's name, a slash and the server's name.
        request: The identifier of the question, the same in ``pod`` and ``start`` and in the hub's log.
        user: Whose server it is, as the hub knows them.
        server: The server's name; empty for the unnamed one, None for a form.
        workspace: What was asked for, whatever that is; None for a form.
        by: Who asked: ``user``, ``service`` or ``hub``, and the name.
        pod: Name of the pod, once one was asked for.
        uid: Its UID, once it was created.
        namespace: Where the pod is, where that is not the hub's own namespace.
        versions: Versions of the resources that it rests on, as in ``Workspace.versions``.
    """

    stage: str
    request: str
    user: str
    by: tuple[str, str]
    server: str | None = None
    workspace: object = None
    pod: str | None = None
    uid: str | None = None
    namespace: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=perf_counter)
    _written: bool = False

    @property
    def written(self) -> bool:
        """Whether its outcome was written; it is written once."""
        return self._written

    def allow(self) -> None:
        """What was asked for has happened."""
        self._write(ALLOWED, "")

    def end(self, error: BaseException) -> str:
        """What was asked for did not happen, for this reason.

        Returns:
            The outcome: the error's own, or ``failed`` for what nobody meant, such as a start that was broken off.
        """
        outcome, rule = (error.outcome, error.rule) if isinstance(error, WorkspaceManagerError) else ("failed", "")
        self._write(outcome, rule)
        return outcome

    def _write(self, outcome: str, rule: str) -> None:
        if self._written:
            return
        self._written = True
        metrics.DECISIONS.labels(self.stage, outcome, rule).inc()
        metrics.DECISION_SECONDS.labels(self.stage).observe(perf_counter() - self._began)
        elsewhere = {"namespace": self.namespace} if self.namespace else {}
        line = {
            "decision": self.stage,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": self.request,
            "user": _short(self.user),
            "by": {self.by[0]: _short(self.by[1])},
            "server": None if self.server is None else _short(self.server),
            "workspace": _short(self.workspace) if isinstance(self.workspace, str) else None,
            "outcome": outcome,
            "rule": rule or None,
            "versions": {_short(kind): _short(version) for kind, version in islice(self.versions.items(), _VERSIONS)},
            "pod": None if self.pod is None else {"name": _short(self.pod), "uid": self.uid, **elsewhere},
        }
        AUDIT.info("%s", json.dumps(line))


def _short(text: str) -> str:
    return text if len(text) <= NAME_LIMIT else f"{text[:NAME_LIMIT]}... ({len(text)} characters)"
