"""Whether the API server looks at pods as well: is image/admission.yaml applied to the hub's namespace?

Nobody but an administrator of the cluster may read its policies. So the API server is asked, as a dry run that changes
nothing, for a pod that the guard refuses: one that could write to the shared claim.
"""

from __future__ import annotations

from enum import Enum

from ..errors import quote
from ..names import SHARED_CLAIM
from .client import ApiError, Kube

POLICY = "workspace-managers-shared"
"""The policy in image/admission.yaml that refuses such a pod."""


class Guard(Enum):
    """Whether it is on."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


async def guard(kube: Kube) -> tuple[Guard, str]:
    """Whether the guard is on in the client's namespace, and where that is unknown, why.

    Raises:
        BackendUnavailable: The API server gave no answer.
    """
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    small = {"cpu": "10m", "memory": "16Mi"}
    container = {
        "name": "none",
        "image": "example/none:1",
        "resources": {"requests": small, "limits": small},
        "securityContext": security,
        "volumeMounts": [{"name": "shared", "mountPath": "/mnt/shared"}],
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "workspace-managers-doctor-"},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": SHARED_CLAIM}}],
        },
    }
    path = f"/api/v1/namespaces/{kube.namespace}/pods"
    try:
        await kube.request("POST", path, query={"dryRun": "All"}, body=body)
    except ApiError as error:
        if POLICY in error.message:
            return Guard.ON, ""
        return Guard.UNKNOWN, quote(str(error))
    return Guard.OFF, ""
