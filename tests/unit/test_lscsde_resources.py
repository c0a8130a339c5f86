"""From the two custom resources to records: every field honoured, or refused with its reason (A1, A2, S2, S3, F3)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from workspace_manager_lscsde.refused import Trouble
from workspace_manager_lscsde.resources import (
    Binding,
    SetAside,
    WorkspaceRecord,
    named_claims,
    read_binding,
    read_workspace,
)
from workspace_managers import HOME, Resources, User, Volume
from workspace_managers.access import Availability, availability

EXAMPLE_WORKSPACE: dict[str, Any] = {
    "apiVersion": "xlscsde.nhs.uk/v1",
    "kind": "AnalyticsWorkspace",
    "metadata": {"name": "example-workspace", "namespace": "jupyterhub", "resourceVersion": "7"},
    "spec": {
        "displayName": "Example Workspace",
        "description": "An example workspace for testing",
        "jupyterWorkspace": {
            "extraLabels": {"xlscsde.nhs.uk/test": "IsTestWorkspace"},
            "image": "lscsde/datascience-notebook-default:0.1.0",
            "persistentVolumeClaim": {},
            "resources": {"limits": {"cpu": 2}},
        },
        "validity": {"availableFrom": "2022-01-03", "expires": "2030-01-07"},
    },
}
EXAMPLE_BINDING: dict[str, Any] = {
    "apiVersion": "xlscsde.nhs.uk/v1",
    "kind": "AnalyticsWorkspaceBinding",
    "metadata": {
        "name": "binding-3edad8355fad4fc187610249ed93d63f",
        "namespace": "jupyterhub",
        "resourceVersion": "8",
        "labels": {"xlscsde.nhs.uk/username": "a.user___example.org"},
    },
    "spec": {
        "comments": "Testing",
        "expires": "2029-12-04",
        "username": "a.user@example.org",
        "workspace": "example-workspace",
    },
}
LEFT_OUT = object()


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with values put at dotted paths; ``LEFT_OUT`` takes one away."""
    made: dict[str, Any] = copy.deepcopy(dict(base))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is LEFT_OUT:
            place.pop(last, None)
        else:
            place[last] = value
    return made


def workspace(**changes: Any) -> WorkspaceRecord:
    """The documented example, changed in its ``spec.jupyterWorkspace``, read; it must be right."""
    record = read_workspace(
        changed(EXAMPLE_WORKSPACE, {f"spec.jupyterWorkspace.{key}": changes[key] for key in changes})
    )
    assert isinstance(record, WorkspaceRecord), record
    return record


def set_aside(raw: Mapping[str, Any]) -> SetAside:
    record = read_workspace(raw)
    assert isinstance(record, SetAside), record
    return record


def refused(**changes: Any) -> str:
    """The reason for which the example is set aside after a change in its ``spec.jupyterWorkspace``."""
    changes = {f"spec.jupyterWorkspace.{key}": value for key, value in changes.items()}
    return set_aside(changed(EXAMPLE_WORKSPACE, changes)).reason


def binding(**changes: Any) -> Binding:
    return read_binding(changed(EXAMPLE_BINDING, {f"spec.{key}": value for key, value in changes.items()}))


def test_documented_example_is_served_exactly() -> None:
    """F3: the example of the documentation, field by field."""
    record = workspace()
    grant = record.grant(read_binding(EXAMPLE_BINDING))
    assert grant.name == "example-workspace"
    assert grant.display_name == "Example Workspace"
    assert grant.description == "An example workspace for testing"
    assert (grant.first_day, grant.last_day) == (date(2022, 1, 3), date(2030, 1, 6))
    assert grant.grant_last_day == date(2029, 12, 3)
    assert grant.versions == {"workspace": "7", "binding": "8"}
    assert grant.image == "lscsde/datascience-notebook-default:0.1.0"
    assert grant.resources == Resources(limits={"cpu": "2"})
    assert grant.labels == {"xlscsde.nhs.uk/test": "IsTestWorkspace"}
    assert (grant.default_url, dict(grant.node_selector), grant.tolerations) == (None, {}, ())
    assert record.volumes() == (
        Volume(claim="jupyter-example-workspace", mount_path=f"{HOME}/example-workspace"),
        Volume(claim="jupyter-shared", mount_path=f"{HOME}/shared", read_only=True, shared=True),
    )


