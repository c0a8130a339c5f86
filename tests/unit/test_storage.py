"""Which volumes a workspace may ask for at all (S1, S2)."""

from __future__ import annotations

import pytest

from tests.factories import home, shared, volume
from workspace_managers import StorageRefused, Volume
from workspace_managers.storage import check_volumes


@pytest.mark.parametrize(
    "path", ["/mnt/data", "/data", "/opt/models", "/home/jovyan/extra", "/home/jovyan/a/b", "/home/other", "/srv/x"]
)
def test_plain_path_is_taken(path: str) -> None:
    check_volumes("cardio", [volume(), shared(), volume("extra", path)])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("data", "not absolute and plain", id="relative"),
        pytest.param("", "not absolute and plain", id="empty"),
        pytest.param("/mnt/../etc", "not absolute and plain", id="climbs"),
        pytest.param("/mnt/..", "not absolute and plain", id="climbs-at-the-end"),
        pytest.param("/mnt/./x", "not absolute and plain", id="dot"),
        pytest.param("/mnt//x", "not absolute and plain", id="doubled-slash"),
        pytest.param("//mnt", "not absolute and plain", id="leading-doubled-slash"),
        pytest.param("/mnt/", "not absolute and plain", id="trailing-slash"),
        pytest.param("/mnt/a:b", "cannot have", id="colon"),
        pytest.param("/mnt/a\x00b", "cannot have", id="control-character"),
        pytest.param("/", "cover the home folder", id="root"),
        pytest.param("/home", "cover the home folder", id="above-home"),
        pytest.param("/home/jovyan", "cover the home folder", id="home"),
        pytest.param("/etc", "system folder /etc", id="system-folder"),
        pytest.param("/etc/passwd", "system folder /etc", id="in-a-system-folder"),
        pytest.param("/usr/local/share", "system folder /usr", id="deep-in-a-system-folder"),
        pytest.param("/opt", "system folder /opt/conda", id="above-a-system-folder"),
        pytest.param("/proc/self", "system folder /proc", id="proc"),
        pytest.param("/home/jovyan/cardio", "cover each other", id="repeats"),
        pytest.param("/home/jovyan/cardio/in", "cover each other", id="inside-another"),
        pytest.param("/home/jovyan/shared/x", "cover each other", id="inside-shared"),
    ],
)
def test_path_that_could_cover_something_is_refused(path: str, reason: str) -> None:
    """S1: exactly the volumes of the workspace, each where it can be seen."""
    with pytest.raises(StorageRefused, match=reason) as caught:
        check_volumes("cardio", [volume(), shared(), volume("extra", path)])
    assert "What is saved in the folder of a workspace is kept" in caught.value.user_message


def test_sibling_with_a_common_beginning_is_no_cover() -> None:
    check_volumes("cardio", [volume(), volume("extra", "/home/jovyan/cardio2")])


@pytest.mark.parametrize(
    ("name", "volumes", "reason"),
    [
        pytest.param("shared", [volume("jupyter-shared")], "reserved", id="workspace-named-shared"),
        pytest.param("Bad_Name", [volume()], "not one that Kubernetes takes", id="illegal-workspace-name"),
        pytest.param("cardio", [volume("jupyter-shared")], "names the shared claim", id="shared-as-its-own"),
        pytest.param("cardio", [shared(read_only=False)], "read-only at", id="shared-writable"),
        pytest.param("cardio", [shared(mount_path="/data")], "read-only at", id="shared-elsewhere"),
        pytest.param("cardio", [shared(claim="other")], "the shared claim is", id="other-claim-as-shared"),
        pytest.param("cardio", [volume("../x")], "not the name of a claim", id="illegal-claim"),
        pytest.param(
            "cardio", [volume(), volume(mount_path="/mnt/x")], "it mounts 'jupyter-cardio' 2 times", id="twice"
        ),
        pytest.param("cardio", [shared(), shared()], "it mounts 'jupyter-shared' 2 times", id="shared-twice"),
        pytest.param("cardio", [volume("a" * 254)], "not the name of a claim", id="claim-too-long"),
    ],
)
def test_shared_claim_is_reached_in_one_way_only(name: str, volumes: list[Volume], reason: str) -> None:
    """S2: a workspace may not name the shared claim, or reach it by its own name."""
    with pytest.raises(StorageRefused, match=reason):
        check_volumes(name, volumes)


def test_every_reason_is_told() -> None:
    with pytest.raises(StorageRefused) as caught:
        check_volumes("shared", [volume("jupyter-shared", "data")])
    for reason in ("reserved", "not absolute", "names the shared claim"):
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    "folder",
    [
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt/conda", "/proc", "/root"),
        *("/run", "/sbin", "/sys", "/tmp", "/usr", "/var"),  # noqa: S108 - a folder that no claim may hide
    ],
)
def test_no_system_folder_is_covered(folder: str) -> None:
    """S1: not one is forgotten, nor what is in it."""
    for path in (folder, f"{folder}/x"):
        with pytest.raises(StorageRefused, match=f"system folder {folder}$"):
            check_volumes("cardio", [volume(), volume("extra", path)])


@pytest.mark.parametrize(
    "path", ["/home/jovyan", "/home/jovyan/private", "/home/jovyan/a/b"], ids=["home", "in-it", "deeper"]
)
def test_s8_a_persons_claim_is_at_home(path: str) -> None:
    check_volumes("cardio", [home(mount_path=path), volume(), shared(), volume("extra", "/home/jovyan/extra")], "alice")


@pytest.mark.parametrize(
    ("volumes", "username", "reason"),
    [
        pytest.param([home("bob")], "alice", "is not the claim of 'alice'", id="another-persons"),
        pytest.param([home(workspace="hip")], "alice", "is not the claim of 'alice'", id="of-another-workspace"),
        pytest.param([home(claim="jupyter-cardio")], "alice", "is not the claim of 'alice'", id="any-claim"),
        pytest.param([home("Alice")], "alice", "is not the claim of 'alice'", id="in-another-case"),
        pytest.param([home("")], "", "there is no person", id="of-nobody"),
        pytest.param([home()], None, "there is no person", id="without-a-person"),
        pytest.param([home(), home(mount_path="/home/jovyan/x")], "alice", "2 times", id="twice"),
        pytest.param([home(shared=True)], "alice", "is a person's and shared", id="shared"),
        pytest.param([home(mount_path="/mnt/home")], "alice", "is mounted at /home/jovyan or in it", id="elsewhere"),
        pytest.param([home(mount_path="/home")], "alice", "cover the home folder", id="above-home"),
        pytest.param([home(personal=False)], "alice", "cover the home folder", id="home-for-all"),
        pytest.param(
            [volume(), volume(home().claim, "/mnt/x")], "alice", "is called as a person's claim", id="not-as-a-persons"
        ),
        pytest.param([volume(), home(mount_path="/home/jovyan/cardio")], "alice", "cover each other", id="in-the-way"),
        pytest.param([volume(), home(mount_path="/home/jovyan/cardio/x")], "alice", "cover each other", id="inside"),
    ],
)
def test_s8_persons_claim_is_theirs_there_and_nowhere_else(
    volumes: list[Volume], username: str | None, reason: str
) -> None:
    with pytest.raises(StorageRefused, match=reason):
        check_volumes("cardio", volumes, username)
