"""One plugin for each clause, which breaks that rule and as little else as can be.

Always true here: ``BROKEN`` names every clause, and each plugin is right wherever its clause does not look.
"""

from __future__ import annotations

import asyncio
import html
import re
import socket
import threading
import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import aiohttp
import attrs

from workspace_managers import (
    AccessDenied,
    ApiError,
    BackendUnavailable,
    Context,
    IncompleteAnswer,
    User,
    Volume,
    Workspace,
    default_claim,
    personal_claim,
    require_open,
)
from workspace_managers.contract import WorkspaceManagerContract
from workspace_managers.kube.claims import OWNER_ANNOTATION

from . import example
from .calls_at_import import CallsAtImport
from .example import ExampleManager, ExampleWorld, WatchingManager, WatchingWorld, backend


def claims_path(plugin: ExampleManager) -> str:
    """Where claims are."""
    return f"/api/v1/namespaces/{plugin.context.namespace}/persistentvolumeclaims"


def claim_body(claim: str, owner: str) -> dict[str, Any]:
    """A claim of a workspace."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": claim, "annotations": {OWNER_ANNOTATION: owner}}, "spec": spec}


class MatchesCase(ExampleManager):
    """Compares the username as it was written."""

    def holds(self, user: User, username: str) -> bool:
        exact = ".smith@" not in username.lower() or user.name == username
        return super().holds(user, username) and exact


class MatchesLabel(ExampleManager):
    """Compares what a label can hold."""

    def holds(self, user: User, username: str) -> bool:
        def label(name: str) -> str:
            return re.sub(r"[-_@]", "_", name) if name.isascii() else name

        return bool(user.username) and label(user.username) == label(username.lower())


class MatchesShortened(ExampleManager):
    """Compares 63 characters."""

    def holds(self, user: User, username: str) -> bool:
        return bool(user.username) and user.username[:63] == username.lower()[:63]


class MatchesAscii(ExampleManager):
    """Takes accents off."""

    def holds(self, user: User, username: str) -> bool:
        def plain(name: str) -> str:
            return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name

        if not user.username.startswith("jos"):
            return super().holds(user, username)
        return bool(user.username) and plain(user.username) == plain(username.lower())


class FoldsNames(ExampleManager):
    """Folds more letters into one than the hub does."""

    def holds(self, user: User, username: str) -> bool:
        return bool(user.username) and user.username.casefold() == username.casefold()


class ForgetsScope(ExampleManager):
    """Compares the whole identity, scope and all."""

    def holds(self, user: User, username: str) -> bool:
        return super().holds(user, username) and "\\" not in user.name


class MatchesPrefix(ExampleManager):
    """Takes the beginning of a username for it."""

    def holds(self, user: User, username: str) -> bool:
        starts = len(user.username) > 3 and username == "alice" and username.startswith(user.username)
        return super().holds(user, username) or starts


class MatchesStripped(ExampleManager):
    """Takes characters that cannot be seen off; the tables do not have this one, made-up names find it."""

    def holds(self, user: User, username: str) -> bool:
        return bool(user.username) and user.username.replace("\x00", "") == username.lower()


class ConfirmsAnybody(ExampleManager):
    """Looks for the workspace, and not for whose it is."""

    async def grants(self, user: User) -> list[Workspace]:
        workspaces, grants = await backend.read()
        mine = await super().grants(user)
        if user.name != "alice" or "of-bob" not in workspaces:
            return mine
        return [*mine, *(self.build(name, workspaces[name], until) for _, name, until in grants)]


class LastDayIsClosed(ExampleManager):
    """Takes the last day for the first one without access."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        made = super().build(name, facts, until)
        return attrs.evolve(made, last_day=made.last_day - timedelta(days=1 if name == "march" else 0))


class LastsAsTheWorkspace(ExampleManager):
    """Forgets that a grant has an end of its own."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        return super().build(name, facts, facts["last_day"] if name.endswith("-ends") else until)


class CountsInUtc(ExampleManager):
    """Has a day of its own, in UTC."""

    async def confirm(self, user: User, name: str) -> Workspace:
        day = self.context.clock().date() if name == "zone" else self.context.today()
        return require_open(user, name, await self.grants(user), day)


class KeepsTheDay(ExampleManager):
    """Reads the clock once."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.day = context.today()

    async def confirm(self, user: User, name: str) -> Workspace:
        day = self.day if name == "later" else self.context.today()
        return require_open(user, name, await self.grants(user), day)


