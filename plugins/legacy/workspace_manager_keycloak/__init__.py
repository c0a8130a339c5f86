"""The legacy ``keycloak`` workspace manager: workspaces kept as Keycloak groups below ``/jupyter-workspaces``.

One door: ``KeycloakWorkspaceManager``, the object of the entry point ``keycloak`` in the group ``workspace_managers``.
"""

from .manager import KeycloakWorkspaceManager

__all__ = ["KeycloakWorkspaceManager"]
