"""Where a workspace may live, and that its pod and its claims are there and nowhere else (S9)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import ALICE, TODAY, shared, volume, workspace
from workspace_managers import AccessDenied, BackendUnavailable, Policy, Settings
from workspace_managers.kube.claims import OWNER_ANNOTATION, ensure_claims
from workspace_managers.kube.client import ApiError, Kube
from workspace_managers.kube.namespaces import ALLOWED, LABEL, may_watch_all, require_allowed

POLICY = Policy(namespaces=("project-*", "kube-*", "default", "hub"))
CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"


@pytest.fixture
async def kube(kube: Kube) -> Kube:
    """A client, with namespaces beside the hub's own; all but one of them carry the label."""
    for name in ("default", "kube-system", "project-one", "project-two", "other"):
        await kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    for name in ("hub", "default", "kube-system", "project-one", "other"):
        await label(kube, name, ALLOWED)
    return kube


async def label(kube: Kube, namespace: str, value: str | None) -> None:
    await kube.merge_patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {LABEL: value}}})


@pytest.mark.parametrize(
    ("namespace", "reason"),
    [
        ("project-two", "its label workspace-managers/workspaces is 'None', not 'allowed'"),
        ("project-three", "it does not exist"),
        ("other", "add it to namespaces"),
        ("default", "the cluster's own"),
        ("kube-system", "the cluster's own"),
        ("kube-none", "the cluster's own"),
        ("hub", "the hub's own"),
    ],
)
async def test_namespace_is_one_that_policy_and_label_allow(kube: Kube, namespace: str, reason: str) -> None:
    """S9: whatever a plugin names, and whatever else is allowed by mistake."""
    await require_allowed(kube, POLICY, "project-one")
    with pytest.raises(AccessDenied, match=reason) as caught:
        await require_allowed(kube, POLICY, namespace)
    assert caught.value.rule == "S9"


@pytest.mark.parametrize("value", [None, "", "denied", "Allowed", "allowed-not"])
async def test_label_that_is_taken_away_closes_it(kube: Kube, value: str | None) -> None:
    await label(kube, "project-one", value)
    with pytest.raises(AccessDenied, match="its label"):
        await require_allowed(kube, POLICY, "project-one")


@pytest.mark.parametrize(
    "changed",
    [{"metadata": {"deletionTimestamp": "2026-06-15T12:00:00Z"}}, {"status": {"phase": "Terminating"}}],
    ids=["deleted", "terminating"],
)
async def test_namespace_that_is_being_deleted_is_closed(
    kube: Kube, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = kube.get

    async def get(path: str, query: Any = None) -> dict[str, Any]:
        found = await read(path, query)
        return {**found, **changed, "metadata": {**found["metadata"], **changed.get("metadata", {})}}

    monkeypatch.setattr(kube, "get", get)
    with pytest.raises(AccessDenied, match="it is being deleted"):
        await require_allowed(kube, POLICY, "project-one")


@pytest.mark.parametrize("status", [401, 403, 409])
async def test_what_cannot_be_read_is_not_denied(kube: Kube, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: a role that is missing takes nobody's access away, and opens nothing."""

    async def get(path: str, query: Any = None) -> dict[str, Any]:
        raise ApiError(status, "Forbidden", "no role")

    monkeypatch.setattr(kube, "get", get)
    with pytest.raises(BackendUnavailable):
        await require_allowed(kube, POLICY, "project-one")


async def test_answer_about_another_one_is_none(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    read = kube.get

    async def get(path: str, query: Any = None) -> dict[str, Any]:
        return await read("/api/v1/namespaces/other", query)

    monkeypatch.setattr(kube, "get", get)
    with pytest.raises(BackendUnavailable, match="answered with something else"):
        await require_allowed(kube, POLICY, "project-one")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([True] * 4, True),
        ([True, True, True, False], False),
        ([True, False], False),
        ([False], False),
        ([None], False),
        (["true"], False),
        ([ApiError(403, "Forbidden", "")], False),
        ([True, BackendUnavailable("away")], False),
    ],
    ids=repr,
)
async def test_one_watch_for_all_only_where_the_account_may(answers: list[Any], expected: bool) -> None:
    asked: list[Any] = []

    class Answers:
        async def create(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = answers[len(asked)]
            asked.append(body["spec"]["resourceAttributes"])
            if isinstance(answer, Exception):
                raise answer
            return {"status": {"allowed": answer}}

    kube: Any = Answers()
    assert await may_watch_all(kube) is expected
    assert not any("namespace" in each for each in asked)
    if expected:
        assert {(each["resource"], each["verb"]) for each in asked} == {
            *(("pods", "list"), ("pods", "watch"), ("events", "list"), ("events", "watch"))
        }


async def test_claims_of_one_name_are_two(kube: Kube) -> None:
    """S9: each in the namespace of its workspace, with its own owner; nothing is looked at or made in the hub's."""
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})

    async def naming(_claim: str) -> None:
        return None

    for name, namespace in (("cardio", "project-one"), ("hip", "project-two")):
        grant = workspace(name, namespace=namespace)
        volumes = [volume("data", f"/home/jovyan/{name}"), shared()]
        own = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"metadata": {"name": "data", "annotations": {OWNER_ANNOTATION: name}}, "spec": own}
        await kube.create(CLAIMS.format(namespace), body)
        await ensure_claims(kube, settings, grant, volumes, naming, user=ALICE, today=TODAY)
        found = {each["metadata"]["name"] for each in (await kube.get(CLAIMS.format(namespace)))["items"]}
        assert found == {"data", "jupyter-shared"}
    assert (await kube.get(CLAIMS.format("hub")))["items"] == []


def test_namespaces_are_named_as_kubernetes_names_them() -> None:
    """F3: in the facts of one workspace, which is then set aside by name."""
    for name in ("a", "project-1", "a" * 63):
        assert workspace(namespace=name).problem() is None
    for wrong in ("", "A", "a.b", "-a", "a-", "a" * 64, "a/b", 3, ["a"]):
        assert (workspace(namespace=wrong).problem() or "").startswith("namespace: ")
