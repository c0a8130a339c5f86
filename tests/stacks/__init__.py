"""The stacks that everything is tested on: each text file here is one, a constraints file of pip.

Its first line says which release of the Helm chart has that hub. To add a stack is to add its file, and the list of
packages of its chart's hub image to `tests/image/bases`; the Makefile makes environments and targets of what is here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from image.install import Versions, pins

BASES = Path(__file__).parents[1] / "image" / "bases"
_FIRST_LINE = re.compile(r"# (?:chart (\S+)|no chart yet): .*\n")


@dataclass(frozen=True, slots=True)
class Stack:
    """A hub, its spawner, and all that they and the tests need.

    Attributes:
        file: Its pins.
        chart: The release of the chart that has this hub; None where none has it yet.
        pins: The version of each package, by its normal name.
    """

    file: Path
    chart: str | None
    pins: Versions

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def hub(self) -> str:
        """The version of JupyterHub."""
        return self.pins["jupyterhub"]

    @property
    def base(self) -> Path | None:
        """What the chart's hub image has: a list of packages."""
        return BASES / f"k8s-hub-{self.chart}.txt" if self.chart else None


def read(file: Path) -> Stack:
    """One stack.

    Raises:
        ValueError: The first line does not say which chart it is of.
    """
    text = file.read_text()
    if not (first := _FIRST_LINE.match(text)):
        raise ValueError(f"{file} must begin with '# chart VERSION: ...' or '# no chart yet: ...'.")
    return Stack(file, first[1], pins(text))


STACKS = [read(file) for file in sorted(Path(__file__).parent.glob("*.txt"))]


def current() -> Stack:
    """The stack whose hub this Python has.

    Raises:
        LookupError: There is no stack of that hub.
    """
    installed = version("jupyterhub")
    for stack in STACKS:
        if stack.hub == installed:
            return stack
    raise LookupError(f"No file of tests/stacks pins JupyterHub {installed}: {', '.join(each.hub for each in STACKS)}.")
