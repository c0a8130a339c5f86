"""A real hub that must not start: one message that says what is accepted, no traceback, and at once (L1 to L3)."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import dists
from workspace_managers.devcluster.demo import hub_config_files

# As the Helm chart's hub does it: each file of the folder, run in the config's own scope.
CONFIG = """
c = get_config()
c.KubeSpawner.pvc_name_template = "claim-{username}"
exec(compile(source=open(FILE).read(), filename="workspace_manager.py", mode="exec"))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    (file,) = hub_config_files()
    (folder / "jupyterhub_config.py").write_text(f"FILE = {str(file)!r}\n{CONFIG}")
    (folder / "site").mkdir()
    for project in ("broken", "twin_one", "twin_two"):
        with zipfile.ZipFile(dists.wheel(project, folder)) as archive:
            archive.extractall(folder / "site")
    return folder


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        pytest.param(
            "WORKSPACE_MANAGER", "keyclok", ("'keyclok'", "lscsde", "jupyterhub-workspace-managers"), id="misspelt"
        ),
        pytest.param("WORKSPACE_MANAGER", "", ("WORKSPACE_MANAGER", "empty"), id="empty"),
        pytest.param("WORKSPACE_MANAGER", "no-library", ("no-library", "wm_broken.no_library"), id="broken"),
        pytest.param("WORKSPACE_MANAGER", "twin", ("twin", "wm_twin_one", "wm_twin_two"), id="of-two-distributions"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "10GB", ("DEFAULT_STORAGE_CAPACITY", "10GB", "10Gi"), id="capacity"),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteManny", ("ReadWriteManny", "ReadWriteMany"), id="access-modes"
        ),
        pytest.param("KS_START_TIMEOUT", "15m", ("KS_START_TIMEOUT", "15m", "seconds"), id="start-timeout"),
    ],
)
def test_hub_stops_at_once_with_one_message(config: Path, variable: str, value: str, words: tuple[str, ...]) -> None:
    """L1, L2, L3."""
    environ = {**os.environ, "PYTHONPATH": str(config / "site"), variable: value}
    ended = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
        cwd=config,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "The hub does not start." in said
    for word in words:
        assert word in said
    assert "Traceback" not in said