class LosesSummerTime(ExampleManager):
    """Takes the offset that its zone has in January for that of the whole year."""

    async def confirm(self, user: User, name: str) -> Workspace:
        offset = datetime(2026, 1, 15, tzinfo=self.context.settings.timezone).utcoffset()
        day = (self.context.clock().astimezone(UTC) + (offset or timedelta())).date()
        return require_open(user, name, await self.grants(user), day)


class ListsOpenOnly(ExampleManager):
    """Leaves out what is not open."""

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        today = self.context.today()
        found = await super().list_workspaces(user)
        return [each for each in found if each.first_day <= today <= min(each.last_day, each.grant_last_day)]


class EmptyAtFirst(ExampleManager):
    """Has nothing while its cache is not filled."""

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        try:
            return await super().list_workspaces(user)
        except BackendUnavailable:
            if self.seen or "recovered" in backend.workspaces:
                raise
            return []


class EmptyLater(ExampleManager):
    """Has nothing any more in an outage."""

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        try:
            return await super().list_workspaces(user)
        except BackendUnavailable:
            if not self.seen:
                raise
            return []


class StartsFromMemory(ExampleManager):
    """Confirms from memory when nobody answers."""

    async def confirm(self, user: User, name: str) -> Workspace:
        try:
            return await super().confirm(user, name)
        except BackendUnavailable:
            if not self.seen.get(user.name) or user.identity_claims:
                raise
            return require_open(user, name, self.seen[user.name], self.context.today())


class GivesUp(ExampleManager):
    """Never asks again."""

    failed: BackendUnavailable | None = None

    async def grants(self, user: User) -> list[Workspace]:
        if self.failed is not None:
            raise BackendUnavailable("the directory was gone") from self.failed
        try:
            return await super().grants(user)
        except BackendUnavailable as error:
            self.failed = error
            raise


class TakesForbiddenForNo(ExampleManager):
    """Tells a 403 of the API server to the user."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        try:
            await self.context.kube.get(claims_path(self))
        except ApiError as error:
            if error.status == 403:
                raise AccessDenied("it is forbidden") from error
            raise
        return await super().volumes_for(user, workspace)


class TakesSilenceForNo(ExampleManager):
    """Tells an API server without an answer to the user as a denial."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        try:
            await self.context.kube.get(claims_path(self))
        except ApiError:
            raise
        except BackendUnavailable as error:
            raise AccessDenied("nobody says yes") from error
        return await super().volumes_for(user, workspace)


