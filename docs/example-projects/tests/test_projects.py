"""What the contract does not ask: every way in which the platform fails to answer, and that its token is not told."""
# ruff: noqa: S101 - asserts

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import ssl
import traceback
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import workspace_manager_projects
from aiohttp import web
from workspace_manager_projects import ANSWER_LIMIT, TOKEN_LIMIT, ProjectsManager
from workspace_manager_projects.backend import HOST, Authority, Handler, Platform, answered, authority
from workspace_manager_projects.contract import ProjectsWorld

from workspace_managers import HOME, BackendUnavailable, ConfigurationError, User, Workspace, personal_claim
from workspace_managers.contract import Stage

ALICE = User.identify("alice")
FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)


@pytest.fixture
async def world() -> AsyncIterator[ProjectsWorld]:
    """A platform on which alice has one project."""
    world = ProjectsWorld()
    await world.start()
    await project(world, "cardio", "Alice")
    yield world
    await world.stop()


@pytest.fixture
async def stage(world: ProjectsWorld) -> AsyncIterator[Stage]:
    """The plugin, started."""
    stage = Stage(ProjectsManager, world)
    await stage.begin()
    yield stage
    await stage.close()


async def project(world: ProjectsWorld, name: str, *people: str) -> None:
    """A project, and people in it."""
    texts = {"display_name": f"Project {name}", "description": "", "image": "example/notebook:1.0"}
    await world.put_workspace(name, first_day=FIRST, last_day=LAST, node_selector={}, **texts)
    for person in people:
        await world.grant(person, name, LAST)


async def refused(stage: Stage, user: User = ALICE) -> str:
    """What the log would get; there is no answer to the user, and none of the token in it or in what caused it."""
    world = stage.world
    assert isinstance(world, ProjectsWorld)
    with pytest.raises(BackendUnavailable) as refusal:
        await stage.manager.list_workspaces(user)
    told = "".join(traceback.format_exception(refusal.value)) + refusal.value.user_message
    assert not [token for token in world.platform.tokens if token in told]
    return str(refusal.value)


def token_of(platform: Platform) -> Path:
    """The file that the plugin reads."""
    return platform.folder / "token"


async def workspaces(stage: Stage, user: User = ALICE) -> dict[str, Workspace]:
    """Those that the framework does not set aside, by name."""
    return {each.name: each for each in await stage.manager.list_workspaces(user) if each.problem() is None}


async def test_answers(stage: Stage, world: ProjectsWorld) -> None:
    """Or the refusals below would be worth nothing."""
    await stage.start("alice", "cardio")
    found = (await workspaces(stage))["cardio"]
    assert found.namespace == f"{world.namespace}-cardio"
    assert found.environment == {"PROJECT_NAME": "cardio", "PROJECT_TITLE": "Project cardio"}
    own, home = await stage.manager.volumes_for(ALICE, found)
    assert (own.claim, own.mount_path, own.personal) == ("jupyter-cardio", f"{HOME}/cardio", False)
    assert (home.claim, home.mount_path, home.personal) == (personal_claim("alice", "cardio"), HOME, True)
    assert set(await world.claims(f"{world.namespace}-cardio")) == {own.claim, home.claim}


# Faults


def content(body: bytes | str, status: int = 200, encoding: str = "identity") -> Handler:
    """An answer that never changes."""

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        raw = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        return web.Response(status=status, body=raw, headers=headers)

    return handler


async def never(_request: web.BaseRequest) -> web.StreamResponse:
    """No answer."""
    await asyncio.sleep(60)
    raise AssertionError("not so long")


async def drips(request: web.BaseRequest) -> web.StreamResponse:
    """A byte now and then, so that no single wait is long."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    """An answer that breaks off, although what came is a list."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"[]")
    assert request.transport is not None
    request.transport.close()
    return response


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """No answer, and no connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def no_http(request: web.BaseRequest) -> web.StreamResponse:
    """What the client's parser cannot read, and would quote, with the token in it."""
    assert request.transport is not None
    request.transport.write(f"{request.headers['Authorization']}\r\n\r\n".encode())
    request.transport.close()
    return web.Response()


