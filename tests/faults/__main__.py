"""The fault run: ``python -m tests.faults --starts 10000``; ends with 1 if anything was wrong.

The plan is made from the seed before anything is started, and its steps are taken in its order; a start is not waited
for, a binding that is written is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from aiohttp import web

from tests.apiserver.cluster import ClusterError, RealCluster, until
from tests.faults import plan as planned
from tests.faults.hubs import DirectHub, RealHub
from tests.faults.oracle import RECOVERY_SECONDS, REFUSED, REMOVED_SECONDS, Answer, Ask, Fact, Oracle, Outcome
from tests.faults.plan import Fault, Plan, Target, make_plan
from tests.faults.studies import ENDED, FAR_AHEAD, LARGEST_CPU, Kind, Study, binding_name, binding_spec, studies, users
from tests.faults.truth import STORED_AS_JSON, Truth
from tests.faults.worker import REQUEST_SECONDS
from workspace_managers.contract import proxy
from workspace_managers.contract.proxy import FaultProxy
from workspace_managers.errors import BackendUnavailable
from workspace_managers.kube.client import ApiError, Kube

AT_ONCE = 32
"""Starts under way at one time."""
MEASURED_EACH = 10
PROBE = "probe@example.org"
"""Somebody with an open workspace, who tries whether the hub works again."""
REFUSED_USER, OTHER_USER = "refused@example.org", "other@example.org"
"""Whose grants no plan ends: one is refused by the cluster in a row, and the other starts meanwhile."""
IN_A_ROW = 50
"""Refusals in a row; as many failures of the hub's own, and it would exit ten times."""
GROUP, VERSION = "xlscsde.nhs.uk", "v1"

_PATIENCE_SECONDS = 2 * RECOVERY_SECONDS
_SHOWN = 5
RECREATED = "workspace made anew under its name"
IN_A_ROW_REFUSED = "refused by the cluster in a row, by a real hub"
_SMALLEST_SHARE = 1 / 3
"""Of all starts, those that started: with fewer the run shows nothing."""


