"""Which contracts are installed: the entry points of ``workspace_managers.contract``, held against the plugins.

Always true here: every registered plugin is told of, by a class of tests or by a problem; none is left out in silence,
and one contract that cannot be loaded hides no other.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..errors import quote
from ..registry import CONTRACT_GROUP, Registration
from .clauses import WorkspaceManagerContract
from .world import KUBECONFIG, name_of_api, own_cluster

TESTS = "workspace_managers.contract.test_installed"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        contracts: By the plugin's name, casefolded.
        problems: By the plugin's name; one sentence or more.
    """

    contracts: Mapping[str, type[WorkspaceManagerContract]]
    problems: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Every name, of a plugin or of a contract."""
        return sorted({*self.contracts, *self.problems})


def find_contracts(
    plugins: Iterable[Registration] | None = None, contracts: Iterable[Registration] | None = None
) -> Found:
    """The contract of each plugin.

    Args:
        plugins: None: every one that is installed.
        contracts: None: every one that is installed.

    Raises:
        ConfigurationError: The metadata of a distribution cannot be read.
    """
    registered = _by_name(registry.installed() if plugins is None else plugins)
    offered = _by_name(registry.installed(CONTRACT_GROUP) if contracts is None else contracts)
    sound: dict[str, type[WorkspaceManagerContract]] = {}
    problems: dict[str, str] = {}
    for name in sorted({*registered, *offered}):
        try:
            sound[name] = _contract(name, registered.get(name, []), offered.get(name, []))
        except _Unsound as unsound:
            problems[name] = str(unsound)
    return Found(sound, problems)


def test_class_name(name: str) -> str:
    """The name of the class of tests for a plugin's name."""
    return "Test_" + re.sub(r"\W", "_", name)


def test_classes(found: Found) -> dict[str, type[WorkspaceManagerContract]]:
    """A class for pytest to collect for each contract, by the class's name."""
    made: dict[str, type[WorkspaceManagerContract]] = {}
    for name, contract in found.contracts.items():
        title = test_class_name(name)
        while title in made:  # names that differ in punctuation only
            title += "_"
        made[title] = type(title, (contract,), {"__module__": TESTS, "__doc__": f"The contract, kept by {name}."})
    return made


def run(name: str | None = None, kubeconfig: Path | None = None, options: Sequence[str] = ()) -> int:
    """Run the contract of one plugin, or of every installed one, as ``workspace-managers contract`` does.

    Args:
        name: The plugin's name; None for all.
        kubeconfig: The cluster to run it on; None for the one that ``CONTRACT_KUBECONFIG`` names, or the embedded API.
        options: Further options of pytest.

    Returns:
        The exit status of pytest.

    Raises:
        ConfigurationError: There is no such plugin, or more than one, or no API server at that cluster.
    """
    cluster = kubeconfig or own_cluster()
    asyncio.run(name_of_api(cluster))
    chosen = ["--pyargs", "workspace_managers.contract"]
    if name is not None:
        wanted = registry.find(name).name.casefold()
        found = find_contracts()
        titles = {contract.__mro__[1]: title for title, contract in test_classes(found).items()}
        title = titles.get(found.contracts.get(wanted, WorkspaceManagerContract))
        test = title or f"test_plugin_has_a_contract[{wanted}]"
        chosen[1] = f"{TESTS}::{test}"
    # A process of its own: pytest cannot explain the asserts of modules that are imported already.
    command = [sys.executable, "-m", "pytest", *chosen, *options]
    environment = os.environ | ({KUBECONFIG: str(cluster)} if cluster else {})
    return subprocess.run(command, env=environment, check=False).returncode


# Pytest would take these two for tests where they are imported.
test_class_name.__test__ = False  # type: ignore[attr-defined]
test_classes.__test__ = False  # type: ignore[attr-defined]


class _Unsound(Exception):
    """There is no contract to run for a name; the text says why."""


def _by_name(registrations: Iterable[Registration]) -> dict[str, list[Registration]]:
    found: dict[str, list[Registration]] = {}
    for each in registrations:
        found.setdefault(each.name.casefold(), []).append(each)
    return found


def _contract(
    name: str, plugins: Sequence[Registration], contracts: Sequence[Registration]
) -> type[WorkspaceManagerContract]:
    for kind, registrations in (("workspace manager", plugins), ("contract", contracts)):
        if len(registrations) > 1:
            sources = ", ".join(each.source for each in registrations)
            raise _Unsound(f"the {kind} {quote(name)} is registered {len(registrations)} times: {sources}")
    if not contracts:
        raise _Unsound(
            f"the workspace manager {plugins[0]} has no contract; register a subclass of WorkspaceManagerContract "
            f"under the name {quote(name)} in the entry points {CONTRACT_GROUP}"
        )
    source = f"the contract {quote(name)} of {contracts[0].source}"
    if not plugins:
        raise _Unsound(f"{source} is for a workspace manager that is not installed")
    contract = _loaded(contracts[0], source)
    if not (inspect.isclass(contract) and issubclass(contract, WorkspaceManagerContract)):
        raise _Unsound(f"{source} is not a subclass of WorkspaceManagerContract: found {quote(repr(contract))}")
    if contract is WorkspaceManagerContract:
        raise _Unsound(f"{source} is WorkspaceManagerContract itself; register a subclass of it")
    plugin = _loaded(plugins[0], f"the workspace manager {quote(name)} of {plugins[0].source}")
    if contract.manager_class is not plugin:
        raise _Unsound(
            f"{source} is for {contract.manager_class.__qualname__}, and the workspace manager of that name "
            f"is {quote(repr(plugin))}"
        )
    return contract


def _loaded(registration: Registration, source: str) -> object:
    try:
        point = importlib.metadata.EntryPoint(registration.name, registration.object, registration.group)
        return point.load()
    except (Exception, SystemExit) as error:
        raise _Unsound(f"{source} could not be imported: {type(error).__name__}: {quote(str(error), 1000)}") from error
