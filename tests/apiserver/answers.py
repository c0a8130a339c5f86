"""Sends one request to two servers and says in what their answers differ.

Always true here: values are compared, not only keys; what cannot be the same on two servers is compared by its type
(`VOLATILE`), and what only the real server adds is listed with the reason (`ADDED`). Nothing else is passed over, and
nothing that the embedded API adds is.
"""

from __future__ import annotations

import io
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Object = dict[str, Any]

MERGE, JSON, STRATEGIC = (
    f"application/{name}+json" for name in ("merge-patch", "json-patch", "strategic-merge-patch")
)  # fmt: skip

# Server-chosen: the type must agree, the value cannot. A path ends with one of these; `[]` is any item of a list.
VOLATILE = (
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.continue",
    "details.uid",
    "status.conditions[].lastTransitionTime",
    # What is said may differ in its words; `code`, `reason` and the causes' fields may not.
    "message",
)

# What the real server adds and the embedded one leaves out: the path's end, and why it may.
ADDED = {
    "metadata.managedFields": "bookkeeping of server-side apply, which the embedded API answers with 501",
    "spec.containers[].terminationMessagePath": "the kubelet's defaults, which our node does not read",
    "spec.containers[].terminationMessagePolicy": "the kubelet's defaults, which our node does not read",
    "spec.initContainers[].terminationMessagePath": "the kubelet's defaults, which our node does not read",
    "spec.initContainers[].terminationMessagePolicy": "the kubelet's defaults, which our node does not read",
    "spec.enableServiceLinks": "the kubelet's defaults, which our node does not read",
    "spec.preemptionPolicy": "for a scheduler",
    "spec.priority": "for a scheduler",
    "status.qosClass": "for the kubelet's evictions",
    "status.conditions[].lastTransitionTime": "of a definition, which is there from the start in the embedded API",
    "status.conditions[].reason": "of a definition, which is there from the start in the embedded API",
    "status.conditions[].message": "of a definition, which is there from the start in the embedded API",
}
# The same, as long as the value says nothing: Go writes these fields whether they are set or not.
EMPTY = (
    *("eventTime", "firstTimestamp", "lastTimestamp", "source", "reportingComponent", "reportingInstance"),
    *("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource", "reportingController"),
    *("status.conditions[].lastProbeTime", "status.containerStatuses[].lastState"),
    "metadata.continue",  # of a list of custom resources
    "details",  # of a `Status`
)
# Added to each pod by the admission plugin DefaultTolerationSeconds, for a controller that does not run here.
TOLERATIONS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `{ns}` in its path is the namespace of the case.

    Attributes:
        body: JSON, or bytes that are sent as they are; None sends nothing.
        media_type: The `Content-Type`.
        watch: Whether the answer is a stream of events, read to its end.
    """

    method: str
    path: str
    body: Any = None
    media_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    watch: bool = False

    def __str__(self) -> str:
        query = "?" + "&".join(f"{key}={value}" for key, value in self.query.items()) if self.query else ""
        return f"{self.method} {self.path}{query}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body parsed, as text when it is not JSON, and as a list of events for a watch."""

    status: int
    body: Any

    def metadata(self, name: str) -> str:
        """A field of the metadata of the object or list that came back."""
        return str(self.body["metadata"][name])


Step = Request | Callable[[Sequence[Answer]], Request]
"""A request, or what makes it of the answers so far from the same server."""


class Side:
    """One of the two servers."""

    def __init__(self, name: str, url: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.url = url
        connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True)
        authorization = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._http = aiohttp.ClientSession(connector=connector, headers=authorization)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    async def send(self, request: Request, namespace: str) -> Answer:
        """Send a request and read the answer whole."""
        body = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
        body = body.replace(b"{ns}", namespace.encode())
        headers = dict(request.headers)
        # A stream, or aiohttp warns of a large body.
        stream = None
        if request.body is not None:
            headers["Content-Type"] = request.media_type
            stream = io.BytesIO(body)
        url = self.url + request.path.replace("{ns}", namespace)
        query = {key: value.replace("{ns}", namespace) for key, value in request.query.items()}
        async with self._http.request(request.method, url, data=stream, headers=headers, params=query) as answer:
            text = await answer.text()
        if request.watch and answer.status == 200:
            return Answer(answer.status, [json.loads(line) for line in text.splitlines()])
        try:
            return Answer(answer.status, json.loads(text))
        except ValueError:
            return Answer(answer.status, text)

    async def run(self, steps: Sequence[Step], namespace: str) -> list[tuple[Request, Answer]]:
        """Send the requests of a case one after the other."""
        done: list[tuple[Request, Answer]] = []
        for step in steps:
            request = step if isinstance(step, Request) else step([answer for _, answer in done])
            done.append((request, await self.send(request, namespace)))
        return done


