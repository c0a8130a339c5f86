"""What arrives at a start, over the REST API, from the form and in a link: refused before it is stored (A3).

And what an older hub stored keeps no hub from starting.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import io
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import jupyterhub
import pytest

from tests.e2e.conftest import Hub
from workspace_managers.devcluster.demo import Demo

API = "embedded"  # the same on every API: what is refused here asks none
START_SECONDS = 60
SENTENCE = "text of at most 253 characters"
NESTED = "[" * 950 + "]" * 950
ROWS = {
    "a-list": "[1]",
    "a-number": "5",
    "nested": NESTED,
    "nested-in-an-object": '{"a": ' + NESTED + "}",
    "no-json": "profile",
    "long": json.dumps({"profile": "x" * 60_000_000}),
}


async def sliced(body: bytes) -> AsyncIterator[bytes]:
    """As aiohttp sends it: in chunks, with no Content-Length."""
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


def database(demo: Demo) -> Path:
    (file,) = demo.hub_log.parent.glob("*.sqlite")
    return file


def stored(demo: Demo, user: str) -> list[str | None]:
    with closing(sqlite3.connect(database(demo))) as connection:
        rows = connection.execute(
            "SELECT user_options FROM spawners JOIN users ON users.id = user_id WHERE users.name = ?", (user,)
        )
        return [options for (options,) in rows]


def process(demo: Demo, file: str) -> str:
    assert demo._hub is not None
    return Path(f"/proc/{demo._hub.pid}/{file}").read_text()


def memory(demo: Demo, which: str) -> int:
    """MiB of the hub's process: ``VmRSS`` now, or ``VmHWM`` at its most."""
    found = re.search(rf"^{which}:\s+(\d+) kB$", process(demo, "status"), re.MULTILINE)
    assert found
    return int(found[1]) // 1024


def address(demo: Demo) -> str:
    """The hub itself: the demo's proxy has limits of its own for what it passes on."""
    found = re.search(r'"hub_port": (\d+)', process(demo, "environ"))
    assert found
    return f"http://127.0.0.1:{found[1]}"


