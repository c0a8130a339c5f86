"""The hub's spawners in a process of their own, which may be killed: ``python -m tests.faults.worker``.

The product is configured as a hub does it, and each start goes through its spawner class, many at once. Behind that
class is KubeSpawner up to the pod that its reflector shows, as there is no node to run it; its creation, the retries
and what is left behind are the product's own and KubeSpawner's. A line of JSON on the standard input asks for
something, a line on the standard output answers it, and the end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any

from jupyterhub.utils import exponential_backoff, maybe_future
from kubespawner import KubeSpawner
from traitlets.config import Config

from tests.faults.oracle import Outcome
from workspace_managers import hub
from workspace_managers.decisions import AUDIT
from workspace_managers.hub.refusals import Refused

REQUEST_SECONDS, RETRY_SECONDS = 2, 12
"""KubeSpawner's time-outs of one creation and of all of them: shorter than its own, so that a run meets them often."""
SEEN_SECONDS = 20
"""Until a reflector has seen a pod; one that lost its watch waits up to 13 s, in the longest outage of a run."""

_audit_lines: ContextVar[list[str]] = ContextVar("audit_lines")


class _Audit(logging.Handler):
    """Keeps each audit line with the start that it was written in."""

    def emit(self, record: logging.LogRecord) -> None:
        _audit_lines.get().append(record.getMessage())


class _Handler:
    current_user = None

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def set_status(self, status: int) -> None:
        """The form's own status is not looked at."""

    def set_header(self, name: str, value: str) -> None:
        """Nor are its headers."""


class _Server:
    base_url = "/user/x/"

    async def wait_up(self, **_options: Any) -> None:
        """Nobody waits for it."""


class UpToThePod(KubeSpawner):  # type: ignore[misc]  # KubeSpawner has no types
    """KubeSpawner, for which a server has started once its reflector has seen the pod."""

    async def _start(self) -> str:
        await self.load_user_options()
        await self._start_watching_pods()
        pod = await self.get_pod_manifest()
        if self.modify_pod_hook:
            pod = await maybe_future(self.modify_pod_hook(self, pod))
        await exponential_backoff(
            partial(self._make_create_pod_request, pod, self.k8s_api_request_timeout),
            f"Could not create pod {self.pod_name}",
            timeout=self.k8s_api_request_retry_timeout,
        )
        key = f"{self.namespace}/{self.pod_name}"
        await exponential_backoff(lambda: key in self.pod_reflector.pods, f"{key} is not seen", timeout=SEEN_SECONDS)
        return "http://127.0.0.1:8888"


async def _no_auth_state() -> None:
    return None


class _Worker:
    def __init__(self) -> None:
        c = self._config = Config()
        c.JupyterHub.spawner_class = UpToThePod
        # As the chart has it: everybody's own claim, which the product has to take off again.
        c.KubeSpawner.volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "claim-{username}"}}]
        c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
        c.KubeSpawner.k8s_api_request_timeout = REQUEST_SECONDS
        c.KubeSpawner.k8s_api_request_retry_timeout = RETRY_SECONDS
        hub.configure(c)
        self._settings: dict[str, Any] = {}
        self._spawners: dict[str, Any] = {}

    def _spawner(self, name: str) -> Any:
        """A user's spawner, which a hub keeps from start to start."""
        if name not in self._spawners:
            user = SimpleNamespace(
                name=name,
                escaped_name=name,
                url="/user/x/",
                id=1,
                state=None,
                settings=self._settings,
                authenticator=SimpleNamespace(enable_auth_state=False),
                get_auth_state=_no_auth_state,
                spawners={},  # others than this one
            )
            spawner = self._config.JupyterHub.spawner_class(config=self._config, user=user, _mock=True)
            spawner.handler, spawner.cmd = _Handler(), ["jupyterhub-singleuser"]
            self._spawners[name] = spawner
        return self._spawners[name]

    async def answer(self, ask: dict[str, Any]) -> None:
        """Do what a line asks for, and say how it went."""
        lines: list[str] = []
        _audit_lines.set(lines)
        said: dict[str, Any] = {"outcome": Outcome.STARTED.value}
        try:
            match ask["do"]:
                case "start":
                    await self._start(ask)
                case "stop":
                    self._spawner(ask["user"]).stop_polling()  # as the hub does first
                    await self._spawner(ask["user"]).stop(now=True)
                case "end reflectors":
                    self._end_reflectors()
        except Refused as refused:
            said = {
                "outcome": Outcome.REFUSED.value,
                "status": refused.status_code,
                "sentence": refused.jupyterhub_message,
            }
        except Exception as error:  # whatever else comes is what the run looks for
            logging.getLogger(__name__).exception("broken")
            said = {"outcome": Outcome.BROKEN.value, "sentence": f"{type(error).__name__}: {error}"}
        said |= {"number": ask["number"], "audit": lines}
        sys.stdout.write(f"{json.dumps(said)}\n")
        sys.stdout.flush()

    async def _start(self, ask: dict[str, Any]) -> None:
        spawner = self._spawner(ask["user"])
        spawner.user_options = {} if ask["study"] is None else {"profile": ask["study"]}
        spawner._server = _Server()
        if ask["form_first"]:
            await spawner.get_options_form()
        try:
            await spawner.start()
        except Exception:
            spawner.stop_polling()  # as the hub does, which stops what did not start
            raise

    @staticmethod
    def _end_reflectors() -> None:
        """Leave each reflector as KubeSpawner leaves it once it has given up: there, and watching no more."""
        for reflector in KubeSpawner.reflectors.values():
            if reflector.watch_task is not None:
                reflector.watch_task.cancel()


async def main() -> None:
    """Answer until the input ends."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    AUDIT.addHandler(_Audit())
    worker = _Worker()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    answering: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(worker.answer(json.loads(line)))
        answering.add(task)
        task.add_done_callback(answering.discard)


if __name__ == "__main__":
    asyncio.run(main())
