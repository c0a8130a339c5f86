"""Reviews while everything fails: ``python -m tests.sessions --starts 10000``; ends with 1 if anything was wrong.

Servers start and run; their users' access is taken away, ends and is given again, the hub is killed and started, the
API server refuses, stalls and cuts, and is killed. What is true of a grant is what the API server has acknowledged to
an administrator. Three things are never to be: a server that outlives its grant by more than the bound, one that is
stopped whose grant is good, and one that is stopped on an answer that was not certain.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from tests.apiserver.cluster import RealCluster
from tests.sessions.servers import Backend, Hub, Server
from workspace_managers.contract.proxy import EXPIRED_EVENT, FaultProxy, Injection, refuse, reset
from workspace_managers.decisions import AUDIT

BOUND_SECONDS = 10.0
"""A revoked server is stopped within so long, while the API server can be asked."""
RETURN_SECONDS = 30.0
"""And within so long after an outage, or once a killed hub is there again."""
RUNNING = 100
STUDIES = 10
STEP_SECONDS = 0.02
OUTAGE_SECONDS = (0.5, 6.0)
OUTLIVED = "servers that outlived their grant by more than the bound"
GOOD = "servers stopped whose grant was good"
UNCERTAIN = "servers stopped on an answer that was not certain"
LEFT = "servers of good grants that did not run at the end"
FINDINGS = (OUTLIVED, GOOD, UNCERTAIN, LEFT)


@dataclass(slots=True)
class Life:
    """One server's life.

    Attributes:
        user: Whose it is.
        workspace: Its workspace.
        server: It.
        changes: When its user's grant changed: before the change, after the acknowledgement, and whether it is good
            from then on.
    """

    user: str
    workspace: str
    server: Server
    changes: list[tuple[float, float, bool]] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the grant is good now."""
        return self.changes[-1][2]

    def was_good(self, since: float, until: float) -> bool:
        """Whether the grant was certainly good for all of this time."""
        before = [good for _, acknowledged, good in self.changes if acknowledged <= since]
        return (
            bool(before)
            and before[-1]
            and not any(began < until and acknowledged > since for began, acknowledged, _ in self.changes)
        )


