"""The built image as the chart's hub, on a real API server, with no more rights than it ships with."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests import dists
from tests.apiserver.cluster import RealCluster, until
from tests.image.hub import Browser, HubPod, running, signed_in
from tests.image.release import CHART, VALUES, chart_values
from tests.image.store import ROOT, Image, Store

API_TOKEN = "a-token-of-the-tests"
GROUP = "/apis/xlscsde.nhs.uk/v1/namespaces/jupyterhub"
CORE = "/api/v1/namespaces/jupyterhub"
MARK = '<meta name="generator" content="jupyterhub-workspace-managers">'
OF_THE_OPERATOR = {
    "hub": {
        "config": {"Authenticator": {"allowed_users": ["alice", "bob"]}},
        "extraConfig": {
            "tell": "c.KubeSpawner.pre_spawn_hook = "
            "lambda spawner: spawner.log.warning('start timeout of %s: %s', spawner.user.name, spawner.start_timeout)"
        },
        "extraEnv": {
            "DEFAULT_STORAGE_CLASS": "fast",
            "DEFAULT_STORAGE_ACCESS_MODES": "ReadWriteOnce, ReadOnlyMany",
            "DEFAULT_STORAGE_CAPACITY": "3Gi",
            "KS_START_TIMEOUT": "77",
            "WORKSPACE_MANAGER": None,
        },
        "loadRoles": {"tests": {"name": "tests", "services": ["tests"], "scopes": ["admin:servers", "read:users"]}},
        "services": {"tests": {"apiToken": API_TOKEN}},
    }
}

MakePod = Callable[..., HubPod]


@pytest.fixture
def make_pod(cluster: RealCluster, token: str, tmp_path: Path) -> MakePod:
    """Makes the pod of an image and a root of it; further keywords are variables of its container."""

    def make(image: Image, root: Path, **environ: str | None) -> HubPod:
        return HubPod(image, root, cluster, token, tmp_path, values=chart_values(OF_THE_OPERATOR), environ=environ)

    return make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def workspaces(cluster: RealCluster) -> None:
    """`heart` is open for alice and `lungs` for bob."""
    for name, user in (("heart", "alice"), ("lungs", "bob")):
        spec: dict[str, Any] = {
            "displayName": f"Study of the {name}",
            "description": "Of a test",
            "validity": {"availableFrom": "2020-01-01", "expires": "2090-01-01"},
            "jupyterWorkspace": {"image": "example/notebook:1.0", "persistentVolumeClaim": {}},
        }
        await cluster.call("POST", f"{GROUP}/analyticsworkspaces", _resource("AnalyticsWorkspace", name, spec))
        spec = {"username": user, "workspace": name, "expires": "2090-01-01"}
        binding = _resource("AnalyticsWorkspaceBinding", f"{user}-{name}", spec)
        await cluster.call("POST", f"{GROUP}/analyticsworkspacebindings", binding)


def _resource(kind: str, name: str, spec: object) -> dict[str, Any]:
    return {"apiVersion": "xlscsde.nhs.uk/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.usefixtures("workspaces", "node")
async def test_login_form_start_and_stop(image: Image, store: Store, cluster: RealCluster, make_pod: MakePod) -> None:
    """L1: with WORKSPACE_MANAGER unset altogether, the plugin is lscsde. S1: the server has its workspace's claims."""
    with store.root(image) as root:
        page = root / "usr/local/etc/jupyterhub/custom_templates/page.html"
        page.write_text(page.read_text().replace("<main ", "<!-- of the image's own folder --><main "))
        async with running(make_pod(image, root, WORKSPACE_MANAGER=None)) as pod, signed_in(pod, "alice") as browser:
            _, form = await browser.get("/hub/spawn")
            for mark in (MARK, "<!-- of the image's own folder -->", '<h1 class="wm-title">', "Study of the heart"):
                assert mark in form
            assert "Study of the lungs" not in form

            assert (await browser.submit("/hub/spawn", profile="heart")).startswith("/hub/spawn-pending/")
            await _until_ready(browser, "alice")
            (server,) = (await cluster.call("GET", f"{CORE}/pods"))["items"]
            assert _claims(server) == {"jupyter-heart", "jupyter-shared"}
            assert [one["name"] for one in server["spec"]["initContainers"]] == ["block-cloud-metadata"]
            assert "start timeout of alice: 77" in pod.log
            claim = await cluster.call("GET", f"{CORE}/persistentvolumeclaims/jupyter-heart")
            assert claim["spec"]["storageClassName"] == "fast"
            assert claim["spec"]["accessModes"] == ["ReadWriteOnce", "ReadOnlyMany"]
            assert claim["spec"]["resources"]["requests"]["storage"] == "3Gi"
            status, lab = await browser.get("/user/alice/lab")
            assert status == 200
            assert "JupyterLab" in lab

            assert (await browser.call("DELETE", "/users/alice/server", API_TOKEN))[0] in (202, 204)
            async with asyncio.timeout(30):
                await until(lambda: _no_pod(cluster))
    kept = {one["metadata"]["name"] for one in (await cluster.call("GET", f"{CORE}/persistentvolumeclaims"))["items"]}
    assert kept == {"jupyter-heart", "jupyter-shared"}


