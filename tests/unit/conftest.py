"""Fixtures for the tests of what is installed."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from kubespawner import KubeSpawner

from tests import dists
from tests.factories import workspace
from tests.unit.spawners import KUBECONFIG, Plugin, TodayContext
from workspace_managers import Context, Kube, Resources, Settings, engine, hub, registry
from workspace_managers.devcluster.api import EmbeddedApi

# The same examples in each run, however slow the machine is at that moment.
hypothesis.settings.register_profile("gate", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("gate")

Install = Callable[..., Path]


@pytest.fixture
async def api() -> AsyncIterator[EmbeddedApi]:
    """An embedded API with the namespace ``hub``."""
    api = EmbeddedApi(namespaces=("hub",))
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def kube(api: EmbeddedApi) -> AsyncIterator[Kube]:
    """A client of it."""
    kube = Kube("hub", api.kubeconfig("hub"))
    yield kube
    await kube.close()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install("plain", ...)`` installs projects of ``tests/dists`` for this test, and tells where."""
    target = tmp_path / "site-packages"
    target.mkdir()

    def installer(*projects: str) -> Path:
        for project in projects:
            with zipfile.ZipFile(dists.wheel(project, tmp_path)) as archive:
                archive.extractall(target)
        monkeypatch.syspath_prepend(str(target))
        return target

    yield installer
    for module in [name for name in sys.modules if name.startswith("wm_")]:
        del sys.modules[module]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plugin:
    """The plugin that ``configure`` loads; today stands still, and claims are always there."""
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    monkeypatch.setattr(KubeSpawner, "reflectors", {})
    plugin = Plugin(hub.context_for(Settings.from_environ({"POD_NAMESPACE": "hub"})))
    plugin.grants = (workspace("cardio"), workspace("asthma", resources=Resources(limits={"cpu": "2"})))

    def create(_name: str, context: Context) -> Plugin:
        plugin.context = TodayContext(settings=context.settings, kube=context.kube, log=context.log)
        return plugin

    async def ensure(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(registry, "create", create)
    monkeypatch.setattr(engine, "ensure_claims", ensure)
    return plugin
