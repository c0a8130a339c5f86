"""The plugin: two watched collections, joined for one user at a time.

The form is answered from memory, a start by the API server. Nothing is ever written to a ``spec``,
and nothing at all to a binding. What the caches cannot vouch for is ``BackendUnavailable``, never an empty answer
(rule A4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from workspace_managers import (
    HOME,
    HOMES,
    IDENTITY_CLAIMS,
    TELLS_CHANGES,
    AccessDenied,
    ApiError,
    BackendUnavailable,
    Context,
    Finding,
    IncompleteAnswer,
    LogLimit,
    StorageRefused,
    User,
    Volume,
    WatchCache,
    Workspace,
    WorkspaceManager,
    default_claim,
    in_scope,
    missing_rights,
    personal_claim,
    quote,
    require_open,
    shared_claim_problem,
    together,
)

from .compat import BINDINGS, GROUP, VERSION, WORKSPACES, Kind, get_object
from .listing import Listing
from .matching import identity_keys
from .recent import Recent
from .refused import Refused, Trouble
from .resources import (
    Binding,
    SetAside,
    Status,
    WorkspaceRecord,
    may_be_for,
    named_claims,
    read_binding,
    read_workspace,
)

FOR_ALL = ""
"""The key of the bindings without a username and without a claim to find them by; they are tried for everybody."""
BINDINGS_AT_ONCE = 4
"""How many bindings ``confirm`` reads side by side; one is usual."""
CANDIDATES = 100
"""How many bindings of a person are read anew for a form while a cache is behind."""
PROBLEMS_SHOWN = 50
_RIGHTS = (
    *((GROUP, kind.plural, verb) for kind in (WORKSPACES, BINDINGS) for verb in ("get", "list", "watch")),
    (GROUP, f"{WORKSPACES.plural}/status", "patch"),
)
PAGE_OBJECTS = 500
_LOGGED_KEPT = 1000
_MISTAKES = (Trouble.BROKEN, Trouble.STORAGE)
_OF_NOBODY = Binding("", "", None, date.max, (), "")


class LscsdeWorkspaceManager(WorkspaceManager):
    """Workspaces from ``AnalyticsWorkspace`` and ``AnalyticsWorkspaceBinding`` resources in the hub's namespace.

    Needs, in that namespace: get, list and watch of both, and patch of ``analyticsworkspaces/status``.
    """

    interface_versions = (1, 1)
    capabilities = frozenset({HOMES, IDENTITY_CLAIMS, TELLS_CHANGES})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._set_aside_once = _Once(context.log, logging.WARNING)
        # Less than a warning: of two objects made together, the binding may be heard of first.
        self._dangling_once = _Once(context.log, logging.INFO)
        self._bindings: WatchCache[Binding] = WatchCache(
            context.kube,
            BINDINGS.path(context.namespace),
            keep=self._keep_binding,
            keys=_binding_keys,
            log=context.log,
            changed=self._tell_binding,
        )
        self._workspaces: WatchCache[WorkspaceRecord | SetAside] = WatchCache(
            context.kube,
            WORKSPACES.path(context.namespace),
            keep=self._keep_workspace,
            keys=_no_keys,
            log=context.log,
            changed=self._tell_workspace,
        )
        self._listing = Listing(lambda: self._objects(BINDINGS))
        # As long as a cache's content is good for.
        self._recent = Recent(self._read, context.timeouts.grace)

    async def start(self) -> None:
        """Begin to watch both collections; a question that comes before the first list waits for it."""
        await self._bindings.start()
        await self._workspaces.start()

    async def close(self) -> None:
        """Stop both watches."""
        await asyncio.gather(self._bindings.close(), self._workspaces.close(), self._listing.close())

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        """Every grant of this user, from memory: no request once both collections are there.

        While a cache is behind, what it held last is read anew from the API server, as much as there is time for.

        Raises:
            IncompleteAnswer: A cache is behind; these were confirmed.
        """
        try:
            return await self._remembered(user)
        except BackendUnavailable as error:
            raise IncompleteAnswer(str(error), await self._read_anew(user)) from error

    async def _remembered(self, user: User) -> Sequence[Workspace]:
        grants: list[Workspace] = []
        for binding in await self._bindings_of(user, self._bindings.by_key):
            record = await self._workspaces.get(binding.workspace)
            if record is None:
                self._dangling_once.log(BINDINGS, binding.name, binding.workspace, _without_workspace(binding))
            elif isinstance(record, WorkspaceRecord):
                grants.append(self._grant(record, binding))
        return grants

    async def _read_anew(self, user: User) -> Sequence[Workspace]:
        candidates = await self._bindings_of(user, self._bindings.last_known)
        reading = [asyncio.create_task(self._granted_now(user, binding)) for binding in candidates[:CANDIDATES]]
        if not reading:
            return []
        try:
            # The first that fails is likely not the last.
            seconds = self.context.timeouts.request
            done, _ = await asyncio.wait(reading, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)
        answers = [task.result() for task in done if not task.cancelled() and task.exception() is None]
        return [grant for grant in answers if grant is not None]

    async def _granted_now(self, user: User, binding: Binding) -> Workspace | None:
        name = binding.workspace
        raw, *answers = await together(self._recent.get(WORKSPACES, name), self._recent.get(BINDINGS, binding.name))
        for bound in self._still_granted(user, name, answers):
            record = None if raw is None else read_workspace(raw)
            if isinstance(record, WorkspaceRecord):
                return self._grant(record, bound)
        return None

    async def confirm(self, user: User, name: str) -> Workspace:
        """The grant, from the API server itself: the workspace, and those bindings that the cache knows of, read anew.

        They are read side by side, so one binding costs two requests and one round trip. Every check is made again on
        what was read. While the cache is behind, what it held last may be confirmed; it denies nothing then.

        Raises:
            AccessDenied: The API server has no grant of it for this user that is open today.
            StorageRefused: There is one, but the workspace asks for storage that it may not have.
            BackendUnavailable: There was no certain answer, a refused request included.
        """
        candidates, behind = await self._candidates(user, name)
        try:
            return await self._confirmed(user, name, candidates)
        except StorageRefused:
            raise
        except AccessDenied as denied:
            if behind is None:
                raise
            raise BackendUnavailable(f"{denied}, of those known last: {behind}") from behind

    async def review(self, user: User, name: str) -> Workspace:
        """As ``confirm``; but where that would deny, the API server is asked for every binding of the workspace.

        A watch is some moments behind, or cut off: a binding that replaced another may not be known to it yet. Where
        the workspace is gone or over, no binding is asked for.

        Raises:
            AccessDenied: The API server has no grant of it for this user that is open today, and no broken binding
                that may be one.
            BackendUnavailable: There was no certain answer.
        """
        candidates, _ = await self._candidates(user, name)
        try:
            return await self._confirmed(user, name, candidates)
        except AccessDenied as denied:
            record = self._usable(user, name, await self._read(WORKSPACES, name))
            if record.last_day < self.context.today() or not in_scope(user, name):
                raise
            bindings: list[Binding] = []
            for raw in await self._listing.bindings_of(name):
                try:
                    binding = read_binding(raw)
                except Refused as refused:
                    if refused.trouble in _MISTAKES and may_be_for(raw, user.username, name):
                        shown = quote(raw["metadata"]["name"], 80)
                        raise BackendUnavailable(f"the binding {shown} is set aside: {refused.reason}") from denied
                    continue
                if binding.grants(user):
                    bindings.append(binding)
            return require_open(
                user, name, [self._grant(record, binding) for binding in bindings], self.context.today()
            )

    async def _confirmed(self, user: User, name: str, candidates: list[Binding]) -> Workspace:
        if not candidates:
            raise AccessDenied(f"{quote(user.name)} has no binding for the workspace {quote(name)}")
        # The grant that lasts longest is the one that counts, so it is asked for first.
        candidates.sort(key=lambda binding: binding.last_day, reverse=True)
        first, rest = candidates[:BINDINGS_AT_ONCE], candidates[BINDINGS_AT_ONCE:]
        raw, *answers = await together(self._read(WORKSPACES, name), *(self._read(BINDINGS, b.name) for b in first))
        bound = self._still_granted(user, name, answers)
        today = self.context.today()
        while rest and not any(binding.last_day >= today for binding in bound):
            first, rest = rest[:BINDINGS_AT_ONCE], rest[BINDINGS_AT_ONCE:]
            bound += self._still_granted(user, name, await together(*(self._read(BINDINGS, b.name) for b in first)))
        if not bound:
            raise AccessDenied(f"{quote(user.name)} has no binding for the workspace {quote(name)} any more")
        record = self._usable(user, name, raw)
        return require_open(user, name, [self._grant(record, binding) for binding in bound], today)

    def _grant(self, record: WorkspaceRecord, binding: Binding) -> Workspace:
        return record.grant(binding, keeps_home=self.context.settings.homes)

    def _usable(self, user: User, name: str, raw: Mapping[str, Any] | None) -> WorkspaceRecord:
        if raw is None:
            raise AccessDenied(f"the workspace {quote(name)} of {quote(user.name)} does not exist any more")
        record = read_workspace(raw)
        if isinstance(record, WorkspaceRecord):
            return record
        kind = StorageRefused if record.trouble is Trouble.STORAGE else AccessDenied
        # One that is being deleted, or is not for Jupyter, is meant so; a mistake says nothing of anybody's access.
        rule = "F3" if record.trouble in _MISTAKES else None
        raise kind(f"the workspace {quote(name)} is set aside: {record.reason}", rule=rule)

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        """The workspace's own claim in its folder, further storage where it wants it, the shared claim read-only.

        With ``WORKSPACE_HOME=claim``, the person's home folder too.
        """
        volumes, settings = _record_of(workspace).volumes(), self.context.settings
        if not workspace.keeps_home:
            return volumes
        home = Volume(
            claim=personal_claim(user.username, workspace.name),
            mount_path=HOME,
            personal=True,
            storage_class=settings.home_storage_class,
            access_modes=settings.home_access_modes,
            capacity=settings.home_capacity,
        )
        return (home, *volumes)

    async def naming(self, claim: str) -> Collection[str] | None:
        """The workspaces that name a claim, read from the API server, those that are set aside too."""
        return {str(raw["metadata"]["name"]) async for raw in self._objects(WORKSPACES) if claim in named_claims(raw)}

    async def provisioned(self, user: User, workspace: Workspace, volumes: Sequence[Volume]) -> None:
        """Write the status, where it does not say already what is true."""
        record = _record_of(workspace)
        status = record.wanted_status()
        if not status:
            return
        # The version makes it fail when the object has changed since, so that "Deleting" is never written over.
        body = {"metadata": {"resourceVersion": record.version}, "status": status}
        try:
            await self.context.kube.merge_patch(f"{WORKSPACES.path(self.context.namespace)}/{record.name}/status", body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise BackendUnavailable(f"the status of workspace {record.name} cannot be written: {error}") from error
            # Usually another start of the same workspace was faster; the next start writes what is still missing.
            self.context.log.debug("The status of workspace %s was not written: %s", record.name, error)

    async def all_workspaces(self) -> Sequence[Workspace]:
        """Every workspace that is right in every field, read from the API server."""
        records = [read_workspace(raw) async for raw in self._objects(WORKSPACES)]
        return [self._grant(record, _OF_NOBODY) for record in records if isinstance(record, WorkspaceRecord)]

    async def explain(self, user: User | None, name: str) -> Sequence[Finding]:
        """The workspace, and each binding of it that is this user's or may be; how many others have one.

        Without a user, each binding, and how many give access today.

        Read from the API server.
        """
        raw = await self._read(WORKSPACES, name)
        bindings = await self._listing.bindings_of(name)
        today, others = self.context.today(), 0
        found = [_workspace_finding(name, raw, today)]
        if user is None:
            found += [finding for binding in bindings for finding in _binding_findings(binding, None, today)]
            current = sum(_gives_access(binding, today) for binding in bindings)
            said = f"{len(bindings)}, of which {current} give access on {today}"
            wanted = "one that names somebody, and is not over"
            return [*found, Finding("A1", f"bindings of workspace {quote(name, 80)}", said, current > 0, wanted)]
        for binding in bindings:
            of_binding = list(_binding_findings(binding, user, today))
            others += not of_binding
            found += of_binding
        if others:
            found.append(Finding("A2", f"bindings of workspace {quote(name, 80)}", f"{others} for others", None))
        if not bindings:
            made = f"one that names {quote(user.username)}"
            found.append(Finding("A2", f"bindings of workspace {quote(name, 80)}", "there is none", False, made))
        return found

    async def problems(self) -> Sequence[str]:
        """Rights that are missing, what keeps the shared claim from being mounted, every resource that is set aside.

        Read from the API server; the first 50, and how many more.
        """
        workspaces: dict[str, WorkspaceRecord | SetAside] = {}
        users: dict[str, set[str]] = {}
        async for raw in self._objects(WORKSPACES):
            record = read_workspace(raw)
            workspaces[record.name] = record
            for claim in named_claims(raw):
                users.setdefault(claim, set()).add(record.name)
        shared = await shared_claim_problem(self.context.kube)
        lacking: Sequence[str] = ()
        with suppress(ApiError):  # the framework tells that rights are not known
            lacking = await missing_rights(self.context.kube, _RIGHTS)
        found = [*lacking, *await self._definitions(), *([shared] if shared else ())]
        found += _workspace_problems(workspaces.values(), users)
        async for raw in self._objects(BINDINGS):
            if problem := _binding_problem(raw, workspaces):
                found.append(f"binding {quote(raw['metadata']['name'], 80)}: {problem}")
        more = len(found) - PROBLEMS_SHOWN
        return (*found[:PROBLEMS_SHOWN], f"and {more} more") if more > 0 else found

    async def _definitions(self) -> Iterable[str]:
        """What the API server's definitions of the resources lack, from its discovery document."""
        try:
            served = await self.context.kube.get(f"/apis/{GROUP}/{VERSION}")
        except ApiError as error:
            return [f"which resources of {GROUP}/{VERSION} are served cannot be read: {error}"]
        names = {each.get("name") for each in served.get("resources") or ()}
        status = f"{WORKSPACES.plural}/status"
        if status in names:
            return []
        return [
            f"the definition of {WORKSPACES.plural} has no status subresource in {VERSION}, so which claims a "
            "workspace has is not written down: apply image/lscsde/definitions.yaml"
        ]

    async def _candidates(self, user: User, name: str) -> tuple[list[Binding], BackendUnavailable | None]:
        """The bindings of a workspace that are known of; where the cache is behind, those of before, and why it is."""
        behind = None
        try:
            found = await self._bindings_of(user, self._bindings.by_key)
        except BackendUnavailable as error:
            found, behind = await self._bindings_of(user, self._bindings.last_known), error
        return [binding for binding in found if binding.workspace == name], behind

    async def _bindings_of(self, user: User, look: Callable[[str], Awaitable[Sequence[Binding]]]) -> list[Binding]:
        """The bindings that grant this user something that this session may see, as the cache has them."""
        if not user.username:
            return []
        keys = (user.username, FOR_ALL, *identity_keys(user.identity_claims))
        # The keys only find them, some more than once; whether a binding grants anything is decided here.
        found = {binding.name: binding for key in keys for binding in await look(key)}
        return [binding for binding in found.values() if in_scope(user, binding.workspace) and binding.grants(user)]

    def _still_granted(self, user: User, name: str, answers: Iterable[Mapping[str, Any] | None]) -> list[Binding]:
        bound = []
        for raw in answers:
            if raw is None:
                continue
            try:
                binding = read_binding(raw)
            except Refused as refused:
                self.context.log.info("A binding of %s grants nothing now: %s", quote(user.name), refused)
                continue
            if binding.workspace == name and binding.grants(user):
                bound.append(binding)
        return bound

    async def _read(self, kind: Kind, name: str) -> Mapping[str, Any] | None:
        try:
            return await get_object(self.context, kind, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise BackendUnavailable(f"{kind.word} {quote(name)} cannot be read: {error}") from error

    async def _objects(self, kind: Kind) -> AsyncIterator[Mapping[str, Any]]:
        try:
            async for raw in self.context.kube.items(kind.path(self.context.namespace), page=PAGE_OBJECTS):
                yield raw
        except ApiError as error:
            raise BackendUnavailable(f"{kind.plural} cannot be listed: {error}") from error

    def _keep_binding(self, raw: Mapping[str, Any]) -> Binding | None:
        try:
            binding = read_binding(raw)
        except Refused as refused:
            self._set_aside(BINDINGS, raw, refused.reason, refused.trouble)
            return None
        self._set_aside_once.forget(BINDINGS, binding.name)
        return binding

    def _keep_workspace(self, raw: Mapping[str, Any]) -> WorkspaceRecord | SetAside:
        record = read_workspace(raw)
        if isinstance(record, SetAside):
            self._set_aside(WORKSPACES, raw, record.reason, record.trouble)
        else:
            self._set_aside_once.forget(WORKSPACES, record.name)
        return record

    def _tell_binding(self, before: Binding | None, now: Binding | None) -> None:
        bindings = [binding for binding in (before, now) if binding is not None]
        # Who has the claims that a binding asks for is not known here.
        self.context.changed(
            usernames={binding.username for binding in bindings if binding.username is not None},
            workspaces={binding.workspace for binding in bindings if binding.username is None},
        )

    def _tell_workspace(
        self, before: WorkspaceRecord | SetAside | None, now: WorkspaceRecord | SetAside | None
    ) -> None:
        if before is None or now is None or _meaning(before) != _meaning(now):
            self.context.changed(workspaces={record.name for record in (before, now) if record is not None})

    def _set_aside(self, kind: Kind, raw: Mapping[str, Any], reason: str, trouble: Trouble) -> None:
        if trouble in _MISTAKES:
            metadata = raw["metadata"]
            self._set_aside_once.log(kind, str(metadata["name"]), str(metadata.get("resourceVersion")), reason)


class _Once:
    """Logs each version of a resource that is set aside, once, however often it is read (rule F3).

    The rate is bounded all the same: somebody may rewrite such a resource every second.
    """

    def __init__(self, log: logging.Logger, level: int) -> None:
        self._log = LogLimit(log)
        self._level = level
        self._logged: dict[tuple[str, str], str] = {}

    def log(self, kind: Kind, name: str, version: str, reason: str) -> None:
        key = (kind.word, name)
        if self._logged.get(key) == version:
            return
        if len(self._logged) >= _LOGGED_KEPT and key not in self._logged:
            # Resources that are gone leave theirs behind; the oldest makes room.
            del self._logged[next(iter(self._logged))]
        self._logged[key] = version
        subject = f"{kind.word} {name}"
        self._log.write(self._level, subject, "The %s %s is set aside: %s", kind.word, quote(name, 80), reason)

    def forget(self, kind: Kind, name: str) -> None:
        self._logged.pop((kind.word, name), None)


def _meaning(record: WorkspaceRecord | SetAside) -> WorkspaceRecord | SetAside:
    """A record without what each start writes to the workspace's status."""
    if isinstance(record, SetAside):
        return record._replace(version="")
    return record._replace(version="", status=Status(None, None, {}))


def _binding_keys(binding: Binding) -> Iterable[str]:
    if binding.username is not None:
        return (binding.username,)
    # All rules must hold, so one that can be looked for by its values will do.
    return next(filter(None, (rule.keys() for rule in binding.rules)), (FOR_ALL,))


def _no_keys(_record: WorkspaceRecord | SetAside) -> Iterable[str]:
    """Workspaces are found by their names alone."""
    return ()


def _record_of(workspace: Workspace) -> WorkspaceRecord:
    if not isinstance(workspace.source, WorkspaceRecord):
        raise StorageRefused(f"the workspace {quote(workspace.name)} does not come from this plugin")
    return workspace.source


def _workspace_finding(name: str, raw: Mapping[str, Any] | None, today: date) -> Finding:
    if raw is None:
        return Finding("A2", f"workspace {quote(name, 80)}", "there is none of this name", False, "another name")
    record = read_workspace(raw)
    what = f"workspace {quote(name, 80)} (version {record.version})"
    if isinstance(record, SetAside):
        return Finding("F3", what, f"set aside: {record.reason}", False, "the mistake mended")
    opens = record.first_day <= today <= record.last_day
    days = f"from {record.first_day} to {record.last_day}"
    return Finding("A1", f"{what}, spec.validity", days, opens, f"days with {today} among them")


def _gives_access(raw: Mapping[str, Any], today: date) -> bool:
    try:
        return read_binding(raw).last_day >= today
    except Refused:
        return False


def _binding_findings(raw: Mapping[str, Any], user: User | None, today: date) -> Iterable[Finding]:
    """Nothing for one that is somebody else's for certain; without a user, nothing that decides by itself."""
    metadata = raw["metadata"]
    what = f"binding {quote(metadata['name'], 80)} (version {metadata.get('resourceVersion')})"
    try:
        binding = read_binding(raw)
    except Refused as refused:
        holds = None if user is None else False
        yield Finding("F3", what, f"set aside: {refused.reason}", holds, "the mistake mended")
        return
    if user is not None and binding.username not in (None, user.username):
        return
    if binding.username is not None:
        yield Finding("A2", f"{what}, spec.username", quote(binding.username), None if user is None else True)
    for rule in binding.rules:
        asked = f"{quote(rule.claim, 80)} {rule.operator.value} {', '.join(sorted(map(quote, rule.values)))}"
        said = "an identity provider that says so of the user"
        yield Finding(
            "A2", f"{what}, spec.claims", asked, None if user is None else rule.holds(user.identity_claims), said
        )
    holds = None if user is None else today <= binding.last_day
    yield Finding("A1", f"{what}, spec.expires", f"last day {binding.last_day}", holds, f"a day after {today}")


def _without_workspace(binding: Binding) -> str:
    return f"its workspace {quote(binding.workspace, 80)} does not exist"


def _workspace_problems(
    workspaces: Iterable[WorkspaceRecord | SetAside], users: Mapping[str, set[str]]
) -> Iterable[str]:
    for record in workspaces:
        shown = f"workspace {quote(record.name, 80)}"
        if isinstance(record, SetAside):
            if record.trouble is not Trouble.NOT_FOR_JUPYTER:
                yield f"{shown}: {record.reason}"
            continue
        if record.without_claim:
            yield f"{shown}: spec.jupyterWorkspace.additionalStorage: {record.without_claim} without a claim, left out"
        for storage in record.storage:
            others = sorted(users[storage.claim] - {record.name})
            if others and storage.claim != default_claim(record.name):
                yield (
                    f"{shown}: claim {quote(storage.claim, 80)} is also named by workspace {quote(others[0], 80)}, "
                    "so it is used only once its owner annotation says whose it is"
                )


def _binding_problem(raw: Mapping[str, Any], workspaces: Mapping[str, Any]) -> str | None:
    try:
        binding = read_binding(raw)
    except Refused as refused:
        return refused.reason
    if binding.username is not None and binding.username != binding.username.strip():
        return f"spec.username {quote(binding.username, 80)} has a blank at its end or beginning, so it may be nobody's"
    return None if binding.workspace in workspaces else _without_workspace(binding)
