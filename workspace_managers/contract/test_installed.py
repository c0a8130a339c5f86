"""What ``pytest --pyargs workspace_managers.contract`` collects: a class of tests for each installed plugin.

Always true here: what is installed is read when pytest collects, and each plugin without a contract that can be run is
a test of its own that fails with its name.
"""

from __future__ import annotations

import pytest

from .collection import find_contracts, test_classes

_found = find_contracts()
globals().update(test_classes(_found))
del test_classes


def test_a_plugin_is_installed() -> None:
    """L1: a run that found nothing to judge is no green run."""
    assert _found.names, "no workspace manager is installed in this environment"  # noqa: S101 - a test


@pytest.mark.parametrize("name", _found.names or ["none"])
def test_plugin_has_a_contract(name: str) -> None:
    """L2: a plugin without a contract is one that nobody has held to the rules."""
    if name in _found.problems:
        pytest.fail(_found.problems[name], pytrace=False)