class OneAtATime(ExampleManager):
    """Asks the API server for one user, and then for the next."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.turn = asyncio.Lock()

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        async with self.turn:
            await self.context.kube.get(claims_path(self))
        return await super().volumes_for(user, workspace)


class ReadsTooEarly(WatchingManager):
    """Asks first who has the workspace, and then whether the answer can be had."""

    async def confirm(self, user: User, name: str) -> Workspace:
        answer = await ExampleManager.confirm(self, user, name)
        await self.context.kube.get(self.path())
        return answer


class GoesOnWithoutHistory(WatchingManager):
    """Has no use for a 410, nor for what comes after it."""

    deaf = False

    def hear(self, event: Mapping[str, Any]) -> None:
        self.deaf = self.deaf or event["type"] == "ERROR"
        self.lose()

    def lose(self) -> None:
        if not self.deaf:
            super().lose()


class BelievesSilence(WatchingManager):
    """Takes a connection without a word for one without news."""

    silence = 3600.0


class ShowsWhatItHeld(WatchingManager):
    """Takes what was known before the watch broke for what is certain."""

    broken = 0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.held: dict[str, Workspace] = {}

    def hear(self, event: Mapping[str, Any]) -> None:
        self.broken = 0
        super().hear(event)

    def lose(self) -> None:
        self.broken += 1
        super().lose()

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        if self.broken and "revoked" in self.held:
            raise IncompleteAnswer("the watch is broken", self.held.values())
        found = await super().list_workspaces(user)
        self.held |= {each.name: each for each in found}
        return found


class MakesUpWorkspaces(ExampleManager):
    """Fills in what a grant does not say."""

    async def grants(self, user: User) -> list[Workspace]:
        _, grants = await backend.read()
        dangling = [(name, until) for username, name, until in grants if self.holds(user, username)]
        facts = {"display_name": "", "description": "", "image": "x", "first_day": date.min, "last_day": date.max}
        more = [self.build(name, facts, until) for name, until in dangling if name == "never-made"]
        return [*await super().grants(user), *more]


class TellsOpenWorkspaces(ExampleManager):
    """Tells an operator of those that are open."""

    async def all_workspaces(self) -> Sequence[Workspace]:
        today = self.context.today()
        return [each for each in await super().all_workspaces() if each.last_day >= today]


class TellsOthersWorkspaces(ExampleManager):
    """Tells an operator of other workspaces, of the same names."""

    async def all_workspaces(self) -> Sequence[Workspace]:
        return example.changed(await super().all_workspaces(), uid="another")


class FailsForAll(ExampleManager):
    """Fails where a workspace has no image."""

    def skip(self, name: str) -> None:
        raise ValueError(f"{name} has no image")


class SkipsInSilence(ExampleManager):
    """Leaves a workspace without an image out, and tells nobody."""

    def skip(self, name: str) -> None:
        pass


class FailsToTell(ExampleManager):
    """Has no sentence for an operator where a workspace has no image."""

    async def problems(self) -> Sequence[str]:
        return [name + each["image"] for name, each in (await backend.read())[0].items() if not each["image"]]


class KeepsALock(ExampleManager):
    """Takes along what no cache can store."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        made = super().build(name, facts, until)
        return attrs.evolve(made, source=threading.Lock()) if name == "stored" else made


class RemembersWorkspaces(ExampleManager):
    """Reads grants anew, and workspaces from memory."""

    async def confirm(self, user: User, name: str) -> Workspace:
        _, grants = await backend.read()
        known = [each for each in self.seen.get(user.name, ()) if ("alice", each.name) in {g[:2] for g in grants}]
        return require_open(user, name, known or await self.grants(user), self.context.today())


class RemembersGrants(ExampleManager):
    """Reads workspaces anew, and grants from memory."""

    async def confirm(self, user: User, name: str) -> Workspace:
        workspaces, _ = await backend.read()
        known = [each for each in self.seen.get(user.name, ()) if each.name in workspaces]
        return require_open(user, name, known or await self.grants(user), self.context.today())


class TellsWhose(ExampleManager):
    """Explains a denial to the wrong person."""

    async def confirm(self, user: User, name: str) -> Workspace:
        try:
            return await super().confirm(user, name)
        except AccessDenied as error:
            owners = [username for username, granted, _ in (await backend.read())[1] if granted == name]
            raise AccessDenied(str(error), user_message=f"Ask {owners} for it.") from error


class TellsColleagues(ExampleManager):
    """Lists everybody of a workspace in its description."""

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        found = await super().list_workspaces(user)
        people = [username for username, name, _ in backend.grants if name == "common"]
        return example.changed(found, description=f"With {people}") if people else found


class NamesClaims(ExampleManager):
    """Not broken: it may give a workspace any claim whose name begins as its default one."""

    async def naming(self, claim: str) -> Collection[str] | None:
        workspaces, _ = await backend.read()
        return {name for name in workspaces if claim.startswith(default_claim(name))}


class ClaimEachTime(NamesClaims):
    """Makes a claim for each start."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        if workspace.name != "course":
            return await super().volumes_for(user, workspace)
        return (self.own(workspace, f"jupyter-course-{uuid.uuid4()}"), self.shared())


class OneClaimForAll(ExampleManager):
    """Folds two workspaces into one claim."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        folded = workspace.name.replace("left.right", "left-right")
        return (self.own(workspace, default_claim(folded)), self.shared())


