"""Environments of their own for plugins, made in a second.

Always true here: such an environment has what is installed into it, and behind that the packages of the one that runs
the tests, found through a path file; nothing is ever installed into that one. Its own framework comes first, so that
the checkout's is never what is tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.stacks import current

ROOT = Path(__file__).parents[2]
SECONDS = 180
_PIP = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip --disable-pip-version-check "$@"\n'


class Environment:
    """A virtual environment.

    Args:
        folder: Where it is made.
        sources: Folders to import from as well, before the packages behind it.

    Attributes:
        environ: For its commands: what is installed in it comes first.
    """

    def __init__(self, folder: Path, *sources: Path) -> None:
        venv.create(folder, symlinks=True)
        site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
        behind = [*map(str, sources), sysconfig.get_path("purelib")]
        (Path(site) / "packages.pth").write_text("\n".join(behind))
        pip = folder / "bin" / "pip"
        pip.write_text(_PIP)
        pip.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WORKSPACE_"))}
        self.environ = {**kept, "PATH": f"{folder / 'bin'}{os.pathsep}{kept['PATH']}", "VIRTUAL_ENV": str(folder)}

    def run(self, *command: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command in it, with what it said on both streams in ``stdout``."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def install(self, *arguments: str | Path) -> None:
        """``pip install``, with the pinned versions."""
        done = self.run("pip", "install", "--quiet", "--constraint", current().file, *arguments, cwd=ROOT)
        assert done.returncode == 0, done.stdout


def wheel(project: Path, into: Path) -> Path:
    """The wheel of a project, built from a copy because a build leaves its own files beside the sources."""
    source = into / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "test-results", "__pycache__", "tests")
    shutil.copytree(project, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = into.glob("*.whl")
    return found
