"""What an operator allows workspaces, read from one YAML file as the hub starts (rule F4).

The file is a map. Most of it are lists of shell patterns, each by the name of a field of ``Policy``; what it does not
name is as in the strict default::

    images: [registry.example.org/studies/*]
    require_digests: true
    maxima: {memory: 64Gi, nvidia.com/gpu: 1}

Functions from facts to what is not allowed; nothing is fetched. docs/policy.md has every line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import yaml

from . import checks
from .errors import quote
from .frozen import EMPTY, FrozenDict
from .models import Volume, Workspace
from .names import HOME
from .quantities import quantity_value

ANY = ("*",)
"""The patterns of what is not limited."""
WITH_KEY = ("[!*]*",)
"""The patterns of tolerations that name the key of a taint: one without tolerates every taint there is."""

_SHOWN = 80
_TEXT, _NUMBERS = "tag:yaml.org,2002:str", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_FLAGS = {"true": True, "false": False}


@attrs.frozen
class Policy:
    """What is allowed. A tuple is of shell patterns, of which one must fit the whole of what is asked for.

    Attributes:
        claims: Claims that may be adopted under whatever name a workspace gives them, clones and pre-bound claims
            included. What something else owns is adopted by no pattern (rule S3).
        service_accounts: Service accounts that a workspace may name for its pods.
        namespaces: Namespaces that a workspace may have, of those that carry the label (rule S9).
        images: Images, as the workspace writes them.
        require_digests: Whether an image must name a digest (``@sha256:...``), so that it is always the same one.
        labels: Keys of further labels of the pod.
        annotations: Keys of further annotations of the pod.
        environment: Names of further environment variables.
        node_selectors: Labels of nodes that a workspace may ask for, as ``key=value``. What the hub's own settings ask
            for is never replaced.
        tolerations: Taints that a workspace may tolerate, as ``key=value``: the value ``*`` for any (``Exists``), and
            the key too where the toleration names none.
        maxima: Resource name to the Kubernetes quantity that a workspace may ask for at most. Where it asks for such a
            resource at all, it must limit it.
        storage_classes: Storage classes that a workspace may name; the hub's own default always.
        mount_paths: Where a workspace may mount what; its own folder, the shared one and a kept home always.
        default_urls: Pages that JupyterLab may open with.
        file: Where it was read from; None for the strict default.
        lines: The line on which the file has each field, from 1.
    """

    claims: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    images: tuple[str, ...] = ANY
    require_digests: bool = False
    labels: tuple[str, ...] = ANY
    annotations: tuple[str, ...] = ANY
    environment: tuple[str, ...] = ANY
    node_selectors: tuple[str, ...] = ANY
    tolerations: tuple[str, ...] = WITH_KEY
    maxima: Mapping[str, str] = attrs.field(default=EMPTY, hash=False)
    storage_classes: tuple[str, ...] = ANY
    mount_paths: tuple[str, ...] = ANY
    default_urls: tuple[str, ...] = ANY
    file: str | None = attrs.field(default=None, eq=False)
    lines: Mapping[str, int] = attrs.field(default=EMPTY, eq=False)

    def allows_claim(self, name: str) -> bool:
        """Whether a claim of this name may be adopted."""
        return _fits(name, self.claims)

    def allows_namespace(self, name: str) -> bool:
        """Whether a workspace may be in this namespace, as far as the policy goes."""
        return _fits(name, self.namespaces)

    @property
    def limits_storage(self) -> bool:
        """Whether ``beyond_storage`` may find something."""
        return self.storage_classes != ANY or self.mount_paths != ANY

    def beyond(self, workspace: Workspace) -> str | None:
        """The first thing that a workspace asks for and may not have, and what to do; None where there is nothing.

        Args:
            workspace: One whose facts are right (``Workspace.problem``).
        """
        return next(chain(self._images(workspace), self._patterns(workspace), self._resources(workspace)), None)

    def beyond_storage(self, workspace: str, volumes: Iterable[Volume], default_class: str) -> str | None:
        """As ``beyond``, of what a workspace mounts.

        Args:
            workspace: Its name.
            volumes: As checked by ``storage.check_volumes``.
            default_class: The hub's own storage class.
        """
        for volume in volumes:
            if volume.shared or volume.personal:
                continue
            if volume.storage_class not in (None, default_class) and not _fits(
                str(volume.storage_class), self.storage_classes
            ):
                return self._refusal("storage_classes", f"the storage class {quote(volume.storage_class, _SHOWN)}")
            if volume.mount_path != f"{HOME}/{workspace}" and not _fits(volume.mount_path, self.mount_paths):
                return self._refusal("mount_paths", f"a volume at {quote(volume.mount_path, _SHOWN)}")
        return None

    def _patterns(self, workspace: Workspace) -> Iterator[str]:
        nodes = (f"{key}={value}" for key, value in workspace.node_selector.items())
        account = () if workspace.service_account is None else (workspace.service_account,)
        page = () if workspace.default_url is None else (workspace.default_url,)
        asked: tuple[tuple[str, str, Iterable[str]], ...] = (
            ("service_accounts", "the service account", account),
            ("tolerations", "a toleration of the taint", map(_taint, workspace.tolerations)),
            ("node_selectors", "nodes with", nodes),
            ("labels", "the label", workspace.labels),
            ("annotations", "the annotation", workspace.annotations),
            ("environment", "the environment variable", workspace.environment),
            ("default_urls", "the page", page),
        )
        for name, what, values in asked:
            patterns = getattr(self, name)
            if patterns != ANY:
                yield from (
                    self._refusal(name, f"{what} {quote(value, _SHOWN)}")
                    for value in values
                    if not _fits(value, patterns)
                )

    def _images(self, workspace: Workspace) -> Iterator[str]:
        if self.images != ANY and not _fits(workspace.image, self.images):
            yield self._refusal("images", f"the image {quote(workspace.image, _SHOWN)}")
        if self.require_digests and "@" not in workspace.image:
            at = self._place("require_digests")
            yield f"it asks for the image {quote(workspace.image, _SHOWN)} without a digest, which is required ({at})"

    def _resources(self, workspace: Workspace) -> Iterator[str]:
        if not self.maxima:
            return
        requests, limits = workspace.resources.requests, workspace.resources.limits
        for resource, most in self.maxima.items():
            asked = [quantity for part in (requests, limits) if (quantity := part.get(resource)) is not None]
            too_much = next((each for each in asked if quantity_value(each) > quantity_value(most)), None)
            where = f"where {quote(most)} is the most ({self._place('maxima')})"
            if too_much is not None:
                yield f"it asks for {quote(too_much)} of {quote(resource, _SHOWN)}, {where}"
            elif asked and resource not in limits:
                yield f"it asks for {quote(resource, _SHOWN)} without a limit, {where}"

    def _refusal(self, name: str, asked: str) -> str:
        return f"it asks for {asked}, which the policy does not allow; add it to {self._place(name)}"

    def _place(self, name: str) -> str:
        if self.file is None:
            return f"{name} in the file that WORKSPACE_POLICY names"
        line = f" (line {self.lines[name]})" if name in self.lines else ""
        return f"{name}{line} in {quote(self.file)}"


STRICT = Policy()
"""The policy where the operator has none."""

_LISTS = (
    *("claims", "service_accounts", "namespaces", "images", "labels", "annotations", "environment"),
    *("node_selectors", "tolerations", "storage_classes", "mount_paths", "default_urls"),
)
FIELDS = ("require_digests", "maxima", *_LISTS)
"""What a file may have."""
_PATHS = ("mount_paths", "default_urls")
_PAIRS = ("node_selectors", "tolerations")


def read_policy(file: str) -> Policy:
    """The policy in a YAML file.

    Raises:
        ValueError: With everything that is wrong with it, each with its line, in words that follow the file's name.
    """
    try:
        root = yaml.compose(Path(file).read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__}: {quote(str(error))})") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        hint = "; a pattern that begins with * stands in quotes" if "alias" in str(error) else ""
        raise ValueError(f"is no YAML ({line}{quote(error.problem or error.context or '')}{hint})") from error
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML ({quote(' '.join(str(error).split()))})") from error
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("is no map of what is allowed; an empty one is {}")
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for key, value in root.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a list or map"
        if name not in FIELDS:
            problems.append(f"{_line(key)} {quote(name, _SHOWN)} is not known; known are {', '.join(sorted(FIELDS))}")
            continue
        if name in found:
            problems.append(f"{_line(key)} {name} is there already, in line {lines[name]}")
            continue
        lines[name] = key.start_mark.line + 1
        found[name], wrong = _VALUES.get(name, _patterns)(name, value)
        problems += wrong
    if problems:
        raise ValueError("; ".join(problems))
    return Policy(**found, file=file, lines=FrozenDict(lines))


def _patterns(name: str, node: yaml.Node) -> tuple[tuple[str, ...], Sequence[str]]:
    if not isinstance(node, yaml.SequenceNode):
        return (), [f"{_line(node)} {name} is no list of patterns"]
    found: list[str] = []
    problems = []
    for item in node.value:
        if problem := _pattern_problem(name, item):
            problems.append(f"{_line(item)} {problem}, among {name}")
        elif item.value in found:
            problems.append(f"{_line(item)} {quote(item.value, _SHOWN)} is twice among {name}")
        else:
            found.append(item.value)
    return tuple(found), problems


def _pattern_problem(name: str, node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        return "a list or map is no pattern"
    text = node.value
    problems = (
        (
            node.tag != _TEXT or not text,
            "is no pattern; a text that YAML takes for something else stands in quotes",
        ),
        (any(map(str.isspace, text)), "has a blank in it, which nothing has that is asked for"),
        ("[" in text and "]" not in text.partition("[")[2][1:], "has a [ without its ]"),
        (name in _PATHS and text[:1] not in "/*?[", "fits nothing, as a path begins with /"),
        (name in _PAIRS and not set("=*?[") & set(text), "fits nothing, as it is no key=value"),
    )
    return next((f"{quote(text, _SHOWN)} {problem}" for wrong, problem in problems if wrong), None)


def _flag(name: str, node: yaml.Node) -> tuple[bool, Sequence[str]]:
    if isinstance(node, yaml.ScalarNode) and node.value in _FLAGS and node.tag != _TEXT:
        return _FLAGS[node.value], ()
    return False, [f"{_line(node)} {name} is neither true nor false"]


def _maxima(name: str, node: yaml.Node) -> tuple[Mapping[str, str], Sequence[str]]:
    if not isinstance(node, yaml.MappingNode):
        return EMPTY, [f"{_line(node)} {name} is no map of resources to quantities"]
    found: dict[str, str] = {}
    problems = []
    for key, value in node.value:
        resource = str(key.value)
        if not isinstance(value, yaml.ScalarNode) or value.tag not in (_TEXT, *_NUMBERS):
            problems.append(f"{_line(value)} {quote(resource, _SHOWN)} has no quantity, among {name}")
        elif resource in found:
            problems.append(f"{_line(key)} {quote(resource, _SHOWN)} is twice among {name}")
        # Huge pages are only right beside one of the others.
        elif problem := checks.resources({}, {"cpu": "1", resource: value.value}):
            problems.append(f"{_line(key)} {problem.removeprefix('limits: ')}, among {name}")
        else:
            found[resource] = value.value
    return FrozenDict(found), problems


_VALUES: Mapping[str, Any] = {"require_digests": _flag, "maxima": _maxima}


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}:"


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _taint(toleration: Mapping[str, Any]) -> str:
    exists = toleration.get("operator") == "Exists"
    return f"{toleration.get('key') or '*'}={'*' if exists else toleration.get('value', '')}"
