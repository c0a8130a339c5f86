"""A plugin that misbehaves as its user is named: ``volumes_for:hangs`` is a method, and what is wrong with it."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime
from typing import Any

import attrs

from workspace_managers import (
    HOME,
    Context,
    Resources,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
)
from workspace_managers.timeouts import Timeouts

STUDY = Workspace(
    name="study",
    display_name="Study",
    description="Of a test",
    first_day=date(2020, 1, 1),
    last_day=date(2090, 1, 1),
    grant_last_day=date(2090, 1, 1),
    image="example/notebook:1.0",
)


@attrs.frozen(kw_only=True)
class OwnStudy(Workspace):
    """A plugin may have facts of its own; their annotations are nobody else's concern."""

    room: "Room" = 1  # type: ignore[name-defined]  # noqa: F821, UP037 - that is the point


OWN_STUDY = OwnStudy(**{each.name: getattr(STUDY, each.name) for each in attrs.fields(Workspace)})
VOLUME = Volume(claim=default_claim("study"), mount_path=f"{HOME}/study")


def _spoiled(fact: Workspace | Volume, **changes: Any) -> Any:
    return attrs.evolve(fact, **changes)


WRONG: dict[str, dict[str, Any]] = {
    "list_workspaces": {
        "none": None,
        "text": "study",
        "of-text": ["study"],
        "of-dicts": [{"name": "study"}],
        "generator": (each for each in [STUDY]),
        "a-volume": [VOLUME],
    },
    "confirm": {"none": None, "true": True, "text": "study", "list": [STUDY]},
    "volumes_for": {
        "none": None,
        "text": "jupyter-study",
        "of-text": ["jupyter-study"],
        "a-workspace": [STUDY],
    },
    "problems": {"none": None, "text": "one problem", "of-numbers": [1]},
}


# Answers of the right type that say something wrong of the one fact in them.
SPOILT: dict[str, dict[str, Any]] = {
    "list_workspaces": {
        "datetime": [_spoiled(STUDY, last_day=datetime(2090, 1, 1, tzinfo=UTC))],
        "text-for-a-day": [_spoiled(STUDY, grant_last_day="2090-01-01")],
        "name-of-none": [_spoiled(STUDY, name=None)],
        "number-for-a-title": [_spoiled(STUDY, display_name=7)],
        "label-of-a-number": [_spoiled(STUDY, labels={"pool": 1})],
        "resources-of-none": [_spoiled(STUDY, resources=None)],
        "tolerations-of-text": [_spoiled(STUDY, tolerations="gpu")],
        "name-that-is-none": [_spoiled(STUDY, name="Study")],
        "amount-that-is-none": [_spoiled(STUDY, resources=Resources(limits={"cpu": "several"}))],
        "another-host": [_spoiled(STUDY, default_url="//evil.example")],
    },
    "confirm": {
        "no-day": _spoiled(STUDY, last_day=None),
        "ends-before-it-begins": _spoiled(STUDY, first_day=date(2090, 1, 2)),
    },
    "volumes_for": {
        "path-of-none": [_spoiled(VOLUME, mount_path=None)],
        "text-for-a-flag": [_spoiled(VOLUME, read_only="no")],
        "capacity-of-a-number": [_spoiled(VOLUME, capacity=10)],
        "the-same-claim-twice": [VOLUME, _spoiled(VOLUME, mount_path="/data")],
    },
}


class RudeManager(WorkspaceManager):
    """Right for everybody whose name says nothing of its methods."""

    interface_versions = (1, 1)

    def __init__(self, context: Context) -> None:
        """Misbehaves without a user as well, as ``mood`` says."""
        super().__init__(context)
        # A test does not wait for as long as a user would.
        context.kube.timeouts = Timeouts(answer=1.0)
        self.mood = ""

    async def list_workspaces(self, user: User) -> Any:
        """The one workspace."""
        return await self._act("list_workspaces", user, [OWN_STUDY])

    async def confirm(self, user: User, name: str) -> Any:
        """The one workspace."""
        return await self._act("confirm", user, STUDY)

    async def volumes_for(self, user: User, workspace: Workspace) -> Any:
        """The one volume."""
        return await self._act("volumes_for", user, [VOLUME])

    async def provisioned(self, user: User, workspace: Workspace, volumes: Any) -> None:
        """Nothing."""
        await self._act("provisioned", user, None)

    async def start(self) -> None:
        """Nothing."""
        await self._act("start", None, None)

    async def close(self) -> None:
        """Nothing."""
        await self._act("close", None, None)

    async def problems(self) -> Any:
        """None."""
        return await self._act("problems", None, ())

    async def _act(self, method: str, user: User | None, right: Any) -> Any:
        misbehaves, _, how = (user.username if user else self.mood).partition(":")
        if method != misbehaves:
            return right
        match how:
            case "hangs":
                await asyncio.Event().wait()
            case "raises":
                raise KeyError("secret-token " * 100)
            case "exits":
                sys.exit(3)
            case "is-cancelled":
                raise asyncio.CancelledError
        return {**WRONG[method], **SPOILT.get(method, {})}[how]