def differences(real: Answer, embedded: Answer) -> list[str]:
    """Say in what two answers differ; nothing when they agree."""
    if real.status != embedded.status:
        return [f"status: real {real.status} {_brief(real.body)}, embedded {embedded.status} {_brief(embedded.body)}"]
    return list(_differences(real.body, embedded.body, ""))


def _differences(real: Any, embedded: Any, path: str) -> Iterator[str]:
    if isinstance(real, dict) and isinstance(embedded, dict):
        yield from _different_objects(*_prepared(real, embedded), path)
        return
    if isinstance(real, list) and isinstance(embedded, list):
        if path.endswith("spec.tolerations"):
            real = [one for one in real if one not in TOLERATIONS]
        real, embedded = ([one for one in side if not _is_news_of_others(one)] for side in (real, embedded))
        if len(real) == len(embedded):
            for index, pair in enumerate(zip(real, embedded, strict=True)):
                yield from _differences(*pair, f"{path}[{index}]")
            return
    if type(real) is not type(embedded) or (real != embedded and not _ends_with(path, VOLATILE)):
        yield f"{path}: real {_brief(real)}, embedded {_brief(embedded)}"


def _different_objects(real: Mapping[str, Any], embedded: Mapping[str, Any], path: str) -> Iterator[str]:
    for key in sorted(real.keys() | embedded.keys()):
        here = f"{path}.{key}" if path else key
        if key not in embedded:
            if not _may_be_left_out(real, key, here):
                yield f"{here}: real {_brief(real[key])}, embedded has none"
        elif key not in real:
            yield f"{here}: real has none, embedded {_brief(embedded[key])}"
        elif here.endswith("details.causes"):
            yield from _different_causes(real[key], embedded[key], here)
        else:
            yield from _differences(real[key], embedded[key], here)


def _prepared(real: Object, embedded: Object) -> tuple[Object, Object]:
    """Take off what is the real server's in a way that a path does not tell."""
    if "containers" in (real.get("spec") or {}):
        # New for pods in 1.34, for a kubelet that says which one it has acted on.
        real = real | {"metadata": {key: value for key, value in real["metadata"].items() if key != "generation"}}
    if real.get("generateName") and embedded.get("generateName"):
        real, embedded = ({**one, "name": f"{one['name'][:-5]}....."} for one in (real, embedded))
    return real, embedded


def _is_news_of_others(item: Any) -> bool:
    """Whether it is a bookmark that tells nothing but how far the server has got, with the cases beside this one."""
    is_bookmark = isinstance(item, dict) and item.get("type") == "BOOKMARK"
    return is_bookmark and "annotations" not in item["object"]["metadata"]


def _may_be_left_out(item: Mapping[str, Any], key: str, path: str) -> bool:
    """Whether the embedded API may answer without a field that the real one gives."""
    if _ends_with(path, EMPTY):
        return not item[key]
    if path.endswith("spec.tolerations"):
        return bool(item[key] == TOLERATIONS)
    return _ends_with(path, ADDED)


def _different_causes(real: Any, embedded: Any, path: str) -> Iterator[str]:
    """Compare what is wrong and where, in any order; the words are the servers' own."""
    found = [{(cause.get("field"), cause.get("reason")) for cause in causes} for causes in (real, embedded)]
    if found[0] != found[1]:
        yield f"{path}: real {sorted(found[0], key=str)}, embedded {sorted(found[1], key=str)}"


def _ends_with(path: str, ends: Mapping[str, str] | Sequence[str]) -> bool:
    path = re.sub(r"\[\d+\]", "[]", path)
    return any(path == end or path.endswith(f".{end}") for end in ends)


def _brief(value: Any) -> str:
    if isinstance(value, dict) and value.get("kind") == "Status":
        return f"{value.get('reason')}: {value.get('message')}"
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
