"""A contract class that is not whole is an error where it is written, by name."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from workspace_managers import User, Volume, Workspace, WorkspaceManager
from workspace_managers.contract import ContractError, Stage, WorkspaceManagerContract, World

PLACE = f"{__name__}.Bad"


class Nothing(WorkspaceManager):
    """Has no workspaces."""

    interface_versions = (1, 1)

    async def list_workspaces(self, user: User) -> list[Workspace]:
        return []

    async def volumes_for(self, user: User, workspace: Workspace) -> list[Volume]:
        return []


class Void(World):
    """Takes everything and keeps nothing."""

    async def put_workspace(self, name: str, **facts: Any) -> None: ...
    async def grant(self, username: str, workspace: str, last_day: date) -> None: ...
    async def revoke(self, username: str, workspace: str) -> None: ...
    async def delete_workspace(self, name: str) -> None: ...
    async def outage(self) -> None: ...
    async def recover(self) -> None: ...


class Verbless(Void):
    """Lacks two verbs, one of them by not being async."""

    grant = World.grant

    def recover(self) -> None:  # type: ignore[override]  # wrong on purpose
        ...


WHOLE: dict[str, Any] = {"manager_class": Nothing, "world": Void}
CLAUSE = "test_unknown_user_has_nothing"


def bad(bases: tuple[type, ...] = (WorkspaceManagerContract,), **members: Any) -> type:
    """A contract class ``Bad`` with these members."""
    return type("Bad", bases, {"__module__": __name__, "__qualname__": "Bad", **members})


class Quiet:
    """A mixin that takes a clause away."""

    test_unknown_user_has_nothing = None


@pytest.mark.parametrize(
    ("members", "problems"),
    [
        pytest.param({"manager_class": Nothing}, ["has no world; set it to a subclass of World"], id="no-world"),
        pytest.param({"world": Void}, ["has no manager_class; set it to the plugin's class"], id="no-manager-class"),
        pytest.param({}, ["has no manager_class", "has no world"], id="neither"),
        pytest.param(WHOLE | {"manager_class": int}, ["not a subclass of WorkspaceManager: <class 'int'>"], id="int"),
        pytest.param(WHOLE | {"world": Void()}, ["has a world that is not a subclass of World"], id="world-made"),
        pytest.param(
            WHOLE | {"world": World},
            [f"has a world, World, without {verb}" for verb in sorted(World.__abstractmethods__)],
            id="world-without-verbs",
        ),
        pytest.param(
            WHOLE | {"world": Verbless},
            ["has a world, Verbless, without grant", "has a world, Verbless, whose recover is not async"],
            id="world-verbs-missing",
        ),
        pytest.param(
            WHOLE | {CLAUSE: lambda self: None}, [f"overrides {CLAUSE}, which is the suite's own"], id="clause"
        ),
        pytest.param(WHOLE | {CLAUSE: None}, [f"overrides {CLAUSE}"], id="clause-taken-away"),
        pytest.param(WHOLE | {"bases": (Quiet, WorkspaceManagerContract)}, [f"overrides {CLAUSE}"], id="by-a-mixin"),
        pytest.param(WHOLE | {"run_clause": lambda self, made: None}, ["overrides run_clause"], id="machinery"),
        pytest.param(WHOLE | {"__init__": lambda self: None}, ["has an __init__, so pytest"], id="init"),
        pytest.param(WHOLE | {"__test__": False}, ["sets __test__, so pytest would not collect it"], id="not-a-test"),
        pytest.param(
            WHOLE | {"unsupported": {"test_x": "x"}}, ["declares 'test_x' unsupported, which is no"], id="name"
        ),
        pytest.param(WHOLE | {"unsupported": {CLAUSE: ""}}, [f"'{CLAUSE}' unsupported without a reason"], id="reason"),
        pytest.param(WHOLE | {"unsupported": {CLAUSE: None}}, ["unsupported without a reason"], id="reason-none"),
        pytest.param(WHOLE | {"unsupported": [CLAUSE]}, ["is not a mapping of clause names to reasons"], id="list"),
    ],
)
def test_class_that_is_not_whole_is_an_error_by_name(members: dict[str, Any], problems: list[str]) -> None:
    """Every problem at once, each a sentence with the class in it."""
    with pytest.raises(ContractError) as error:
        bad(**members)
    found = error.value.problems
    assert len(found) == len(problems)
    for text, expected in zip(found, problems, strict=True):
        assert text.startswith(f"{PLACE} ")
        assert expected in text
        assert "\n" not in text


def test_whole_class_is_taken_and_may_be_subclassed() -> None:
    """The collection does that."""
    whole = bad(**WHOLE)
    assert issubclass(type("Test_x", (whole,), {}), WorkspaceManagerContract)


def test_clause_declared_unsupported_that_fails_is_an_expected_failure() -> None:
    """With the reason in the report."""
    name = "test_hostile_text_stays_text"
    contract: Any = bad(**WHOLE, unsupported={name: "it has no texts"})()
    with pytest.raises(pytest.xfail.Exception, match="unsupported: it has no texts"):
        getattr(contract, name)()


def test_clause_declared_unsupported_that_passes_is_a_failure() -> None:
    """A backend has learned it, and the declaration hides the next fault."""
    contract: Any = bad(**WHOLE, unsupported={CLAUSE: "it has no users"})()
    with pytest.raises(
        pytest.fail.Exception, match=r"declared unsupported \(it has no users\), and passes; take it off"
    ):
        getattr(contract, CLAUSE)()


def test_fault_of_the_world_is_never_unsupported() -> None:
    """The plugin was not asked."""

    class Cracked(Void):
        async def start(self) -> None:
            raise RuntimeError("the backend did not start")

    contract: Any = bad(manager_class=Nothing, world=Cracked, unsupported={CLAUSE: "it has no users"})()
    with pytest.raises(RuntimeError, match="the backend did not start"):
        getattr(contract, CLAUSE)()


def test_world_that_breaks_no_workspace_says_what_to_do() -> None:
    """The one verb that may be missing, and then only with a reason."""
    name = "test_broken_workspace_hides_no_other"
    with pytest.raises(NotImplementedError, match="Void has no break_workspace; write it, or declare the clause"):
        getattr(bad(**WHOLE)(), name)()
    with pytest.raises(pytest.xfail.Exception, match="unsupported: nothing in it can break"):
        getattr(bad(**WHOLE, unsupported={name: "nothing in it can break"})(), name)()


def test_clause_without_a_rule_is_an_error() -> None:
    """The suite's authors forget too."""
    from workspace_managers.contract.obligations import clause  # noqa: PLC0415 - the only one here

    async def test_x(self: object, stage: Stage) -> None:
        """Says nothing"""

    with pytest.raises(TypeError, match="test_x does not begin with the number of its rule"):
        clause()(test_x)


def test_worlds_are_small(tmp_path: Path) -> None:
    """What a plugin author has to write: six verbs."""
    assert len(World.__abstractmethods__) == 6
