"""Classes that keep to the interface until an instance is made."""

from typing import Any

from workspace_managers import Context

from .interface import Whole


class Raises(Whole):
    """Cannot be made."""

    def __init__(self, context: Context) -> None:
        raise OSError("no certificate in /etc/certificates")


class NoArguments(Whole):
    """Does not take the context."""

    def __init__(self) -> None:
        """Nothing."""


class NoContext(Whole):
    """Does not call the framework's constructor."""

    def __init__(self, context: Context) -> None:
        """Nothing."""


class OtherContext(Whole):
    """Puts something of its own where the framework looks for its context."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.context = {"log": context.log}  # type: ignore[assignment]


class OtherInstance(Whole):
    """Makes something else."""

    def __new__(cls, context: Context) -> Any:
        """A dictionary, of all things."""
        return {}


class LateFinal(Whole):
    """Overrides a final method where the class does not show it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.provision = print  # type: ignore[method-assign,assignment,misc]
