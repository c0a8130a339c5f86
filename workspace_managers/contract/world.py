"""Where a plugin under contract lives: a hub's namespace on the embedded API, a clock, and the plugin's own backend.

Always true here: the verbs change the backend itself and never go through the plugin, nor through the API's faults;
when a verb has returned, the backend has changed. What a plugin has cached by then is the plugin's affair.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from aiohttp import web

from ..devcluster.api import EmbeddedApi
from ..kube import cache
from ..kube.client import Kube
from ..manager import Context
from ..settings import Settings

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
LOGGER = "workspace_managers.contract.plugin"
CLAIMS = "persistentvolumeclaims"
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
"""What the clock says at first."""
# An outage is to be noticed in seconds; the order of the times stays as it is in a hub.
_SHORT_TIMES: Mapping[str, Any] = {
    "FIRST_LIST_SECONDS": 3.0,
    "PATIENCE_SECONDS": 0.5,
    "SETTLE_SECONDS": 0.05,
    "PAUSE_SECONDS": (0.02, 0.1),
    "WAKE_SECONDS": 0.05,
}


class World(ABC):
    """A plugin's backend, and the hub around it. A plugin author subclasses it; the suite makes one for each clause.

    Attributes:
        namespace: The hub's.
        now: What the clock of ``context`` says; the suite moves it.
        timezone: ``WORKSPACE_TIMEZONE``; set by the suite before ``start``.
        api: The API server that keeps the claims; from ``start`` on.
        kube: The client that the plugin gets.
        faults: Asked in order before the API answers; the first answer is sent instead.
    """

    namespace: ClassVar[str] = "contract"
    api: EmbeddedApi
    kube: Kube
    _times: Mapping[str, Any]

    def __init__(self) -> None:
        """Called without arguments, outside a loop or on it; open nothing here."""
        self.now = NOON
        self.timezone = "UTC"
        self.faults: list[Fault] = []

    async def start(self) -> None:
        """Make the hub's namespace. Override it to start a backend of your own, and call this first."""
        self._times = {name: getattr(cache, name) for name in _SHORT_TIMES}
        for name, value in _SHORT_TIMES.items():
            setattr(cache, name, value)
        self.api = EmbeddedApi(namespaces=(self.namespace,))
        self.api.fault = self._fault
        await self.api.start()
        self.kube = Kube(self.namespace, self.api.kubeconfig(self.namespace))

    async def stop(self) -> None:
        """End what ``start`` began. Override it to end your backend, and call this last."""
        await self.kube.close()
        await self.api.stop()
        for name, value in self._times.items():
            setattr(cache, name, value)

    @property
    def context(self) -> Context:
        """What the plugin is made with. Its clock reads ``now`` at each question."""
        settings = Settings.from_environ({"POD_NAMESPACE": self.namespace, "WORKSPACE_TIMEZONE": self.timezone})
        return Context(settings=settings, kube=self.kube, log=logging.getLogger(LOGGER), clock=lambda: self.now)

    # What a plugin author gives

    @abstractmethod
    async def put_workspace(
        self,
        name: str,
        *,
        available_from: date,
        expires: date,
        display_name: str,
        description: str,
        image: str,
        node_selector: Mapping[str, str],
    ) -> None:
        """Put a workspace into the backend, or in the place of the one of this name.

        Args:
            name: A DNS-1123 subdomain of up to 253 characters.
            available_from: First day.
            expires: Last day.
            display_name: Title; hostile at times.
            description: Free text; hostile at times.
            image: Container image.
            node_selector: As in a pod. Leave it out where the backend has none.
        """

    @abstractmethod
    async def grant(self, username: str, workspace: str, expires: date) -> None:
        """Give a user a workspace until a day, whether there is such a workspace or not.

        The username is written as given here, in its case; ``User.identify`` will bring it casefolded to the plugin.
        """

    @abstractmethod
    async def revoke(self, username: str, workspace: str) -> None:
        """Take away every grant of the workspace from the user."""

    @abstractmethod
    async def delete_workspace(self, name: str) -> None:
        """Take the workspace away; its grants stay behind."""

    @abstractmethod
    async def outage(self) -> None:
        """From now on the backend answers nothing. The claims' API goes on, unless it is the backend itself."""

    @abstractmethod
    async def recover(self) -> None:
        """The backend answers again, with what it had."""

    # The API server, out of band

    def put_object(self, group: str, plural: str, body: Mapping[str, Any]) -> None:
        """Create an object, or put it in the place of the one that is there."""
        kind = self.api.store.kind(group, plural)
        taken = copy.deepcopy(dict(body)) | {"apiVersion": kind.api_version, "kind": kind.name}
        name = taken["metadata"]["name"]
        if name in self.objects(group, plural):
            self.api.store.replace(kind, self.namespace, name, taken)
        else:
            self.api.store.create(kind, self.namespace, taken)

    def delete_object(self, group: str, plural: str, name: str) -> None:
        """Delete an object."""
        self.api.store.delete(self.api.store.kind(group, plural), self.namespace, name, {})

    def objects(self, group: str, plural: str) -> dict[str, Mapping[str, Any]]:
        """The objects that are there, by name."""
        stored = self.api.store.list(self.api.store.kind(group, plural), self.namespace)
        return {each.object["metadata"]["name"]: each.object for each in stored}

    def claims(self) -> dict[str, Mapping[str, Any]]:
        """The persistent volume claims that are there, by name."""
        return self.objects("", CLAIMS)

    def put_claim(self, name: str, *, annotations: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """A claim that somebody else has made, in the place of the one that is there."""
        if name in self.claims():
            self.delete_object("", CLAIMS, name)
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": name, "annotations": dict(annotations), "labels": dict(labels)}
        self.put_object("", CLAIMS, {"metadata": metadata, "spec": spec})

    async def _fault(self, request: web.Request) -> web.StreamResponse | None:
        for fault in tuple(self.faults):
            if (answer := await fault(request)) is not None:
                return answer
        return None
