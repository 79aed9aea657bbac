"""The keys of a user: made, listed, changed for new ones, and revoked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.api_keys.ring import Key, hash_of
from gateway.identity import Caller
from gateway.orders import id_of
from gateway.refusals import Invalid, NotFound, ShownOnce
from runtime.database import Database, Row

ROUTE = "/v1/api-keys"
MAX_KEYS = 50
PREFIX_CHARACTERS = 10
DEFAULT_OVERLAP_SECONDS = 24 * 3600
MAX_OVERLAP_SECONDS = 30 * 24 * 3600
_KEY_BYTES = 32

_COLUMNS = """id, name, prefix, scopes, requests_per_minute, units_per_day, units_per_month, expires_at, last_used_at,
    created_at, CASE WHEN previous_until > now() THEN previous_until END AS previous_until"""
# One of a user's at a time counts what there is, so that no two are the last one.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('API keys of ' || CAST(:user_id AS uuid), 0))")
_MAKE = text(f"""
    INSERT INTO api_keys (id, user_id, name, prefix, hash, scopes, requests_per_minute, units_per_day,
        units_per_month, expires_at)
    SELECT :id, :user_id, :name, :prefix, :hash, CAST(:scopes AS text[]), CAST(:requests_per_minute AS integer),
        CAST(:units_per_day AS bigint), CAST(:units_per_month AS bigint), CAST(:expires_at AS timestamptz)
    WHERE (SELECT count(*) FROM api_keys WHERE user_id = :user_id) < :most
    ON CONFLICT (id) DO NOTHING RETURNING {_COLUMNS}
""")
_MADE = text("SELECT id FROM api_keys WHERE user_id = :user_id AND id = :id")
_LIST = text(f"SELECT {_COLUMNS} FROM api_keys WHERE user_id = :user_id ORDER BY created_at, id")
_ROTATE = text(f"""
    UPDATE api_keys SET previous_hash = hash, previous_until = now() + make_interval(secs => :overlap_seconds),
        hash = :hash, prefix = :prefix, rotated_as = :rotated_as
    WHERE user_id = :user_id AND id = :id AND rotated_as IS DISTINCT FROM :rotated_as RETURNING {_COLUMNS}
""")
_GOOD = text("""
    SELECT id, user_id, scopes, requests_per_minute, units_per_day, units_per_month FROM api_keys
    WHERE user_id = :user_id AND id = :id AND (expires_at IS NULL OR expires_at > now())
""")
_REVOKE = text("DELETE FROM api_keys WHERE user_id = :user_id AND id = :id RETURNING id")


@dataclass(frozen=True, slots=True)
class MadeKey:
    """`key` is shown when it is new, and never again."""

    row: Row
    key: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a key may do. Caps are in units; None: no bound."""

    scopes: Sequence[str]
    requests_per_minute: int | None = None
    units_per_day: int | None = None
    units_per_month: int | None = None
    expires_at: datetime | None = None


class ApiKeys:
    """The commands and queries. Every statement names the user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, caller: Caller, name: str, bounds: Bounds, idempotency_key: str | None = None) -> MadeKey:
        """Raises ShownOnce where one was made under this Idempotency-Key, Invalid for one too many."""
        key = _new_key()
        values = {
            "id": id_of(caller, ROUTE, idempotency_key),
            "user_id": caller.user_id,
            "name": name,
            "most": MAX_KEYS,
            "scopes": sorted(set(bounds.scopes)),
            "requests_per_minute": bounds.requests_per_minute,
            "units_per_day": bounds.units_per_day,
            "units_per_month": bounds.units_per_month,
            "expires_at": bounds.expires_at,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_ALONE, values)
            row = (await connection.execute(_MAKE, values | _kept(key))).one_or_none()
            is_there = row is None and (await connection.execute(_MADE, values)).first() is not None
        if is_there:
            raise _shown_once()
        if row is None:
            raise Invalid(f"At most {MAX_KEYS} API keys; revoke one first.")
        return MadeKey(row, key)

    async def all(self, caller: Caller) -> list[Row]:
        async with self._database.statement() as connection:
            return list((await connection.execute(_LIST, {"user_id": caller.user_id})).all())

    async def rotate(
        self, caller: Caller, key_id: UUID, overlap_seconds: int, idempotency_key: str | None = None
    ) -> MadeKey:
        """A new key with the same bounds; the one before works on for so long. Raises NotFound, and ShownOnce where it
        was the last change that was asked for under this Idempotency-Key: the one before works on still."""
        key = _new_key()
        rotated_as = id_of(caller, f"{ROUTE}/{key_id}/rotate", idempotency_key)
        values = {"rotated_as": rotated_as, "overlap_seconds": overlap_seconds, **_kept(key)}
        row = await self._one(_ROTATE, caller, id=key_id, **values)
        if row is None and await self._one(_MADE, caller, id=key_id) is not None:
            raise _shown_once()
        if row is None:
            raise NotFound("There is no such API key.")
        return MadeKey(row, key)

    async def revoke(self, caller: Caller, key_id: UUID) -> None:
        """It is refused everywhere within BELIEVED_SECONDS. Raises NotFound."""
        if await self._one(_REVOKE, caller, id=key_id) is None:
            raise NotFound("There is no such API key.")

    async def good(self, user_id: UUID, key_id: UUID) -> Key | None:
        """The key, for what it began; None where it was revoked or has expired since."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_GOOD, {"user_id": user_id, "id": key_id})).one_or_none()
        if row is None:
            return None
        bounds = (row.requests_per_minute, row.units_per_day, row.units_per_month)
        return Key(row.id, row.user_id, frozenset(row.scopes), *bounds)

    async def _one(self, statement: Any, caller: Caller, **values: Any) -> Row | None:
        async with self._database.statement() as connection:
            return (await connection.execute(statement, {"user_id": caller.user_id, **values})).one_or_none()


def _shown_once() -> ShownOnce:
    return ShownOnce(
        "An API key was made under this Idempotency-Key, and its secret was shown then alone: revoke it, or rotate it "
        "under another one, if you have not got it."
    )


def _new_key() -> str:
    return f"dk_{secrets.token_urlsafe(_KEY_BYTES)}"


def _kept(key: str) -> dict[str, Any]:
    return {"hash": hash_of(key), "prefix": key[:PREFIX_CHARACTERS]}
