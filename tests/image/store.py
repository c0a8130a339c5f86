"""Images without a daemon: buildah, with a store of its own outside the clone.

Always true here: nothing is pulled, nothing of the machine's own images is seen or touched, one run uses the store at a
time, and what a run that was killed has left there is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stacks import BASES, STACKS, Stack, current

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "test-results" / "image" / str(current().chart)
"""What is left of a run for a person to look at."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyterhub-workspace-managers" / "image"
SERVER = Path(__file__).parent / "server" / "Dockerfile"
PROXY = Path(__file__).parent / "proxy" / "Dockerfile"
BUILD_SECONDS = 280
_LAYERS = 200  # kept for the next run, which need not build them again
_CONTEXT = "context-"
_WITH_PYTHON = (
    "--variant=essential",
    "--include=ca-certificates,libsqlite3-0,libstdc++6,passwd,python3,python3-venv,tini",
)
_WITH_PROXY = ("--variant=essential", "--include=iptables,node-configurable-http-proxy")
_LEFT_OUT = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "locale", "man")]


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store.

    Attributes:
        name: Its tag.
        config: What it tells a container runtime: `User`, `Env`, `Cmd` and so on, as in the OCI specification.
    """

    name: str
    config: dict[str, Any]

    @property
    def environ(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])


@dataclass(frozen=True, slots=True)
class _Packages:
    """An image of Debian's packages, and of Python's.

    Attributes:
        kind: The first part of its tag.
        dockerfile: Finds `debian.tar`, and the folder `wheels` where any are wanted.
        debian: The release.
        included: Arguments for `mmdebstrap`: which of its packages.
        python: The version of Python that it has.
        pins: The files that say which of Python's packages there are.
        wanted: Arguments for `pip download`; none of Python's packages without any.
    """

    kind: str
    dockerfile: Path
    debian: str
    included: tuple[str, ...] = _WITH_PYTHON
    python: str = ""
    pins: tuple[Path, ...] = ()
    wanted: tuple[str, ...] = ()


class BuildFailed(Exception):
    """A build that ended with an error; the text is all that it printed."""


class Store:
    """The store, while the context lasts; see the module. It takes root to make one.

    Args:
        folder: Where it is kept from run to run.
    """

    def __init__(self, folder: Path = CACHE) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._environ = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "IMAGE_PROGRAM": "buildah",
        }

    def __enter__(self) -> Store:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self._folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        storage = {"driver": "overlay", "graphroot": self._folder / "images", "runroot": self._folder / "run"}
        lines = ["[storage]", *(f'{name} = "{value}"' for name, value in storage.items())]
        (self._folder / "storage.conf").write_text("\n".join(lines))
        self._buildah("rm", "--all")
        for left in self._folder.glob(f"{_CONTEXT}*"):
            shutil.rmtree(left)
        if len(self._buildah("images", "--all", "--quiet").split()) > _LAYERS:
            self._buildah("rmi", "--prune", "--force")
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._buildah("rm", "--all")  # a build that fails leaves its container, and that mounted

    def _buildah(self, *arguments: str) -> str:
        return self._run("buildah", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BuildFailed(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def build(self, name: str, source: Path, base: Image) -> Image:
        """Build the project's image by its own script, image/build.

        Args:
            name: Its tag.
            source: The project, or an altered copy of it.
            base: What it is built on.

        Raises:
            BuildFailed: It could not be built.
        """
        self._run(str(source / "image" / "build"), "--layers", "--tag", name, "--build-arg", f"BASE={base.name}")
        return self.image(name)

    def hub(self, base: Image) -> Image:
        """The project's image as it is."""
        return self.build("localhost/workspace-managers:test", ROOT, base)

    def build_other(self, name: str, dockerfile: Path, context: Path) -> Image:
        """Build an image that is not the project's, without a network to speak of."""
        self._buildah("build", "--pull-never", "--file", str(dockerfile), "--tag", name, str(context))
        return self.image(name)

    def image(self, name: str) -> Image:
        """One that is in the store."""
        return Image(name, json.loads(self._buildah("inspect", "--type", "image", name))["OCIv1"]["config"])

    def base(self, packages: Path) -> Image:
        """The stand-in for a release of the chart's hub image, built where the store does not have it.

        Args:
            packages: The list of what it has, named after the release.
        """
        wanted = ("--no-deps", "--requirement", str(packages))
        return self._of_packages(
            _Packages(packages.stem, BASES / "Dockerfile", "bookworm", python="3.11", pins=(packages,), wanted=wanted)
        )

    def proxy(self) -> Image:
        """The proxy of Node.js that the chart runs, in Debian's version, with iptables; built where it is not there."""
        return self._of_packages(_Packages("proxy", PROXY, "bookworm", included=_WITH_PROXY))

    def server(self, stack: Stack) -> Image:
        """A person's server: JupyterLab, and jupyterhub-singleuser of a stack, built where the store does not have it.

        All but JupyterHub is of the newest stack: no chart says what is in the images of workspaces.
        """
        others = STACKS[-1].file
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            lines = others.read_text().splitlines()
            constraints.write("\n".join(line for line in lines if not line.startswith("jupyterhub==")))
            constraints.flush()
            packages = (
                "--only-binary=:all:",
                "--constraint",
                constraints.name,
                f"jupyterhub=={stack.hub}",
                "jupyterlab",
            )
            pins = (stack.file, others)
            return self._of_packages(
                _Packages(f"server-{stack.name}", SERVER, "trixie", python="3.13", pins=pins, wanted=packages)
            )

    def archive(self, image: Image) -> Path:
        """An image as a file, as `docker save` writes it, kept until the image is another."""
        digest = json.loads(self._buildah("inspect", "--type", "image", image.name))["FromImageID"]
        file = self._folder / f"{image.name.rpartition('/')[2].partition(':')[0]}-{digest[:16]}.tar"
        if not file.exists():
            for older in self._folder.glob(f"{file.stem.rpartition('-')[0]}-*.tar"):
                older.unlink()
            partial = file.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            self._buildah("push", image.name, f"docker-archive:{partial}:{image.name}")
            partial.rename(file)
        return file

    def _of_packages(self, made_of: _Packages) -> Image:
        inputs = (
            *(file.read_text() for file in (made_of.dockerfile, *made_of.pins)),
            made_of.included,
            _LEFT_OUT,
            made_of.debian,
        )
        name = f"localhost/{made_of.kind}:{hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]}"
        there = self._buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
        if name not in there:
            self._build_of_packages(name, made_of)
            older = [other for other in there if other.startswith(f"localhost/{made_of.kind}:")]
            if older:
                self._buildah("rmi", "--force", *older)
        return self.image(name)

    def _build_of_packages(self, name: str, made_of: _Packages) -> None:
        with tempfile.TemporaryDirectory(prefix=_CONTEXT, dir=self._folder) as folder:
            context = Path(folder)
            os.link(self._debian(made_of), context / "debian.tar")
            if made_of.wanted:
                self._download(made_of, context / "wheels")
            self.build_other(name, made_of.dockerfile, context)

    def _debian(self, made_of: _Packages) -> Path:
        """Its Debian as a file, which images of the same packages share."""
        arguments = (*made_of.included, *_LEFT_OUT, made_of.debian)
        file = self._folder / f"debian-{hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]}.tar"
        if not file.exists():
            partial = file.with_suffix(".partial")
            self._run("mmdebstrap", "--format=tar", *arguments, str(partial))
            partial.rename(file)
        return file

    def _download(self, made_of: _Packages, wheels: Path) -> None:
        pip = [sys.executable, "-m", "pip"]
        # For the Python of that Debian, whichever runs this.
        download = ["download", "--quiet", "--python-version", made_of.python, *made_of.wanted]
        self._run(*pip, *download, "--dest", str(wheels))
        # One package has no wheel, and nothing to compile.
        for source in wheels.glob("*.tar.gz"):
            self._run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source))
            source.unlink()

    @contextlib.contextmanager
    def root(self, image: Image) -> Iterator[Path]:
        """The folder of a new container's root, which goes with the context."""
        container = self._buildah("from", "--pull-never", image.name).strip()
        try:
            yield Path(self._buildah("mount", container).strip())
        finally:
            self._buildah("rm", container)
