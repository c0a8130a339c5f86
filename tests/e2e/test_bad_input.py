"""A real hub that must not start: one message that says what is accepted, no traceback, and at once (L1 to L3)."""

from __future__ import annotations

import multiprocessing
import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests import dists
from workspace_managers.devcluster.demo import hub_config_files

# Importing JupyterHub and KubeSpawner takes seconds; the process that does it, once, ends with this one.
HUBS = multiprocessing.get_context("forkserver")
HUBS.set_forkserver_preload(["jupyterhub.app", "kubespawner"])

# As the Helm chart's hub does it: each file of the folder, run in the config's own scope.
CONFIG = """
import os
c = get_config()
c.KubeSpawner.pvc_name_template = "claim-{username}"
exec(compile(source=open(FILE).read(), filename="workspace_manager.py", mode="exec"))
exec(os.environ.get("EXTRA_CONFIG", ""))
"""


def hub(folder: Path, environ: dict[str, str]) -> None:
    """What ``python -m jupyterhub`` is, in a process of its own that has imported JupyterHub already."""
    os.environ |= environ
    os.chdir(folder)
    sys.path.insert(0, str(folder / "site"))
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    from jupyterhub import app  # noqa: PLC0415 - imported by the process that this one is forked from

    app.main(["-f", "jupyterhub_config.py"])


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
    assert_stops(config, {variable: value}, words)


SUBCLASS = """
from kubespawner import KubeSpawner
class Theirs(c.JupyterHub.spawner_class):
    async def get_pod_manifest(self):
        return await KubeSpawner.get_pod_manifest(self)
c.JupyterHub.spawner_class = Theirs
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(
            "c.JupyterHub.spawner_class = 'kubespawner.KubeSpawner'",
            ("JupyterHub.spawner_class was set to 'KubeSpawner' after", "set it before"),
            id="spawner_class",
        ),
        pytest.param("c.JupyterHub.spawner_class = 'simple'", ("'SimpleLocalProcessSpawner' after",), id="simple"),
        pytest.param(SUBCLASS, ("'Theirs' overrides get_pod_manifest", "set it before configure"), id="subclass"),
        pytest.param("c.KubeSpawner.namespace = 'elsewhere'", ("KubeSpawner.namespace", "'elsewhere'"), id="namespace"),
        pytest.param("c.KubeSpawner.enable_user_namespaces = True", ("enable_user_namespaces is on",), id="namespaces"),
        pytest.param(
            "from workspace_managers.hub import configure; configure(c)", ("called twice",), id="configured-twice"
        ),
    ],
)
def test_setting_that_would_go_past_the_manager_stops_the_hub(config: Path, code: str, words: tuple[str, ...]) -> None:
    """S1, L3: set by hub.extraConfig, after the manager's file."""
    assert_stops(config, {"EXTRA_CONFIG": code}, words)


def assert_stops(config: Path, environ: dict[str, str], words: tuple[str, ...]) -> None:
    process = HUBS.Process(target=hub, args=(config, environ))
    process.start()
    process.join(60)
    process.kill()  # where it did not stop
    said = (config / "said").read_text()
    assert process.exitcode == 1, said
    assert "The hub does not start." in said
    for word in words:
        assert word in said
    assert "Traceback" not in said
