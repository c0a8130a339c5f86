"""Who a spawner's user is, and what the identity provider says of them (rules A2 and E6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub import orm

from ..models import User
from ..settings import Settings
from . import freshness

# Where authenticators keep the identity provider's claims that do not name the key themselves.
_KEYS = ("oauth_user", "user")


async def user_of(spawner: Any) -> User:
    """The user whose server a spawner starts.

    The identity claims are read from the auth state each time, so that they are of the last sign-in and no hook of the
    configuration stands between.
    """
    return await person(spawner.user, spawner.workspace_service.settings)


async def person(user: Any, settings: Settings) -> User:
    """Who a user of the hub is.

    Args:
        user: The hub's own.
        settings: Which names are scoped, and how old claims may be.
    """
    claims = await _claims(user)
    if claims and settings.claims_hours and freshness.age(user) > settings.claims_hours * 3600:
        claims = None
    return User.identify(user.name, claims, scoped=settings.scoped_names)


async def _claims(user: Any) -> Mapping[str, Any] | None:
    """What the identity provider says; None where that is unknown, empty where the hub keeps nothing of the kind."""
    authenticator = user.authenticator
    if not getattr(authenticator, "enable_auth_state", False):
        return {}
    try:
        state = await user.get_auth_state()
    except Exception:
        return None
    if not isinstance(state, Mapping):
        return {} if state is None and freshness.said_nothing(user) else None
    named = getattr(authenticator, "user_auth_state_key", None)
    if named:
        claims = state.get(named)
        return claims if isinstance(claims, Mapping) else None
    found = [state[key] for key in _KEYS if key in state]
    if not found:
        return {}
    return found[0] if isinstance(found[0], Mapping) else None


def asker(spawner: Any) -> tuple[str, str]:
    """Who asked: a user on a page or over the REST API, a service, or the hub itself."""
    who = getattr(spawner.handler, "current_user", None)
    if who is None:
        return "hub", "jupyterhub"
    return ("service" if isinstance(who, orm.Service) else "user"), who.name
