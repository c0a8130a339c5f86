"""``python -m tests.soak --minutes 60``: people come and go, and a hub stays as it is; ends with 1 if it did not.

A real hub on a real API server, its servers small processes. The manager's clock goes twenty times as fast, and past
midnight in the middle of the run, when some people's access ends. What is looked at is the hub's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from yarl import URL

from tests.apiserver.cluster import RealCluster
from tests.apiserver.demo import prepared
from tests.e2e.conftest import IMAGES, Hub, with_later
from tests.processes import open_files, resident
from tests.soak.judge import Sample, grown, resource_plot, table
from workspace_managers.devcluster import demo as demo_module
from workspace_managers.devcluster.demo import Demo
from workspace_managers.kube.client import Kube

SPEED = 20.0
WORKSPACES = 20
STAY_SECONDS = (120.0, 600.0)
"""Of the run's own time; twenty times as long by the manager's clock."""
LAST_DAY_EVERY = 10
"""One person in so many has access until the midnight in the run."""
EVENT_SECONDS = 3600.0 / SPEED
"""How long the API server keeps an event: an hour, by the manager's clock. KubeSpawner keeps all that there are."""
LOOK_SECONDS = 20.0
"""How often somebody looks at the page of their server."""
SAMPLE_SECONDS = 5.0
# What the hub's config has after ours: the clock, and what only the process itself knows.
LATER = """
import asyncio, datetime, json, pathlib, time

async def tell():
    while True:
        written = pathlib.Path(TOLD + ".new")
        written.write_text(json.dumps({"tasks": len(asyncio.all_tasks())}))
        written.replace(TOLD)  # whole, whenever it is read
        await asyncio.sleep(1)

service = c.JupyterHub.spawner_class.workspace_service
began, first = time.time(), datetime.datetime.fromisoformat(FIRST)
def clock():
    return first + datetime.timedelta(seconds=(time.time() - began) * SPEED)

object.__setattr__(service.manager.context, "clock", clock)
service.run(tell())
"""


class Crowd:
    """People who come, start their workspace, stay and go.

    Args:
        demo: Where.
        hub: Its REST API, for an administrator.
    """

    def __init__(self, demo: Demo, hub: Hub) -> None:
        self._demo = demo
        self._hub = hub
        self.did: Counter[str] = Counter()
        self.running = 0

    async def person(self, name: str, workspace: str) -> None:
        """One of them, until cancelled."""
        await asyncio.sleep(random.uniform(0, STAY_SECONDS[1]))  # noqa: S311 - no secret
        while True:
            try:
                await self._visit(name, workspace)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.did[f"failed: {type(error).__name__}"] += 1
            await asyncio.sleep(random.uniform(*STAY_SECONDS))  # noqa: S311

    async def _visit(self, name: str, workspace: str) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            await self._sign_in(browser, name)
            form = await self._page(browser, "/hub/spawn")
            self.did["forms"] += 1
            if f'value="{workspace}"' not in form:
                self.did["forms without it"] += 1
                return
            status, _ = await self._hub.call("POST", f"/users/{name}/server", {"profile": workspace})
            if status == 202:
                status = 201 if await self._server(name, 60) else 0
            self.did[f"starts {status}"] += 1
            if status != 201:
                return
            self.running += 1
            try:
                leaves = monotonic() + random.uniform(*STAY_SECONDS)  # noqa: S311
                while monotonic() < leaves:
                    await asyncio.sleep(LOOK_SECONDS)
                    await self._page(browser, "/hub/home")
                    if not await self._server(name, 0):
                        self.did["stopped by the hub"] += 1
                        return
                await self._hub.call("DELETE", f"/users/{name}/server")
                self.did["stops"] += 1
            finally:
                self.running -= 1

    async def _sign_in(self, browser: aiohttp.ClientSession, name: str) -> None:
        await self._page(browser, "/hub/login")
        cookies = browser.cookie_jar.filter_cookies(URL(f"{self._demo.url}/hub/"))
        fields = {"username": name, "password": "x", "_xsrf": cookies["_xsrf"].value}
        async with browser.post(f"{self._demo.url}/hub/login", data=fields, allow_redirects=False) as answer:
            self.did[f"sign-ins {answer.status}"] += 1

    async def _page(self, browser: aiohttp.ClientSession, path: str) -> str:
        async with browser.get(f"{self._demo.url}{path}") as answer:
            return await answer.text()

    async def _server(self, name: str, seconds: float) -> bool:
        """Whether it is ready, within so many seconds."""
        until = monotonic() + seconds
        while True:
            status, user = await self._hub.call("GET", f"/users/{name}")
            if status != 200:
                raise aiohttp.ClientError(f"the hub answered {status}")
            server = (user.get("servers") or {}).get("") or {}
            if server.get("ready") or monotonic() >= until:
                return bool(server.get("ready"))
            await asyncio.sleep(1)


