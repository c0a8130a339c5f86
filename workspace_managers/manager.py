"""The interface that a plugin implements.

A plugin tells facts: which grants a user has, which volumes a workspace has. What follows from them is decided in
``engine``, for every plugin in the same way. The names documented here are the interface's; a plugin may use any other
name for its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar, final

from . import access, engine
from .context import Context
from .findings import Finding
from .forms import Form
from .models import User, Volume, Workspace

INTERFACE_VERSION = 1
"""The version of this interface; it is raised with every change that could break a plugin."""


class WorkspaceManager(ABC):
    """Tells which workspaces a person has and which volumes belong to each. Subclass it to make a plugin.

    Called by the hub, on its event loop, for many users at once: no method may block. Methods raise ``AccessDenied``
    or ``BackendUnavailable`` on purpose; whatever else they raise counts as unavailable.
    """

    interface_versions: ClassVar[tuple[int, int]]
    """The lowest and the highest ``INTERFACE_VERSION`` that the plugin works with, as numbers of its own: checked when
    it is loaded."""

    capabilities: ClassVar[frozenset[str]] = frozenset()
    """What the plugin can do beyond the abstract methods, such as ``IDENTITY_CLAIMS``. A capability that this framework
    does not know is passed over, so a plugin that can do more goes on working with an older framework."""

    def __init__(self, context: Context) -> None:
        """Called once while the hub's config loads: no API call, no network (rule L3)."""
        self.context = context

    @abstractmethod
    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """All grants of this user, expired and future ones too; the framework decides what is open.

        Called for each form. An unknown user has none. A workspace whose facts are not right is set aside by the
        framework, by name; it hides no other.

        Raises:
            IncompleteAnswer: These are certain, and there may be more: the form shows those that are open, and says so.
            BackendUnavailable: The backend cannot answer; never answer with an empty list instead.
        """

    @abstractmethod
    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """The volumes of a workspace that ``confirm`` returned: exactly these are mounted, or nothing starts.

        Raises:
            StorageRefused: The workspace asks for storage that it may not have.
            BackendUnavailable: The backend cannot answer.
        """

    async def confirm(self, user: User, name: str) -> Workspace:
        """The grant of one workspace, from the backend itself and not from a cache.

        Called at each start: the whole pod is made from this one answer. Override it where ``list_workspaces`` reads a
        cache.

        Raises:
            AccessDenied: The user has no grant of it, or it is not open now.
            BackendUnavailable: The backend cannot answer.
        """
        return access.require_open(user, name, await self.list_workspaces(user), self.context.today())

    async def review(self, user: User, name: str) -> Workspace:
        """The grant that a running server rests on, from the backend itself; its server ends where this is denied.

        Called while the server runs. Override it where ``confirm`` may deny on what a cache does not know yet: a start
        can be tried again, a server that was stopped cannot be given back.

        Raises:
            AccessDenied: It is certain that the user has no grant of it that is open now.
            BackendUnavailable: That is not certain.
        """
        return await self.confirm(user, name)

    async def provisioned(self, user: User, workspace: Workspace, volumes: Sequence[Volume]) -> None:  # noqa: B027 - optional on purpose
        """Called once the pod is ready, so that the volumes are bound and mounted, to write a status back.

        Override it where the backend keeps one. It runs beside the start; its failure is logged and ends nothing.
        """

    async def naming(self, claim: str) -> Collection[str] | None:
        """The names of all workspaces that name a claim, from the backend itself and not from a cache; None: unknown.

        Called where a claim without an owner would be adopted, or a claim made under a name that is not the workspace's
        own default: then it must be named by that workspace and by no other (rule S3). Every workspace counts, closed
        and broken ones too, with each name that it gives or would fall back on. Override it where workspaces may name
        their claims.

        Raises:
            BackendUnavailable: The backend cannot answer.
        """
        return None

    async def all_workspaces(self) -> Sequence[Workspace] | None:
        """Every workspace that may be granted, open or not, from the backend itself, for an operator; None: unknown.

        Called for ``workspace-managers doctor``, ``claims`` and ``explain``, and the hub's page for admins. Each as a
        grant to nobody that lasts as long as the workspace. What is set aside is ``problems``' to tell.

        Raises:
            BackendUnavailable: The backend cannot answer.
        """
        return None

    async def explain(self, user: User | None, name: str) -> Sequence[Finding]:
        """What the backend has on a person and a workspace, right or wrong, for ``workspace-managers explain``.

        A finding for each thing that ``confirm`` goes by, with its resource, version and field, from the backend.

        Args:
            user: Who asks; None where it is asked who may open it: then a grant holds nothing by itself, and one
                finding says whether there is any.
            name: The workspace.

        Raises:
            BackendUnavailable: The backend cannot answer.
        """
        return ()

    async def start(self) -> None:  # noqa: B027 - optional on purpose
        """Called once on the hub's loop, before the first question. Override it to connect and to read ahead."""

    async def close(self) -> None:  # noqa: B027 - optional on purpose
        """Called at the end, and after a ``start`` that failed. Free everything that ``start`` or a question opened."""

    async def problems(self) -> Sequence[str]:
        """What an operator should know: each problem that the plugin finds now, a sentence each; none by default."""
        return ()

    @final
    async def build_form(self, user: User) -> Form:
        """The form for this user; the hub calls it for the page to choose from.

        Raises:
            BackendUnavailable: The plugin could not answer.
        """
        return await engine.build_form(self, user)

    @final
    async def provision(self, user: User, name: object, make_pod: engine.MakePod) -> engine.Provision:
        """The pod of one workspace, from one grant, its claims made; the hub calls it as a server starts.

        Args:
            user: Whose server it is, whoever asked for the start.
            name: The workspace that was chosen; anything may have arrived.
            make_pod: From the grant to the pod that the hub would create, as the API's JSON.

        Raises:
            NothingChosen: No workspace is named.
            AccessDenied: The backend itself did not confirm the grant. No claim has been made, unless it ended while
                they were.
            StorageRefused: A volume is not certain to be the workspace's own.
            BackendUnavailable: The backend or the Kubernetes API gave no certain answer in time.
        """
        return await engine.provision(self, user, name, make_pod)
