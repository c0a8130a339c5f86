"""Where a plugin under contract lives: a hub's namespace on a Kubernetes API, a clock, and the plugin's own backend.

Always true here: the verbs change the backend itself and never go through the plugin, nor through the API's faults;
when a verb has returned, the backend has changed. What a plugin has cached by then is the plugin's affair. The API is
an embedded one that each world has for itself, or that of the cluster that ``CONTRACT_KUBECONFIG`` names, in a
namespace that each world makes and removes.
"""

from __future__ import annotations

import logging
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ..context import Context
from ..devcluster.api import EmbeddedApi
from ..errors import BackendUnavailable, ConfigurationError, quote
from ..kube.client import ApiError, Kube
from ..models import User
from ..settings import Settings
from ..timeouts import Timeouts
from .proxy import FaultProxy

KUBECONFIG = "CONTRACT_KUBECONFIG"
"""The environment variable that names a kubeconfig, of a cluster to run on. Not ``KUBECONFIG``: that is one in use."""
LOGGER = "workspace_managers.contract.plugin"
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
"""What the clock says at first."""
TIMEOUTS = Timeouts(first_list=3.0, patience=0.5, pause=(0.02, 0.1), wake=0.05)
"""What ``kube`` has: an outage is noticed in seconds; the order of the times stays as it is in a hub."""