class MountsTwice(ExampleManager):
    """Mounts a workspace's claim in another folder as well."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        found = await super().volumes_for(user, workspace)
        return [*found, attrs.evolve(found[0], mount_path="/data")] if workspace.name == "folded" else found


class TakesOver(ExampleManager):
    """Writes itself into the annotation of a claim that is somebody else's."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        claim = default_claim(workspace.name)
        if workspace.name == "claimed":
            path = f"{claims_path(self)}/{claim}"
            annotations = {OWNER_ANNOTATION: workspace.name}
            try:
                await self.context.kube.merge_patch(path, {"metadata": {"annotations": annotations}})
            except ApiError as error:
                if error.status != 404:
                    raise
        return await super().volumes_for(user, workspace)


class TakesTheNameForTheUid(ExampleManager):
    """Tells apart what has different names."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        return super().build(name, {**facts, "uid": name}, until)


class MountsPersonal(ExampleManager):
    """Brings the user's own files along."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        found = await super().volumes_for(user, workspace)
        if workspace.name != "enclosed":
            return found
        return (*found, Volume(claim=f"claim-{user.username}", mount_path="/mnt/mine", recorded=True))


class WritesShared(ExampleManager):
    """Lets a workspace write to what everybody reads."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        found = await super().volumes_for(user, workspace)
        return [attrs.evolve(each, read_only=False) for each in found] if workspace.name == "reader" else found


class UnavailableForShared(ExampleManager):
    """Takes a name that is not allowed for an outage."""

    async def confirm(self, user: User, name: str) -> Workspace:
        if name == "shared":
            raise BackendUnavailable("shared is no workspace")
        return await super().confirm(user, name)


class CutsNames(ExampleManager):
    """Cuts a claim's name where Kubernetes ends."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return (self.own(workspace, f"jupyter-{workspace.name}"[:253].rstrip("-.")), self.shared())


class CollectsVolumes(ExampleManager):
    """Keeps the volumes of one start for the next."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.volumes: dict[str, Volume] = {}

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        found = await super().volumes_for(user, workspace)
        if workspace.name in ("first", "second"):
            self.volumes |= {each.claim: each for each in found}
            return tuple(self.volumes.values())
        return found


class DeniesForQuota(ExampleManager):
    """Makes its claims itself, and tells a full quota as a denial."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        found = await super().volumes_for(user, workspace)
        if workspace.name == "no-room":
            try:
                await self.context.kube.create(claims_path(self), claim_body("jupyter-no-room", workspace.name))
            except ApiError as error:
                if error.status == 403:
                    raise AccessDenied("no room") from error
        return found


class AsksOnce(ExampleManager):
    """Has a client of its own that takes the first fault for the answer."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        if workspace.name.startswith("fault-"):
            api = await self.context.kube.api()
            url = f"{api.configuration.host}{claims_path(self)}"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                answer.raise_for_status()
        return await super().volumes_for(user, workspace)


class ClaimsAnother(NamesClaims):
    """Makes its claims itself, and another one where the first seems to be taken."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        claim = default_claim(workspace.name)
        try:
            await self.context.kube.create(claims_path(self), claim_body(claim, workspace.name))
        except ApiError as error:
            if error.status != 409:
                raise
            there = [each["metadata"]["name"] for each in (await self.context.kube.get(claims_path(self)))["items"]]
            claim = claim if claim in there else f"{claim}-2"
        return (self.own(workspace, claim), self.shared())


class ClaimsAnew(NamesClaims):
    """Has a client of its own to make its claims with, and makes another one where the first seems to have failed."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        claim = default_claim(workspace.name)
        url = f"{(await self.context.kube.api()).configuration.host}{claims_path(self)}"
        async with aiohttp.ClientSession() as session:
            try:
                await session.post(url, json=claim_body(claim, workspace.name))
            except aiohttp.ClientError:
                claim = f"{claim}-2"
        return (self.own(workspace, claim), self.shared())


class EscapesText(ExampleManager):
    """Makes HTML of what the template makes HTML of."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        return super().build(name, {**facts, "display_name": html.escape(facts["display_name"])}, until)


class LogsClaims(ExampleManager):
    """Logs whom it was asked about, all of it."""

    async def confirm(self, user: User, name: str) -> Workspace:
        self.context.log.info("Confirming %s for %s", name, user)
        return await super().confirm(user, name)


