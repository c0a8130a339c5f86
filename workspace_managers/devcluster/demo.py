"""The demo: the sample resources and a real JupyterHub on this machine, with an embedded Kubernetes API or as the guest
of a cluster that is there already.

Always true of this module: everything listens on loopback only, because signing in needs no password, unless the user
names an address for a cluster's pods to reach the hub at, which then has a password; every process that it starts ends
with it; everything that it writes is in one folder, the state, and claims and their files are kept from run to run. On
a cluster, it is in one namespace that is the demo's own. The samples are applied again at each start, so that their
dates stay right.

The state: ``cluster.json`` and ``kubeconfig`` (what the embedded API holds, and the way to it), ``claims/<claim>/``,
``pods/<pod>/`` (emptied with the pod, but for its log), ``hub/`` (database, cookie secret, token, log) and ``lock``.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib.util
import json
import logging
import os
import random
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..kube.client import Kube

NAMESPACE = "jupyterhub"
USERS = ("alice", "bob", "carol")
SAMPLES = Path(__file__).with_name("samples.yaml")
HUB_CONFIG = Path(__file__).with_name("demo_jupyterhub_config.py")
LOOPBACK = "127.0.0.1"
GROUP, VERSION = "xlscsde.nhs.uk", "v1"
PLURALS = {"AnalyticsWorkspace": "analyticsworkspaces", "AnalyticsWorkspaceBinding": "analyticsworkspacebindings"}
REQUIRED = {"jupyterhub": "jupyterhub", "kubespawner": "jupyterhub-kubespawner", "jupyterlab": "jupyterlab",
            "configurable_http_proxy": "configurable-http-proxy", "jsonschema": "jsonschema"}  # fmt: skip

_HUB_MARK = "WORKSPACE_DEMO_STATE"
_HUB_START_SECONDS = 90
# Below those that Linux takes for connections, from 32768 on.
_PORTS = range(20000, 32768)
_PLACES = 64
_HUB_STOP_SECONDS = 20
_SHARED_README = """# Shared with every workspace

Everyone can read this folder, nobody can write to it: reference data and instructions go here.

