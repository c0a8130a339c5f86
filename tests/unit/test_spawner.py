"""Whole starts through the spawner class: one decision, one pod, what becomes of each failure (A1 to A4, S1, S5)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import jupyterhub
import pytest
from jupyterhub import orm
from kubernetes_asyncio.client import V1Pod
from kubernetes_asyncio.client.exceptions import ApiException
from kubespawner import KubeSpawner
from tornado import web
from traitlets.config import Config

from tests.factories import workspace
from tests.unit.spawners import Plugin, Pods, configure_with, make_spawner
from workspace_managers import (
    IDENTITY_CLAIMS,
    NAMESPACES,
    AccessDenied,
    BackendUnavailable,
    Resources,
    StorageRefused,
    engine,
)
from workspace_managers.decisions import AUDIT
from workspace_managers.hub import lab, refusals, waiting
from workspace_managers.hub import spawner as spawner_module
from workspace_managers.hub.refusals import Refused
from workspace_managers.names import server_name
from workspace_managers.timeouts import Timeouts


@pytest.fixture
def audit() -> Any:
    """The audit lines that are written, each read as JSON."""
    lines: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.loads(record.getMessage()))  # type: ignore[method-assign]
    AUDIT.addHandler(handler)
    yield lines
    AUDIT.removeHandler(handler)


@pytest.fixture
async def pods() -> Pods:
    return Pods()


@pytest.fixture
async def c(plugin: Plugin) -> Any:
    yield configure_with(Config())
    await plugin.context.kube.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unbound(*_: Any) -> dict[str, str]:
        return {}

    monkeypatch.setattr(spawner_module, "unbound", unbound)
    for name in ("LOOK_SECONDS", "WAITING_SECONDS", "_SECOND"):
        monkeypatch.setattr(spawner_module, name, 0.01)


async def created(pods: Pods) -> None:
    """Wait until there is a pod."""
    async with asyncio.timeout(20):
        while not pods.there:  # noqa: ASYNC110 - the pods tell nobody
            await asyncio.sleep(0.01)


async def refusal_of(spawner: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await spawner.start()
    return caught.value


async def test_pod_is_made_from_the_grant_and_nothing_stays_on_the_spawner(
    plugin: Plugin, pods: Pods, c: Config
) -> None:
    """S5: one start after the other on one spawner, with the hub's own values beneath, read at each start."""
    c.KubeSpawner.mem_limit = "1G"
    plugin.grants = (
        workspace(
            "cardio",
            image="cardio:1",
            default_url="/lab/{cardio}",
            labels={"only": "cardio"},
            node_selector={"pool": "cardio"},
            tolerations=({"key": "cardio", "operator": "Exists"},),
            resources=Resources(limits={"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}),
            versions={"workspace": "12", "binding": "34"},
        ),
        workspace("asthma", image="asthma:1"),
    )
    spawner = make_spawner(c, pods=pods)
    for name in ("cardio", "asthma"):
        spawner.user_options = {"profile": name}
        await spawner.start()
        pods.there.clear()
        spawner.mem_limit = "3G"  # as a pre_spawn_hook or group_overrides do, before the second start
    first, second = (pod["spec"]["containers"][0] for pod in pods.created)
    assert first["image"] == "cardio:1"
    assert first["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    env = {each["name"]: each.get("value") for each in first["env"]}
    assert (env["MEM_LIMIT"], env["CPU_LIMIT"], env["JUPYTERHUB_DEFAULT_URL"]) == ("4294967296", "2.0", "/lab/{cardio}")
    assert pods.created[0]["spec"]["nodeSelector"] == {"pool": "cardio"}
    assert json.loads(pods.created[0]["metadata"]["annotations"]["workspace-managers/versions"]) == {
        "workspace": "12",
        "binding": "34",
    }
    assert "cardio" not in repr(pods.created[1]).replace("jupyter-shared", "")
    assert second["resources"]["limits"] == {"memory": 3 * 1024**3}
    assert (spawner.image, spawner.cpu_limit, spawner.default_url) == (KubeSpawner.image.default_value, None, "")


@pytest.mark.parametrize("options", [{}, {"profile": ""}, {"other": "cardio"}, {"profile": None}, [], "x"], ids=repr)
async def test_nothing_chosen_is_a_bad_request(pods: Pods, c: Config, options: Any) -> None:
    """A3: a REST start with {} names nothing, which is no denial."""
    spawner = make_spawner(c, pods=pods)
    spawner._trait_values["user_options"] = options  # past the trait's check, as an older row may
    refused = await refusal_of(spawner)
    assert refused.status_code == 400
    assert "No workspace was chosen" in str(refused)
    assert not pods.created


@pytest.mark.parametrize("name", ["bobs", "CARDIO", "cardio ", "x" * 10_000], ids=["another", "case", "blank", "long"])
async def test_what_is_not_the_users_is_denied(
    pods: Pods, c: Config, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A2, A4: and nothing of the user's own is in the answer, nothing unbounded in the log."""
    spawner = make_spawner(c, pods=pods, profile=name)
    refused = await refusal_of(spawner)
    assert refused.status_code == 403
    assert "asthma" not in str(refused)
    assert str(refused) == refused.jupyterhub_message == refused.log_message
    assert "denied at pod for 'alice': 'alice' has no grant of the workspace" in caplog.text
    assert len(caplog.text) < 1000
    assert not pods.created


# What else the configuration sets


async def test_hook_of_the_operator_is_called_and_ours_has_the_last_word(plugin: Plugin, pods: Pods, c: Config) -> None:
    """S1, S5: what it mounts is taken off, the image and the label are the workspace's; what is its own stays."""
    called: list[str] = []

    async def theirs(_spawner: Any, pod: Any) -> Any:
        called.append(pod.spec.containers[0].image)
        pod.spec.volumes = [{"name": "nfs", "nfs": {"server": "x", "path": "/"}}]
        pod.spec.containers[0].image = "operators:1"
        pod.metadata.labels["workspace"] = "asthma"
        pod.spec.priority_class_name = "high"
        return pod

    c.KubeSpawner.modify_pod_hook = theirs  # set after ours
    spawner = make_spawner(c, pods=pods, profile="cardio")
    for _ in range(2):
        await spawner.start()
        pods.there.clear()
    assert called == ["example/notebook:1.0"] * 2
    for pod in pods.created:
        *claims, lab = pod["spec"]["volumes"]
        assert [each["persistentVolumeClaim"]["claimName"] for each in claims] == ["jupyter-cardio", "jupyter-shared"]
        assert lab.keys() == {"name", "downwardAPI"}
        assert pod["spec"]["containers"][0]["image"] == "example/notebook:1.0"
        assert pod["metadata"]["labels"]["workspace"] == "cardio"
        assert pod["spec"]["priorityClassName"] == "high"
    assert spawner.modify_pod_hook is theirs


@pytest.mark.parametrize(
    ("folder", "there"), [("/usr/local/share/jupyter", False), ("/opt/site", True)], ids=["in-the-way", "elsewhere"]
)
async def test_start_goes_on_where_jupyterlab_cannot_tell_the_end(
    pods: Pods, c: Config, folder: str, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """E2: an operator's mount is in the way of the extension, and the log says so."""
    caplog.set_level(logging.INFO)
    c.KubeSpawner.volumes = [{"name": "site", "configMap": {"name": "site"}}]
    c.KubeSpawner.volume_mounts = [{"name": "site", "mountPath": folder}]
    await make_spawner(c, pods=pods, profile="cardio").start()
    (pod,) = pods.created
    mounts = [each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"]]
    assert folder in mounts
    assert any(path.startswith(lab.FOLDER) for path in mounts) is there
    assert (f"{lab.ANNOTATION}{lab.ACCESS}" in pod["metadata"]["annotations"]) is there
    told = f"JupyterLab does not tell when access ends: '{folder}' is mounted where it would be"
    assert (told in caplog.text) is not there


@pytest.mark.parametrize("section", ["KubeSpawner", "Spawner", "WorkspaceSpawner"])
@pytest.mark.parametrize(
    "profiles",
    [
        [],
        [{"display_name": "cardio", "slug": "cardio", "kubespawner_override": {"image": "operators:1"}}],
        lambda _: [],
    ],
    ids=["empty", "same-slug", "callable"],
)
async def test_profiles_of_the_operator_have_no_effect(pods: Pods, c: Config, section: str, profiles: Any) -> None:
    """S5: neither the image of a profile nor the base config of an empty list."""
    c[section].profile_list = profiles
    c[section].options_form = "<b>theirs</b>"
    c[section].storage_pvc_ensure = True
    spawner = make_spawner(c, pods=pods, profile="cardio")
    assert 'value="cardio"' in await spawner.get_options_form()
    await spawner.start()
    assert pods.created[0]["spec"]["containers"][0]["image"] == "example/notebook:1.0"


async def test_other_pod_than_the_decided_one_is_never_created(pods: Pods, c: Config) -> None:
    """S1: whatever code has the spawner's client."""
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    with pytest.raises(Exception, match="not the one that was decided on"):
        await spawner.api.create_namespaced_pod("hub", V1Pod())
    assert len(pods.created) == 1


def moves(spawner: Any, pod: Any) -> Any:
    """A hook that has the pod elsewhere."""
    spawner.namespace = "elsewhere"
    return pod


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda s: setattr(s, "modify_pod_hook", moves), "elsewhere", id="namespace"),
        pytest.param(lambda s: setattr(s, "modify_pod_hook", lambda *_: None), "modify_pod_hook answered", id="no-pod"),
        pytest.param(lambda s: setattr(s, "modify_pod_hook", _other_name), "modify_pod_hook answered", id="other-name"),
        pytest.param(lambda s: setattr(s, "modify_pod_hook", _raises), "KeyError", id="raises"),
    ],
)
async def test_mistake_of_the_operator_is_no_denial(
    pods: Pods, c: Config, caplog: pytest.LogCaptureFixture, spoil: Callable[[Any], None], words: str
) -> None:
    """Not 403: the user has access, and cannot help."""
    spawner = make_spawner(c, pods=pods, profile="cardio")
    spawner.reflectors.update({("pods", "elsewhere"): pods, ("events", "elsewhere"): pods})
    spoil(spawner)
    refused = await refusal_of(spawner)
    assert refused.status_code == 500
    assert "not set up right" in str(refused)
    assert words in caplog.text
    assert spawner.handler.settings["failure_count"] == -1
    assert not pods.created


def _other_name(_spawner: Any, pod: Any) -> Any:
    pod.metadata.name = "jupyter-bob"
    return pod


def _raises(_spawner: Any, _pod: Any) -> Any:
    raise KeyError("label")


async def test_answer_of_an_operators_hook_is_its_own(pods: Pods, c: Config) -> None:
    c.KubeSpawner.modify_pod_hook = _teapot
    with pytest.raises(web.HTTPError) as caught:
        await make_spawner(c, pods=pods, profile="cardio").start()
    assert caught.value.status_code == 418


def _teapot(*_: Any) -> Any:
    raise web.HTTPError(418)


# What fails after the decision


def api_error(status: int, message: str, reason: str = "Forbidden") -> ApiException:
    error = ApiException(status=status)
    error.body = json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()
    return error


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "sentence"),
    [
        pytest.param(
            api_error(403, 'pods "x" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=1'),
            *("refused", 503, waiting.ROOM.failed),
            id="quota",
        ),
        pytest.param(
            api_error(403, 'pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 4Gi'),
            *("refused", 503, refusals.TOO_LARGE),
            id="limit-range",
        ),
        pytest.param(
            api_error(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'),
            *("refused", 503, "did not accept"),
            id="pod-security",
        ),
        pytest.param(
            api_error(400, 'admission webhook "x.example.org" denied the request: no'),
            *("refused", 503, "did not accept"),
            id="webhook",
        ),
        pytest.param(api_error(422, "Pod is invalid", "Invalid"), "refused", 503, "did not accept", id="invalid"),
        pytest.param(
            api_error(403, 'pods is forbidden: User "x" cannot create resource "pods"'),
            *("failed", 500, "not set up right"),
            id="no-right",
        ),
        pytest.param(api_error(404, 'namespaces "hub" not found'), "failed", 500, "not set up right", id="namespace"),
        pytest.param(api_error(500, "etcdserver: no leader"), "unavailable", 503, refusals.AWAY, id="500"),
        pytest.param(api_error(429, "too many requests"), "unavailable", 503, refusals.AWAY, id="429"),
        pytest.param(api_error(401, "Unauthorized"), "unavailable", 503, refusals.AWAY, id="401"),
        pytest.param(aiohttp.ClientError("reset"), "unavailable", 503, refusals.AWAY, id="connection"),
        pytest.param(OSError("unreachable"), "unavailable", 503, refusals.AWAY, id="network"),
    ],
)
async def test_pod_that_the_cluster_does_not_take_is_told_as_what_it_is(  # noqa: PLR0917 - fixtures and one row of the table
    pods: Pods, c: Config, audit: list[Any], answer: Exception, outcome: str, status: int, sentence: str
) -> None:
    """A sentence, an outcome that is not "allowed", and no step toward the hub's exit."""

    def refuse() -> None:
        raise answer

    pods.before = refuse
    spawner = make_spawner(c, pods=pods, profile="cardio")
    refused = await refusal_of(spawner)
    assert refused.status_code == status
    assert sentence in str(refused)
    assert "What is saved in the folder of a workspace is kept." in str(refused)
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", outcome)]
    assert spawner.handler.settings["failure_count"] == -1
    assert ("Retry-After" in refused.headers) is (outcome == "unavailable")


async def test_pod_that_never_gets_ready_is_told_by_its_last_warning(
    pods: Pods, c: Config, audit: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before JupyterHub itself gives up, which would know no reason and count it."""
    pods.running = False
    warning = {
        "involvedObject": {"name": "jupyter-alice"},
        "metadata": {"uid": "1"},
        "type": "Warning",
        "reason": "FailedScheduling",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }
    pods.before = lambda: pods.events.append(warning)
    c.KubeSpawner.start_timeout = 1
    spawner = make_spawner(c, pods=pods, profile="cardio")
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(spawner_module, "WAITING_SECONDS", 0.01)
    spawner.pod_name = "jupyter-alice"
    refused = await refusal_of(spawner)
    assert str(refused) == waiting.ROOM.failed
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", "allowed"), ("start", "failed")]
    assert audit[0]["request"] == audit[1]["request"]
    assert audit[1]["pod"] == {"name": "jupyter-alice", "uid": "uid-0"}
    assert spawner.handler.settings["failure_count"] == -1


async def test_server_that_never_answers_does_not_count(pods: Pods, c: Config, audit: list[Any]) -> None:
    """JupyterHub waits for it after the start, and would count each time."""
    spawner = make_spawner(c, pods=pods, profile="cardio")

    async def silent(**_: Any) -> None:
        raise TimeoutError("no answer")

    spawner.server.wait_up = silent
    await spawner.start()
    with pytest.raises(Refused) as caught:
        await spawner.server.wait_up(http=True)
    assert str(caught.value) == refusals.SILENT
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", "allowed"), ("start", "failed")]
    assert spawner.handler.settings["failure_count"] == -1


@pytest.mark.usefixtures("quick_looks")
async def test_pod_that_ends_before_the_hub_waits_for_its_answer_is_not_waited_for(pods: Pods, c: Config) -> None:
    """The hub has other things to do between a start and the wait for its server's answer."""
    spawner = make_spawner(c, pods=pods, profile="cardio")

    async def silent(**_: Any) -> None:
        await asyncio.sleep(60)

    spawner.server.wait_up = silent
    await spawner.start()
    status = pods.there[spawner.pod_name]["status"]
    status["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}
    status["phase"] = "Failed"
    async with asyncio.timeout(20):
        await spawner._attempt.looks
        with pytest.raises(Refused):
            await spawner.server.wait_up(http=True)


@pytest.mark.parametrize("over", [False, True], ids=["tried again", "over"])
@pytest.mark.usefixtures("quick_looks")
async def test_server_that_ended_before_it_answered_is_told_as_that(
    pods: Pods, c: Config, audit: list[Any], over: bool
) -> None:
    """A pod without a probe is ready as soon as its container runs, for a moment."""
    spawner = make_spawner(c, pods=pods, profile="cardio")

    async def silent(**_: Any) -> None:
        await asyncio.sleep(60 if over else 0.2)
        raise TimeoutError("no answer")

    spawner.server.wait_up = silent
    events = spawner.progress()
    await spawner.start()
    status = pods.there[spawner.pod_name]["status"]
    status["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    status["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "message": "no module"}}
    if over:
        status["phase"] = "Failed"
    answered = asyncio.ensure_future(spawner.server.wait_up(http=True))
    async with asyncio.timeout(20):
        if not over:
            assert (await anext(events))["message"] == waiting.ENDED.waiting
        with pytest.raises(Refused) as caught:
            await answered
        assert [event async for event in events] == []
    assert str(caught.value) == waiting.ENDED.failed
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", "allowed"), ("start", "failed")]


async def test_creation_that_is_repeated_is_confirmed_again(
    plugin: Plugin, pods: Pods, c: Config, audit: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: KubeSpawner goes on for 30 s after a creation that was not answered; the grant has ended meanwhile."""
    plugin.context.kube.timeouts = Timeouts(confirmed=0.0)
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    c.KubeSpawner.k8s_api_request_timeout = 1
    created = pods.create_namespaced_pod

    async def late() -> None:
        pods.before = lambda: None
        plugin.grants = ()
        # The API server makes the pod in the end, and nobody hears of it.
        asyncio.get_running_loop().call_later(1.5, lambda: asyncio.ensure_future(created("hub", spawner._attempt.pod)))
        await asyncio.sleep(60)

    pods.before = late
    spawner = make_spawner(c, pods=pods, profile="cardio")
    refused = await refusal_of(spawner)
    assert refused.status_code == 403
    assert [(line["decision"], line["outcome"], line["rule"]) for line in audit] == [("pod", "denied", "A2")]
    async with asyncio.timeout(20):
        while not pods.deleted:  # noqa: ASYNC110 - the pods tell nobody
            await asyncio.sleep(0.01)
    assert not pods.there


async def test_pod_of_another_start_is_left_alone(pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed after a failed start is the pod of that request, by its UID."""
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    await spawner_module._remove(pods, "hub", spawner.pod_name, "another-start", 0.02)
    assert pods.there
    await spawner_module._remove(pods, "hub", spawner.pod_name, spawner._attempt.decision.request, 0.02)
    assert not pods.there


async def test_pod_that_comes_up_after_its_server_was_stopped_is_removed(
    plugin: Plugin, pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: its first creation is done after all when the second one has come and gone."""
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    c.KubeSpawner.k8s_api_request_timeout = 1

    async def never_answered() -> None:
        pods.before = lambda: None
        await asyncio.sleep(60)

    pods.before = never_answered
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    await spawner.stop(now=True)
    assert len(pods.deleted) == 1
    await pods.create_namespaced_pod("hub", spawner._attempt.pod)
    async with asyncio.timeout(20):
        while len(pods.deleted) < 2:  # noqa: ASYNC110 - the pods tell nobody
            await asyncio.sleep(0.01)
    assert not pods.there


async def test_pod_that_makes_room_for_another_of_its_start_takes_that_one_not_with_it(
    pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KubeSpawner finds the pod of a creation that was not answered, stops it within the start, and creates another."""
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    c.KubeSpawner.k8s_api_request_timeout = 1
    spawner = make_spawner(c, pods=pods, profile="cardio")

    def conflict() -> None:
        pods.before = lambda: None
        raise ApiException(status=409)

    async def answered_too_late() -> None:
        pods.before = lambda: None
        await pods.create_namespaced_pod("hub", spawner._attempt.pod)
        pods.before = conflict
        await asyncio.sleep(60)

    pods.before = answered_too_late
    await spawner.start()
    await asyncio.sleep(0.05)
    assert [pod["metadata"]["uid"] for pod in pods.created] == ["uid-0", "uid-1"]
    assert [pod["metadata"]["uid"] for pod in pods.there.values()] == [spawner.pod_id]


async def test_pod_is_looked_for_while_another_start_has_the_name(
    pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod of a start that failed comes up once the pod of the next one has gone."""
    monkeypatch.setattr(spawner_module, "LOOK_SECONDS", 0.01)
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    late = spawner._attempt.pod
    request = spawner._attempt.decision.request
    await spawner.stop(now=True)
    await spawner.start()
    removing = asyncio.create_task(spawner_module._remove(pods, "hub", spawner.pod_name, request, 60.0))
    await asyncio.sleep(0.05)
    assert len(pods.there) == 1
    await spawner.stop(now=True)
    await pods.create_namespaced_pod("hub", late)
    async with asyncio.timeout(20):
        while len(pods.deleted) < 3:  # noqa: ASYNC110 - the pods tell nobody
            await asyncio.sleep(0.01)
    removing.cancel()
    assert not pods.there


async def test_workspace_that_changed_between_choice_and_pod_is_decided_by_what_it_says_now(
    plugin: Plugin, pods: Pods, c: Config, audit: list[Any]
) -> None:
    """A3, S5: image, limits, URL, labels, storage and annotation come from one version."""
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.get_options_form()
    plugin.grants = (workspace("cardio", image="new:2", versions={"workspace": "2"}, labels={"v": "2"}),)
    await spawner.start()
    pod = pods.created[0]
    assert pod["spec"]["containers"][0]["image"] == "new:2"
    assert pod["metadata"]["labels"]["v"] == "2"
    assert pod["metadata"]["annotations"]["workspace-managers/versions"] == '{"workspace": "2"}'
    assert audit[-1]["versions"] == {"workspace": "2"}


async def test_workspace_that_changes_while_claims_are_made_is_made_anew(
    plugin: Plugin, pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: the second answer is the one that the pod is made from."""
    plugin.context.kube.timeouts = Timeouts(confirmed=0.0)

    async def slow(*_: object, **__: object) -> None:
        plugin.grants = (workspace("cardio", image="new:2", versions={"workspace": "2"}),)

    monkeypatch.setattr(engine, "ensure_claims", slow)
    await make_spawner(c, pods=pods, profile="cardio").start()
    assert pods.created[0]["spec"]["containers"][0]["image"] == "new:2"
    assert pods.created[0]["metadata"]["annotations"]["workspace-managers/versions"] == '{"workspace": "2"}'


# Reflectors


def gave_up(reflector: Pods) -> None:
    reflector.watch_task = SimpleNamespace(done=lambda: True)  # type: ignore[assignment]


def never_loaded(reflector: Pods) -> None:
    reflector.first_load_future = asyncio.get_running_loop().create_future()
    reflector.first_load_future.set_exception(OSError("away"))


@pytest.mark.parametrize("spoil", [gave_up, never_loaded])
async def test_reflector_that_gave_up_is_replaced_before_a_start_relies_on_it(
    pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Pods], None]
) -> None:
    replaced: list[str] = []

    async def start_reflector(self: Any, kind: str, *_: Any, replace: bool = False, **__: Any) -> None:
        if replace:
            replaced.append(kind)
            self.reflectors[(kind, "hub")] = fresh

    fresh = Pods()
    fresh.there = pods.there
    monkeypatch.setattr(KubeSpawner, "_start_reflector", start_reflector)
    monkeypatch.setattr(KubeSpawner, "_start_watching_pods", _watching("pods"))
    monkeypatch.setattr(KubeSpawner, "_start_watching_events", _watching("events"))
    spawner = make_spawner(c, pods=pods, profile="cardio")
    spoil(pods)
    await spawner.start()
    assert sorted(replaced) == ["events", "pods"]
    await spawner.poll()
    assert len(replaced) == 2


def _watching(kind: str) -> Any:
    async def watch(self: Any, replace: bool = False) -> Any:
        return await self._start_reflector(kind, replace=replace)

    return watch


# Who asks, and what is known of them


@pytest.mark.parametrize(
    ("key", "auth_state", "claims"),
    [
        (None, None, None),
        (None, {}, {}),
        (None, {"oauth_user": {"groups": ["a"]}, "access_token": "secret"}, {"groups": ["a"]}),
        (None, {"user": {"groups": ["b"]}}, {"groups": ["b"]}),
        (None, {"oauth_user": "text"}, None),
        ("github_user", {"github_user": {"login": "a"}, "user": {"groups": ["b"]}}, {"login": "a"}),
        ("github_user", {"oauth_user": {"groups": ["a"]}}, None),
        ("user", "text", None),
    ],
    ids=["lost", "empty", "oauth", "azure", "no-mapping", "named", "named-missing", "unreadable"],
)
async def test_identity_claims_are_those_of_the_key_that_the_authenticator_names(
    plugin: Plugin, c: Config, key: str | None, auth_state: Any, claims: Any
) -> None:
    """A2, E6: unknown is not none; and no token."""
    spawner = make_spawner(c)
    await with_auth_state(spawner, auth_state, key)
    await spawner.get_options_form()
    found: Any = plugin.asked[-1].identity_claims
    assert found is None if claims is None else json.loads(json.dumps(dict(found))) == claims


async def with_auth_state(spawner: Any, auth_state: Any, key: str | None = None) -> None:
    async def get_auth_state() -> Any:
        if isinstance(auth_state, Exception):
            raise auth_state
        return auth_state

    spawner.user.authenticator = SimpleNamespace(enable_auth_state=True, user_auth_state_key=key)
    spawner.user.get_auth_state = get_auth_state
    told = SimpleNamespace(at=datetime.now(UTC).replace(tzinfo=None))
    spawner.user.orm_user = SimpleNamespace(id=1, encrypted_auth_state=b"something")
    spawner.user.db = SimpleNamespace(get=lambda *_: told)


@pytest.mark.parametrize("state", [None, RuntimeError("no key")], ids=["lost", "unreadable"])
async def test_lost_identity_claims_ask_to_sign_in_again(  # noqa: PLR0917 - fixtures
    plugin: Plugin, pods: Pods, c: Config, audit: list[Any], monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    """E6: neither a grant nor "no workspaces" nor a denial; what does not depend on claims goes on."""
    monkeypatch.setattr(Plugin, "capabilities", frozenset({IDENTITY_CLAIMS}))
    spawner = make_spawner(c, pods=pods, profile="by-claims")
    await with_auth_state(spawner, state)
    html = await spawner.get_options_form()
    assert 'value="cardio"' in html
    assert "You may have more workspaces" in html
    refused = await refusal_of(spawner)
    assert (refused.status_code, refused.headers) == (403, {})
    assert "sign in again" in str(refused)
    assert (audit[-1]["outcome"], audit[-1]["rule"]) == ("unknown", "E6")
    plugin.grants = ()
    html = await spawner.get_options_form()
    assert "Please sign in again" in html
    assert "no workspaces yet" not in html
    plugin.grants = (workspace("cardio"),)
    spawner.user_options = {"profile": "cardio"}
    await spawner.start()


@pytest.mark.parametrize("section", ["KubeSpawner", "Spawner"])
async def test_auth_state_hook_of_the_operator_is_called(c: Config, section: str) -> None:
    seen: list[Any] = []
    c[section].auth_state_hook = lambda _spawner, auth_state: seen.append(auth_state)
    await make_spawner(c).run_auth_state_hook({"a": 1})
    assert seen == [{"a": 1}]


@pytest.mark.parametrize(
    ("asker", "by"),
    [
        (SimpleNamespace(name="admin", admin=True), {"user": "admin"}),
        (orm.Service(name="bob"), {"service": "bob"}),
        (SimpleNamespace(name="bob", admin=True), {"user": "bob"}),
        (None, {"hub": "jupyterhub"}),
    ],
    ids=["admin", "service", "bob", "nobody"],
)
async def test_server_of_another_is_asked_for_its_owner(  # noqa: PLR0917 - fixtures
    plugin: Plugin, pods: Pods, c: Config, audit: list[Any], asker: Any, by: dict[str, str]
) -> None:
    """A3: an admin who starts bob's server starts what bob may open; each audit line says who did."""
    spawner = make_spawner(c, "bob", pods, profile="cardio")
    spawner.handler.current_user = asker
    await spawner.get_options_form()
    await spawner.start()
    assert {user.username for user in plugin.asked} == {"bob"}
    assert [(line["decision"], line["user"], line["by"]) for line in audit] == [("form", "bob", by), ("pod", "bob", by)]


# Audit


async def test_audit_line_has_what_an_auditor_asks_for(
    plugin: Plugin, pods: Pods, c: Config, audit: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """One line a decision: who, what, how it ended, on which versions, and the pod that is there in consequence."""
    plugin.grants = (workspace("cardio", versions={"workspace": "12", "binding": "34"}),)
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    line = audit[0]
    assert line.pop("time").endswith("+00:00")
    assert line.pop("request") == pods.created[0]["metadata"]["annotations"]["workspace-managers/start"]
    assert line == {
        "decision": "pod",
        "user": "alice",
        "by": {"hub": "jupyterhub"},
        "server": "",
        "workspace": "cardio",
        "outcome": "allowed",
        "rule": None,
        "versions": {"workspace": "12", "binding": "34"},
        "pod": {"name": spawner.pod_name, "uid": "uid-0"},
    }
    plugin.failure = BackendUnavailable("the cause of it")
    await refusal_of(spawner)
    assert f"Request {audit[1]['request']}: unavailable at pod for 'alice': the cause of it" in caplog.text


async def test_no_level_of_the_hub_turns_the_audit_off(
    pods: Pods, c: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_log = logging.getLogger("JupyterHub")
    level = hub_log.level
    hub_log.setLevel(logging.CRITICAL)
    try:
        await make_spawner(c, pods=pods, profile="cardio").start()
    finally:
        hub_log.setLevel(level)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('{"decision": ')]
    assert [json.loads(line)["outcome"] for line in lines] == ["allowed"]


async def test_start_that_is_broken_off_is_told_as_failed(pods: Pods, c: Config, audit: list[Any]) -> None:
    pods.before = lambda: asyncio.sleep(60)
    start = make_spawner(c, pods=pods, profile="cardio").start()
    await asyncio.sleep(0.3)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", "failed")]


# Counting


@pytest.mark.parametrize(
    "failure",
    [AccessDenied("no"), BackendUnavailable("down"), StorageRefused("no"), RuntimeError("bug")],
    ids=lambda error: type(error).__name__,
)
async def test_refusals_do_not_add_up_to_an_exit_of_the_hub(
    plugin: Plugin, pods: Pods, c: Config, failure: Exception
) -> None:
    """The hub counts one after a failed start, and exits at a few in a row."""
    plugin.failure = failure
    spawner = make_spawner(c, pods=pods, profile="cardio")
    refused = await refusal_of(spawner)
    counted = refused.status_code >= 500 or jupyterhub.version_info[0] < 6
    assert spawner.handler.settings.get("failure_count", 0) == (-1 if counted else 0)


async def test_form_counts_for_nothing(plugin: Plugin, c: Config) -> None:
    plugin.failure = BackendUnavailable("down")
    spawner = make_spawner(c)
    await spawner.get_options_form()
    assert spawner.handler.status == 503
    assert spawner.handler.headers == {"Retry-After": "30"}
    assert spawner.handler.settings == {}


async def test_pod_shows_no_secret(pods: Pods, c: Config) -> None:
    """F1: KubeSpawner logs a pod that it could not create, by its ``to_str``."""
    c.KubeSpawner.environment = {"SECRET": "hunter2"}
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    pod = spawner._attempt.pod
    assert {"name": "SECRET", "value": "hunter2"} in pods.created[0]["spec"]["containers"][0]["env"]
    for shown in (pod.to_str(), str(pod), repr(pod)):
        assert "hunter2" not in shown


# What a start waits for, and what became of a server


@pytest.mark.usefixtures("quick_looks")
async def test_progress_says_what_the_start_waits_for_until_it_goes_on(
    pods: Pods, c: Config, caplog: pytest.LogCaptureFixture
) -> None:
    pods.running = False
    spawner = make_spawner(c, pods=pods, profile="cardio")
    start = spawner.start()
    events = spawner.progress()

    async def said() -> Any:
        async with asyncio.timeout(20):
            return await anext(events)

    await created(pods)
    state = pods.there[spawner.pod_name]["status"]["containerStatuses"][0]
    pods.there[spawner.pod_name]["spec"]["nodeName"] = "node1"
    state["state"] = {"waiting": {"reason": "ErrImagePull"}}
    assert await said() == {"progress": 0, "message": waiting.IMAGE.waiting, "waits": True}
    state["state"] = {"waiting": {"reason": "ContainerCreating"}}
    assert await said() == {"progress": 0, "message": "It goes on now.", "waits": False}
    state |= {"ready": True, "state": {"running": {}}}
    pods.there[spawner.pod_name]["status"]["phase"] = "Running"
    await start
    await spawner.server.wait_up()
    assert [event async for event in events] == []
    assert f"the start of '{spawner.pod_name}' waits for its image: " in caplog.text
    assert "waits no more" in caplog.text


async def test_progress_tells_of_this_start_alone_in_plain_words(pods: Pods, c: Config) -> None:
    """A pod has the name of the one before; Kubernetes keeps events for an hour."""

    def event(uid: str, reason: str) -> dict[str, Any]:
        return {
            "metadata": {"uid": f"{uid}-{reason}"},
            "involvedObject": {"name": spawner.pod_name, "uid": uid},
            "lastTimestamp": "2030-01-07T12:00:00Z",
            "type": "Normal",
            "reason": reason,
            "message": f"{reason} {uid}",
        }

    pods.running = False
    spawner = make_spawner(c, pods=pods, profile="cardio")
    start = spawner.start()
    await created(pods)
    uids = ("of-before", spawner._attempt.decision.uid)
    pods.events += [event(uid, reason) for uid in uids for reason in ("Scheduled", "Pulled", "Unheard")]
    told = []
    async with asyncio.timeout(20):
        async for each in spawner.progress():
            told.append((each["message"].split()[-2:], each["step"]))
            if len(told) == 3:
                break
    assert told == [
        (["Scheduled", uids[1]], "A machine has been found for it."),
        (["Pulled", uids[1]], "Its software is there."),
        (["Unheard", uids[1]], ""),
    ]
    start.cancel()
    await asyncio.wait([start])


@pytest.mark.parametrize("when", ["pod", "answer"])
async def test_start_that_was_broken_off_is_not_ready(pods: Pods, c: Config, when: str) -> None:
    """JupyterHub tells the page of a start so as it ends, and the page would leave for a server that is not there."""
    pods.running = when == "answer"
    spawner = make_spawner(c, pods=pods, profile="cardio")

    async def silent(**_: Any) -> None:
        await asyncio.Event().wait()

    spawner.server.wait_up = silent
    waits = spawner.start()
    await created(pods)
    await asyncio.sleep(0.1)
    if when == "answer":
        await waits
        waits = asyncio.ensure_future(spawner.server.wait_up())
        await asyncio.sleep(0)
        assert spawner.ready
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert not spawner.ready


async def test_pod_of_a_start_that_goes_on_is_not_deleted_as_ended(pods: Pods, c: Config) -> None:
    """Its container has ended and is started anew; the hub looks at a start that takes ten seconds."""
    pods.running = False
    spawner = make_spawner(c, pods=pods, profile="cardio")
    start = spawner.start()
    async with asyncio.timeout(20):
        await created(pods)
        status = pods.there[spawner.pod_name]["status"]
        notebook = status["containerStatuses"][0]
        status["phase"] = "Running"
        notebook["state"] = {"terminated": {"reason": "Error", "exitCode": 3}}
        assert await spawner.poll() is None
        assert pods.there
        notebook |= {"ready": True, "state": {"running": {}}}
        await start
        notebook["state"] = {"terminated": {"reason": "Error", "exitCode": 3}}
        assert await spawner.poll() is None, "it has run for a moment, and has not answered"
        await spawner.server.wait_up()
        await asyncio.sleep(0)
        assert await spawner.poll() == 3


@pytest.mark.usefixtures("quick_looks")
async def test_pod_that_has_ended_is_not_waited_for(pods: Pods, c: Config, audit: list[Any]) -> None:
    """It never gets ready: the start ends with it, and not after a quarter of an hour."""
    pods.running = False
    spawner = make_spawner(c, pods=pods, profile="cardio")
    start = spawner.start()
    async with asyncio.timeout(20):
        await created(pods)
        await asyncio.sleep(0.1)  # a cancellation just as a pod is created is lost in Python 3.11's wait_for
        pods.there[spawner.pod_name]["status"] |= {"phase": "Failed", "reason": "Evicted"}
        with pytest.raises(Refused) as caught:
            await start
    assert str(caught.value) == waiting.ROOM.failed
    assert [(line["decision"], line["outcome"]) for line in audit] == [("pod", "allowed"), ("start", "failed")]


async def test_claims_of_a_pod_without_a_machine_are_looked_at_seldom(
    plugin: Plugin, pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def unbound(kube: Any, namespace: str, names: Any) -> dict[str, str]:
        asked.append((kube, names))
        return {"jupyter-cardio": ""}

    monkeypatch.setattr(spawner_module, "unbound", unbound)
    monkeypatch.setattr(spawner_module, "WAITING_SECONDS", 0.01)
    pods.running = False
    c.KubeSpawner.start_timeout = 1
    refused = await refusal_of(make_spawner(c, pods=pods, profile="cardio"))
    assert str(refused) == waiting.STORAGE.failed
    assert asked == [(plugin.context.kube, ["jupyter-cardio", "jupyter-shared"])]


async def test_what_became_of_a_server_is_kept_until_the_next_start(pods: Pods, c: Config) -> None:
    """KubeSpawner deletes the pod of a server that has ended as it looks at it."""
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await spawner.start()
    await spawner.server.wait_up()
    assert (await spawner.poll(), spawner.news) == (None, "")
    pods.there[spawner.pod_name]["status"] |= {
        "phase": "Failed",
        "containerStatuses": [{"name": "notebook", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
    }
    assert await spawner.poll() == 137
    assert not pods.there
    assert "more memory than it has" in spawner.news
    assert await spawner.poll() == 1
    assert "more memory than it has" in spawner.news, "the hub looks again as it stops what is left"
    await spawner.start()
    assert (await spawner.poll(), spawner.news) == (None, "")


async def test_start_that_failed_became_nothing_else(pods: Pods, c: Config) -> None:
    """The page has what it failed of."""
    pods.running = False
    c.KubeSpawner.start_timeout = 1
    spawner = make_spawner(c, pods=pods, profile="cardio")
    await refusal_of(spawner)
    pods.there.clear()
    assert (await spawner.poll(), spawner.news) == (1, "")


@pytest.mark.parametrize("by_claims", [True, False])
async def test_identity_provider_is_asked_before_a_start(
    plugin: Plugin, pods: Pods, c: Config, monkeypatch: pytest.MonkeyPatch, by_claims: bool
) -> None:
    """E6: where grants may rest on what it says; and the start is decided by its answer."""
    if by_claims:
        monkeypatch.setattr(Plugin, "capabilities", frozenset({IDENTITY_CLAIMS}))
        c = configure_with(Config())
    spawner = make_spawner(c, pods=pods, profile="cardio")
    state = {"user": {"groups": ["old"]}}
    await with_auth_state(spawner, state)
    spawner.user.db.get().at -= timedelta(hours=1)
    handlers: list[Any] = []

    async def refresh_user(_user: Any, handler: Any) -> Any:
        handlers.append(handler)
        return {"auth_state": {"user": {"groups": ["new"]}}}

    async def save_auth_state(told: Any) -> None:
        state.update(told)

    spawner.user.authenticator.auth_refresh_age = 300
    spawner.user.authenticator.refresh_user = refresh_user
    spawner.user.save_auth_state = save_auth_state
    await spawner.get_options_form()
    assert handlers == []
    await spawner.start()
    assert handlers == [spawner.handler] * by_claims
    assert plugin.asked[-1].identity_claims == {"groups": (("new",) if by_claims else ("old",))}


# Servers with names


@pytest.mark.parametrize(
    "start",
    [
        ("cardio", {}, "cardio"),
        ("cardio", {"profile": ""}, "cardio"),
        ("cardio", {"profile": "cardio"}, "cardio"),
        ("", {"profile": "cardio"}, "cardio"),
        ("cardio", {"profile": "asthma"}, None),
        ("asthma", {"profile": "cardio"}, None),
        ("Cardio", {}, None),
        ("my server", {"profile": "cardio"}, None),
        (server_name("a.study"), {"profile": "a.study"}, "a.study"),
        (server_name("a.study"), {}, None),
        (server_name("a.study"), {"profile": "b.study"}, None),
    ],
    ids=repr,
)
async def test_server_with_a_name_opens_the_workspace_that_it_is_named_after(
    pods: Pods, audit: list[Any], start: tuple[str, dict[str, str], str | None], plugin: Plugin, c: Config
) -> None:
    """W1, and A3 where a name that was shortened does not say which."""
    server, options, opened = start
    plugin.grants = [workspace(name) for name in ("cardio", "asthma", "a.study", "b.study")]
    spawner = make_spawner(c, pods=pods, server=server, **options)
    if opened:
        await spawner.start()
        assert [pod["metadata"]["labels"]["workspace"] for pod in pods.created] == [opened]
        assert (audit[-1]["server"], audit[-1]["workspace"], audit[-1]["outcome"]) == (server, opened, "allowed")
        assert spawner.workspace == opened
        return
    assert (await refusal_of(spawner)).status_code in (400, 403)
    assert not pods.created
    assert (audit[-1]["outcome"], audit[-1]["rule"]) in [("invalid", "W1"), ("denied", "A2")]


async def test_title_of_a_server_is_the_workspace_s(plugin: Plugin, pods: Pods, c: Config) -> None:
    plugin.grants = [workspace("cardio", display_name="Heart study")]
    spawner = make_spawner(c, pods=pods, server="cardio")
    assert spawner.title == "cardio"
    await spawner.start()
    assert spawner.title == "Heart study"
    later = make_spawner(c, pods=pods, server="cardio")
    later.load_state(spawner.get_state())
    assert later.title == "Heart study", "a hub that starts while the server runs"


def several(c: Config, pods: Pods, *names: str) -> dict[str, Any]:
    """Servers of one person."""
    found = {name: make_spawner(c, pods=pods, server=name) for name in names}
    for spawner in found.values():
        spawner.user = next(iter(found.values())).user
        spawner._spawn_pending = True  # as JupyterHub does before it asks for the start
    next(iter(found.values())).user.spawners = found
    return found


@pytest.mark.parametrize(("at_once", "started"), [("1", 1), ("2", 2), ("0", 3)])
async def test_no_more_run_at_once_than_may(
    plugin: Plugin, pods: Pods, audit: list[Any], at_once: str, started: int
) -> None:
    """W2: however they are started, also at the same moment; the first ones to come have the places."""
    plugin.grants = [workspace(name, display_name=f"Study {name}") for name in ("one", "two", "three")]
    spawners = several(configure_with(Config(), WORKSPACES_AT_ONCE=at_once), pods, "one", "two", "three")
    results = await asyncio.gather(*(each.start() for each in spawners.values()), return_exceptions=True)
    assert len(pods.created) == started
    refused = [each for each in results if isinstance(each, Refused)]
    assert [each.status_code for each in refused] == [409] * (3 - started)
    assert [line["outcome"] for line in audit] == ["limited"] * len(refused) + ["allowed"] * started
    if at_once == "1":
        assert "Study one is running" in str(refused[0]) or "one is running" in str(refused[0])
    await plugin.context.kube.close()


@pytest.mark.usefixtures("quick_looks")
async def test_start_waits_for_a_server_that_is_being_stopped(
    plugin: Plugin, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To stop one and start another is one step; two that wait for the same place do not both have it."""
    monkeypatch.setattr(spawner_module, "LEAVING_SECONDS", 0.01)
    plugin.grants = [workspace(name) for name in ("one", "two", "three")]
    spawners = several(configure_with(Config()), pods, "one", "two", "three")
    one, two, three = spawners.values()
    await one.start()
    one._spawn_pending, one._stop_pending = False, True
    waits, other = two.start(), three.start()
    with pytest.raises(Refused):
        await other
    await asyncio.sleep(0.1)
    assert (two._attempt.waiting.cause, len(pods.created)) == (waiting.PLACE, 1)
    one._stop_pending = False
    one.orm_spawner.server = None
    await waits
    assert [pod["metadata"]["labels"]["workspace"] for pod in pods.created] == ["one", "two"]
    await plugin.context.kube.close()


async def test_start_that_waits_in_vain_for_a_place_says_so(plugin: Plugin, pods: Pods) -> None:
    plugin.grants = [workspace(name) for name in ("one", "two")]
    c = configure_with(Config())
    c.KubeSpawner.start_timeout = 1
    one, two = several(c, pods, "one", "two").values()
    await one.start()
    one._spawn_pending, one._stop_pending = False, True
    assert str(await refusal_of(two)) == waiting.PLACE.failed
    await plugin.context.kube.close()


async def test_s9_pod_is_where_its_workspace_lives(
    plugin: Plugin, pods: Pods, c: Config, audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: one start after the other on one spawner; each is watched where it is, and the hub found from there."""
    asked: list[str] = []

    async def allowed(_kube: Any, _policy: Any, namespace: str) -> None:
        asked.append(namespace)

    monkeypatch.setattr(engine, "require_allowed", allowed)
    monkeypatch.setattr(Plugin, "capabilities", frozenset({NAMESPACES}))
    plugin.grants = (workspace("cardio", namespace="project-one"), workspace("asthma"))
    spawner = make_spawner(c, pods=pods)
    spawner.hub.api_url = "http://hub:8081/hub/api"
    spawner.reflectors.update({(kind, "project-one"): pods for kind in ("pods", "events")})
    found = []
    for name, place in (("cardio", "project-one"), ("asthma", "hub"), ("cardio", "project-one")):
        pods.namespace = place
        spawner.user_options = {"profile": name}
        await spawner.start()
        (container,) = pods.created[-1]["spec"]["containers"]
        environ = {each["name"]: each.get("value") for each in container["env"]}
        found.append((spawner.namespace, spawner.get_state()["namespace"], environ["JUPYTERHUB_API_URL"]))
        assert spawner.hub_connect_url is None
        pods.there.clear()
    there = ("project-one", "project-one", "http://hub.hub.svc:8081/hub/api")
    assert found == [there, ("hub", "hub", "http://hub:8081/hub/api"), there]
    assert pods.namespaces == ["project-one", "hub", "project-one"]
    assert [line["pod"].get("namespace") for line in audit] == ["project-one", None, "project-one"]


async def test_s9_namespace_that_something_has_set_before_a_start_does_not_count(
    plugin: Plugin, pods: Pods, c: Config
) -> None:
    spawner = make_spawner(c, pods=pods, profile="cardio")
    spawner.namespace = "elsewhere"
    await spawner.start()
    assert (spawner.namespace, pods.namespaces) == ("hub", ["hub"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://hub:8081", "http://hub.hub.svc:8081"),
        ("https://hub", "https://hub.hub.svc"),
        ("http://hub.jupyterhub:8081", "http://hub.jupyterhub:8081"),
        ("http://10.0.0.1:8081", "http://10.0.0.1:8081"),
        ("http://[fd00::1]:8081", "http://[fd00::1]:8081"),
    ],
)
async def test_s9_hub_is_found_from_another_namespace(plugin: Plugin, c: Config, url: str, expected: str) -> None:
    """S9: a name without a dot is looked for in the pod's own namespace; what is whole already stays."""
    spawner = make_spawner(c)
    spawner.hub_connect_url = url
    assert spawner._url_of_the_hub() == url
    spawner.namespace = "project-one"
    assert spawner._url_of_the_hub() == expected


@pytest.mark.parametrize("everywhere", [True, False])
async def test_s9_one_watch_for_all_where_the_account_may(
    plugin: Plugin, c: Config, monkeypatch: pytest.MonkeyPatch, everywhere: bool
) -> None:
    """S9: else one for each namespace; and a hub whose plugin has none asks nobody."""
    asked: list[object] = []

    async def may(kube: object) -> bool:
        asked.append(kube)
        return everywhere

    started: list[tuple[Any, Any]] = []

    async def start(self: Any, kind: str, *_: Any, **options: Any) -> None:
        started.append((self._get_reflector_key(kind), options["omit_namespace"]))

    monkeypatch.setattr("workspace_managers.hub.service.may_watch_all", may)
    monkeypatch.setattr(KubeSpawner, "_start_reflector", start)
    spawner = make_spawner(c)
    await spawner._start_watching_pods()
    assert (started, asked) == ([(("pods", "hub"), False)], [])
    started.clear()
    spawner.workspace_service.namespaces = True
    for namespace in ("project-one", "project-two"):
        spawner.namespace = namespace
        await spawner._start_watching_pods()
        await spawner._start_watching_events()
    keys: list[tuple[str, str | None]] = [("pods", None), ("events", None)] * 2
    if not everywhere:
        keys = [(kind, name) for name in ("project-one", "project-two") for kind in ("pods", "events")]
    assert started == [(key, everywhere) for key in keys]
    assert len(asked) == 1


@pytest.mark.parametrize("namespaces", [True, False])
async def test_s9_watches_of_many_namespaces_leave_room_for_requests(
    plugin: Plugin, c: Config, namespaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: a hundred connections would be fifty namespaces; where there is but one, nothing is changed."""
    monkeypatch.setattr(Plugin, "capabilities", frozenset({NAMESPACES} if namespaces else ()))
    c = configure_with(Config())
    api = make_spawner(c).api._api
    assert api.api_client.rest_client.pool_manager.connector.limit == (0 if namespaces else 100)
    await api.api_client.close()
