"""What the framework does with a plugin's answers: the form, the one decision of a start, its pod, and its lifetime.

Nothing here knows a hub. A plugin that fails, hangs or answers with what is no fact is a backend that is unavailable,
never a user without workspaces (rule A4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import attrs

from . import access, forms, pods, storage
from .access import Availability, IncompleteAnswer
from .capabilities import HOMES, IDENTITY_CLAIMS, NAMESPACES
from .context import Context
from .errors import (
    AccessDenied,
    BackendUnavailable,
    NotAllowed,
    NothingChosen,
    SignInAgain,
    StorageRefused,
    WorkspaceManagerError,
    quote,
)
from .findings import Finding
from .kube.claims import ensure_claims, look_at_claims
from .kube.namespaces import require_allowed
from .models import User, Volume, Workspace
from .tasks import in_time, in_words, together

ROUNDS = 3
"""How often a start begins again because the workspace was changed while its claims were made."""

_ENDING = frozenset({"A1", "A2", "S9"})
"""The rules of a denial that says for certain that a user has no access."""

NOBODY = User("", "")
"""For whom an operator's tools ask: no grant is anybody's of this name."""

T = TypeVar("T")
Fact = TypeVar("Fact", Workspace, Volume, Finding)
MakePod = Callable[[Workspace], Awaitable[Mapping[str, Any]]]
"""From a grant to the pod that the hub would create for it, as the API's JSON."""


class Plugin(Protocol):
    """What the engine needs of a ``WorkspaceManager``; each method is documented there."""

    context: Context
    capabilities: ClassVar[frozenset[str]]

    async def list_workspaces(self, user: User) -> Sequence[Workspace]: ...
    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]: ...
    async def confirm(self, user: User, name: str) -> Workspace: ...
    async def review(self, user: User, name: str) -> Workspace: ...
    async def provisioned(self, user: User, workspace: Workspace, volumes: Sequence[Volume]) -> None: ...
    async def naming(self, claim: str) -> Collection[str] | None: ...
    async def all_workspaces(self) -> Sequence[Workspace] | None: ...
    async def explain(self, user: User | None, name: str) -> Sequence[Finding]: ...
    async def start(self) -> None: ...
    async def close(self) -> None: ...


class Answer(Enum):
    """What a review says of a server that runs."""

    GOES_ON = "goes on"
    ENDED = "ended"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Review:
    """What the backend says now of the access that a running server rests on.

    Attributes:
        answer: Only ``ENDED`` is a reason to stop the server (rules E1 and E4).
        grant: The grant as it is now, where the server goes on.
        error: Why it does not, or why that is not known: its rule, its sentence for the user, its cause for the log.
    """

    answer: Answer
    grant: Workspace | None = None
    error: WorkspaceManagerError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """One decision and the pod that was made from it.

    Attributes:
        grant: What the backend confirmed, and all that the pod was made from.
        volumes: What the pod mounts.
        pod: The pod to create, as the API's JSON.
        removed: Name and kind of each volume that was taken off it (rule S1).
        confirmed_at: When the grant was last confirmed, in seconds of the monotonic clock.
    """

    grant: Workspace
    volumes: tuple[Volume, ...]
    pod: Mapping[str, Any]
    removed: tuple[tuple[str, str], ...]
    confirmed_at: float


async def build_form(plugin: Plugin, user: User) -> forms.Form:
    """The form for a user.

    Raises:
        BackendUnavailable: The plugin could not answer; or it knows some grants and none that is open, so that a form
            would say that there is none.
    """
    answers: object
    incomplete: IncompleteAnswer | None = None
    try:
        answers = await _ask(plugin, "list_workspaces", plugin.list_workspaces(user))
    except IncompleteAnswer as error:
        answers, incomplete = error.found, error
    grants = list(_right(plugin, _checked(plugin, "list_workspaces", answers, Workspace)))
    today = plugin.context.today()
    best = access.best_grants(user, grants, today).values()
    form = forms.build_form(best, today, await _not_allowed(plugin, user, best))
    if incomplete is not None:
        subject = "incomplete"
        plugin.context.limited_log.write(logging.WARNING, subject, "Forms may be incomplete: %s", incomplete)
        if not form.openable:
            raise incomplete
    return replace(form, sign_in_again=_may_be_missing(plugin, user), incomplete=incomplete is not None)


