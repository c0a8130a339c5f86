"""The environment, read once and checked whole (rule L3): the only reader of ``os.environ``.

Always true here: a ``Settings`` that exists is right; every bad variable is reported at the same time, with its value
and what is accepted. Values are stripped. A variable that is set but empty is refused, whichever it is: a Helm value
that came out empty is a mistake, and taking the default in its place would hide it.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import checks
from .checks import ACCESS_MODES, access_modes_problem
from .errors import ConfigurationError, quote
from .names import is_name
from .policy import LISTS, STRICT, Policy, read_policy

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

NO_POLICY = "none"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


def _manager(text: str) -> str:
    return text.casefold()


def _storage_class(text: str) -> str:
    if not is_name(text):
        raise ValueError("is no name that a StorageClass can have")
    return text


def _access_modes(text: str) -> tuple[str, ...]:
    modes = tuple(part.strip() for part in text.split(","))
    if "" in modes:
        raise ValueError("has an empty entry")
    if problem := access_modes_problem(modes):
        raise ValueError(problem)
    return modes


def _capacity(text: str) -> str:
    if checks.capacity(text) is not None:
        raise ValueError("is no size of a claim")
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return int(text)

    return parse


def _timezone(text: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        # Upper and lower case count where the zones are files; a folder such as "Europe" is an OSError.
        raise ValueError("is no time zone of this machine's time zone database") from error


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _namespace(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("is no name that a namespace can have")
    return text


def _policy(text: str) -> Policy:
    return STRICT if text == NO_POLICY else read_policy(text)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment, as the README, ``--help`` and every error describe it.

    Attributes:
        name: The variable.
        field: The field of ``Settings`` that it becomes.
        purpose: What it is for, in one sentence.
        accepted: What is accepted, in words that follow "accepted:".
        default: Its value where it is not set.
        parse: From stripped, non-empty text to the field; ValueError with what is wrong, to follow the value.
    """

    name: str
    field: str
    purpose: str
    accepted: str
    default: str
    parse: Callable[[str], object]

    def check(self, text: str, source: str | None = None) -> object:
        """The value of the field.

        Args:
            text: What was found.
            source: Where it was found; None for the variable itself.

        Raises:
            ConfigurationError: It is not one of the values accepted.
        """
        source = source or self.name
        if not text.strip():
            raise ConfigurationError(
                f"{source} is set, but empty ({quote(text)}); accepted: {self.accepted}. "
                f"Give it a value, or leave it unset for {self.default!r}."
            )
        try:
            return self.parse(text.strip())
        except ValueError as error:
            raise ConfigurationError(f"{source}={quote(text)} {error}; accepted: {self.accepted}.") from error


