"""What the spawn form shows (F1, F2)."""

from __future__ import annotations

import sys
import unicodedata
from datetime import date, timedelta
from typing import Any

import pytest

from tests.factories import TODAY, workspace
from workspace_managers import Resources, Workspace
from workspace_managers.forms import Card, Form, build_form


def card(**changes: Any) -> Card:
    return build_form([workspace(**changes)], TODAY).cards[0]


@pytest.mark.parametrize(
    ("days_left", "words", "soon"),
    [
        (15, "Open until the end of 30 June 2026", False),
        (14, "Closes in 14 days", True),
        (6, "Closes in 6 days", True),
        (2, "Closes in 2 days", True),
        (1, "Closes tomorrow", True),
        (0, "Closes today", True),
    ],
)
def test_open_card_tells_how_long(days_left: int, words: str, soon: bool) -> None:
    """F2: days left, in words from 14 days on."""
    told = card(grant_last_day=TODAY + timedelta(days=days_left))
    assert (told.when, told.closing_soon, told.selectable) == (words, soon, True)


def test_future_and_expired_cards_tell_the_date_and_cannot_be_chosen() -> None:
    """F2."""
    future = card(first_day=date(2027, 2, 1), last_day=date(2027, 3, 1), grant_last_day=date(2027, 3, 1))
    expired = card(last_day=date(2024, 12, 31))
    assert (future.when, future.state, future.selectable) == ("Opens 1 February 2027", "future", False)
    assert (expired.when, expired.state, expired.selectable) == ("Expired 31 December 2024", "expired", False)


def test_open_ones_first_by_title_then_future_then_expired() -> None:
    """F1: a stable order, whatever order the plugin answered in."""
    grants = [
        workspace("e", display_name="Alpha", last_day=date(2024, 1, 1)),
        workspace("d", display_name="Aleph", first_day=date(2026, 8, 1)),
        workspace("c", display_name="Alpha", first_day=date(2026, 7, 1)),
        workspace("b", display_name="zeta"),
        workspace("a2", display_name="Beta"),
        workspace("a1", display_name="beta"),
    ]
    expected = ["a1", "a2", "b", "c", "d", "e"]
    assert [each.slug for each in build_form(grants, TODAY).cards] == expected
    assert [each.slug for each in build_form(reversed(grants), TODAY).cards] == expected


@pytest.mark.parametrize(
    ("last_used", "expected"),
    [
        pytest.param("b", "b", id="the-last-one-used"),
        pytest.param("gone", "a", id="no-longer-there"),
        pytest.param("closed", "a", id="closed-since"),
        pytest.param(None, "a", id="never-used"),
        pytest.param({"b": 1}, "a", id="not-even-a-name"),
    ],
)
def test_one_is_preselected(last_used: object, expected: str) -> None:
    """F1: one default."""
    grants = [workspace("a"), workspace("b"), workspace("closed", last_day=date(2020, 1, 1))]
    assert build_form(grants, TODAY).preselected(last_used) == expected


def test_first_of_several_wishes_that_is_open_is_preselected() -> None:
    """F1: what a link names, then the last one used."""
    form = build_form([workspace(name) for name in "abc"], TODAY)
    assert [form.preselected(*wishes) for wishes in (("c", "b"), ("gone", "b"), (None, "b"), ())] == [
        "c",
        "b",
        "b",
        "a",
    ]


def test_nothing_to_choose_preselects_nothing() -> None:
    assert Form(()).preselected("a") is None
    assert build_form([workspace(last_day=date(2020, 1, 1))], TODAY).preselected("cardio") is None


@pytest.mark.parametrize(
    ("resources", "cpu", "memory"),
    [
        pytest.param(Resources(), "standard", "standard", id="none"),
        pytest.param(Resources(limits={"cpu": "2", "memory": "4Gi"}), "2 cores", "4 GiB", id="limits"),
        pytest.param(Resources(requests={"cpu": "500m"}), "0.5 cores", "standard", id="request-only"),
        pytest.param(
            Resources(requests={"memory": "1Gi"}, limits={"memory": "1500M"}),
            "standard",
            "1500 MB",
            id="the-limit-goes-before",
        ),
    ],
)
def test_resources_in_words(resources: Resources, cpu: str, memory: str) -> None:
    """F2: in the units they are in."""
    told = card(resources=resources)
    assert (told.cpu, told.memory) == (cpu, memory)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        pytest.param({"display_name": "  "}, "title", "cardio", id="blank-title"),
        pytest.param({"display_name": "a\u202eb\x00c\nd"}, "title", "a b c d", id="controls-in-a-title"),
        pytest.param({"display_name": "x" * 201}, "title", "x" * 200 + "…", id="endless-title"),
        pytest.param({"description": "a\r\nb\nc"}, "description", "a\nb\nc", id="line-breaks-kept"),
        pytest.param({"display_name": "\ud800"}, "title", "cardio", id="half-a-surrogate"),
        pytest.param({"display_name": "\u200b\u3164 x"}, "title", "\u200b\u3164 x", id="something-beside-nothing"),
        pytest.param({"display_name": "心臓"}, "title", "心臓", id="another-script"),
        pytest.param({"display_name": "❤️"}, "title", "❤️", id="emoji"),
        pytest.param({"display_name": "+"}, "title", "+", id="a-sign"),
        pytest.param({"display_name": "<i>x</i>"}, "title", "<i>x</i>", id="markup-is-text"),
    ],
)
def test_texts_are_bounded_and_free_of_controls(changes: dict[str, Any], field: str, expected: str) -> None:
    """F1."""
    assert getattr(card(**changes), field) == expected


NOTHING_TO_SEE = sorted(
    {each for each in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(each)[0] in "ZCM"}
    | set("\u115f\u1160\u3164\uffa0\u2800\ufffc\U0001d159")
)


def test_title_that_shows_nothing_is_the_name() -> None:
    """F1: blanks, marks, controls, formats and fillers: each of them there is, as many at once as a title can have."""
    texts = ["".join(NOTHING_TO_SEE[index : index + 200]) for index in range(0, len(NOTHING_TO_SEE), 200)]
    found = {text: card(display_name=text).title for text in texts}
    assert {text: title for text, title in found.items() if title != "cardio"} == {}


def test_no_workspaces_is_a_form_without_cards() -> None:
    nothing: list[Workspace] = []
    assert build_form(nothing, TODAY) == Form(())


def test_endless_description_is_cut() -> None:
    """F1."""
    assert card(description="x" * 1_000_000).description == "x" * 5000 + "…"
