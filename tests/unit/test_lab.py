"""What a pod carries for JupyterLab (E2): in annotations, where Jupyter looks, and never at the price of a start."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, tzinfo
from math import inf
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.factories import home, pod, shared, volume, workspace
from workspace_managers import Volume, Workspace
from workspace_managers.hub import lab
from workspace_managers.pods import PASSING_KINDS, rebuild
from workspace_managers.storage import SYSTEM_FOLDERS, has_home

HOSTILE = "<script>alert(1)</script> \"'&amp; {{ 7*7 }} $(HOME) \u2028"


def decided(grant: Workspace, document: dict[str, Any] | None = None) -> dict[str, Any]:
    return rebuild(document or pod(), grant, [volume(), shared()], inf).pod


def furnished(
    grant: Workspace | None = None, document: dict[str, Any] | None = None, zone: tzinfo = UTC
) -> dict[str, Any]:
    """The pod with the extension in it, as the API takes it."""
    grant = grant or workspace()
    told = lab.furnish(decided(grant, document), grant, zone)
    assert told.obstacle == ""
    document = json.loads(json.dumps(told.pod))
    assert isinstance(document, dict)
    return document


def files_of(document: dict[str, Any]) -> dict[str, str]:
    """What a kubelet writes: each file, from the annotation that it is said to be of."""
    (source,) = [each["downwardAPI"] for each in document["spec"]["volumes"] if each["name"] == lab.VOLUME]
    annotations = document["metadata"]["annotations"]
    return {
        item["path"]: annotations[re.fullmatch(r"metadata\.annotations\['(.+)'\]", item["fieldRef"]["fieldPath"])[1]]  # type: ignore[index]
        for item in source["items"]
    }


def mount_of(document: dict[str, Any]) -> dict[str, Any]:
    (mount,) = [each for each in document["spec"]["containers"][0]["volumeMounts"] if each["name"] == lab.VOLUME]
    return dict(mount)


def test_pod_has_the_extension_beside_all_that_was_decided() -> None:
    """S1: one volume more, that holds nobody's files, and nothing else is other than it was."""
    grant = workspace()
    before = decided(grant)
    kept = copy.deepcopy(before)
    after = copy.deepcopy(dict(lab.furnish(before, grant, UTC).pod))
    assert before == kept
    *volumes, ours = after["spec"].pop("volumes")
    assert volumes == before["spec"].pop("volumes")
    assert PASSING_KINDS.issuperset(ours.keys() - {"name"})
    *mounts, mount = after["spec"]["containers"][0].pop("volumeMounts")
    assert mounts == before["spec"]["containers"][0].pop("volumeMounts")
    assert (mount["name"], mount["readOnly"]) == (lab.VOLUME, True)
    added = after["metadata"]["annotations"].keys() - before["metadata"]["annotations"].keys()
    assert added == {f"{lab.ANNOTATION}{file}" for file in ("package.json", "remoteEntry.js", lab.ACCESS)}
    for document in (before, after):
        document["metadata"].pop("annotations")
    assert after == before