class OfAnotherVersion(ExampleManager):
    """Is made for an interface to come."""

    interface_versions = (99, 99)


class CallsAtConstruction(ExampleManager):
    """Looks for its backend when it is made."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looking:
            looking.connect(("127.0.0.1", 9))


class LeavesTask(ExampleManager):
    """Goes on watching when it is closed."""

    async def start(self) -> None:
        await super().start()
        self.other = asyncio.create_task(asyncio.sleep(3600))


class LeavesConnection(ExampleManager):
    """Leaves a connection open when it is closed."""

    left: ClassVar[list[socket.socket]] = []

    async def start(self) -> None:
        await super().start()
        host, port = str((await self.context.kube.api()).configuration.host).removeprefix("http://").split(":")
        self.left.append(socket.create_connection((host, int(port))))


class ClosesStartedOnly(ExampleManager):
    """Closes what it takes to be started."""

    async def close(self) -> None:
        if self.task is None:
            raise RuntimeError("close before start")
        await super().close()


class ReviewsFromMemory(ExampleManager):
    """Asks whether the backend and the workspace are there, and takes grants of servers that run from memory."""

    async def review(self, user: User, name: str) -> Workspace:
        workspaces, _ = await backend.read()
        known = [each for each in self.seen.get(user.name, ()) if each.name in workspaces]
        return require_open(user, name, known or await self.grants(user), self.context.today())


class EndsColleagues(ExampleManager):
    """Ends every server of a workspace from which somebody was taken away."""

    async def review(self, user: User, name: str) -> Workspace:
        grant = await super().review(user, name)
        if (
            len({username for username, granted, _ in (await backend.read())[1] if granted == name})
            == 1
            < len(self.seen)
        ):
            raise AccessDenied("somebody has left")
        return grant


class NeverEnds(ExampleManager):
    """Takes each end for an outage."""

    async def review(self, user: User, name: str) -> Workspace:
        try:
            return await super().review(user, name)
        except AccessDenied as error:
            raise BackendUnavailable(str(error)) from error


class EndsInAnOutage(ExampleManager):
    """Takes an outage for the end."""

    async def review(self, user: User, name: str) -> Workspace:
        try:
            return await super().review(user, name)
        except BackendUnavailable as error:
            raise AccessDenied(str(error)) from error


class GoesOnInAnOutage(ExampleManager):
    """Takes an outage for good news."""

    async def review(self, user: User, name: str) -> Workspace:
        try:
            self.last = await super().review(user, name)
        except BackendUnavailable:
            return self.last
        return self.last


class TellsNobody(WatchingManager):
    """Keeps what it hears to itself."""

    def hear(self, _event: Mapping[str, Any]) -> None:
        self.seen.clear()


class TellsLate(WatchingManager):
    """Tells of what it hears a minute later."""

    def hear(self, event: Mapping[str, Any]) -> None:
        self.seen.clear()
        asyncio.get_running_loop().call_later(60, super().hear, event)


class TellsOfAnother(WatchingManager):
    """Tells of a colleague."""

    def tell(self, **whom: Sequence[str]) -> None:
        super().tell(**{what: [f"{name}-2" for name in names] for what, names in whom.items()})


class TellsOfEverybody(WatchingManager):
    """Has every server reviewed for each change."""

    def tell(self, **_whom: Sequence[str]) -> None:
        super().tell()


class ForgetsOutages(WatchingManager):
    """Tells of what it hears, and not of what it may have missed."""

    def lose(self) -> None:
        self.seen.clear()


class KeepsTheUser(ExampleManager):
    """Keeps the user of a question on itself, while it waits for the backend."""

    current: User | None = None

    async def grants(self, user: User) -> list[Workspace]:
        self.current = user
        workspaces, grants = await backend.read()
        many = len(workspaces) >= 200
        asked = self.current if many else user
        return [
            self.build(name, workspaces[name], until)
            for username, name, until in grants
            if name in workspaces and self.holds(asked, username)
        ]


class LendsHome(WatchingManager):
    """Has one home for all who work in a workspace."""

    def home(self, user: User, workspace: Workspace) -> Volume:
        person = "alice" if workspace.name == "one-home" else user.username
        return attrs.evolve(super().home(user, workspace), claim=personal_claim(person, workspace.name))


class NamesHomeAsWritten(WatchingManager):
    """Has a home for each way in which somebody signs in."""

    def home(self, user: User, workspace: Workspace) -> Volume:
        return attrs.evolve(super().home(user, workspace), claim=personal_claim(user.name, workspace.name))


class PromisesHome(WatchingManager):
    """Says that the home folder is kept, and forgets it."""

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        volumes = await super().volumes_for(user, workspace)
        return [each for each in volumes if not each.personal or workspace.name != "promised"]


class ClearsHomes(WatchingManager):
    """Takes the homes of those away who have no access now."""

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        found = await super().list_workspaces(user)
        if not found:
            with suppress(ApiError):
                path = f"{claims_path(self)}/{personal_claim(user.username, 'and-back')}"
                await self.context.kube.request("DELETE", path)
        return found


class StaysWithTheHub(WatchingManager):
    """Has the pods of a workspace in the hub's namespace, whatever the backend says."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        made = super().build(name, facts, until)
        return attrs.evolve(made, namespace=None) if name == "apart" else made


