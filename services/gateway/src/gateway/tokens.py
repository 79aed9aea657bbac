"""The tokens that the gateway gives itself: signed access tokens, and refresh tokens that are spent once.

Each issuer has a key and an `iss` of its own, and its tokens name that key (`kid`). A refresh token is random text; the
database knows its hash alone. Its successor is derived from it, so that whoever repeats a refresh whose answer was lost
gets the same successor again; once that was used, the one before is a copy in wrong hands and ends the session.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import jwt
from sqlalchemy import text

from gateway.refusals import NotConfigured, Unauthenticated
from gateway.settings import TokenSettings
from runtime.database import Connection, Database

AUDIENCE = "authenticated"
ACCESS_SECONDS = 3600
"""Of what is refreshed."""
DEVICE_SECONDS = 30 * 86_400
"""Of a device's token, which the device exchanges for a new one while it is good."""
SESSION_SECONDS = 30 * 86_400
"""How long a session lasts that nobody refreshes."""
REPEAT_SECONDS = 10
"""How long a spent refresh token still gives the successor that it gave."""
MAX_SESSIONS = 100
"""Of one user: the oldest make room."""
MAX_REFRESH_CHARACTERS = 200
_TOKEN_BYTES = 32


class Issuer(StrEnum):
    """Who gives tokens here; the value is their `iss` and `kid`. GoTrue's have the `iss` and key of Supabase's."""

    GOTRUE = "darkroom/gotrue"
    REELMATE = "darkroom/reelmate"
    SOCIAL = "darkroom/social"
    JAAZ = "darkroom/jaaz"


def signing_keys(settings: TokenSettings) -> Mapping[str, bytes]:
    """`kid` → key of the tokens that are signed with JWT_SECRET, or with what is derived from it."""
    if settings.jwt_secret is None:
        return {}
    secret = settings.jwt_secret.get_secret_value().encode()
    return {
        Issuer.REELMATE.value: secret,
        Issuer.SOCIAL.value: _derived(secret, Issuer.SOCIAL),
        Issuer.JAAZ.value: _derived(secret, Issuer.JAAZ),
    }


class RefreshRefused(Unauthenticated):
    """The refresh token is nobody's, or was spent."""


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that goes on: its refresh token is good once."""

    id: UUID
    user_id: UUID
    refresh_token: str


_BEGIN = text("""
    INSERT INTO sessions (id, issuer, user_id, expires_at)
    VALUES (:id, :issuer, :user_id, now() + make_interval(secs => :seconds))
""")
_KEEP = text("INSERT INTO refresh_tokens (hash, session_id) VALUES (:hash, :session_id) ON CONFLICT (hash) DO NOTHING")
_MAKE_ROOM = text("""
    DELETE FROM sessions WHERE user_id = :user_id AND (expires_at < now() OR id IN (
        SELECT id FROM sessions WHERE user_id = :user_id ORDER BY created_at DESC OFFSET :most))
""")
_LOCK = text("""
    SELECT id, user_id FROM sessions
    WHERE id = (SELECT session_id FROM refresh_tokens WHERE hash = :hash) AND issuer = :issuer
        AND ended_at IS NULL AND expires_at > now() FOR UPDATE
""")
_LOOK = text("""
    SELECT spent_at IS NOT NULL AS spent,
        coalesce(spent_at > now() - make_interval(secs => :repeat_seconds), false) AS just_spent
    FROM refresh_tokens WHERE hash = :hash
""")
_ALIVE = text("SELECT 1 FROM sessions WHERE id = :id AND ended_at IS NULL AND expires_at > now()")
_SPEND = text("UPDATE refresh_tokens SET spent_at = now() WHERE hash = :hash AND spent_at IS NULL")
_UNSPENT = text("SELECT 1 FROM refresh_tokens WHERE hash = :hash AND spent_at IS NULL")
_EXTEND = text("UPDATE sessions SET expires_at = now() + make_interval(secs => :seconds) WHERE id = :id")
_FORGET = text("""
    DELETE FROM refresh_tokens WHERE session_id = :id AND spent_at < now() - make_interval(secs => :seconds)
""")
_END = text("UPDATE sessions SET ended_at = now() WHERE id = :id AND ended_at IS NULL")
_END_OF_USER = text("""
    UPDATE sessions SET ended_at = now()
    WHERE user_id = :user_id AND issuer = :issuer AND ended_at IS NULL
        AND (CAST(:but AS uuid) IS NULL OR id <> :but) AND (CAST(:only AS uuid) IS NULL OR id = :only)
