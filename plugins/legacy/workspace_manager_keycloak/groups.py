"""Keycloak groups read as workspaces: pure functions from the admin API's JSON to facts.

A group that is not certain is set aside with a reason and hides no other (rule F3). The workspace's
name comes from the group's, and with it the claim, so groups whose names come to the same are all set aside: they
would share their storage (rule S1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from workspace_managers import Workspace, is_name, parse_day, quote

from .variables import Environment

PARENT = "jupyter-workspaces"
"""The top-level group whose children are the workspaces."""
GROUPS_CLAIM = "realm_groups"
_ATTRIBUTE = "workspace.xlscsde.nhs.uk/"
_DEFAULTS = {
    "environment": "jupyter_default",
    "startDate": "1900-01-01",
    # No end: it has ended.
    "endDate": "1900-01-01",
    "description": "No description provided",
}
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Group:
    """A child of the parent group that is a workspace.

    Attributes:
        id: Keycloak's own.
        path: In lower case, to be compared whole.
        workspace: What it grants to each of its members.
    """

    id: str
    path: str
    workspace: Workspace


def read_groups(
    found: Iterable[Mapping[str, Any]], environments: Mapping[str, Environment]
) -> tuple[list[Group], list[str]]:
    """Read all children of the parent group, whole: only then is it known which names are used once.

    Args:
        found: In full representation; ``id``, ``name`` and ``path`` are texts.
        environments: By name.

    Returns:
        The groups that are workspaces, and a sentence for each that is not.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for raw in found:
        by_name.setdefault(workspace_name(raw["name"]), []).append(raw)
    groups: list[Group] = []
    problems: list[str] = []
    for name, raws in by_name.items():
        shown = " and ".join(quote(raw["name"], _SHOWN) for raw in raws[:2])
        if len(raws) > 1:
            problems.append(
                f"workspace {quote(name, _SHOWN)}: the names of {len(raws)} groups come to it, such as {shown}, "
                "so their storage would be the same; rename all but one"
            )
            continue
        try:
            groups.append(Group(raws[0]["id"], raws[0]["path"].lower(), _workspace(name, raws[0], environments)))
        except ValueError as error:
            problems.append(f"workspace {quote(name, _SHOWN)}: group {shown} is set aside: {error}")
    return groups, problems


def workspace_name(group: str) -> str:
    """The name of a group's workspace, legal or not."""
    return group.lower().replace(" ", "-")


def claimed_paths(claims: Mapping[str, Any]) -> frozenset[str]:
    """The paths of the groups that the identity claim names, in lower case; nothing where it is not a list."""
    found = claims.get(GROUPS_CLAIM)
    if not isinstance(found, list | tuple):
        return frozenset()
    return frozenset(path.lower() for path in found if isinstance(path, str))


def _workspace(name: str, raw: Mapping[str, Any], environments: Mapping[str, Environment]) -> Workspace:
    """Read one group.

    Raises:
        ValueError: It grants nothing, for this reason.
    """
    if not is_name(name):
        raise ValueError(f"its name gives {quote(name, _SHOWN)}, which is not a workspace's name that Kubernetes takes")
    attributes = raw.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise ValueError(f"its attributes are {quote(attributes, _SHOWN)}")
    environment_name = _text(attributes, "environment")
    environment = environments.get(environment_name)
    if environment is None:
        known = ", ".join(quote(each, 40) for each in list(environments)[:10])
        raise ValueError(f"its environment {quote(environment_name, _SHOWN)} is not one of {known}")
    ends = _day(attributes, "endDate")
    return Workspace(
        name=name,
        display_name=raw["name"],
        description=_text(attributes, "description"),
        first_day=_day(attributes, "startDate"),
        last_day=ends,
        grant_last_day=ends,
        image=environment.image,
        resources=environment.resources,
    )


def _text(attributes: Mapping[str, Any], key: str) -> str:
    found = attributes.get(_ATTRIBUTE + key, [_DEFAULTS[key]])
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        return found[0]
    raise ValueError(f"its attribute {key} is {quote(found, _SHOWN)}; accepted is one text")


def _day(attributes: Mapping[str, Any], key: str) -> date:
    text = _text(attributes, key)
    try:
        return parse_day(text)
    except ValueError as error:
        raise ValueError(f"its attribute {key}: {error}") from None
