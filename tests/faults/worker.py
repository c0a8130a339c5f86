"""The hub's hooks in a process of their own, which may be killed: ``python -m tests.faults.worker``.

Always true here: the product is configured as a hub does it and called as KubeSpawner calls it, many starts at once;
then the pod is created, as KubeSpawner would. A line of JSON on the standard input asks for a start, a line on the
standard output answers it, and the end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from kubespawner import KubeSpawner
from traitlets.config import Config

from tests.faults.oracle import Outcome
from workspace_managers import hub
from workspace_managers.decisions import AUDIT
from workspace_managers.errors import BackendUnavailable
from workspace_managers.kube.client import ApiError, Kube
from workspace_managers.settings import Settings

_told: ContextVar[list[str]] = ContextVar("told")


class _Audit(logging.Handler):
    """Keeps each audit line with the start that it was written in."""

    def emit(self, record: logging.LogRecord) -> None:
        _told.get().append(record.getMessage())


class _Handler:
    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.current_user = None

    def set_status(self, status: int) -> None:
        """The form's own status is not looked at."""


class _Worker:
    def __init__(self) -> None:
        settings = Settings.from_environ()
        self._config = Config()
        # As the chart has it: everybody's own claim, which the product has to take off again.
        self._config.KubeSpawner.volumes = [
            {"name": "home", "persistentVolumeClaim": {"claimName": "claim-{username}"}}
        ]
        self._config.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
        hub.configure(self._config)
        self._kube = Kube(settings.namespace)
        self._pods = f"/api/v1/namespaces/{settings.namespace}/pods"
        self._spawners: dict[str, Any] = {}

    def _spawner(self, name: str) -> Any:
        """A user's spawner, which a hub keeps from start to start."""
        if name not in self._spawners:
            user = SimpleNamespace(name=name, escaped_name=name, url="/user/x/", id=1, state=None, settings={})
            spawner = KubeSpawner(config=self._config, user=user, _mock=True)
            spawner.handler, spawner.cmd = _Handler(), ["jupyterhub-singleuser"]
            self._spawners[name] = spawner
        return self._spawners[name]

    async def answer(self, ask: dict[str, Any]) -> None:
        audit: list[str] = []
        _told.set(audit)
        stages: list[str] = []
        said: dict[str, Any] = {"outcome": Outcome.STARTED.value}
        try:
            await self._start(ask, stages)
        except hub.Refused as refused:
            said = {
                "outcome": Outcome.REFUSED.value,
                "status": refused.status_code,
                "sentence": refused.jupyterhub_message,
            }
        except BackendUnavailable as error:
            said = {"outcome": Outcome.NO_SERVER.value, "sentence": str(error)}
        except Exception as error:  # whatever else comes is what the run looks for
            logging.getLogger(__name__).exception("broken")
            said = {"outcome": Outcome.BROKEN.value, "sentence": f"{type(error).__name__}: {error}"}
        said |= {"number": ask["number"], "stages": stages, "audit": audit}
        sys.stdout.write(f"{json.dumps(said)}\n")
        sys.stdout.flush()

    async def _start(self, ask: dict[str, Any], stages: list[str]) -> None:
        spawner = self._spawner(ask["user"])
        spawner.user_options = {} if ask["study"] is None else {"profile": ask["study"]}
        if ask["form_first"]:
            stages.append("form")
            await spawner.options_form(spawner)
        stages.append("options")
        await spawner.load_user_options()
        pod = await spawner.get_pod_manifest()
        stages.append("pod")
        pod = await spawner.modify_pod_hook(spawner, pod)
        document = (await self._kube.api()).sanitize_for_serialization(pod)
        try:
            await self._kube.create(self._pods, document)
        except ApiError as error:
            if error.status != 409:  # then a try whose answer was lost has made it
                raise


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
