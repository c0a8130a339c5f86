"""``make bench-start``: from the click on a workspace to its JupyterLab, ours beside KubeSpawner as it is.

Two hubs run on one whole cluster, with the same configuration up to the manager's own file: in place of that, the other
hub has the traits that give its pods the same image, resources and claims. The pods of both are compared first, and
must be alike. Then a person on the one and a person on the other start their servers in turn; only one server is there
at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import html
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Self
from unittest.mock import patch

import aiohttp

from tests.apiserver.cluster import ClusterError, until
from tests.apiserver.demo import prepared
from tests.benchmarks import report
from tests.benchmarks.machine import machine
from tests.cluster import servers
from workspace_managers import quantities
from workspace_managers.devcluster import demo as demo_module
from workspace_managers.devcluster.demo import Demo, apply, without_proxy
from workspace_managers.hub import lab
from workspace_managers.kube.client import Kube

FEWEST = 10
"""Pairs of a result that is kept."""
WORKSPACE = "click-to-lab"
EXPIRES = "2190-01-01"
"""So late that each pod has the longest deadline that there is, and all have the same."""
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
START_SECONDS = 120
QUIET_SECONDS = 3.0
"""Between two starts, for what the node still does for a pod that has gone."""
PROBE_SECONDS = 0.02
USERNAME = "hub.jupyter.org/username"
_ENVIRON = {"KS_START_TIMEOUT": str(START_SECONDS)}
_EACH_ITS_OWN = re.compile("TOKEN|URL")

Object = dict[str, Any]
Times = dict[str, float]


class Pods:
    """When what became of people's pods, by a watch of the benchmark's own.

    Args:
        kube: Of an administrator.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._steps: dict[str, Times] = {}
        self._latest: dict[str, Object] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._run(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def expect(self, user: str) -> Times:
        """Note from now on when a user's pod is `created`, `runs`, `listens` and is `gone`, in what is returned."""
        self._steps[user] = {}
        return self._steps[user]

    def latest(self, user: str) -> Object:
        """A user's pod, as it was seen last."""
        return self._latest[user]

    def _run(self, work: Any) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _follow(self) -> None:
        path = f"/api/v1/namespaces/{self._kube.namespace}/pods"
        while True:
            async with self._kube.stream(path, {"watch": "true"}, silence=3600) as lines:
                async for line in lines:
                    event = json.loads(line)
                    self._note(event["type"], event["object"])

    def _note(self, what: str, pod: Object) -> None:
        now = perf_counter()
        user = (pod["metadata"].get("annotations") or {}).get(USERNAME, "")
        if (steps := self._steps.get(user)) is None:
            return
        self._latest[user] = pod
        steps.setdefault("created", now)
        containers = pod["status"].get("containerStatuses", [])
        if "runs" not in steps and containers and all(container["ready"] for container in containers):
            steps["runs"] = now
            self._run(self._listens(pod, steps))
        if what == "DELETED":
            steps["gone"] = now

    async def _listens(self, pod: Object, steps: Times) -> None:
        port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(pod["status"]["podIP"], port)
                steps["listens"] = perf_counter()
                writer.close()
                return
            await asyncio.sleep(PROBE_SECONDS)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the hubs, and a person in front of it who does what a browser does.

    Attributes:
        name: `ours` or `bare`.
        demo: The hub.
        pods: What sees the person's pod.
        looks: How often the page of a start asks the hub for itself once the server is ready, before it is left.
    """

    name: str
    demo: Demo
    pods: Pods
    looks: int = 0

    @property
    def user(self) -> str:
        return f"person-{self.name}"

    async def admit(self) -> None:
        """Make the person one who may sign in."""
        async with self._as_administrator() as http, http.post(f"{self.demo.url}/hub/api/users/{self.user}") as answer:
            assert answer.status == 201, await answer.text()

    def _as_administrator(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": f"token {self.demo.hub_api_token}"})

    async def start(self) -> Times:
        """Start the server from the form.

        Returns:
            Seconds from the click until each step: the pod is `created`, it `runs`, its server `listens`, the hub
            tells the page that it is `ready`, and the person has the page of the `lab`.
        """
        jar = aiohttp.CookieJar(unsafe=True)  # the hub is at an address
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession(cookie_jar=jar) as http:
            form = await self._form(http)
            steps = self.pods.expect(self.user)
            clicked = perf_counter()
            async with http.post(form, data={"profile": WORKSPACE}) as answer:
                page, pending = await answer.text(), answer.url
                assert (answer.status, pending.path) == (200, f"/hub/spawn-pending/{self.user}"), page
            await self._until_ready(http, page)
            steps["ready"] = perf_counter()
            for _ in range(self.looks):
                async with http.get(pending, allow_redirects=False) as answer:
                    assert answer.status == 302, await answer.text()
            async with http.get(pending, max_redirects=20) as answer:
                text = await answer.text()
                assert (answer.status, answer.url.path) == (200, f"/user/{self.user}/lab"), text
            steps["lab"] = perf_counter()
        assert {"created", "runs", "listens"} <= steps.keys(), "the watch of the pods does not see them"
        return {step: at - clicked for step, at in steps.items()}

    async def _form(self, http: aiohttp.ClientSession) -> str:
        """Sign in; where the form is sent to."""
        async with http.get(f"{self.demo.url}/hub/login") as page:
            xsrf = page.cookies["_xsrf"].value
        login = {"username": self.user, "password": self.demo.password, "_xsrf": xsrf}
        async with http.post(f"{self.demo.url}/hub/login?next=%2Fhub%2Fspawn", data=login) as page:
            text = await page.text()
        assert page.url.path == "/hub/spawn", text
        found = re.search(r'action="([^"]+)"', text)
        assert found, text
        return self.demo.url + html.unescape(found[1])

    async def _until_ready(self, http: aiohttp.ClientSession, page: str) -> None:
        found = re.search(r'EventSource\(("[^"]+")\)', page)
        assert found, page
        url = self.demo.url + html.unescape(json.loads(found[1]))
        async with http.get(url, headers={"Accept": "text/event-stream"}) as events:
            async for line in events.content:
                if line.startswith(b"data:"):
                    event = json.loads(line.removeprefix(b"data:"))
                    assert not event.get("failed"), event
                    if event.get("ready"):
                        return
        raise AssertionError("the progress of the start ended, and the server is not ready")

    async def stop(self) -> None:
        """Stop the server, and wait until its pod has gone and the machine is quiet."""
        steps = self.pods.expect(self.user)
        url = f"{self.demo.url}/hub/api/users/{self.user}"
        async with asyncio.timeout(START_SECONDS), self._as_administrator() as http:
            async with http.delete(f"{url}/server") as answer:
                assert answer.status in (202, 204), await answer.text()

            async def stopped() -> bool:
                async with http.get(url) as answer:
                    return "gone" in steps and not (await answer.json())["servers"]

            await until(stopped)
        await asyncio.sleep(QUIET_SECONDS)


@contextlib.asynccontextmanager
async def side_by_side(kube: Kube, ours: Demo, bare: Demo) -> AsyncIterator[tuple[Side, Side]]:
    """Both hubs, each of which has started and stopped a server.

    Args:
        kube: Of an administrator.
        ours: The product's hub, not started.
        bare: What is to be the other one, not started.

    Raises:
        SystemExit: Their pods are not alike.
    """
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ours)
        pods = await stack.enter_async_context(Pods(kube))
        one = Side("ours", ours, pods, looks=1)
        await apply(kube, _workspace_of(one.user))
        await one.admit()
        await one.start()
        pod = pods.latest(one.user)
        await one.stop()
        # The other hub's traits come from a pod that is there, so that what both make is written in one place.
        file = bare.state / "bare.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"c.KubeSpawner.update({traits_of(pod)!r})\n")
        with patch.object(demo_module, "hub_config_files", lambda: [file]):
            await stack.enter_async_context(bare)
        other = Side("bare", bare, pods)
        await other.admit()
        await other.start()
        if unlike := differences(alike(pod, one.user), alike(pods.latest(other.user), other.user)):
            raise SystemExit("\n".join(["The hubs' pods are not alike, and so their times are not:", *unlike]))
        await other.stop()
        yield one, other


def _workspace_of(user: str) -> list[Object]:
    spec = {
        "displayName": "From click to Lab",
        "description": "Of the benchmark",
        "validity": {"availableFrom": "2020-01-01", "expires": EXPIRES},
        "jupyterWorkspace": {"image": servers.OF_TESTS[0], "resources": RESOURCES},
    }
    binding = {"username": user, "workspace": WORKSPACE, "expires": EXPIRES}
    api = f"{demo_module.GROUP}/{demo_module.VERSION}"
    return [
        {"apiVersion": api, "kind": kind, "metadata": {"name": WORKSPACE}, "spec": of_kind}
        for kind, of_kind in (("AnalyticsWorkspace", spec), ("AnalyticsWorkspaceBinding", binding))
    ]


def traits_of(pod: Object) -> Object:
    """KubeSpawner's traits for pods like one that is there, with one profile to choose, of the workspace's name."""
    spec, notebook = pod["spec"], pod["spec"]["containers"][0]
    resources = notebook["resources"]
    profile = {
        "image": notebook["image"],
        "cpu_guarantee": quantities.cores(resources["requests"]["cpu"]),
        "cpu_limit": quantities.cores(resources["limits"]["cpu"]),
        "mem_guarantee": quantities.octets(resources["requests"]["memory"]),
        "mem_limit": quantities.octets(resources["limits"]["memory"]),
        "volumes": _without_ours(spec["volumes"]),
        "volume_mounts": _without_ours(notebook["volumeMounts"]),
    }
    return {
        "scheduler_name": spec["schedulerName"],
        "extra_pod_config": {"activeDeadlineSeconds": spec["activeDeadlineSeconds"]},
        "start_timeout": START_SECONDS,
        "profile_list": [{"display_name": WORKSPACE, "slug": WORKSPACE, "kubespawner_override": profile}],
    }


def alike(pod: Object, user: str) -> Object:
    """What two pods must have in common: all of the specification but the person's name and the hub's address."""
    spec: Object = json.loads(json.dumps(pod["spec"]).replace(user, "person"))
    spec["volumes"] = _without_ours(spec["volumes"])
    for container in spec["containers"]:
        container["volumeMounts"] = _without_ours(container["volumeMounts"])
        for amounts in container["resources"].values():
            for resource, amount in amounts.items():
                amounts[resource] = float(quantities.quantity_value(amount))
        container["env"] = {
            each["name"]: "" if _EACH_ITS_OWN.search(each["name"]) else each.get("value", each.get("valueFrom"))
            for each in container["env"]
        }
    return spec


def _without_ours(volumes: list[Object]) -> list[Object]:
    """All but what shows the workspace's name in JupyterLab, which is a part of what our class adds."""
    return [volume for volume in volumes if volume["name"] != lab.VOLUME]


def differences(ours: Any, bare: Any, where: str = "spec") -> list[str]:
    """Where two documents differ, a line each."""
    if isinstance(ours, Mapping) and isinstance(bare, Mapping):
        keys = sorted({*ours, *bare})
        return [line for key in keys for line in differences(ours.get(key), bare.get(key), f"{where}.{key}")]
    if isinstance(ours, list) and isinstance(bare, list) and len(ours) == len(bare):
        pairs = enumerate(zip(ours, bare, strict=True))
        return [line for number, pair in pairs for line in differences(*pair, f"{where}[{number}]")]
    return [] if ours == bare else [f"{where}: {ours!r} (ours), {bare!r} (bare)"]


async def compare(kube: Kube, ours: Demo, bare: Demo, pairs: int, say: Callable[[str], None]) -> list[dict[str, Times]]:
    """The times of so many pairs; the one who starts first changes from pair to pair."""
    measured = []
    async with side_by_side(kube, ours, bare) as sides:
        for number in range(pairs):
            pair = {}
            for side in sides[:: -1 if number % 2 else 1]:
                pair[side.name] = await side.start()
                await side.stop()
            measured.append(pair)
            seconds = ", ".join(f"{side.name} {pair[side.name]['lab']:.1f} s" for side in sides)
            say(f"pair {number + 1} of {pairs}: {seconds}")
    return measured


async def bench(pairs: int) -> Object:
    """All that is measured, on a cluster of its own.

    Raises:
        ClusterError: There cannot be one here.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _say("starting a cluster")
        async with servers.cluster_of_tests() as cluster:
            apiserver = (await cluster.call("GET", "/version"))["gitVersion"]
            there = await prepared(cluster, folder)
            kube = Kube(cluster.namespace, there.kubeconfig)
            ours, bare = (
                Demo(folder / side, 0, cluster=there, environ=_ENVIRON, say=lambda _line: None)
                for side in ("ours", "bare")
            )
            try:
                measured = await compare(kube, ours, bare, pairs, _say)
            except Exception:
                _say("\n".join(demo_module.last_words(hub.hub_log) for hub in (ours, bare)))
                raise
            finally:
                await kube.close()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"make bench-start PAIRS={pairs}",
        "machine": machine(load, apiserver),
        "jupyterhub": version("jupyterhub"),
        "kubespawner": version("jupyterhub-kubespawner"),
        "pairs": measured,
    }


def write(result: Object, folder: Path) -> str:
    """Keep the result and its table; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "start.json").write_text(json.dumps(result, indent=2) + "\n")
    table = report.start_table(result)
    (folder / "start.md").write_text(table)
    return table


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for whoever waits


def main() -> None:
    """Measure as many pairs as are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.start", description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=int, help=f"how often both start a server, {FEWEST} times or more")
    parser.add_argument("--output", type=Path, required=True, help="the folder for JSON and table")
    asked = parser.parse_args()
    if asked.pairs < FEWEST:
        parser.error(f"{asked.pairs} pairs are too few; at least {FEWEST} are needed")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ |= without_proxy(os.environ)
    try:
        result = asyncio.run(bench(asked.pairs))
    except ClusterError as error:
        sys.exit(str(error))
    print(write(result, asked.output))  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
