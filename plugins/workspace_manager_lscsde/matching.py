"""Which users the ``claims`` of a binding hold for: what it wants of their identity claims.

What is not certain grants nothing (rule A2). An identity claim that the user has not, that is neither text nor a list,
or that is not known now holds for no operator, ``NOT EQUALS`` and ``NOT IN`` included: an identity provider that stops
sending one must not open anything. Texts are compared whole and exactly, as the provider sent them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from workspace_managers import quote

from .refused import Refused


class Operator(Enum):
    """How an identity claim and a value are compared; the value is the resource's own word."""

    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT EQUALS"
    IN = "IN"
    NOT_IN = "NOT IN"


_NEGATIONS = frozenset({Operator.NOT_EQUALS, Operator.NOT_IN})
_LISTS = frozenset({Operator.IN, Operator.NOT_IN})


@dataclass(frozen=True, slots=True)
class Rule:
    """One item of a binding's ``claims``.

    Attributes:
        claim: Name of the identity claim, whole: no path into a nested one.
        operator: How it is compared.
        values: What it is compared with: the one value of ``EQUALS``, the items of an ``IN`` list.
    """

    claim: str
    operator: Operator
    values: frozenset[str]

    def keys(self) -> list[str]:
        """One of these is among the ``identity_keys`` of all whom it holds for; none where that cannot be said."""
        return [] if self.operator in _NEGATIONS else [_key(self.claim, value) for value in self.values]

    def holds(self, identity_claims: Mapping[str, Any] | None) -> bool:
        """Whether it holds for a user with these identity claims; None where they are not known."""
        items = None if identity_claims is None else _items(identity_claims.get(self.claim))
        if items is None:
            return False
        has_one = any(isinstance(item, str) and item in self.values for item in items)
        if self.operator in _NEGATIONS:
            # An item that cannot be compared may be the very one that is excluded.
            return not has_one and all(isinstance(item, str) for item in items)
        return has_one


def identity_keys(identity_claims: Mapping[str, Any] | None) -> set[str]:
    """What bindings are looked for by, for a user with these claims; a key in common does not yet make a rule hold."""
    found = (identity_claims or {}).items()
    return {_key(name, item) for name, items in found for item in _items(items) or () if isinstance(item, str)}


def _key(claim: str, value: str) -> str:
    return f"{claim}={value}"


def _items(found: object) -> list[Any] | tuple[Any, ...] | None:
    """The items of an identity claim; None where it is missing, or neither text nor a list."""
    if isinstance(found, str):
        return [found]
    return found if isinstance(found, list | tuple) else None


def read_rule(name: str | None, operator: str | None, value: str | None) -> Rule:
    """Read one item of ``claims``.

    Args:
        name: The identity claim.
        operator: One of the four, in capitals.
        value: The value; for ``IN`` and ``NOT IN`` a comma-separated list whose items are stripped.

    Raises:
        Refused: Something is missing or unknown; the whole binding then grants nothing.
    """
    if not name:
        raise Refused("spec.claims: an item has no name")
    try:
        known = Operator(operator)
    except ValueError as error:
        accepted = ", ".join(each.value for each in Operator)
        raise Refused(f"spec.claims: the operator {quote(operator, 40)} is not one of {accepted}") from error
    if value is None:
        raise Refused(f"spec.claims: the item for {quote(name, 80)} has no value")
    if known not in _LISTS:
        return Rule(name, known, frozenset({value}))
    items = frozenset(item for item in (part.strip() for part in value.split(",")) if item)
    if not items:
        raise Refused(f"spec.claims: the list for {quote(name, 80)} is empty")
    return Rule(name, known, items)
