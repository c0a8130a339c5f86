"""How old it is what the identity provider says of a person, and having it asked anew (rule E6).

The hub keeps a user's auth state without its age. So the moment is written down in a table of ours in the hub's
database, which the hub makes when it starts, as it makes its own; it goes with its user.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import Any

import sqlalchemy
import sqlalchemy.event
from jupyterhub import orm
from jupyterhub import user as hub_user
from traitlets.config import Application

from ..errors import quote
from ..loglimit import LogLimit

WAIT_SECONDS = 10.0
"""How long a start or a review waits for the identity provider; what it says later counts for the next one."""

_LOOKS = (1 / 2, 5 / 8, 6 / 8, 7 / 8, 1)


class Told(orm.Base):  # type: ignore[misc]  # it has no types
    """When the identity provider last said something of a user."""

    __tablename__ = "workspace_managers_told"
    user_id = sqlalchemy.Column(
        sqlalchemy.Integer, sqlalchemy.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    at = sqlalchemy.Column(sqlalchemy.DateTime, nullable=False)
    """Of UTC, without a zone, as all times in the hub's database."""


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


_reading: ContextVar[bool] = ContextVar("reading", default=False)


def _marked(read: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    @functools.wraps(read)
    async def get_auth_state(user: Any) -> Any:
        before = _reading.set(True)
        try:
            return await read(user)
        finally:
            _reading.reset(before)

    return get_auth_state


# With more than one key, each time that the hub reads an auth state it stores it again, which is no news.
hub_user.User.get_auth_state = _marked(hub_user.User.get_auth_state)


@sqlalchemy.event.listens_for(orm.User.encrypted_auth_state, "set")
def _note(user: Any, value: object, *_: object) -> None:
    session = sqlalchemy.orm.object_session(user)
    if _reading.get() or session is None or user.id is None:  # a user whom the hub has not stored yet
        return
    if value is not None or _is_kept():
        session.merge(Told(user_id=user.id, at=_now()))
    elif (told := session.get(Told, user.id)) is not None:
        session.delete(told)


def _is_kept() -> bool:
    """Whether the hub keeps what its authenticator says; else nothing is stored whatever that is."""
    hub = Application.instance() if Application.initialized() else None
    return bool(getattr(getattr(hub, "authenticator", None), "enable_auth_state", False))


def listen(told: Callable[[str], None]) -> None:
    """Have a function called with the name of each user of whom the identity provider has told the hub anew.

    That is at a sign-in, and when the authenticator refreshes what it knows (``refresh_user``).
    """

    def note(user: Any, *_: object) -> None:
        if not _reading.get():
            told(user.name)

    sqlalchemy.event.listen(orm.User.encrypted_auth_state, "set", note)


def age(user: Any) -> float:
    """Seconds since the identity provider last said something of a user of the hub; inf where that is not known."""
    told = user.db.get(Told, user.orm_user.id)
    # A clock that was set back makes nothing new.
    return inf if told is None else abs((_now() - told.at).total_seconds())


def said_nothing(user: Any) -> bool:
    """Whether the authenticator was asked for what it knows of a user of the hub, and had nothing to be kept."""
    return user.orm_user.encrypted_auth_state is None and age(user) < inf


class Refresher:
    """Has the identity provider asked anew, by authenticators that can (``refresh_user``, and ``auth_refresh_age``).

    Args:
        run: Runs something beside the hub.
        log: Where its failures are told.
    """

    def __init__(self, run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]], log: LogLimit) -> None:
        self._run = run
        self._log = log
        self._asked: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def refresh(self, user: Any, older: float = 0.0, handler: Any = None) -> None:
        """Ask about a user, where what is known is older than so many seconds, and not again and again.

        Never fails: what is known stays, as old as it is.

        Args:
            user: The hub's own.
            older: Seconds; no less than the hub's own ``auth_refresh_age``.
            handler: The request that it is asked for, where there is one.
        """
        pause = getattr(user.authenticator, "auth_refresh_age", 0)
        if not pause or not getattr(user.authenticator, "enable_auth_state", False) or age(user) < max(older, pause):
            return
        asking = self._under_way.get(user.name)
        if asking is None:
            if monotonic() - self._asked.get(user.name, -inf) < pause:
                return
            self._asked[user.name] = monotonic()
            asking = self._under_way[user.name] = self._run(self._ask(user, handler))
            asking.add_done_callback(lambda _: self._under_way.pop(user.name, None))
        # Not cancelled: a token that can be used once may have been spent, and its successor must be stored.
        await asyncio.wait([asking], timeout=WAIT_SECONDS)

    async def keep(self, user: Any, limit: float) -> float:
        """Ask about the user of a server that runs, once half of the time is over for which an answer counts.

        Args:
            user: The hub's own.
            limit: That time, in seconds; inf for any.

        Returns:
            Seconds until it is to be called again: an answer may come by then, or the time be over.
        """
        if limit == inf or not getattr(user.authenticator, "enable_auth_state", False):
            return inf
        await self.refresh(user, limit / 2)
        known = age(user)
        return next((limit * part - known for part in _LOOKS if known < limit * part), inf)

    async def _ask(self, user: Any, handler: Any) -> None:
        try:
            answer = await user.authenticator.refresh_user(user, handler)
            if isinstance(answer, Mapping) and answer.get("auth_state"):
                await user.save_auth_state(answer["auth_state"])
        except Exception as error:
            message = "The identity provider could not be asked about %s: %s: %s"
            kind = type(error).__name__
            self._log.write(logging.WARNING, user.name, message, quote(user.name), kind, quote(str(error)))
