"""What Kubernetes says of a pod, in plain words: while a start waits, when it is given up, and of servers that end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from workspace_managers.errors import FILES_ARE_KEPT, BackendUnavailable, StartFailed
from workspace_managers.hub import waiting
from workspace_managers.hub.waiting import Cause, Waiting, became, trouble, unbound


def warning(reason: str, message: str = "") -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message}


def pod(*containers: Mapping[str, Any], placed: bool = True, **status: Any) -> dict[str, Any]:
    return {
        "spec": {"nodeName": "node1"} if placed else {},
        "status": {"phase": "Pending", "containerStatuses": list(containers), **status},
    }


def waits(because: str, **last: Any) -> dict[str, Any]:
    return {
        "ready": False,
        "state": {"waiting": {"reason": because}},
        "lastState": {"terminated": last} if last else {},
    }


RUNS = {"ready": True, "state": {"running": {}}}
CREATING = waits("ContainerCreating")
UNPLACED = pod(placed=False)
TROUBLE = [
    pytest.param(
        UNPLACED,
        [warning("FailedScheduling", "0/3 nodes are available: 3 Insufficient memory.")],
        waiting.ROOM,
        id="64Gi",
    ),
    pytest.param(
        UNPLACED, [warning("FailedScheduling", "1 node(s) were unschedulable.")], waiting.ROOM, id="node-cordoned"
    ),
    pytest.param(
        UNPLACED,
        [warning("FailedScheduling", "pod has unbound immediate PersistentVolumeClaims. not found")],
        waiting.STORAGE,
        id="storage-class-missing",
    ),
    pytest.param(
        UNPLACED,
        [warning("FailedScheduling", "1 node(s) had volume node affinity conflict.")],
        waiting.STORAGE,
        id="claim-in-another-zone",
    ),
    pytest.param(
        UNPLACED,
        [warning("FailedScheduling", 'persistentvolumeclaim "x" not found'), {"type": "Normal", "reason": "Other"}],
        waiting.STORAGE,
        id="claim-missing",
    ),
    pytest.param(pod(CREATING), [{"reason": "Scheduled"}, {"reason": "Pulling"}], waiting.LOADING, id="large-image"),
    pytest.param(pod(waits("ErrImagePull")), [], waiting.IMAGE, id="image-cannot-be-pulled"),
    pytest.param(pod(waits("ImagePullBackOff")), [{"reason": "Pulling"}], waiting.IMAGE, id="image-pulled-again"),
    pytest.param(pod(waits("InvalidImageName")), [], waiting.IMAGE, id="image-has-no-name"),
    pytest.param(pod(initContainerStatuses=[waits("ErrImagePull")]), [], waiting.IMAGE, id="image-that-prepares"),
    pytest.param(pod(waits("CreateContainerConfigError")), [], waiting.SETUP, id="secret-missing"),
    pytest.param(pod(waits("RunContainerError")), [], waiting.SETUP, id="command-missing"),
    pytest.param(
        pod(waits("CrashLoopBackOff", reason="StartError", exitCode=128)), [], waiting.SETUP, id="command-missing-again"
    ),
    pytest.param(
        pod(CREATING),
        [warning("FailedMount", 'MountVolume.SetUp failed for volume "c": configmap "c" not found')],
        waiting.SETUP,
        id="configmap-missing",
    ),
    pytest.param(pod(CREATING), [warning("FailedMount", "timed out")], waiting.STORAGE, id="mount"),
    pytest.param(pod(CREATING), [warning("FailedAttachVolume", "Multi-Attach error")], waiting.STORAGE, id="attach"),
    pytest.param(pod(waits("CrashLoopBackOff", reason="Error", exitCode=3)), [], waiting.ENDED, id="ends-at-once"),
    pytest.param(pod(waits("CrashLoopBackOff", reason="OOMKilled", exitCode=137)), [], waiting.MEMORY, id="memory"),
    pytest.param(pod(phase="Failed", reason="Evicted"), [], waiting.ROOM, id="evicted"),
    pytest.param(
        pod({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}, phase="Succeeded"),
        [],
        waiting.ENDED,
        id="ends-well",
    ),
]
NO_TROUBLE = [
    pytest.param(None, [], id="no-pod"),
    pytest.param(UNPLACED, [], id="just-created"),
    pytest.param(
        pod(CREATING), [warning("FailedScheduling", "Insufficient memory"), {"reason": "Scheduled"}], id="room"
    ),
    pytest.param(pod(CREATING), [{"reason": "Pulling"}, {"reason": "Pulled"}], id="loaded"),
    pytest.param(pod(CREATING, initContainerStatuses=[{"state": {"terminated": {"exitCode": 0}}}]), [], id="prepared"),
    pytest.param(pod(RUNS, phase="Running"), [warning("FailedMount")], id="runs"),
    pytest.param(
        pod(RUNS | {"lastState": {"terminated": {"exitCode": 1}}}, phase="Running"), [], id="runs-the-second-time"
    ),
]


@pytest.mark.parametrize(("seen", "events", "cause"), TROUBLE)
def test_trouble_of_a_start_in_plain_words(seen: Any, events: list[Any], cause: Cause) -> None:
    wait = Waiting()
    assert wait.look(seen, events)
    assert wait.cause is cause
    assert not wait.look(seen, events), "told once"
    assert str(wait.failed(5).user_message) == cause.failed
    assert FILES_ARE_KEPT in cause.failed


@pytest.mark.parametrize(("seen", "events"), NO_TROUBLE)
def test_what_is_no_trouble(seen: Any, events: list[Any]) -> None:
    wait = Waiting()
    assert not wait.look(seen, events)
    assert wait.cause is None
    assert wait.failed(5).user_message == StartFailed.default_user_message


def test_claims_that_are_not_bound_are_what_a_pod_without_a_machine_waits_for() -> None:
    """The scheduler waits for a volume to be made for up to ten minutes, and says nothing meanwhile."""
    wait = Waiting()
    assert wait.look(UNPLACED, [], {"jupyter-one": "ProvisioningFailed: no such class"})
    assert wait.cause is waiting.STORAGE
    assert str(wait.failed(60)) == (
        "the server was not ready within 60 s; claim 'jupyter-one' is not bound: 'ProvisioningFailed: no such class'"
    )
    assert wait.look(pod(CREATING), [{"reason": "Scheduled"}], {})
    assert wait.cause is None


def test_last_warning_and_last_event_are_for_the_log() -> None:
    wait = Waiting()
    wait.look(pod(CREATING), [warning("FailedMount", "no\nway"), {"reason": "Pulling", "message": 'image "x"'}])
    assert wait.said == "'FailedMount': 'no\\nway'; 'Pulling': 'image \"x\"'"
    wait.look(pod(phase="Failed", reason="Evicted"), [warning("Evicted", "low on memory")])
    assert (wait.over, str(wait.failed(9))) == (True, "the pod has ended; 'Evicted': 'low on memory'")


def test_log_has_what_the_kubelet_says_of_a_container() -> None:
    """The last event says only that it is tried again."""
    wait = Waiting()
    again = waits("CrashLoopBackOff", reason="StartError", message="no such file", exitCode=128) | {"name": "notebook"}
    wait.look(pod(again), [warning("BackOff", "Back-off restarting")])
    assert wait.said == "'BackOff': 'Back-off restarting'; container 'notebook': 'StartError': 'no such file'"


def test_two_minutes_without_a_change_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(waiting, "monotonic", lambda: now)
    wait = Waiting()
    assert not wait.look(UNPLACED, [])
    now += 119
    assert not wait.look(UNPLACED, [])
    now += 1
    assert wait.look(UNPLACED, [])
    assert wait.cause is waiting.NOBODY
    assert "Kubernetes has said nothing about it" in str(wait.failed(9))
    assert wait.look(pod(CREATING), [{"reason": "Scheduled"}]), "then it goes on"
    now += 121
    assert not wait.look(pod(RUNS), [{"reason": "Scheduled"}]), "its server is asked now"


class Api:
    """Claims and events, as `Kube` reads them."""

    namespace = "hub"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def get(self, path: str, query: Any = None) -> Any:
        self.asked.append((path, query))
        if isinstance(self.answers[0], Exception):
            raise self.answers.pop(0)
        return self.answers.pop(0)


async def test_claims_that_are_not_bound_are_read_with_what_was_said_of_them() -> None:
    said = [
        {"reason": "ProvisioningFailed", "message": "no class", "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"reason": "Other", "message": "before", "lastTimestamp": "2026-01-01T00:00:01Z"},
    ]
    api: Any = Api({"status": {"phase": "Bound"}}, {"status": {"phase": "Pending"}}, {"items": said}, {}, {"items": []})
    assert await unbound(api, "hub", ["one", "two", "three"]) == {"two": "ProvisioningFailed: no class", "three": ""}
    assert api.asked[2] == (
        "/api/v1/namespaces/hub/events",
        {"fieldSelector": "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=two"},
    )


@pytest.mark.parametrize("reason", ["WaitForFirstConsumer", "WaitForPodScheduled"])
async def test_claim_that_waits_for_its_pod_is_nothing_that_the_pod_waits_for(reason: str) -> None:
    said = {"reason": reason, "message": "waiting for pod x to be scheduled"}
    api: Any = Api({"status": {"phase": "Pending"}}, {"items": [said]})
    assert await unbound(api, "hub", ["one"]) == {}


async def test_claims_that_cannot_be_read_are_no_cause() -> None:
    api: Any = Api(BackendUnavailable("away"))
    assert await unbound(api, "hub", ["one"]) == {}


def ended(reason: str = "Error", code: int = 1, **status: Any) -> dict[str, Any]:
    return pod({"state": {"terminated": {"reason": reason, "exitCode": code}}}, phase="Failed", **status)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        pytest.param(ended("OOMKilled", 137), "more memory than it has", id="memory"),
        pytest.param(pod(phase="Failed", reason="Evicted"), "The cluster has ended", id="evicted"),
        pytest.param(
            ended(conditions=[{"type": "DisruptionTarget", "status": "True"}]), "The cluster has ended", id="preempted"
        ),
        pytest.param(None, "a machine went away", id="gone"),
        pytest.param(ended("Completed", 0), "was shut down", id="from-inside"),
        pytest.param(ended(), "ended by itself", id="error"),
    ],
)
def test_what_became_of_a_server(last: Any, words: str) -> None:
    assert words in became(last)
    assert "What was saved in the folder of the workspace is kept." in became(last)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(pod(RUNS, conditions=[{"type": "Ready", "status": "False"}]), "does not answer", id="node-away"),
        pytest.param(
            pod(RUNS | {"lastState": {"terminated": {"reason": "OOMKilled"}}}), "started anew", id="memory-and-again"
        ),
        pytest.param(pod(waits("CrashLoopBackOff", reason="Error")), "keeps ending", id="crashes"),
        pytest.param(pod(RUNS, conditions=[{"type": "Ready", "status": "True"}]), "", id="well"),
        pytest.param(pod(CREATING), "", id="starts"),
        pytest.param(None, "", id="none"),
    ],
)
def test_trouble_of_a_server_that_runs(now: Any, words: str) -> None:
    assert (words in trouble(now)) if words else trouble(now) == ""
