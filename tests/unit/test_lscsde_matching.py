"""Which users a binding's ``claims`` hold for (rule A2): the whole truth table of the four operators."""

from __future__ import annotations

from typing import Any

import pytest

from workspace_manager_lscsde.matching import identity_keys, read_rule
from workspace_manager_lscsde.refused import Refused

MISSING = object()
RULES = [
    read_rule("team", operator, value)
    for operator, value in (
        ("EQUALS", "cardio"),
        ("NOT EQUALS", "cardio"),
        ("IN", "cardio, hip"),
        ("NOT IN", "cardio, hip"),
    )
]

# What the user's claim "team" is, and whether it holds for: EQUALS cardio, NOT EQUALS cardio, IN, NOT IN "cardio, hip".
TRUTH = [
    pytest.param("cardio", True, False, True, False, id="the-value"),
    pytest.param("hip", False, True, True, False, id="another-of-the-list"),
    pytest.param("asthma", False, True, False, True, id="neither"),
    pytest.param("", False, True, False, True, id="empty-text"),
    pytest.param("Cardio", False, True, False, True, id="another-case"),
    pytest.param(" cardio", False, True, False, True, id="a-blank-before"),
    pytest.param("cardio-outcomes", False, True, False, True, id="longer"),
    pytest.param("cardio, hip", False, True, False, True, id="the-text-of-the-list"),
    pytest.param(["cardio"], True, False, True, False, id="list-with-it"),
    pytest.param(["asthma", "hip"], False, True, True, False, id="list-with-another"),
    pytest.param(["asthma", "cardio"], True, False, True, False, id="list-with-it-last"),
    pytest.param(["asthma"], False, True, False, True, id="list-with-neither"),
    pytest.param([], False, True, False, True, id="empty-list"),
    pytest.param(("cardio",), True, False, True, False, id="tuple"),
    pytest.param(["asthma", 5], False, False, False, False, id="list-with-a-number"),
    pytest.param(["cardio", 5], True, False, True, False, id="list-with-it-and-a-number"),
    pytest.param([["cardio"]], False, False, False, False, id="list-in-a-list"),
    pytest.param([None], False, False, False, False, id="list-of-null"),
    pytest.param(MISSING, False, False, False, False, id="missing"),
    pytest.param(None, False, False, False, False, id="null"),
    pytest.param(True, False, False, False, False, id="boolean"),
    pytest.param(7, False, False, False, False, id="number"),
    pytest.param({"cardio": 1}, False, False, False, False, id="map"),
    pytest.param({"cardio"}, False, False, False, False, id="set"),
]


@pytest.mark.parametrize(("found", "equals", "not_equals", "is_in", "not_in"), TRUTH)
def test_claim_grants_only_what_is_certain(
    found: Any, equals: bool, not_equals: bool, is_in: bool, not_in: bool
) -> None:
    """A2, issue part 3: a claim that is missing or of another type never grants, whichever the operator."""
    claims = {"other": "cardio"} | ({} if found is MISSING else {"team": found})
    answers = {rule.operator.value: rule.holds(claims) for rule in RULES}
    assert answers == {"EQUALS": equals, "NOT EQUALS": not_equals, "IN": is_in, "NOT IN": not_in}


@pytest.mark.parametrize("found", [pytest.param(each.values[0], id=each.id) for each in TRUTH])
def test_rule_that_holds_is_found_by_its_keys(found: Any) -> None:
    """A2: whom a rule without a "not" holds for has one of its keys; the others have none to be looked for by."""
    claims = {"other": "cardio"} | ({} if found is MISSING else {"team": found})
    equals, not_equals, is_in, not_in = RULES
    for rule in (equals, is_in):
        assert rule.holds(claims) == bool(identity_keys(claims).intersection(rule.keys()))
    assert not_equals.keys() == not_in.keys() == []


@pytest.mark.parametrize(
    ("value", "claim", "holds"),
    [
        pytest.param("a,b", "b", True, id="no-blanks"),
        pytest.param("  a ,\tb\n", "b", True, id="items-are-stripped"),
        pytest.param("a", "a", True, id="one-item"),
        pytest.param("a,b,", "", False, id="a-trailing-comma-grants-the-empty-claim-nothing"),
        pytest.param("data managers, b", "data managers", True, id="blanks-inside-an-item-stay"),
        pytest.param("a,b", "a,b", False, id="the-whole-list-is-no-item"),
        pytest.param("groß,b", "groß", True, id="unicode"),
        pytest.param("a*", "ab", False, id="no-wildcards"),
    ],
)
def test_in_takes_a_comma_separated_list(value: str, claim: str, holds: bool) -> None:
    """Issue part 3: IN takes a comma-separated list."""
    assert read_rule("team", "IN", value).holds({"team": claim}) is holds
    assert read_rule("team", "NOT IN", value).holds({"team": claim}) is not holds


@pytest.mark.parametrize("value", ["a, b", "", " a"], ids=["comma", "empty", "blank"])
def test_equals_is_whole_and_exact(value: str) -> None:
    """A2: the value of EQUALS is one text, taken as it is."""
    assert read_rule("team", "EQUALS", value).holds({"team": value})
    assert not read_rule("team", "EQUALS", value).holds({"team": "a"})


def test_claim_name_is_no_path() -> None:
    """A2: a nested claim is not reached by dots."""
    assert not read_rule("realm.team", "EQUALS", "a").holds({"realm": {"team": "a"}})
    assert read_rule("realm.team", "EQUALS", "a").holds({"realm.team": "a"})


@pytest.mark.parametrize(
    ("name", "operator", "value", "reason"),
    [
        pytest.param(None, "EQUALS", "a", "an item has no name", id="no-name"),
        pytest.param("", "EQUALS", "a", "an item has no name", id="empty-name"),
        pytest.param(
            "team", None, "a", "the operator 'None' is not one of EQUALS, NOT EQUALS, IN, NOT IN", id="no-operator"
        ),
        pytest.param("team", "LIKE", "a", "the operator 'LIKE' is not one of", id="unknown-operator"),
        pytest.param("team", "equals", "a", "the operator 'equals' is not one of", id="lower-case"),
        pytest.param("team", "NOT  EQUALS", "a", "is not one of", id="two-blanks"),
        pytest.param("team", "X" * 10_000, "a", "(10000 characters)", id="hostile-operator"),
        pytest.param("team", "EQUALS", None, "the item for 'team' has no value", id="no-value"),
        pytest.param("team", "IN", "", "the list for 'team' is empty", id="empty-list"),
        pytest.param("team", "NOT IN", " , ,", "the list for 'team' is empty", id="list-of-blanks"),
    ],
)
def test_item_that_says_nothing_certain_is_refused(
    name: str | None, operator: str | None, value: str | None, reason: str
) -> None:
    """Issue part 3: an unknown operator grants nothing; neither does an item with a part missing."""
    with pytest.raises(Refused) as refused:
        read_rule(name, operator, value)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 700


def test_claims_that_are_not_known_hold_for_nothing() -> None:
    """A2: lost auth state opens nothing, by no operator."""
    assert not any(rule.holds(None) for rule in RULES)
    assert identity_keys(None) == set()
