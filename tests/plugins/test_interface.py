"""What plugins rely on stays as it is, or the version of the interface says that it does not."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import interface


def test_interface_is_as_recorded() -> None:
    """A change that nobody noticed is one that nobody decided."""
    now, recorded = interface.described(), interface.RECORD.read_text().splitlines()
    changed = [f"+ {line}" for line in now if line not in recorded] + [
        f"- {line}" for line in recorded if line not in now
    ]
    problems = interface.broken(recorded, now)
    advice = f"If that is meant, run {interface.COMMAND} and say it in CHANGELOG.md."
    if problems:
        advice = f"Plugins would break: raise INTERFACE_VERSION in workspace_managers/manager.py first. {advice}"
    assert not changed, "\n".join(["the interface has changed:", *changed, advice])


def test_record_is_of_no_machine() -> None:
    """It is the same wherever it is made."""
    assert not [
        line for line in interface.described() if "0x" in line or str(Path.home()) in line or "environ({" in line
    ]


class Base(ABC):
    """An interface before the change."""

    kind: str

    def __init__(self, context: str) -> None:
        self.context = context

    @abstractmethod
    async def listed(self, user: str, limit: int = 3) -> list[str]:
        """Abstract."""

    async def confirm(self, user: str) -> str:
        """Optional."""
        return user

    @property
    def name(self) -> str:
        """A property."""
        return ""


@dataclass(frozen=True)
class Fact:
    """A fact before the change."""

    name: str
    size: int = 0


def made(version: int = 1, **changes: Any) -> list[str]:
    """An interface of two classes and a constant, with some of them replaced."""
    module = types.ModuleType("workspace_managers")
    members = {"INTERFACE_VERSION": version, "Base": Base, "Fact": Fact, "HOME": "/home", **changes}
    vars(module).update(members, __all__=[name for name, value in members.items() if value is not None])
    return interface.described([module])


def _as(name: str, kind: type) -> type:
    kind.__name__ = kind.__qualname__ = name
    return kind


def with_method(name: str, method: Any) -> type:
    """``Base`` with one member in another form."""
    members = {**vars(Base), name: method}
    members = {key: value for key, value in members.items() if key not in ("__dict__", "__weakref__", "_abc_impl")}
    return type("Base", (ABC,), {key: value for key, value in members.items() if value is not None})


async def confirm_two(self: object, user: str, name: str) -> str:
    """One parameter more."""
    return user + name


async def confirm_other(self: object, user: bytes) -> str:
    """Another annotation."""
    return str(user)


def confirm_sync(self: object, user: str) -> str:
    """Not async."""
    return user


def keeps_nothing(self: object, context: str) -> None:
    """It has no attribute then."""


@abstractmethod  # type: ignore[misc]  # it becomes a method
async def added(self: object) -> None:
    """New and abstract."""


@abstractmethod  # type: ignore[misc]  # it becomes a method
async def listed_four(self: object, user: str, limit: int = 4) -> list[str]:
    """Another default."""
    return []


async def optional(self: object) -> None:
    """New and optional."""


@dataclass(frozen=True)
class Required:
    """One field more, which every plugin would have to give."""

    name: str
    place: str
    size: int = 0


@dataclass(frozen=True)
class Optional:
    """One field more, with a default."""

    name: str
    size: int = 0
    place: str = ""


@dataclass(frozen=True)
class Retyped:
    """Another type."""

    name: str
    size: str = ""


BREAKS = {
    "a name that is gone": {"HOME": None},
    "another value": {"HOME": "/root"},
    "a method that is gone": {"Base": with_method("confirm", None)},
    "one parameter more": {"Base": with_method("confirm", confirm_two)},
    "another annotation": {"Base": with_method("confirm", confirm_other)},
    "another default": {"Base": with_method("listed", listed_four)},
    "no longer async": {"Base": with_method("confirm", confirm_sync)},
    "no longer abstract": {"Base": with_method("listed", confirm_two)},
    "no longer a property": {"Base": with_method("name", confirm_sync)},
    "an attribute that is gone": {"Base": with_method("__init__", keeps_nothing)},
    "a new abstract method": {"Base": with_method("added", added)},
    "a new field that is required": {"Fact": _as("Fact", Required)},
    "a field of another type": {"Fact": _as("Fact", Retyped)},
}
ADDS = {
    "a name": {"SHARED": "shared"},
    "a class with an abstract method": {"Other": with_method("added", added)},
    "an optional method": {"Base": with_method("optional", optional)},
    "a field with a default": {"Fact": _as("Fact", Optional)},
}


@pytest.mark.parametrize("changes", BREAKS.values(), ids=BREAKS)
def test_change_that_breaks_plugins_needs_another_version(changes: dict[str, Any]) -> None:
    assert interface.broken(made(), made(**changes))
    assert interface.broken(made(), made(2, **changes)) == []


@pytest.mark.parametrize("changes", ADDS.values(), ids=ADDS)
def test_addition_is_seen_and_needs_no_other_version(changes: dict[str, Any]) -> None:
    assert set(made()) < set(made(**changes))
    assert interface.broken(made(), made(**changes)) == []


def test_record_is_refused_where_plugins_would_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the command that a red test names would be the way round it."""
    record = tmp_path / "interface.txt"
    monkeypatch.setattr(interface, "RECORD", record)
    assert interface.record() == 0
    recorded = record.read_text()
    record.write_text(recorded + "workspace_managers.that_was(name: str) -> str\n")
    before = record.read_text()
    assert interface.record() == 1
    assert record.read_text() == before
    assert "Raise INTERFACE_VERSION" in capsys.readouterr().err
    record.write_text(before.replace("INTERFACE_VERSION = 1", "INTERFACE_VERSION = 0"))
    assert interface.record() == 0
    assert record.read_text() == recorded
