"""What is installed, and the one plugin that the hub uses: loaded by name and verified before use (rules L1 and L2).

Always true here: no plugin but the chosen one is imported; nothing is ever taken in place of what was asked for; and an
error names the distribution, the object and the file, and every problem at once. Which methods are final, private or
async is read from ``WorkspaceManager`` itself, so the interface and its checks cannot drift apart.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import stevedore
from stevedore.driver import DriverManager

from .context import Context
from .errors import ConfigurationError, quote
from .manager import INTERFACE_VERSION, WorkspaceManager
from .settings import MANAGER

GROUP = "workspace_managers"
CONTRACT_GROUP = "workspace_managers.contract"
_MACHINERY = ("<frozen", str(Path(importlib.__file__).parent), str(Path(stevedore.__file__).parent))


@dataclass(frozen=True, slots=True, order=True)
class Registration:
    """One entry point of an installed distribution. Nothing of the plugin has been imported to know it.

    Attributes:
        name: The name that ``WORKSPACE_MANAGER`` gives.
        distribution: The installed distribution.
        version: The distribution's.
        object: Where the class is, as ``module:Class``.
        group: The entry points' group.
    """

    name: str
    distribution: str
    version: str
    object: str
    group: str = field(default=GROUP, repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def source(self) -> str:
        """Where it comes from, for errors."""
        return f"{self.distribution} {self.version} (object {self.object}, file {self.file or 'not found'})"

    @property
    def file(self) -> str | None:
        """The file that the class would be imported from; None where there is no such module."""
        match = importlib.metadata.EntryPoint.pattern.match(self.object)
        return _file_of(match["module"]) if match else None

    def problem(self, text: str) -> str:
        """A sentence that tells where the problem is, and then the problem."""
        return f"workspace manager {quote(self.name)} of {self.source} {text}"


def installed(group: str = GROUP) -> list[Registration]:
    """Every registration of every installed distribution, in the order of names; imports none of them.

    Args:
        group: ``GROUP``, or ``CONTRACT_GROUP`` for the contracts registered under the same names.

    Raises:
        ConfigurationError: The metadata of a distribution cannot be read.
    """
    try:
        found = importlib.metadata.entry_points(group=group)
    except Exception as error:
        raise ConfigurationError(
            f"the entry points of the installed distributions cannot be read ({_told(error)}); "
            "find the distribution whose entry_points.txt is damaged with `pip check`, and install it again"
        ) from error
    return sorted(Registration(point.name, *_distribution(point), point.value, group) for point in found)


def find(name: str) -> Registration:
    """The one registration of this name, in whatever case it was registered (rule L1).

    Raises:
        ConfigurationError: It is not installed, or registered more than once.
    """
    wanted = name.strip().casefold()
    everything = installed()
    matches = [registration for registration in everything if registration.name.casefold() == wanted]
    if not matches:
        raise ConfigurationError(_not_installed(name, wanted, everything))
    if len(matches) > 1:
        sources = ", ".join(registration.source for registration in matches)
        raise ConfigurationError(
            f"the workspace manager {quote(wanted)} is registered {len(matches)} times: {sources}. "
            "Which of them is meant cannot be known; uninstall all but one, or have one registered under another name."
        )
    return matches[0]


def load(name: str) -> type[WorkspaceManager]:
    """The class that a plugin has registered under this name, verified.

    Called while the hub's config loads. Imports this plugin and no other, and makes no instance.

    Raises:
        ConfigurationError: It is not installed, is ambiguous, cannot be imported, or does not keep to the interface.
    """
    return _load(find(name))


def create(name: str, context: Context) -> WorkspaceManager:
    """The plugin of this name, verified and made with ``context``.

    Raises:
        ConfigurationError: As from ``load``, or its constructor failed or raised one itself.
    """
    registration = find(name)
    manager_class = _load(registration)
    try:
        manager = manager_class(context)
    except ConfigurationError:
        # The plugin's own words to the operator, such as what a variable of its own must be (rule L3).
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            registration.problem(
                f"could not be made: its constructor raised {_told(error)}; it is called with the Context alone"
            )
        ) from error
    # Type and identity only: a plugin may define __bool__, __len__ or __eq__.
    if not issubclass(type(manager), manager_class):
        raise ConfigurationError(
            registration.problem(f"could not be made: its __new__ answered with {quote(repr(manager))}")
        )
    problems = [
        f"sets {method} on its instance, which the framework keeps to itself; use another name"
        for method in _final()
        if method in getattr(manager, "__dict__", {})
    ]
    if getattr(manager, "context", None) is not context:
        problems.append(
            "does not keep its context; call super().__init__(context) in its __init__, and leave self.context as it is"
        )
    if problems:
        raise ConfigurationError(map(registration.problem, problems))
    return manager


class _Driver(DriverManager):  # type: ignore[type-arg]  # generic in the newest stevedore only
    """Stevedore's loading, on one entry point read now.

    Stevedore's own list comes from a cache in memory and one on disk, keyed by file times of about two minutes'
    resolution; both may tell of a distribution that is gone, and neither tells which distribution it was.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        super().__init__(registration.group, registration.name)

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        chosen = self._registration
        return [importlib.metadata.EntryPoint(chosen.name, chosen.object, chosen.group)]


def _load(registration: Registration) -> type[WorkspaceManager]:
    if not importlib.metadata.EntryPoint.pattern.match(registration.object):
        raise ConfigurationError(
            registration.problem("is registered wrongly; the entry point must be of the form module:Class")
        )
    try:
        # The class. ``.driver`` is for instances, and takes a falsy one for none.
        loaded: Any = _Driver(registration).extensions[0].plugin
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            registration.problem(
                f"could not be imported: {_told(error)}. Repair or reinstall {registration.distribution} "
                "in the environment of the hub."
            )
        ) from error
    problems = list(_problems(loaded))
    if problems:
        raise ConfigurationError(map(registration.problem, problems))
    manager_class: type[WorkspaceManager] = loaded
    return manager_class


