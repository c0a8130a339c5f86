"""The page to choose a workspace from, rendered from ``workspaces/form.html`` of the template paths (rules F1, F2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from jupyterhub.utils import url_path_join

from .arrivals import wished
from .identity import user_of
from .refusals import Refused
from .service import Service
from .sessions import Sessions

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
            loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined
        )

    def __deepcopy__(self, memo: object) -> Pages:
        return self

    async def form(self, spawner: Any) -> str:
        """The form of a spawner's user. Never empty: the hub would start a server without asking."""
        decision = self._service.decision("form", spawner)
        user = await user_of(spawner)
        form = notice = None
        try:
            async with self._service.deciding(decision):
                await self._sessions.first_round()
                form = await self._service.manager.build_form(user)
        except Refused as refused:
            kind = "denied" if refused.status_code == 403 else "unavailable"
            notice = SimpleNamespace(kind=kind, message=refused.jupyterhub_message)
            if spawner.handler is not None:
                spawner.handler.set_status(refused.status_code)
                for name, value in refused.headers.items():
                    spawner.handler.set_header(name, value)
        return self._templates.get_template(FORM).render(
            form=form,
            selected=form.preselected(wished(spawner.handler), chosen_last(spawner)) if form else None,
            notice=notice,
            username=user.name,
            logout_url=url_path_join(spawner.hub.base_url, "logout"),
        )
