"""Issuers beside each other: each has its own key, and no other key speaks for it (B18)."""

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import pytest
from pydantic import SecretStr, ValidationError
from starlette.requests import Request

from gateway import linking
from gateway import tokens as tokens_module
from gateway.identity import Caller, Identity, Keys
from gateway.linking import Links
from gateway.refusals import NotConfigured, Unauthenticated
from gateway.settings import TokenSettings
from gateway.tokens import Issuer, Tokens, signing_keys
from runtime.database import Database
from runtime.settings import DatabaseSettings

from .client import SECRET, token
from .conftest import migrated
from .test_identity import CLAIMS, raw_token

pytestmark = pytest.mark.connected
SETTINGS = TokenSettings(
    supabase_jwt_secret=SecretStr(SECRET), jwt_secret=SecretStr("reelmate's own secret, long enough")
)
OWN = (Issuer.REELMATE, Issuer.SOCIAL, Issuer.JAAZ)
KEYS = {**signing_keys(SETTINGS), "supabase": SECRET.encode()}
USER = uuid4()


@pytest.fixture(scope="module")
async def database_url(make_database: Callable[[str], str]) -> str:
    return await migrated(make_database("tokens"))


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(database_url=SecretStr(database_url)), "gateway")
    yield database
    await database.close()


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(SETTINGS, database)


@pytest.fixture
def identity(database: Database) -> Identity:
    return Identity(SETTINGS, Keys(None), local_mode=False, links=Links(database))


async def ask(identity: Identity, token: str) -> Caller:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return await identity.required(Request({"type": "http", "headers": headers}))


def signed(key: bytes, claims: dict[str, Any], **header: Any) -> str:
    body = {"iss": "https://project.supabase.example/auth/v1", "sub": str(USER), "aud": "authenticated"}
    return jwt.encode(body | {"exp": int(time.time()) + 60} | claims, key, "HS256", header)


# -- access tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", OWN)
async def test_what_an_issuer_of_ours_gives_is_believed(tokens: Tokens, identity: Identity, issuer: Issuer) -> None:
    assert (await ask(identity, tokens.access(issuer, USER))).user_id == USER
    assert not (await ask(identity, tokens.access(issuer, USER, {"email": "a@b.example"}))).is_verified


def test_lifetimes_are_as_promised(tokens: Tokens) -> None:
    """JWT_EXPIRES_IN is reelmate's; what is refreshed lives an hour."""
    lives = {issuer: tokens.lifetime(issuer) for issuer in Issuer}
    assert lives == {
        Issuer.REELMATE: 7 * 86_400,
        Issuer.SOCIAL: 3600,
        Issuer.JAAZ: 30 * 86_400,
        Issuer.GOTRUE: 3600,
    }
    claims = jwt.decode(tokens.access(Issuer.SOCIAL, USER), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600
    assert TokenSettings(jwt_expires_in="90m").jwt_lifetime_seconds == 5400


@pytest.mark.parametrize(
    ("issuer", "key"),
    [pair for pair in itertools.product([*OWN, "supabase"], KEYS) if pair[0] != pair[1]],
    ids=str,
)
@pytest.mark.parametrize("names_key", ["issuer's", "signer's", "none"])
async def test_no_key_speaks_for_another_issuer(identity: Identity, issuer: str, key: str, names_key: str) -> None:
    """Every issuer with every other's key: under its own `kid`, under the signer's, and under none."""
    claims = {} if issuer == "supabase" else {"iss": str(issuer)}
    kid = {"issuer's": str(issuer), "signer's": key, "none": None}[names_key]
    forged = signed(KEYS[key], claims, **({} if kid in {None, "supabase"} else {"kid": kid}))
    with pytest.raises(Unauthenticated):
        await ask(identity, forged)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": "darkroom/reelmate"},
        {"alg": "HS512", "kid": "darkroom/reelmate"},
        {"alg": "ES256", "kid": "darkroom/reelmate"},
        {"alg": "HS256", "kid": ["darkroom/reelmate"]},
        {"alg": "HS256", "kid": {"darkroom/reelmate": 1}},
        {"alg": "HS256", "kid": "darkroom/reelmate/../social"},
        {"alg": "HS256", "kid": "darkroom/gotrue"},
        {"alg": "HS256", "kid": "../../dev/null"},
        {"alg": "HS256", "kid": "' OR 1=1 --"},
        {"alg": "HS256", "kid": "darkroom/reelmate", "crit": ["exp"]},
        {"alg": "HS256", "kid": "darkroom/social", "jwk": {"kty": "oct", "k": ""}},
    ],
    ids=lambda header: str(header)[:60],
)
@pytest.mark.parametrize("secret", ["", "reelmate's own secret, long enough", SECRET])
async def test_no_trick_with_a_header_helps(identity: Identity, header: dict[str, Any], secret: str) -> None:
    digest = "sha512" if header["alg"] == "HS512" else "sha256"
    forged = raw_token(header, CLAIMS | {"iss": "darkroom/reelmate"}, secret, digest)
    with pytest.raises(Unauthenticated):
        await ask(identity, forged)


