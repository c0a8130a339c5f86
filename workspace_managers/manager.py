"""The interface that a plugin implements, and the two things that the framework does for every plugin.

Always true here: a plugin only tells facts (which grants, which volumes). Whether a workspace is open, whether a
session may see it, and what a pod may mount is decided by the framework after the plugin has answered, and a
plugin that fails, hangs or answers with the wrong types is a backend that is unavailable, never a user without
workspaces.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from time import monotonic
from typing import Any, ClassVar, TypeVar, final

from . import access, forms, pods, storage
from .errors import AccessDenied, BackendUnavailable, WorkspaceManagerError, quote
from .kube.claims import ensure_claims
from .kube.client import Kube
from .models import User, Volume, Workspace, wrong_fields
from .settings import Settings

INTERFACE_VERSION = 1
ANSWER_SECONDS = 30.0
"""How long a plugin may take for one answer before it counts as unavailable."""
CONFIRMED_SECONDS = 2.0
"""How old a confirmation may be when the claims are there; after more, access is confirmed once more."""
CLOSE_SECONDS = 10.0
"""How long a plugin may take to close before the hub or the command ends all the same."""

T = TypeVar("T")
Fact = TypeVar("Fact", Workspace, Volume)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the framework hands to a plugin.

    Attributes:
        settings: The environment, read and checked.
        kube: The one Kubernetes client; it opens at the first call, never while the hub's config loads (rule L3).
        log: A logger of the plugin's own. Log no token and no secret, and texts from outside through ``errors.quote``.
        clock: The present moment, with a time zone; read it when the question is asked (rule A1).
    """

    settings: Settings
    kube: Kube
    log: logging.Logger
    clock: Callable[[], datetime] = field(default=_now)

    @property
    def namespace(self) -> str:
        """The namespace of the hub, its user pods and its claims."""
        return self.settings.namespace

    def today(self) -> date:
        """The calendar day now, in ``WORKSPACE_TIMEZONE``."""
        return self.clock().astimezone(self.settings.timezone).date()