def test_every_field_is_honoured() -> None:
    """Issue part 3: a workspace that uses each field."""
    record = workspace(
        defaultUri="/lab/tree/start.ipynb?reset",
        nodeSelector={"example.com/pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        resources={"requests": {"cpu": 0.5, "memory": "1.5Gi"}, "limits": {"memory": 2**31, "example.com/gpu": "1"}},
        persistentVolumeClaim={"name": "wanted", "storageClassName": "fast"},
        additionalStorage=[{"mountPath": "/data/scans", "persistentVolumeClaim": "scans", "storageClassName": "slow"}],
    )
    assert record.default_url == "/lab/tree/start.ipynb?reset"
    assert record.node_selector == {"example.com/pool": "gpu"}
    assert [dict(each) for each in record.tolerations] == [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    ]
    assert record.resources.requests == {"cpu": "0.5", "memory": "1.5Gi"}
    assert record.resources.limits == {"memory": "2147483648", "example.com/gpu": "1"}
    wanted, scans, shared = record.volumes()
    assert wanted == Volume(claim="wanted", mount_path=f"{HOME}/example-workspace", storage_class="fast")
    assert scans == Volume(claim="scans", mount_path="/data/scans", storage_class="slow")
    assert shared.shared


# Dates


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        pytest.param(date(2022, 1, 2), Availability.FUTURE, id="the-day-before"),
        pytest.param(date(2022, 1, 3), Availability.OPEN, id="the-first-day"),
        pytest.param(date(2029, 12, 3), Availability.OPEN, id="the-last-day-of-the-grant"),
        pytest.param(date(2029, 12, 4), Availability.EXPIRED, id="the-day-on-which-it-expires"),
    ],
)
def test_earlier_end_of_workspace_and_binding_holds(today: date, expected: Availability) -> None:
    """A1: open on the first and on the last day, the binding's end being the earlier one."""
    assert availability(workspace().grant(binding()), today) is expected


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_workspace_ends_a_longer_grant(days: int) -> None:
    """A1: the workspace's end being the earlier one; on the day on which it expires, it is over."""
    grant = workspace().grant(binding(expires="2031-01-01"))
    expected = Availability.OPEN if days < 0 else Availability.EXPIRED
    assert availability(grant, date(2030, 1, 7) + timedelta(days)) is expected


BAD_DATES = [
    pytest.param(LEFT_OUT, id="missing"),
    pytest.param(None, id="null"),
    pytest.param("", id="empty"),
    pytest.param("20300107", id="without-hyphens"),
    pytest.param("2023-02-29", id="no-day-of-the-calendar"),
    pytest.param("2030-1-7", id="short"),
    pytest.param("2030-W02-1", id="week"),
    pytest.param("2030-01-07T00:00:00Z", id="with-a-time"),
    pytest.param(" 2030-01-07", id="blank-before"),
    pytest.param("2030-01-07\n", id="line-break-after"),
    pytest.param("٢٠٣٠-٠١-٠٧", id="other-digits"),  # noqa: RUF001 - that is what is tested
    pytest.param("never", id="a-word"),
    pytest.param(20300107, id="number"),
    pytest.param(["2030-01-07"], id="list"),
    pytest.param("9" * 100_000, id="hostile-length"),
]


@pytest.mark.parametrize("value", BAD_DATES)
@pytest.mark.parametrize("field", ["availableFrom", "expires"])
def test_workspace_without_a_certain_date_is_refused(field: str, value: Any) -> None:
    """A2: missing or unparsable is denied."""
    record = set_aside(changed(EXAMPLE_WORKSPACE, {f"spec.validity.{field}": value}))
    assert f"spec.validity.{field}" in record.reason
    assert record.trouble is Trouble.BROKEN
    assert len(record.reason) < 700