async def confirm(plugin: Plugin, user: User, name: object) -> Workspace:
    """The grant that opens a workspace for this user now, confirmed by the backend itself (rules A1 to A4).

    Args:
        plugin: Whom to ask.
        user: Whose server it is.
        name: What arrived from the form, the REST API or an earlier start; anything may have.

    Raises:
        NothingChosen: It names nothing.
        AccessDenied: It names no workspace that is open to the user.
        SignInAgain: Nor could it, as what the identity provider says of the user is unknown.
        BackendUnavailable: The plugin could not answer.
    """
    if not isinstance(name, str) or not name:
        raise NothingChosen(f"{quote(user.name)} asked for a start without choosing a workspace")
    return await _decide(plugin, "confirm", user, name)


async def review(plugin: Plugin, user: User, name: str, uid: str | None = None) -> Review:
    """Whether the access that a running server rests on goes on: a start's decision, made again (rules E1 and E4).

    Args:
        plugin: Whom to ask.
        user: Whose server it is.
        name: The workspace that the server was started with.
        uid: That workspace's UID, where it had one.

    Returns:
        ``ENDED`` only where the backend itself said so. A failure, and a workspace that is set aside for a mistake in
        its facts, are ``UNCERTAIN``; so is a denial while identity claims are unknown on which a grant may rest (rule
        E6).
    """
    try:
        grant = await _decide(plugin, "review", user, name)
    except AccessDenied as error:
        # Other rules refuse what was asked for, and say nothing of whether the user has access.
        certain = error.rule in _ENDING and not isinstance(error, StorageRefused)
        # A grant by claims that are unknown may be open where the one that was found has ended.
        if certain and not _may_be_missing(plugin, user):
            return Review(Answer.ENDED, error=error)
        return Review(Answer.UNCERTAIN, error=error)
    except WorkspaceManagerError as error:
        return Review(Answer.UNCERTAIN, error=error)
    if uid is not None and grant.uid is not None and uid != grant.uid:
        gone = f"the workspace {quote(name)} of {quote(user.name)} was made anew since its server started"
        return Review(Answer.ENDED, error=AccessDenied(gone, rule="S6"))
    return Review(Answer.GOES_ON, grant=grant)


async def _decide(plugin: Plugin, method: Literal["confirm", "review"], user: User, name: str) -> Workspace:
    try:
        answer = await _ask(plugin, method, getattr(plugin, method)(user, name))
        (grant,) = _checked(plugin, method, [answer], Workspace)
        if problem := grant.problem():
            raise AccessDenied(f"the workspace {quote(name)} is set aside: {problem}", rule="F3")
        granted = access.require_open(user, name, [grant], plugin.context.today())
    except AccessDenied as error:
        if error.rule == AccessDenied.default_rule and _may_be_missing(plugin, user):
            raise SignInAgain(f"{error}, and the identity claims of {quote(user.name)} are unknown") from error
        raise
    if reason := plugin.context.settings.policy.beyond(granted):
        raise NotAllowed(f"the workspace {quote(name)} is set aside: {reason}")
    if granted.namespace is not None:
        await _require_namespace(plugin, granted, granted.namespace)
    return granted


async def _require_namespace(plugin: Plugin, grant: Workspace, namespace: str) -> None:
    if NAMESPACES not in plugin.capabilities:
        raise AccessDenied(
            f"{type(plugin).__qualname__} has workspace {quote(grant.name)} in namespace {quote(namespace)}, and does "
            f"not declare the capability {NAMESPACES}",
            rule="F3",
        )
    await require_allowed(plugin.context.kube, plugin.context.settings.policy, namespace)


