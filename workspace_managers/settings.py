"""The environment, read once and checked whole (rule L3): the only reader of ``os.environ``.

Always true here: a ``Settings`` that exists is right; every bad variable is reported at the same time, with its value
and what is accepted. Values are stripped. A variable that is set but empty is refused, whichever it is: a Helm value
that came out empty is a mistake, and taking the default in its place would hide it.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checks, texts
from .checks import ACCESS_MODES, access_modes_problem
from .errors import ConfigurationError, quote
from .names import is_name, is_namespace
from .policy import STRICT, Policy, read_policy

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

NO_POLICY = "none"
NO_FOLDER = "none"
NO_HOME, HOME_CLAIM = "none", "claim"

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", re.ASCII)
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


def _home(text: str) -> bool:
    if text not in (NO_HOME, HOME_CLAIM):
        raise ValueError(f"is neither {NO_HOME} nor {HOME_CLAIM}")
    return text == HOME_CLAIM


def _namespace(text: str) -> str:
    if not is_namespace(text):
        raise ValueError("is no name that a namespace can have")
    return text


def _language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text):
        raise ValueError("is no language")
    return text


def _folder(text: str) -> Path | None:
    if text == NO_FOLDER:
        return None
    if not (folder := Path(text)).is_dir():
        raise ValueError("is no folder that is there")
    return folder


def _policy(text: str) -> Policy:
    return STRICT if text == NO_POLICY else read_policy(text)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment, as docs/environment.md, ``--help`` and every error describe it.

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


_CLASS_ACCEPTED = "the name of a StorageClass: lowercase letters, digits, hyphens and dots, at most 253 characters"
_MODES_ACCEPTED = f"{', '.join(ACCESS_MODES)}, none of them twice, ReadWriteOncePod only by itself"
_CAPACITY_ACCEPTED = (
    "a number above zero and below 8Ei with a Kubernetes unit, such as 10Gi, 500Mi or 10G (10GB is not one)"
)
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
        _CLASS_ACCEPTED,
        "jupyter-default",
        _storage_class,
    ),
    Variable(
        "DEFAULT_STORAGE_ACCESS_MODES",
        "access_modes",
        "Access modes of a new claim whose workspace names none, separated by commas.",
        _MODES_ACCEPTED,
        "ReadWriteMany",
        _access_modes,
    ),
    Variable(
        "DEFAULT_STORAGE_CAPACITY",
        "capacity",
        "Size of a new claim whose workspace names none, as a Kubernetes quantity.",
        _CAPACITY_ACCEPTED,
        "10Gi",
        _capacity,
    ),
    Variable(
        "WORKSPACE_HOME",
        "homes",
        "Whether a person's home folder in a workspace is a claim of their own; `none`: it goes with the server.",
        f"{NO_HOME} or {HOME_CLAIM}",
        NO_HOME,
        _home,
    ),
    Variable(
        "WORKSPACE_HOME_STORAGE_CLASS",
        "home_storage_class",
        "StorageClass of a new claim for a home folder.",
        _CLASS_ACCEPTED,
        "jupyter-default",
        _storage_class,
    ),
    Variable(
        "WORKSPACE_HOME_ACCESS_MODES",
        "home_access_modes",
        "Access modes of a new claim for a home folder, separated by commas.",
        _MODES_ACCEPTED,
        "ReadWriteMany",
        _access_modes,
    ),
    Variable(
        "WORKSPACE_HOME_CAPACITY",
        "home_capacity",
        "Size of a new claim for a home folder, as a Kubernetes quantity.",
        _CAPACITY_ACCEPTED,
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
    Variable(
        "WORKSPACES_AT_ONCE",
        "at_once",
        "How many workspaces may run for one person at the same time; 0 for any number.",
        "a whole number from 0 to 1000, such as 1",
        "1",
        _number(0, 1000),
    ),
    Variable(
        "WORKSPACE_START_SINGLE",
        "start_single",
        "Whether home starts the workspace of a person who may open one alone by itself, once in a browser's tab.",
        "true or false",
        "false",
        _flag,
    ),
    Variable(
        "WORKSPACE_LANGUAGE",
        "language",
        "Language of the sentences that people read; what it has no sentence for is English.",
        f"a language that has a catalogue: {', '.join(texts.languages())}, or one of WORKSPACE_TEXTS",
        texts.ENGLISH,
        _language,
    ),
    Variable(
        "WORKSPACE_TEXTS",
        "texts",
        "Folder of a site's own catalogues (gettext), which come before ours; `none` for no folder.",
        f"{NO_FOLDER}, or the path of a folder with LANGUAGE/LC_MESSAGES/{texts.DOMAIN}.mo in it",
        NO_FOLDER,
        _folder,
    ),
    NAMESPACE,
    Variable(
        "WORKSPACE_POLICY",
        "policy",
        "YAML file that says what workspaces are allowed, as docs/policy.md; `none` for the strict default.",
        f"{NO_POLICY}, or the path of a YAML file as docs/policy.md describes it",
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
        homes: Whether people's home folders are kept, by a plugin that leaves that to the operator (rule S8).
        home_storage_class: As ``storage_class``, of a home folder's claim.
        home_access_modes: As ``access_modes``, of a home folder's claim.
        home_capacity: As ``capacity``, of a home folder's claim.
        start_timeout: Seconds.
        timezone: Where days begin and end (rule A1).
        scoped_names: Whether a backslash in a person's name ends a workspace's, for ``User.identify`` (rule A2).
        review_minutes: Between two reviews of a server, for plugins that do not tell what changed (rule E1).
        uncertain_hours: How long a server runs on without a certain answer; 0 for any time (rule E4).
        claims_hours: How old identity claims may be; 0 for any age (rule E6).
        at_once: How many workspaces may run for a person; 0 for any number (rule W2).
        start_single: Whether the only workspace of a person is started without being asked for.
        language: In which people read the sentences of ``texts``.
        texts: The folder of a site's own catalogues; None where it has none.
        namespace: The hub's own.
        policy: What workspaces are allowed.
    """

    workspace_manager: str
    storage_class: str
    access_modes: tuple[str, ...]
    capacity: str
    homes: bool
    home_storage_class: str
    home_access_modes: tuple[str, ...]
    home_capacity: str
    start_timeout: int
    timezone: zoneinfo.ZoneInfo
    scoped_names: bool
    review_minutes: int
    uncertain_hours: int
    claims_hours: int
    at_once: int
    start_single: bool
    language: str
    texts: Path | None
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
        problems += _problems_of_language(fields)
        if problems:
            raise ConfigurationError(problems)
        return cls(**fields)  # type: ignore[arg-type]  # each variable's parser makes its field's type; a test holds it

    def as_environ(self) -> dict[str, str]:
        """The environment that gives these settings, defaults written out."""
        texts = {
            "access_modes": ",".join(self.access_modes),
            "homes": HOME_CLAIM if self.homes else NO_HOME,
            "home_access_modes": ",".join(self.home_access_modes),
            "timezone": self.timezone.key,
            "scoped_names": str(self.scoped_names).lower(),
            "start_single": str(self.start_single).lower(),
            "texts": str(self.texts or NO_FOLDER),
            "policy": self.policy.file or NO_POLICY,
        }
        return {v.name: texts.get(v.field) or str(getattr(self, v.field)) for v in VARIABLES}


def chosen_manager(environ: Mapping[str, str] = os.environ) -> str:
    """The name in ``WORKSPACE_MANAGER`` alone, for a caller that goes on when other variables are bad.

    Raises:
        ConfigurationError: It is set, but empty.
    """
    return str(MANAGER.check(environ.get(MANAGER.name, MANAGER.default)))


def _problems_of_language(fields: Mapping[str, Any]) -> Iterator[str]:
    """What can be said once both variables are right."""
    if "language" in fields and "texts" in fields:
        language, folder = fields["language"], fields["texts"]
        known = texts.languages(folder)
        if language not in known:
            yield f"WORKSPACE_LANGUAGE={quote(language)} has no catalogue; accepted: {', '.join(known)}."
        try:
            texts.catalogue(language, folder)
        except (OSError, ValueError) as error:
            yield f"WORKSPACE_TEXTS={quote(str(folder))} has a catalogue that cannot be read: {quote(str(error))}."


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
