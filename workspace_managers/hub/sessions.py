"""Servers that run: each one is reviewed again and again, and stopped where its access has ended (rules E1, E4, E5).

A review is the decision of a start, made anew by the backend (``engine.review``). One task for the hub's life has the
servers reviewed that are due::

    the plugin tells of a change -> those of these people and workspaces
    a sign-in, or its refresh    -> that person's (rule E6)
    claims that grow old         -> that person's (rule E6)
    a server is shared           -> that one (rule E7)
    a day begins, the hub starts -> all
    an answer was not certain    -> that one, until an answer is
    WORKSPACE_REVIEW_MINUTES     -> all, where the plugin cannot tell of changes
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from math import inf
from time import monotonic
from typing import Any

import attrs
from traitlets.config import Application

from .. import access, engine, forms, metrics
from ..capabilities import TELLS_CHANGES
from ..decisions import Decision
from ..engine import Answer, Provision, Review
from ..errors import BackendUnavailable, WorkspaceManagerError, quote
from ..models import User, Volume, Workspace
from . import freshness, identity, shares
from .outlook import UNCERTAIN_TOO_LONG, Outlook, ended
from .service import Service

AT_ONCE = 16
"""How many servers are reviewed side by side."""
TURN_SECONDS = 2.0
"""Between two looks at the clock, whose day may change by more than time that passes."""
RETRY_SECONDS = 10.0
"""Between two reviews of a server of which the backend has said nothing certain, and two tries to stop one."""
GONE_SECONDS = 60.0
"""How long a stopped server's pod may take to go before it is deleted again."""
LOOK_SECONDS = 1.0
"""Between two looks whether it has gone."""
_HOUR = 3600.0
_STATE = "workspace"


@dataclass(slots=True, eq=False)
class Session:
    """One running server: what it was started with, and what is known of its access.

    Attributes:
        workspace: The workspace's name; None where nothing says so, as of a server that another manager started.
        uid: The workspace's UID at the start.
        title: What the workspace is called on a page, as of the last certain answer; empty where that is not known.
        ends: The last day of access as of the start, which the pod's own deadline keeps to.
        terms: A digest of what the pod was made from.
        versions: Of the grant whose terms were compared last.
        due: When it is to be reviewed, in seconds of the monotonic clock.
        reviewed: Whether it was since the hub started.
        last_day: The last day of access as of the last certain answer; None before. All that is kept of the grant: what
            the garbage collector walks for thousands of servers holds the hub up.
        outdated: Whether the workspace was changed since the start, so that a new start would be another.
        uncertain_since: When answers began to be uncertain, in seconds of the monotonic clock; None if they are not.
        username: Whose it is, as in ``User.username``; known once it is among the sessions.
        shared_with: The usernames of those whom the server is shared with.
        was: Name and title of the last workspace, once its server is no more; empty where there was none.
        task: Its review, while one is under way.
    """

    workspace: str | None = None
    uid: str | None = None
    ends: date | None = None
    terms: str | None = None
    versions: Mapping[str, str] | None = None
    due: float = 0.0
    reviewed: bool = False
    last_day: date | None = None
    outdated: bool = False
    uncertain_since: float | None = None
    username: str = ""
    shared_with: frozenset[str] = frozenset()
    title: str = ""
    was: tuple[str, str] = ("", "")
    task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, provision: Provision) -> Session:
        """The session of a pod that was just created; its grant is as good as reviewed."""
        grant = provision.grant
        terms, last_day = _terms(grant, provision.volumes), access.last_day(grant)
        title = forms.title(grant)
        return cls(grant.name, grant.uid, last_day, terms, grant.versions, inf, True, last_day, title=title)

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Session:
        """The session of a server that ran before the hub started, from what ``write`` has put into the hub's database.

        Args:
            state: The server's; whatever is not right in it is not known.
        """
        kept = state.get(_STATE)
        texts = {key: value for key, value in kept.items() if isinstance(value, str)} if isinstance(kept, dict) else {}
        ends = None
        with contextlib.suppress(ValueError):
            ends = date.fromisoformat(texts.get("ends", ""))
        was = (texts.get("was", ""), texts.get("was_title", ""))
        return cls(texts.get("name"), texts.get("uid"), ends, texts.get("terms"), title=texts.get("title", ""), was=was)

    def over(self) -> Session:
        """What is kept once the server is no more: what people called it."""
        return Session(was=(self.workspace, self.title) if self.workspace and self.title else self.was)

    def write(self, state: dict[str, Any]) -> None:
        """Put what a hub that starts has to know into a server's state."""
        ends = self.ends and self.ends.isoformat()
        texts = {"name": self.workspace, "title": self.title, "uid": self.uid, "ends": ends, "terms": self.terms}
        state[_STATE] = {**texts, "was": self.was[0], "was_title": self.was[1]}


