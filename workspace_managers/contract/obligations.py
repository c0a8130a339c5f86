"""What a contract class owes, and how one clause is run.

Always true here: a contract class that exists is whole. What it lacks, overrides or declares wrongly is an error where
the class is written, all of it at once and by name, because pytest leaves out in silence what it cannot make. A
clause declared unsupported is run like any other, and passing is its failure.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from ..manager import WorkspaceManager
from .stage import CLAUSE_SECONDS, Stage, staged
from .world import World

Body = Callable[[Any, Stage], Awaitable[None]]
_VERBS = ("put_workspace", "grant", "revoke", "delete_workspace", "outage", "recover", "break_workspace")
_LIFE = ("start", "stop")
_FINAL = ("run_clause", "clauses")


class ContractError(TypeError):
    """A contract class that is not whole.

    Attributes:
        problems: Every problem found, one sentence each.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that every plugin keeps to.

    Attributes:
        name: The name of the test method.
        rule: The numbers of its rules, such as ``A2``.
        why: Why it exists.
        body: The clause itself.
        timezone: ``WORKSPACE_TIMEZONE`` of its world.
    """

    name: str
    rule: str
    why: str
    body: Body
    timezone: str


def clause(*, timezone: str = "UTC") -> Callable[[Body], Callable[[Any], None]]:
    """Make a clause of an async method whose docstring begins with its rule: ``A2: because ...``."""

    def decorate(body: Body) -> Callable[[Any], None]:
        rule, colon, why = inspect.cleandoc(body.__doc__ or "").partition(": ")
        if not colon:
            raise TypeError(f"{body.__name__} does not begin with the number of its rule")
        made = Clause(body.__name__, rule, why, body, timezone)

        def run(self: Obligations) -> None:
            self.run_clause(made)

        # Not functools.wraps: pytest would take the body's parameter for a fixture.
        run.__name__, run.__qualname__, run.__doc__ = body.__name__, body.__qualname__, body.__doc__
        run.__module__ = body.__module__
        vars(run)["clause"] = made
        return run

    return decorate


class Obligations:
    """The checked part of ``WorkspaceManagerContract``.

    Attributes:
        manager_class: The plugin.
        world: Makes, without arguments, a world for the plugin.
        unsupported: The clauses that the backend cannot keep to, by name, each with the reason.
    """

    manager_class: ClassVar[type[WorkspaceManager]]
    world: ClassVar[type[World]]
    unsupported: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init_subclass__(cls, *, suite: bool = False, **others: Any) -> None:
        super().__init_subclass__(**others)
        if not suite and (problems := list(_problems(cls))):
            raise ContractError(f"{cls.__module__}.{cls.__qualname__} {problem}" for problem in problems)

    @classmethod
    def clauses(cls) -> Mapping[str, Clause]:
        """Every clause, by name, in the order in which they are written."""
        suite = _suite(cls)
        return {name: vars(member)["clause"] for name, member in vars(suite).items() if _is_clause(member)}

    def run_clause(self, made: Clause) -> None:
        """Run one clause on a world of its own, on a loop of its own."""
        reason = self.unsupported.get(made.name)
        failure = asyncio.run(self._failure(made))
        if failure is None and reason is not None:
            pytest.fail(
                f"{made.name} is declared unsupported ({reason}), and passes; take it off the declaration",
                pytrace=False,
            )
        if failure is not None:
            if reason is not None:
                pytest.xfail(f"unsupported: {reason}")
            raise failure

    async def _failure(self, made: Clause) -> BaseException | None:
        """What is wrong with the plugin; a fault of the world is raised at once, and is never "unsupported"."""
        world = self.world()
        world.timezone = made.timezone
        async with staged(self.manager_class, world) as stage:
            try:
                async with asyncio.timeout(CLAUSE_SECONDS):
                    await made.body(self, stage)
                    await stage.close()
            except (Exception, pytest.fail.Exception) as error:
                return error
        return None


def _suite(cls: type[Obligations]) -> type[Obligations]:
    """The class that has the clauses: the one just below ``Obligations``."""
    mro = cls.__mro__
    suite: type[Obligations] = mro[mro.index(Obligations) - 1]
    return suite


def _is_clause(member: object) -> bool:
    return inspect.isfunction(member) and isinstance(vars(member).get("clause"), Clause)


def _problems(cls: type[Obligations]) -> Iterator[str]:
    """What a contract class lacks, as words that follow its name."""
    manager_class = getattr(cls, "manager_class", None)
    if manager_class is None:
        yield "has no manager_class; set it to the plugin's class"
    elif not (inspect.isclass(manager_class) and issubclass(manager_class, WorkspaceManager)):
        yield f"has a manager_class that is not a subclass of WorkspaceManager: {manager_class!r}"
    yield from _world_problems(getattr(cls, "world", None))
    suite, known = _suite(cls), cls.clauses()
    for name in (*known, *_FINAL):
        own = vars(suite).get(name, vars(Obligations).get(name))
        if inspect.getattr_static(cls, name) is not own:
            yield f"overrides {name}, which is the suite's own; declare it in unsupported, with a reason"
    for name in ("__init__", "__new__"):
        if inspect.getattr_static(cls, name) is not inspect.getattr_static(object, name):
            yield f"has an {name}, so pytest would not collect it; prepare what is needed in the world's start"
    if getattr(cls, "__test__", True) is not True:
        yield "sets __test__, so pytest would not collect it; take it off"
    yield from _unsupported_problems(cls.unsupported, known)


def _world_problems(world: Any) -> Iterator[str]:
    if world is None:
        yield "has no world; set it to a subclass of World that changes the plugin's backend"
        return
    if not (inspect.isclass(world) and issubclass(world, World)):
        yield f"has a world that is not a subclass of World: {world!r}"
        return
    for verb in sorted(world.__abstractmethods__):
        yield f"has a world, {world.__qualname__}, without {verb}"
    for verb in (*_VERBS, *_LIFE):
        if verb not in world.__abstractmethods__ and not inspect.iscoroutinefunction(getattr(world, verb)):
            yield f"has a world, {world.__qualname__}, whose {verb} is not async"


def _unsupported_problems(unsupported: object, known: Mapping[str, Clause]) -> Iterator[str]:
    if not isinstance(unsupported, Mapping):
        yield f"has an unsupported that is not a mapping of clause names to reasons: {unsupported!r}"
        return
    for name, reason in unsupported.items():
        if name not in known:
            yield f"declares {name!r} unsupported, which is no clause"
        if not isinstance(reason, str) or not reason.strip():
            yield f"declares {name!r} unsupported without a reason"
