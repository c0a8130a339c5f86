"""Who may open what, and when: the one place where it is decided (rules A1 and A2).

Functions from facts to an answer, with the day passed in; no clock is read and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum

from .errors import AccessDenied, BackendUnavailable, quote
from .models import User, Workspace
from .texts import N_

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

NOT_YET = N_(
    "This workspace is not open yet. What is saved in the folder of a workspace is kept. Choose another "
    "workspace, or come back on its first day."
)


class IncompleteAnswer(BackendUnavailable):
    """Some grants are certain, but not that these are all; whoever cannot do with some reads it as unavailable.

    Args:
        message: For the log, as of every error: why there may be more.
        found: Those that the backend itself has confirmed now, as ``WorkspaceManager.list_workspaces`` gives them.
    """

    def __init__(self, message: str, found: Iterable[Workspace]) -> None:
        super().__init__(message)
        self.found = tuple(found)


class Availability(Enum):
    """Whether a workspace can be opened on a day."""

    OPEN = "open"
    FUTURE = "future"
    EXPIRED = "expired"


def parse_day(value: object) -> date:
    """Read a date as the resources write it.

    Args:
        value: Text of the form ``YYYY-MM-DD`` only: ``20300107`` is more likely a mistake than a date.

    Raises:
        ValueError: The value is anything else, or no day of the calendar.
    """
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError(f"{quote(value, 40)} is not a date of the form YYYY-MM-DD")
    return date.fromisoformat(value)


def last_day(workspace: Workspace) -> date:
    """The last day on which a grant opens its workspace: the earlier of the two."""
    return min(workspace.last_day, workspace.grant_last_day)


def end(workspace: Workspace, zone: tzinfo) -> datetime:
    """The moment after the last day of a grant; the end of time where there is no such day."""
    return end_of(last_day(workspace), zone)


def end_of(day: date, zone: tzinfo) -> datetime:
    """The moment after a day; the end of time where there is none."""
    try:
        return datetime.combine(day + timedelta(days=1), time(), zone)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def availability(workspace: Workspace, today: date) -> Availability:
    """Whether this grant opens its workspace on the day ``today`` (first and last day are days of access)."""
    if today > last_day(workspace):
        return Availability.EXPIRED
    if today < workspace.first_day:
        return Availability.FUTURE
    return Availability.OPEN


def in_scope(user: User, name: str) -> bool:
    """Whether this session may see the workspace ``name`` at all."""
    return bool(user.username) and (user.scope is None or user.scope == name.lower())


def best_grants(user: User, grants: Iterable[Workspace], today: date) -> dict[str, Workspace]:
    """The user's grants by workspace name, the most useful one where there are several.

    Each binding is a grant of its own, so an old one that has ended does not take away what a newer one gives: open
    goes before future, future before expired, then the later end.
    """
    rank = {Availability.OPEN: 2, Availability.FUTURE: 1, Availability.EXPIRED: 0}

    def worth(grant: Workspace) -> tuple[int, date]:
        return rank[availability(grant, today)], last_day(grant)

    best: dict[str, Workspace] = {}
    for grant in grants:
        if in_scope(user, grant.name) and (grant.name not in best or worth(grant) > worth(best[grant.name])):
            best[grant.name] = grant
    return best


def require_open(user: User, name: str, grants: Iterable[Workspace], today: date) -> Workspace:
    """The grant that opens the workspace ``name`` for this user today.

    Raises:
        AccessDenied: There is none. The user reads why only where the workspace is one of theirs.
    """
    grant = best_grants(user, grants, today).get(name)
    if grant is None:
        raise AccessDenied(f"{quote(user.name)} has no grant of the workspace {quote(name)}")
    state = availability(grant, today)
    if state is Availability.OPEN:
        return grant
    window = f"open from {grant.first_day} to {last_day(grant)}, today is {today}"
    raise AccessDenied(
        f"{quote(user.name)} may not open the workspace {quote(name)}: {window}",
        user_message=NOT_YET if state is Availability.FUTURE else None,
        rule="A1",
    )