def test_two_issuers_never_have_one_key() -> None:
    assert len(set(KEYS.values())) == len(KEYS)
    with pytest.raises(ValidationError, match="have to differ"):
        TokenSettings(supabase_jwt_secret=SecretStr(SECRET), jwt_secret=SecretStr(SECRET))
    with pytest.raises(ValidationError, match="at least 16"):
        TokenSettings(jwt_secret=SecretStr("short"))


async def test_an_issuer_without_a_key_is_off(database: Database) -> None:
    off = Tokens(TokenSettings(), database)
    for issuer in Issuer:
        with pytest.raises(NotConfigured):
            off.access(issuer, USER)
        with pytest.raises(NotConfigured):
            await off.begin(issuer, USER)
    nobody = Identity(TokenSettings(), Keys(None), local_mode=False)
    for forged in (raw_token({"alg": "HS256", "kid": Issuer.REELMATE.value}, secret=""), token(USER)):
        with pytest.raises(Unauthenticated):
            await ask(nobody, forged)


# -- refresh tokens -----------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_good_once_and_the_next_one_after_it(tokens: Tokens) -> None:
    session = await tokens.begin(Issuer.SOCIAL, USER)
    seen = {session.refresh_token}
    for _ in range(5):
        following = await tokens.rotate(Issuer.SOCIAL, session.refresh_token)
        assert (following.id, following.user_id) == (session.id, USER)
        assert following.refresh_token not in seen
        seen.add(following.refresh_token)
        session = following


async def test_a_spent_refresh_token_ends_its_session_and_no_other(tokens: Tokens) -> None:
    """It is in two hands: whoever has the newest is signed out as well."""
    session, other = await tokens.begin(Issuer.SOCIAL, USER), await tokens.begin(Issuer.SOCIAL, USER)
    second = await tokens.rotate(Issuer.SOCIAL, session.refresh_token)
    third = await tokens.rotate(Issuer.SOCIAL, second.refresh_token)
    for spent in (session, third, second):
        with pytest.raises(Unauthenticated):
            await tokens.rotate(Issuer.SOCIAL, spent.refresh_token)
    await tokens.rotate(Issuer.SOCIAL, other.refresh_token)


