"""How a body becomes an object of its type: unknown fields dropped, types checked, numbers and quantities as stored.

Always true here: what a type looks like is nobody's guess. Built-in types are read off the models of the Kubernetes
client library, which are generated from the API's own description; custom resources off their schema in `crds.yaml`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any, cast

import jsonschema
from kubernetes.utils.quantity import parse_quantity
from kubernetes_asyncio.client import models

from .errors import Problem, illegal, required, unsupported
from .selectors import Object

_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# What the models call text, and is more than that.
_REFINED = dict.fromkeys(("limits", "requests", "capacity", "allocatedResources", "overhead"), "dict(str, quantity)")
_REFINED |= {"sizeLimit": "quantity", "divisor": "quantity"}
_REFINED_OF_MODEL = {"V1Secret.data": "dict(str, bytes)", "V1ConfigMap.binaryData": "dict(str, bytes)"}
# Go leaves out what is empty, but for pointers and the few fields that are written always; false is a value of most
# flags (which are pointers), and empty text a value of few.
_FALSE_IS_NOTHING = frozenset({"hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty"})
_EMPTY_TEXT_IS_A_VALUE = frozenset({"storageClassName", "imageID"})


class WrongType(ValueError):
    """A value cannot be what its field is."""


def json_type(value: object) -> str:
    """Name the type of a parsed JSON value, as messages do."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def quantity(value: object) -> Decimal:
    """Read a quantity that has been decoded."""
    return Decimal(parse_quantity(value))


def _canonical(value: object, path: str) -> str:
    """Write a quantity as the real server stores it: text, in the shortest form of the family that it came in."""
    # The library takes more than the server does ("NaN", " 1", "5K"), so the form is checked first.
    if isinstance(value, bool) or not _QUANTITY.fullmatch(str(value)):
        form = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
        raise WrongType(f"quantities must match the regular expression '{form}': {path} is {value!r}")
    amount = quantity(value)
    if str(value).endswith("i") and abs(amount) >= 1024 and amount == int(amount):
        for unit, power in (("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
            if not int(amount) % 2**power:
                return f"{int(amount) // 2**power}{unit}"
    if amount != int(amount):
        for unit, power in (("m", 3), ("u", 6), ("n", 9)):
            if (scaled := amount.scaleb(power)) == int(scaled):
                return f"{int(scaled)}{unit}"
        return str(value)
    for unit, power in (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)):
        if amount and not int(amount) % 10**power:
            return f"{int(amount) // 10**power}{unit}"
    return str(int(amount))


# --- Built-in types ---


@cache
def _fields(model: str) -> dict[str, str]:
    """Give the fields of a model by their names in JSON, each with its type as the library writes it."""
    known = getattr(models, model)
    return {
        shown: _REFINED_OF_MODEL.get(f"{model}.{shown}", _REFINED.get(shown, known.openapi_types[name]))
        for name, shown in known.attribute_map.items()
    }


def decode(item: Object, model: str, path: str = "") -> tuple[Object, list[str]]:
    """Read a JSON object as a built-in type.

    Args:
        model: Name of the type's model in the client library.
        path: Where the object is in the body.

    Returns:
        The object with the fields that are known and say something, and the paths that were dropped.

    Raises:
        WrongType: A value cannot be what its field is.
    """
    dropped: list[str] = []
    return _decoded_object(item, model, path, dropped), dropped


def _decoded_object(item: Object, model: str, path: str, dropped: list[str]) -> Object:
    known, found = _fields(model), Object()
    for key, value in item.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            dropped.append(here)
        elif value is not None:
            read = _decoded(value, known[key], here, dropped)
            if not _says_nothing(key, known[key], read):
                found[key] = read
    return found


def _says_nothing(key: str, kind: str, value: object) -> bool:
    if kind == "bool":
        return key in _FALSE_IS_NOTHING and not value
    if kind == "str":
        return key not in _EMPTY_TEXT_IS_A_VALUE and not value
    return kind.startswith(("list[", "dict(")) and not value


def _decoded(value: Any, kind: str, path: str, dropped: list[str]) -> Any:
    inner = re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", kind)
    if inner and inner[1]:
        items = _expect(value, list, path)
        return [_decoded_item(one, inner[1], f"{path}[{index}]", dropped) for index, one in enumerate(items)]
    if inner:
        pairs = _expect(value, dict, path).items()
        return {key: _decoded_item(one, inner[2], f"{path}.{key}", dropped) for key, one in pairs}
    if kind in _SCALARS:
        return _SCALARS[kind](value, path)
    return _decoded_object(_expect(value, dict, path), kind, path, dropped)


def _decoded_item(value: Any, kind: str, path: str, dropped: list[str]) -> Any:
    """Read an item of a list or a map, where null is the empty value of its type."""
    empty: Any = "" if kind in ("str", "bytes") else 0 if kind in ("int", "quantity") else {}
    return _decoded(empty if value is None else value, kind, path, dropped)


def _expect(value: Any, wanted: type, path: str) -> Any:
    if type(value) is not wanted:
        raise WrongType(f"json: cannot unmarshal {json_type(value)} into {path}")
    return value


def _base64(value: object, path: str) -> str:
    text = str(_expect(value, str, path))
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except binascii.Error as error:
        raise WrongType(f"illegal base64 data in {path}: {error}") from error


def _time(value: object, path: str) -> str:
    text = str(_expect(value, str, path))
    if not _TIME.fullmatch(text):
        raise WrongType(f"parsing time {json.dumps(text)} in {path}: it is not as 2006-01-02T15:04:05Z")
    return text


_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "str": lambda value, path: _expect(value, str, path),
    "int": lambda value, path: _expect(value, int, path),
    "bool": lambda value, path: _expect(value, bool, path),
    "datetime": _time,
    "bytes": _base64,
    "quantity": _canonical,
    "object": lambda value, _path: value,
}


