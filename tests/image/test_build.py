"""What is in the image, what is not, and that the mistakes that are easy to make would be seen."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml

from image import install
from tests.image.checks import SITE_PACKAGES, packages, problems
from tests.image.container import command
from tests.image.store import RESULTS, ROOT, BuildFailed, Image, Store

DOCKERFILE = Path("image/Dockerfile")
CONSTRAINTS = Path("image/constraints.txt")
OURS = "jupyterhub-workspace-managers"


def test_image_is_whole(image: Image, root: Path, base_root: Path) -> None:
    assert problems(image, root, base_root) == []


def test_additions_are_the_pinned_ones(root: Path, base_root: Path) -> None:
    before, after = packages(base_root), packages(root)
    added = {name: version for name, version in after.items() if name not in before}
    lines = [f"{'  ' if name in before else '+ '}{name} {version}" for name, version in sorted(after.items())]
    (RESULTS / "packages.txt").write_text("\n".join([*lines, ""]))
    print(*lines, sep="\n")  # noqa: T201 - what the image adds, for whoever reads the log
    assert added.pop(OURS)
    pins = install.pins((ROOT / CONSTRAINTS).read_text())
    assert added == {name: version for name, version in pins.items() if name not in before}


def test_no_pin_is_one_too_many(root: Path) -> None:
    """Each pinned package is one that another needs; a pin that is left over would be installed for nobody."""
    (folder,) = root.glob(SITE_PACKAGES)
    needed = {
        install.normal(found[0])
        for each in distributions(path=[str(folder)])
        for requirement in each.requires or ()
        if "extra ==" not in requirement and (found := re.match(r"[A-Za-z0-9._-]+", requirement))
    }
    assert install.pins((ROOT / CONSTRAINTS).read_text()).keys() <= needed


def test_pip_check_is_clean(image: Image, root: Path) -> None:
    checked = run_in(image, root, "pip", "check")
    assert checked.returncode == 0, checked.stdout


def test_hub_of_the_image_loads_the_plugin(image: Image, root: Path) -> None:
    checked = run_in(image, root, "workspace-managers", "check")
    assert checked.returncode == 0, checked.stdout


def run_in(image: Image, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a container."""
    return subprocess.run(
        command(image, root, {}, arguments=arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_version_is_that_of_the_wheel_everywhere(image: Image, root: Path) -> None:
    version = packages(root)[OURS]
    assert image.config["Labels"]["org.opencontainers.image.version"] == version
    assert yaml.safe_load((ROOT / "image" / "values.yaml").read_text())["hub"]["image"]["tag"] == version
    tags = re.findall(r"/jupyterhub-workspace-managers:(\S+)", (ROOT / "image" / "README.md").read_text())
    assert set(tags) == {version}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """All that the image is built from, to make a mistake in."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in [".dockerignore", *allowed]:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return tmp_path


def edit(file: Path, pattern: str, replacement: str) -> None:
    changed, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{file} has no one place of {pattern}"
    file.write_text(changed)


@pytest.mark.parametrize(
    ("mistake", "found"),
    [
        pytest.param(
            lambda copy: edit(copy / DOCKERFILE, r"^COPY hub_config/jupyterhub_config.d /usr.*\n", ""),
            "/usr/local/etc/jupyterhub/jupyterhub_config.d/workspace_manager.py is missing",
            id="the config file is not copied",
        ),
        pytest.param(
            lambda copy: edit(copy / DOCKERFILE, r"^COPY templates /usr", "COPY templates/[!s]*.html /usr"),
            "/usr/local/etc/jupyterhub/custom_templates/spawn.html is missing",
            id="a template is missing",
        ),
        pytest.param(
            lambda copy: edit(copy / DOCKERFILE, r"^USER 1000$", "USER root"),
            "the user is 'root'",
            id="the user becomes root",
        ),
        pytest.param(
            lambda copy: edit(copy / DOCKERFILE, r"^USER 1000$", "RUN touch /root/.bash_history\nUSER 1000"),
            "/root/.bash_history is new",
            id="a shell history stays",
        ),
    ],
)
def test_mistake_in_the_dockerfile_is_seen(
    mistake: Callable[[Path], None], found: str, *, copy: Path, store: Store, base: Image, base_root: Path
) -> None:
    mistake(copy)
    image = store.build("localhost/workspace-managers:mistake", copy, base)
    with store.root(image) as root:
        assert [problem for problem in problems(image, root, base_root) if found in problem]


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        pytest.param(
            r"^stevedore==.*\n",
            "",
            "jupyterhub-workspace-managers 0.1.0 requires stevedore, which is not installed",
            id="a constraint is dropped",
        ),
        # It needs packages that are newer than those of each base.
        pytest.param(
            r"^kubernetes==.*$",
            "kubernetes==37.0.2",
            "kubernetes 37.0.2 has requirement .* but you have",
            id="one would need another base",
        ),
        pytest.param(
            r"^(kubernetes)==.*$", r"\1", "must give the one version .* 'kubernetes' does not", id="not a pin"
        ),
    ],
)
def test_mistake_in_the_constraints_ends_the_build(
    pattern: str, replacement: str, told: str, *, copy: Path, store: Store, base: Image
) -> None:
    edit(copy / CONSTRAINTS, pattern, replacement)
    with pytest.raises(BuildFailed, match=told):
        store.build("localhost/workspace-managers:mistake", copy, base)


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"pyyaml": "6.0.1", "tzdata": "2026.6"}, []),
        ({"pyyaml": "6.0.3"}, ["pyyaml 6.0.1 of the base has become 6.0.3"]),
        ({}, ["pyyaml 6.0.1 of the base has become nothing"]),
    ],
    ids=["well", "another version", "gone"],
)
def test_install_compares_before_and_after(after: dict[str, str], told: list[str]) -> None:
    assert install.moved({"pyyaml": "6.0.1"}, after) == told
