"""What the configuration sets beside ours: what counts, what has no effect, and what stops the hub.

A Helm chart's ``hub.extraConfig``, and files sorted after ours, run after ``configure``. What they set is looked at
once the whole configuration is known.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kubespawner import KubeSpawner
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from ..errors import ConfigurationError, quote
from ..settings import Settings
from .spawner import WorkspaceSpawner

NO_EFFECT = {
    "profile_list": "the workspace manager's workspaces take its place",
    "options_form": "the workspace manager's form takes its place",
    "profile_form_template": "the form is workspaces/form.html of the template paths",
    "additional_profile_form_template_paths": "the form is workspaces/form.html of the template paths",
    "storage_pvc_ensure": "no personal claims are made",
    "delete_pvc": "no claim is ever deleted",
}
"""Traits that a configuration may set and that do nothing, with the reason."""

_OURS = (
    *("__init__", "get_options_form", "load_user_options", "start", "stop", "get_pod_manifest", "create_pod"),
    *("delete_forever", "_start_watching_pods", "_start_watching_events", "get_state", "load_state", "clear_state"),
    *("_start_reflector", "_get_reflector_key"),
    *("start_polling", "stop_polling", "break_off", "stop_in_the_hub", "pod_uid", "remove_pod"),
)


def spawner_class(c: Any) -> type:
    """The spawner class that is configured by now; KubeSpawner where none is.

    Raises:
        ConfigurationError: It is no KubeSpawner, or ``configure`` has run already.
    """
    found = c.JupyterHub.get("spawner_class", KubeSpawner)
    if isinstance(found, str):
        named = {point.name.lower(): point for point in importlib.metadata.entry_points(group="jupyterhub.spawners")}
        try:
            found = named[found.lower()].load() if found.lower() in named else import_item(found)
        except Exception as error:
            raise ConfigurationError(
                f"JupyterHub.spawner_class {quote(found)} cannot be loaded: {type(error).__name__}: {quote(str(error))}"
            ) from error
    if not (isinstance(found, type) and issubclass(found, KubeSpawner)):
        raise ConfigurationError(
            f"JupyterHub.spawner_class is {quote(found)}; workspaces need kubespawner.KubeSpawner or a subclass of it"
        )
    if issubclass(found, WorkspaceSpawner):
        raise ConfigurationError("configure(c) was called twice; the hub's configuration needs one call")
    return found


def check(config: Config, used: type, ours: type, settings: Settings) -> list[str]:
    """Look at a whole configuration.

    Args:
        config: The hub's, once everything is loaded.
        used: The spawner class that the hub will use.
        ours: The one that ``configure`` made.
        settings: The environment.

    Returns:
        A sentence for each setting that has no effect, or one that people will notice.

    Raises:
        ConfigurationError: The hub must not start.
    """
    if not issubclass(used, ours):
        raise ConfigurationError(
            f"JupyterHub.spawner_class was set to {quote(used.__qualname__)} after the workspace manager's "
            "configuration, so nothing would decide who may open what; set it before, or subclass the class that is "
            "configured"
        )
    replaced = [name for name in _OURS if getattr(used, name) is not getattr(ours, name)]
    if replaced:
        raise ConfigurationError(
            f"JupyterHub.spawner_class {quote(used.__qualname__)} overrides {', '.join(replaced)} of the workspace "
            "manager's class, which decides there; put your class behind it: set it before configure(c)"
        )
    if _value(config, used, "enable_user_namespaces"):
        raise ConfigurationError(
            "KubeSpawner.enable_user_namespaces is on; claims and workspaces live in the hub's own namespace, "
            "so turn it off"
        )
    namespace = _value(config, used, "namespace")
    if namespace != settings.namespace:
        raise ConfigurationError(
            f"KubeSpawner.namespace was set to {quote(namespace)} after the workspace manager's configuration; claims "
            f"and workspaces are in {quote(settings.namespace)}, so leave it, or set POD_NAMESPACE"
        )
    return list(_worth_a_warning(config, used))


def _worth_a_warning(config: Config, used: type) -> Iterator[str]:
    for trait, reason in NO_EFFECT.items():
        for section in _sections(used):
            if config.get(section, {}).get(trait):
                yield f"{section}.{trait} is set and has no effect: {reason}"
    if not config.get("JupyterHub", {}).get("allow_named_servers", True):
        yield (
            "JupyterHub.allow_named_servers is turned off, so every workspace is opened by the server without a name, "
            "one at a time"
        )
    if "start_timeout" in config.get("Spawner", {}):
        yield "Spawner.start_timeout is set and has no effect: KS_START_TIMEOUT counts, or KubeSpawner.start_timeout"


def templates_of_others(folders: Sequence[str]) -> Iterator[str]:
    """A sentence for each of our templates that a folder has which is looked at before ours.

    Args:
        folders: Where the hub looks for templates; ours is the last one.
    """
    ours = {each.name: each.read_bytes() for each in Path(folders[-1]).glob("*.html")}
    for folder in dict.fromkeys(folders[:-1]):
        for file in sorted(Path(folder).glob("*.html")):
            if file.name == "form.html":
                yield f"{quote(str(file))} has no effect: the form is workspaces/form.html of the template paths"
            elif ours.get(file.name) not in (None, file.read_bytes()):
                yield (
                    f"{quote(str(file))} takes the place of the workspace manager's; where it was made for an older "
                    "image, remove it, or make it anew from the one that it replaces"
                )


def _value(config: Config, used: type, trait: str) -> Any:
    """What a trait will be: the section of the most special class that sets it counts."""
    return next((config[name][trait] for name in reversed(_sections(used)) if trait in config.get(name, {})), None)


def _sections(used: Any) -> list[str]:
    return list(dict.fromkeys(used.section_names()))
