"""Facts validate themselves: each field is right or its problem is named, and nothing is raised for it (F3)."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest
from jupyterhub.spawner import Spawner
from kubespawner import KubeSpawner

from tests.factories import shared, volume, workspace
from workspace_managers import Resources, User, Volume, Workspace, checks, models

WHOLE = workspace(
    display_name="Cardio\nöutcomes",
    image="registry.example.org:5000/group/notebook:1.0@sha256:" + "a" * 64,
    resources=Resources(requests={"cpu": "500m"}, limits={"memory": "4Gi", "example.com/gpu": "1"}),
    default_url="/lab/tree/my%20notes.ipynb?reset",
    labels={"example.com/team": "cardio"},
    annotations={"example.com/Contact": "The cardio team <cardio@example.org>"},
    environment={"STUDY": "cardio", "proxy.url": "http://proxy\n"},
    node_selector={"pool": ""},
    tolerations=[{"key": "gpu", "effect": "NoExecute", "tolerationSeconds": 5}],
    service_account="reader.cardio",
    idle_seconds=3600,
    uid="0a1b",
    versions={"workspace": "1"},
)
VOLUME = volume(
    read_only=True,
    recorded=True,
    storage_class="fast",
    access_modes=["ReadWriteOnce", "ReadOnlyMany"],
    capacity="1.5Gi",
)
FACTS = [WHOLE, workspace(), WHOLE.resources, Resources(), VOLUME, shared(), User.identify("a\\b", {"groups": ["c"]})]
LONG = "x" * 2_000_000
OF_ANY_TYPE = [5, 2.5, True, b"x", ["x"], {"x": 1}, {"x"}, object(), datetime(2026, 1, 1, tzinfo=UTC), 10**5000]


class Unreadable:
    """What a backend's library may give."""

    def __repr__(self) -> str:
        raise RuntimeError("not now")


def nested(depth: int = 100_000) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_fact_is_stored_copied_and_compared(fact: Any) -> None:
    """A4: what a cache cannot store is lost, and what is lost must not read as none."""
    for again in (pickle.loads(pickle.dumps(fact)), copy.copy(fact), copy.deepcopy(fact), attrs.evolve(fact)):  # noqa: S301 - its own
        assert (type(again), again, hash(again)) == (type(fact), fact, hash(fact))
        for field in attrs.fields(type(fact)):
            assert type(getattr(again, field.name)) is type(getattr(fact, field.name))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(fact, attrs.fields(type(fact))[0].name, "x")


