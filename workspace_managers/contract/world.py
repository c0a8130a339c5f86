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
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ..context import Context
from ..devcluster.api import EmbeddedApi
from ..errors import BackendUnavailable, ConfigurationError, quote
from ..kube.client import ApiError, Kube
from ..kube.namespaces import ALLOWED, LABEL
from ..models import User
from ..policy import Policy
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
        namespace: The hub's, of this world alone. The policy allows workspaces those that begin with its name and a
            hyphen.
        now: What the clock of ``context`` says; the suite moves it.
        timezone: ``WORKSPACE_TIMEZONE`` of ``context``; set by the suite.
        environ: Further variables of the environment, such as ``WORKSPACE_HOME``, for the settings of ``context``.
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
        self.environ: dict[str, str] = {}
        self._namespaces = [self.namespace]
        self._collections = {_claims_of(self.namespace)}
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
        own = {"POD_NAMESPACE": self.namespace, "WORKSPACE_TIMEZONE": self.timezone}
        settings = replace(
            Settings.from_environ({**self.environ, **own}), policy=Policy(namespaces=(f"{self.namespace}-*",))
        )
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

    async def keep_home(self, workspace: str) -> None:
        """From now on, keep the home folder of each person in a workspace that is there; before the plugin is made.

        Asked of a plugin with the capability ``HOMES`` alone. Where the environment decides that, for all workspaces
        alike, put it into ``environ``.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no keep_home, to keep those of {workspace}")

    async def own_namespace(self, workspace: str) -> str:
        """From now on, have a workspace that is there live in a namespace of its own; the namespace's name.

        Asked of a plugin with the capability ``NAMESPACES`` alone. Make it with ``make_namespace``.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no own_namespace, to move {workspace} to")

    def namespace_of(self, workspace: str) -> str:
        """Where a workspace lives. Override it where workspaces are not in the hub's namespace from the beginning."""
        return self.namespace

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

    async def make_namespace(self, name: str) -> None:
        """Make a namespace that workspaces may live in, where it is not there; it is removed with the world."""
        if name not in self._namespaces:
            await self.administrator.create("/api/v1/namespaces", {"metadata": {"name": name}})
            self._namespaces.append(name)
            self._collections.add(_claims_of(name))
            await self.allow_namespace(name, ALLOWED)

    async def allow_namespace(self, name: str, label: str | None) -> None:
        """Write the label by which an operator allows a namespace, or another one; None takes it away."""
        await self.administrator.merge_patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {LABEL: label}}})

    async def claims(self, namespace: str | None = None) -> dict[str, Mapping[str, Any]]:
        """The persistent volume claims that are there, by name; those of one namespace, or of all of this world."""
        found: dict[str, Mapping[str, Any]] = {}
        for each in (namespace,) if namespace else self._namespaces:
            found |= await self.objects(_claims_of(each))
        return found

    async def put_claim(
        self, name: str, *, annotations: Mapping[str, str], labels: Mapping[str, str], namespace: str | None = None
    ) -> None:
        """A claim that somebody else has made; of one that is there, these become the annotations and labels."""
        present = (await self.claims(namespace)).get(name)
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": name, "annotations": dict(annotations), "labels": dict(labels)}
        path = _claims_of(namespace or self.namespace)
        await self.put_object(path, {"metadata": metadata, "spec": present["spec"] if present else spec})

    async def _remove_namespace(self) -> None:
        # Without a controller manager nobody else empties a namespace that is deleted.
        for collection in self._collections:
            await self.administrator.request("DELETE", collection)
        for name in self._namespaces:
            await self.administrator.request("DELETE", f"/api/v1/namespaces/{name}")


def _claims_of(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"


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
