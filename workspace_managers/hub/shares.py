"""Servers that are shared with others: who may not open the workspace keeps no share of its server (rule E7).

A share outlives the grant of its owner and of the person that it was made for, and the owner's change to another
workspace; so shares are looked at whenever their server is reviewed, and when one is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy.event
from jupyterhub import orm

from .. import engine
from ..engine import Answer
from ..errors import quote
from .identity import person
from .service import Service

# JupyterHub shares servers from 5 on.
_Share: Any = getattr(orm, "Share", None)


def of(spawner: Any) -> Sequence[Any]:
    """The shares of a spawner's server."""
    if _Share is None or spawner.orm_spawner is None:
        return ()
    shares: Sequence[Any] = spawner.db.query(_Share).filter_by(spawner_id=spawner.orm_spawner.id).all()
    return shares


def counted(db: Any) -> Mapping[int, int]:
    """How many shares each server has, by the number of its spawner in the hub's database; of those that have any."""
    return {} if _Share is None else Counter(number for (number,) in db.query(_Share.spawner_id))


def listen(made: Callable[[int], None]) -> None:
    """Have a function called with the number, in the hub's database, of each spawner that is shared from now on."""
    if _Share is not None:
        sqlalchemy.event.listen(_Share, "after_insert", lambda _mapper, _connection, share: made(share.spawner_id))


async def withdraw(service: Service, spawner: Any, workspace: str) -> tuple[frozenset[str], bool]:
    """Take away the shares of those whose access to the workspace has ended; a group's, where one member's has.

    Args:
        service: Whom to ask, and where decisions are written.
        spawner: Whose server is shared.
        workspace: The workspace of the server.

    Returns:
        The usernames of those who keep theirs, and whether that is certain of all of them.
    """
    kept: set[str] = set()
    certain = True
    found = [share.user or share.group for share in of(spawner)]
    # Read before anybody is asked, as the hub goes on meanwhile.
    for whom, members in [(whom, tuple(whom.users) if whom.kind == "group" else (whom,)) for whom in found]:
        for member in members:
            user = await person(spawner.user.settings["users"][member], service.settings)
            review = await engine.review(service.manager, user, workspace)
            if review.answer is Answer.ENDED and review.error is not None:
                _Share.revoke(spawner.db, spawner.orm_spawner, whom)
                decision = service.decision("share", spawner, workspace)
                decision.user, decision.server = member.name, f"{spawner.user.name}/{spawner.name}"
                decision.end(review.error)
                message = "Request %s: the server of %s is not shared with %s any more: %s"
                service.manager.context.log.warning(
                    message, decision.request, quote(spawner.user.name), quote(whom.name), review.error
                )
                break
            certain = certain and review.answer is Answer.GOES_ON
            kept.add(user.username)
    return frozenset(kept), certain
