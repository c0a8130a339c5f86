"""The demo on a cluster of the user's own: what it refuses before it begins, and that it leaves alone what is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from workspace_managers.devcluster import guest
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.devcluster.demo import Cluster, DemoError, check_host, cluster_of, free_ports, main, run
from workspace_managers.devcluster.guest import reach
from workspace_managers.kube.client import Kube


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return write_config(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_ports(1)[0]}")


def write_config(path: Path, url: str) -> Path:
    named = {"clusters": "cluster", "users": "user", "contexts": "context"}
    values = {"cluster": {"server": url}, "user": {"token": "any"}, "context": {"cluster": "own", "user": "own"}}
    lists = {plural: [{"name": "own", each: values[each]}] for plural, each in named.items()}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "own", **lists}))
    return path


@pytest.mark.parametrize(
    ("namespace", "node", "hub_host", "expected"),
    [
        pytest.param("mine", "local", "", "", id="pods-on-this-machine"),
        pytest.param("mine", "cluster", "127.0.0.1", "127.0.0.1", id="pods-on-the-cluster"),
        pytest.param("mine", "", "127.0.0.1", "127.0.0.1", id="the-clusters-node-is-the-default"),
    ],
)
def test_command_line_names_a_cluster(
    kubeconfig: Path, namespace: str, node: str, hub_host: str, expected: str
) -> None:
    assert cluster_of(kubeconfig, namespace, node, hub_host) == Cluster(kubeconfig, namespace, expected)
    assert cluster_of(None, "", "", "") is None


@pytest.mark.parametrize(
    ("namespace", "node", "hub_host", "said"),
    [
        pytest.param("", "local", "", "needs a namespace of its own", id="no-namespace"),
        pytest.param("../x", "local", "", "needs a namespace of its own", id="no-name-of-a-namespace"),
        pytest.param("mine", "", "", "cannot reach a hub on 127.0.0.1: name an address", id="no-address"),
        pytest.param(
            "mine", "local", "10.0.0.1", "--hub-host is for servers that the cluster runs", id="an-address-too-many"
        ),
    ],
)
def test_what_is_missing_is_one_sentence(kubeconfig: Path, namespace: str, node: str, hub_host: str, said: str) -> None:
    with pytest.raises(DemoError, match=said):
        cluster_of(kubeconfig, namespace, node, hub_host)


@pytest.mark.parametrize("option", ["namespace", "node", "hub_host"])
def test_options_of_a_cluster_without_one_are_one_sentence(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(**{option: "local"}) == 1  # type: ignore[arg-type]  # each of the three is a text
    assert capsys.readouterr().out.endswith("name it with --kubeconfig (make demo KUBECONFIG=path)\n")


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::1", "my-machine"])  # noqa: S104 - is refused
def test_address_that_is_not_this_machines_is_one_sentence(address: str) -> None:
    assert check_host(address) == (
        f"{address} is not an address of this machine: name one that the cluster's pods can reach with --hub-host"
    )
    assert check_host("127.0.0.1") is check_host("") is None


async def started(kubeconfig: Path, state: Path) -> list[str]:
    """What a demo said that must not start, and must not have left anything behind."""
    said: list[str] = []
    async with asyncio.timeout(20):
        assert await run(0, state, cluster=Cluster(kubeconfig, "mine"), say=said.append) == 1
    assert not state.exists()  # noqa: ASYNC240 - a small local folder
    return said


@pytest.mark.parametrize(
    "text", ["", "hello", "a: [b", "[1, 2]", "{}"], ids=["empty", "text", "broken", "list", "object"]
)
async def test_file_that_is_no_kubeconfig_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    (said,) = await started(tmp_path / "kubeconfig", tmp_path / "state")
    assert said.startswith(f"{tmp_path / 'kubeconfig'} is not a kubeconfig that can be used: ")
    assert "\n" not in said


def test_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none"
    assert main(state=tmp_path / "state", kubeconfig=path, namespace="mine", node="local") == 1
    said = capsys.readouterr().out
    assert said == f"There is no file {path}: name a kubeconfig with --kubeconfig (make demo KUBECONFIG=path)\n"


async def test_server_that_is_not_there_is_one_sentence(kubeconfig: Path, tmp_path: Path) -> None:
    (said,) = await started(kubeconfig, tmp_path / "state")
    assert said.startswith(f"The cluster of {kubeconfig}, http://127.0.0.1:")
    assert "cannot be used: GET /api/v1/namespaces/mine got no answer" in said


@pytest.fixture
async def answers(kubeconfig: Path) -> AsyncIterator[dict[str, int]]:
    """A server that refuses everything with one status, 0 for no answer at all."""
    given = {"status": 0}
    never = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        if not given["status"]:
            await never.wait()
        return web.json_response({"kind": "Status", "reason": "Refused", "message": "no"}, status=given["status"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    port = free_ports(1)[0]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    write_config(kubeconfig, f"http://127.0.0.1:{port}")
    yield given
    never.set()
    await runner.cleanup()


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_are_refused_are_one_sentence(
    answers: dict[str, int], kubeconfig: Path, tmp_path: Path, status: int
) -> None:
    answers["status"] = status
    (said,) = await started(kubeconfig, tmp_path / "state")
    assert f"cannot be used: {status} Refused: 'no'" in said


async def test_server_that_does_not_answer_is_not_waited_for(
    answers: dict[str, int], kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "REACH_SECONDS", 0.2)
    assert answers == {"status": 0}
    (said,) = await started(kubeconfig, tmp_path / "state")
    assert said.endswith("cannot be used: no answer within 0.2 seconds")


async def test_namespace_of_somebody_else_is_refused(kubeconfig: Path, tmp_path: Path) -> None:
    """It may have a hub, and the workspaces of real people: neither is the demo's to overwrite."""
    api = EmbeddedApi(namespaces=("mine", "given"))
    await api.start()
    write_config(kubeconfig, api.url)
    kube = Kube("given", kubeconfig)
    try:
        before = json.dumps(await kube.get("/apis/xlscsde.nhs.uk/v1/namespaces/mine/analyticsworkspaces"))
        (said,) = await started(kubeconfig, tmp_path / "state")
        assert "was not made by the demo, which leaves alone what is not its own: name one that does not exist" in said
        assert said.endswith("kubectl label namespace mine workspace-managers/demo=true")
        assert json.dumps(await kube.get("/apis/xlscsde.nhs.uk/v1/namespaces/mine/analyticsworkspaces")) == before

        await kube.merge_patch("/api/v1/namespaces/given", {"metadata": {"labels": guest.GIVEN}})
        assert await reach(kube, kubeconfig) is True
        kube.namespace = "new"
        assert await reach(kube, kubeconfig) is False
    finally:
        await kube.close()
        await api.stop()
