"""What the embedded API refuses, in the `Status` objects and the words of a real API server.

Always true here: a refusal is an `ApiError`; the field, the reason and the code of it are the real server's, the words
may be shorter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from .selectors import Object


class ApiError(Exception):
    """A refusal, as the `Status` object that a Kubernetes API answers with."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Object:
        """Give the `Status` object."""
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message, "code": self.code} | ({"reason": self.reason} if self.reason else {})
        return status | ({"details": self.details} if self.details else {})


class Undecodable(ApiError):
    """400: a body is not of its kind's shape."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)

    def of_patch(self) -> ApiError:
        """Give the 422 that stands for this where a patch made the body, and so is to blame."""
        return invalid('""', {}, [illegal("patch", "...", self.message)])


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def not_implemented(what: str) -> ApiError:
    """501: a real API server does this, and the embedded one does not."""
    return ApiError(501, "NotImplemented", f"the embedded Kubernetes API does not implement {what}")


def expired(message: str) -> ApiError:
    """410: the resourceVersion or the continue token is older than what is remembered."""
    return ApiError(410, "Expired", message)


def unprepared(message: str) -> ApiError:
    """500, without a reason: what the real server gives up on where one would expect 400."""
    return ApiError(500, "", message)


@dataclass(frozen=True, slots=True)
class Problem:
    """One cause of a 422: a field, the machine-readable reason and the text that the real server writes."""

    field: str
    reason: str
    text: str


def invalid(title: str, details: Object, problems: Iterable[Problem]) -> ApiError:
    """422: something, named by `title`, breaks rules."""
    problems = list(problems)
    texts = [f"{problem.field}: {problem.text}" for problem in problems]
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": p.reason, "message": p.text, "field": p.field} for p in problems]
    return ApiError(422, "Invalid", f"{title} is invalid: {summary}", details | {"causes": causes})


def options_invalid(kind: str, problems: Iterable[Problem]) -> ApiError:
    """422: the options of a request, such as `ListOptions`, break rules."""
    return invalid(f'{kind}.meta.k8s.io ""', {"group": "meta.k8s.io", "kind": kind}, problems)


def required(path: str, text: str = "") -> Problem:
    """The field must be set."""
    return Problem(path, "FieldValueRequired", "Required value" + (f": {text}" if text else ""))


def illegal(path: str, value: object, text: str) -> Problem:
    """The field has a value that it may not have."""
    return Problem(path, "FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {text}")


def duplicate(path: str, value: object) -> Problem:
    """The field has a value that another has already."""
    return Problem(path, "FieldValueDuplicate", f"Duplicate value: {json.dumps(value)}")


def forbidden(path: str, text: str) -> Problem:
    """The field may not be set, or not be changed, here."""
    return Problem(path, "FieldValueForbidden", f"Forbidden: {text}")


def too_long(path: str, limit: int) -> Problem:
    """The field has more bytes than it may have."""
    return Problem(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def unsupported(path: str, value: object, supported: Iterable[object]) -> Problem:
    """The field has a value that is not one of those known."""
    accepted = ", ".join(json.dumps(one) for one in supported)
    text = f"Unsupported value: {json.dumps(value)}: supported values: {accepted}"
    return Problem(path, "FieldValueNotSupported", text)