def test_jupyter_finds_the_extension_by_what_its_package_says(tmp_path: Path) -> None:
    """In a folder that every Jupyter looks into, of the name that the page asks for."""
    document = furnished()
    files, path = files_of(document), Path(mount_of(document)["mountPath"])
    package = json.loads(files["package.json"])
    assert package["name"] == path.name
    assert package["jupyterlab"]["_build"]["load"] in files
    code = "import json; from jupyter_core.paths import jupyter_path; print(json.dumps(jupyter_path('labextensions')))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG"))}
    listed = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert str(path.parent) in json.loads(listed.stdout)
    folder = tmp_path / "labextensions" / path.name
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_text(content, encoding="utf-8")
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        env={**clean, "JUPYTER_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(rf"{path.name} v\S+ .*enabled.*OK", listed.stdout + listed.stderr)


def test_workspace_cannot_mount_where_the_extension_is() -> None:
    """S1: so no start is in its way, nor it in one's."""
    assert any(lab.FOLDER.startswith(f"{folder}/") for folder in SYSTEM_FOLDERS)


def test_no_two_starts_have_an_address_in_common() -> None:
    """F1: JupyterLab gives an extension's files to whoever knows where they are."""
    paths = {mount_of(furnished())["mountPath"] for _ in range(20)}
    assert len(paths) == 20
    assert all(len(path.rpartition("-")[2]) == 32 for path in paths)


@pytest.mark.parametrize(
    ("last_day", "zone", "end", "closing"),
    [
        pytest.param(date(2026, 6, 15), "UTC", "2026-06-16T00:00:00+00:00", "15 June 2026", id="utc"),
        pytest.param(date(2026, 6, 15), "Europe/London", "2026-06-16T00:00:00+01:00", "15 June 2026", id="summer"),
        pytest.param(date.max, "UTC", "9999-12-31T23:59:59+00:00", "31 December 9999", id="the-last-of-all-days"),
    ],
)
def test_end_is_a_moment_and_the_day_is_in_words(last_day: date, zone: str, end: str, closing: str) -> None:
    """E2: the earlier of both last days, in the hub's time zone, whatever the reader's is."""
    grant = workspace(last_day=date.max, grant_last_day=last_day)
    told = json.loads(files_of(furnished(grant, zone=ZoneInfo(zone)))[lab.ACCESS])
    assert told["end"] == end
    assert told["closing"] == f"Open until the end of {closing}."
    assert told["warning"].startswith(f"Your access to this workspace ends at the end of {closing}, in {{left}}. Your ")


@pytest.mark.parametrize(
    ("volumes", "kept", "notice"),
    [
        ([volume()], "What is saved in the folder cardio is kept. Everything else goes when this server stops.", ""),
        (
            [volume(read_only=True)],
            "The folder cardio can only be read. Whatever you save elsewhere goes when this server stops.",
            "The folder cardio can only be read. Whatever you save elsewhere goes when this server stops.",
        ),
        (
            [volume(), home()],
            "What is saved in the folder cardio is kept, and so is, for you alone, the rest of your home folder. "
            "Everything else goes when this server stops.",
            "",
        ),
        (
            [volume(read_only=True), home()],
            "The folder cardio can only be read. What you save in the rest of your home folder is kept, for you alone.",
            "The folder cardio can only be read. What you save in the rest of your home folder is kept, for you alone.",
        ),
        ([], None, None),
    ],
    ids=["kept", "read-only", "home", "home-read-only", "no folder"],
)
def test_folder_is_told_as_what_it_is(volumes: list[Volume], kept: str | None, notice: str | None) -> None:
    """F2: a notebook that cannot be saved is no riddle."""
    grant = workspace(keeps_home=has_home(volumes))
    document = lab.furnish(rebuild(pod(), grant, [*volumes, shared()], inf).pod, grant, UTC).pod
    told = json.loads(files_of(json.loads(json.dumps(document)))[lab.ACCESS])
    assert (told.get("kept"), told.get("notice")) == (kept, notice)
    assert ("may be no room left" in told.get("full", "")) is bool(volumes)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        pytest.param(HOSTILE, HOSTILE.replace("\u2028", "").strip(), id="hostile"),
        pytest.param("", "cardio", id="empty"),
        pytest.param("é" * 300, "é" * 200 + "…", id="long"),
    ],
)
def test_title_is_what_the_form_calls_the_workspace(title: str, shown: str) -> None:
    """F1: whole, and nothing in it is filled in on its way."""
    told = files_of(furnished(workspace(display_name=title)))[lab.ACCESS]
    assert told.isascii()
    assert json.loads(told)["title"] == shown


def test_script_is_small() -> None:
    """The hub keeps each pod's annotations in memory."""
    assert len(files_of(furnished())["remoteEntry.js"].encode()) < 6 * 1024


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        pytest.param({"mountPath": "/usr/local/share/jupyter"}, "'/usr/local/share/jupyter' is mounted", id="around"),
        pytest.param({"mountPath": "usr/./local/"}, "'usr/./local/' is mounted", id="around-in-other-words"),
        pytest.param({"mountPath": lab.FOLDER}, "is mounted where it would be", id="the-folder"),
        pytest.param({"mountPath": f"{lab.FOLDER}/other"}, None, id="another-extension"),
        pytest.param({"mountPath": "/usr/local/share/jupyter2"}, None, id="beside"),
    ],
)
def test_mount_of_the_hubs_own_that_is_in_the_way_leaves_the_extension_out(
    change: dict[str, Any], obstacle: str | None
) -> None:
    """The start goes on, with the pod as it was."""
    document = pod()
    document["spec"]["containers"][0]["volumeMounts"].append({"name": "settings", **change})
    before = decided(workspace(), document)
    told = lab.furnish(before, workspace(), UTC)
    assert (told.obstacle == "") is (obstacle is None)
    assert (obstacle or "") in told.obstacle
    assert (told.pod == before) is (obstacle is not None)


def test_volume_of_the_same_name_leaves_the_extension_out() -> None:
    document = pod()
    document["spec"]["volumes"].append({"name": lab.VOLUME, "emptyDir": {}})
    before = decided(workspace(), document)
    told = lab.furnish(before, workspace(), UTC)
    assert told == lab.Furnished(before, "the pod has another volume 'workspace-managers-lab'")


@pytest.mark.parametrize(("spare", "there"), [(8192, True), (1024, False)])
def test_annotations_that_the_api_would_not_take_leave_the_extension_out(spare: int, there: bool) -> None:
    """A workspace may fill them nearly by itself."""
    document = pod()
    document["metadata"]["annotations"]["example.org/much"] = "x" * (lab.ANNOTATIONS_LIMIT - spare)
    before = decided(workspace(), document)
    told = lab.furnish(before, workspace(), UTC)
    assert (told.obstacle == "") is there
    assert (told.pod == before) is not there
    if not there:
        assert re.fullmatch(r"the pod would have annotations of 26\d{4} bytes", told.obstacle)


def test_annotation_of_the_hubs_settings_does_not_become_the_script() -> None:
    document = pod()
    document["metadata"]["annotations"][f"{lab.ANNOTATION}remoteEntry.js"] = "other()"
    assert "other()" not in files_of(furnished(document=document))["remoteEntry.js"]
