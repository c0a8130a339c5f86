"""What happens in a fault run, and in which order: made from the seed alone, before anything is started.

The same seed and number of starts make the same plan, on every machine. What a plan cannot fix is timing: which of the
requests under way a fault meets, and how two starts that race end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import cycle

from tests.faults.studies import Kind, Study, studies, users


class Fault(Enum):
    """What is done to requests, to watches, or to KubeSpawner's reflectors."""

    DELAY = "delay"
    STALL = "no answer"
    FORBIDDEN = "403"
    CONFLICT = "409"
    GONE = "410"
    TOO_MANY = "429 with Retry-After"
    BROKEN = "500"
    RESET = "reset"
    LOST_ANSWER = "reset after the API server has done it"
    QUOTA = "403, quota exceeded"
    INVALID = "422"
    LATE_ANSWER = "pod created, and answered too late"
    LATE_POD = "pod created too late, all the same"
    WATCH_CUT = "watch cut"
    WATCH_EXPIRED = "watch told 410"
    HALF_A_LINE = "watch cut within a line"
    WATCH_STALLED = "watch stalled"
    REFLECTOR_ENDED = "reflector that watches no more"


# In this order, so that the second ends the stall of the first, during which a cache hears of nothing new.
WATCH_FAULTS = (Fault.WATCH_STALLED, Fault.WATCH_CUT, Fault.WATCH_EXPIRED, Fault.HALF_A_LINE)
STALLED_STARTS = 15
"""Starts that are asked for while the watches are stalled."""
HEARD_STARTS = 10
"""Starts that are asked for between a grant and the race for its claims: by then, a cache has usually heard of it."""
LATE_FAULTS = (Fault.LATE_ANSWER, Fault.LATE_POD)
POD_FAULTS = (Fault.QUOTA, Fault.INVALID, *LATE_FAULTS)
"""What happens to the creation of a pod alone."""
REQUEST_FAULTS = tuple(fault for fault in Fault if fault not in (*WATCH_FAULTS, *POD_FAULTS, Fault.REFLECTOR_ENDED))
POD_REFUSALS = (Fault.FORBIDDEN, Fault.GONE, Fault.QUOTA, Fault.INVALID)
"""Those after which a pod counts as refused by the cluster."""
LARGE_RUN = 2000
"""Starts from which on the real hub's reflectors are made to give up by themselves, which takes a minute."""


class Target(Enum):
    """The requests that a fault concerns."""

    WORKSPACES = "analyticsworkspaces"
    BINDINGS = "analyticsworkspacebindings"
    CLAIMS = "persistentvolumeclaims"
    NEW_CLAIMS = "POST of persistentvolumeclaims"
    NEW_PODS = "POST of pods"


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody asks for a workspace; None chooses nothing."""

    user: str
    study: str | None
    form_first: bool
    through_hub: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding is written."""

    user: str
    study: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """A binding is deleted, or ends in the past."""

    user: str
    study: str
    delete: bool


@dataclass(frozen=True, slots=True)
class Inject:
    """The next requests to the target meet the fault."""

    fault: Fault
    target: Target
    times: int


@dataclass(frozen=True, slots=True)
class UntilMet:
    """Wait until the last fault was met as often as it was injected, or no longer than that takes."""


@dataclass(frozen=True, slots=True)
class Disturb:
    """Every open watch meets the fault."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class EndReflectors:
    """KubeSpawner's reflectors end in the hub that is called directly, as after a long outage."""


@dataclass(frozen=True, slots=True)
class Recreate:
    """A workspace is deleted, with all of its bindings, and another one is made under its name."""

    study: str


@dataclass(frozen=True, slots=True)
class RefuseInARow:
    """Somebody asks the real hub for what the cluster refuses, over and over; meanwhile, somebody else starts."""


@dataclass(frozen=True, slots=True)
class OutlastReflectors:
    """The API server does not show pods and events until the real hub's reflectors have given up."""


@dataclass(frozen=True, slots=True)
class RestartServer:
    """kube-apiserver is killed and started again, while starts are under way."""


@dataclass(frozen=True, slots=True)
class KillHub:
    """The hub that is called directly is killed and started again, while starts are under way."""


