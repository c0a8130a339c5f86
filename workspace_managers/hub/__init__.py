"""The only package that knows JupyterHub and KubeSpawner: ``configure(c)``, called by the hub's config file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Mapping
from typing import Any

from traitlets.config import Application, Config

from .. import registry, texts
from ..context import Context
from ..errors import ConfigurationError
from ..kube.client import Kube
from ..settings import Settings
from . import arrivals, precedence
from .overview import Overviews, route
from .pages import Pages, templates_folder
from .service import Service, log
from .sessions import Sessions
from .spawner import in_front_of
from .templating import environment_options

__all__ = ["configure", "context_for", "templates_folder"]


def configure(c: Any, environ: Mapping[str, str] | None = None) -> None:
    """Set up a JupyterHub with the workspace manager that ``WORKSPACE_MANAGER`` names.

    Called once by ``jupyterhub_config.d/workspace_manager.py``. Makes no API call (rule L3). Settings that the
    chart has made stay, and what is set later counts as ``docs/settings.md`` says.

    Args:
        c: The hub's traitlets config object.
        environ: The environment; None for the process's own.

    Raises:
        SystemExit: The hub must not start (rules L1 to L3); the text has every problem.
    """
    with _or_exit():
        settings = Settings.from_environ() if environ is None else Settings.from_environ(environ)
        texts.use(settings.language, settings.texts)
        service = Service(registry.create(settings.workspace_manager, context_for(settings)))
        base = precedence.spawner_class(c)
        folders = _template_folders(c)
        sessions = Sessions(service)
        ours = in_front_of(base, service, sessions, Pages(service, sessions, folders))
        arrivals.install()
        c.JupyterHub.template_paths = folders
        c.JupyterHub.jinja_environment_options = environment_options(c)
        c.JupyterHub.spawner_class = ours
        c.JupyterHub.extra_handlers.append(route(Overviews(service, sessions)))
        # The chart sets this one always, to what a hub without workspaces needs.
        c.JupyterHub.allow_named_servers = True
        c.JupyterHub.setdefault("redirect_to_server", False)
        c.KubeSpawner.namespace = settings.namespace
        c.KubeSpawner.start_timeout = settings.start_timeout
        if Application.initialized() and Application.instance().has_trait("spawner_class"):
            # The hub, which takes over its whole configuration in one step once all of it has run.
            Application.instance().observe(lambda change: _look(c, change, ours, service), names="spawner_class")
    # What is imported by now stays for good. The garbage collector need not walk it again and again, which holds the
    # hub up for tens of milliseconds each time.
    gc.collect()
    gc.freeze()
    # A hub reads its config on its event loop, and goes on there once this is done; commands beside it have no loop.
    with contextlib.suppress(RuntimeError):
        service.begin_soon(asyncio.get_running_loop())
        service.run(sessions.run())


def context_for(settings: Settings) -> Context:
    """What a plugin gets to work with, in the hub and on the command line alike."""
    return Context(settings=settings, kube=Kube(settings.namespace), log=log)


def _look(c: Any, change: Any, ours: type, service: Service) -> None:
    # The hub's own config has this file's only after this; what was given on its command line counts before both.
    config = Config()
    config.merge(c)
    config.merge(change.owner.cli_config)
    with _or_exit():
        found = precedence.check(config, change.new, ours, service.settings)
        # Our templates need what is in there, whoever set it last.
        change.owner.jinja_environment_options = environment_options(config)
        service.warnings = (*found, *precedence.templates_of_others(_template_folders(config)))
        for sentence in service.warnings:
            log.warning("%s.", sentence)


@contextlib.contextmanager
def _or_exit() -> Any:
    try:
        yield
    except ConfigurationError as error:
        raise SystemExit(f"The hub does not start.\n{error}") from error


def _template_folders(config: Any) -> list[str]:
    """Where templates are looked for: those that are configured, and ours."""
    paths = config.JupyterHub.get("template_paths")
    return [*(map(str, paths) if isinstance(paths, list | tuple) else ()), str(templates_folder())]
