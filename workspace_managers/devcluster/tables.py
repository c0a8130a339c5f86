"""Objects as the rows of a table, for `kubectl get`.

Always true here: a table shows what the columns of the kind name, its objects' names first and their age last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from .kinds import Kind
from .selectors import Object


def table(kind: Kind, items: Iterable[Object], revision: int) -> Object:
    """Give objects as a `Table`; `revision` is the resourceVersion of the list that they are."""
    columns = [("Name", ".metadata.name"), *kind.columns]
    definitions = [
        {"name": title, "type": "string", "format": "", "description": path, "priority": 0} for title, path in columns
    ]
    definitions[0]["format"] = "name"
    age = {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0}
    rows = [
        {
            "cells": [
                *(_cell(item, path) for _, path in columns),
                _age(item["metadata"]["creationTimestamp"]),
            ],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": item["metadata"],
            },
        }
        for item in items
    ]
    head: Object = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": str(revision)},
    }
    return head | {"columnDefinitions": [*definitions, age], "rows": rows}


def _cell(item: Any, path: str) -> str:
    for step in path.strip(".").split("."):
        item = item.get(step) if isinstance(item, dict) else None
    return "" if item is None else str(item)


def _age(created: str) -> str:
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
