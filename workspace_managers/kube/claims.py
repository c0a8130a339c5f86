"""Persistent volume claims: made once, never deleted or shrunk, never handed to another workspace (rules S2, S3, S6,
S8). They are in the workspace's namespace.

A claim is used only when its annotations name the workspace, its UID included, or when it can be adopted for certain.
A person's is used only when they name the person too, and is never adopted.
Whatever the order in which concurrent callers come, all of them end with the same one claim or are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain
from typing import Any

import attrs

from ..errors import BackendUnavailable, StorageRefused, quote
from ..models import User, Volume, Workspace
from ..names import (
    DEFAULT_CLAIM_PREFIX,
    SHARED_CLAIM,
    SHARED_NAME,
    WORKSPACE_LABEL,
    default_claim,
    is_name,
    is_personal_claim,
    label_value,
)
from ..settings import Settings
from ..tasks import together
from ..texts import N_
from .client import ApiError, Kube

OWNER_ANNOTATION = "workspace-managers/owner"
"""Names the workspace that a claim belongs to; ``shared`` on the claim that belongs to none."""
OWNER_UID_ANNOTATION = "workspace-managers/owner-uid"
"""The UID of that workspace, where its backend has one: a later workspace of the same name is another one."""
PERSON_ANNOTATION = "workspace-managers/person"
"""Names the person, as ``User.username``, whom a claim belongs to in its workspace."""
USED_ANNOTATION = "workspace-managers/last-started"
"""The day, in the hub's time zone, on which a server with that claim was started last."""

Naming = Callable[[str], Awaitable[Collection[str] | None]]
"""The names of all workspaces that name a claim; None where nobody can tell."""

_RACES = 5
# The Helm chart's and KubeSpawner's marks on the hub's own database and on people's personal storage.
_HUB_PREFIX = "hub.jupyter.org/"
_HUB_LABELS = frozenset({"component", "heritage", "chart"})
# What Kubernetes recommends for whatever an application is made of, and Helm's own.
_APPLICATION_PREFIXES = ("app.kubernetes.io/", "meta.helm.sh/", "helm.sh/")
# The first hubs for these resources left it on the claims that they made.
_EARLIER_OWNER_LABEL = "workspace.xlscsde.nhs.uk/workspace"
_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"

QUOTA = N_(
    "There is no room left for this workspace's storage. What is saved in the folder of a workspace is kept. "
    "Please tell the people who run this service that the storage quota is used up."
)


async def ensure_claims(
    kube: Kube,
    settings: Settings,
    workspace: Workspace,
    volumes: Sequence[Volume],
    naming: Naming,
    *,
    user: User,
    today: date,
) -> None:
    """Make sure that each volume's claim is there and is the workspace's own. Claims are asked for side by side.

    Args:
        kube: The API that has the claims.
        settings: What new claims are like where a volume does not say, and the policy.
        workspace: As confirmed by the backend.
        volumes: As checked by ``storage.check_volumes``, so no claim is there twice.
        naming: Asked only where a claim without an owner would be adopted, or a claim made under a name that is not
            the workspace's own default.
        user: Whose server it is.
        today: The day of the start, in the hub's time zone.

    Raises:
        StorageRefused: A claim belongs to something else, or it is not certain whose it is.
        BackendUnavailable: The API server or the backend gave no certain answer, or a quota is used up.
    """
    claims = [_Claim(kube, settings, workspace, volume, naming, user=user, today=today) for volume in volumes]
    # When one of them is refused, none has been made.
    await together(*(claim.settle(existing) for claim, existing in await _looked_at(claims)))


async def look_at_claims(
    kube: Kube,
    settings: Settings,
    workspace: Workspace,
    volumes: Sequence[Volume],
    naming: Naming,
    *,
    user: User,
    today: date,
) -> list[tuple[Volume, str]]:
    """What ``ensure_claims`` would do, and do nothing of it: each volume with its claim's state in words.

    Raises:
        StorageRefused: As ``ensure_claims``.
        BackendUnavailable: As ``ensure_claims``.
    """
    claims = [_Claim(kube, settings, workspace, volume, naming, user=user, today=today) for volume in volumes]
    return [(claim.volume, claim.outlook(existing)) for claim, existing in await _looked_at(claims)]


