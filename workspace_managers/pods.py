"""The pod that a workspace gets, from the pod that the hub would start (rules S1, S4 and S5).

Always true here: the API's JSON in, new JSON out; what came in is not changed. What comes out mounts exactly the
volumes of the workspace and, beside them, only volumes that hold nobody's files.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .checks import RESERVED_DOMAINS
from .errors import StorageRefused, quote
from .models import Volume, Workspace
from .names import label_value, volume_name
from .storage import overlap

NOTEBOOK = "notebook"
"""The container that KubeSpawner makes for the user's server."""
WORKSPACE_LABEL = "workspace"
WORKSPACE_ANNOTATION = "workspace-managers/workspace"
VERSIONS_ANNOTATION = "workspace-managers/versions"
"""The versions of the resources that the pod's volumes were decided on, as JSON."""

# Every other kind can hold files that outlive the pod, or reach the node's own; a kind that we do not know can too.
PASSING_KINDS = frozenset({"configMap", "secret", "emptyDir", "projected", "downwardAPI"})
# NetworkPolicies of the Helm chart let a pod with these labels reach the proxy's and the hub's own API.
_RESERVED_LABELS = frozenset({"app", "component", "release", "chart", "heritage", WORKSPACE_LABEL})
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def rebuild(pod: Mapping[str, Any], workspace: Workspace, volumes: Sequence[Volume]) -> dict[str, Any]:
    """The pod of this workspace: foreign storage off, its own on; its labels, node selector, tolerations and resources.

    Args:
        pod: The pod that the hub would create.
        workspace: As confirmed by the backend.
        volumes: As checked by ``storage.check_volumes``.

    Raises:
        StorageRefused: The pod is not one that KubeSpawner makes, or a mount of the hub's own is in the way.
    """
    rebuilt: dict[str, Any] = copy.deepcopy(dict(pod))
    spec = rebuilt.setdefault("spec", {})
    _take_off_storage(spec)
    notebook = next((each for each in spec.get("containers") or [] if each.get("name") == NOTEBOOK), None)
    if notebook is None:
        raise StorageRefused(f"the pod has no container {NOTEBOOK!r} to mount the workspace in", rule="S1")
    _run(notebook, workspace)
    _mount(spec, notebook, volumes)
    _label(rebuilt.setdefault("metadata", {}), workspace)
    _schedule(spec, workspace)
    return rebuilt


def _take_off_storage(spec: dict[str, Any]) -> None:
    kept = [volume for volume in spec.get("volumes") or [] if _passes(volume)]
    names = {volume["name"] for volume in kept}
    spec["volumes"] = kept
    for container in _containers(spec):
        container["volumeMounts"] = [each for each in container.get("volumeMounts") or [] if each.get("name") in names]
        # A block device is always a persistent volume.
        container.pop("volumeDevices", None)


def _passes(volume: Mapping[str, Any]) -> bool:
    kinds = {key for key, value in volume.items() if key != "name" and value is not None}
    return len(kinds) == 1 and kinds <= PASSING_KINDS


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container for key in _CONTAINER_LISTS for container in spec.get(key) or []]


def _mount(spec: dict[str, Any], notebook: dict[str, Any], volumes: Sequence[Volume]) -> None:
    taken = {volume["name"] for volume in spec["volumes"]}
    for volume in volumes:
        in_the_way = [
            each["mountPath"] for each in notebook["volumeMounts"] if overlap(volume.mount_path, each["mountPath"])
        ]
        if in_the_way:
            raise StorageRefused(
                f"mount path {quote(volume.mount_path)} and {quote(in_the_way[0])} cover each other", rule="S1"
            )
        name = volume_name(volume.claim)
        if name not in taken:
            spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": volume.claim}})
            taken.add(name)
        notebook["volumeMounts"].append({"name": name, "mountPath": volume.mount_path, "readOnly": volume.read_only})


def _label(metadata: dict[str, Any], workspace: Workspace) -> None:
    labels = metadata["labels"] = dict(metadata.get("labels") or {})
    for key, value in workspace.labels.items():
        if key not in labels and not is_reserved_label(key):
            labels[key] = value
    labels[WORKSPACE_LABEL] = label_value(workspace.name)
    annotations = metadata["annotations"] = dict(metadata.get("annotations") or {})
    annotations[WORKSPACE_ANNOTATION] = workspace.name
    annotations[VERSIONS_ANNOTATION] = json.dumps(dict(workspace.versions))


def is_reserved_label(key: str) -> bool:
    """Whether a label is the hub's own: what finds its pods, and what the chart's network policies open doors by."""
    return key in _RESERVED_LABELS or key.startswith(RESERVED_DOMAINS)


def _run(notebook: dict[str, Any], workspace: Workspace) -> None:
    """The image, and of each resource that the workspace names both what is reserved and the most that may be used."""
    notebook["image"] = workspace.image
    asked = workspace.resources
    named = {*asked.requests, *asked.limits}
    before = notebook.get("resources") or {}
    resources = notebook["resources"] = dict(before)
    for part, quantities in (("requests", asked.requests), ("limits", asked.limits)):
        kept = {name: quantity for name, quantity in (before.get(part) or {}).items() if name not in named}
        resources[part] = {**kept, **quantities}


def _schedule(spec: dict[str, Any], workspace: Workspace) -> None:
    if workspace.node_selector:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **workspace.node_selector}
    if workspace.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *(dict(each) for each in workspace.tolerations)]