@pytest.mark.parametrize("value", BAD_DATES)
def test_binding_without_a_certain_date_is_refused(value: Any) -> None:
    """A2: missing or unparsable is denied."""
    with pytest.raises(ValueError, match=r"^spec\.expires: ") as error:
        binding(expires=value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("value", [LEFT_OUT, None, {}, [], "2030"], ids=["missing", "null", "empty", "list", "text"])
def test_workspace_without_validity_is_refused(value: Any) -> None:
    """A2."""
    assert "spec.validity" in set_aside(changed(EXAMPLE_WORKSPACE, {"spec.validity": value})).reason


@pytest.mark.parametrize("first", ["2030-01-07", "2030-01-08"], ids=["on the day on which it expires", "later"])
def test_window_that_ends_before_it_begins_is_refused(first: str) -> None:
    """A1: it could never open, and would be shown as one that opens later."""
    reason = set_aside(changed(EXAMPLE_WORKSPACE, {"spec.validity.availableFrom": first})).reason
    assert reason == (
        f"spec.validity.availableFrom: {first}; accepted: a day that is not after the last one, 2030-01-06"
    )


def test_first_day_of_the_calendar_is_the_end_of_nothing() -> None:
    """A1: no day is before it."""
    changes = {"spec.validity.availableFrom": "0001-01-01", "spec.validity.expires": "0001-01-01"}
    assert "no day before it" in set_aside(changed(EXAMPLE_WORKSPACE, changes)).reason
    with pytest.raises(ValueError, match=r"^spec\.expires: 0001-01-01 has no day before it"):
        binding(expires="0001-01-01")


# Users

USERNAMES = [
    pytest.param("a.user@example.org", "a.user@example.org", True, id="the-same"),
    pytest.param("A.User@Example.ORG", "a.user@example.org", True, id="binding-in-capitals"),
    pytest.param("a.user@example.org", "A.USER@EXAMPLE.ORG", True, id="user-in-capitals"),
    pytest.param("john-smith@x", "john_smith@x", False, id="look-alike-underscore"),
    pytest.param("john-smith@x", "john@smith@x", False, id="look-alike-at"),
    pytest.param("john_smith@x", "john-smith@x", False, id="look-alike-hyphen"),
    pytest.param("john___smith___x", "john-smith@x", False, id="the-label-itself"),
    pytest.param("a.user", "a.user@example.org", False, id="the-beginning"),
    pytest.param("example.org", "a.user@example.org", False, id="the-end"),
    pytest.param("a.user@example.org ", "a.user@example.org", False, id="blank-after"),
    pytest.param("u" * 63, "u" * 63, True, id="63-characters"),
    pytest.param("u" * 64, "u" * 64, True, id="64-characters"),
    pytest.param("u" * 64, "u" * 63, False, id="64-is-not-63"),
    pytest.param("ÅSE@x", "åse@X", True, id="unicode-case"),
    pytest.param("åse@x", "ase@x", False, id="unicode-is-not-ascii"),
    pytest.param("ſmith@x", "smith@x", False, id="long-s-is-not-s"),  # noqa: RUF001 - that is what is tested
    pytest.param("straße@x", "strasse@x", False, id="sharp-s-is-not-ss"),
    pytest.param("а.user@example.org", "a.user@example.org", False, id="cyrillic-a"),  # noqa: RUF001
    pytest.param("a.user@example.org", "study\\a.user@example.org", True, id="scoped-session"),
    pytest.param("study\\a.user@example.org", "study\\a.user@example.org", False, id="scope-is-no-part-of-the-name"),
    pytest.param("a.user@example.org", "study\\", False, id="scope-without-a-name"),
    pytest.param("*", "a.user@example.org", False, id="no-wildcard"),
    pytest.param("a/user", "user", False, id="no-path-segment"),
]


@pytest.mark.parametrize(("username", "identity", "granted"), USERNAMES)
def test_username_is_matched_whole(username: str, identity: str, granted: bool) -> None:
    """A2: whole and in lower case, never by the label, a prefix or a path segment."""
    assert binding(username=username).grants(User.identify(identity)) is granted


def test_label_is_never_looked_at() -> None:
    """A2: the label of another user on a binding changes nothing."""
    raw = changed(EXAMPLE_BINDING, {"metadata.labels": {"xlscsde.nhs.uk/username": "mallory"}})
    assert not read_binding(raw).grants(User.identify("mallory"))
    assert read_binding(raw).grants(User.identify("a.user@example.org"))


RULES = [
    {"name": "groups", "operator": "IN", "value": "cardio, hip"},
    {"name": "grade", "operator": "NOT EQUALS", "value": "guest"},
]


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        pytest.param({"groups": ["x", "hip"], "grade": "staff"}, True, id="both-hold"),
        pytest.param({"groups": ["x", "hip"], "grade": "guest"}, False, id="the-second-fails"),
        pytest.param({"groups": ["x"], "grade": "staff"}, False, id="the-first-fails"),
        pytest.param({"groups": ["x", "hip"]}, False, id="a-negated-claim-is-missing"),
        pytest.param({}, False, id="no-claims"),
        pytest.param(None, False, id="not-known-now"),
    ],
)
def test_all_items_of_claims_must_hold(claims: dict[str, Any] | None, granted: bool) -> None:
    """A2, issue part 3; alone and beside a username."""
    alone = binding(username=LEFT_OUT, claims=RULES)
    both = binding(claims=RULES)
    assert alone.username is None
    assert alone.grants(User.identify("anybody", claims)) is granted
    assert both.grants(User.identify("a.user@example.org", claims)) is granted
    assert not both.grants(User.identify("anybody", claims))
    assert not alone.grants(User.identify("study\\", claims))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"username": LEFT_OUT}, "neither spec.username nor spec.claims", id="nobody"),
        pytest.param({"username": None, "claims": None}, "neither spec.username nor spec.claims", id="nulls"),
        pytest.param({"username": LEFT_OUT, "claims": []}, "neither spec.username nor spec.claims", id="empty-claims"),
        pytest.param({"username": ""}, "spec.username is empty", id="empty-username"),
        pytest.param({"username": "  ", "claims": RULES}, "spec.username is empty", id="blank-username-and-claims"),
        pytest.param({"username": 5}, "spec.username: Input should be a valid string", id="username-is-a-number"),
        pytest.param({"claims": {"name": "a"}}, "spec.claims: ", id="claims-is-a-map"),
        pytest.param({"claims": ["a"]}, "spec.claims.0: ", id="claim-is-text"),
        pytest.param(
            {"claims": [{"name": "a", "operator": "LIKE", "value": "b"}]}, "'LIKE' is not one of", id="operator"
        ),
        pytest.param({"claims": [*RULES, {"name": "a"}]}, "spec.claims: the operator", id="one-bad-item-of-three"),
        pytest.param({"workspace": LEFT_OUT}, "spec.workspace 'None' is not the name", id="no-workspace"),
        pytest.param({"workspace": "../x"}, "spec.workspace '../x' is not the name", id="workspace-is-a-path"),
        pytest.param({"workspace": "Example-Workspace"}, "is not the name of a workspace", id="workspace-in-capitals"),
        pytest.param({"workspace": "x" * 254}, "is not the name of a workspace", id="workspace-of-254"),
    ],
)
def test_binding_that_is_not_certain_is_refused(changes: dict[str, Any], reason: str) -> None:
    """A2: missing, unparsable or unknown is denied."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the reason is compared below
        binding(**changes)
    assert reason in str(error.value)


def test_claims_may_be_empty_beside_a_username() -> None:
    """A portal that writes an empty list means no further condition."""
    empties: list[Any] = [[], {}, "", None]
    for empty in empties:
        assert binding(claims=empty).grants(User.identify("a.user@example.org"))


@pytest.mark.parametrize("raw", [{}, {"spec": None}, {"spec": []}, {"spec": "x"}], ids=["none", "null", "list", "text"])
def test_object_without_a_spec_is_refused(raw: dict[str, Any]) -> None:
    """F3."""
    raw = {"metadata": {"name": "x", "resourceVersion": "1"}, **raw}
    assert set_aside(raw).trouble is not Trouble.STORAGE
    with pytest.raises(ValueError, match="spec"):
        read_binding(raw)


DELETING = [
    pytest.param({"metadata.deletionTimestamp": "2026-01-01T00:00:00Z"}, id="deletion-timestamp"),
    pytest.param({"status.statusText": "Deleting"}, id="status"),
]


@pytest.mark.parametrize("changes", DELETING)
def test_what_is_being_deleted_grants_nothing(changes: dict[str, Any]) -> None:
    """A2: neither the workspace nor the binding."""
    assert set_aside(changed(EXAMPLE_WORKSPACE, changes)).trouble is Trouble.DELETING
    with pytest.raises(ValueError, match="it is being deleted"):
        read_binding(changed(EXAMPLE_BINDING, changes))


# Partial resources, and workspaces that are not for Jupyter


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"resources": LEFT_OUT}, id="no-resources"),
        pytest.param({"resources": None}, id="null-resources"),
        pytest.param({"resources": {}}, id="empty-resources"),
        pytest.param({"resources": {"requests": {}, "limits": None}}, id="empty-parts"),
        pytest.param({"resources": {"claims": []}}, id="no-device-claims"),
        pytest.param({"persistentVolumeClaim": LEFT_OUT}, id="no-claim"),
        pytest.param({"persistentVolumeClaim": None}, id="null-claim"),
        pytest.param({"persistentVolumeClaim": {"name": "", "storageClassName": ""}}, id="empty-claim"),
        pytest.param({"extraLabels": None, "nodeSelector": None, "tolerations": None}, id="nulls"),
        pytest.param({"extraLabels": {}, "nodeSelector": {}, "tolerations": []}, id="empties"),
        pytest.param({"additionalStorage": None, "defaultUri": ""}, id="more-empties"),
        pytest.param({"somethingNew": {"a": 1}}, id="a-field-that-is-not-known"),
        pytest.param({"resources": "", "nodeSelector": "", "extraLabels": "", "tolerations": ""}, id="empty-texts"),
        pytest.param({"tolerations": {}, "additionalStorage": {}, "defaultUri": {}}, id="empty-maps"),
        pytest.param({"persistentVolumeClaim": "", "additionalStorage": ""}, id="empty-storage"),
        pytest.param({"persistentVolumeClaim": {"name": {}, "storageClassName": None}}, id="claim-of-empties"),
        pytest.param({"resources": {"requests": "", "limits": {"cpu": "", "memory": None}}}, id="empty-amounts"),
    ],
)
def test_partial_workspace_is_served(changes: dict[str, Any]) -> None:
    """F3: resources may be partial."""
    assert workspace(**changes).volumes()[0].claim == "jupyter-example-workspace"


@pytest.mark.parametrize("value", [LEFT_OUT, None, "", "  "], ids=["missing", "null", "empty", "blank"])
def test_workspace_without_a_title_has_its_name(value: Any) -> None:
    """F3."""
    record = read_workspace(changed(EXAMPLE_WORKSPACE, {"spec.displayName": value, "spec.description": None}))
    assert isinstance(record, WorkspaceRecord)
    assert (record.display_name, record.description) == ("example-workspace", "")


@pytest.mark.parametrize(
    "machine", [{}, {"maxHosts": 3}, {"maxHosts": "50%"}, None], ids=["empty", "number", "text", "null"]
)
def test_virtual_machines_do_not_hide_jupyter(machine: Any) -> None:
    """F3: a workspace for both is served, whatever the other half says."""
    record = read_workspace(changed(EXAMPLE_WORKSPACE, {"spec.virtualMachineWorkspace": machine}))
    assert isinstance(record, WorkspaceRecord)


@pytest.mark.parametrize("jupyter", [LEFT_OUT, None], ids=["missing", "null"])
def test_workspace_that_is_not_for_jupyter_is_not_offered(jupyter: Any) -> None:
    """F3; it still counts for the claims that it names (S3)."""
    raw = changed(
        EXAMPLE_WORKSPACE,
        {
            "spec.jupyterWorkspace": jupyter,
            "spec.virtualMachineWorkspace": {"maxHosts": "50%"},
            "status.persistentVolumeClaim": "machines",
        },
    )
    record = set_aside(raw)
    assert record.trouble is Trouble.NOT_FOR_JUPYTER
    assert named_claims(raw) == {"jupyter-example-workspace", "machines"}


def test_empty_jupyter_part_is_a_mistake_and_not_another_kind() -> None:
    """F3: the library's model cannot tell an empty part from a missing one; the plugin can."""
    record = set_aside(changed(EXAMPLE_WORKSPACE, {"spec.jupyterWorkspace": {}}))
    assert (record.trouble, record.reason) == (
        Trouble.BROKEN,
        f"spec.jupyterWorkspace.image: nothing; accepted: {IMAGE}",
    )


