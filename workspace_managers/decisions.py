"""Each decision, told once: a line for the auditor, and the metrics.

Always true here: a decision is told whatever way it ends. The line is one line of JSON in ASCII, of bounded length; it
says who, which workspace, the outcome and the rule, and on which versions of which resources it rests, and has no text
from a resource and no claim of an identity provider in it (rule F1).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter

from . import metrics
from .errors import AccessDenied, WorkspaceManagerError

AUDIT = logging.getLogger("JupyterHub.workspaces.audit")
NAME_LIMIT = 253
"""Longest name that the line shows whole: that of the longest workspace."""
_VERSIONS = 8


@dataclass(slots=True)
class Decision:
    """What a decision is about; whoever decides fills in what becomes known on the way.

    Attributes:
        stage: ``form``, ``options`` or ``pod``.
        user: Whose server it is, as the hub knows them.
        workspace: What was asked for, whatever that is; None for a form.
        by: Who asked, where that is somebody else: ``user`` or ``service``, and the name.
        versions: Versions of the resources that it rests on, as in ``Workspace.versions``.
        outcome: ``allowed``, ``denied``, ``unavailable``, or ``failed``: broken off, or a fault that nobody meant.
        rule: What refused; empty where nothing did.
    """

    stage: str
    user: str
    workspace: object = None
    by: tuple[str, str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    outcome: str = "failed"
    rule: str = ""

    def tell(self, seconds: float) -> None:
        """Write the line, and count."""
        metrics.DECISIONS.labels(self.stage, self.outcome, self.rule).inc()
        metrics.DECISION_SECONDS.labels(self.stage).observe(seconds)
        line = {
            "decision": self.stage,
            "user": _short(self.user),
            "by": {self.by[0]: _short(self.by[1])} if self.by else None,
            "workspace": _short(self.workspace) if isinstance(self.workspace, str) else None,
            "outcome": self.outcome,
            "rule": self.rule or None,
            "versions": {_short(kind): _short(version) for kind, version in islice(self.versions.items(), _VERSIONS)},
        }
        AUDIT.info("%s", json.dumps(line))


@contextlib.contextmanager
def deciding(stage: str, user: str, workspace: object = None, by: tuple[str, str] | None = None) -> Iterator[Decision]:
    """Tell of the decision that is made inside the block, when its outcome is known."""
    decision = Decision(stage, user, workspace, by)
    started = perf_counter()
    try:
        yield decision
        decision.outcome = "allowed"
    except WorkspaceManagerError as error:
        decision.outcome = "denied" if isinstance(error, AccessDenied) else "unavailable"
        decision.rule = error.rule
        raise
    finally:
        decision.tell(perf_counter() - started)


def _short(text: str) -> str:
    return text if len(text) <= NAME_LIMIT else f"{text[:NAME_LIMIT]}... ({len(text)} characters)"