Your own work belongs in the folder of your workspace. Nothing outside of it is kept when your server stops.
"""


class DemoError(Exception):
    """The demo cannot run; the text is one sentence or two that say what to do."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is there already, for the demo to be a guest on; see `guest` for what it does there.

    Attributes:
        kubeconfig: Who the demo is on it.
        namespace: One that does not exist, or that is the demo's own.
        hub_host: An address of this machine at which the cluster's pods reach the hub, for the cluster's own nodes to
            run them; empty for the node of this machine.
        hub_kubeconfig: Who the hub is; None for the same as the demo.
        temporary: Whether it goes when the demo stops.
    """

    kubeconfig: Path
    namespace: str
    hub_host: str = ""
    hub_kubeconfig: Path | None = None
    temporary: bool = False

    @property
    def keeps_files(self) -> bool:
        """Whether the files of claims outlive the demo: on this machine's node they are in the state."""
        return not (self.temporary and self.hub_host)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Demo:
    """A whole demo while the ``async with`` block lasts.

    Args:
        state: The folder for all files; made when missing. One demo at a time uses it.
        port: Where the hub is reached on 127.0.0.1; 0 for any free port.
        cluster: Where to be a guest; None for an embedded Kubernetes API.
        environ: For the hub, over this process's environment, such as ``WORKSPACE_MANAGER``.
        images: Commands for images that are not Jupyter; see `Node`.
        say: Called with each line for the user.

    Attributes:
        url: The address for a browser, without a slash at the end.
        api: The `EmbeddedApi`; None on a cluster.
        kubeconfig_path: For ``kubectl`` while the demo runs.
        namespace: Where everything is.
        password: What everybody signs in with; empty where any will do.
        hub_api_token: A token for the hub's REST API that may manage users and servers.
        hub_log: The log of hub and proxy.

    Raises:
        DemoError: from ``async with``: the demo cannot start; what had started has ended again.
    """

    def __init__(
        self,
        state: Path = Path(".demo"),
        port: int = 8000,
        *,
        cluster: Cluster | None = None,
        environ: Mapping[str, str] | None = None,
        images: Mapping[str, Sequence[str]] | None = None,
        say: Callable[[str], None] = _say,
    ) -> None:
        self.state = state.absolute()
        self.namespace = cluster.namespace if cluster else NAMESPACE
        self.kubeconfig_path = cluster.kubeconfig.absolute() if cluster else self.state / "kubeconfig"
        self.password = secrets.token_hex(8) if cluster and cluster.hub_host else ""
        self.hub_log = self.state / "hub" / "hub.log"
        self.hub_api_token = ""
        self.url = ""
        self.api: Any = None
        self._cluster = cluster
        self._port = port
        self._environ = dict(environ or {})
        self._images = images
        self._say = say
        self._stack = AsyncExitStack()
        self._hub: asyncio.subprocess.Process | None = None
        self._hub_environ: dict[str, str] = {}
        self._hub_urls: list[str] = []

    async def __aenter__(self) -> Demo:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def hub_ended(self) -> str:
        """Wait until the hub ends by itself, which it does not do when all is well; what it said last."""
        if self._hub is not None:
            await self._hub.wait()
        return last_words(self.hub_log)

    async def _start(self, stack: AsyncExitStack) -> None:
        if problem := check_python() or check_packages():
            raise DemoError(problem)
        # These need the extra `demo`, which has just been checked.
        from ..errors import BackendUnavailable  # noqa: PLC0415 - this file is run by itself too, as the proxy
        from ..kube.client import Kube  # noqa: PLC0415
        from .guest import GuestError, furnish, reach  # noqa: PLC0415
        from .node import kill_marked  # noqa: PLC0415

        port = self._port or free_ports(1)[0]
        if problem := check_port(port) or check_host(self._cluster.hub_host if self._cluster else ""):
            raise DemoError(problem)
        self.url = f"http://{LOOPBACK}:{port}"
        kube = Kube(self.namespace, self.kubeconfig_path)
        stack.push_async_callback(kube.close)
        try:
            namespace_exists = self._cluster is None or await reach(kube, self.kubeconfig_path)
        except GuestError as error:
            raise DemoError(str(error)) from error
        stack.enter_context(_locked(self.state))
        self._prepare_state()
        if await kill_marked(_HUB_MARK, str(self.state)):
            self._say("Ended the hub of an earlier run that had not stopped.")

        if self._cluster is None:
            await self._start_api(stack)
        samples = load_samples()
        try:
            if self._cluster is not None:
                host = (await kube.api()).configuration.host
                self._say(f"Using the namespace {self.namespace} of the Kubernetes API at {host}")
                await furnish(kube, namespace_exists=namespace_exists)
            self._say(f"Applying {len(samples)} sample resources, as at each start: their dates follow today's")
            await apply(kube, samples)
        except (BackendUnavailable, TimeoutError) as error:
            raise DemoError(f"The cluster does not take what the demo needs there: {error}") from error
        if self._cluster is None or not self._cluster.hub_host:
            await self._start_node(stack)
        await self._start_hub(stack, port)

    async def _start_api(self, stack: AsyncExitStack) -> None:
        from .api import EmbeddedApi  # noqa: PLC0415 - of the extra's

        self._say("Starting the Kubernetes API (embedded)")
        self.api = EmbeddedApi(state_file=self.state / "cluster.json", namespaces=("default", NAMESPACE))
        await self.api.start(LOOPBACK, 0)
        stack.push_async_callback(self.api.stop)
        _write_private(self.kubeconfig_path, json.dumps(self.api.kubeconfig(NAMESPACE), indent=2))

    async def _start_node(self, stack: AsyncExitStack) -> None:
        from kubernetes_asyncio.client import ApiException  # noqa: PLC0415 - slow, and of the extra's

        from .node import Node  # noqa: PLC0415

        self._say("Starting the node: each server is a process of this machine")
        node = Node(
            self.kubeconfig_path, namespace=self.namespace, root=self.state, images=self._images,
            guest=self._cluster is not None,
        )  # fmt: skip
        try:
            await node.start()
        except ApiException as error:
            raise DemoError(f"The cluster does not let the node see its pods: {error.status} {error.reason}") from error
        stack.push_async_callback(node.stop)

    def _prepare_state(self) -> None:
        shared = self.state / "claims" / "jupyter-shared"
        for folder in (self.state / "hub", shared):
            folder.mkdir(parents=True, exist_ok=True)
        if not (shared / "README.md").exists():
            (shared / "README.md").write_text(_SHARED_README)
        token = self.state / "hub" / "api_token"
        if not token.exists():
            _write_private(token, secrets.token_hex(16))
        self.hub_api_token = token.read_text().strip()

    async def _start_hub(self, stack: AsyncExitStack, port: int) -> None:
        import jupyterhub  # noqa: PLC0415

        from .node import NODE_NAME  # noqa: PLC0415

        self._say(f"Starting JupyterHub {jupyterhub.__version__}")
        cluster = self._cluster or Cluster(self.kubeconfig_path, self.namespace)
        hub_host = cluster.hub_host or LOOPBACK
        hub_port, proxy_api_port = free_ports(2, hub_host, besides=[port])
        handed_over = {
            "port": port, "hub_host": hub_host, "hub_port": hub_port, "proxy_api_port": proxy_api_port,
            "api_token": self.hub_api_token, "password": self.password,
            "proxy_command": [sys.executable, "-P", __file__, "--proxy-timeout", "0"],
            "hub_folder": str(self.hub_log.parent), "users": USERS, "namespace": self.namespace,
            "scheduler": None if cluster.hub_host else NODE_NAME,
            "config_files": [str(path) for path in hub_config_files()],
        }  # fmt: skip
        kubeconfig = cluster.hub_kubeconfig or self.kubeconfig_path
        env = hub_environment(os.environ, self._environ) | {
            "KUBECONFIG": str(kubeconfig.absolute()), "POD_NAMESPACE": self.namespace, _HUB_MARK: str(self.state),
            "WORKSPACE_DEMO": json.dumps(handed_over),
        }  # fmt: skip
        (self.hub_log.parent / "proxy.pid").unlink(missing_ok=True)  # else the hub ends what has that number now
        _new_file(self.hub_log).close()
        self._hub_environ = env
        self._hub_urls = [f"http://{hub_host}:{hub_port}", self.url]  # the hub itself, then through its proxy
        stack.push_async_callback(self._stop_hub)
        await self.start_hub()

    async def end_hub(self, how: signal.Signals) -> None:
        """End the hub's process and nothing else, for tests; ``start_hub`` starts it again."""
        assert self._hub is not None  # noqa: S101 - called only once it has started
        self._hub.send_signal(how)
        await self._hub.wait()

    async def start_hub(self) -> None:
        """Start the hub's process, and wait until it answers."""
        import aiohttp  # noqa: PLC0415 - slow, and of the extra's

        from .node import tied  # noqa: PLC0415

        command = tied([sys.executable, "-m", "jupyterhub", "-f", str(HUB_CONFIG)])
        with self.hub_log.open("ab") as log:
            self._hub = await asyncio.create_subprocess_exec(
                *command, cwd=self.hub_log.parent, env=self._hub_environ, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        waiting_for = list(self._hub_urls)
        try:
            async with asyncio.timeout(_HUB_START_SECONDS), aiohttp.ClientSession() as session:
                while waiting_for and self._hub.returncode is None:
                    try:
                        async with session.get(f"{waiting_for[0]}/hub/api") as answer:
                            answer.raise_for_status()
                            waiting_for.pop(0)
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.1)
        except TimeoutError:
            message = f"The hub did not answer within {_HUB_START_SECONDS} seconds; its log is {self.hub_log}"
            raise DemoError(message) from None
        if waiting_for:
            raise DemoError(last_words(self.hub_log))

    async def _stop_hub(self) -> None:
        from .node import kill_marked  # noqa: PLC0415

        if self._hub is None:
            return
        if self._hub.returncode is None:
            self._hub.terminate()  # it ends the servers and its proxy, while node and API are there
            try:
                async with asyncio.timeout(_HUB_STOP_SECONDS):
                    await self._hub.wait()
            except TimeoutError:
                self._say(f"The hub did not stop within {_HUB_STOP_SECONDS} seconds: killing it")
        await kill_marked(_HUB_MARK, str(self.state))
        await self._hub.wait()


