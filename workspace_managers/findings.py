"""What was looked at for a decision, as an operator reads it."""

from __future__ import annotations

import attrs


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        rule: The number of the rule, such as ``A2``.
        what: The resource, its version and the field, such as ``binding 'one' (version 12), spec.username``.
        found: What is there, in words.
        holds: Whether that speaks for a start; None where it decides nothing.
        change: What would be right, where it does not hold.
    """

    rule: str
    what: str
    found: str
    holds: bool | None
    change: str = ""
