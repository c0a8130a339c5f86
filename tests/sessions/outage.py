"""A long outage: ``python -m tests.sessions.outage --seconds 600``; ends with 1 if anything was wrong.

Twenty servers run, and nobody can ask the API server any more. Meanwhile some people's access is taken away. None may
be stopped before the API server is back; then all are reviewed soon, and those are stopped whose access has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from tests.apiserver.cluster import RealCluster
from tests.sessions.servers import Backend, Hub, side_by_side
from workspace_managers.contract.proxy import FaultProxy, reset
from workspace_managers.decisions import AUDIT

SERVERS, REVOKED = 20, 5
RETURN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen.

    Attributes:
        stopped_meanwhile: Servers that were stopped during the outage.
        uncertain: Audit lines that a server became uncertain.
        reviewed_after: Seconds after the outage until every server had a certain answer.
        stopped: Those that were stopped then.
        revoked: Those that were to be.
    """

    stopped_meanwhile: list[str]
    uncertain: int
    reviewed_after: float
    stopped: list[str]
    revoked: list[str]

    @property
    def is_right(self) -> bool:
        """Whether all of it is as it must be."""
        in_time = self.reviewed_after <= RETURN_SECONDS
        return not self.stopped_meanwhile and self.stopped == self.revoked and in_time and self.uncertain == SERVERS


async def outage(seconds: float) -> Seen:
    """An outage of so many seconds."""
    async with RealCluster() as cluster:
        backend = Backend(cluster)
        people = sorted(f"user-{number:02}" for number in range(SERVERS))
        revoked = people[:: SERVERS // REVOKED]
        await backend.workspace("study")
        await side_by_side([backend.grant(user, "study") for user in people])
        await side_by_side([backend.pod(f"jupyter-{user}") for user in people])
        proxy = FaultProxy(cluster.kubeconfig())
        await proxy.start()
        hub = Hub(cluster.namespace, proxy.kubeconfig(cluster.namespace))
        for user in people:
            hub.ran_before(user, "study")
        await hub.start()
        try:
            await hub.reviewed(SERVERS, RETURN_SECONDS)
            with proxy.inject(reset):
                await proxy.cut_watches()
                hub.manager.context.changed()
                await asyncio.sleep(seconds / 2)
                await side_by_side([backend.revoke(user, "study") for user in revoked])
                await asyncio.sleep(seconds / 2)
                stopped_meanwhile = sorted(set(people) - set(hub.servers))
            returned = monotonic()
            sessions = hub.sessions._sessions
            async with asyncio.timeout(10 * RETURN_SECONDS):
                while len(hub.servers) > SERVERS - REVOKED or any(  # noqa: ASYNC110 - nobody tells
                    session.uncertain_since is not None for session in sessions.values()
                ):
                    await asyncio.sleep(0.05)
            after = monotonic() - returned
            stopped = sorted(set(people) - set(hub.servers))
            uncertain = sum(line["outcome"] == "unavailable" for line in hub.audit)
            return Seen(stopped_meanwhile, uncertain, after, stopped, revoked)
        finally:
            await hub.kill()
            await proxy.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say whether anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sessions.outage", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="how long nobody can ask")
    asked = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.CRITICAL)
    AUDIT.handlers = []
    seen = asyncio.run(outage(asked.seconds))
    print(seen, file=sys.stderr)  # noqa: T201 - for whoever waits
    return int(not seen.is_right)


if __name__ == "__main__":
    raise SystemExit(main())