async def echoes(request: web.BaseRequest) -> web.StreamResponse:
    """The token in every place that an answer has."""
    token = request.headers["Authorization"]
    return web.Response(status=500, reason=token, headers={"Location": token, "X-Request": token}, text=token)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        pytest.param(never, "did not answer within", id="slow"),
        pytest.param(drips, "did not answer within", id="slow-in-parts"),
        pytest.param(hangs_up, "ServerDisconnectedError", id="hangs-up"),
        pytest.param(cut, "ClientPayloadError", id="breaks-off"),
        pytest.param(no_http, "cannot be read", id="no-http"),
        pytest.param(echoes, "status 500", id="token-echoed"),
        pytest.param(content("[]", 500), "status 500", id="500"),
        pytest.param(content("[]", 503), "status 503", id="503"),
        pytest.param(content("[]", 403), "status 403", id="403"),
        pytest.param(content("[]", 204), "status 204", id="204"),
        pytest.param(content("[]", 401), "status 401", id="401"),
        pytest.param(content(""), "JSONDecodeError", id="nothing"),
        pytest.param(content("<html>Please sign in</html>"), "JSONDecodeError", id="a-page"),
        pytest.param(content(b"\xff\xfe\xfd"), "UnicodeDecodeError", id="no-text"),
        pytest.param(content("[" * 100_000), "RecursionError", id="nested"),
        pytest.param(content("[" + "9" * 10_000 + "]"), "ValueError", id="a-number-without-end"),
        pytest.param(content("null"), "status 200", id="null"),
        pytest.param(content("{}"), "status 200", id="an-object"),
        pytest.param(content('{"unknown": "alice"}'), "status 200", id="unknown-without-404"),
        pytest.param(content(gzip.compress(b"[]"), encoding="gzip"), "cannot be read", id="compressed"),
        pytest.param(content("", 404), "JSONDecodeError", id="404-of-nobody"),
        pytest.param(content("[]", 404), "status 404", id="404-with-a-list"),
        pytest.param(content("{}", 404), "status 404", id="404-of-another-service"),
        pytest.param(content('{"unknown": "bob"}', 404), "status 404", id="404-of-another-person"),
        pytest.param(content('{"unknown": "Alice"}', 404), "status 404", id="404-of-another-spelling"),
    ],
)
async def test_fault_is_unavailable(
    stage: Stage, world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch, handler: Handler, reason: str
) -> None:
    """A4: never an empty list; and once it is over the plugin answers again."""
    monkeypatch.setattr(workspace_manager_projects, "ANSWER_SECONDS", 0.5)
    world.platform.handler = handler
    async with asyncio.timeout(5):
        assert reason in await refused(stage)
    world.platform.handler = None
    monkeypatch.undo()
    assert set(await workspaces(stage)) == {"cardio"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(stage: Stage, world: ProjectsWorld, status: int) -> None:
    """A4: the token is the platform's alone, and so is the answer."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == "/elsewhere":
            return answered([])
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    world.platform.handler = handler
    assert f"status {status}" in await refused(stage)
    assert "/elsewhere" not in world.platform.asked


async def test_no_more_is_read_than_the_limit(stage: Stage, world: ProjectsWorld) -> None:
    """A4: an answer without an end fills the memory of a hub that serves everybody."""
    written = 0

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        part = b" " * 65536
        while written < 16 * ANSWER_LIMIT:
            await response.write(part)
            written += len(part)
        return response

    world.platform.handler = handler
    assert f"more than {ANSWER_LIMIT} bytes" in await refused(stage)
    assert written < 4 * ANSWER_LIMIT  # what is under way is in buffers


async def test_answer_as_long_as_the_limit_is_read(stage: Stage, world: ProjectsWorld) -> None:
    """The bound keeps nobody out."""
    world.platform.handler = content("[]".ljust(ANSWER_LIMIT))
    assert await workspaces(stage) == {}


async def test_slow_answers_hold_up_nobody_for_long(
    stage: Stage, world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: the wait for one of the few connections is bounded as well."""
    monkeypatch.setattr(workspace_manager_projects, "ANSWER_SECONDS", 0.5)
    world.platform.handler = never
    async with asyncio.timeout(5):
        told = await asyncio.gather(*(refused(stage) for _ in range(3 * workspace_manager_projects.CONNECTIONS)))
    assert all("did not answer within 0.5 s" in each for each in told)
    assert len(world.platform.asked) <= workspace_manager_projects.CONNECTIONS


async def test_nothing_is_carried_to_the_next_question(world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A2: a cookie of one person's answer would be a session in the next one's question."""
    monkeypatch.setenv("PROJECTS_URL", world.platform.url.replace(HOST, "localhost"))  # an address has no cookies
    stage = Stage(ProjectsManager, world)
    await stage.begin()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = await world.platform.answer(request)
        response.headers["Set-Cookie"] = "session=alice; Path=/"
        return response

    world.platform.handler = handler
    for name in ("alice", "bob"):
        await stage.manager.list_workspaces(User.identify(name))
    assert [headers.get("Cookie") for headers in world.platform.sent] == [None, None]
    await stage.close()


async def test_close_waits_for_no_answer(stage: Stage, world: ProjectsWorld) -> None:
    """L3: a hub that ends is not held up by the platform."""
    world.platform.handler = never
    async with asyncio.timeout(5):
        question = asyncio.create_task(refused(stage))
        while not world.platform.asked:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        await stage.manager.close()
        await question
    assert "not started" in await refused(stage)


# Certificates


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        pytest.param(Authority().server(HOST), "unable to get local issuer", id="another-authority"),
        pytest.param(authority().server("127.0.0.2"), "IP address mismatch", id="another-host"),
        pytest.param(authority().server(HOST, days=-1), "expired", id="over"),
    ],
)
async def test_wrong_certificate_is_unavailable(
    world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext, reason: str
) -> None:
    """A4: whoever sits between is given no token."""
    impostor = Platform()
    await impostor.start(certificate)
    impostor.handler = content("[]")
    monkeypatch.setenv("PROJECTS_URL", impostor.url)
    stage = Stage(ProjectsManager, world)
    await stage.begin()
    assert reason in await refused(stage)
    assert not impostor.asked
    await stage.close()
    await impostor.stop()


async def test_own_authority_is_not_the_systems(world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PROJECTS_CA, it is the system's certificates that count."""
    monkeypatch.delenv("PROJECTS_CA")
    stage = Stage(ProjectsManager, world)
    await stage.begin()
    assert "CERTIFICATE_VERIFY_FAILED" in await refused(stage)
    await stage.close()


@pytest.mark.parametrize("spoilt", [None, b"", b"no certificate"])
async def test_authority_is_read_once_it_is_there(world: ProjectsWorld, spoilt: bytes | None) -> None:
    """A4: a volume that is mounted late ends no hub."""
    file = world.platform.folder / "ca.pem"
    whole = file.read_bytes()
    file.unlink()
    if spoilt is not None:
        file.write_bytes(spoilt)
    stage = Stage(ProjectsManager, world)
    stage.prepare()
    with pytest.raises(BackendUnavailable, match="the file of PROJECTS_CA cannot be read"):
        await stage.lifecycle.begin()
    file.write_bytes(whole)
    await stage.lifecycle.begin()
    assert set(await workspaces(stage)) == {"cardio"}
    await stage.close()


async def test_nobody_listens(world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4."""
    monkeypatch.setenv("PROJECTS_URL", "https://127.0.0.1:1")
    stage = Stage(ProjectsManager, world)
    await stage.begin()
    assert "cannot be reached" in await refused(stage)
    await stage.close()


# The token


async def test_token_that_is_renewed_is_read_again(stage: Stage, world: ProjectsWorld) -> None:
    """A4: after a refusal once more, and then it is unavailable until somebody renews the file."""
    platform = world.platform
    assert set(await workspaces(stage)) == {"cardio"}
    platform.tokens = {"renewed"}
    platform.asked.clear()
    assert "status 401" in await refused(stage)
    assert len(platform.asked) == 2
    token_of(platform).write_text("renewed")
    assert set(await workspaces(stage)) == {"cardio"}
    assert len(platform.asked) == 3


async def test_token_that_is_renewed_during_a_question_is_taken(stage: Stage, world: ProjectsWorld) -> None:
    """A4: nobody sees anything of a renewal."""
    platform = world.platform

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answer = await platform.answer(request)
        token_of(platform).write_text("renewed\n")
        return answer

    platform.tokens, platform.handler = {"renewed"}, handler
    assert set(await workspaces(stage)) == {"cardio"}
    assert len(platform.asked) == 2


async def test_token_is_used_as_soon_as_it_changes(stage: Stage, world: ProjectsWorld) -> None:
    """The old one may be good for a while, and is not used up to its end."""
    world.platform.tokens.add("newer")
    await workspaces(stage)
    token_of(world.platform).write_text("newer")
    await workspaces(stage)
    first, second = (headers["Authorization"] for headers in world.platform.sent)
    assert first != second == "Bearer newer"


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(None, id="no-file"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="blank"),
        pytest.param(b"secret-one\nsecret-two", id="two-lines"),
        pytest.param(b"secret-one\r\nX-Admin: yes", id="a-header-in-it"),
        pytest.param("secret-ö".encode(), id="no-ascii"),
        pytest.param(b"x" * (TOKEN_LIMIT + 1), id="without-end"),
    ],
)
async def test_token_that_is_none_is_unavailable(stage: Stage, world: ProjectsWorld, spoilt: bytes | None) -> None:
    """A4: it is not sent, and nothing of it is told."""
    token_of(world.platform).unlink()
    if spoilt is not None:
        token_of(world.platform).write_bytes(spoilt)
    told = await refused(stage)
    assert "PROJECTS_TOKEN_FILE" in told
    assert "secret" not in told
    assert not world.platform.asked


# Who is who


@pytest.mark.parametrize(
    ("username", "path"),
    [
        pytest.param("a/b", "a%2Fb", id="slash"),
        pytest.param("ü", "%C3%BC", id="umlaut"),
        pytest.param("..", "%2E%2E", id="two-dots"),
        pytest.param(".", "%2E", id="dot"),
        pytest.param("../bob", "%2E%2E%2Fbob", id="a-step-up"),
        pytest.param("a b", "a%20b", id="blank"),
        pytest.param("a+b", "a%2Bb", id="plus"),
        pytest.param("a?b#c", "a%3Fb%23c", id="query"),
        pytest.param("a%2fb", "a%252fb", id="percent"),
        pytest.param("a\r\nb", "a%0D%0Ab", id="lines"),
        pytest.param("a@example.org", "a%40example%2Eorg", id="address"),
        pytest.param("a;b=c", "a%3Bb%3Dc", id="parameter"),
    ],
)
async def test_username_is_one_part_of_the_path(stage: Stage, world: ProjectsWorld, username: str, path: str) -> None:
    """A2: whatever is in it, it is one person's, and nobody else's."""
    await project(world, "odd", username)
    await project(world, "other", "bob", "b", "a", "c")
    assert set(await workspaces(stage, User(username, username))) == {"odd"}
    assert world.platform.asked == [f"/api/people/{path}/projects"]


async def test_username_that_is_no_text_is_unavailable_or_unknown(stage: Stage) -> None:
    """A2: half of a pair of surrogates cannot be written in UTF-8."""
    assert await workspaces(stage, User("\ud800", "\ud800")) == {}


@pytest.mark.parametrize("person", ["bob", "alice ", "al", "alícé", "alice@example.org", ""])
async def test_item_of_another_person_is_passed_over(stage: Stage, world: ProjectsWorld, person: str) -> None:
    """A2: the platform's own idea of who is who is not relied on."""
    world.platform.handler = content_of(item(world, "hers", person=person), item(world, "mine", person="ALICE"))
    assert set(await workspaces(stage)) == {"mine"}


def item(world: ProjectsWorld, name: str, **changes: Any) -> dict[str, Any]:
    """What the platform says of a project of alice's, with another name and other facts."""
    return {**world.platform.projects["cardio"], "person": "alice", "until": str(LAST), "name": name} | changes


def content_of(*items: object) -> Handler:
    """The platform answers with these."""

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return answered(list(items))

    return handler


# What is broken


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"person": None}, id="nobody"),
        pytest.param({"profiles": None}, id="no-profiles"),
        pytest.param({"profiles": ["gpu"]}, id="a-profile-that-is-a-text"),
        pytest.param({"profiles": [{"image": None}]}, id="no-image"),
        pytest.param({"profiles": [{"image": "example/notebook", "cpu": "several"}]}, id="cpu-that-is-no-quantity"),
        pytest.param({"profiles": [{"image": "example/notebook", "memory": 4}]}, id="memory-that-is-no-text"),
        pytest.param({"profiles": [{"image": "example/notebook", "name": "GPU"}]}, id="profile-in-capitals"),
        pytest.param({"profiles": [{"image": "example/notebook", "name": "a b"}]}, id="profile-with-a-blank"),
        pytest.param({"name": None}, id="no-name"),
        pytest.param({"name": ["spoilt"]}, id="a-list-of-names"),
        pytest.param({"name": ""}, id="empty-name"),
        pytest.param({"name": "Spoilt"}, id="capitals"),
        pytest.param({"name": "spoilt/../whole"}, id="a-path"),
        pytest.param({"name": "spoilt.gpu"}, id="as-a-profile-of-another"),
        pytest.param({"name": "x" * 64}, id="longer-than-a-namespace"),
        pytest.param({"uid": None}, id="no-uid"),
        pytest.param({"title": None}, id="no-title"),
        pytest.param({"title": "a\0b"}, id="a-title-with-a-nul"),
        pytest.param({"text": 5}, id="a-number-for-a-text"),
        pytest.param({"first_day": "2026-02-30"}, id="no-day"),
        pytest.param({"last_day": None}, id="no-last-day"),
        pytest.param({"until": "20261231"}, id="no-end"),
    ],
)
async def test_broken_project_hides_no_other(
    stage: Stage, world: ProjectsWorld, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    """F3: it is told to the log, and is nobody else's outage."""
    world.platform.handler = content_of(item(world, "spoilt") | changes, item(world, "whole"))
    assert await stage.listed("alice") == {"whole"}
    assert [each.levelno for each in caplog.records] == [logging.WARNING]
    await world.make_namespace(f"{world.namespace}-whole")
    await stage.start("alice", "whole")


async def test_dot_in_a_project_hides_no_profile(stage: Stage, world: ProjectsWorld) -> None:
    """F3: the two would be called the same, and the longer grant would count."""
    profile = {"name": "gpu", "image": "example/notebook:1.0"}
    world.platform.handler = content_of(
        item(world, "cardio.gpu"), item(world, "cardio", profiles=[profile], until="2026-11-30")
    )
    await stage.start("alice", "cardio.gpu")


@pytest.mark.parametrize("odd", [None, 5, "text", [], {}, {"person": "alice"}])
async def test_item_that_is_no_project_hides_no_other(stage: Stage, world: ProjectsWorld, odd: object) -> None:
    """F3."""
    world.platform.handler = content_of(odd, item(world, "whole"))
    assert await stage.listed("alice") == {"whole"}


@pytest.mark.parametrize(
    ("others", "is_certain"),
    [
        pytest.param([], True, id="nothing"),
        pytest.param([{"name": "hip", "profiles": None}], True, id="another-that-cannot-be-read"),
        pytest.param([{"name": "cardio", "profiles": None}], False, id="the-same-that-cannot-be-read"),
        pytest.param([{"name": None}], False, id="one-that-has-no-name"),
    ],
)
async def test_server_ends_by_nothing_that_cannot_be_read(
    stage: Stage, world: ProjectsWorld, others: list[dict[str, Any]], is_certain: bool
) -> None:
    """E4: a release of the platform that forgets a field ends nobody's work; what is certain ends at once."""
    assert (await stage.review("alice", "cardio")).answer.name == "GOES_ON"
    world.platform.handler = content_of(*(item(world, "cardio") | changes for changes in others))
    for name in ("cardio", "cardio.gpu"):
        assert (await stage.review("alice", name)).answer.name == ("ENDED" if is_certain else "UNCERTAIN")


# Profiles


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        pytest.param([{}], {"cardio": "Heart"}, id="one-without-a-name"),
        pytest.param([{"name": "gpu"}], {"cardio.gpu": "Heart: gpu"}, id="one-with-a-name"),
        pytest.param(
            [{"name": "gpu", "title": "With a GPU"}, {"name": "big.memory"}],
            {"cardio.gpu": "Heart: With a GPU", "cardio.big.memory": "Heart: big.memory"},
            id="several",
        ),
        pytest.param([{"name": "gpu"}, {}], {"cardio.gpu": "Heart: gpu", "cardio": "Heart"}, id="both"),
        pytest.param([{"name": "gpu"}, {"name": "GPU"}], {"cardio.gpu": "Heart: gpu"}, id="one-that-has-no-name"),
        pytest.param([], {}, id="none"),
    ],
)
async def test_each_profile_is_a_workspace(
    stage: Stage, world: ProjectsWorld, profiles: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    """Of one project, in one namespace, and each with storage of its own (rule S1)."""
    whole = [{"image": "example/notebook", "cpu": "2", "memory": "4Gi", **profile} for profile in profiles]
    world.platform.handler = content_of(item(world, "cardio", title="Heart", profiles=whole))
    found = await workspaces(stage)
    assert {name: each.display_name for name, each in found.items()} == expected
    for each in found.values():
        assert each.resources.limits == {"cpu": "2", "memory": "4Gi"}
        assert each.environment == {"PROJECT_NAME": "cardio", "PROJECT_TITLE": "Heart"}
        assert each.namespace == f"{world.namespace}-cardio"
    claims = {volume.claim for each in found.values() for volume in await stage.manager.volumes_for(ALICE, each)}
    assert len(claims) == 2 * len(found)


# Settings


async def test_settings_are_told_all_at_once(world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: an operator puts a hub right in one go."""
    monkeypatch.delenv("PROJECTS_URL")
    monkeypatch.setenv("PROJECTS_CA", "ca.pem")
    monkeypatch.delenv("PROJECTS_TOKEN_FILE")
    monkeypatch.setenv("PROJECTS_NAMESPACE_PREFIX", "")
    with pytest.raises(ConfigurationError) as refusal:
        ProjectsManager(world.context)
    assert [problem.split(" is ")[0] for problem in refusal.value.problems] == [
        "PROJECTS_URL",
        "PROJECTS_CA",
        "PROJECTS_TOKEN_FILE",
        "PROJECTS_NAMESPACE_PREFIX",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("PROJECTS_URL", "http://projects.example.org", id="no-tls"),
        pytest.param("PROJECTS_URL", "https://", id="no-host"),
        pytest.param("PROJECTS_URL", "https://reader:hush-hush@projects.example.org", id="with-a-password"),
        pytest.param("PROJECTS_URL", "https://projects.example.org/?key=1", id="with-a-query"),
        pytest.param("PROJECTS_URL", "https://projects.example.org/\n", id="with-a-line"),
        pytest.param("PROJECTS_TOKEN_FILE", "token", id="a-path-from-somewhere"),
        pytest.param("PROJECTS_NAMESPACE_PREFIX", "Project-", id="capitals"),
        pytest.param("PROJECTS_NAMESPACE_PREFIX", "project.", id="dot"),
        pytest.param("PROJECTS_NAMESPACE_PREFIX", "-", id="hyphen"),
        pytest.param("PROJECTS_NAMESPACE_PREFIX", "p" * 41, id="long"),
    ],
)
async def test_wrong_setting_stops_the_hub(
    world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """L3: with what was found and what is accepted, and no password."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"^{variable} is .*; accepted: ") as refusal:
        ProjectsManager(world.context)
    assert "hush-hush" not in str(refusal.value)


@pytest.mark.parametrize("end", ["", "/"])
async def test_settings_need_no_file_and_no_network(
    world: ProjectsWorld, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """L3: they are read while the hub's config loads; the rest comes with the first question."""
    monkeypatch.setenv("PROJECTS_URL", os.environ["PROJECTS_URL"] + end)
    token_of(world.platform).rename(world.platform.folder / "later")
    stage = Stage(ProjectsManager, world)
    await stage.begin()
    assert "PROJECTS_TOKEN_FILE cannot be read: FileNotFoundError" in await refused(stage)
    (world.platform.folder / "later").rename(token_of(world.platform))
    assert set(await workspaces(stage)) == {"cardio"}
    await stage.close()
