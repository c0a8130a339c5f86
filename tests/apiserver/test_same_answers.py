"""The embedded API is held to the real one: the same requests to both get the same answers, or 501 and why.

Always true here: no disagreement is known and let pass, and every 501 is printed at the end of the run.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.apiserver.answers import Answer, Request, Side, Step, differences
from tests.apiserver.cases import (
    BEYOND,
    BINDINGS,
    CASES,
    MAPS,
    PODS,
    Object,
    binding,
    config,
    get,
    named,
    post,
    since,
    watch,
)
from tests.apiserver.cluster import RealCluster
from tests.apiserver.conftest import NOTE
from tests.unit.test_devcluster_api import pod, workspace
from workspace_managers.devcluster.api import EmbeddedApi

NAMESPACE = Request("POST", "/api/v1/namespaces", {"metadata": {"name": "{ns}"}})
AT_ONCE = 8
"""So many cases are asked side by side: of some, most of the time goes into waiting for the end of a watch."""

Asked = Sequence[tuple[Request, Answer]]


def namespace_of(name: str) -> str:
    """A namespace for a case, of its own and the same on both servers."""
    return f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')[:50]}-{zlib.crc32(name.encode()):x}"


async def asked(side: Side, name: str, steps: Sequence[Step]) -> Asked:
    """Send the requests of a case to one server, in a new namespace; what they were and what came back."""
    namespace = namespace_of(name)
    created = await side.send(NAMESPACE, namespace)
    assert created.status == 201, created
    return await side.run(steps, namespace)


def compare(real: Asked, embedded: Asked) -> None:
    """Compare the answers to the same requests."""
    found = [
        f"{request}: {text}"
        for (request, answer), (_, other) in zip(real, embedded, strict=True)
        for text in differences(answer, other)
    ]
    assert not found, "\n".join(found)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def answers(
    request: pytest.FixtureRequest, real: Side, embedded: Side
) -> AsyncIterator[Mapping[str, asyncio.Task[list[Asked]]]]:
    """What both servers answer to each case of this run, the real one first; each test waits for its own."""
    limit = asyncio.Semaphore(AT_ONCE)
    table = {**CASES, **BEYOND}

    async def ask(name: str) -> list[Asked]:
        async with limit:
            return await asyncio.gather(*(asked(side, name, table[name]) for side in (real, embedded)))

    calls = [getattr(item, "callspec", None) for item in request.session.items]
    names = [call.params["case"] for call in calls if call is not None and "case" in call.params]
    tasks = {name: asyncio.create_task(ask(name)) for name in names}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("case", CASES)
async def test_the_same_requests_get_the_same_answers(
    answers: Mapping[str, asyncio.Task[list[Asked]]], case: str
) -> None:
    compare(*await answers[case])


@pytest.mark.parametrize("case", BEYOND)
async def test_what_the_embedded_api_lacks_is_501(
    answers: Mapping[str, asyncio.Task[list[Asked]]], case: str, record_property: Callable[[str, object], None]
) -> None:
    """The real server does it, or refuses it for a reason of its own; the embedded one names what is missing."""
    done, missing = await answers[case]
    compare(done[:-1], missing[:-1])
    assert done[-1][1].status != 501, done[-1]
    request, answer = missing[-1]
    assert answer.status == 501, f"{request}: embedded {answer}"
    assert (answer.body["kind"], answer.body["reason"]) == ("Status", "NotImplemented")
    record_property(NOTE, f"501  {request}: {answer.body['message']}")


# --- The comparison itself ---

FOUND: Object = {"kind": "ConfigMap", "metadata": {"name": "a", "uid": "1", "managedFields": []}, "data": {"k": "v"}}
REFUSED: Object = {
    "kind": "Status",
    "reason": "Invalid",
    "message": "m",
    "details": {"causes": [{"field": "a", "reason": "R", "message": "x"}, {"field": "b", "reason": "R"}]},
}


@pytest.mark.parametrize(
    ("real", "embedded", "found"),
    [
        (FOUND, FOUND, []),
        (FOUND, {**FOUND, "metadata": {"name": "a", "uid": "2"}}, []),
        (FOUND, {**FOUND, "metadata": {"name": "a", "uid": 2}}, ["metadata.uid"]),
        (FOUND, {**FOUND, "metadata": {"name": "b", "uid": "2"}}, ["metadata.name"]),
        (FOUND, {**FOUND, "data": {"k": "w"}}, ["data.k"]),
        (FOUND, {**FOUND, "odd": None}, ["odd"]),
        (FOUND, {"kind": "ConfigMap", "metadata": FOUND["metadata"]}, ["data"]),
        ({"metadata": {"continue": ""}}, {"metadata": {}}, []),
        ({"metadata": {"continue": "x"}}, {"metadata": {}}, ["metadata.continue"]),
        ({"items": [FOUND]}, {"items": []}, ["items"]),
        (REFUSED, {**REFUSED, "message": "n"}, []),
        (REFUSED, {**REFUSED, "reason": "BadRequest"}, ["reason"]),
        (REFUSED, {**REFUSED, "details": {"causes": [*reversed(REFUSED["details"]["causes"])]}}, []),
        (REFUSED, {**REFUSED, "details": {"causes": REFUSED["details"]["causes"][:1]}}, ["details.causes"]),
    ],
)
def test_a_difference_is_found(real: Object, embedded: Object, found: list[str]) -> None:
    assert [text.partition(":")[0] for text in differences(Answer(200, real), Answer(200, embedded))] == found


def test_another_status_is_a_difference() -> None:
    assert differences(Answer(404, REFUSED), Answer(200, FOUND))[0].startswith("status: real 404 Invalid: m, embedded")


# --- Bookmarks: both servers send one about two seconds before the end of a watch of four, if there is news ---

# What is watched, what is there before, from which version (of the list before, where it is None), and what is then
# written elsewhere, for this watch not to see; else a server has nothing new to say.
BOOKMARKS: dict[str, tuple[str, Sequence[Object], Mapping[str, str] | None, Object | None]] = {
    "configmaps": (MAPS, [], None, config()),
    "pods": (PODS, [], None, pod()),
    "bindings": (BINDINGS, [], None, binding()),
    "after what is there": (MAPS, [config()], {}, None),
    "after what is there, at any version": (MAPS, [config()], {"resourceVersion": "0"}, None),
    "after nothing": (MAPS, [], {}, None),
}


async def test_the_same_bookmarks(real: Side, embedded: Side) -> None:
    async def watched(side: Side, name: str) -> Asked:
        path, there, version, elsewhere = BOOKMARKS[name]
        before = await asked(side, f"bookmarks {name}", [*(post(path, one) for one in there), get(path)])
        query = {"resourceVersion": since([before[-1][1]])} if version is None else version
        request = watch(path, timeoutSeconds="8", allowWatchBookmarks="true", **query)
        watching = asyncio.create_task(side.send(request, namespace_of(f"bookmarks {name}")))
        if elsewhere is not None:
            await asyncio.sleep(0.7)
            await asked(side, f"elsewhere {name}", [post(path, elsewhere)])
        events = (await watching).body
        kinds = [event["type"] for event in events]
        assert kinds[: len(there) + 1] == ["ADDED"] * len(there) + ["BOOKMARK"], (side.name, name, events)
        assert set(kinds[len(there) :]) <= {"BOOKMARK"}, "more may come, as the news does"
        return [(request, Answer(200, events[: len(there) + 1]))]

    found = await asyncio.gather(*(watched(side, name) for name in BOOKMARKS for side in (real, embedded)))
    for on_real, on_embedded in zip(found[::2], found[1::2], strict=True):
        compare(on_real, on_embedded)


# --- 410: each server is made to forget in its own way ---


@pytest_asyncio.fixture(loop_scope="session")
async def forgetful(cluster: RealCluster, embedded_api: EmbeddedApi) -> Callable[[], Any]:
    async def forget() -> None:
        await cluster.compact()
        embedded_api.compact()

    return forget


async def test_410_of_a_watch(real: Side, embedded: Side, forgetful: Callable[[], Any]) -> None:
    found = []
    for side in (real, embedded):
        await asked(side, "watch 410", [post(BINDINGS, binding())])
    await forgetful()
    for side in (real, embedded):
        request = watch(BINDINGS, resourceVersion="2")
        found.append([(request, await side.send(request, namespace_of("watch 410")))])
    compare(*found)
    assert found[0][0][1].body[0]["object"]["code"] == 410, found


async def test_410_of_a_list(real: Side, embedded: Side, forgetful: Callable[[], Any]) -> None:
    await forgetful()
    request = get(BINDINGS, resourceVersion="2", resourceVersionMatch="Exact")
    found = [[(request, await side.send(request, "jupyterhub"))] for side in (real, embedded)]
    compare(*found)
    assert found[0][0][1].status == 410, found


async def test_410_of_a_later_page(real: Side, embedded: Side, forgetful: Callable[[], Any]) -> None:
    tokens = []
    for side in (real, embedded):
        steps: list[Step] = [*(post(BINDINGS, binding(name)) for name in "ab"), get(BINDINGS, limit="1")]
        answers = await asked(side, "page 410", steps)
        tokens.append(answers[-1][1].metadata("continue"))
    await forgetful()
    # A server's cache may go back further than what it was made to forget; so the tokens' own version is put back.
    for index, token in enumerate(tokens):
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        tokens[index] = base64.urlsafe_b64encode(json.dumps(read | {"rv": 2}).encode()).decode()
    tokens[0] = tokens[0].rstrip("=")
    found = []
    for side, token in zip((real, embedded), tokens, strict=True):
        request = get(BINDINGS, **{"limit": "1", "continue": token})
        found.append([(request, await side.send(request, namespace_of("page 410")))])
    assert [one[0][1].status for one in found] == [410, 410], found
    assert [one[0][1].body["reason"] for one in found] == ["Expired", "Expired"]
    # The real server offers to go on with what there is now; the embedded one does not, and need not.
    assert found[0][0][1].body["metadata"].keys() == {"continue"}
    assert found[1][0][1].body["metadata"] == {}


# --- kubectl ---


class Kubectl:
    """`kubectl` on one of the servers, in a namespace of its own."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        (folder / "config").write_text(json.dumps(settings))
        self._always = ("kubectl", "--kubeconfig", str(folder / "config"), "--cache-dir", str(folder / "cache"))

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*self._always, *arguments, stdout=pipe, stderr=pipe)

    async def __call__(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            output, said = await process.communicate()
        return process.returncode, output.decode(), said.decode()


@pytest_asyncio.fixture(loop_scope="session")
async def kubectls(
    cluster: RealCluster, embedded_api: EmbeddedApi, real: Side, embedded: Side, request: pytest.FixtureRequest
) -> list[Kubectl]:
    if shutil.which("kubectl") is None:
        request.node.user_properties.append((NOTE, "kubectl is not installed: what it sees is not compared"))
        pytest.skip("kubectl is not installed")
    folder: Path = request.getfixturevalue("tmp_path")
    namespace = namespace_of(request.node.name)
    for side in (real, embedded):
        assert (await side.send(NAMESPACE, namespace)).status == 201
    return [
        Kubectl(settings, folder / name)
        for name, settings in (
            ("real", cluster.kubeconfig(namespace)),
            ("embedded", embedded_api.kubeconfig(namespace)),
        )
    ]


def manifest(folder: Path, kind: str, item: Object) -> str:
    """A file with an object, as the option that names it."""
    version = "xlscsde.nhs.uk/v1" if kind.startswith("Analytics") else "v1"
    file = folder / f"{kind}-{item['metadata']['name']}.json"
    file.write_text(json.dumps({"apiVersion": version, "kind": kind, **item}))
    return f"--filename={file}"


async def test_kubectl_creates_gets_and_deletes(kubectls: list[Kubectl], tmp_path: Path) -> None:
    files = [
        manifest(tmp_path, "ConfigMap", config()),
        manifest(tmp_path, "Pod", named(pod(), labels={"x": "y"})),
        manifest(tmp_path, "AnalyticsWorkspace", workspace()),
        manifest(tmp_path, "AnalyticsWorkspaceBinding", binding()),
    ]
    for arguments in (
        ("create", *files),
        ("create", files[0]),
        ("get", "configmaps,pods,aws,awsb", "--output=name"),
        ("get", "pods", "--selector=x=y", "--output=name"),
        ("get", "pods", "--field-selector=metadata.name=q", "--output=name"),
        ("get", "pods", "--selector=x y"),
        ("get", "gadgets"),
        ("get", "awsb", "c"),
        ("get", "awsb", "--no-headers", "--output=custom-columns=:.metadata.name,:.spec.username"),
        ("delete", "awsb", "b"),
        ("delete", "configmap/a", "pod/p", "--wait=false"),
        ("delete", "configmap", "a"),
        ("get", "configmaps,pods,aws,awsb", "--output=name"),
    ):
        answers = await asyncio.gather(*(kubectl(*arguments) for kubectl in kubectls))
        # Of an error its reason, such as "Error from server (NotFound)"; the words that follow are the server's own.
        on_real, on_embedded = [(code, output, said.partition(":")[0]) for code, output, said in answers]
        assert on_embedded == on_real, arguments
    for name in ("aws", "aws/w"):
        tables = [await kubectl("get", name) for kubectl in kubectls]
        # The last column is the age.
        rows = [[line.split()[:-1] for line in output.splitlines()] for _, output, _ in tables]
        assert rows[0] == rows[1], tables
        assert rows[0][0] == ["NAME", "TITLE", "FROM", "UNTIL", "STATUS"]
    shown = [json.loads((await kubectl("get", "aws", "w", "--output=json"))[1]) for kubectl in kubectls]
    assert differences(Answer(200, shown[0]), Answer(200, shown[1])) == []


async def test_kubectl_watches(kubectls: list[Kubectl], tmp_path: Path) -> None:
    seen = []
    first, second = (manifest(tmp_path, "ConfigMap", config(name)) for name in "ab")
    for kubectl in kubectls:
        assert (await kubectl("create", first))[0] == 0
        watching = await kubectl.start(
            *("get", "configmaps", "--watch", "--output-watch-events", "--no-headers"),
            "--output=custom-columns=:.type,:.object.metadata.name,:.object.metadata.labels",
        )
        try:
            assert watching.stdout is not None
            async with asyncio.timeout(30):
                lines = [await watching.stdout.readline()]
            for arguments in (("create", second), ("label", "configmap", "a", "x=y"), ("delete", "configmap", "a")):
                code, _, said = await kubectl(*arguments)
                assert code == 0, said
                async with asyncio.timeout(30):
                    lines.append(await watching.stdout.readline())
        finally:
            watching.kill()
            await watching.communicate()
        seen.append([line.decode().split() for line in lines])
    labels = "map[x:y]"
    expected = [["ADDED", "a", "<none>"], ["ADDED", "b", "<none>"], ["MODIFIED", "a", labels], ["DELETED", "a", labels]]
    assert seen == [expected, expected]
