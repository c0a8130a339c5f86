"""The pod that a workspace gets, from the pod that the hub would start (rules S1, S4, S5 and S8).

The API's JSON in, new JSON out; what came in is not changed. What comes out mounts exactly the volumes of the workspace
and, beside them, only volumes that hold nobody's files.
"""

from __future__ import annotations

import copy
import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks import RESERVED_DOMAINS
from .errors import NotAllowed, ServiceFault, quote
from .models import Volume, Workspace
from .names import HOME, WORKSPACE_LABEL, label_value, volume_name
from .storage import is_home, overlap

NOTEBOOK = "notebook"
"""The container that KubeSpawner makes for the user's server."""
WORKSPACE_ANNOTATION = "workspace-managers/workspace"
VERSIONS_ANNOTATION = "workspace-managers/versions"
"""The versions of the resources that the pod's volumes were decided on, as JSON."""

HOME_CONTAINER = "workspace-managers-home"
"""The container that fills a home folder that is kept, before the server begins."""
_HOME_PLACE = "/workspace-managers-home"
# What a home folder has in the image, such as .bashrc, is copied into the kept one once, as that hides it. Nothing is
# written over there, where a copy was broken off before. A copy that fails, as of an image without cp, ends no start.
_FILL_HOME = f"""\
test -d {_HOME_PLACE} -a ! -e {_HOME_PLACE}/.workspace-home || exit 0
test ! -d {HOME} || cp -R -P -n {HOME}/. {_HOME_PLACE}/
touch {_HOME_PLACE}/.workspace-home
exit 0
"""

LONGEST_SECONDS = 2**31 - 1
"""The longest life of a pod that the API takes, of 68 years."""

# Every other kind can hold files that outlive the pod, or reach the node's own; a kind that we do not know can too.
PASSING_KINDS = frozenset({"configMap", "secret", "emptyDir", "projected", "downwardAPI"})
# NetworkPolicies of the Helm chart let a pod with these labels reach the proxy's and the hub's own API.
_RESERVED_LABELS = frozenset({"app", "component", "release", "chart", "heritage", WORKSPACE_LABEL})
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A workspace's pod, and what it lost.

    Attributes:
        pod: The pod, as the API's JSON.
        removed: Name and kind of each volume that was taken off, such as ``("data", "nfs")``, and of each block device
            that was not one of these.
    """

    pod: dict[str, Any]
    removed: tuple[tuple[str, str], ...]


def rebuild(
    pod: Mapping[str, Any],
    workspace: Workspace,
    volumes: Sequence[Volume],
    seconds_left: float,
) -> Rebuilt:
    """The pod of this workspace: foreign storage off, its own on, and what else the workspace says of its pods.

    Args:
        pod: The pod that the hub would create.
        workspace: As confirmed by the backend, and allowed by the policy.
        volumes: As checked by ``storage.check_volumes``.
        seconds_left: Until access ends; Kubernetes ends the pod then, whether the hub is there or not (rule E3).

    Raises:
        ServiceFault: The pod is not one that KubeSpawner makes, or a mount of the hub's own is in the way.
        NotAllowed: The workspace asks for other nodes than the hub's own settings do.
    """
    rebuilt: dict[str, Any] = copy.deepcopy(dict(pod))
    spec = rebuilt.setdefault("spec", {})
    removed = _take_off_storage(spec)
    notebook = next((each for each in spec.get("containers") or [] if each.get("name") == NOTEBOOK), None)
    if notebook is None:
        raise ServiceFault(f"the pod has no container {NOTEBOOK!r} to mount the workspace in", rule="S1")
    _run(notebook, workspace)
    _mount(spec, notebook, volumes)
    for home in filter(is_home, volumes):
        _fill_home(spec, notebook, home)
    _label(rebuilt.setdefault("metadata", {}), workspace)
    _schedule(spec, workspace)
    _add_environment(notebook, workspace.environment)
    if workspace.service_account is not None:
        spec["serviceAccountName"] = workspace.service_account
    _end(spec, seconds_left)
    return Rebuilt(rebuilt, removed)


def keeps_home(pod: Mapping[str, Any]) -> bool:
    """Whether a pod that was made here has a home folder that outlives it.

    Args:
        pod: As the API's JSON; an empty one where it is not known.
    """
    containers = (pod.get("spec") or {}).get("initContainers") or ()
    return any(container.get("name") == HOME_CONTAINER for container in containers)


def _take_off_storage(spec: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    volumes = spec.get("volumes") or []
    spec["volumes"] = [volume for volume in volumes if _passes(volume)]
    removed = {volume["name"]: "+".join(_kinds(volume)) or "no kind" for volume in volumes if not _passes(volume)}
    names = {volume["name"] for volume in spec["volumes"]}
    for container in _containers(spec):
        container["volumeMounts"] = [each for each in container.get("volumeMounts") or [] if each.get("name") in names]
        # A block device is always a persistent volume.
        for device in container.pop("volumeDevices", None) or []:
            removed.setdefault(device["name"], "volumeDevices")
    return tuple(removed.items())


def _passes(volume: Mapping[str, Any]) -> bool:
    kinds = _kinds(volume)
    return len(kinds) == 1 and PASSING_KINDS.issuperset(kinds)


def _kinds(volume: Mapping[str, Any]) -> list[str]:
    return [key for key, value in volume.items() if key != "name" and value is not None]


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container for key in _CONTAINER_LISTS for container in spec.get(key) or []]


def _mount(spec: dict[str, Any], notebook: dict[str, Any], volumes: Sequence[Volume]) -> None:
    present = {volume["name"]: volume for volume in spec["volumes"]}
    hub_mounts = list(notebook["volumeMounts"])
    for volume in volumes:
        for mount in hub_mounts:
            if _is_in_the_way(mount, present[mount["name"]], volume):
                raise ServiceFault(
                    f"mount path {quote(volume.mount_path)} and {quote(mount['mountPath'])} cover each other", rule="S1"
                )
        name = volume_name(volume.claim)
        if name in present:
            raise ServiceFault(
                f"the pod has another volume {quote(name)}, which is the name of that of claim {quote(volume.claim)}",
                rule="S1",
            )
        spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": volume.claim}})
        mount = {"name": name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
        # What is mounted in it, the hub's own included, comes after it.
        notebook["volumeMounts"].insert(0 if is_home(volume) else len(notebook["volumeMounts"]), mount)


def _is_in_the_way(mount: Mapping[str, Any], theirs: Mapping[str, Any], ours: Volume) -> bool:
    """Whether a mount of the hub's own and one of ours would cover each other, or leave files in the wrong one."""
    path, other = ours.mount_path, plain(mount["mountPath"])
    if "emptyDir" in theirs and not mount.get("readOnly") and path.startswith(other.rstrip("/") + "/"):
        # It holds nobody's files, and outer mounts are made first, so that ours is a folder in it.
        return False
    if is_home(ours) and "emptyDir" not in theirs and other.startswith(f"{HOME}/"):
        # Settings of the hub's own in the home folder, which nobody writes to.
        return False
    return overlap(path, other)


