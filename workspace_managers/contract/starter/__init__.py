"""The folder that ``workspace-managers new NAME`` writes: a plugin that passes the contract as it is.

Always true here: nothing is written over, and when the answer is no, nothing has been written. Each file below
``files`` is a template of the one that it is named for; ``module`` stands for the plugin's own module.
"""

from __future__ import annotations

import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

from ... import registry
from ...errors import ConfigurationError, quote
from ...manager import INTERFACE_VERSION

FILES = Path(__file__).with_name("files")
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", re.ASCII)
_SUFFIX = ".txt"
_EXAMPLE_DAYS = 365
_NEXT = """\
Wrote {name}, a workspace manager that reads a YAML file; its README.md tells where your own backend goes.
  pip install ./{name}
  workspace-managers contract {name}
  WORKSPACE_MANAGER={name} workspace-managers check
  WORKSPACE_MANAGER={name} workspace-managers demo
"""


def run(name: str) -> None:
    """The command ``workspace-managers new``: write the folder here, and say what to do next.

    Raises:
        ConfigurationError: As from ``write``.
    """
    write(name, Path())
    sys.stdout.write(_NEXT.format(name=name))


def write(name: str, parent: Path) -> Path:
    """Write the folder of a new plugin.

    Args:
        name: The plugin's, as ``WORKSPACE_MANAGER`` will give it.
        parent: Where the folder is made.

    Returns:
        The folder.

    Raises:
        ConfigurationError: The name is no name for a plugin or is taken, or the folder cannot be made.
    """
    _check(name)
    today = datetime.now(UTC).date()
    words = {
        "name": name,
        "module": _module(name),
        "title": "".join(part.capitalize() for part in re.split("[-_]", name)),
        "variable": f"{name.replace('-', '_').upper()}_FILE",
        "version": INTERFACE_VERSION,
        "first": today,
        "last": today + timedelta(days=_EXAMPLE_DAYS),
    }
    folder = parent / name
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise ConfigurationError(f"{folder} is there already, and nothing is written over; use another name") from error
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        for template in sorted(FILES.rglob(f"*{_SUFFIX}")):
            path = Path(*(_module(name) if part == "module" else part for part in template.relative_to(FILES).parts))
            file = folder / path.with_suffix("")
            file.parent.mkdir(exist_ok=True)
            file.write_text(Template(template.read_text("utf-8")).substitute(words), "utf-8")
    except OSError as error:
        shutil.rmtree(folder)
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def _module(name: str) -> str:
    return f"workspace_manager_{name.replace('-', '_')}"


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{quote(name)} is no name for a workspace manager; use lower-case ASCII letters, digits and single '-' or "
            "'_' between them, with a letter first, such as our-studies"
        )
    taken = next((each for each in registry.installed() if _module(each.name.casefold()) == _module(name)), None)
    if taken is not None:
        raise ConfigurationError(f"the name {quote(name)} is taken by {taken.source}; use another name")
