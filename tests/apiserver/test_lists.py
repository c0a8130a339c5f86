"""The watch cache on the real server, on one that streams lists and on one that does not.

Of Kubernetes 1.27 to 1.34, only 1.32 and 1.34 stream them unless told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.apiserver.cases import binding
from tests.apiserver.cluster import RBAC, RealCluster, documents_of, until
from tests.apiserver.privileges import requests_of, used
from workspace_managers.kube import cache as module
from workspace_managers.kube.cache import WatchCache
from workspace_managers.kube.client import Kube

LOG = logging.getLogger("lists-test")
NAME = "analyticsworkspacebindings.xlscsde.nhs.uk"


def keep(raw: Mapping[str, Any]) -> tuple[str, str]:
    return raw["metadata"]["name"], raw["spec"]["username"]


def keys(one: tuple[str, str]) -> Iterable[str]:
    return one[1:]


@pytest.mark.parametrize(
    ("flags", "verbs"),
    [
        pytest.param((), {"watch"}, id="streamed"),
        pytest.param(("--feature-gates=WatchList=false",), {"list", "watch"}, id="in pages"),
    ],
)
async def test_list_and_what_follows_it(
    own_cluster: RealCluster, flags: tuple[str, ...], verbs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no more rights than `image/rbac.yaml` gives."""
    del own_cluster  # it only says that the server may be one of ours
    monkeypatch.setattr(module, "PAGE_OBJECTS", 3)
    async with RealCluster(flags=flags) as cluster, asyncio.timeout(60):
        path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{cluster.namespace}/analyticsworkspacebindings"
        for number in range(7):
            await cluster.call("POST", path, binding(f"b{number}", username="alice"))
        account: dict[str, Any] = {"kind": "ServiceAccount", "metadata": {"name": "hub"}}
        token = await cluster.account_token("hub", [account, *documents_of(RBAC)])
        kube = Kube(cluster.namespace, cluster.kubeconfig(token=token))
        cache = WatchCache(kube, path, keep=keep, keys=keys, log=LOG)
        try:
            assert sorted(await cache.by_key("alice")) == [(f"b{number}", "alice") for number in range(7)]
            await cluster.call("DELETE", f"{path}/b0")
            await cluster.call("POST", path, binding("b7", username="bob"))

            async def followed() -> bool:
                return await cache.get("b0") is None and await cache.keys_count("bob") == 1

            await until(followed)
            assert len(cache) == 7
            assert (cache.faults, cache.relists, cache.skipped) == (0, 0, 0)
        finally:
            await cache.close()
            await kube.close()
        asked = used(requests_of(cluster.audit_log, f"system:serviceaccount:{cluster.namespace}:hub"))
        assert asked == {f"{verb} {NAME}" for verb in verbs}
