"""Least privilege: what `image/rbac.yaml` gives by itself, and that each fault is seen in an audit log."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.cluster import RBAC, GivenCluster, RealCluster, documents_of
from tests.apiserver.privileges import disagreements, rights

NAMESPACE = "jupyterhub"
WORKSPACES = "analyticsworkspaces.xlscsde.nhs.uk"
BINDINGS = "analyticsworkspacebindings.xlscsde.nhs.uk"
GRANTED = {f"get {WORKSPACES}", f"patch {WORKSPACES}/status", "get secrets"}


async def test_role_gives_what_its_lines_say_and_only_in_its_namespace(cluster: RealCluster | GivenCluster) -> None:
    """By the API server's own answer to the account itself; everybody who signs in may do a little."""
    everybody = await cluster.service_account_token("nobody", [])
    account = {"kind": "ServiceAccount", "metadata": {"name": "hub"}}
    token = await cluster.account_token("hub", [account, *documents_of(RBAC)])
    roles = [document for document in documents_of(RBAC) if document["kind"] == "Role"]
    lines = rights(rule for role in roles for rule in role["rules"])
    for namespace, expected in ((cluster.namespace, lines), ("default", set())):
        assert await may(cluster, token, namespace) - await may(cluster, everybody, namespace) == expected


async def may(cluster: RealCluster | GivenCluster, token: str, namespace: str) -> set[str]:
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = (await cluster.call("POST", path, {"spec": {"namespace": namespace}}, token=token))["status"]
    assert not status["incomplete"]
    paths = {
        f"{verb} {url}"
        for rule in status["nonResourceRules"]
        for verb in rule["verbs"]
        for url in rule["nonResourceURLs"]
    }
    return rights(status["resourceRules"]) | paths


def test_file_is_one_role_that_reads_bindings_and_knows_no_secrets() -> None:
    role, binding = documents_of(RBAC)
    assert (role["kind"], binding["kind"], binding["roleRef"]["name"]) == (
        "Role",
        "RoleBinding",
        role["metadata"]["name"],
    )
    given = rights(role["rules"])
    assert {right for right in given if BINDINGS in right} == {
        f"{verb} {BINDINGS}" for verb in ("get", "list", "watch")
    }
    assert not [right for right in given if "*" in right or "secrets" in right]


def request(verb: str, resource: str, *, code: int = 200, namespace: str = NAMESPACE) -> dict[str, Any]:
    name, _, subresource = resource.partition("/")
    plural, _, group = name.partition(".")
    reference = {"resource": plural, "apiGroup": group, "subresource": subresource, "namespace": namespace}
    return {"verb": verb, "requestURI": "/x", "objectRef": reference, "responseStatus": {"code": code}}


ALL = [request("get", WORKSPACES), request("patch", f"{WORKSPACES}/status")]


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        pytest.param(ALL, [], id="just-so"),
        pytest.param([*ALL, request("get", "secrets")], [], id="of-the-chart"),
        pytest.param(ALL[:1], [f"granted, but never used: patch {WORKSPACES}/status"], id="a-verb-too-many"),
        pytest.param(
            [*ALL, request("patch", WORKSPACES, code=403)],
            [f"refused: patch {WORKSPACES} (/x)", f"used, but not granted: patch {WORKSPACES} (/x)"],
            id="a-verb-too-few",
        ),
        pytest.param(
            [*ALL, request("update", BINDINGS)],
            [f"used, but not granted: update {BINDINGS} (/x)"],
            id="a-binding-written",
        ),
        pytest.param(
            [*ALL, request("get", WORKSPACES, namespace="other")],
            [f"outside the namespace jupyterhub: get {WORKSPACES} (/x)"],
            id="another-namespace",
        ),
        pytest.param(
            [*ALL, {"verb": "get", "requestURI": "/version"}],
            [
                "outside the namespace jupyterhub: get /version (/version)",
                "used, but not granted: get /version (/version)",
            ],
            id="no-object",
        ),
    ],
)
def test_each_fault_is_seen(requests: list[dict[str, Any]], said: list[str]) -> None:
    found = disagreements(requests, granted=GRANTED, to_be_used=GRANTED - {"get secrets"}, namespace=NAMESPACE)
    assert found == said
