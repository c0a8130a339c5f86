"""What KubeSpawner's traits are while it makes a workspace's pod (S5)."""

from __future__ import annotations

import pytest

from tests.factories import workspace
from workspace_managers import Resources
from workspace_managers.profiles import traits


def test_workspace_that_says_nothing_leaves_the_hubs_own_values() -> None:
    assert traits(workspace()) == {"image": "example/notebook:1.0"}


def test_idle_time_is_an_argument_of_the_server_beside_the_hubs_own() -> None:
    assert traits(workspace(idle_seconds=3600), ["--debug"])["args"] == [
        *("--debug", "--ServerApp.shutdown_no_activity_timeout=3600"),
    ]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        pytest.param(Resources(limits={"cpu": "2"}), {"cpu_guarantee": None, "cpu_limit": 2.0}, id="cpu-limit-only"),
        pytest.param(
            Resources(requests={"cpu": "500m"}), {"cpu_guarantee": 0.5, "cpu_limit": None}, id="cpu-request-only"
        ),
        pytest.param(
            Resources(limits={"memory": "1.5Gi"}),
            {"mem_guarantee": None, "mem_limit": 1610612736},
            id="memory-limit-only",
        ),
        pytest.param(
            Resources(requests={"cpu": "1", "memory": "1500M"}, limits={"cpu": "2", "memory": "4Gi"}),
            {"cpu_guarantee": 1.0, "cpu_limit": 2.0, "mem_guarantee": 1500000000, "mem_limit": 4294967296},
            id="everything",
        ),
        pytest.param(Resources(limits={"nvidia.com/gpu": "1"}), {}, id="another-resource"),
    ],
)
def test_resources_are_the_workspaces_own_or_the_hubs_never_a_mixture(
    resources: Resources, expected: dict[str, float | None]
) -> None:
    assert traits(workspace(resources=resources)) == {"image": "example/notebook:1.0", **expected}


def test_braces_in_a_url_are_not_taken_for_the_spawners_own() -> None:
    """The spawner formats the URL; ``{username}`` of an author must not be filled in, nor stop the start."""
    url = "/lab/tree/{username}/{x"
    assert traits(workspace(default_url=url))["default_url"].format(username="alice") == url