async def test_a_repeated_refresh_whose_answer_was_lost_gives_the_same_again(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the commit and the answer signs nobody out; a repeat after the pause does."""
    session = await tokens.begin(Issuer.SOCIAL, USER)
    answers = await asyncio.gather(*(tokens.rotate(Issuer.SOCIAL, session.refresh_token) for _ in range(5)))
    assert len({answer.refresh_token for answer in answers}) == 1
    monkeypatch.setattr(tokens_module, "REPEAT_SECONDS", 0)
    with pytest.raises(Unauthenticated):
        await tokens.rotate(Issuer.SOCIAL, session.refresh_token)
    with pytest.raises(Unauthenticated):
        await tokens.rotate(Issuer.SOCIAL, answers[0].refresh_token)


@pytest.mark.parametrize("issuer", [Issuer.REELMATE, Issuer.JAAZ, Issuer.GOTRUE])
async def test_a_refresh_token_is_of_one_issuer(tokens: Tokens, issuer: Issuer) -> None:
    session = await tokens.begin(Issuer.SOCIAL, USER)
    with pytest.raises(Unauthenticated):
        await tokens.rotate(issuer, session.refresh_token)
    await tokens.rotate(Issuer.SOCIAL, session.refresh_token)


@pytest.mark.parametrize("given", ["", "x", "\0", "\ud800", "x" * 10_000])
async def test_what_nobody_gave_is_refused(tokens: Tokens, given: str) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.rotate(Issuer.SOCIAL, given)


async def test_a_refresh_token_is_no_access_token_and_is_not_kept(
    tokens: Tokens, identity: Identity, rows: asyncpg.Connection
) -> None:
    session = await tokens.begin(Issuer.SOCIAL, USER)
    with pytest.raises(Unauthenticated):
        await ask(identity, session.refresh_token)
    kept = await rows.fetchval("SELECT hash FROM refresh_tokens WHERE session_id = $1", session.id)
    assert kept == hashlib.sha256(session.refresh_token.encode()).digest()
    assert session.refresh_token not in str(await rows.fetch("SELECT * FROM sessions, refresh_tokens"))


async def test_ended_and_expired_sessions_are_over(tokens: Tokens, rows: asyncpg.Connection) -> None:
    user = uuid4()
    first, second, third = [await tokens.begin(Issuer.SOCIAL, user) for _ in range(3)]
    await tokens.end(Issuer.SOCIAL, user, only=first.id)
    await rows.execute("UPDATE sessions SET expires_at = now() WHERE id = $1", second.id)
    for over in (first, second):
        with pytest.raises(Unauthenticated):
            await tokens.rotate(Issuer.SOCIAL, over.refresh_token)
    third = await tokens.rotate(Issuer.SOCIAL, third.refresh_token)
    await tokens.end(Issuer.SOCIAL, user)
    with pytest.raises(Unauthenticated):
        await tokens.rotate(Issuer.SOCIAL, third.refresh_token)


async def test_sessions_of_one_user_are_bounded(
    tokens: Tokens, rows: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "MAX_SESSIONS", 3)
    user = uuid4()
    sessions = [await tokens.begin(Issuer.SOCIAL, user) for _ in range(5)]
    kept = await rows.fetch("SELECT id FROM sessions WHERE user_id = $1", user)
    assert {row["id"] for row in kept} == {session.id for session in sessions[2:]}


# -- one person at several issuers --------------------------------------------------------------------------------


def of_supabase(subject: UUID, **claims: Any) -> str:
    return token(subject, **claims)


async def test_a_verified_address_links_issuers_and_nothing_else_does(identity: Identity) -> None:
    first, second, unverified, other = (uuid4() for _ in range(4))
    address = f"{uuid4()}@example.com"
    said = {"email": address, "email_verified": True}
    assert (await ask(identity, of_supabase(first, **said))).user_id == first
    again = await ask(
        identity, of_supabase(second, iss="https://elsewhere.example", **said | {"email": address.upper()})
    )
    assert again.user_id == first
    spoofed = [
        {"email": address},
        {"email": address, "email_verified": "true"},
        {"email": address, "email_verified": 1},
        {"email": address, "user_metadata": {"email_verified": True}},
        {"email_verified": True},
        {"email": [address], "email_verified": True},
        {"email": address + "\0", "email_verified": True},
    ]
    for claims in spoofed:
        assert (await ask(identity, of_supabase(unverified, **claims))).user_id == unverified
    assert (await ask(identity, of_supabase(other, email="x" + address, email_verified=True))).user_id == other


async def test_identities_that_come_at_the_same_time_meet(database: Database) -> None:
    """The second waits for the first, whose row nobody sees before it is committed."""
    links, first, second, address = Links(database), uuid4(), uuid4(), f"{uuid4()}@example.com"
    values = {"issuer": "one", "subject": str(first), "user_id": first, "email": address}
    async with database.transaction() as connection:
        await linking.lock(connection, address)
        await connection.execute(linking._LINK, values)
        coming = asyncio.create_task(links.user("another", str(second), address, second))
        done, _ = await asyncio.wait([coming], timeout=0.5)
        assert not done
    assert await coming == first


async def test_an_address_that_somebody_gave_up_no_longer_names_him(database: Database) -> None:
    """Else whoever gets the address after him gets his pictures."""
    links, old, new = Links(database), uuid4(), uuid4()
    address = f"{uuid4()}@example.com"
    assert await links.user("issuer", str(old), address, old) == old
    assert await links.user("issuer", str(old), f"moved-{address}", old) == old
    assert await links.user("issuer", str(new), address, new) == new
