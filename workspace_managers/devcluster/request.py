"""What a request asks for: the verb, the options of its query and its headers, and its body.

Always true here: what cannot be read or is not legal is refused before anything is stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import web

from . import patch, selectors
from .errors import (
    ApiError,
    Problem,
    Undecodable,
    bad_request,
    forbidden,
    illegal,
    not_implemented,
    options_invalid,
    unprepared,
    unsupported,
)
from .kinds import Kind
from .schemas import WrongType, decode
from .selectors import Object, Predicate

_FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")
_OTHER_MEDIA_TYPES = {"application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection when `name` is empty; of all namespaces when `namespace` is."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


def unknown() -> ApiError:
    """404: the part of the server that has this group knows no such path in it."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def no_such_path() -> web.HTTPException:
    """404 in plain text: no part of the server knows the path."""
    return web.HTTPNotFound(text="404 page not found\n")


def not_allowed(kind: Kind | None = None) -> ApiError:
    """405; of a custom resource it says which."""
    details = kind.details("") if kind is not None and kind.schema is not None else {}
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details)


def verb_of(request: web.Request, target: Target) -> str:
    """Name what the request does; a subresource is read and written, never listed or deleted."""
    one, method, custom = bool(target.name), request.method, target.kind.schema is not None
    if target.kind.namespaced and not target.namespace and method != "GET":
        raise no_such_path() if custom else not_allowed()
    if custom and not one and method in ("PUT", "PATCH"):
        raise bad_request("name must be provided")
    verbs = {("GET", True): "get", ("PUT", True): "update", ("PATCH", True): "patch"}
    if not target.subresource:
        verbs |= {("GET", False): "list", ("POST", False): "create", ("DELETE", True): "delete"}
        # The name in the path of a custom resource to be created is not looked at.
        verbs |= {("POST", True): "create"} if custom else {}
        verbs |= {("DELETE", False): "deletecollection"} if target.kind.plural != "namespaces" else {}
    verb = verbs.get((method, one))
    if verb is None:
        raise not_allowed(target.kind)
    return "watch" if verb == "list" and flag(request.query.get("watch")) else verb


def check_headers(request: web.Request) -> None:
    """Refuse to answer in a form that is not JSON: 501 for those that the real server has, else 406."""
    accepted = request.headers.get("Accept", "*/*")
    if "as=PartialObjectMetadata" in accepted:
        raise not_implemented("PartialObjectMetadata")
    if "json" in accepted or "*/*" in accepted or "application/*" in accepted:
        return
    if any(one in accepted for one in _OTHER_MEDIA_TYPES):
        raise not_implemented(f"answers in {accepted}; accept application/json")
    raise ApiError(406, "NotAcceptable", "406: Not Acceptable: available is application/json")


def number(text: str | None, what: str) -> int:
    """Read a number of a query; absent and empty are 0."""
    if text and not re.fullmatch("-?[0-9]+", text):
        raise bad_request(f'Invalid value: "{text}": {what} must be a number')
    return int(text or 0)


def exact_number(text: str | None) -> int:
    """Read the resourceVersion of a get or a watch, where the real server is not prepared for text."""
    if text and not re.fullmatch("[0-9]+", text):
        raise unprepared(f'resourceVersion: Invalid value: "{text}": it must be a number')
    return int(text or 0)


def flag(text: str | None) -> bool:
    """Read a flag of a query, which is true for any text but these."""
    return text is not None and text.lower() not in ("0", "false")


def is_strict(request: web.Request, options: str) -> bool:
    """Whether unknown fields and fields given twice are refused.

    Raises:
        ApiError: 422 when the query's options are not legal.
    """
    given = request.query.get("fieldValidation", "")
    problems = list[Problem]()
    if given not in _FIELD_VALIDATION:
        problems.append(unsupported("fieldValidation", given, _FIELD_VALIDATION))
    if options == "PatchOptions" and "force" in request.query and request.content_type != patch.APPLY_PATCH:
        problems.append(forbidden("force", "may not be specified for non-apply patch"))
    if problems:
        raise options_invalid(options, problems)
    return given == "Strict"


def check_list_options(query: Mapping[str, str]) -> None:
    """Refuse options of a list that the real server refuses, with 422."""
    if problems := list(_list_problems(query)):
        raise options_invalid("ListOptions", problems)


def check_watch_options(query: Mapping[str, str]) -> None:
    """Refuse options of a watch that the real server refuses, with 422."""
    if problems := list(_watch_problems(query)):
        raise options_invalid("ListOptions", problems)


def _list_problems(query: Mapping[str, str]) -> Iterator[Problem]:
    field, revision = "resourceVersionMatch", query.get("resourceVersion")
    if match := query.get(field):
        if not revision:
            yield forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        if query.get("continue"):
            yield forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
        if match not in ("Exact", "NotOlderThan"):
            yield unsupported(field, match, ("Exact", "NotOlderThan", ""))
        if (match, revision) == ("Exact", "0"):
            yield forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if "sendInitialEvents" in query:
        yield forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


