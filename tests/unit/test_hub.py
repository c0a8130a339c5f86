"""Every setting that ``configure`` makes, and each hook on a real KubeSpawner (L1 to L3, A3, A4, S1, S5, F1)."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupyterhub
import pytest
from jupyterhub import orm
from kubespawner import KubeSpawner
from traitlets.config import Config

from tests.factories import TODAY, shared, volume, workspace
from workspace_managers import (
    AccessDenied,
    BackendUnavailable,
    Context,
    Resources,
    Settings,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    hub,
    manager,
    registry,
)

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: x, user: {}}]
"""


class Plugin(WorkspaceManager):
    grants: Sequence[Workspace] = ()
    asked: list[User]
    failure: Exception | None = None
    started = closed = 0

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        self.asked = [*getattr(self, "asked", []), user]
        if self.failure:
            raise self.failure
        return self.grants

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return [volume(f"jupyter-{workspace.name}", f"/home/jovyan/{workspace.name}"), shared()]

    async def start(self) -> None:
        self.started += 1

    async def close(self) -> None:
        self.closed += 1


class TodayContext(Context):
    def today(self) -> Any:
        return TODAY


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plugin:
    """The plugin that ``configure`` will load; today stands still."""
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    plugin = Plugin(hub.context_for(Settings.from_environ({"POD_NAMESPACE": "hub"})))
    plugin.grants = (workspace("cardio"), workspace("asthma", resources=Resources(limits={"cpu": "2"})))

    def create(name: str, context: Context) -> Plugin:
        assert name == "test"
        plugin.context = TodayContext(settings=context.settings, kube=context.kube, log=context.log)
        return plugin

    async def ensure(*_: object) -> None:
        pass

    monkeypatch.setattr(registry, "create", create)
    monkeypatch.setattr(manager, "ensure_claims", ensure)
    monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    return plugin


def configure_with(c: Config, **environ: str) -> Config:
    hub.configure(c, {"WORKSPACE_MANAGER": "test", "POD_NAMESPACE": "hub", **environ})
    return c


@pytest.fixture
def installed(plugin: Plugin) -> Config:
    """A config whose hooks ask ``plugin``."""
    return configure_with(Config())


class Handler:
    def __init__(self) -> None:
        self.status = 200
        self.settings: dict[str, Any] = {}
        self.current_user: Any = None

    def set_status(self, status: int) -> None:
        self.status = status


@pytest.fixture
async def spawner(installed: Config) -> Any:
    return make_spawner(installed)


def make_spawner(c: Config, name: str = "alice") -> Any:
    spawner = KubeSpawner(config=c, _mock=True)
    spawner.user = SimpleNamespace(name=name, escaped_name=name, url="/user/x/", id=1, state=None, settings={})
    spawner.handler = Handler()
    spawner.cmd = ["jupyterhub-singleuser"]
    return spawner


def test_settings_of_the_chart_stay_and_ours_are_there(plugin: Plugin) -> None:
    """L3: the environment reaches the spawner; personal claims are neither made nor deleted."""
    c = Config()
    c.JupyterHub.template_paths = ["/operators/own"]
    c.JupyterHub.spawner_class = "operators.Spawner"
    c.KubeSpawner.image_pull_policy = "Always"
    configure_with(c, KS_START_TIMEOUT="123")
    assert c.KubeSpawner.start_timeout == 123
    assert c.KubeSpawner.namespace == "hub"
    assert c.KubeSpawner.storage_pvc_ensure is False
    assert c.KubeSpawner.delete_pvc is False
    assert c.KubeSpawner.image_pull_policy == "Always"
    assert c.JupyterHub.spawner_class == "operators.Spawner"
    assert c.JupyterHub.template_paths == ["/operators/own", str(hub.templates_folder())]
    for hook in ("options_form", "profile_list", "modify_pod_hook", "auth_state_hook"):
        assert callable(c.KubeSpawner[hook])


