"""Names that Kubernetes accepts (S4)."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workspace_managers.names import default_claim, is_name, label_value, volume_name

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


@given(LEGAL)
def test_every_legal_workspace_gets_legal_names(name: str) -> None:
    """S4: dots and length are handled."""
    assert DNS_LABEL.fullmatch(volume_name(name))
    assert LABEL_VALUE.fullmatch(label_value(name))
    assert is_name(default_claim(name))


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
    for made in (volume_name, label_value, default_claim):
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
