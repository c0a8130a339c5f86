"""The KubeSpawner profile of a workspace (S5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import workspace
from workspace_managers import Resources
from workspace_managers.profiles import TRAITS, profile

DEFAULTS = {
    "image": "hub/default:1",
    "cpu_guarantee": 0.1,
    "cpu_limit": 3.0,
    "mem_guarantee": 1,
    "mem_limit": 2,
    "default_url": "/tree",
}


def override(**changes: Any) -> dict[str, Any]:
    override = profile(workspace(**changes), DEFAULTS)["kubespawner_override"]
    assert isinstance(override, dict)
    return override


def test_profile_sets_every_trait_each_time_and_scalars_only() -> None:
    """S5: KubeSpawner keeps what is not set again and merges dictionaries in place."""
    told = override(labels={"a": "b"}, node_selector={"c": "d"}, tolerations=({"key": "e"},))
    assert set(told) == set(TRAITS)
    assert not any(isinstance(value, dict | list | tuple) for value in told.values())


def test_workspace_that_says_nothing_gets_the_hubs_own_values() -> None:
    assert override() == {**DEFAULTS, "image": "example/notebook:1.0"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        pytest.param(Resources(limits={"cpu": "2"}), (None, 2.0, 1, 2), id="cpu-limit-only"),
        pytest.param(Resources(requests={"cpu": "500m"}), (0.5, None, 1, 2), id="cpu-request-only"),
        pytest.param(Resources(limits={"memory": "1.5Gi"}), (0.1, 3.0, None, 1610612736), id="memory-limit-only"),
        pytest.param(
            Resources(requests={"cpu": "1", "memory": "1500M"}, limits={"cpu": "2", "memory": "4Gi"}),
            (1.0, 2.0, 1500000000, 4294967296),
            id="everything",
        ),
        pytest.param(Resources(limits={"nvidia.com/gpu": "1"}), (0.1, 3.0, 1, 2), id="another-resource"),
    ],
)
def test_resources_are_the_workspaces_own_or_the_hubs_never_a_mixture(
    resources: Resources, expected: tuple[float | None, ...]
) -> None:
    told = override(resources=resources)
    assert (told["cpu_guarantee"], told["cpu_limit"], told["mem_guarantee"], told["mem_limit"]) == expected


def test_braces_in_a_url_are_not_taken_for_the_spawners_own() -> None:
    """The spawner formats the URL; ``{username}`` of an author must not be filled in, nor stop the start."""
    url = "/lab/tree/{username}/{x"
    assert override(default_url=url)["default_url"].format(username="alice") == url


def test_slug_is_the_workspaces_name() -> None:
    """F1: unique, and the default of a list of one."""
    told = profile(workspace("a.b"), DEFAULTS)
    assert (told["slug"], told["default"]) == ("a.b", True)
