"""Why a resource is set aside.

Always true here: a reason is one bounded line for the log, whatever the author of the resource wrote.
"""

from __future__ import annotations

from enum import Enum

REASON_LIMIT = 600


class Trouble(Enum):
    """What kind of reason it is. Only the first two are somebody's mistake, and are warned of."""

    BROKEN = "broken"
    STORAGE = "storage"
    DELETING = "deleting"
    NOT_FOR_JUPYTER = "not for Jupyter"


class Refused(ValueError):
    """A resource grants or offers nothing, for this reason.

    Args:
        reason: The field, what was found in it and what is accepted.
        trouble: What kind of reason it is.
    """

    def __init__(self, reason: str, trouble: Trouble = Trouble.BROKEN) -> None:
        self.reason = reason if len(reason) <= REASON_LIMIT else f"{reason[:REASON_LIMIT]}..."
        self.trouble = trouble
        super().__init__(self.reason)
