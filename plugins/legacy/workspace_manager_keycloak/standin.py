"""A stand-in for Keycloak on a real socket: the token endpoint and that part of the admin API which the plugin asks.

Always true here: it answers with what an operator has put into it, in the form and with the page sizes of Keycloak,
and only to a token that it gave out itself and that has not ended. Only the contract and the tests import it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from aiohttp import web

from .groups import PARENT

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
REALM = "hub"
CLIENT_ID = "jupyterhub"
_PARENT_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, f"/{PARENT}"))
_ADMIN = f"/admin/realms/{REALM}"
_CHILDREN_MAX = 10


class KeycloakStandIn:
    """One realm, with one client.

    Attributes:
        groups: The children of the parent group in full representation, by id.
        accounts: By id.
        members: Pairs of an account's id and a group's id.
        token_seconds: How long each new token is good for.
        requests: Method and path of each that came, in order.
        fault: Asked before a request is answered; what it gives is sent instead. It may wait.
        client_secret: What the client has to know.
    """

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.members: set[tuple[str, str]] = set()
        self.token_seconds: float = 300
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault | None = None
        self.client_secret = secrets.token_urlsafe()
        self._tokens: dict[str, float] = {}
        self._runner: web.AppRunner | None = None
        self._origin = ""

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port of this machine, with TLS where a context is given."""
        app = web.Application(middlewares=[self._first])
        app.add_routes(
            [
                web.post(f"/realms/{REALM}/protocol/openid-connect/token", self._give_token),
                web.get(f"{_ADMIN}/users/{{account}}", self._account),
                web.get(f"{_ADMIN}/users/{{account}}/groups", self._account_groups),
                web.get(f"{_ADMIN}/group-by-path/{{path:.+}}", self._group_by_path),
                web.get(f"{_ADMIN}/groups/{{group}}/children", self._children),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self._origin = f"{'https' if tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def environ(self, environments: Mapping[str, Any]) -> dict[str, str]:
        """The plugin's variables for this stand-in."""
        return {
            "KEYCLOAK_API_BASE_URL": f"{self._origin}{_ADMIN}",
            "KEYCLOAK_TOKEN_URL": f"{self._origin}/realms/{REALM}/protocol/openid-connect/token",
            "KEYCLOAK_CLIENT_ID": CLIENT_ID,
            "KEYCLOAK_CLIENT_SECRET": self.client_secret,
            "KEYCLOAK_ENVIRONMENTS": json.dumps(environments),
        }

    def put_group(self, name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """A child of the parent group, in the place of the one that has exactly this name."""
        path = f"/{PARENT}/{name}"
        found: dict[str, Any] = {
            "id": _identifier(path),
            "name": name,
            "path": path,
            "attributes": dict(attributes),
            "subGroups": [],
        }
        self.groups[found["id"]] = found
        return found

    def put_account(self, username: str) -> str:
        """An account, and its id; Keycloak knows usernames in lower case only."""
        username = username.lower()
        identifier = _identifier(username)
        self.accounts.setdefault(identifier, {"id": identifier, "username": username, "enabled": True})
        return identifier

    def end_tokens(self) -> None:
        """Take no token any more that was given out so far."""
        self._tokens.clear()

    @web.middleware
    async def _first(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        if request.path.startswith(_ADMIN):
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if self._tokens.get(token, 0) <= monotonic():
                return web.json_response({"error": "HTTP 401 Unauthorized"}, status=401)
        return await handler(request)

    async def _give_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": self.client_secret,
        }
        if dict(form) != known:
            return web.json_response({"error": "unauthorized_client"}, status=401)
        # Long enough for others to come meanwhile, as over a network.
        await asyncio.sleep(0.01)
        token = secrets.token_urlsafe()
        self._tokens[token] = monotonic() + self.token_seconds
        return web.json_response({"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"})

    async def _account(self, request: web.Request) -> web.Response:
        found = self.accounts.get(request.match_info["account"])
        return web.json_response(found) if found else _missing("User not found")

    async def _account_groups(self, request: web.Request) -> web.Response:
        account = request.match_info["account"]
        if account not in self.accounts:
            return _missing("User not found")
        return _page(request, [each for key, each in self.groups.items() if (account, key) in self.members], brief=True)

    async def _group_by_path(self, request: web.Request) -> web.Response:
        if request.match_info["path"] != PARENT:
            return _missing("Group path does not exist")
        return web.json_response({"id": _PARENT_ID, "name": PARENT, "path": f"/{PARENT}", "subGroups": []})

    async def _children(self, request: web.Request) -> web.Response:
        if request.match_info["group"] != _PARENT_ID:
            return _missing("Could not find group by id")
        return _page(request, list(self.groups.values()), brief=False, at_most=_CHILDREN_MAX)


def _page(
    request: web.Request, groups: list[dict[str, Any]], *, brief: bool, at_most: int | None = None
) -> web.Response:
    first = int(request.query.get("first", 0))
    most = int(request.query["max"]) if "max" in request.query else at_most
    shown = sorted(groups, key=lambda each: str(each["name"]))[first:][:most]
    if request.query.get("briefRepresentation", str(brief).lower()) == "true":
        shown = [{key: value for key, value in each.items() if key != "attributes"} for each in shown]
    return web.json_response(shown)


def _missing(error: str) -> web.Response:
    return web.json_response({"error": error}, status=404)


def _identifier(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))
