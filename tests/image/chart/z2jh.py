"""A stand-in for what the chart mounts beside its hub's config: how that, and `hub.extraConfig`, read the values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_VALUES = Path("/usr/local/etc/jupyterhub/secret/values.yaml")


@cache
def _values() -> Any:
    return yaml.safe_load(_VALUES.read_text())


def get_config(path: str, default: Any = None) -> Any:
    """The value at a path such as `hub.db.type`."""
    value = _values()
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value
