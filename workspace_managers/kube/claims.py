"""Persistent volume claims: made once, never deleted, never shrunk, never handed to another workspace (rules S2 and
S3).

Always true here: a claim is used only when its owner annotation names the workspace, or when it can be adopted
for certain; whatever the order in which concurrent callers come, all of them end with the same one claim or are
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import NO_DATA_LOST, BackendUnavailable, StorageRefused, quote
from ..models import Volume
from ..names import SHARED_NAME, default_claim
from ..settings import Settings
from ..tasks import together
from .client import ApiError, Kube

OWNER_ANNOTATION = "workspace-managers/owner"
"""Names the workspace that a claim belongs to; ``shared`` on the claim that belongs to none."""

_RACES = 5
# The Helm chart's and KubeSpawner's marks: the hub's own database, and people's personal storage.
_HUB_PREFIX = "hub.jupyter.org/"
_HUB_LABELS = frozenset({"component", "heritage", "chart"})
_MANAGER_LABEL = "app.kubernetes.io/managed-by"
_NAME_LABEL = "app.kubernetes.io/name"

QUOTA = (
    "There is no room left for this workspace's storage. "
    f"{NO_DATA_LOST} Please tell the people who run this service that the storage quota is used up."
)


async def ensure_claims(kube: Kube, settings: Settings, workspace: str, volumes: Sequence[Volume]) -> None:
    """Make sure that each volume's claim is there and is the workspace's own. Claims are asked for side by side.

    Raises:
        StorageRefused: A claim belongs to something else, or it is not certain whose it is.
        BackendUnavailable: The API server gave no certain answer, or a quota is used up.
    """
    by_claim = {volume.claim: volume for volume in volumes}
    # Reads come first: when one of them is refused, none has been made.
    claims = [_Claim(kube, settings, workspace, volume) for volume in by_claim.values()]
    found = await together(*(claim.read() for claim in claims))
    for claim, existing in zip(claims, found, strict=True):
        claim.check(existing)
    await together(*(claim.settle(existing) for claim, existing in zip(claims, found, strict=True)))


class _Claim:
    def __init__(self, kube: Kube, settings: Settings, workspace: str, volume: Volume) -> None:
        self._kube = kube
        self._settings = settings
        self._workspace = workspace
        self._volume = volume
        self._owner = SHARED_NAME if volume.shared else workspace
        self._collection = f"/api/v1/namespaces/{kube.namespace}/persistentvolumeclaims"
        self._path = f"{self._collection}/{volume.claim}"

    async def read(self) -> dict[str, Any] | None:
        try:
            found = await self._kube.get(self._path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise _unavailable(error) from error
        if (found.get("metadata") or {}).get("name") != self._volume.claim:
            raise BackendUnavailable(f"claim {quote(self._volume.claim)} was answered with something else")
        return found

    def check(self, existing: Mapping[str, Any] | None) -> None:
        """Refuse a claim that is not, and cannot become, this workspace's own."""
        name = quote(self._volume.claim)
        metadata = (existing or {}).get("metadata") or {}
        owner = (metadata.get("annotations") or {}).get(OWNER_ANNOTATION)
        if metadata.get("deletionTimestamp"):
            raise StorageRefused(f"claim {name} is being deleted")
        if owner == self._owner or (owner is None and self._volume.shared):
            return
        if owner is not None:
            raise StorageRefused(f"claim {name} belongs to {quote(owner)}, not to workspace {quote(self._workspace)}")
        own = self._volume.claim == default_claim(self._workspace)
        # What is there may hold the files of another workspace that names it; what is not there holds nobody's.
        if not (self._volume.sole or (own and (existing is None or self._volume.sole is None))):
            raise StorageRefused(
                f"claim {name} has no owner, and workspace {quote(self._workspace)} is not the only one that names it; "
                f"to give it to one workspace, set its annotation {OWNER_ANNOTATION}",
                rule="S3",
            )
        if mark := _hub_mark(metadata):
            raise StorageRefused(
                f"claim {name} carries {quote(mark)}, so it is the hub's own or a person's; "
                f"to give it to a workspace all the same, set its annotation {OWNER_ANNOTATION}",
                rule="S3",
            )

    async def settle(self, existing: dict[str, Any] | None) -> None:
        """Make or adopt the claim; each round starts from what is there now, so callers that race agree."""
        for _ in range(_RACES):
            self.check(existing)
            if existing is None:
                done = await self._create()
            elif self._volume.shared or OWNER_ANNOTATION in (existing["metadata"].get("annotations") or {}):
                return
            else:
                done = await self._adopt(existing)
            if done:
                return
            existing = await self.read()
        raise BackendUnavailable(f"claim {quote(self._volume.claim)} kept changing while it was made ready")

    async def _create(self) -> bool:
        settings, volume = self._settings, self._volume
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": volume.claim, "annotations": {OWNER_ANNOTATION: self._owner}},
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

    async def _adopt(self, existing: Mapping[str, Any]) -> bool:
        # The resourceVersion makes this fail when another workspace was faster.
        version = existing["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "annotations": {OWNER_ANNOTATION: self._owner}}}
        try:
            await self._kube.merge_patch(self._path, patch)
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise _unavailable(error) from error
        return True


def _hub_mark(metadata: Mapping[str, Any]) -> str | None:
    labels = metadata.get("labels") or {}
    for key in (*labels, *(metadata.get("annotations") or {})):
        if key.startswith(_HUB_PREFIX) or key in _HUB_LABELS:
            return str(key)
    if labels.get(_MANAGER_LABEL) == "kubespawner":
        return _MANAGER_LABEL
    return _NAME_LABEL if labels.get(_NAME_LABEL) == "jupyterhub" else None


def _unavailable(error: ApiError) -> BackendUnavailable:
    return BackendUnavailable(f"claims cannot be looked after: {error}")
