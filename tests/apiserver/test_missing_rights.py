"""What `workspace-managers doctor` finds on a real API server, with the rights that a hub has, and with fewer."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest

from tests.apiserver.cluster import CHART, RBAC, RealCluster, documents_of
from workspace_managers import Kube, Settings
from workspace_managers.kube.fitness import RIGHTS, fitness, missing_rights

NAMESPACE = "fitness"


@pytest.mark.parametrize("without", [None, "persistentvolumeclaims"])
async def test_rights_are_told_as_the_server_has_them(own_cluster: RealCluster, without: str | None) -> None:
    """Those of the chart's role and ours are enough; and what ours adds is missed where it was not applied."""
    name = f"{NAMESPACE}-{without or 'whole'}"
    await own_cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    documents = copy.deepcopy([*documents_of(CHART), *documents_of(RBAC)])
    for document in documents:
        if document["metadata"]["name"] == "hub-workspaces" and "rules" in document:
            document["rules"] = [rule for rule in document["rules"] if rule["resources"] != [without]]
    token = await own_cluster.account_token("hub", documents, name)
    kube = Kube(name, own_cluster.kubeconfig(token=token))
    settings = Settings.from_environ({"POD_NAMESPACE": name})
    ours = [("xlscsde.nhs.uk", "analyticsworkspaces/status", "patch"), ("xlscsde.nhs.uk", "analyticsworkspaces", "get")]
    try:
        lacking = await missing_rights(kube, [*RIGHTS, *ours])
        fit = await fitness(kube, settings, lambda: datetime.now(UTC))
        late = await fitness(kube, settings, lambda: datetime.now(UTC) - timedelta(hours=1))
    finally:
        await kube.close()
    patch = f"the hub's account may not patch persistentvolumeclaims in namespace '{name}'"
    assert [each.partition(":")[0] for each in lacking] == ([patch] if without else [])
    assert [each.partition(":")[0] for each in fit.problems] == ([patch] if without else [])
    unread = [
        "Whether the StorageClass ",
        "Whether a quota of the namespace is nearly used up is not known, as the hub",
    ]
    assert [each.partition("'")[0] for each in fit.notes] == unread, "a hub may not read them"
    (clock,) = (each for each in late.problems if "clock" in each)
    assert clock.startswith("the hub's clock is 3")
    assert " s behind the API server's" in clock
    assert (await own_cluster.call("GET", f"/api/v1/namespaces/{name}/persistentvolumeclaims"))["items"] == []
