"""The clauses: what every plugin keeps to, whatever its backend is.

Each puts facts into the world first, asks the plugin through the framework as the hub does, and compares with what the
rule says of those facts; the rules and their numbers are in ``rules``.
"""
# ruff: noqa: S101 - clauses are tests that are shipped

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import logging
import os
import pickle
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as drawn
from hypothesis.strategies import SearchStrategy
from jupyterhub.auth import Authenticator

from ..capabilities import HOMES, NAMESPACES, TELLS_CHANGES
from ..context import Context
from ..engine import Answer, all_workspaces
from ..errors import AccessDenied, BackendUnavailable, StorageRefused
from ..kube.cache import NOTHING
from ..kube.claims import OWNER_ANNOTATION, PERSON_ANNOTATION
from ..kube.client import Kube
from ..kube.namespaces import ALLOWED
from ..models import User
from ..names import HOME, NAME_LIMIT, SHARED_CLAIM, SHARED_NAME, is_label, is_name, is_personal_claim
from ..tasks import beside, together
from .obligations import Obligations, clause
from .proxy import EXPIRED_EVENT, Gate, Seen, is_any, lose_answer, refuse, reset
from .stage import LAST_DAY, Stage, fixed, hub_pod, mounted, mounted_at, own_claims
from .world import LOGGER

CROWD = 200
"""Users who ask at once."""
RACERS = 50
"""Starts of one workspace at once."""
EVENTUALLY_SECONDS = 10.0
TOLD_SECONDS = 5.0
"""Within so long a change is told; the server must have ended five seconds later."""
SETTLED_SECONDS = 0.3
"""What is not told by then is not about to be."""
SLOW_SECONDS = 4.0
"""Less than the time after which a request is repeated."""
SILENCE_SECONDS = 1.0
"""After this a watch counts as dead, where the framework's own cache keeps it."""
_ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "UTC")
LOG_LINE_LIMIT = 2000
_NAMESPACE = re.compile("/api/v1/namespaces/[^/]+")
_SECRET = "eyJhbGciOi-not-for-the-log"  # noqa: S105 - looks like a token on purpose
_IMPORT_SECONDS = 60
_WATCHED_IMPORT = """
import importlib, sys
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        sys.stderr.write(f"{event} {details!r}")
        sys.stderr.flush()
        __import__("os")._exit(3)
sys.path[:0] = sys.argv[2].split(__import__("os").pathsep)
sys.addaudithook(watch)
importlib.import_module(sys.argv[1])
"""


