"""Claims on the real API server, with the rights that the hub has there (S2, S3, S6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.apiserver.cluster import RealCluster
from tests.factories import ALICE, TODAY, volume, workspace
from workspace_managers import Kube, Policy, Settings, StorageRefused
from workspace_managers.kube.claims import OWNER_ANNOTATION, OWNER_UID_ANNOTATION, ensure_claims

SETTINGS = Settings.from_environ({"POD_NAMESPACE": "unused"})
NAMESPACE = "claims"
SPEC: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}


class Hub:
    """Starts of workspaces whose own claim is the default one."""

    def __init__(self, kube: Kube, cluster: RealCluster) -> None:
        self.kube = kube
        self.cluster = cluster
        self.claims = f"/api/v1/namespaces/{kube.namespace}/persistentvolumeclaims"

    async def put(self, name: str, **changes: Any) -> None:
        body = {"metadata": {"name": name, **changes.pop("metadata", {})}, "spec": {**SPEC, **changes}}
        await self.cluster.call("POST", self.claims, body)

    async def ensure(self, name: str, uid: str | None = None, policy: Policy | None = None) -> dict[str, str]:
        """The annotations of its claim."""

        async def naming(_claim: str) -> Collection[str]:
            return (name,)

        settings = replace(SETTINGS, policy=policy or SETTINGS.policy)
        claim = f"jupyter-{name}"
        grant = workspace(name, uid=uid)
        await ensure_claims(self.kube, settings, grant, [volume(claim)], naming, user=ALICE, today=TODAY)
        found: dict[str, str] = (await self.kube.get(f"{self.claims}/{claim}"))["metadata"]["annotations"]
        return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hub(own_cluster: RealCluster) -> AsyncIterator[Hub]:
    await own_cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    kube = Kube(NAMESPACE, own_cluster.kubeconfig(token=await own_cluster.hub_token(NAMESPACE)))
    yield Hub(kube, own_cluster)
    await kube.close()


async def test_new_workspace_under_an_old_name_does_not_get_the_old_files(hub: Hub) -> None:
    """S6: and a claim from before gets the UID."""
    await hub.put("jupyter-again", metadata={"annotations": {OWNER_ANNOTATION: "again"}})
    expected = {OWNER_ANNOTATION: "again", OWNER_UID_ANNOTATION: "one"}
    assert (await hub.ensure("again", "one")).items() >= expected.items()
    for uid in ("two", None):
        with pytest.raises(StorageRefused, match="another workspace of the name 'again', with the UID 'one'"):
            await hub.ensure("again", uid)
    assert (await hub.ensure("again", "one")).items() >= expected.items()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("clone", {"dataSource": {"kind": "PersistentVolumeClaim", "name": "jupyter-other"}}, id="clone"),
        pytest.param("bound", {"volumeName": "pv-of-other"}, id="chosen-volume"),
    ],
)
async def test_claim_with_the_files_of_another_is_adopted_by_policy_alone(
    hub: Hub, name: str, changes: dict[str, Any]
) -> None:
    """S3: in the fields that the API server itself gives it."""
    await hub.put(f"jupyter-{name}", **changes)
    with pytest.raises(StorageRefused, match=r"has no owner, and .*\(spec\.(dataSource|volumeName)") as caught:
        await hub.ensure(name)
    assert caught.value.rule == "S3"
    assert (await hub.ensure(name, policy=Policy(claims=("jupyter-*",))))[OWNER_ANNOTATION] == name


async def test_claim_that_another_pod_mounts_is_not_adopted(hub: Hub) -> None:
    """S3: the chart's role lets the hub list pods."""
    await hub.put("jupyter-mounted")
    pods = f"/api/v1/namespaces/{hub.kube.namespace}/pods"
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "jupyter-mounted"}}]
    spec = {"containers": [{"name": "main", "image": "x"}], "volumes": volumes}
    await hub.cluster.call("POST", pods, {"metadata": {"name": "etl-of-another"}, "spec": spec})
    with pytest.raises(StorageRefused, match="pod 'etl-of-another' mounts it"):
        await hub.ensure("mounted")
    await hub.cluster.call("DELETE", f"{pods}/etl-of-another", {"gracePeriodSeconds": 0})
    assert (await hub.ensure("mounted"))[OWNER_ANNOTATION] == "mounted"
