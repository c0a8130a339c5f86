"""Which claims there are and who may open them (S8), for the person who has to decide what to keep."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from tests.factories import TODAY, workspace
from tests.unit.spawners import TodayContext
from workspace_managers import (
    IDENTITY_CLAIMS,
    NAMESPACES,
    BackendUnavailable,
    Settings,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    __main__,
    personal_claim,
)
from workspace_managers.inventory import Holding, inventory
from workspace_managers.kube.claims import OWNER_ANNOTATION, OWNER_UID_ANNOTATION, PERSON_ANNOTATION, USED_ANNOTATION
from workspace_managers.kube.client import Kube
from workspace_managers.kube.namespaces import ALLOWED, LABEL

CLAIMS = "/api/v1/namespaces/hub/persistentvolumeclaims"


class Plugin(WorkspaceManager):
    """Alice has a workspace that is open, and one that has closed; nobody else has any."""

    interface_versions = (1, 1)
    failure: BackendUnavailable | None = None
    closed = 0

    async def list_workspaces(self, user: User) -> Sequence[Workspace]:
        if self.failure:
            raise self.failure
        ended = workspace("hip", grant_last_day=TODAY.replace(month=2))
        return [workspace("cardio"), ended] if user.username == "alice" else []

    async def volumes_for(self, user: User, workspace: Workspace) -> Sequence[Volume]:
        return []

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
    assert {(each.workspace, each.person): (each.access, each.opens, each.last_started) for each in found} == {
        ("cardio", None): (None, None, None),
        ("cardio", "alice"): ("Open until the end of 31 December 2026", True, "2026-03-01"),
        ("hip", "alice"): ("Expired 15 February 2026", False, "2026-03-01"),
        ("cardio", "bob"): ("no grant", False, "2026-03-01"),
    }
    assert next(each.uid for each in found if each.person is None) == "one"


async def test_grant_that_is_not_known_of_is_not_denied(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """E6: what the identity provider would say of somebody who is not there is unknown."""
    await several(plugin)
    monkeypatch.setattr(Plugin, "capabilities", frozenset({IDENTITY_CLAIMS}))
    said = {each.access for each in await inventory(plugin) if each.person == "bob"}
    assert said == {"no grant by the username; one by identity claims is not known of"}


async def test_outage_is_no_list(plugin: Plugin) -> None:
    """A4: nobody is to take people for gone."""
    await several(plugin)
    plugin.failure = BackendUnavailable("away")
    with pytest.raises(BackendUnavailable):
        await inventory(plugin)


HELD = [
    Holding("jupyter-cardio", "cardio", "one", namespace="hub"),
    Holding("home-a", "cardio", person="alice", last_started="2026-03-01", access="Open", opens=True, namespace="hub"),
    Holding("home-b", "cardio", person="bob\u202e", access="no grant", opens=False, namespace="hub"),
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
    assert head.split() == ["NAMESPACE", "CLAIM", "WORKSPACE", "PERSON", "LAST", "STARTED", "ACCESS"]
    assert [row.split()[1] for row in rows] == shown
    assert rows[-1].split()[2:] == ["cardio", r"'bob\u202e'", "-", "no", "grant"]
    assert __main__.main(["claims", "--json", *arguments]) == 0
    assert [each["claim"] for each in json.loads(capsys.readouterr().out)] == shown


def test_command_says_so_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [])
    monkeypatch.setenv("POD_NAMESPACE", "hub")
    assert __main__.main(["claims"]) == 0
    assert capsys.readouterr().out == "No claim has an owner.\n"
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
