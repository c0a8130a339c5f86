"""Who may open what, and when (A1, A2)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jupyterhub.auth import Authenticator

from tests.factories import TODAY, workspace
from workspace_managers import AccessDenied, User, parse_day
from workspace_managers.access import Availability, availability, best_grants, last_day, require_open

DAY = timedelta(days=1)
ALICE = User.identify("alice")


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        pytest.param(date(2025, 12, 31), Availability.FUTURE, id="the-day-before"),
        pytest.param(date(2026, 1, 1), Availability.OPEN, id="the-first-day"),
        pytest.param(date(2026, 12, 31), Availability.OPEN, id="the-last-day"),
        pytest.param(date(2027, 1, 1), Availability.EXPIRED, id="the-day-after"),
    ],
)
def test_open_from_first_to_last_day(today: date, expected: Availability) -> None:
    """A1: both ends are days of access."""
    assert availability(workspace(), today) is expected


@pytest.mark.parametrize(
    ("study", "grant"),
    [
        pytest.param(TODAY - DAY, TODAY + DAY, id="the-workspace-ends-first"),
        pytest.param(TODAY + DAY, TODAY - DAY, id="the-grant-ends-first"),
    ],
)
def test_earlier_end_holds(study: date, grant: date) -> None:
    """A1: the earlier end of workspace and grant."""
    both = workspace(last_day=study, grant_last_day=grant)
    assert last_day(both) == TODAY - DAY
    assert availability(both, TODAY) is Availability.EXPIRED


def test_window_that_ends_before_it_begins_is_never_open() -> None:
    """A1: a mistake in the dates opens nothing, on no day."""
    grant = workspace(first_day=TODAY + DAY, last_day=TODAY - DAY)
    days = [TODAY + offset * DAY for offset in range(-3, 4)]
    assert Availability.OPEN not in {availability(grant, day) for day in days}


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        pytest.param(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "UTC", Availability.OPEN, id="last-minute"),
        pytest.param(datetime(2027, 1, 1, 0, 0, tzinfo=UTC), "UTC", Availability.EXPIRED, id="midnight"),
        pytest.param(
            datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "Europe/Berlin", Availability.EXPIRED, id="east-of-utc"
        ),
        pytest.param(datetime(2027, 1, 1, 4, 59, tzinfo=UTC), "America/New_York", Availability.OPEN, id="west-of-utc"),
    ],
)
def test_day_is_that_of_the_time_zone(moment: datetime, zone: str, expected: Availability) -> None:
    """A1: the calendar is that of WORKSPACE_TIMEZONE."""
    assert availability(workspace(), moment.astimezone(ZoneInfo(zone)).date()) is expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "20300107",
        "2030-1-7",
        "2030-02-30",
        "2030-01-07T00:00:00",
        " 2030-01-07",
        20300107,
        "\u0662\u0660\u0663\u0660-01-07",
        date(2030, 1, 7),
    ],
    ids=repr,
)
def test_what_is_not_a_plain_date_is_refused(value: object) -> None:
    """A2: unparsable is never a day."""
    with pytest.raises(ValueError, match=r"YYYY-MM-DD|day is out of range"):
        parse_day(value)


def test_plain_date_is_read() -> None:
    assert parse_day("2030-01-07") == date(2030, 1, 7)


@pytest.mark.parametrize(
    ("name", "username", "scope"),
    [
        pytest.param("Alice@X.org", "alice@x.org", None, id="case"),
        pytest.param("STRASSE@x", "strasse@x", None, id="upper"),
        pytest.param("Straße@x", "straße@x", None, id="lowered-not-casefolded"),
        pytest.param("ſmith", "ſmith", None, id="long-s"),  # noqa: RUF001 - that is what is tested
        pytest.param("\u212aatie", "katie", None, id="kelvin-sign"),
        pytest.param("ΟΔΟΣ@x", "οδος@x", None, id="final-sigma"),
        pytest.param("NHS\\Straße", "straße", "nhs", id="scoped-sharp-s"),
        pytest.param("Study\\Alice", "alice", "study", id="scoped"),
        pytest.param("study\\domain\\alice", "domain\\alice", "study", id="first-backslash-separates"),
        pytest.param("\\alice", "alice", "", id="empty-scope"),
        pytest.param("study\\", "", "study", id="empty-username"),
        pytest.param("", "", None, id="empty"),
    ],
)
def test_identity_is_read_in_both_forms(name: str, username: str, scope: str | None) -> None:
    """A2: a user is matched whole, in lower case."""
    user = User.identify(name)
    assert (user.username, user.scope, user.name) == (username, scope, name)


@pytest.mark.parametrize("name", ["Alice", "\u017fmith", "straße", "STRASSE", "\u212aatie", "İ", "ΟΔΟΣ", "Ǆ", "ß", "ﬀ"])
def test_names_are_compared_as_the_hub_compares_them(name: str) -> None:
    """A2: what the hub takes for one user is one here, and what it takes for two is two."""
    assert User.identify(name).username == Authenticator().normalize_username(name)


@pytest.mark.parametrize("name", ["NHS\\Alice", "\\alice", "nhs\\", "alice", "a\\b\\c"])
def test_backslash_is_part_of_a_name_where_the_setting_says_so(name: str) -> None:
    """A2: WORKSPACE_SCOPED_NAMES=false."""
    user = User.identify(name, scoped=False)
    assert (user.username, user.scope) == (name.lower(), None)


def test_identity_claims_are_known_empty_or_unknown() -> None:
    """A2: frozen all the way down; what cannot be read is unknown, and not empty."""
    endless: list[Any] = []
    endless.append(endless)
    assert User.identify("alice").identity_claims == {}
    assert User.identify("alice", None).identity_claims is None
    assert User.identify("alice", {"groups": endless}).identity_claims is None
    claims: Any = User.identify("alice", {"groups": ["a", {"b": ["c"]}]}).identity_claims
    assert claims == {"groups": ("a", {"b": ("c",)})}
    with pytest.raises(TypeError, match="cannot be changed"):
        claims["groups"][1]["b"] = ()


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        pytest.param("cardio\\alice", True, id="its-own"),
        pytest.param("CARDIO\\alice", True, id="case"),
        pytest.param("cardi\\alice", False, id="prefix"),
        pytest.param("cardio2\\alice", False, id="longer"),
        pytest.param("\\alice", False, id="empty-scope"),
        pytest.param("cardio\\", False, id="no-username"),
        pytest.param("", False, id="nobody"),
    ],
)
def test_scoped_session_sees_its_workspace_only(name: str, opens: bool) -> None:
    """A2: scope is compared whole."""
    grants = [workspace("cardio"), workspace("asthma")]
    expected = {"cardio"} if opens else set()
    assert set(best_grants(User.identify(name), grants, TODAY)) == expected


def test_renewed_grant_opens_though_the_old_one_ended() -> None:
    """A1: each binding is a grant of its own."""
    old = workspace(grant_last_day=TODAY - DAY)
    new = workspace(grant_last_day=TODAY + DAY)
    for grants in ([old, new], [new, old]):
        assert require_open(ALICE, "cardio", grants, TODAY) is new


@pytest.mark.parametrize(
    ("name", "today", "sentence"),
    [
        pytest.param("nobody-has-this", TODAY, "not open to you", id="unknown"),
        pytest.param("CARDIO", TODAY, "not open to you", id="other-case"),
        pytest.param("card", TODAY, "not open to you", id="prefix"),
        pytest.param("cardio", date(2027, 1, 1), "not open to you", id="expired"),
        pytest.param("cardio", date(2025, 12, 31), "not open yet", id="future"),
    ],
)
def test_denied_with_a_sentence_that_names_nothing(name: str, today: date, sentence: str) -> None:
    """A2, A4: the user reads a plain sentence, the log gets the cause."""
    with pytest.raises(AccessDenied) as caught:
        require_open(ALICE, name, [workspace("cardio"), workspace("asthma")], today)
    assert sentence in caught.value.user_message
    assert "asthma" not in caught.value.user_message + str(caught.value)
    assert name in str(caught.value)


def test_open_goes_before_later_and_the_longest_open_one_counts() -> None:
    """A1: whatever order the backend answers in."""
    brief, longer = workspace(grant_last_day=TODAY + DAY), workspace(grant_last_day=TODAY + 9 * DAY)
    later = workspace(first_day=TODAY + DAY, grant_last_day=TODAY + 90 * DAY)
    for grants in ([brief, later], [later, brief]):
        assert require_open(ALICE, "cardio", grants, TODAY) is brief
    for grants in ([brief, longer, later], [later, longer, brief]):
        assert require_open(ALICE, "cardio", grants, TODAY) is longer
