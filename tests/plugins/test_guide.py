"""A fresh environment with the wheel, and every command and file of ``docs/writing-a-plugin.md`` in order, timed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.environments import Environment, wheel
from tests.plugins.guide import PAGE, Block, blocks
from workspace_managers.contract import WorkspaceManagerContract
from workspace_managers.devcluster.demo import free_ports

ROOT = Path(__file__).parents[2]
DEMO = "WORKSPACE_MANAGER=demo workspace-managers demo"
HUB_CONFIG = "from workspace_managers.hub import configure\nconfigure(get_config())\n"
FIFTEEN_MINUTES = 15 * 60


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """The wheel of the framework and nothing else of ours."""
    made = Environment(tmp_path / "venv")
    made.install("--no-deps", wheel(ROOT, tmp_path))
    return made


def test_each_block_of_the_page_is_tried() -> None:
    """A block that nothing tries is refused, and the ones that are there are found."""
    found = list(blocks(PAGE.read_text()))
    assert len(found) == PAGE.read_text().count("\n```") / 2
    assert {block.kind for block in found} == {"sh", "sh fails", "text", "python"}
    with pytest.raises(ValueError, match="line 2: nothing tries a block of 'yaml'"):
        list(blocks("# Page\n```yaml\na: b\n```\n"))


@pytest.mark.timeout(FIFTEEN_MINUTES)
def test_from_nothing_to_a_plugin_in_a_hub(environment: Environment, tmp_path: Path) -> None:
    """Each block does what the page says of it; then the hub is started once more without the plugin (L1)."""
    folder = tmp_path / "work"
    folder.mkdir()
    said, times = "", []
    for block in blocks(PAGE.read_text()):
        began = time.monotonic()
        where = f"{PAGE.name}, line {block.line}"
        if block.kind == "text":
            for line in block.text.splitlines():
                assert squeezed(line) in squeezed(said), f"{where}: not printed: {line}\n{said}"
        elif block.path:
            assert (folder / block.path).exists(), f"{where}: the page takes {block.path} for one that `new` wrote"
            (folder / block.path).write_text(block.text)
        elif block.kind == "python":
            check_declaration(block, where)
        elif block.text.strip() == DEMO:
            said = "".join(run_hub(environment, folder))
        else:
            ran = environment.run("bash", "-e", "-o", "pipefail", "-c", block.text, cwd=folder)
            said = ran.stdout
            assert (ran.returncode != 0) is (block.kind == "sh fails"), f"{where}: {said}"
        times.append((time.monotonic() - began, f"{block.kind} {block.path}: {block.text.splitlines()[0]}"))
    print(*(f"{seconds:6.1f} s  {what}" for seconds, what in times), sep="\n")  # noqa: T201 - shown with -rP

    (folder / "jupyterhub_config.py").write_text(HUB_CONFIG)
    again = environment.run("python", "-m", "jupyterhub", cwd=folder, WORKSPACE_MANAGER="demo")
    assert again.returncode == 1
    assert (
        "The hub does not start.\nWORKSPACE_MANAGER='demo' names no workspace manager that is installed" in again.stdout
    )


def squeezed(text: str) -> str:
    """With single blanks: the width of a table's columns is nobody's concern."""
    return re.sub(r"[ \t]+", " ", text)


def check_declaration(block: Block, where: str) -> None:
    """The page's example of ``unsupported`` names clauses that there are."""
    names: dict[str, dict[str, str]] = {}
    exec(block.text, names)  # noqa: S102 - our own page
    assert set(names["unsupported"]) <= set(WorkspaceManagerContract.clauses()), where


def run_hub(environment: Environment, folder: Path) -> Iterator[str]:
    """The demo as the page starts it: alice starts the workspace of the YAML file, then Ctrl-C."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec env {DEMO} --port {port}"],
        cwd=folder,
        env=environment.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Stop:"):
                break
        else:
            pytest.fail("".join(said))
        yield from said
        token = (folder / ".demo" / "hub" / "api_token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/hub/api/users/alice/server",
            method="POST",
            data=json.dumps({"profile": "first-study"}).encode(),
            headers={"Authorization": f"token {token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
            assert answer.status in (201, 202)
        assert (folder / ".demo" / "claims" / "jupyter-first-study").is_dir()
        process.send_signal(signal.SIGINT)
        yield process.communicate(timeout=60)[0]
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
