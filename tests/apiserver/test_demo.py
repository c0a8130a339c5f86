"""The demo as a guest on a cluster that runs the pods itself; another node of ours stands in for the cluster's."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.apiserver.cluster import GivenCluster, RealCluster
from workspace_managers.devcluster.demo import Cluster, Demo
from workspace_managers.devcluster.guest import GIVEN
from workspace_managers.devcluster.node import NODE_NAME, Node

HUB_HOST = "127.0.0.77"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVE = {"lscsde/datascience-notebook-default:0.1.0": [sys.executable, "-m", "http.server", "--bind", "{ip}", "{port}"]}


async def test_clusters_own_pods_reach_a_hub_that_has_a_password(
    cluster: RealCluster | GivenCluster, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(cluster.kubeconfig()))
    namespace = f"{cluster.namespace}-demo"
    before = await definitions(cluster)
    node = Node(cluster.kubeconfig(), namespace=namespace, root=tmp_path / "elsewhere", images=SERVE)
    there = Cluster(tmp_path / "kubeconfig", namespace, HUB_HOST)
    async with Demo(tmp_path / "state", 0, cluster=there, say=lambda _: None) as demo:
        assert (await cluster.call("GET", f"/api/v1/namespaces/{namespace}"))["metadata"][
            "labels"
        ].items() >= GIVEN.items()
        assert await definitions(cluster) == before
        assert await sign_in(demo, "guessed") == 403
        assert await sign_in(demo, demo.password) == 302
        await node.start()
        try:
            await start(demo, "asthma-cohort")
            (pod,) = (await cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods"))["items"]
        finally:
            await node.stop()
    assert pod["spec"]["schedulerName"] != NODE_NAME
    assert f"http://{HUB_HOST}:" in str(pod["spec"]["containers"][0]["env"])
    assert not list((tmp_path / "state" / "pods").glob("*"))
    await cluster.call("DELETE", f"/api/v1/namespaces/{namespace}")


async def definitions(cluster: RealCluster | GivenCluster) -> dict[str, str]:
    listed = (await cluster.call("GET", DEFINITIONS))["items"]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in listed}


async def sign_in(demo: Demo, password: str) -> int:
    async with aiohttp.ClientSession(demo.url) as http:
        async with http.get("/hub/login") as answer:
            xsrf = answer.cookies["_xsrf"].value
        form = {"username": "alice", "password": password, "_xsrf": xsrf}
        async with http.post("/hub/login", data=form, allow_redirects=False) as answer:
            return answer.status


async def start(demo: Demo, name: str) -> None:
    headers = {"Authorization": f"token {demo.hub_api_token}"}
    async with asyncio.timeout(60), aiohttp.ClientSession(demo.url, headers=headers) as http:
        await http.post("/hub/api/users/alice")
        async with http.post("/hub/api/users/alice/server", json={"profile": name}) as answer:
            assert answer.status in (201, 202), await answer.text()
        while True:
            async with http.get("/hub/api/users/alice") as answer:
                server: dict[str, Any] = (await answer.json())["servers"].get("", {})
            if server.get("ready"):
                return
            assert server.get("pending"), "the start has failed"
            await asyncio.sleep(0.2)
