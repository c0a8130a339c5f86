"""The pages that are made from the code: the rules, where each is kept and tested; commands; the interface.

Guides that stand elsewhere are brought into the site as well, their links as they are from there.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import workspace_managers
from workspace_managers.__main__ import _parser
from workspace_managers.contract import WorkspaceManagerContract
from workspace_managers.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
CODE, TESTS = ("workspace_managers", "plugins/workspace_manager_lscsde", "templates"), ("tests",)
# A number in text: not "S301" of a linter, "F-1", nor a part of another word.
CITED = re.compile(r"(?<![\w\\#{%.+/-])[AEFLSW]\d(?![\w-])")
# In names of tests.
NAMED = re.compile(r"_([aefslw]\d)_")
NOT_OF_RULES = ("workspace_managers/rules.py", "workspace_managers/contract/", "workspace_managers/devcluster/")
GUIDES = {
    "install": "image/README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}
_LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


def write(folder: Path) -> None:
    """Write each page that is not there as it should be; the others are left alone, so that they are not built anew."""
    folder.mkdir(exist_ok=True)
    pages = {"rules": rules_page(), "commands": commands_page(), "api": api_page()}
    pages |= {name: guide_page(Path(file)) for name, file in GUIDES.items()}
    for name, text in pages.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def citing(folders: tuple[str, ...]) -> dict[str, set[str]]:
    """By the number of a rule, the files that cite it."""
    found: dict[str, set[str]] = {number: set() for number in RULES}
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*")):
            name = str(file.relative_to(ROOT))
            if file.suffix not in {".py", ".html"} or name.startswith(NOT_OF_RULES):
                continue
            for number in numbers_in(file.read_text()):
                found[number].add(name)
    return found


def numbers_in(text: str) -> set[str]:
    """The rules that a text cites, in its words or in the names of its tests."""
    found = {*CITED.findall(text), *(each.upper() for each in NAMED.findall(text))}
    return found & set(RULES)


def rules_page() -> str:
    """Each rule: what it says, what happens without it, and what keeps it."""
    code, tests = citing(CODE), citing(TESTS)
    clauses: dict[str, list[str]] = {number: [] for number in RULES}
    for clause in WorkspaceManagerContract.clauses().values():
        clauses[clause.rule].append(f"`{clause.name}`: {clause.why}")
    parts = ["# The rules\n", "Code, clauses of the contract, tests and the audit line cite their numbers.\n"]
    for number, rule in RULES.items():
        parts += [f"## {number}\n", f"**{rule.sentence}**\n", f"Without it: {rule.threat}\n"]
        parts += _listed("In the code", [f"`{each}`" for each in sorted(code[number])])
        parts += _listed("Clauses of the contract", clauses[number])
        parts += _listed("Tests", [f"`{each}`" for each in sorted(tests[number])])
    return "\n".join(parts)


def _listed(title: str, items: list[str]) -> list[str]:
    return [f"{title}:\n", *(f"- {each}" for each in items), ""] if items else []


def commands_page() -> str:
    """What `--help` says of the command and of each of its own."""
    parser = _parser()
    parts = ["# The command line\n", f"```text\n{_help(parser)}```\n"]
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        parts += [f"## {name}\n", f"```text\n{_help(command)}```\n"]
    return "\n".join(parts)


def _help(parser: argparse.ArgumentParser) -> str:
    return re.sub(r"\n{3,}", "\n\n", parser.format_help())


def api_page() -> str:
    """What a plugin may use: everything that the package gives, by its docstring."""
    lines = [
        "# The interface of plugins\n",
        "What `workspace_managers` gives; the contract is `workspace_managers.contract`.\n",
    ]
    for name in sorted(workspace_managers.__all__):
        thing = getattr(workspace_managers, name)
        if inspect.isclass(thing):
            lines.append(_automatic("autoclass", name, members=not issubclass(thing, Exception)))
        elif inspect.isfunction(thing):
            lines.append(_automatic("autofunction", name, members=False))
        else:
            lines.append(f"- `{name}` is `{thing!r}`. {_described(name)}\n")
    return "\n".join(lines)


def _automatic(directive: str, name: str, *, members: bool) -> str:
    options = "   :members:\n" if members else ""
    return f"```{{eval-rst}}\n.. {directive}:: workspace_managers.{name}\n{options}```\n"


def _described(name: str) -> str:
    """The text that stands under a constant, wherever it is defined."""
    for file in sorted((ROOT / "workspace_managers").rglob("*.py")):
        for target, text in _constants(file):
            if target == name:
                return text
    return ""


def _constants(file: Path) -> Iterator[tuple[str, str]]:
    body = ast.parse(file.read_text()).body
    for statement, after in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            target = statement.targets[0]
            if isinstance(target, ast.Name) and isinstance(after.value.value, str):
                yield target.id, inspect.cleandoc(after.value.value).replace("``", "`")


def guide_page(file: Path) -> str:
    """A guide that stands elsewhere, its links as they are from here; what is no page of the site is named alone."""

    def moved(found: re.Match[str]) -> str:
        target = (ROOT / file.parent / found[1]).resolve()
        within = target.relative_to(ROOT)
        guides = {ROOT / each: f"{name}.md" for name, each in GUIDES.items()}
        if target in guides:
            return f"]({guides[target]}{found[2] or ''})"
        if within.parts[0] == "docs" and target.suffix == ".md":
            return f"](../{within.relative_to('docs')}{found[2] or ''})"
        return f"](#file:{within})"

    text = _LINK.sub(moved, (ROOT / file).read_text())
    return re.sub(r"\[([^\]]*)\]\(#file:([^)]*)\)", r"\1 (`\2`)", text)