async def run(
    port: int = 8000, state: Path = Path(".demo"), *, cluster: Cluster | None = None,
    environ: Mapping[str, str] | None = None, say: Callable[[str], None] = _say,
) -> int:  # fmt: skip
    """Run the demo until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 when it was told to stop, 1 when it could not start or the hub ended by itself.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    demo = Demo(state, port, cluster=cluster, environ=environ, say=say)
    starting = asyncio.create_task(demo.__aenter__())
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not starting.done():
            say("Stopping")
            starting.cancel()
            await asyncio.wait({starting})
            return 0
        await starting
        kubeconfig = cluster.kubeconfig if cluster else state / "kubeconfig"
        for line in welcome(
            demo.url, load_samples(), state, kubeconfig, namespace=demo.namespace, password=demo.password,
            files_kept=cluster is None or cluster.keeps_files,
        ):  # fmt: skip
            say(line)
        ended = asyncio.create_task(demo.hub_ended())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            say(ended.result())
        else:
            say("Stopping")
            ended.cancel()
        await demo.__aexit__()
        if cluster is None or cluster.keeps_files:
            say(f"Stopped. Files stay in {state}.")
        else:
            say("Stopped. The cluster goes, and with it the files of its claims.")
        if cluster is not None and not cluster.temporary:
            say(f"What it made on the cluster stays in the namespace {cluster.namespace}, its claims among them.")
        return 0 if told.is_set() else 1
    except DemoError as error:
        say(str(error))
        return 1
    finally:
        stopping.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def main(
    port: int = 8000, state: Path = Path(".demo"), *, kubeconfig: Path | None = None, namespace: str = "",
    node: str = "", hub_host: str = "",
) -> int:  # fmt: skip
    """The command ``workspace-managers demo``. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ |= without_proxy(os.environ)
    try:
        cluster = cluster_of(kubeconfig, namespace, node, hub_host)
    except DemoError as error:
        _say(str(error))
        return 1
    return asyncio.run(run(port, state, cluster=cluster))


