"""The workspace manager ``projects``: a person's projects, asked of a research platform over HTTPS.

Each question is one request, so a project that was taken away a moment ago opens nothing. Whatever is not an answer of
the platform's own is an outage. Its reason repeats nothing that the other side has sent, which may be the token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote as percent_encoded

import aiohttp
from yarl import URL

from workspace_managers import (
    HOME,
    HOMES,
    NAMESPACES,
    AccessDenied,
    BackendUnavailable,
    ConfigurationError,
    Context,
    Resources,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
    parse_day,
    personal_claim,
    quote,
    require_open,
)

ANSWER_SECONDS = 10.0
"""For one question in all, below the framework's 30 s: with the token, a free connection and the second try."""
ANSWER_LIMIT = 4 * 1024 * 1024  # bytes that are read at most
CONNECTIONS = 20
TOKEN_LIMIT = 8192
_ADDRESS = re.compile(r"https://([-.A-Za-z0-9]+|\[[:.0-9A-Fa-f]+\])(:[0-9]{1,5})?(/[-\w.~%]+)*/?", re.ASCII)
_TOKEN = re.compile(r"[-\w.~+/]+=*", re.ASCII)  # RFC 6750, 2.1
_PREFIX = re.compile(r"[a-z0-9][-a-z0-9]{0,39}", re.ASCII)
# Each variable with its default, its check and what is accepted.
_SETTINGS: Mapping[str, tuple[str, Callable[[str], object], str]] = {
    "PROJECTS_URL": ("", _ADDRESS.fullmatch, "the platform's address, https://host/path, without a user or a query"),
    "PROJECTS_CA": ("", lambda path: not path or os.path.isabs(path), "an absolute path; unset for the system's CAs"),
    "PROJECTS_TOKEN_FILE": ("", os.path.isabs, "the absolute path of the file that holds the token"),
    "PROJECTS_NAMESPACE_PREFIX": ("project-", _PREFIX.fullmatch, "1 to 40 of a-z, 0-9 and -, the first no -"),
}