class Run:
    """One run.

    Args:
        starts: How many servers are started.
        seed: What happens is made from it.
        say: Called with a line on how far it is.

    Attributes:
        found: What was wrong, and whose.
        happened: How often what was done.
    """

    def __init__(self, starts: int, seed: int, say: Callable[[str], None]) -> None:
        self.found: dict[str, list[str]] = {finding: [] for finding in FINDINGS}
        self.happened: Counter[str] = Counter()
        self.slowest = 0.0
        self._starts = starts
        self._random = random.Random(seed)  # noqa: S311 - it is to be foreseen
        self._say = say
        self._lives: dict[str, Life] = {}
        self._away: list[tuple[float, float]] = []
        self._started = 0

    async def run(self) -> None:
        """Start them all, and judge each one as it ends."""
        async with AsyncExitStack() as stack:
            self._cluster = await stack.enter_async_context(RealCluster())
            self._backend = Backend(self._cluster)
            await asyncio.gather(*(self._backend.workspace(f"study-{number}") for number in range(STUDIES)))
            self._proxy = FaultProxy(self._cluster.kubeconfig())
            stack.push_async_callback(self._proxy.stop)
            await self._proxy.start()
            self._hub = Hub(self._cluster.namespace, self._proxy.kubeconfig(self._cluster.namespace))
            await self._hub.start()
            disturbing = asyncio.create_task(self._disturb())
            while self._started < self._starts:
                await self._step()
                self._judge()
                await asyncio.sleep(STEP_SECONDS)
            disturbing.cancel()
            await asyncio.wait([disturbing])
            if not disturbing.cancelled():
                disturbing.result()
            ends = monotonic() + RETURN_SECONDS + BOUND_SECONDS
            while monotonic() < ends and any(not life.is_good for life in self._lives.values()):
                await asyncio.sleep(0.1)
                self._judge()
            await self._conclude()
            await self._hub.kill()

    async def _step(self) -> None:
        chance = self._random.random()
        if len(self._lives) < RUNNING or chance < 0.3:
            await self._start()
            return
        life = self._random.choice(list(self._lives.values()))
        if life.is_good and chance < 0.9:
            await self._change(life, good=False)
        elif not life.is_good and chance < 0.4:
            await self._change(life, good=True)

    async def _start(self) -> None:
        self._started += 1
        user, workspace = f"user-{self._started}", f"study-{self._random.randrange(STUDIES)}"
        before = monotonic()
        await self._backend.grant(user, workspace)
        granted = monotonic()
        await self._backend.pod(f"jupyter-{user}")
        server = self._hub.run(user, workspace)
        self._lives[user] = Life(user, workspace, server, [(before, granted, True)])
        if self._started % max(1, self._starts // 10) == 0:
            self._say(f"{self._started} of {self._starts} servers, {dict(self.happened)}")

    async def _change(self, life: Life, *, good: bool) -> None:
        before = monotonic()
        if good:
            what = "given again"
            # A binding that was deleted or has ended: the portal writes another one.
            await self._backend.grant_again(life.user, life.workspace)
        elif self._random.random() < 0.5:
            what = "taken away"
            await self._backend.revoke(life.user, life.workspace)
        else:
            what = "ended"
            await self._backend.expire(life.user, life.workspace)
        life.changes.append((before, monotonic(), good))
        self.happened[what] += 1

    # What goes wrong meanwhile

    async def _disturb(self) -> None:
        kinds = (self._refuse, self._reset, self._cut, self._stall, self._expire_watches, self._kill_hub, self._restart)
        while True:
            await asyncio.sleep(self._random.uniform(2, 6))
            kind = self._random.choices(kinds, (4, 2, 3, 2, 2, 3, 1))[0]
            began = monotonic()
            self._away.append((began, float("inf")))
            try:
                await kind()
            finally:
                self._away[-1] = (began, monotonic())
            self.happened[kind.__name__.strip("_").replace("_", " ")] += 1

    async def _while(self, injection: Injection) -> None:
        with injection:
            await asyncio.sleep(self._random.uniform(*OUTAGE_SECONDS))

    async def _refuse(self) -> None:
        await self._while(self._proxy.inject(refuse(self._random.choice((403, 429, 500, 503)), "Injected")))

    async def _reset(self) -> None:
        await self._while(self._proxy.inject(reset))

    async def _cut(self) -> None:
        with self._proxy.inject(refuse(503, "Injected")):
            await self._proxy.cut_watches()
            await asyncio.sleep(self._random.uniform(*OUTAGE_SECONDS))

    async def _stall(self) -> None:
        self._proxy.stall_watches()
        try:
            await asyncio.sleep(self._random.uniform(*OUTAGE_SECONDS))
        finally:
            await self._proxy.cut_watches()

    async def _expire_watches(self) -> None:
        await self._proxy.cut_watches(EXPIRED_EVENT)

    async def _kill_hub(self) -> None:
        await self._hub.kill()
        try:
            await asyncio.sleep(self._random.uniform(*OUTAGE_SECONDS))
        finally:
            await self._hub.start()

    async def _restart(self) -> None:
        await asyncio.shield(self._cluster.restart())

    # What is true

    def _judge(self) -> None:
        now = monotonic()
        for user, life in list(self._lives.items()):
            stopped = life.server.stopped_at
            if stopped is not None:
                del self._lives[user]
                self.happened["stopped"] += 1
                if life.was_good(life.server.asked_at, stopped):
                    self.found[GOOD].append(user)
                elif not life.is_good:
                    self._measure(life, stopped)
            elif not life.is_good and now > self._latest(life.changes[-1][1]):
                del self._lives[user]
                self.found[OUTLIVED].append(user)

    def _measure(self, life: Life, stopped: float) -> None:
        """How late the server ended, from when its grant had ended and there was somebody to ask."""
        asked = life.changes[-1][1]
        for began, ended in islice(self._away, bisect_right(self._away, asked, key=lambda away: away[1]), None):
            if began >= stopped:
                break
            asked = min(ended, stopped)
        self.slowest = max(self.slowest, stopped - asked)

    def _latest(self, revoked: float) -> float:
        """Until when a server may run whose grant has ended: the bound, or longer where there was nobody to ask."""
        latest = revoked + BOUND_SECONDS
        # One comes after the other, so that those before and after it are not looked at: a long run has thousands.
        first = bisect_right(self._away, revoked - RETURN_SECONDS, key=lambda away: away[1])
        for began, ended in islice(self._away, first, None):
            if began >= latest:
                break
            latest = max(latest, ended + RETURN_SECONDS)
        return latest

    async def _conclude(self) -> None:
        self._judge()
        for user, life in self._lives.items():
            if not life.is_good:
                self.found[OUTLIVED].append(user)
        self._lives = {user: life for user, life in self._lives.items() if life.is_good}
        there = await self._backend.pods()
        self.found[LEFT] += [user for user in self._lives if f"jupyter-{user}" not in there]
        stopped = [line for line in self._hub.audit if line["decision"] == "session" and line["rule"] == "E4"]
        self.found[UNCERTAIN] += [line["user"] for line in stopped]


def table(run: Run) -> str:
    """What was found, and what happened meanwhile."""
    lines = [f"{finding}: {len(run.found[finding])} {run.found[finding][:5] or ''}".rstrip() for finding in FINDINGS]
    happened = ", ".join(f"{what} {count}" for what, count in run.happened.most_common())
    return "\n".join(
        [*lines, f"happened: {happened}", f"slowest end, once there was somebody to ask: {run.slowest:.2f} s"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say whether anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=1000, help="how many servers are started")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of a run to repeat")
    asked = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.CRITICAL)
    AUDIT.handlers = []
    _say(f"seed {asked.seed}")
    run = Run(asked.starts, asked.seed, _say)
    asyncio.run(run.run())
    _say(table(run))
    return int(any(run.found.values()))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for whoever waits


if __name__ == "__main__":
    raise SystemExit(main())
