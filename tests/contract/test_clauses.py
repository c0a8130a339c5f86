"""Each clause has teeth: a plugin that breaks its rule turns it red, and leaves those beside it green.

The broken plugins are in ``dists/examples/wm_contract/broken.py``, installed and found through their entry points.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from workspace_managers.contract import WorkspaceManagerContract
from workspace_managers.contract.collection import find_contracts
from workspace_managers.registry import CONTRACT_GROUP, installed

Contracts = Mapping[str, type[WorkspaceManagerContract]]

CLAUSES = WorkspaceManagerContract.clauses()
NEIGHBOURS = 2
SLOW = "test_import_makes_no_call"
DISTRIBUTION = "workspace-manager-examples"


@pytest.fixture(scope="module")
def contracts(site: Path) -> Contracts:
    """The contracts of the examples, by name."""
    groups = [[each for each in installed(group) if each.distribution == DISTRIBUTION] for group in GROUPS]
    found = find_contracts(*groups)
    assert not found.problems
    return found.contracts


GROUPS = ("workspace_managers", CONTRACT_GROUP)


def broken() -> Mapping[str, Sequence[type[Any]]]:
    """Each clause, and the plugins that break it."""
    table: Mapping[str, Sequence[type[Any]]] = importlib.import_module("wm_contract.broken").BROKEN
    return table


def is_red(contract: type[WorkspaceManagerContract], clause: str) -> bool:
    """Whether a clause fails for a plugin; to be left out is not to fail."""
    try:
        getattr(contract(), clause)()
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("clause", CLAUSES)
def test_example_keeps_every_clause(contracts: Contracts, clause: str) -> None:
    """What is right is green, or red would tell nothing."""
    try:
        getattr(contracts["watching"](), clause)()
    except pytest.skip.Exception as skipped:
        pytest.fail(f"left out: {skipped}")


@pytest.mark.parametrize("clause", CLAUSES)
def test_broken_plugin_turns_its_clause_red_and_no_neighbour(contracts: Contracts, clause: str) -> None:
    """The clauses written before and after it stay green, so it is this rule that was broken."""
    names = [name for name in CLAUSES if name == clause or name != SLOW]
    place = names.index(clause)
    beside = names[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
    for plugin in broken()[clause]:
        try:
            red = [name for name in beside if is_red(contracts[plugin.__name__.casefold()], name)]
        finally:
            importlib.import_module("wm_contract.broken").tidy()
        assert red == [clause], plugin.__name__


def test_every_clause_has_a_plugin_that_breaks_it(contracts: Contracts) -> None:
    """A clause that nothing breaks may be one that nothing can."""
    assert list(broken()) == list(CLAUSES)
    assert all(broken().values())


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_tells_its_rule_and_why(clause: str) -> None:
    """A red clause is read by somebody who does not have the design at hand."""
    assert re.fullmatch(r"[ALSF][1-7]", CLAUSES[clause].rule)
    assert len(CLAUSES[clause].why) > 40
    assert getattr(WorkspaceManagerContract, clause).__doc__.startswith(f"{CLAUSES[clause].rule}: ")