class ProjectsManager(WorkspaceManager):
    """Asks the platform anew for each question; a few connections serve everybody."""

    interface_versions = (1, 1)
    capabilities = frozenset({HOMES, NAMESPACES})

    def __init__(self, context: Context) -> None:
        """Called while the hub's config loads: the variables are read, and no file."""
        super().__init__(context)
        found = {name: os.environ.get(name, default) for name, (default, _, _) in _SETTINGS.items()}
        problems = [
            f"{name} is {quote(found[name]) if '@' not in found[name] else 'a text with an @'}; accepted: {accepted}"
            for name, (_, is_right, accepted) in _SETTINGS.items()
            if not is_right(found[name])
        ]
        if problems:
            raise ConfigurationError(problems)
        self._url, self._ca, self._token_file, self._prefix = found.values()
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Read the CA and make the session, which connects at the first question."""
        try:
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca or None)
        except OSError as error:
            raise BackendUnavailable(f"the file of PROJECTS_CA cannot be read: {quote(str(error))}") from error
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),  # a session of one person's answer must not be in the next question
            auto_decompress=False,  # or a few bytes become more than the limit
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """End every connection, and with it each question that is under way."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def list_workspaces(self, user: User) -> list[Workspace]:
        """Each of the person's projects with each of its profiles."""
        return (await self._read(user.username))[0]

    async def review(self, user: User, name: str) -> Workspace:
        """As at a start; but a denial is not certain where what cannot be read may be what the server rests on."""
        found, unread = await self._read(user.username)
        try:
            return require_open(user, name, found, self.context.today())
        except AccessDenied as error:
            if not any(not isinstance(project, str) or f"{name}.".startswith(f"{project}.") for project in unread):
                raise
            raise BackendUnavailable(f"what the platform answered cannot be read; without it, {error}") from error

    async def volumes_for(self, user: User, workspace: Workspace) -> list[Volume]:
        """The folder that all people of a workspace write to, and the home folder of this one."""
        return [
            Volume(claim=default_claim(workspace.name), mount_path=f"{HOME}/{workspace.name}"),
            Volume(claim=personal_claim(user.username, workspace.name), mount_path=HOME, personal=True),
        ]

    async def _read(self, username: str) -> tuple[list[Workspace], list[Any]]:
        """A person's workspaces, and the projects that could not be read, each of which hides no other."""
        found: list[Workspace] = []
        unread = []
        for item in await self._answer(username):
            try:
                # The platform's own idea of who is who is not relied on.
                if item["person"].lower() == username:
                    found += [self._workspace(item, profile) for profile in item["profiles"]]
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                unread.append(item.get("name") if isinstance(item, dict) else None)
                name, reason = quote(unread[-1], 80), quote(f"{type(error).__name__}: {error}")
                self.context.limited_log.write(logging.WARNING, name, "The project %s is set aside: %s", name, reason)
        return found, unread

    async def _answer(self, username: str) -> list[Any]:
        """What the platform says of one person: empty only where it says itself that there is nothing."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, body = await self._get(username)
                if status == 401:  # the token may have been renewed a moment ago
                    status, body = await self._get(username)
            answer = json.loads(body) if status in (200, 404) else None
        except TimeoutError as error:
            raise BackendUnavailable(f"the platform did not answer within {ANSWER_SECONDS:g} s") from error
        except aiohttp.ClientConnectorError as error:  # before anything was sent
            raise BackendUnavailable(f"the platform cannot be reached: {quote(str(error))}") from error
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            raise BackendUnavailable(f"the platform's answer cannot be read: {type(error).__name__}") from None
        if status == 200 and isinstance(answer, list):
            return answer
        if status == 404 and answer == {"unknown": username}:
            return []
        raise BackendUnavailable(f"the platform answered with status {status}, and not with a person's projects")

    async def _get(self, username: str) -> tuple[int, bytes]:
        if self._http is None:
            raise BackendUnavailable("the plugin is not started")
        # Whoever renews the token tells nobody, so it is read each time.
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
        # A dot as well: the names "." and ".." would be steps in a path.
        person = percent_encoded(username, safe="", errors="surrogatepass").replace(".", "%2E")
        address = URL(f"{self._url.rstrip('/')}/people/{person}/projects", encoded=True)
        async with self._http.get(address, headers=headers, allow_redirects=False) as answer:
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > ANSWER_LIMIT:
                    raise BackendUnavailable(f"the platform's answer has more than {ANSWER_LIMIT} bytes")
            return answer.status, bytes(body)

    def _token(self) -> str:
        try:
            with open(self._token_file, encoding="ascii") as file:
                token = file.read(TOKEN_LIMIT + 1).strip()
        except (OSError, UnicodeError) as error:
            raise BackendUnavailable(f"PROJECTS_TOKEN_FILE cannot be read: {type(error).__name__}") from None
        if len(token) > TOKEN_LIMIT or not _TOKEN.fullmatch(token):
            raise BackendUnavailable("the file of PROJECTS_TOKEN_FILE holds no bearer token")
        return token

    def _workspace(self, item: Mapping[str, Any], profile: Mapping[str, Any]) -> Workspace:
        # A fact takes whatever it is given; the framework sets aside, by name, one in which something is wrong.
        project, title, kind = item["name"], item["title"], profile.get("name")
        if not isinstance(project, str) or "." in project:
            raise ValueError("no name of a project; with a dot, it could be that of another's profile")
        limits = {key: profile[key] for key in ("cpu", "memory") if profile.get(key) is not None}
        return Workspace(
            name=f"{project}.{kind}" if kind else project,
            display_name=f"{title}: {profile.get('title') or kind}" if kind else title,
            description=item["text"],
            first_day=parse_day(item["first_day"]),
            last_day=parse_day(item["last_day"]),
            grant_last_day=parse_day(item["until"]),
            image=profile.get("image", ""),
            resources=Resources(limits=limits),
            environment={"PROJECT_NAME": project, "PROJECT_TITLE": title},
            namespace=f"{self._prefix}{project}",
            keeps_home=True,
            uid=item["uid"] or "",  # without one, it could get the files of an earlier project of its name
        )
