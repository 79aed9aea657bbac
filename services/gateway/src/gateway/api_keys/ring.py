"""Whose a key is, and what it may do: looked up by its hash, and believed for a moment."""

import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from starlette.requests import Request

from gateway.rates import Limit
from gateway.refusals import ScopeMissing, Unauthenticated
from runtime.database import Database

BELIEVED_SECONDS = 10.0
"""So long a key works on that was revoked."""
MAX_KEYS_BELIEVED = 10_000
USED_SECONDS = 60
"""How often a use is written down."""
READ, WRITE, ACCOUNT = "read", "write", "account"
ACCOUNT_PATHS = (
    "/v1/api-keys",
    "/v1/provider-keys",
    "/v1/webhooks",
    "/v1/payments",
    "/auth/",
    "/api/auth/",
    "/api/v1/auth/device/approve",
    "/api/v1/auth/logout",
    "/api/v1/configs",
    "/api/config",
    "/functions/v1/create-payment-intent",
    "/functions/v1/process-payment-success",
)
"""What is about keys, money and who may sign in: only the scope `account` reaches it, by whatever method. What is done
there asks for it as well (`Caller.may_manage`), by whatever way it is reached."""
SCHEMES = {"bearer", "key", "token"}
_KEY = re.compile(r"dk_[A-Za-z0-9_-]{43}")

_FIND = text("""
    SELECT id, user_id, scopes, requests_per_minute, units_per_day, units_per_month, hash <> :hash AS is_previous,
        extract(epoch FROM least(expires_at, CASE WHEN hash <> :hash THEN previous_until END) - now())::float
            AS seconds_left,
        last_used_at IS NULL OR last_used_at < now() - make_interval(secs => :used_seconds) AS unnoted
    FROM api_keys WHERE hash = :hash OR previous_hash = :hash
""")
_USED = text("""
    UPDATE api_keys SET last_used_at = now() WHERE id = :id
        AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => :used_seconds))
""")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is good now. Caps are in units; None: no bound."""

    id: UUID
    user_id: UUID
    scopes: frozenset[str]
    requests_per_minute: int | None
    units_per_day: int | None
    units_per_month: int | None

    @property
    def limit(self) -> Limit | None:
        if self.requests_per_minute is None:
            return None
        return Limit(f"key {self.id}", self.requests_per_minute, what="requests by this key", policy="key")

    @property
    def is_capped(self) -> bool:
        return self.units_per_day is not None or self.units_per_month is not None

    def check(self, method: str, path: str) -> None:
        """Raises ScopeMissing where the key may not do this."""
        by_method = READ if method == "GET" else WRITE
        self.need(ACCOUNT if path.startswith(ACCOUNT_PATHS) else by_method)

    def need(self, scope: str) -> None:
        """Raises ScopeMissing where the key has not this scope."""
        if scope not in self.scopes:
            raise ScopeMissing(f"This API key lacks the scope '{scope}'.")


class Ring:
    """The keys that this process has seen lately."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._believed: OrderedDict[bytes, tuple[float, Key | None]] = OrderedDict()

    async def key(self, given: str) -> Key:
        """Raises Unauthenticated: unknown, revoked, rotated away or expired."""
        digest = hash_of(given)
        until, key = self._believed.get(digest, (0.0, None))
        if time.monotonic() >= until:
            key = await self._find(digest)
        if key is None:
            raise Unauthenticated("The API key is not valid.")
        return key

    async def _find(self, digest: bytes) -> Key | None:
        async with self._database.statement() as connection:
            values = {"hash": digest, "used_seconds": USED_SECONDS}
            row = (await connection.execute(_FIND, values)).one_or_none()
            if row is not None and row.unnoted:
                await connection.execute(_USED, {"id": row.id, "used_seconds": USED_SECONDS})
        seconds, key = BELIEVED_SECONDS, None
        if row is not None and (row.seconds_left is None or row.seconds_left > 0):
            seconds = min(seconds, row.seconds_left or seconds)
            key = Key(
                row.id,
                row.user_id,
                frozenset(row.scopes),
                row.requests_per_minute,
                row.units_per_day,
                row.units_per_month,
            )
        self._believed[digest] = (time.monotonic() + seconds, key)
        self._believed.move_to_end(digest)
        if len(self._believed) > MAX_KEYS_BELIEVED:
            self._believed.popitem(last=False)
        return key


def given_key(request: Request) -> str | None:
    """The key in `Authorization: Bearer`, `Key` or `Token`, or in `x-api-key`; None where none of ours is given.

    Raises:
        Unauthenticated: two are given.
    """
    said = request.headers.getlist("authorization")
    found = [key for key in request.headers.getlist("x-api-key") if is_key(key.strip())]
    for header in said:
        scheme, _, rest = header.partition(" ")
        if scheme.lower() in SCHEMES and is_key(rest.strip()):
            found.append(rest.strip())
    if not found:
        return None
    if len({key.strip() for key in found}) > 1 or len(said) > 1:
        raise Unauthenticated("Give one credential: several stand in the headers.")
    if said and not is_key(said[0].partition(" ")[2].strip()):
        raise Unauthenticated("Give one credential: a key and a token stand in the headers.")
    return found[0].strip()


def is_key(given: str) -> bool:
    """Whether it looks like one of ours."""
    return _KEY.fullmatch(given) is not None


def hash_of(key: str) -> bytes:
    """A key has 256 random bits: nobody guesses it, so that a fast hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).digest()