def _watch_problems(query: Mapping[str, str]) -> Iterator[Problem]:
    field = "resourceVersionMatch"
    match, list_first = query.get(field), "sendInitialEvents" in query
    if list_first and match != "NotOlderThan":
        yield forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if match:
        if not list_first:
            yield forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        if match != "NotOlderThan":
            yield unsupported(field, match, ("NotOlderThan",))
        if query.get("continue"):
            yield forbidden(field, "resourceVersionMatch is forbidden when continue is provided")


def matching(request: web.Request, target: Target) -> Predicate | None:
    """Give what selects the objects of a list or a watch, or None when nothing does."""
    kind, checks = target.kind, list[Predicate]()
    try:
        if text := request.query.get("labelSelector"):
            checks.append(selectors.labels(text))
        if text := request.query.get("fieldSelector"):
            by_field = selectors.fields(text, kind.selectable)
            checks.append(lambda item: by_field(kind.shown(item)))
    except ValueError as error:
        raise bad_request(str(error)) from error
    if target.namespace:
        checks.append(lambda item: bool(item["metadata"].get("namespace") == target.namespace))
    return (lambda item: all(check(item) for check in checks)) if checks else None


async def read_json(request: web.Request) -> tuple[Any, list[str]]:
    """Read the body as JSON; what it says, and the fields that are given twice."""
    twice: list[str] = []

    def as_dict(pairs: list[tuple[str, Any]]) -> Object:
        read = dict(pairs)
        if len(read) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(name for name in read if names.count(name) > 1)
        return read

    body = await request.read()
    try:
        return json.loads(body, parse_constant=_no_constant, object_pairs_hook=as_dict), twice
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the object provided is unrecognized (must be valid JSON): {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


async def read_object(request: web.Request) -> tuple[Object, list[str]]:
    """Read the body as a JSON object, for which null is an empty one, and the fields that are given twice."""
    if "Content-Type" in request.headers and request.content_type != "application/json":
        if request.content_type in _OTHER_MEDIA_TYPES:
            raise not_implemented(f"requests in {request.content_type}; send application/json")
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise ApiError(415, "UnsupportedMediaType", message)
    body, twice = await read_json(request)
    if body is not None and not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be a JSON object)")
    return body or {}, twice


async def deletion_options(request: web.Request) -> Object:
    """Read the options of a deletion from the body and the query.

    Raises:
        ApiError: 422 when they are not legal, 500 when they cannot be read, 501 for what is not done here.
    """
    options: Object = {}
    if request.can_read_body:
        try:
            options, _ = decode((await read_object(request))[0], "V1DeleteOptions")
        except WrongType as error:
            raise unprepared(str(error)) from error
        except ApiError as error:
            if error.code != 400:
                raise
            raise unprepared(error.message) from error
    if options.get("kind", "DeleteOptions") != "DeleteOptions":
        raise unprepared(f'no kind "{options["kind"]}" is registered')
    query = request.query
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = number(query["gracePeriodSeconds"], "gracePeriodSeconds")
    policy = options.get("propagationPolicy", query.get("propagationPolicy"))
    if policy and policy not in _POLICIES:
        raise options_invalid("DeleteOptions", [unsupported("propagationPolicy", policy, _POLICIES)])
    if policy and "orphanDependents" in options:
        text = "orphanDependents and deletionPropagation cannot be both set"
        raise options_invalid("DeleteOptions", [illegal("propagationPolicy", policy, text)])
    if policy in ("Foreground", "Orphan") or options.get("orphanDependents"):
        raise not_implemented(f"propagationPolicy {policy or 'Orphan'}")
    if options.get("dryRun"):
        raise not_implemented("dryRun")
    return options


def check_twice(kind: Kind, twice: Sequence[str], *, strict: bool) -> None:
    """Refuse fields that a body gives twice, when that is asked for."""
    if strict and twice:
        raise kind.undecodable(f'strict decoding error: duplicate field "{twice[0]}"')


def check_names(target: Target, body: Object, *, patched: bool = False) -> None:
    """Check that a body is of the kind and namespace that the path names, and say which when it does not.

    Args:
        patched: Whether a patch made the body; a custom resource may then not even be of another version.
    """
    kind, metadata = target.kind, body.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    for name, expected, called in (
        ("kind", kind.name, "kind"),
        ("apiVersion", kind.api_version, "API version"),
    ):
        if kind.schema is None:
            # The path tells a built-in type, so leaving it out is legal.
            body[name] = body.get(name) or expected
        elif not body.get(name):
            raise bad_request(
                f"Object '{name.capitalize() if name == 'kind' else name}' is missing in the request's body"
            )
        if body[name] != expected:
            if kind.schema is not None and (patched or name == "kind"):
                error = kind.invalid(str(given.get("name", "")), [illegal(name, body[name], f"must be {expected}")])
                error.details["kind"] = body["kind"]
                raise error
            message = f"the {called} in the data ({body[name]}) does not match the expected {called} ({expected})"
            raise Undecodable(message)
    if (given.get("namespace") or target.namespace) != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request: "
            f"{given['namespace']!r} is not {target.namespace!r}"
        )


def wants_table(request: web.Request) -> bool:
    """Whether the answer is to be a table, as `kubectl get` shows it."""
    return "as=Table" in request.headers.get("Accept", "") and "v=v1;" in request.headers.get("Accept", "")