# Hostile and mistaken fields

IMAGE = "an image such as registry.example.org/notebook:1.0, its name of at most 255"
PATH = "a path on the user's server such as /lab"

LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"image": LEFT_OUT}, f"image: nothing; accepted: {IMAGE}", id="no-image"),
        pytest.param({"image": ""}, "image: nothing; accepted", id="empty-image"),
        pytest.param({"image": "a b"}, "image: 'a b'; accepted", id="image-with-a-blank"),
        pytest.param({"image": "a\n"}, r"image: 'a\n'; accepted", id="image-with-a-line-break"),
        pytest.param({"image": "a\x1b[31m"}, r"image: 'a\x1b[31m'; accepted", id="image-with-an-escape"),
        pytest.param(
            {"image": 5}, "spec.jupyterWorkspace.image: Input should be a valid string", id="image-is-a-number"
        ),
        pytest.param({"defaultUri": "//evil.example"}, PATH, id="uri-of-another-host"),
        pytest.param({"defaultUri": "https://evil.example"}, PATH, id="uri-with-a-scheme"),
        pytest.param({"defaultUri": "javascript:alert(1)"}, PATH, id="uri-script"),
        pytest.param({"defaultUri": "/\\evil.example"}, PATH, id="uri-backslash"),
        pytest.param({"defaultUri": "/lab\r\nSet-Cookie: a"}, PATH, id="uri-with-a-header"),
        pytest.param({"defaultUri": "/../../hub/logout"}, PATH, id="uri-climbs"),
        pytest.param({"defaultUri": "/a/%2e%2E/b"}, PATH, id="uri-climbs-encoded"),
        pytest.param({"defaultUri": "/a/%252e%252e/b"}, PATH, id="uri-climbs-encoded-twice"),
        pytest.param({"defaultUri": "/a/..%2fb"}, PATH, id="uri-climbs-encoded-slash"),
        pytest.param({"extraLabels": {"a b": "c"}}, "extraLabels: 'a b'", id="label-key"),
        pytest.param({"extraLabels": {"/a": "c"}}, "extraLabels: '/a'", id="label-key-without-a-prefix"),
        pytest.param({"extraLabels": {"": "c"}}, "extraLabels: ''", id="label-key-empty"),
        pytest.param(
            {"extraLabels": {"a": "<script>"}}, "accepted: a key and a value that a label can have", id="label-value"
        ),
        pytest.param(
            {"extraLabels": {"a": "c" * 64}},
            "accepted: a key and a value that a label can have",
            id="label-value-of-64",
        ),
        pytest.param({"extraLabels": {"a": True}}, "extraLabels.a: Input should be a valid string", id="label-boolean"),
        pytest.param({"extraLabels": ["a"]}, "extraLabels: ", id="labels-are-a-list"),
        pytest.param(
            {"nodeSelector": {"gpu": True}},
            "nodeSelector: 'gpu': True; accepted: text keys with text values",
            id="selector-boolean",
        ),
        pytest.param({"nodeSelector": ["gpu"]}, "nodeSelector", id="selector-is-a-list"),
        pytest.param({"nodeSelector": {LONG: "a"}}, "nodeSelector: ", id="selector-long"),
        pytest.param({"tolerations": {"key": "a"}}, "tolerations", id="tolerations-are-a-map"),
        pytest.param({"tolerations": ["a"]}, "tolerations.0", id="toleration-is-text"),
        pytest.param(
            {"tolerations": [{"key": "a", "colour": "red"}]},
            "tolerations: [0] 'colour'; accepted: key, operator,",
            id="toleration-field",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Gt"}]},
            "[0] operator: 'Gt'; accepted: Equal or Exists",
            id="operator",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "effect": "Never"}]},
            "[0] effect: 'Never'; accepted: NoExecute, NoSchedule, PreferNoSchedule",
            id="effect",
        ),
        pytest.param(
            {"tolerations": [{"value": "a"}]}, "operator: 'Equal'; accepted: Exists, where there is no key", id="no-key"
        ),
        pytest.param({"tolerations": [{"key": "a b"}]}, "[0] key: 'a b'; accepted", id="toleration-key"),
        pytest.param(
            {"tolerations": [{"key": "a", "value": "b c"}]}, "[0] value: 'b c'; accepted", id="toleration-value"
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "value": 5}]}, "value: a number; accepted: a text", id="toleration-number"
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "value: 'b'; accepted: none, with the operator Exists",
            id="both",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "tolerationSeconds": 5}]},
            "effect: nothing; accepted: NoExecute, with tolerationSeconds",
            id="seconds",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": "5"}]},
            "tolerationSeconds: '5'; accepted: a whole number of seconds",
            id="seconds-are-text",
        ),
        pytest.param(
            {"tolerations": [{"key": "a"}] * 101},
            "a list of 101; accepted: a sequence of at most 100 tolerations",
            id="101-tolerations",
        ),
        pytest.param({"resources": []}, "resources", id="resources-are-a-list"),
        pytest.param({"resources": {"limit": {"cpu": 1}}}, "'limit' is not known", id="resources-misspelt"),
        pytest.param({"resources": {"claims": [{"name": "gpu"}]}}, "dynamic resource allocation", id="device-claims"),
        pytest.param(
            {"resources": {"limits": {"memory": "10GB"}}},
            "limits: 'memory': '10GB'; accepted: a number and a unit",
            id="memory-GB",
        ),
        pytest.param(
            {"resources": {"limits": {"memory": -1}}},
            "limits: 'memory': '-1'; accepted: a number",
            id="memory-negative",
        ),
        pytest.param({"resources": {"limits": {"cpu": True}}}, "limits: 'cpu': True; accepted", id="cpu-boolean"),
        pytest.param(
            {"resources": {"limits": {"cpu": {"a": 1}}}}, "limits: 'cpu': a mapping of 1; accepted", id="cpu-is-a-map"
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "1" * 100}}}, "(100 characters); accepted: a number", id="cpu-long"
        ),
        pytest.param(
            {"resources": {"limits": {"gpu": 1}}}, "'gpu': no resource of a container", id="gpu-without-a-vendor"
        ),
        pytest.param(
            {"resources": {"limits": {LONG: 1}}}, "(100000 characters): no resource of a container", id="resource-long"
        ),
        pytest.param(
            {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2G"}}},
            "requests: 'memory': the request is more than the limit; accepted: at most as much",
            id="request-above-limit",
        ),
        pytest.param(
            {"resources": {"limits": {"example.com/gpu": "500m"}}}, "'500m'; accepted: a whole number", id="half-a-gpu"
        ),
        pytest.param(
            {"resources": {"requests": {"example.com/gpu": 1}}}, "no limit that is the same", id="gpu-without-a-limit"
        ),
        pytest.param(
            {"resources": {"requests": {"example.com/gpu": 1}, "limits": {"example.com/gpu": 2}}},
            "no limit that is the same; accepted: a limit, and the same request or none",
            id="gpu-shared-out",
        ),
        pytest.param({"persistentVolumeClaim": "x"}, "persistentVolumeClaim: ", id="claim-is-text"),
        pytest.param({"additionalStorage": {"a": 1}}, "additionalStorage: ", id="storage-is-a-map"),
    ],
)
def test_field_that_is_wrong_refuses_the_workspace(changes: dict[str, Any], reason: str) -> None:
    """F3: with its reason, of bounded length (F1)."""
    found = refused(**changes)
    assert reason in found
    assert len(found) < 700
    assert found.isprintable()


