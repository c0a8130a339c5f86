"""What the spawn form shows: workspaces as cards, in words (rules F1 and F2).

Data in, data out. Texts are still the authors' own: the template that prints a card escapes them, and nothing here
makes HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, tzinfo

from . import quantities
from .access import Availability, availability, end_of, last_day
from .models import Workspace
from .texts import N_, _, ngettext

CLOSING_SOON_DAYS = 14
STANDARD = N_("standard")
NOT_ALLOWED = "not-allowed"
"""The state of a card whose workspace asks for more than the operator allows (rule F4)."""
# Control characters, halves of characters, and bidirectional overrides, which let one title pass for another.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Letters and symbols of Unicode that show nothing: fillers of Hangul, the empty Braille pattern, a note without a head,
# and the place of an object.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159\ufffc")
_DAYS = (
    *(N_("{day} January {year}"), N_("{day} February {year}"), N_("{day} March {year}"), N_("{day} April {year}")),
    *(N_("{day} May {year}"), N_("{day} June {year}"), N_("{day} July {year}"), N_("{day} August {year}")),
    *(
        N_("{day} September {year}"),
        N_("{day} October {year}"),
        N_("{day} November {year}"),
        N_("{day} December {year}"),
    ),
)
_ORDER = {Availability.OPEN: 0, Availability.FUTURE: 1, Availability.EXPIRED: 3}
_NOT_ALLOWED_ORDER = 2


@dataclass(frozen=True, slots=True)
class Card:
    """One workspace on the form.

    Attributes:
        slug: The value that choosing it sends: the workspace's name.
        title: Display name, or the name where that shows nothing.
        description: Free text; line breaks are the author's.
        image: Container image.
        cpu: CPU in words.
        memory: Memory in words.
        folder: Name of its folder in the home directory.
        keeps_home: Whether the rest of the home directory is kept as well, for the person alone.
        state: ``open``, ``future``, ``not-allowed`` or ``expired``.
        when: The state in words, such as "Closes in 6 days".
        day: The day that this tells of: the first one of access where it opens later, else the last one.
        closing_soon: Whether ``when`` deserves to stand out.
    """

    slug: str
    title: str
    description: str
    image: str
    cpu: str
    memory: str
    folder: str
    keeps_home: bool
    state: str
    when: str
    day: date
    closing_soon: bool

    @property
    def selectable(self) -> bool:
        """Only an open workspace can be chosen."""
        return self.state == Availability.OPEN.value

    def moment(self, zone: tzinfo) -> datetime:
        """When ``day`` begins, where it opens then, else when it is over.

        Args:
            zone: In which days begin and end.
        """
        return (
            datetime.combine(self.day, time(), zone)
            if self.state == Availability.FUTURE.value
            else end_of(self.day, zone)
        )


@dataclass(frozen=True, slots=True)
class Form:
    """All cards of a user: open ones first by title, then those that open later by date, those that are not allowed,
    and expired ones.

    Attributes:
        cards: One for each workspace.
        sign_in_again: Whether there may be more, which cannot be known before the user signs in again (rule E6).
        incomplete: Whether there may be more, which the backend cannot tell now (rule A4).
    """

    cards: tuple[Card, ...]
    sign_in_again: bool = False
    incomplete: bool = False

    @property
    def openable(self) -> tuple[Card, ...]:
        """The cards that can be chosen."""
        return tuple(card for card in self.cards if card.selectable)

    def only(self, slugs: Iterable[str]) -> Form:
        """The same form with some of its cards alone."""
        kept = frozenset(slugs)
        return replace(self, cards=tuple(card for card in self.cards if card.slug in kept))

    def preselected(self, *wishes: object) -> str | None:
        """The slug that is checked at first: the first wish that is open, such as the last one used, else the first."""
        slugs = [card.slug for card in self.openable]
        return next((slug for wish in wishes for slug in slugs if slug == wish), next(iter(slugs), None))


def build_form(workspaces: Iterable[Workspace], today: date, not_allowed: Collection[str] = ()) -> Form:
    """Make the form for a user's grants, one a workspace (``access.best_grants``).

    Args:
        workspaces: The grants.
        today: The day.
        not_allowed: The names of those that ask for more than the operator allows.
    """

    def place(workspace: Workspace) -> tuple[int, date, str, str]:
        state = availability(workspace, today)
        opens = workspace.first_day if state is Availability.FUTURE else date.min
        order = _NOT_ALLOWED_ORDER if workspace.name in not_allowed else _ORDER[state]
        return order, opens, workspace.display_name.casefold(), workspace.name

    ordered = sorted(workspaces, key=place)
    return Form(tuple(_card(each, today, allowed=each.name not in not_allowed) for each in ordered))


def _card(workspace: Workspace, today: date, *, allowed: bool) -> Card:
    state = availability(workspace, today)
    days_left = (last_day(workspace) - today).days
    asked = {**workspace.resources.requests, **workspace.resources.limits}
    return Card(
        slug=workspace.name,
        title=title(workspace),
        description=_clean(workspace.description, keep="\n"),
        image=workspace.image,
        cpu=quantities.cores_in_words(asked["cpu"]) if "cpu" in asked else _(STANDARD),
        memory=quantities.memory_in_words(asked["memory"]) if "memory" in asked else _(STANDARD),
        folder=workspace.name,
        keeps_home=workspace.keeps_home,
        state=state.value if allowed else NOT_ALLOWED,
        when=_when(state, workspace, days_left) if allowed else _("Cannot be started"),
        day=workspace.first_day if state is Availability.FUTURE else last_day(workspace),
        closing_soon=allowed and state is Availability.OPEN and days_left <= CLOSING_SOON_DAYS,
    )


def _when(state: Availability, workspace: Workspace, days_left: int) -> str:
    if state is Availability.EXPIRED:
        return _("Expired {day}", day=in_words(last_day(workspace)))
    if state is Availability.FUTURE:
        return _("Opens {day}", day=in_words(workspace.first_day))
    if days_left > CLOSING_SOON_DAYS:
        return _("Open until the end of {day}", day=in_words(last_day(workspace)))
    if days_left == 0:
        return _("Closes today")
    if days_left == 1:
        return _("Closes tomorrow")
    return ngettext("Closes in {count} day", "Closes in {count} days", days_left)


def in_words(day: date) -> str:
    """A date as "7 January 2030", in the site's language; never by the server's locale, which is not the reader's."""
    return _(_DAYS[day.month - 1], day=day.day, year=day.year)


def title(workspace: Workspace) -> str:
    """What a workspace is called on a page: its title, or its name where the title shows nothing."""
    cleaned = _clean(workspace.display_name)
    return cleaned if _shows_something(cleaned) else workspace.name


def _shows_something(text: str) -> bool:
    # Neither blanks nor marks, and nothing that has no form of its own: that may be a box, or nothing at all.
    return any(unicodedata.category(each)[0] in "LNPS" and each not in _BLANKS for each in text)


def _clean(text: str, keep: str = "") -> str:
    if text.isprintable():
        return text.strip()  # as most are; what follows would cost more than all else of a form
    lines = re.sub(r"\n{3,}", "\n\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else " ", lines).strip()
