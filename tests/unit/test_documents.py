"""What the documents promise: tables are the code's own, commands and files exist, examples work, each rule is kept."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from workspace_managers import Context, User, WorkspaceManager
from workspace_managers.__main__ import _parser
from workspace_managers.kube.client import Kube
from workspace_managers.rules import RULES
from workspace_managers.settings import VARIABLES, Settings, Variable

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "image" / "README.md", DOCS / "benchmarks" / "README.md"]
)
MONITORING = ROOT / "image" / "monitoring"
# A block by its language and text; indented ones stand in a list.
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
METRIC = re.compile(r"workspace_managers_\w+")


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for indent, found, text in BLOCK.findall(page.read_text()):
            if found == language:
                yield page.name, "\n".join(line.removeprefix(indent) for line in text.splitlines())


def metrics() -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("workspace_managers_")
    }


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_environment_table_is_that_of_the_settings(variable: Variable) -> None:
    row = f"| `{variable.name}` | {variable.purpose} | `{variable.default}` |"
    assert row in (DOCS / "environment.md").read_text().splitlines()


def test_metrics_table_has_each_metric_and_no_other() -> None:
    told = re.findall(r"^\| `(workspace_managers_\w+)`", (DOCS / "metrics.md").read_text(), re.M)
    assert set(told) == metrics()


def test_every_alert_says_what_to_do() -> None:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    told = re.findall(r"^\| `(Workspaces\w+)` \| (.+) \|$", (DOCS / "metrics.md").read_text(), re.M)
    assert [name for name, _ in told] == [rule["alert"] for rule in group["rules"]]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_there_are(file: str) -> None:
    """Or they are silent for ever."""
    text = (MONITORING / file).read_text()
    asked = {name.removesuffix("_bucket") for name in METRIC.findall(text)}
    assert asked <= metrics()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert asked == metrics() - {"workspace_managers_decision_seconds_total"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("generated/"):
            assert (page.parent / target).exists(), target
        else:
            assert target.removeprefix("generated/").removesuffix(".md") in {
                "rules",
                "commands",
                "api",
                *_generator().GUIDES,
            }


def _commands() -> Iterator[tuple[str, list[str]]]:
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            if "make" not in line and "workspace-managers" not in line:
                continue
            words = shlex.split(line, comments=True)
            for name in ("make", "workspace-managers"):
                where = next((index for index, word in enumerate(words) if word.rpartition("/")[2] == name), None)
                if where is not None and "=" not in "".join(words[: where if name == "make" else 0]):
                    yield page, [name, *words[where + 1 :]]


@pytest.mark.parametrize(
    ("page", "command"), list(_commands()), ids=lambda each: each if isinstance(each, str) else " ".join(each)
)
def test_commands_are_ones_that_there_are(page: str, command: list[str]) -> None:
    name, *arguments = command
    if name == "make":
        assert [each for each in arguments if "=" not in each and each not in TARGETS] == []
    else:
        assert _parser().parse_args(arguments).run


@pytest.mark.parametrize(("page", "text"), list(blocks("yaml")), ids=lambda each: each.partition("\n")[0])
def test_yaml_is_yaml(page: str, text: str) -> None:
    assert isinstance(yaml.safe_load(text), dict)


@pytest.mark.parametrize("number", RULES)
def test_every_rule_is_in_the_code_and_held_by_tests(number: str) -> None:
    """A rule without a test is a wish."""
    generator = _generator()
    assert generator.citing(generator.CODE)[number]
    assert [each for each in generator.citing(generator.TESTS)[number] if Path(each).name.startswith("test_")]


@pytest.mark.parametrize(
    "file", ["access", "claims", "storage", "pods", "sessions", "engine", "namespaces", "policy", "home"]
)
def test_tests_of_what_decides_cite_rules(file: str) -> None:
    assert _generator().numbers_in((ROOT / "tests" / "unit" / f"test_{file}.py").read_text())


def test_generated_pages_have_what_they_are_for() -> None:
    generator = _generator()
    rules = generator.rules_page()
    assert all(f"## {number}\n" in rules for number in RULES)
    assert "`workspace_managers/policy.py`" in rules.partition("## F4\n")[2].partition("## ")[0]
    assert "## explain" in generator.commands_page()
    assert "](../docs" not in generator.guide_page(Path("image/README.md"))
    assert "](../policy.md)" in generator.guide_page(Path("image/README.md"))


async def test_plugin_of_the_documents_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """L2: it passes the same verification as any other, and answers."""
    (source,) = (text for page, text in blocks("python") if page == "plugins.md")
    module = types.ModuleType("studies_manager")
    monkeypatch.setitem(sys.modules, "studies_manager", module)
    exec(compile(source, "studies_manager.py", "exec"), module.__dict__)  # noqa: S102 - our own documents
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})
    plugin = module.StudiesManager(Context(settings=settings, kube=Kube("hub"), log=logging.getLogger("test")))
    assert isinstance(plugin, WorkspaceManager)
    form = await plugin.build_form(User.identify("Alice"))
    assert [card.slug for card in form.cards] == ["heart"]
    chosen = await plugin.confirm(User.identify("carol"), "lungs")
    (volume,) = await plugin.volumes_for(User.identify("carol"), chosen)
    assert volume.claim == "jupyter-lungs"
