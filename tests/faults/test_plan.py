"""A seed is a plan, and even a small plan has everything in it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.plan import (
    LARGE_RUN,
    LATE_FAULTS,
    POD_FAULTS,
    Disturb,
    EndReflectors,
    Fault,
    Grant,
    Inject,
    KillHub,
    OutlastReflectors,
    Recreate,
    RefuseInARow,
    RestartServer,
    Revoke,
    Start,
    Target,
    UntilMet,
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
    assert set(faults) == set(Fault) - {Fault.REFLECTOR_ENDED}
    assert (plan.count(RefuseInARow), plan.count(Recreate), plan.count(OutlastReflectors)) == (1, 1, 0)
    assert plan.count(EndReflectors) >= 2
    assert min(plan.count(Grant), plan.count(Revoke)) > 10
    started = {step.study for step in plan.steps if isinstance(step, Start)}
    assert {study.name for study in studies()} <= started


@pytest.mark.parametrize("seed", range(5))
def test_grants_are_withdrawn_while_a_pod_is_late(seed: int) -> None:
    """A3."""
    steps = make_plan(seed, 500, 5).steps
    late = [number for number, step in enumerate(steps) if isinstance(step, Inject) and step.fault in LATE_FAULTS]
    assert late
    for number in late:
        starts = [step for step in steps[number + 1 :][:3] if isinstance(step, Start)]
        after = steps[number + 1 + len(starts) :][:3]
        assert isinstance(after[0], UntilMet)
        withdrawn = [(step.user, step.study) for step in after[1:] if isinstance(step, Revoke)]
        assert withdrawn
        assert withdrawn == [(step.user, step.study) for step in starts][:2]


def test_faults_of_a_pod_meet_nothing_else() -> None:
    steps = make_plan(1, 2000, 20).steps
    assert {step.target for step in steps if isinstance(step, Inject) and step.fault in POD_FAULTS} == {Target.NEW_PODS}


@pytest.mark.parametrize("seed", range(5))
def test_workspace_is_made_anew_for_others(seed: int) -> None:
    """S6."""
    steps = make_plan(seed, 500, 5).steps
    (number,) = (number for number, step in enumerate(steps) if isinstance(step, Recreate))
    study = steps[number].study  # type: ignore[union-attr]  # it is a Recreate
    before = {step.user for step in steps[:number] if isinstance(step, Revoke) and step.study == study}
    after = {step.user for step in steps[number + 1 :][:4] if isinstance(step, Grant) and step.study == study}
    assert len(after) == 4
    assert before
    later = {step.user for step in steps[number:] if isinstance(step, Start) and step.study == study}
    assert after <= later


def test_large_run_waits_for_reflectors_to_give_up() -> None:
    assert make_plan(0, LARGE_RUN, 20).count(OutlastReflectors) == 1
    assert make_plan(0, LARGE_RUN, 0).count(OutlastReflectors) == 0


def test_world_is_as_large_as_it_says() -> None:
    assert len({study.name for study in studies()}) == STUDIES == 50
    assert len(set(users())) == USERS == 200
    names = {binding_name(user, study.name) for user in users() for study in studies()}
    assert len(names) == USERS * STUDIES
    assert all(is_name(name) for name in names)
