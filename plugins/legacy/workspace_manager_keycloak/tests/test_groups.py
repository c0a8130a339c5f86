"""Groups read as workspaces, without a Keycloak."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from workspace_managers import Resources

from ..groups import Group, claimed_paths, read_groups, workspace_name
from ..variables import Environment

PREFIX = "workspace.xlscsde.nhs.uk/"
ENVIRONMENTS = {
    "jupyter_default": Environment("example/notebook:1.0", Resources()),
    "large": Environment("example/large:2", Resources(limits={"memory": "64Gi"})),
}


def raw(name: str, **attributes: Any) -> dict[str, Any]:
    return {
        "id": f"id of {name}",
        "name": name,
        "path": f"/jupyter-workspaces/{name}",
        "attributes": {f"{PREFIX}{key}": value for key, value in attributes.items()},
    }


def only(found: Mapping[str, Any]) -> Group:
    (group,), problems = read_groups([found], ENVIRONMENTS)
    assert problems == []
    return group


def test_group_is_read_whole() -> None:
    group = only(
        raw("Heart A", environment=["large"], startDate=["2026-01-02"], endDate=["2026-03-04"], description=["<b>"])
    )
    assert (group.id, group.path) == ("id of Heart A", "/jupyter-workspaces/heart a")
    workspace = group.workspace
    assert (workspace.name, workspace.display_name, workspace.description) == ("heart-a", "Heart A", "<b>")
    assert workspace.first_day == date(2026, 1, 2)
    assert workspace.last_day == workspace.grant_last_day == date(2026, 3, 4)
    assert (workspace.image, workspace.resources.limits) == ("example/large:2", {"memory": "64Gi"})


def test_group_without_attributes_has_expired() -> None:
    """A1: no end is no access."""
    for found in (raw("heart"), {**raw("heart"), "attributes": None}):
        workspace = only(found).workspace
        assert workspace.last_day == date(1900, 1, 1)
        assert workspace.image == "example/notebook:1.0"


@pytest.mark.parametrize(
    ("name", "attributes", "told"),
    [
        pytest.param(
            "heart", {"endDate": ["31/12/2026"]}, "its attribute endDate: '31/12/2026' is not a date", id="day"
        ),
        pytest.param("heart", {"startDate": ["soon"]}, "its attribute startDate: 'soon' is not a date", id="start"),
        pytest.param("heart", {"endDate": []}, "its attribute endDate is '[]'; accepted is one text", id="none"),
        pytest.param("heart", {"endDate": ["2026-01-01", "2027-01-01"]}, "accepted is one text", id="two"),
        pytest.param("heart", {"endDate": "2026-01-01"}, "accepted is one text", id="no-list"),
        pytest.param("heart", {"endDate": [20260101]}, "accepted is one text", id="number"),
        pytest.param("heart", {"environment": ["huge"]}, "its environment 'huge' is not one of", id="environment"),
        pytest.param("a/b", {}, "its name gives 'a/b', which is not a workspace's name", id="slash"),
        pytest.param("heart_a", {}, "its name gives 'heart_a'", id="underscore"),
        pytest.param(" heart", {}, "its name gives '-heart'", id="leading-blank"),
        pytest.param("", {}, "its name gives ''", id="empty"),
        pytest.param("x" * 254, {}, "which is not a workspace's name", id="254"),
        pytest.param("h\u00e9art", {}, r"its name gives 'h\xe9art'", id="unicode"),
        pytest.param("<script>\n" + "x" * 999, {}, r"group '<script>\n", id="hostile"),
    ],
)
def test_group_that_is_not_certain_hides_no_other(name: str, attributes: dict[str, Any], told: str) -> None:
    """F3: it is set aside, in one bounded sentence."""
    groups, (problem,) = read_groups([raw(name, **attributes), raw("lungs")], ENVIRONMENTS)
    assert [group.workspace.name for group in groups] == ["lungs"]
    assert told in problem
    assert len(problem) < 600
    assert "\n" not in problem


def test_name_of_253_characters_is_legal() -> None:
    assert only(raw("X" * 253)).workspace.name == "x" * 253


@pytest.mark.parametrize("twin", ["heart-a", "HEART A", "heart a", "Heart-A"])
def test_groups_with_one_workspace_name_are_all_refused(twin: str) -> None:
    """S1: their claim would be the same; whether one of them is broken does not matter."""
    groups, (problem,) = read_groups([raw("Heart A"), raw("lungs"), raw(twin, endDate=["?"])], ENVIRONMENTS)
    assert [group.workspace.name for group in groups] == ["lungs"]
    assert problem.startswith(f"workspace 'heart-a': the names of 2 groups come to it, such as 'Heart A' and {twin!r},")


def test_name_is_lower_case_with_hyphens_for_blanks() -> None:
    assert [workspace_name(name) for name in ("Heart A", "a  b", "A.B")] == ["heart-a", "a--b", "a.b"]


@pytest.mark.parametrize("claim", [None, "/jupyter-workspaces/heart", {"/jupyter-workspaces/heart": 1}, 7])
def test_claim_that_is_no_list_names_nothing(claim: object) -> None:
    assert claimed_paths({"realm_groups": claim}) == frozenset()
    assert claimed_paths({}) == frozenset()


def test_claim_is_in_lower_case_and_odd_items_left_out() -> None:
    assert claimed_paths({"realm_groups": ["/A/B", 7, None]}) == {"/a/b"}
