"""What an operator allows workspaces beyond the strict default, read from one YAML file as the hub starts.

The file is a map of lists of shell patterns, each list by the name of a field of ``Policy``::

    claims: [data-*]
    service_accounts: [study-reader]
    namespaces: [project-*]
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from .errors import quote

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed; nothing, where nothing is said.

    Attributes:
        claims: Shell patterns of claims that may be adopted under whatever name a workspace gives them, clones and
            pre-bound claims included. What something else owns is adopted by no pattern (rule S3).
        service_accounts: Shell patterns of service accounts that a workspace may name for its pods.
        namespaces: Shell patterns of namespaces that a workspace may have, of those that carry the label (rule S9).
        file: Where it was read from; None for the strict default.
    """

    claims: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    file: str | None = field(default=None, compare=False)

    def allows_claim(self, name: str) -> bool:
        """Whether a claim of this name may be adopted."""
        return any(fnmatchcase(name, pattern) for pattern in self.claims)

    def allows_service_account(self, name: str) -> bool:
        """Whether a pod may run as this service account."""
        return any(fnmatchcase(name, pattern) for pattern in self.service_accounts)

    def allows_namespace(self, name: str) -> bool:
        """Whether a workspace may be in this namespace, as far as the policy goes."""
        return any(fnmatchcase(name, pattern) for pattern in self.namespaces)


STRICT = Policy()
"""The policy where the operator has none."""
LISTS = tuple(each.name for each in fields(Policy) if each.name != "file")


def read_policy(file: str) -> Policy:
    """The policy in a YAML file.

    Raises:
        ValueError: With everything that is wrong with it, in words that follow the file's name.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
        found = yaml.safe_load(text)
        root = yaml.compose(text, yaml.SafeLoader)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__}: {quote(str(error))})") from error
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML ({quote(' '.join(str(error).split()))})") from error
    if not isinstance(found, dict) or not isinstance(root, yaml.MappingNode):
        raise ValueError(f"holds {quote(found, _SHOWN)}, which is no map of lists")
    # YAML's own reader takes the last of two and says nothing.
    keys = [str(key.value) for key, _ in root.value]
    problems = [f"has {quote(key, _SHOWN)} twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    for key, patterns in found.items():
        if key not in LISTS:
            problems.append(f"has {quote(key, _SHOWN)}, which is not known")
        elif not isinstance(patterns, list):
            problems.append(f"has {quote(patterns, _SHOWN)} as {key}, which is no list")
        else:
            wrong = [each for each in patterns if not isinstance(each, str) or not each.strip()]
            problems += [f"has {quote(each, _SHOWN)} among its {key}, which is no pattern" for each in wrong]
    if problems:
        raise ValueError("; ".join(problems))
    return Policy(**{key: tuple(patterns) for key, patterns in found.items()}, file=file)
