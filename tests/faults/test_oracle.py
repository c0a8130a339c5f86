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
from workspace_managers.kube.claims import QUOTA

USER, STUDY = "user-1@example.org", "study-01"
OWN, OTHERS = "jupyter-study-01", "jupyter-study-02"
TODAY = "2026-06-15"
CLAIMS = "persistentvolumeclaims"
BINDINGS = "analyticsworkspacebindings"


def claim(owner: str | None, uid: str = "1", storage: str = "10Gi") -> dict[str, Any]:
    annotations = {judged.OWNER: owner} if owner else {}
    return {
        "metadata": {"uid": uid, "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": storage}}},
    }


def pod(study: str = STUDY, user: str = USER) -> dict[str, Any]:
    mounts = [
        {"name": "own", "mountPath": f"/home/jovyan/{STUDY}", "readOnly": False},
        {"name": "shared", "mountPath": "/home/jovyan/shared", "readOnly": True},
    ]
    return {
        "metadata": {"annotations": {judged.USERNAME: user, judged.WORKSPACE: study}},
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
    rule = None if outcome == "allowed" else "A2"
    return json.dumps(
        {"decision": decision, "user": USER, "workspace": STUDY, "outcome": outcome, "rule": rule, **changes}
    )


STARTED = Answer(Outcome.STARTED, 0, "", ("options", "pod"), (line("options"), line("pod")))
DENIED = Answer(Outcome.REFUSED, 403, judged.NOT_OPEN, ("options",), (line("options", "denied"),))
UNAVAILABLE = Answer(
    Outcome.REFUSED,
    503,
    BackendUnavailable.default_user_message,
    ("options", "pod"),
    (line("options"), line("pod", "unavailable")),
)


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
        self.change("pods", "jupyter-user-1", pod() if document is None else document)

    def ask(self, study: str | None = STUDY) -> Ask:
        self.revision += 1
        ask = Ask(USER, study, through_hub=False, asked_revision=self.revision, asked_at=float(self.revision))
        self.oracle.asks.append(ask)
        return ask

    def answer(self, ask: Ask, answer: Answer) -> None:
        self.revision += 1
        ask.answer, ask.answered_at, ask.closed_revision = answer, float(self.revision), self.revision

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
    for answer in (STARTED, UNAVAILABLE, STARTED):
        ask = story.ask()
        if answer is STARTED:
            story.pod()
        story.answer(ask, answer)
        story.change("pods", "jupyter-user-1", None)
    story.revoke()
    story.answer(story.ask(), DENIED)
    assert story.found() == set()
    assert story.oracle.outcomes() == {
        "started": 2,
        f"denied: {judged.NOT_OPEN}": 1,
        f"unavailable: {UNAVAILABLE.sentence}": 1,
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
    story.answer(ask, STARTED)
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
        pytest.param(DENIED, {Fact.UNASKED}, id="refused-with-a-pod"),
        pytest.param(Answer(Outcome.BROKEN, 0, "KeyError: x"), {Fact.KIND}, id="a-fault-of-ours"),
        pytest.param(
            Answer(Outcome.REFUSED, 500, "Oops", ("pod",), ()), {Fact.UNASKED, Fact.KIND, Fact.AUDIT}, id="status"
        ),
        pytest.param(
            Answer(Outcome.NO_SERVER, 0, "", STARTED.stages, STARTED.audit), {Fact.KIND}, id="server-was-there"
        ),
        pytest.param(
            Answer(Outcome.STARTED, 0, "", STARTED.stages, (*STARTED.audit, line("pod"))), {Fact.AUDIT}, id="told-twice"
        ),
        pytest.param(Answer(Outcome.STARTED, 0, "", STARTED.stages, STARTED.audit[:1]), {Fact.AUDIT}, id="not-told"),
        pytest.param(
            Answer(Outcome.STARTED, 0, "", STARTED.stages, (line("options"), line("pod", user="bob"))),
            {Fact.AUDIT},
            id="told-of-another",
        ),
        pytest.param(
            Answer(Outcome.STARTED, 0, "", STARTED.stages, (line("options"), line("pod", "denied"))),
            {Fact.AUDIT},
            id="told-otherwise",
        ),
    ],
)
def test_answer_that_does_not_agree_is_found(answer: Answer, facts: set[Fact]) -> None:
    story = Story()
    story.start(answer=answer)
    assert story.found() == facts


@pytest.mark.parametrize(
    ("study", "status", "sentence", "found"),
    [
        pytest.param(STUDY, 403, judged.NOT_OPEN, {Fact.DENIED}, id="denied-what-is-open"),
        pytest.param(STUDY, 403, "No.", {Fact.SENTENCE}, id="unknown-sentence"),
        pytest.param(STUDY, 403, UNAVAILABLE.sentence, {Fact.SENTENCE}, id="denied-with-the-others-sentence"),
        pytest.param(STUDY, 503, judged.NOT_OPEN, {Fact.SENTENCE}, id="unavailable-with-the-others-sentence"),
        pytest.param(STUDY, 503, UNAVAILABLE.sentence, set(), id="unavailable"),
        pytest.param(STUDY, 503, QUOTA, set(), id="no-room"),
        pytest.param(None, 403, judged.NOT_OPEN, {Fact.SENTENCE}, id="nothing-chosen-but-another-sentence"),
        pytest.param(None, 403, judged.NOTHING_CHOSEN, set(), id="nothing-chosen"),
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
    for mine in (STUDY, "to-come", "ended", "grabs"):
        story.grant(study=mine)
    story.revision += int(judged.HEARD_SECONDS)
    outcome = "denied" if status == 403 else "unavailable"
    audit = (line("options", outcome, workspace=study),)
    story.answer(story.ask(study), Answer(Outcome.REFUSED, status, sentence, ("options",), audit))
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
    assert story.found() == {Fact.NO_POD}


def test_ask_without_an_answer_is_found() -> None:
    story = Story()
    story.ask()
    assert story.found() == {Fact.KIND}


def test_pod_may_be_missing_while_the_api_server_is_away() -> None:
    story = Story()
    story.oracle.was_away(0.0, 2.0)
    story.grant()
    story.answer(story.ask(), Answer(Outcome.NO_SERVER, 0, "", STARTED.stages, STARTED.audit))
    assert story.found() == set()


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