async def provision(plugin: Plugin, user: User, name: object, make_pod: MakePod) -> Provision:
    """The pod with exactly what one grant says, its claims made (rules A3 and S1 to S5).

    Where all that took longer than ``Timeouts.confirmed``, the grant is confirmed once more. One that has
    changed meanwhile is decided by what it says now: the pod is made anew.

    Raises:
        WorkspaceManagerError: As ``WorkspaceManager.provision`` says.
    """
    settings = plugin.context.settings
    # As old as its question, however slowly the answer came.
    confirmed_at = monotonic()
    grant = await confirm(plugin, user, name)
    for _ in range(ROUNDS):
        volumes = await volumes_of(plugin, user, grant)
        seconds_left = (access.end(grant, settings.timezone) - plugin.context.clock()).total_seconds()
        rebuilt = pods.rebuild(await make_pod(grant), grant, volumes, seconds_left)
        naming, today = partial(named_by, plugin), plugin.context.today()
        await ensure_claims(plugin.context.kube, settings, grant, volumes, naming, user=user, today=today)
        if monotonic() - confirmed_at > plugin.context.timeouts.confirmed:
            before, confirmed_at = grant, monotonic()
            grant = await confirm(plugin, user, name)
            if not same_terms(before, grant):
                continue
        return Provision(
            grant=grant,
            volumes=tuple(volumes),
            pod=rebuilt.pod,
            removed=rebuilt.removed,
            confirmed_at=confirmed_at,
        )
    raise BackendUnavailable(f"the workspace {quote(name)} was changed {ROUNDS} times while its server was made ready")


async def volumes_of(plugin: Plugin, user: User, grant: Workspace) -> Sequence[Volume]:
    """What a pod of this grant mounts.

    Raises:
        StorageRefused: Something of it is not right.
        NotAllowed: It is more than the policy allows.
        BackendUnavailable: The plugin could not answer.
    """
    volumes = await _volumes_of(plugin, user, grant)
    if reason := _storage_beyond(plugin, grant, volumes):
        raise NotAllowed(f"the workspace {quote(grant.name)} is set aside: {reason}")
    return volumes


def _storage_beyond(plugin: Plugin, grant: Workspace, volumes: Sequence[Volume]) -> str | None:
    settings = plugin.context.settings
    return settings.policy.beyond_storage(grant.name, volumes, settings.storage_class)


async def _volumes_of(plugin: Plugin, user: User, grant: Workspace) -> Sequence[Volume]:
    """What a pod of this grant mounts, as far as the policy is not concerned."""
    answer = await _ask(plugin, "volumes_for", plugin.volumes_for(user, grant))
    volumes = _checked(plugin, "volumes_for", answer, Volume)
    if problem := next(filter(None, (volume.problem() for volume in volumes)), None):
        raise StorageRefused(f"a volume of workspace {quote(grant.name)} is wrong: {problem}")
    storage.check_volumes(grant.name, volumes, user.username)
    if any(volume.personal for volume in volumes) and HOMES not in plugin.capabilities:
        raise StorageRefused(
            f"{type(plugin).__qualname__} has a person's volume in workspace {quote(grant.name)}, and does not declare "
            f"the capability {HOMES}",
            rule="S8",
        )
    if storage.has_home(volumes) != grant.keeps_home:
        found = "nothing" if grant.keeps_home else "a volume"
        raise StorageRefused(
            f"workspace {quote(grant.name)} mounts {found} at the home folder that is a person's own, where keeps_home "
            f"is {grant.keeps_home}",
            rule="S8",
        )
    return volumes


