"""The audit line and the metrics of decisions and caches (rule F1)."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from workspace_managers import AccessDenied, BackendUnavailable, StorageRefused, errors, metrics
from workspace_managers.decisions import AUDIT, Decision


@pytest.fixture(autouse=True)
def written() -> Iterator[list[str]]:
    """The lines that are written."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    AUDIT.addHandler(handler)
    yield lines
    AUDIT.removeHandler(handler)


def decision(**facts: Any) -> Decision:
    return Decision(**{"stage": "pod", "request": "0123456789ab", "user": "alice", "by": ("user", "ops"), **facts})


def count(stage: str, outcome: str, rule: str) -> float:
    labels = {"stage": stage, "outcome": outcome, "rule": rule}
    return REGISTRY.get_sample_value("workspace_managers_decisions_total", labels) or 0.0


def test_allowed_decision_says_who_what_and_on_which_versions(written: list[str]) -> None:
    before = count("pod", "allowed", "")
    made = decision(workspace="cardio", server="", pod="jupyter-alice", versions={"workspace": "12", "binding": "34"})
    made.uid = "u-1"
    made.allow()
    line = json.loads(written[0])
    assert line.pop("time") <= datetime.now(UTC).isoformat()
    assert line == {
        "decision": "pod",
        "request": "0123456789ab",
        "user": "alice",
        "by": {"user": "ops"},
        "server": "",
        "workspace": "cardio",
        "outcome": "allowed",
        "rule": None,
        "versions": {"workspace": "12", "binding": "34"},
        "pod": {"name": "jupyter-alice", "uid": "u-1"},
    }
    assert count("pod", "allowed", "") == before + 1


@pytest.mark.parametrize(
    ("error", "outcome", "rule"),
    [
        (AccessDenied("no"), "denied", "A2"),
        (AccessDenied("no", rule="A1"), "denied", "A1"),
        (StorageRefused("no"), "denied", "S2"),
        (BackendUnavailable("down"), "unavailable", "A4"),
        (errors.NothingChosen("no"), "invalid", "A3"),
        (errors.SignInAgain("no"), "unknown", "E6"),
        (errors.ClusterRefused("no"), "refused", None),
        (errors.StartFailed("no"), "failed", None),
        (errors.ServiceFault("no"), "failed", None),
        (ZeroDivisionError("a fault"), "failed", None),
        (asyncio.CancelledError(), "failed", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_refusal_is_written_with_its_rule(
    written: list[str], error: BaseException, outcome: str, rule: str | None
) -> None:
    before = count("form", outcome, rule or "")
    assert decision(stage="form").end(error) == outcome
    assert [(json.loads(line)["outcome"], json.loads(line)["rule"]) for line in written] == [(outcome, rule)]
    assert count("form", outcome, rule or "") == before + 1


def test_page_of_the_audit_line_has_every_field_and_outcome(written: list[str]) -> None:
    """An auditor's tools are written from it."""
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    decision().allow()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    outcomes = {kind.outcome for kind in kinds if issubclass(kind, errors.WorkspaceManagerError)}
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert named[: len(json.loads(written[0]))] == list(json.loads(written[0]))
    assert set(named[len(json.loads(written[0])) :]) == {"allowed", *outcomes}


def test_outcome_is_written_once(written: list[str]) -> None:
    """A decision that was allowed is not called failed by what comes after it."""
    made = decision()
    made.allow()
    made.end(BackendUnavailable("later"))
    made.allow()
    assert [json.loads(line)["outcome"] for line in written] == ["allowed"]


@pytest.mark.parametrize("asked", [{"token": "hunter2"}, ["hunter2"], 7, None])
def test_what_is_no_name_is_not_shown(written: list[str], asked: object) -> None:
    """F1: anything can arrive over the REST API, secrets included."""
    decision(workspace=asked).allow()
    assert json.loads(written[0])["workspace"] is None
    assert "hunter2" not in written[0]


def test_line_is_bounded_and_one_line(written: list[str]) -> None:
    """F1."""
    hostile = "\n\x1b[31m\u2028" + "x" * 100_000
    decision(
        user=hostile,
        by=("user", hostile),
        server=hostile,
        workspace=hostile,
        pod=hostile,
        versions={f"{hostile}{n}": hostile for n in range(50)},
    ).allow()
    (text,) = written
    assert len(text) < 7000
    assert text.isascii()
    assert text.isprintable()


def test_metrics_tell_of_no_user_and_no_workspace() -> None:
    decision(user="somebody-of-note", workspace="secret-study").end(AccessDenied("somebody-of-note, secret-study"))
    shown = generate_latest(REGISTRY).decode()
    assert 'workspace_managers_decisions_total{outcome="denied",rule="A2",stage="pod"}' in shown
    assert 'workspace_managers_decision_seconds_count{stage="pod"}' in shown
    assert "somebody-of-note" not in shown
    assert "secret-study" not in shown


class Held:
    collection = "examples"
    relists = 3
    faults = 2
    skipped = 1
    age = 4.5

    def __len__(self) -> int:
        return 7


def test_cache_is_told_of_for_as_long_as_it_is_held() -> None:
    def value(name: str) -> float | None:
        return REGISTRY.get_sample_value(f"workspace_managers_cache_{name}", {"collection": "examples"})

    held = Held()
    metrics.watch_cache(held)
    names = ("age_seconds", "objects", "relists_total", "faults_total", "skipped_total")
    assert [value(name) for name in names] == [4.5, 7, 3, 2, 1]
    del held
    assert value("objects") is None