""")


class Tokens:
    """Gives tokens and takes refresh tokens back."""

    def __init__(self, settings: TokenSettings, database: Database) -> None:
        self._keys = signing_keys(settings)
        self._supabase = settings.supabase_jwt_secret
        self._lifetimes = {Issuer.REELMATE: settings.jwt_lifetime_seconds, Issuer.JAAZ: DEVICE_SECONDS}
        self._database = database

    def access(self, issuer: Issuer, user_id: UUID, claims: Mapping[str, Any] | None = None) -> str:
        """A signed token that names a user, good for `lifetime(issuer)`.

        `claims` come on top; GoTrue's bring their own `iss`. Raises NotConfigured.
        """
        now = int(time.time())
        body = {
            "iss": issuer.value,
            "aud": AUDIENCE,
            "role": AUDIENCE,
            "sub": str(user_id),
            "iat": now,
            "exp": now + self.lifetime(issuer),
            **(claims or {}),
        }
        headers = None if issuer is Issuer.GOTRUE else {"kid": issuer.value}
        return jwt.encode(body, self._key(issuer), "HS256", headers)

    def lifetime(self, issuer: Issuer) -> int:
        """Of an access token, in seconds."""
        return self._lifetimes.get(issuer, ACCESS_SECONDS)

    async def begin(self, issuer: Issuer, user_id: UUID) -> Session:
        """A new session of a user who has just signed in. Raises NotConfigured."""
        session = Session(uuid4(), user_id, secrets.token_urlsafe(_TOKEN_BYTES))
        self._key(issuer)
        values = {"id": session.id, "issuer": issuer.value, "user_id": user_id, "seconds": SESSION_SECONDS}
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, values)
            await connection.execute(_KEEP, {"hash": _hash(session.refresh_token), "session_id": session.id})
            await connection.execute(_MAKE_ROOM, {"user_id": user_id, "most": MAX_SESSIONS})
        return session

    async def rotate(self, issuer: Issuer, refresh_token: str) -> Session:
        """The session with its next refresh token; the given one is spent.

        Raises:
            RefreshRefused: nobody's, another issuer's, of a session that is over, or spent before. The last of these
                ends its session, since it is in two hands. NotConfigured.
        """
        successor = self._successor(issuer, refresh_token)
        async with self._database.transaction() as connection:
            session = await self._rotated(connection, issuer, refresh_token, successor)
        if session is None:
            raise RefreshRefused("The refresh token is not valid: sign in again.")
        return session

    async def goes_on(self, session_id: UUID) -> bool:
        """Whether a session is neither ended nor expired."""
        async with self._database.statement() as connection:
            return (await connection.execute(_ALIVE, {"id": session_id})).first() is not None

    async def lengthen(self, session_id: UUID) -> None:
        """A session of which a token was made new lasts as long as that; one that has ended stays so."""
        async with self._database.statement() as connection:
            await connection.execute(_EXTEND, {"id": session_id, "seconds": SESSION_SECONDS})

    async def end(self, issuer: Issuer, user_id: UUID, *, only: UUID | None = None, but: UUID | None = None) -> None:
        """Ends a user's sessions: all, only one, or all but one. Access tokens live on until they expire."""
        values = {"user_id": user_id, "issuer": issuer.value, "only": only, "but": but}
        async with self._database.statement() as connection:
            await connection.execute(_END_OF_USER, values)

    async def _rotated(
        self, connection: Connection, issuer: Issuer, refresh_token: str, successor: str
    ) -> Session | None:
        given, following = _hash(refresh_token), _hash(successor)
        found = (await connection.execute(_LOCK, {"hash": given, "issuer": issuer.value})).one_or_none()
        if found is None:
            return None
        look = {"hash": given, "repeat_seconds": REPEAT_SECONDS}
        token = (await connection.execute(_LOOK, look)).one()
        if token.spent:
            is_repeated = token.just_spent and (await connection.execute(_UNSPENT, {"hash": following})).first()
            if not is_repeated:
                await connection.execute(_END, {"id": found.id})
                return None
        else:
            await connection.execute(_SPEND, {"hash": given})
            await connection.execute(_KEEP, {"hash": following, "session_id": found.id})
            await connection.execute(_EXTEND, {"id": found.id, "seconds": SESSION_SECONDS})
            await connection.execute(_FORGET, {"id": found.id, "seconds": SESSION_SECONDS})
        return Session(found.id, found.user_id, successor)

    def _successor(self, issuer: Issuer, refresh_token: str) -> str:
        digest = hmac.digest(_derived(self._key(issuer), "refresh"), _bytes(refresh_token), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _key(self, issuer: Issuer) -> bytes:
        if issuer is Issuer.GOTRUE and self._supabase is not None:
            return self._supabase.get_secret_value().encode()
        key = self._keys.get(issuer)
        if key is None:
            name = "SUPABASE_JWT_SECRET" if issuer is Issuer.GOTRUE else "JWT_SECRET"
            raise NotConfigured(f"Nobody signs in this way here: the operator has to set {name}.")
        return key


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"darkroom {purpose}".encode(), hashlib.sha256)


def _hash(token: str) -> bytes:
    return hashlib.sha256(_bytes(token)).digest()


def _bytes(token: str) -> bytes:
    """Of whatever was sent: JSON can hold what UTF-8 cannot."""
    return token.encode(errors="surrogatepass")