class Run:
    """One fault run.

    Args:
        plan: What happens.
        folder: For logs and whatever else is written.
        say: Called with a line on how far it is.

    Attributes:
        oracle: What was wrong, once it has run.
        injected: How often each fault was met.
        recoveries: What came back, and seconds until a start succeeded again.
        seconds: From the first step to the end of the last start.
    """

    _cluster: RealCluster
    _kube: Kube
    _truth: Truth
    _proxy: FaultProxy
    _direct: DirectHub
    _real: RealHub

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.oracle = Oracle(studies(), str(datetime.now(UTC).date()))
        self.injected: Counter[str] = Counter()
        self.recoveries: list[tuple[str, float]] = []
        self.seconds = 0.0
        self._folder = folder
        self._say = say
        self._stack = AsyncExitStack()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._of_user: dict[str, asyncio.Lock] = {
            user: asyncio.Lock() for user in (*users(), PROBE, REFUSED_USER, OTHER_USER)
        }
        self._server_there = asyncio.Event()
        self._hub_there = asyncio.Event()
        self._real_hub_is_free = asyncio.Lock()
        self._returning: asyncio.Task[None] | None = None
        self._injections: list[tuple[planned.Inject, proxy.Injection]] = []
        self._has_real_hub = any(isinstance(step, planned.Start) and step.through_hub for step in plan.steps)
        self._acknowledged = 0
        self._answered = 0

    async def run(self) -> None:
        """Do what the plan says, and have the oracle judge it."""
        async with self._stack:
            await self._begin()
            began = monotonic()
            async with asyncio.TaskGroup() as tasks:
                for number, step in enumerate(self.plan.steps):
                    await self._take(step, tasks)
                    if number % max(1, len(self.plan.steps) // 10) == 0:
                        starts = self.plan.count(planned.Start)
                        self._say(f"{self._answered} of {starts} starts, {monotonic() - began:.0f} s")
            self.oracle.lived(self._direct.measured)
            await self._until_removed()
            self.seconds = monotonic() - began
            if self._has_real_hub and (words := self._real.last_words()) is not None:
                self.oracle.found(Fact.EXIT, words)
            for inject, injection in self._injections:
                self.injected[inject.fault.value] += injection.used
                if inject.target is Target.NEW_PODS and inject.fault in planned.POD_REFUSALS:
                    self.oracle.refused_pods(injection.used)
        self.oracle.conclude()
        self._is_anything_missing()

    # The beginning

    async def _begin(self) -> None:
        self._cluster = await self._stack.enter_async_context(RealCluster(flags=[STORED_AS_JSON]))
        self._kube = Kube(self._cluster.namespace, self._cluster.kubeconfig())
        self._stack.push_async_callback(self._kube.close)
        self._server_there.set()
        self._truth = await self._stack.enter_async_context(
            Truth(self._cluster.etcd_url, self._cluster.namespace, self.oracle.changed)
        )
        await self._furnish()
        token = await self._cluster.hub_token()
        self._proxy = FaultProxy(self._cluster.kubeconfig(token=token))
        self._stack.push_async_callback(self._proxy.stop)
        await self._proxy.start()
        through_proxy = self._write("hub.kubeconfig", self._proxy.kubeconfig(self._cluster.namespace))
        self._direct = DirectHub(through_proxy, self._cluster.namespace, self._folder / "worker.log")
        await self._direct.start()
        self._stack.push_async_callback(self._direct.kill)
        if self._has_real_hub:
            own = self._write("kubeconfig", self._cluster.kubeconfig())
            self._real = await self._stack.enter_async_context(
                RealHub(self._folder / "hub", own, through_proxy, self._cluster.namespace)
            )
        await self._until_one_starts("hub")
        self._hub_there.set()

    def _write(self, name: str, kubeconfig: Mapping[str, Any]) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(kubeconfig))
        return path

    async def _furnish(self) -> None:
        """The workspaces, the claims that are older than the hub, and the first bindings."""
        largest = {"type": "Container", "max": {"cpu": str(LARGEST_CPU)}}
        path = f"/api/v1/namespaces/{self._cluster.namespace}/limitranges"
        await self._insist("POST", path, {"metadata": {"name": "largest"}, "spec": {"limits": [largest]}})
        for study in studies():
            for claim in study.adopted:
                spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}}
                await self._insist("POST", self._claims, {"metadata": {"name": claim}, "spec": spec})
            path = await self._make(study)
            if study.status:
                await self._kube.merge_patch(f"{path}/{study.name}/status", {"status": study.status})
        await asyncio.gather(*(self._grant(user, study) for user, study in self.plan.granted))
        for user in (PROBE, OTHER_USER):
            await self._grant(user, studies()[0].name)
        (large,) = (study.name for study in studies() if study.kind is Kind.TOO_LARGE)
        await self._grant(REFUSED_USER, large)
        await self._truth.up_to_now()
        self._truth.existed_before = False

    async def _make(self, study: Study) -> str:
        """Make a workspace; the path of its collection."""
        path = self._collection("analyticsworkspaces")
        await self._insist("POST", path, _custom("AnalyticsWorkspace", study.name, study.spec))
        return path

    # The steps

    async def _take(self, step: planned.Step, tasks: asyncio.TaskGroup) -> None:
        match step:
            case planned.Start():
                await self._free.acquire()
                tasks.create_task(self._start(step)).add_done_callback(lambda _: self._free.release())
            case planned.Grant():
                await self._grant(step.user, step.study)
            case planned.Revoke():
                await self._revoke(step)
            case planned.Inject():
                injection = self._proxy.inject(_DONE[step.fault](), concerns=_concerns(step.target), times=step.times)
                self._injections.append((step, injection))
            case planned.UntilMet():
                await self._until_met()
            case planned.Disturb():
                await self._disturb(step.fault)
            case planned.EndReflectors():
                await self._direct.end_reflectors()
                self.injected[Fault.REFLECTOR_ENDED.value] += 1
            case planned.Recreate():
                await self._recreate(step.study)
            case planned.RefuseInARow():
                tasks.create_task(self._refuse_in_a_row())
            case planned.OutlastReflectors():
                await self._outlast_reflectors()
            case planned.RestartServer():
                await self._returned()
                self._returning = tasks.create_task(self._restart_server())
            case planned.KillHub():
                await self._kill_hub()

    async def _start(self, step: planned.Start) -> None:
        async with self._of_user[step.user]:
            if step.through_hub:
                async with self._real_hub_is_free:
                    await self._ask(step.user, step.study, through_hub=True)
            else:
                await self._hub_there.wait()
                await self._ask(step.user, step.study, form_first=step.form_first)
        self._answered += 1
        if self._answered % MEASURED_EACH == 0 and self._hub_there.is_set():
            self._direct.measure()
            self._proxy.requests[:] = [seen for seen in self._proxy.requests if seen.ended is None]

    async def _ask(
        self, user: str, study: str | None, *, through_hub: bool = False, form_first: bool = False
    ) -> Answer:
        """Ask for a start, and stop what came of it; the caller has the user's lock."""
        ask = Ask(user, study, through_hub, self._acknowledged, monotonic())
        self.oracle.asks.append(ask)
        if through_hub:
            ask.answer = await self._real.ask(user, study)
        else:
            ask.answer = await self._direct.ask(user, study, form_first=form_first)
        await self._truth.up_to_now()
        ask.answered_at = monotonic()  # by now, what the answer rests on is heard of
        if through_hub:
            await self._real.stop(user)
        elif ask.answer.outcome is Outcome.HUB_KILLED:
            await self._hub_there.wait()  # by then, what the killed one has asked for has come about
        elif ask.answer.outcome is Outcome.STARTED:
            await self._direct.stop(user)
        if ask.answer.outcome is not Outcome.REFUSED:  # else the product has to remove what there is
            await self._truth.up_to_now()
            for pod in self.oracle.pods_of(user):
                await self._insist("DELETE", f"{self._pods}/{pod}", {"gracePeriodSeconds": 0})
        await self._truth.up_to_now()
        return ask.answer

    async def _grant(self, user: str, study: str) -> None:
        name, path = binding_name(user, study), self._collection("analyticsworkspacebindings")
        label = "".join(each if each.isalnum() or each == "." else "___" for each in user)
        body = _custom("AnalyticsWorkspaceBinding", name, binding_spec(user, study))
        body["metadata"]["labels"] = {"xlscsde.nhs.uk/username": label}
        if not await self._insist("POST", path, body):
            await self._insist("PATCH", f"{path}/{name}", {"spec": {"expires": FAR_AHEAD}})

    async def _revoke(self, step: planned.Revoke) -> None:
        path = f"{self._collection('analyticsworkspacebindings')}/{binding_name(step.user, step.study)}"
        if step.delete:
            await self._insist("DELETE", path)
        else:
            await self._insist("PATCH", path, {"spec": {"expires": ENDED}})
        # From here on no start may come of it.
        self._acknowledged = await self._truth.revision()

    async def _until_met(self) -> None:
        _, injection = self._injections[-1]

        async def met() -> bool:
            return injection.is_over

        with suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                await until(met)

    async def _recreate(self, name: str) -> None:
        await self._truth.up_to_now()
        for binding in self.oracle.bindings_of(name):
            await self._insist("DELETE", f"{self._collection('analyticsworkspacebindings')}/{binding}")
        await self._insist("DELETE", f"{self._collection('analyticsworkspaces')}/{name}")
        (study,) = (each for each in studies() if each.name == name)
        await self._make(study)
        self._acknowledged = await self._truth.revision()
        self.injected[RECREATED] += 1

    async def _refuse_in_a_row(self) -> None:
        (large,) = (study.name for study in studies() if study.kind is Kind.TOO_LARGE)
        others: list[Outcome] = []

        async def other() -> None:
            others.append((await self._ask(OTHER_USER, studies()[0].name, through_hub=True)).outcome)

        refused = asked = 0
        async with self._of_user[REFUSED_USER], self._of_user[OTHER_USER], self._real_hub_is_free:
            async with asyncio.TaskGroup() as tasks:
                # Further faults meet some of them.
                while refused < IN_A_ROW and asked < 4 * IN_A_ROW:
                    asked += 1
                    answer = await self._ask(REFUSED_USER, large, through_hub=True)
                    refused += answer.sentence in REFUSED
                    if refused == IN_A_ROW // 2 and answer.sentence in REFUSED:
                        tasks.create_task(other())
            while Outcome.STARTED not in others and len(others) < _SHOWN:
                await other()
        self.injected[IN_A_ROW_REFUSED] += refused
        if refused < IN_A_ROW or Outcome.STARTED not in others:
            self.oracle.found(Fact.VACUOUS, f"{refused} of {asked} refused in a row; meanwhile others had {others}")

    async def _outlast_reflectors(self) -> None:
        """The reflector of pods and that of events try for 51 s. Both hubs meet it, so nothing else is under way."""
        await self._returned()
        for _ in range(AT_ONCE):  # for good: it is the last step
            await self._free.acquire()

        def concerns(seen: proxy.Seen) -> bool:
            return seen.method == "GET" and seen.path.rpartition("/")[2] in ("pods", "events")

        async with self._real_hub_is_free:
            before = self._real.reflectors_given_up()

            async def given_up() -> bool:
                await asyncio.sleep(0.5)
                return self._real.reflectors_given_up() >= before + 2

            with self._proxy.inject(proxy.refuse(500, "InternalError"), concerns=concerns):
                await self._proxy.cut_watches(concerns=concerns)
                async with asyncio.timeout(2 * _PATIENCE_SECONDS):
                    await until(given_up)
            self.injected["reflectors of the real hub that gave up"] += 2
            await self._recovered("reflectors of a real hub", monotonic(), through_hub=True)

    async def _disturb(self, fault: Fault) -> None:
        """Do it to the open watches of the product, once there is one of each collection."""

        async def both() -> bool:
            return len({seen.path for seen in self._open_watches()}) == 2

        async with asyncio.timeout(_PATIENCE_SECONDS):
            await until(both)
        self.injected[fault.value] += len(self._open_watches())
        if fault is Fault.WATCH_STALLED:
            self._proxy.stall_watches(concerns=_of_the_product)
        else:
            last = {Fault.WATCH_EXPIRED: proxy.EXPIRED_EVENT, Fault.HALF_A_LINE: proxy.HALF_A_LINE}
            await self._proxy.cut_watches(last.get(fault, b""), concerns=_of_the_product)

    def _open_watches(self) -> list[proxy.Seen]:
        return [seen for seen in self._proxy.requests if seen.is_watch and seen.ended is None and _of_the_product(seen)]

    async def _restart_server(self) -> None:
        # What KubeSpawner makes of a lost API server in the middle of a start is its own affair.
        async with self._real_hub_is_free:
            self._server_there.clear()
            first = monotonic()
            await self._cluster.restart()
            back = monotonic()
            self.oracle.was_away(first, back)
            self._server_there.set()
        self.injected["API server killed and started again"] += 1
        await self._recovered("API server", back)
        if self._has_real_hub:
            async with self._real_hub_is_free:
                await self._recovered("API server, for a real hub", back, through_hub=True)

    async def _kill_hub(self) -> None:
        await self._returned()
        self._hub_there.clear()
        self.oracle.lived(self._direct.measured)
        await self._direct.kill()
        back = monotonic()
        self.oracle.was_killed(back)
        await self._direct.start()
        self.injected["hub killed and started again"] += 1
        await self._until_one_starts("hub")
        self.recoveries.append(("hub", monotonic() - back))
        self._hub_there.set()

    async def _recovered(self, what: str, back: float, *, through_hub: bool = False) -> None:
        await self._until_one_starts(what, through_hub=through_hub)
        seconds = monotonic() - back
        self.recoveries.append((what, seconds))
        self.oracle.recovered(what, seconds)

    async def _until_one_starts(self, what: str, *, through_hub: bool = False) -> None:
        study = studies()[0].name
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._of_user[PROBE]:
                while (await self._ask(PROBE, study, through_hub=through_hub)).outcome is not Outcome.STARTED:
                    pass
        except TimeoutError:
            self.oracle.found(Fact.RECOVERY, f"{what}: no start succeeded within {_PATIENCE_SECONDS:.0f} s")

    async def _returned(self) -> None:
        """Wait until the API server is there and works."""
        if self._returning is not None:
            await self._returning

    async def _until_removed(self) -> None:
        """Wait for the product to remove what is left of refused starts, as long as it may take."""

        async def removed() -> bool:
            await self._truth.up_to_now()
            await asyncio.sleep(0.5)
            return not self.oracle.unremoved()

        with suppress(TimeoutError):
            async with asyncio.timeout(REMOVED_SECONDS):
                await until(removed)
        await self._truth.up_to_now()

    # The API server, past the proxy

    @property
    def _claims(self) -> str:
        return f"/api/v1/namespaces/{self._cluster.namespace}/persistentvolumeclaims"

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._cluster.namespace}/pods"

    def _collection(self, plural: str) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self._cluster.namespace}/{plural}"

    async def _insist(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bool:
        """Ask until the API server has done it; False where it is not to be done: it is there already, or gone."""
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        while True:
            await self._server_there.wait()
            try:
                await self._kube.request(method, path, body=body, content_type=content_type)
            except ApiError as error:
                if error.status in (404, 409):
                    return False
                if error.status != 403:  # a server that has just started knows no rights yet
                    raise
            except BackendUnavailable:
                await asyncio.sleep(0.1)
            else:
                return True

    # The end

    def _is_anything_missing(self) -> None:
        """A run that has not shown what it is for is a failed one."""
        outcomes, asks = self.oracle.outcomes(), len(self.oracle.asks)
        wanted = [fault.value for fault in Fault]
        wanted += [RECREATED, *([IN_A_ROW_REFUSED] if self._has_real_hub else [])]
        missing = [fault for fault in wanted if not self.injected[fault]]
        for sentence in (f"the fault {name!r} met no request" for name in missing):
            self.oracle.found(Fact.VACUOUS, sentence)
        if outcomes[Outcome.STARTED.value] < _SMALLEST_SHARE * asks:
            self.oracle.found(Fact.VACUOUS, f"{outcomes[Outcome.STARTED.value]} of {asks} starts came to a pod")


_DONE: Mapping[Fault, Callable[[], proxy.Fault]] = {
    Fault.DELAY: lambda: proxy.delay(1.0),
    Fault.STALL: lambda: proxy.delay(60.0),  # far longer than anybody waits
    Fault.FORBIDDEN: lambda: proxy.refuse(403, "Forbidden"),
    Fault.CONFLICT: lambda: proxy.refuse(409, "Conflict"),
    Fault.GONE: lambda: proxy.refuse(410, "Expired"),
    Fault.TOO_MANY: lambda: proxy.refuse(429, "TooManyRequests", retry_after=1),
    Fault.BROKEN: lambda: proxy.refuse(500, "InternalError"),
    Fault.RESET: lambda: proxy.reset,
    Fault.LOST_ANSWER: lambda: proxy.lose_answer,
    Fault.QUOTA: lambda: proxy.refuse(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: compute'),
    Fault.INVALID: lambda: proxy.refuse(422, "Invalid", 'Pod "x" is invalid: spec.containers[0].image: Required'),
    Fault.LATE_ANSWER: lambda: _Late(after=2 * REQUEST_SECONDS),
    Fault.LATE_POD: lambda: _Late(before=2 * REQUEST_SECONDS),
}


class _Late:
    """Has the API server do what was asked, though whoever asked does not wait for it.

    Args:
        before: Seconds until the API server hears of it.
        after: Seconds from its answer until that is passed on.
    """

    def __init__(self, *, before: float = 0.0, after: float = 0.0) -> None:
        self._before = before
        self._after = after
        self._under_way: set[asyncio.Task[web.StreamResponse]] = set()

    async def __call__(self, request: web.Request, forward: proxy.Forward) -> web.StreamResponse:
        await request.read()  # while the sender is there
        task = asyncio.create_task(self._do(forward))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _do(self, forward: proxy.Forward) -> web.StreamResponse:
        await asyncio.sleep(self._before)
        answer = await forward()
        await asyncio.sleep(self._after)
        return answer

    def _done(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the API server was away, and nobody waits for the answer any more


def _concerns(target: Target) -> proxy.Concerns:
    method, _, plural = target.value.rpartition(" of ")

    def concerns(seen: proxy.Seen) -> bool:
        if method and seen.method != method:
            return False
        # A list that begins a watch is a request like another.
        return plural in seen.path.split("/") and (not seen.is_watch or "sendInitialEvents" in seen.query)

    return concerns


def _of_the_product(seen: proxy.Seen) -> bool:
    """Not KubeSpawner's own watches: what becomes of those is its affair, and a slow one."""
    return f"/{GROUP}/" in seen.path


def _custom(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def summary(run: Run) -> str:
    """What was asked and injected, how it ended, and what was wrong."""
    oracle = run.oracle
    rows: list[tuple[str, object]] = [("seed", run.plan.seed), ("seconds", f"{run.seconds:.0f}")]
    rows += [
        ("starts asked for", len(oracle.asks)),
        ("through a real hub", sum(ask.through_hub for ask in oracle.asks)),
    ]
    rows += [(f"  {outcome[:70]}", count) for outcome, count in oracle.outcomes().most_common()]
    rows += [(f"met: {fault}", count) for fault, count in sorted(run.injected.items())]
    rows += [(f"{what} back, seconds until a start", f"{seconds:.1f}") for what, seconds in run.recoveries]
    if grown := oracle.growth():
        rss, last_rss, sockets, last_sockets = grown
        rows.append(("hub's resident MiB, first and last quarter", f"{rss / 2**20:.1f} {last_rss / 2**20:.1f}"))
        rows.append(("hub's sockets, at most in the first quarter, in the last one", f"{sockets} {last_sockets:g}"))
    rows += [(fact.value, len(found)) for fact, found in oracle.findings.items()]
    lines = [f"{name:<74} {value}" for name, value in rows]
    for fact, found in oracle.findings.items():
        lines += [f"WRONG, {fact.value}: {sentence}" for sentence in found[:_SHOWN]]
        lines += [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Starts, while everything fails.")
    parser.add_argument("--starts", type=int, default=10_000, help="one in a hundred goes through a real JupyterHub")
    parser.add_argument("--seed", type=int, help="of an earlier run: who, what and which faults, but not the timing")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed  # noqa: S311 - no secret
    _say(f"SEED={seed} STARTS={arguments.starts}")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    logging.basicConfig(level=logging.WARNING, filename=folder / "run.log")
    run = Run(make_plan(seed, arguments.starts, arguments.starts // 100), folder, _say)
    try:
        asyncio.run(run.run())
    except ClusterError as error:
        _say(str(error))
        return 1
    _say(summary(run))
    if any(run.oracle.findings.values()):
        _say(f"The logs are in {folder}; make faults SEED={seed} STARTS={arguments.starts} makes the same plan again")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
