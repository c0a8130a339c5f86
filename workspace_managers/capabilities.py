"""What a plugin can do beyond the abstract methods; it declares these in ``WorkspaceManager.capabilities``."""

from __future__ import annotations

IDENTITY_CLAIMS = "identity-claims"
"""Some grants depend on what the identity provider says of a user (``User.identity_claims``)."""
TELLS_CHANGES = "tells-changes"
"""The plugin tells each change of anybody's access with ``Context.changed``, within seconds, also after an outage. The
servers of a plugin without it are reviewed every ``WORKSPACE_REVIEW_MINUTES``."""