class WorkspaceManagerContract(Obligations, suite=True):
    """Subclass it once for a plugin, with ``manager_class`` and ``world``; pytest runs every clause on it."""

    # Identity

    @clause()
    async def test_username_in_any_case_is_one_user(self, stage: Stage) -> None:
        """A2: identity providers and those who write grants do not agree on case, and people are not two for it."""
        await stage.study("cardio", "Alice.Smith@Example.org")
        await stage.study("hip", "alice.smith@example.org")
        await stage.begin()
        for identity in ("alice.smith@example.org", "Alice.Smith@Example.org", "ALICE.SMITH@EXAMPLE.ORG"):
            assert await stage.listed(identity) == {"cardio", "hip"}
            assert await stage.starts(identity, "cardio")

    @clause()
    async def test_look_alikes_see_their_own_only(self, stage: Stage) -> None:
        """A2: a username that is made into a label, a path or a pattern is another person's as well."""
        people = ("john-smith@x", "john_smith@x", "john@smith@x", "john.smith@x", "john smith@x", "john-smith@x.org")
        for index, name in enumerate(people):
            await stage.study(f"study-{index}", name)
        await stage.begin()
        for index, name in enumerate(people):
            assert await stage.listed(name) == {f"study-{index}"}, name
            assert not await stage.starts(name, f"study-{(index + 1) % len(people)}"), name
        assert await stage.listed("john-smith") == set()

    @clause()
    async def test_long_usernames_are_matched_whole(self, stage: Stage) -> None:
        """A2: a label holds 63 characters, and two people may differ in the 64th."""
        people = ["a" * 63, "a" * 63 + "b", "a" * 63 + "c", "a" * 200 + "@example.org", "a" * 200 + "@example.com"]
        for index, name in enumerate(people):
            await stage.study(f"long-{index}", name)
        await stage.begin()
        for index, name in enumerate(people):
            assert await stage.listed(name) == {f"long-{index}"}, f"{len(name)} characters"

    @clause()
    async def test_unicode_usernames_are_their_own(self, stage: Stage) -> None:
        """A2: letters that are folded to ASCII make one user of two."""
        people = ("josé@x", "jose@x", "иван@x", "ivan@x", "李@x", "?@x")
        for index, name in enumerate(people):
            await stage.study(f"letters-{index}", name)
        await stage.begin()
        for index, name in enumerate(people):
            assert await stage.listed(name) == {f"letters-{index}"}, name
            assert await stage.listed(name.upper()) == {f"letters-{index}"}, name

    @clause()
    async def test_people_are_told_apart_as_the_hub_tells_them(self, stage: Stage) -> None:
        """A2: the hub makes one user of two names, or two, by a way of its own; a plugin's would mix people up."""
        # The hub's own code, as whoever signs in has passed it.
        normalised = Authenticator().normalize_username
        people = ("\u017fmith@x", "smith@x", "straße@x", "STRASSE@x", "\u212aatie@x", "ΟΔΟΣ@x", "οδοσ@x", "ﬁ@x", "fi@x")
        for index, name in enumerate(people):
            await stage.study(f"person-{index}", name)
        await stage.begin()
        for name in people:
            same = {f"person-{index}" for index, other in enumerate(people) if normalised(other) == normalised(name)}
            assert await stage.listed(normalised(name)) == same, name

    @clause()
    async def test_scoped_session_sees_its_workspace_only(self, stage: Stage) -> None:
        r"""A2: a login of the form ``workspace\user`` is the same user, for that one workspace."""
        for name in ("scope-one", "scope-two"):
            await stage.study(name, "alice")
        await stage.begin()
        assert await stage.listed("scope-two\\alice") == {"scope-two"}
        assert await stage.listed("SCOPE-TWO\\Alice") == {"scope-two"}
        assert await stage.starts("scope-two\\alice", "scope-two")
        assert not await stage.starts("scope-two\\alice", "scope-one")
        assert await stage.listed("other\\alice") == set()

    @clause()
    async def test_unknown_user_has_nothing(self, stage: Stage) -> None:
        """A2: whoever is not matched for certain is denied, and an empty or odd name matches nobody."""
        await stage.study("cardio", "alice")
        await stage.begin()
        for identity in ("mallory", "", "\\", "cardio\\", "\\alice\\", "*", "%", ".*", "alic", "alice2", " alice"):
            assert await stage.listed(identity) == set(), identity
            await stage.denied(identity, "cardio")

    @clause()
    async def test_no_made_up_name_finds_a_grant(self, stage: Stage) -> None:
        """A2: a table of odd names ends somewhere; names made at random go on."""
        await stage.study("cardio", "alice@example.org")
        await stage.begin()
        names = drawn.one_of(drawn.text(), drawn.text("alice@example.org", max_size=20))
        odd = ["ALICE@EXAMPLE.ORG\x00", "alice@example.or\u0261"]
        for name in odd + [facts["name"] for facts in _drawn(60, name=names)]:
            user = stage.world.user(name)
            expected = {"cardio"} if user.username == "alice@example.org" and user.scope in (None, "cardio") else set()
            assert await stage.listed(user) == expected, f"{name!r}"

    @clause()
    async def test_grant_of_another_opens_nothing(self, stage: Stage) -> None:
        """A3: the name of a workspace can be guessed; only a grant to this user opens it."""
        await stage.study("of-alice", "alice")
        await stage.study("of-bob", "bob")
        await stage.begin()
        assert not await stage.starts("alice", "of-bob")
        assert not await stage.starts("bob", "of-alice")
        assert await stage.starts("bob", "of-bob")

    # Dates

    @clause()
    async def test_open_from_the_first_day_to_the_last(self, stage: Stage) -> None:
        """A1: both ends are days of access, and the days beside them are not."""
        first, last = date(2026, 3, 1), date(2026, 3, 31)
        await stage.study("march", "alice", first_day=first, last_day=last)
        await stage.begin()
        for day, opens in ((-1, False), (0, True), (30, True), (31, False)):
            noon = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(days=day)
            assert await stage.starts("alice", "march", noon) is opens, noon

    @clause()
    async def test_earlier_end_holds(self, stage: Stage) -> None:
        """A1: a grant does not outlive its workspace, nor a workspace's time a grant."""
        early, late = date(2026, 6, 20), date(2026, 9, 20)
        await stage.study("grant-ends", "alice", until=early, last_day=late)
        await stage.study("study-ends", "alice", until=late, last_day=early)
        await stage.begin()
        for name in ("grant-ends", "study-ends"):
            assert await stage.starts("alice", name, datetime(2026, 6, 18, 12, tzinfo=UTC)), name
            assert not await stage.starts("alice", name, datetime(2026, 6, 21, 12, tzinfo=UTC)), name

    @clause(timezone="Pacific/Kiritimati")
    async def test_days_begin_in_the_time_zone(self, stage: Stage) -> None:
        """A1: a day begins at the hub's midnight, not at UTC's; here that is 14 hours earlier."""
        await stage.study("zone", "alice", first_day=date(2026, 6, 10), last_day=date(2026, 6, 11))
        await stage.begin()
        opens, closes = datetime(2026, 6, 9, 10, tzinfo=UTC), datetime(2026, 6, 11, 10, tzinfo=UTC)
        moment = timedelta(seconds=1)
        for now, expected in ((opens - moment, False), (opens, True), (closes - moment, True), (closes, False)):
            assert await stage.starts("alice", "zone", now) is expected, now

    @clause()
    async def test_clock_is_read_at_the_question(self, stage: Stage) -> None:
        """A1: a hub runs for months; a day kept from its start keeps people out, or lets them in too long."""
        first, last = date(2026, 6, 17), date(2026, 6, 18)
        await stage.study("later", "alice", first_day=first, last_day=last)
        await stage.begin()
        assert not await stage.starts("alice", "later")
        assert await stage.starts("alice", "later", datetime(2026, 6, 17, 12, tzinfo=UTC))
        assert not await stage.starts("alice", "later", datetime(2026, 6, 19, 12, tzinfo=UTC))

    @clause()
    async def test_any_window_in_any_zone_opens_by_the_calendar(self, stage: Stage) -> None:
        """A1: summer time begins and ends, zones lie half an hour apart; a table of days has not all of them."""
        # The first days are those on which a change of the clocks lies near.
        springs = drawn.dates(date(2026, 2, 20), date(2026, 4, 10))
        autumns = drawn.dates(date(2026, 9, 20), date(2026, 11, 10))
        windows = _drawn(
            25,
            first=springs | autumns,
            days=drawn.integers(0, 40),
            grant=drawn.integers(-2, 45),
            zone=drawn.sampled_from(_ZONES),
            late=drawn.booleans(),
            seconds=drawn.sampled_from([0, 1, 1800, 5400, 86399]).flatmap(
                lambda most: drawn.sampled_from([-most, most])
            ),
        )
        for number, facts in enumerate(windows):
            first = facts["first"]
            last, until = first + timedelta(days=facts["days"]), first + timedelta(days=facts["grant"])
            opens, closes = (
                datetime.combine(day, time(), ZoneInfo(facts["zone"])).astimezone(UTC)
                for day in (first, min(last, until) + timedelta(days=1))
            )
            now = (closes if facts["late"] else opens) + timedelta(seconds=facts["seconds"])
            await stage.close()
            stage.world.timezone = facts["zone"]
            name = f"window-{number}"
            await stage.study(name, "alice", until=until, first_day=first, last_day=last)
            await stage.begin()
            assert await stage.starts("alice", name, now) is (opens <= now < closes), f"{facts}: {opens} to {closes}"

    @clause()
    async def test_expired_and_future_grants_are_told(self, stage: Stage) -> None:
        """F2: someone whose workspace has closed looks for it on the form, and must read why it is not open."""
        await stage.study("open-now", "alice")
        await stage.study("closed", "alice", last_day=date(2026, 2, 1))
        await stage.study("next-year", "alice", first_day=date(2027, 1, 1), last_day=date(2027, 2, 1))
        await stage.begin()
        states = {card.slug: card.state for card in (await stage.form("alice")).cards}
        assert states == {"open-now": "open", "closed": "expired", "next-year": "future"}

    # Denied, or no answer

    @clause()
    async def test_outage_at_the_start_is_unavailable(self, stage: Stage) -> None:
        """A4: an empty form during an outage tells people that their access has been taken away."""
        await stage.study("cardio", "alice")
        await stage.world.outage()
        stage.prepare()
        for question in await asyncio.gather(
            _begun(stage, stage.form("alice")),
            _begun(stage, stage.start("alice", "cardio")),
            return_exceptions=True,
        ):
            assert isinstance(question, BackendUnavailable), f"during an outage the answer was {question!r}"
        assert not await stage.world.claims()

    @clause()
    async def test_outage_later_is_unavailable_or_nothing_changed(self, stage: Stage) -> None:
        """A4: what was known a moment ago may be shown on; that there is nothing was never known."""
        await stage.study("cardio", "alice")
        await stage.begin()
        before = await stage.form("alice")
        assert before.openable
        await stage.world.outage()
        for _ in range(3):
            with suppress(BackendUnavailable):
                assert await stage.form("alice") == before
            try:
                with suppress(BackendUnavailable):
                    await stage.start("alice", "cardio")
            except AccessDenied as error:
                raise AssertionError(f"an outage was told as a denial: {error}") from error

    @clause()
    async def test_outage_stops_every_start(self, stage: Stage) -> None:
        """A3: no pod is made on what was known before the outage, and the refusal is not a denial."""
        await stage.study("cardio", "alice")
        await stage.begin()
        assert await stage.listed("alice") == {"cardio"}
        await stage.world.outage()
        with pytest.raises(BackendUnavailable):
            await stage.start("alice", "cardio")
        assert not await stage.world.claims()

    @clause()
    async def test_recovery_is_seen(self, stage: Stage) -> None:
        """A4: after an outage the plugin finds back by itself; nobody restarts the hub for it."""
        await stage.study("recovered", "alice")
        await stage.world.outage()
        stage.prepare()
        with pytest.raises(BackendUnavailable):
            await _begun(stage, stage.form("alice"))
        await stage.world.recover()
        last: BackendUnavailable | None = None
        try:
            async with asyncio.timeout(EVENTUALLY_SECONDS):
                while True:
                    try:
                        await stage.lifecycle.begin()
                        assert await stage.listed("alice") == {"recovered"}
                        await stage.start("alice", "recovered")
                        break
                    except BackendUnavailable as error:
                        last = error
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{EVENTUALLY_SECONDS:g} s after the outage: {last}") from last

    @clause()
    async def test_forbidden_request_is_unavailable(self, stage: Stage) -> None:
        """A4: a role that lacks a rule is the operator's mistake; it takes nobody's access away, and opens nothing."""
        await stage.study("no-role", "alice")
        await stage.begin()
        assert await stage.listed("alice") == {"no-role"}
        with stage.world.faults.inject(refuse(403, "Forbidden")), pytest.raises(BackendUnavailable):
            await stage.start("alice", "no-role")
        assert not await stage.world.claims()
        await stage.start("alice", "no-role")

    @clause()
    async def test_request_without_an_answer_is_unavailable(self, stage: Stage) -> None:
        """A4: an API server that goes on failing has said nothing about anybody's access."""
        await stage.study("no-answer", "alice")
        await stage.begin()
        assert await stage.listed("alice") == {"no-answer"}
        for fault in (refuse(429, "TooManyRequests"), refuse(500, "InternalError"), reset):
            with stage.world.faults.inject(fault), pytest.raises(BackendUnavailable):
                await stage.start("alice", "no-answer")
        assert not await stage.world.claims()

    @clause()
    async def test_slow_answer_holds_up_nobody_else(self, stage: Stage) -> None:
        """A4: a question that is not answered yet is one person's; others have their form and their start meanwhile."""
        await stage.study("slow", "alice")
        await stage.study("quick", "bob")
        await stage.begin()
        assert await stage.listed("alice") == {"slow"}
        gate = Gate()
        with stage.world.faults.inject(gate, concerns=_is_no_watch, times=1):
            async with beside(stage.start("alice", "slow")) as starting:
                await gate.reached.wait()
                try:
                    async with asyncio.timeout(SLOW_SECONDS):
                        assert await stage.listed("bob") == {"quick"}
                        await stage.start("bob", "quick")
                except TimeoutError as error:
                    raise AssertionError("while the answer to one user was slow, another had none") from error
                gate.open()
                assert own_claims(await starting)

    @clause()
    async def test_revocation_during_a_slow_answer_is_seen(self, stage: Stage) -> None:
        """A3: an answer that was slow to come is as old as its question; a start goes by what holds at its end."""
        await stage.study("slow", "alice")
        await stage.begin()
        alice = stage.world.user("alice")
        assert await stage.listed(alice) == {"slow"}
        gate = Gate()
        with stage.world.faults.inject(gate, concerns=_is_of_a_grant):
            async with beside(stage.start(alice, "slow")) as starting, beside(gate.reached.wait()) as reached:
                await asyncio.wait([starting, reached], return_when=asyncio.FIRST_COMPLETED)
                if not gate.reached.is_set():
                    await starting
                    pytest.skip("a start asks the Kubernetes API for nothing but its namespace and claims")
                await stage.world.revoke("alice", "slow")
                gate.open()
                with pytest.raises(AccessDenied):
                    await starting
        assert not await stage.world.claims()

    @clause()
    async def test_forgotten_history_is_read_anew(self, stage: Stage) -> None:
        """A4: an API server forgets what changed long ago (410); a plugin that goes on without it shows the past."""
        await stage.study("before", "alice")
        await stage.begin()
        await _watched(stage, "alice", "before")
        with stage.world.faults.inject(refuse(410, "Expired"), concerns=lambda seen: seen.is_watch, times=2):
            await stage.world.faults.cut_watches(EXPIRED_EVENT)
            await stage.study("after", "alice")
            await stage.world.revoke("alice", "before")
            await _eventually(stage, "alice", {"after"})

    @clause()
    async def test_silent_watch_is_not_believed(self, stage: Stage) -> None:
        """A4: a connection may die without a word; then the form must not be that of the last good day."""
        stage.world.kube.timeouts = replace(stage.world.kube.timeouts, silence=SILENCE_SECONDS)
        await stage.study("known", "alice")
        await stage.begin()
        alice = stage.world.user("alice")
        await _watched(stage, alice, "known")
        stage.world.faults.stall_watches()
        await stage.world.revoke("alice", "known")
        await stage.denied(alice, "known")
        await _eventually(stage, alice, set())

    @clause()
    async def test_form_without_a_watch_shows_what_is_confirmed(self, stage: Stage) -> None:
        """A4: what was known last is shown once the backend itself has confirmed it, or the form is unavailable."""
        stage.world.kube.timeouts = replace(stage.world.kube.timeouts, grace=SILENCE_SECONDS, patience=SILENCE_SECONDS)
        await stage.study("kept", "alice")
        await stage.begin()
        await _watched(stage, "alice", "kept")
        await stage.study("revoked", "alice")
        await _eventually(stage, "alice", {"kept", "revoked"})
        with stage.world.faults.inject(refuse(503, "ServiceUnavailable"), concerns=lambda seen: seen.is_watch):
            await stage.world.faults.cut_watches()
            await stage.world.revoke("alice", "revoked")
            await _eventually(stage, "alice", {"kept"}, or_unavailable=True)
            await _eventually(stage, "alice", {"kept"}, or_unavailable=True)
            with pytest.raises((AccessDenied, BackendUnavailable)):
                await stage.manager.confirm(stage.world.user("alice"), "revoked")
        await _eventually(stage, "alice", {"kept"})

    @clause()
    async def test_grant_without_its_workspace_opens_nothing(self, stage: Stage) -> None:
        """A2: what is missing is denied; nothing is made up from a grant alone, and it hides no other."""
        await stage.study("cardio", "alice")
        await stage.world.grant("alice", "never-made", date(2026, 12, 31))
        await stage.begin()
        assert await stage.listed("alice") == {"cardio"}
        await stage.denied("alice", "never-made")

    @clause()
    async def test_broken_workspace_hides_no_other(self, stage: Stage) -> None:
        """F3: somebody's mistake in one workspace is told to the log, and is nobody else's outage."""
        for name in ("whole", "spoilt-before", "spoilt-later"):
            await stage.study(name, "alice")
        await stage.world.break_workspace("spoilt-before")
        with _logged() as records:
            await stage.begin()
            assert await stage.listed("alice") == {"whole", "spoilt-later"}
            await stage.denied("alice", "spoilt-before")
            await stage.world.break_workspace("spoilt-later")
            await _eventually(stage, "alice", {"whole"})
            await stage.denied("alice", "spoilt-later")
            await stage.start("alice", "whole")
            told = await stage.manager.problems()
        assert all(isinstance(each, str) for each in told), "the problems for an operator are not sentences"
        warnings = [each.getMessage() for each in records if each.name == LOGGER and each.levelno >= logging.WARNING]
        for name in ("spoilt-before", "spoilt-later"):
            assert any(name in text for text in warnings), f"no warning names {name}: {warnings}"

    @clause()
    async def test_operator_is_told_of_every_workspace(self, stage: Stage) -> None:
        """F4: one that the operator's tools do not know of is held to no policy there, and its claims look unused."""
        for name, last_day in (("granted", LAST_DAY), ("closed", date(2026, 1, 31))):
            await stage.study(name, "alice", last_day=last_day)
        await stage.study("granted-to-nobody")
        await stage.begin()
        every = await all_workspaces(stage.manager)
        if every is None:
            pytest.skip("the plugin does not tell all of its workspaces, which all_workspaces would")
        assert {each.name for each in every} == {"granted", "closed", "granted-to-nobody"}
        confirmed = await stage.manager.confirm(stage.world.user("alice"), "granted")
        (told,) = (each for each in every if each.name == "granted")
        assert attrs.evolve(confirmed, grant_last_day=told.grant_last_day, versions=told.versions) == told

    @clause()
    async def test_facts_are_stored_and_compared(self, stage: Stage) -> None:
        """A4: what a cache cannot store or tell from what it has is lost in it, and must not read as no workspaces."""
        await stage.study("stored", "alice")
        await stage.begin()
        alice = stage.world.user("alice")
        confirmed = await stage.manager.confirm(alice, "stored")
        volumes = await stage.manager.volumes_for(alice, confirmed)
        for fact in (*await stage.manager.list_workspaces(alice), confirmed, *volumes):
            assert _stored(fact) == copy.copy(fact) == copy.deepcopy(fact) == fact, f"{fact!r} has other copies"
        assert list(await stage.manager.volumes_for(alice, _stored(confirmed))) == list(volumes)

    @clause()
    async def test_deleted_workspace_is_closed_at_once(self, stage: Stage) -> None:
        """A3: a start asks the backend, so a workspace that was deleted a moment ago does not start."""
        await stage.study("going", "alice")
        await stage.begin()
        assert await stage.listed("alice") == {"going"}
        await stage.world.delete_workspace("going")
        await stage.denied("alice", "going")

    @clause()
    async def test_revocation_is_seen_at_once(self, stage: Stage) -> None:
        """A3: ``confirm`` is the backend's own answer: a grant that was taken away a moment ago opens nothing."""
        await stage.study("revoked", "alice", "bob")
        await stage.begin()
        assert await stage.listed("alice") == {"revoked"}
        alice = stage.world.user("alice")
        assert (await stage.manager.confirm(alice, "revoked")).name == "revoked"
        await stage.world.revoke("alice", "revoked")
        await stage.denied(alice, "revoked")
        await stage.start("bob", "revoked")

    # Nothing of others

    @clause()
    async def test_denial_tells_nothing_of_others(self, stage: Stage) -> None:
        """A4: whether a workspace exists, and whose it is, is not told to those who have no grant of it."""
        await stage.study("secret-trial", "bob-of-unit-seven", display_name="Trial of a rare disease")
        await stage.begin()
        told = []
        for name in ("secret-trial", "no-such-trial"):
            with pytest.raises(AccessDenied) as refusal:
                await stage.start("alice", name)
            told.append((type(refusal.value), refusal.value.user_message))
        assert told[0] == told[1], "a workspace of another user is told from one that does not exist"
        for word in ("trial", "bob", "unit-seven"):
            assert word not in told[0][1].casefold()

    @clause()
    async def test_form_tells_nothing_of_others(self, stage: Stage) -> None:
        """A4: a form has its reader's workspaces on it and no other person, not even of the same workspace."""
        await stage.study("common", "alice", "bob-of-unit-seven")
        await stage.study("secret-trial", "bob-of-unit-seven", display_name="Trial of a rare disease")
        await stage.begin()
        told = repr(await stage.form("alice")).casefold()
        assert "common" in told
        for word in ("trial", "rare disease", "bob", "unit-seven"):
            assert word not in told

    # Storage

    @clause()
    async def test_claims_are_made_once(self, stage: Stage) -> None:
        """S2: a course of 50 opens its workspace in the same minute; there is one claim, and every start has it."""
        people = [f"student{index}" for index in range(RACERS)]
        await stage.study("course", *people)
        await stage.begin()
        pods = await together(*(stage.start(name, "course") for name in people))
        first = _common(mounted(pods[0]))
        assert first, "nothing is mounted"
        assert all(_common(mounted(pod)) == first for pod in pods)
        assert set(_common(await stage.world.claims())) == set(first)

    @clause()
    async def test_each_workspace_has_claims_of_its_own(self, stage: Stage) -> None:
        """S1: what one workspace writes, no other mounts, and every claim says whose it is."""
        names = ("left", "right", "left-right", "left.right")
        for name in names:
            await stage.study(name, "alice")
        await stage.begin()
        claims = {name: own_claims(await stage.start("alice", name)) for name in names}
        every = [claim for found in claims.values() for claim in found]
        assert all(claims.values()), f"a workspace has no storage of its own: {claims}"
        assert len(every) == len(set(every)), f"workspaces share a claim: {claims}"
        for name, found in claims.items():
            for claim in found:
                assert (await stage.world.claims())[claim]["metadata"]["annotations"][OWNER_ANNOTATION] == name

    @clause()
    async def test_no_claim_is_mounted_twice(self, stage: Stage) -> None:
        """S1: one claim in two places is a mistake: each change in one folder shows in another, which nobody meant."""
        await stage.study("folded", "alice")
        await stage.begin()
        alice = stage.world.user("alice")
        volumes = await stage.manager.volumes_for(alice, await stage.manager.confirm(alice, "folded"))
        claims = [volume.claim for volume in volumes]
        assert len(claims) == len(set(claims)), f"the same claim twice in one answer: {claims}"
        await stage.start(alice, "folded")

    @clause()
    async def test_foreign_claim_is_refused(self, stage: Stage) -> None:
        """S2: a claim that says it belongs to another is that other's, whatever it is named; nobody takes it over."""
        await stage.study("claimed", "alice")
        await stage.begin()
        for claim in own_claims(await stage.start("alice", "claimed")):
            namespace = stage.world.namespace_of("claimed")
            taken = {OWNER_ANNOTATION: "somebody-else"}
            await stage.world.put_claim(claim, annotations=taken, labels={}, namespace=namespace)
        before = await stage.world.claims()
        with pytest.raises(StorageRefused):
            await stage.start("alice", "claimed")
        assert await stage.world.claims() == before

    @clause()
    async def test_name_used_again_gets_no_old_files(self, stage: Stage) -> None:
        """S6: a name comes back after its workspace was deleted; the next one may be other people's, the files not."""
        await stage.study("again", "alice")
        await stage.begin()
        await stage.start("alice", "again")
        if (await stage.manager.confirm(stage.world.user("alice"), "again")).uid is None:
            pytest.skip("the plugin has no UID of a workspace to tell two of one name apart")
        await stage.start("alice", "again")
        before = await stage.world.claims()
        await stage.world.revoke("alice", "again")
        await stage.world.delete_workspace("again")
        await stage.study("again", "bob")
        bob = stage.world.user("bob")
        await _eventually(stage, bob, {"again"})
        with pytest.raises(StorageRefused) as refusal:
            await stage.start(bob, "again")
        assert refusal.value.rule == "S6"
        assert await stage.world.claims() == before

    @clause()
    async def test_personal_storage_is_never_mounted(self, stage: Stage) -> None:
        """S1: files that leave with their user's own claim have left the workspace."""
        marks = {"component": "singleuser-storage", "heritage": "jupyterhub", "hub.jupyter.org/username": "alice"}
        await stage.world.put_claim("claim-alice", annotations={}, labels=marks)
        await stage.study("enclosed", "alice")
        await stage.begin()
        claims = set(mounted(await stage.start("alice", "enclosed")))
        assert claims.isdisjoint({"claim-alice", "claim-user"})
        assert OWNER_ANNOTATION not in (await stage.world.claims())["claim-alice"]["metadata"].get("annotations", {})

    @clause()
    async def test_shared_claim_is_read_only(self, stage: Stage) -> None:
        """S2: everybody reads the shared claim, so nobody may write to it, and it is no workspace's own."""
        await stage.study("reader", "alice")
        await stage.begin()
        claims = mounted(await stage.start("alice", "reader"))
        assert claims.get(SHARED_CLAIM, True) is True
        assert set(claims) > {SHARED_CLAIM} or SHARED_CLAIM not in claims
        if SHARED_CLAIM in claims:
            annotations = (await stage.world.claims())[SHARED_CLAIM]["metadata"]["annotations"]
            assert annotations[OWNER_ANNOTATION] == SHARED_NAME

    @clause()
    async def test_workspace_named_shared_is_refused(self, stage: Stage) -> None:
        """S2: its own claim and folder would be the shared ones; that is a denial, and others go on."""
        await stage.study(SHARED_NAME, "alice")
        await stage.study("cardio", "alice")
        await stage.begin()
        await stage.denied("alice", SHARED_NAME)
        await stage.start("alice", "cardio")

    @clause()
    async def test_volume_names_are_legal_and_unique(self, stage: Stage) -> None:
        """S4: every legal name of a workspace starts; what Kubernetes limits is shortened without two becoming one."""
        dotted = ".".join(["a" * 62] * 4)
        names = ["x" * 63, "x" * 64, "a.b", "a-b", dotted + "b", dotted + "c", "y" * (NAME_LIMIT - 1) + "1"]
        for name in names:
            await stage.study(name, "alice")
        await stage.begin()
        seen: set[str] = set()
        for name in names:
            pod = await stage.start("alice", name)
            volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
            assert len(volumes) == len(set(volumes)), name
            for volume in volumes:
                assert is_name(volume), volume
                assert len(volume) <= 63, volume
                assert "." not in volume, volume
            assert all(is_label(key, value) for key, value in pod["metadata"]["labels"].items())
            own = own_claims(pod)
            assert all(map(is_name, own))
            assert seen.isdisjoint(own), name
            seen |= own

    @clause()
    async def test_nothing_is_left_of_the_last_start(self, stage: Stage) -> None:
        """S5: a server that was in one workspace and starts in another takes nothing along."""
        await stage.study("first", "alice", node_selector={"pool": "first"}, display_name="First")
        await stage.study("second", "alice", node_selector={"zone": "second"}, display_name="Second")
        await stage.begin()
        await stage.start("alice", "second")  # the first start may write to the backend what the next one tells
        fresh = await stage.start("alice", "second")
        pod = hub_pod()
        untouched = copy.deepcopy(pod)
        for name in ("first", "second", "first"):
            await stage.manager.provision(stage.world.user("alice"), name, fixed(pod))
        assert await stage.start("alice", "second") == fresh
        assert pod == untouched

    @clause()
    async def test_full_quota_is_unavailable(self, stage: Stage) -> None:
        """S2: when no claim may be made any more, that is nobody's lack of access, and no pod is made."""
        await stage.study("no-room", "alice")
        await stage.begin()
        full = refuse(403, "Forbidden", "exceeded quota")
        with stage.world.faults.inject(full, concerns=_is_new_claim), pytest.raises(BackendUnavailable):
            await stage.start("alice", "no-room")
        assert not await stage.world.claims()
        await stage.start("alice", "no-room")

    @clause()
    async def test_passing_faults_lose_no_start(self, stage: Stage) -> None:
        """S2: an API server answers 429 and 500, and drops connections, on good days; a start bears one of them."""
        faults = (refuse(429, "TooManyRequests", retry_after=1), refuse(500, "InternalError"), reset, lose_answer)
        concerns = (_is_claims, is_any)
        for index in range(len(faults) * len(concerns)):
            await stage.study(f"fault-{index}", "alice")
        await stage.begin()
        for index, (fault, concern) in enumerate(itertools.product(faults, concerns)):
            with stage.world.faults.inject(fault, concerns=concern, times=1) as injected:
                assert own_claims(await stage.start("alice", f"fault-{index}"))
            assert injected.used == 1

    @clause()
    async def test_conflict_makes_no_second_claim(self, stage: Stage) -> None:
        """S2: 409 says that somebody else was faster; files that go into a second claim are lost to everybody."""
        await stage.study("conflict", "alice")
        await stage.begin()
        conflict = refuse(409, "AlreadyExists")
        with stage.world.faults.inject(conflict, concerns=_is_new_claim), pytest.raises(BackendUnavailable):
            await stage.start("alice", "conflict")
        assert not await stage.world.claims()
        with stage.world.faults.inject(conflict, concerns=_is_new_claim, times=2) as injected:
            await _starts_with_the_same_claims(stage, "alice", "conflict")
        assert injected.used == 2

    @clause()
    async def test_lost_answer_makes_no_second_claim(self, stage: Stage) -> None:
        """S2: a claim may be there although nobody was told so; whoever makes another parts a study from its files."""
        await stage.study("lost", "alice")
        await stage.begin()
        with stage.world.faults.inject(lose_answer, concerns=_is_new_claim, times=2) as injected:
            await _starts_with_the_same_claims(stage, "alice", "lost")
        assert injected.used

    # Homes

    @clause()
    async def test_home_is_of_one_person_in_one_workspace(self, stage: Stage) -> None:
        """S8: a home holds what a person keeps from colleagues, and what one project keeps from another."""
        for name in ("one-home", "other-home"):
            await _with_homes(stage, name, "alice", "bob")
        await stage.begin()
        homes = {
            (user, name): await _home(stage, user, name)
            for user in ("alice", "bob")
            for name in ("one-home", "other-home")
        }
        assert len(set(homes.values())) == len(homes), f"homes of several: {homes}"
        claims = await stage.world.claims()
        for (user, name), claim in homes.items():
            annotations = claims[claim]["metadata"]["annotations"]
            assert (annotations[PERSON_ANNOTATION], annotations[OWNER_ANNOTATION]) == (user, name)
            assert await _home(stage, user, name) == claim

    @clause()
    async def test_home_is_a_persons_however_they_sign_in(self, stage: Stage) -> None:
        """S8: who signs in in capitals, or into one workspace alone, is the same person, with the same files."""
        await _with_homes(stage, "any-name", "alice@x")
        await stage.begin()
        names = ("alice@x", "ALICE@X", "any-name\\Alice@x")
        assert len({await _home(stage, name, "any-name") for name in names}) == 1

    @clause()
    async def test_home_that_is_promised_is_mounted(self, stage: Stage) -> None:
        """S8: people are told that what they save in the home folder is kept, and believe it."""
        await _with_homes(stage, "promised", "alice")
        await stage.begin()
        assert [card.keeps_home for card in (await stage.form("alice")).openable] == [True]
        assert await _home(stage, "alice", "promised")

    @clause()
    async def test_home_is_there_when_access_comes_back(self, stage: Stage) -> None:
        """S8: access ends by mistake, or for a while; what a person had is there when it is given again."""
        await _with_homes(stage, "and-back", "alice")
        await stage.begin()
        home = await _home(stage, "alice", "and-back")
        before = (await stage.world.claims())[home]["metadata"]["uid"]
        await stage.world.revoke("alice", "and-back")
        await _eventually(stage, "alice", set())
        await stage.denied("alice", "and-back")
        await stage.world.grant("alice", "and-back", LAST_DAY)
        await _eventually(stage, "alice", {"and-back"})
        assert await _home(stage, "alice", "and-back") == home
        assert (await stage.world.claims())[home]["metadata"]["uid"] == before, "the claim was deleted meanwhile"

    # Namespaces

    @clause()
    async def test_namespace_has_what_is_of_its_workspace(self, stage: Stage) -> None:
        """S9: network policies, quotas and rights are drawn by namespaces; a pod or a claim elsewhere escapes them."""
        namespace = await _with_a_namespace(stage, "apart", "alice")
        await stage.begin()
        claims = mounted(await stage.start("alice", "apart"))
        assert set(await stage.world.claims(namespace)) == set(claims)
        assert not await stage.world.claims(stage.world.namespace)
        assert (await stage.review("alice", "apart")).answer is Answer.GOES_ON

    @clause()
    async def test_claims_of_one_name_are_two_in_two_namespaces(self, stage: Stage) -> None:
        """S9: a name says whose a claim is in its own namespace alone."""
        first = await _with_a_namespace(stage, "first-of-two", "alice")
        second = await _with_a_namespace(stage, "second-of-two", "alice")
        await stage.begin()
        theirs = own_claims(await stage.start("alice", "first-of-two"))
        for claim in theirs:
            await stage.world.put_claim(claim, annotations={OWNER_ANNOTATION: "x"}, labels={}, namespace=second)
        assert own_claims(await stage.start("alice", "first-of-two")) == theirs
        own = own_claims(await stage.start("alice", "second-of-two"))
        assert own <= set(await stage.world.claims(second))
        assert own.isdisjoint(await stage.world.claims(first))

    @clause()
    async def test_namespace_that_is_not_allowed_is_closed(self, stage: Stage) -> None:
        """S9: what is taken out of the operator's hands goes on nowhere else, and comes back with the label."""
        namespace = await _with_a_namespace(stage, "by-label", "alice")
        await stage.begin()
        claims = own_claims(await stage.start("alice", "by-label"))
        for label in (None, "no"):
            await stage.world.allow_namespace(namespace, label)
            assert (await stage.denied("alice", "by-label")).rule == "S9"
            assert (await stage.review("alice", "by-label")).answer is Answer.ENDED
        await stage.world.allow_namespace(namespace, ALLOWED)
        assert own_claims(await stage.start("alice", "by-label")) == claims

    # Servers that run

    @clause()
    async def test_review_ends_access_that_was_taken_away(self, stage: Stage) -> None:
        """E1: a server goes on while its user has access, ends when that is taken away, and with nobody else's."""
        for name in ("taken", "deleted", "over"):
            await stage.study(name, "alice", "bob", last_day=date(2026, 6, 15) if name == "over" else LAST_DAY)
        await stage.begin()
        # A plugin may remember what its users had.
        assert await stage.listed("alice") == await stage.listed("bob") == {"taken", "deleted", "over"}
        for name in ("taken", "deleted", "over"):
            for username in ("alice", "bob"):
                assert (await stage.review(username, name)).answer is Answer.GOES_ON, (username, name)
        await stage.world.revoke("alice", "taken")
        assert (await stage.review("alice", "taken")).answer is Answer.ENDED
        assert (await stage.review("bob", "taken")).answer is Answer.GOES_ON
        assert (await stage.review("alice", "deleted")).answer is Answer.GOES_ON
        await stage.world.delete_workspace("deleted")
        stage.world.now += timedelta(days=1)
        for username in ("alice", "bob"):
            assert (await stage.review(username, "deleted")).answer is Answer.ENDED, username
            assert (await stage.review(username, "over")).answer is Answer.ENDED, username

    @clause()
    async def test_review_ends_nothing_that_is_uncertain(self, stage: Stage) -> None:
        """E4: an outage says nothing of anybody's access; the servers run on, and are reviewed again."""
        await stage.study("uncertain", "alice")
        await stage.begin()
        assert (await stage.review("alice", "uncertain")).answer is Answer.GOES_ON
        await stage.world.outage()
        for _ in range(3):
            assert (await stage.review("alice", "uncertain")).answer is Answer.UNCERTAIN
        await stage.world.recover()
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while (review := await stage.review("alice", "uncertain")).answer is not Answer.GOES_ON:
                assert review.answer is Answer.UNCERTAIN, review.error
                await asyncio.sleep(0.05)

    @clause()
    async def test_changes_are_told_of_those_concerned(self, stage: Stage) -> None:
        """E1: a server is reviewed when its plugin tells of a change; untold, access that was taken away goes on."""
        for name, username in (("taken", "alice"), ("deleted", "carol"), ("quiet", "bob")):
            await stage.study(name, username)
        await stage.begin()
        _needs_changes_told(stage)
        for name, username in (("taken", "alice"), ("deleted", "carol"), ("quiet", "bob")):
            assert await stage.listed(username) == {name}
        await asyncio.sleep(SETTLED_SECONDS)  # what is told of the beginning is no change
        stage.told.clear()
        await stage.world.revoke("alice", "taken")
        await _told(stage, "alice", "taken")
        assert (await stage.review("alice", "taken")).answer is Answer.ENDED, "told before the plugin knew of it"
        await stage.world.delete_workspace("deleted")
        await _told(stage, "carol", "deleted")
        assert (await stage.review("carol", "deleted")).answer is Answer.ENDED, "told before the plugin knew of it"
        await asyncio.sleep(SETTLED_SECONDS)
        assert not stage.is_told_of("bob", "quiet"), "told of somebody whom it does not concern"

    @clause()
    async def test_changes_during_an_outage_are_told_after_it(self, stage: Stage) -> None:
        """E1: what was taken away while nobody could be asked goes on, unless somebody asks again afterwards."""
        await stage.study("cut", "alice")
        await stage.begin()
        _needs_changes_told(stage)
        assert await stage.listed("alice") == {"cut"}
        await asyncio.sleep(SETTLED_SECONDS)
        with stage.world.faults.inject(refuse(503, "ServiceUnavailable"), concerns=is_any):
            await stage.world.faults.cut_watches()
            stage.told.clear()
            await stage.world.revoke("alice", "cut")
            await asyncio.sleep(SETTLED_SECONDS)
        await _told(stage, "alice", "cut")
        assert (await stage.review("alice", "cut")).answer is not Answer.GOES_ON

    # Texts

    @clause()
    async def test_hostile_text_stays_text(self, stage: Stage) -> None:
        """F1: the template escapes, once; a plugin that escapes, strips or fills in spoils it, or makes a hole."""
        title = "<script>alert(1)</script> \"'&amp; {{ 7*7 }}"
        text = "<img src=x onerror=alert(1)> ${HOME} %s {0} &lt;b&gt; {% raw %}\nsecond line </textarea>"
        await stage.study("hostile", "alice", display_name=title, description=text)
        await stage.begin()
        (card,) = (await stage.form("alice")).cards
        assert card.title == title
        assert card.description == text
        assert await stage.starts("alice", "hostile")

    @clause()
    async def test_secrets_stay_out_of_the_log(self, stage: Stage) -> None:
        """F1: a log is read by many and kept for long; no token reaches it, and no line is without end."""
        await stage.study("logged", "alice", description="long " * 900)
        tokens = {"access_token": _SECRET, "nested": {"id_token": _SECRET}}
        users = (stage.world.user(name) for name in ("alice", "mallory"))
        alice, mallory = (
            attrs.evolve(user, identity_claims={**(user.identity_claims or {}), **tokens}) for user in users
        )
        with _logged() as records:
            await stage.begin()
            await stage.form(alice)
            await stage.start(alice, "logged")
            await stage.denied(mallory, "logged")
            await stage.manager.problems()
            await stage.world.outage()
            with pytest.raises(BackendUnavailable):
                await stage.start(alice, "logged")
        assert not [text for text in map(_whole, records) if _SECRET in text]
        own = [_whole(record) for record in records if record.name == LOGGER]
        assert not [text[:80] for text in own if len(text) > LOG_LINE_LIMIT]

    # Life

    @clause()
    async def test_class_is_one_that_the_hub_takes(self, stage: Stage) -> None:
        """L2: the hub refuses a class that is not whole, so a green contract of one would be worth nothing."""
        # The registry's own check, so that the two cannot drift apart.
        from ..registry import _problems  # noqa: PLC0415 - as above

        assert list(_problems(self.manager_class)) == []

    @clause()
    async def test_import_makes_no_call(self, stage: Stage) -> None:
        """L3: the hub's config loads before there is a network, and `list` imports to look."""
        module = self.manager_class.__module__
        known = [sys.executable, "-c", _WATCHED_IMPORT, module, os.pathsep.join(each for each in sys.path if each)]
        ran = await asyncio.to_thread(
            subprocess.run, known, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False
        )
        assert ran.returncode == 0, f"importing {module}: {ran.stderr[-2000:]}"

    @clause()
    async def test_construction_makes_no_call(self, stage: Stage) -> None:
        """L3: it happens while the hub's config loads: no loop runs, and no API has to be there."""
        context = stage.world.context
        unreachable = Kube(stage.world.namespace, {"a": "configuration that could not be used"})
        lonely = Context(settings=context.settings, kube=unreachable, log=context.log, clock=context.clock)
        asked = len(stage.world.faults.requests)
        connected = await asyncio.to_thread(_connections_of, lambda: self.manager_class(lonely))
        assert connected == []
        assert stage.world.faults.requests[asked:] == []

    @clause()
    async def test_close_frees_everything(self, stage: Stage) -> None:
        """L3: a hub that ends, or a command that has printed its answer, is held up by nothing."""
        await stage.study("cardio", "alice")
        await stage.world.administrator.close()
        await asyncio.sleep(0)
        tasks, sockets, threads = asyncio.all_tasks(), _sockets(), set(threading.enumerate())
        manager = await stage.begin()
        await stage.form("alice")
        await stage.start("alice", "cardio")
        await asyncio.sleep(0.1)
        await manager.close()
        await stage.world.kube.close()
        await stage.world.faults.hang_up()
        left: list[object] = []
        for _ in range(20):
            gc.collect()
            alive = {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}
            left = [*(asyncio.all_tasks() - tasks), *(_sockets() - sockets), *(alive - threads)]
            if not left:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"left behind by close: {left}")

    @clause()
    async def test_close_does_no_harm_at_any_time(self, stage: Stage) -> None:
        """L3: a hub that could not start closes what was never started, and may close it twice."""
        await stage.make().close()
        manager = await stage.begin()
        await manager.close()
        await manager.close()

    @clause()
    async def test_two_hundred_users_at_once_get_their_own(self, stage: Stage) -> None:
        """A2: a plugin serves everybody on one loop; what it keeps of one question must not answer the next."""
        people = [f"user{index}@example.org" for index in range(CROWD)]
        for index, name in enumerate(people):
            await stage.study(f"study-{index}", name)
        await stage.begin()
        forms = await together(*map(stage.listed, people))
        assert forms == [{f"study-{index}"} for index in range(CROWD)]
        users = [stage.world.user(name) for name in people]
        mine = list(enumerate(people))[:RACERS]
        refused = await asyncio.gather(
            *(stage.manager.confirm(users[index], f"study-{index + 1}") for index, _ in mine), return_exceptions=True
        )
        assert [type(answer) for answer in refused] == [AccessDenied] * RACERS
        confirmed = await together(*(stage.manager.confirm(users[index], f"study-{index}") for index, _ in mine))
        assert [each.name for each in confirmed] == [f"study-{index}" for index, _ in mine]
        pods = await together(*(stage.start(name, f"study-{index}") for index, name in mine))
        owners = {
            name: each["metadata"]["annotations"][OWNER_ANNOTATION]
            for name, each in (await stage.world.claims()).items()
        }
        for (index, _), pod in zip(mine, pods, strict=True):
            assert {owners[claim] for claim in own_claims(pod)} == {f"study-{index}"}