class Sessions:
    """The servers that run.

    Args:
        service: Whom to ask, and where decisions are written.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._context = service.manager.context
        self._log = self._context.log
        # Nobody tells when a namespace is no more allowed.
        self._tells = TELLS_CHANGES in service.manager.capabilities and not service.namespaces
        self._sessions: dict[Any, Session] = {}
        self._begun = 0  # reviews whose answer has not come yet
        self._wake = asyncio.Event()
        self._day = self._context.today()
        self._first_round = False
        self._context.listen(self._changed)
        shares.listen(self._shared)
        freshness.listen(self._known_anew)

    def add(self, spawner: Any, session: Session) -> None:
        """A server that has begun to run, or was found running."""
        self._sessions[spawner] = session
        session.username = User.identify(spawner.user.name, scoped=self._context.settings.scoped_names).username
        if shares.of(spawner):
            session.due = 0.0
        if not self._tells:
            session.due = min(session.due, self._later())
        self._wake.set()

    def remove(self, spawner: Any) -> None:
        """A server that runs no more, or is being stopped."""
        self._sessions.pop(spawner, None)

    @property
    def spawners(self) -> tuple[Any, ...]:
        """The spawners of the servers that run."""
        return tuple(self._sessions)

    def outlook(self, spawner: Any) -> Outlook | None:
        """What lies ahead of a server, for its user; None where that is not known."""
        session = self._sessions.get(spawner)
        if session is None or session.last_day is None:
            return None
        uncertain = None if session.uncertain_since is None else monotonic() - session.uncertain_since
        return Outlook(
            now=self._context.clock().astimezone(self._context.settings.timezone),
            end=access.end_of(session.last_day, self._context.settings.timezone),
            last_day=session.last_day,
            pod_ends=session.ends,
            outdated=session.outdated,
            uncertain_seconds=uncertain,
            uncertain_limit=_limit(self._context.settings.uncertain_hours),
        )

    async def first_round(self) -> None:
        """Wait until each server that ran when the hub started has been reviewed (rule E5).

        Raises:
            BackendUnavailable: That takes longer than a plugin may take for an answer.
        """
        if self._first_round:
            return
        try:
            async with asyncio.timeout(self._context.timeouts.answer):
                while self._unseen():  # noqa: ASYNC110 - the hub gives no sign of the end of its own checks
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise BackendUnavailable(
                "the servers that ran when the hub started have not been reviewed yet", rule="E5"
            ) from error
        self._first_round = True

    def _unseen(self) -> bool:
        return any(_being_checked()) or not all(session.reviewed for session in self._sessions.values())

    async def run(self) -> None:
        """Review what is due, until cancelled."""
        while True:
            self._wake.clear()
            try:
                self._begin_reviews()
            except Exception:
                self._log.exception("Running servers could not be reviewed; it is tried again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._wake.wait()

    def _begin_reviews(self) -> None:
        if (today := self._context.today()) != self._day:
            self._day = today
            self._changed(frozenset(), frozenset())
        now = monotonic()
        due = (each for each in self._sessions.items() if each[1].due <= now and each[1].task is None)
        # Those that are tried again and again come after those that have waited longer.
        for spawner, session in heapq.nsmallest(AT_ONCE - self._begun, due, key=lambda each: each[1].due):
            self._begun += 1
            session.task = self._service.run(self._review(spawner, session))
        uncertain = sum(session.uncertain_since is not None for session in self._sessions.values())
        metrics.SESSIONS.labels("certain").set(len(self._sessions) - uncertain)
        metrics.SESSIONS.labels("uncertain").set(uncertain)

    def _changed(self, usernames: Collection[str], workspaces: Collection[str]) -> None:
        anybody = not usernames and not workspaces
        self._due(
            spawner
            for spawner, session in self._sessions.items()
            if anybody
            or session.workspace in workspaces
            or session.username in usernames
            or not session.shared_with.isdisjoint(usernames)
        )

    def _shared(self, number: int) -> None:
        self._due(spawner for spawner in self._sessions if spawner.orm_spawner and spawner.orm_spawner.id == number)

    def _known_anew(self, name: str) -> None:
        self._due(spawner for spawner in self._sessions if spawner.user.name == name)

    def _due(self, spawners: Iterable[Any]) -> None:
        for spawner in spawners:
            self._sessions[spawner].due = 0.0
            self._wake.set()

    async def _review(self, spawner: Any, session: Session) -> None:
        try:
            try:
                # A change that is told from here on is reviewed after this.
                session.due = inf if self._tells else self._later()
                if self._sessions.get(spawner) is not session:
                    return
                user, review = await self._ask(spawner, session)
                if review.grant is not None and self._sessions.get(spawner) is session:
                    await self._goes_on(spawner, session, user, review.grant)
            finally:
                self._begun -= 1  # to stop a server takes long, and holds up no other review
                self._wake.set()
            session.reviewed = True
            if review.grant is None and self._sessions.get(spawner) is session:
                await self._ends_or_not(spawner, session, review)
        except Exception:
            session.due, session.reviewed = monotonic() + RETRY_SECONDS, True
            self._log.exception("The server of %s could not be reviewed; it is tried again", quote(spawner.user.name))
        finally:
            session.task = None
            self._wake.set()

    async def _ask(self, spawner: Any, session: Session) -> tuple[User, Review]:
        if self._service.refresher is not None:
            limit = _limit(self._context.settings.claims_hours)
            seconds = await self._service.refresher.keep(spawner.user, limit)
            session.due = min(session.due, monotonic() + seconds)
        user = await identity.user_of(spawner)
        try:
            await self._service.begin()
        except WorkspaceManagerError as error:
            return user, Review(Answer.UNCERTAIN, error=error)
        if session.workspace is None:
            unknown = BackendUnavailable(
                f"nothing says which workspace the server of {quote(user.name)} has", rule="E4"
            )
            return user, Review(Answer.UNCERTAIN, error=unknown)
        return user, await engine.review(self._service.manager, user, session.workspace, session.uid)

    async def _goes_on(self, spawner: Any, session: Session, user: User, grant: Workspace) -> None:
        session.last_day, session.title = access.last_day(grant), forms.title(grant)
        session.shared_with, certain = await shares.withdraw(self._service, spawner, grant.name)
        if not certain:
            session.due = min(session.due, monotonic() + RETRY_SECONDS)
        if session.uncertain_since is not None:
            session.uncertain_since = None
            decision = self._decision(spawner, session)
            decision.versions = grant.versions
            decision.allow()
        if not grant.versions or grant.versions != session.versions:
            try:
                now = _terms(grant, await engine.volumes_of(self._service.manager, user, grant))
            except BackendUnavailable:
                return  # of no account for access; compared with the next review
            except WorkspaceManagerError:
                now = None
            session.versions, session.outdated = grant.versions, session.terms not in (None, now)

    async def _ends_or_not(self, spawner: Any, session: Session, review: Review) -> None:
        assert review.error is not None  # noqa: S101 - as `Review` says
        error = review.error
        if review.answer is Answer.UNCERTAIN:
            session.due = min(session.due, monotonic() + RETRY_SECONDS)
            if session.uncertain_since is None:
                session.uncertain_since = monotonic()
                self._service.refuse(self._decision(spawner, session), error)
            hours = self._context.settings.uncertain_hours
            if monotonic() - session.uncertain_since < _limit(hours):
                return
            error = BackendUnavailable(
                f"for {hours} hours it could not be confirmed that access goes on; the last answer: {error}",
                user_message=UNCERTAIN_TOO_LONG,
                rule="E4",
            )
        await self._end(spawner, session, error)

    async def _end(self, spawner: Any, session: Session, error: WorkspaceManagerError) -> None:
        """Stop a server in the hub's own way, and see to it that its pod goes."""
        if spawner.break_off(error):  # its start says what has become of it, and the hub then removes it
            return
        if spawner.pending not in (None, "stop"):
            session.due = monotonic() + LOOK_SECONDS  # the hub is about something else with it for the moment
            return
        decision = self._decision(spawner, session)
        who = quote(spawner.user.name)
        self._log.warning("Request %s: the server of %s is stopped: %s", decision.request, who, error)
        self._service.keep_what_became(spawner, ended(error))
        uid = decision.uid = await self._until_certain(spawner.pod_uid, decision, who)
        patience = GONE_SECONDS
        try:
            if spawner.pending is None:
                await spawner.stop_in_the_hub()
        except Exception as failure:
            self._failed(decision, who, failure)
            patience = 0.0
        await self._until_certain(lambda: spawner.remove_pod(uid, patience), decision, who)
        if self._sessions.get(spawner) is session:  # else the hub has stopped it, and may have started the next one
            self.remove(spawner)
        decision.end(error)

    async def _until_certain(self, call: Callable[[], Coroutine[Any, Any, Any]], decision: Decision, who: str) -> Any:
        while True:
            try:
                return await call()
            except Exception as failure:
                self._failed(decision, who, failure)
                await asyncio.sleep(RETRY_SECONDS)

    def _failed(self, decision: Decision, who: str, failure: Exception) -> None:
        kind, said = type(failure).__name__, quote(str(failure))
        message = "Request %s: the server of %s could not be stopped, and it is tried again: %s: %s"
        self._context.limited_log.write(logging.ERROR, decision.request, message, decision.request, who, kind, said)

    def _decision(self, spawner: Any, session: Session) -> Decision:
        decision = self._service.decision("session", spawner, session.workspace)
        decision.pod = spawner.pod_name
        if spawner.namespace != self._context.namespace:
            decision.namespace = spawner.namespace
        decision.versions = session.versions or {}
        return decision

    def _later(self) -> float:
        return monotonic() + 60.0 * self._context.settings.review_minutes


def _limit(hours: int) -> float:
    """Seconds; no hours are any time."""
    return hours * _HOUR if hours else inf


def _being_checked() -> Iterator[Any]:
    """The spawners that a hub which starts has not yet found running or gone."""
    hub = Application.instance() if Application.initialized() else None
    for user in list(getattr(hub, "users", {}).values()):
        yield from (spawner for spawner in user.spawners.values() if spawner.pending == "check")


def _terms(grant: Workspace, volumes: Iterable[Volume]) -> str:
    """A digest of what a pod is made from, whatever the dates and the texts for people say."""
    day = date.min
    same = attrs.evolve(
        grant, versions={}, first_day=day, last_day=day, grant_last_day=day, display_name="", description=""
    )
    return hashlib.sha256(repr((same, tuple(volumes))).encode()).hexdigest()
