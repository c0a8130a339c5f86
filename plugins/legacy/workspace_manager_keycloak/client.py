"""Keycloak's admin API: who an account is, and what groups there are, as they are now.

Always true here: nothing but tokens is kept from one question to the next; every request is bounded in time, verifies
the server's certificate and follows no redirect, which could take the secret elsewhere. Every answer but a good one is
``BackendUnavailable``; only "there is no such account" is an answer too. No token, no secret and no body of an answer
is in a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import quote as escaped

import aiohttp

from workspace_managers import BackendUnavailable, quote

from .groups import PARENT
from .variables import KeycloakSettings

REQUEST_SECONDS = 8.0
"""Longest time for one request; a whole question is bounded by the framework."""
PAGE_GROUPS = 500
EARLY_SECONDS = 10.0
"""How long before its end a token is not used any more."""


class Keycloak:
    """One realm. Made without a loop; between ``open`` and ``close`` it may be asked, by many at once."""

    def __init__(self, settings: KeycloakSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._token_ends = 0.0
        self._renewing = asyncio.Lock()

    async def open(self) -> None:
        """Make ready to ask; no request is made."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS))

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def account(self, identifier: str) -> Mapping[str, Any] | None:
        """The account with exactly this id; None where there is none."""
        found = await self._get(f"/users/{escaped(identifier, safe='')}")
        # An id that is no plain path segment may have reached something else.
        return found if isinstance(found, Mapping) and found.get("id") == identifier else None

    async def memberships(self, account: str) -> frozenset[str]:
        """The ids of the groups that an account is a member of; none where it has gone."""
        return frozenset(each["id"] for each in await self._groups(f"/users/{escaped(account, safe='')}/groups") or ())

    async def workspace_groups(self) -> list[Mapping[str, Any]]:
        """All children of the parent group, in full representation."""
        parent = await self._get(f"/group-by-path/{PARENT}")
        if not isinstance(parent, Mapping) or not isinstance(parent.get("id"), str):
            raise BackendUnavailable(f"Keycloak has no group /{PARENT}, or its client may not see it")
        found = await self._groups(f"/groups/{escaped(parent['id'], safe='')}/children", briefRepresentation="false")
        if found is None:
            raise BackendUnavailable(f"the Keycloak group /{PARENT} went while it was read")
        return found

    async def _groups(self, path: str, **query: str) -> list[Mapping[str, Any]] | None:
        """Every group of a list that comes in pages (of ten, where it is not said otherwise)."""
        groups: list[Mapping[str, Any]] = []
        while True:
            # Each page begins with the last group of the one before: where it does not, the list has moved meanwhile,
            # and a group may have slipped through.
            first = max(len(groups) - 1, 0)
            page = await self._get(path, first=str(first), max=str(PAGE_GROUPS), **query)
            if page is None:
                return None
            if not isinstance(page, list) or not all(map(_is_group, page)):
                raise BackendUnavailable(f"Keycloak answered GET {quote(path)} with something other than groups")
            if groups and (not page or page[0]["id"] != groups[-1]["id"]):
                raise BackendUnavailable(f"Keycloak's answer to GET {quote(path)} changed while it was read")
            groups += page[1:] if groups else page
            if len(page) < PAGE_GROUPS:
                return groups

    async def _get(self, path: str, **query: str) -> Any:
        """What the admin API answers; None for 404."""
        token = await self._bearer()
        status, answer = await self._admin(token, path, query)
        if status == 401:
            # Its keys or sessions were changed before the token's time was over.
            token = await self._bearer(refused=token)
            status, answer = await self._admin(token, path, query)
        if status == 404:
            return None
        if status == 403:
            raise BackendUnavailable(
                f"Keycloak refused GET {quote(path)} (403); give the service account of the client "
                f"{quote(self._settings.client_id)} the role view-users of realm-management"
            )
        if status != 200:
            raise BackendUnavailable(f"Keycloak answered GET {quote(path)} with {status}")
        return answer

    async def _admin(self, token: str, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        bearer = {"Authorization": f"Bearer {token}"}
        return await self._request("GET", f"{self._settings.base_url}{path}", params=query, headers=bearer)

    async def _bearer(self, refused: str | None = None) -> str:
        """A token that is good for now; one renewal serves all who wait for it.

        Args:
            refused: A token that Keycloak does not take any more.
        """
        async with self._renewing:
            if self._token is None or self._token == refused or monotonic() >= self._token_ends:
                self._token = None
                self._token, seconds = await self._new_token()
                self._token_ends = monotonic() + max(seconds - EARLY_SECONDS, 0)
            return self._token

    async def _new_token(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
        }
        status, answer = await self._request("POST", self._settings.token_url, data=form)
        if status in (400, 401):
            raise BackendUnavailable(
                f"Keycloak gave the client {quote(self._settings.client_id)} no token ({status}); "
                "check KEYCLOAK_CLIENT_ID and KEYCLOAK_CLIENT_SECRET, and that the client has a service account"
            )
        if status != 200:
            raise BackendUnavailable(f"Keycloak's token endpoint answered with {status}")
        found = answer if isinstance(answer, Mapping) else {}
        token, seconds = found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
            raise BackendUnavailable("Keycloak's token endpoint answered without a token")
        return token, seconds if isinstance(seconds, int | float) else 0.0

    async def _request(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        """The status of an answer, and the JSON of a good one."""
        if self._session is None:
            raise BackendUnavailable("Keycloak was asked before the plugin was started, or after it was closed")
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as response:
                # Whatever type it says it has: the library's own complaint of that carries the request's headers.
                return response.status, await response.json(content_type=None) if response.status == 200 else None
        except TimeoutError as error:
            raise BackendUnavailable(f"{method} {quote(url)} was not answered within {REQUEST_SECONDS:g} s") from error
        except aiohttp.ClientError as error:
            raise BackendUnavailable(f"{method} {quote(url)} failed: {quote(str(error))}") from error
        except ValueError:
            # Not chained: the error keeps the whole text, which may have a token in it.
            raise BackendUnavailable(f"{method} {quote(url)} was answered with something other than JSON") from None


def _is_group(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(found.get(key), str) for key in ("id", "name", "path"))
