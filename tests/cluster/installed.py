"""A release of the chart on a whole cluster: its hub is a pod of the image, and its proxy one beside it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.apiserver.cluster import until
from tests.cluster.node import NodeCluster
from tests.image import release
from workspace_managers.kube.client import Kube

READY_SECONDS = 120
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_EXEC = "v4.channel.k8s.io"


@dataclass(frozen=True, slots=True)
class Installed:
    """A release that runs; people sign in with any password.

    Attributes:
        cluster: Where.
        kube: A client of it that may do anything.
        kubeconfig_path: For such a client.
        url: Where people find the hub: its proxy.
        hub_api_token: What the operator's service shows to the hub's REST API.
    """

    cluster: NodeCluster
    kube: Kube
    kubeconfig_path: Path
    url: str
    hub_api_token: str
    password: str = ""

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    @property
    def pods(self) -> str:
        """The path of all pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def hub_pod(self) -> release.Object:
        """The hub's pod, once it is ready and people reach it, which takes the node a moment more."""
        found: release.Object = {}

        async def ready() -> bool:
            listed = await self.kube.get(self.pods, {"labelSelector": "component=hub"})
            for pod in listed["items"]:
                conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
                if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                    found.update(pod)
            return bool(found)

        async def reached() -> bool:
            with suppress(aiohttp.ClientError):
                async with http.get(f"{self.url}/hub/health") as answer:
                    return answer.status == 200
            return False

        try:
            async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as http:
                await until(ready)
                await until(reached)
        except TimeoutError:
            raise AssertionError(f"No hub answers after {READY_SECONDS} s:\n{await self.said()}") from None
        return found

    async def delete_hub_pod(self) -> None:
        """Delete it, which its Deployment answers with another one."""
        pod = await self.hub_pod()
        await self.kube.request("DELETE", f"{self.pods}/{pod['metadata']['name']}")

    async def upgrade_hub(self, values: release.Values) -> None:
        """Give the hub's Deployment the pod of another release, and wait until that one runs."""
        before = (await self.hub_pod())["metadata"]["uid"]
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/hub"
        await self.kube.merge_patch(path, {"spec": {"template": release.hub_pod(values)}})

        async def another() -> bool:
            return bool((await self.hub_pod())["metadata"]["uid"] != before)

        await until(another)

    async def run(self, *command: str) -> tuple[int, str]:
        """Run a command in the hub's pod, as `kubectl exec` does: its exit code, and what it said."""
        pod = await self.hub_pod()
        code, said = -1, b""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.cluster.token}"}) as http,
            http.ws_connect(
                f"{self.cluster.url}{self.pods}/{pod['metadata']['name']}/exec",
                params=[("stdout", "true"), ("stderr", "true"), *(("command", part) for part in command)],
                protocols=[_EXEC],
                ssl=self.cluster.tls(),
            ) as channels,
        ):
            async for message in channels:
                channel, data = message.data[0], message.data[1:]
                if channel == _ERROR:
                    status = json.loads(data)
                    code = 0 if status["status"] == "Success" else int(status["details"]["causes"][0]["message"])
                elif channel in (_STDOUT, _STDERR):
                    said += data
        return code, said.decode()

    async def said(self) -> str:
        """What each of the release's pods is and has said, for a person to look at."""
        told = []
        for pod in (await self.kube.get(self.pods, {"labelSelector": "release=jupyterhub"}))["items"]:
            name, status = pod["metadata"]["name"], pod["status"]
            told += [f"== {name}: {status['phase']}", json.dumps(status.get("containerStatuses", []))]
            if status["phase"] == "Running":
                told.append(await self.kube.text(f"{self.pods}/{name}/log"))
        return "\n".join(told)


@asynccontextmanager
async def installed(
    cluster: NodeCluster, values: release.Values, *, kubeconfig: Path, hub_api_token: str
) -> AsyncIterator[Installed]:
    """Install a release whose images the cluster has; it is ready, and stays until the cluster goes.

    Args:
        cluster: Where; one release only.
        values: As from `release.chart_values`.
        kubeconfig: A file to write.
        hub_api_token: What the values give to a service that may manage servers.
    """
    await cluster.hub_token()  # the account with its roles; the pod gets a token of its own
    for document in release.objects(values, secrets.token_hex(16)):
        await cluster.apply(document)
    kubeconfig.write_text(json.dumps(cluster.kubeconfig()))
    kube = Kube(cluster.namespace, kubeconfig)
    try:
        service = await kube.get(f"/api/v1/namespaces/{cluster.namespace}/services/proxy-public")
        # An address that this machine reaches as a load balancer would.
        there = Installed(cluster, kube, kubeconfig, f"http://{service['spec']['clusterIP']}", hub_api_token)
        await there.hub_pod()
        yield there
    finally:
        await kube.close()
