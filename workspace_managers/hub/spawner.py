"""The spawner class: each way to a pod passes it, and a whole pod comes from one grant.

It stands in front of the spawner class that is configured, KubeSpawner or a subclass, and overrides methods, not
traits: whatever a later line of the configuration sets is called or has no effect, and never in place of what is here.

The course of a start::

    start -> KubeSpawner's own start -> get_pod_manifest: one grant is confirmed, the pod is made from it
                                     -> create_namespaced_pod: nothing but that pod is created, confirmed anew where
                                        the creation is late or repeated
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jupyterhub
from kubernetes_asyncio.client import V1DeleteOptions, V1Pod, V1Preconditions
from kubernetes_asyncio.client.exceptions import ApiException
from kubespawner import KubeSpawner
from tornado import web

from .. import engine, forms, pods, profiles
from ..decisions import Decision
from ..errors import (
    FILES_ARE_KEPT,
    NothingChosen,
    ServiceFault,
    StartFailed,
    TooManyRunning,
    WorkspaceManagerError,
    quote,
)
from ..models import User, Workspace
from ..names import server_name
from ..texts import N_, _, ngettext
from . import lab
from .home import Home
from .identity import user_of
from .outlook import Outlook
from .pages import Pages, chosen_last
from .refusals import SILENT, Refused, explain, leave_uncounted, pod_refused
from .service import Service, log
from .sessions import Session, Sessions
from .waiting import PLACE, STORAGE, Waiting, became, has_machine, step, trouble, unbound

START_ANNOTATION = "workspace-managers/start"
"""The request that a pod was created for, as in the audit line."""
LATE_SECONDS = 75.0
"""How long a pod whose creation was not answered may still come up: an API server ends a request after a minute."""
LOOK_SECONDS = 2.0
"""Between two looks for such a pod."""
WAITING_SECONDS = 5.0
"""Between two looks at what a start waits for."""
CLAIMS_SECONDS = 15.0
"""Between two looks at the claims of a pod that waits."""
LEAVING_SECONDS = 0.2
"""Between two looks whether a server that is being stopped has left its place."""
CANCEL_VERSION = (5, 4)
"""From this JupyterHub on a start can be interrupted; earlier ones answer 400 to it."""
_PLACES = itertools.count(1)
_MARGIN = 0.1
_SECOND = 1.0


class DecidedPod(V1Pod):
    """The pod of a start. It does not show itself: KubeSpawner logs a pod that could not be created, tokens and all."""

    def to_str(self) -> str:
        """The pod's name, for the log (rule F1)."""
        return f"pod {self.metadata.name}"

    __repr__ = __str__ = to_str


@dataclass(slots=True)
class Attempt:
    """One start of one server.

    Attributes:
        decision: What is written when the pod is there, or will not be.
        hub_settings: The settings of the hub's handlers, where it counts failed starts; a user's are others.
        user: Whose server it is, as of this start.
        provision: The grant and the pod made from it, once there is one.
        pod: The pod as it is sent.
        tried: Whether its creation was asked for.
        unanswered: Creations of which the API server has not said what became of them.
        waiting: What the pod waits for.
        goes_on: Whether it has not come to its end.
        limit: What ends it when nothing more is to be expected.
        looks: What looks at the pod until the server answers, or never will.
        done: Whether the server was started.
        broken_off: Whether the start was, as when the hub ends.
        revoked: Why it must end, where access has ended since its pod was created.
    """

    decision: Decision
    hub_settings: dict[str, Any]
    user: User | None = None
    provision: engine.Provision | None = None
    pod: DecidedPod | None = None
    tried: bool = False
    unanswered: int = 0
    waiting: Waiting = field(default_factory=Waiting)
    goes_on: bool = True
    limit: asyncio.Timeout | None = None
    looks: asyncio.Task[None] | None = None
    done: bool = False
    broken_off: bool = False
    revoked: WorkspaceManagerError | None = None

    def end(self) -> None:
        """Stop looking at the pod."""
        self.goes_on = False
        if self.looks is not None:
            self.looks.cancel()

    def give_up(self) -> None:
        """End what waits for the pod or its server."""
        if self.limit is not None:
            with contextlib.suppress(RuntimeError):  # it has come to its end by itself
                self.limit.reschedule(asyncio.get_running_loop().time())


