"""What arrives at a start of a server, looked at before JupyterHub stores it: ``install()``.

JupyterHub writes the options of a start into its database before any spawner sees them, and reads them again as it
starts; a value that it can store and not read back keeps it from starting. So the only options that get in or out of
the database are those that `accepted` takes: where a request brings them (`StartPage`, `StartServer`), where any code
sets them on the row, and where a row of an older hub is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable
from typing import Any

import jupyterhub
from jupyterhub import apihandlers, handlers, orm
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler
from sqlalchemy import event, func
from tornado import httputil, web

from ..errors import ConfigurationError, quote
from ..texts import _

log = logging.getLogger("JupyterHub.workspaces")

PROFILE_CHARACTERS = 253
"""The longest `metadata.name` of Kubernetes, and so of a workspace."""
BODY_BYTES = 8 * 1024
"""The longest body of a start: a name of 253 characters in the longest spelling of JSON (12 bytes each, as a pair of
``\\u`` escapes), a display name of as many, and room."""

_WRAPPED = hasattr(UserServerAPIHandler, "get_server_json_body")
"""JupyterHub 6: the options of a start are a field beside others."""
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class NotAccepted(web.HTTPError):
    """400: this is not what a server is started with."""

    def __init__(self) -> None:
        sentence = _(
            'A server is started with one option, "profile": the name of a workspace, text of at most {count} '
            "characters. This request has something else, so nothing was started.",
            count=PROFILE_CHARACTERS,
        )
        super().__init__(400, sentence)


def install() -> None:
    """Put our checks in front of what JupyterHub does. Called once, before the hub makes its routes or reads its rows.

    Raises:
        ConfigurationError: This JupyterHub has no handlers of the kind that ours stand in front of.
    """
    _route(handlers.default_handlers, SpawnHandler, StartPage)
    _route(apihandlers.default_handlers, UserServerAPIHandler, StartServer)
    orm.Spawner.__table__.c.user_options.type = _StoredOptions()
    if not event.contains(orm.Spawner.user_options, "set", _check_what_is_set):
        event.listen(orm.Spawner.user_options, "set", _check_what_is_set)
        event.listen(orm.Spawner, "load", _tell_what_is_unreadable, restore_load_context=True)


def _route(routes: list[Any], theirs: type, ours: type) -> None:
    routes[:] = [(path, ours if target is theirs else target, *rest) for path, target, *rest in routes]
    if not any(target is ours for _, target, *_ in routes):
        raise ConfigurationError(
            f"JupyterHub {jupyterhub.__version__} has no {theirs.__name__} among its handlers, so what arrives at a "
            "start cannot be checked; use a version that this package is tested with"
        )


def wished(handler: Any) -> str | None:
    """The workspace that a link or a form names, to be selected on the page; nothing is started by it.

    Args:
        handler: The handler of the page's request; None where a start has ended.

    Returns:
        Whatever text was sent; None where none was. Whether it is one of the user's is for the caller to see.
    """
    request = getattr(handler, "request", None)
    arguments = request.arguments if request else {}
    values = arguments.get("opt-profile") or arguments.get("profile")
    return values[-1].decode(errors="replace") if values else None


def accepted(options: object) -> dict[str, str]:
    """The options of a start: nothing chosen (``{}``), or a ``profile``.

    Raises:
        NotAccepted: They are anything else.
    """
    if isinstance(options, dict) and options.keys() <= {"profile"}:
        profile = options.get("profile", "")
        # No text of control characters, NUL among them, or of halves of characters, which a database may not store.
        if isinstance(profile, str) and len(profile) <= PROFILE_CHARACTERS and profile.isprintable():
            return options
    raise NotAccepted


# As a request brings them


@web.stream_request_body
class _Bounded(web.RequestHandler):
    """Keeps as much of a body as a start can have; the rest is read and dropped, so that the answer reaches the sender.

    As the body comes in pieces, after XSRF was checked, the token is taken from the query or the header. That is where
    the hub's own pages send it.
    """

    def data_received(self, chunk: bytes) -> None:
        """Called by Tornado with each piece of the body."""
        self.request.body += chunk[: BODY_BYTES + 1 - len(self.request.body)]


class StartPage(_Bounded, SpawnHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/spawn``: a link shows the page, and only its form starts a server."""

    def get(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Show the page, whatever the query is."""
        # JupyterHub starts a server with what is in here; what it needs itself it takes from `arguments`.
        self.request.query_arguments = {}
        return super().get(*args, **kwargs)

    async def post(self, *args: Any, **kwargs: Any) -> None:
        """Start a server with the one field of the form."""
        fields = fields_of(self.request)
        self.request.body_arguments = fields
        self.request.arguments = self.request.arguments | fields
        user = self.current_user
        if self._named and user is not None and user.name == self.path_args[0]:
            await self._keep_to_limit(user)
        started: Awaitable[None] | None = super().post(*args, **kwargs)
        if started is not None:
            await started

    @property
    def _named(self) -> str:
        """The name of the server, as the address has it; empty for the one without."""
        return (*self.path_args, "", "")[1] or ""

    async def _keep_to_limit(self, user: Any) -> None:
        """As JupyterHub's own page does before the form is shown, and from 6 on also before it is sent."""
        limit = await self.get_current_user_named_server_limit()
        names = set(user.orm_spawners) - {""}
        if not self.allow_named_servers:
            raise web.HTTPError(400, "Named servers are not enabled.")
        if 0 < limit <= len(names) and self._named not in names:
            raise web.HTTPError(400, f"User {user.name} already has the maximum of {limit} named servers.")

    async def _render_form(self, for_user: Any, spawner_options_form: Any, *args: Any, **options: Any) -> Any:
        """JupyterHub shows the form of the server without a name after the start of another one has failed."""
        if self._named and self.request.method == "POST":
            spawner_options_form = await for_user.spawners[self._named].get_options_form()
        return await super()._render_form(for_user, spawner_options_form, *args, **options)


class StartServer(_Bounded, UserServerAPIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/api/users/NAME/server``, and ``servers/SERVER``."""

    def post(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Start a server."""
        check_json(self.request.body)
        if _WRAPPED and self.request.body and _load(self.request.body.decode()) == {}:
            # It chooses nothing on every JupyterHub (rule A3); 6 would take the options of the last start.
            self.request.body = b'{"user_options": {}}'
        return super().post(*args, **kwargs)

    def put(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Make a server that can be started later (JupyterHub 6)."""
        check_json(self.request.body)
        return super().put(*args, **kwargs)

    def patch(self, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        """Change what a server will be started with (JupyterHub 6)."""
        check_json(self.request.body, "name")
        return super().patch(*args, **kwargs)


def fields_of(request: httputil.HTTPServerRequest) -> dict[str, list[bytes]]:
    """The fields of the page's form: none, or one ``profile``.

    Raises:
        NotAccepted: The body is longer, no form, or has other fields, a file, or one field twice.
    """
    content_type = request.headers.get("Content-Type", "")
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[httputil.HTTPFile]] = {}
    try:
        if request.body and (len(request.body) > BODY_BYTES or not content_type.lower().startswith(_FORMS)):
            raise NotAccepted
        httputil.parse_body_arguments(content_type, request.body, fields, files, request.headers)
        fields.pop("_xsrf", None)
        options = {name: values[-1].decode() for name, values in fields.items()}
    except (httputil.HTTPInputError, ValueError) as error:
        raise NotAccepted from error
    if files or any(len(values) > 1 for values in fields.values()):
        raise NotAccepted
    accepted(options)
    return fields


def check_json(body: bytes, *further: str) -> None:
    """Look at what the REST API is sent, before the hub reads it itself.

    Args:
        body: As it was sent; empty, or ``null``, where nothing was chosen.
        further: Names of text that JupyterHub 6 takes beside ``user_options`` and ``display_name``.

    Raises:
        NotAccepted: The body is longer, no JSON, or has other options.
    """
    if not body:
        return
    if len(body) > BODY_BYTES:
        raise NotAccepted
    options = _load(body.decode(errors="surrogateescape"))  # bytes that are no text are then in no text accepted
    wrapper = {"user_options", "display_name", *further}
    if _WRAPPED and isinstance(options, dict) and options.keys() & wrapper:
        names = {key: value for key, value in options.items() if key != "user_options"}
        if not options.keys() <= wrapper or not all(isinstance(name, str | None) for name in names.values()):
            raise NotAccepted
        options = options.get("user_options")
    if options is not None:  # nothing was chosen: JupyterHub takes the options of the last start
        accepted(options)


def _load(text: str) -> object:
    """JSON as one parser reads it like another.

    Raises:
        NotAccepted: It is no JSON, says something twice, or is nested too deeply to be read.
    """

    def read(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise NotAccepted
        return found

    try:
        return json.loads(text, object_pairs_hook=read)
    except (ValueError, RecursionError) as error:
        raise NotAccepted from error


# As they are stored


def _check_what_is_set(_spawner: orm.Spawner, value: object, _old: object, _initiator: object) -> None:
    """Before a row has it, whoever sets it: another handler, a service's extension, a shell."""
    if value is not None:
        accepted(value)


class _Unreadable(dict[str, str]):
    """Nothing chosen, in place of a stored value that is not one of ours."""


class _StoredOptions(orm.JSONDict):  # type: ignore[misc]  # JupyterHub has no types
    """The column of the options: what is not accepted reads as nothing chosen, and no more of it than is needed."""

    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return func.substr(column, 1, BODY_BYTES + 1, type_=self)

    def process_result_value(self, value: str | None, dialect: object) -> dict[str, str] | None:
        if value is None:
            return None
        try:
            return accepted(_load(value)) if len(value) <= BODY_BYTES else _Unreadable()
        except NotAccepted:
            return _Unreadable()


def _tell_what_is_unreadable(spawner: orm.Spawner, _context: object) -> None:
    if isinstance(spawner.user_options, _Unreadable):
        log.warning(
            "The stored options of server %s of %s are not ones that a workspace is started with; they are taken as "
            "nothing chosen",
            quote(spawner.name),
            quote(spawner.user.name if spawner.user else None),
        )
