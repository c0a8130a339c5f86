"""All that this plugin takes from ``lscsde-workspace-mgmt``, and why it takes no more.

Always true here: no other module of the plugin imports the library, importing it asks no API server for anything, and
what it refuses comes out as ``Refused``, without the value that was found (pydantic's own text has it, unbounded).

Sound, and used:

- the pydantic models of ``spec`` and ``status``: field names, and the types of those fields that they do declare;
- ``KubernetesNamespacedCustomClient.get``: one object, uncached, as the API server's own JSON.

Seen in 0.1.14 not to be, and worked round:

- ``AnalyticsWorkspaceSpec.jupyter_workspace`` has an empty workspace as its default, so a workspace for virtual
  machines looks like one for Jupyter without an image. ``model_fields_set`` tells them apart (``jupyter_of``).
- ``VirtualMachineWorkspaceSpec`` wants ``maxHosts``, as a number; in the resource it may be missing, or a string such
  as ``50%``. That would refuse a workspace for its other half, so that half is not shown to the model.
- ``resources`` and ``nodeSelector`` are ``TypedDict`` classes without a field, and a toleration is a model without one:
  nothing in them is checked. They are read from the JSON (``resources``).
- Dates are any text, and every field may be null: ``resources`` checks both.
- ``KubernetesMetadata`` has no ``deletionTimestamp`` and makes up a namespace: metadata is read from the JSON.
- Models are filled by alias only and ignore what they do not know, so ``AnalyticsWorkspaceStatus(status_text=...)``
  says ``Waiting``; they dump each field that is not set as null, which a merge patch takes as "delete". The status is
  written as plain JSON. ``patch_status`` is a JSON patch with ``replace``, which fails where there is no status yet.
- ``AnalyticsWorkspaceClient.get`` gives the model, without what is listed above, so its base class is used.
- ``list_by_username`` finds bindings by the label, which different users share (rule A2), and writes that label onto
  other people's bindings. ``get_permitted_workspaces`` has the moment of its import as "today" and filters nothing by
  date. ``to_workspace_dict`` fails on partial ``resources``. ``mount`` lists and then creates, which races. None is
  used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes_asyncio.client import ApiClient, CustomObjectsApi
from lscsde_workspace_mgmt.models import (
    AnalyticsWorkspaceBindingSpec,
    AnalyticsWorkspaceSpec,
    AnalyticsWorkspaceStatus,
    JupyterWorkspaceSpec,
)
from lscsde_workspace_mgmt.namespacedclient import KubernetesNamespacedCustomClient
from pydantic import BaseModel, ValidationError

from workspace_managers import BackendUnavailable, Context, quote

from .refused import Refused

GROUP = "xlscsde.nhs.uk"
VERSION = "v1"

_SHOWN_ERRORS = 3
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two custom resources.

    Attributes:
        plural: Its name in a path.
        kind: Its name in an object.
        word: Its name in a sentence.
    """

    plural: str
    kind: str
    word: str

    def path(self, namespace: str) -> str:
        """The collection's own path."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{self.plural}"


WORKSPACES = Kind("analyticsworkspaces", "AnalyticsWorkspace", "workspace")
BINDINGS = Kind("analyticsworkspacebindings", "AnalyticsWorkspaceBinding", "binding")


async def get_object(context: Context, kind: Kind, name: str) -> Mapping[str, Any]:
    """One object from the API server itself.

    Raises:
        ApiError: The server refused; 404 where there is no such object.
        BackendUnavailable: There was no certain answer.
    """

    async def once(api: ApiClient) -> Any:
        client = KubernetesNamespacedCustomClient(
            CustomObjectsApi(api), context.log, GROUP, VERSION, kind.plural, kind.kind
        )
        return await client.get(context.namespace, name)

    answer = await context.kube.call(f"GET {kind.plural}/{name}", once)
    if not isinstance(answer, Mapping):
        # The client gives the text of an answer that is no JSON, such as a proxy's page.
        raise BackendUnavailable(f"GET {kind.plural}/{name} was answered with {quote(answer)}, which is no object")
    return answer


def binding_spec(raw: object) -> AnalyticsWorkspaceBindingSpec:
    """The ``spec`` of a binding, the types of its fields checked."""
    return _checked(AnalyticsWorkspaceBindingSpec, raw, "spec")


def workspace_spec(raw: object) -> AnalyticsWorkspaceSpec:
    """The ``spec`` of a workspace, the types of its fields checked where the model declares them."""
    if isinstance(raw, Mapping):
        raw = {key: value for key, value in raw.items() if key != "virtualMachineWorkspace"}
    return _checked(AnalyticsWorkspaceSpec, raw, "spec")


def jupyter_of(spec: AnalyticsWorkspaceSpec) -> JupyterWorkspaceSpec | None:
    """The part for Jupyter; None where the resource has none."""
    return spec.jupyter_workspace if "jupyter_workspace" in spec.model_fields_set else None


def workspace_status(raw: object) -> AnalyticsWorkspaceStatus:
    """The ``status`` of a workspace; an object without one has an empty one."""
    return _checked(AnalyticsWorkspaceStatus, {} if raw is None else raw, "status")


def _checked(model: type[BaseModel], raw: object, field: str) -> Any:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        shown = "; ".join(f"{_place(field, each['loc'])}: {each['msg']}" for each in found[:_SHOWN_ERRORS])
        more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
        raise Refused(f"{shown}{more}") from error


def _place(field: str, found: tuple[int | str, ...]) -> str:
    # Keys of a map are part of it, so it may hold anything.
    return ascii(".".join((field, *map(str, found)))[:_SHOWN_CHARACTERS])[1:-1]
