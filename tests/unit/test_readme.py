"""What the README promises: its environment table is the settings' own, and its plugin works."""

from __future__ import annotations

import logging
import re
import sys
import types
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from workspace_managers import Context, User, WorkspaceManager
from workspace_managers.kube.client import Kube
from workspace_managers.rules import RULES
from workspace_managers.settings import VARIABLES, Settings, Variable

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_environment_table_is_that_of_the_settings(variable: Variable) -> None:
    assert f"| `{variable.name}` | {variable.purpose} | `{variable.default}` |" in README.splitlines()


def test_rules_table_is_that_of_the_rules() -> None:
    told = re.findall(r"^\| `([A-Z]\d)` \| (.*) \| (.*) \|$", README, re.M)
    assert told == [(rule.number, rule.sentence, rule.threat) for rule in RULES.values()]


def test_metrics_table_has_each_metric_and_no_other() -> None:
    told = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("workspace_managers_")
    }
    assert set(re.findall(r"^\| `(workspace_managers_\w+)`", README, re.M)) == told


async def test_plugin_of_the_readme_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """L2: it passes the same verification as any other, and answers."""
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "class " in block)
    module = types.ModuleType("studies_manager")
    monkeypatch.setitem(sys.modules, "studies_manager", module)
    exec(compile(source, "studies_manager.py", "exec"), module.__dict__)  # noqa: S102 - our own README
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})
    plugin = module.StudiesManager(Context(settings=settings, kube=Kube("hub"), log=logging.getLogger("test")))
    assert isinstance(plugin, WorkspaceManager)
    form = await plugin.build_form(User.identify("Alice"))
    assert [card.slug for card in form.cards] == ["heart"]
    chosen = await plugin.confirm(User.identify("carol"), "lungs")
    (volume,) = await plugin.volumes_for(User.identify("carol"), chosen)
    assert volume.claim == "jupyter-lungs"
