"""What can go wrong, and who reads which part of it.

``str(error)`` is for the log, bounded and free of secrets; ``user_message`` is a plain sentence for the person in front
of the page, and names nothing that is not theirs (rule A4); ``rule`` is a number of ``rules.RULES``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .rules import RULES
from .texts import N_, _

LOG_LIMIT = 200
FILES_ARE_KEPT = N_("What is saved in the folder of a workspace is kept.")
"""It is in every sentence about a start that failed, word for word: pages look for it."""


def quote(value: object, limit: int = LOG_LIMIT) -> str:
    """Show a value that was not written by us in a log line: escaped, on one line, at most ``limit`` characters."""
    text = value if isinstance(value, str) else repr(value)
    shown = ascii(text[: limit + 1])
    return shown if len(text) <= limit else f"{text[:limit]!a}... ({len(text)} characters)"


class WorkspaceManagerError(Exception):
    """The root: catch it to catch everything that this product raises on purpose.

    Args:
        message: For the log: what was found, what is accepted, what to do next.
        user_message: For the user; the class has a sentence of its own when it is left out. One of the catalogue is
            said in the language of the site (``texts``).
        rule: The number of the rule that refused, such as ``A1``, for the audit line; the class has one of its own,
            or none (an empty text) where nothing was refused.

    Attributes:
        outcome: The word for it in the audit line and in metrics; each class has its own.

    Raises:
        ValueError: There is no such rule; for a class, when it is defined with another ``default_rule``.
    """

    outcome = "failed"
    default_rule = ""
    default_user_message = N_(
        "Something went wrong. What is saved in the folder of a workspace is kept. Please tell the people who run "
        "this service."
    )

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        if cls.default_rule:
            _known(cls.default_rule)

    def __init__(self, message: str, *, user_message: str | None = None, rule: str | None = None) -> None:
        super().__init__(message)
        self.user_message = _(user_message or self.default_user_message)
        self.rule = self.default_rule if rule is None else _known(rule)


def _known(rule: str) -> str:
    if rule not in RULES:
        raise ValueError(f"{quote(rule, 40)} is not the number of a rule; accepted: {', '.join(RULES)}")
    return rule


class ConfigurationError(WorkspaceManagerError):
    """The hub must not start (rules L1 to L3).

    Attributes:
        problems: Every problem found, one sentence each.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class NothingChosen(WorkspaceManagerError):
    """A start names no workspace."""

    outcome = "invalid"
    default_rule = "A3"
    default_user_message = N_("No workspace was chosen. Choose one of yours from the list and start again.")


class TooManyRunning(WorkspaceManagerError):
    """As many workspaces run for this person as may at once (rule W2)."""

    outcome = "limited"
    default_rule = "W2"


class AccessDenied(WorkspaceManagerError):
    """The answer is no: not this user's workspace, not open today, or no such workspace.

    A denial never tells which of these it was for a workspace that is not the user's own.
    """

    outcome = "denied"
    default_rule = "A2"
    default_user_message = N_(
        "This workspace is not open to you. It may have closed, or your access may have ended. What is saved "
        "in the folder of a workspace is kept. Choose another workspace, or ask the lead of your project."
    )


class StorageRefused(AccessDenied):
    """The workspace is the user's, but its storage is not certain to be its own (rules S1 to S4)."""

    default_rule = "S2"
    default_user_message = N_(
        "This workspace was not started, because its storage could not be confirmed as its own. What is saved "
        "in the folder of a workspace is kept. Please tell the people who run this service."
    )


class NotAllowed(AccessDenied):
    """The workspace is the user's, and asks for more than the operator allows (rule F4)."""

    default_rule = "F4"
    default_user_message = N_(
        "This workspace was not started, because it asks for something that this service does not allow it. What "
        "is saved in the folder of a workspace is kept. Please tell the people who run this service."
    )


class BackendUnavailable(WorkspaceManagerError):
    """There is no answer now: the backend did not answer, or not in time. Never to be read as "no workspaces"."""

    outcome = "unavailable"
    default_rule = "A4"
    default_user_message = N_(
        "Your workspaces cannot be looked up at the moment. What is saved in the folder of a workspace is "
        "kept. Please try again in a few minutes; if it goes on, tell the people who run this service."
    )


class SignInAgain(BackendUnavailable):
    """What the identity provider says of this user is unknown: lost, unreadable or never stored (rule E6)."""

    outcome = "unknown"
    default_rule = "E6"
    default_user_message = N_(
        "Some of your workspaces depend on what your organisation says of you when you sign in, and that is "
        "not known any more. What is saved in the folder of a workspace is kept. Please sign out, sign in "
        "again, and start the workspace then."
    )


class ClusterRefused(WorkspaceManagerError):
    """The cluster did not take the pod that was decided on: quota, limits, Pod Security, an admission webhook."""

    outcome = "refused"
    default_user_message = N_(
        "The cluster that runs the workspaces did not accept this one. What is saved in the folder of a "
        "workspace is kept. Trying again does not help; please tell the people who run this service."
    )


class StartFailed(WorkspaceManagerError):
    """The pod was created and did not become a server that answers."""

    default_user_message = N_(
        "Your workspace did not become ready in time. What is saved in the folder of a workspace is kept. "
        "Please try again; if it fails again, tell the people who run this service when it happened and which "
        "workspace you chose."
    )


class ServiceFault(WorkspaceManagerError):
    """A mistake in the hub's configuration or in this product, about which the user can do nothing."""

    default_user_message = N_(
        "This service is not set up right, so the workspace was not started. What is saved in the folder of a "
        "workspace is kept. Trying again does not help; please tell the people who run this service."
    )
