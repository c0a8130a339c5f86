"""The plugin against a Keycloak that is slow, gone, changing, or does not believe it."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from workspace_managers import AccessDenied, BackendUnavailable, User

from .. import KeycloakWorkspaceManager, client
from ..standin import KeycloakStandIn
from .realm import ENVIRONMENTS, LOGGER, Realm, context

HEART = "/jupyter-workspaces/heart"


async def names(manager: KeycloakWorkspaceManager, user: User) -> list[str]:
    return [each.name for each in await manager.list_workspaces(user)]


# Who is granted what


async def test_claim_and_membership_both_grant(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A2, A3: neither what the sign-in said nor what Keycloak says now is enough by itself."""
    realm.study("heart", "alice", "bob")
    assert await names(manager, realm.login("alice", HEART)) == ["heart"]
    assert await names(manager, realm.login("bob")) == []
    assert await names(manager, realm.login("carol", HEART)) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (HEART, ["heart"]),
        ("/Jupyter-Workspaces/HEART", ["heart"]),
        ("/jupyter-workspaces/hear", []),
        ("/jupyter-workspaces/heart/", []),
        ("/jupyter-workspaces/heart/readers", []),
        ("/other/jupyter-workspaces/heart", []),
        ("jupyter-workspaces/heart", []),
        ("heart", []),
        ("/jupyter-workspaces", []),
        ("", []),
    ],
)
async def test_path_is_compared_whole(
    realm: Realm, manager: KeycloakWorkspaceManager, path: str, expected: list[str]
) -> None:
    """A2."""
    realm.study("heart", "alice")
    assert await names(manager, realm.login("alice", path)) == expected