def test_whatever_a_fact_was_made_of_cannot_change_it() -> None:
    """S5: the mapping is another start's as well."""
    labels, toleration = {"a": "b"}, {"key": "a"}
    fact = workspace(labels=labels, tolerations=[toleration])
    labels["a"] = toleration["key"] = "changed"
    found: Any = fact.labels
    assert (found, fact.tolerations) == ({"a": "b"}, ({"key": "a"},))
    assert {**found} | {"c": "d"} == {"a": "b", "c": "d"}
    changes: list[Any] = [
        lambda: found.update(a="c"),
        lambda: found.pop("a"),
        found.popitem,
        lambda: found.setdefault("c", "d"),
        found.clear,
        lambda: found.__setitem__("a", "c"),
        lambda: found.__delitem__("a"),
        lambda: found.__ior__({"a": "c"}),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert found == {"a": "b"}


def test_source_is_nobody_elses_concern() -> None:
    """It is not compared, shown, hashed or frozen."""
    fact = workspace(source=["anything"])
    assert fact == workspace()
    assert hash(fact) == hash(workspace())
    assert "anything" not in repr(fact)
    assert fact.source == ["anything"]


@pytest.mark.parametrize("fact", [WHOLE, workspace(), VOLUME, shared(), WHOLE.resources, Resources()])
def test_right_fact_has_no_problem(fact: Any) -> None:
    assert fact.problem() is None


@pytest.mark.parametrize("kind", [Workspace, Resources, Volume])
def test_every_field_is_checked(kind: type[Any]) -> None:
    """F3: but for what is the plugin's own."""
    table = getattr(models, f"_{kind.__name__.upper()}_CHECKS")
    assert [name for name, _ in table] == [each.name for each in attrs.fields(kind) if each.name != "source"]


@pytest.mark.parametrize("fact", [WHOLE, VOLUME, WHOLE.resources], ids=lambda fact: type(fact).__name__)
def test_value_of_any_type_is_a_problem_and_nothing_worse(fact: Any) -> None:
    """F3: bounded, with the field's name first; a value of the wrong type may be a secret, and is not shown."""
    hostile = [*OF_ANY_TYPE, Unreadable(), nested(), [Unreadable()], {1: 2}, {"x": Unreadable()}, {"token": 1}]
    for field in attrs.fields(type(fact)):
        if field.name == "source":
            continue
        for value in hostile:
            spoilt = attrs.evolve(fact, **{field.name: value})
            if field.name in ("read_only", "shared", "personal", "recorded", "keeps_home") and value is True:
                continue
            if (field.name, value) == ("idle_seconds", 5):
                continue
            problem = spoilt.problem()
            assert problem is not None, (field.name, type(value))
            assert problem.startswith(f"{field.name}: ")
            assert "; accepted: " in problem
            assert len(problem) < 400
            assert problem.isprintable()


DAYS = {"first_day": date(2026, 2, 2), "last_day": date(2026, 2, 1)}
# Changes of a workspace, and how its problem begins.
WORKSPACES: dict[str, tuple[dict[str, Any], str]] = {
    "name of nothing": ({"name": ""}, "name: nothing; accepted: lower-case"),
    "name in capitals": ({"name": "Cardio"}, "name: 'Cardio'; accepted"),
    "name of 254": ({"name": "x" * 254}, "name: 'xxx"),
    "name that is a path": ({"name": "../x"}, "name: '../x'; accepted"),
    "title of none": ({"display_name": None}, "display_name: None; accepted: a text"),
    "a moment for a day": ({"last_day": datetime(2026, 1, 1, tzinfo=UTC)}, "last_day: datetime.datetime(2026"),
    "a text for a day": ({"grant_last_day": "2026-01-01"}, "grant_last_day: '2026-01-01'; accepted: a day"),
    "no day": ({"first_day": None}, "first_day: None; accepted: a day of the type datetime.date"),
    "ends before it begins": (
        DAYS,
        "first_day: 2026-02-02; accepted: a day that is not after the last one, 2026-02-01",
    ),
    "image of none": ({"image": None}, "image: None; accepted: an image"),
    "image of nothing": ({"image": ""}, "image: nothing; accepted: an image"),
    "image with a blank": ({"image": "a b"}, "image: 'a b'; accepted"),
    "image with a line break": ({"image": "a\n"}, "image: 'a\\n'; accepted"),
    "image in capitals": ({"image": "Example/Notebook"}, "image: 'Example/Notebook'; accepted"),
    "image with an address": ({"image": "https://example.org/a"}, "image: 'https://example.org/a'; accepted"),
    "image with an empty tag": ({"image": "a:"}, "image: 'a:'; accepted"),
    "image with a long tag": ({"image": "a:" + "t" * 129}, "image: 'a:ttt"),
    "image with a short digest": ({"image": "a@sha256:abc"}, "image: 'a@sha256:abc'; accepted"),
    "image of 256": ({"image": "a" * 256}, "image: 'aaa"),
    "image without end": ({"image": LONG}, "image: 'xxx"),
    "resources of none": ({"resources": None}, "resources: no Resources; accepted"),
    "resources that are wrong": (
        {"resources": Resources(limits={"cpu": "several"})},
        "resources: limits: 'cpu': 'several'; accepted: a number and a unit",
    ),
    "amount that is a number": ({"resources": Resources(limits={"cpu": 2})}, "resources: limits: 'cpu': a number; a"),
    "another host": ({"default_url": "//evil.example"}, "default_url: '//evil.example'; accepted: a path"),
    "a scheme": ({"default_url": "https://evil.example"}, "default_url: 'https://evil.example'; accepted"),
    "a script": ({"default_url": "javascript:alert(1)"}, "default_url: 'javascript:alert(1)'; accepted"),
    "a backslash": ({"default_url": "/\\evil.example"}, "default_url: '/\\\\evil.example'; accepted"),
    "a backslash first": ({"default_url": "\\evil.example"}, "default_url: '\\\\evil.example'; accepted"),
    "a tab": ({"default_url": "/\t/evil.example"}, "default_url: '/\\t/evil.example'; accepted"),
    "up and out": ({"default_url": "/../hub/logout"}, "default_url: '/../hub/logout'; accepted"),
    "up and out, encoded": ({"default_url": "/a/%2e%2E/b"}, "default_url: '/a/%2e%2E/b'; accepted"),
    "up and out, encoded twice": ({"default_url": "/a/%252e%252e/b"}, "default_url: '/a/%252e"),
    "up and out, relative": ({"default_url": "../x"}, "default_url: "),
    "url without end": ({"default_url": "/" + LONG}, "default_url: '/xxx"),
    "label without a name": ({"labels": {"": "a"}}, "labels: '': 'a'; accepted: a key and a value"),
    "label of a number": ({"labels": {"a": 1}}, "labels: 'a': a number; accepted: text keys with text values"),
    "label by a number": ({"labels": {1: "a"}}, "labels: a number; accepted: text keys"),
    "101 labels": ({"labels": {f"a{index}": "" for index in range(101)}}, "labels: a mapping of 101; accepted"),
    "selector value of 64": ({"node_selector": {"a": "b" * 64}}, "node_selector: 'a': 'bbb"),
    "annotation of the hub": (
        {"annotations": {"hub.jupyter.org/username": "b"}},
        "annotations: 'hub.jupyter.org/username'",
    ),
    "annotation of ours": (
        {"annotations": {"Workspace-Managers/owner": "b"}},
        "annotations: 'Workspace-Managers/owner'",
    ),
    "annotation with a blank": ({"annotations": {"a b": "c"}}, "annotations: 'a b' is not a key"),
    "annotations without end": ({"annotations": {"a": LONG}}, "annotations: 2000001 bytes; accepted: at most 253952"),
    "half a character": ({"annotations": {"a": "\ud800"}}, "annotations: a text with half a character; accepted"),
    "variable of the hub": (
        {"environment": {"JUPYTERHUB_USER": "b"}},
        "environment: 'JUPYTERHUB_USER' is set by the hub",
    ),
    "variable with =": ({"environment": {"a=b": "c"}}, "environment: 'a=b' is not the name of a variable; accepted"),
    "variable of nothing": ({"environment": {"": "c"}}, "environment: '' is not the name of a variable"),
    "variable with a NUL": ({"environment": {"a": "b\0"}}, "environment: 'a' has a value with a NUL; accepted"),
    "variable of a number": ({"environment": {"a": 1}}, "environment: 'a': a number; accepted"),
    "variables without end": ({"environment": {"a": LONG}}, "environment: 2000001 bytes; accepted: at most 65536"),
    "toleration that is text": ({"tolerations": ["gpu"]}, "tolerations: [0] 'gpu'; accepted: a mapping, as in a pod"),
    "toleration by a number": ({"tolerations": [{1: "a"}]}, "tolerations: [0] a number; accepted: key, operator"),
    "tolerations that are a mapping": ({"tolerations": {"key": "a"}}, "tolerations: a mapping of 1; accepted"),
    "account that is none": ({"service_account": "A"}, "service_account: 'A'; accepted: lower-case"),
    "account of nothing": ({"service_account": ""}, "service_account: nothing; accepted: lower-case"),
    "no time at all": ({"idle_seconds": 0}, "idle_seconds: a number; accepted: a whole number of seconds from 1"),
    "time below zero": ({"idle_seconds": -1}, "idle_seconds: a number; accepted: a whole number of seconds from 1"),
    "half a second": ({"idle_seconds": 0.5}, "idle_seconds: 0.5; accepted: a whole number of seconds from 1"),
    "a flag for a time": ({"idle_seconds": True}, "idle_seconds: True; accepted: a whole number of seconds from 1"),
    "identity of nothing": ({"uid": ""}, "uid: nothing; accepted: a text of 1 to 253 printable characters"),
    "identity without end": ({"uid": LONG}, "uid: 'xxx"),
    "version without end": ({"versions": {"binding": LONG}}, "versions: 'xxx"),
}
VOLUMES: dict[str, tuple[dict[str, Any], str]] = {
    "claim of none": ({"claim": None}, "claim: None; accepted: lower-case"),
    "claim in capitals": ({"claim": "A"}, "claim: 'A'; accepted: lower-case"),
    "relative path": ({"mount_path": "data"}, "mount_path: 'data'; accepted: an absolute path"),
    "root": ({"mount_path": "/"}, "mount_path: '/'; accepted: an absolute path"),
    "path that climbs": ({"mount_path": "/data/../etc"}, "mount_path: '/data/../etc'; accepted"),
    "path with a slash at its end": ({"mount_path": "/data/"}, "mount_path: '/data/'; accepted"),
    "path with a doubled slash": ({"mount_path": "/home/jovyan//heart"}, "mount_path: '/home/jovyan//heart'; accepted"),
    "path with a dot": ({"mount_path": "/home/./heart"}, "mount_path: '/home/./heart'; accepted"),
    "path with a colon": ({"mount_path": "/a:b"}, "mount_path: '/a:b'; accepted"),
    "path without end": ({"mount_path": "/" + LONG}, "mount_path: '/xxx"),
    "flag that is text": ({"read_only": "no"}, "read_only: 'no'; accepted: True or False"),
    "class in capitals": ({"storage_class": "Fast"}, "storage_class: 'Fast'; accepted: lower-case"),
    "mode that is unknown": ({"access_modes": ["RWX"]}, "access_modes: names 'RWX', which Kubernetes does not know"),
    "mode twice": ({"access_modes": ["ReadWriteOnce"] * 2}, "access_modes: names an access mode twice"),
    "mode that stands alone": (
        {"access_modes": ["ReadWriteOncePod", "ReadOnlyMany"]},
        "access_modes: puts ReadWriteOnceP",
    ),
    "capacity of a number": ({"capacity": 10}, "capacity: a number; accepted: a quantity above zero"),
    "capacity of nothing": ({"capacity": "0"}, "capacity: '0'; accepted: a quantity above zero"),
    "capacity of GB": ({"capacity": "10GB"}, "capacity: '10GB'; accepted: a quantity above zero"),
}


@pytest.mark.parametrize(("changes", "problem"), WORKSPACES.values(), ids=WORKSPACES)
def test_problem_of_a_workspace_is_named(changes: dict[str, Any], problem: str) -> None:
    """F3: the field, what was found, what is accepted."""
    found = workspace(**changes).problem()
    assert found is not None
    assert found.startswith(problem)
    assert len(found) < 400


@pytest.mark.parametrize(("changes", "problem"), VOLUMES.values(), ids=VOLUMES)
def test_problem_of_a_volume_is_named(changes: dict[str, Any], problem: str) -> None:
    """S2: as for a workspace."""
    found = volume(**changes).problem()
    assert found is not None
    assert found.startswith(problem)
    assert len(found) < 400


@pytest.mark.parametrize(
    "image",
    [
        *("a", "a.b/c", "example/notebook", "localhost:5000/a", "Registry.Example.org/a", "[::1]:5000/a", "a__b/c-d.e"),
        *("a:1.0_x-Y", "a@sha256:" + "0" * 64, "a:t@sha256:" + "F" * 64, "x" * 255, "a:" + "t" * 128),
    ],
)
def test_image_that_can_be_pulled_is_right(image: str) -> None:
    """F3: nothing that starts today is set aside."""
    assert workspace(image=image).problem() is None


@pytest.mark.parametrize(
    ("written", "made"),
    [
        *(
            ("lab", "/lab"),
            ("my notes/a.ipynb", "/my%20notes/a.ipynb"),
            ("/a b?c d", "/a%20b?c%20d"),
            (" /lab ", "/lab"),
        ),
        *(("lab?reset", "/lab?reset"), ("evil.example/x", "/evil.example/x"), ("", None), ("  ", None), (None, None)),
        *(("//a b", "//a%20b"), ("a:b", "a:b"), ("\\a", "\\a"), ("/\\a", "/\\a"), (".", "."), ("..", "..")),
    ],
)
def test_url_is_made_right_where_its_meaning_is_certain(written: str | None, made: str | None) -> None:
    """F3: what is not certain stays as it is, for the check to find."""
    assert workspace(default_url=written).default_url == made


@pytest.mark.parametrize(("field", "limit"), [("display_name", 200), ("description", 5000)])
def test_texts_are_cut_once(field: str, limit: int) -> None:
    """F1: 25 workspaces of 1.8 MB made each form 0.6 s."""
    for length, kept in ((limit, "x" * limit), (limit + 1, "x" * limit + "…"), (2_000_000, "x" * limit + "…")):
        fact = workspace(**{field: "x" * length})
        assert getattr(fact, field) == kept
        assert getattr(attrs.evolve(fact), field) == kept


def test_variables_that_the_hub_sets_are_refused() -> None:
    """A workspace that set one would speak in the hub's name; these are read off the spawners that are installed."""
    source = inspect.getsource(Spawner.get_env) + inspect.getsource(KubeSpawner.get_env)
    names = set(re.findall(r"""env\[["'](\w+)["']\]""", source))
    assert len(names) > 20
    assert {name for name in names if workspace(environment={name: "x"}).problem() is None} == set()
    assert checks.environment({"JUPYTER_PREFER_ENV_PATH": "1"}) is None
