"""The plugin's own environment variables, read once when the plugin is made (rule L3).

Always true here: a ``KeycloakSettings`` that exists is right, every bad variable is told at the same time, and the
client's secret is in no message and no ``repr``. The framework's settings are the framework's; nobody else reads
these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workspace_managers import ConfigurationError, Resources, quantity_value, quote

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ENVIRONMENT_KEYS = frozenset({"image", "resources"})
_RESOURCES_KEYS = frozenset({"requests", "limits"})
_SHOWN = 80

ENVIRONMENTS_FORM = '{"jupyter_default": {"image": "example/notebook:1.0", "resources": {"limits": {"cpu": 2}}}}'


@dataclass(frozen=True, slots=True)
class Environment:
    """What a group's attribute ``environment`` names.

    Attributes:
        image: Container image.
        resources: Requests and limits; nothing for the hub's own defaults.
    """

    image: str
    resources: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class KeycloakSettings:
    """Where Keycloak is, and as whom it is asked.

    Attributes:
        base_url: The realm's admin API, without a slash at the end.
        token_url: The realm's token endpoint.
        client_id: A client with a service account that has the role ``view-users`` of ``realm-management``.
        client_secret: That client's secret.
        environments: By name.
    """

    base_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    environments: Mapping[str, Environment]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> KeycloakSettings:
        """Read and check the variables; all of them are needed, and none has a default.

        Raises:
            ConfigurationError: With one problem for each bad variable.
        """
        fields: dict[str, Any] = {}
        problems: list[str] = []
        for name, (target, accepted, parse) in _VARIABLES.items():
            text = environ.get(name, "").strip()
            try:
                if not text:
                    raise ValueError("is not set" if name not in environ else "is set, but empty")
                fields[target] = parse(text)
            except ValueError as error:
                problems.append(f"{name} {error}; accepted: {accepted}.")
        if problems:
            raise ConfigurationError(problems)
        return cls(**fields)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # an impossible port is a ValueError
    except ValueError as error:
        raise ValueError(f"is no URL ({error})") from None
    # Shown only where it cannot hold a password.
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user or a password in it")
    if parts.query or parts.fragment or not host or not parts.path.strip("/") or not text.isprintable() or " " in text:
        raise ValueError(f"is {quote(text, _SHOWN)}, which is no plain URL with a path")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ValueError(f"is {quote(text, _SHOWN)}, over which the client's secret could be read")
    return text.rstrip("/")


def _environments(text: str) -> Mapping[str, Environment]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"is {quote(text, _SHOWN)}, which names no environment")
    return {name: _environment(name, each) for name, each in found.items()}


def _environment(name: str, found: object) -> Environment:
    shown = f"has the environment {quote(name, _SHOWN)}"
    if not isinstance(found, dict) or not found.keys() <= _ENVIRONMENT_KEYS:
        raise ValueError(f"{shown}, which is not an image and resources alone")
    image, resources = found.get("image"), found.get("resources", {})
    if not isinstance(image, str) or not image or not image.isprintable() or " " in image:
        raise ValueError(f"{shown} without an image")
    if not isinstance(resources, dict) or not resources.keys() <= _RESOURCES_KEYS:
        raise ValueError(f"{shown}, whose resources are not requests and limits alone")
    return Environment(image, Resources(**{key: _quantities(shown, each) for key, each in resources.items()}))


def _quantities(shown: str, found: object) -> Mapping[str, str]:
    if not isinstance(found, dict):
        raise ValueError(f"{shown}, whose resources are not maps of quantities")
    for name, quantity in found.items():
        try:
            quantity_value(quantity)
        except ValueError as error:
            raise ValueError(f"{shown}, whose {quote(name, _SHOWN)} is wrong: {error}") from None
    return {name: str(quantity) for name, quantity in found.items()}


_URLS = "an https:// URL without user, query and fragment (http:// for 127.0.0.1 alone)"
# Name -> field, what is accepted, parser; the parser's error never has more than the value's beginning.
_VARIABLES: Mapping[str, tuple[str, str, Callable[[str], object]]] = {
    "KEYCLOAK_API_BASE_URL": ("base_url", f"{_URLS} that ends in /admin/realms/<realm>", _url),
    "KEYCLOAK_TOKEN_URL": ("token_url", f"{_URLS} that ends in /protocol/openid-connect/token", _url),
    "KEYCLOAK_CLIENT_ID": ("client_id", "the id of a Keycloak client with a service account", str),
    "KEYCLOAK_CLIENT_SECRET": ("client_secret", "that client's secret", str),
    "KEYCLOAK_ENVIRONMENTS": ("environments", f"JSON such as {ENVIRONMENTS_FORM}", _environments),
}
