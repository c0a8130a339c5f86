"""Which claims there are, whose they are, and whether anybody may open them; for ``workspace-managers claims``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .capabilities import IDENTITY_CLAIMS, NAMESPACES
from .errors import BackendUnavailable
from .forms import Form
from .kube.claims import (
    OWNER_ANNOTATION,
    OWNER_UID_ANNOTATION,
    PERSON_ANNOTATION,
    USED_ANNOTATION,
    owned_claims,
)
from .kube.client import ApiError, Kube
from .kube.namespaces import ALLOWED, LABEL
from .manager import WorkspaceManager
from .models import User

NO_GRANT = "no grant"
NO_GRANT_BY_NAME = "no grant by the username; one by identity claims is not known of"


@attrs.frozen
class Holding:
    """A claim that belongs to a workspace, or to a person in one.

    Attributes:
        claim: Its name.
        workspace: The workspace's name.
        uid: That workspace's UID; None where its backend has none, or the claim is from before.
        person: Whose home folder it is, as ``User.username``; None where it is the workspace's.
        last_started: Of a home folder, the day on which a server with it was started last, as ``2027-01-31``.
        access: Of a home folder, in words, what its person may do with the workspace now.
        namespace: Where it is.
        opens: Whether that is to open it, now or later; None of what is no home folder.
    """

    claim: str
    workspace: str
    uid: str | None = None
    person: str | None = None
    last_started: str | None = None
    access: str | None = None
    opens: bool | None = None
    namespace: str = ""


async def inventory(manager: WorkspaceManager) -> list[Holding]:
    """The claims that have an owner, by namespace and name.

    Args:
        manager: Started. Where its workspaces may have namespaces of their own, these are looked at as well.

    Raises:
        BackendUnavailable: The plugin or the Kubernetes API gave no answer.
    """
    kube = manager.context.kube
    namespaces = [kube.namespace, *(await _others(kube) if NAMESPACES in manager.capabilities else ())]
    found = [_holding(each) for name in namespaces for each in await owned_claims(kube, name)]
    forms: dict[str, Form] = {}
    for person in {each.person for each in found if each.person is not None}:
        forms[person] = await manager.build_form(User(person, person))
    by_claims = IDENTITY_CLAIMS in manager.capabilities
    held = [each if each.person is None else _with_access(each, forms[each.person], by_claims) for each in found]
    return sorted(held, key=lambda each: (each.namespace, each.claim))


def _with_access(home: Holding, form: Form, by_claims: bool) -> Holding:
    card = next((card for card in form.cards if card.slug == home.workspace), None)
    if card is None:
        return attrs.evolve(home, access=NO_GRANT_BY_NAME if by_claims else NO_GRANT, opens=False)
    return attrs.evolve(home, access=card.when, opens=card.state != "expired")


def _holding(claim: Mapping[str, Any]) -> Holding:
    annotations = claim["metadata"]["annotations"]
    return Holding(
        claim=claim["metadata"]["name"],
        workspace=annotations[OWNER_ANNOTATION],
        uid=annotations.get(OWNER_UID_ANNOTATION),
        person=annotations.get(PERSON_ANNOTATION),
        last_started=annotations.get(USED_ANNOTATION),
        namespace=claim["metadata"]["namespace"],
    )


async def _others(kube: Kube) -> list[str]:
    try:
        found = await kube.get("/api/v1/namespaces", {"labelSelector": f"{LABEL}={ALLOWED}"})
    except ApiError as error:
        raise BackendUnavailable(f"the namespaces of workspaces cannot be listed: {error}") from error
    return [each["metadata"]["name"] for each in found["items"]]