async def resources(hub: Hub, people: dict[str, str], midnight: date) -> None:
    """The workspaces and the bindings; of some people, the last day is the one before midnight."""
    for workspace in sorted(set(people.values())):
        await hub.grant("nobody", workspace)
    for number, (name, workspace) in enumerate(people.items()):
        expires = "2090-01-01" if number % LAST_DAY_EVERY else str(midnight)
        spec = {"username": name, "workspace": workspace, "expires": expires}
        await hub.put("AnalyticsWorkspaceBinding", name, spec)


def sample(demo: Demo, told: Path, running: int, seconds: float) -> Sample:
    """What the hub's process has now."""
    assert demo._hub is not None
    files = open_files(demo._hub.pid)
    return Sample(
        seconds=seconds,
        running=running,
        memory=resident(demo._hub.pid),
        files=len(files),
        sockets=sum(each.startswith("socket:") for each in files),
        tasks=json.loads(told.read_text())["tasks"] if told.exists() else 0,
        log=demo.hub_log.stat().st_size,
    )


async def soak(minutes: float, count: int) -> tuple[list[Sample], Counter[str]]:
    """Run it.

    Args:
        minutes: How long.
        count: How many people.
    """
    midnight = date.today() + timedelta(days=2)
    first = datetime.combine(midnight, datetime.min.time(), UTC) - timedelta(minutes=minutes / 2 * SPEED)
    people = {f"person-{number:03}": f"study-{number % WORKSPACES:02}" for number in range(count)}
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        told = folder / "told"
        later = f"TOLD, FIRST, SPEED = {str(told)!r}, {first.isoformat()!r}, {SPEED}\n{LATER}"
        files = partial(with_later, later, folder, demo_module.hub_config_files())
        patch.setattr(demo_module, "hub_config_files", files)
        async with RealCluster(flags=[f"--event-ttl={EVENT_SECONDS:.0f}s"]) as cluster:
            there = await prepared(cluster, folder)
            async with (
                Demo(folder / "state", 0, cluster=there, images=IMAGES, say=lambda _line: None) as demo,
                aiohttp.ClientSession() as http,
            ):
                kube = Kube(demo.namespace, demo.kubeconfig_path)
                hub = Hub(demo, kube, http)
                try:
                    await resources(hub, people, midnight)
                finally:
                    await kube.close()
                crowd = Crowd(demo, hub)
                for person in people:
                    await hub.call("POST", f"/users/{person}")
                visits = [asyncio.create_task(crowd.person(*each)) for each in people.items()]
                began = monotonic()
                while (seconds := monotonic() - began) < minutes * 60:
                    samples.append(sample(demo, told, crowd.running, seconds))
                    await asyncio.sleep(SAMPLE_SECONDS)
                for visit in visits:
                    visit.cancel()
                await asyncio.wait(visits)
    return samples, crowd.did


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--output", type=Path, help="a folder for soak.md and soak.json")
    parsed = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    samples, did = asyncio.run(soak(parsed.minutes, parsed.people))
    text = table(samples, did, speed=SPEED)
    sys.stdout.write(text)
    if parsed.output is not None:
        (parsed.output / "soak.md").write_text(text)
        (parsed.output / "soak.svg").write_text(resource_plot(samples))
        (parsed.output / "soak.json").write_text(json.dumps([asdict(each) for each in samples]))
    return 1 if grown(samples) else 0


if __name__ == "__main__":
    sys.exit(main())
