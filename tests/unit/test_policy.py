"""What an operator allows: one file, checked whole before the hub starts (L3), and held to each workspace (F4)."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.factories import home, shared, volume, workspace
from workspace_managers import ConfigurationError, Resources, Settings, Volume
from workspace_managers.policy import FIELDS, STRICT, Policy

ROOT = Path(__file__).parents[2]
DIGEST = f"registry.example.org/a@sha256:{'0' * 64}"
GUIDE = (ROOT / "docs" / "policy.md").read_text()


def read(file: Path, text: str | bytes) -> Policy:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Settings.from_environ({"POD_NAMESPACE": "hub", "WORKSPACE_POLICY": str(file)}).policy


def test_without_a_file_the_strict_default_holds() -> None:
    assert Settings.from_environ({}).policy == STRICT == Policy()
    assert not STRICT.allows_claim("jupyter-x")
    assert not STRICT.allows_namespace("project-x")
    assert not STRICT.limits_storage


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        pytest.param("{}", STRICT, id="nothing"),
        pytest.param("claims: []", STRICT, id="empty-list"),
        pytest.param("claims: [data-*, 'x']", Policy(claims=("data-*", "x")), id="one-list"),
        pytest.param("namespaces: [project-*]", Policy(namespaces=("project-*",)), id="namespaces"),
        pytest.param("claims: ['*']\nservice_accounts: [a]", Policy(("*",), ("a",)), id="both"),
        pytest.param("images: []", Policy(images=()), id="no-image-at-all"),
        pytest.param("require_digests: true", Policy(require_digests=True), id="flag"),
        pytest.param("maxima: {cpu: 8, memory: 64Gi}", Policy(maxima={"cpu": "8", "memory": "64Gi"}), id="maxima"),
        pytest.param("maxima: {hugepages-2Mi: 0, a.org/gpu: 0.0}", None, id="any-resource"),
    ],
)
def test_file_is_read(tmp_path: Path, text: str, policy: Policy | None) -> None:
    found = read(tmp_path / "policy.yaml", text)
    assert found == policy or policy is None
    environ = Settings.from_environ({"WORKSPACE_POLICY": str(tmp_path / "policy.yaml")}).as_environ()
    assert environ["WORKSPACE_POLICY"] == str(tmp_path / "policy.yaml")


MISTAKES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is no map of what is allowed"),
    "a list": ("- a", "is no map of what is allowed"),
    "no list": ("claims: data-*", "line 1: claims is no list of patterns"),
    "null": ("\nclaims:", "line 2: claims is no list of patterns"),
    "empty pattern": ("claims:\n- a\n- ''", "line 3: '' is no pattern; "),
    "blank": ("images: ['registry.example.org /*']", "line 1: 'registry.example.org /*' has a blank in it"),
    "number": ("claims: [1]", "line 1: '1' is no pattern; a text that YAML takes for something else stands in quotes"),
    "truth": ("labels: [yes]", "line 1: 'yes' is no pattern; "),
    "list in a list": ("claims: [[a]]", "line 1: a list or map is no pattern, among claims"),
    "half a range": ("images: ['a[b']", "line 1: 'a[b' has a [ without its ], among images"),
    "pattern twice": ("images:\n- a\n- a", "line 3: 'a' is twice among images"),
    "path": ("mount_paths: [data/*]", "line 1: 'data/*' fits nothing, as a path begins with /"),
    "page": ("default_urls: [lab]", "line 1: 'lab' fits nothing, as a path begins with /"),
    "no pair": ("node_selectors: [gpu]", "line 1: 'gpu' fits nothing, as it is no key=value"),
    "no taint": ("tolerations: [gpu]", "line 1: 'gpu' fits nothing, as it is no key=value"),
    "an alias": ("images:\n- *", "is no YAML (line 2: "),
    "hint": ("images: [*]", "; a pattern that begins with * stands in quotes"),
    "half a file": ("claims: [", "is no YAML (line 1: "),
    "control character": ("claims: [\x00]", "is no YAML ("),
    "unknown": ("images: []\nimage: [a]", "line 2: 'image' is not known; known are annotations, claims, "),
    "unknown number": ("1: [a]", "line 1: '1' is not known"),
    "a field of ours": ("file: [a]", "line 1: 'file' is not known"),
    "a list as a name": ("[a]: [b]", "line 1: 'a list or map' is not known"),
    "twice": ("claims: [a]\n\nclaims: [b]", "line 3: claims is there already, in line 1"),
    "no flag": ("require_digests: 1", "line 1: require_digests is neither true nor false"),
    "flag as text": ("require_digests: 'true'", "line 1: require_digests is neither true nor false"),
    "no map": ("maxima: [cpu]", "line 1: maxima is no map of resources to quantities"),
    "no quantity": ("maxima:\n  cpu: 1\n  memory: 64GB", "line 3: 'memory': '64GB'; accepted: a number and a unit"),
    "no resource": ("maxima: {ram: 1Gi}", "line 1: 'ram': no resource of a container"),
    "no value": ("maxima: {cpu: }", "line 1: 'cpu' has no quantity, among maxima"),
    "list as a value": ("maxima: {cpu: [1]}", "line 1: 'cpu' has no quantity, among maxima"),
    "resource twice": ("maxima:\n  cpu: 1\n  cpu: 2", "line 3: 'cpu' is twice among maxima"),
    "no text": (b"\xff", "cannot be read (UnicodeDecodeError"),
    "nested": ("[" * 5000, "cannot be read (RecursionError"),
    "every mistake": ("a: []\nclaims: [1]", "line 1: 'a' is not known"),
    "and the next": ("a: []\nclaims: [1]", "; line 2: '1' is no pattern"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_stops_the_hub_with_one_message(tmp_path: Path, mistake: str) -> None:
    """L3: never a policy that is half of what was written; each mistake with its line."""
    text, told = MISTAKES[mistake]
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path / "policy.yaml", text)
    (problem,) = caught.value.problems
    assert problem.startswith("WORKSPACE_POLICY=")
    assert told in problem
    assert "accepted: none, or the path of a YAML file as docs/policy.md describes it" in problem


@pytest.mark.parametrize("name", ["missing.yaml", ""], ids=["missing", "a-folder"])
def test_file_that_cannot_be_read_stops_the_hub(tmp_path: Path, name: str) -> None:
    """L3."""
    with pytest.raises(ConfigurationError, match=r"cannot be read \((FileNotFound|IsADirectory)Error"):
        Settings.from_environ({"WORKSPACE_POLICY": str(tmp_path / name)})


# Of each line: what it allows, and a workspace that is beyond it alone, with what is said of it.
GPU = "nvidia.com/gpu"
LINES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "images": (
        "[registry.example.org/*]",
        {"image": "registry.example.org/a/b:1"},
        {"image": "registry.example.org.evil.example/b:1"},
        "it asks for the image 'registry.example.org.evil.example/b:1', which the policy does not allow",
    ),
    "require_digests": (
        "true",
        {"image": DIGEST},
        {"image": "registry.example.org/a:1"},
        "it asks for the image 'registry.example.org/a:1' without a digest, which is required (require_digests",
    ),
    "labels": (
        "[xlscsde.nhs.uk/*]",
        {"labels": {"xlscsde.nhs.uk/test": "x"}},
        {"labels": {"xlscsde.nhs.uk/test": "x", "access": "database"}},
        "it asks for the label 'access', which",
    ),
    "annotations": (
        "[example.org/*]",
        {"annotations": {"example.org/a": "x"}},
        {"annotations": {"sidecar.example.net/inject": "yes"}},
        "it asks for the annotation 'sidecar.example.net/inject', which",
    ),
    "environment": (
        "[OMP_*]",
        {"environment": {"OMP_NUM_THREADS": "2"}},
        {"environment": {"LD_PRELOAD": "/x"}},
        "it asks for the environment variable 'LD_PRELOAD', which",
    ),
    "node_selectors": (
        "[pool=*]",
        {"node_selector": {"pool": "gpu"}},
        {"node_selector": {"kubernetes.io/hostname": "one"}},
        "it asks for nodes with 'kubernetes.io/hostname=one', which",
    ),
    "tolerations": (
        "[project=heart]",
        {"tolerations": ({"key": "project", "value": "heart", "effect": "NoSchedule"},)},
        {"tolerations": ({"key": "project", "operator": "Exists"},)},
        "it asks for a toleration of the taint 'project=*', which",
    ),
    "service_accounts": (
        "[study-*]",
        {"service_account": "study-reader"},
        {"service_account": "hub"},
        "it asks for the service account 'hub', which",
    ),
    "maxima": (
        "{cpu: 8, memory: 64Gi}",
        {"resources": Resources(requests={"cpu": "1"}, limits={"cpu": "8000m", GPU: "1"})},
        {"resources": Resources(limits={"memory": "65Gi"})},
        "it asks for '65Gi' of 'memory', where '64Gi' is the most (maxima",
    ),
    "default_urls": (
        "[/lab*]",
        {"default_url": "/lab/tree/a"},
        {"default_url": "/proxy/8080"},
        "it asks for the page '/proxy/8080', which",
    ),
}
STORAGE: dict[str, tuple[str, Volume, Volume, str]] = {
    "storage_classes": (
        "[fast-*]",
        volume("data", "/data", storage_class="fast-ssd"),
        volume("data", "/data", storage_class="premium"),
        "it asks for the storage class 'premium', which",
    ),
    "mount_paths": (
        "[/data/*]",
        volume("data", "/data/a"),
        volume("data", "/opt/x"),
        "it asks for a volume at '/opt/x', which",
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_f4_each_line_refuses_one_workspace(tmp_path: Path, line: str) -> None:
    allows, within, beyond, told = LINES[line]
    policy = read(tmp_path / "policy.yaml", f"# allowed here\n{line}: {allows}")
    assert policy.beyond(workspace(**within)) is None
    reason = policy.beyond(workspace(**beyond))
    assert reason
    assert told in reason
    assert f"{line} (line 2) in '{tmp_path / 'policy.yaml'}'" in reason


@pytest.mark.parametrize("line", STORAGE)
def test_f4_each_line_refuses_one_volume(tmp_path: Path, line: str) -> None:
    allows, within, beyond, told = STORAGE[line]
    policy = read(tmp_path / "policy.yaml", f"{line}: {allows}")
    always = [volume("jupyter-cardio", "/home/jovyan/cardio", storage_class="jupyter-default"), shared(), home()]
    assert policy.limits_storage
    assert policy.beyond_storage("cardio", [*always, within], "jupyter-default") is None
    reason = policy.beyond_storage("cardio", [*always, beyond], "jupyter-default")
    assert reason
    assert told in reason


def test_f4_every_line_is_tried() -> None:
    """Those of claims and namespaces decide elsewhere (S3, S9)."""
    assert {*LINES, *STORAGE, "claims", "namespaces"} == set(FIELDS)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"service_account": "default"}, "service account 'default'", id="account"),
        pytest.param({"tolerations": ({"operator": "Exists"},)}, "taint '*=*'", id="every-taint"),
        pytest.param(
            {"tolerations": ({"operator": "Exists", "effect": "NoExecute"},)}, "taint '*=*'", id="of-an-effect"
        ),
    ],
)
def test_f4_strict_default_refuses(changes: dict[str, Any], told: str) -> None:
    reason = STRICT.beyond(workspace(**changes))
    assert reason
    assert told in reason
    assert "in the file that WORKSPACE_POLICY names" in reason


def test_f4_strict_default_lets_through_what_harms_nobody() -> None:
    asked = workspace(
        labels={"a": "b"},
        annotations={"c": "d"},
        environment={"E": "f"},
        node_selector={"pool": "gpu"},
        tolerations=({"key": "gpu", "operator": "Exists"}, {"key": "gpu", "value": "yes"}, {"key": "x"}),
        resources=Resources(limits={"memory": "1Ti"}),
        default_url="/lab",
    )
    assert STRICT.beyond(asked) is None
    assert STRICT.beyond_storage("cardio", [volume("a", "/data", storage_class="any")], "jupyter-default") is None


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        (Resources(requests={"memory": "1Gi"}), "it asks for 'memory' without a limit, where '2Gi' is the most"),
        (Resources(requests={"memory": "1Gi"}, limits={"memory": "2048Mi"}), None),
        (Resources(requests={"memory": "3Gi"}, limits={"memory": "4Gi"}), "it asks for '3Gi' of 'memory'"),
        (Resources(limits={"cpu": "64"}), None),
        (Resources(limits={GPU: "1"}), "it asks for '1' of 'nvidia.com/gpu', where '0' is the most"),
        (Resources(), None),
    ],
)
def test_f4_resource_is_limited_where_there_is_a_most(resources: Resources, told: str | None) -> None:
    """A request alone would leave out the limit that the hub's own settings give."""
    reason = Policy(maxima={"memory": "2Gi", GPU: "0"}).beyond(workspace(resources=resources))
    assert (reason is None) == (told is None)
    assert told is None or told in str(reason)


def test_guide_has_every_line_and_its_example_is_right(tmp_path: Path) -> None:
    told = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert sorted(told) == sorted(FIELDS)
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert set(read(tmp_path / "policy.yaml", example).lines) == set(FIELDS)


def test_day_is_no_matter_of_the_policy() -> None:
    assert STRICT.beyond(workspace(last_day=date(2000, 1, 1))) is None
