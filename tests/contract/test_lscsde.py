"""The shipped plugin keeps the contract, all of it."""

from __future__ import annotations

from workspace_manager_lscsde.contract import LscsdeContract


class TestLscsde(LscsdeContract):
    """Collected as in any plugin's own tests: one class, no fixture, no setting of pytest."""


def test_nothing_is_declared_unsupported() -> None:
    """The backend can do everything that the framework has rules for."""
    assert not LscsdeContract.unsupported
