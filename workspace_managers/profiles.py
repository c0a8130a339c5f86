"""What a grant says of the server that KubeSpawner starts, as values of KubeSpawner's traits (rule S5).

KubeSpawner tells a server by its environment what it may use (``MEM_LIMIT``, ``CPU_LIMIT``) and where it opens, and it
takes these from its traits; what the pod itself has is in ``pods``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import quantities
from .models import Workspace

_RESOURCES = (
    ("cpu", "cpu_guarantee", "cpu_limit", quantities.cores),
    ("memory", "mem_guarantee", "mem_limit", quantities.octets),
)


def traits(workspace: Workspace, args: Sequence[str] = ()) -> dict[str, Any]:
    """The traits that a workspace sets; the hub's own values hold for the others.

    Args:
        workspace: The grant.
        args: The server's arguments that the hub sets, to which an idle time is added.

    A workspace that says anything about CPU (or memory) says all of it, as in a pod: a limit alone is also the request,
    and a hub's default next to it could contradict it.
    """
    wanted: dict[str, Any] = {"image": workspace.image}
    if workspace.default_url:
        # The spawner formats this trait with the user's name.
        wanted["default_url"] = workspace.default_url.replace("{", "{{").replace("}", "}}")
    if workspace.idle_seconds is not None:
        wanted["args"] = [*args, f"--ServerApp.shutdown_no_activity_timeout={workspace.idle_seconds}"]
    requests, limits = workspace.resources.requests, workspace.resources.limits
    for resource, guarantee, limit, convert in _RESOURCES:
        if resource in requests or resource in limits:
            wanted[guarantee] = convert(requests[resource]) if resource in requests else None
            wanted[limit] = convert(limits[resource]) if resource in limits else None
    return wanted
