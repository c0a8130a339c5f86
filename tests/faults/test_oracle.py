"""The oracle finds each thing that it is there for, and nothing in a run where all was right."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import oracle as judged
from tests.faults.oracle import Answer, Ask, Change, Fact, Oracle, Outcome
from tests.faults.studies import SHARED, binding_name, binding_spec, studies
from workspace_managers import BackendUnavailable
from workspace_managers.access import NOT_YET
from workspace_managers.errors import ClusterRefused, StartFailed
from workspace_managers.hub import waiting
from workspace_managers.hub.refusals import AWAY, TOO_LARGE
from workspace_managers.kube.claims import QUOTA

USER, STUDY = "user-1@example.org", "study-01"
OWN, OTHERS = "jupyter-study-01", "jupyter-study-02"
TODAY = "2026-06-15"
CLAIMS = "persistentvolumeclaims"
BINDINGS = "analyticsworkspacebindings"
WORKSPACES = "analyticsworkspaces"
REQUEST, UID, POD = "0123456789ab", "uid-of-the-pod", "jupyter-user-1"


def claim(owner: str | None, uid: str = "1", storage: str = "10Gi", owner_uid: str | None = None) -> dict[str, Any]:
    annotations = {judged.OWNER: owner} if owner else {}
    annotations |= {judged.OWNER_UID: owner_uid} if owner_uid else {}
    return {
        "metadata": {"uid": uid, "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": storage}}},
    }


def pod(study: str = STUDY, user: str = USER, request: str = REQUEST, uid: str = UID) -> dict[str, Any]:
    mounts = [
        {"name": "own", "mountPath": f"/home/jovyan/{STUDY}", "readOnly": False},
        {"name": "shared", "mountPath": "/home/jovyan/shared", "readOnly": True},
    ]
    return {
        "metadata": {
            "uid": uid,
            "annotations": {judged.USERNAME: user, judged.WORKSPACE: study, judged.START: request},
        },
        "spec": {
            "containers": [{"name": "notebook", "volumeMounts": mounts}],
            "volumes": [
                {"name": "own", "persistentVolumeClaim": {"claimName": OWN}},
                {"name": "shared", "persistentVolumeClaim": {"claimName": SHARED}},
                {"name": "settings", "configMap": {"name": "settings"}},
            ],
        },
    }


def line(decision: str, outcome: str = "allowed", **changes: object) -> str:
    is_form = decision == "form"
    said = {
        "decision": decision,
        "request": REQUEST,
        "user": USER,
        "by": {"hub": "jupyterhub"},
        "server": None if is_form else "",
        "workspace": None if is_form else STUDY,
        "outcome": outcome,
        "rule": "A2" if outcome in judged.WITH_A_RULE else None,
        "pod": None if is_form else {"name": POD, "uid": UID if outcome == "allowed" or decision == "start" else None},
    }
    return json.dumps({**said, **changes})


def refused(status: int, sentence: str, *audit: str) -> Answer:
    return Answer(Outcome.REFUSED, status, sentence, ("pod",), audit)


STARTED = Answer(Outcome.STARTED, 0, "", ("pod",), (line("pod"),))
DENIED = refused(403, judged.NOT_OPEN, line("pod", "denied", pod=None))
UNAVAILABLE = refused(503, BackendUnavailable.default_user_message, line("pod", "unavailable"))
NO_ROOM = refused(503, waiting.ROOM.failed, line("pod", "refused"))
NOT_READY = refused(503, StartFailed.default_user_message, line("pod"), line("start", "failed"))


def told(*audit: str, stages: tuple[str, ...] = ("pod",)) -> Answer:
    return Answer(Outcome.STARTED, 0, "", stages, audit)


class Story:
    """What etcd and the hub tell; a revision and a second pass with each change."""

    def __init__(self) -> None:
        self.oracle = Oracle(studies(), TODAY)
        self.revision = 0

    def change(self, resource: str, name: str, document: dict[str, Any] | None) -> None:
        self.revision += 1
        self.oracle.changed(Change(self.revision, resource, name, document, float(self.revision)))

    def grant(self, user: str = USER, study: str = STUDY, expires: str = "2090-01-01") -> None:
        self.change(BINDINGS, binding_name(user, study), {"metadata": {}, "spec": binding_spec(user, study, expires)})

    def revoke(self) -> None:
        self.change(BINDINGS, binding_name(USER, STUDY), None)

    def make_claims(self) -> None:
        self.change(CLAIMS, OWN, claim(STUDY))
        self.change(CLAIMS, SHARED, claim("shared"))

    def pod(self, document: dict[str, Any] | None = None) -> None:
        self.change("pods", POD, pod() if document is None else document)

    def stop(self) -> None:
        self.change("pods", POD, None)

    def wait(self, seconds: float) -> None:
        self.revision += int(seconds)

    def ask(self, study: str | None = STUDY) -> Ask:
        self.revision += 1
        ask = Ask(USER, study, through_hub=False, asked_revision=self.revision, asked_at=float(self.revision))
        self.oracle.asks.append(ask)
        return ask

    def answer(self, ask: Ask, answer: Answer) -> None:
        self.revision += 1
        ask.answer, ask.answered_at = answer, float(self.revision)

    def start(self, document: dict[str, Any] | None = None, answer: Answer = STARTED) -> None:
        """Somebody with a grant asks, and gets a pod and an answer."""
        self.make_claims()
        self.grant()
        ask = self.ask()
        self.pod(document)
        self.answer(ask, answer)

    def found(self) -> set[Fact]:
        self.oracle.conclude()
        return {fact for fact, found in self.oracle.findings.items() if found}


def test_nothing_is_found_where_all_was_right() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    story.oracle.refused_pods(1)
    for answer in (STARTED, UNAVAILABLE, NO_ROOM):
        ask = story.ask()
        if answer is STARTED:
            story.pod()
        story.answer(ask, answer)
        story.stop()
    story.revoke()
    story.answer(story.ask(), DENIED)
    assert story.found() == set()
    assert story.oracle.outcomes() == {
        "started": 1,
        f"denied: {judged.NOT_OPEN}": 1,
        f"unavailable: {UNAVAILABLE.sentence}": 1,
        f"refused: {waiting.ROOM.failed}": 1,
    }


def spoiled(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(pod())
    change(document["spec"])
    return document


def add_foreign(spec: dict[str, Any]) -> None:
    spec["volumes"].append({"name": "other", "persistentVolumeClaim": {"claimName": OTHERS}})
    spec["containers"].append({"name": "side", "volumeMounts": [{"name": "other", "mountPath": "/x"}]})


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        pytest.param(spoiled(add_foreign), {Fact.FOREIGN, Fact.INEXACT}, id="foreign-claim"),
        pytest.param(
            spoiled(lambda spec: spec["volumes"].append({"name": "node", "hostPath": {"path": "/"}})),
            {Fact.FOREIGN},
            id="folder-of-the-node",
        ),
        pytest.param(spoiled(lambda spec: spec["volumes"].pop(0)), {Fact.INEXACT}, id="own-volume-missing"),
        pytest.param(
            spoiled(lambda spec: spec["containers"][0]["volumeMounts"][1].update(readOnly=False)),
            {Fact.INEXACT},
            id="shared-claim-can-be-written",
        ),
        pytest.param(
            spoiled(lambda spec: spec.update(initContainers=[{"volumeMounts": [{"name": "own", "mountPath": "/y"}]}])),
            {Fact.INEXACT},
            id="mounted-once-more",
        ),
        pytest.param(pod(study="study-02"), {Fact.FOREIGN, Fact.INEXACT, Fact.REVOKED}, id="of-another-workspace"),
    ],
)
def test_pod_with_other_storage_is_found(document: dict[str, Any], facts: set[Fact]) -> None:
    """S1."""
    story = Story()
    story.change(CLAIMS, OTHERS, claim("study-02"))
    story.start(document)
    assert story.found() - {Fact.OWNER} == facts


def test_pod_of_a_workspace_that_may_not_start_is_found() -> None:
    story = Story()
    story.grant(study="grabs")
    ask = story.ask("grabs")
    story.pod(pod(study="grabs"))
    story.answer(ask, told(line("pod", workspace="grabs")))
    assert {Fact.FOREIGN, Fact.INEXACT} <= story.found()


@pytest.mark.parametrize(
    ("document", "fact"),
    [
        pytest.param(claim(STUDY, uid="2"), Fact.TWICE, id="another-uid"),
        pytest.param(None, Fact.LOST, id="deleted"),
        pytest.param(claim(STUDY, storage="1Gi"), Fact.LOST, id="shrunk"),
        pytest.param(claim("study-02"), Fact.OWNER, id="another-owner"),
        pytest.param(claim(None), Fact.OWNER, id="no-owner-any-more"),
    ],
)
def test_claim_that_changed_is_found(document: dict[str, Any] | None, fact: Fact) -> None:
    """S2."""
    story = Story()
    story.make_claims()
    story.change(CLAIMS, OWN, document)
    assert story.found() == {fact}


def test_claim_that_was_made_anew_after_it_was_deleted_is_found() -> None:
    story = Story()
    story.make_claims()
    story.change(CLAIMS, OWN, None)
    story.change(CLAIMS, OWN, claim(STUDY, uid="2"))
    assert story.found() == {Fact.LOST, Fact.TWICE}


def test_claim_that_nobody_should_have_is_found() -> None:
    story = Story()
    story.change(CLAIMS, "claim-user-1", claim(STUDY))
    assert story.found() == {Fact.OWNER}


def test_claim_that_is_adopted_is_right() -> None:
    """S3."""
    story = Story()
    story.change(CLAIMS, "jupyter-made-before", claim(None))
    story.change(CLAIMS, "jupyter-made-before", claim("made-before"))
    assert story.found() == set()


def test_start_after_a_revocation_is_found() -> None:
    """A3."""
    story = Story()
    story.make_claims()
    story.grant()
    story.revoke()
    ask = story.ask()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == {Fact.REVOKED}


def test_start_after_a_binding_ended_is_found() -> None:
    """A1."""
    story = Story()
    story.make_claims()
    story.grant(expires="2026-06-16")
    story.grant(expires="2026-06-15")
    ask = story.ask()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == {Fact.REVOKED}


def test_start_that_was_under_way_when_its_grant_ended_is_right() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    ask = story.ask()
    story.revoke()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == set()


def test_start_of_another_users_grant_is_found() -> None:
    """A2."""
    story = Story()
    story.make_claims()
    story.grant(user="user-11@example.org")
    ask = story.ask()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == {Fact.REVOKED}


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        pytest.param(DENIED, {Fact.STAYED}, id="denied-with-a-pod"),
        pytest.param(UNAVAILABLE, {Fact.STAYED}, id="unavailable-with-a-pod"),
        pytest.param(NOT_READY, {Fact.STAYED, Fact.KIND}, id="not-ready-with-a-pod"),
        pytest.param(
            Answer(Outcome.BROKEN, 0, "KeyError: x", ("pod",), (line("pod"),)), {Fact.KIND, Fact.STAYED}, id="our-fault"
        ),
        pytest.param(refused(500, "Oops", line("pod", "failed")), {Fact.STAYED, Fact.KIND}, id="status"),
        pytest.param(told(line("pod"), line("pod")), {Fact.AUDIT}, id="told-twice"),
        pytest.param(told(line("pod"), stages=("form", "pod")), {Fact.AUDIT}, id="form-not-told"),
        pytest.param(told(line("pod", user="bob")), {Fact.AUDIT}, id="told-of-another"),
        pytest.param(told(line("pod", workspace="study-02")), {Fact.AUDIT}, id="told-of-another-workspace"),
        pytest.param(told(line("pod", server="named")), {Fact.AUDIT}, id="told-of-another-server"),
        pytest.param(told(line("pod", by={"user": "bob"})), {Fact.AUDIT}, id="told-of-another-who-asked"),
        pytest.param(told(line("pod", rule="A2")), {Fact.AUDIT}, id="allowed-by-a-rule-that-refuses"),
        pytest.param(told(line("form", request="f"), line("pod")), {Fact.AUDIT}, id="told-of-a-form-never-shown"),
        pytest.param(
            told(line("pod", "denied", pod={"name": POD, "uid": None})),
            {Fact.AUDIT, Fact.NO_POD, Fact.STAYED},
            id="told-otherwise",
        ),
        pytest.param(
            told(line("pod", pod={"name": POD, "uid": "another"})),
            {Fact.UNTRUE, Fact.NO_POD, Fact.STAYED},
            id="another-uid",
        ),
        pytest.param(told(line("pod"), line("start", "failed")), {Fact.AUDIT}, id="started-and-told-failed"),
    ],
)
def test_answer_that_does_not_agree_is_found(answer: Answer, facts: set[Fact]) -> None:
    story = Story()
    story.start(answer=answer)
    assert story.found() == facts


def test_start_that_was_not_told_of_is_found() -> None:
    story = Story()
    story.start(answer=told())
    assert story.found() == {Fact.AUDIT, Fact.NO_POD, Fact.STAYED}


def test_pod_that_was_allowed_and_never_created_is_found() -> None:
    story = Story()
    story.grant()
    story.answer(story.ask(), refused(503, AWAY, line("pod"), line("start", "unavailable")))
    assert story.found() == {Fact.UNTRUE}


def test_pod_that_was_not_created_has_no_uid() -> None:
    story = Story()
    story.grant()
    story.answer(story.ask(), refused(503, AWAY, line("pod", "unavailable", pod={"name": POD, "uid": UID})))
    assert story.found() == {Fact.UNTRUE}


@pytest.mark.parametrize("seconds", [1.0, judged.REMOVED_SECONDS])
@pytest.mark.parametrize("answer", [UNAVAILABLE, STARTED], ids=["of-a-refused-start", "after-the-pod-was-stopped"])
def test_pod_that_comes_up_after_all_and_is_not_removed_in_time_is_found(answer: Answer, seconds: float) -> None:
    story = Story()
    story.make_claims()
    story.grant()
    ask = story.ask()
    if answer is STARTED:
        story.pod()
    story.answer(ask, answer)
    story.stop()
    story.pod(pod(uid="late"))
    assert story.oracle.unremoved() == [POD]
    story.wait(seconds)
    story.stop()
    assert story.oracle.unremoved() == []
    assert story.found() == ({Fact.STAYED} if seconds >= judged.REMOVED_SECONDS else set())


def test_refusal_by_a_cluster_that_refused_nothing_is_found() -> None:
    story = Story()
    story.grant()
    story.answer(story.ask(), NO_ROOM)
    assert story.found() == {Fact.KIND}


def test_pod_that_was_left_by_a_hub_that_was_killed_is_excused() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    story.answer(story.ask(), UNAVAILABLE)
    story.pod()
    story.oracle.was_killed(float(story.revision + 1))
    assert story.oracle.unremoved() == []
    assert story.found() == set()


def test_pod_that_could_not_be_removed_while_the_api_server_was_away_must_go_all_the_same() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    story.answer(story.ask(), UNAVAILABLE)
    story.pod()
    story.oracle.was_away(float(story.revision), float(story.revision + 20))
    assert story.oracle.unremoved() == [POD]
    story.wait(25)
    story.stop()
    assert story.found() == set()


def test_pod_that_was_gone_before_its_start_was_told_of_is_found() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    ask = story.ask()
    story.pod()
    story.stop()
    story.answer(ask, STARTED)
    assert story.found() == {Fact.NO_POD}


def test_pod_that_made_room_for_another_of_its_start_is_right() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    ask = story.ask()
    story.pod(pod(uid="first"))
    story.stop()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == set()


@pytest.mark.parametrize(("seconds", "found"), [(1.0, set()), (judged.WITHDRAWN_SECONDS, {Fact.STAYED})])
def test_pod_that_came_up_long_after_its_grant_had_ended_is_found(seconds: float, found: set[Fact]) -> None:
    """A3."""
    story = Story()
    story.make_claims()
    story.grant()
    ask = story.ask()
    story.revoke()
    story.wait(seconds)
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == found


@pytest.mark.parametrize(
    ("owner_uid", "found"),
    [
        pytest.param("old", {Fact.INHERITED}, id="of-the-earlier-one"),
        pytest.param("new", set(), id="its-own"),
        pytest.param(None, set(), id="claims-do-not-say"),
    ],
)
def test_files_of_an_earlier_workspace_of_the_name_are_found(owner_uid: str | None, found: set[Fact]) -> None:
    """S6."""
    story = Story()
    story.change(WORKSPACES, STUDY, {"metadata": {"uid": "old"}})
    story.change(CLAIMS, OWN, claim(STUDY, owner_uid=owner_uid))
    story.change(CLAIMS, SHARED, claim("shared"))
    story.change(WORKSPACES, STUDY, None)
    story.change(WORKSPACES, STUDY, {"metadata": {"uid": "new"}})
    story.grant()
    ask = story.ask()
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == found


def test_workspace_that_was_made_anew_while_it_was_started_is_right() -> None:
    """S6."""
    story = Story()
    story.change(WORKSPACES, STUDY, {"metadata": {"uid": "old"}})
    story.change(CLAIMS, OWN, claim(STUDY, owner_uid="old"))
    story.change(CLAIMS, SHARED, claim("shared"))
    story.grant()
    ask = story.ask()
    story.change(WORKSPACES, STUDY, None)
    story.change(WORKSPACES, STUDY, {"metadata": {"uid": "new"}})
    story.pod()
    story.answer(ask, STARTED)
    assert story.found() == set()


@pytest.mark.parametrize(("again", "found"), [(True, set()), (False, {Fact.DENIED})])
def test_workspace_that_was_made_anew_may_be_refused_its_storage(again: bool, found: set[Fact]) -> None:
    """S6."""
    story = Story()
    story.change(WORKSPACES, STUDY, {"metadata": {"uid": "old"}})
    if again:
        story.change(WORKSPACES, STUDY, {"metadata": {"uid": "new"}})
    story.grant()
    story.wait(judged.HEARD_SECONDS)
    story.answer(story.ask(), refused(403, judged.STORAGE, line("pod", "denied", rule="S6")))
    assert story.found() == found


@pytest.mark.parametrize(
    ("study", "status", "sentence", "found"),
    [
        pytest.param(STUDY, 403, judged.NOT_OPEN, {Fact.DENIED}, id="denied-what-is-open"),
        pytest.param(STUDY, 403, "No.", {Fact.SENTENCE, Fact.AUDIT}, id="unknown-sentence"),
        pytest.param(STUDY, 403, UNAVAILABLE.sentence, {Fact.SENTENCE}, id="denied-with-the-others-sentence"),
        pytest.param(STUDY, 503, judged.NOT_OPEN, {Fact.SENTENCE}, id="unavailable-with-the-others-sentence"),
        pytest.param(STUDY, 503, UNAVAILABLE.sentence, set(), id="unavailable"),
        pytest.param(STUDY, 503, QUOTA, set(), id="no-room-for-storage"),
        pytest.param(STUDY, 503, AWAY, set(), id="away"),
        pytest.param(STUDY, 503, waiting.ROOM.failed, set(), id="no-room"),
        pytest.param(STUDY, 503, ClusterRefused.default_user_message, set(), id="refused-by-the-cluster"),
        pytest.param(STUDY, 403, waiting.ROOM.failed, {Fact.SENTENCE}, id="no-room-as-a-denial"),
        pytest.param(STUDY, 503, TOO_LARGE, {Fact.SENTENCE}, id="not-too-large"),
        pytest.param("too-large", 503, TOO_LARGE, set(), id="too-large"),
        pytest.param("too-large", 500, TOO_LARGE, {Fact.KIND}, id="too-large-and-counted"),
        pytest.param(None, 400, judged.NOT_OPEN, {Fact.SENTENCE}, id="nothing-chosen-but-another-sentence"),
        pytest.param(None, 403, judged.NOTHING_CHOSEN, {Fact.SENTENCE}, id="nothing-chosen-but-another-status"),
        pytest.param(None, 400, judged.NOTHING_CHOSEN, set(), id="nothing-chosen"),
        pytest.param(STUDY, 400, judged.NOTHING_CHOSEN, {Fact.DENIED}, id="something-was-chosen"),
        pytest.param("no-such", 403, judged.NOT_OPEN, set(), id="unknown-workspace"),
        pytest.param("no-such", 403, NOT_YET, {Fact.SENTENCE}, id="unknown-workspace-told-of"),
        pytest.param("study-02", 403, judged.NOT_OPEN, set(), id="not-theirs"),
        pytest.param("to-come", 403, NOT_YET, set(), id="not-yet"),
        pytest.param("to-come", 403, judged.NOT_OPEN, {Fact.SENTENCE}, id="not-yet-but-another-sentence"),
        pytest.param("ended", 403, judged.NOT_OPEN, set(), id="ended"),
        pytest.param("grabs", 403, judged.STORAGE, set(), id="storage-of-another"),
    ],
)
def test_sentence_of_each_refusal(study: str | None, status: int, sentence: str, found: set[Fact]) -> None:
    """A4."""
    story = Story()
    for mine in (STUDY, "to-come", "ended", "grabs", "too-large"):
        story.grant(study=mine)
    story.wait(judged.HEARD_SECONDS)
    story.oracle.refused_pods(1)
    _, outcome = judged.SENTENCES.get(sentence, (0, "denied"))
    audit = line("pod", outcome, workspace=study, pod=None)
    story.answer(story.ask(study), refused(status, sentence, audit))
    assert story.found() == found


def test_denial_of_what_was_granted_just_now_is_right() -> None:
    """The cache need not have heard of it."""
    story = Story()
    story.grant()
    story.answer(story.ask(), DENIED)
    assert story.found() == set()


def test_pod_that_nobody_asked_for_is_found() -> None:
    story = Story()
    story.make_claims()
    story.grant()
    story.pod()
    assert story.found() == {Fact.UNASKED}


def test_start_without_a_pod_is_found() -> None:
    story = Story()
    story.grant()
    story.answer(story.ask(), STARTED)
    assert story.found() == {Fact.NO_POD, Fact.UNTRUE}


def test_ask_without_an_answer_is_found() -> None:
    story = Story()
    story.ask()
    assert story.found() == {Fact.KIND}


@pytest.mark.parametrize(("away", "found"), [(True, set()), (False, {Fact.KIND})])
def test_server_may_fail_to_come_up_while_the_api_server_is_away(away: bool, found: set[Fact]) -> None:
    story = Story()
    if away:
        story.oracle.was_away(0.0, 2.0)
    story.make_claims()
    story.grant()
    ask = story.ask()
    story.pod()
    story.answer(ask, NOT_READY)
    story.stop()
    assert story.found() == found


def test_recovery_that_took_too_long_is_found() -> None:
    story = Story()
    story.oracle.recovered("API server", judged.RECOVERY_SECONDS)
    assert story.found() == set()
    story.oracle.recovered("API server", judged.RECOVERY_SECONDS + 1)
    assert story.found() == {Fact.RECOVERY}


@pytest.mark.parametrize(
    ("rss", "sockets", "found"),
    [(0, 0, set()), (50_000, 0, {Fact.MEMORY}), (0, 1, {Fact.MEMORY})],
    ids=["flat", "memory-grows", "sockets-grow"],
)
def test_growth_of_the_longest_life_is_found(rss: int, sockets: int, found: set[Fact]) -> None:
    story = Story()
    story.oracle.lived([(1, 1), (10**9, 10**9)])
    story.oracle.lived([(10**7 + rss * number, 50 + sockets * number) for number in range(100)])
    assert story.found() == found
