"""Servers that run on a real API server, and the product's reviews of them; neither a hub nor a node is behind them.

A server is a pod that no kubelet runs, and as much of a spawner as `Sessions` has to do with: stopping it deletes the
pod. The plugin, its caches, the reviews and their audit lines are the product's own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp

from tests.apiserver.cluster import RealCluster, Refused
from workspace_manager_lscsde import LscsdeWorkspaceManager
from workspace_managers import ApiError, Context, Kube, Settings, User, Workspace
from workspace_managers.decisions import AUDIT
from workspace_managers.hub.service import Service
from workspace_managers.hub.sessions import Session, Sessions

GROUP = "xlscsde.nhs.uk"
AT_ONCE = 16
LOG = logging.getLogger("sessions")


class Backend:
    """The resources and pods on the API server, written past every fault.

    Args:
        cluster: Where they are.
    """

    def __init__(self, cluster: RealCluster) -> None:
        self._cluster = cluster
        self._pods = f"/api/v1/namespaces/{cluster.namespace}/pods"

    def _path(self, plural: str) -> str:
        return f"/apis/{GROUP}/v1/namespaces/{self._cluster.namespace}/{plural}"

    async def workspace(self, name: str) -> None:
        """Make a workspace."""
        spec = {
            "displayName": name,
            "description": "Of the reviews",
            "validity": {"availableFrom": "2020-01-01", "expires": "2090-01-01"},
            "jupyterWorkspace": {"image": "example/notebook:1.0"},
        }
        await self._make("AnalyticsWorkspace", name, spec)

    async def grant(self, user: str, workspace: str) -> None:
        """Write the user's binding."""
        spec = {"workspace": workspace, "username": user, "expires": "2090-01-01"}
        await self._make("AnalyticsWorkspaceBinding", f"{user}-{workspace}", spec)

    async def revoke(self, user: str, workspace: str) -> None:
        """Delete it; when this returns, it is gone."""
        await self._insist("DELETE", f"{self._path('analyticsworkspacebindings')}/{user}-{workspace}")

    async def expire(self, user: str, workspace: str) -> None:
        """Let it end in the past."""
        body = {"spec": {"expires": "2021-01-01"}}
        await self._insist("PATCH", f"{self._path('analyticsworkspacebindings')}/{user}-{workspace}", body)

    async def grant_again(self, user: str, workspace: str) -> None:
        """Write the user's binding anew, whatever has become of it."""
        try:
            await self.grant(user, workspace)
        except Refused as refused:
            if refused.status != 409:
                raise
            body = {"spec": {"expires": "2090-01-01"}}
            await self._insist("PATCH", f"{self._path('analyticsworkspacebindings')}/{user}-{workspace}", body)

    async def pod(self, name: str) -> None:
        """Make the pod of a server."""
        container = {"name": "notebook", "image": "example/notebook:1.0"}
        await self._insist("POST", self._pods, {"metadata": {"name": name}, "spec": {"containers": [container]}})

    async def pods(self) -> set[str]:
        """Those that are there."""
        return {each["metadata"]["name"] for each in (await self._insist("GET", self._pods))["items"]}

    async def _insist(self, method: str, path: str, body: object = None) -> Any:
        """Ask until the API server answers; what an answer that was lost has done already is done."""
        lost = False
        while True:
            try:
                return await self._cluster.call(method, path, body)
            except Refused as refused:
                if lost and refused.status == (409 if method == "POST" else 404):
                    return None
                if refused.status < 500:
                    raise
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            lost = True
            await asyncio.sleep(0.1)

    async def _make(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        body = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        await self._insist("POST", self._path(f"{kind.lower()}s"), body)


class Reviewing(LscsdeWorkspaceManager):
    """The plugin, with the time of each answer.

    Attributes:
        asked: Of each user, when the last review of a server began.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.asked: dict[str, float] = {}
        self.reviews = 0

    async def review(self, user: User, name: str) -> Workspace:
        began = monotonic()
        try:
            return await super().review(user, name)
        finally:
            self.asked[user.username] = began
            self.reviews += 1


class Server:
    """A running server, as `Sessions` sees it.

    Attributes:
        stopped_at: When it was stopped, in seconds of the monotonic clock; None while it runs.
        asked_at: When the review began that it was stopped by.
    """

    name = workspace = title = ""
    pending = None
    orm_spawner = None
    handler = None

    def __init__(self, hub: Hub, user: str) -> None:
        self.user = SimpleNamespace(name=user, authenticator=SimpleNamespace(enable_auth_state=False))
        self.pod_name = f"jupyter-{user}"
        self.namespace = hub.namespace
        self.stopped_at: float | None = None
        self.asked_at = 0.0
        self._hub = hub

    @property
    def workspace_service(self) -> Service:
        """The hub's, as a spawner has it."""
        return self._hub.service

    def break_off(self, _error: Exception) -> bool:
        """It has started."""
        return False

    async def pod_uid(self) -> str | None:
        """As the spawner's."""
        try:
            return str((await self._hub.kube.get(self._path))["metadata"]["uid"])
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def stop_in_the_hub(self) -> None:
        """Delete the pod."""
        self._hub.sessions.remove(self)
        await self._delete()

    async def remove_pod(self, uid: str | None, _patience: float) -> None:
        """As the spawner's, but that a pod without a kubelet goes at once."""
        while uid is not None and await self.pod_uid() == uid:
            await self._delete()
        self._is_gone()

    async def _delete(self) -> None:
        await self._hub.kube.request("DELETE", self._path, body={"gracePeriodSeconds": 0})
        self._is_gone()

    def _is_gone(self) -> None:
        if self.stopped_at is None:
            self.asked_at = self._hub.manager.asked.get(self.user.name, 0.0)
            self.stopped_at = monotonic()
            self._hub.servers.pop(self.user.name, None)

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._hub.kube.namespace}/pods/{self.pod_name}"


