"""The home page: a person's workspaces, each with its server where it has one, as data for ``home.html``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from ..forms import Card, Form, in_words
from ..names import server_name
from .outlook import Outlook
from .service import Ended, Service

RUNNING, STARTING, STOPPING, STOPPED = "running", "starting", "stopping", "stopped"
_PENDING = {"spawn": STARTING, "stop": STOPPING}
_ACTIVE = (RUNNING, STARTING, STOPPING)
"""The states of a server, in the order of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One workspace on the home page, or a server of one that is not among the person's.

    Attributes:
        title: What the workspace is called.
        card: As on the form; None where the person has a server of it and it is not on the form.
        server: The name of its server, or of the one that opens it.
        state: ``running``, ``starting``, ``stopping`` or ``stopped``; as on the card where it cannot be opened.
        since: When the server was started, in the hub's time zone; None where none runs.
        keeps_home: Whether the home folder of the server is kept, and not only the workspace's folder.
        outlook: What lies ahead of the server; None where that is not known.
        news: What is wrong with the server, or what the last one ended of; empty where there is nothing to tell.
    """

    title: str
    card: Card | None
    server: str
    state: str
    since: datetime | None = None
    keeps_home: bool = False
    outlook: Outlook | None = None
    news: str = ""

    @property
    def started(self) -> str:
        """When the server was started, in words."""
        return moment_in_words(self.since) if self.since else ""

    @property
    def told(self) -> tuple[str, ...]:
        """What the person should know now, a sentence or two each."""
        return tuple(filter(None, (self.news, *(self.outlook.warnings if self.outlook else ()))))

    @property
    def active(self) -> bool:
        """Whether there is a server."""
        return self.state in _ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The home page.

    Attributes:
        form: As on the page to choose from; None where the workspaces cannot be looked up.
        notice: Why they cannot, for ``workspaces/cards.html``; None where they can.
        entries: Servers first, then workspaces that can be opened, then the others, in the form's order.
        at_once: How many may run at once; 0 for any number (rule W2).
        zone: In which days of access begin and end.
        start_single: Whether the only workspace of a person is started without being asked for.
        ended: What became of servers whose workspaces cannot be opened now, or are not the person's any more.
    """

    form: Form | None
    notice: object
    entries: tuple[Entry, ...]
    at_once: int
    zone: tzinfo
    start_single: bool = False
    ended: tuple[Ended, ...] = ()

    @property
    def servers(self) -> tuple[Entry, ...]:
        """Those with a server."""
        return tuple(entry for entry in self.entries if entry.active)

    @property
    def straight(self) -> bool:
        """Whether there is nothing to choose or to read: the page may start the one workspace that can be opened."""
        certain = self.form is not None and not self.form.incomplete and not self.form.sign_in_again
        nothing_told = not self.ended and not any(entry.told for entry in self.entries)
        can_start = [entry for entry in self.entries if entry.state == STOPPED]
        return self.start_single and certain and nothing_told and not self.servers and len(can_start) == 1

    @property
    def full(self) -> bool:
        """Whether one has to stop before another is started."""
        return bool(self.at_once) and sum(entry.state != STOPPING for entry in self.servers) >= self.at_once


def started_at(spawner: Any, zone: tzinfo) -> datetime | None:
    """When a spawner's server was started; None where none was."""
    started: datetime | None = spawner.orm_spawner.started
    return started and started.replace(tzinfo=UTC).astimezone(zone)  # the hub's database has UTC


def moment_in_words(moment: datetime) -> str:
    """A day and a time of it, where the moment is told."""
    return f"{in_words(moment)}, {moment:%H:%M}"


def home_of(user: Any, service: Service, form: Form | None, notice: object) -> Home:
    """The home page of a person.

    Args:
        user: The hub's own.
        service: Whose settings hold, and what it has kept of servers that ended.
        form: The person's workspaces; None where they are not known.
        notice: Why they are not.
    """
    cards = {card.slug: card for card in (form.cards if form else ())}
    active = [each for each in user.spawners.values() if each.active]
    servers = [_server(each, cards.get(each.workspace), service.settings.timezone) for each in active]
    servers.sort(key=lambda entry: (_ACTIVE.index(entry.state), entry.title.casefold()))
    taken = {each.workspace for each in active}
    became = {ended.workspace: ended for ended in service.became.get(user.name, {}).values()}
    told = taken | {slug for slug, card in cards.items() if card.selectable}
    return Home(
        form=form,
        notice=notice,
        entries=(
            *servers,
            *(_without_server(card, user, became.get(slug)) for slug, card in cards.items() if slug not in taken),
        ),
        at_once=service.settings.at_once,
        zone=service.settings.timezone,
        start_single=service.settings.start_single,
        ended=tuple(ended for workspace, ended in became.items() if workspace not in told),
    )


def _server(spawner: Any, card: Card | None, timezone: tzinfo) -> Entry:
    keeps_home = spawner.keeps_home
    return Entry(
        title=card.title if card else spawner.title,
        # What is so of this server; the workspace may say otherwise since it was started.
        card=card and replace(card, keeps_home=keeps_home),
        server=spawner.name,
        state=_PENDING.get(spawner.pending, RUNNING),
        since=started_at(spawner, timezone),
        keeps_home=keeps_home,
        outlook=spawner.outlook,
        news=spawner.news,
    )


def _without_server(card: Card, user: Any, ended: Ended | None) -> Entry:
    return Entry(
        title=card.title,
        card=card,
        # Where the operator has turned names off, every workspace is opened by the server without one.
        server=server_name(card.slug) if user.allow_named_servers else "",
        state=STOPPED if card.selectable else card.state,
        news=ended.sentence if ended and card.selectable else "",
    )
