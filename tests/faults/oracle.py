"""What must be true of a fault run, and everything that was not.

Pods, claims, workspaces and bindings are judged by what etcd has, in the order of its revisions; what the hub says is
compared with that, never believed. No input or output, and no code of the product but its sentences.
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
from workspace_managers.errors import (
    AccessDenied,
    BackendUnavailable,
    ClusterRefused,
    NothingChosen,
    StartFailed,
    StorageRefused,
)
from workspace_managers.hub.refusals import AWAY, SILENT, TOO_LARGE
from workspace_managers.hub.waiting import ENDED, IMAGE, LOADING, MEMORY, NOBODY, ROOM, SETUP
from workspace_managers.hub.waiting import STORAGE as NO_STORAGE
from workspace_managers.kube.claims import QUOTA

OWNER = "workspace-managers/owner"
WORKSPACE = "workspace-managers/workspace"
USERNAME = "hub.jupyter.org/username"
START = "workspace-managers/start"
OWNER_UID = "workspace-managers/owner-uid"
NOTHING_CHOSEN = NothingChosen.default_user_message
NOT_OPEN = AccessDenied.default_user_message
STORAGE = StorageRefused.default_user_message
DENIED = frozenset({NOT_OPEN, NOT_YET, STORAGE})
UNAVAILABLE = frozenset({BackendUnavailable.default_user_message, QUOTA, AWAY})
REFUSED = frozenset({ClusterRefused.default_user_message, ROOM.failed, TOO_LARGE})
NOT_READY = frozenset(
    {
        StartFailed.default_user_message,
        SILENT,
        *(cause.failed for cause in (ENDED, IMAGE, LOADING, MEMORY, NOBODY, NO_STORAGE, SETUP)),
    }
)
SENTENCES: Mapping[str, tuple[int, str]] = {
    NOTHING_CHOSEN: (400, "invalid"),
    **dict.fromkeys(DENIED, (403, "denied")),
    **dict.fromkeys(UNAVAILABLE, (503, "unavailable")),
    **dict.fromkeys(REFUSED, (503, "refused")),
    **dict.fromkeys(NOT_READY, (503, "failed")),
}
"""What a start may be refused with: the sentence for the user, HTTP status, and outcome in the audit line."""
WITH_A_RULE = frozenset({"invalid", "denied", "unavailable"})
HOLDS_NO_FILES = frozenset({"configMap", "secret", "emptyDir", "projected", "downwardAPI"})

HEARD_SECONDS = 120.0
"""Until a cache has heard of a new grant, or noticed that its watch is silent; a denial is right until then."""
RECOVERY_SECONDS = 30.0
WITHDRAWN_SECONDS = 10.0
"""A grant that ended less than so long before its pod came up may have been confirmed before: the product allows itself
2 s between the two, and the rest is the request that creates it, on a machine that is busy."""
REMOVED_SECONDS = 15.0
"""How long the pod of a refused start may be there: the product looks every 2 s."""
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
    UNASKED = "pods that nobody asked for"
    STAYED = "pods after their grant had ended, or of no start that succeeded, that stayed"
    INHERITED = "pods with the files of an earlier workspace of their name"
    NO_POD = "starts without a pod"
    UNTRUE = "decisions allowed whose pod does not exist"
    KIND = "failures of neither kind"
    SENTENCE = "failures with another sentence"
    DENIED = "denials of what was open"
    AUDIT = "decisions without exactly one audit line"
    EXIT = "hubs that ended by themselves"
    MEMORY = "hubs whose memory or sockets grew"
    RECOVERY = "recoveries slower than 30 s"
    VACUOUS = "things that the run did not show"


@dataclass(frozen=True, slots=True)
class Change:
    """One change in etcd.

    Attributes:
        revision: Its revision.
        resource: ``pods``, ``persistentvolumeclaims``, ``analyticsworkspaces``, ``analyticsworkspacebindings``; others
            are passed over.
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
    HUB_KILLED = "hub killed"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said.

    Attributes:
        outcome: How it ended.
        status: HTTP status of a refusal; 0 where it came over a stream that has none.
        sentence: What the user reads; of a broken one, what broke.
        stages: The decisions that were asked for, in order: ``form`` where one was shown, and ``pod``.
        audit: The audit lines that this start left in the log.
    """

    outcome: Outcome
    status: int = 0
    sentence: str = ""
    stages: Sequence[str] = ()
    audit: Sequence[str] = ()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The audit lines, read."""
        return [json.loads(line) for line in self.audit]

    @property
    def requests(self) -> set[str]:
        """The identifiers of what it decided on."""
        return {line["request"] for line in self.lines if line["decision"] != "form"}


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
        answered_at: When it came.
    """

    user: str
    study: str | None
    through_hub: bool
    asked_revision: int
    asked_at: float
    answer: Answer | None = None
    answered_at: float = 0.0


@dataclass(slots=True)
class _Claim:
    uid: str
    owner: str | None
    owner_uid: str | None
    storage: str


@dataclass(slots=True)
class _Pod:
    name: str
    uid: str
    user: str
    study: str
    request: str
    revision: int
    at: float
    owner_uids: frozenset[str] = frozenset()
    gone_at: float | None = None


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

    def at_any_time(self, first: float, last: float) -> bool:
        """Whether it was granted at some time."""
        return True in self._between(self.times, first, last)

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
        self._uids: dict[str, list[tuple[int, str]]] = {}
        self._kills: list[float] = []
        self._pods_refused = 0
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
        elif change.resource == "analyticsworkspaces":
            self._workspace(change)
        elif change.resource == "analyticsworkspacebindings":
            self._binding(change)

    def pods_of(self, user: str) -> list[str]:
        """The names of the pods that a user has now."""
        return [name for name, pod in self._running.items() if pod.user == user]

    def bindings_of(self, study: str) -> list[str]:
        """The names of the bindings that a workspace has now."""
        return [name for name, (_, workspace) in self._bound.items() if workspace == study]

    def _pod(self, change: Change) -> None:
        if change.document is None:
            if (gone := self._running.pop(change.name, None)) is not None:
                gone.gone_at = change.at
            return
        if change.name in self._running:
            return  # the volumes of a pod cannot change
        metadata = change.document["metadata"]
        annotations = metadata.get("annotations") or {}
        pod = _Pod(
            name=change.name,
            uid=metadata["uid"],
            user=annotations.get(USERNAME, ""),
            study=annotations.get(WORKSPACE, ""),
            request=annotations.get(START, ""),
            revision=change.revision,
            at=change.at,
        )
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
        # Claims that do not say of which workspace of the name they are tell nothing (rule S6).
        uids = {there.owner_uid for claim in claims.values() if (there := self._claims.get(claim)) is not None}
        pod.owner_uids = frozenset(uid for uid in uids if uid is not None)

    def _claim(self, change: Change) -> None:
        name, known = change.name, self._claims.get(change.name)
        if change.document is None or change.document["metadata"].get("deletionTimestamp"):
            self.found(Fact.LOST, f"claim {name!r} was deleted (revision {change.revision})")
            return
        metadata, spec = change.document["metadata"], change.document["spec"]
        annotations = metadata.get("annotations") or {}
        owner, owner_uid = annotations.get(OWNER), annotations.get(OWNER_UID)
        storage = spec["resources"]["requests"]["storage"]
        if known is not None and known.uid != metadata["uid"]:
            self.found(Fact.TWICE, f"claim {name!r} was {known.uid} and is {metadata['uid']}")
        if known is not None and known.storage != storage:
            self.found(Fact.LOST, f"claim {name!r} went from {known.storage} to {storage}")
        may_be_nobodys = name in self._unowned and (known is None or known.owner is None)
        if owner != self._owners.get(name) and not (owner is None and may_be_nobodys):
            self.found(Fact.OWNER, f"claim {name!r} belongs to {owner!r}, not to {self._owners.get(name)!r}")
        self._claims[name] = _Claim(metadata["uid"], owner, owner_uid, storage)

    def _workspace(self, change: Change) -> None:
        uid = "" if change.document is None else change.document["metadata"]["uid"]
        uids = self._uids.setdefault(change.name, [])
        if not uids or uids[-1][1] != uid:
            uids.append((change.revision, uid))

    def _uids_of(self, study: str, first: int, last: int) -> set[str]:
        """The UIDs that a workspace of this name had at any of these revisions."""
        uids = self._uids.get(study, [])
        before = bisect_right(uids, first, key=lambda each: each[0])
        return {uid for revision, uid in uids[max(0, before - 1) :] if revision <= last}

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

    def refused_pods(self, number: int) -> None:
        """Hear how many pods were refused that the API server itself would have taken."""
        self._pods_refused += number

    def was_killed(self, at: float) -> None:
        """Hear that the hub that is called directly was killed."""
        self._kills.append(at)

    def recovered(self, what: str, seconds: float) -> None:
        """Hear how long after the return of the API server something worked again."""
        if seconds > RECOVERY_SECONDS:
            self.found(Fact.RECOVERY, f"{what}: {seconds:.1f} s")

    def conclude(self) -> None:
        """Judge every ask, once all changes have been heard of, and what grew."""
        for ask, mine in self._pods_of_asks():
            self._judge(ask, mine)
        refused = [ask for ask in self.asks if ask.answer and ask.answer.sentence in REFUSED - {TOO_LARGE}]
        if len(refused) > self._pods_refused:
            self.found(Fact.KIND, f"{len(refused)} pods refused by a cluster that refused {self._pods_refused}")
        if grown := self.growth():
            rss, last_rss, sockets, last_sockets = grown
            if last_rss > rss * RSS_GROWTH:
                self.found(Fact.MEMORY, f"resident {rss / 2**20:.1f} MiB at first, {last_rss / 2**20:.1f} MiB at last")
            if last_sockets > sockets + SOCKETS_GROWTH:
                self.found(Fact.MEMORY, f"at most {sockets} sockets at first, {last_sockets:g} at last")

    def unremoved(self) -> list[str]:
        """The names of the pods that are to go by themselves: not those of starts that succeeded."""
        return [
            pod.name
            for ask, mine in self._pods_of_asks(tell=False)
            for pod in mine
            if pod.gone_at is None and ask.answer is not None
            if not _is_of(ask.answer, pod) and not self._was_killed(ask, pod)
        ]

    def _pods_of_asks(self, *, tell: bool = True) -> list[tuple[Ask, list[_Pod]]]:
        """Every ask with the pods that were made for it: by the request that both name."""
        by_request: dict[str, list[_Pod]] = {}
        for pod in self._pods:
            by_request.setdefault(pod.request, []).append(pod)
        asks = []
        untold = []
        for ask in self.asks:
            requests = set() if ask.answer is None else ask.answer.requests
            asks.append((ask, [pod for request in requests for pod in by_request.pop(request, ())]))
            if not requests:  # of a hub that was killed before it told
                untold.append(asks[-1])
        for pod in (pod for left in by_request.values() for pod in left):
            mine = [made for ask, made in untold if ask.user == pod.user and ask.asked_revision < pod.revision]
            if mine:
                mine[-1].append(pod)
            elif tell:
                self.found(Fact.UNASKED, f"pod {pod.name} of {pod.user!r} (revision {pod.revision})")
        return asks

    def _judge(self, ask: Ask, pods: Sequence[_Pod]) -> None:
        where = f"{ask.user!r} asking for {ask.study!r} at revision {ask.asked_revision}"
        answer = ask.answer
        if answer is None:
            self.found(Fact.KIND, f"{where} got no answer")
            return
        for pod in pods:
            self._judge_pod(ask, answer, pod, where)
        if answer.outcome is Outcome.STARTED:
            there = [pod for pod in pods if pod.gone_at is None or pod.gone_at > ask.answered_at]
            if not any(_is_of(answer, pod) for pod in there):
                self.found(Fact.NO_POD, f"{where} was told of a start; of {len(pods)} pods its own was not there")
        elif answer.outcome is Outcome.BROKEN:
            self.found(Fact.KIND, f"{where}: {answer.sentence}")
        elif answer.outcome is Outcome.REFUSED:
            self._judge_refusal(ask, answer, where)
        if answer.outcome not in (Outcome.HUB_KILLED, Outcome.BROKEN):
            self._judge_audit(ask, answer, pods, where)

    def _judge_pod(self, ask: Ask, answer: Answer, pod: _Pod, where: str) -> None:
        if pod.study != ask.study or pod.user != ask.user:
            self.found(Fact.INEXACT, f"{where} got a pod of {pod.user!r} for {pod.study!r}")
        grant = self._grants.get((ask.user.lower(), pod.study))
        if grant is None or not grant.ever(True, ask.asked_revision, pod.revision):
            self.found(Fact.REVOKED, f"{where} got pod {pod.name} at revision {pod.revision}")
        elif answer.outcome is Outcome.STARTED and not grant.at_any_time(pod.at - WITHDRAWN_SECONDS, pod.at):
            self.found(Fact.STAYED, f"{where} got pod {pod.name} long after the grant had ended")
        if not _is_of(answer, pod) and not self._was_removed(ask, pod):
            stay = "is still there" if pod.gone_at is None else f"was there for {pod.gone_at - pod.at:.1f} s"
            self.found(
                Fact.STAYED, f"{where}: {answer.outcome.value}, and pod {pod.name} (request {pod.request}) {stay}"
            )
        if others := pod.owner_uids - self._uids_of(pod.study, ask.asked_revision, pod.revision):
            self.found(Fact.INHERITED, f"{where} got pod {pod.name} with claims of {sorted(others)}")

    def _was_removed(self, ask: Ask, pod: _Pod) -> bool:
        """Whether it went in time; whoever removes it may have been killed, or have had no API server."""
        if self._was_killed(ask, pod):
            return True
        if pod.gone_at is None:
            return False
        return pod.gone_at - pod.at < REMOVED_SECONDS or any(
            first - REMOVED_SECONDS < pod.at < last + RECOVERY_SECONDS for first, last in self._times_away
        )

    def _was_killed(self, ask: Ask, pod: _Pod) -> bool:
        last = float("inf") if pod.gone_at is None else pod.gone_at
        return not ask.through_hub and any(ask.asked_at <= killed <= last for killed in self._kills)

    def _was_away(self, ask: Ask) -> bool:
        return any(
            ask.asked_at < last + RECOVERY_SECONDS and first < ask.answered_at for first, last in self._times_away
        )

    def _judge_refusal(self, ask: Ask, answer: Answer, where: str) -> None:
        sentence, right = answer.sentence, self._denials(ask)
        status, outcome = SENTENCES.get(sentence, (0, ""))
        study = None if ask.study is None else self._studies.get(ask.study)
        if answer.status not in (0, 400, 403, 503):
            self.found(Fact.KIND, f"{where}: {answer.status} {sentence}")
        elif not outcome or answer.status not in (0, status):
            self.found(Fact.SENTENCE, f"{where}: {answer.status} {sentence!r}")
        elif outcome == "failed":
            if not self._was_away(ask):
                self.found(Fact.KIND, f"{where}: the API server was there: {sentence}")
        elif sentence == TOO_LARGE and (study is None or study.kind is not Kind.TOO_LARGE):
            self.found(Fact.SENTENCE, f"{where}: {sentence!r}, and it is not large")
        elif outcome in ("denied", "invalid") and sentence not in right:
            fact = Fact.SENTENCE if right else Fact.DENIED
            self.found(fact, f"{where}: {sentence!r}; right would be {sorted(right) or 'a start'}")

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
            if len({uid for _, uid in self._uids.get(ask.study, ()) if uid}) > 1:
                denials.add(STORAGE)  # the files are an earlier workspace's (rule S6)
        return denials

    def _judge_audit(self, ask: Ask, answer: Answer, pods: Sequence[_Pod], where: str) -> None:
        """One line for each decision: who, what, how it ended, and the pod as the API server has it."""
        made = {(pod.name, pod.uid) for pod in pods}
        lines = answer.lines
        told = [self._line(line, ask) for line in lines]
        forms, rest = [told[: len(answer.stages) - 1], told[len(answer.stages) - 1 :]]
        _, outcome = SENTENCES.get(answer.sentence, (0, "failed"))
        ends = [("pod", "allowed")]
        if answer.outcome is Outcome.REFUSED:
            ends = [("pod", "allowed"), ("start", outcome)] if len(rest) > 1 else [("pod", outcome)]
        if forms not in ([], [("form", "allowed")], [("form", "unavailable")]) or rest != ends:
            self.found(Fact.AUDIT, f"{where}: asked {list(answer.stages)}, told {list(answer.audit)}")
        if len(answer.requests) > 1:
            self.found(Fact.AUDIT, f"{where}: one start, and the requests {sorted(answer.requests)}")
        for line in lines:
            if line["decision"] == "pod" and line["outcome"] == "allowed":
                pod = line["pod"] or {}
                if (pod.get("name"), pod.get("uid")) not in made:
                    self.found(Fact.UNTRUE, f"{where}: told {line}, and etcd had {sorted(made)}")
            elif line["decision"] == "pod" and line["pod"] and line["pod"]["uid"]:
                self.found(Fact.UNTRUE, f"{where}: a pod that was not created has a UID: {line}")

    @staticmethod
    def _line(line: Mapping[str, Any], ask: Ask) -> tuple[str, str]:
        """What a line says of which decision; nothing that is right where it says it of something else."""
        wanted = (None, None) if line["decision"] == "form" else ("", ask.study)
        by = {"service": "demo"} if ask.through_hub else {"hub": "jupyterhub"}
        right = line["user"] == ask.user and (line["server"], line["workspace"]) == wanted and line["by"] == by
        right = right and (line["rule"] is not None) is (line["outcome"] in WITH_A_RULE)
        return (line["decision"], line["outcome"]) if right else ("wrong", json.dumps(line))

    def outcomes(self) -> Counter[str]:
        """How many asks ended in which way."""
        counts: Counter[str] = Counter()
        for ask in self.asks:
            if ask.answer is None:
                continue
            if ask.answer.outcome is Outcome.REFUSED:
                _, kind = SENTENCES.get(ask.answer.sentence, (0, "another sentence"))
                counts[f"{kind}: {ask.answer.sentence}"] += 1
            else:
                counts[ask.answer.outcome.value] += 1
        return counts


def _is_of(answer: Answer, pod: _Pod) -> bool:
    """Whether it is the pod of a start that succeeded."""
    return answer.outcome is Outcome.STARTED and any(
        line["pod"]["uid"] == pod.uid for line in answer.lines if line["pod"]
    )