async def test_revocation_is_seen_by_the_next_question(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A3: the person is still signed in, with the old claim."""
    group = realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    assert (await manager.confirm(alice, "heart")).name == "heart"
    realm.members.remove((realm.put_account("alice"), group))
    with pytest.raises(AccessDenied):
        await manager.confirm(alice, "heart")


@pytest.mark.parametrize("state", [{"enabled": False}, {"enabled": None}, {"enabled": "true"}])
async def test_account_that_is_not_enabled_has_nothing(
    realm: Realm, manager: KeycloakWorkspaceManager, state: dict[str, object]
) -> None:
    """A2: disabling an account is how access is ended in a hurry."""
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    realm.accounts[realm.put_account("alice")] |= state
    assert await names(manager, alice) == []


async def test_deleted_account_and_its_successor_have_nothing(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A2: the id tells accounts apart, not the username."""
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    old = realm.put_account("alice")
    realm.accounts["another-id"] = {**realm.accounts.pop(old), "id": "another-id"}
    assert await names(manager, alice) == []


@pytest.mark.parametrize("sub", [None, "", 7, ".", "..", "../users", "x/../y", "?", "#", "%2e%2e", "josé", "\n"])
async def test_account_id_that_is_none_finds_nothing(
    realm: Realm, manager: KeycloakWorkspaceManager, sub: object
) -> None:
    """A2: it is never read as part of a path."""
    realm.study("heart", "alice")
    assert await names(manager, realm.login("alice", HEART, sub=sub)) == []


async def test_answer_for_another_account_grants_nothing(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A2: an id such as ``..`` would reach the realm itself, which is enabled."""
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    realm.accounts[realm.put_account("alice")]["id"] = "another-id"
    assert await names(manager, alice) == []


async def test_group_that_has_gone_hides_no_other(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """F3: the claim names it still."""
    realm.study("heart", "alice")
    gone = realm.study("lungs", "alice")
    alice = realm.login("alice", HEART, "/jupyter-workspaces/lungs")
    assert await names(manager, alice) == ["heart", "lungs"]
    del realm.groups[gone]
    assert await names(manager, alice) == ["heart"]


async def test_ambiguous_groups_are_refused_and_told_once(
    realm: Realm, manager: KeycloakWorkspaceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """S1: also to a member of one of them alone."""
    realm.study("Heart A", "alice")
    realm.study("heart-a", "bob")
    realm.study("heart", "alice")
    alice = realm.login("alice", "/jupyter-workspaces/heart a", HEART)
    for _ in range(3):
        assert await names(manager, alice) == ["heart"]
    (problem,) = await manager.problems()
    assert "'Heart A' and 'heart-a'" in problem
    assert [record.getMessage() for record in caplog.records if "heart-a" in record.getMessage()] == [
        f"Keycloak: {problem}"
    ]


async def test_hub_without_claims_is_told_once(
    realm: Realm, manager: KeycloakWorkspaceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """A4: every form would be empty, and nobody would know why."""
    for name in ("alice", "bob"):
        assert await names(manager, User.identify(name)) == []
    told = [record.getMessage() for record in caplog.records if "enable_auth_state" in record.getMessage()]
    assert len(told) == 1
    assert "The hub knows no identity claims of 'alice'" in told[0]


async def test_legacy_is_told_once_at_start(
    realm: Realm, manager: KeycloakWorkspaceManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    other = KeycloakWorkspaceManager(context())
    await other.start()
    await names(other, realm.login("alice", HEART))
    await other.close()
    (told,) = [record for record in caplog.records if "legacy" in record.getMessage()]
    assert told.levelno == logging.WARNING
    assert "WORKSPACE_MANAGER=lscsde" in told.getMessage()


# Pages


@pytest.mark.parametrize("count", [4, 5, 6, 9, 10, 23])
async def test_every_page_is_read(
    realm: Realm, manager: KeycloakWorkspaceManager, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(client, "PAGE_GROUPS", 5)
    for index in range(count):
        realm.study(f"study-{index:02}", "alice")
    alice = realm.login("alice", *(f"/jupyter-workspaces/study-{index:02}" for index in range(count)))
    assert await names(manager, alice) == [f"study-{index:02}" for index in range(count)]


async def test_list_that_moves_while_it_is_read_is_no_answer(
    realm: Realm, manager: KeycloakWorkspaceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: the group that slips through could be the one that makes a name ambiguous."""
    monkeypatch.setattr(client, "PAGE_GROUPS", 5)
    groups = [realm.study(f"study-{index}", "alice") for index in range(9)]

    async def delete_meanwhile(request: web.Request) -> None:
        if request.query.get("first") == "4":
            realm.groups.pop(groups[0], None)

    alice = realm.login("alice", "/jupyter-workspaces/study-8")
    realm.members = {((alice.identity_claims or {})["sub"], groups[8])}
    realm.fault = delete_meanwhile
    with pytest.raises(BackendUnavailable, match="changed while it was read"):
        await manager.list_workspaces(alice)
    assert await names(manager, alice) == ["study-8"]


async def test_one_reading_serves_only_questions_before_it(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A3: who asks while the groups are being read is not answered with what was read before."""
    group = realm.study("heart")
    reached, gone_on = asyncio.Event(), asyncio.Event()

    async def wait_at_the_end(request: web.Request) -> web.StreamResponse | None:
        if "/children" not in request.path or reached.is_set():
            return None
        answer = web.json_response([realm.groups[group]])
        reached.set()
        await gone_on.wait()
        return answer

    realm.fault = wait_at_the_end
    first = asyncio.create_task(manager._groups_now())
    await reached.wait()
    del realm.groups[group]
    later = [asyncio.create_task(manager._groups_now()) for _ in range(20)]
    await asyncio.sleep(0)  # each comes as far as it can
    realm.requests.clear()
    gone_on.set()
    assert [each.workspace.name for each in await first] == ["heart"]
    assert await asyncio.gather(*later) == [[]] * 20
    assert realm.asked("/children") == 1


async def test_reading_that_fails_serves_nobody(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A4: neither as an answer nor by the answer before it; those who waited for it have another."""
    group = realm.study("heart")
    assert len(await manager._groups_now()) == 1
    del realm.groups[group]
    faults = iter([200, 500])

    async def fail_second(request: web.Request) -> web.StreamResponse | None:
        failing = "/children" in request.path and next(faults, 200) == 500
        return web.Response(status=500) if failing else None

    realm.fault = fail_second
    answers = await asyncio.gather(*(manager._groups_now() for _ in range(10)), return_exceptions=True)
    (failure,) = (each for each in answers if each != [])
    assert isinstance(failure, BackendUnavailable)
    assert realm.asked("/children") == 1 + 3


# Tokens


async def test_one_token_serves_all_who_ask_at_once(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    assert await asyncio.gather(*(names(manager, alice) for _ in range(30))) == [["heart"]] * 30
    assert realm.asked("/token") == 1


async def test_token_is_renewed_before_it_ends(
    realm: Realm, manager: KeycloakWorkspaceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    now = monotonic()
    for later, tokens in ((0, 1), (280, 1), (291, 2), (300, 2)):
        monkeypatch.setattr(client, "monotonic", lambda later=later: now + later)
        assert await names(manager, alice) == ["heart"]
        assert realm.asked("/token") == tokens, later


async def test_token_that_is_refused_is_renewed_once_for_all(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    realm.study("heart", "alice")
    alice = realm.login("alice", HEART)
    await names(manager, alice)
    realm.end_tokens()
    assert await asyncio.gather(*(names(manager, alice) for _ in range(20))) == [["heart"]] * 20
    assert realm.asked("/token") == 2


async def test_token_that_is_always_refused_is_unavailable(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    """A4: two tries, not more."""
    alice = realm.login("alice", HEART)
    realm.token_seconds = 0
    with pytest.raises(BackendUnavailable, match="with 401"):
        await manager.list_workspaces(alice)
    assert realm.asked("/users/") == 2


async def test_wrong_secret_is_unavailable(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    realm.client_secret = "changed since"  # noqa: S105 - made up
    with pytest.raises(BackendUnavailable, match="check KEYCLOAK_CLIENT_ID and KEYCLOAK_CLIENT_SECRET"):
        await manager.list_workspaces(realm.login("alice", HEART))
    realm.requests.clear()


# A Keycloak that does not answer as it should

Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def answering(path: str, make: Callable[[], web.StreamResponse]) -> Answer:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        return make() if path in request.path else None

    return fault


async def drop(request: web.Request) -> web.StreamResponse | None:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param(answering("", lambda: web.Response(status=503)), "token endpoint answered with 503", id="503"),
        pytest.param(answering("/users/", lambda: web.Response(status=500)), "with 500", id="500"),
        pytest.param(answering("/users/", lambda: web.Response(status=403)), "the role view-users", id="403"),
        pytest.param(answering("/users/", lambda: web.Response(text="<p>")), "other than JSON", id="html"),
        pytest.param(answering("/token", lambda: web.json_response([])), "without a token", id="no-token"),
        pytest.param(answering("/token", lambda: web.json_response({"access_token": "a\nb"})), "without a", id="bad"),
        pytest.param(answering("/group-by", lambda: web.Response(status=404)), "no group /jupyter", id="no-parent"),
        pytest.param(answering("/children", lambda: web.Response(status=404)), "went while it was read", id="gone"),
        pytest.param(answering("/children", lambda: web.json_response({})), "other than groups", id="no-list"),
        pytest.param(answering("/children", lambda: web.json_response([{"id": 1}])), "other than groups", id="odd"),
        pytest.param(drop, "failed: ", id="dropped"),
    ],
)
async def test_other_answers_are_unavailable(
    realm: Realm, manager: KeycloakWorkspaceManager, fault: Answer, told: str
) -> None:
    """A4: never an empty list."""
    realm.study("heart", "alice")
    realm.fault = fault
    with pytest.raises(BackendUnavailable, match=told):
        await manager.list_workspaces(realm.login("alice", HEART))
    realm.fault = None
    assert await names(manager, realm.login("alice", HEART)) == ["heart"]


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_redirect_is_not_followed(realm: Realm, manager: KeycloakWorkspaceManager, status: int) -> None:
    """F1: the secret and the token would go wherever it says."""
    elsewhere = KeycloakStandIn()
    await elsewhere.start()
    target = elsewhere.environ({})["KEYCLOAK_TOKEN_URL"]
    realm.fault = answering("", lambda: web.Response(status=status, headers={"Location": target}))
    try:
        with pytest.raises(BackendUnavailable, match=f"with {status}"):
            await manager.list_workspaces(realm.login("alice", HEART))
    finally:
        await elsewhere.stop()
    assert elsewhere.requests == []


@pytest.mark.parametrize("path", ["/token", "/users/", "/children"])
async def test_slow_keycloak_is_unavailable(realm: Realm, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A4: bounded in time, whichever request it is."""
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.2)
    manager = KeycloakWorkspaceManager(context())
    await manager.start()
    over = asyncio.Event()

    async def hang(request: web.Request) -> None:
        if path in request.path:
            await over.wait()

    realm.study("heart", "alice")
    realm.fault = hang
    try:
        async with asyncio.timeout(20):
            with pytest.raises(BackendUnavailable, match=r"was not answered within 0\.2 s"):
                await manager.list_workspaces(realm.login("alice", HEART))
    finally:
        over.set()
        await manager.close()


async def test_no_one_listens_is_unavailable(realm: Realm, manager: KeycloakWorkspaceManager) -> None:
    await realm.stop()
    with pytest.raises(BackendUnavailable, match="failed: "):
        await manager.list_workspaces(realm.login("alice", HEART))


async def test_question_outside_its_life_is_unavailable(realm: Realm) -> None:
    manager = KeycloakWorkspaceManager(context())
    with pytest.raises(BackendUnavailable, match="before the plugin was started"):
        await manager.list_workspaces(realm.login("alice", HEART))


async def test_certificate_of_nobody_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F1: before anything is sent."""
    realm = Realm()
    await realm.start(self_signed(tmp_path))
    for name, value in realm.environ(ENVIRONMENTS).items():
        monkeypatch.setenv(name, value)
    manager = KeycloakWorkspaceManager(context())
    await manager.start()
    with pytest.raises(BackendUnavailable, match="certificate verify failed"):
        await manager.list_workspaces(realm.login("alice", HEART))
    await manager.close()
    await realm.stop()
    assert realm.requests == []


async def test_secret_and_tokens_are_in_no_message(
    realm: Realm, manager: KeycloakWorkspaceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """F1: whatever goes wrong, and with all that was chained to it."""
    caplog.set_level(logging.DEBUG, LOGGER)
    realm.study("heart", "alice")
    realm.study("heart_", "alice")
    alice = realm.login("alice", HEART)
    await manager.list_workspaces(alice)
    (token,) = realm._tokens
    told: list[str] = []
    broken = web.json_response({"access_token": token}).text or ""
    for fault in (
        answering("/users/", lambda: web.Response(status=401)),
        answering("/users/", lambda: web.Response(status=403, text=token)),
        answering("/users/", lambda: web.Response(text=token)),
        answering("", lambda: web.Response(text=broken[:-1])),
        drop,
    ):
        realm.fault = fault
        with contextlib.suppress(BackendUnavailable):
            try:
                await manager.list_workspaces(alice)
            except BackendUnavailable as error:
                told += traceback.format_exception(error)
                told += [repr(each) for each in (error, error.__cause__, error.__context__)]
                raise
    told += [*(record.getMessage() for record in caplog.records), repr(vars(manager))]
    assert len(told) > 10
    for secret in (realm.client_secret, *realm._tokens):
        assert not [line for line in told if secret in line]


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
