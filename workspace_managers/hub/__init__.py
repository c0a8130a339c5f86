"""The one module that knows JupyterHub and KubeSpawner: ``configure(c)``, called by the hub's config file.

Always true here: the plugin never sees a spawner; each way to a pod passes ``choose`` when the options load and
``provision`` when the pod is made; and what the plugin or the API refuses reaches the user as a plain sentence
and the log with its cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import jupyterhub
from jupyterhub import orm
from kubernetes_asyncio.client import V1Pod
from tornado import web

from .. import profiles, registry
from ..decisions import Decision, deciding
from ..errors import AccessDenied, ConfigurationError, StorageRefused, WorkspaceManagerError, quote
from ..kube.client import Kube
from ..manager import CLOSE_SECONDS, Context, WorkspaceManager
from ..models import User
from ..pods import VERSIONS_ANNOTATION
from ..settings import Settings
from . import arrivals

# A child of the hub's own logger, so that our lines come out in the hub's format and level.
log = logging.getLogger("JupyterHub.workspaces")

# Where OAuthenticator's classes keep the identity provider's claims: all but Azure AD's, and Azure AD's.
_CLAIMS_KEYS = ("oauth_user", "user")


def templates_folder() -> Path:
    """The folder of our templates: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    return next(path for path in (package / "templates", package.parent / "templates") if path.is_dir())


def configure(c: Any, environ: Mapping[str, str] | None = None) -> None:
    """Set up a JupyterHub with the workspace manager that ``WORKSPACE_MANAGER`` names.

    Called once by ``jupyterhub_config.d/workspace_manager.py``. Makes no API call (rule L3). Settings that the
    chart has made stay, but for those that would give a pod other storage than its workspace's.

    Args:
        c: The hub's traitlets config object.
        environ: The environment; None for the process's own.

    Raises:
        SystemExit: The hub must not start (rules L1 to L3); the text tells every problem.
    """
    try:
        settings = Settings.from_environ() if environ is None else Settings.from_environ(environ)
        hub = _Hub(registry.create(settings.workspace_manager, context_for(settings)))
        hub.install(c)
        arrivals.install()
    except ConfigurationError as error:
        raise SystemExit(f"The hub does not start.\n{error}") from error
    # What is imported by now stays for good. The garbage collector need not walk it again and again, which holds the
    # hub up for tens of milliseconds each time.
    gc.collect()
    gc.freeze()
    # A hub reads its config on its event loop, and goes on there once this is done; commands beside it have no loop.
    with contextlib.suppress(RuntimeError):
        hub.begin_soon(asyncio.get_running_loop())


def context_for(settings: Settings) -> Context:
    """What a plugin gets to work with, in the hub and on the command line alike."""
    return Context(settings=settings, kube=Kube(settings.namespace), log=log)


class Refused(web.HTTPError):
    """A refusal as JupyterHub shows it, the same sentence on a page, over the REST API and in the progress.

    Attributes:
        jupyterhub_message: What the hub shows to the user.
    """

    def __init__(self, error: WorkspaceManagerError) -> None:
        # The same sentence as the log message: the REST API of JupyterHub 4 answers with that.
        super().__init__(403 if isinstance(error, AccessDenied) else 503, error.user_message)
        self.jupyterhub_message = error.user_message

    def __str__(self) -> str:
        # JupyterHub 4 prints the exception itself on the form.
        return self.jupyterhub_message


class ProvisionedPod(V1Pod):
    """A pod that does not show itself: KubeSpawner logs a pod that could not be created, tokens and all (rule F1)."""

    def to_str(self) -> str:
        """The pod's name, for the log."""
        return f"pod {self.metadata.name}"

    __repr__ = __str__ = to_str


