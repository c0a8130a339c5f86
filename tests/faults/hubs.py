"""The two hubs that a fault run asks: one that is only the spawners and may be killed, and a real JupyterHub.

Both are asked for one start of one user at a time by their caller, and both end with this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.faults.oracle import Answer, Outcome
from tests.faults.studies import IMAGE
from tests.processes import open_files, resident
from workspace_managers.devcluster.demo import Cluster, Demo, hub_environment
from workspace_managers.devcluster.node import tied

START_SECONDS = 120.0
_WORKER_SECONDS = 60
_MARK = '{"decision": '
_FAILED = "Spawn failed: "
_GAVE_UP = "Watching resources never recovered, giving up"
_KILLED: Mapping[str, Any] = {"outcome": Outcome.HUB_KILLED.value}


class DirectHub:
    """`worker` as a process: ``await start()``, ``ask`` as often as you like, ``await kill()``, ``start`` again.

    Args:
        kubeconfig: The API server as the hub sees it.
        namespace: The hub's.
        log: What it says besides its answers; lives follow each other in it.

    Attributes:
        measured: Resident bytes and open sockets, of this life, one for each ``measure``.
    """

    def __init__(self, kubeconfig: Path, namespace: str, log: Path) -> None:
        self.measured: list[tuple[int, int]] = []
        own = {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": namespace, "KS_START_TIMEOUT": str(_WORKER_SECONDS)}
        self._environ = hub_environment(os.environ, own)
        self._environ.pop("WORKSPACE_MANAGER", None)
        self._log = log
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._asked = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin a life."""
        self.measured = []
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied([sys.executable, "-m", "tests.faults.worker"]),
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=2**20,
            )
        self._reading = asyncio.create_task(self._read(self._process))

    async def ask(self, user: str, study: str | None, *, form_first: bool) -> Answer:
        """Ask for a start; `Outcome.HUB_KILLED` where its life ends before the answer."""
        said = await self._call(do="start", user=user, study=study, form_first=form_first)
        stages = ("form", "pod") if form_first else ("pod",)
        return Answer(
            Outcome(said["outcome"]), said.get("status", 0), said.get("sentence", ""), stages, said.get("audit", ())
        )

    async def stop(self, user: str) -> None:
        """Stop the user's server, as far as that goes."""
        await self._call(do="stop", user=user)

    async def end_reflectors(self) -> None:
        """Have each reflector watch no more."""
        await self._call(do="end reflectors")

    async def _call(self, **ask: object) -> Mapping[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked += 1
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._asked] = answer
        if self._process.returncode is None:
            self._process.stdin.write(f"{json.dumps({'number': self._asked, **ask})}\n".encode())
        else:
            self._answer(self._asked, _KILLED)
        try:
            async with asyncio.timeout(START_SECONDS):
                return await answer
        except TimeoutError:
            return {"outcome": Outcome.BROKEN.value, "sentence": f"no answer within {START_SECONDS:g} s"}

    def measure(self) -> None:
        """Note how much memory and how many sockets it has."""
        assert self._process is not None
        pid = self._process.pid
        sockets = sum(each.startswith("socket:") for each in open_files(pid))
        self.measured.append((resident(pid), sockets))

    async def kill(self) -> None:
        """End it at once (SIGKILL), whatever it is doing."""
        assert self._process is not None
        assert self._reading is not None
        self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):
            said: Mapping[str, Any] = json.loads(line)
            self._answer(said["number"], said)
        await process.wait()
        for number in list(self._waiting):
            self._answer(number, _KILLED)

    def _answer(self, number: int, said: Mapping[str, Any]) -> None:
        waiting = self._waiting.pop(number)
        if not waiting.done():  # else whoever asked has given up
            waiting.set_result(said)


class RealHub:
    """A JupyterHub over its REST API; its servers are small web servers that stand in for JupyterLab.

    Args:
        state: A folder for its files.
        kubeconfig: The API server as its node sees it.
        hub_kubeconfig: The API server as the hub sees it.
        namespace: The hub's.
    """

    def __init__(self, state: Path, kubeconfig: Path, hub_kubeconfig: Path, namespace: str) -> None:
        stand_in = [sys.executable, "-m", "http.server", "--bind", "{ip}", "{port}"]
        cluster = Cluster(kubeconfig, namespace, hub_kubeconfig=hub_kubeconfig)
        self._demo = Demo(state, 0, cluster=cluster, images={IMAGE: stand_in}, say=lambda _line: None)
        self._read: dict[str, int] = {}

    async def __aenter__(self) -> RealHub:
        await self._demo.__aenter__()
        headers = {"Authorization": f"token {self._demo.hub_api_token}"}
        self._http = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(START_SECONDS))
        self._ending = asyncio.create_task(self._demo.hub_ended())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.cancel()
        await self._http.close()
        await self._demo.__aexit__()

    async def ask(self, user: str, study: str | None) -> Answer:
        """Ask for a start and wait for its end."""
        try:
            return await self._ask(user, study)
        except aiohttp.ClientError as error:
            return Answer(Outcome.BROKEN, 0, f"the hub does not answer: {error!r}", ("pod",), self._audit(user))

    async def _ask(self, user: str, study: str | None) -> Answer:
        path = f"/users/{quote(user)}"
        await self._call("POST", path)
        status, said = await self._call("POST", f"{path}/server", {} if study is None else {"profile": study})
        if status == 202:
            status, said = await self._progress(f"{path}/server/progress")
        audit = self._audit(user)
        if status in (200, 201):
            return Answer(Outcome.STARTED, 0, "", ("pod",), audit)
        sentence = said.get("message", "") if isinstance(said, dict) else str(said)
        return Answer(Outcome.REFUSED, status, sentence or f"status {status}", ("pod",), audit)

    async def stop(self, user: str) -> None:
        """Stop the user's server, and wait until it is gone, or the hub has ended."""
        path = f"/users/{quote(user)}"
        async with asyncio.timeout(START_SECONDS):
            while self.last_words() is None:
                await self._call("DELETE", f"{path}/server")
                status, said = await self._call("GET", path)
                if status == 200 and not said.get("servers"):
                    return
                await asyncio.sleep(0.1)

    def last_words(self) -> str | None:
        """What it said last, where it has ended by itself."""
        return self._ending.result() if self._ending.done() else None

    def reflectors_given_up(self) -> int:
        """How many of its reflectors have given up, since it began."""
        return self._demo.hub_log.read_text().count(_GAVE_UP)

    async def _call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._http.request(method, f"{self._demo.url}/hub/api{path}", json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def _progress(self, path: str) -> tuple[int, Any]:
        """How a start ended that took the hub longer than its answer could wait."""
        async with self._http.get(f"{self._demo.url}/hub/api{path}") as answer:
            async for line in answer.content:
                if not line.startswith(b"data:"):
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                if event.get("ready"):
                    return 200, event
                if event.get("failed"):
                    return 0, {"message": event["message"].removeprefix(_FAILED)}
        return 500, {"message": f"the progress ended with status {answer.status}"}

    def _audit(self, user: str) -> list[str]:
        """The audit lines of this user that are new in the hub's log."""
        lines = []
        for line in self._demo.hub_log.read_text().splitlines():
            _, mark, rest = line.partition(_MARK)
            if mark and json.loads(mark + rest)["user"] == user:
                lines.append(mark + rest)
        known, self._read[user] = self._read.get(user, 0), len(lines)
        return lines[known:]
