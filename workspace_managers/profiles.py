"""The KubeSpawner profile of a workspace (rule S5).

Always true here: a profile holds scalars only, and always all of them. KubeSpawner merges a dictionary into what
the last workspace left on the spawner and keeps a scalar that is not set again, so anything else would leak into
the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import quantities
from .models import Workspace

TRAITS = ("image", "cpu_guarantee", "cpu_limit", "mem_guarantee", "mem_limit", "default_url")
"""The traits of KubeSpawner that a profile sets."""

_RESOURCES = (
    ("cpu", "cpu_guarantee", "cpu_limit", quantities.cores),
    ("memory", "mem_guarantee", "mem_limit", quantities.octets),
)


def profile(workspace: Workspace, hub_defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The profile that starts a workspace.

    A workspace that says anything about CPU (or memory) says all of it, as in a pod: a limit alone is also the request,
    and a hub's default next to it could contradict it. One that says nothing gets the hub's own values.

    Args:
        workspace: The workspace that was chosen.
        hub_defaults: What the hub's configuration sets, by the names in ``TRAITS``.
    """
    override = {trait: hub_defaults.get(trait) for trait in TRAITS}
    override["image"] = workspace.image
    if workspace.default_url:
        # The spawner formats this trait with the user's name.
        override["default_url"] = workspace.default_url.replace("{", "{{").replace("}", "}}")
    requests, limits = workspace.resources.requests, workspace.resources.limits
    for resource, guarantee, limit, convert in _RESOURCES:
        if resource in requests or resource in limits:
            override[guarantee] = convert(requests[resource]) if resource in requests else None
            override[limit] = convert(limits[resource]) if resource in limits else None
    return {
        "display_name": workspace.name,
        "slug": workspace.name,
        "default": True,
        "kubespawner_override": override,
    }
