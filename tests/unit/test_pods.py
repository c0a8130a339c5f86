"""The pod that a workspace gets (S1, S4, S5)."""

from __future__ import annotations

import copy
import json
import subprocess
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import home, pod, shared, volume, workspace
from workspace_managers import Resources, Volume, Workspace
from workspace_managers.errors import NotAllowed, ServiceFault
from workspace_managers.names import is_label, volume_name
from workspace_managers.pods import PASSING_KINDS, is_reserved_label, keeps_home
from workspace_managers.pods import rebuild as rebuilt_of

VOLUMES = [volume(), shared()]


def rebuild(
    document: dict[str, Any],
    asked: Workspace,
    volumes: list[Volume],
    seconds_left: float = inf,
) -> dict[str, Any]:
    return rebuilt_of(document, asked, volumes, seconds_left).pod


def claims_of(rebuilt: dict[str, Any]) -> dict[str, str]:
    return {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in rebuilt["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    }


def mounts_of(container: dict[str, Any]) -> dict[str, str]:
    return {each["mountPath"]: each["name"] for each in container["volumeMounts"]}


@pytest.mark.parametrize(
    ("left", "own", "seconds"),
    [
        pytest.param(3600.2, None, 3601, id="rounded-up"),
        pytest.param(-5.0, None, 1, id="over"),
        pytest.param(1e12, None, 2**31 - 1, id="far"),
        pytest.param(inf, None, 2**31 - 1, id="never"),
        pytest.param(3600.0, 60, 60, id="the-hubs-own-is-earlier"),
        pytest.param(60.0, 3600, 60, id="the-hubs-own-is-later"),
    ],
)
def test_e3_pod_ends_with_the_access(left: float, own: int | None, seconds: int) -> None:
    document = pod(**({} if own is None else {"activeDeadlineSeconds": own}))
    rebuilt = rebuild(document, workspace(), VOLUMES, seconds_left=left)
    assert rebuilt["spec"]["activeDeadlineSeconds"] == seconds


def test_pod_has_exactly_the_workspaces_claims() -> None:
    """S1: personal storage is off, the workspace's own is on, settings stay."""
    rebuilt = rebuild(pod(), workspace(), VOLUMES)
    assert set(claims_of(rebuilt).values()) == {"jupyter-cardio", "jupyter-shared"}
    notebook = rebuilt["spec"]["containers"][0]
    assert mounts_of(notebook) == {
        "/etc/jupyter": "settings",
        "/home/jovyan/cardio": volume_name("jupyter-cardio"),
        "/home/jovyan/shared": volume_name("jupyter-shared"),
    }
    read_only = {each["mountPath"]: each.get("readOnly") for each in notebook["volumeMounts"]}
    assert read_only["/home/jovyan/shared"] is True
    assert read_only["/home/jovyan/cardio"] is False


@pytest.mark.parametrize(
    "kind",
    [
        {"persistentVolumeClaim": {"claimName": "other"}},
        {"hostPath": {"path": "/"}},
        {"nfs": {"server": "x", "path": "/"}},
        {"csi": {"driver": "x"}},
        {"ephemeral": {"volumeClaimTemplate": {}}},
        {"image": {"reference": "x"}},
        {"aKindOfTomorrow": {}},
        {},
        {"emptyDir": {}, "hostPath": {"path": "/"}},
    ],
    ids=lambda kind: "+".join(kind) or "none",
)
@pytest.mark.parametrize("place", ["containers", "initContainers", "ephemeralContainers"])
def test_foreign_storage_is_off_every_container(kind: dict[str, Any], place: str) -> None:
    """S1: whatever could hold somebody's files is taken off, init containers too."""
    document = pod()
    document["spec"]["volumes"].append({"name": "foreign", **kind})
    other = {
        "name": "other",
        "volumeMounts": [{"name": "foreign", "mountPath": "/x"}],
        "volumeDevices": [{"name": "foreign"}],
    }
    document["spec"].setdefault(place, []).append(other)
    rebuilt = rebuild(document, workspace(), VOLUMES)
    assert "foreign" not in {each["name"] for each in rebuilt["spec"]["volumes"]}
    container = rebuilt["spec"][place][-1]
    assert container["volumeMounts"] == []
    assert "volumeDevices" not in container


@pytest.mark.parametrize("kind", ["configMap", "secret", "emptyDir", "projected", "downwardAPI"])
def test_volume_that_passes_with_the_pod_stays(kind: str) -> None:
    """S1."""
    document = pod()
    document["spec"]["volumes"].append({"name": "kept", kind: {}})
    document["spec"]["containers"][0]["volumeMounts"].append({"name": "kept", "mountPath": "/kept"})
    rebuilt = rebuild(document, workspace(), VOLUMES)
    assert {"name": "kept", kind: {}} in rebuilt["spec"]["volumes"]
    assert "/kept" in mounts_of(rebuilt["spec"]["containers"][0])


def test_what_came_in_is_not_changed() -> None:
    """S5: nothing of this start can reach the next one through the pod that KubeSpawner made."""
    document = pod()
    before = copy.deepcopy(document)
    rebuild(document, workspace(labels={"a": "b"}, node_selector={"c": "d"}, tolerations=({"key": "e"},)), VOLUMES)
    assert document == before


@pytest.mark.parametrize(
    ("volumes", "device", "removed"),
    [
        pytest.param([], None, (), id="nothing"),
        pytest.param([{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {}}], None, (), id="what-passes"),
        pytest.param([{"name": "data", "nfs": {"server": "x"}}], None, (("data", "nfs"),), id="nfs"),
        pytest.param(
            [{"name": "a", "hostPath": {}}, {"name": "b", "persistentVolumeClaim": {}}, {"name": "c", "csi": {}}],
            None,
            (("a", "hostPath"), ("b", "persistentVolumeClaim"), ("c", "csi")),
            id="several",
        ),
        pytest.param([{"name": "a", "gitRepo": {}, "image": {}}], None, (("a", "gitRepo+image"),), id="two-kinds"),
        pytest.param([{"name": "a"}], None, (("a", "no kind"),), id="no-kind"),
        pytest.param([], "disk", (("disk", "volumeDevices"),), id="block-device"),
        pytest.param(
            [{"name": "disk", "persistentVolumeClaim": {}}],
            "disk",
            (("disk", "persistentVolumeClaim"),),
            id="its-claim",
        ),
    ],
)
def test_what_is_taken_off_is_told_by_name_and_kind(
    volumes: list[dict[str, Any]], device: str | None, removed: tuple[tuple[str, str], ...]
) -> None:
    """S1."""
    document = pod(volumes=volumes)
    document["spec"]["containers"][0]["volumeMounts"] = []
    if device:
        document["spec"]["initContainers"] = [
            {"name": "i", "volumeDevices": [{"name": device, "devicePath": "/dev/x"}]}
        ]
    assert rebuilt_of(document, workspace(), VOLUMES, inf).removed == removed


@pytest.mark.parametrize(
    ("kind", "mount", "in_the_way"),
    [
        ("emptyDir", {"mountPath": "/home/jovyan/cardio"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/cardio/"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/cardio/cache"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan//cardio/"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/./cardio"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/x/../cardio/in"}, True),
        ("emptyDir", {"mountPath": "//home/jovyan/cardio"}, True),
        ("emptyDir", {"mountPath": "home/jovyan/cardio"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/cardio", "subPath": "x"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/shared/x"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan"}, False),
        ("emptyDir", {"mountPath": "/home/jovyan/"}, False),
        ("emptyDir", {"mountPath": "/home/jovyan/x/.."}, False),
        ("emptyDir", {"mountPath": "/home"}, False),
        ("emptyDir", {"mountPath": "/home/jovyan", "subPath": "home"}, False),
        ("emptyDir", {"mountPath": "/home/jovyan/cardio2"}, False),
        ("emptyDir", {"mountPath": "/home/jovyan", "readOnly": True}, True),
        ("configMap", {"mountPath": "/home/jovyan"}, True),
        ("configMap", {"mountPath": "/home/jovyan//"}, True),
        ("secret", {"mountPath": "/home/jovyan/cardio/.netrc", "subPath": "netrc"}, True),
        ("secret", {"mountPath": "/home/jovyan/.netrc", "subPath": "netrc"}, False),
    ],
)
def test_mount_of_the_hubs_own_is_in_the_way_where_it_covers_files(
    kind: str, mount: dict[str, Any], in_the_way: bool
) -> None:
    """S1: at the same path, inside it or above it, however it is written; only an empty folder may hold ours."""
    document = pod()
    document["spec"]["volumes"].append({"name": "kept", kind: {}})
    document["spec"]["containers"][0]["volumeMounts"].append({"name": "kept", **mount})
    if in_the_way:
        with pytest.raises(ServiceFault, match="cover each other") as caught:
            rebuild(document, workspace(), VOLUMES)
        assert caught.value.rule == "S1"
        return
    paths = list(mounts_of(rebuild(document, workspace(), VOLUMES)["spec"]["containers"][0]))
    assert paths[1:] == [mount["mountPath"], "/home/jovyan/cardio", "/home/jovyan/shared"]


def test_volume_of_an_earlier_hook_does_not_take_the_claims_place() -> None:
    """S1: what is mounted in the workspace's folder is its claim, whatever else has the name of its volume."""
    document = pod()
    document["spec"]["volumes"].append({"name": volume_name("jupyter-cardio"), "emptyDir": {}})
    with pytest.raises(ServiceFault, match="another volume 'workspace-jupyter-cardio-") as caught:
        rebuild(document, workspace(), VOLUMES)
    assert caught.value.rule == "S1"


def test_pod_without_a_notebook_is_refused() -> None:
    """S1: there is nothing certain to mount in."""
    with pytest.raises(ServiceFault, match="no container 'notebook'"):
        rebuild(pod(containers=[{"name": "other"}]), workspace(), VOLUMES)


def test_only_the_notebook_gets_the_workspace() -> None:
    document = pod()
    document["spec"]["containers"].append({"name": "sidecar"})
    assert rebuild(document, workspace(), VOLUMES)["spec"]["containers"][1]["volumeMounts"] == []


def test_labels_never_replace_the_hubs_own() -> None:
    labels = {
        "component": "proxy",
        "app": "x",
        "team": "heart",
        "workspace": "other",
        "hub.jupyter.org/network-access-proxy-api": "true",
    }
    rebuilt = rebuild(pod(), workspace(labels=labels), VOLUMES)
    assert rebuilt["metadata"]["labels"] == {
        "app": "jupyterhub",
        "component": "singleuser-server",
        "team": "heart",
        "workspace": "cardio",
    }
    assert is_reserved_label("hub.jupyter.org/network-access-hub")


def test_label_that_the_hub_has_set_already_stays_but_for_our_own() -> None:
    document = pod()
    document["metadata"]["labels"] |= {"team": "platform", "workspace": "of-the-chart"}
    labels = rebuild(document, workspace(labels={"team": "heart"}), VOLUMES)["metadata"]["labels"]
    assert (labels["team"], labels["workspace"]) == ("platform", "cardio")


def test_pod_is_plain_json_though_the_facts_are_frozen() -> None:
    """The API client takes nothing else."""
    frozen: Any = MappingProxyType({"key": "a"})
    asked = workspace(labels=frozen, node_selector=frozen, tolerations=(frozen,), resources=Resources(limits=frozen))
    json.dumps(rebuild(pod(), asked, VOLUMES))


def test_long_workspace_name_is_a_legal_label_and_whole_in_the_annotation() -> None:
    """S4."""
    name = "a" * 253
    metadata = rebuild(pod(), workspace(name), [volume()])["metadata"]
    assert len(metadata["labels"]["workspace"]) == 63
    assert metadata["annotations"]["workspace-managers/workspace"] == name


def test_versions_that_the_volumes_were_decided_on_are_on_the_pod() -> None:
    """So that an audit line and the pod tell the same."""
    asked = workspace(versions=MappingProxyType({"workspace": "12", "binding": "34"}))
    annotation = rebuild(pod(), asked, VOLUMES)["metadata"]["annotations"]["workspace-managers/versions"]
    assert json.loads(annotation) == {"workspace": "12", "binding": "34"}


def test_node_selector_tolerations_and_other_resources_are_added() -> None:
    asked = workspace(
        node_selector={"pool": "gpu"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        resources=Resources(requests={"memory": "1Gi"}, limits={"nvidia.com/gpu": "1", "cpu": "4"}),
    )
    spec = rebuild(pod(nodeSelector={"zone": "a"}, tolerations=[{"key": "user"}]), asked, VOLUMES)["spec"]
    assert spec["nodeSelector"] == {"zone": "a", "pool": "gpu"}
    assert [each["key"] for each in spec["tolerations"]] == ["user", "gpu"]
    assert spec["containers"][0]["resources"] == {
        "requests": {"memory": "1Gi"},
        "limits": {"cpu": "4", "nvidia.com/gpu": "1"},
    }


def test_image_and_resources_are_the_workspaces_whatever_a_hook_has_set() -> None:
    """S5: of a resource that the workspace names, both halves are its own; of another one the hub's stay."""
    hubs = pod()
    hubs["spec"]["containers"][0] |= {
        "image": "hooks:1",
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 9, "memory": "2Gi"}},
    }
    notebook = rebuild(hubs, workspace(resources=Resources(limits={"cpu": "4"})), VOLUMES)["spec"]["containers"][0]
    assert notebook["image"] == "example/notebook:1.0"
    assert notebook["resources"] == {"requests": {"memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}}


def test_environment_and_annotations_are_added_and_replace_nothing() -> None:
    document = pod()
    document["spec"]["containers"][0]["env"] = [{"name": "JUPYTERHUB_USER", "value": "alice"}]
    frozen: Any = MappingProxyType({"JUPYTERHUB_USER": "mallory", "OMP_NUM_THREADS": "4"})
    annotations = {
        "example.org/cost": "42",
        "hub.jupyter.org/username": "mallory",
        "workspace-managers/workspace": "other",
        "app.kubernetes.io/x": "y",
    }
    rebuilt = rebuild(document, workspace(environment=frozen, annotations=annotations), VOLUMES)
    json.dumps(rebuilt)
    assert rebuilt["spec"]["containers"][0]["env"] == [
        {"name": "JUPYTERHUB_USER", "value": "alice"},
        {"name": "OMP_NUM_THREADS", "value": "4"},
    ]
    found = rebuilt["metadata"]["annotations"]
    assert found.pop("workspace-managers/versions") == "{}"
    assert found == {
        "example.org/cost": "42",
        "hub.jupyter.org/username": "alice",
        "workspace-managers/workspace": "cardio",
    }


def test_service_account_is_the_hubs_own_where_the_workspace_has_none() -> None:
    document = pod(serviceAccountName="user", automountServiceAccountToken=False)
    assert rebuild(document, workspace(), VOLUMES)["spec"]["serviceAccountName"] == "user"
    spec = rebuild(document, workspace(service_account="study-reader"), VOLUMES)["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("study-reader", False)


def test_node_selector_of_the_operator_is_never_overridden() -> None:
    document = pod(nodeSelector={"pool": "users"}, tolerations=[{"key": "users", "operator": "Exists"}])
    with pytest.raises(NotAllowed, match=r"asks for nodes with 'pool': 'gpu', .* own settings say 'users'") as caught:
        rebuild(document, workspace(node_selector={"pool": "gpu"}), VOLUMES)
    assert caught.value.rule == "F4"
    assert "does not allow it" in caught.value.user_message
    asked = workspace(node_selector={"pool": "users", "zone": "a"}, tolerations=({"key": "users", "value": "x"},))
    spec = rebuild(document, asked, VOLUMES)["spec"]
    assert spec["nodeSelector"] == {"pool": "users", "zone": "a"}
    assert spec["tolerations"][0] == {"key": "users", "operator": "Exists"}


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("a", "b", True),
        ("a", "", True),
        ("x.org/a_b.c", "A", True),
        ("a" * 63, "b" * 63, True),
        ("a" * 64, "b", False),
        ("a", "b" * 64, False),
        ("-a", "b", False),
        ("X.org/a", "b", False),
        ("a/b/c", "b", False),
        ("/a", "b", False),
        ("", "b", False),
        ("a", "b c", False),
        ("a", 1, False),
    ],
)
def test_label(key: object, value: object, legal: bool) -> None:
    assert is_label(key, value) is legal


FOREIGN = ("persistentVolumeClaim", "hostPath", "nfs", "csi", "ephemeral", "image", "aKindOfTomorrow")
PLACES = ("containers", "initContainers", "ephemeralContainers")
KINDS = st.lists(st.sampled_from([*sorted(PASSING_KINDS), *FOREIGN]), max_size=2, unique=True)
MOUNTS = st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 1), st.integers(0, 7)), max_size=12)


@given(st.lists(KINDS, max_size=6), MOUNTS)
def test_any_pod_loses_what_is_foreign_and_keeps_the_rest(
    kinds: list[list[str]], mounts: list[tuple[str, int, int]]
) -> None:
    """S1 and S5: whatever the volumes, of one kind, of two or of none, and whatever container mounts them."""
    document = pod(volumes=[{"name": f"v{n}", **{kind: {} for kind in each}} for n, each in enumerate(kinds)])
    document["spec"]["containers"][0]["volumeMounts"] = []
    for place in PLACES:
        others = [{"name": f"{place}-{n}"} for n in range(2)]
        document["spec"][place] = [*document["spec"].get(place, []), *others]
    for place, index, n in mounts:
        container = document["spec"][place][index]
        container.setdefault("volumeMounts", []).append({"name": f"v{n}", "mountPath": f"/v{n}"})
    rebuilt = rebuild(document, workspace(), VOLUMES)
    passing = [f"v{n}" for n, each in enumerate(kinds) if len(each) == 1 and each[0] in PASSING_KINDS]
    own = [volume_name("jupyter-cardio"), volume_name("jupyter-shared")]
    assert [each["name"] for each in rebuilt["spec"]["volumes"]] == passing + own
    assert set(claims_of(rebuilt).values()) == {"jupyter-cardio", "jupyter-shared"}
    for place in PLACES:
        for before, after in zip(document["spec"][place], rebuilt["spec"][place], strict=True):
            kept = [each for each in before.get("volumeMounts", []) if each["name"] in passing]
            added = after["volumeMounts"][len(kept) :]
            assert after["volumeMounts"][: len(kept)] == kept
            assert [each["name"] for each in added] == (own if after["name"] == "notebook" else [])
    assert rebuild(rebuilt, workspace(), VOLUMES) == rebuilt


HOME_PLACE = "/workspace-managers-home"


def test_s8_home_is_mounted_first_and_filled_once_from_the_image() -> None:
    document = pod(initContainers=[{"name": "block-cloud-metadata", "image": "example/network-tools:1"}])
    notebook = document["spec"]["containers"][0]
    notebook |= {"imagePullPolicy": "Always", "securityContext": {"runAsUser": 1000}}
    document["spec"]["volumes"].append({"name": "netrc", "secret": {"secretName": "netrc"}})
    notebook["volumeMounts"].append({"name": "netrc", "mountPath": "/home/jovyan/.netrc", "subPath": "netrc"})
    made = rebuild(document, workspace(keeps_home=True), [volume(), shared(), home()])
    spec = made["spec"]
    name = volume_name(home().claim)
    assert claims_of(made)[name] == home().claim
    (server,) = spec["containers"]
    assert server["volumeMounts"][0] == {"name": name, "mountPath": "/home/jovyan", "readOnly": False}
    assert list(mounts_of(server))[1:] == [
        *("/etc/jupyter", "/home/jovyan/.netrc", "/home/jovyan/cardio", "/home/jovyan/shared")
    ]
    first, filling = spec["initContainers"]
    assert first["name"] == "block-cloud-metadata"
    assert {key: filling[key] for key in ("image", "imagePullPolicy", "resources", "securityContext")} == {
        key: server[key] for key in ("image", "imagePullPolicy", "resources", "securityContext")
    }
    assert filling["volumeMounts"] == [{"name": name, "mountPath": HOME_PLACE}]
    assert keeps_home(made)


def test_s8_pod_without_a_home_gets_nothing_more() -> None:
    made = rebuild(pod(), workspace(), [volume(), shared(), home(mount_path="/home/jovyan/private")])
    assert not keeps_home(made)
    assert not made["spec"].get("initContainers")


@pytest.mark.parametrize(
    ("kind", "mount", "in_the_way"),
    [
        ("emptyDir", {"mountPath": "/home/jovyan"}, True),
        ("emptyDir", {"mountPath": "/home/jovyan/.cache"}, True),
        ("configMap", {"mountPath": "/home/jovyan/"}, True),
        ("configMap", {"mountPath": "/home/jovyan/.jupyter"}, False),
        ("configMap", {"mountPath": "/home"}, True),
        ("emptyDir", {"mountPath": "/home"}, False),
        ("emptyDir", {"mountPath": "/mnt"}, False),
    ],
)
def test_s8_mount_of_the_hubs_own_hides_nothing_of_a_home(kind: str, mount: dict[str, Any], in_the_way: bool) -> None:
    """S8: settings may lie in it; an empty folder there would take what is saved, and lose it."""
    document = pod()
    document["spec"]["volumes"].append({"name": "kept", kind: {}})
    document["spec"]["containers"][0]["volumeMounts"].append({"name": "kept", **mount})
    volumes = [volume(), shared(), home()]
    if not in_the_way:
        assert keeps_home(rebuild(document, workspace(), volumes))
        return
    with pytest.raises(ServiceFault, match="cover each other"):
        rebuild(document, workspace(), volumes)


def fill(image_home: Path, place: Path) -> None:
    """What the container does, on folders of a test."""
    document = rebuild(pod(), workspace(), [volume(), home()])
    (filling,) = document["spec"]["initContainers"]
    *shell, script = filling["command"]
    for path, folder in ((HOME_PLACE, place), ("/home/jovyan", image_home)):
        script = script.replace(path, str(folder))
    subprocess.run([*shell, script], check=True, timeout=30)


def test_s8_what_the_image_has_in_its_home_folder_is_there_once(tmp_path: Path) -> None:
    """S8: and is the person's from then on: changed or deleted, it stays so."""
    image, kept = tmp_path / "image", tmp_path / "kept"
    (image / ".config").mkdir(parents=True)
    kept.mkdir()
    (image / ".bashrc").write_text("conda")
    (image / ".config" / "a").write_text("one")
    (image / "link").symlink_to("/etc/hostname")
    (kept / "lost+found").mkdir()
    fill(image, kept)
    assert {str(each.relative_to(kept)) for each in kept.rglob("*")} == {
        *(".bashrc", ".config", ".config/a", "link", "lost+found", ".workspace-home")
    }
    assert (kept / "link").is_symlink()
    (kept / ".bashrc").write_text("mine")
    (kept / ".config" / "a").unlink()
    fill(image, kept)
    assert (kept / ".bashrc").read_text() == "mine"
    assert not (kept / ".config" / "a").exists()


def test_s8_copy_that_was_broken_off_goes_on_and_writes_nothing_over(tmp_path: Path) -> None:
    image, kept = tmp_path / "image", tmp_path / "kept"
    image.mkdir()
    kept.mkdir()
    (image / ".bashrc").write_text("conda")
    (image / ".profile").write_text("conda")
    (kept / ".bashrc").write_text("mine")
    fill(image, kept)
    assert [(kept / name).read_text() for name in (".bashrc", ".profile")] == ["mine", "conda"]


def test_s8_image_without_a_home_folder_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    fill(tmp_path / "image", tmp_path / "kept")