class _Api:
    """KubeSpawner's client of the API, but for the creation of a pod."""

    def __init__(self, api: Any, spawner: WorkspaceSpawner) -> None:
        self._api = api
        self._spawner = spawner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def create_namespaced_pod(self, namespace: str, body: Any, **options: Any) -> Any:
        return await self._spawner.create_pod(self._api, namespace, body, **options)


class WorkspaceSpawner(KubeSpawner):  # type: ignore[misc]  # KubeSpawner has no types
    """Called by JupyterHub and KubeSpawner; ``in_front_of`` makes the class that a hub uses.

    Attributes:
        place: Grows with each start of any server; 0 for one that ran before the hub.
    """

    workspace_service: ClassVar[Service]
    workspace_sessions: ClassVar[Sessions]
    workspace_pages: ClassVar[Pages]
    namespace: Any  # KubeSpawner's trait

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.workspace_service.namespaces:
            lift_connection_limit(self.api)
        self.api: Any = _Api(self.api, self)
        self._attempt: Attempt | None = None
        self._session = Session()
        self.place = 0
        self._without_personal_claims()

    def _without_personal_claims(self) -> None:
        """Claims of KubeSpawner's own are neither made nor deleted, whatever was set since (rule S1)."""
        self.storage_pvc_ensure = False
        self.delete_pvc = False

    @property
    def cancellable(self) -> bool:
        """Whether this hub can stop a server that is still starting, for its page."""
        return bool(jupyterhub.version_info[:2] >= CANCEL_VERSION)

    @property
    def ready(self) -> bool:
        """Whether the server can be used; a start that was broken off has left none, though JupyterHub would say so."""
        return bool(super().ready) and not (self._attempt and self._attempt.broken_off)

    @property
    def news(self) -> str:
        """What is wrong with the server, or what it ended of; empty where there is nothing to tell."""
        ended = self.workspace_service.what_became(self)
        return ended.sentence if ended else trouble(self._pod())

    @property
    def outlook(self) -> Outlook | None:
        """What lies ahead of the access that the server rests on; None where that is not known."""
        return self.workspace_sessions.outlook(self)

    @property
    def workspace(self) -> str:
        """The name of the workspace that the server has or is to have; empty where nothing says so."""
        chosen = self._session.workspace or chosen_last(self)
        return chosen if isinstance(chosen, str) and chosen else self.name

    @property
    def title(self) -> str:
        """What that workspace is called on a page; its name where no more is known."""
        provision = self._attempt and self._attempt.provision
        was, title = self._session.was
        return (
            self._session.title
            or (forms.title(provision.grant) if provision else "")
            or (title if was == self.workspace else self.workspace)
        )

    @property
    def keeps_home(self) -> bool:
        """Whether the server's home folder outlives it, as far as its pod is known."""
        return pods.keeps_home(self._pod() or {})

    @property
    def takes_place(self) -> bool:
        """Whether the server runs, starts or stops, and so is one of those that its person may have (rule W2)."""
        attempt = self._attempt
        # JupyterHub calls a start pending before it asks for it.
        begun = self.pending != "spawn" or (attempt is not None and (attempt.goes_on or attempt.done))
        return bool(self.active) and begun

    async def home(self) -> Home:
        """What the home page of the spawner's user shows."""
        return await self.workspace_pages.home(self)

    async def get_options_form(self) -> str:
        """The form to choose from, whatever ``options_form`` and ``profile_list`` say."""
        return await self.workspace_pages.form(self)

    async def load_user_options(self) -> None:
        """Nothing: what was chosen is decided as the pod is made, and no profile is applied to the spawner."""

    def start(self) -> asyncio.Future[Any]:
        """Start the server of the workspace that was chosen."""
        self._start_future = asyncio.ensure_future(self._start_workspace(super().start))
        return self._start_future

    async def _start_workspace(self, start: Callable[[], Awaitable[Any]]) -> Any:
        # JupyterHub takes the handler off a spawner before it waits for the server's answer.
        hub_settings = {} if self.handler is None else self.handler.settings
        decision = self.workspace_service.decision("pod", self, chosen_last(self))
        attempt = self._attempt = Attempt(decision, hub_settings)
        self.place = next(_PLACES)
        self.workspace_service.forget_what_became(self)
        self._without_personal_claims()
        # Not where the last one was, which may be gone: KubeSpawner looks there before anything is decided.
        self._live_in(self.workspace_service.settings.namespace)
        hook: Any = self.modify_pod_hook  # type: ignore[has-type]
        attempt.looks = asyncio.create_task(self._look(attempt))
        try:
            # JupyterHub gives up after the same time, and then knows no reason.
            margin = min(_SECOND, self.start_timeout * _MARGIN)
            async with asyncio.timeout(self.start_timeout - margin) as attempt.limit:
                attempt.decision.workspace = self._chosen()
                await self._find_place(attempt)
                await self.workspace_service.begin()
                url = await start()
            attempt.done = True
        except Refused:
            raise
        except web.HTTPError as error:  # an answer of the configuration's own, such as a hook's
            attempt.decision.end(error)
            self._remove_what_is_left(attempt)
            raise
        except Exception as error:
            if attempt.revoked is not None:
                raise self._refuse(attempt, attempt.revoked) from error
            never_ready = isinstance(error, TimeoutError) and (attempt.decision.written or attempt.waiting.cause)
            raise self._refuse(attempt, attempt.waiting.failed(self.start_timeout) if never_ready else error) from error
        except BaseException as error:
            attempt.broken_off = True
            attempt.decision.end(error)
            self._remove_what_is_left(attempt)
            raise
        finally:
            self.modify_pod_hook = hook
            if not attempt.done:
                attempt.end()
        if attempt.user is not None and attempt.provision is not None:
            manager = self.workspace_service.manager
            self.workspace_service.run(engine.provisioned(manager, attempt.user, attempt.provision))
        self._expect_answer(attempt)
        return url

    def _chosen(self) -> object:
        """What is to be opened.

        Raises:
            NothingChosen: The server is that of another workspace (rule W1).
        """
        said = chosen_last(self)
        if not self.name:
            return said
        chosen = said or self.name
        if isinstance(chosen, str) and server_name(chosen) == self.name:
            return chosen
        raise NothingChosen(
            f"the server {quote(self.name)} opens the workspace that it is named after, and not {quote(said)}",
            user_message=N_(
                "A server with a name opens the workspace that it is named after, and this one is of another "
                "workspace, so nothing was started. Choose the workspace from the list of yours."
            ),
            rule="W1",
        )

    async def _find_place(self, attempt: Attempt) -> None:
        """Wait for a place among those that may run at once, which a server that is being stopped is about to leave.

        Raises:
            TooManyRunning: There will be none (rule W2).
        """
        limit = self.workspace_service.settings.at_once
        while limit:
            # Of two that start at the same moment, the second one looks at the first.
            before = [each for each in self.user.spawners.values() if each.takes_place and each.place < self.place]
            staying = [each for each in before if each.pending != "stop"]
            if len(staying) >= limit:
                raise _too_many(limit, staying)
            if len(before) < limit:
                break
            attempt.waiting.cause = PLACE
            await asyncio.sleep(LEAVING_SECONDS)
        attempt.waiting.cause = None

    def _refuse(self, attempt: Attempt, error: Exception) -> Refused:
        """What a start ends with that failed: written, logged, not counted, and nothing of it left behind."""
        attempt.done = False
        self._remove_what_is_left(attempt)
        decision, failure = attempt.decision, explain(error)
        if decision.written:
            done = decision
            decision = self.workspace_service.decision("start", self, done.workspace, done.request)
            decision.pod, decision.uid, decision.versions = done.pod, done.uid, done.versions
            decision.namespace = done.namespace
        if failure is not error and isinstance(failure, ServiceFault):
            log.error("Request %s failed with an error that nobody has foreseen", decision.request, exc_info=error)
        refused = self.workspace_service.refuse(decision, failure)
        leave_uncounted(attempt.hub_settings, refused)
        return refused

    async def _look(self, attempt: Attempt) -> None:
        """Look at what a start waits for, until its end, and end it where its pod has ended."""
        try:
            async with asyncio.timeout(self.start_timeout + self.http_timeout):
                await self._look_at_pod(attempt)
        finally:
            attempt.goes_on = False
        attempt.give_up()

    async def _look_at_pod(self, attempt: Attempt) -> None:
        claims: dict[str, str] = {}
        due = 0.0
        while not attempt.waiting.over:
            await asyncio.sleep(WAITING_SECONDS)
            if attempt.provision is None or not attempt.decision.written:
                continue
            pod = self._pod(attempt.decision.uid)
            if attempt.waiting.look(pod, self._events_of(attempt.decision.uid), claims):
                cause = attempt.waiting.cause
                what = f"waits for {cause.word}: {attempt.waiting.said}" if cause else "waits no more for what it did"
                log.warning("Request %s: the start of %s %s", attempt.decision.request, quote(self.pod_name), what)
            if has_machine(pod):
                claims = {}
            elif attempt.waiting.cause in (None, STORAGE) and monotonic() >= due:
                kube, volumes = self.workspace_service.manager.context.kube, attempt.provision.volumes
                claims = await unbound(kube, self.namespace, [each.claim for each in volumes])
                due = monotonic() + CLAIMS_SECONDS

    def _pod(self, uid: str | None = None) -> Mapping[str, Any] | None:
        """The server's pod as the reflector has it, of this UID where one is given."""
        with contextlib.suppress(Exception):  # a reflector that has not loaded
            pod: Mapping[str, Any] = self.pod_reflector.pods[f"{self.namespace}/{self.pod_name}"]
            return pod if uid in (None, pod["metadata"]["uid"]) else None
        return None

    def _events_of(self, uid: str | None) -> list[Mapping[str, Any]]:
        with contextlib.suppress(Exception):  # as above
            return [event for event in self.events if _is_of(event, uid)]
        return []

    async def progress(self) -> AsyncIterator[Mapping[str, Any]]:
        """Kubernetes' own events, and in plain words what the start waits for, as that changes."""
        events = aiter(super().progress())
        following: asyncio.Future[Any] | None = asyncio.ensure_future(anext(events, None))
        told, percent = None, 0
        try:
            # KubeSpawner's end with the pod's start, before the server answers.
            while following is not None or (self._attempt and self._attempt.goes_on):
                await asyncio.wait([following or asyncio.ensure_future(asyncio.sleep(_SECOND))], timeout=_SECOND)
                attempt = self._attempt
                if attempt is not None and attempt.goes_on and attempt.waiting.cause is not told:
                    told = cause = attempt.waiting.cause
                    sentence = _(cause.waiting if cause else N_("It goes on now."))
                    yield {"progress": percent, "message": sentence, "waits": bool(cause)}
                if following is not None and following.done():
                    event = following.result()
                    following = asyncio.ensure_future(anext(events, None)) if event else None
                    raw = event and event.get("raw_event")
                    # Kubernetes keeps events for an hour, and a pod has the name of the one before.
                    if event and (raw is None or _is_of(raw, attempt.decision.uid if attempt else None)):
                        percent = event.get("progress", percent)
                        yield event if raw is None else {**event, "step": step(raw)}
        finally:
            if following is not None:
                following.cancel()

    def _expect_answer(self, attempt: Attempt) -> None:
        """Refuse as well where the pod runs and its server never answers, which JupyterHub waits for after a start."""
        server = self.server
        wait_up = server.wait_up

        async def answered(*args: Any, **options: Any) -> Any:
            try:
                # Whatever ended it since the pod was there has found nothing to end.
                ended = attempt.revoked is not None or not attempt.goes_on
                async with asyncio.timeout(0 if ended else None) as attempt.limit:
                    answer = await wait_up(*args, **options)
            except Exception as error:
                silent = StartFailed(f"the server did not answer: {quote(str(error))}", user_message=SILENT)
                failed = attempt.waiting.failed(self.http_timeout) if attempt.waiting.cause else silent
                raise self._refuse(attempt, attempt.revoked or failed) from error
            except BaseException:
                attempt.broken_off = True
                raise
            finally:
                attempt.end()
            return answer

        server.wait_up = answered

    async def get_pod_manifest(self) -> DecidedPod:
        """The pod of the workspace that was chosen, from one grant that the backend itself confirmed."""
        attempt = self._attempt
        if attempt is None:
            raise ServiceFault("a pod was asked for outside a start")
        if self.workspace_service.refresher is not None:
            await self.workspace_service.refresher.refresh(self.user, handler=self.handler)
        attempt.user = await user_of(self)
        manifest = super().get_pod_manifest
        made: list[Any] = []

        async def make_pod(grant: Workspace) -> Mapping[str, Any]:
            namespace = grant.namespace or self.workspace_service.settings.namespace
            await self._move_to(namespace)
            with self._as_granted(grant):
                pod = await manifest()
            if self.modify_pod_hook is not None:
                pod = await _result(self.modify_pod_hook(self, pod))
            made[:] = [pod]
            return await self._document(pod, namespace)

        manager = self.workspace_service.manager
        provision = await manager.provision(attempt.user, attempt.decision.workspace, make_pod)
        self.modify_pod_hook = None  # it has been called; KubeSpawner would call it after us
        furnished = lab.furnish(provision.pod, provision.grant, self.workspace_service.settings.timezone)
        metadata = made[0].metadata
        decided = furnished.pod["metadata"]
        metadata.labels = decided["labels"]
        metadata.annotations = {**decided["annotations"], START_ANNOTATION: attempt.decision.request}
        attempt.decision.versions = provision.grant.versions
        attempt.decision.pod = metadata.name
        attempt.decision.namespace = provision.grant.namespace
        attempt.provision = provision
        if provision.removed:
            removed = ", ".join(f"{quote(name)} ({quote(kind)})" for name, kind in provision.removed)
            log.info("Request %s: volumes taken off the pod: %s", attempt.decision.request, removed)
        if furnished.obstacle:
            message = "Request %s: JupyterLab does not tell when access ends: %s"
            log.info(message, attempt.decision.request, furnished.obstacle)
        # JSON in place of a model: the client sends it as it is.
        attempt.pod = DecidedPod(api_version="v1", kind="Pod", metadata=metadata, spec=furnished.pod["spec"])
        return attempt.pod

    def _live_in(self, namespace: str) -> None:
        """Have the pod in a namespace (rule S9)."""
        if namespace != self.namespace:
            self.namespace = namespace
            self.dns_name = self.dns_name_template.format(namespace=namespace, name=self.pod_name)

    async def _move_to(self, namespace: str) -> None:
        """The same, and watch what is there."""
        if namespace == self.namespace:
            return
        self._live_in(namespace)
        await self._start_watching_pods()
        if self.events_enabled:
            await self._start_watching_events()

    def _url_of_the_hub(self) -> str | None:
        """Where a pod of this namespace reaches the hub: a Service of another namespace needs its whole name."""
        own = self.workspace_service.settings.namespace
        given: str | None = self.hub_connect_url or None
        url = urlsplit(given or self.hub.api_url)
        host = url.hostname or ""
        if self.namespace == own or not host or "." in host or ":" in host or host == "localhost":
            return given
        port = f":{url.port}" if url.port else ""
        return f"{url.scheme}://{host}.{own}.svc{port}"

    @contextlib.contextmanager
    def _as_granted(self, grant: Workspace) -> Iterator[None]:
        """The spawner's traits as the grant says, for as long as KubeSpawner makes the pod from them."""
        wanted = {**profiles.traits(grant, self.args), "hub_connect_url": self._url_of_the_hub()}
        before = {name: getattr(self, name) for name in wanted}
        try:
            for name, value in wanted.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    async def _document(self, pod: Any, namespace: str) -> Mapping[str, Any]:
        name = getattr(getattr(pod, "metadata", None), "name", None)
        if name != self.pod_name:
            raise ServiceFault(
                f"modify_pod_hook answered with {quote(type(pod).__name__)} {quote(name)}; expected: the pod that it "
                f"was given, {quote(self.pod_name)}"
            )
        if self.namespace != namespace:
            raise ServiceFault(
                f"the pod would start in namespace {quote(self.namespace)}, the claims are in {quote(namespace)}"
            )
        api = await self.workspace_service.manager.context.kube.api()
        document = api.sanitize_for_serialization(pod)
        assert isinstance(document, Mapping)  # noqa: S101 - what the client makes of an object
        return document

    async def create_pod(self, api: Any, namespace: str, pod: Any, **options: Any) -> Any:
        """Create the pod of this start, and no other.

        Raises:
            ApiException: A pod of this name exists; KubeSpawner removes it and tries again.
            WorkspaceManagerError: It may not be created, or the cluster did not take it.
        """
        attempt = self._attempt
        if attempt is None or attempt.pod is None or pod is not attempt.pod:
            raise ServiceFault("something creates a pod that is not the one that was decided on")
        assert attempt.user is not None  # noqa: S101 - set with the pod
        assert attempt.provision is not None  # noqa: S101 - set with the pod
        manager = self.workspace_service.manager
        attempt.provision = await engine.confirm_again(manager, attempt.user, attempt.provision)
        attempt.tried = True
        attempt.unanswered += 1
        try:
            created = await api.create_namespaced_pod(namespace, pod, **options)
        except ApiException as error:
            if (error.status or 500) < 500:
                attempt.unanswered -= 1
            if error.status == 409:
                raise
            raise pod_refused(error) from error
        attempt.unanswered -= 1
        attempt.decision.uid = created.metadata.uid
        attempt.decision.allow()
        self._session = Session.of(attempt.provision)
        self.workspace_sessions.add(self, self._session)
        return created

    def _remove_what_is_left(self, attempt: Attempt) -> None:
        """Remove the pod of a start that failed, also one that comes up after its creation was given up."""
        if attempt.tried:
            late = LATE_SECONDS if attempt.unanswered else 0.0
            self.workspace_service.run(_remove(self.api, self.namespace, self.pod_name, attempt.decision.request, late))

    async def stop(self, now: bool = False) -> None:
        """Stop the server, and what comes up later of a creation that was not answered."""
        try:
            await super().stop(now)
        finally:
            attempt = self._attempt
            # KubeSpawner also calls this within a start, to make room for the pod that is then created.
            if attempt is not None and attempt.decision.written and attempt.unanswered:
                self._remove_what_is_left(attempt)

    def get_state(self) -> dict[str, Any]:
        """As KubeSpawner's, with what the server's access rests on, for a hub that starts while it runs."""
        state: dict[str, Any] = super().get_state()
        self._session.write(state)
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Read what ``get_state`` gave."""
        super().load_state(state)
        self._session = Session.read(state)

    def clear_state(self) -> None:
        """Forget it, as the server is no more; but not what it was called."""
        super().clear_state()
        self._session = self._session.over()

    def start_polling(self) -> None:
        """Called once a server runs, or was found running: from now on its access is reviewed (rule E1)."""
        super().start_polling()
        self.workspace_sessions.add(self, self._session)

    def stop_polling(self) -> None:
        """Called when a server ends, or is about to."""
        super().stop_polling()
        self.workspace_sessions.remove(self)

    def break_off(self, error: WorkspaceManagerError) -> bool:
        """End the start that is under way, as access has ended since its pod was created.

        Returns:
            Whether there is such a start; it then fails with the error.
        """
        attempt = self._attempt
        if attempt is None or not attempt.goes_on:
            return False
        attempt.revoked = error
        attempt.give_up()
        return True

    async def stop_in_the_hub(self) -> None:
        """Stop the server as the hub's own pages do: its route, its pod, its tokens, and the hub's record of it."""
        self._stop_pending = True
        try:
            await self.user.settings["proxy"].delete_user(self.user, self.name)
        finally:
            # Whatever became of the route: it leads nowhere now, and the hub removes what is left over.
            await self.user.stop(self.name)

    async def pod_uid(self) -> str | None:
        """The UID of the server's pod; None where it has none.

        Raises:
            ApiException: That cannot be read.
        """
        try:
            pod = await self.api.read_namespaced_pod(self.pod_name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return str(pod.metadata.uid)

    async def remove_pod(self, uid: str | None, patience: float) -> None:
        """See to it that a pod goes that should have been deleted; it is deleted at once where it does not.

        Args:
            uid: The pod's; another of the same name stays.
            patience: Seconds that it may take to end by itself.

        Raises:
            ApiException: The API server does not answer, or refuses.
        """
        until = monotonic() + patience
        while uid is not None and await self.pod_uid() == uid:
            if monotonic() > until:
                with contextlib.suppress(ApiException):  # looked at again
                    await _delete(self.api, self.namespace, self.pod_name, uid)
                until = monotonic() + patience
            await asyncio.sleep(_SECOND)

    async def poll(self) -> Any:
        """As KubeSpawner's, which deletes a pod that has ended: what became of it is kept for the person.

        None while a start goes on: its container may end and be started anew, and the start itself knows when that is
        hopeless. JupyterHub asks after ten seconds, and would answer 500 to what KubeSpawner says then.
        """
        attempt = self._attempt
        if attempt is not None and attempt.goes_on:
            return None
        await self._start_watching_pods()
        pod = self._pod()
        status = await super().poll()
        ended = status is not None and (attempt is None or attempt.done)
        if ended and self.workspace_service.what_became(self) is None:
            self.workspace_service.keep_what_became(self, became(pod))
        return status

    async def delete_forever(self) -> None:
        """Called when a user is deleted: their files are their workspaces' and stay."""
        self.workspace_service.became.get(self.user.name, {}).pop(self.name, None)
        self._without_personal_claims()
        await super().delete_forever()

    def _get_reflector_key(self, kind: str) -> Any:
        return (kind, None) if self.workspace_service.watches_all else super()._get_reflector_key(kind)

    async def _start_reflector(self, *args: Any, **options: Any) -> Any:
        if self.workspace_service.watches_all:
            options["omit_namespace"] = True
        return await super()._start_reflector(*args, **options)

    async def _start_watching_pods(self, replace: bool = False) -> Any:
        await self.workspace_service.find_reach()
        return await super()._start_watching_pods(replace=replace or self._gave_up(self.pod_reflector))

    async def _start_watching_events(self, replace: bool = False) -> Any:
        await self.workspace_service.find_reach()
        return await super()._start_watching_events(replace=replace or self._gave_up(self.event_reflector))

    @staticmethod
    def _gave_up(reflector: Any) -> bool:
        """Whether a reflector, one for the whole hub, watches no more: after a longer outage it ends for good."""
        if reflector is None:
            return False
        loaded, watching = reflector.first_load_future, reflector.watch_task
        failed = loaded.done() and (loaded.cancelled() or loaded.exception() is not None)
        return failed or (watching is not None and watching.done())