@pytest.mark.parametrize(
    ("quantity", "kept"),
    [
        ("1.5Gi", "1.5Gi"),
        ("1500M", "1500M"),
        ("1e9", "1e9"),
        (1073741824, "1073741824"),
        (0.5, "0.5"),
        ("500m", "500m"),
    ],
)
def test_quantities_are_kept_as_they_were_written(quantity: Any, kept: str) -> None:
    """F2: the units are shown as they are in the resource."""
    assert workspace(resources={"limits": {"memory": quantity}}).resources.limits == {"memory": kept}


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("lab", "/lab"),
        ("lab/tree/my notes.ipynb?reset", "/lab/tree/my%20notes.ipynb?reset"),
        ("/my notes/", "/my%20notes/"),
        (" /lab ", "/lab"),
        ("", None),
        (" ", None),
        (None, None),
    ],
)
def test_url_that_can_only_mean_one_thing_is_made_right(written: str | None, made: str | None) -> None:
    """F3: real resources have these."""
    assert workspace(defaultUri=written).default_url == made


@pytest.mark.parametrize(("written", "made"), [("/data/", "/data"), ("/data//", "/data"), ("/data/x/", "/data/x")])
def test_slash_at_the_end_of_a_path_says_nothing(written: str, made: str) -> None:
    """F3: the portal writes it."""
    assert workspace(**more(written)).storage[1].mount_path == made


