"""What a plugin can do beyond the abstract methods; it declares these in ``WorkspaceManager.capabilities``."""

from __future__ import annotations

IDENTITY_CLAIMS = "identity-claims"
"""Some grants depend on what the identity provider says of a user (``User.identity_claims``)."""
