"""Which claims there are, whose they are, and what becomes of them; for ``workspace-managers claims``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from . import engine
from .capabilities import IDENTITY_CLAIMS, NAMESPACES
from .engine import NOBODY
from .errors import AccessDenied, BackendUnavailable, StorageRefused, quote
from .forms import Form
from .kube.claims import (
    OWNER_ANNOTATION,
    OWNER_UID_ANNOTATION,
    PERSON_ANNOTATION,
    USED_ANNOTATION,
    Acceptance,
    acceptance,
    claims_in,
)
from .kube.client import ApiError, Kube
from .kube.namespaces import ALLOWED, LABEL
from .manager import WorkspaceManager
from .models import User, Volume, Workspace
from .names import SHARED_CLAIM, SHARED_NAME

NO_GRANT = "no grant"
NO_GRANT_BY_NAME = "no grant by the username; one by identity claims is not known of"


@attrs.frozen
class Holding:
    """A claim, and what is known of it.

    Attributes:
        claim: Its name.
        workspace: The workspace that it belongs to; ``shared`` for the one of all, None for no owner.
        uid: That workspace's UID; None where its backend has none, or the claim is from before.
        person: Whose home folder it is, as ``User.username``; None where it is nobody's.
        last_started: Of a home folder, the day on which a server with it was started last, as ``2027-01-31``.
        opens: Of a home folder, whether its person may open it, now or later; None of another.
        namespace: Where it is.
        mounted_by: The pods that mount it.
        outlook: What a start would do with it and why; of a home folder, what its person may do with the workspace.
    """

    claim: str
    workspace: str | None
    uid: str | None = None
    person: str | None = None
    last_started: str | None = None
    opens: bool | None = None
    namespace: str = ""
    mounted_by: tuple[str, ...] = ()
    outlook: str = ""


async def inventory(manager: WorkspaceManager) -> list[Holding]:
    """The claims, by namespace and name.

    Args:
        manager: Started. Where its workspaces may have namespaces of their own, these are looked at as well.

    Raises:
        BackendUnavailable: The plugin or the Kubernetes API gave no answer.
    """
    kube = manager.context.kube
    namespaces = [kube.namespace, *(await _others(kube) if NAMESPACES in manager.capabilities else ())]
    found = [_holding(*each) for name in namespaces for each in await claims_in(kube, name)]
    forms: dict[str, Form] = {}
    for person in {each.person for each in found if each.person is not None}:
        forms[person] = await manager.build_form(User(person, person))
    by_claims = IDENTITY_CLAIMS in manager.capabilities
    mounts = await _mounts(manager)
    held = []
    for each in found:
        if each.person is not None:
            held.append(_with_access(each, forms[each.person], by_claims))
        else:
            held.append(attrs.evolve(each, outlook=await _outlook(manager, each, mounts)))
    return sorted(held, key=lambda each: (each.namespace, each.claim))


async def accept(manager: WorkspaceManager, claim: str, name: str) -> Acceptance:
    """What it takes to give a claim to a workspace; nothing is written.

    Raises:
        StorageRefused: It cannot be given, or the workspace would not mount it.
        BackendUnavailable: The plugin or the Kubernetes API gave no answer.
    """
    every = await engine.all_workspaces(manager)
    workspace = next((each for each in every or () if each.name == name), None)
    if workspace is None:
        why = "the workspace manager does not tell its workspaces" if every is None else "there is none of this name"
        raise StorageRefused(f"workspace {quote(name)} cannot be given a claim: {why}")
    found = await acceptance(manager.context.kube, workspace, claim)
    named_by = await engine.named_by(manager, claim)
    if named_by is not None and name not in named_by:
        raise StorageRefused(
            f"workspace {quote(name)} does not name claim {quote(claim)}, so no server of it would mount it: name it "
            "there first"
        )
    others = sorted(set(named_by or ()) - {name})
    if others:
        also = f"{found.found}; workspace {quote(others[0])} names it as well, and will be refused it"
        return attrs.evolve(found, found=also)
    return found


async def _mounts(manager: WorkspaceManager) -> Mapping[tuple[str, str], list[tuple[Workspace, Volume]]] | None:
    """By namespace and claim, each workspace that mounts it; None where the plugin does not tell its workspaces."""
    every = await engine.all_workspaces(manager)
    if every is None:
        return None
    found: dict[tuple[str, str], list[tuple[Workspace, Volume]]] = {}
    for workspace in every:
        try:
            volumes = await engine.volumes_of(manager, NOBODY, workspace)
        except AccessDenied:
            continue
        for volume in volumes:
            namespace = workspace.namespace or manager.context.kube.namespace
            found.setdefault((namespace, volume.claim), []).append((workspace, volume))
    return found


async def _outlook(
    manager: WorkspaceManager,
    holding: Holding,
    mounts: Mapping[tuple[str, str], list[tuple[Workspace, Volume]]] | None,
) -> str:
    if holding.claim == SHARED_CLAIM:
        return "mounted read-only by every workspace" if holding.workspace in (None, SHARED_NAME) else "refused to all"
    if mounts is None:
        return "not known, as the workspace manager does not tell its workspaces"
    said = []
    for workspace, volume in mounts.get((holding.namespace, holding.claim), ()):
        try:
            ((_, what),) = await engine.outlook_of_claims(manager, NOBODY, workspace, [volume])
        except StorageRefused as error:
            what = f"refused, as {error}"
        said.append(f"{quote(workspace.name)}: {what}")
    if said:
        return "; ".join(said)
    return "kept; no workspace mounts it now" if holding.workspace else "left alone; no workspace names it"


def _with_access(home: Holding, form: Form, by_claims: bool) -> Holding:
    card = next((card for card in form.cards if card.slug == home.workspace), None)
    if card is None:
        return attrs.evolve(home, outlook=NO_GRANT_BY_NAME if by_claims else NO_GRANT, opens=False)
    return attrs.evolve(home, outlook=card.when, opens=card.state != "expired")


def _holding(claim: Mapping[str, Any], pods: tuple[str, ...]) -> Holding:
    annotations = claim["metadata"].get("annotations") or {}
    return Holding(
        claim=claim["metadata"]["name"],
        workspace=annotations.get(OWNER_ANNOTATION) or None,
        uid=annotations.get(OWNER_UID_ANNOTATION),
        person=annotations.get(PERSON_ANNOTATION),
        last_started=annotations.get(USED_ANNOTATION),
        namespace=claim["metadata"]["namespace"],
        mounted_by=pods,
    )


async def _others(kube: Kube) -> list[str]:
    try:
        found = await kube.get("/api/v1/namespaces", {"labelSelector": f"{LABEL}={ALLOWED}"})
    except ApiError as error:
        raise BackendUnavailable(f"the namespaces of workspaces cannot be listed: {error}") from error
    return [each["metadata"]["name"] for each in found["items"]]
