"""What must be true of a fault run, and everything that was not.

Always true here: pods, claims and bindings are judged by what etcd has, in the order of its revisions; what the hub
says is compared with that, never believed. No input or output, and no code of the product but its sentences.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any

from tests.faults.studies import SHARED, Kind, Mount, Study
from workspace_managers.access import NOT_YET
from workspace_managers.errors import AccessDenied, BackendUnavailable, StorageRefused
from workspace_managers.kube.claims import QUOTA

OWNER = "workspace-managers/owner"
WORKSPACE = "workspace-managers/workspace"
USERNAME = "hub.jupyter.org/username"
NOTHING_CHOSEN = "No workspace was chosen. Choose one of yours from the list and start again."
NOT_OPEN = AccessDenied.default_user_message
STORAGE = StorageRefused.default_user_message
UNAVAILABLE = frozenset({BackendUnavailable.default_user_message, QUOTA})
HOLDS_NO_FILES = frozenset({"configMap", "secret", "emptyDir", "projected", "downwardAPI"})

HEARD_SECONDS = 120.0
"""Until a cache has heard of a new grant, or noticed that its watch is silent; a denial is right until then."""
RECOVERY_SECONDS = 30.0
RSS_GROWTH, SOCKETS_GROWTH = 1.10, 32
"""The median of the last quarter against the first one: resident bytes as a factor of the median, sockets as a number
over the maximum. Idle connections are kept for a while, so how many there are depends on what was under way."""
SMALLEST_LIFE = 20
"""Measurements of a hub's life below which its quarters tell nothing."""


class Fact(Enum):
    """What is never to be; the value is the line of the summary."""

    INEXACT = "pods without exactly their volumes"
    FOREIGN = "pods with a foreign volume"
    LOST = "claims lost"
    TWICE = "claims made twice"
    OWNER = "claims with another owner"
    REVOKED = "starts after a revocation"
    UNASKED = "pods that nobody asked for, or that were refused"
    NO_POD = "starts without a pod"
    KIND = "failures of neither kind"
    SENTENCE = "failures with another sentence"
    DENIED = "denials of what was open"
    AUDIT = "decisions without exactly one audit line"
    MEMORY = "hubs whose memory or sockets grew"
    RECOVERY = "recoveries slower than 30 s"
    VACUOUS = "things that the run did not show"


@dataclass(frozen=True, slots=True)
class Change:
    """One change in etcd.

    Attributes:
        revision: Its revision.
        resource: ``pods``, ``persistentvolumeclaims``, ``analyticsworkspacebindings``; others are passed over.
        name: The object's name.
        document: The object; None when it was deleted.
        at: When it was heard of, in seconds of one clock; minus infinity where it was there before the hub.
    """

    revision: int
    resource: str
    name: str
    document: Mapping[str, Any] | None
    at: float = 0.0