def _problems(loaded: Any) -> Iterator[str]:
    """What keeps an object from being a plugin, as words that follow the plugin's name."""
    if not inspect.isclass(loaded):
        found = f"{type(loaded).__name__} {quote(repr(loaded))}"
        yield f"is not a class: found {found}; register a subclass of workspace_managers.WorkspaceManager"
        return
    versions = inspect.getattr_static(loaded, "interface_versions", None)
    if not _are_versions(versions):
        yield (
            f"has the interface_versions {quote(repr(versions))}; expected: the lowest and the highest "
            f"INTERFACE_VERSION that it works with, such as ({INTERFACE_VERSION}, {INTERFACE_VERSION})"
        )
        return
    if not versions[0] <= INTERFACE_VERSION <= versions[1]:
        yield (
            f"works with interface versions {versions[0]} to {versions[1]}, and this framework has "
            f"{INTERFACE_VERSION}; install a version of the plugin that is made for it"
        )
    if not issubclass(loaded, WorkspaceManager):
        yield f"is not a subclass of workspace_managers.WorkspaceManager: found {quote(loaded.__qualname__)}"
        return
    for name in sorted(loaded.__abstractmethods__):
        yield f"does not define {name}, which is abstract"
    for name in _final():
        if _differs(loaded, name):
            yield f"overrides {name}{_place(loaded, name)}, which is final; the framework decides there"
    capabilities = inspect.getattr_static(loaded, "capabilities")
    if not isinstance(capabilities, frozenset) or not all(isinstance(name, str) for name in capabilities):
        yield f"has the capabilities {quote(repr(capabilities))}; expected: a frozenset of texts"
    for name in _asked():
        if not _differs(loaded, name):
            continue
        if not inspect.iscoroutinefunction(getattr(loaded, name)):
            yield (
                f"has a {name}{_place(loaded, name)} that is not async; define it with `async def` "
                "(a decorator on it must return an `async def` too)"
            )
        elif not _callable_alike(loaded, name):
            wanted = inspect.signature(vars(WorkspaceManager)[name])
            yield (
                f"has a {name}{_place(loaded, name)} that cannot be called as the framework does: "
                f"found {quote(str(inspect.signature(getattr(loaded, name))))}, expected {wanted}"
            )


def _methods() -> Iterable[tuple[str, Any]]:
    return [(name, method) for name, method in vars(WorkspaceManager).items() if inspect.isfunction(method)]


def _final() -> list[str]:
    return [name for name, method in _methods() if getattr(method, "__final__", False)]


def _are_versions(versions: object) -> TypeGuard[tuple[int, int]]:
    return (
        isinstance(versions, tuple)
        and len(versions) == 2
        and all(type(number) is int for number in versions)
        and versions[0] <= versions[1]
    )


def _asked() -> list[str]:
    """The methods that a plugin answers with, each async."""
    own = _final()
    return [name for name, method in _methods() if name not in own and inspect.iscoroutinefunction(method)]


def _differs(loaded: type, name: str) -> bool:
    return inspect.getattr_static(loaded, name) is not vars(WorkspaceManager)[name]


def _callable_alike(loaded: type, name: str) -> bool:
    method = inspect.getattr_static(loaded, name)
    if not inspect.isfunction(method):
        return True  # A static or class method counts its arguments in another way.
    try:
        inspect.signature(method).bind(*inspect.signature(vars(WorkspaceManager)[name]).parameters)
    except TypeError:
        return False
    return True


def _place(loaded: type, name: str) -> str:
    """Where a method is written, when it is not in the class that was registered itself."""
    owner = next((base for base in loaded.__mro__ if name in vars(base)), loaded)
    return "" if owner is loaded else f" (from {owner.__module__}.{owner.__qualname__})"


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version; what damaged metadata does not tell is said to be unknown, so that it hides no other."""
    # Missing metadata is None, an empty message or an exception, as the Python version has it.
    found = []
    for key, unknown in (("Name", "an unnamed distribution"), ("Version", "of unknown version")):
        value = None
        with contextlib.suppress(Exception):
            value = point.dist.metadata[key] if point.dist else None
        found.append(str(value or unknown))
    return found[0], found[1]


def _not_installed(name: str, wanted: str, everything: list[Registration]) -> str:
    names = sorted({registration.name.casefold() for registration in everything})
    close = difflib.get_close_matches(wanted, names, n=1)
    question = f" Did you mean {close[0]!r}?" if close else ""
    advice = f"Set {MANAGER.name} to one of these, or install" if names else "Install"
    default = " (the default)" if wanted == MANAGER.default else ""
    return (
        f"{MANAGER.name}={quote(name)}{default} names no workspace manager that is installed; "
        f"installed: {', '.join(map(str, everything)) or 'none'}.{question} "
        f"{advice} the distribution that registers it in the environment of the hub."
    )


def _told(error: BaseException) -> str:
    """An exception's type and message, and the last line of code outside the import machinery that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [f for f in frames if not f.filename.startswith(_MACHINERY) and f.filename != __file__]
    place = f" ({outside[-1].filename}, line {outside[-1].lineno})" if outside else ""
    return f"{type(error).__name__}: {quote(str(error))}{place}"


def _file_of(module: str) -> str | None:
    """The file of a module, found without importing it or the packages that it is in."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for index, _ in enumerate(rest, start=2):
            locations = spec.submodule_search_locations if spec else None
            if locations is None:
                return None
            spec = importlib.machinery.PathFinder.find_spec(".".join([top, *rest][:index]), list(locations))
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec else None
