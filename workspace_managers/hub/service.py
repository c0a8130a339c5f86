"""The one workspace manager of a hub: when it starts and ends, and how its questions are asked and written down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NamedTuple

from .. import engine
from ..capabilities import IDENTITY_CLAIMS, NAMESPACES
from ..decisions import Decision, new_request
from ..errors import WorkspaceManagerError, quote
from ..kube.namespaces import may_watch_all
from ..manager import WorkspaceManager
from .freshness import Refresher
from .identity import asker
from .refusals import Refused

# A child of the hub's own logger, so that our lines come out in the hub's format and level.
log = logging.getLogger("JupyterHub.workspaces")


class Ended(NamedTuple):
    """What became of a server, for the person whose it was.

    Attributes:
        workspace: The name of its workspace.
        title: What that is called on a page.
        sentence: What they read.
    """

    workspace: str
    title: str
    sentence: str


class Service:
    """What the hub has of a workspace manager; made once, by ``configure``.

    Args:
        manager: The plugin that ``WORKSPACE_MANAGER`` names.

    Attributes:
        became: What became of servers that nobody stopped, by user and server, until their workspace is started anew;
            not with their spawners, as JupyterHub makes a new one for a server that has stopped.
        namespaces: Whether workspaces may have namespaces of their own.
        watches_all: Whether one watch sees the pods of all namespaces; once ``find_reach`` has answered.
        warnings: What the configuration says beside ours that an operator should know, a sentence each.
        refresher: Asks the identity provider anew; None where the manager grants nothing by what it says.
    """

    def __init__(self, manager: WorkspaceManager) -> None:
        self.manager = manager
        self.settings = manager.context.settings
        self._lifecycle = engine.Lifecycle(manager)
        self.became: dict[str, dict[str, Ended]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.namespaces = NAMESPACES in manager.capabilities
        self.watches_all = False
        self.warnings: tuple[str, ...] = ()
        self._reach: asyncio.Task[bool] | None = None
        by_claims = IDENTITY_CLAIMS in manager.capabilities
        self.refresher = Refresher(self.run, manager.context.limited_log) if by_claims else None

    def __deepcopy__(self, memo: object) -> Service:
        # Each spawner gets a deep copy of its config; there is one manager.
        return self

    def begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the manager when the config has loaded, so that nobody's form waits for what it reads first."""
        self._keep(loop.create_task(self._begin()))

    async def _begin(self) -> None:
        try:
            await self.begin()
        except WorkspaceManagerError as error:
            log.warning("The workspace manager has not started yet, and is started again by the next form: %s", error)

    async def begin(self) -> None:
        """Start the manager where it has not started.

        Raises:
            BackendUnavailable: It did not start.
        """
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._close_at_the_end())
        await self._lifecycle.begin()

    async def find_reach(self) -> None:
        """Find out, once, whether the hub's account may watch all namespaces; where there is but one, ask nobody."""
        if self.namespaces:
            if self._reach is None:
                self._reach = asyncio.create_task(may_watch_all(self.manager.context.kube))
            self.watches_all = await asyncio.shield(self._reach)

    def run(self, call: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the hub, until the hub ends."""
        return self._keep(asyncio.create_task(call))

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close_at_the_end(self) -> None:
        # The hub has no hook for its end, but cancels every task and waits for them.
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await self._lifecycle.close()
            finally:
                await self.manager.context.kube.close()

    def keep_what_became(self, spawner: Any, sentence: str) -> None:
        """Keep what became of a server for its person."""
        self.became.setdefault(spawner.user.name, {})[spawner.name] = Ended(spawner.workspace, spawner.title, sentence)

    def what_became(self, spawner: Any) -> Ended | None:
        """What is kept of a server."""
        return self.became.get(spawner.user.name, {}).get(spawner.name)

    def forget_what_became(self, spawner: Any) -> None:
        """Forget it, of this server and of others that had its workspace."""
        kept = self.became.get(spawner.user.name, {})
        for server, ended in list(kept.items()):
            if server == spawner.name or ended.workspace == spawner.workspace:
                del kept[server]

    def decision(self, stage: str, spawner: Any, workspace: object = None, request: str | None = None) -> Decision:
        """The decision about a spawner's server, to be written when its outcome is known."""
        return Decision(
            stage=stage,
            request=request or new_request(),
            user=spawner.user.name,
            by=asker(spawner),
            server=None if stage == "form" else spawner.name,
            workspace=workspace,
        )

    @contextlib.asynccontextmanager
    async def deciding(self, decision: Decision) -> AsyncIterator[None]:
        """Write the decision where the block ends without having done so, and turn a refusal into the hub's own.

        Raises:
            Refused: What the block raised as a ``WorkspaceManagerError``.
        """
        try:
            await self.begin()
            yield
            decision.allow()
        except WorkspaceManagerError as error:
            raise self.refuse(decision, error) from error
        except BaseException as error:
            decision.end(error)
            raise

    def refuse(self, decision: Decision, error: WorkspaceManagerError) -> Refused:
        """The hub's refusal for an error, its decision written and its cause logged under the same request."""
        outcome = decision.end(error)
        log.warning(
            "Request %s: %s at %s for %s: %s", decision.request, outcome, decision.stage, quote(decision.user), error
        )
        return Refused(error)