# --- Custom resources ---


class StructuralSchema:
    """The schema of a custom resource: drops what it does not know, fills in defaults, then validates."""

    def __init__(self, schema: Object) -> None:
        self.document = schema
        checker = jsonschema.FormatChecker(formats=["date"])
        self._validator = jsonschema.Draft202012Validator(_as_json_schema(schema), format_checker=checker)

    def decode(self, item: Object) -> tuple[Object, list[str]]:
        """Give the object without unknown fields and with defaults, and the paths that were dropped.

        Raises:
            WrongType: A value of its metadata cannot be what its field is.
        """
        pruned: Object = _with_whole_numbers(item)
        # The type of metadata is the server's own, whatever the schema says of it.
        metadata, dropped = decode(
            _expect(pruned.pop("metadata", None) or {}, dict, "metadata"), "V1ObjectMeta", "metadata"
        )
        dropped += _prune(pruned, self.document, "")
        return pruned | {"metadata": metadata}, dropped

    def problems(self, item: Object) -> Iterator[Problem]:
        """Say everything that is wrong with an object."""
        for error in sorted(self._validator.iter_errors(item), key=lambda error: [str(p) for p in error.absolute_path]):
            yield from _schema_problems(error)


def _with_whole_numbers(value: Any) -> Any:
    """Write 2.0 as 2, as the real server does; a copy, so that pruning leaves the body alone."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_json_schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return {key: _as_json_schema(value) for key, value in schema.items()}


def _prune(item: Any, schema: Object, path: str) -> Iterator[str]:
    if isinstance(item, list):
        for index, one in enumerate(item):
            yield from _prune(one, schema.get("items", {}), f"{path}[{index}]")
    if not isinstance(item, dict):
        return
    known, free = schema.get("properties", {}), schema.get("additionalProperties")
    for key, one in known.items():
        # As on the real server, before defaults and validation: null for what is not nullable is nothing.
        if key in item and item[key] is None and not one.get("nullable"):
            del item[key]
    for key in list(item):
        here = f"{path}.{key}" if path else key
        if key in known:
            yield from _prune(item[key], known[key], here)
        elif free is not None:
            yield from _prune(item[key], free, here)
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            del item[key]
            yield here
    for key, one in known.items():
        if "default" in one:
            item.setdefault(key, one["default"])


def _schema_problems(error: jsonschema.ValidationError) -> Iterator[Problem]:
    path = error.json_path.removeprefix("$").removeprefix(".")
    found = error.instance
    if error.validator == "required":
        missing = re.fullmatch(r"'(.*)' is a required property", error.message)
        yield required(f"{path}.{missing[1]}" if missing and path else missing[1] if missing else path)
    elif error.validator in ("type", "format"):
        shown = found if error.validator == "format" else json_type(found)
        wanted = error.validator_value
        wanted = " or ".join(wanted) if isinstance(wanted, list) else wanted
        problem = illegal(path, shown, f"{path} in body must be of type {wanted}: {json.dumps(shown)}")
        yield replace(problem, reason="FieldValueTypeInvalid")
    elif error.validator == "enum":
        yield unsupported(path, found, list(cast(Iterable[object], error.validator_value)))
    elif error.validator == "anyOf":
        yield from _schema_problems(error.context[0])
        yield illegal("<nil>", "", f'"{path}" must validate at least one schema (anyOf)')
    else:
        yield illegal(path, found, error.message)