async def claims_in(kube: Kube, namespace: str) -> list[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """The claims of a namespace, each with the names of the pods that mount it.

    Raises:
        BackendUnavailable: They cannot be listed.
    """
    place = f"namespace {quote(namespace)}"
    claims = await _listed(
        kube, f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", f"the claims of {place} cannot be listed"
    )
    mounted: dict[str, list[str]] = {}
    pods = await _listed(kube, f"/api/v1/namespaces/{namespace}/pods", f"the pods of {place} cannot be listed")
    for pod in pods:
        for claim in _claims_of(pod):
            mounted.setdefault(claim, []).append(pod["metadata"]["name"])
    return [(each, tuple(mounted.get(each["metadata"]["name"], ()))) for each in claims]


@attrs.frozen
class Acceptance:
    """A claim that can be given to a workspace.

    Attributes:
        found: What is there of it, in words.
        path: Where it is.
        version: Its ``resourceVersion``.
        annotations: What is written to give it; None for what is taken away.
    """

    found: str
    path: str
    version: str
    annotations: Mapping[str, str | None]

    async def write(self, kube: Kube) -> None:
        """Give it.

        Raises:
            StorageRefused: It was changed since.
            BackendUnavailable: That could not be written.
        """
        metadata = {"resourceVersion": self.version, "annotations": dict(self.annotations)}
        try:
            await kube.merge_patch(self.path, {"metadata": metadata})
        except ApiError as error:
            if error.status in (404, 409):
                raise StorageRefused("the claim was changed meanwhile, and was not given: look at it again") from error
            raise _unavailable(error) from error


async def acceptance(kube: Kube, workspace: Workspace, claim: str) -> Acceptance:
    """What it takes to give a claim to a workspace on an operator's word (rules S3 and S6); nothing is written.

    The word stands for what cannot be certain: an owner that has none, a clone, a volume that somebody chose. It does
    not stand against what something else owns, against another workspace's name on it, or for a person's.

    Raises:
        StorageRefused: It cannot be given.
        BackendUnavailable: It cannot be read.
    """
    path = f"/api/v1/namespaces/{workspace.namespace or kube.namespace}/persistentvolumeclaims/{claim}"
    existing = await _read(kube, path, claim) if is_name(claim) else None
    if existing is None:
        raise StorageRefused(f"there is no claim {quote(claim)}")
    annotations, shown = _annotations(existing), quote(claim)
    owner, uid = annotations.get(OWNER_ANNOTATION), annotations.get(OWNER_UID_ANNOTATION)
    if claim == SHARED_CLAIM or owner == SHARED_NAME:
        raise StorageRefused(f"claim {shown} is the shared one, and no workspace's")
    if (person := annotations.get(PERSON_ANNOTATION)) is not None or is_personal_claim(claim):
        raise StorageRefused(f"claim {shown} is the home folder of {quote(person)}, and no workspace's", rule="S8")
    if owner not in (None, workspace.name):
        raise StorageRefused(
            f"claim {shown} belongs to {quote(owner)}; whoever is certain that its files may go to "
            f"{quote(workspace.name)} removes its annotation {OWNER_ANNOTATION} first"
        )
    if reason := next(chain(_state_reasons(existing), _foreign_reasons(existing)), None):
        raise StorageRefused(f"claim {shown} cannot be given to a workspace: {reason}", rule="S3")
    if owner is not None and uid in (None, workspace.uid):
        raise StorageRefused(f"claim {shown} belongs to workspace {quote(owner)} already")
    found = (
        "has no owner" if owner is None else f"belongs to an earlier workspace of that name, with the UID {quote(uid)}"
    )
    if copies := [*_copy_reasons(existing)]:
        found = f"{found}, and {'; '.join(copies)}"
    given = {OWNER_ANNOTATION: workspace.name, OWNER_UID_ANNOTATION: workspace.uid}
    return Acceptance(found, path, existing["metadata"]["resourceVersion"], given)


async def _looked_at(claims: Sequence[_Claim]) -> list[tuple[_Claim, dict[str, Any] | None]]:
    """Each claim with what is there of it, where none of them is refused."""
    looked = list(zip(claims, await together(*(claim.read() for claim in claims)), strict=True))
    for claim, existing in looked:
        claim.check(existing)
    adopting = next((claim for claim, existing in looked if claim.would_adopt(existing)), None)
    pods = await adopting.pods() if adopting else ()
    await together(*(claim.vouch(existing, pods) for claim, existing in looked))
    return looked


async def shared_claim_problem(kube: Kube) -> str | None:
    """What keeps the shared claim from being mounted, which stops every start; None where it can be, or is not there.

    Raises:
        BackendUnavailable: It cannot be read.
    """
    path = f"/api/v1/namespaces/{kube.namespace}/persistentvolumeclaims/{SHARED_CLAIM}"
    existing = await _read(kube, path, SHARED_CLAIM)
    return None if existing is None else next(_shared_reasons(existing), None)


class _Claim:
    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        workspace: Workspace,
        volume: Volume,
        naming: Naming,
        *,
        user: User,
        today: date,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._workspace = workspace
        self.volume = volume
        self._naming = naming
        self._is_own_default = volume.claim == default_claim(workspace.name)
        self._namespace = workspace.namespace or kube.namespace
        self._collection = f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims"
        self._path = f"{self._collection}/{volume.claim}"
        self._owner = {OWNER_ANNOTATION: SHARED_NAME if volume.shared else workspace.name}
        if workspace.uid is not None and not volume.shared:
            self._owner[OWNER_UID_ANNOTATION] = workspace.uid
        self._used: dict[str, str] = {}
        if volume.personal:
            self._owner[PERSON_ANNOTATION] = user.username
            self._used = {USED_ANNOTATION: today.isoformat()}

    async def pods(self) -> list[Mapping[str, Any]]:
        """The pods that may mount it."""
        why = "pods cannot be listed, to see who mounts a claim"
        return await _listed(self._kube, f"/api/v1/namespaces/{self._namespace}/pods", why)

    def outlook(self, existing: Mapping[str, Any] | None) -> str:
        """What a start would do with it, in words."""
        if existing is None:
            return "not there, and would be made"
        return "there without an owner, and would be adopted" if self.would_adopt(existing) else "there"

    async def read(self) -> dict[str, Any] | None:
        return await _read(self._kube, self._path, self.volume.claim)

    def would_adopt(self, existing: Mapping[str, Any] | None) -> bool:
        return (
            existing is not None
            and not self.volume.shared
            and not self.volume.personal
            and OWNER_ANNOTATION not in _annotations(existing)
        )

    def check(self, existing: Mapping[str, Any] | None) -> None:
        """Refuse a claim that is not, and cannot become, this workspace's own, as far as it says so itself."""
        if existing is None:
            return
        if reason := next(self._person_reasons(existing), None):
            raise StorageRefused(reason, rule="S8")
        reasons = _shared_reasons(existing) if self.volume.shared else self._owner_reasons(existing)
        if reason := next(reasons, None):
            raise StorageRefused(reason)
        if reason := next(self._uid_reasons(existing), None):
            raise StorageRefused(reason, rule="S6")
        if self.would_adopt(existing) and (reason := next(self._adoption_reasons(existing), None)):
            raise self._unowned(f"{reason}; to give it to a workspace all the same")

    async def vouch(self, existing: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]]) -> None:
        """Refuse what would be adopted, or made under a name that is not the default, unless nobody else uses it."""
        named_by_framework = self._is_own_default or self.volume.personal
        if self.volume.shared or not (self.would_adopt(existing) or (existing is None and not named_by_framework)):
            # What is not there under a name that no workspace has given holds nobody's files.
            return
        named_by = await self._naming(self.volume.claim)
        certain = self._is_own_default if named_by is None else set(named_by) == {self._workspace.name}
        workspace = quote(self._workspace.name)
        if not certain:
            others = sorted(set(named_by or ()) - {self._workspace.name})
            also = f"workspace {quote(others[0])} names it as well" if others else "nobody can tell who else names it"
            raise self._unowned(
                f"it is not certain that workspace {workspace} is the only one that names it: {also}; "
                "to give it to one workspace"
            )
        if pod := next((pod for pod in pods if self._is_foreign_user(pod)), None):
            raise self._unowned(
                f"pod {quote(pod['metadata']['name'])} mounts it, which is no server of workspace {workspace}; to give "
                "it to a workspace all the same"
            )

    async def settle(self, existing: dict[str, Any] | None) -> None:
        """Make or adopt the claim; each round starts from what is there now, so callers that race agree."""
        for _ in range(_RACES):
            if await (self._create() if existing is None else self._annotate(existing)):
                return
            existing = await self.read()
            self.check(existing)
            await self.vouch(existing, await self.pods() if self.would_adopt(existing) else ())
        raise BackendUnavailable(f"claim {quote(self.volume.claim)} kept changing while it was made ready")

    async def _create(self) -> bool:
        settings, volume = self._settings, self.volume
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": volume.claim, "annotations": self._owner | self._used},
            "spec": {
                "accessModes": list(volume.access_modes or settings.access_modes),
                "storageClassName": volume.storage_class or settings.storage_class,
                "resources": {"requests": {"storage": volume.capacity or settings.capacity}},
            },
        }
        try:
            await self._kube.create(self._collection, body)
        except ApiError as error:
            if error.status == 409:
                # Somebody else made it, or our own first try did before its answer was lost: read and check it.
                return False
            if error.status == 403 and await self.read() is not None:
                # A quota counts before it looks whether the claim exists already.
                return False
            if error.status == 403:
                raise BackendUnavailable(
                    f"claim {quote(volume.claim)} may not be made: {error}", user_message=QUOTA
                ) from error
            if error.status == 422:
                raise StorageRefused(f"claim {quote(volume.claim)} cannot be made: {error}") from error
            raise _unavailable(error) from error
        return True

    async def _annotate(self, existing: Mapping[str, Any]) -> bool:
        """Write what its annotations lack: all of the owner to adopt it, the UID on a claim from before there was one.

        On a person's, the day too. The shared claim is used as it stands.
        """
        present = _annotations(existing)
        missing = {key: value for key, value in self._owner.items() if key not in present}
        missing |= {key: value for key, value in self._used.items() if present.get(key) != value}
        if self.volume.shared or not missing:
            return True
        # The resourceVersion makes this fail when another workspace was faster.
        metadata = {"resourceVersion": existing["metadata"]["resourceVersion"], "annotations": missing}
        try:
            await self._kube.merge_patch(self._path, {"metadata": metadata})
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise _unavailable(error) from error
        return True

    def _owner_reasons(self, existing: Mapping[str, Any]) -> Iterator[str]:
        yield from _state_reasons(existing)
        owner = _annotations(existing).get(OWNER_ANNOTATION)
        if owner is not None and owner != self._workspace.name:
            name, workspace = quote(self.volume.claim), quote(self._workspace.name)
            yield f"claim {name} belongs to {quote(owner)}, not to workspace {workspace}"

    def _person_reasons(self, existing: Mapping[str, Any]) -> Iterator[str]:
        """Why a claim is not this person's in this workspace; of another volume, that it is anybody's."""
        name, annotations = quote(self.volume.claim), _annotations(existing)
        person = annotations.get(PERSON_ANNOTATION)
        if not self.volume.personal:
            if person is not None:
                yield f"claim {name} belongs to the person {quote(person)}, and is not mounted as a person's"
            return
        for key in (OWNER_ANNOTATION, PERSON_ANNOTATION):
            if annotations.get(key) != self._owner[key]:
                yield (
                    f"claim {name} has {quote(annotations.get(key))} as its {key}, where {quote(self._owner[key])} is "
                    "expected; a person's claim is only ever made here, and never adopted"
                )
        yield from (f"claim {name} is not a person's alone: {reason}" for reason in _foreign_reasons(existing))
        if not self._settings.policy.allows_claim(self.volume.claim):
            yield from (f"claim {name} may have the files of another: {reason}" for reason in _copy_reasons(existing))

    def _uid_reasons(self, existing: Mapping[str, Any]) -> Iterator[str]:
        uid, wanted = _annotations(existing).get(OWNER_UID_ANNOTATION), self._workspace.uid
        if self.volume.shared or uid is None or uid == wanted:
            return
        claim, name = quote(self.volume.claim), quote(self._workspace.name)
        advice = f"set its annotation {OWNER_UID_ANNOTATION} to {quote(wanted)}"
        if wanted is None:
            advice = f"remove its annotation {OWNER_UID_ANNOTATION}, as this one has no UID"
        yield (
            f"claim {claim} belongs to another workspace of the name {name}, with the UID {quote(uid)}; to give its "
            f"files to this one, {advice}"
        )

    def _unowned(self, reason: str) -> StorageRefused:
        text = f"claim {quote(self.volume.claim)} has no owner, and {reason}, set its annotation {OWNER_ANNOTATION}"
        return StorageRefused(text, rule="S3")

    def _adoption_reasons(self, existing: Mapping[str, Any]) -> Iterator[str]:
        """Why a claim without an owner may not be adopted, as words that follow "and"."""
        yield from _foreign_reasons(existing)
        earlier_owner = _labels(existing).get(_EARLIER_OWNER_LABEL)
        own = label_value(self._workspace.name)
        if earlier_owner is not None and earlier_owner != own:
            yield f"its label {_EARLIER_OWNER_LABEL} says that it is {quote(earlier_owner)}'s"
        if self._settings.policy.allows_claim(self.volume.claim):
            return
        yield from _copy_reasons(existing)
        if self._is_own_default or earlier_owner == own:
            return
        if self.volume.claim.startswith(DEFAULT_CLAIM_PREFIX):
            yield f"its name is the default of another workspace than {quote(self._workspace.name)}"
        if not self.volume.recorded:
            yield f"nothing but workspace {quote(self._workspace.name)} itself says that it is its own"

    def _is_foreign_user(self, pod: Mapping[str, Any]) -> bool:
        return self.volume.claim in _claims_of(pod) and _labels(pod).get(WORKSPACE_LABEL) != label_value(
            self._workspace.name
        )


