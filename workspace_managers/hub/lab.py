"""What JupyterLab does for people's workspace: it opens in the folder that is kept, and tells when access ends (E2).

Nothing is asked of the image, and no other object is made: the pod carries a JupyterLab extension in its annotations,
which Kubernetes mounts as files where JupyterLab looks for extensions. Servers of other kinds do not look there.

JupyterLab hands the files of an extension to whoever knows their address, signed in or not. So the folder of each pod
has a name that nobody can guess, and that only the page of its Lab says.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from .. import access
from ..errors import quote
from ..forms import title
from ..models import Workspace
from ..names import HOME
from ..pods import NOTEBOOK, plain
from ..storage import overlap
from ..texts import N_, _, language
from . import outlook

FOLDER = "/usr/local/share/jupyter/labextensions"
"""Where Jupyter looks on every system, whatever ``JUPYTER_PATH`` is there; no volume of a workspace can be mounted in
``/usr``."""
VOLUME = "workspace-managers-lab"
ANNOTATION = "workspace-managers/lab."
"""Before the name of a file."""
ACCESS = "access.json"
"""What the script shows, and until when access goes on: a file of its own, which Kubernetes writes anew when the
annotation changes."""
ANNOTATIONS_LIMIT = 255 * 1024
"""The most bytes of annotations that a pod is given; the API takes one KiB more."""

_SCRIPT = "remoteEntry.js"
_CODE = (Path(__file__).parent / "labextension" / _SCRIPT).read_text(encoding="utf-8")
_KEPT = N_("What is saved in the folder {folder} is kept. Everything else goes when this server stops.")
_READ_ONLY = N_("The folder {folder} can only be read. Whatever you save elsewhere goes when this server stops.")
_KEPT_HOME = N_(
    "What is saved in the folder {folder} is kept, and so is, for you alone, the rest of your home folder. Everything "
    "else goes when this server stops."
)
_READ_ONLY_HOME = N_(
    "The folder {folder} can only be read. What you save in the rest of your home folder is kept, for you alone."
)
_FULL = N_(
    "There may be no room left: then nothing more can be saved before something is deleted, or the people who run this "
    "service give it more room."
)
_LEFT = "{left}"  # where the script puts the time


@dataclass(frozen=True, slots=True)
class Furnished:
    """A pod with the extension, or without.

    Attributes:
        pod: The pod, as the API's JSON.
        obstacle: Why it is as it was; empty where it has the extension.
    """

    pod: Mapping[str, Any]
    obstacle: str = ""


def furnish(pod: Mapping[str, Any], grant: Workspace, zone: tzinfo) -> Furnished:
    """The pod with the extension in it; without, where there is no room for it, as a start does not depend on it.

    Args:
        pod: As it was decided on.
        grant: What it was made from.
        zone: In which the last day ends.
    """
    name = f"workspace-managers-{secrets.token_hex(16)}"
    path = f"{FOLDER}/{name}"
    furnished = copy.deepcopy(dict(pod))
    spec = furnished["spec"]
    notebook = next(each for each in spec["containers"] if each["name"] == NOTEBOOK)
    read_only = {plain(mount["mountPath"]): bool(mount.get("readOnly")) for mount in notebook["volumeMounts"]}
    files = _files(name, grant, zone, read_only)
    annotations = furnished["metadata"]["annotations"]
    annotations |= {f"{ANNOTATION}{file}": content for file, content in files.items()}
    if obstacle := _obstacle(spec, notebook, path, annotations):
        return Furnished(pod, obstacle)
    items = [
        {"path": file, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{ANNOTATION}{file}']"}}
        for file in files
    ]
    spec["volumes"].append({"name": VOLUME, "downwardAPI": {"items": items}})
    notebook["volumeMounts"].append({"name": VOLUME, "mountPath": path, "readOnly": True})
    return Furnished(furnished)


def _files(name: str, grant: Workspace, zone: tzinfo, read_only: Mapping[str, bool]) -> dict[str, str]:
    build = {"load": _SCRIPT, "extension": "./extension"}
    package = {
        "name": name,
        "version": "1.0.0",
        "description": "The name of the workspace, and when access ends",
        "jupyterlab": {"extension": True, "_build": build},
    }
    last_day = access.last_day(grant)
    told = {
        "title": title(grant),
        "language": language(),
        "close": _("Close"),
        "closing": outlook.closing(last_day),
        "warning": outlook.ending(last_day, _LEFT),
        "end": access.end(grant, zone).isoformat(timespec="seconds"),
    }
    folder = f"{HOME}/{grant.name}"
    if folder in read_only:
        readable, writable = (_READ_ONLY_HOME, _KEPT_HOME) if grant.keeps_home else (_READ_ONLY, _KEPT)
        kept = _(readable if read_only[folder] else writable, folder=grant.name)
        notice = kept if read_only[folder] else ""
        told |= {"folder": folder, "home": HOME, "kept": kept, "notice": notice, "full": _(_FULL)}
    return {"package.json": json.dumps(package), _SCRIPT: _CODE, ACCESS: json.dumps(told)}


def _obstacle(
    spec: Mapping[str, Any], notebook: Mapping[str, Any], path: str, annotations: Mapping[str, str]
) -> str | None:
    if any(volume["name"] == VOLUME for volume in spec["volumes"]):
        return f"the pod has another volume {quote(VOLUME)}"
    for mount in notebook["volumeMounts"]:
        # A folder cannot be made in most of what may be mounted there.
        if overlap(path, plain(mount["mountPath"])):
            return f"{quote(mount['mountPath'])} is mounted where it would be"
    size = sum(len(text.encode()) for entry in annotations.items() for text in entry)
    return f"the pod would have annotations of {size} bytes" if size > ANNOTATIONS_LIMIT else None
