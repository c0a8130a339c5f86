"""The contract that every plugin passes: subclass ``WorkspaceManagerContract`` once, and run it with pytest.

Always true here: a plugin is judged by what the framework makes of its answers, and its backend is changed out of band
only. ``pytest --pyargs workspace_managers.contract`` runs the contract of every installed plugin; install the extra
``contract`` for it. It runs on an embedded Kubernetes API, or on the cluster of the kubeconfig that
``CONTRACT_KUBECONFIG`` names, with faults between plugin and API on either.

    class StudiesContract(WorkspaceManagerContract):
        manager_class = StudiesManager
        world = StudiesWorld
        unsupported = {"test_earlier_end_holds": "the backend has one date for all people"}

registered beside the plugin, under the same name:

    [options.entry_points]
    workspace_managers.contract =
        studies = studies_manager.contract:StudiesContract
"""

try:
    import hypothesis  # noqa: F401 - asked for here, so that its absence is told in one sentence
    import jsonschema  # noqa: F401 - as above, for the embedded API
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the contract needs {error.name}; install jupyterhub-workspace-managers[contract] where its tests run",
        name=error.name,
    ) from error

# Before the first import of it, or a red clause would not tell what it compared.
pytest.register_assert_rewrite("workspace_managers.contract.clauses")

from ..devcluster.kinds import definitions  # noqa: E402 - see above
from .clauses import WorkspaceManagerContract  # noqa: E402 - see above
from .obligations import Clause, ContractError  # noqa: E402 - see above
from .proxy import FaultProxy, Injection, Seen, refuse  # noqa: E402 - see above
from .stage import Stage  # noqa: E402 - see above
from .world import World  # noqa: E402 - see above

__all__ = [
    "Clause",
    "ContractError",
    "FaultProxy",
    "Injection",
    "Seen",
    "Stage",
    "WorkspaceManagerContract",
    "World",
    "definitions",
    "refuse",
]