async def _until_ready(browser: Browser, user: str) -> None:
    async def ready() -> bool:
        _, answer = await browser.call("GET", f"/users/{user}", API_TOKEN)
        return bool((answer["servers"].get("") or {}).get("ready"))

    async with asyncio.timeout(60):
        await until(ready)


async def _no_pod(cluster: RealCluster) -> bool:
    return not (await cluster.call("GET", f"{CORE}/pods"))["items"]


def _claims(pod: dict[str, Any]) -> set[str]:
    volumes = pod["spec"]["volumes"]
    return {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}


async def test_unknown_manager_stops_the_hub_at_once(image: Image, store: Store, make_pod: MakePod) -> None:
    """L1: one message that tells what is installed, and exit code 1; never a fallback, and nothing is tried again."""
    with store.root(image) as root:
        pod = make_pod(image, root, WORKSPACE_MANAGER="elsewhere")
        code, said = _run_to_the_end(pod)
    assert code == 1, said
    assert said.count("The hub does not start.") == 1
    assert "WORKSPACE_MANAGER='elsewhere' names no workspace manager that is installed" in said
    assert "lscsde (jupyterhub-workspace-managers 0.1.0)" in said
    assert "Traceback" not in said


def _run_to_the_end(pod: HubPod) -> tuple[int, str]:
    """The exit code, and what was said."""
    done = subprocess.run(pod.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


async def test_plugin_of_a_derived_image(image: Image, store: Store, make_pod: MakePod, tmp_path: Path) -> None:
    """The three lines of image/README.md add a third party's plugin, and the hub starts with it."""
    derived = _derived(image, store, tmp_path)
    assert derived.config["User"] == "1000"
    with store.root(derived) as root:
        async with (
            running(make_pod(derived, root, WORKSPACE_MANAGER="plain-files")) as pod,
            signed_in(pod, "alice") as browser,
        ):
            _, form = await browser.get("/hub/spawn")
            assert MARK in form
            assert "wm_plain was imported" in pod.log
            assert 'id="wm-start"' not in form, "this plugin has no workspaces"


def _derived(image: Image, store: Store, folder: Path) -> Image:
    context = folder / "derived"
    context.mkdir()
    shutil.copy(dists.wheel("plain", folder), context)
    readme = (ROOT / "image" / "README.md").read_text()
    (found,) = re.findall(r"```dockerfile\n(.*?)```", readme, flags=re.DOTALL)
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(re.sub(r"^FROM .*", f"FROM {image.name}", found))
    return store.build_other("localhost/workspace-managers:derived", dockerfile, context)


def test_values_are_ones_that_the_chart_reads() -> None:
    """Each value of image/values.yaml is one that the chart has, of the same kind as the chart's own."""
    ours = yaml.safe_load(VALUES.read_text())
    charts = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, value in _leaves(ours):
        known: Any = charts
        for key in path:
            if known in ({}, None) or path[:2] in (("hub", "config"), ("hub", "containerSecurityContext")):
                break  # the chart passes on what is below, whatever it is
            assert key in known, f"the chart has no value {'.'.join(path)}"
            known = known[key]
        else:
            assert type(value) is type(known), f"the chart's value {'.'.join(path)} is no {type(value).__name__}"
    assert all(isinstance(value, str) for value in ours["hub"]["extraEnv"].values()), "Kubernetes takes text alone"


def _leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(values, dict):
        return [(path, values)]
    return [leaf for key, value in values.items() for leaf in _leaves(value, (*path, key))]
