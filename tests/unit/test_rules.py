"""Every rule that is cited is written down, and an error names no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workspace_managers import AccessDenied, BackendUnavailable, StorageRefused, WorkspaceManagerError, errors
from workspace_managers.contract import WorkspaceManagerContract
from workspace_managers.rules import RULES

ROOT = Path(__file__).parents[2]
FOLDERS = ("workspace_managers", "plugins", "tests", "docs", "image", "templates", "hub_config")
SUFFIXES = {".py", ".md", ".txt", ".html", ".yaml", ".sql"}
# A number in text: not "S301" of a linter, "F-1", nor a part of another word.
CITED = re.compile(r"(?<![\w\\#{%.+/-])[ACEFLSW]\d(?![\w-])")
# What is written so and is no rule, by the file's name.
OTHERS = {"tests/plugins/test_new.py": {"C4"}, "tests/unit/test_rules.py": {"A0", "A9", "C4"}}


def cited() -> dict[str, set[str]]:
    """Numbers of rules, by the file that cites them."""
    files = [ROOT / "README.md", *(each for folder in FOLDERS for each in (ROOT / folder).rglob("*"))]
    texts = [each for each in files if each.suffix in SUFFIXES and each.is_file()]
    return {str(each.relative_to(ROOT)): set(CITED.findall(each.read_text(errors="replace"))) for each in texts}


def test_every_rule_that_is_cited_is_written_down() -> None:
    """A reader of a test, a clause or an audit line must be able to look it up."""
    unknown = {file: found - set(RULES) - OTHERS.get(file, set()) for file, found in cited().items()}
    assert {file: found for file, found in unknown.items() if found} == {}


@pytest.mark.parametrize("number", RULES)
def test_rule_is_a_sentence_with_its_reason(number: str) -> None:
    rule = RULES[number]
    assert rule.number == number
    assert re.fullmatch(r"[AEFLSW][1-9]", number)
    for text in (rule.sentence, rule.threat):
        assert text.endswith(".")
        assert "|" not in text


@pytest.mark.parametrize("rule", ["", "A", "A9", "a1", "S10", " A1", "x" * 10_000])
def test_error_of_no_rule_is_refused(rule: str) -> None:
    """F1: the audit line takes the number from it; what is accepted is named, bounded."""
    with pytest.raises(ValueError, match=r"is not the number of a rule; accepted: A1, A2, ") as caught:
        AccessDenied("no", rule=rule)
    assert len(str(caught.value)) < 300


def test_class_of_no_rule_is_refused() -> None:
    """Where it is written, and not at the first refusal."""
    with pytest.raises(ValueError, match="'A0' is not the number of a rule; accepted: A1,"):
        type("Refused", (AccessDenied,), {"default_rule": "A0"})


def test_every_error_has_a_rule_or_none() -> None:
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, WorkspaceManagerError)
    ]
    assert {kind.default_rule for kind in kinds} == {"", "A2", "A3", "A4", "E6", "F4", "S2", "W2"}
    assert [kind("x").rule for kind in (WorkspaceManagerError, AccessDenied, StorageRefused, BackendUnavailable)] == [
        *("", "A2", "S2", "A4")
    ]
    assert StorageRefused("x", rule="S1").rule == "S1"


def test_every_clause_is_of_a_rule() -> None:
    assert {clause.rule for clause in WorkspaceManagerContract.clauses().values()} <= set(RULES)