async def confirm_again(plugin: Plugin, user: User, provision: Provision) -> Provision:
    """The same provision with its grant confirmed now, for a creation that comes late or is repeated.

    Raises:
        AccessDenied: The grant has ended.
        BackendUnavailable: It was changed since the pod was made from it, or there was no answer.
    """
    if monotonic() - provision.confirmed_at <= plugin.context.timeouts.confirmed:
        return provision
    asked_at = monotonic()
    if not same_terms(provision.grant, await confirm(plugin, user, provision.grant.name)):
        raise BackendUnavailable(
            f"the workspace {quote(provision.grant.name)} was changed while its pod was being created; "
            "the next start goes by what it says now"
        )
    return replace(provision, confirmed_at=asked_at)


async def provisioned(plugin: Plugin, user: User, provision: Provision) -> None:
    """Let the plugin note that the server runs, so that its storage is bound and mounted; a failure is logged."""
    name = provision.grant.name
    try:
        await _ask(plugin, "provisioned", plugin.provisioned(user, provision.grant, provision.volumes))
    except WorkspaceManagerError as error:
        plugin.context.log.warning("The status of workspace %s was not written: %s", quote(name), error)


async def findings_of(plugin: Plugin, user: User | None, name: str) -> Sequence[Finding]:
    """What the plugin itself has looked at, for ``explain``.

    Raises:
        BackendUnavailable: The plugin could not answer.
    """
    return _checked(plugin, "explain", await _ask(plugin, "explain", plugin.explain(user, name)), Finding)


async def all_workspaces(plugin: Plugin) -> list[Workspace] | None:
    """Every workspace whose facts are right, open or not, as for ``NOBODY``; None where the plugin cannot tell.

    Raises:
        BackendUnavailable: The plugin could not answer.
    """
    answer = await _ask(plugin, "all_workspaces", plugin.all_workspaces())
    if answer is None:
        return None
    # Nobody has a home that could be mounted.
    right = _right(plugin, _checked(plugin, "all_workspaces", answer, Workspace))
    return [attrs.evolve(each, keeps_home=False) for each in right]


async def outlook_of_claims(
    plugin: Plugin, user: User, grant: Workspace, volumes: Sequence[Volume]
) -> list[tuple[Volume, str]]:
    """What a start would do with the claims of these volumes, in words; nothing is written.

    Raises:
        StorageRefused: One of them would be refused.
        BackendUnavailable: There was no certain answer.
    """
    context, naming = plugin.context, partial(named_by, plugin)
    return await look_at_claims(
        context.kube, context.settings, grant, volumes, naming, user=user, today=context.today()
    )


async def beyond_policy(plugin: Plugin, user: User, grants: Iterable[Workspace]) -> Mapping[str, str]:
    """Those that ask for more than the policy allows, with the reason, by name (rule F4)."""
    policy = plugin.context.settings.policy
    grants = list(grants)
    found = {grant.name: reason for grant in grants if (reason := policy.beyond(grant))}
    if policy.limits_storage:
        rest = [grant for grant in grants if grant.name not in found]
        reasons = await together(*(_storage_of(plugin, user, grant) for grant in rest))
        found |= {grant.name: reason for grant, reason in zip(rest, reasons, strict=True) if reason}
    return found


async def _storage_of(plugin: Plugin, user: User, grant: Workspace) -> str | None:
    try:
        return _storage_beyond(plugin, grant, await _volumes_of(plugin, user, grant))
    except WorkspaceManagerError:
        return None  # which a start tells


def _may_be_missing(plugin: Plugin, user: User) -> bool:
    """Whether the user may have grants that cannot be known before the next sign-in (rule E6)."""
    return user.identity_claims is None and IDENTITY_CLAIMS in plugin.capabilities


def same_terms(one: Workspace, other: Workspace) -> bool:
    """Whether two grants say the same; versions alone change with each write of a status, ours among them."""
    return attrs.evolve(one, versions={}) == attrs.evolve(other, versions={})