class MixesNamespaces(WatchingManager):
    """Takes the namespace of the first workspace for all."""

    def build(self, name: str, facts: Mapping[str, Any], until: date) -> Workspace:
        made = super().build(name, facts, until)
        first = backend.workspaces.get("first-of-two")
        return attrs.evolve(made, namespace=first["namespace"]) if first else made


class FallsBackToTheHub(WatchingManager):
    """Looks at the label itself, and takes the hub's namespace where that one is not allowed."""

    async def grants(self, user: User) -> list[Workspace]:
        return [await self.housed(each) for each in await super().grants(user)]

    async def housed(self, grant: Workspace) -> Workspace:
        if grant.name != "by-label":
            return grant
        found = await self.context.kube.get(f"/api/v1/namespaces/{grant.namespace}")
        allowed = found["metadata"]["labels"].get("workspace-managers/workspaces") == "allowed"
        return grant if allowed else attrs.evolve(grant, namespace=None)


BROKEN: Mapping[str, Sequence[type[ExampleManager]]] = {
    "test_username_in_any_case_is_one_user": [MatchesCase],
    "test_look_alikes_see_their_own_only": [MatchesLabel],
    "test_long_usernames_are_matched_whole": [MatchesShortened],
    "test_unicode_usernames_are_their_own": [MatchesAscii],
    "test_people_are_told_apart_as_the_hub_tells_them": [FoldsNames],
    "test_scoped_session_sees_its_workspace_only": [ForgetsScope],
    "test_unknown_user_has_nothing": [MatchesPrefix],
    "test_no_made_up_name_finds_a_grant": [MatchesStripped],
    "test_grant_of_another_opens_nothing": [ConfirmsAnybody],
    "test_open_from_the_first_day_to_the_last": [LastDayIsClosed],
    "test_earlier_end_holds": [LastsAsTheWorkspace],
    "test_days_begin_in_the_time_zone": [CountsInUtc],
    "test_clock_is_read_at_the_question": [KeepsTheDay],
    "test_any_window_in_any_zone_opens_by_the_calendar": [LosesSummerTime],
    "test_expired_and_future_grants_are_told": [ListsOpenOnly],
    "test_outage_at_the_start_is_unavailable": [EmptyAtFirst],
    "test_outage_later_is_unavailable_or_nothing_changed": [EmptyLater],
    "test_outage_stops_every_start": [StartsFromMemory],
    "test_recovery_is_seen": [GivesUp],
    "test_forbidden_request_is_unavailable": [TakesForbiddenForNo],
    "test_request_without_an_answer_is_unavailable": [TakesSilenceForNo],
    "test_slow_answer_holds_up_nobody_else": [OneAtATime],
    "test_revocation_during_a_slow_answer_is_seen": [ReadsTooEarly],
    "test_forgotten_history_is_read_anew": [GoesOnWithoutHistory],
    "test_silent_watch_is_not_believed": [BelievesSilence],
    "test_form_without_a_watch_shows_what_is_confirmed": [ShowsWhatItHeld],
    "test_grant_without_its_workspace_opens_nothing": [MakesUpWorkspaces],
    "test_broken_workspace_hides_no_other": [FailsForAll, SkipsInSilence, FailsToTell],
    "test_operator_is_told_of_every_workspace": [TellsOpenWorkspaces, TellsOthersWorkspaces],
    "test_facts_are_stored_and_compared": [KeepsALock],
    "test_deleted_workspace_is_closed_at_once": [RemembersWorkspaces],
    "test_revocation_is_seen_at_once": [RemembersGrants],
    "test_denial_tells_nothing_of_others": [TellsWhose],
    "test_form_tells_nothing_of_others": [TellsColleagues],
    "test_claims_are_made_once": [ClaimEachTime],
    "test_each_workspace_has_claims_of_its_own": [OneClaimForAll],
    "test_no_claim_is_mounted_twice": [MountsTwice],
    "test_foreign_claim_is_refused": [TakesOver],
    "test_name_used_again_gets_no_old_files": [TakesTheNameForTheUid],
    "test_personal_storage_is_never_mounted": [MountsPersonal],
    "test_shared_claim_is_read_only": [WritesShared],
    "test_workspace_named_shared_is_refused": [UnavailableForShared],
    "test_volume_names_are_legal_and_unique": [CutsNames],
    "test_nothing_is_left_of_the_last_start": [CollectsVolumes],
    "test_full_quota_is_unavailable": [DeniesForQuota],
    "test_passing_faults_lose_no_start": [AsksOnce],
    "test_conflict_makes_no_second_claim": [ClaimsAnother],
    "test_lost_answer_makes_no_second_claim": [ClaimsAnew],
    "test_home_is_of_one_person_in_one_workspace": [LendsHome],
    "test_home_is_a_persons_however_they_sign_in": [NamesHomeAsWritten],
    "test_home_that_is_promised_is_mounted": [PromisesHome],
    "test_home_is_there_when_access_comes_back": [ClearsHomes],
    "test_namespace_has_what_is_of_its_workspace": [StaysWithTheHub],
    "test_claims_of_one_name_are_two_in_two_namespaces": [MixesNamespaces],
    "test_namespace_that_is_not_allowed_is_closed": [FallsBackToTheHub],
    "test_review_ends_access_that_was_taken_away": [ReviewsFromMemory, EndsColleagues, NeverEnds],
    "test_review_ends_nothing_that_is_uncertain": [EndsInAnOutage, GoesOnInAnOutage],
    "test_changes_are_told_of_those_concerned": [TellsNobody, TellsLate, TellsOfAnother, TellsOfEverybody],
    "test_changes_during_an_outage_are_told_after_it": [ForgetsOutages],
    "test_hostile_text_stays_text": [EscapesText],
    "test_secrets_stay_out_of_the_log": [LogsClaims],
    "test_class_is_one_that_the_hub_takes": [OfAnotherVersion],
    "test_import_makes_no_call": [CallsAtImport],
    "test_construction_makes_no_call": [CallsAtConstruction],
    "test_close_frees_everything": [LeavesTask, LeavesConnection],
    "test_close_does_no_harm_at_any_time": [ClosesStartedOnly],
    "test_two_hundred_users_at_once_get_their_own": [KeepsTheUser],
}
"""Each clause, and what breaks it."""


def tidy() -> None:
    """Close what was left open on purpose."""
    while LeavesConnection.left:
        LeavesConnection.left.pop().close()


def contract_of(plugin: type[ExampleManager]) -> type[WorkspaceManagerContract]:
    """The contract class of one of these plugins."""
    world = WatchingWorld if issubclass(plugin, WatchingManager) else ExampleWorld
    members: dict[str, Any] = {"manager_class": plugin, "world": world, "__module__": __name__}
    return type(f"{plugin.__name__}Contract", (WorkspaceManagerContract,), members)


# An entry point names an attribute.
globals().update({f"{each.__name__}Contract": contract_of(each) for found in BROKEN.values() for each in found})
