"""The parts of the demo that need no hub: its sentences, its samples, its folder."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from workspace_managers.devcluster import demo as demo_module
from workspace_managers.devcluster.api import EmbeddedApi
from workspace_managers.devcluster.demo import (
    NAMESPACE,
    Demo,
    DemoError,
    apply,
    check_packages,
    check_port,
    check_python,
    free_ports,
    hub_config_files,
    hub_environment,
    last_words,
    load_samples,
    run,
    welcome,
    what_they_see,
)
from workspace_managers.kube.client import Kube

TODAY = datetime.date(2027, 3, 1)


@pytest.fixture
def taken() -> Any:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_port_in_use_is_one_sentence_that_names_a_free_port(taken: int) -> None:
    problem = check_port(taken)
    assert problem is not None
    sentence, _, free = problem.rpartition("=")
    assert sentence == f"Port {taken} is in use: stop the program that uses it, or choose another: make demo PORT"
    assert check_port(int(free)) is None


@pytest.mark.parametrize("port", [-1, 65536, 0])
def test_port_that_does_not_exist(port: int) -> None:
    assert check_port(port) == f"There is no port {port}: choose one from 1024 to 65535, such as make demo PORT=9000"


async def test_run_with_a_port_in_use_says_so_and_ends(taken: int, tmp_path: Path) -> None:
    said: list[str] = []
    assert await run(taken, tmp_path / "state", say=said.append) == 1
    assert len(said) == 1
    assert said[0].startswith(f"Port {taken} is in use")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("version", [(3, 10, 12), (3, 9, 2), (2, 7, 18)], ids=str)
def test_python_too_old_is_one_sentence(version: tuple[int, ...]) -> None:
    found = ".".join(str(part) for part in version)
    assert check_python(version) == (
        f"This is Python {found}; the demo needs 3.11 or later: install one and run make demo PYTHON=python3.11"
    )


def test_this_python_on_linux_will_do() -> None:
    assert check_python() is None
    assert "runs on Linux, this is darwin" in str(check_python(platform="darwin"))


def test_missing_packages_are_named_as_pip_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_packages() is None
    monkeypatch.setitem(demo_module.REQUIRED, "no_such_module", "no-such-distribution")
    assert check_packages() == (
        'The demo needs no-such-distribution: run pip install "jupyterhub-workspace-managers[demo]"'
    )


def test_free_ports_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """From each other, from those that something else is about to listen on, and between processes side by side."""
    monkeypatch.setattr(demo_module, "_PORTS", range(20000, 20640))
    first = free_ports(10)
    assert len(set(first)) == 10
    for _ in range(50):
        assert not {*free_ports(10, besides=first)} & {*first}
    other = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: other)
    for _ in range(50):
        assert not {*free_ports(10)} & {*first}


# The samples


@pytest.mark.parametrize(
    ("user", "sees"),
    [
        (
            "alice",
            [
                "cardio-outcomes  can start",
                "asthma-cohort    can start, closes in 6 days",
                "closed-study     expired 31 December 2024",
                "next-study       opens 30 May 2027",
            ],
        ),
        ("bob", ["asthma-cohort    can start", "rare-diseases    can start"]),
        ("carol", []),
    ],
)
def test_what_each_user_sees(user: str, sees: list[str]) -> None:
    assert what_they_see(user, load_samples(TODAY), TODAY) == sees


@pytest.mark.parametrize("today", [TODAY, datetime.date(2036, 2, 29)], ids=str)
def test_samples_stay_right_for_years(today: datetime.date) -> None:
    seen = [line.split()[1] for line in what_they_see("alice", load_samples(today), today)]
    assert seen == ["can", "can", "expired", "opens"]


def test_samples_are_as_the_issue_says() -> None:
    spec = {sample["metadata"]["name"]: sample["spec"] for sample in load_samples()}
    assert spec["cardio-outcomes"]["jupyterWorkspace"]["resources"]["limits"] == {"cpu": 2, "memory": "4Gi"}
    assert spec["asthma-cohort"]["jupyterWorkspace"]["resources"] == {"limits": {"cpu": 2}}
    assert spec["rare-diseases"]["displayName"] == 'Rare <i>diseases</i> & "genes"'
    assert "\n" in spec["cardio-outcomes"]["description"].strip()


async def test_samples_are_accepted_by_the_api_and_applied_again() -> None:
    api = EmbeddedApi(namespaces=(NAMESPACE,))
    await api.start()
    kube = Kube(NAMESPACE, api.kubeconfig())
    try:
        await apply(kube, load_samples(TODAY))
        await apply(kube, load_samples(TODAY + datetime.timedelta(days=30)))
        path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{NAMESPACE}/analyticsworkspacebindings/alice-asthma-cohort"
        assert (await kube.get(path))["spec"]["expires"] == "2027-04-07"
    finally:
        await kube.close()
        await api.stop()


def test_welcome_tells_address_people_and_how_to_stop() -> None:
    lines = list(welcome("http://127.0.0.1:8000", load_samples(), Path(".demo"), Path(".demo/kubeconfig")))
    assert "JupyterHub is at http://127.0.0.1:8000" in lines
    assert "  carol   no workspace yet: a page that says whom to ask" in lines
    assert "KUBECONFIG=.demo/kubeconfig kubectl get" in "\n".join(lines)
    assert "Sign in with a name and no password:" in lines
    assert lines[-1].startswith("Stop:          Ctrl-C")


def test_welcome_tells_the_password_where_the_hub_has_one() -> None:
    lines = list(
        welcome("http://x", load_samples(), Path("s"), Path("k"), namespace="mine", password="a1b2", files_kept=False)
    )
    assert lines[-1] == "Stop:          Ctrl-C (nothing is kept)"
    assert "Sign in with a name and the password a1b2:" in lines
    assert "KUBECONFIG=k kubectl get analyticsworkspaces --namespace mine" in "\n".join(lines)


# The state, and the hub's process


class _Started(Exception):
    """Everything but the hub has started."""


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start_hub(*_: object) -> None:
        raise _Started

    monkeypatch.setattr(Demo, "_start_hub", start_hub)


@pytest.mark.usefixtures("no_hub")
async def test_state_holds_what_it_should_and_nothing_is_public(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    demo = Demo(state, 0, say=lambda _: None)
    with pytest.raises(_Started):
        await demo.__aenter__()
    assert {path.name for path in state.iterdir()} == {"cluster.json", "kubeconfig", "claims", "pods", "hub", "lock"}
    assert "read this folder" in (state / "claims" / "jupyter-shared" / "README.md").read_text()
    for private in (state / "kubeconfig", state / "hub" / "api_token"):
        assert private.stat().st_mode & 0o077 == 0
    kubeconfig = json.loads((state / "kubeconfig").read_text())
    assert kubeconfig["contexts"][0]["context"]["namespace"] == "jupyterhub"
    assert kubeconfig["clusters"][0]["cluster"]["server"].startswith("http://127.0.0.1:")

    again = Demo(state, 0, say=lambda _: None)
    with pytest.raises(_Started):
        await again.__aenter__()
    assert again.hub_api_token == demo.hub_api_token


@pytest.mark.usefixtures("no_hub")
async def test_one_demo_at_a_time_uses_a_state(tmp_path: Path) -> None:
    with demo_module._locked(tmp_path), pytest.raises(DemoError, match="Another demo is using"):
        await Demo(tmp_path, 0, say=lambda _: None).__aenter__()


def test_state_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DemoError, match=r"cannot write to .*file \(.*\): choose another folder"):  # noqa: SIM117
        with demo_module._locked(tmp_path / "file"):
            pass


def test_hub_environment_leaves_other_hubs_and_clusters_out() -> None:
    own = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JUPYTERHUB_API_TOKEN": "x", "CONFIGPROXY_AUTH_TOKEN": "x",
           "PATH": "/usr/bin", "WORKSPACE_MANAGER": "another", "no_proxy": "example.org"}  # fmt: skip
    env = hub_environment(own, {"WORKSPACE_MANAGER": "lscsde"})
    assert not {name for name in env if name.startswith(("KUBERNETES_", "JUPYTERHUB_", "CONFIGPROXY_"))}
    assert env["WORKSPACE_MANAGER"] == "lscsde"
    assert env["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"
    assert env["no_proxy"] == "example.org,127.0.0.1,localhost"


def test_hub_loads_the_one_file_that_the_chart_loads() -> None:
    assert [path.name for path in hub_config_files()] == ["workspace_manager.py"]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("[I] starting\nThe hub does not start.\nno such plugin\n", "The hub does not start.\nno such plugin"),
        ("one\ntwo\n", "The hub ended by itself. This is the end of its log, {log}:\none\ntwo"),
        (None, "The hub ended by itself. This is the end of its log, {log}:"),
    ],
    ids=["a message for the operator", "a log", "no log"],
)
def test_last_words_of_a_hub(tmp_path: Path, log: str | None, said: str) -> None:
    path = tmp_path / "hub.log"
    if log is not None:
        path.write_text(log)
    assert last_words(path) == said.format(log=path)


async def test_hub_that_does_not_start_ends_the_demo_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "config.py"
    broken.write_text("raise SystemExit('The hub does not start.\\nWORKSPACE_MANAGER is keyclok')")
    monkeypatch.setattr(demo_module, "HUB_CONFIG", broken)
    said: list[str] = []
    async with asyncio.timeout(60):
        assert await run(free_ports(1)[0], tmp_path / "state", say=said.append) == 1
    assert said[-1] == "The hub does not start.\nWORKSPACE_MANAGER is keyclok"


# The proxy


async def test_proxy_passes_each_event_on_when_it_comes() -> None:
    seen = asyncio.Event()

    async def progress(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"data: 1\n\n")
        async with asyncio.timeout(20):
            await seen.wait()
        await stream.write(b"data: 2\n\n")
        return stream

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello", status=202)

    app = web.Application()
    app.add_routes([web.get("/progress", progress), web.get("/hello", hello)])
    runner = web.AppRunner(app)
    await runner.setup()
    hub_port, port, api_port = free_ports(3)
    await web.TCPSite(runner, "127.0.0.1", hub_port).start()
    addresses = ["--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(api_port)]
    command = [sys.executable, "-P", demo_module.__file__, *addresses]
    command += ["--default-target", f"http://127.0.0.1:{hub_port}"]
    proxy = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        assert proxy.stderr is not None
        async for line in proxy.stderr:
            if b"Proxy API at" in line:
                break
        async with asyncio.timeout(20), ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/progress", headers={"Accept": "text/event-stream"}) as answer:
                assert answer.headers["Content-Type"] == "text/event-stream"
                assert await answer.content.readuntil(b"\n\n") == b"data: 1\n\n"
                seen.set()
                assert await answer.content.read() == b"data: 2\n\n"
            async with session.get("/hello") as answer:
                assert (answer.status, await answer.text()) == (202, "hello")
            await runner.cleanup()
            async with session.get("/progress", headers={"Accept": "text/event-stream"}) as answer:
                assert answer.status == 503
    finally:
        proxy.terminate()
        await proxy.communicate()
        await runner.cleanup()