class Lifecycle:
    """When a plugin starts and closes. One attempt to start is under way at a time, whoever waits for it.

    Args:
        plugin: What is started and closed.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._attempt: asyncio.Task[None] | None = None
        self._started = False

    async def begin(self) -> None:
        """Start the plugin, where it has not started yet; everybody who asks meanwhile waits for the one attempt.

        Raises:
            BackendUnavailable: The plugin did not start; the next call tries again.
        """
        if self._started:
            return
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._start())
            self._attempt.add_done_callback(_retrieved)
        await asyncio.shield(self._attempt)

    async def _start(self) -> None:
        try:
            await _ask(self._plugin, "start", self._plugin.start())
        except BaseException:
            # What a failed start has opened would stay open beside what the next one opens.
            await self._close_plugin()
            raise
        self._started = True

    async def close(self) -> None:
        """Close the plugin, in bounded time; its failure is logged."""
        if self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
            await asyncio.wait([self._attempt])
        self._started = False
        await self._close_plugin()

    async def _close_plugin(self) -> None:
        try:
            await in_time(self._plugin.close(), self._plugin.context.timeouts.close)
        except Exception as error:
            self._plugin.context.log.warning("%s did not close: %s", type(self._plugin).__qualname__, in_words(error))


def _retrieved(attempt: asyncio.Task[None]) -> None:
    """Whoever waited has been given the failure; where nobody did, asyncio would report it as never retrieved."""
    if not attempt.cancelled():
        attempt.exception()


def _right(plugin: Plugin, grants: Iterable[Workspace]) -> Iterator[Workspace]:
    """Those whose facts are right; the others are set aside by name, and hide none (rule F3)."""
    for grant in grants:
        if problem := grant.problem():
            name = quote(grant.name, 80)
            plugin.context.limited_log.write(logging.WARNING, name, "The workspace %s is set aside: %s", name, problem)
        else:
            yield grant


async def _not_allowed(plugin: Plugin, user: User, grants: Iterable[Workspace]) -> Collection[str]:
    """The names of those that the policy does not allow, told in the log; what has expired starts no more anyway."""
    today = plugin.context.today()
    current = (grant for grant in grants if access.availability(grant, today) is not Availability.EXPIRED)
    found = await beyond_policy(plugin, user, current)
    for name, reason in found.items():
        shown = quote(name, 80)
        plugin.context.limited_log.write(logging.WARNING, shown, "The workspace %s is set aside: %s", shown, reason)
    return found


async def named_by(plugin: Plugin, claim: str) -> Collection[str] | None:
    """The workspaces that name a claim, as ``WorkspaceManager.naming`` says.

    Raises:
        BackendUnavailable: The plugin could not answer.
    """
    answer = await _ask(plugin, "naming", plugin.naming(claim))
    if answer is None or (isinstance(answer, Collection) and not isinstance(answer, str | bytes)):
        return answer
    raise BackendUnavailable(
        f"{type(plugin).__qualname__}.naming answered with {quote(answer)}; expected: names of workspaces, or None"
    )


async def _ask(plugin: Plugin, method: str, answer: Awaitable[T]) -> T:
    seconds = plugin.context.timeouts.answer
    try:
        return await in_time(answer, seconds)
    except WorkspaceManagerError:
        raise
    except TimeoutError as error:
        raise BackendUnavailable(f"{type(plugin).__qualname__}.{method} did not answer within {seconds:g} s") from error
    except Exception as error:
        raise BackendUnavailable(f"{type(plugin).__qualname__}.{method} failed: {in_words(error)}") from error


def _checked(plugin: Plugin, method: str, answer: object, kind: type[Fact]) -> list[Fact]:
    if isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
        items = [item for item in answer if isinstance(item, kind)]
        if len(items) == len(answer):
            return items
    raise BackendUnavailable(
        f"{type(plugin).__qualname__}.{method} answered with {quote(answer)}; expected: {kind.__name__} objects"
    )
