"""What the files of tests/stacks promise: the versions of a chart, installed as they are pinned, in one place."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest

from image.install import normal, pins
from tests.stacks import BASES, STACKS, Stack, current, read

ROOT = Path(__file__).parents[2]
ADDITIONS = pins((ROOT / "image" / "constraints.txt").read_text())

each_stack = pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)


@each_stack
def test_first_line_says_what_is_pinned(stack: Stack) -> None:
    chart = f"chart {stack.chart}" if stack.chart else "no chart yet"
    hub, spawner = (stack.pins[name] for name in ("jupyterhub", "jupyterhub-kubespawner"))
    assert stack.file.read_text().splitlines()[0] == f"# {chart}: jupyterhub {hub}, kubespawner {spawner}"


@pytest.mark.parametrize("first", ["", "# a hub\n", "jupyterhub==5.5.0\n", "# chart : jupyterhub\n"])
def test_stack_that_does_not_say_its_chart_is_refused(tmp_path: Path, first: str) -> None:
    file = tmp_path / "hub9.txt"
    file.write_text(first)
    with pytest.raises(ValueError, match=r"hub9.txt must begin with '# chart VERSION: ...' or '# no chart yet: ...'"):
        read(file)


@each_stack
def test_pins_are_those_of_the_chart_and_of_the_image(stack: Stack) -> None:
    """What is tested is what runs: each package has the version of the chart's hub image, else of what ours adds."""
    if stack.base:
        image = ADDITIONS | pins(stack.base.read_text())
        assert stack.pins == stack.pins | {name: image[name] for name in stack.pins.keys() & image.keys()}
        assert stack.pins.keys() >= ADDITIONS.keys()


def test_each_base_is_of_a_stack() -> None:
    assert set(BASES.glob("*.txt")) == {stack.base for stack in STACKS if stack.base}


def test_environment_is_as_pinned() -> None:
    """Else what is tested is an environment from before its stack changed, or one that is another tomorrow."""
    pinned = current().pins
    with_python = {"pip", "setuptools"}
    other = [
        f"{name} {each.version} instead of {pinned.get(name)}"
        for each in distributions(path=[sysconfig.get_path("purelib")])
        if (name := normal(each.name)) not in with_python
        and each.read_text("direct_url.json") is None  # projects of this checkout
        and each.version != pinned.get(name)
    ]
    assert other == []


def test_stack_is_added_and_dropped_by_its_file_alone(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tests" / "stacks", tmp_path / "tests" / "stacks")
    file = tmp_path / "tests" / "stacks" / "hub99.txt"

    def planned(*targets: str) -> str:
        command = [shutil.which("make") or "", "--dry-run", *targets]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    targets = ("test-unit", "test-contract", "test-contract-server", "test-e2e", "image-test")
    newest = max(STACKS, key=lambda stack: [int(part) for part in stack.hub.split(".")]).name
    assert f"{newest} .venv/bin/python" in planned(*targets)
    file.write_text("# chart 9.9.9: jupyterhub 99.0.0, kubespawner 9.0.0\njupyterhub==99.0.0\n")
    plan = planned(*targets)
    for part in ("test-unit", "test-contract", "test-e2e"):
        assert f"{part}-hub99 .venv/bin/python -m pytest" in plan
        assert f"{part}-{newest} .venv-{newest}/bin/python -m pytest" in plan
    assert f"--then .venv-{newest}/bin/python -m pytest" in plan
    assert "image-test-hub99 .venv/bin/python -m pytest" in plan
    for venv, stack in ((".venv", "hub99"), (f".venv-{newest}", newest)):
        assert f"{venv} tests/stacks/{stack}.txt test" in plan
    file.unlink()
    assert "hub99" not in planned(*targets)
