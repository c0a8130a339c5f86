"""Why a person may open a workspace or may not: what was looked at, rule by rule, and the decision of a start.

The decision is the engine's own, up to the point at which something would be made: nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from . import access, engine, pods
from .capabilities import IDENTITY_CLAIMS
from .errors import AccessDenied, BackendUnavailable, WorkspaceManagerError, quote
from .findings import Finding
from .manager import WorkspaceManager
from .models import User, Volume, Workspace

_BARE_POD = {"spec": {"containers": [{"name": pods.NOTEBOOK}]}}


@attrs.frozen
class Explanation:
    """Why a start would be let through or not.

    Attributes:
        opens: Whether it would; None where that is not certain.
        findings: What was looked at, in the order in which a start looks at it.
    """

    opens: bool | None
    findings: tuple[Finding, ...]


async def explain(manager: WorkspaceManager, user: User | None, name: str) -> Explanation:
    """Look at all that a start of a workspace would rest on.

    Args:
        manager: Started; its clock says for when.
        user: Who would start it; without identity claims where these are not known. None asks whether anybody may.
        name: The workspace.

    Raises:
        BackendUnavailable: Without a user, the plugin could not answer.
    """
    if user is None:
        return await _for_anybody(manager, name)
    found = [*_identity(manager, user, name)]
    try:
        found += await engine.findings_of(manager, user, name)
        grant = await engine.confirm(manager, user, name)
        found.append(_granted(grant))
        volumes = await engine.volumes_of(manager, user, grant)
        pods.rebuild(_BARE_POD, grant, volumes, pods.LONGEST_SECONDS)
        found += await _storage(manager, user, grant, volumes)
    except AccessDenied as error:
        return Explanation(False, (*found, _decided(error, False)))
    except WorkspaceManagerError as error:
        return Explanation(None, (*found, _decided(error, None)))
    return Explanation(True, tuple(found))


async def _for_anybody(manager: WorkspaceManager, name: str) -> Explanation:
    found = [*await engine.findings_of(manager, None, name)]
    every = await engine.all_workspaces(manager)
    if every is None:
        known = "the workspace manager does not tell all of its workspaces"
        found.append(Finding("F3", f"the workspace {quote(name)}", known, None))
    elif (workspace := next((each for each in every if each.name == name), None)) is not None:
        reasons = await engine.beyond_policy(manager, engine.NOBODY, [workspace])
        allowed = reasons.get(name, "all that it asks for is allowed")
        found.append(Finding("F4", "the policy", allowed, name not in reasons, "what it allows"))
        try:
            volumes = await engine.volumes_of(manager, engine.NOBODY, workspace)
            found += await _storage(manager, engine.NOBODY, workspace, volumes)
        except AccessDenied as error:
            found.append(_decided(error, False))
    elif all(each.holds is not False for each in found):
        found.append(Finding("A2", f"the workspace {quote(name)}", "there is none of this name", False, "another name"))
    if any(each.holds is False for each in found):
        return Explanation(False, tuple(found))
    return Explanation(None if every is None else True, tuple(found))


def _identity(manager: WorkspaceManager, user: User, name: str) -> Sequence[Finding]:
    scope = f", for the workspace {quote(user.scope)} alone" if user.scope else ""
    whole = "a whole username, and a session that may see this workspace"
    found = [Finding("A2", "the person", f"{quote(user.username)}{scope}", access.in_scope(user, name), whole)]
    if IDENTITY_CLAIMS in manager.capabilities:
        known = user.identity_claims is not None
        said = f"known: {', '.join(sorted(user.identity_claims or ())) or 'none'}" if known else "not known here"
        found.append(Finding("E6", "what the identity provider says", said, None, "a file of them, by --claims"))
    return found


def _granted(grant: Workspace) -> Finding:
    days = f"from {grant.first_day} to {access.last_day(grant)}"
    return Finding("A1", f"the grant of {quote(grant.name)}", f"open {days}", True)


async def _storage(
    manager: WorkspaceManager, user: User, grant: Workspace, volumes: Sequence[Volume]
) -> Sequence[Finding]:
    looked = await engine.outlook_of_claims(manager, user, grant, volumes)
    return [Finding("S2", f"claim {quote(volume.claim)} at {volume.mount_path}", said, True) for volume, said in looked]


def _decided(error: WorkspaceManagerError, holds: bool | None) -> Finding:
    what = "the answer of the backend" if isinstance(error, BackendUnavailable) else "the decision"
    return Finding(error.rule or "A3", what, str(error), holds)
