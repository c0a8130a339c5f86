"""The image's hub as the chart runs it, without a cluster to run it: its pod's container, and a proxy beside it."""

from __future__ import annotations

import asyncio
import base64
import html
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.apiserver.cluster import RealCluster
from tests.image import release
from tests.image.container import Mount, command
from tests.image.store import RESULTS, Image
from workspace_managers.devcluster import demo
from workspace_managers.devcluster.node import tied

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20
# On Debian /var/run is a link to /run, and a link of the image is not to be followed from outside.
_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"


class HubPod:
    """The hub's pod: its container, and the volumes that the chart gives it.

    Args:
        image: The hub's.
        root: A root of that image, for this pod alone.
        cluster: What it starts servers on.
        token: The hub's service account's.
        folder: An empty one, for the volumes and the logs.
        values: As from `release.chart_values`.
        environ: Over what the chart gives the container; None takes a variable of the image away.
    """

    def __init__(
        self,
        image: Image,
        root: Path,
        cluster: RealCluster,
        token: str,
        folder: Path,
        *,
        values: release.Values,
        environ: Mapping[str, str | None],
    ) -> None:
        self.folder = folder
        self.port, self.hub_port, self.proxy_api_port = demo.free_ports(3)
        self.proxy_token = secrets.token_hex(16)
        self._image = image
        self._root = root
        self._cluster = cluster
        self._token = token
        self._values = values
        self._secret = release.hub_secret(values, self.proxy_token)
        self._environ = environ

    @property
    def url(self) -> str:
        """Where people find the hub: its proxy."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def command(self) -> list[str]:
        """The command line that runs the hub's container."""
        pod = release.hub_pod(self._values)["spec"]
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"], "a container is always run so here"
        assert str(security["runAsUser"]) == self._image.config["User"], "or Kubernetes would run it as another user"
        variables = {variable["name"]: self._value(variable) for variable in container["env"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = [self._mount(mount, volumes[mount["name"]]) for mount in container["volumeMounts"]]
        return command(
            self._image,
            self._root,
            {**self._services(), "ONLY_HOST": HOST, **variables, **self._environ},
            [*mounts, self._account()],
            container["args"],
        )

    def _services(self) -> dict[str, str]:
        """What Kubernetes tells a pod of the services that are there."""
        api = urlsplit(self._cluster.url)
        return {
            "HUB_SERVICE_HOST": HOST,
            "HUB_SERVICE_PORT": str(self.hub_port),
            "PROXY_API_SERVICE_HOST": HOST,
            "PROXY_API_SERVICE_PORT": str(self.proxy_api_port),
            "KUBERNETES_SERVICE_HOST": str(api.hostname),
            "KUBERNETES_SERVICE_PORT": str(api.port),
        }

    def _value(self, variable: release.Object) -> str:
        if "value" in variable:
            return str(variable["value"])
        match variable["valueFrom"]:
            case {"secretKeyRef": {"key": key}}:
                return str(self._secret["stringData"][key])
            case {"fieldRef": {"fieldPath": "metadata.namespace"}}:
                return self._cluster.namespace
        raise AssertionError(f"{variable} is of a kind that nothing here gives")

    def _mount(self, mount: release.Object, volume: release.Object) -> Mount:
        match volume:
            case {"secret": {"secretName": "hub"}}:
                files, writable = self._secret["stringData"], False
            case {"configMap": {"name": "hub"}}:
                files, writable = release.hub_config()["data"], False
            case {"emptyDir": _} | {"persistentVolumeClaim": _}:
                files, writable = {}, True
            case _:
                raise AssertionError(f"{volume} is of a kind that nothing here gives")
        folder = self._volume(mount["name"], files)
        return Mount(folder / mount.get("subPath", ""), mount["mountPath"].rstrip("/"), writable)

    def _account(self) -> Mount:
        cluster = self._cluster.kubeconfig()["clusters"][0]["cluster"]
        account = {
            "ca.crt": base64.b64decode(cluster["certificate-authority-data"]).decode(),
            "namespace": self._cluster.namespace,
            "token": self._token,
        }
        return Mount(self._volume("account", account), _ACCOUNT)

    def _volume(self, name: str, files: Mapping[str, str]) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file, content in files.items():
            (folder / file).write_text(content)
        os.chown(folder, self._values["hub"]["containerSecurityContext"]["runAsUser"], -1)
        return folder


@asynccontextmanager
async def running(pod: HubPod) -> AsyncIterator[HubPod]:
    """Start the hub and its proxy, wait until people can reach it, and stop both at the end as Kubernetes would."""
    proxy = [sys.executable, "-P", str(demo.__file__), "--proxy-timeout", "0", "--ip", HOST, "--port", str(pod.port)]
    proxy += [
        "--api-ip",
        HOST,
        "--api-port",
        str(pod.proxy_api_port),
        "--default-target",
        f"http://{HOST}:{pod.hub_port}",
    ]
    with (pod.folder / "hub.log").open("wb") as log, (pod.folder / "proxy.log").open("wb") as proxy_log:
        proxying = await asyncio.create_subprocess_exec(
            *tied(proxy),
            env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": pod.proxy_token},
            stdout=proxy_log,
            stderr=proxy_log,
        )
        hub = await asyncio.create_subprocess_exec(*pod.command(), stdout=log, stderr=log)
    try:
        await _reachable(pod, hub)
        yield pod
        os.kill(_first_process(hub.pid), signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            await hub.wait()
        assert hub.returncode == 0, pod.log
    finally:
        for process in (hub, proxying):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        (RESULTS / f"{pod.folder.name}.log").write_text(pod.log)


async def _reachable(pod: HubPod, hub: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
        while True:
            assert hub.returncode is None, pod.log
            with suppress(aiohttp.ClientError):
                async with http.get(f"{pod.url}/hub/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


def _first_process(container: int) -> int:
    """The first process of a container, which is the one child of the process that we started."""
    (first,) = Path(f"/proc/{container}/task/{container}/children").read_text().split()
    return int(first)


class Browser:
    """What a browser does for one person, without its looks."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def get(self, path: str) -> tuple[int, str]:
        """A page, wherever it leads to: its status and its text."""
        async with self._http.get(self._url + path) as answer:
            return answer.status, await answer.text()

    async def submit(self, path: str, **fields: str) -> str:
        """Fill in the form of a page and send it: the path that it led to."""
        _, page = await self.get(path)
        ((action, form),) = re.findall(r'<form[^>]*action="([^"]*)"(.*?)</form>', page, re.DOTALL)
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
        async with self._http.post(self._url + html.unescape(action), data={**hidden, **fields}) as answer:
            assert answer.status == 200, _words(await answer.text())
            return answer.url.path

    async def call(self, method: str, path: str, token: str) -> tuple[int, Any]:
        """A request to the hub's REST API."""
        headers = {"Authorization": f"token {token}"}
        async with self._http.request(method, f"{self._url}/hub/api{path}", headers=headers) as answer:
            return answer.status, await answer.json() if answer.status == 200 else None


def _words(page: str) -> str:
    """The text of a page, for a message."""
    main = page.partition("<main")[2].partition("</main")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", main).split())


@asynccontextmanager
async def signed_in(pod: HubPod, name: str) -> AsyncIterator[Browser]:
    """A person who has signed in."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        browser = Browser(pod.url, http)
        await browser.submit("/hub/login", username=name, password="any")
        yield browser
