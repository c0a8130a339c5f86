"""The real server as a fixture: it starts, gives out tokens of one role, keeps an audit log, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apiserver.cluster import BUILD, ClusterError, GivenCluster, RealCluster, Refused, until
from workspace_managers.kube.client import ApiError, Kube

RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]


async def test_it_is_the_version_that_go_mod_names(own_cluster: RealCluster) -> None:
    if os.environ.get("KUBEBUILDER_ASSETS"):
        pytest.skip("the programs are those of KUBEBUILDER_ASSETS")
    version = await own_cluster.call("GET", "/version")
    assert f"k8s.io/kubernetes {version['gitVersion']} " in BUILD.with_name("go.mod").read_text()
    assert (version["major"], version["minor"]) == tuple(version["gitVersion"].removeprefix("v").split(".")[:2])


async def test_custom_resources_are_established_in_the_hubs_namespace(cluster: RealCluster | GivenCluster) -> None:
    for plural in ("analyticsworkspaces", "analyticsworkspacebindings"):
        path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{cluster.namespace}/{plural}"
        assert (await cluster.call("GET", path))["items"] == []


async def test_token_of_a_service_account_may_do_what_its_role_says(cluster: RealCluster | GivenCluster) -> None:
    token = await cluster.service_account_token("lister", RULES)
    kube = Kube(cluster.namespace, cluster.kubeconfig(token=token))
    try:
        pods = f"/api/v1/namespaces/{cluster.namespace}/pods"
        assert (await kube.get(pods))["kind"] == "PodList"
        for path in (f"/api/v1/namespaces/{cluster.namespace}/secrets", "/api/v1/pods"):
            with pytest.raises(ApiError) as caught:
                await kube.get(path)
            assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
            assert f"system:serviceaccount:{cluster.namespace}:lister" in str(caught.value)
    finally:
        await kube.close()


async def test_token_that_was_never_given_out_is_refused(cluster: RealCluster | GivenCluster) -> None:
    with pytest.raises(Refused) as caught:
        await cluster.call("GET", "/api/v1/namespaces", token="guessed")
    assert caught.value.status == 401


async def test_audit_log_has_each_request_and_who_sent_it(own_cluster: RealCluster) -> None:
    token = await own_cluster.service_account_token("audited", RULES)
    await own_cluster.call("GET", f"/api/v1/namespaces/{own_cluster.namespace}/pods?limit=7", token=token)
    user = f"system:serviceaccount:{own_cluster.namespace}:audited"
    found: list[tuple[str, str, int, str]] = []

    async def logged() -> bool:
        # A request that was refused with 401 is nobody's.
        events = [json.loads(line) for line in own_cluster.audit_log.read_text().splitlines()]
        found[:] = [
            (one["verb"], one["requestURI"], one["responseStatus"]["code"], one["stage"])
            for one in events
            if one["user"].get("username") == user and one["objectRef"]["resource"] == "pods"
        ]
        return bool(found)

    async with asyncio.timeout(10):
        await until(logged)
    uri = f"/api/v1/namespaces/{own_cluster.namespace}/pods?limit=7"
    assert found == [("list", uri, 200, "ResponseComplete")]


async def test_compacted_history_is_410(own_cluster: RealCluster) -> None:
    await own_cluster.compact()
    with pytest.raises(Refused) as caught:
        await own_cluster.call(
            "GET", "/apis/xlscsde.nhs.uk/v1/analyticsworkspaces?resourceVersion=2&resourceVersionMatch=Exact"
        )
    assert (caught.value.status, "too old" in str(caught.value)) == (410, True)


async def test_given_cluster_is_used_in_a_namespace_of_its_own_which_is_deleted(
    own_cluster: RealCluster, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(own_cluster.kubeconfig()))
    async with GivenCluster(tmp_path / "kubeconfig") as given:
        path = f"/api/v1/namespaces/{given.namespace}"
        assert given.namespace != own_cluster.namespace
        assert (await given.call("GET", path))["status"]["phase"] == "Active"
        token = await given.service_account_token("lister", RULES)
        assert (await given.call("GET", f"{path}/pods", token=token))["items"] == []
        with pytest.raises(Refused, match="403"):
            await given.call("GET", f"/api/v1/namespaces/{own_cluster.namespace}/pods", token=token)
        kube = Kube(given.namespace, given.kubeconfig())
        try:
            assert (await kube.get("/api/v1/namespaces"))["kind"] == "NamespaceList"
        finally:
            await kube.close()
    assert (await own_cluster.call("GET", path))["status"]["phase"] == "Terminating"
    assert (await own_cluster.call("GET", path.replace(given.namespace, own_cluster.namespace)))["status"][
        "phase"
    ] == "Active"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "is not a kubeconfig that can be used", id="no-file"),
        pytest.param("hello", "is not a kubeconfig that can be used", id="no-kubeconfig"),
        pytest.param(
            """
            clusters: [{name: gone, cluster: {server: "http://127.0.0.1:1"}}]
            contexts: [{name: gone, context: {cluster: gone, user: nobody}}]
            users: [{name: nobody, user: {token: any}}]
            current-context: gone
            """,
            "cannot be used: POST /api/v1/namespaces got no answer",
            id="no-server",
        ),
    ],
)
async def test_given_kubeconfig_that_points_nowhere_is_one_sentence(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(ClusterError) as caught:
        async with GivenCluster(tmp_path / "kubeconfig"):
            pytest.fail("it was used")
    assert f"{tmp_path / 'kubeconfig'} {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


HOLDER = """
import asyncio
from tests.apiserver.cluster import RealCluster
async def hold():
    async with RealCluster("other") as cluster:
        print(*cluster.pids, cluster.audit_log.parent, flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_nothing_outlives_a_test_run_that_is_ended(how: str) -> None:
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    async with asyncio.timeout(60):
        line = await holder.stdout.readline()
    *pids, folder = line.decode().split()
    assert len(pids) == 2
    assert all(is_running(int(pid)) for pid in pids)
    getattr(holder, how)()
    await holder.wait()

    async def gone() -> bool:
        return not any(is_running(int(pid)) for pid in pids)

    async with asyncio.timeout(20):
        await until(gone)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run cannot do itself


async def build(**environ: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(str(BUILD), "--find"), env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, said = await process.communicate()
    assert output == b""
    return process.returncode, said.decode()


@pytest.mark.parametrize("go", [True, False])
async def test_missing_programs_are_one_sentence(tmp_path: Path, go: bool) -> None:
    """Bash and the few programs that the script uses, and no Go unless asked for."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "sed", "head", *(["true"] if go else [])):
        found = shutil.which(name)
        assert found is not None
        programs.joinpath("go" if name == "true" else name).symlink_to(found)
    code, said = await build(PATH=str(programs), HOME=str(tmp_path))
    assert (code, said.count("\n")) == (1, 1), said
    assert ("make apiserver" in said, "KUBEBUILDER_ASSETS" in said) == (True, True)
    assert ("needs Go" in said or "need Go" in said) is not go


async def test_assets_folder_without_the_programs_is_one_sentence(tmp_path: Path) -> None:
    code, said = await build(PATH=os.environ["PATH"], HOME=str(tmp_path), KUBEBUILDER_ASSETS=str(tmp_path))
    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith(f"KUBEBUILDER_ASSETS is '{tmp_path}', which must hold kube-apiserver and etcd (")