def test_default_spawner_is_kubespawner(installed: Config) -> None:
    assert installed.JupyterHub.spawner_class == "kubespawner.KubeSpawner"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"KS_START_TIMEOUT": "15m"}, ("KS_START_TIMEOUT", "15m", "seconds")),
        ({"DEFAULT_STORAGE_CAPACITY": "10GB"}, ("DEFAULT_STORAGE_CAPACITY", "10GB", "10Gi")),
        (
            {"DEFAULT_STORAGE_ACCESS_MODES": "ReadWriteManny"},
            ("DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteManny", "ReadWriteMany"),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_environment_stops_the_hub_with_one_message(environ: dict[str, str], words: tuple[str, ...]) -> None:
    """L3: variable, value, what is accepted."""
    with pytest.raises(SystemExit) as caught:
        configure_with(Config(), **environ)
    for word in words:
        assert word in str(caught.value)


def test_unknown_manager_stops_the_hub() -> None:
    """L1: never a fallback."""
    with pytest.raises(SystemExit, match="keyclok"):
        hub.configure(Config(), {"WORKSPACE_MANAGER": "keyclok"})


def test_pods_in_namespaces_of_their_own_stop_the_hub(plugin: Plugin) -> None:
    c = Config()
    c.KubeSpawner.enable_user_namespaces = True
    with pytest.raises(SystemExit, match="enable_user_namespaces"):
        configure_with(c)


def test_hooks_survive_the_copy_that_each_spawner_makes(installed: Config) -> None:
    """A hook that was copied with its object would lose the cache, and be taken for a replaced one."""
    copied = copy.deepcopy(installed)
    assert copied.KubeSpawner.modify_pod_hook == installed.KubeSpawner.modify_pod_hook


async def test_form_shows_what_the_user_has(spawner: Any) -> None:
    """A3, F1: a radio for each open workspace, the last used one checked."""
    spawner.user_options = {"profile": "cardio"}
    html = await spawner.options_form(spawner)
    assert html.count('type="radio"') == 2
    assert 'value="cardio"' in html
    assert spawner.handler.status == 200


@pytest.mark.parametrize(
    ("failure", "status"),
    [(BackendUnavailable("down: secret"), 503), (RuntimeError("secret"), 503), (AccessDenied("secret"), 403)],
    ids=["unavailable", "broken", "denied"],
)
async def test_form_that_cannot_be_made_is_a_page_that_says_so(
    spawner: Any, plugin: Plugin, failure: Exception, status: int
) -> None:
    """A4: never an empty form, which would start a server at once."""
    plugin.failure = failure
    html = await spawner.options_form(spawner)
    assert html.strip()
    assert "radio" not in html
    assert "secret" not in html
    assert ("This is not open to you" if status == 403 else "cannot be shown right now") in html
    assert "You have no workspaces" not in html
    assert spawner.handler.status == status


async def test_texts_of_a_resource_are_escaped_on_the_form(spawner: Any, plugin: Plugin) -> None:
    """F1: KubeSpawner's own environment does not escape, and the hub prints the result as it is."""
    plugin.grants = (workspace(display_name="<img src=x>", description="<script>alert(1)</script>"),)
    html = await spawner.options_form(spawner)
    assert "&lt;img src=x&gt;" in html
    assert "<img" not in html
    assert "<script>alert" not in html


async def test_options_load_the_chosen_profile_only(spawner: Any) -> None:
    """A3: one profile, so that no slug of another workspace can be in a message."""
    spawner.user_options = {"profile": "asthma"}
    await spawner.load_user_options()
    assert (spawner.image, spawner.cpu_limit) == ("example/notebook:1.0", 2.0)
    assert [each["slug"] for each in await spawner.profile_list(spawner)] == ["asthma"]


@pytest.mark.parametrize(
    "options",
    [{}, {"profile": ""}, {"profile": "bobs"}, {"profile": 3}, {"other": "cardio"}, {"profile": ["cardio"]}],
    ids=repr,
)
async def test_options_that_choose_nothing_of_the_users_are_refused(spawner: Any, options: dict[str, Any]) -> None:
    """A3: a REST start with {}, a forged slug, a stale choice."""
    spawner.user_options = options
    with pytest.raises(hub.Refused) as caught:
        await spawner.load_user_options()
    assert caught.value.status_code == 403
    assert "asthma" not in str(caught.value)
    assert str(caught.value) == caught.value.jupyterhub_message == caught.value.log_message


async def test_nothing_of_the_last_workspace_is_left(installed: Config, plugin: Plugin) -> None:
    """S5: on the same spawner, one start after the other, with the hub's own defaults beneath."""
    installed.KubeSpawner.mem_limit = "1G"
    plugin.grants = (
        workspace(
            "cardio",
            image="cardio:1",
            default_url="/lab/cardio",
            labels={"only": "cardio"},
            node_selector={"pool": "cardio"},
            tolerations=({"key": "cardio"},),
            resources=Resources(limits={"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}),
        ),
        workspace("asthma", image="asthma:1"),
    )
    spawner = make_spawner(installed)
    pods = []
    for name in ("cardio", "asthma"):
        spawner.user_options = {"profile": name}
        await spawner.load_user_options()
        made = await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
        api = await plugin.context.kube.api()
        pods.append(api.sanitize_for_serialization(made))
    await plugin.context.kube.close()
    assert "cardio" not in repr(pods[1]).replace("jupyter-shared", "")
    notebook = pods[1]["spec"]["containers"][0]
    assert notebook["resources"]["limits"] == {"memory": 1024**3}
    assert (pods[1]["spec"].get("nodeSelector"), pods[1]["spec"].get("tolerations")) in ((None, None), ({}, []))
    assert pods[0]["spec"]["nodeSelector"] == {"pool": "cardio"}
    assert pods[0]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


async def test_pod_has_the_workspaces_storage_and_shows_no_secret(spawner: Any, plugin: Plugin) -> None:
    """S1, F1: and KubeSpawner, which logs a pod that it could not create, logs its name only."""
    spawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-alice"}}]
    spawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
    spawner.environment = {"SECRET": "hunter2"}
    spawner.user_options = {"profile": "cardio"}
    made = await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
    document = (await plugin.context.kube.api()).sanitize_for_serialization(made)
    await plugin.context.kube.close()
    claims = [each["persistentVolumeClaim"]["claimName"] for each in document["spec"]["volumes"]]
    assert claims == ["jupyter-cardio", "jupyter-shared"]
    assert document["metadata"]["labels"]["workspace"] == "cardio"
    assert document["metadata"]["annotations"]["workspace-managers/workspace"] == "cardio"
    assert {"name": "SECRET", "value": "hunter2"} in document["spec"]["containers"][0]["env"]
    assert made.metadata.name == document["metadata"]["name"]
    for shown in (made.to_str(), str(made), repr(made)):
        assert "hunter2" not in shown


async def test_hook_of_the_operator_runs_first(plugin: Plugin) -> None:
    """S1: what it mounts is taken off again, and what it sets stays."""
    c = Config()

    def operators(spawner: Any, pod: Any) -> Any:
        pod.spec.volumes = [{"name": "nfs", "nfs": {"server": "x", "path": "/"}}]
        pod.spec.priority_class_name = "high"
        return pod

    c.KubeSpawner.modify_pod_hook = operators
    spawner = make_spawner(configure_with(c))
    spawner.user_options = {"profile": "cardio"}
    made = await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
    assert [each["name"][:9] for each in made.spec["volumes"]] == ["workspace", "workspace"]
    assert made.spec["priorityClassName"] == "high"
    await plugin.context.kube.close()


async def test_hook_set_after_ours_refuses_every_start(installed: Config) -> None:
    """S1: without our hook nobody looks after the storage."""
    installed.KubeSpawner.modify_pod_hook = lambda _spawner, pod: pod
    spawner = make_spawner(installed)
    spawner.user_options = {"profile": "cardio"}
    with pytest.raises(hub.Refused) as caught:
        await spawner.load_user_options()
    assert caught.value.status_code == 403
    assert "modify_pod_hook was set after" in str(caught.value.__cause__)


async def test_pod_in_another_namespace_is_refused(spawner: Any, plugin: Plugin) -> None:
    """S1: its claims would be others of the same names."""
    spawner.user_options = {"profile": "cardio"}
    pod = await spawner.get_pod_manifest()
    spawner.namespace = "elsewhere"
    with pytest.raises(hub.Refused) as caught:
        await spawner.modify_pod_hook(spawner, pod)
    assert "elsewhere" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("auth_state", "claims"),
    [
        (None, {}),
        ({}, {}),
        ({"oauth_user": {"groups": ["a"]}, "access_token": "secret"}, {"groups": ("a",)}),
        ({"user": {"groups": ["b"]}}, {"groups": ("b",)}),
        ({"oauth_user": "text", "user": None}, {}),
    ],
    ids=["none", "empty", "oauth", "azure", "no-mapping"],
)
async def test_claims_of_this_login_reach_the_plugin(
    spawner: Any, plugin: Plugin, auth_state: Any, claims: dict[str, Any]
) -> None:
    """A2: the claims, and no token."""
    await spawner.auth_state_hook(spawner, {"oauth_user": {"groups": ["of an earlier login"]}})
    await spawner.auth_state_hook(spawner, auth_state)
    await spawner.options_form(spawner)
    assert plugin.asked[-1].identity_claims == claims


async def test_earlier_auth_state_hook_is_called(plugin: Plugin) -> None:
    seen: list[Any] = []
    c = Config()
    c.KubeSpawner.auth_state_hook = lambda _spawner, auth_state: seen.append(auth_state)
    spawner = make_spawner(configure_with(c))
    await spawner.auth_state_hook(spawner, {"a": 1})
    assert seen == [{"a": 1}]


@pytest.mark.parametrize(
    ("asker", "by"),
    [
        (SimpleNamespace(name="admin", admin=True), {"user": "admin"}),
        (orm.Service(name="bob"), {"service": "bob"}),
        (SimpleNamespace(name="bob", admin=True), None),
        (None, None),
    ],
    ids=["admin", "service", "bob", "nobody"],
)
async def test_server_of_another_is_asked_for_its_owner(
    installed: Config, plugin: Plugin, caplog: pytest.LogCaptureFixture, asker: Any, by: dict[str, str] | None
) -> None:
    """A3: an admin who starts bob's server starts what bob may open; the audit line says who did."""
    spawner = make_spawner(installed, "bob")
    spawner.handler.current_user = asker
    spawner.user_options = {"profile": "cardio"}
    with caplog.at_level(logging.INFO):
        await spawner.options_form(spawner)
        await spawner.load_user_options()
        await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
    await plugin.context.kube.close()
    assert [user.username for user in plugin.asked] == ["bob"] * 3
    told = [json.loads(each.getMessage()) for each in caplog.records if each.name == "JupyterHub.workspaces.audit"]
    assert [(line["user"], line["by"]) for line in told] == [("bob", by)] * 3


@pytest.mark.parametrize("failure", [AccessDenied("no"), BackendUnavailable("down")], ids=["denied", "unavailable"])
async def test_refusals_do_not_add_up_to_an_exit_of_the_hub(spawner: Any, plugin: Plugin, failure: Exception) -> None:
    """The hub counts one after a failed start, and exits at a few in a row; a refusal is no failure of the hub."""
    plugin.failure = failure
    spawner.user_options = {"profile": "cardio"}
    spawner._spawn_pending = True
    with pytest.raises(hub.Refused):
        await spawner.load_user_options()
    counted = isinstance(failure, BackendUnavailable) or jupyterhub.version_info[0] < 6
    assert spawner.handler.settings.get("failure_count", 0) == (-1 if counted else 0)


async def test_plugin_is_started_once_and_closed_at_the_end(spawner: Any, plugin: Plugin, installed: Config) -> None:
    adapter = installed.KubeSpawner.modify_pod_hook.__self__
    assert plugin.started == 0
    for _ in range(3):
        await spawner.options_form(spawner)
    assert plugin.started == 1
    await asyncio.sleep(0)
    adapter._keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adapter._keeper
    assert plugin.closed == 1


async def test_plugin_starts_with_the_hub_and_not_while_its_config_loads(plugin: Plugin) -> None:
    """L3; the first form need not wait for what the plugin reads first."""
    adapter = configure_with(Config()).KubeSpawner.modify_pod_hook.__self__
    assert plugin.started == 0
    await adapter._beginning
    assert plugin.started == 1
    await adapter.render_form(make_spawner(Config()))
    assert plugin.started == 1
    adapter._keeper.cancel()


async def test_plugin_that_does_not_start_with_the_hub_is_asked_again_by_the_first_form(
    plugin: Plugin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: the hub goes on, and says why it cannot answer yet."""
    failures = [BackendUnavailable("not there yet")]

    async def start() -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(plugin, "start", start)
    c = configure_with(Config())
    adapter = c.KubeSpawner.modify_pod_hook.__self__
    await adapter._beginning
    assert "has not started yet, and is asked to again by the next form: not there yet" in caplog.text
    assert "cardio" in await adapter.render_form(make_spawner(c))
    adapter._keeper.cancel()


def test_config_is_read_without_an_event_loop_too(plugin: Plugin) -> None:
    """As `jupyterhub token` does, which asks the plugin nothing."""
    adapter = configure_with(Config()).KubeSpawner.modify_pod_hook.__self__
    assert adapter._beginning is None


async def test_refusal_is_logged_with_its_cause_and_bounded(
    spawner: Any, plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A4, F1."""
    spawner.user_options = {"profile": "x" * 10_000}
    with caplog.at_level(logging.WARNING), pytest.raises(hub.Refused):
        await spawner.load_user_options()
    assert "denied at options for 'alice': 'alice' has no grant of the workspace 'xxx" in caplog.text
    assert len(caplog.text) < 1000
    plugin.failure = BackendUnavailable("the cause of it")
    with pytest.raises(hub.Refused):
        await spawner.load_user_options()
    assert "unavailable at options for 'alice': the cause of it" in caplog.text


async def test_each_decision_of_a_start_has_its_audit_line(
    spawner: Any, plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Form, options and pod, and a refusal that the hub itself makes."""
    plugin.grants = (workspace("cardio", versions={"workspace": "12", "binding": "34"}),)
    spawner.user_options = {"profile": "cardio"}
    with caplog.at_level(logging.INFO):
        await spawner.options_form(spawner)
        await spawner.load_user_options()
        await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
        spawner.namespace = "elsewhere"
        with pytest.raises(hub.Refused):
            await spawner.modify_pod_hook(spawner, await spawner.get_pod_manifest())
    await plugin.context.kube.close()
    versions = {"workspace": "12", "binding": "34"}
    told = [json.loads(each.getMessage()) for each in caplog.records if each.name == "JupyterHub.workspaces.audit"]
    assert {line["user"] for line in told} == {"alice"}
    assert [
        (line["decision"], line["workspace"], line["outcome"], line["rule"], line["versions"]) for line in told
    ] == [
        ("form", None, "allowed", None, {}),
        ("options", "cardio", "allowed", None, versions),
        ("pod", "cardio", "allowed", None, versions),
        ("pod", "cardio", "denied", "S1", {}),
    ]
