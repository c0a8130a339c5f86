"""What an account was granted, held against what it asked for: pure functions over roles and the audit log.

Always true here: a right is one verb on one resource (`patch analyticsworkspaces.xlscsde.nhs.uk/status`), so a wildcard
in a rule is a right of its own, which nobody ever uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

REFUSED = (401, 403)


def rights(rules: Iterable[Mapping[str, Any]]) -> set[str]:
    """The rights that the rules of a role, or of a `SelfSubjectRulesReview`, give."""
    return {
        _right(verb, group, *resource.partition("/")[::2])
        for rule in rules
        for verb, group, resource in product(rule["verbs"], rule.get("apiGroups", []), rule.get("resources", []))
    }


def requests_of(audit_log: Path, user: str) -> list[dict[str, Any]]:
    """The events of one user, in their order; the last line may be half written."""
    events = [json.loads(line) for line in audit_log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [event for event in events if event["user"].get("username") == user]


def used(requests: Iterable[Mapping[str, Any]]) -> set[str]:
    """The rights that requests were made by."""
    return {_right_of(request) for request in requests}


def disagreements(
    requests: Sequence[Mapping[str, Any]], *, granted: set[str], to_be_used: set[str], namespace: str
) -> list[str]:
    """Everything that is not as least privilege wants it, one line each.

    Args:
        requests: Of the account's whole life.
        granted: All its rights.
        to_be_used: Those of them that must have been used.
        namespace: The only one in which it has any.
    """
    found = [f"granted, but never used: {right}" for right in to_be_used - used(requests)]
    for request in requests:
        what = f"{_right_of(request)} ({request['requestURI']})"
        if _right_of(request) not in granted:
            found.append(f"used, but not granted: {what}")
        if request.get("responseStatus", {}).get("code") in REFUSED:
            found.append(f"refused: {what}")
        if request.get("objectRef", {}).get("namespace") != namespace:
            found.append(f"outside the namespace {namespace}: {what}")
    return sorted(set(found))


def _right_of(request: Mapping[str, Any]) -> str:
    # Without one it is a path that is no object's, such as /version.
    thing = request.get("objectRef")
    if thing is None:
        return f"{request['verb']} {request['requestURI']}"
    return _right(request["verb"], thing.get("apiGroup", ""), thing["resource"], thing.get("subresource", ""))


def _right(verb: str, group: str, resource: str, subresource: str) -> str:
    return f"{verb} {resource}{group and f'.{group}'}{subresource and f'/{subresource}'}"
