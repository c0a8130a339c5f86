"""The pages of workspaces (rules F1, F2): the choice, rendered from ``workspaces/form.html`` of the template paths, and
what the home page is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from jupyterhub.utils import url_path_join

from ..errors import AccessDenied, BackendUnavailable
from ..forms import Form
from ..names import server_name
from .arrivals import wished
from .home import Home, home_of
from .identity import user_of
from .refusals import Refused
from .service import Service
from .sessions import Sessions
from .templating import Templating

FORM = "workspaces/form.html"
"""The name under which a site's own form counts. KubeSpawner's ``form.html`` is another template, of other values."""


def templates_folder() -> Path:
    """The folder of our templates: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    return next(path for path in (package / "templates", package.parent / "templates") if path.is_dir())


def chosen_last(spawner: Any) -> object:
    """What the options of the last start name; anything may have arrived there."""
    return spawner.user_options.get("profile") if isinstance(spawner.user_options, Mapping) else None


class Pages:
    """What people see of the manager.

    Args:
        service: Whom to ask.
        sessions: The servers that run.
        folders: Where templates are looked for, a site's own before ours.
    """

    def __init__(self, service: Service, sessions: Sessions, folders: Sequence[str]) -> None:
        self._service = service
        self._sessions = sessions
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            extensions=[Templating],
        )

    def __deepcopy__(self, memo: object) -> Pages:
        return self

    async def form(self, spawner: Any) -> str:
        """The form of a spawner's user. Never empty: the hub would start a server without asking."""
        form, refused = await self._look_up(spawner)
        notice = refused and _notice(refused)
        if refused is not None and spawner.handler is not None:
            spawner.handler.set_status(refused.status_code)
            for name, value in refused.headers.items():
                spawner.handler.set_header(name, value)
        if form and spawner.name:
            form = form.only(card.slug for card in form.cards if server_name(card.slug) == spawner.name)
            if not form.cards and not form.sign_in_again:
                why = "no workspace of the user's has a server of this name"
                notice = _notice(Refused(BackendUnavailable(why) if form.incomplete else AccessDenied(why)))
        return self._templates.get_template(FORM).render(
            form=form,
            selected=form.preselected(wished(spawner.handler), chosen_last(spawner)) if form else None,
            notice=notice,
            zone=self._service.settings.timezone,
            username=spawner.user.name,
            logout_url=url_path_join(spawner.hub.base_url, "logout"),
        )

    async def home(self, spawner: Any) -> Home:
        """What the home page of a spawner's user shows."""
        user = spawner.user
        # Those that died a moment ago; of the one without a name the hub has asked already.
        named = [each for each in user.spawners.values() if each.ready and each.name]
        await asyncio.gather(*(each.poll_and_notify() for each in named), return_exceptions=True)
        form, refused = await self._look_up(spawner)
        return home_of(user, self._service, form, refused and _notice(refused))

    async def _look_up(self, spawner: Any) -> tuple[Form | None, Refused | None]:
        """The workspaces of a spawner's user, or why they cannot be shown."""
        decision = self._service.decision("form", spawner)
        try:
            async with self._service.deciding(decision):
                await self._sessions.first_round()
                return await self._service.manager.build_form(await user_of(spawner)), None
        except Refused as refused:
            return None, refused


def _notice(refused: Refused) -> SimpleNamespace:
    kind = "denied" if refused.status_code == 403 else "unavailable"
    return SimpleNamespace(kind=kind, message=refused.jupyterhub_message)