# What stops it, in one sentence each


def cluster_of(kubeconfig: Path | None, namespace: str, node: str, hub_host: str) -> Cluster | None:
    """The cluster that the command line names, None where it names none.

    Raises:
        DemoError: Something is missing, or is for something that is not asked for.
    """
    if kubeconfig is None:
        if namespace or node or hub_host:
            raise DemoError(
                "--namespace, --node and --hub-host are for a cluster of your own: name it with --kubeconfig "
                "(make demo KUBECONFIG=path)"
            )
        return None
    if not kubeconfig.is_file():
        raise DemoError(
            f"There is no file {kubeconfig}: name a kubeconfig with --kubeconfig (make demo KUBECONFIG=path)"
        )
    if not re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", namespace):
        raise DemoError(
            "On a cluster of your own, the demo needs a namespace of its own: name one that does not exist with "
            "--namespace (make demo NAMESPACE=name)"
        )
    if node == "local" and hub_host:
        raise DemoError("--hub-host is for servers that the cluster runs: leave out that or --node local")
    if node != "local" and not hub_host:
        raise DemoError(
            "The cluster's pods cannot reach a hub on 127.0.0.1: name an address of this machine that they can reach "
            "with --hub-host (make demo HUB_HOST=address), or run them on this machine with --node local (NODE=local)"
        )
    return Cluster(kubeconfig, namespace, hub_host)


def check_python(version: tuple[Any, ...] = sys.version_info, platform: str = sys.platform) -> str | None:
    """The sentence for a Python that is too old or a system that is not Linux, else None."""
    if tuple(version[:2]) < (3, 11):
        found = ".".join(str(part) for part in version[:3])
        return f"This is Python {found}; the demo needs 3.11 or later: install one and run make demo PYTHON=python3.11"
    if platform != "linux":
        return f"The demo runs on Linux, this is {platform}: each server needs a loopback address of its own."
    return None


def check_packages() -> str | None:
    """The sentence for packages that are not installed, else None."""
    missing = [package for module, package in REQUIRED.items() if importlib.util.find_spec(module) is None]
    if missing:
        return f'The demo needs {", ".join(missing)}: run pip install "jupyterhub-workspace-managers[demo]"'
    return None


