"""The watch cache on the real server, on one that streams lists and on one that does not.

Of Kubernetes 1.27 to 1.34, only 1.32 and 1.34 stream them unless told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.apiserver.cases import binding
from tests.apiserver.cluster import RBAC, Cluster, RealCluster, documents_of, until
from tests.apiserver.privileges import requests_of, used
from workspace_managers.contract.proxy import FaultProxy, reset
from workspace_managers.kube import cache as module
from workspace_managers.kube.cache import WatchCache
from workspace_managers.kube.client import Kube
from workspace_managers.timeouts import Timeouts

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
        requests = requests_of(cluster.audit_log, f"system:serviceaccount:{cluster.namespace}:hub")
        # Besides, each watch is compared with the present version, which is a list of nothing.
        asked = used(request for request in requests if "fieldSelector" not in request["requestURI"])
        assert asked == {f"{verb} {NAME}" for verb in verbs}


@pytest.mark.parametrize("elsewhere", [0, 3], ids=["nothing was written", "others were written"])
@pytest.mark.parametrize("missed", [0, 2], ids=["nothing missed", "events missed"])
async def test_watch_that_is_opened_again_vouches_soon_and_for_everything(
    cluster: Cluster, elsewhere: int, missed: int
) -> None:
    """Rule A3, without the grace and without a list: within the seconds of a witness, on a quiet collection too."""
    namespace = f"lists-{elsewhere}-{missed}-{secrets.token_hex(3)}"
    await cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{namespace}/analyticsworkspacebindings"
    for number in range(3):
        await cluster.call("POST", path, binding(f"b{number}", username="alice"))
    proxy = FaultProxy(cluster.kubeconfig())
    await proxy.start()
    # Only what is certain counts, however soon it is.
    kube = Kube(namespace, proxy.kubeconfig(namespace), timeouts=Timeouts(grace=0.0, patience=30.0, first_list=30.0))
    cache = WatchCache(kube, path, keep=keep, keys=keys, log=LOG)
    try:
        assert await cache.keys_count("alice") == 3
        with proxy.inject(reset, concerns=lambda seen: seen.is_watch):
            await proxy.cut_watches()
            for number in range(missed):
                await cluster.call("DELETE", f"{path}/b{number}")
            for number in range(elsewhere):
                body = {"metadata": {"name": f"elsewhere-{number}"}}
                await cluster.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        assert await cache.keys_count("alice") == 3 - missed
        assert cache.relists == 0
    finally:
        await cache.close()
        await kube.close()
        await proxy.stop()
