"""The ``lscsde`` workspace manager: workspaces and bindings kept as custom resources of the group ``xlscsde.nhs.uk``.

One door: ``LscsdeWorkspaceManager``, the object of the entry point ``lscsde`` in the group ``workspace_managers``.
"""

from .manager import LscsdeWorkspaceManager

__all__ = ["LscsdeWorkspaceManager"]
