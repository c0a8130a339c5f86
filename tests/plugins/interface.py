"""The interface that plugins are written for, as lines of text: ``python -m tests.plugins.interface`` records it.

Always true here: what is told is read from the modules that plugins import, a line for each thing that a plugin can
rely on, so the lines that are gone or new are all that has changed. While the version stays, lines may only be added,
and only such as no plugin has to do anything about.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

import workspace_managers
from workspace_managers import contract

RECORD = Path(__file__).with_name("interface.txt")
COMMAND = "python -m tests.plugins.interface"
MODULES = (workspace_managers, contract)
_VERSION = "INTERFACE_VERSION"
_REQUIRED, _ABSTRACT = ", required", ", abstract"


def described(modules: Sequence[ModuleType] = MODULES) -> list[str]:
    """The interface of these modules, the version first."""
    lines = [f"{_VERSION} = {getattr(modules[0], _VERSION)}"]
    for module in modules:
        for name in sorted(module.__all__):
            value = getattr(module, name)
            lines += [f"{module.__name__}.{line}" for line in _lines(name, value) if name != _VERSION]
    return lines


def broken(recorded: Sequence[str], now: Sequence[str]) -> list[str]:
    """What of the change would break a plugin that was written for the record; none where the version is another."""
    if recorded[:1] != now[:1]:
        return []
    classes = {line.partition("(")[0] for line in recorded if ": class" in line}
    gone = [f"gone or changed: {line}" for line in recorded if line not in now]
    demands = [
        f"asks something of plugins that are there: {line}"
        for line in now
        if line not in recorded and line.endswith((_REQUIRED, _ABSTRACT)) and _owner(line) in map(_owner, classes)
    ]
    return gone + demands


def record() -> int:
    """Write the record, unless plugins would break under the same version. Returns the exit code."""
    now = described()
    problems = broken(RECORD.read_text().splitlines(), now) if RECORD.exists() else []
    if problems:
        advice = f"Raise {_VERSION} in workspace_managers/manager.py, or leave these as they were:"
        sys.stderr.write("\n".join([advice, *problems, ""]))
        return 1
    RECORD.write_text("\n".join([*now, ""]))
    return 0


def _owner(line: str) -> str:
    """``workspace_managers.Volume`` of ``workspace_managers.Volume.claim: str`` and of the line of the class."""
    found = re.match(r"[a-z_.]+\.\w+", line)
    assert found is not None, line
    return found[0]


def _lines(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"{name}: class of {', '.join(base.__name__ for base in value.__mro__[1:-1])}"
        yield from sorted(f"{name}.{line}" for line in _members(value))
    elif inspect.isroutine(value):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name} = {value!r}"


def _members(kind: type) -> Iterator[str]:
    """The public attributes and methods that a class has from us, the inherited ones too."""
    seen = {field.name for field in _fields(kind)}
    yield from map(_field, _fields(kind))
    for owner in kind.__mro__:
        if owner.__module__.partition(".")[0] in ("builtins", "abc", "typing"):
            continue
        for name, member in vars(owner).items():
            is_init = name == "__init__" and not _fields(owner)
            if name in seen or (name.startswith("_") and not is_init):
                continue
            seen.add(name)
            yield _member(name, member)
            if is_init:
                for attribute in _attributes_set(member) - seen:
                    seen.add(attribute)
                    yield f"{attribute}: set by __init__"
        for name, annotation in vars(owner).get("__annotations__", {}).items():
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield f"{name}: {annotation}"


def _fields(kind: type) -> Sequence[Any]:
    """The fields of a class of either kind that has them."""
    if attrs.has(kind):
        return list(attrs.fields(kind))
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def _field(field: dataclasses.Field[Any] | attrs.Attribute[Any]) -> str:
    has_default = field.default not in (dataclasses.MISSING, attrs.NOTHING)
    if not has_default and getattr(field, "default_factory", dataclasses.MISSING) is dataclasses.MISSING:
        return f"{field.name}: {field.type}{_REQUIRED}"
    return f"{field.name}: {field.type} = {_Shown(field.default) if has_default else '...'}"


def _member(name: str, member: Any) -> str:
    if isinstance(member, property):
        return f"{name}: property{_signature(member.fget)}"
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if not inspect.isfunction(function):
        return f"{name}: {type(member).__name__}"
    words = [type(member).__name__] if function is not member else []
    words += ["async"] if inspect.iscoroutinefunction(function) else []
    words += ["final"] if getattr(function, "__final__", False) else []
    rest = _ABSTRACT if getattr(function, "__isabstractmethod__", False) else ""
    return f"{name}{_signature(function)}{''.join(f', {word}' for word in words)}{rest}"


def _signature(function: Any) -> str:
    found = inspect.signature(function)
    known = [
        each if each.default is each.empty else each.replace(default=_Shown(each.default))
        for each in found.parameters.values()
    ]
    return str(found.replace(parameters=known)).replace("'", "")


class _Shown:
    """A default as it is shown: the value where it is a plain one, since others differ from machine to machine."""

    def __init__(self, value: object) -> None:
        self._text = repr(value) if value is None or isinstance(value, str | int | float | tuple) else "..."

    def __repr__(self) -> str:
        return self._text


def _attributes_set(init: Any) -> set[str]:
    """The public attributes that an ``__init__`` gives its instance."""
    targets = [
        target
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(init))))
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
    ]
    return {
        target.attr
        for target in targets
        if isinstance(target, ast.Attribute) and not target.attr.startswith("_") and ast.unparse(target.value) == "self"
    }


if __name__ == "__main__":
    sys.exit(record())
