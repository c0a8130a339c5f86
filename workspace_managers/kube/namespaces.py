"""Where a workspace may live, and where the hub may look: namespaces (rule S9).

Nothing here makes a namespace. Whether one is allowed is read from the API server each time, as its label may be taken
away while servers run in it.
"""

from __future__ import annotations

from itertools import product

from ..errors import AccessDenied, BackendUnavailable, quote
from ..policy import Policy
from ..texts import N_
from .client import ApiError, Kube
from .fitness import may

LABEL, ALLOWED = "workspace-managers/workspaces", "allowed"
"""What an operator writes on a namespace that workspaces may live in."""
_SYSTEM_PREFIX = "kube-"
_NOT_ALLOWED = N_(
    "This workspace was not started, because it lives in a place of the cluster that this service does not allow it. "
    "What is saved in the folder of a workspace is kept. Please tell the people who run this service."
)


async def require_allowed(kube: Kube, policy: Policy, namespace: str) -> None:
    """Refuse a namespace that is not certain to be one for workspaces.

    Args:
        kube: The client, of the hub's namespace.
        policy: What the operator allows.
        namespace: What a workspace names.

    Raises:
        AccessDenied: It is not allowed, or not there.
        BackendUnavailable: That could not be read.
    """
    if namespace == kube.namespace:
        raise _refused(namespace, "it is the hub's own; a workspace in it names none")
    if namespace == "default" or namespace.startswith(_SYSTEM_PREFIX):
        raise _refused(namespace, "it is the cluster's own")
    if not policy.allows_namespace(namespace):
        raise _refused(namespace, "the policy does not; add it to namespaces in the file that WORKSPACE_POLICY names")
    try:
        found = await kube.get(f"/api/v1/namespaces/{namespace}")
    except ApiError as error:
        if error.status == 404:
            raise _refused(namespace, "it does not exist") from error
        raise BackendUnavailable(f"namespace {quote(namespace)} cannot be read: {error}") from error
    metadata = found["metadata"]
    if metadata["name"] != namespace:
        raise BackendUnavailable(f"namespace {quote(namespace)} was answered with something else")
    if metadata.get("deletionTimestamp") or (found.get("status") or {}).get("phase") == "Terminating":
        raise _refused(namespace, "it is being deleted")
    if (label := (metadata.get("labels") or {}).get(LABEL)) != ALLOWED:
        raise _refused(namespace, f"its label {LABEL} is {quote(label)}, not {ALLOWED!r}")


async def may_watch_all(kube: Kube) -> bool:
    """Whether the client's account may watch pods and events of all namespaces, so that one watch of each will do."""
    try:
        for resource, verb in product(("pods", "events"), ("list", "watch")):
            if not await may(kube, "", resource, verb):
                return False
    except (ApiError, BackendUnavailable):
        return False
    return True


def _refused(namespace: str, reason: str) -> AccessDenied:
    return AccessDenied(f"namespace {quote(namespace)} is not allowed: {reason}", user_message=_NOT_ALLOWED, rule="S9")
