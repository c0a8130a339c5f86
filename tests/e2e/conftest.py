"""One demo for all end-to-end tests of a file: an API server, the node and a real hub; and a real browser.

With ``--api=server`` the API is the real one, and with ``--api=cluster`` a whole cluster runs the servers; the hub has
the roles of the Helm chart and of `image/rbac.yaml` there, and no more. A file that needs the embedded one's faults
says so by its `API`, and so does one that needs a whole cluster. There a release of the chart can run in place of the
demo: a file with the values of one, its `RELEASE`, has a fixture `demo` of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jupyterhub
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.apiserver.cluster import ClusterError, GivenCluster, RealCluster, cluster_of_tests
from tests.apiserver.demo import prepared
from tests.cluster import servers
from workspace_managers.devcluster import demo as demo_module
from workspace_managers.devcluster.demo import Demo
from workspace_managers.kube.client import ApiError, Kube

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SHOTS = Path("test-results") / f"hub{jupyterhub.version_info[0]}"
# A server that answers, where nobody looks at it: JupyterLab takes seconds to start.
SERVER = """
import http.server, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
# Not HTTPServer, which asks the name service for its own name before it listens.
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
# One that is there and never answers.
SILENT = """
import socket, sys
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    listening.accept()[0].close()
"""
# One that takes until there is a file of this name.
LATE_FILE = Path(tempfile.gettempdir()) / f"workspace-managers-{os.getpid()}"
LATE = f"import pathlib, time\nwhile not pathlib.Path({str(LATE_FILE)!r}).exists(): time.sleep(0.1)\n{SERVER}"
# What a file's hub has after the manager's own file is its `LATER`; or its `config_files` gives all files, in order.
# As the Helm chart, whose proxy and servers outlive the hub.
OUTLIVE = """
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
"""
# The manager's clock is as many seconds ahead as the file of this name says.
MOVED_CLOCK = """
import datetime, pathlib

def clock():
    now = datetime.datetime.now(datetime.UTC)
    moved = pathlib.Path(MOVED)
    return now + datetime.timedelta(seconds=float(moved.read_text())) if moved.exists() else now

object.__setattr__(c.JupyterHub.spawner_class.workspace_service.manager.context, "clock", clock)
"""
IMAGES = {
    "example/late:1": [sys.executable, "-ISc", LATE, "{ip}", "{port}"],
    "example/fails:1": [sys.executable, "-c", "raise SystemExit(3)"],
    "example/silent:1": [sys.executable, "-ISc", SILENT, "{ip}", "{port}"],
    **{image: [sys.executable, "-ISc", SERVER, "{ip}", "{port}"] for image in servers.OF_TESTS},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--api", choices=("embedded", "server", "cluster"), default="embedded", help="which API the hub is on"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All of them run on the one loop of the demo; a file whose `API` is a whole cluster runs on nothing else."""
    if config.getoption("--api") != "cluster":
        elsewhere = [item for item in items if getattr(getattr(item, "module", None), "API", None) == "cluster"]
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
    for item in items:
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[RealCluster | GivenCluster | None]:
    """The real API server; None where the tests are on the embedded one."""
    if getattr(request.module, "API", request.config.getoption("--api")) == "embedded":
        yield None
        return
    try:
        if request.config.getoption("--api") == "cluster":
            releases = (getattr(request.module, name, None) for name in ("RELEASE", "EARLIER"))
            async with servers.cluster_of_tests(*releases) as whole:
                yield whole
            return
        async with cluster_of_tests() as cluster:
            yield cluster
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def demo(
    request: pytest.FixtureRequest, cluster: RealCluster | GivenCluster | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    there = await prepared(cluster, folder) if cluster else None
    # In a file that waits for a start to fail, that need not take the default of 15 minutes.
    environ = {"KS_START_TIMEOUT": str(getattr(request.module, "START_SECONDS", 240))}
    environ |= getattr(request.module, "ENVIRON", {})
    files = getattr(request.module, "config_files", None)
    if later := getattr(request.module, "LATER", None):
        files = partial(with_later, later)
    with pytest.MonkeyPatch.context() as patch:
        if files is not None:
            patch.setattr(demo_module, "hub_config_files", partial(files, folder, demo_module.hub_config_files()))
        async with Demo(
            folder / "state", 0, cluster=there, environ=environ, images=IMAGES, say=lambda _line: None
        ) as demo:
            yield demo
            SHOTS.mkdir(parents=True, exist_ok=True)
            (SHOTS / f"{request.module.__name__.rpartition('.')[2]}.log").write_text(demo.hub_log.read_text())


def with_later(later: str, folder: Path, ours: list[Path]) -> list[Path]:
    """The hub's config files, and after them what a file of tests or a run has beside."""
    file = folder / "zz_later.py"
    file.write_text(f"MOVED = {str(folder / 'moved')!r}\n{later}")
    return [*ours, file]


def audit_of(demo: Demo, user: str) -> list[dict[str, Any]]:
    """The audit lines about somebody, as the hub's log has them."""
    lines = [json.loads(line) for line in demo.hub_log.read_text().splitlines() if line.startswith('{"decision": ')]
    return [line for line in lines if line["user"] == user]


def moved(demo: Demo) -> Path:
    """The file that moves the clock of `MOVED_CLOCK`."""
    return demo.state.parent / "moved"


class Place(Protocol):
    """Where a hub is, a demo's or a release's; the attributes are those of `Demo`."""

    @property
    def url(self) -> str: ...

    @property
    def password(self) -> str: ...

    @property
    def hub_api_token(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def kubeconfig_path(self) -> Path: ...


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kube(demo: Place) -> AsyncIterator[Kube]:
    kube = Kube(demo.namespace, demo.kubeconfig_path)
    yield kube
    await kube.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


class Hub:
    """The hub's REST API, as a portal would use it, and what the cluster has in consequence."""

    def __init__(self, demo: Place, kube: Kube, http: aiohttp.ClientSession) -> None:
        self._demo = demo
        self._kube = kube
        self._http = http

    async def call(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        async with self._http.request(
            method,
            f"{self._demo.url}/hub/api{path}",
            json=body,
            headers={"Authorization": f"token {token or self._demo.hub_api_token}"},
        ) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if text.startswith(("{", "[")) else text

    async def metrics(self) -> str:
        """What a Prometheus server reads of the hub."""
        headers = {"Authorization": f"token {self._demo.hub_api_token}"}
        async with self._http.get(f"{self._demo.url}/hub/metrics", headers=headers) as answer:
            assert answer.status == 200
            return await answer.text()

    async def start(self, user: str, options: Mapping[str, Any] | None) -> tuple[int, Any]:
        status, _ = await self.call("POST", f"/users/{user}")
        assert status in (201, 409)
        status, answer = await self.call("POST", f"/users/{user}/server", options)
        if status == 202:
            await self.wait(user, lambda server: bool(server.get("ready")))
        return status, answer

    async def stop(self, user: str, server: str = "") -> None:
        status, _ = await self.call("DELETE", f"/users/{user}/{f'servers/{server}' if server else 'server'}")
        assert status in (202, 204, 400, 404), status
        await self.wait(user, lambda found: not found, server)

    async def wait(self, user: str, done: Callable[[dict[str, Any]], bool], server: str = "") -> None:
        async with asyncio.timeout(60):
            while True:
                _, answer = await self.call("GET", f"/users/{user}")
                if done((answer.get("servers") or {}).get(server) or {}):
                    return
                await asyncio.sleep(0.2)

    async def pods(self) -> dict[str, dict[str, Any]]:
        listed = await self._kube.get(f"/api/v1/namespaces/{self._demo.namespace}/pods")
        return {pod["metadata"]["name"]: pod for pod in listed["items"]}

    async def claims(self) -> dict[str, dict[str, Any]]:
        listed = await self._kube.get(f"/api/v1/namespaces/{self._demo.namespace}/persistentvolumeclaims")
        return {claim["metadata"]["name"]: claim for claim in listed["items"]}

    async def put(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        plural = "analyticsworkspaces" if kind == "AnalyticsWorkspace" else "analyticsworkspacebindings"
        path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{self._demo.namespace}/{plural}"
        body = {"apiVersion": "xlscsde.nhs.uk/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        try:
            await self._kube.create(path, body)
        except ApiError as error:
            if error.status != 409:
                raise
            await self._kube.merge_patch(f"{path}/{name}", {"spec": dict(spec)})

    async def workspace(self, name: str) -> dict[str, Any]:
        return await self._kube.get(
            f"/apis/xlscsde.nhs.uk/v1/namespaces/{self._demo.namespace}/analyticsworkspaces/{name}"
        )

    async def revoke(self, user: str, name: str) -> None:
        """Delete the binding that ``grant`` made."""
        path = f"/apis/xlscsde.nhs.uk/v1/namespaces/{self._demo.namespace}/analyticsworkspacebindings"
        await self._kube.request("DELETE", f"{path}/{user}-{name}"[: len(path) + 201])

    async def grant(self, user: str, name: str, *, expires: str = "2090-01-01", **jupyter: Any) -> None:
        """A workspace of its own for a test, and the user's binding to it."""
        spec = {
            "displayName": jupyter.pop("displayName", name),
            "description": jupyter.pop("description", "Of a test"),
            "validity": {"availableFrom": "2020-01-01", "expires": "2090-01-01"},
            "jupyterWorkspace": {"image": "example/notebook:1.0", **jupyter},
        }
        await self.put("AnalyticsWorkspace", name, spec)
        await self.put(
            "AnalyticsWorkspaceBinding",
            f"{user}-{name}"[:200],
            {"username": user, "workspace": name, "expires": expires},
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(demo: Place, kube: Kube) -> AsyncIterator[Hub]:
    async with aiohttp.ClientSession() as http:
        yield Hub(demo, kube, http)


async def assert_accessible(person: Person) -> None:
    results = await Axe().run(person.page)
    assert results.violations_count == 0, results.generate_report()


LOOKS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("", 1280, {"color_scheme": "light"}),
    ("-phone", 360, {"color_scheme": "light"}),
    ("-zoomed", 320, {"color_scheme": "light"}),  # 1280 at 400 %, as WCAG 1.4.10 has it
    ("-dark", 1280, {"color_scheme": "dark"}),
    ("-contrast", 1280, {"color_scheme": "light", "forced_colors": "active"}),
)


class Person:
    """Somebody in front of a browser.

    Attributes:
        blocked: What the browser did not run or load, as the page did not allow it; nothing, at the end of a test.
    """

    def __init__(self, page: Page, demo: Place, name: str) -> None:
        self.page = page
        self.blocked: list[str] = []
        page.on("console", self._hear)
        self.name = name
        self._demo = demo

    def _hear(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.blocked.append(message.text)

    async def sign_in(self) -> None:
        """Sign in, and be where that leads to: at home."""
        await self.page.goto(f"{self._demo.url}/hub/login")
        await self.page.get_by_label("Username").fill(self.name)
        await self.page.get_by_label("Password").fill(self._demo.password)
        await self.page.locator("#login_submit").click()
        await self.page.wait_for_url("**/hub/home")

    async def visit(self, path: str) -> None:
        await self.page.goto(f"{self._demo.url}{path}")

    async def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    async def look(self, name: str) -> None:
        """A picture of the page wide, narrow, zoomed, dark and in forced colours, and how it is read out.

        Everybody can use it in both colours; nothing has to be scrolled sideways.
        """
        for suffix, width, media in LOOKS:
            await self.page.set_viewport_size({"width": width, "height": 800})
            # In motion, the colours of JupyterHub's own bar take a while to change.
            await self.page.emulate_media(**media, reduced_motion="reduce")
            assert await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
            await self.shot(f"{name}{suffix}")
            if suffix in ("", "-dark"):
                await assert_accessible(self)
        await self.page.set_viewport_size({"width": 1280, "height": 800})
        await self.page.emulate_media(color_scheme="light", forced_colors="none", reduced_motion="no-preference")
        (SHOTS / f"{name}.txt").write_text("".join(f"{role} {said}\n" for role, said in await self.read_out()))

    async def read_out(self) -> list[tuple[str, str]]:
        """What a screen reader has to say, in its order: the roles and names of Chromium's accessibility tree."""
        session = await self.page.context.new_cdp_session(self.page)
        nodes = {node["nodeId"]: node for node in (await session.send("Accessibility.getFullAXTree"))["nodes"]}
        await session.detach()
        found: list[tuple[str, str]] = []
        left = [next(iter(nodes))]
        while left:
            node = nodes[left.pop()]
            left += reversed([each for each in node.get("childIds", ()) if each in nodes])
            role, said = (node.get(part, {}).get("value", "") for part in ("role", "name"))
            if not node["ignored"] and said and role != "InlineTextBox":
                found.append((role, said))
        return found

    async def contents(self, path: str, method: str = "GET", body: object = None, server: str = "") -> tuple[int, Any]:
        """The server's own files, asked with the person's session as JupyterLab does."""
        result: dict[str, Any] = await self.page.evaluate(
            """async ([path, method, body]) => {
                const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/g) || [];
                const value = xsrf.length ? xsrf[xsrf.length - 1].split("=")[1] : "";
                const answer = await fetch(path, {
                    method, body: body === null ? undefined : JSON.stringify(body),
                    headers: {"X-XSRFToken": value, "Content-Type": "application/json"},
                });
                return {status: answer.status, text: await answer.text()};
            }""",
            [f"/user/{self.name}/{server + '/' if server else ''}api/contents/{path}", method, body],
        )
        try:
            return result["status"], json.loads(result["text"])
        except ValueError:
            return result["status"], result["text"]

    async def folders(self) -> set[str]:
        status, listed = await self.contents("")
        assert status == 200, listed
        return {each["name"] for each in listed["content"]}


@pytest_asyncio.fixture(loop_scope="session")
async def person(browser: Browser, demo: Place) -> AsyncIterator[Callable[..., Any]]:
    contexts = []
    people = []

    async def make(name: str, page: str = "/hub/spawn", **options: Any) -> Person:
        context = await browser.new_context(**options)
        contexts.append(context)
        person = Person(await context.new_page(), demo, name)
        people.append(person)
        await person.sign_in()
        if page != "/hub/home":
            await person.visit(page)
        return person

    yield make
    for context in contexts:
        await context.close()
    assert [each.blocked for each in people if each.blocked] == []
