"""A seed is a plan, and even a small plan has everything in it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.plan import (
    Disturb,
    Fault,
    Grant,
    Inject,
    KillHub,
    RestartServer,
    Revoke,
    Start,
    make_plan,
)
from tests.faults.studies import STUDIES, USERS, binding_name, studies, users
from workspace_managers import is_name


def test_seed_is_the_plan() -> None:
    assert make_plan(4, 500, 5) == make_plan(4, 500, 5)
    assert make_plan(4, 500, 5).steps != make_plan(5, 500, 5).steps


@pytest.mark.parametrize("seed", range(5))
def test_plan_of_500_has_everything(seed: int) -> None:
    plan = make_plan(seed, 500, 5)
    assert (plan.count(Start), plan.count(KillHub), plan.count(RestartServer)) == (500, 1, 1)
    assert sum(isinstance(step, Start) and step.through_hub for step in plan.steps) == 5
    faults = Counter(step.fault for step in plan.steps if isinstance(step, Inject | Disturb))
    assert set(faults) == set(Fault)
    assert min(plan.count(Grant), plan.count(Revoke)) > 10
    started = {step.study for step in plan.steps if isinstance(step, Start)}
    assert {study.name for study in studies()} <= started


def test_world_is_as_large_as_it_says() -> None:
    assert len({study.name for study in studies()}) == STUDIES == 50
    assert len(set(users())) == USERS == 200
    names = {binding_name(user, study.name) for user in users() for study in studies()}
    assert len(names) == USERS * STUDIES
    assert all(is_name(name) for name in names)
