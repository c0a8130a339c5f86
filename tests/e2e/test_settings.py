"""What a Helm chart's configuration may set beside the workspace manager's, on a real hub: for each, what counted.

The order is the chart's: values, then ``hub.config``, then the files of ``jupyterhub_config.d`` by name, of which the
manager's is one, then ``hub.extraConfig``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import jupyterhub
import pytest
import pytest_asyncio

from tests.e2e.conftest import Hub
from tests.e2e.test_arrivals import address, signed_in
from workspace_managers import quantity_value
from workspace_managers.devcluster.demo import Demo

API = "embedded"  # what a setting does to a pod is the same on every API
START_SECONDS = 60

VALUES = """
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.pvc_name_template = "claim-{username}"
c.KubeSpawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-{username}"}}]
c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
c.KubeSpawner.mem_guarantee = "1G"
"""
# Before the manager's own file, by name.
HUB_CONFIG = {
    "KubeSpawner": {"extra_annotations": {"from/hub-config": "1"}, "fs_gid": 100},
    "Spawner": {"http_timeout": 45},
    "JupyterHub": {"load_groups": {"heavy": ["alice"]}},
}
# After it, by name.
LATER_FILE = """
def of_the_later_file(spawner, pod):
    pod.metadata.annotations["from/later-file"] = pod.spec.containers[0].image
    return pod
c.KubeSpawner.modify_pod_hook = of_the_later_file
"""
EXTRA_CONFIG = """
before = c.KubeSpawner.modify_pod_hook
async def hook(spawner, pod):
    pod = before(spawner, pod)
    pod.metadata.annotations["from/extra-config"] = "1"
    pod.metadata.labels["workspace"] = "somebody-elses"
    pod.spec.containers[0].image = "operators/hook:1"
    pod.spec.volumes.append({"name": "secret-study", "persistentVolumeClaim": {"claimName": "jupyter-secret-study"}})
    pod.spec.containers[0].volume_mounts.append({"name": "secret-study", "mountPath": "/mnt/secret"})
    return pod
c.KubeSpawner.modify_pod_hook = hook
c.KubeSpawner.profile_list = [
    {"display_name": "t", "slug": "tuned", "kubespawner_override": {"image": "operators/profile:1", "mem_limit": "64G"}}
]
c.JupyterHub.allow_named_servers = False
c.KubeSpawner.options_form = "<b id='theirs'>theirs</b>"
c.KubeSpawner.profile_form_template = "<b id='theirs'>theirs</b>"
c.KubeSpawner.delete_pvc = True
c.KubeSpawner.start_timeout = 50
c.Spawner.start_timeout = 7
def auth_state_seen(spawner, auth_state):
    spawner.environment["AUTH_STATE_HOOK"] = "called"
c.Spawner.auth_state_hook = auth_state_seen
starts = []
def before_each_start(spawner):
    starts.append(1)
    spawner.environment["STARTS"] = str(len(starts))
    spawner.cpu_limit = float(len(starts))
