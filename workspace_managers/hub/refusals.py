"""Failures of a start: what each one is, and how the hub shows it.

What the cluster answers is told apart here: a pod that it does not take, an API server that is away; what a pod that
was created waits for is in `waiting`. None of them counts toward the hub's exit.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import jupyterhub
from kubernetes_asyncio.client.exceptions import ApiException
from tornado import web

from ..errors import (
    AccessDenied,
    BackendUnavailable,
    ClusterRefused,
    NothingChosen,
    ServiceFault,
    SignInAgain,
    StartFailed,
    TooManyRunning,
    WorkspaceManagerError,
    quote,
)
from ..kube.client import from_library
from ..texts import N_
from .waiting import ROOM

RETRY_SECONDS = 30
"""What ``Retry-After`` says of a failure that may pass."""

# In this order: the first class that fits counts.
_STATUS: tuple[tuple[type[WorkspaceManagerError], int], ...] = (
    (NothingChosen, 400),
    (TooManyRunning, 409),
    (AccessDenied, 403),
    (SignInAgain, 403),
    (BackendUnavailable, 503),
    (ClusterRefused, 503),
    (StartFailed, 503),
    (WorkspaceManagerError, 500),
)

TOO_LARGE = N_(
    "This workspace asks for more than the cluster gives to one server. What is saved in the folder of a "
    "workspace is kept. Trying again does not help; please tell the people who run this service."
)
SILENT = N_(
    "Your workspace was started, but its server does not answer. What is saved in the folder of a workspace "
    "is kept. Please try again; if it fails again, please tell the people who run this service which "
    "workspace you chose."
)
AWAY = N_(
    "The cluster that runs the workspaces does not answer at the moment. What is saved in the folder of a "
    "workspace is kept. Please try again in a few minutes; if it goes on, please tell the people who run this "
    "service."
)


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
        return ClusterRefused(cause, user_message=ROOM.failed)
    if "usage per" in said:  # LimitRange, of the LimitRanger admission plugin
        return ClusterRefused(cause, user_message=TOO_LARGE)
    return ClusterRefused(cause)


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
