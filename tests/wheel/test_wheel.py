"""The wheel in a fresh environment, and the demo from it, as a newcomer starts and stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks import current
from workspace_managers.devcluster.demo import free_ports

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environ}
    return subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because a build leaves its own files beside the sources.
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "test-results", "build", "dist", "*.egg-info"))
    built = run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that has only the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    for command in (
        (sys.executable, "-m", "venv", folder),
        (folder / "bin/pip", "install", "--quiet", "-c", current().file, f"{wheel}[demo]"),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_wheel_holds_plugin_templates_and_hub_config(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "workspace_manager_lscsde/manager.py",
        "workspace_managers/py.typed",
        "workspace_managers/templates/workspaces/form.html",
        "workspace_managers/templates/page.html",
        "workspace_managers/templates/spawn.html",
        "workspace_managers/hub_config/jupyterhub_config.d/workspace_manager.py",
        "workspace_managers/hub/labextension/remoteEntry.js",
        "workspace_managers/contract/test_installed.py",
        "workspace_managers/devcluster/crds.yaml",
        "workspace_managers/devcluster/samples.yaml",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"workspace_managers", "workspace_manager_lscsde"}


def test_every_module_of_the_sources_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in (ROOT / "workspace_managers", ROOT / "plugins/workspace_manager_lscsde"):
        for module in package.rglob("*.py"):
            assert str(module.relative_to(package.parent)) in names


def test_fresh_environment_is_whole(fresh: Path, tmp_path: Path) -> None:
    """L1: the shipped plugin is the default, and found by its entry point."""
    listed = run(fresh / "workspace-managers", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "workspace_manager_lscsde:LscsdeWorkspaceManager" in listed.stdout
    checked = run(fresh / "workspace-managers", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert run(fresh / "workspace-managers", "check", WORKSPACE_LANGUAGE="cy").returncode == 0
    wrong = run(fresh / "workspace-managers", "check", WORKSPACE_MANAGER="keyclok", KS_START_TIMEOUT="15m")
    assert wrong.returncode == 1
    for word in ("keyclok", "15m"):
        assert word in wrong.stdout + wrong.stderr
    assert "Traceback" not in wrong.stderr
    found = run(fresh / "python", "-I", "-c", "from workspace_managers.hub import templates_folder as f; print(f())")
    assert str(fresh.parent) in found.stdout
    assert run(fresh / "pip", "check").returncode == 0


class RunningDemo:
    def __init__(self, fresh: Path, state: Path) -> None:
        self.state = state
        (self.port,) = free_ports(1)
        self.process = subprocess.Popen(
            [fresh / "workspace-managers", "demo", "--port", str(self.port), "--state", state],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Stop:"):
                return
        pytest.fail("".join(self.said))

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def started(self) -> list[int]:
        """Every process that has the demo's folder in its environment or command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                told = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if str(self.state).encode() in told:
                found.append(int(folder.name))
        return found

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.said += self.process.communicate()[0].splitlines(keepends=True)
        return self.process.returncode


@pytest.fixture
def demo(fresh: Path, tmp_path: Path) -> Iterator[RunningDemo]:
    demo = RunningDemo(fresh, tmp_path / "state")
    yield demo
    if demo.process.poll() is None:
        demo.interrupt()


def api(demo: RunningDemo, method: str, path: str, body: object = None) -> int:
    token = (demo.state / "hub" / "api_token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{demo.port}/hub/api{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - http
        return int(answer.status)


def test_demo_greets_serves_kubectl_and_ends_with_all_that_it_started(
    demo: RunningDemo, fresh: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    greeting = "".join(demo.said)
    for word in (
        f"http://127.0.0.1:{demo.port}",
        "alice",
        "bob",
        "carol",
        "cardio-outcomes",
        "rare-diseases",
        "expired",
    ):
        assert word in greeting
    assert "login" in demo.page("/hub/login").lower()
    assert 'name="generator" content="jupyterhub-workspace-managers"' in demo.page("/hub/login")

    again = run(fresh / "workspace-managers", "demo", "--port", str(demo.port), "--state", demo.state.parent / "other")
    assert again.returncode == 1
    assert f"Port {demo.port} is in use" in again.stdout + again.stderr
    assert "Traceback" not in again.stderr

    if kubectl := shutil.which("kubectl"):
        listed = run(kubectl, "--kubeconfig", demo.state / "kubeconfig", "get", "analyticsworkspaces")
        assert "cardio-outcomes" in listed.stdout, listed.stderr
    else:
        with capfd.disabled():
            print("\nLeft out: kubectl's look at the demo's cluster, as there is none here.")  # noqa: T201 - said aloud

    assert api(demo, "POST", "/users/alice/server", {"profile": "cardio-outcomes"}) in (201, 202)
    deadline = time.monotonic() + 60
    while not list((demo.state / "pods").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(demo.started()) >= 3, "the demo, the hub and a server"
    (demo.state / "claims" / "jupyter-cardio-outcomes").mkdir(exist_ok=True)
    note = demo.state / "claims" / "jupyter-cardio-outcomes" / "note.txt"
    note.write_text("found something")

    assert demo.interrupt() == 0
    assert demo.started() == []

    second = RunningDemo(fresh, demo.state)
    try:
        assert note.read_text() == "found something"
        if kubectl:
            claims = run(kubectl, "--kubeconfig", second.state / "kubeconfig", "get", "pvc", "-o", "name")
            assert "jupyter-cardio-outcomes" in claims.stdout, claims.stderr
    finally:
        assert second.interrupt() == 0
    assert second.started() == []