@pytest.mark.parametrize("item", [{}, None, "", {"mountPath": "/x", "persistentVolumeClaim": ""}, {"mountPath": "/x"}])
def test_further_storage_without_a_claim_is_left_out(item: Any) -> None:
    """F3: it hides nothing, and is counted for the operator."""
    record = workspace(additionalStorage=[item, {"persistentVolumeClaim": "scans"}])
    assert [each.claim for each in record.storage] == ["jupyter-example-workspace", "scans"]
    assert record.without_claim == 1


def test_endless_texts_are_cut_as_they_are_read() -> None:
    """F1: before they are kept for everybody's forms."""
    raw = changed(EXAMPLE_WORKSPACE, {"spec.displayName": "t" * 2_000_000, "spec.description": "d" * 2_000_000})
    record = read_workspace(raw)
    assert isinstance(record, WorkspaceRecord)
    assert (record.display_name, record.description) == ("t" * 200 + "…", "d" * 5000 + "…")


def test_request_may_equal_its_limit_in_another_unit() -> None:
    """F3: quantities are compared, not their texts."""
    found = workspace(resources={"requests": {"cpu": "2000m"}, "limits": {"cpu": 2, "hugepages-2Mi": "4Mi"}})
    assert found.resources.requests == {"cpu": "2000m"}


