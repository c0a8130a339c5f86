"""Which claims there are and who may open them (S8), for the person who has to decide what to keep."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from tests.factories import TODAY, volume, workspace
from tests.unit.spawners import TodayContext
from workspace_managers import (
    HOME,
    IDENTITY_CLAIMS,
    NAMESPACES,
    BackendUnavailable,
    Settings,
    StorageRefused,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    __main__,
    personal_claim,
)
from workspace_managers.inventory import Holding, accept, inventory
from workspace_managers.kube.claims import OWNER_ANNOTATION, OWNER_UID_ANNOTATION, PERSON_ANNOTATION, USED_ANNOTATION
from workspace_managers.kube.client import Kube
from workspace_managers.kube.namespaces import ALLOWED, LABEL

CLAIMS = "/api/v1/namespaces/hub/persistentvolumeclaims"


class Plugin(WorkspaceManager):
    """Alice has a workspace that is open, and one that has closed; nobody else has any."""

    interface_versions = (1, 1)
    failure: BackendUnavailable | None = None
    closed = 0
    every: list[Workspace] | None = None
    claims: Mapping[str, str] = MappingProxyType({})

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        if self.failure:
            raise self.failure
        ended = workspace("hip", grant_last_day=TODAY.replace(month=2))
        return [workspace("cardio"), ended] if user.username == "alice" else []

    async def all_workspaces(self) -> Sequence[Workspace] | None:
        return self.every

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return [volume(self.claims.get(workspace.name, f"jupyter-{workspace.name}"), f"{HOME}/{workspace.name}")]

    async def naming(self, claim: str) -> Collection[str] | None:
        return {each.name for each in self.every or () if claim in (f"jupyter-{each.name}", self.claims.get(each.name))}

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def plugin(kube: Kube) -> Plugin:
    settings = Settings.from_environ({"POD_NAMESPACE": "hub"})
    return Plugin(TodayContext(settings=settings, kube=kube, log=logging.getLogger("test")))


async def put(plugin: Plugin, name: str, **annotations: str) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    keys = {
        "owner": OWNER_ANNOTATION,
        "uid": OWNER_UID_ANNOTATION,
        "person": PERSON_ANNOTATION,
        "used": USED_ANNOTATION,
    }
    metadata = {"name": name, "annotations": {keys[key]: text for key, text in annotations.items()}}
    await plugin.context.kube.create(CLAIMS, {"metadata": metadata, "spec": spec})


async def several(plugin: Plugin) -> None:
    await put(plugin, "hub-db-dir")
    await put(plugin, "jupyter-cardio", owner="cardio", uid="one")
    for person, name in (("alice", "cardio"), ("alice", "hip"), ("bob", "cardio")):
        await put(plugin, personal_claim(person, name), owner=name, person=person, used="2026-03-01")


async def test_each_claim_with_whose_it_is_and_whether_it_opens(plugin: Plugin) -> None:
    await several(plugin)
    found = await inventory(plugin)
    assert [each.claim for each in found] == sorted(each.claim for each in found)
    unknown = "not known, as the workspace manager does not tell its workspaces"
    assert {(each.workspace, each.person): (each.outlook, each.opens, each.last_started) for each in found} == {
        (None, None): (unknown, None, None),
        ("cardio", None): (unknown, None, None),
        ("cardio", "alice"): ("Open until the end of 31 December 2026", True, "2026-03-01"),
        ("hip", "alice"): ("Expired 15 February 2026", False, "2026-03-01"),
        ("cardio", "bob"): ("no grant", False, "2026-03-01"),
    }
    assert {each.uid for each in found if each.person is None} == {None, "one"}


async def test_what_a_start_would_do_with_each_claim_and_why(plugin: Plugin) -> None:
    """S3, S6: before an upgrade, and without one file being touched."""
    every = [workspace(name, uid=name[0]) for name in ("cardio", "hip", "odd", "two", "also-two", "new", "broken")]
    plugin.every = every
    plugin.claims = {"odd": "old-data", "two": "both", "also-two": "both", "broken": "jupyter-shared"}
    await put(plugin, "jupyter-shared")
    await put(plugin, "jupyter-cardio", owner="cardio", uid="c")
    await put(plugin, "jupyter-hip")
    await put(plugin, "old-data")
    await put(plugin, "both")
    await put(plugin, "jupyter-new", owner="new", uid="an-earlier-one")
    await put(plugin, "jupyter-gone", owner="gone")
    await put(plugin, "database")
    before = [each["metadata"]["resourceVersion"] async for each in plugin.context.kube.items(CLAIMS)]
    found = {each.claim: each.outlook for each in await inventory(plugin)}
    assert found.pop("both").count("refused, as claim 'both' has no owner") == 2
    assert found.pop("jupyter-new").startswith("'new': refused, as claim 'jupyter-new' belongs to another workspace of")
    assert found.pop("old-data").startswith("'odd': refused, as claim 'old-data' has no owner, and nothing but")
    assert found == {
        "jupyter-shared": "mounted read-only by every workspace",
        "jupyter-cardio": "'cardio': there",
        "jupyter-hip": "'hip': there without an owner, and would be adopted",
        "jupyter-gone": "kept; no workspace mounts it now",
        "database": "left alone; no workspace names it",
    }
    assert [each["metadata"]["resourceVersion"] async for each in plugin.context.kube.items(CLAIMS)] == before


async def test_pods_that_mount_a_claim_are_named(plugin: Plugin) -> None:
    await put(plugin, "jupyter-cardio", owner="cardio")
    volumes = [{"name": "a", "persistentVolumeClaim": {"claimName": "jupyter-cardio"}}]
    spec = {"containers": [{"name": "a", "image": "a"}], "volumes": volumes}
    await plugin.context.kube.create("/api/v1/namespaces/hub/pods", {"metadata": {"name": "one"}, "spec": spec})
    assert [each.mounted_by for each in await inventory(plugin)] == [("one",)]


# Giving a claim to a workspace


async def annotations_of(plugin: Plugin, name: str) -> dict[str, str]:
    return dict((await plugin.context.kube.get(f"{CLAIMS}/{name}"))["metadata"].get("annotations") or {})


@pytest.mark.parametrize(
    ("before", "told"),
    [
        pytest.param({}, "has no owner", id="no-owner"),
        pytest.param({"owner": "odd", "uid": "earlier"}, "belongs to an earlier workspace of that name", id="earlier"),
    ],
)
async def test_claim_is_given_to_a_workspace_on_an_operators_word(
    plugin: Plugin, before: dict[str, str], told: str
) -> None:
    """S3, S6: and a start mounts it then."""
    plugin.every, plugin.claims = [workspace("odd", uid="o")], {"odd": "old-data"}
    await put(plugin, "old-data", **before)
    found = await accept(plugin, "old-data", "odd")
    assert found.found.startswith(told)
    assert (await annotations_of(plugin, "old-data")).get(OWNER_ANNOTATION) == before.get("owner")
    await found.write(plugin.context.kube)
    assert await annotations_of(plugin, "old-data") == {OWNER_ANNOTATION: "odd", OWNER_UID_ANNOTATION: "o"}
    assert [each.outlook for each in await inventory(plugin)] == ["'odd': there"]
    with pytest.raises(StorageRefused, match="belongs to workspace 'odd' already"):
        await accept(plugin, "old-data", "odd")
    await put(plugin, "from-before", owner="odd")
    plugin.claims = {"odd": "from-before"}
    with pytest.raises(StorageRefused, match="belongs to workspace 'odd' already"):
        await accept(plugin, "from-before", "odd")


async def test_claim_of_a_workspace_without_a_uid(plugin: Plugin) -> None:
    plugin.every, plugin.claims = [workspace("odd")], {"odd": "old-data"}
    await put(plugin, "old-data", owner="odd", uid="earlier")
    await (await accept(plugin, "old-data", "odd")).write(plugin.context.kube)
    assert await annotations_of(plugin, "old-data") == {OWNER_ANNOTATION: "odd"}


@pytest.mark.parametrize(
    ("claim", "there", "told"),
    [
        pytest.param("missing", None, "there is no claim 'missing'", id="missing"),
        pytest.param("a/b", None, "there is no claim 'a/b'", id="no-name"),
        pytest.param("old-data", {"owner": "cardio"}, "belongs to 'cardio'; whoever is certain", id="anothers"),
        pytest.param("old-data", {"owner": "odd", "person": "bob"}, "is the home folder of 'bob'", id="a-persons"),
        pytest.param(personal_claim("bob", "odd"), {}, "is the home folder of 'None'", id="by-its-name"),
        pytest.param("jupyter-shared", {}, "is the shared one", id="shared"),
        pytest.param("old-data", {"owner": "shared"}, "is the shared one", id="shared-by-mark"),
    ],
)
async def test_claim_that_may_be_somebody_elses_is_given_to_nobody(
    plugin: Plugin, claim: str, there: dict[str, str] | None, told: str
) -> None:
    """S2, S3, S8: an operator's word is not stronger than another workspace's name on a claim."""
    plugin.every, plugin.claims = [workspace("odd")], {"odd": claim}
    if there is not None:
        await put(plugin, claim, **there)
    with pytest.raises(StorageRefused, match=told):
        await accept(plugin, claim, "odd")


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "so it is an application's"),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "db", "uid": "1"}]}, "owns it"),
    ],
)
async def test_claim_of_something_else_is_given_to_nobody(plugin: Plugin, metadata: dict[str, Any], told: str) -> None:
    """S3: no word overrides it, as no policy does."""
    plugin.every, plugin.claims = [workspace("odd")], {"odd": "old-data"}
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    await plugin.context.kube.create(CLAIMS, {"metadata": {"name": "old-data", **metadata}, "spec": spec})
    with pytest.raises(StorageRefused, match=told):
        await accept(plugin, "old-data", "odd")


async def test_workspace_that_would_not_mount_it_is_given_none(plugin: Plugin) -> None:
    await put(plugin, "old-data")
    with pytest.raises(StorageRefused, match="does not tell its workspaces"):
        await accept(plugin, "old-data", "odd")
    plugin.every = [workspace("odd")]
    with pytest.raises(StorageRefused, match="there is none of this name"):
        await accept(plugin, "old-data", "even")
    with pytest.raises(StorageRefused, match="does not name claim 'old-data'"):
        await accept(plugin, "old-data", "odd")


async def test_claim_that_changes_meanwhile_is_not_given(plugin: Plugin) -> None:
    """S2: what the operator said yes to is what was shown."""
    plugin.every, plugin.claims = [workspace("odd"), workspace("even")], {"odd": "old-data", "even": "old-data"}
    await put(plugin, "old-data")
    found = await accept(plugin, "old-data", "odd")
    assert "workspace 'even' names it as well, and will be refused it" in found.found
    await (await accept(plugin, "old-data", "even")).write(plugin.context.kube)
    with pytest.raises(StorageRefused, match="was changed meanwhile"):
        await found.write(plugin.context.kube)
    assert (await annotations_of(plugin, "old-data"))[OWNER_ANNOTATION] == "even"


@pytest.mark.parametrize(
    ("arguments", "typed", "code"),
    [([], "y\n", 0), ([], "YES\n", 0), ([], "\n", 1), ([], "n\n", 1), ([], "", 1), (["--yes"], "", 0)],
)
def test_command_asks_back(
    arguments: list[str], typed: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is given to anybody by a slip, or by a script that does not say so."""
    written: list[str] = []

    class Given:
        found = "has no owner"

        async def write(self, _kube: object) -> None:
            written.append("old-data")

    async def accepted(_manager: object, claim: str, name: str) -> Given:
        assert (claim, name) == ("old-data", "odd")
        return Given()

    async def started(_manager: object, question: Any) -> Any:
        return await question

    monkeypatch.setattr(__main__, "_started", started)
    monkeypatch.setattr(__main__, "accept", accepted)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    monkeypatch.setenv("POD_NAMESPACE", "hub")
    assert __main__.main(["claims", "--accept", "old-data", "odd", *arguments]) == code
    said = capsys.readouterr().err
    assert "Claim 'old-data' has no owner." in said
    assert (written, "Nothing was changed." in said) == ((["old-data"], False) if code == 0 else ([], True))