class WorkspaceManager(ABC):
    """Tells which workspaces a person has and which volumes belong to each. Subclass it to make a plugin.

    Called by the hub, on its event loop, for many users at once: no method may block. Methods raise ``AccessDenied``
    or ``BackendUnavailable`` on purpose; whatever else they raise counts as unavailable.
    """

    interface_version: ClassVar[int]
    """The ``INTERFACE_VERSION`` that the plugin was written for, as a number of its own: checked when it is loaded."""

    def __init__(self, context: Context) -> None:
        """Called once while the hub's config loads: no API call, no network (rule L3)."""
        self.context = context

    @abstractmethod
    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """All grants of this user, expired and future ones too; the framework decides what is open.

        Called for each form and each start. An unknown user has none.

        Raises:
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

        Called when the pod is made. Override it where ``list_workspaces`` reads a cache.

        Raises:
            AccessDenied: The user has no grant of it, or it is not open now.
            BackendUnavailable: The backend cannot answer.
        """
        return access.require_open(user, name, await self.list_workspaces(user), self.context.today())

    async def provisioned(self, user: User, workspace: Workspace, volumes: Sequence[Volume]) -> None:  # noqa: B027 - optional on purpose
        """Called when the claims are there and the pod is about to start, to write a status back.

        Override it where the backend keeps one. Its failure is logged and never stops a start.
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

    async def start(self) -> None:  # noqa: B027 - optional on purpose
        """Called once on the hub's loop, before the first question. Override it to connect and to read ahead."""

    async def close(self) -> None:  # noqa: B027 - optional on purpose
        """Called once at the end. Free everything that ``start`` or a question opened."""

    async def problems(self) -> Sequence[str]:
        """What an operator should know: each problem that the plugin finds now, a sentence each; none by default."""
        return ()

    @final
    async def begin(self) -> None:
        """``start``, in bounded time; called once as the hub starts, and by the next question after it has failed.

        Raises:
            BackendUnavailable: The plugin did not start.
        """
        await self._ask("start", self.start())

    @final
    async def build_form(self, user: User) -> forms.Form:
        """The form for this user.

        Raises:
            BackendUnavailable: The plugin could not answer.
        """
        grants = await self._grants(user)
        today = self.context.today()
        return forms.build_form(access.best_grants(user, grants, today).values(), today)

    @final
    async def choose(self, user: User, name: object) -> Workspace:
        """The workspace that a start asks for, when it is the user's and open (rule A3).

        Args:
            user: Whose server it is, whoever asked for the start.
            name: What arrived from the form, the REST API or an earlier start; anything may have.

        Raises:
            AccessDenied: It names no workspace that is open to the user. Nothing at all names none.
            BackendUnavailable: The plugin could not answer.
        """
        if not isinstance(name, str) or not name:
            raise AccessDenied(
                f"{quote(user.name)} asked for a start without choosing a workspace",
                user_message="No workspace was chosen. Choose one of yours from the list and start again.",
                rule="A3",
            )
        grants = await self._grants(user)
        return access.require_open(user, name, grants, self.context.today())

    @final
    async def provision(self, user: User, name: object, pod: Mapping[str, Any]) -> dict[str, Any]:
        """The pod with exactly the storage of its workspace, its claims made (rules A3 and S1 to S5).

        Args:
            user: Whose server it is.
            name: The workspace that was chosen.
            pod: The pod that the hub would create, as the API's JSON.

        Raises:
            AccessDenied: Access was not confirmed by the backend itself. No claim has been made, unless it ended while
                they were.
            StorageRefused: A volume is not certain to be the workspace's own.
            BackendUnavailable: The backend or the Kubernetes API did not answer in time.
        """
        if not isinstance(name, str) or not name:
            raise AccessDenied(f"{quote(user.name)} has a pod without a workspace", rule="A3")
        asked = monotonic()
        confirmed = await self._confirmed(user, name)
        answers = await self._ask("volumes_for", self.volumes_for(user, confirmed))
        volumes = self._checked("volumes_for", answers, Volume)
        storage.check_volumes(confirmed.name, volumes)
        rebuilt = pods.rebuild(pod, confirmed, volumes, self.context.settings.policy)
        await ensure_claims(self.context.kube, self.context.settings, confirmed, volumes, self._named_by)
        if monotonic() - asked > CONFIRMED_SECONDS:
            await self._confirmed(user, name)  # rule A3: while claims were slow to come, access may have ended
        try:
            await self._ask("provisioned", self.provisioned(user, confirmed, volumes))
        except WorkspaceManagerError as error:
            self.context.log.warning("The status of workspace %s was not written: %s", quote(name), error)
        if rebuilt.removed:
            removed = ", ".join(f"{quote(volume)} ({quote(kind)})" for volume, kind in rebuilt.removed)
            self.context.log.info(
                "Volumes taken off the pod of %s in workspace %s: %s", quote(user.name), quote(name), removed
            )
        return rebuilt.pod

    async def _named_by(self, claim: str) -> Collection[str] | None:
        answer = await self._ask("naming", self.naming(claim))
        if answer is None or (isinstance(answer, Collection) and not isinstance(answer, str | bytes)):
            return answer
        raise BackendUnavailable(
            f"{type(self).__qualname__}.naming answered with {quote(answer)}; expected: names of workspaces, or None"
        )

    async def _confirmed(self, user: User, name: str) -> Workspace:
        answer = await self._ask("confirm", self.confirm(user, name))
        return access.require_open(user, name, self._checked("confirm", [answer], Workspace), self.context.today())

    async def _grants(self, user: User) -> list[Workspace]:
        return self._checked(
            "list_workspaces", await self._ask("list_workspaces", self.list_workspaces(user)), Workspace
        )

    async def _ask(self, method: str, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except WorkspaceManagerError:
            raise
        except TimeoutError as error:
            raise BackendUnavailable(
                f"{type(self).__qualname__}.{method} did not answer within {ANSWER_SECONDS:g} s"
            ) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # It is the question that was cancelled, not something that the plugin waited for.
            raise BackendUnavailable(
                f"{type(self).__qualname__}.{method} failed: {type(error).__name__}: {quote(str(error))}"
            ) from error

    def _checked(self, method: str, answer: object, kind: type[Fact]) -> list[Fact]:
        expected = f"{kind.__name__} objects"
        if isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
            items = [item for item in answer if isinstance(item, kind)]
            if len(items) == len(answer):
                wrong = next(((item, name) for item in items for name in wrong_fields(item, kind)), None)
                if wrong is None:
                    return items
                answer, expected = wrong[0], f"another type in its field {wrong[1]}"
        raise BackendUnavailable(
            f"{type(self).__qualname__}.{method} answered with {quote(answer)}; expected: {expected}"
        )
