"""What arrives at a start: what is let in, and what a row of an older hub reads as (A3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.apihandlers.users import UserServerAPIHandler
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from tornado import httputil, web

from workspace_managers import ConfigurationError
from workspace_managers.hub import arrivals

NESTED = "[" * 950 + "]" * 950
LONGEST = "\N{PILE OF POO}" * 253
BOUNDARY = "b"
HUB_6 = hasattr(UserServerAPIHandler, "get_server_json_body")


@pytest.fixture(autouse=True)
def installed() -> None:
    arrivals.install()


def assert_not_accepted(error: web.HTTPError) -> None:
    assert error.status_code == 400
    assert "the name of a workspace, text of at most 253 characters" in str(error.log_message)


@pytest.mark.parametrize("options", [{}, {"profile": ""}, {"profile": "heart"}, {"profile": LONGEST}])
def test_nothing_or_one_profile_is_accepted(options: dict[str, str]) -> None:
    assert arrivals.accepted(options) == options


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([1], id="a-list"),
        pytest.param([], id="an-empty-list"),
        pytest.param(None, id="none"),
        pytest.param("heart", id="text"),
        pytest.param({"profile": ["heart"]}, id="profile-a-list"),
        pytest.param({"profile": 1}, id="profile-a-number"),
        pytest.param({"profile": None}, id="profile-none"),
        pytest.param({"profile": {"a": "b"}}, id="profile-an-object"),
        pytest.param({"profile": LONGEST + "x"}, id="254-characters"),
        pytest.param({"profile": "heart\0"}, id="nul"),
        pytest.param({"profile": "\ud800"}, id="half-a-character"),
        pytest.param({"profile": "heart", "image": "mine"}, id="another-option"),
        pytest.param({"x" * 5000: ""}, id="a-long-key"),
        pytest.param({"__jupyterhub_bytes__": True, "data": "x"}, id="the-hubs-own-mark"),
    ],
)
def test_anything_else_is_not_accepted_nor_set_on_a_row(options: object) -> None:
    """Whoever sets it: another handler, or an extension of a service."""
    with pytest.raises(web.HTTPError) as refused:
        arrivals.accepted(options)
    assert_not_accepted(refused.value)
    row = orm.Spawner(name="", user_options={"profile": "heart"})
    if options is not None:
        with pytest.raises(web.HTTPError) as refused:
            row.user_options = options
        assert_not_accepted(refused.value)
        assert row.user_options == {"profile": "heart"}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"{}", b' {"profile": "heart"} ', json.dumps({"profile": LONGEST}).encode()),
        '{"profile": "k\N{LATIN SMALL LETTER O WITH DIAERESIS}nig"}'.encode(),
    ],
)
def test_body_of_a_start_is_accepted(body: bytes) -> None:
    arrivals.check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[1]", id="a-list"),
        pytest.param(b"false", id="false"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b'{"profile": NaN}', id="profile-nan"),
        pytest.param(b'{"profile": "a", "profile": "b"}', id="twice"),
        pytest.param(b'{"profile": "\xff"}', id="not-utf-8"),
        pytest.param('{"profile": "heart"}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'{"profile": "\\ud800"}', id="half-a-character"),
        pytest.param(b"1" * 5000, id="a-number-of-5000-digits"),
        pytest.param(NESTED.encode(), id="nested"),
        pytest.param(b"[" * 8000, id="nested-deeper"),
        pytest.param(b'{"profile": ' + NESTED.encode() + b"}", id="profile-nested"),
        pytest.param(b'{"profile": "heart"}' + b" " * 9000, id="too-long"),
        pytest.param(b'{"user_options": {"profile": ["heart"]}}', id="hub-6-profile-a-list"),
        pytest.param(b'{"user_options": ' + NESTED.encode() + b"}", id="hub-6-nested"),
        pytest.param(b'{"user_options": {}, "profile": "heart"}', id="hub-6-both"),
        pytest.param(b'{"user_options": {}, "display_name": [[]]}', id="hub-6-display-name"),
        pytest.param(b'{"name": "new"}', id="hub-6-name-at-a-start"),
    ],
)
def test_other_body_is_not_accepted(body: bytes) -> None:
    with pytest.raises(web.HTTPError) as refused:
        arrivals.check_json(body)
    assert_not_accepted(refused.value)


@pytest.mark.parametrize(
    ("body", "further"),
    [
        (b'{"user_options": {"profile": "heart"}, "display_name": "Mine"}', ()),
        (b'{"user_options": null}', ()),
        (b'{"display_name": "Mine"}', ()),
        (b'{"name": "new", "user_options": {}}', ("name",)),
    ],
)
def test_options_beside_a_display_name_are_accepted_by_jupyterhub_6(body: bytes, further: tuple[str, ...]) -> None:
    """To the versions before it, the whole body is the options."""
    with nullcontext() if HUB_6 else pytest.raises(web.HTTPError):
        arrivals.check_json(body, *further)


def part(name: str, value: str = "heart", file: str = "") -> bytes:
    filename = f'; filename="{file}"' if file else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n{value}\r\n'.encode()


def form(body: bytes, content_type: str = "", **headers: str) -> dict[str, list[bytes]]:
    request = SimpleNamespace(body=body, headers=httputil.HTTPHeaders({"Content-Type": content_type, **headers}))
    return arrivals.fields_of(request)  # type: ignore[arg-type]  # all that is read of a request


MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
URLENCODED = "application/x-www-form-urlencoded"
END = f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("body", "content_type", "fields"),
    [
        pytest.param(part("profile") + END, MULTIPART, {"profile": [b"heart"]}, id="the-page"),
        pytest.param(b"profile=heart&_xsrf=x", URLENCODED, {"profile": [b"heart"]}, id="urlencoded-and-token"),
        pytest.param(b"profile=heart", f"{URLENCODED}; charset=UTF-8", {"profile": [b"heart"]}, id="with-a-charset"),
        pytest.param(b"", "", {}, id="nothing"),
        pytest.param(b"", URLENCODED, {}, id="no-field"),
    ],
)
def test_form_of_one_field_is_accepted(body: bytes, content_type: str, fields: dict[str, list[bytes]]) -> None:
    assert form(body, content_type) == fields


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"profile=a&profile=b", URLENCODED, id="twice"),
        pytest.param(b"profile=a&profile=a", URLENCODED, id="twice-the-same"),
        pytest.param(b"profile=a&image=b", URLENCODED, id="another-field"),
        pytest.param(b"profile=%00", URLENCODED, id="nul"),
        pytest.param(b"profile=%ED%A0%80", URLENCODED, id="half-a-character"),
        pytest.param(b"profile=" + b"x" * 254, URLENCODED, id="254-characters"),
        pytest.param(b"profile=" + b"x" * 9000, URLENCODED, id="too-long"),
        pytest.param(b"&".join([b"a=b"] * 100), URLENCODED, id="many"),
        pytest.param(part("profile") + part("profile", file="x") + END, MULTIPART, id="a-file"),
        pytest.param(part("profile", file="x") + END, MULTIPART, id="only-a-file"),
        pytest.param(b'{"profile": "heart"}', "application/json", id="json"),
        pytest.param(b"profile=heart", "", id="no-content-type"),
    ],
)
def test_other_form_is_not_accepted(body: bytes, content_type: str) -> None:
    with pytest.raises(web.HTTPError) as refused:
        form(body, content_type)
    assert_not_accepted(refused.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, None),
        ({"profile": [b"heart"]}, "heart"),
        ({"profile": [b"heart", b"lungs"]}, "lungs"),
        ({"opt-profile": [b"heart"], "profile": [b"lungs"]}, "heart"),
        ({"profile": [b"\xff"]}, "\N{REPLACEMENT CHARACTER}"),
        ({"_xsrf": [b"x"], "next": [b"/"]}, None),
    ],
)
def test_link_names_a_workspace(arguments: dict[str, list[bytes]], expected: str | None) -> None:
    assert arrivals.wished(SimpleNamespace(request=SimpleNamespace(arguments=arguments))) == expected


def test_start_that_has_ended_names_none() -> None:
    assert arrivals.wished(None) is None


@pytest.fixture
def database() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(orm.Spawner(name="lab", user=orm.User(name="alice"), user_options={"profile": "heart"}))
        session.commit()
        session.expunge_all()
        yield session
    engine.dispose()


def stored(session: Session) -> Any:
    (row,) = session.query(orm.Spawner).all()
    return row


BAD_ROWS = {
    "a-list": "[1]",
    "a-number": "5",
    "null": "null",
    "nested": NESTED,
    "no-json": "profile",
    "empty": "",
    "long": json.dumps({"profile": "x" * 100_000}),
    "cut-to-something-right": '{"profile": "x"}' + " " * 100_000 + "x",
    "another-option": '{"profile": "x", "image": "y"}',
    "bytes": '{"__jupyterhub_bytes__": true, "data": "?"}',
    "twice": '{"profile": "a", "profile": "b"}',
}


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_stored_value_that_is_not_accepted_reads_as_nothing_chosen(
    database: Session, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And a start with new options takes its place; the one warning has the server's name and not the value."""
    database.execute(text("UPDATE spawners SET user_options = :row"), {"row": row})
    database.commit()
    spawner = stored(database)
    assert spawner.user_options == {}
    (warning,) = caplog.records
    assert warning.getMessage() == (
        "The stored options of server 'lab' of 'alice' are not ones that a workspace is started with; they are taken "
        "as nothing chosen"
    )
    spawner.user_options = {"profile": "lungs"}
    database.commit()
    database.expunge_all()
    assert stored(database).user_options == {"profile": "lungs"}


@pytest.mark.parametrize("options", [None, {}, {"profile": "heart"}, {"profile": LONGEST}])
def test_stored_value_that_is_accepted_is_read_as_it_is(
    database: Session, options: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    stored(database).user_options = options
    database.commit()
    database.expunge_all()
    assert stored(database).user_options == options
    assert not caplog.records


def test_hub_without_the_handlers_that_are_checked_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyterhub.handlers.default_handlers", [("/spawn", web.RequestHandler)])
    with pytest.raises(ConfigurationError, match="has no SpawnHandler among its handlers"):
        arrivals.install()