def check_port(port: int) -> str | None:
    """The sentence for a port that cannot be listened on, else None."""
    if not 0 < port < 65536:
        return f"There is no port {port}: choose one from 1024 to 65535, such as make demo PORT=9000"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                free = next((other for other in range(port + 1, 65536) if _is_free(other)), 9000)
                return f"Port {port} is in use: stop the program that uses it, or choose another: make demo PORT={free}"
            return f"Port {port} cannot be used ({os.strerror(error.errno or 0)}): choose another: make demo PORT=9000"
    return None


def check_host(hub_host: str) -> str | None:
    """The sentence for an address that pods cannot reach the hub at, else None."""
    if not hub_host:
        return None
    try:
        if not IPv4Address(hub_host).is_unspecified:
            free_ports(1, hub_host)
            return None
    except (OSError, ValueError):
        pass
    return f"{hub_host} is not an address of this machine: name one that the cluster's pods can reach with --hub-host"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, address: str = LOOPBACK, besides: Collection[int] = ()) -> list[int]:
    """Ports of an IPv4 address of this machine that nothing listens on, all different.

    None that the system gives to whoever connects: one of those may be taken before somebody listens on it. For the
    same reason, processes side by side begin to look in different places.

    Args:
        count: How many.
        address: Where they are to be free.
        besides: Those that something else is about to listen on.

    Raises:
        OSError: The address is not of this machine, or there are not so many.
    """
    found: list[int] = []
    ours = os.getpid() % _PLACES
    for port in sorted(random.sample(_PORTS, len(_PORTS)), key=lambda each: each % _PLACES != ours):
        if port in besides:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(errno.EADDRINUSE, f"fewer than {count} ports of {address} are free")


def last_words(log: Path) -> str:
    """What a hub that ended said: the message for whoever runs it, where there is one, else the log's last lines."""
    lines = log.read_text(errors="replace").rstrip().splitlines() if log.exists() else []
    for number, line in enumerate(lines):
        if line.startswith("The hub does not start."):
            return "\n".join(lines[number:])
    return "\n".join([f"The hub ended by itself. This is the end of its log, {log}:", *lines[-15:]])


# The state


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("a")
    except OSError as error:
        message = f"The demo cannot write to {state} ({error.strerror}): choose another folder with --state"
        raise DemoError(message) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demo is using {state}: stop it (Ctrl-C where it runs), or choose another folder with --state"
            ) from None
        yield


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _new_file(path: Path) -> IO[bytes]:
    return path.open("wb")


def without_proxy(own: Mapping[str, str]) -> dict[str, str]:
    """What keeps a company's web proxy from being asked for 127.0.0.1."""
    local = f"{LOOPBACK},localhost"
    return {name: f"{own[name]},{local}" if own.get(name) else local for name in ("NO_PROXY", "no_proxy")}


