"""The world of the fault run: 50 workspaces, 200 users, and what is true of each workspace's storage.

It is the same at every run, and made by rules of its own, not asked of the product: claims, mounts and owners are what
the oracle holds the product to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

HOME = "/home/jovyan"
SHARED = "jupyter-shared"
IMAGE = "example/faults:1"
STUDIES = 50
USERS = 200
LARGEST_CPU = 64
"""What the cluster gives to one container, by a LimitRange."""
LONG_AGO, FAR_AHEAD = "2020-01-01", "2090-01-01"
ENDED = "2021-01-01"


class Kind(Enum):
    """What a start of a workspace by somebody with a grant must come to."""

    STARTS = "starts"
    EXPIRED = "expired"
    FUTURE = "future"
    GRABS = "names another workspace's claim"
    TOO_LARGE = "asks for more than the cluster gives"


@dataclass(frozen=True, slots=True)
class Mount:
    """One claim in a pod."""

    claim: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Study:
    """A workspace.

    Attributes:
        name: Its name.
        kind: What a start comes to.
        own: The claims that are its own and where they are mounted; the shared one is mounted beside them.
        spec: As it is written to the API server.
        status: Its status before the hub has heard of it; empty for none.
        adopted: Those of its claims that somebody has made before, without an owner.
    """

    name: str
    kind: Kind
    own: tuple[Mount, ...]
    spec: Mapping[str, Any] = field(hash=False)
    status: Mapping[str, Any] = field(default_factory=dict, hash=False)
    adopted: tuple[str, ...] = ()

    @property
    def mounts(self) -> frozenset[Mount]:
        """What its pod mounts: these and nothing else."""
        return frozenset((*self.own, Mount(SHARED, f"{HOME}/shared", read_only=True)))


def studies() -> list[Study]:
    """All of them; the first ones are plain, the last ones are each of a kind of its own."""
    plain = [_study(f"study-{number:02}") for number in range(STUDIES - 9)]
    return [
        *plain,
        _study("explicit", claim="files-of-explicit", jupyter={"persistentVolumeClaim": {"name": "files-of-explicit"}}),
        _study(
            "more-storage",
            more=(Mount("more-a", "/mnt/a"), Mount("more-b", "/mnt/more-b")),
            jupyter={
                "additionalStorage": [
                    {"persistentVolumeClaim": "more-a", "mountPath": "/mnt/a", "storageClassName": "slow"},
                    {"persistentVolumeClaim": "more-b"},
                ]
            },
        ),
        _study("made-before", adopted=("jupyter-made-before",)),
        _study(
            "told-by-status",
            claim="old-files",
            adopted=("old-files",),
            status={"statusText": "Waiting", "persistentVolumeClaim": "old-files"},
        ),
        _study("a.name.with.dots-and-more-than-sixty-three-characters-in-all-of-it-together"),
        _study("ended", kind=Kind.EXPIRED, expires=ENDED),
        _study("to-come", kind=Kind.FUTURE, available_from="2089-01-01"),
        _study(
            "grabs", kind=Kind.GRABS, jupyter={"persistentVolumeClaim": {"name": f"jupyter-{plain[0].name}"}}, claim=""
        ),
        _study("too-large", kind=Kind.TOO_LARGE, jupyter={"resources": {"limits": {"cpu": LARGEST_CPU + 1}}}),
    ]


def users() -> list[str]:
    """All of them; pairs of the first ones share one value of the lossy label (rule A2)."""
    twins = [f"sam{mark}{number}@example.org" for number in range(USERS // 10) for mark in "-_"]
    return [*twins, *(f"user-{number}@example.org" for number in range(USERS - len(twins)))]


def binding_name(user: str, study: str) -> str:
    """The one binding of a user for a workspace."""
    return f"{user.replace('@', '.at.').replace('_', '.underscore.')}-{study}"


def binding_spec(user: str, study: str, expires: str = FAR_AHEAD) -> dict[str, Any]:
    """As somebody in a portal writes it: with capitals."""
    return {"username": user.title(), "workspace": study, "expires": expires}


def _study(
    name: str,
    *,
    kind: Kind = Kind.STARTS,
    claim: str | None = None,
    more: tuple[Mount, ...] = (),
    adopted: tuple[str, ...] = (),
    jupyter: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    available_from: str = LONG_AGO,
    expires: str = FAR_AHEAD,
) -> Study:
    if claim is None:
        claim = f"jupyter-{name}"
    return Study(
        name=name,
        kind=kind,
        own=(*([Mount(claim, f"{HOME}/{name}")] if claim else []), *more),
        spec={
            "displayName": f"The workspace {name}",
            "description": "Of the fault run",
            "validity": {"availableFrom": available_from, "expires": expires},
            "jupyterWorkspace": {"image": IMAGE, "resources": {"limits": {"cpu": 1}}, **(jupyter or {})},
        },
        status=status or {},
        adopted=adopted,
    )