c.Spawner.pre_spawn_hook = before_each_start
c.KubeSpawner.image = "operators/default:1"
c.KubeSpawner.mem_limit = "8G"
c.KubeSpawner.default_url = "/operators"
c.KubeSpawner.extra_labels = {"workspace": "somebody-elses", "team": "a"}
c.KubeSpawner.node_selector = {"pool": "operators"}
c.KubeSpawner.tolerations = [{"key": "operators", "operator": "Exists"}]
c.KubeSpawner.image_pull_policy = "Always"
c.KubeSpawner.service_account = "operators"
c.KubeSpawner.environment = {"SITE": "{username}"}
c.KubeSpawner.uid = 1000
c.KubeSpawner.extra_pod_config = {"dnsPolicy": "Default"}
c.KubeSpawner.extra_container_config = {"terminationMessagePath": "/tmp/said"}
c.KubeSpawner.extra_containers = [
    {"name": "sidecar", "image": "operators/sidecar:1", "command": ["sleep", "3600"],
     "volumeMounts": [{"name": "home", "mountPath": "/data"}]}
]
c.KubeSpawner.group_overrides = {
    "heavy": {"groups": ["heavy"], "spawner_override": {"cpu_guarantee": 0.25, "image": "operators/group:1"}}
}
"""


def config_files(folder: Path, ours: list[Path]) -> list[Path]:
    """As the chart runs them; each is a file here."""
    hub_config = "\n".join(f"c[{name!r}].update({traits!r})" for name, traits in HUB_CONFIG.items())
    files = [
        *(("values.py", VALUES), ("hub_config.py", hub_config)),
        *(("zz_later.py", LATER_FILE), ("extra_config.py", EXTRA_CONFIG)),
    ]
    paths = []
    for name, text in files:
        (folder / name).write_text(text)
        paths.append(folder / name)
    return [*paths[:2], *ours, *paths[2:]]


@dataclass(frozen=True)
class Seen:
    """What came of a start, and of the one before it by the same person."""

    pod: Mapping[str, Any]
    earlier: Mapping[str, Any]
    form: str
    log: str
    claims: set[str]

    @property
    def notebook(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(
            container for container in self.pod["spec"]["containers"] if container["name"] == "notebook"
        )
        return found

    @property
    def env(self) -> dict[str, Any]:
        return {variable["name"]: variable.get("value") for variable in self.notebook["env"]}

    @property
    def annotations(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.pod["metadata"]["annotations"]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(hub: Hub, demo: Demo) -> Seen:
    """Two starts of a workspace that says its image and memory, and nothing of its CPU, nodes and URL."""
    await hub.grant("alice", "tuned", image="example/first:1", resources={"limits": {"memory": "2Gi"}})
    pods = []
    for _ in range(2):
        status, answer = await hub.start("alice", {"profile": "tuned"})
        assert status in (201, 202), answer
        pods.append(next(iter((await hub.pods()).values())))
        await hub.stop("alice")
    claims = set(await hub.claims())
    async with signed_in(demo, "alice") as session, session.get(f"{address(demo)}/hub/spawn") as page:
        assert page.status == 200
        form = await page.text()
    return Seen(pods[1], pods[0], form, demo.hub_log.read_text(), claims)


Check = Callable[[Seen], bool]
NO_EFFECT = "is set and has no effect"
COUNTED: dict[str, tuple[str, Check]] = {
    "a hook of a file sorted after ours": (
        "called, with the workspace's pod",
        lambda s: s.annotations["from/later-file"] == "example/first:1",
    ),
    "modify_pod_hook": ("called", lambda s: s.annotations["from/extra-config"] == "1"),
    "modify_pod_hook: image": ("the workspace's", lambda s: s.notebook["image"] == "example/first:1"),
    "modify_pod_hook: label workspace": (
        "the workspace's",
        lambda s: s.pod["metadata"]["labels"]["workspace"] == "tuned",
    ),
    "modify_pod_hook: a claim": (
        "taken off, and logged",
        lambda s: "secret-study" not in json.dumps(s.pod) and "'secret-study' ('persistentVolumeClaim')" in s.log,
    ),
    "profile_list, a slug that is a workspace's name": (
        "no effect, one warning",
        lambda s: s.log.count(f"KubeSpawner.profile_list {NO_EFFECT}") == 1 and s.env["MEM_LIMIT"] == str(2 * 1024**3),
    ),
    "options_form": (
        "no effect, one warning",
        lambda s: s.log.count(f"KubeSpawner.options_form {NO_EFFECT}") == 1 and "id='theirs'" not in s.form,
    ),
    "allow_named_servers, turned off": (
        "every workspace is opened by the server without a name, one warning",
        lambda s: s.log.count("JupyterHub.allow_named_servers is turned off, so every workspace is opened by") == 1,
    ),
    "profile_form_template": (
        "no effect, one warning",
        lambda s: s.log.count(f"KubeSpawner.profile_form_template {NO_EFFECT}") == 1,
    ),
    "storage_pvc_ensure": (
        "no effect, one warning",
        lambda s: (
            s.log.count(f"KubeSpawner.storage_pvc_ensure {NO_EFFECT}") == 1
            and s.claims == {"jupyter-tuned", "jupyter-shared"}
        ),
    ),
    "delete_pvc": ("no effect, one warning", lambda s: s.log.count(f"KubeSpawner.delete_pvc {NO_EFFECT}") == 1),
    "Spawner.start_timeout": (
        "no effect, one warning",
        lambda s: s.log.count(f"Spawner.start_timeout {NO_EFFECT}") == 1,
    ),
    "auth_state_hook, under c.Spawner": ("called", lambda s: s.env["AUTH_STATE_HOOK"] == "called"),
    "pre_spawn_hook": ("called at each start", lambda s: s.env["STARTS"] == "2"),
    "pre_spawn_hook: cpu_limit": (
        "counts at each start, where the workspace says nothing of CPU",
        lambda s: (_cpu(s.earlier), _cpu(s.pod)) == (1.0, 2.0),
    ),
    "image": ("the workspace's", lambda s: s.env["JUPYTER_IMAGE_SPEC"] == "example/first:1"),
    "mem_limit and mem_guarantee": (
        "the workspace's, both",
        lambda s: (
            s.notebook["resources"]["limits"]["memory"] == "2Gi"
            and s.notebook["resources"]["requests"]["memory"] == "2Gi"  # as the API server fills it in
            and "MEM_GUARANTEE" not in s.env
        ),
    ),
    "default_url": ("counts, where the workspace says none", lambda s: "/operators" in json.dumps(s.notebook)),
    "extra_labels": ("count, but not for workspace", lambda s: s.pod["metadata"]["labels"]["team"] == "a"),
    "extra_annotations, of hub.config": ("count", lambda s: s.annotations["from/hub-config"] == "1"),
    "node_selector": ("counts", lambda s: s.pod["spec"]["nodeSelector"]["pool"] == "operators"),
    "tolerations": ("count", lambda s: s.pod["spec"]["tolerations"][0]["key"] == "operators"),
    "image_pull_policy": ("counts", lambda s: s.notebook["imagePullPolicy"] == "Always"),
    "service_account": ("counts", lambda s: s.pod["spec"]["serviceAccountName"] == "operators"),
    "environment": ("counts", lambda s: s.env["SITE"] == "alice"),
    "uid": ("counts", lambda s: s.notebook["securityContext"]["runAsUser"] == 1000),
    "extra_pod_config": ("counts", lambda s: s.pod["spec"]["dnsPolicy"] == "Default"),
    "extra_container_config": ("counts", lambda s: s.notebook["terminationMessagePath"] == "/tmp/said"),  # noqa: S108 - a setting
    "extra_containers": (
        "count, without storage of somebody's",
        lambda s: s.pod["spec"]["containers"][1]["name"] == "sidecar" and "claim-alice" not in json.dumps(s.pod),
    ),
    "fs_gid, of hub.config": ("counts", lambda s: s.pod["spec"]["securityContext"]["fsGroup"] == 100),
    "volumes and volume_mounts, of the values": (
        "taken off, and logged once a start",
        lambda s: s.log.count("volumes taken off the pod: ") == 2 and "'home' ('persistentVolumeClaim')" in s.log,
    ),
}
if jupyterhub.version_info[0] >= 5:
    COUNTED["group_overrides"] = (
        "count at each start, where the workspace says nothing",
        lambda s: (
            quantity_value(s.notebook["resources"]["requests"]["cpu"]) == Decimal("0.25")
            and s.notebook["image"] == "example/first:1"
        ),
    )


def _cpu(pod: Mapping[str, Any]) -> float:
    return float(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"])


@pytest.mark.parametrize("setting", COUNTED)
async def test_setting_counts_as_it_is_documented(seen: Seen, setting: str) -> None:
    """S1, S5: replaced after ours, or set before."""
    words, check = COUNTED[setting]
    assert check(seen), f"{setting} does not do this any more: {words}"


@pytest.mark.skipif("group_overrides" not in COUNTED, reason="the table has what the newer hubs know as well")
def test_settings_page_is_what_is_tried() -> None:
    """One fact, one place."""
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for setting, (words, _) in COUNTED.items():
        assert f"| {setting} | {words} |" in page


async def test_audit_goes_on_whatever_is_replaced(seen: Seen) -> None:
    """F1: each start has its line, with the pod that is there."""
    lines = [json.loads(line) for line in seen.log.splitlines() if line.startswith('{"decision": ')]
    starts = [line for line in lines if line["decision"] == "pod"]
    assert [(line["outcome"], line["workspace"]) for line in starts] == [("allowed", "tuned")] * 2
    assert starts[1]["pod"]["uid"] == seen.pod["metadata"]["uid"]
