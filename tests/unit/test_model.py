"""Grants, claims, time and faults in any order, against a model as short as the rules (A1, A3, A4, E1, E4, S2, S6).

Engine, claims and pods are the real ones; backend and Kubernetes API are dictionaries that fail when they are told to.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.factories import pod, shared, workspace
from workspace_managers import (
    HOME,
    AccessDenied,
    ApiError,
    BackendUnavailable,
    Context,
    Settings,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
    engine,
)
from workspace_managers.engine import Answer
from workspace_managers.kube.claims import OWNER_ANNOTATION, OWNER_UID_ANNOTATION
from workspace_managers.timeouts import Timeouts

PEOPLE = st.sampled_from(["alice", "bob"])
NAMES = st.sampled_from(["heart", "lungs"])
BEGIN = date(2026, 6, 1)


class Api:
    """A namespace's claims, with faults: a request that is refused, and one whose answer is lost."""

    namespace = "hub"
    timeouts = Timeouts()

    def __init__(self) -> None:
        self.claims: dict[str, dict[str, Any]] = {}
        self.faults: list[str] = []
        self.written = 0

    def _fail(self, kind: str) -> None:
        if kind in self.faults:
            self.faults.remove(kind)
            raise BackendUnavailable("the API server was told to fail")

    async def get(self, path: str, _query: object = None) -> dict[str, Any]:
        self._fail("read")
        try:
            return copy.deepcopy(self.claims[path.rpartition("/")[2]])
        except KeyError:
            raise ApiError(404, "NotFound", "there is none") from None

    async def create(self, _path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._fail("create")
        name = body["metadata"]["name"]
        if name in self.claims:
            raise ApiError(409, "AlreadyExists", "there is one")
        self.claims[name] = copy.deepcopy(dict(body))
        self._stamp(name)
        self._fail("lost")  # it is there all the same
        return self.claims[name]

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._fail("patch")
        name = path.rpartition("/")[2]
        metadata = self.claims[name]["metadata"]
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ApiError(409, "Conflict", "it was changed")
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **body["metadata"]["annotations"]}
        self._stamp(name)
        return self.claims[name]

    async def items(self, path: str, *, page: int = 0) -> AsyncIterator[dict[str, Any]]:
        self._fail("read")
        for each in self.claims.values() if path.endswith("claims") else ():
            yield copy.deepcopy(each)

    def _stamp(self, name: str) -> None:
        self.written += 1
        self.claims[name]["metadata"] |= {"resourceVersion": str(self.written), "namespace": "hub"}


class Backend(WorkspaceManager):
    """Answers from the model's own facts, or not at all."""

    interface_versions = (1, 1)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.workspaces: dict[str, tuple[str, date]] = {}
        self.grants: dict[tuple[str, str], date] = {}
        self.away = False

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        if self.away:
            raise BackendUnavailable("the backend was told to be away")
        return [
            workspace(name, uid=self.workspaces[name][0], last_day=self.workspaces[name][1], grant_last_day=until)
            for (person, name), until in self.grants.items()
            if person == user.username and name in self.workspaces
        ]

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return [Volume(claim=default_claim(workspace.name), mount_path=f"{HOME}/{workspace.name}"), shared()]

    async def naming(self, claim: str) -> Collection[str] | None:
        if self.away:
            raise BackendUnavailable("the backend was told to be away")
        return [name for name in self.workspaces if default_claim(name) == claim]