async def test_grant_that_is_not_known_of_is_not_denied(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """E6: what the identity provider would say of somebody who is not there is unknown."""
    await several(plugin)
    monkeypatch.setattr(Plugin, "capabilities", frozenset({IDENTITY_CLAIMS}))
    said = {each.outlook for each in await inventory(plugin) if each.person == "bob"}
    assert said == {"no grant by the username; one by identity claims is not known of"}


async def test_outage_is_no_list(plugin: Plugin) -> None:
    """A4: nobody is to take people for gone."""
    await several(plugin)
    plugin.failure = BackendUnavailable("away")
    with pytest.raises(BackendUnavailable):
        await inventory(plugin)


HELD = [
    Holding("jupyter-cardio", "cardio", "one", namespace="hub"),
    Holding("home-a", "cardio", person="alice", last_started="2026-03-01", outlook="Open", opens=True, namespace="hub"),
    Holding("home-b", "cardio", person="bob\u202e", outlook="no grant", opens=False, namespace="hub"),
]


def answer_with(monkeypatch: pytest.MonkeyPatch, held: list[Holding]) -> None:
    """Whatever there is on a cluster."""

    async def started(_manager: object, question: Any) -> list[Holding]:
        question.close()
        return held

    monkeypatch.setattr(__main__, "_started", started)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [([], ["jupyter-cardio", "home-a", "home-b"]), (["--unused"], ["home-b"])],
    ids=["all", "unused"],
)
def test_command_prints_them(
    arguments: list[str], shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, HELD)
    monkeypatch.setenv("POD_NAMESPACE", "hub")
    assert __main__.main(["claims", *arguments]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAMESPACE", "CLAIM", "WORKSPACE", "PERSON", "LAST", "STARTED", "MOUNTED", "BY", "OUTLOOK"]
    assert [row.split()[1] for row in rows] == shown
    assert rows[-1].split()[2:] == ["cardio", r"'bob\u202e'", "-", "-", "no", "grant"]
    assert __main__.main(["claims", "--json", *arguments]) == 0
    assert [each["claim"] for each in json.loads(capsys.readouterr().out)] == shown


def test_command_says_so_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [])
    monkeypatch.setenv("POD_NAMESPACE", "hub")
    assert __main__.main(["claims"]) == 0
    assert capsys.readouterr().out == "There is no claim.\n"
    assert __main__.main(["claims", "--unused"]) == 0
    assert capsys.readouterr().out == "No claim belongs to a person who may not open it.\n"
    monkeypatch.setenv("WORKSPACE_MANAGER", "nobody")
    assert __main__.main(["claims"]) == 1
    assert "'nobody'" in capsys.readouterr().out


async def test_plugin_is_closed_whatever_comes_of_it(plugin: Plugin) -> None:
    plugin.failure = BackendUnavailable("away")
    await put(plugin, personal_claim("bob", "cardio"), owner="cardio", person="bob")
    with pytest.raises(BackendUnavailable):
        await __main__._started(plugin, inventory(plugin))
    assert plugin.closed == 1


async def test_namespaces_of_workspaces_are_looked_at_too(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: those that an operator has labelled; and for a plugin without any, the hub's own alone."""
    await several(plugin)
    kube = plugin.context.kube
    for name, labels in (("project-one", {LABEL: ALLOWED}), ("project-two", {})):
        await kube.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": "jupyter-hip", "annotations": {OWNER_ANNOTATION: "hip"}}
        await kube.create(f"/api/v1/namespaces/{name}/persistentvolumeclaims", {"metadata": metadata, "spec": spec})
    assert {each.namespace for each in await inventory(plugin)} == {"hub"}
    monkeypatch.setattr(Plugin, "capabilities", frozenset({NAMESPACES}))
    found = await inventory(plugin)
    assert [(each.namespace, each.claim) for each in found if each.namespace != "hub"] == [
        ("project-one", "jupyter-hip")
    ]
