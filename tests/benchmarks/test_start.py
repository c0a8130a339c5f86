"""The benchmark of starts works: a small run of it, on the embedded API and this machine's node. No time is judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import start
from tests.cluster import servers
from workspace_managers.devcluster import guest
from workspace_managers.devcluster.demo import Cluster, Demo
from workspace_managers.kube.client import Kube

# Answers as a person's server does, and late enough for the page of its start.
SERVER = """
import http.server, sys, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        self.send_response(302 if path.endswith("/") else 200)
        self.send_header("Location", path + "lab")
        self.end_headers()
time.sleep(1.5)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
IMAGES = {servers.OF_TESTS[0]: [sys.executable, "-ISc", SERVER, "{ip}", "{port}"]}
STEPS = ("created", "runs", "listens", "ready", "lab")


def quiet(_line: str) -> None:
    """Say nothing."""


async def test_small_run_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hubs start servers with pods that are alike, and each step comes after the one before."""
    monkeypatch.setattr(start, "QUIET_SECONDS", 0.0)
    ours = Demo(tmp_path / "ours", 0, images=IMAGES, say=quiet)
    # The other is a guest beside it, whose pods run on the node that the first one has.
    there = Cluster(ours.kubeconfig_path, ours.namespace, hub_host="127.0.0.1")
    bare = Demo(tmp_path / "bare", 0, cluster=there, say=quiet)
    kube = Kube(ours.namespace, ours.kubeconfig_path)
    monkeypatch.setattr(guest, "GIVEN", {})
    try:
        (pair,) = await start.compare(kube, ours, bare, 1, quiet)
    finally:
        await kube.close()
    assert set(pair) == {"ours", "bare"}
    for times in pair.values():
        assert set(times) == set(STEPS)
        # The hub may have seen the server before the next try of the benchmark's own.
        in_turn = [times[step] for step in STEPS if step != "listens"]
        assert in_turn[0] > 0
        assert in_turn == sorted(in_turn)


def pod(user: str, **notebook: Any) -> dict[str, Any]:
    env = [{"name": "JUPYTERHUB_API_TOKEN", "value": f"of {user}"}, {"name": "MEM_LIMIT", "value": "1073741824"}]
    resources = {"limits": {"memory": "1Gi"}}
    container = {"image": "example:1", "env": env, "resources": resources, "volumeMounts": [], **notebook}
    return {"spec": {"containers": [container], "hostname": f"jupyter-{user}", "volumes": []}}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        pytest.param({}, [], id="alike"),
        pytest.param({"resources": {"limits": {"memory": "1073741824"}}}, [], id="the-same-in-bytes"),
        pytest.param(
            {"resources": {"limits": {"memory": "2Gi"}}},
            ["spec.containers[0].resources.limits.memory: 1073741824.0 (ours), 2147483648.0 (bare)"],
            id="more-memory",
        ),
        pytest.param(
            {"image": "other:1"}, ["spec.containers[0].image: 'example:1' (ours), 'other:1' (bare)"], id="image"
        ),
        pytest.param(
            {"volumeMounts": [{"name": "a"}]},
            ["spec.containers[0].volumeMounts: [] (ours), [{'name': 'a'}] (bare)"],
            id="one-claim-more",
        ),
        pytest.param({"volumeMounts": [{"name": "workspace-managers-lab"}]}, [], id="the-name-in-the-lab"),
    ],
)
def test_pods_that_are_not_alike_are_told(other: dict[str, Any], told: list[str]) -> None:
    ours, bare = start.alike(pod("ann"), "ann"), start.alike(pod("bob", **other), "bob")
    assert start.differences(ours, bare) == told


@pytest.mark.parametrize(
    ("ours", "verdict"), [pytest.param(11.0, "1.10 | yes", id="1.1"), pytest.param(11.1, "1.11 | **no**", id="1.11")]
)
def test_table_has_medians_ratios_and_the_verdict(tmp_path: Path, ours: float, verdict: str) -> None:
    pairs = [
        {side: {step: part * (number + 1) for number, step in enumerate(STEPS)} for side, part in parts.items()}
        for parts in ({"ours": ours / 5, "bare": 2.0}, {"ours": 2.0, "bare": 1.0}, {"ours": 4.0, "bare": 3.0})
    ]
    about = {"cores": 2, "cpu": "a CPU", "memory_gib": 8, "load": 0.5, "apiserver": "v1.34.4", "python": "3.11.7"}
    result = {"date": "2030-01-07", "command": "make bench-start PAIRS=3", "machine": about, "pairs": pairs}
    result |= {"jupyterhub": "5.5.0", "kubespawner": "7.0.0"}
    table = start.write(result, tmp_path)
    assert "2030-01-07, `make bench-start PAIRS=3`: 3 pairs" in table
    assert "2 cores (a CPU), 8 GiB, load 0.5 before" in table
    assert f"times as long as bare | at most 1.1 | {verdict} |" in table
    assert f"| from the click to JupyterLab | {ours:.2f} | 10.00 |" in table
    assert "| ours divided by bare, pair by pair | " in table
    assert (tmp_path / "start.md").read_text() == table
    assert json.loads((tmp_path / "start.json").read_text()) == result


def test_too_few_pairs_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--output", "x", "9"])
    with pytest.raises(SystemExit):
        start.main()
    assert "9 pairs are too few; at least 10 are needed" in capsys.readouterr().err
