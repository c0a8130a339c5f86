"""The page of the hub's admins: who has which workspace open until when, what is set aside, what is wrong. Read only.

No claim of a person, token or identity claim is on it (rule F1): admins run the service, and are no part of a study.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

import attrs
from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from .. import access, engine, forms
from ..access import Availability
from ..capabilities import IDENTITY_CLAIMS
from ..engine import NOBODY
from ..errors import WorkspaceManagerError, quote
from ..forms import CLOSING_SOON_DAYS, in_words
from ..manager import WorkspaceManager
from ..models import Workspace
from ..tasks import in_time
from ..tasks import in_words as failure_in_words
from ..texts import ngettext
from . import shares
from .home import moment_in_words, started_at
from .service import Service
from .sessions import Sessions

PATH = "/workspaces"
"""Of the page, below the hub's own."""
KEPT_SECONDS = 60.0
"""How long an answer of the backend is shown again: it may be asked for all of its resources."""
_ENTERS_ALL = "access:servers"
_NAMES_SHOWN = 20
_HOME = re.compile(r"home-[0-9a-f]{20}-[a-z0-9.-]*")


@attrs.frozen
class Running:
    """One server.

    Attributes:
        person: Whose it is.
        title: What its workspace is called on a page.
        workspace: The workspace's name.
        since: When it was started, in words; empty where that is not known.
        until: The last day of access, in words; empty where that is not known.
        soon: Whether access ends within 14 days.
        notes: What else is to be known of it, a sentence each.
    """

    person: str
    title: str
    workspace: str
    since: str
    until: str
    soon: bool
    notes: tuple[str, ...]


@attrs.frozen
class Backend:
    """What the workspace manager said when it was asked last.

    Attributes:
        closing: Title, name and state in words of each workspace that closes within 14 days.
        set_aside: Name and reason of each workspace that asks for more than the policy allows.
        problems: What it finds wrong, a sentence each.
        unanswered: Why something of this is not known; empty where all is.
        asked: When that was.
    """

    closing: tuple[tuple[str, str, str], ...] = ()
    set_aside: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    unanswered: str = ""
    asked: datetime | None = None


@attrs.frozen
class Overview:
    """What the page shows.

    Attributes:
        running: The servers, those whose access ends first before the others.
        backend: What the workspace manager says.
        notes: What is so of this hub, a sentence each.
    """

    running: tuple[Running, ...]
    backend: Backend
    notes: tuple[str, ...]


class Overviews:
    """Makes the page's content.

    Args:
        service: Whom to ask.
        sessions: The servers that run.
    """

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._service = service
        self._sessions = sessions
        self._lock = asyncio.Lock()
        self._backend = Backend()
        self._asked_at = -KEPT_SECONDS

    def __deepcopy__(self, memo: object) -> Overviews:
        return self

    async def overview(self, handler: Any) -> Overview:
        """The page's content as it is now.

        Args:
            handler: Of the page's request.
        """
        zone = self._service.settings.timezone
        shared = shares.counted(handler.db)
        rows = [self._running(each, shared.get(each.orm_spawner.id, 0)) for each in self._sessions.spawners]
        rows.sort(key=lambda each: (each[0], each[1].person))
        async with self._lock:
            if monotonic() - self._asked_at >= KEPT_SECONDS:
                self._backend = await ask(self._service)
                self._asked_at = monotonic()
        backend = attrs.evolve(self._backend, asked=self._backend.asked and self._backend.asked.astimezone(zone))
        notes = (*self._service.warnings, *_identity_notes(self._service.manager, handler), *_who_enters(handler.db))
        return Overview(tuple(row for _day, row in rows), backend, notes)

    def _running(self, spawner: Any, shared: int) -> tuple[str, Running]:
        outlook = self._sessions.outlook(spawner)
        started = started_at(spawner, self._service.settings.timezone)
        notes = [] if outlook is None else [*outlook.warnings]
        if shared:
            notes.append(ngettext("Shared {count} time.", "Shared {count} times.", shared))
        last_day = None if outlook is None else outlook.last_day
        row = Running(
            person=spawner.user.name,
            title=spawner.title,
            workspace=spawner.workspace,
            since=moment_in_words(started) if started else "",
            until=in_words(last_day) if last_day else "",
            soon=last_day is not None and (last_day - self._service.manager.context.today()).days <= CLOSING_SOON_DAYS,
            notes=tuple(notes),
        )
        return str(last_day or "9999-99-99"), row


async def ask(service: Service) -> Backend:
    """What the workspace manager says now; what it does not answer is told, and hides nothing else."""
    manager = service.manager
    seconds = manager.context.timeouts.answer
    problems: Sequence[str] = ()
    closing: list[tuple[str, str, str]] = []
    set_aside: list[tuple[str, str]] = []
    unanswered = ""
    try:
        await service.begin()
        problems = await in_time(manager.problems(), seconds)
        every = await engine.all_workspaces(manager) or ()
        closing = list(_closing(manager, every))
        set_aside = sorted((await engine.beyond_policy(manager, NOBODY, every)).items())
    except WorkspaceManagerError as error:
        unanswered = str(error)
    except Exception as error:
        unanswered = failure_in_words(error)
    return Backend(
        tuple(closing),
        tuple(set_aside),
        tuple(_HOME.sub("(a home folder)", each) for each in problems if isinstance(each, str)),
        unanswered,
        manager.context.clock(),
    )


def _closing(manager: WorkspaceManager, every: Iterable[Workspace]) -> Iterable[tuple[str, str, str]]:
    today = manager.context.today()
    open_now = [each for each in every if access.availability(each, today) is Availability.OPEN]
    for card in forms.build_form(open_now, today).cards:
        if card.closing_soon:
            yield card.title, card.slug, card.when


def _identity_notes(manager: WorkspaceManager, handler: Any) -> Iterable[str]:
    if IDENTITY_CLAIMS not in manager.capabilities:
        return
    hours = manager.context.settings.claims_hours
    if not handler.authenticator.enable_auth_state:
        yield (
            "Authenticator.enable_auth_state is off, so what the identity provider says of a person is not known, and "
            "grants by identity claims open nothing"
        )
    else:
        yield f"What the identity provider says of a person counts for {hours or 'any number of'} hours"


def _who_enters(db: Any) -> Iterable[str]:
    """Who may open anybody's server, and read what is in it, by a role of the hub."""
    names: set[str] = set()
    for role in db.query(orm.Role):
        if _ENTERS_ALL in role.scopes:
            names |= {user.name for user in role.users}
            names |= {user.name for group in role.groups for user in group.users}
    if names:
        shown = ", ".join(quote(name, 80) for name in sorted(names)[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        yield f"These may enter everybody's servers, by a role with the scope {_ENTERS_ALL}: {shown}{more}"


class OverviewPage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/workspaces``, for whom the hub's own page for admins is."""

    overviews: Overviews

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Show the page."""
        overview = await self.overviews.overview(self)
        self.finish(await self.render_template("workspaces/overview.html", overview=overview))


def route(overviews: Overviews) -> tuple[str, type]:
    """The page's address, below the hub's own, and its handler; for ``JupyterHub.extra_handlers``."""
    return PATH, type("WorkspacesOverview", (OverviewPage,), {"overviews": overviews})
