"""What a start waits for, what it failed of, and what became of a server: a plain cause from what Kubernetes says.

A cause is taken from the pod's own state where that has it: events are a courtesy, and may be late or lost.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from ..errors import StartFailed, WorkspaceManagerError, quote
from ..kube.client import ApiError, Kube
from ..texts import N_, _
from .outlook import DEADLINE

Object = Mapping[str, Any]
QUIET_SECONDS = 120.0
"""After so long without a change, nobody has answered for a pod."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a server is not there yet.

    Attributes:
        word: What it waits for, for the log.
        waiting: What the person in front of the page reads while it lasts, as in the catalogue (``texts``).
        failed: The same when the start has been given up.
    """

    word: str
    waiting: str
    failed: str


ROOM = Cause(
    "room",
    N_(
        "Waiting for room: no machine of the cluster can take this workspace at the moment. If that takes too "
        "long, this page says what to do."
    ),
    N_(
        "There is no room left to run this workspace now. What is saved in the folder of a workspace is kept. "
        "Please try again later; if it goes on, please tell the people who run this service."
    ),
)
STORAGE = Cause(
    "storage",
    N_(
        "Waiting for the storage of this workspace, which is not ready yet. If that takes too long, this page "
        "says what to do."
    ),
    N_(
        "The storage of this workspace did not become ready in time. What is saved in the folder of a workspace "
        "is kept. Trying again rarely helps; please tell the people who run this service which workspace you "
        "chose."
    ),
)
LOADING = Cause(
    "its image",
    N_("The software of this workspace is being loaded. The first time, that can take some minutes."),
    N_(
        "The software of this workspace was still being loaded when the time for the start was over. What is "
        "saved in the folder of a workspace is kept. Please try again, it goes on from there; if it fails again, "
        "please tell the people who run this service."
    ),
)
IMAGE = Cause(
    "its image",
    N_(
        "Waiting for the software of this workspace, which could not be loaded so far. The cluster goes on "
        "trying. If that takes too long, this page says what to do."
    ),
    N_(
        "The software of this workspace could not be loaded. What is saved in the folder of a workspace is kept. "
        "Trying again rarely helps; please tell the people who run this service which workspace you chose."
    ),
)
SETUP = Cause(
    "its container",
    N_(
        "The cluster cannot run the software of this workspace in the way that it is set up. It goes on trying. "
        "If that takes too long, this page says what to do."
    ),
    N_(
        "The cluster cannot run the software of this workspace in the way that it is set up. What is saved in the "
        "folder of a workspace is kept. Trying again rarely helps; please tell the people who run this service "
        "which workspace you chose."
    ),
)
ENDED = Cause(
    "its server",
    N_(
        "The software of this workspace ended as soon as it was started. The cluster goes on trying. If that "
        "takes too long, this page says what to do."
    ),
    N_(
        "The software of this workspace ended as soon as it was started. What is saved in the folder of a "
        "workspace is kept. Trying again rarely helps; please tell the people who run this service which "
        "workspace you chose."
    ),
)
MEMORY = Cause(
    "its server",
    N_(
        "The software of this workspace needs more memory than the workspace has. The cluster goes on trying. If "
        "that takes too long, this page says what to do."
    ),
    N_(
        "The software of this workspace needs more memory than the workspace has. What is saved in the folder of "
        "a workspace is kept. Trying again rarely helps; please tell the people who run this service which "
        "workspace you chose."
    ),
)
NOBODY = Cause(
    "any answer",
    N_(
        "The cluster has not said anything about this workspace for two minutes. You can go on waiting; please "
        "tell the people who run this service which workspace you chose if nothing happens."
    ),
    N_(
        "The cluster did not say anything about this workspace in time. What is saved in the folder of a "
        "workspace is kept. If it is so again, please tell the people who run this service which workspace you "
        "chose."
    ),
)
PLACE = Cause(
    "another server to stop",
    N_("Waiting for your other workspace to stop, which is done first."),
    N_(
        "Your other workspace did not stop in time, so this one was not started. What is saved in the folder of a "
        "workspace is kept. Please try again; if it fails again, please tell the people who run this service."
    ),
)

_STEPS = {
    "Scheduled": N_("A machine has been found for it."),
    "SuccessfulAttachVolume": N_("Its storage is there."),
    "Pulling": N_("Its software is being loaded."),
    "Pulled": N_("Its software is there."),
    "Created": N_("Its software is being started."),
    "Started": N_("Its software has started. It opens as soon as it answers."),
}
_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError"})
_IMAGE_REASONS |= {"ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed"}
_SETUP_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_STORAGE_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_STORAGE_WORDS = ("persistentvolume", "volume node", "volume limits", "volume count", "volume zone")
_FOR_THE_POD = ("WaitForFirstConsumer", "WaitForPodScheduled")
"""What a claim waits for whose volume is made once a node is chosen."""
_ENDED = ("Failed", "Succeeded")


@dataclass(slots=True)
class Waiting:
    """One start's wait, from look to look.

    Attributes:
        cause: Why it waits; None while there is nothing to tell.
        over: Whether the pod has ended and will never be ready.
        said: What Kubernetes said last of the pod and of its claims, for the log.
    """

    cause: Cause | None = None
    over: bool = False
    said: str = ""
    _seen: object = None
    _since: float = field(default_factory=monotonic)

    def look(self, pod: Object | None, events: Sequence[Object], claims: Mapping[str, str] | None = None) -> bool:
        """Take in how it stands now.

        Args:
            pod: The pod; None where it is not known.
            events: The pod's events, the oldest first.
            claims: Its claims that are not bound, and what was said of each last.

        Returns:
            Whether the cause is another one than before.
        """
        pod, claims = pod or {}, claims or {}
        status = pod.get("status") or {}
        seen = (len(events), status.get("conditions"), _containers(status), dict(claims))
        if seen != self._seen:
            self._seen, self._since = seen, monotonic()
        self.over = status.get("phase") in _ENDED
        self.said = "; ".join([*_last(events), *_of_containers(status), *map(_not_bound, claims.items())])
        found = _cause(pod, events, claims)
        if found is None and not _runs(status) and monotonic() - self._since >= QUIET_SECONDS:
            found = NOBODY
        changed = found is not self.cause
        self.cause = found
        return changed

    def failed(self, seconds: float) -> StartFailed:
        """What it means that the start is given up now.

        Args:
            seconds: How long it may take.
        """
        what = "the pod has ended" if self.over else f"the server was not ready within {seconds:g} s"
        said = self.said or "Kubernetes has said nothing about it"
        return StartFailed(f"{what}; {said}", user_message=self.cause.failed if self.cause else None)


async def unbound(kube: Kube, namespace: str, names: Iterable[str]) -> dict[str, str]:
    """Those of a pod's claims that are not bound, each with what was said of it last; empty where that is unknown.

    Args:
        kube: The client.
        namespace: The claims'.
        names: The claims.
    """
    found = {}
    with contextlib.suppress(WorkspaceManagerError, ApiError):
        for name in names:
            claim = await kube.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
            if (claim.get("status") or {}).get("phase") != "Bound":
                query = {"fieldSelector": f"involvedObject.kind=PersistentVolumeClaim,involvedObject.name={name}"}
                events = (await kube.get(f"/api/v1/namespaces/{namespace}/events", query)).get("items") or []
                last: Object = max(events, key=_moment, default={})
                if last.get("reason") not in _FOR_THE_POD:
                    found[name] = ": ".join(filter(None, (last.get("reason"), last.get("message"))))
    return found


def step(event: Object) -> str:
    """What an event of a start means for the person who waits for it; empty where that is nothing."""
    found = _STEPS.get(str(event.get("reason")))
    return _(found) if found else ""


def has_machine(pod: Object | None) -> bool:
    """Whether a node was found for the pod, which comes after its claims are bound."""
    return bool(((pod or {}).get("spec") or {}).get("nodeName"))


def trouble(pod: Object | None) -> str:
    """What is wrong with a server that runs, for the person whose it is; empty where nothing is known to be."""
    status = (pod or {}).get("status") or {}
    containers = status.get("containerStatuses") or ()
    # The kubelet says how containers are; if it falls silent, the control plane takes back the condition alone.
    ready: Object = next((each for each in status.get("conditions") or () if each.get("type") == "Ready"), {})
    if ready.get("status") in ("False", "Unknown") and containers and all(each.get("ready") for each in containers):
        return _(
            "The machine that your workspace runs on does not answer at the moment. What was saved in the "
            "folder of the workspace is kept. If it does not come back by itself, stop the workspace and "
            "start it again."
        )
    for each in containers:
        ended = (each.get("lastState") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return _(
                "Your workspace used more memory than it has, and was ended and started anew. What was saved in "
                "the folder of the workspace is kept."
            )
        if "waiting" in (each.get("state") or {}) and ended:
            return _(
                "The software of your workspace keeps ending. What was saved in the folder of the workspace is "
                "kept. If that goes on, please tell the people who run this service."
            )
    return ""


def became(pod: Object | None) -> str:
    """What became of a server that is no more, though nobody stopped it, for the person whose it was.

    Args:
        pod: As it was last; None where it is gone.
    """
    status = (pod or {}).get("status") or {}
    ended = [(each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or ()]
    disrupted = any(each.get("type") == "DisruptionTarget" for each in status.get("conditions") or ())
    if status.get("reason") == "DeadlineExceeded":
        return _(DEADLINE)
    if any(each.get("reason") == "OOMKilled" for each in ended):
        return _(
            "Your workspace used more memory than it has, and was ended. What was saved in the folder of the "
            "workspace is kept."
        )
    if status.get("reason") == "Evicted" or disrupted or not status:
        return _(
            "The cluster has ended your workspace, to make room or because a machine went away. What was saved in "
            "the folder of the workspace is kept."
        )
    if ended and all(each.get("exitCode") == 0 for each in ended):
        return _("The software of your workspace was shut down. What was saved in the folder of the workspace is kept.")
    return _(
        "The software of your workspace has ended by itself. What was saved in the folder of the workspace is "
        "kept. If that happens again, please tell the people who run this service."
    )


def _cause(pod: Object, events: Sequence[Object], claims: Mapping[str, str]) -> Cause | None:
    status = pod.get("status") or {}
    if status.get("reason") == "Evicted":
        return ROOM
    if found := next(filter(None, map(_of_container, _containers(status))), None):
        return found
    if status.get("phase") in _ENDED:
        return ENDED
    if not has_machine(pod):
        return _without_machine(events, claims)
    last = events[-1] if events and not _runs(status) else {}
    if last.get("reason") in _STORAGE_EVENTS:
        message = str(last.get("message") or "")
        return SETUP if re.search(r"\b(configmap|secret)\b.*not found", message, re.DOTALL) else STORAGE
    return LOADING if last.get("reason") == "Pulling" else None


def _without_machine(events: Sequence[Object], claims: Mapping[str, str]) -> Cause | None:
    said = [str(event.get("message") or "").lower() for event in events if event.get("reason") == "FailedScheduling"]
    if said and not any(word in said[-1] for word in _STORAGE_WORDS):
        return ROOM
    return STORAGE if said or claims else None


def _containers(status: Object) -> list[Object]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _runs(status: Object) -> bool:
    return any("running" in (each.get("state") or {}) for each in status.get("containerStatuses") or ())


def _of_container(container: Object) -> Cause | None:
    state = container.get("state") or {}
    reason = (state.get("waiting") or {}).get("reason") or ""
    if reason in _IMAGE_REASONS:
        return IMAGE
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if reason in _SETUP_REASONS:
        return SETUP
    if not ended or "running" in state or (ended.get("exitCode") == 0 and not reason):  # what prepares has done so
        return None
    if ended.get("reason") in _NEVER_RAN:
        return SETUP
    return MEMORY if ended.get("reason") == "OOMKilled" else ENDED


def _last(events: Sequence[Object]) -> list[str]:
    """The last event, and the last warning where that is another."""
    warnings = [event for event in events[:-1] if event.get("type") == "Warning"]
    shown = [
        f"{quote(str(each.get('reason') or ''), 60)}: {quote(str(each.get('message') or ''))}"
        for each in (*warnings[-1:], *events[-1:])
    ]
    return list(dict.fromkeys(shown))


def _of_containers(status: Object) -> Iterator[str]:
    """What the kubelet says of containers that do not run: it names a cause where events say only "again"."""
    for each in _containers(status):
        state, last = each.get("state") or {}, each.get("lastState") or {}
        for found in (state.get("waiting"), state.get("terminated") or last.get("terminated")):
            if found and found.get("message") and "running" not in state:
                reason = quote(found.get("reason"), 60)
                yield f"container {quote(each.get('name'), 60)}: {reason}: {quote(found['message'])}"


def _not_bound(claim: tuple[str, str]) -> str:
    name, said = claim
    return f"claim {quote(name)} is not bound" + (f": {quote(said)}" if said else "")


def _moment(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
