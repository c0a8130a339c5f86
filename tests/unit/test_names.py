"""Names that Kubernetes accepts (S4)."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workspace_managers.names import (
    default_claim,
    is_name,
    is_personal_claim,
    label_value,
    personal_claim,
    server_name,
    volume_name,
)

LEGAL = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True
).filter(lambda name: len(name) <= 253)
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        ("a", True),
        ("a.b-c.0", True),
        ("a" * 253, True),
        ("a" * 254, False),
        ("", False),
        ("A", False),
        ("a..b", False),
        ("-a", False),
        ("a-", False),
        ("a.", False),
        ("a_b", False),
        ("a/b", False),
        ("a\n", False),
        (None, False),
        (3, False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_name_is_a_dns_subdomain(value: object, legal: bool) -> None:
    assert is_name(value) is legal


# What JupyterHub 6 takes as the name of a server.
SERVER_NAME = re.compile(r"(?!.*--)[a-z]([-a-z0-9]{0,28}[a-z0-9])?", re.ASCII)


@given(LEGAL)
def test_every_legal_workspace_gets_legal_names(name: str) -> None:
    """S4: dots and length are handled."""
    assert DNS_LABEL.fullmatch(volume_name(name))
    assert LABEL_VALUE.fullmatch(label_value(name))
    assert is_name(default_claim(name))
    assert SERVER_NAME.fullmatch(server_name(name))


@st.composite
def look_alikes(draw: st.DrawFn) -> tuple[str, str]:
    """Two legal names that differ in one character, which may be a dot for a dash."""
    one = draw(LEGAL.filter(lambda name: len(name) > 2) | st.just("a.b-" * 63 + "a"))
    place = draw(st.integers(0, len(one) - 1))
    other = one[:place] + draw(st.sampled_from("a0.-")) + one[place + 1 :]
    assume(is_name(other) and other != one)
    return one, other


@given(look_alikes())
def test_two_workspaces_never_share_a_name(names: tuple[str, str]) -> None:
    """S4: unique, in every name that is made of one."""
    for made in (volume_name, label_value, default_claim, server_name):
        assert made(names[0]) != made(names[1])


@pytest.mark.parametrize("length", [1, 62, 63, 64, 245, 246, 253])
def test_long_names_differ_though_they_begin_alike(length: int) -> None:
    """S4: what is cut off still counts."""
    one, other = "a" * length, "a" * (length - 1) + "b"
    assert label_value(one) != label_value(other)
    assert default_claim(one) != default_claim(other)
    assert volume_name(one) != volume_name(other)
    assert is_name(default_claim(one))
    assert LABEL_VALUE.fullmatch(label_value(one))
    assert DNS_LABEL.fullmatch(volume_name(one))


def test_dot_and_dash_differ() -> None:
    assert volume_name("a.b") != volume_name("a-b")


def test_short_name_is_kept() -> None:
    assert default_claim("cardio") == "jupyter-cardio"
    assert label_value("a" * 63) == "a" * 63


@pytest.mark.parametrize("workspace", ["cardio", "a" * 30, "study-1", "a-b-c"])
def test_server_has_the_name_of_its_workspace_where_jupyterhub_takes_that(workspace: str) -> None:
    """W1."""
    assert server_name(workspace) == workspace


@pytest.mark.parametrize(
    ("workspace", "begins"),
    [
        ("a" * 31, "a" * 19 + "-"),
        ("1-study", "w-1-study-"),
        ("a.study", "a-study-"),
        ("a--study", "a-study-"),
        ("1" * 253, "w-" + "1" * 17 + "-"),
    ],
    ids=lambda text: text[:40],
)
def test_server_is_named_after_its_workspace_where_jupyterhub_does_not_take_its_name(
    workspace: str, begins: str
) -> None:
    """W1."""
    assert re.fullmatch(f"{begins}[0-9a-f]{{10}}", server_name(workspace))


PEOPLE = ("alice", "alice@example.org", "李@x", "a" * 250, "", " ", "a/b", "..", "\ud800", "\x00")


@given(LEGAL, st.text() | st.sampled_from(PEOPLE))
def test_s8_home_has_a_legal_name_for_anybody_anywhere(workspace: str, username: str) -> None:
    name = personal_claim(username, workspace)
    assert is_name(name)
    assert is_personal_claim(name)
    assert DNS_LABEL.fullmatch(volume_name(name))


@given(st.tuples(LEGAL, st.text()), st.tuples(LEGAL, st.text()))
def test_s8_no_two_have_one_home(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume(one != other)
    assert personal_claim(*reversed(one)) != personal_claim(*reversed(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("alice", "bcardio"), ("aliceb", "cardio")),
        (("1:a", "b"), ("a", "b")),
        (("alice", "a" * 253), ("alice", "a" * 252)),
        (("alice", "a" * 230 + "-b"), ("alice", "a" * 230 + ".b")),
        (("alice", "cardio"), ("ALICE", "cardio")),
    ],
)
def test_s8_homes_of_look_alikes_are_two(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert personal_claim(*one) != personal_claim(*other)


@pytest.mark.parametrize("workspace", ["cardio", "a.b-c", "0", "a" * 253])
def test_s8_no_workspaces_own_default_is_a_home(workspace: str) -> None:
    assert not is_personal_claim(default_claim(workspace))
