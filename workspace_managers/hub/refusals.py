"""Failures of a start: what each one is, and how the hub shows it.

What the cluster answers is told apart here: a pod that it does not take, a pod that never became a server, an API
server that is away. None of them counts toward the hub's exit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import jupyterhub
from kubernetes_asyncio.client.exceptions import ApiException
from tornado import web

from ..errors import (
    NO_DATA_LOST,
    AccessDenied,
    BackendUnavailable,
    ClusterRefused,
    NothingChosen,
    ServiceFault,
    SignInAgain,
    StartFailed,
    WorkspaceManagerError,
    quote,
)
from ..kube.client import from_library

RETRY_SECONDS = 30
"""What ``Retry-After`` says of a failure that may pass."""

# In this order: the first class that fits counts.
_STATUS: tuple[tuple[type[WorkspaceManagerError], int], ...] = (
    (NothingChosen, 400),
    (AccessDenied, 403),
    (SignInAgain, 403),
    (BackendUnavailable, 503),
    (ClusterRefused, 503),
    (StartFailed, 503),
    (WorkspaceManagerError, 500),
)

_TELL = "please tell the people who run this service"
ROOM = (
    f"There is no room left to run this workspace now. {NO_DATA_LOST} Please try again later; if it goes on, {_TELL}."
)
TOO_LARGE = (
    f"This workspace asks for more than the cluster gives to one server. {NO_DATA_LOST} Trying again does not help; "
    f"{_TELL}."
)
IMAGE = (
    f"The software of this workspace could not be loaded. {NO_DATA_LOST} Trying again rarely helps; {_TELL} which "
    "workspace you chose."
)
STORAGE = f"The storage of this workspace did not become ready in time. {NO_DATA_LOST} If it goes on, {_TELL}."
ENDED = (
    f"The software of this workspace ended as soon as it was started. {NO_DATA_LOST} Trying again rarely helps; "
    f"{_TELL} which workspace you chose."
)
SILENT = (
    f"Your workspace was started, but its server does not answer. {NO_DATA_LOST} Please try again; if it fails again, "
    f"{_TELL} which workspace you chose."
)
AWAY = (
    f"The cluster that runs the workspaces does not answer at the moment. {NO_DATA_LOST} Please try again in a few "
    f"minutes; if it goes on, {_TELL}."
)

_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "InspectFailed", "ErrImageNeverPull"}
)
_STORAGE_REASONS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "ProvisioningFailed"})


class Refused(web.HTTPError):
    """A refusal as JupyterHub shows it, the same sentence on a page, over the REST API and in the progress.

    Attributes:
        jupyterhub_message: What the hub shows to the user.
        headers: Headers of the answer; JupyterHub adds them.
    """

    def __init__(self, error: WorkspaceManagerError) -> None:
        # The same sentence as the log message: the REST API of JupyterHub 4 answers with that.
        super().__init__(next(status for kind, status in _STATUS if isinstance(error, kind)), error.user_message)
        self.jupyterhub_message = error.user_message
        passes = isinstance(error, BackendUnavailable) and not isinstance(error, SignInAgain)
        self.headers = {"Retry-After": str(RETRY_SECONDS)} if passes else {}

    def __str__(self) -> str:
        # JupyterHub 4 prints the exception itself on the form.
        return self.jupyterhub_message


def pod_refused(error: ApiException) -> WorkspaceManagerError:
    """What it means that the API server did not create the pod."""
    answer = from_library(error)
    cause = f"the pod was not created: {answer}"
    said = answer.message.lower()
    if answer.status in (401, 408, 429) or answer.status >= 500:
        return BackendUnavailable(cause, user_message=AWAY)
    if answer.status == 403 and "cannot create resource" in said:
        return ServiceFault(f"{cause}; the hub's account may not create pods: see image/rbac.yaml and the chart's role")
    if answer.status == 404:
        return ServiceFault(f"{cause}; the namespace of the hub's pods does not exist")
    if "exceeded quota" in said:
        return ClusterRefused(cause, user_message=ROOM)
    if "usage per" in said:  # LimitRange, of the LimitRanger admission plugin
        return ClusterRefused(cause, user_message=TOO_LARGE)
    return ClusterRefused(cause)


def not_ready(cause: str, events: Iterable[Mapping[str, Any]]) -> StartFailed:
    """What it means that a pod did not become ready.

    Args:
        cause: What happened, for the log.
        events: The pod's events, the oldest first.
    """
    warnings = [event for event in events if event.get("type") == "Warning"]
    if not warnings:
        return StartFailed(f"{cause}; Kubernetes has reported no warning about it")
    last = warnings[-1]
    reason, message = str(last.get("reason") or ""), str(last.get("message") or "")
    return StartFailed(
        f"{cause}; the last warning: {quote(reason, 60)}: {quote(message)}", user_message=_told(reason, message)
    )


def _told(reason: str, message: str) -> str | None:
    if reason == "FailedScheduling":
        return STORAGE if "persistentvolumeclaim" in message.lower() or "volume node" in message.lower() else ROOM
    if reason in _IMAGE_REASONS or (reason == "Failed" and "image" in message.lower()):
        return IMAGE
    if reason in _STORAGE_REASONS:
        return STORAGE
    return ENDED if reason in ("BackOff", "Failed") else None


def explain(error: Exception) -> WorkspaceManagerError:
    """What a failure of a start is that this product has not raised itself."""
    if isinstance(error, WorkspaceManagerError):
        return error
    if isinstance(error, ApiException):
        answer = from_library(error)
        return BackendUnavailable(f"the Kubernetes API refused a request of the start: {answer}", user_message=AWAY)
    if isinstance(error, TimeoutError | aiohttp.ClientError | OSError):
        return BackendUnavailable(
            f"the Kubernetes API did not answer: {type(error).__name__}: {quote(str(error))}", user_message=AWAY
        )
    return ServiceFault(f"the start failed: {type(error).__name__}: {quote(str(error))}")


def leave_uncounted(settings: dict[str, Any], refused: Refused) -> None:
    """Keep a refusal from counting as a failed start, of which a few in a row make the hub exit.

    Otherwise anybody could stop the hub by asking for what is refused. Up to JupyterHub 5 each exception counts one,
    later each answer of 500 and above, after the start has failed; so one is taken off before.

    Args:
        settings: The hub's own, where it counts.
        refused: What the start ends with.
    """
    if refused.status_code >= 500 or jupyterhub.version_info[0] < 6:
        settings["failure_count"] = settings.get("failure_count", 0) - 1
