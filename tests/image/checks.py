"""What an operator may rely on in the built image, each as a function that tells what is wrong with one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from tests.image.store import ROOT, Image
from workspace_managers.settings import VARIABLES

SITE_PACKAGES = "usr/local/lib/python3.*/site-packages"
ETC = "usr/local/etc/jupyterhub"
# The rest of the table has defaults that are the cluster's, the namespace's or the operator's own.
_OTHERS = (
    *("WORKSPACE_TIMEZONE", "WORKSPACE_SCOPED_NAMES", "WORKSPACE_REVIEW_MINUTES", "WORKSPACE_UNCERTAIN_HOURS"),
    *(
        "WORKSPACE_CLAIMS_HOURS",
        "WORKSPACES_AT_ONCE",
        "WORKSPACE_HOME",
        "WORKSPACE_HOME_STORAGE_CLASS",
        "WORKSPACE_HOME_ACCESS_MODES",
        "WORKSPACE_HOME_CAPACITY",
        "WORKSPACE_START_SINGLE",
        "WORKSPACE_LANGUAGE",
        "WORKSPACE_TEXTS",
        "POD_NAMESPACE",
        "WORKSPACE_POLICY",
    ),
)
OF_THE_SEED = [variable for variable in VARIABLES if variable.name not in _OTHERS]
_MAY_BE_NEW = re.compile(
    rf"usr/local/lib/python3\.\d+/site-packages/.+|{ETC}(/(custom_templates(/workspaces)?|jupyterhub_config\.d)(/[^/]+)?)?"
    # `wsdump` is of websocket-client; the folder is where the build mounts its secrets, and Kubernetes the token.
    r"|usr/local/bin/(workspace-managers|wsdump)|run/secrets"
)


def packages(root: Path) -> dict[str, str]:
    """The version of each package below a root."""
    (folder,) = root.glob(SITE_PACKAGES)
    return {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in distributions(path=[str(folder)])}


def problems(image: Image, root: Path, base_root: Path) -> list[str]:
    """Everything that is wrong with an image, a sentence each."""
    return [*_config_problems(image), *_file_problems(root), *_difference_problems(root, base_root)]


def _config_problems(image: Image) -> Iterator[str]:
    user = image.config.get("User", "")
    if user != "1000":
        yield f"the user is {user!r}; Kubernetes knows only by the number 1000 that it is not root"
    for variable in OF_THE_SEED:
        if image.environ.get(variable.name) != variable.default:
            yield f"{variable.name} is {image.environ.get(variable.name)!r}, not {variable.default!r}"
    if "Healthcheck" in image.config:
        yield "there is a HEALTHCHECK, which Kubernetes does not look at"
    for label in ("title", "description", "licenses", "version", "revision", "base.name"):
        if not image.config["Labels"].get(f"org.opencontainers.image.{label}"):
            yield f"there is no label org.opencontainers.image.{label}"


def _file_problems(root: Path) -> Iterator[str]:
    (package,) = root.glob(f"{SITE_PACKAGES}/workspace_managers")
    for source in sorted((ROOT / "templates").rglob("*.html")):
        name = source.relative_to(ROOT / "templates")
        for copy in (root / ETC / "custom_templates" / name, package / "templates" / name):
            yield from _copy_problems(source, copy, root)
    source = ROOT / "hub_config" / "jupyterhub_config.d" / "workspace_manager.py"
    yield from _copy_problems(source, root / ETC / "jupyterhub_config.d" / source.name, root)


def _copy_problems(source: Path, copy: Path, root: Path) -> Iterator[str]:
    if not copy.is_file():
        yield f"/{copy.relative_to(root)} is missing"
    elif copy.read_bytes() != source.read_bytes():
        yield f"/{copy.relative_to(root)} is not the project's"
    elif stat.S_IMODE(copy.stat().st_mode) & 0o022:
        yield f"/{copy.relative_to(root)} can be written to by others than root"


def _difference_problems(root: Path, base_root: Path) -> Iterator[str]:
    before, after = _files(base_root), _files(root)
    for path, was in before.items():
        if after.get(path) != was:
            yield f"/{path} of the base is {'changed' if path in after else 'gone'}"
    for path in sorted(after.keys() - before.keys()):
        if not _MAY_BE_NEW.fullmatch(path):
            yield f"/{path} is new, and not of our packages"
    versions = packages(root)
    for name, version in packages(base_root).items():
        if versions.get(name) != version:
            yield f"{name} {version} of the base has become {versions.get(name)}"


def _files(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file and folder below a root, with what would tell a change of it."""
    found: dict[str, tuple[object, ...]] = {}
    folders = [root]
    while folders:
        for entry in os.scandir(folders.pop()):
            info = entry.stat(follow_symlinks=False)
            path = os.path.relpath(entry.path, root)
            found[path] = (info.st_mode, info.st_uid, info.st_gid)
            if stat.S_ISDIR(info.st_mode):
                folders.append(Path(entry.path))
            else:
                found[path] += (info.st_size, info.st_mtime_ns)
    return found