@asynccontextmanager
async def signed_in(demo: Demo, name: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{address(demo)}/hub/login") as page:
            token = re.search(r'name="_xsrf" value="([^"]+)"', await page.text())
        assert token
        login = {"username": name, "password": "", "_xsrf": html.unescape(token[1])}
        async with session.post(f"{address(demo)}/hub/login", data=login, allow_redirects=False) as answer:
            assert answer.status == 302
        yield session


async def form_of(session: aiohttp.ClientSession, demo: Demo, path: str) -> tuple[str, str]:
    """Where the form of the page is sent to, and what is selected."""
    async with session.get(address(demo) + path) as page:
        text = await page.text()
        assert (page.status, page.url.path) == (200, path.partition("?")[0]), text
    action, selected = re.search(r'action="([^"]+)"', text), re.search(r'value="([^"]+)" required checked', text)
    assert action
    assert selected
    return address(demo) + html.unescape(action[1]), selected[1]


async def start_somebody_else(hub: Hub) -> None:
    """After longer than a hub takes to end itself, which is two seconds."""
    await asyncio.sleep(3)
    await hub.grant("olivia", "others")
    status, answer = await hub.start("olivia", {"profile": "others"})
    assert status in (201, 202), answer
    await hub.stop("olivia")


BODIES: dict[str, Any] = {
    **{f"a-list-{number}": b"[1]" for number in range(6)},
    **{f"nested-{depth}": b'{"a": ' + b"[" * depth + b"]" * depth + b"}" for depth in (940, 950, 960, 970, 2000)},
    "nested-list": NESTED.encode(),
    "false": b"false",
    "profile-a-list": b'{"profile": ["others"]}',
    "profile-none": b'{"profile": null}',
    "nul": b'{"profile": "a\\u0000"}',
    "half-a-character": b'{"profile": "\\ud800"}',
    "254-characters": json.dumps({"profile": "x" * 254}).encode(),
    "another-option": b'{"profile": "others", "image": "mine"}',
    "twice": b'{"profile": "others", "profile": "others"}',
    "nan": b'{"profile": NaN}',
    "not-utf-8": b'{"profile": "\xff"}',
    "gzip": gzip.compress(b'{"profile": "others"}'),
    "20-kb": json.dumps({"profile": "x" * 20_000}).encode(),
    "one-byte-too-many": b'{"profile": "others"}'.ljust(8193),
}


async def post(hub: Hub, demo: Demo, body: Any, method: str = "POST") -> tuple[int, str]:
    url = f"{address(demo)}/hub/api/users/mallory/server"
    headers = {"Authorization": f"token {demo.hub_api_token}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_other_bodies_are_refused_and_the_hub_goes_on(hub: Hub, demo: Demo) -> None:
    """Whoever has no workspace could end the hub for everybody with five of them; the stored row kept it down."""
    await hub.call("POST", "/users/mallory")
    bodies = BODIES | {"chunked": sliced(b'{"profile": "' + b"x" * 20_000 + b'"}')}
    answers = {name: await post(hub, demo, body) for name, body in bodies.items()}
    assert {name: answer for name, answer in answers.items() if answer[0] != 400 or SENTENCE not in answer[1]} == {}
    assert stored(demo, "mallory") in ([], [None], ["{}"])
    await start_somebody_else(hub)


@pytest.mark.skipif(jupyterhub.version_info[0] < 6, reason="JupyterHub 6 has these")
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_options_that_are_stored_without_a_start_are_refused_too(hub: Hub, demo: Demo, method: str) -> None:
    await hub.call("POST", "/users/mallory")
    status, text = await post(hub, demo, b'{"user_options": {"a": ' + NESTED.encode() + b"}}", method)
    assert (status, SENTENCE in text) == (400, True)


async def test_right_body_in_chunks_or_with_unusual_text_starts(hub: Hub, demo: Demo) -> None:
    await hub.grant("mallory", "chunked")
    status, _ = await post(hub, demo, sliced(b'\n{"profile": "ch\\u0075nked"}'.ljust(8000)))
    assert status in (201, 202)
    await hub.wait("mallory", lambda server: bool(server.get("ready")))
    await hub.stop("mallory")
    status, text = await post(hub, demo, b"null")  # the options of the last time
    assert status in (201, 202), text
    await hub.wait("mallory", lambda server: bool(server.get("ready")))
    await hub.stop("mallory")


@pytest.mark.parametrize("kind", ["rest", "page", "chunked"])
async def test_body_of_60_mb_is_refused_and_not_kept(hub: Hub, demo: Demo, kind: str) -> None:
    body = b'{"profile": "' + b"x" * 60_000_000 + b'"}'
    before = memory(demo, "VmRSS")
    if kind == "page":
        async with signed_in(demo, "alice") as session:
            action, _ = await form_of(session, demo, "/hub/spawn")
            async with session.post(action, data=io.BytesIO(b"profile=" + body), headers=URLENCODED) as answer:
                status, text = answer.status, await answer.text()
    else:
        status, text = await post(hub, demo, sliced(body) if kind == "chunked" else io.BytesIO(body))
    assert (status, SENTENCE in text) == (400, True)
    assert memory(demo, "VmHWM") - before < 100
    await start_somebody_else(hub)


def multipart(*fields: tuple[str, bytes, str | None]) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    for name, value, filename in fields:
        part = writer.append(value, {"Content-Type": "text/plain"})
        part.set_content_disposition("form-data", name=name)
        if filename:
            part.set_content_disposition("form-data", name=name, filename=filename)
    return writer


URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
FORMS: dict[str, tuple[Any, dict[str, str]]] = {
    "twice": (b"profile=cardio-outcomes&profile=cardio-outcomes", URLENCODED),
    "another-field": (b"profile=cardio-outcomes&image=mine", URLENCODED),
    "nul": (b"profile=%00", URLENCODED),
    "half-a-character": (b"profile=%ED%A0%80", URLENCODED),
    "long-key": (b"x" * 5000 + b"=", URLENCODED),
    "20-kb": (b"profile=" + b"x" * 20_000, URLENCODED),
    "many": (b"&".join([b"a"] * 50_000), URLENCODED),
    "json": (b'{"profile": "cardio-outcomes"}', {"Content-Type": "application/json"}),
}


async def test_other_forms_are_refused_and_the_right_one_starts(hub: Hub, demo: Demo) -> None:
    """The token of the page is in all of them, so that it is not what refuses."""
    async with signed_in(demo, "alice") as session:
        action, _ = await form_of(session, demo, "/hub/spawn?next=%2Fhub%2Fhome")
        forms = FORMS | {
            "a-file": (multipart(("profile", b"cardio-outcomes", None), ("other", b"x", "file.txt")), {}),
            "chunked": (sliced(b"profile=" + b"x" * 20_000), URLENCODED),
        }
        answers = {}
        for name, (body, headers) in forms.items():
            async with session.post(action, data=body, headers=headers) as answer:
                answers[name] = answer.status, SENTENCE in await answer.text()
        assert answers == dict.fromkeys(answers, (400, True))
        assert set(stored(demo, "alice")) <= {None, "{}"}
        right = multipart(("profile", b"cardio-outcomes", None))
        async with session.post(action, data=right, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            assert "next=%2Fhub%2Fhome" in answer.headers["Location"]
        await hub.wait("alice", lambda server: bool(server.get("ready")))
        await hub.stop("alice")
    assert stored(demo, "alice") == ['{"profile": "cardio-outcomes"}']


async def test_form_without_a_choice_says_so(demo: Demo) -> None:
    async with signed_in(demo, "carol") as session:
        async with session.get(f"{address(demo)}/hub/spawn") as page:
            found = re.search(r'action="([^"]+)"', await page.text())
        assert found
        action = address(demo) + html.unescape(found[1])
        async with session.post(action, data=b"", headers=URLENCODED) as answer:
            assert "No workspace was chosen" in await answer.text()


async def test_link_selects_and_a_person_starts(hub: Hub, demo: Demo) -> None:
    """A link has no token of the page, and may be of another site."""
    for name in ("first-linked", "second-linked"):
        await hub.grant("bob", name)
    bound = "second-linked"
    queries = [
        *(f"profile={bound}", f"opt-profile={bound}", f"profile={bound}&_xsrf=old", f"profile=x&profile={bound}"),
        *(f"profile={bound}&next=%2Fhub%2Fhome", f"profile={bound}&image=mine&display_name=x"),
    ]
    async with signed_in(demo, "bob") as session:
        _, usual = await form_of(session, demo, "/hub/spawn")
        assert usual != bound
        for query in queries:
            for path in ("/hub/spawn", "/hub/spawn/bob"):
                _, selected = await form_of(session, demo, f"{path}?{query}")
                assert selected == bound, query
        for query in ("profile=cardio-outcomes", "profile=%FF", "_xsrf=old", "profile", "profile=" + quote("<script>")):
            _, selected = await form_of(session, demo, f"/hub/spawn?{query}")
            assert selected == usual, query
        _, user = await hub.call("GET", "/users/bob")
        assert user["servers"] == {}
        assert not [name for name in await hub.pods() if "bob" in name]
        action, _ = await form_of(session, demo, f"/hub/spawn?profile={bound}&_xsrf=old")
        async with session.post(action, data={"profile": bound}, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
        await hub.wait("bob", lambda server: bool(server.get("ready")))
        await hub.stop("bob")
    assert stored(demo, "bob") == [json.dumps({"profile": bound})]


def spoil(demo: Demo, users: Iterable[str]) -> None:
    """Write each row into the database, of servers that the hub takes for running, as if it had been killed."""
    with closing(sqlite3.connect(database(demo))) as connection, connection:
        for user, row in zip(users, ROWS.values(), strict=True):
            server = connection.execute(
                "INSERT INTO servers (proto, ip, port, base_url, cookie_name) VALUES ('http', '127.0.0.1', 1, ?, '')",
                (f"/user/{user}/",),
            ).lastrowid
            changed = connection.execute(
                "UPDATE spawners SET user_options = ?, server_id = ? WHERE user_id = "
                "(SELECT id FROM users WHERE name = ?)",
                (row, server, user),
            )
            assert changed.rowcount == 1


async def test_empty_object_chooses_nothing_whatever_was_chosen_before(hub: Hub) -> None:
    """A3: as a script has it from JupyterHub 4; without a body the last choice is taken, and checked again."""
    await hub.grant("heidi", "before")
    for options, starts in (({"profile": "before"}, True), (None, True), ({}, False), (None, False)):
        status, answer = await hub.start("heidi", options)
        assert status in ((201, 202) if starts else (400,)), answer
        await hub.stop("heidi")


async def test_hub_starts_over_rows_of_an_older_one(hub: Hub, demo: Demo) -> None:
    """Last in this file: it starts the hub of all of them again."""
    users = [f"row-{name}" for name in ROWS]
    for user in users:
        await hub.grant(user, f"of-{user}")
        status, answer = await hub.start(user, {"profile": f"of-{user}"})
        assert status in (201, 202), answer
        await hub.stop(user)
    await demo.__aexit__()
    spoil(demo, users)
    await demo.__aenter__()
    for user in users:
        status, answer = await hub.call("POST", f"/users/{user}/server")
        assert (status, "No workspace was chosen" in str(answer)) in ((400, True), (403, True)), answer
        status, answer = await hub.start(user, {"profile": f"of-{user}"})
        assert status in (201, 202), answer
        await hub.stop(user)
        assert stored(demo, user) == [json.dumps({"profile": f"of-{user}"})]
    warnings = [line for line in demo.hub_log.read_text().splitlines() if "are not ones that a workspace" in line]
    assert len(warnings) == len(users)
    assert all(any(f"'{user}'" in line for line in warnings) for user in users)
    assert "[[[[" not in demo.hub_log.read_text()
    assert "xxxx" not in demo.hub_log.read_text()