class Model(RuleBasedStateMachine):
    """What the rules say, and what the engine does."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.today = BEGIN
        self.api = Api()
        made = Settings.from_environ({"POD_NAMESPACE": "hub"})
        kube: Any = self.api
        clock = lambda: datetime.combine(self.today, datetime.min.time(), UTC) + timedelta(hours=12)  # noqa: E731
        self.plugin = Backend(Context(settings=made, kube=kube, log=logging.getLogger("test.model"), clock=clock))
        self.uids = 0
        # Of each claim, the workspace that it was made for.
        self.owners: dict[str, tuple[str, str]] = {}
        # Servers that run: whose, and of which workspace, its UID included.
        self.running: dict[tuple[str, str], str] = {}

    def teardown(self) -> None:
        self.runner.close()

    # What happens in the world

    @rule(name=NAMES, days=st.integers(0, 40))
    def make(self, name: str, days: int) -> None:
        """Made, or deleted and made anew under its name: another workspace then (S6)."""
        self.uids += 1
        self.plugin.workspaces[name] = (f"uid-{self.uids}", self.today + timedelta(days=days))

    @rule(person=PEOPLE, name=NAMES, days=st.integers(0, 20))
    def study(self, person: str, name: str, days: int) -> None:
        """A workspace that is there, and a grant of it."""
        if name not in self.plugin.workspaces:
            self.make(name, 40)
        self.grant(person, name, days)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.plugin.workspaces.pop(name, None)

    @rule(person=PEOPLE, name=NAMES, days=st.integers(-1, 20))
    def grant(self, person: str, name: str, days: int) -> None:
        self.plugin.grants[person, name] = self.today + timedelta(days=days)

    @rule(person=PEOPLE, name=NAMES)
    def revoke(self, person: str, name: str) -> None:
        self.plugin.grants.pop((person, name), None)

    @rule(days=st.integers(1, 6))
    def wait(self, days: int) -> None:
        self.today += timedelta(days=days)

    @precondition(lambda self: self.running)
    @rule()
    def outage(self) -> None:
        self.plugin.away = True

    @precondition(lambda self: self.plugin.away)
    @rule()
    def recover(self) -> None:
        self.plugin.away = False

    @precondition(lambda self: not self.api.faults)
    @rule(kind=st.sampled_from(["read", "create", "lost", "patch"]))
    def fault(self, kind: str) -> None:
        self.api.faults.append(kind)

    @precondition(lambda self: len(self.api.claims) < 6)
    @rule(name=NAMES)
    def older_claim(self, name: str) -> None:
        """A claim from before this product, without an owner."""
        claim = default_claim(name)
        if claim not in self.api.claims:
            self.api.claims[claim] = {"metadata": {"name": claim, "namespace": "hub"}, "spec": {}, "status": {}}
            self.api._stamp(claim)

    # What people and the hub do

    @rule(person=PEOPLE, name=NAMES)
    def start(self, person: str, name: str) -> None:
        user, faulty = User.identify(person), bool(self.api.faults)
        expected = self.opens(person, name)
        made = dict(self.plugin.workspaces)

        async def make_pod(_grant: Workspace) -> Mapping[str, Any]:
            return pod()

        try:
            provision = self.runner.run(self.plugin.provision(user, name, make_pod))
        except BackendUnavailable:
            assert self.plugin.away or faulty, "unavailable without a reason"
            return
        except AccessDenied:
            assert not self.plugin.away, "an outage reads as a denial"
            assert not expected or self.owned_by_another(name), "denied without a reason"
            return
        assert expected, "started without a grant that is open"
        assert not self.plugin.away
        uid, claim = made[name][0], default_claim(name)
        volumes = provision.pod["spec"]["volumes"]
        mounted = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
        assert mounted == {claim, "jupyter-shared"}
        assert self.owners.setdefault(claim, (name, uid)) == (name, uid), "files of another workspace"
        self.running[person, name] = uid

    @precondition(lambda self: self.plugin.grants)
    @rule(data=st.data())
    def start_what_was_granted(self, data: st.DataObject) -> None:
        self.start(*data.draw(st.sampled_from(sorted(self.plugin.grants))))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def review(self, data: st.DataObject) -> None:
        person, name = data.draw(st.sampled_from(sorted(self.running)))
        uid = self.running[person, name]
        answer = self.runner.run(engine.review(self.plugin, User.identify(person), name, uid)).answer
        if self.plugin.away:
            assert answer is Answer.UNCERTAIN
        else:
            goes_on = self.opens(person, name) and self.plugin.workspaces[name][0] == uid
            assert answer is (Answer.GOES_ON if goes_on else Answer.ENDED)
        if answer is Answer.ENDED:
            del self.running[person, name]

    @rule(person=PEOPLE)
    def form(self, person: str) -> None:
        try:
            shown = self.runner.run(self.plugin.build_form(User.identify(person)))
        except BackendUnavailable:
            assert self.plugin.away
            return
        assert not self.plugin.away, "an outage reads as a list"
        assert {card.slug for card in shown.openable} == {
            name for whom, name in self.plugin.grants if whom == person and self.opens(person, name)
        }

    # The rules, in a line each

    def opens(self, person: str, name: str) -> bool:
        """A1, A2: there is such a workspace, granted to this person, and neither is over."""
        until = self.plugin.grants.get((person, name))
        there = self.plugin.workspaces.get(name)
        return until is not None and there is not None and self.today <= min(until, there[1])

    def owned_by_another(self, name: str) -> bool:
        """S6: whose the claim is, is not the workspace of that name that there is now."""
        annotations = (self.api.claims.get(default_claim(name)) or {"metadata": {}})["metadata"].get(
            "annotations"
        ) or {}
        uid = annotations.get(OWNER_UID_ANNOTATION)
        return uid is not None and uid != self.plugin.workspaces[name][0]

    @invariant()
    def no_claim_changes_hands(self) -> None:
        """S2: whoever owns a claim once owns it for good, and none is gone."""
        for claim, (name, uid) in self.owners.items():
            annotations = self.api.claims[claim]["metadata"]["annotations"]
            assert (annotations[OWNER_ANNOTATION], annotations[OWNER_UID_ANNOTATION]) == (name, uid)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