def hub_environment(own: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The hub's environment: this process's own without what would make it another cluster's hub."""
    others = ("KUBERNETES_", "JUPYTERHUB_", "CONFIGPROXY_")
    env = {name: value for name, value in own.items() if not name.startswith(others)} | without_proxy(own)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    return {**env, "PYTHONUNBUFFERED": "1", **extra}


def hub_config_files() -> list[Path]:
    """The files that the Helm chart's hub would load: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    found = (folder / "hub_config" / "jupyterhub_config.d" for folder in (package, package.parent))
    return sorted(next(folder for folder in found if folder.is_dir()).glob("*.py"))


# The samples


def load_samples(today: date | None = None) -> list[dict[str, Any]]:
    """The sample resources, with dates counted from ``today`` (default: today in UTC)."""
    import yaml  # noqa: PLC0415 - of the extra's

    day = today or datetime.now(UTC).date()

    class Loader(yaml.SafeLoader):
        """One tag more than YAML's own."""

    Loader.add_constructor("!day", lambda _, node: str(day + timedelta(days=int(node.value))))
    return list(yaml.load_all(SAMPLES.read_text(), Loader))


async def apply(kube: Kube, samples: Sequence[Mapping[str, Any]]) -> None:
    """Make the samples, and where they are there already, put their spec right."""
    from ..kube.client import ApiError  # noqa: PLC0415 - slow

    for sample in samples:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{kube.namespace}/{PLURALS[sample['kind']]}"
        try:
            await kube.create(path, sample)
        except ApiError as error:
            if error.status != 409:
                raise
            await kube.merge_patch(f"{path}/{sample['metadata']['name']}", {"spec": sample["spec"]})


def welcome(
    url: str, samples: Sequence[Mapping[str, Any]], state: Path, kubeconfig: Path, *, namespace: str = NAMESPACE,
    password: str = "", files_kept: bool = True,
) -> Iterator[str]:  # fmt: skip
    """The lines that greet whoever starts the demo: the address, who can sign in, what each will see, how to stop."""
    yield ""
    yield f"JupyterHub is at {url}"
    yield f"Sign in with a name and {f'the password {password}' if password else 'no password'}:"
    for user in USERS:
        first = user
        for line in what_they_see(user, samples) or ["no workspace yet: a page that says whom to ask"]:
            yield f"  {first:7} {line}"
            first = ""
    yield ""
    yield f"The cluster:   KUBECONFIG={kubeconfig} kubectl get analyticsworkspaces --namespace {namespace}"
    yield f"Hub's log:     {state / 'hub' / 'hub.log'}"
    yield f"Stop:          Ctrl-C ({'claims and their files are kept' if files_kept else 'nothing is kept'})"


def what_they_see(user: str, samples: Sequence[Mapping[str, Any]], today: date | None = None) -> list[str]:
    """One line for each workspace that the samples bind the user to, in the samples' order."""
    from ..forms import CLOSING_SOON_DAYS, in_words  # noqa: PLC0415 - this file is run by itself too, as the proxy

    day = today or datetime.now(UTC).date()
    spec = {sample["metadata"]["name"]: sample["spec"] for sample in samples if sample["kind"] == "AnalyticsWorkspace"}
    lines = []
    for binding in (sample["spec"] for sample in samples if sample["kind"] == "AnalyticsWorkspaceBinding"):
        if binding["username"] != user:
            continue
        validity = spec[binding["workspace"]]["validity"]
        opens = date.fromisoformat(validity["availableFrom"])
        expires = min(date.fromisoformat(validity["expires"]), date.fromisoformat(binding["expires"]))
        last = expires - timedelta(days=1)
        state = "can start"
        if day > last:
            state = f"expired {in_words(last)}"
        elif day < opens:
            state = f"opens {in_words(opens)}"
        elif (last - day).days <= CLOSING_SOON_DAYS:
            state = f"can start, closes in {(last - day).days} days"
        lines.append(f"{binding['workspace']:16} {state}")
    return lines


# The proxy


def proxy() -> None:
    """Run ``configurable-http-proxy`` with event streams that stream.

    The PyPI package reads an answer to its end before it passes it on, so nobody would see the progress of a start
    before the start is over. The hub starts this file as its proxy's command.
    """
    # Only here, in a process of its own.
    from configurable_http_proxy import cli, configproxy  # type: ignore[import-untyped]  # noqa: PLC0415
    from tornado.httpclient import AsyncHTTPClient  # noqa: PLC0415

    class StreamingHandler(configproxy.ProxyHandler):  # type: ignore[misc]  # the library has no types
        async def call_proxy(self, path: str | None = None) -> None:
            if "text/event-stream" not in self.request.headers.get("Accept", ""):
                await super().call_proxy(path)
            elif url := await self.get_target_url(path):
                request = self._get_proxy_request(url)
                request.request_timeout = 0
                request.header_callback = self.pass_header
                request.streaming_callback = self.pass_chunk
                streams = AsyncHTTPClient(force_instance=True)  # the shared one has ten connections in all
                try:
                    await streams.fetch(request, raise_error=False)
                    await self.finish()
                except OSError as error:
                    await self.handle_proxy_error(503, error)
                finally:
                    streams.close()

        def pass_header(self, line: str) -> None:
            name, _, value = line.strip().partition(":")
            if name.startswith("HTTP/"):
                self.set_status(int(name.split()[1]))
            elif name.lower() in ("content-type", "cache-control", "location"):
                self.set_header(name, value.strip())

        def pass_chunk(self, chunk: bytes) -> None:
            if not self.request.connection.stream.closed():
                self.write(chunk)
                self.flush()

    configproxy.ProxyHandler = StreamingHandler
    cli.main(prog_name="configurable-http-proxy")


if __name__ == "__main__":
    proxy()
