"""What a plugin can do beyond the abstract methods; it declares these in ``WorkspaceManager.capabilities``."""

from __future__ import annotations

IDENTITY_CLAIMS = "identity-claims"
"""Some grants depend on what the identity provider says of a user (``User.identity_claims``)."""
HOMES = "homes"
"""Some workspaces keep a home folder for each of their people (``Volume.personal``, ``Workspace.keeps_home``)."""
NAMESPACES = "namespaces"
"""Some workspaces have a namespace of their own (``Workspace.namespace``)."""
TELLS_CHANGES = "tells-changes"
"""The plugin tells each change of anybody's access with ``Context.changed``, within seconds, also after an outage. The
servers of a plugin without it are reviewed every ``WORKSPACE_REVIEW_MINUTES``."""
