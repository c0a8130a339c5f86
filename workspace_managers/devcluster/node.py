"""A node that runs pods as local processes: scheduler and kubelet in one, for the demo and the tests.

Always true of this module:

- It knows the cluster through the Kubernetes API alone, so it serves the embedded API and a real kube-apiserver alike.
- Every process listens on a loopback address of its own (127.0.10.2 on), so port 8888 is free for each pod.
- Every process ends with its pod, and with the node: kernels and terminals too, which start sessions of their own.
- Nothing is adopted: a pod that an earlier run of a node started is deleted, because its process is gone.
- A claim is the folder ``claims/<claim name>``. Its files outlive every pod; a pod's own folder is emptied with it.
- As a guest, on a cluster that has nodes of its own, it touches only pods that ask for its scheduler by name.

What a stand-in does not do: no image is pulled (each one is this Python environment's Jupyter server, unless
``images`` names a command), no container restarts, limits, security contexts, node selectors and probes are not
applied, and config maps, secrets and service account tokens are mounted as empty folders; annotations as they were
when the pod began. There is one file system: a mount under ``/home/jovyan`` is in the process's home, one elsewhere
under ``pods/<pod>/rootfs``, not at its own path. Jupyter looks for what it adds there, too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientError
from kubernetes_asyncio import client, config

NODE_NAME = "devcluster"
IMAGE_HOME = PurePosixPath("/home/jovyan")
IMAGE_JUPYTER = "/usr/local/share/jupyter"
FIRST_ADDRESS = IPv4Address("127.0.10.2")
JUPYTER_PORT = 8888
ROOT_MARK, POD_MARK = "DEVCLUSTER_ROOT", "DEVCLUSTER_POD"
"""Environment variables that every process of a node carries, so that it can be found however it was started."""

_JUPYTER_COMMANDS = {"jupyterhub-singleuser", "start-singleuser.sh", "start-singleuser.py", "start-notebook.sh"}
_RETRY_CLAIMS_SECONDS = 1.0
_FORCED_GRACE_SECONDS = 2.0
_NOBODY = 65534

# Runs in the new process before the command; a preexec_fn would fork a process that has threads. 1 is PR_SET_PDEATHSIG,
# 24 is PR_CAPBSET_DROP. CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER are what lets root write where the mode forbids it.
_LAUNCH = """
import ctypes, os, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
if os.geteuid() == 0 and any(prctl(24, int(number), 0, 0, 0) for number in sys.argv[2].split()):
    print("warning: cannot give up root's capabilities: read-only mounts can be written to", file=sys.stderr)
try:
    os.execvp(sys.argv[3], sys.argv[3:])
except OSError as error:
    print(f"cannot run {sys.argv[3]!r}: {error}", file=sys.stderr)
    sys.exit(127)
