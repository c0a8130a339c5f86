"""What our templates have beside JupyterHub's own means: the sentences of the catalogue, and scripts that may run.

The scripts of a template are marked with a nonce as the template is read, before any value is put into it, and
``page.html`` has the browser run nothing else (``script-src`` of Content Security Policy Level 3). So text of somebody
else's that got into a page unescaped, through a template of a site's own for instance, is no script there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension
from traitlets.config.loader import LazyConfigValue

from ..texts import _, language, ngettext

_TAG = re.compile(r"<script(?=[\s>])", re.IGNORECASE)
_nonce: ContextVar[str] = ContextVar("nonce")


def script_nonce() -> str:
    """The nonce of the page that is being made; Tornado answers each request in a context of its own."""
    made = _nonce.get("") or secrets.token_urlsafe(16)
    _nonce.set(made)
    return made


class Templating(Extension):
    """Marks the scripts of every template of an environment, and gives it what our own use."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals |= {"_": _, "ngettext": ngettext, "language": language, "script_nonce": script_nonce}

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Called by Jinja with a template's source."""
        return _TAG.sub('<script nonce="{{ script_nonce() }}"', source)


def environment_options(config: Any) -> dict[str, Any]:
    """What ``JupyterHub.jinja_environment_options`` has to be: as it is configured, with ours."""
    found = config.JupyterHub.get("jinja_environment_options")
    if isinstance(found, LazyConfigValue):
        found = found.get_value({})
    options = dict(found) if isinstance(found, Mapping) else {}
    others = [each for each in options.get("extensions", ()) if each is not Templating]
    return {**options, "extensions": [*others, Templating]}
