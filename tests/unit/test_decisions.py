"""The audit line and the metrics of decisions and caches (issue: operators see it; rule F1)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from workspace_managers import AccessDenied, BackendUnavailable, StorageRefused, metrics
from workspace_managers.decisions import deciding


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(each.getMessage()) for each in caplog.records if each.name == "JupyterHub.workspaces.audit"]


def count(stage: str, outcome: str, rule: str) -> float:
    labels = {"stage": stage, "outcome": outcome, "rule": rule}
    return REGISTRY.get_sample_value("workspace_managers_decisions_total", labels) or 0.0


def test_allowed_decision_says_who_what_and_on_which_versions(caplog: pytest.LogCaptureFixture) -> None:
    before = count("pod", "allowed", "")
    with caplog.at_level(logging.INFO), deciding("pod", "alice", "cardio", ("user", "ops")) as decision:
        decision.versions = {"workspace": "12", "binding": "34"}
    assert lines(caplog) == [
        {
            "decision": "pod",
            "user": "alice",
            "by": {"user": "ops"},
            "workspace": "cardio",
            "outcome": "allowed",
            "rule": None,
            "versions": {"workspace": "12", "binding": "34"},
        }
    ]
    assert count("pod", "allowed", "") == before + 1


@pytest.mark.parametrize(
    ("error", "outcome", "rule"),
    [
        (AccessDenied("no"), "denied", "A2"),
        (AccessDenied("no", rule="A1"), "denied", "A1"),
        (StorageRefused("no"), "denied", "S2"),
        (BackendUnavailable("down"), "unavailable", "A4"),
        (ZeroDivisionError("a fault"), "failed", None),
        (asyncio.CancelledError(), "failed", None),
    ],
)
def test_refusal_is_told_with_its_rule_and_goes_on(
    caplog: pytest.LogCaptureFixture, error: BaseException, outcome: str, rule: str | None
) -> None:
    before = count("options", outcome, rule or "")
    with caplog.at_level(logging.INFO), pytest.raises(type(error)), deciding("options", "alice", "cardio"):
        raise error
    assert [(line["outcome"], line["rule"]) for line in lines(caplog)] == [(outcome, rule)]
    assert count("options", outcome, rule or "") == before + 1


@pytest.mark.parametrize("asked", [{"token": "hunter2"}, ["hunter2"], 7, None])
def test_what_is_no_name_is_not_shown(caplog: pytest.LogCaptureFixture, asked: object) -> None:
    """F1: anything can arrive over the REST API, secrets included."""
    with caplog.at_level(logging.INFO), deciding("options", "alice", asked):
        pass
    assert lines(caplog)[0]["workspace"] is None
    assert "hunter2" not in caplog.text


def test_line_is_bounded_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """F1."""
    hostile = "\n\x1b[31m\u2028" + "x" * 100_000
    with caplog.at_level(logging.INFO), deciding("options", hostile, hostile, ("user", hostile)) as decision:
        decision.versions = {f"{hostile}{n}": hostile for n in range(50)}
    (record,) = [each for each in caplog.records if each.name == "JupyterHub.workspaces.audit"]
    text = record.getMessage()
    assert len(text) < 6000
    assert text.isascii()
    assert text.isprintable()


def test_metrics_tell_of_no_user_and_no_workspace() -> None:
    with pytest.raises(AccessDenied), deciding("pod", "somebody-of-note", "secret-study"):
        raise AccessDenied("somebody-of-note may not open secret-study")
    told = generate_latest(REGISTRY).decode()
    assert 'workspace_managers_decisions_total{outcome="denied",rule="A2",stage="pod"}' in told
    assert 'workspace_managers_decision_seconds_count{stage="pod"}' in told
    assert "somebody-of-note" not in told
    assert "secret-study" not in told


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