@pytest.mark.parametrize(
    "toleration",
    [
        pytest.param({"operator": "Exists"}, id="everything"),
        pytest.param({"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, id="exists"),
        pytest.param({"key": "gpu", "value": "a100", "effect": "PreferNoSchedule"}, id="equal-by-default"),
        pytest.param({"key": "gpu", "operator": "Equal", "value": ""}, id="empty-value"),
        pytest.param({"key": "gpu", "effect": "NoExecute", "tolerationSeconds": 0}, id="no-seconds"),
    ],
)
def test_toleration_of_a_pod_is_kept_as_it_is(toleration: dict[str, Any]) -> None:
    """Issue part 3."""
    assert [dict(each) for each in workspace(tolerations=[toleration]).tolerations] == [toleration]


def test_texts_from_authors_are_kept_for_the_page_to_escape() -> None:
    """F1: what people wrote is not cleaned here."""
    hostile = '<script>alert("1")</script>'
    record = read_workspace(
        changed(EXAMPLE_WORKSPACE, {"spec.displayName": hostile, "spec.description": hostile + "\n2"})
    )
    assert isinstance(record, WorkspaceRecord)
    assert (record.display_name, record.description) == (hostile, hostile + "\n2")


def test_unreadable_workspace_is_set_aside_and_counts_for_its_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3: a fault of ours must not make another workspace look like the only one that names a claim."""

    def fail(_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("workspace_manager_lscsde.compat.workspace_spec", fail)
    raw = changed(EXAMPLE_WORKSPACE, {"spec.jupyterWorkspace.persistentVolumeClaim.name": "data"})
    assert set_aside(raw).reason == "cannot be read: RecursionError"
    assert named_claims(raw) == {"data", "jupyter-example-workspace"}


def test_all_claims_that_a_workspace_names_are_counted() -> None:
    """S3: its own, its default, those of its status, and further ones; broken parts are passed over."""
    raw = changed(
        EXAMPLE_WORKSPACE,
        {
            "spec.jupyterWorkspace.persistentVolumeClaim.name": "own",
            "spec.jupyterWorkspace.additionalStorage": [{"persistentVolumeClaim": "more"}, 5, None, {}],
            "status": {"persistentVolumeClaim": "earlier", "additionalStorage": {"a": "of-status", "b": 5}},
        },
    )
    assert named_claims(raw) == {"jupyter-example-workspace", "own", "more", "earlier", "of-status"}


# Storage


@pytest.mark.parametrize(
    ("spec", "status", "claim"),
    [
        pytest.param({}, LEFT_OUT, "jupyter-example-workspace", id="default"),
        pytest.param({}, {"statusText": "Waiting"}, "jupyter-example-workspace", id="status-without-a-claim"),
        pytest.param({}, {"persistentVolumeClaim": "earlier"}, "earlier", id="status"),
        pytest.param({"name": "wanted"}, {"persistentVolumeClaim": "earlier"}, "wanted", id="spec-before-status"),
        pytest.param({"name": ""}, {"persistentVolumeClaim": "earlier"}, "earlier", id="empty-name-is-none"),
        pytest.param({}, {"persistentVolumeClaim": ""}, "jupyter-example-workspace", id="empty-status-is-none"),
        pytest.param({"name": "x" * 253}, LEFT_OUT, "x" * 253, id="253-characters"),
    ],
)
def test_which_claim(spec: dict[str, Any], status: Any, claim: str) -> None:
    """S3: the spec's, else the status's, else the default."""
    raw = changed(EXAMPLE_WORKSPACE, {"spec.jupyterWorkspace.persistentVolumeClaim": spec, "status": status})
    record = read_workspace(raw)
    assert isinstance(record, WorkspaceRecord)
    assert record.storage[0].claim == claim


def more(path: Any, claim: Any = "more") -> dict[str, Any]:
    return {"additionalStorage": [{"mountPath": path, "persistentVolumeClaim": claim}]}


BAD_STORAGE = [
    pytest.param(more("data"), "mount path 'data'", id="relative"),
    pytest.param(more("/data/../etc"), "mount path '/data/../etc'", id="climbs"),
    pytest.param(more("//data"), "mount path '//data'", id="doubled-slash"),
    pytest.param(more(f"{HOME}/example-workspace"), "cover each other", id="repeats-its-own-folder"),
    pytest.param(more(f"{HOME}/example-workspace/x"), "cover each other", id="inside-its-own-folder"),
    pytest.param(more(f"{HOME}/shared"), "cover each other", id="the-shared-folder"),
    pytest.param(more(HOME), "would cover the home", id="the-home"),
    pytest.param(more("/home"), "would cover the home", id="above-the-home"),
    pytest.param(more("/"), "would cover the home", id="the-root"),
    pytest.param(more("/etc/jupyter"), "the system folder /etc", id="system-folder"),
    pytest.param(more("/usr"), "the system folder /usr", id="usr"),
    pytest.param(more("/a:b"), "a character that a mount path cannot have", id="colon"),
    pytest.param(more("/data", "jupyter-shared"), "names the shared claim", id="the-shared-claim"),
    pytest.param(more("/data", "A B"), "'A B' is not the name of a claim", id="no-claim-name"),
    pytest.param(more("/data", "x" * 254), "is not the name of a claim", id="claim-of-254"),
    pytest.param(
        {"additionalStorage": [{"mountPath": "/d", "persistentVolumeClaim": c} for c in ("a", "b")]},
        "cover each other",
        id="two-at-one-path",
    ),
    pytest.param(
        {"additionalStorage": [{"persistentVolumeClaim": f"c{i}"} for i in range(33)]},
        "has 33 entries; at most 32",
        id="too-many",
    ),
    pytest.param(
        {"additionalStorage": [{"persistentVolumeClaim": "a", "storageClassName": "A"}]},
        "'A' is not the name of a storage class",
        id="storage-class",
    ),
    pytest.param({"persistentVolumeClaim": {"name": "jupyter-shared"}}, "names the shared claim", id="main-is-shared"),
    pytest.param({"persistentVolumeClaim": {"name": "../x"}}, "'../x' is not the name of a claim", id="main-is-a-path"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD_STORAGE)
def test_storage_that_is_not_certain_refuses_the_workspace(changes: dict[str, Any], reason: str) -> None:
    """S2, issue part 3: with its reason."""
    changes = {f"spec.jupyterWorkspace.{key}": value for key, value in changes.items()}
    record = set_aside(changed(EXAMPLE_WORKSPACE, changes))
    assert reason in record.reason
    assert record.trouble is Trouble.STORAGE
    assert len(record.reason) < 700


def test_workspace_named_shared_is_refused() -> None:
    """S2: it may not reach the shared claim by its own name."""
    record = set_aside(changed(EXAMPLE_WORKSPACE, {"metadata.name": "shared"}))
    assert "its name is reserved" in record.reason


@pytest.mark.parametrize("path", [LEFT_OUT, None, ""], ids=["missing", "null", "empty"])
def test_additional_storage_without_a_path_goes_below_mnt(path: Any) -> None:
    """Issue part 3: as the library does it."""
    item = changed({"persistentVolumeClaim": "scans"}, {"mountPath": path})
    assert workspace(additionalStorage=[item]).storage[1].mount_path == "/mnt/scans"


def test_longest_names_are_served() -> None:
    """S4: a workspace of 253 characters, one with dots."""
    for name in ("x" * 253, "a.b-c.d"):
        record = read_workspace(changed(EXAMPLE_WORKSPACE, {"metadata.name": name}))
        assert isinstance(record, WorkspaceRecord)
        assert record.storage[0].mount_path == f"{HOME}/{name}"
        assert len(record.storage[0].claim) <= 253


# Status


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param(
            LEFT_OUT,
            {
                "statusText": "Provisioned",
                "persistentVolumeClaim": "own",
                "additionalStorage": {"scans": "scans"},
            },
            id="none-yet",
        ),
        pytest.param(
            {"statusText": "Provisioned", "persistentVolumeClaim": "own", "additionalStorage": {"scans": "scans"}},
            {},
            id="says-so-already",
        ),
        pytest.param(
            {"statusText": "Waiting", "persistentVolumeClaim": "own", "additionalStorage": {"scans": "scans"}},
            {"statusText": "Provisioned"},
            id="only-the-text",
        ),
        pytest.param(
            {"statusText": "Provisioned", "persistentVolumeClaim": "own", "additionalStorage": {"old": "old"}},
            {"additionalStorage": {"scans": "scans"}},
            id="earlier-storage-stays",
        ),
        pytest.param(
            {"statusText": "Provisioned", "persistentVolumeClaim": "earlier", "additionalStorage": {"scans": "scans"}},
            {},
            id="another-claim-stays",
        ),
        pytest.param(
            {"statusText": "Provisioned", "persistentVolumeClaim": "", "additionalStorage": {"scans": "of-old"}},
            {"persistentVolumeClaim": "own"},
            id="an-entry-is-never-changed",
        ),
    ],
)
def test_status_is_written_only_where_it_differs(status: Any, wanted: dict[str, Any]) -> None:
    """S7: which claims there are is written once, and never changed."""
    changes = {
        "spec.jupyterWorkspace.persistentVolumeClaim.name": "own",
        "spec.jupyterWorkspace.additionalStorage": [{"persistentVolumeClaim": "scans"}],
        "status": status,
    }
    record = read_workspace(changed(EXAMPLE_WORKSPACE, changes))
    assert isinstance(record, WorkspaceRecord)
    assert record.wanted_status() == wanted


@pytest.mark.parametrize("status", ["x", {"persistentVolumeClaim": 5}, {"additionalStorage": {"a": 1}}])
def test_unreadable_status_refuses_the_workspace(status: Any) -> None:
    """S3: it may name the claim that is the workspace's own."""
    assert "status" in set_aside(changed(EXAMPLE_WORKSPACE, {"status": status})).reason


# Memory


def test_what_is_kept_of_a_binding_is_small_and_whole() -> None:
    """At most 1 KiB a binding, its name and key included."""
    binding = read_binding(EXAMPLE_BINDING)
    kept = pickle.dumps(binding)
    assert pickle.loads(kept) == binding  # noqa: S301 - its own
    assert len(kept) < 400


@pytest.mark.parametrize("broken", [False, True], ids=["right", "set aside"])
def test_what_is_kept_of_a_workspace_is_small_and_whole(broken: bool) -> None:
    """At most 1 KiB a workspace, its name and keys included, from which the same record is read again."""
    raw = changed(
        EXAMPLE_WORKSPACE,
        {
            "spec.jupyterWorkspace.tolerations": [{"key": "gpu", "operator": "Exists"}],
            "spec.jupyterWorkspace.additionalStorage": [{"persistentVolumeClaim": "scans"}],
            "spec.jupyterWorkspace.defaultUri": "//lab" if broken else "/lab",
        },
    )
    record = read_workspace(raw)
    assert isinstance(record, SetAside) == broken
    kept = pickle.dumps(record)
    again = pickle.loads(kept)  # noqa: S301 - its own
    assert (type(again), again) == (type(record), record)
    assert len(kept) < 900


def test_reason_tells_no_value_of_the_wrong_type() -> None:
    """F1: it could be a secret in the wrong place."""
    assert "hunter2" not in refused(persistentVolumeClaim="hunter2")


def test_many_reasons_are_one_bounded_line() -> None:
    """F1: each of 32 mounts is wrong."""
    wrong = [{"persistentVolumeClaim": f"c{index}", "mountPath": "x" * 300} for index in range(32)]
    assert len(refused(additionalStorage=wrong)) < 700
