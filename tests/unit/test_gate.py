"""The table at the end of the gate: each part's time, whether it failed, and what it left out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
MAKEFILE = r"""
good:
	@.ci/timed $@ printf '%s\n' 'SKIPPED [1] a.py:7: no cluster' 'said in between' 'Left out: kubectl, not here.'
quiet:
	@.ci/timed $@ true
bad:
	@.ci/timed $@ sh -c 'echo "Left out: the rest."; exit 3'
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The gate's scripts, on a Makefile of three parts."""
    shutil.copytree(CI, tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def run(gate: Path, *arguments: str) -> tuple[int, list[str]]:
    """The exit status, and the lines of the table without their times."""
    done = subprocess.run([str(gate / ".ci" / "run"), *arguments], capture_output=True, text=True, check=False)
    _, _, table = done.stdout.partition("== Minutes and seconds")
    return done.returncode, [re.sub(r"^( *\d+:\d\d)+ +", "", line) for line in table.splitlines()[1:]]


def test_table_has_each_part_and_what_it_left_out(gate: Path) -> None:
    assert run(gate, "good", "quiet") == (
        0,
        [
            *("good", "            SKIPPED [1] a.py:7: no cluster", "            Left out: kubectl, not here."),
            *("quiet", "all"),
        ],
    )


def test_table_tells_the_part_that_failed_and_ends_there(gate: Path) -> None:
    assert run(gate, "bad", "good") == (2, ["bad FAILED", "            Left out: the rest.", "all"])


def test_part_on_its_own_is_its_command_alone(gate: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PARTS"}
    command = [str(gate / ".ci" / "timed"), "part", "sh", "-c", "echo said; exit 3"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "")