class World(ABC):
    """A plugin's backend, and the hub around it. A plugin author subclasses it; the suite makes one for each clause.

    Attributes:
        namespace: The hub's, of this world alone.
        now: What the clock of ``context`` says; the suite moves it.
        timezone: ``WORKSPACE_TIMEZONE`` of ``context``; set by the suite.
        administrator: A client past the faults, with the rights of the kubeconfig; from ``start`` on.
        faults: What stands between the plugin and the Kubernetes API; from ``start`` on.
        kube: The client that the plugin gets, which goes through ``faults``; from ``start`` on.
    """

    administrator: Kube
    faults: FaultProxy
    kube: Kube

    def __init__(self) -> None:
        """Called without arguments, outside a loop or on it; open nothing here."""
        self.namespace = f"contract-{secrets.token_hex(6)}"
        self.now = NOON
        self.timezone = "UTC"
        self._collections = {self._claims_path}
        self._life = AsyncExitStack()

    async def start(self) -> None:
        """Make the hub's namespace. Override it to start a backend of your own, and call this first."""
        async with AsyncExitStack() as life:
            kubeconfig: Path | Mapping[str, Any] | None = own_cluster()
            if kubeconfig is None:
                api = EmbeddedApi(namespaces=())
                await api.start()
                life.push_async_callback(api.stop)
                kubeconfig = api.kubeconfig()
            self.administrator = Kube(self.namespace, kubeconfig)
            life.push_async_callback(self.administrator.close)
            await self.administrator.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
            life.push_async_callback(self._remove_namespace)
            self.faults = FaultProxy(kubeconfig)
            life.push_async_callback(self.faults.stop)
            await self.faults.start()
            self.kube = Kube(self.namespace, self.faults.kubeconfig(self.namespace), timeouts=TIMEOUTS)
            life.push_async_callback(self.kube.close)
            self._life = life.pop_all()

    async def stop(self) -> None:
        """End what ``start`` began. Override it to end your backend, and call this last."""
        await self._life.aclose()

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
        first_day: date,
        last_day: date,
        display_name: str,
        description: str,
        image: str,
        node_selector: Mapping[str, str],
    ) -> None:
        """Put a workspace into the backend, or in the place of the one of this name.

        Args:
            name: A DNS-1123 subdomain of up to 253 characters.
            first_day: First day of access.
            last_day: Last day of access.
            display_name: Title; hostile at times.
            description: Free text; hostile at times.
            image: Container image.
            node_selector: As in a pod. Leave it out where the backend has none.
        """

    @abstractmethod
    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Give a user a workspace until its last day of access, whether there is such a workspace or not.

        The username is written as given here, in its case; ``User.identify`` will bring it in lower case to the plugin.
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

    # What a plugin author may give

    async def break_workspace(self, name: str) -> None:
        """Spoil a workspace that is there, as far as the backend lets anybody: so that it could not be started.

        Something that a workspace cannot do without goes missing or becomes unreadable: a null where the image or the
        last day was, an attribute that is gone, a quantity that is none. Its grants stay. Where the backend takes
        nothing but whole workspaces, leave this out and declare the clause that asks for it unsupported.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has no break_workspace; write it, or declare the clause unsupported with the "
            f"reason why {name} cannot be broken"
        )

    def user(self, username: str) -> User:
        """The user who has signed in by this name, in either form that ``User.identify`` reads.

        Override it where the plugin reads the identity provider's claims: give those that this user brings along now.
        The suite keeps a user over a revocation, as a session does.
        """
        return User.identify(username)

    # The API server, out of band

    async def put_object(self, collection: str, body: Mapping[str, Any]) -> None:
        """Create an object, or put it in the place of the one that is there.

        Args:
            collection: The collection's path, such as ``/api/v1/namespaces/x/configmaps``; removed with the world.
            body: The object; of a custom resource with ``apiVersion`` and ``kind``.
        """
        self._collections.add(collection)
        try:
            await self.administrator.create(collection, body)
        except ApiError as error:
            if error.status != 409:
                raise
            path = f"{collection}/{body['metadata']['name']}"
            version = (await self.administrator.get(path))["metadata"]["resourceVersion"]
            replacement = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
            await self.administrator.request("PUT", path, body=replacement)

    async def delete_object(self, collection: str, name: str) -> None:
        """Delete an object."""
        await self.administrator.request("DELETE", f"{collection}/{name}")

    async def objects(self, collection: str) -> dict[str, Mapping[str, Any]]:
        """The objects that are there, by name."""
        return {each["metadata"]["name"]: each for each in (await self.administrator.get(collection))["items"]}

    async def claims(self) -> dict[str, Mapping[str, Any]]:
        """The persistent volume claims that are there, by name."""
        return await self.objects(self._claims_path)

    async def put_claim(self, name: str, *, annotations: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """A claim that somebody else has made; of one that is there, these become the annotations and labels."""
        present = (await self.claims()).get(name)
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": name, "annotations": dict(annotations), "labels": dict(labels)}
        await self.put_object(self._claims_path, {"metadata": metadata, "spec": present["spec"] if present else spec})

    @property
    def _claims_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"

    async def _remove_namespace(self) -> None:
        # Without a controller manager nobody else empties a namespace that is deleted.
        for collection in self._collections:
            await self.administrator.request("DELETE", collection)
        await self.administrator.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


def own_cluster() -> Path | None:
    """The kubeconfig of the cluster to run on; None for the embedded API."""
    named = os.environ.get(KUBECONFIG)
    return Path(named) if named else None


async def name_of_api(kubeconfig: Path | None) -> str:
    """The API server that worlds are made on, in words.

    Args:
        kubeconfig: As ``own_cluster`` gives it.

    Raises:
        ConfigurationError: No API server answers there.
    """
    if kubeconfig is None:
        return "the embedded API"
    if not os.path.isfile(kubeconfig):  # noqa: ASYNC240 - nothing else runs yet
        raise ConfigurationError(f"the kubeconfig {quote(str(kubeconfig), 200)} is not there")
    kube = Kube("default", kubeconfig)
    try:
        version = await kube.get("/version")
    except BackendUnavailable as error:
        raise ConfigurationError(
            f"the kubeconfig {quote(str(kubeconfig), 200)} leads to no Kubernetes API that answers: {error}"
        ) from error
    finally:
        await kube.close()
    return f"kube-apiserver {version['gitVersion']}"