class _Hub:
    def __init__(self, manager: WorkspaceManager) -> None:
        self._manager = manager
        self._settings = manager.context.settings
        self._claims: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
        self._defaults: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._templates: jinja2.Environment | None = None
        self._earlier_pod_hook: Callable[..., Any] | None = None
        self._earlier_auth_hook: Callable[..., Any] | None = None
        self._starting = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def __deepcopy__(self, memo: object) -> _Hub:
        # Each spawner gets a deep copy of its config, and the hooks in it are methods of this one object.
        return self

    def install(self, c: Any) -> None:
        if c.KubeSpawner.get("enable_user_namespaces"):
            raise ConfigurationError(
                "KubeSpawner.enable_user_namespaces is on; claims and workspaces live in the hub's own namespace, "
                "so turn it off"
            )
        self._earlier_pod_hook = c.KubeSpawner.get("modify_pod_hook")
        self._earlier_auth_hook = c.KubeSpawner.get("auth_state_hook")
        if c.KubeSpawner.get("profile_list"):
            log.warning("KubeSpawner.profile_list is set; the workspace manager's list takes its place")
        if "spawner_class" not in c.JupyterHub:
            c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
        folders = [*_listed(c.JupyterHub.get("template_paths")), str(templates_folder())]
        c.JupyterHub.template_paths = folders
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined
        )
        c.KubeSpawner.namespace = self._settings.namespace
        c.KubeSpawner.start_timeout = self._settings.start_timeout
        c.KubeSpawner.storage_pvc_ensure = False
        c.KubeSpawner.delete_pvc = False
        c.KubeSpawner.auth_state_hook = self.keep_claims
        c.KubeSpawner.options_form = self.render_form
        c.KubeSpawner.profile_list = self.list_profiles
        c.KubeSpawner.modify_pod_hook = self.modify_pod

    def begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the manager when the config has loaded, so that nobody's form waits for what it reads first."""
        self._beginning = loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._start_once()
        except WorkspaceManagerError as error:
            log.warning("The workspace manager has not started yet, and is asked to again by the next form: %s", error)

    async def keep_claims(self, spawner: Any, auth_state: Mapping[str, Any] | None) -> None:
        """``auth_state_hook``: remember what the identity provider says of this user, for this login only."""
        found = [(auth_state or {}).get(key) for key in _CLAIMS_KEYS]
        self._claims[spawner] = next((claims for claims in found if isinstance(claims, Mapping)), {})
        if self._earlier_auth_hook is not None:
            await _result(self._earlier_auth_hook(spawner, auth_state))

    async def render_form(self, spawner: Any) -> str:
        """``options_form``: the page to choose from. Never empty: the hub would start a server without asking."""
        user = self._user(spawner)
        form = notice = None
        try:
            async with self._question(spawner, "form"):
                form = await self._manager.build_form(user)
        except Refused as refused:
            kind = "denied" if refused.status_code == 403 else "unavailable"
            notice = SimpleNamespace(kind=kind, message=refused.jupyterhub_message)
            if spawner.handler is not None:
                spawner.handler.set_status(refused.status_code)
        assert self._templates is not None  # noqa: S101 - set before the hub has this method
        return self._templates.get_template("form.html").render(
            form=form,
            selected=form.preselected(arrivals.wished(spawner.handler), (spawner.user_options or {}).get("profile"))
            if form
            else None,
            notice=notice,
            username=user.name,
        )

    async def list_profiles(self, spawner: Any) -> list[dict[str, Any]]:
        """``profile_list``: when options load, the one profile that was chosen, or a refusal; never an empty list."""
        async with self._question(spawner, "options", spawner.user_options.get("profile")) as decision:
            if spawner.modify_pod_hook != self.modify_pod:
                raise StorageRefused(
                    "KubeSpawner.modify_pod_hook was set after the workspace manager's configuration, which "
                    "provides the storage; set it before, and it is called first",
                    rule="S1",
                )
            workspace = await self._manager.choose(self._user(spawner), decision.workspace)
            decision.versions = workspace.versions
            # A spawner keeps what the last profile set, so the hub's own values are read before the first one.
            if spawner not in self._defaults:
                self._defaults[spawner] = {trait: getattr(spawner, trait) for trait in profiles.TRAITS}
            return [profiles.profile(workspace, self._defaults[spawner])]

    async def modify_pod(self, spawner: Any, pod: Any) -> ProvisionedPod:
        """``modify_pod_hook``: the last word on the pod, after a hook that the configuration had before."""
        if self._earlier_pod_hook is not None:
            pod = await _result(self._earlier_pod_hook(spawner, pod))
        async with self._question(spawner, "pod", (spawner.user_options or {}).get("profile")) as decision:
            if spawner.namespace != self._settings.namespace:
                raise StorageRefused(
                    f"the pod would start in namespace {quote(spawner.namespace)}, its claims are elsewhere", rule="S1"
                )
            api = await self._manager.context.kube.api()
            document = api.sanitize_for_serialization(pod)
            rebuilt = await self._manager.provision(self._user(spawner), decision.workspace, document)
            decision.versions = json.loads(rebuilt["metadata"]["annotations"][VERSIONS_ANNOTATION])
            metadata = pod.metadata
            metadata.labels = rebuilt["metadata"]["labels"]
            metadata.annotations = rebuilt["metadata"]["annotations"]
            # JSON in place of a model: the client sends it as it is.
            return ProvisionedPod(api_version="v1", kind="Pod", metadata=metadata, spec=rebuilt["spec"])

    def _user(self, spawner: Any) -> User:
        return User.identify(spawner.user.name, self._claims.get(spawner))

    @contextlib.asynccontextmanager
    async def _question(self, spawner: Any, stage: str, workspace: object = None) -> AsyncIterator[Decision]:
        """Ask the manager something, tell what was decided, and turn a refusal into the hub's."""
        try:
            with deciding(stage, spawner.user.name, workspace, _asker(spawner)) as decision:
                await self._start_once()
                yield decision
        except WorkspaceManagerError as error:
            log.warning("%s at %s for %s: %s", decision.outcome, stage, quote(spawner.user.name), error)
            refused = Refused(error)
            _leave_uncounted(spawner, refused)
            raise refused from error

    async def _start_once(self) -> None:
        async with self._starting:
            if self._keeper is None:
                await self._manager.begin()
                self._keeper = asyncio.create_task(self._close_at_the_end())

    async def _close_at_the_end(self) -> None:
        # The hub has no hook for its end, but cancels every task and waits for them.
        try:
            await asyncio.Event().wait()
        finally:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._manager.close()
            finally:
                await self._manager.context.kube.close()


def _asker(spawner: Any) -> tuple[str, str] | None:
    """Who asked, where it is not the user: an admin on a page or over the REST API, or a service."""
    asker = getattr(spawner.handler, "current_user", None)
    if asker is None:
        return None
    if isinstance(asker, orm.Service):
        return "service", asker.name
    return None if asker.name == spawner.user.name else ("user", asker.name)


def _leave_uncounted(spawner: Any, refused: Refused) -> None:
    """Keep a refusal from counting as a failed start, of which a few in a row make the hub exit.

    Otherwise anybody could stop the hub by asking for workspaces that are not theirs. Up to JupyterHub 5 each
    exception counts one, later each answer of 500 and above, after the start has failed; so one is taken off before.
    """
    starting = getattr(spawner, "_spawn_pending", False) and spawner.handler is not None
    if starting and (refused.status_code >= 500 or jupyterhub.version_info[0] < 6):
        counts = spawner.handler.settings
        counts["failure_count"] = counts.get("failure_count", 0) - 1


def _listed(paths: Any) -> list[str]:
    return [str(path) for path in paths] if isinstance(paths, list | tuple) else []


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