def _drawn(most: int, **facts: SearchStrategy[Any]) -> list[dict[str, Any]]:
    """The same examples at each run. They are asked about in the clause itself, so none of them outlives it."""
    found: list[dict[str, Any]] = []

    @settings(max_examples=most, database=None, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(drawn.fixed_dictionaries(facts))
    def note(each: dict[str, Any]) -> None:
        found.append(each)

    note()
    return found


def _stored(fact: Any) -> Any:
    return pickle.loads(pickle.dumps(fact))  # noqa: S301 - written a moment ago


async def _begun(stage: Stage, question: object) -> object:
    """A question as the hub asks it: the plugin is started first, and a start that fails is the answer."""
    try:
        await stage.lifecycle.begin()
    except BaseException:
        question.close()  # type: ignore[attr-defined]  # a coroutine that will not be awaited
        raise
    return await question  # type: ignore[misc]  # as above


async def _eventually(stage: Stage, identity: str | User, expected: set[str], *, or_unavailable: bool = False) -> None:
    """The form comes to have these workspaces; until then it may have what was, or be unavailable."""
    found: object = None
    try:
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            while found != expected:
                try:
                    found = await stage.listed(identity)
                except BackendUnavailable as error:
                    found = error
                    if or_unavailable:
                        return
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(f"{EVENTUALLY_SECONDS:g} s later the form has {found!r} and not {expected}") from error


async def _watched(stage: Stage, identity: str | User, workspace: str) -> None:
    """Wait until the plugin watches the Kubernetes API, and ask it; where it does not, the clause is left out."""
    await stage.start(identity, workspace)
    if not all(map(_is_claims, stage.world.faults.requests)):
        with suppress(TimeoutError):
            async with asyncio.timeout(EVENTUALLY_SECONDS):
                while True:
                    if stage.world.faults.watches:
                        assert await stage.listed(identity) == {workspace}
                        return
                    await asyncio.sleep(0.01)
    pytest.skip("the plugin does not watch the Kubernetes API")


async def _with_homes(stage: Stage, name: str, *usernames: str) -> None:
    if HOMES not in stage.manager_class.capabilities:
        pytest.skip("the plugin keeps no home folders")
    await stage.study(name, *usernames)
    await stage.world.keep_home(name)


async def _with_a_namespace(stage: Stage, name: str, *usernames: str) -> str:
    if NAMESPACES not in stage.manager_class.capabilities:
        pytest.skip("the plugin's workspaces live in the hub's own namespace")
    await stage.study(name, *usernames)
    return await stage.world.own_namespace(name)


async def _home(stage: Stage, identity: str, workspace: str) -> str:
    """The claim of the home folder that a person's server of a workspace has."""
    claim, read_only = mounted_at(await stage.start(identity, workspace), HOME)
    assert not read_only
    return claim


def _needs_changes_told(stage: Stage) -> None:
    if TELLS_CHANGES not in stage.manager.capabilities:
        pytest.skip("the plugin does not tell of changes, so servers are reviewed every WORKSPACE_REVIEW_MINUTES")


async def _told(stage: Stage, username: str, workspace: str) -> None:
    """Wait until a server is to be reviewed."""
    try:
        async with asyncio.timeout(TOLD_SECONDS):
            while not stage.is_told_of(username, workspace):  # noqa: ASYNC110 - looked at as late as the clause may
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{TOLD_SECONDS:g} s after the change nothing was told of {username!r}") from None


async def _starts_with_the_same_claims(stage: Stage, identity: str, workspace: str) -> None:
    first = mounted(await stage.start(identity, workspace))
    assert mounted(await stage.start(identity, workspace)) == first
    assert set(await stage.world.claims()) == set(first)


def _is_claims(seen: Seen) -> bool:
    return "/persistentvolumeclaims" in seen.path


def _is_new_claim(seen: Seen) -> bool:
    return seen.method == "POST" and _is_claims(seen)


def _is_no_watch(seen: Seen) -> bool:
    # A cache that compares its watch with the present does it for nobody's answer.
    return not seen.is_watch and seen.query.get("fieldSelector") != NOTHING


def _is_of_a_grant(seen: Seen) -> bool:
    return _is_no_watch(seen) and not _is_claims(seen) and not _NAMESPACE.fullmatch(seen.path)


def _common(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are no person's own (rule S8)."""
    return {name: each for name, each in claims.items() if not is_personal_claim(name)}


@contextmanager
def _logged() -> Iterator[Sequence[logging.LogRecord]]:
    """Everything that is logged meanwhile, at any level."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    loggers = [logging.getLogger(), logging.getLogger(LOGGER)]
    levels = [logger.level for logger in loggers]
    handler = Keep()
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _whole(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {record.exc_info or ''} {record.__dict__}"


_watchers: dict[int, list[str]] = {}


def _note_connection(event: str, _details: object) -> None:
    if _watchers and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        _watchers.get(threading.get_ident(), []).append(event)


_hooked: list[bool] = []


def _connections_of(act: object) -> list[str]:
    """What ``act`` does on the network, in this thread."""
    if not _hooked:  # an audit hook stays for good, so there is one, and only once somebody looks
        sys.addaudithook(_note_connection)
        _hooked.append(True)
    found = _watchers[threading.get_ident()] = []
    try:
        act()  # type: ignore[operator]  # any callable
    finally:
        del _watchers[threading.get_ident()]
    return found


def _sockets() -> set[tuple[str, int]]:
    """The sockets of this process; empty where the system does not tell."""
    found = set()
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():
        try:
            status = os.stat(int(name))
        except (OSError, ValueError):
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.add(("socket", status.st_ino))
    return found
