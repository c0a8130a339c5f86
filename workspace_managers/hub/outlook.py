"""What a person reads of the access that their running server rests on: what lies ahead, and why it was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ..errors import WorkspaceManagerError
from ..forms import in_words
from ..texts import N_, _, ngettext

UNCERTAIN_TOO_LONG = N_(
    "Your workspace was stopped, because for a long time it could not be confirmed that you still have access "
    "to it. The files in its folder are kept. Start it again when the service can look workspaces up; if that "
    "takes long, please tell the people who run this service."
)
_ENDED = {
    "A1": N_(
        "Your access to this workspace has ended with its last day, so it was stopped. The files in its folder "
        "are kept. If you think that you should have access, ask the lead of your project."
    ),
    "S6": N_(
        "This workspace was closed and made anew under the same name, so your server was stopped. If you think "
        "that you should have access, ask the lead of your project."
    ),
    "E4": UNCERTAIN_TOO_LONG,
}
_WITHDRAWN = N_(
    "Your access to this workspace was taken away, so it was stopped. The files in its folder are kept. If you "
    "think that you should have access, ask the lead of your project."
)
DEADLINE = _ENDED["A1"]
_DAY, _HOUR = 86400.0, 3600.0
_TOLD_AFTER = _HOUR


def ended(error: WorkspaceManagerError) -> str:
    """Why a server was stopped whose access has ended, for the person whose it was."""
    return _(_ENDED.get(error.rule, _WITHDRAWN))


def closing(last_day: date) -> str:
    """Until when a server may run; a whole sentence."""
    return _("Open until the end of {day}.", day=in_words(last_day))


def ending(last_day: date, left: str) -> str:
    """What a person reads as their access ends.

    Args:
        last_day: The last day of access.
        left: The time until then, in words.
    """
    return _(
        "Your access to this workspace ends at the end of {day}, in {left}. Your server is stopped then; save your "
        "work before. The files in its folder are kept.",
        day=in_words(last_day),
        left=left,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What lies ahead of a running server (rule E2).

    Attributes:
        now: The present moment, in the hub's time zone.
        end: When access ends.
        last_day: The last day of access.
        pod_ends: The last day as of the start, with which Kubernetes ends the pod (rule E3); None where unknown.
        outdated: Whether the workspace was changed since the start.
        uncertain_seconds: For how long it could not be confirmed that access goes on; None where it could.
        uncertain_limit: After how many seconds the server is stopped then.
    """

    now: datetime
    end: datetime
    last_day: date
    pod_ends: date | None
    outdated: bool
    uncertain_seconds: float | None
    uncertain_limit: float

    @property
    def closing(self) -> str:
        """Until when the server may run; a whole sentence."""
        return closing(self.last_day)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the person should know now, a sentence or two each."""
        return tuple(filter(None, (self._end(), self._moved(), self._uncertain(), self._change())))

    @property
    def seconds_left(self) -> float:
        """Seconds until access ends."""
        return (self.end - self.now).total_seconds()

    def _end(self) -> str:
        if self.seconds_left > _DAY:
            return ""
        return ending(self.last_day, duration(self.seconds_left))

    def _moved(self) -> str:
        if self.pod_ends is None or self.pod_ends >= self.last_day:
            return ""
        return _(
            "Your access was extended, but this server itself ends with {day}. Stop it and start it again before, when "
            "it suits you, to go on after that day.",
            day=in_words(self.pod_ends),
        )

    def _uncertain(self) -> str:
        if self.uncertain_seconds is None or self.uncertain_seconds < _TOLD_AFTER:
            return ""
        left = self.uncertain_limit - self.uncertain_seconds
        said = (
            _(
                "For {time} it could not be confirmed that you have access to this workspace.",
                time=duration(self.uncertain_seconds),
            ),
            _("If that goes on, your server is stopped in {time}.", time=duration(left)) if left < _DAY else "",
            _("The files in its folder are kept."),
        )
        return " ".join(filter(None, said))

    def _change(self) -> str:
        if not self.outdated:
            return ""
        return _("This workspace was changed since your server started. Stop it and start it again to have the change.")


def duration(seconds: float) -> str:
    """A time that is left, or has passed, in words: in hours, or in minutes where it is less than two hours."""
    if seconds >= 2 * _HOUR:
        return ngettext("{count} hour", "{count} hours", int(seconds // _HOUR))
    return ngettext("{count} minute", "{count} minutes", max(1, int(seconds // 60)))
