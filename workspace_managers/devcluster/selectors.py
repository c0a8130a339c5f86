"""Label and field selectors, as the query parameters `labelSelector` and `fieldSelector` spell them.

Always true here: text that is not a legal selector raises `ValueError` with a message for the client, and is
never taken for a selector that matches everything. A selector is a pure predicate over an object (a JSON
dict).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

Object = dict[str, Any]
Predicate = Callable[[Object], bool]

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_FLAGS = frozenset({"spec.hostNetwork"})
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SET = re.compile(r"(?P<key>[^\s,=!()<>]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_COMPARE = re.compile(r"(?P<key>[^\s,=!()<>]+)\s*(?P<op>==|=|!=|<|>)\s*(?P<value>[^\s,=!()<>]*)")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s,=!()<>]+)")


def label_key_problem(key: str) -> str | None:
    """Say what is wrong with a label key (`name` or `prefix/name`), or None for a legal one."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and DNS_SUBDOMAIN.fullmatch(prefix)):
        return "prefix part must be a DNS-1123 subdomain of at most 253 characters"
    if not (len(name) <= 63 and _NAME.fullmatch(name)):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', must start and end with an "
            "alphanumeric character and be no more than 63 characters"
        )
    return None


def label_value_problem(value: str) -> str | None:
    """Say what is wrong with a label value, or None for a legal one (the empty value is legal)."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if value and not _NAME.fullmatch(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return None


def labels(text: str) -> Predicate:
    """Parse a label selector such as `app=hub,tier in (a, b),!old`.

    Raises:
        ValueError: The text is not a selector, or a key or value in it is not legal.
    """
    checks = [_label_check(part) for part in _split(text)]
    return lambda item: _all(checks, item.get("metadata", {}).get("labels") or {})


def fields(text: str, supported: Collection[str]) -> Predicate:
    """Parse a field selector such as `metadata.name=a,status.phase!=Running`.

    Args:
        supported: The paths that this resource can be selected by; the real server knows few for each
            resource too.

    Raises:
        ValueError: The text is not a selector, or names a path that is not supported.
    """
    checks: list[Predicate] = []
    for part in filter(None, text.split(",")):
        path, operator, value = _partition(part)
        if path not in supported:
            raise ValueError(f"field label not supported: {path}")
        checks.append(_field_check(path, value, operator != "!="))
    return lambda item: _all(checks, item)


def _all(checks: list[Callable[[Any], bool]], item: Mapping[str, Any]) -> bool:
    return all(check(item) for check in checks)


def _partition(part: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = part.partition(operator)
        if found:
            return path.strip(), operator, value.strip()
    raise ValueError(f"invalid selector: '{part}'; can't understand '{part}'")


def _field_check(path: str, wanted: str, equal: bool) -> Predicate:
    steps = path.split(".")

    def check(item: Object) -> bool:
        found: Any = item
        for step in steps:
            found = found.get(step) if isinstance(found, dict) else None
        # An absent field selects as the empty string: `spec.nodeName=` finds the pods that no node has taken. A flag is
        # false then.
        found = False if found is None and path in _FLAGS else found
        text = str(found).lower() if isinstance(found, bool) else str(found or "")
        return (text == wanted) is equal

    return check


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside of parentheses."""
    if not text.strip():
        return
    for part in re.split(r",(?![^(]*\))", text):
        if not part.strip():
            raise ValueError(f"unable to parse requirement: found ',' or the end of '{text}', expected: identifier")
        yield part.strip()


def _label_check(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in match["values"].split(","))
        key = _legal(match["key"], *values)
        if match["op"] == "in":
            return lambda found: found.get(key) in values
        return lambda found: found.get(key) not in values
    if match := _COMPARE.fullmatch(part):
        operator, value = match["op"], match["value"]
        key = _legal(match["key"], value)
        if operator in "<>":
            return _number_check(key, operator, value)
        if operator == "!=":
            return lambda found: found.get(key) != value
        return lambda found: found.get(key) == value
    if match := _EXISTS.fullmatch(part):
        key, absent = _legal(match["key"]), bool(match["not"])
        return lambda found: (key not in found) is absent
    raise ValueError(f"unable to parse requirement: '{part}' is not a label requirement")


def _number_check(key: str, operator: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    if not re.fullmatch(r"-?\d+", value):
        raise ValueError(f"for '{operator}' the value must be an integer, found '{value}'")
    limit = int(value)

    def check(found: Mapping[str, str]) -> bool:
        if not re.fullmatch(r"-?\d+", found.get(key, "")):
            return False
        return int(found[key]) > limit if operator == ">" else int(found[key]) < limit

    return check


def _legal(key: str, *values: str) -> str:
    if problem := label_key_problem(key):
        raise ValueError(f"unable to parse requirement: invalid label key '{key}': {problem}")
    for value in values:
        if problem := label_value_problem(value):
            raise ValueError(f"unable to parse requirement: invalid label value '{value}': {problem}")
    return key