Step = (
    Start
    | Grant
    | Revoke
    | Inject
    | UntilMet
    | Disturb
    | EndReflectors
    | Recreate
    | RefuseInARow
    | OutlastReflectors
    | RestartServer
    | KillHub
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault run.

    Attributes:
        seed: What it was made from.
        granted: Users and workspaces of the bindings that are there before the hub is.
        steps: In order; a `Start` is not waited for.
    """

    seed: int
    granted: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]

    def count(self, kind: type[Step]) -> int:
        """How many steps there are of a kind."""
        return sum(isinstance(step, kind) for step in self.steps)


def make_plan(seed: int, starts: int, through_hub: int) -> Plan:
    """The plan of a seed.

    Args:
        seed: Any number.
        starts: How many starts are asked for in all.
        through_hub: How many of them go through a real hub, spread over the run.
    """
    planner = _Planner(seed, starts, through_hub)
    granted = tuple(planner.first_grants())
    return Plan(seed, granted, tuple(planner.steps()))


class _Planner:
    def __init__(self, seed: int, starts: int, through_hub: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it is to be foreseen
        self._starts = starts
        self._is_large = bool(through_hub) and starts >= LARGE_RUN
        self._asked = 0
        self._users = users()
        self._granted: dict[tuple[str, str], None] = {}  # in the order of the grants, for the seed to choose from
        everything = studies()
        self._first = [study for study in everything if study.kind is Kind.STARTS][:5]
        self._odd = [study for study in everything if study.kind is not Kind.STARTS]
        self._open = self._first + self._odd
        self._later = [study for study in everything if study not in self._open]
        self._random.shuffle(self._later)
        self._races: list[tuple[int, Study, list[str]]] = []
        self._at_races = cycle(self._random.sample(REQUEST_FAULTS, len(REQUEST_FAULTS)))
        self._at_watches = cycle(WATCH_FAULTS)
        self._at_pods = cycle(self._random.sample(POD_FAULTS, len(POD_FAULTS)))
        # Kills come early: how memory goes is seen in the long life after the last one.
        self._kills = self._spread(max(1, starts // 3000), 0.05, 0.35)
        self._restarts = self._spread(max(1, starts // 3000), 0.4, 0.95)
        self._openings = self._spread(len(self._later), 0.0, 0.9)
        self._disturbances = self._spread(max(8, starts // 100), 0.0, 1.0)
        for stalled in range(0, len(self._disturbances) - 1, len(WATCH_FAULTS)):
            self._disturbances[stalled + 1] = self._disturbances[stalled] + STALLED_STARTS
        self._through_hub = self._spread(through_hub, 0.0, 1.0)
        self._pods = self._spread(max(2 * len(POD_FAULTS), starts // 60), 0.0, 0.95)
        self._reflectors = self._spread(max(2, starts // 250), 0.0, 0.95)
        self._recreations = self._spread(max(1, starts // 1500), 0.3, 0.9)
        self._in_a_row = self._spread(1 if through_hub else 0, 0.0, 0.4)

    def _spread(self, number: int, first: float, last: float) -> list[int]:
        width = (last - first) / max(number, 1)
        return [int(self._starts * (first + width * (each + 0.5))) for each in range(number)]

    def first_grants(self) -> Iterator[tuple[str, str]]:
        for user in self._users:
            odd = self._random.sample(self._odd, self._random.random() < 0.2)
            for study in (*self._random.sample(self._first, 2), *odd):
                self._granted[user, study.name] = None
                yield user, study.name

    def steps(self) -> Iterator[Step]:
        while self._asked < self._starts:
            if self._kills and self._kills[0] <= self._asked:
                self._kills.pop(0)
                yield KillHub()
            elif self._restarts and self._restarts[0] <= self._asked:
                self._restarts.pop(0)
                yield RestartServer()
            elif self._openings and self._openings[0] <= self._asked:
                self._openings.pop(0)
                yield from self._opening(self._later.pop())
            elif self._races and self._races[0][0] <= self._asked:
                yield from self._race(*self._races.pop(0)[1:])
            elif self._disturbances and self._disturbances[0] <= self._asked:
                self._disturbances.pop(0)
                yield Disturb(next(self._at_watches))
            elif self._pods and self._pods[0] <= self._asked:
                self._pods.pop(0)
                yield from self._at_a_pod(next(self._at_pods))
            elif self._reflectors and self._reflectors[0] <= self._asked:
                self._reflectors.pop(0)
                yield EndReflectors()
            elif self._recreations and self._recreations[0] <= self._asked:
                self._recreations.pop(0)
                yield from self._recreation()
            elif self._in_a_row and self._in_a_row[0] <= self._asked:
                self._in_a_row.pop(0)
                yield RefuseInARow()
            else:
                yield from self._usual()
        if self._is_large:
            yield OutlastReflectors()

    def _opening(self, study: Study) -> Iterator[Step]:
        """A workspace gets its first users."""
        team = self._random.sample(self._users, 4)
        for user in team:
            yield self._grant(user, study.name)
        self._open.append(study)
        self._races.append((self._asked + HEARD_STARTS, study, team))

    def _race(self, study: Study, team: list[str]) -> Iterator[Step]:
        """They start it side by side, so that they race to make its claims, under a fault."""
        yield Inject(next(self._at_races), Target.NEW_CLAIMS, self._random.randint(1, 4))
        for user in team[: self._starts - self._asked]:
            yield self._start(user, study.name)

    def _at_a_pod(self, fault: Fault) -> Iterator[Step]:
        """Three people's pods meet it; where they are late, two of the grants are withdrawn meanwhile."""
        several = self._random.sample(list(self._granted), min(3, self._starts - self._asked))
        yield Inject(fault, Target.NEW_PODS, len(several))
        for user, study in several:
            yield self._start(user, study)
        if fault in LATE_FAULTS:
            yield UntilMet()
            for user, study in several[:2]:
                yield self._revoke(user, study)

    def _recreation(self) -> Iterator[Step]:
        """A workspace ends, and other people get one of the same name."""
        # A status is written after the object, so one that is made anew may start before it has its own again.
        left_alone = (*self._first, *self._odd)
        study = self._random.choice([each for each in self._open if each not in left_alone and not each.status])
        before = [pair for pair in self._granted if pair[1] == study.name]
        for user, name in before:
            yield self._revoke(user, name)
        yield Recreate(study.name)
        team = self._random.sample([user for user in self._users if (user, study.name) not in before], 4)
        for user in team:
            yield self._grant(user, study.name)
        self._races.append((self._asked + HEARD_STARTS, study, team))

    def _usual(self) -> Iterator[Step]:
        chance = self._random.random()
        if chance < 0.05:
            yield self._grant(self._random.choice(self._users), self._random.choice(self._open).name)
        elif chance < 0.10:
            user, study = self._random.choice(list(self._granted))
            yield self._revoke(user, study)
            if self._random.random() < 0.6:
                yield self._start(user, study)
        elif chance < 0.16:
            targets = (Target.WORKSPACES, Target.BINDINGS, Target.CLAIMS, Target.NEW_PODS)
            fault = self._random.choice(REQUEST_FAULTS)
            yield Inject(fault, self._random.choice(targets), self._random.choice((1, 2, 3, 8)))
        elif chance < 0.21:
            study = self._random.choice(self._open).name
            yield self._start(self._random.choice(self._users), self._random.choice((study, study, "no-such", None)))
        elif chance < 0.23:
            # The start is under way when its grant ends.
            user, study = self._random.choice(list(self._granted))
            del self._granted[user, study]
            yield self._start(user, study)
            yield Revoke(user, study, delete=True)
        else:
            yield self._start(*self._random.choice(list(self._granted)))

    def _grant(self, user: str, study: str) -> Grant:
        self._granted[user, study] = None
        return Grant(user, study)

    def _revoke(self, user: str, study: str) -> Revoke:
        del self._granted[user, study]
        return Revoke(user, study, delete=self._random.random() < 0.6)

    def _start(self, user: str, study: str | None) -> Start:
        through_hub = bool(self._through_hub) and self._through_hub[0] <= self._asked
        if through_hub:
            self._through_hub.pop(0)
        self._asked += 1
        return Start(user, study, self._random.random() < 0.2, through_hub)