def _fill_home(spec: dict[str, Any], notebook: Mapping[str, Any], home: Volume) -> None:
    alike = ("image", "imagePullPolicy", "resources", "securityContext")
    spec["initContainers"] = [
        *(spec.get("initContainers") or []),
        {
            "name": HOME_CONTAINER,
            "command": ["/bin/sh", "-c", _FILL_HOME],
            "volumeMounts": [{"name": volume_name(home.claim), "mountPath": _HOME_PLACE}],
            **{key: copy.deepcopy(notebook[key]) for key in alike if notebook.get(key) is not None},
        },
    ]


def plain(path: str) -> str:
    """A mount path as the kubelet takes it: from the root, and without what stands for nothing."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _label(metadata: dict[str, Any], workspace: Workspace) -> None:
    labels = metadata["labels"] = _added(metadata.get("labels"), workspace.labels)
    labels[WORKSPACE_LABEL] = label_value(workspace.name)
    annotations = metadata["annotations"] = _added(metadata.get("annotations"), workspace.annotations)
    annotations[WORKSPACE_ANNOTATION] = workspace.name
    annotations[VERSIONS_ANNOTATION] = json.dumps(dict(workspace.versions))


def _added(present: Mapping[str, str] | None, more: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations with more of them, none of which replaces one or is the hub's own."""
    added = {key: value for key, value in more.items() if not is_reserved_label(key)}
    return {**added, **(present or {})}


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
    selector = spec.get("nodeSelector") or {}
    for key, value in workspace.node_selector.items():
        if selector.get(key, value) != value:
            raise NotAllowed(
                f"workspace {quote(workspace.name)} asks for nodes with {quote(key)}: {quote(value)}, where the hub's "
                f"own settings say {quote(selector[key])}"
            )
    if workspace.node_selector:
        spec["nodeSelector"] = {**selector, **workspace.node_selector}
    if workspace.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *(dict(each) for each in workspace.tolerations)]


def _end(spec: dict[str, Any], seconds_left: float) -> None:
    # Kubernetes counts from the moment at which a node has taken the pod, so it never ends it too early.
    own = spec.get("activeDeadlineSeconds") or LONGEST_SECONDS
    spec["activeDeadlineSeconds"] = max(1, math.ceil(min(own, LONGEST_SECONDS, seconds_left)))


def _add_environment(notebook: dict[str, Any], environment: Mapping[str, str]) -> None:
    present = notebook.get("env") or []
    names = {each.get("name") for each in present}
    added = [{"name": name, "value": value} for name, value in environment.items() if name not in names]
    if added:
        notebook["env"] = [*present, *added]
