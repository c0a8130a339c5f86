"""What `workspace-managers doctor` finds of the cluster itself, before anybody cannot start a server for it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workspace_managers import ApiError, BackendUnavailable, Settings
from workspace_managers.kube.fitness import REVIEWS, RIGHTS, fitness, missing_rights

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SETTINGS = Settings.from_environ({"POD_NAMESPACE": "hub"})
HOMES = Settings.from_environ(
    {"POD_NAMESPACE": "hub", "WORKSPACE_HOME": "claim", "WORKSPACE_HOME_STORAGE_CLASS": "homes"}
)


class Cluster:
    """An API server that answers as a test says."""

    namespace = "hub"

    def __init__(self) -> None:
        self.lacking: set[tuple[str, str]] = set()
        self.classes: dict[str, int] = {}
        self.refusal: Exception | None = None
        self.review_fails: Exception | None = None
        self.clock = NOW
        self.asked: list[dict[str, Any]] = []
        self.read: list[str] = []
        self.quotas: list[dict[str, Any]] = []

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == REVIEWS
        if self.review_fails:
            raise self.review_fails
        attributes = body["spec"]["resourceAttributes"]
        self.asked.append(attributes)
        return {"status": {"allowed": (attributes["resource"], attributes["verb"]) not in self.lacking}}

    async def get(self, path: str) -> dict[str, Any]:
        self.read.append(path)
        if path.endswith("/resourcequotas"):
            return {"items": self.quotas}
        status = self.classes.get(path.rpartition("/")[2], 200)
        if status != 200:
            raise ApiError(status, "Reason", "said so")
        return {}

    async def request(self, method: str, path: str, *, query: Any, body: Any) -> dict[str, Any]:
        assert (method, query) == ("POST", {"dryRun": "All"})
        if self.refusal:
            raise self.refusal
        return {"metadata": {"creationTimestamp": self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")}}


async def found(cluster: Any, settings: Settings = SETTINGS) -> tuple[tuple[str, ...], tuple[str, ...]]:
    fit = await fitness(cluster, settings, lambda: NOW)
    return fit.problems, fit.notes


async def test_cluster_as_it_should_be_has_no_problem() -> None:
    cluster = Cluster()
    assert await found(cluster) == ((), ())
    ours = {(each["group"], each["resource"], each["verb"]) for each in cluster.asked if each.get("namespace") == "hub"}
    assert ours == {*RIGHTS, ("", "resourcequotas", "list")}


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ({"requests.storage": "90Gi", "pods": "1"}, ["'90Gi' of '100Gi' of 'requests.storage'"]),
        ({"requests.storage": "89Gi", "pods": "10"}, ["'10' of '10' of 'pods'"]),
        ({"requests.storage": "102400Mi", "pods": "9"}, ["'102400Mi' of '100Gi'", "'9' of '10' of 'pods'"]),
        ({}, []),
    ],
)
async def test_quota_that_is_nearly_used_up_is_told(used: dict[str, str], told: list[str]) -> None:
    """Before somebody's start is refused for it."""
    cluster = Cluster()
    status = {"hard": {"requests.storage": "100Gi", "pods": "10"}, "used": used}
    cluster.quotas = [{"metadata": {"name": "all"}, "status": status}, {"metadata": {"name": "new"}}]
    problems, notes = await found(cluster)
    assert (len(problems), notes) == (len(told), ())
    for problem, part in zip(problems, told, strict=True):
        assert problem.startswith("the quota 'all' has ")
        assert part in problem


async def test_quota_that_may_not_be_read_is_a_note() -> None:
    """The hub needs no right to it, and a request that is refused is somebody's alarm."""
    cluster = Cluster()
    cluster.lacking = {("resourcequotas", "list")}
    problems, (note,) = await found(cluster)
    assert (problems, cluster.read) == ((), ["/apis/storage.k8s.io/v1/storageclasses/jupyter-default"])
    assert "may not list quotas" in note


@pytest.mark.parametrize(("resource", "verb"), [(resource, verb) for _, resource, verb in RIGHTS])
async def test_each_right_that_is_missing_is_told_with_what_to_do(resource: str, verb: str) -> None:
    """A hub whose account may not patch claims adopts none, and says so at somebody's start."""
    cluster = Cluster()
    cluster.lacking = {(resource, verb)}
    ((problem,), notes) = await found(cluster)
    assert problem.startswith(f"the hub's account may not {verb} {resource} in namespace 'hub': apply image/rbac.yaml")
    assert notes == ()


async def test_subresource_is_asked_for_as_that() -> None:
    cluster: Any = Cluster()
    cluster.lacking = {("studies", "patch")}
    (problem,) = await missing_rights(cluster, [("example.org", "studies/status", "patch")])
    assert problem.startswith("the hub's account may not patch studies/status.example.org ")
    assert cluster.asked[0]["subresource"] == "status"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": {"jupyter-default": 404}}, "'jupyter-default' is not there, .* or set DEFAULT_STORAGE_CLASS"),
        ({"classes": {"homes": 404}}, "'homes' is not there, .* or set WORKSPACE_HOME_STORAGE_CLASS"),
        ({"refusal": ApiError(403, "Forbidden", "quota")}, "a new claim would not be taken: .*quota"),
        ({"refusal": ApiError(422, "Invalid", "modes")}, "a new claim would not be taken: .*modes"),
        ({"clock": NOW + timedelta(minutes=5)}, "the hub's clock is 300 s behind the API server's"),
        ({"clock": NOW - timedelta(hours=1)}, "the hub's clock is 3600 s ahead of the API server's"),
    ],
    ids=["class", "class-of-homes", "quota", "invalid", "behind", "ahead"],
)
async def test_what_is_wrong_is_a_problem(change: dict[str, Any], problem: str) -> None:
    cluster = Cluster()
    vars(cluster).update(change)
    problems, notes = await found(cluster, HOMES)
    assert notes == ()
    assert [each for each in problems if not re.search(problem, each)] == []
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"classes": {"jupyter-default": 403}}, "Whether the StorageClass 'jupyter-default' is there is not known"),
        ({"review_fails": ApiError(404, "NotFound", "")}, "Which rights the hub's account has is not known"),
        ({"refusal": ApiError(501, "NotImplemented", "")}, "Whether a new claim would be taken is not known"),
    ],
    ids=["class", "rights", "claim"],
)
async def test_what_is_not_told_is_no_problem(change: dict[str, Any], note: str) -> None:
    """A hub may have no right to know it, and needs none."""
    cluster = Cluster()
    vars(cluster).update(change)
    problems, (said, *_) = await found(cluster)
    assert problems == ()
    assert said.startswith(note)


async def test_hub_asks_for_nothing_that_it_may_not_read() -> None:
    cluster = Cluster()
    cluster.lacking = {("storageclasses", "get")}
    cluster.classes = {"jupyter-default": 500}
    problems, (said,) = await found(cluster)
    assert problems == ()
    assert said.endswith("is not known, as the hub's account may not read it")


async def test_small_differences_of_clocks_are_usual() -> None:
    cluster = Cluster()
    cluster.clock = NOW - timedelta(seconds=20)
    assert await found(cluster) == ((), ())


async def test_outage_is_no_answer() -> None:
    cluster = Cluster()
    cluster.refusal = BackendUnavailable("away")
    with pytest.raises(BackendUnavailable):
        await found(cluster)