"""
_CAPABILITIES_LOST = "0 1 3"


@dataclass(slots=True)
class _Container:
    spec: Mapping[str, Any]
    process: asyncio.subprocess.Process | None = None
    started: str = ""
    ready: bool = False
    exit_code: int | None = None

    def status(self) -> dict[str, Any]:
        state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        if self.exit_code is not None:
            reason = "Error" if self.exit_code else "Completed"
            state = {"terminated": {"exitCode": self.exit_code, "reason": reason, "startedAt": self.started or None,
                                    "finishedAt": _now()}}  # fmt: skip
        elif self.process is not None:
            state = {"running": {"startedAt": self.started}}
        return {"name": self.spec["name"], "image": self.spec["image"], "imageID": "", "restartCount": 0,
                "ready": self.ready, "started": "running" in state, "state": state}  # fmt: skip


@dataclass(slots=True)
class _Pod:
    raw: Mapping[str, Any]
    folder: Path
    containers: list[_Container]
    init_containers: list[_Container]
    started: str = ""
    ip: str | None = None
    lock: socket.socket | None = None
    grace: float = _FORCED_GRACE_SECONDS
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    exists: bool = True
    """Whether the API server still has it."""
    deleting: bool = False
    """Whether the API server has marked it for deletion; else it is the node that stops."""

    @property
    def name(self) -> str:
        return str(self.raw["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def path(self, in_image: str) -> Path:
        """Where a path of the image is on this machine."""
        path = PurePosixPath("/", os.path.normpath(in_image))
        if path.is_relative_to(IMAGE_HOME):
            return self.home / path.relative_to(IMAGE_HOME)
        return self.folder / "rootfs" / path.relative_to("/")

    def status(self) -> dict[str, Any]:
        codes = [container.exit_code for container in self.containers]
        phase = "Running" if any(container.process for container in self.containers) else "Pending"
        if any(container.exit_code for container in self.init_containers):
            phase = "Failed"
        elif None not in codes:
            phase = "Failed" if any(codes) else "Succeeded"
        ready = "True" if all(container.ready for container in self.containers) else "False"
        conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": ready, "Ready": ready}
        return {
            "phase": phase,
            "startTime": self.started,
            "hostIP": "127.0.0.1",
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}] if self.ip else None,
            "conditions": [{"type": kind, "status": status} for kind, status in conditions.items()],
            "containerStatuses": [container.status() for container in self.containers],
            "initContainerStatuses": [container.status() for container in self.init_containers] or None,
        }


class Node:
    """Runs every pod of one namespace on this machine.

    Args:
        kubeconfig: The API server, as a kubeconfig's content or the path of one.
        namespace: The only namespace whose pods are run. One node serves it at a time.
        root: Holds ``claims/`` (kept) and ``pods/`` (emptied when the node starts).
        log: Gets what goes wrong; what happens to a pod goes to its Events.
        images: Commands for images that are not Jupyter, by the image's whole name. ``{ip}`` and ``{port}`` are
            filled in. A container's own command and args are not looked at then.
        guest: On a cluster of somebody else's: only pods with the ``schedulerName`` `NODE_NAME` are run. They are bound
            to no node, as the cluster deletes what runs on a node that it does not have; its claims are its own
            affair.
    """

    def __init__(
        self,
        kubeconfig: Mapping[str, Any] | os.PathLike[str] | str,
        *,
        namespace: str,
        root: Path,
        log: logging.Logger | None = None,
        images: Mapping[str, Sequence[str]] | None = None,
        guest: bool = False,
    ) -> None:
        self.namespace = namespace
        self.root = root.absolute()
        self._guest = guest
        self._kubeconfig = kubeconfig
        self._log = log or logging.getLogger(__name__)
        self._images = dict(images or {})
        self._pods: dict[str, tuple[_Pod, asyncio.Task[None]]] = {}
        self._addresses = itertools.cycle(range(1000))
        self._client: Any = None
        self._core: Any = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Clear what an earlier run left, then watch. Returns once the pods that exist are known.

        Raises:
            ApiException: the API server refuses the first list; nothing was started.
        """
        await kill_marked(ROOT_MARK, str(self.root))
        shutil.rmtree(self.root / "pods", ignore_errors=True)
        self._clear()
        if isinstance(self._kubeconfig, Mapping):
            self._client = await config.new_client_from_config_dict(dict(self._kubeconfig))
        else:
            self._client = await config.new_client_from_config(str(self._kubeconfig), persist_config=False)
        self._core = client.CoreV1Api(self._client)
        try:
            version = await self._list()
        except BaseException:
            await self._client.close()
            raise
        self._watching = asyncio.create_task(self._watch(version))

    async def stop(self) -> None:
        """End every process, then report the pods as ended. Claims that were read-only can be written to again."""
        if self._watching is None:
            return
        self._stopping = True
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        self._watching = None
        for pod, _ in self._pods.values():
            pod.stopping.set()
        await asyncio.gather(*(task for _, task in self._pods.values()), return_exceptions=True)
        await kill_marked(ROOT_MARK, str(self.root))
        self._clear()
        await self._client.close()

    def _clear(self) -> None:
        for kind in ("claims", "pods"):
            (self.root / kind).mkdir(parents=True, exist_ok=True)
        for folder in (self.root / "pods").iterdir():
            _empty(folder)
        for claim in (self.root / "claims").iterdir():
            if not claim.stat().st_mode & 0o200:
                _set_writable(claim, True)

    # What the API server says

    async def _call(self, request: Awaitable[Any]) -> dict[str, Any]:
        async with asyncio.timeout(10):
            response = await request
            text = await response.text()
        if response.status >= 400:
            raise client.ApiException(status=response.status, reason=text[:500])
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def _list(self) -> str:
        pods = await self._call(self._core.list_namespaced_pod(self.namespace, _preload_content=False))
        found = {item["metadata"]["uid"]: item for item in pods["items"] if self._runs(item)}
        for uid in self._pods.keys() - found.keys():
            self._gone(uid)
        for item in found.values():
            self._seen(item)
        return str(pods["metadata"]["resourceVersion"])

    async def _watch(self, version: str | None) -> None:
        pause = 0.2
        while True:
            try:
                if version is None:
                    version = await self._list()
                async with aclosing(self._events(version)) as events:
                    async for event in events:
                        pause, raw = 0.2, event["object"]
                        if event["type"] == "ERROR":
                            raise client.ApiException(status=raw.get("code"), reason=raw.get("message"))
                        version = raw["metadata"]["resourceVersion"]
                        if event["type"] == "DELETED":
                            self._gone(raw["metadata"]["uid"])
                        elif event["type"] != "BOOKMARK" and self._runs(raw):
                            self._seen(raw)
            except client.ApiException as error:
                version = None
                if error.status == 410:  # a normal thing: what was missed is in the next list
                    continue
                self._log.warning("watching pods: %s %s; trying again in %.1f s", error.status, error.reason, pause)
            except (ClientError, OSError, TimeoutError, ValueError) as error:
                version = None
                self._log.warning("watching pods: %r; trying again in %.1f s", error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    async def _events(self, version: str) -> AsyncGenerator[dict[str, Any], None]:
        response = await self._core.list_namespaced_pod(
            self.namespace, watch=True, resource_version=version, allow_watch_bookmarks=True, timeout_seconds=240,
            _request_timeout=300, _preload_content=False,
        )  # fmt: skip
        try:
            if response.status >= 400:
                raise client.ApiException(status=response.status, reason=(await response.text())[:500])
            while line := await response.content.readline():
                yield json.loads(line)
        finally:
            response.close()

    def _runs(self, raw: Mapping[str, Any]) -> bool:
        return not self._guest or raw["spec"].get("schedulerName") == NODE_NAME

    def _seen(self, raw: Mapping[str, Any]) -> None:
        metadata, status = raw["metadata"], raw.get("status", {})
        known = self._pods.get(metadata["uid"])
        if known is None:
            if status.get("phase") in ("Succeeded", "Failed") and "deletionTimestamp" not in metadata:
                return
            folder = self.root / "pods" / f"{metadata['name']}-{metadata['uid'][:8]}"
            containers = [_Container(spec) for spec in raw["spec"]["containers"]]
            pod = _Pod(raw, folder, containers, [_Container(spec) for spec in raw["spec"].get("initContainers") or ()])
            left_over = bool(status.get("startTime"))  # set by an earlier node, whose processes are gone
            if left_over:
                self._log.info("pod %s is left over from an earlier run: deleting it", pod.name)
                pod.deleting = True
                pod.stopping.set()
            task = asyncio.create_task(self._live(pod), name=f"pod {pod.name}")
            known = self._pods[pod.uid] = pod, task
            task.add_done_callback(lambda _: self._pods.pop(pod.uid, None))
        if "deletionTimestamp" in metadata:
            known[0].grace = float(metadata.get("deletionGracePeriodSeconds") or 0)
            known[0].deleting = True
            known[0].stopping.set()

    def _gone(self, uid: str) -> None:
        if known := self._pods.get(uid):
            known[0].exists = False
            known[0].deleting = True
            known[0].stopping.set()

    # What the node tells the API server

    async def _insist(self, request: Callable[[], Awaitable[Any]]) -> dict[str, Any] | None:
        """Ask until the API server answers. None: the pod is not there any more, or is another one of that name."""
        for pause in itertools.chain((0.2, 0.5, 1.0), itertools.repeat(3.0)):
            try:
                return await self._call(request())
            except client.ApiException as error:
                if error.status in (404, 409):
                    return None
                if error.status is not None and error.status < 500 and error.status != 429:
                    self._log.error("the API server refused the node: %s %s", error.status, error.reason)
                    return None
            except (ClientError, OSError, TimeoutError) as error:
                self._log.warning("the API server does not answer: %r", error)
            if self._stopping:
                break
            await asyncio.sleep(pause)
        return None

    async def _report(self, pod: _Pod) -> None:
        body = {"metadata": {"uid": pod.uid}, "status": pod.status()}
        await self._insist(lambda: self._core.patch_namespaced_pod_status(
            pod.name, self.namespace, body, _content_type="application/merge-patch+json", _preload_content=False,
        ))  # fmt: skip

    async def _delete(self, pod: _Pod) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        await self._insist(lambda: self._core.delete_namespaced_pod(
            pod.name, self.namespace, body=body, grace_period_seconds=0, _preload_content=False,
        ))  # fmt: skip

    async def _event(self, pod: _Pod, reason: str, message: str, *, kind: str = "Normal") -> None:
        now = _now()
        body = {
            "metadata": {"name": f"{pod.name[:200]}.{time.time_ns():x}", "namespace": self.namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": self.namespace, "name": pod.name,
                               "uid": pod.uid},
            "type": kind, "reason": reason, "message": message, "count": 1, "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": NODE_NAME}, "reportingComponent": NODE_NAME, "reportingInstance": NODE_NAME,
        }  # fmt: skip
        try:
            await self._call(self._core.create_namespaced_event(self.namespace, body, _preload_content=False))
        except (client.ApiException, ClientError, OSError, TimeoutError) as error:
            self._log.warning("pod %s: no event %s: %s", pod.name, reason, error)

    # One pod, from the moment it is seen until it is gone

    async def _live(self, pod: _Pod) -> None:
        running: asyncio.Task[None] | None = None
        if not pod.stopping.is_set():
            running = asyncio.create_task(self._run(pod))
            stopping = asyncio.create_task(pod.stopping.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and (error := running.exception()):
                await self._broken(pod, error)
            await stopping
            if pod.deleting or not all(container.process for container in pod.containers):
                running.cancel()
                await asyncio.wait({running})
        await self._end(pod)
        if running is not None:
            await asyncio.wait({running})  # which tells the API server how the processes ended, when the node stops
        _empty(pod.folder)
        if pod.lock is not None:
            pod.lock.close()
        if pod.deleting and pod.exists:
            await self._delete(pod)

    async def _broken(self, pod: _Pod, error: BaseException) -> None:
        self._log.error("pod %s cannot run: %s", pod.name, error)
        await kill_marked(POD_MARK, pod.uid)
        for container in pod.containers:
            container.exit_code = 128 if container.exit_code is None else container.exit_code
        await self._event(pod, "Failed", f"The pod cannot run: {error}", kind="Warning")
        await self._report(pod)

    async def _run(self, pod: _Pod) -> None:
        binding = {"metadata": {"name": pod.name, "uid": pod.uid}, "target": {"kind": "Node", "name": NODE_NAME}}
        # Without it, a real API server deletes a pod before its process ends.
        if not (self._guest or pod.raw["spec"].get("nodeName")):
            await self._insist(lambda: self._core.create_namespaced_pod_binding(
                pod.name, self.namespace, binding, _preload_content=False,
            ))  # fmt: skip
        await self._event(pod, "Scheduled", f"Successfully assigned {self.namespace}/{pod.name} to {NODE_NAME}")
        await self._wait_for_claims(pod)
        pod.started = _now()
        self._give_address(pod)
        self._make_folders(pod)
        await self._report(pod)
        for container in pod.init_containers:
            await self._start(pod, container)
            await self._wait(pod, container)
            if container.exit_code:
                return
        for container in pod.containers:
            await self._start(pod, container)
        await self._report(pod)
        await asyncio.gather(*(self._supervise(pod, container) for container in pod.containers))

    async def _wait_for_claims(self, pod: _Pod) -> None:
        told: list[str] = []
        while True:
            missing = []
            for name in sorted(set(_claims(pod.raw).values())):
                read = partial(self._core.read_namespaced_persistent_volume_claim, name, self.namespace)
                if claim := await self._insist(partial(read, _preload_content=False)):
                    await self._bind_claim(claim)
                else:
                    missing.append(name)
            if not missing:
                return
            if missing != told:
                told = missing
                names = ", ".join(f'persistentvolumeclaim "{name}" not found' for name in missing)
                await self._event(pod, "FailedMount", f"Waiting for storage: {names}", kind="Warning")
            await asyncio.sleep(_RETRY_CLAIMS_SECONDS)

    async def _bind_claim(self, claim: Mapping[str, Any]) -> None:
        """What a provisioner does when the first pod uses a claim of a class that waits for it."""
        if not self._guest and claim.get("status", {}).get("phase") != "Bound":
            spec, name = claim["spec"], claim["metadata"]["name"]
            capacity = (spec.get("resources") or {}).get("requests")
            body = {"status": {"phase": "Bound", "accessModes": spec.get("accessModes"), "capacity": capacity}}
            await self._insist(lambda: self._core.patch_namespaced_persistent_volume_claim_status(
                name, self.namespace, body, _content_type="application/merge-patch+json", _preload_content=False,
            ))  # fmt: skip

    def _give_address(self, pod: _Pod) -> None:
        ports = [_port(container.spec) or JUPYTER_PORT for container in pod.containers]
        for _ in range(1000):
            ip = str(FIRST_ADDRESS + next(self._addresses))
            lock = socket.socket(socket.AF_UNIX)
            try:
                lock.bind(f"\0{NODE_NAME}-{ip}")  # nodes of other processes on this machine take addresses too
                for port in ports:
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((ip, port))
            except OSError:
                lock.close()
                continue
            pod.ip, pod.lock = ip, lock
            return
        raise RuntimeError(f"no loopback address has port {ports[0]} free: stop what listens on 0.0.0.0")

    def _make_folders(self, pod: _Pod) -> None:
        settings = pod.folder / "jupyter" / "lab" / "@jupyterlab" / "apputils-extension"
        for folder in (pod.home, settings, pod.folder / "jupyter" / "config", pod.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        # What an image for a closed environment has: no question about news, and no fetching of any.
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
        server = {"ServerApp": {"allow_root": True}, "LanguageServerManager": {"autodetect": False}}
        (pod.folder / "jupyter" / "config" / "jupyter_server_config.json").write_text(json.dumps(server))
        _write_annotations(pod)
        claims = _claims(pod.raw)
        read_only = {volume["name"] for volume in pod.raw["spec"].get("volumes") or ()
                     if (volume.get("persistentVolumeClaim") or {}).get("readOnly")}  # fmt: skip
        mounts = {mount["mountPath"]: mount for container in (*pod.init_containers, *pod.containers)
                  for mount in container.spec.get("volumeMounts") or ()}  # fmt: skip
        for mount_path, mount in sorted(mounts.items()):
            volume, sub_path = mount["name"], mount.get("subPath") or "."
            source = self.root / "claims" / claims[volume] if volume in claims else pod.folder / "volumes" / volume
            source.mkdir(parents=True, exist_ok=True)
            if volume in claims:
                writable = not (mount.get("readOnly") or volume in read_only)
                if writable != bool(source.stat().st_mode & 0o200):
                    _set_writable(source, writable)
            target = pod.path(mount_path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink():
                target.unlink()
            elif target.is_dir():
                target.rmdir()
            target.symlink_to(source / sub_path, target_is_directory=True)

    async def _environment(self, pod: _Pod, container: _Container) -> dict[str, str]:
        fields = {"metadata.name": pod.name, "metadata.namespace": self.namespace, "metadata.uid": pod.uid,
                  "spec.nodeName": NODE_NAME, "status.podIP": pod.ip or "", "status.hostIP": "127.0.0.1"}  # fmt: skip
        env = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        unread = ["envFrom"] if container.spec.get("envFrom") else []
        for entry in container.spec.get("env") or ():
            source = entry.get("valueFrom") or {}
            if not source:
                value = entry.get("value") or ""
                env[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: env.get(found[1], found[0]), value)
            elif (path := (source.get("fieldRef") or {}).get("fieldPath")) in fields:
                env[entry["name"]] = fields[path]
            else:
                unread.append(entry["name"])
        if unread:
            message = f"This node cannot fill in {', '.join(unread)}"
            await self._event(pod, "EnvironmentIgnored", message, kind="Warning")
        # The hub says 0.0.0.0, which here would be every interface of the machine.
        if url := env.get("JUPYTERHUB_SERVICE_URL"):
            parts = urlsplit(url)
            env["JUPYTERHUB_SERVICE_URL"] = parts._replace(netloc=f"{pod.ip}:{parts.port or JUPYTER_PORT}").geturl()
        if root := env.get("JUPYTERHUB_ROOT_DIR"):
            env["JUPYTERHUB_ROOT_DIR"] = str(pod.path(root) if root.startswith("/") else pod.home)
        own = {"JUPYTER_CONFIG_DIR": "jupyter/config", "JUPYTER_DATA_DIR": "jupyter/data",
               "JUPYTER_RUNTIME_DIR": "jupyter/runtime", "JUPYTERLAB_SETTINGS_DIR": "jupyter/lab",
               "JUPYTERLAB_WORKSPACES_DIR": "jupyter/lab-workspaces", "IPYTHONDIR": "jupyter/ipython",
               "XDG_CONFIG_HOME": "xdg/config", "XDG_DATA_HOME": "xdg/data", "XDG_CACHE_HOME": "xdg/cache",
               "TMPDIR": "tmp", "HOME": "home"}  # fmt: skip
        env |= {name: str(pod.folder / path) for name, path in own.items()}
        env["JUPYTER_PATH"] = str(pod.path(IMAGE_JUPYTER))
        return env | {ROOT_MARK: str(self.root), POD_MARK: pod.uid}

    def _command(self, pod: _Pod, container: _Container) -> list[str]:
        spec = container.spec
        port = str(_port(spec) or JUPYTER_PORT)
        command = self._images.get(spec["image"])
        # What prepares a pod for a server of some image may name a command of its own.
        prepares = spec.get("command") and any(container is each for each in pod.init_containers)
        if command is not None and not prepares:
            return [part.replace("{ip}", pod.ip or "").replace("{port}", port) for part in command]
        argv = [*(spec.get("command") or ()), *(spec.get("args") or ())]
        if not argv or argv[0].startswith("-"):
            argv.insert(0, "jupyterhub-singleuser")
        if Path(argv[0]).name in _JUPYTER_COMMANDS:
            argv[:1] = [sys.executable, "-m", "jupyterhub.singleuser"]
        return argv

    async def _start(self, pod: _Pod, container: _Container) -> None:
        spec = container.spec
        if (spec.get("securityContext") or {}).get("privileged"):  # one that prepares the pod; the API takes no other
            message = f"Container {spec['name']} would change this machine, so it is not run"
            await self._event(pod, "PrivilegedIgnored", message, kind="Warning")
            return
        env = await self._environment(pod, container)
        folder = pod.path(spec["workingDir"]) if spec.get("workingDir") else pod.home
        command = self._command(pod, container)
        await self._event(pod, "Pulled", f'Image "{spec["image"]}": nothing to pull, a local process stands in for it')
        await self._event(pod, "Created", f"Created container {spec['name']}")
        with _open_log(pod.folder, folder) as log:
            container.process = await asyncio.create_subprocess_exec(
                *tied(command, without=_CAPABILITIES_LOST), cwd=folder, env=env,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        container.started = _now()
        await self._event(pod, "Started", f"Started container {spec['name']}")

    async def _wait(self, pod: _Pod, container: _Container) -> None:
        code = await container.process.wait() if container.process else 0
        container.exit_code, container.ready = (code if code >= 0 else 128 - code), False
        if container.exit_code and not pod.stopping.is_set():
            message = f"Container {container.spec['name']} ended with exit code {container.exit_code}"
            await self._event(pod, "Failed", f"{message}; see {pod.folder / 'log'}", kind="Warning")
        if all(other.exit_code is not None for other in pod.containers):
            await kill_marked(POD_MARK, pod.uid)
        await self._report(pod)

    async def _supervise(self, pod: _Pod, container: _Container) -> None:
        waiting = asyncio.create_task(self._wait(pod, container))
        try:
            port = _port(container.spec) or (JUPYTER_PORT if container is pod.containers[0] else None)
            while not waiting.done() and not container.ready:
                container.ready = port is None or await _accepts(pod.ip, port)
                if not container.ready:
                    await asyncio.wait({waiting}, timeout=0.1)
                elif container.exit_code is None:
                    await self._report(pod)
            await waiting
        finally:
            waiting.cancel()

    async def _end(self, pod: _Pod) -> None:
        processes = [container.process for container in (*pod.init_containers, *pod.containers) if container.process]
        alive = [process for process in processes if process.returncode is None]
        for process in alive:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM if pod.grace else signal.SIGKILL)
        if alive and pod.grace:
            await asyncio.wait([asyncio.create_task(process.wait()) for process in alive], timeout=pod.grace)
        await kill_marked(POD_MARK, pod.uid)
        await asyncio.gather(*(process.wait() for process in processes))


def tied(command: Sequence[str], *, without: str = "") -> list[str]:
    """The command line for a process that gets SIGTERM when this one ends, however it ends (Linux).

    To the kernel, "this one" is the thread that starts the process, so it must be one that stays.

    Args:
        command: What to run; its name is looked up in the PATH that the process is given.
        without: Numbers of the capabilities that it can never have, should this process be root's.
    """
    return [sys.executable, "-ISc", _LAUNCH, str(os.getpid()), without, *command]


async def kill_marked(variable: str, value: str) -> int:
    """Kill (SIGKILL) every process of this user that was started with ``variable=value`` in its environment.

    Used where a process must not outlive its owner however it was started; never this process itself.

    Returns:
        How many processes were found.
    """
    found: set[int] = set()
    for _ in range(100):
        pids = list(_marked(variable, value))
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        found.update(pids)
        if not pids:
            break
        await asyncio.sleep(0.02)
    return len(found)


def _marked(variable: str, value: str) -> Iterator[int]:
    mark = f"\0{variable}={value}\0".encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it ended, or is somebody else's
                if mark in b"\0" + Path(entry.path, "environ").read_bytes():
                    yield int(entry.name)


def _claims(raw: Mapping[str, Any]) -> dict[str, str]:
    """Volume name to claim name."""
    volumes = raw["spec"].get("volumes") or ()
    return {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")}


def _write_annotations(pod: _Pod) -> None:
    """Write the files of downwardAPI volumes, behind the links that a kubelet makes to replace them all at once."""
    annotations = pod.raw["metadata"].get("annotations") or {}
    for volume in pod.raw["spec"].get("volumes") or ():
        folder = pod.folder / "volumes" / volume["name"]
        for item in (volume.get("downwardAPI") or {}).get("items") or ():
            path = (item.get("fieldRef") or {}).get("fieldPath") or ""
            found = re.fullmatch(r"metadata\.annotations\['(.+)'\]", path)
            if found and "/" not in item["path"]:
                (folder / "..data").mkdir(parents=True, exist_ok=True)
                (folder / "..data" / item["path"]).write_text(annotations.get(found[1], ""), encoding="utf-8")
                (folder / item["path"]).symlink_to(f"..data/{item['path']}")


def _port(spec: Mapping[str, Any]) -> int | None:
    ports = spec.get("ports") or ()
    return int(ports[0]["containerPort"]) if ports else None


async def _accepts(ip: str | None, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(ip, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def _set_writable(folder: Path, writable: bool) -> None:
    """Set a claim's folder and files to be written to or not: a mode, as no mount can be made without privileges.

    The last mount of a claim decides. Root's own files go to nobody meanwhile, as their owner could change the mode.
    """
    for parent, _, files in os.walk(folder, topdown=False):
        for path in [*(Path(parent, name) for name in files), Path(parent)]:
            if path.is_symlink():
                continue
            mode = path.stat().st_mode & 0o7777
            path.chmod(mode | 0o200 if writable else mode & ~0o222 | 0o444 | (0o111 if path.is_dir() else 0))
            if os.geteuid() == 0:
                with suppress(OSError):  # a user namespace may not know nobody
                    os.chown(path, 0 if writable else _NOBODY, -1)


def _empty(folder: Path) -> None:
    """Remove all of a pod's folder but its log."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _open_log(folder: Path, working_folder: Path) -> Any:
    working_folder.mkdir(parents=True, exist_ok=True)
    return (folder / "log").open("ab")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