def _claims_of(pod: Mapping[str, Any]) -> set[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return {claim for each in volumes if (claim := (each.get("persistentVolumeClaim") or {}).get("claimName"))}


def _state_reasons(existing: Mapping[str, Any]) -> Iterator[str]:
    """Why a claim cannot be mounted, whoever it belongs to."""
    name = quote(existing["metadata"]["name"])
    if existing["metadata"].get("deletionTimestamp"):
        yield f"claim {name} is being deleted"
    if (existing.get("status") or {}).get("phase") == "Lost":
        yield f"claim {name} has lost its volume {_volume(existing)}, so a pod would wait for ever; restore the volume"


def _shared_reasons(existing: Mapping[str, Any]) -> Iterator[str]:
    yield from _state_reasons(existing)
    owner = _annotations(existing).get(OWNER_ANNOTATION)
    if owner not in (None, SHARED_NAME):
        yield (
            f"claim {quote(SHARED_CLAIM)} belongs to {quote(owner)}, though every workspace mounts it, so that no "
            f"server starts; set its annotation {OWNER_ANNOTATION} to {SHARED_NAME!r}, or remove it"
        )


def _foreign_reasons(existing: Mapping[str, Any]) -> Iterator[str]:
    """What says that a claim is something else's; no policy overrides it."""
    for owner in existing["metadata"].get("ownerReferences") or ():
        yield f"{quote(owner.get('kind'))} {quote(owner.get('name'))} owns it (metadata.ownerReferences)"
    labels = _labels(existing)
    for key in (*labels, *_annotations(existing)):
        if key.startswith(_HUB_PREFIX) or key in _HUB_LABELS:
            yield f"it carries {quote(key)}, so it is the hub's own or a person's"
        if key.startswith(_APPLICATION_PREFIXES):
            yield f"it carries {quote(key)}, so it is an application's"


def _copy_reasons(existing: Mapping[str, Any]) -> Iterator[str]:
    """What says that a claim has the files of another one, or those of a volume that somebody chose."""
    spec = existing.get("spec") or {}
    for field in ("dataSource", "dataSourceRef"):
        if source := spec.get(field):
            yield f"it was made from {quote(source.get('kind'))} {quote(source.get('name'))} (spec.{field})"
    if spec.get("volumeName") and _BOUND_BY_CONTROLLER not in _annotations(existing):
        yield f"whoever made it chose its volume {_volume(existing)} (spec.volumeName), which may have been another's"


def _volume(existing: Mapping[str, Any]) -> str:
    return quote((existing.get("spec") or {}).get("volumeName"))


def _annotations(thing: Mapping[str, Any]) -> Mapping[str, str]:
    return thing["metadata"].get("annotations") or {}


def _labels(thing: Mapping[str, Any]) -> Mapping[str, str]:
    return thing["metadata"].get("labels") or {}


async def _read(kube: Kube, path: str, name: str) -> dict[str, Any] | None:
    try:
        found = await kube.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise _unavailable(error) from error
    if (found.get("metadata") or {}).get("name") != name:
        raise BackendUnavailable(f"claim {quote(name)} was answered with something else")
    return found


async def _listed(kube: Kube, collection: str, why: str) -> list[Mapping[str, Any]]:
    try:
        return [each async for each in kube.items(collection)]
    except ApiError as error:
        raise BackendUnavailable(f"{why}: {error}") from error


def _unavailable(error: ApiError) -> BackendUnavailable:
    return BackendUnavailable(f"claims cannot be looked after: {error}")
