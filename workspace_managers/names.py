"""Names and labels that Kubernetes accepts, and names made from those that people and workspaces have (rule S4).

The same name in gives the same name out, and whatever had to be changed carries a hash of the whole. Which workspace a
claim belongs to is never read from its name alone: the owner annotation tells (``kube.claims``).
"""

from __future__ import annotations

import hashlib
import re

SHARED_CLAIM = "jupyter-shared"
SHARED_NAME = "shared"
HOME = "/home/jovyan"
DEFAULT_CLAIM_PREFIX = "jupyter-"
PERSONAL_CLAIM_PREFIX = "home-"
WORKSPACE_LABEL = "workspace"
"""The label of a pod that names its workspace."""

LABEL_LIMIT = 63
NAME_LIMIT = 253
SERVER_LIMIT = 30
_HASH_LENGTH = 10
_PERSON_LENGTH = 20
_LABEL_NAME = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SERVER_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_PERSONAL_CLAIM = re.compile(rf"{PERSONAL_CLAIM_PREFIX}[0-9a-f]{{{_PERSON_LENGTH}}}-.+", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


def is_name(value: object) -> bool:
    """Whether Kubernetes takes this as the name of a workspace or a claim (a DNS-1123 subdomain)."""
    return isinstance(value, str) and len(value) <= NAME_LIMIT and bool(_SUBDOMAIN.fullmatch(value))


def is_namespace(value: object) -> bool:
    """Whether Kubernetes takes this as the name of a namespace (a DNS-1123 label)."""
    return isinstance(value, str) and bool(_NAMESPACE.fullmatch(value))


def is_label(key: object, value: object) -> bool:
    """Whether Kubernetes takes this as a label: at most 63 characters a part, the prefix a DNS name."""
    if not isinstance(key, str) or not isinstance(value, str):
        return False
    prefix, slash, name = key.rpartition("/")
    return (
        (not slash or is_name(prefix))
        and bool(_LABEL_NAME.fullmatch(name))
        and (not value or bool(_LABEL_NAME.fullmatch(value)))
    )


def _shortened(value: str, original: str, limit: int) -> str:
    digest = hashlib.sha256(original.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{value[: limit - _HASH_LENGTH - 1].rstrip('-._')}-{digest}"


def default_claim(workspace: str) -> str:
    """The claim that a workspace has when it names none: ``jupyter-<workspace>``, shortened past 253 characters."""
    name = f"{DEFAULT_CLAIM_PREFIX}{workspace}"
    return name if len(name) <= NAME_LIMIT else _shortened(name, workspace, NAME_LIMIT)


def personal_claim(username: str, workspace: str) -> str:
    """The claim of one person in one workspace (rule S8): ``home-<hash of both>-<workspace>``, shortened past 253.

    Args:
        username: As ``User.username``; any text.
        workspace: The workspace's name.
    """
    both = f"{len(username)}:{username}{workspace}".encode(errors="surrogatepass")
    name = f"{PERSONAL_CLAIM_PREFIX}{hashlib.sha256(both).hexdigest()[:_PERSON_LENGTH]}-{workspace}"
    return name if len(name) <= NAME_LIMIT else _shortened(name, workspace, NAME_LIMIT)


def is_personal_claim(name: str) -> bool:
    """Whether a claim is called as those are that belong to a person."""
    return bool(_PERSONAL_CLAIM.fullmatch(name))


def volume_name(claim: str) -> str:
    """The pod's name for the volume of a claim: a DNS label of at most 63 characters.

    It always carries the hash, so a claim cannot be named after the shortened form of another.
    """
    return _shortened("workspace-" + claim.replace(".", "-"), claim, LABEL_LIMIT)


def label_value(workspace: str) -> str:
    """The value of the pod's label ``workspace``: the name itself, shortened past 63 characters."""
    return workspace if len(workspace) <= LABEL_LIMIT else _shortened(workspace, workspace, LABEL_LIMIT)


def server_name(workspace: str) -> str:
    """The name of the server that opens a workspace (rule W1).

    The workspace's own where JupyterHub takes that: from 6 on at most 30 lowercase letters, digits and single hyphens,
    the first a letter. With a hash where it does not.
    """
    if len(workspace) <= SERVER_LIMIT and _SERVER_NAME.fullmatch(workspace):
        return workspace
    words = re.sub("[^a-z0-9]+", "-", workspace).strip("-")
    return _shortened(words if words[:1].isalpha() else f"w-{words}", workspace, SERVER_LIMIT)