def in_front_of(base: type, service: Service, sessions: Sessions, pages: Pages) -> type:
    """The class that a hub uses: ours in front of the one that is configured."""
    bases = (WorkspaceSpawner,) if base is KubeSpawner else (WorkspaceSpawner, base)
    own = {"workspace_service": service, "workspace_sessions": sessions, "workspace_pages": pages}
    return types.new_class("WorkspaceSpawner", bases, exec_body=lambda namespace: namespace.update(own))


def lift_connection_limit(api: Any) -> None:
    """Let KubeSpawner's one client of the API have as many connections as it needs.

    It has a hundred, and each namespace takes two for its watches: in a hub of more than fifty everything else would
    wait for a watch to end. The library reads the limit as it makes the client, where nobody can set it.

    Args:
        api: KubeSpawner's client.
    """
    api.api_client.rest_client.pool_manager.connector._limit = 0  # aiohttp's own name for it; 0 is none


async def _remove(api: Any, namespace: str, name: str, request: str, late: float) -> None:
    """Delete the pod that a request created, and no other of that name.

    Args:
        api: The client.
        namespace: The pod's.
        name: The pod's.
        request: As in its annotation.
        late: Seconds for which it may still come up.
    """
    until = monotonic() + max(late, LOOK_SECONDS)
    while True:
        with contextlib.suppress(Exception):  # away, or gone meanwhile: looked at again
            pod = await api.read_namespaced_pod(name, namespace)
            # The pod of another start has the name only for a while.
            is_ours = (pod.metadata.annotations or {}).get(START_ANNOTATION) == request
            if is_ours and pod.metadata.deletion_timestamp is None:
                log.warning("Request %s: its pod %s is there all the same, and is deleted", request, quote(name))
                await _delete(api, namespace, name, pod.metadata.uid)
        if monotonic() > until:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _delete(api: Any, namespace: str, name: str, uid: str) -> None:
    """Delete the pod with this UID at once, and no other of its name."""
    options = V1DeleteOptions(preconditions=V1Preconditions(uid=uid), grace_period_seconds=0)
    await api.delete_namespaced_pod(name, namespace, body=options)


def _is_of(event: Mapping[str, Any], uid: str | None) -> bool:
    """Whether an event is of the pod with this UID, and not of another one of its name."""
    return event["involvedObject"].get("uid") in (None, uid)


def _too_many(limit: int, running: Sequence[Any]) -> TooManyRunning:
    said = (
        ngettext(
            "You can have one workspace open at a time.", "You can have {count} workspaces open at a time.", limit
        ),
        ngettext(
            "{titles} is running. Stop it first, on the page of your workspaces.",
            "These are running: {titles}. Stop one of them first, on the page of your workspaces.",
            len(running),
            titles=", ".join(each.title for each in running),
        ),
        _(FILES_ARE_KEPT),
    )
    return TooManyRunning(
        f"{limit} may run for {quote(running[0].user.name)} at once, and that do: "
        + ", ".join(quote(each.workspace) for each in running),
        user_message=" ".join(said),
    )


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
