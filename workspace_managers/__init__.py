"""Workspace managers for JupyterHub on Kubernetes: which workspaces a person may open, and which storage each one
gets.

What a plugin may import is what ``__all__`` lists; everything else may change without notice.
"""

from .access import IncompleteAnswer, in_scope, parse_day, require_open
from .capabilities import HOMES, IDENTITY_CLAIMS, NAMESPACES, TELLS_CHANGES
from .context import Context
from .errors import (
    AccessDenied,
    BackendUnavailable,
    ConfigurationError,
    StorageRefused,
    WorkspaceManagerError,
    quote,
)
from .findings import Finding
from .kube.cache import WatchCache
from .kube.claims import shared_claim_problem
from .kube.client import ApiError, Kube
from .kube.fitness import missing_rights
from .loglimit import LogLimit
from .manager import INTERFACE_VERSION, WorkspaceManager
from .models import Resources, User, Volume, Workspace
from .names import HOME, SHARED_CLAIM, SHARED_NAME, default_claim, is_label, is_name, personal_claim
from .policy import Policy
from .quantities import quantity_value
from .settings import Settings
from .storage import check_volumes
from .tasks import together
from .timeouts import Timeouts

__all__ = [
    "HOME",
    "HOMES",
    "IDENTITY_CLAIMS",
    "INTERFACE_VERSION",
    "NAMESPACES",
    "SHARED_CLAIM",
    "SHARED_NAME",
    "TELLS_CHANGES",
    "AccessDenied",
    "ApiError",
    "BackendUnavailable",
    "ConfigurationError",
    "Context",
    "Finding",
    "IncompleteAnswer",
    "Kube",
    "LogLimit",
    "Policy",
    "Resources",
    "Settings",
    "StorageRefused",
    "Timeouts",
    "User",
    "Volume",
    "WatchCache",
    "Workspace",
    "WorkspaceManager",
    "WorkspaceManagerError",
    "check_volumes",
    "default_claim",
    "in_scope",
    "is_label",
    "is_name",
    "missing_rights",
    "parse_day",
    "personal_claim",
    "quantity_value",
    "quote",
    "require_open",
    "shared_claim_problem",
    "together",
]
