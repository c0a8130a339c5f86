"""The demo: an embedded Kubernetes API, the node, the sample resources and a real JupyterHub, on this machine.

Always true of this module: everything listens on loopback only, because signing in needs no password; every process
that it starts ends with it; everything that it writes is in one folder, the state, and claims and their files are kept
from run to run. The samples are applied again at each start, so that their dates stay right.

The state: ``cluster.json`` (what the API holds), ``kubeconfig``, ``claims/<claim>/``, ``pods/<pod>/`` (emptied with the
pod, but for its log), ``hub/`` (database, cookie secret, token, log) and ``lock``.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib.util
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

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
_HUB_STOP_SECONDS = 20
_SHARED_README = """# Shared with every workspace

Everyone can read this folder, nobody can write to it: reference data and instructions go here.

Your own work belongs in the folder of your workspace. Nothing outside of it is kept when your server stops.
"""


class DemoError(Exception):
    """The demo cannot run; the text is one sentence or two that say what to do."""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Demo:
    """A whole demo while the ``async with`` block lasts.

    Args:
        state: The folder for all files; made when missing. One demo at a time uses it.
        port: Where the hub is reached on 127.0.0.1; 0 for any free port.
        environ: For the hub, over this process's environment, such as ``WORKSPACE_MANAGER``.
        images: Commands for images that are not Jupyter; see `Node`.
        say: Called with each line for the user.

    Attributes:
        url: The address for a browser, without a slash at the end.
        api: The `EmbeddedApi`.
        node: The `Node`.
        kubeconfig_path: For ``kubectl`` while the demo runs.
        namespace: Where everything is.
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
        environ: Mapping[str, str] | None = None,
        images: Mapping[str, Sequence[str]] | None = None,
        say: Callable[[str], None] = _say,
    ) -> None:
        self.state = state.absolute()
        self.namespace = NAMESPACE
        self.kubeconfig_path = self.state / "kubeconfig"
        self.hub_log = self.state / "hub" / "hub.log"
        self.hub_api_token = ""
        self.url = ""
        self.api: Any = None
        self.node: Any = None
        self._port = port
        self._environ = dict(environ or {})
        self._images = images
        self._say = say
        self._stack = AsyncExitStack()
        self._hub: asyncio.subprocess.Process | None = None

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
        from .api import EmbeddedApi  # noqa: PLC0415
        from .node import Node, kill_marked  # noqa: PLC0415

        port = self._port or free_ports(1)[0]
        if problem := check_port(port):
            raise DemoError(problem)
        self.url = f"http://{LOOPBACK}:{port}"
        stack.enter_context(_locked(self.state))
        self._prepare_state()
        if await kill_marked(_HUB_MARK, str(self.state)):
            self._say("Ended the hub of an earlier run that had not stopped.")

        self._say("Starting the Kubernetes API (embedded)")
        self.api = EmbeddedApi(state_file=self.state / "cluster.json", namespaces=("default", NAMESPACE))
        await self.api.start(LOOPBACK, 0)
        stack.push_async_callback(self.api.stop)
        _write_private(self.kubeconfig_path, json.dumps(self.api.kubeconfig(NAMESPACE), indent=2))

        samples = load_samples()
        self._say(f"Applying {len(samples)} sample resources, as at each start: their dates follow today's")
        await self._apply(samples)

        self._say("Starting the node: each server is a process of this machine")
        self.node = Node(self.api.kubeconfig(NAMESPACE), namespace=NAMESPACE, root=self.state, images=self._images)
        await self.node.start()
        stack.push_async_callback(self.node.stop)
        await self._start_hub(stack, port)

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

    async def _apply(self, samples: Sequence[Mapping[str, Any]]) -> None:
        from kubernetes_asyncio import client, config  # noqa: PLC0415 - slow, and of the extra's

        async with await config.new_client_from_config_dict(self.api.kubeconfig(NAMESPACE)) as api_client:
            objects = client.CustomObjectsApi(api_client)
            for sample in samples:
                where = (GROUP, VERSION, NAMESPACE, PLURALS[sample["kind"]])
                try:
                    found = await objects.get_namespaced_custom_object(*where, sample["metadata"]["name"])
                except client.ApiException as error:
                    if error.status != 404:
                        raise
                    await objects.create_namespaced_custom_object(*where, sample)
                else:
                    found["spec"] |= sample["spec"]
                    await objects.replace_namespaced_custom_object(*where, found["metadata"]["name"], found)

    async def _start_hub(self, stack: AsyncExitStack, port: int) -> None:
        import aiohttp  # noqa: PLC0415 - slow, and of the extra's
        import jupyterhub  # noqa: PLC0415

        from .node import tied  # noqa: PLC0415

        self._say(f"Starting JupyterHub {jupyterhub.__version__}")
        hub_port, proxy_api_port = free_ports(2)
        handed_over = {
            "port": port, "hub_port": hub_port, "proxy_api_port": proxy_api_port, "api_token": self.hub_api_token,
            "proxy_command": [sys.executable, "-P", __file__, "--proxy-timeout", "0"],
            "hub_folder": str(self.hub_log.parent), "users": USERS, "namespace": NAMESPACE,
            "config_files": [str(path) for path in hub_config_files()],
        }  # fmt: skip
        env = hub_environment(os.environ, self._environ) | {
            "KUBECONFIG": str(self.kubeconfig_path), "POD_NAMESPACE": NAMESPACE, _HUB_MARK: str(self.state),
            "WORKSPACE_DEMO": json.dumps(handed_over),
        }  # fmt: skip
        (self.hub_log.parent / "proxy.pid").unlink(missing_ok=True)  # else the hub ends what has that number now
        command = tied([sys.executable, "-m", "jupyterhub", "-f", str(HUB_CONFIG)])
        with _new_file(self.hub_log) as log:
            self._hub = await asyncio.create_subprocess_exec(
                *command, cwd=self.hub_log.parent, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        stack.push_async_callback(self._stop_hub)
        waiting_for = [f"http://{LOOPBACK}:{hub_port}", self.url]  # the hub itself, then through its proxy
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

        assert self._hub is not None  # noqa: S101 - called only once it has started
        if self._hub.returncode is None:
            self._hub.terminate()  # it ends the servers and its proxy, while node and API are there
            try:
                await asyncio.wait_for(self._hub.wait(), _HUB_STOP_SECONDS)
            except TimeoutError:
                self._say(f"The hub did not stop within {_HUB_STOP_SECONDS} seconds: killing it")
        await kill_marked(_HUB_MARK, str(self.state))
        await self._hub.wait()


async def run(
    port: int = 8000, state: Path = Path(".demo"), *, environ: Mapping[str, str] | None = None,
    say: Callable[[str], None] = _say,
) -> int:  # fmt: skip
    """Run the demo until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 when it was told to stop, 1 when it could not start or the hub ended by itself.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    demo = Demo(state, port, environ=environ, say=say)
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
        for line in welcome(demo.url, load_samples(), state):
            say(line)
        ended = asyncio.create_task(demo.hub_ended())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            say(ended.result())
        else:
            say("Stopping: servers, hub, node, Kubernetes API")
            ended.cancel()
        await demo.__aexit__()
        say(f"Stopped. Files stay in {state}.")
        return 0 if told.is_set() else 1
    except DemoError as error:
        say(str(error))
        return 1
    finally:
        stopping.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def main(port: int = 8000, state: Path = Path(".demo")) -> int:
    """The command ``workspace-managers demo``. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ |= without_proxy(os.environ)
    return asyncio.run(run(port, state))


# What stops it, in one sentence each


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


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


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


def welcome(url: str, samples: Sequence[Mapping[str, Any]], state: Path) -> Iterator[str]:
    """The lines that greet whoever starts the demo: the address, who can sign in, what each will see, how to stop."""
    yield ""
    yield f"JupyterHub is at {url}"
    yield "Sign in with a name and no password:"
    for user in USERS:
        first = user
        for line in what_they_see(user, samples) or ["no workspace yet: a page that says whom to ask"]:
            yield f"  {first:7} {line}"
            first = ""
    yield ""
    yield f"The cluster:   KUBECONFIG={state / 'kubeconfig'} kubectl get analyticsworkspaces"
    yield f"Hub's log:     {state / 'hub' / 'hub.log'}"
    yield "Stop:          Ctrl-C (claims and their files are kept)"


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
        ends = min(date.fromisoformat(validity["expires"]), date.fromisoformat(binding["expires"]))
        state = "can start"
        if day > ends:
            state = f"expired {in_words(ends)}"
        elif day < opens:
            state = f"opens {in_words(opens)}"
        elif (ends - day).days <= CLOSING_SOON_DAYS:
            state = f"can start, closes in {(ends - day).days} days"
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
