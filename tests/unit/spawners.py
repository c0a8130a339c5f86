"""The spawner class of a hub on an API and reflectors that are dictionaries, for tests of whole starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from kubernetes_asyncio.client.exceptions import ApiException
from traitlets.config import Config

from tests.factories import TODAY, shared, volume
from workspace_managers import User, Volume, Workspace, WorkspaceManager, hub
from workspace_managers.context import Context

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: x, user: {}}]
"""


class Plugin(WorkspaceManager):
    """Answers what a test has put into it."""

    grants: Sequence[Workspace] = ()
    failure: BaseException | None = None
    started = closed = 0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.asked: list[User] = []

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        self.asked.append(user)
        if self.failure:
            raise self.failure
        return self.grants

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return [volume(f"jupyter-{workspace.name}", f"/home/jovyan/{workspace.name}"), shared()]

    async def start(self) -> None:
        self.started += 1

    async def close(self) -> None:
        self.closed += 1


class TodayContext(Context):
    def today(self) -> Any:
        return TODAY


class Pods:
    """A namespace's pods behind KubeSpawner's client, and the reflector that sees them.

    Attributes:
        created: Every pod that was asked for, as the API's JSON.
        before: Called before each creation; what it raises is the answer.
        running: Whether a pod runs once it is created.
        namespace: Where those are that the reflector sees.
        namespaces: Where each was asked for.
    """

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.there: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        self.before: Callable[[], Any] = lambda: None
        self.running = True
        self.namespace = "hub"
        self.namespaces: list[str] = []
        self.first_load_future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first_load_future.set_result(None)
        self.watch_task = None
        self.events: list[dict[str, Any]] = []

    @property
    def pods(self) -> dict[str, Any]:
        return {f"{self.namespace}/{name}": pod for name, pod in self.there.items()}

    async def create_namespaced_pod(self, namespace: str, body: Any, **_: Any) -> Any:
        answer = self.before()
        if asyncio.iscoroutine(answer):
            await answer
        document: dict[str, Any] = {
            "metadata": {
                "name": body.metadata.name,
                "uid": f"uid-{len(self.created)}",
                "labels": body.metadata.labels,
                "annotations": body.metadata.annotations,
            },
            "spec": body.spec,
        }
        self.created.append(document)
        self.namespaces.append(namespace)
        state = {"running": {}} if self.running else {"waiting": {"reason": "ContainerCreating"}}
        document["status"] = {
            "phase": "Running" if self.running else "Pending",
            "podIP": "127.0.0.1",
            "containerStatuses": [{"name": "notebook", "ready": self.running, "state": state}],
        }
        self.there[body.metadata.name] = document
        return SimpleNamespace(metadata=SimpleNamespace(uid=document["metadata"]["uid"]))

    async def read_namespaced_pod(self, name: str, _namespace: str) -> Any:
        if name not in self.there:
            raise ApiException(status=404)
        metadata = self.there[name]["metadata"]
        return SimpleNamespace(
            metadata=SimpleNamespace(annotations=metadata["annotations"], uid=metadata["uid"], deletion_timestamp=None)
        )

    async def delete_namespaced_pod(self, name: str, namespace: str, body: Any = None, **_: Any) -> None:
        if name not in self.there:
            raise ApiException(status=404)
        assert body.preconditions is None or body.preconditions.uid == self.there[name]["metadata"]["uid"]
        del self.there[name]
        self.deleted.append(name)


class Handler:
    """What a spawner has of the request that starts it."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.current_user: Any = None
        self.request = SimpleNamespace(arguments={}, query_arguments={})

    def set_status(self, status: int) -> None:
        self.status = status

    def set_header(self, name: str, value: str) -> None:
        self.headers[name] = value


class Authenticator:
    """One that keeps an auth state, or none."""

    enable_auth_state = False


async def no_auth_state() -> None:
    return None


class Server:
    """The server as the hub keeps it."""

    orm_server = object()
    base_url = "/user/x/"
    url = "http://127.0.0.1:8888/user/x/"

    async def wait_up(self, **_: Any) -> str:
        return "answers"


def configure_with(c: Config, **environ: str) -> Config:
    hub.configure(c, {"WORKSPACE_MANAGER": "test", "POD_NAMESPACE": "hub", **environ})
    return c


def make_spawner(c: Config, name: str = "alice", pods: Pods | None = None, server: str = "", **options: Any) -> Any:
    """The spawner of a user's server, as a hub with this configuration makes it."""
    spawner = c.JupyterHub.spawner_class(config=c, _mock=True)
    spawner.user = SimpleNamespace(
        name=name,
        escaped_name=name,
        url=f"/user/{name}/",
        id=1,
        state=None,
        settings={},
        authenticator=Authenticator(),
        get_auth_state=no_auth_state,
        spawners={},
        allow_named_servers=True,
    )
    spawner.handler = Handler()
    spawner.cmd = ["jupyterhub-singleuser"]
    spawner.user_options = options
    if server:
        # As the hub's database has it: the server, and nobody whom it is shared with.
        spawner.orm_spawner = SimpleNamespace(name=server, id=1, server=None)
        spawner.orm_spawner.server = Server.orm_server
        spawner.db = SimpleNamespace(query=lambda _: SimpleNamespace(filter_by=lambda **_: SimpleNamespace(all=list)))
    spawner._server = Server()
    if pods is not None:
        spawner.api._api = pods
        spawner.reflectors.update({("pods", "hub"): pods, ("events", "hub"): pods})
    return spawner
