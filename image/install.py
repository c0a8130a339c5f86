"""Installs our wheel into the image's base, and moves nothing that the base has: run by the Dockerfile.

Always true of this script: it adds what constraints.txt names and the base lacks, in exactly those versions, and the
wheel; when it ends well, each package of the base has the version that it had before, and `pip check` finds nothing
that it did not find before. It needs nothing but Python and pip, whichever the base has.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
PIP = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]

Versions = dict[str, str]


def normal(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> Versions:
    """The version of each package that Python finds now."""
    return {normal(each.metadata["Name"]): each.version for each in importlib.metadata.distributions()}


def pins(text: str) -> Versions:
    """What constraints.txt says.

    Raises:
        SystemExit: A line of it leaves the version open.
    """
    found = {}
    for line in text.splitlines():
        if requirement := line.partition("#")[0].strip():
            name, _, version = requirement.partition("==")
            if not version:
                raise SystemExit(f"constraints.txt must give the one version of each package, and {line!r} does not.")
            found[normal(name)] = version
    return found


def conflicts() -> set[str]:
    """What `pip check` finds, line by line."""
    done = subprocess.run([*PIP, "check"], capture_output=True, text=True, check=False)
    return set((done.stdout + done.stderr).splitlines()) if done.returncode else set()


def moved(before: Versions, after: Versions) -> list[str]:
    """Each package of the base that is not as it was, in words."""
    return [
        f"{name} {version} of the base has become {after.get(name, 'nothing')}"
        for name, version in before.items()
        if after.get(name) != version
    ]


def main(wheel: str) -> int:
    """Install, compare, and print all packages, `+` before those that were added; the exit code."""
    before, conflicts_before = installed(), conflicts()
    additions = [f"{name}=={version}" for name, version in pins(CONSTRAINTS.read_text()).items() if name not in before]
    # Without what they depend on: that is in the base or in constraints.txt, or `pip check` tells.
    install = ["install", "--no-deps", "--only-binary=:all:", *additions, wheel]
    if subprocess.run([*PIP, *install], check=False).returncode:
        return 1
    after = installed()
    problems = moved(before, after) + sorted(conflicts() - conflicts_before)
    listed = [f"{' ' if name in before else '+'} {name} {version}" for name, version in sorted(after.items())]
    sys.stdout.write("\n".join([*listed, f"{len(before)} packages before, {len(after)} after.", ""]))
    sys.stderr.writelines(f"Not right, see constraints.txt: {problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
