"""Which volumes a workspace may ask for at all (rules S1, S2 and S8).

Always true here: pure checks, made before any claim is read or made. What is not certain to be right is refused,
with the reason in the log and a plain sentence for the user.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .errors import StorageRefused, quote
from .models import Volume
from .names import HOME, SHARED_CLAIM, SHARED_NAME, is_name, is_personal_claim, personal_claim

SHARED_PATH = f"{HOME}/{SHARED_NAME}"
SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt/conda", "/proc", "/root"),
    *("/run", "/sbin", "/sys", "/tmp", "/usr", "/var"),  # noqa: S108 - a folder that no claim may hide
)
# Two plain paths that overlap begin with the same name; this is asked for each mount of each workspace that is listed.
_SYSTEM_BY_FIRST_NAME = {
    name: [folder for folder in SYSTEM_FOLDERS if folder.split("/")[1] == name]
    for name in {folder.split("/")[1] for folder in SYSTEM_FOLDERS}
}
_IMPOSSIBLE = re.compile(r"[\x00-\x1f:]")


def check_volumes(workspace: str, volumes: Sequence[Volume], username: str | None = None) -> None:
    """Refuse volumes that are not certain to be right for a workspace.

    Args:
        workspace: Its name.
        volumes: What its pod would mount.
        username: Whose pod it is, as ``User.username``; without one, no volume is a person's.

    Raises:
        StorageRefused: With every reason found.
    """
    reasons = [*_workspace_reasons(workspace), *_path_reasons(volumes)]
    personal: list[str] = []
    for volume in volumes:
        reasons += _claim_reasons(volume)
        personal += _personal_reasons(volume, workspace, username)
    for claim, count in Counter(volume.claim for volume in volumes).items():
        if count > 1:
            reasons.append(f"it mounts {quote(claim)} {count} times")
    if personal or reasons:
        rule = "S8" if personal else None
        raise StorageRefused(f"workspace {quote(workspace)}: " + "; ".join((*personal, *reasons)), rule=rule)


def has_home(volumes: Iterable[Volume]) -> bool:
    """Whether one of these is the home folder of the pod's person."""
    return any(map(is_home, volumes))


def is_home(volume: Volume) -> bool:
    """Whether a volume is the home folder of the pod's person."""
    return volume.personal and volume.mount_path == HOME


def overlap(one: str, other: str) -> bool:
    """Whether two mount paths are the same or one lies inside the other, so that one mount would cover the other."""
    return one == other or one.startswith(other.rstrip("/") + "/") or other.startswith(one.rstrip("/") + "/")


def _workspace_reasons(workspace: str) -> Iterable[str]:
    if not is_name(workspace):
        yield "its name is not one that Kubernetes takes"
    if workspace == SHARED_NAME:
        yield f"its name is reserved: its own claim and folder would be the shared ones ({SHARED_CLAIM})"


def _claim_reasons(volume: Volume) -> Iterable[str]:
    if not is_name(volume.claim):
        yield f"{quote(volume.claim)} is not the name of a claim"
    is_shared_one = volume.shared and volume.read_only and volume.mount_path == SHARED_PATH
    if volume.shared and (volume.claim != SHARED_CLAIM or not is_shared_one):
        yield f"the shared claim is {SHARED_CLAIM}, read-only at {SHARED_PATH}, and nothing else"
    if volume.claim == SHARED_CLAIM and not volume.shared:
        yield f"it names the shared claim {SHARED_CLAIM} as its own"


def _personal_reasons(volume: Volume, workspace: str, username: str | None) -> Iterable[str]:
    if not volume.personal:
        if is_personal_claim(volume.claim):
            yield f"{quote(volume.claim)} is called as a person's claim, and is not mounted as one"
        return
    if not username:
        yield f"{quote(volume.claim)} would be mounted as a person's claim, and there is no person"
    elif volume.claim != (own := personal_claim(username, workspace)):
        yield f"{quote(volume.claim)} is not the claim of {quote(username)} in it, which is {quote(own)}"
    if volume.shared:
        yield f"{quote(volume.claim)} is a person's and shared"
    if volume.mount_path != HOME and not volume.mount_path.startswith(f"{HOME}/"):
        yield f"a person's claim is mounted at {HOME} or in it, and not at {quote(volume.mount_path)}"


def _path_reasons(volumes: Sequence[Volume]) -> Iterable[str]:
    for index, volume in enumerate(volumes):
        path = volume.mount_path
        if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path:
            yield f"mount path {quote(path)} is not absolute and plain (no '..', no '.', no doubled or trailing slash)"
            continue
        if _IMPOSSIBLE.search(path):
            yield f"mount path {quote(path)} has a character that a mount path cannot have"
        if path == "/" or HOME.startswith(path + "/") or (path == HOME and not volume.personal):
            yield f"mount path {quote(path)} would cover the home folder"
        for folder in _SYSTEM_BY_FIRST_NAME.get(path.split("/")[1], ()):
            if overlap(path, folder):
                yield f"mount path {quote(path)} would cover the system folder {folder}"
                break
        for other in volumes[:index]:
            if overlap(path, other.mount_path) and not (
                _is_inside_home(other, volume) or _is_inside_home(volume, other)
            ):
                yield f"mount paths {quote(path)} and {quote(other.mount_path)} cover each other"


def _is_inside_home(volume: Volume, home: Volume) -> bool:
    """Whether a volume is a folder in the person's home, which is mounted first."""
    return is_home(home) and volume.mount_path.startswith(f"{HOME}/")
