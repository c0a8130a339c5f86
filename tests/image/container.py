"""A container of an image as a kubelet would run it, without a container runtime.

Always true here: the process has the image's root, read-only but for the mounts that say otherwise, the image's user
with no capability, its environment and nothing of ours; and everything that it starts ends with it, and with this
process. The network is the machine's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.image.store import Image
from workspace_managers.devcluster.node import tied

GROUP = 1000


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or a file of the machine in the container.

    Attributes:
        source: On the machine.
        target: In the container, without a symbolic link in it.
        writable: Whether it may be written to.
    """

    source: Path
    target: str
    writable: bool = False


def command(
    image: Image,
    root: Path,
    environ: Mapping[str, str | None],
    mounts: Sequence[Mount] = (),
    arguments: Sequence[str] = (),
) -> list[str]:
    """The command line that runs a container.

    Args:
        image: Whose user, environment, working directory and command it has.
        root: A root of that image, made for this container.
        environ: Its environment over that of the image; None takes a variable of the image away.
        mounts: What is mounted; where a target is missing, it is made.
        arguments: In place of the image's own `Cmd`.
    """
    lines = ["set -e", f"root={shlex.quote(str(root))}", 'mount --bind "$root" "$root"']
    lines += ['mount -t proc proc "$root/proc"', 'mount --rbind /dev "$root/dev"']
    for mount in mounts:
        target = root / mount.target.lstrip("/")
        if mount.source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        place = shlex.quote(str(target))
        lines.append(f"mount --bind {shlex.quote(str(mount.source))} {place}")
        if not mount.writable:
            lines.append(f"mount -o remount,bind,ro {place}")
    lines.append('mount -o remount,bind,ro "$root"')
    # It is not the first process here, as it is in a pod: that is the shell, see below.
    variables = {**image.environ, "TINI_SUBREAPER": "1", **environ}
    entry = [*(image.config.get("Entrypoint") or ()), *(arguments or image.config["Cmd"])]
    inside = [
        *("chroot", f"--userspec={image.config['User']}:{GROUP}", f"--groups={GROUP}", str(root)),
        *("env", "--ignore-environment", f"--chdir={image.config.get('WorkingDir') or '/'}"),
        *(f"{name}={value}" for name, value in variables.items() if value is not None),
        *entry,
    ]
    # This shell is the container's first process, with which the kernel ends all others. It stays root's: to one that
    # changes its user, it would not be told when this process ends.
    lines += [
        f"{shlex.join(inside)} &",
        "child=$! code=0",
        'trap "kill -TERM $child" TERM',
        "while kill -0 $child 2>/dev/null; do wait $child && code=0 || code=$?; done",
        "exit $code",
    ]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return tied([*namespaces, "sh", "-c", "\n".join(lines)])