class Outcome(Enum):
    """How an ask ended, as far as whoever asked can tell."""

    STARTED = "started"
    REFUSED = "refused"
    NO_SERVER = "not created: no API server"
    HUB_KILLED = "hub killed"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said.

    Attributes:
        outcome: How it ended.
        status: HTTP status of a refusal; 0 where it came over a stream that has none.
        sentence: What the user reads; of a broken one, what broke.
        stages: The decisions that were asked for, in order.
        audit: The audit lines that this start left in the log.
    """

    outcome: Outcome
    status: int = 0
    sentence: str = ""
    stages: Sequence[str] = ()
    audit: Sequence[str] = ()


@dataclass(slots=True)
class Ask:
    """A start that was asked for.

    Attributes:
        user: Whose.
        study: The workspace; None when none was chosen.
        through_hub: Whether a real hub was asked.
        asked_revision: etcd's, at the last change that the API server had acknowledged before.
        asked_at: When, on the clock of the changes.
        answer: None until there is one.
        closed_revision: etcd's, when the user's next start may be asked for.
    """

    user: str
    study: str | None
    through_hub: bool
    asked_revision: int
    asked_at: float
    answer: Answer | None = None
    answered_at: float = 0.0
    closed_revision: int = 0


@dataclass(slots=True)
class _Claim:
    uid: str
    owner: str | None
    storage: str


@dataclass(slots=True)
class _Pod:
    name: str
    user: str
    study: str
    revision: int


@dataclass(slots=True)
class _Grant:
    """Whether a user has a workspace, from each revision on at which that changed."""

    bindings: set[str] = field(default_factory=set)
    revisions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    states: list[bool] = field(default_factory=list)

    def change(self, change: Change, *, grants: bool) -> None:
        (self.bindings.add if grants else self.bindings.discard)(change.name)
        if bool(self.bindings) != (bool(self.states) and self.states[-1]):
            self.revisions.append(change.revision)
            self.times.append(change.at)
            self.states.append(bool(self.bindings))

    def ever(self, state: bool, first: int, last: int) -> bool:
        """Whether it was so at any revision of these."""
        return state in self._between(self.revisions, first, last)

    def throughout(self, first: float, last: float) -> bool:
        """Whether it was granted all the time."""
        return all(self._between(self.times, first, last))

    def _between(self, moments: Sequence[float], first: float, last: float) -> list[bool]:
        before = bisect_right(moments, first)
        return [before > 0 and self.states[before - 1], *self.states[before : bisect_right(moments, last)]]


class Oracle:
    """Hears of every change and every ask, and says what was wrong.

    Args:
        studies: The workspaces.
        today: The day of the run, ``YYYY-MM-DD``.

    Attributes:
        findings: A sentence for each thing that was wrong, by what it is.
        asks: Every start that was asked for.
    """

    def __init__(self, studies: Iterable[Study], today: str) -> None:
        self.findings: dict[Fact, list[str]] = {fact: [] for fact in Fact}
        self.asks: list[Ask] = []
        self._studies = {study.name: study for study in studies}
        self._today = today
        self._owners = {mount.claim: study.name for study in self._studies.values() for mount in study.own}
        self._owners[SHARED] = "shared"
        self._unowned = {claim for study in self._studies.values() for claim in study.adopted}
        self._claims: dict[str, _Claim] = {}
        self._pods: list[_Pod] = []
        self._running: dict[str, _Pod] = {}
        self._grants: dict[tuple[str, str], _Grant] = {}
        self._bound: dict[str, tuple[str, str]] = {}
        self._lives: list[list[tuple[int, int]]] = []
        self._times_away: list[tuple[float, float]] = []

    def found(self, fact: Fact, sentence: str) -> None:
        """Note what was wrong."""
        self.findings[fact].append(sentence)

    # What etcd has

    def changed(self, change: Change) -> None:
        """Hear of a change; in the order of revisions."""
        if change.resource == "pods":
            self._pod(change)
        elif change.resource == "persistentvolumeclaims":
            self._claim(change)
        elif change.resource == "analyticsworkspacebindings":
            self._binding(change)

    def pods_of(self, user: str) -> list[str]:
        """The names of the pods that a user has now."""
        return [name for name, pod in self._running.items() if pod.user == user]

    def _pod(self, change: Change) -> None:
        if change.document is None:
            self._running.pop(change.name, None)
            return
        if change.name in self._running:
            return  # the volumes of a pod cannot change
        metadata = change.document["metadata"]
        annotations = metadata.get("annotations") or {}
        pod = _Pod(change.name, annotations.get(USERNAME, ""), annotations.get(WORKSPACE, ""), change.revision)
        self._running[change.name] = pod
        self._pods.append(pod)
        self._volumes(pod, change.document["spec"])

    def _volumes(self, pod: _Pod, spec: Mapping[str, Any]) -> None:
        where = f"pod {pod.name} of {pod.user!r} in workspace {pod.study!r} (revision {pod.revision})"
        study = self._studies.get(pod.study)
        wanted = study.mounts if study is not None and study.kind is Kind.STARTS else frozenset()
        own = {mount.claim for mount in wanted}
        claims: dict[str, str] = {}
        for volume in spec.get("volumes") or ():
            (kind,) = volume.keys() - {"name"} or ("none",)
            if kind == "persistentVolumeClaim":
                claims[volume["name"]] = volume[kind]["claimName"]
            elif kind not in HOLDS_NO_FILES:
                self.found(Fact.FOREIGN, f"{where} has a volume of the kind {kind}")
        for claim in sorted(set(claims.values()) - own):
            self.found(Fact.FOREIGN, f"{where} has the claim {claim!r}")
        mounts = [
            Mount(claims[mount["name"]], mount["mountPath"], bool(mount.get("readOnly")))
            for part in ("containers", "initContainers")
            for container in spec.get(part) or ()
            for mount in container.get("volumeMounts") or ()
            if mount["name"] in claims
        ]
        if sorted(mounts, key=str) != sorted(wanted, key=str) or set(claims.values()) != own:
            self.found(Fact.INEXACT, f"{where} mounts {mounts}, not {sorted(wanted, key=str)}")
        for claim in claims.values():
            there = self._claims.get(claim)
            if there is None:
                self.found(Fact.INEXACT, f"{where} has the claim {claim!r}, which does not exist")
            elif there.owner != self._owners.get(claim):
                self.found(Fact.OWNER, f"{where} has the claim {claim!r} of {there.owner!r}")

    def _claim(self, change: Change) -> None:
        name, known = change.name, self._claims.get(change.name)
        if change.document is None or change.document["metadata"].get("deletionTimestamp"):
            self.found(Fact.LOST, f"claim {name!r} was deleted (revision {change.revision})")
            return
        metadata, spec = change.document["metadata"], change.document["spec"]
        owner = (metadata.get("annotations") or {}).get(OWNER)
        storage = spec["resources"]["requests"]["storage"]
        if known is not None and known.uid != metadata["uid"]:
            self.found(Fact.TWICE, f"claim {name!r} was {known.uid} and is {metadata['uid']}")
        if known is not None and known.storage != storage:
            self.found(Fact.LOST, f"claim {name!r} went from {known.storage} to {storage}")
        may_be_nobodys = name in self._unowned and (known is None or known.owner is None)
        if owner != self._owners.get(name) and not (owner is None and may_be_nobodys):
            self.found(Fact.OWNER, f"claim {name!r} belongs to {owner!r}, not to {self._owners.get(name)!r}")
        self._claims[name] = _Claim(metadata["uid"], owner, storage)

    def _binding(self, change: Change) -> None:
        if change.document is not None:
            spec = change.document["spec"]
            pair = self._bound[change.name] = spec["username"].lower(), spec["workspace"]
            grants = spec["expires"] > self._today and not change.document["metadata"].get("deletionTimestamp")
        else:
            pair, grants = self._bound.pop(change.name), False
        self._grants.setdefault(pair, _Grant()).change(change, grants=grants)

    # What the hub was asked, and how it went

    def lived(self, measured: Sequence[tuple[int, int]]) -> None:
        """Hear of one life of the hub: resident bytes and open sockets, at even distances of starts."""
        self._lives.append(list(measured))

    def growth(self) -> tuple[float, float, int, float] | None:
        """The longest life: resident bytes at first and at last, sockets at most at first, and at last."""
        life = max(self._lives, key=len, default=[])
        if len(life) < SMALLEST_LIFE:
            return None
        quarter = len(life) // 4
        first, last = life[:quarter], life[-quarter:]
        return (
            median(rss for rss, _ in first),
            median(rss for rss, _ in last),
            max(sockets for _, sockets in first),
            median(sockets for _, sockets in last),
        )

    def was_away(self, first: float, last: float) -> None:
        """Hear from when to when there was no API server."""
        self._times_away.append((first, last))

    def recovered(self, what: str, seconds: float) -> None:
        """Hear how long after the return of the API server something worked again."""
        if seconds > RECOVERY_SECONDS:
            self.found(Fact.RECOVERY, f"{what}: {seconds:.1f} s")

    def conclude(self) -> None:
        """Judge every ask, once all changes have been heard of, and what grew."""
        pods: dict[str, list[_Pod]] = {}
        for pod in self._pods:
            pods.setdefault(pod.user, []).append(pod)
        for ask in self.asks:
            mine = [pod for pod in pods.get(ask.user, ()) if ask.asked_revision < pod.revision <= ask.closed_revision]
            for pod in mine:
                pods[ask.user].remove(pod)
            self._judge(ask, mine)
        for pod in (pod for left in pods.values() for pod in left):
            self.found(Fact.UNASKED, f"pod {pod.name} of {pod.user!r} (revision {pod.revision})")
        if grown := self.growth():
            rss, last_rss, sockets, last_sockets = grown
            if last_rss > rss * RSS_GROWTH:
                self.found(Fact.MEMORY, f"resident {rss / 2**20:.1f} MiB at first, {last_rss / 2**20:.1f} MiB at last")
            if last_sockets > sockets + SOCKETS_GROWTH:
                self.found(Fact.MEMORY, f"at most {sockets} sockets at first, {last_sockets:g} at last")

    def _judge(self, ask: Ask, pods: Sequence[_Pod]) -> None:
        where = f"{ask.user!r} asking for {ask.study!r} at revision {ask.asked_revision}"
        answer = ask.answer
        if answer is None:
            self.found(Fact.KIND, f"{where} got no answer")
            return
        for pod in pods:
            if pod.study != ask.study:
                self.found(Fact.INEXACT, f"{where} got a pod for {pod.study!r}")
            grant = self._grants.get((ask.user.lower(), pod.study))
            if grant is None or not grant.ever(True, ask.asked_revision, pod.revision):
                self.found(Fact.REVOKED, f"{where} got pod {pod.name} at revision {pod.revision}")
            if answer.outcome is Outcome.REFUSED:
                self.found(Fact.UNASKED, f"{where} was refused and got pod {pod.name}")
        if answer.outcome is Outcome.STARTED and len(pods) != 1:
            self.found(Fact.NO_POD, f"{where} was told of a start and got {len(pods)} pods")
        elif answer.outcome is Outcome.BROKEN:
            self.found(Fact.KIND, f"{where}: {answer.sentence}")
        elif answer.outcome is Outcome.REFUSED:
            self._judge_refusal(ask, answer, where)
        elif answer.outcome is Outcome.NO_SERVER and not self._was_away(ask):
            self.found(Fact.KIND, f"{where}: no pod was created, and the API server was there: {answer.sentence}")
        if answer.outcome not in (Outcome.HUB_KILLED, Outcome.BROKEN):
            self._judge_audit(ask, answer, where)

    def _was_away(self, ask: Ask) -> bool:
        return any(
            ask.asked_at < last + RECOVERY_SECONDS and first < ask.answered_at for first, last in self._times_away
        )

    def _judge_refusal(self, ask: Ask, answer: Answer, where: str) -> None:
        if answer.status not in (0, 403, 503):
            self.found(Fact.KIND, f"{where}: {answer.status} {answer.sentence}")
        elif answer.sentence in UNAVAILABLE:
            if answer.status == 403:
                self.found(Fact.SENTENCE, f"{where}: a denial that says {answer.sentence!r}")
        elif answer.status == 503:
            self.found(Fact.SENTENCE, f"{where}: an unavailable backend that says {answer.sentence!r}")
        elif answer.sentence not in (right := self._denials(ask)):
            known = {NOTHING_CHOSEN, NOT_OPEN, NOT_YET, STORAGE}
            fact = Fact.DENIED if not right and answer.sentence in known else Fact.SENTENCE
            self.found(fact, f"{where}: {answer.sentence!r}; right would be {sorted(right) or 'a start'}")

    def _denials(self, ask: Ask) -> set[str]:
        """The sentences of a denial that would be right; none where it had to start."""
        if ask.study is None:
            return {NOTHING_CHOSEN}
        grant = self._grants.get((ask.user.lower(), ask.study))
        # What has ended meanwhile, or what no cache need have heard of yet.
        known = grant is not None and grant.throughout(ask.asked_at - HEARD_SECONDS, ask.answered_at)
        study = self._studies.get(ask.study)
        denials = {NOT_OPEN} if not known or study is None else set()
        if grant is not None and study is not None:
            own = {Kind.EXPIRED: NOT_OPEN, Kind.FUTURE: NOT_YET, Kind.GRABS: STORAGE}
            denials |= {own[study.kind]} if study.kind in own else set()
        return denials

    def _judge_audit(self, ask: Ask, answer: Answer, where: str) -> None:
        """One line for each decision, which says who, what and how it ended."""
        told = []
        for text in answer.audit:
            line = json.loads(text)
            who = line["user"] == ask.user and line["workspace"] == (None if line["decision"] == "form" else ask.study)
            told.append((line["decision"], who, line["outcome"], line["rule"] is not None))
        refused = {403: ("denied",), 503: ("unavailable",), 0: ("denied", "unavailable")}.get(answer.status, ())
        right = len(told) == len(answer.stages)
        for number, (stage, (decision, who, outcome, has_rule)) in enumerate(zip(answer.stages, told, strict=False)):
            ends: tuple[str, ...] = ("allowed",)
            if stage == "form":
                ends = ("allowed", "unavailable")
            elif answer.outcome is Outcome.REFUSED and number == len(answer.stages) - 1:
                ends = refused
            right = right and decision == stage and who and outcome in ends and has_rule is (outcome != "allowed")
        if not right:
            self.found(Fact.AUDIT, f"{where}: asked {list(answer.stages)}, told {list(answer.audit)}")

    def outcomes(self) -> Counter[str]:
        """How many asks ended in which way."""
        counts: Counter[str] = Counter()
        for ask in self.asks:
            if ask.answer is None:
                continue
            if ask.answer.outcome is Outcome.REFUSED:
                kind = "unavailable" if ask.answer.sentence in UNAVAILABLE else "denied"
                counts[f"{kind}: {ask.answer.sentence}"] += 1
            else:
                counts[ask.answer.outcome.value] += 1
        return counts