MANAGER = Variable(
    "WORKSPACE_MANAGER",
    "workspace_manager",
    "Name of the workspace manager that the hub uses; `workspace-managers list` shows those installed.",
    "the name of an installed workspace manager, such as lscsde",
    "lscsde",
    _manager,
)
NAMESPACE = Variable(
    "POD_NAMESPACE",
    "namespace",
    "Namespace of the hub, its user pods and claims; unset, that of the pod's service account where there is one.",
    "a namespace: at most 63 lowercase letters, digits and hyphens, no hyphen at either end",
    "default",
    _namespace,
)
VARIABLES: tuple[Variable, ...] = (
    MANAGER,
    Variable(
        "DEFAULT_STORAGE_CLASS",
        "storage_class",
        "StorageClass of a new persistent volume claim whose workspace names none.",
        "the name of a StorageClass: lowercase letters, digits, hyphens and dots, at most 253 characters",
        "jupyter-default",
        _storage_class,
    ),
    Variable(
        "DEFAULT_STORAGE_ACCESS_MODES",
        "access_modes",
        "Access modes of a new claim whose workspace names none, separated by commas.",
        f"{', '.join(ACCESS_MODES)}, none of them twice, ReadWriteOncePod only by itself",
        "ReadWriteMany",
        _access_modes,
    ),
    Variable(
        "DEFAULT_STORAGE_CAPACITY",
        "capacity",
        "Size of a new claim whose workspace names none, as a Kubernetes quantity.",
        "a number above zero and below 8Ei with a Kubernetes unit, such as 10Gi, 500Mi or 10G (10GB is not one)",
        "10Gi",
        _capacity,
    ),
    Variable(
        "KS_START_TIMEOUT",
        "start_timeout",
        "Seconds that a server may take to start before KubeSpawner gives up.",
        "a whole number of seconds above zero, of at most nine digits, such as 900 for 15 minutes",
        "900",
        _number(1, 999_999_999),
    ),
    Variable(
        "WORKSPACE_TIMEZONE",
        "timezone",
        "Time zone in which a workspace's first day begins and its last day ends.",
        "a name of the IANA time zone database, exactly as it is written there, such as UTC or Europe/London",
        "UTC",
        _timezone,
    ),
    Variable(
        "WORKSPACE_SCOPED_NAMES",
        "scoped_names",
        "Whether `heart\\alice` is alice, in the workspace heart alone; if not, it is one name, with its domain.",
        "true or false",
        "true",
        _flag,
    ),
    Variable(
        "WORKSPACE_REVIEW_MINUTES",
        "review_minutes",
        "Minutes between two reviews of a running server, where the workspace manager cannot tell what has changed.",
        "a whole number of minutes from 1 to 1440, such as 5",
        "5",
        _number(1, 1440),
    ),
    Variable(
        "WORKSPACE_UNCERTAIN_HOURS",
        "uncertain_hours",
        "Hours after which a server is stopped whose user's access cannot be confirmed, as in an outage; 0 for never.",
        "a whole number of hours from 0 to 8760, such as 12",
        "12",
        _number(0, 8760),
    ),
    Variable(
        "WORKSPACE_CLAIMS_HOURS",
        "claims_hours",
        "Hours for which what the identity provider said of a person counts; after more it is unknown. 0 for any time.",
        "a whole number of hours from 0 to 8760, such as 24",
        "24",
        _number(0, 8760),
    ),
    NAMESPACE,
    Variable(
        "WORKSPACE_POLICY",
        "policy",
        "YAML file that says what workspaces are allowed beyond the strict default; `none` for no file.",
        f"{NO_POLICY}, or the path of a YAML file, a map of {' and '.join(LISTS)} to lists of shell patterns",
        NO_POLICY,
        _policy,
    ),
)
"""Every variable that is read, in the order in which it is documented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment as the hub uses it.

    Attributes:
        workspace_manager: The plugin's name, casefolded.
        storage_class: StorageClass for new claims.
        access_modes: Access modes for new claims, at least one.
        capacity: Size of new claims, a Kubernetes quantity such as ``10Gi``.
        start_timeout: Seconds.
        timezone: Where days begin and end (rule A1).
        scoped_names: Whether a backslash in a person's name ends a workspace's, for ``User.identify`` (rule A2).
        review_minutes: Between two reviews of a server, for plugins that do not tell what changed (rule E1).
        uncertain_hours: How long a server runs on without a certain answer; 0 for any time (rule E4).
        claims_hours: How old identity claims may be; 0 for any age (rule E6).
        namespace: The hub's own.
        policy: What workspaces are allowed beyond the strict default.
    """

    workspace_manager: str
    storage_class: str
    access_modes: tuple[str, ...]
    capacity: str
    start_timeout: int
    timezone: zoneinfo.ZoneInfo
    scoped_names: bool
    review_minutes: int
    uncertain_hours: int
    claims_hours: int
    namespace: str
    policy: Policy = STRICT

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] = os.environ, *, namespace_file: Path = NAMESPACE_FILE
    ) -> Settings:
        """Read and check the environment.

        Args:
            environ: The process's own, or one for tests.
            namespace_file: Where Kubernetes tells a pod its namespace; read only where ``POD_NAMESPACE`` is not set.

        Raises:
            ConfigurationError: With one problem for each bad variable.
        """
        fields: dict[str, object] = {}
        problems: list[str] = []
        for variable in VARIABLES:
            try:
                if variable is NAMESPACE and NAMESPACE.name not in environ:
                    fields[variable.field] = _own_namespace(namespace_file)
                else:
                    fields[variable.field] = variable.check(environ.get(variable.name, variable.default))
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        return cls(**fields)  # type: ignore[arg-type]  # each variable's parser makes its field's type; a test holds it

    def as_environ(self) -> dict[str, str]:
        """The environment that gives these settings, defaults written out."""
        texts = {
            "access_modes": ",".join(self.access_modes),
            "timezone": self.timezone.key,
            "scoped_names": str(self.scoped_names).lower(),
            "policy": self.policy.file or NO_POLICY,
        }
        return {v.name: texts.get(v.field) or str(getattr(self, v.field)) for v in VARIABLES}


def chosen_manager(environ: Mapping[str, str] = os.environ) -> str:
    """The name in ``WORKSPACE_MANAGER`` alone, for a caller that goes on when other variables are bad.

    Raises:
        ConfigurationError: It is set, but empty.
    """
    return str(MANAGER.check(environ.get(MANAGER.name, MANAGER.default)))


def _own_namespace(file: Path) -> object:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        text = NAMESPACE.default
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{NAMESPACE.name} is unset and {file} cannot be read ({type(error).__name__}: {quote(str(error))}); "
            f"set {NAMESPACE.name}, accepted: {NAMESPACE.accepted}."
        ) from error
    return NAMESPACE.check(text, f"{NAMESPACE.name} is unset, and the content of {file}")
