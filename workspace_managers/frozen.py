"""Values that cannot be changed any more, mappings and lists inside them included.

A plugin's facts go from cache to form to pod; what one reader changed, another person's start would get (rule S5).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NoReturn


class FrozenDict(dict[Any, Any]):
    """A dictionary that was filled when it was made: equal to a plain one, JSON, and stored by pickle."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this mapping is part of a fact and cannot be changed; make a dict of it to change a copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> str | tuple[type[FrozenDict], tuple[dict[Any, Any]]]:
        return (FrozenDict, (dict(self),)) if self else "EMPTY"

    def __copy__(self) -> FrozenDict:
        return self


EMPTY = FrozenDict()
"""The empty one; all others are read back as this."""


def freeze(value: Any) -> Any:
    """The same value with every mapping in it a ``FrozenDict``, every list a tuple and every set a frozenset.

    Args:
        value: Anything; what is none of these is left as it is.

    Raises:
        RecursionError: It is nested without end, or nearly so.
    """
    kind = type(value)
    if kind is str or kind is FrozenDict:
        return value
    if isinstance(value, Mapping):
        return FrozenDict((key, freeze(each)) for key, each in value.items()) if value else EMPTY
    if isinstance(value, list | tuple):
        return tuple(map(freeze, value))
    return frozenset(value) if isinstance(value, Set) else value