class Hub:
    """The part of a hub that reviews; killed and started again, it finds the servers that run.

    Args:
        namespace: Where everything is.
        kubeconfig: The API server as the hub sees it.

    Attributes:
        servers: Those that run, by user.
        audit: The audit lines of sessions.
    """

    def __init__(self, namespace: str, kubeconfig: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.servers: dict[str, Server] = {}
        self.audit: list[dict[str, Any]] = []
        self._kubeconfig = kubeconfig
        self._states: dict[str, dict[str, Any]] = {}
        self._handler = logging.Handler()
        self._handler.emit = self._keep  # type: ignore[method-assign]

    async def start(self) -> None:
        """Begin to review what runs."""
        self.kube = Kube(self.namespace, self._kubeconfig)
        environ = {"POD_NAMESPACE": self.namespace, "WORKSPACE_UNCERTAIN_HOURS": "0"}
        self.manager = Reviewing(Context(settings=Settings.from_environ(environ), kube=self.kube, log=LOG))
        self.service = Service(self.manager)
        self.sessions = Sessions(self.service)
        AUDIT.addHandler(self._handler)
        for user, server in self.servers.items():
            self.sessions.add(server, Session.read(self._states[user]))
        self.service.begin_soon(asyncio.get_running_loop())
        self.service.run(self.sessions.run())
        await self.service.begin()

    def ran_before(self, user: str, workspace: str) -> Server:
        """A server that runs already when the hub starts."""
        server = self.servers[user] = Server(self, user)
        state = self._states[user] = {}
        Session(workspace).write(state)
        return server

    def run(self, user: str, workspace: str) -> Server:
        """A server that has just started."""
        server = self.ran_before(user, workspace)
        self.sessions.add(server, Session.read(self._states[user]))
        return server

    async def kill(self) -> None:
        """End, with everything that is under way; the servers run on."""
        AUDIT.removeHandler(self._handler)
        tasks = list(self.service._tasks)
        if self.service._keeper is not None:
            tasks.append(self.service._keeper)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def reviewed(self, count: int, seconds: float) -> None:
        """Wait until so many reviews have ended since the hub started."""
        async with asyncio.timeout(seconds):
            while self.manager.reviews < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)

    def _keep(self, record: logging.LogRecord) -> None:
        self.audit.append(json.loads(record.getMessage()))


async def side_by_side(calls: Sequence[Any]) -> None:
    """Await all, a few at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(call: Any) -> None:
        async with free:
            await call

    await asyncio.gather(*(one(call) for call in calls))
