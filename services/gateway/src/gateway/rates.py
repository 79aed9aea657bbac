"""How fast may be asked, over all replicas: one bucket a minute for each user, key and the whole deployment.

The generic cell rate algorithm in one statement. A process takes a second's worth at once, and asks the database again
when that is used up (docs/adr/0026).
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.refusals import NotHeard, TooManyRequests
from gateway.settings import LimitSettings
from runtime.database import Database, Row
from runtime.health import is_transient

log = structlog.get_logger()
WINDOW_SECONDS = 60.0
LEASES_PER_WINDOW = 60
MAX_LEASES = 100_000
"""Known to one process; the longest unused makes room."""
PURGE_SECONDS = 600.0
PURGE_ROWS = 10_000
"""Full buckets are forgotten: so begins whoever is not known."""

# What is granted, of what was wanted, is what the bucket still has room for.
_ROOM = """greatest(0, least(CAST(:wanted AS integer), floor(0.001 + (CAST(:window_seconds AS float)
    - extract(epoch FROM greatest(r.full_at, now()) - now())::float) / CAST(:pause_seconds AS float))::integer))"""
_TAKE = text(f"""
    INSERT INTO rates AS r (name, full_at, granted)
    VALUES (:name, now() + make_interval(secs => CAST(:wanted AS integer) * CAST(:pause_seconds AS float)),
        CAST(:wanted AS integer))
    ON CONFLICT (name) DO UPDATE SET granted = {_ROOM},
        full_at = greatest(r.full_at, now()) + make_interval(secs => CAST(:pause_seconds AS float) * {_ROOM})
    RETURNING granted, extract(epoch FROM full_at - now())::float AS full_seconds
""")
_GIVE_BACK = text("""
    UPDATE rates SET full_at = full_at - make_interval(secs => CAST(:pause_seconds AS float)) WHERE name = :name
""")
_PURGE = text("DELETE FROM rates WHERE name IN (SELECT name FROM rates WHERE full_at < now() LIMIT :most)")


@dataclass(frozen=True, slots=True)
class Limit:
    """So many of `what` in a window, for whatever `name` names; `policy` is what clients are told of it."""

    name: str
    most: int
    window_seconds: float = WINDOW_SECONDS
    what: str = "generations"
    policy: str | None = None

    @property
    def pause_seconds(self) -> float:
        return self.window_seconds / self.most

    @property
    def lease(self) -> int:
        """How many a process takes at once."""
        return max(1, self.most // LEASES_PER_WINDOW)


@dataclass(slots=True)
class _Lease:
    """What this process may still hand out, and when the shared bucket is full again."""

    tokens: int = 0
    until: float = 0.0
    full_at: float = 0.0
    empty_until: float = 0.0
    """Until then the database need not be asked to say no again."""
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def covers(self, now: float) -> bool:
        return self.tokens > 0 and now < self.until


class Rates:
    """The buckets, as this process knows them."""

    def __init__(self, database: Database, settings: LimitSettings) -> None:
        self._database = database
        self._per_user = settings.requests_per_minute
        self._per_deployment = settings.deployment_requests_per_minute
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._purged_at = time.monotonic()

    def user(self, user_id: UUID) -> Limit:
        """How many generations one user may ask for."""
        return Limit(f"user {user_id}", self._per_user, policy="user")

    async def admit(self, user_id: UUID) -> None:
        """Counts one accepted request. Raises TooManyRequests, with the whole seconds to wait."""
        limits = [self.user(user_id)]
        if self._per_deployment:
            limits.append(Limit("deployment", self._per_deployment, what="generations of all users"))
        await self.take(*limits)

    @asynccontextmanager
    async def cooling(self, user_id: UUID, pause_seconds: int) -> AsyncIterator[None]:
        """Lets one pass after a pause. The next one begins with what is accepted in the block: where it raises,
        nothing was, unless that was not heard. Raises TooManyRequests, with the whole seconds to wait."""
        if not pause_seconds:
            yield
            return
        limit = Limit(f"pause of {user_id}", 1, pause_seconds, "generation", None)
        await self.take(limit)
        try:
            yield
        except NotHeard:
            raise
        except Exception:
            await self._give_back(limit)
            raise

    async def take(self, *limits: Limit) -> None:
        """One of each, or of none. Raises TooManyRequests, with the whole seconds to wait."""
        taken: list[_Lease] = []
        try:
            for limit in limits:
                lease = await self._leased(limit)
                lease.tokens -= 1
                taken.append(lease)
        except BaseException:
            for lease in taken:
                lease.tokens += 1
            raise

    async def _give_back(self, limit: Limit) -> None:
        """Where the database is away the pause stays: why nothing was accepted is said all the same."""
        self._leases.pop(limit.name, None)
        try:
            async with self._database.statement() as connection:
                await connection.execute(_GIVE_BACK, {"name": limit.name, "pause_seconds": limit.pause_seconds})
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("pause.not_given_back", name=limit.name, error=repr(error)[:200])

    def left(self, limit: Limit) -> tuple[int, float]:
        """How many may be asked for now, as far as is known here, and in how many seconds it is a whole window's."""
        lease = self._leases.get(limit.name)
        if lease is None:
            return limit.most, 0.0
        now = time.monotonic()
        full_seconds = max(0.0, lease.full_at - now)
        shared = math.floor((limit.window_seconds - full_seconds) / limit.pause_seconds + 0.001)
        own = lease.tokens if lease.covers(now) else 0
        return max(0, min(limit.most, shared + own)), full_seconds

    async def _leased(self, limit: Limit) -> _Lease:
        lease = self._leases.get(limit.name)
        if lease is None:
            lease = self._leases[limit.name] = _Lease()
            if len(self._leases) > MAX_LEASES:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(limit.name)
        if not lease.covers(time.monotonic()):
            async with lease.renewing:
                if not lease.covers(now := time.monotonic()) and now >= lease.empty_until:
                    await self._renew(limit, lease)
        if lease.tokens < 1:
            raise TooManyRequests(_said(limit), max(1, math.ceil(lease.empty_until - time.monotonic())))
        return lease

    async def _renew(self, limit: Limit, lease: _Lease) -> None:
        values = {
            "name": limit.name,
            "wanted": limit.lease,
            "pause_seconds": limit.pause_seconds,
            "window_seconds": limit.window_seconds,
        }
        asked_at = time.monotonic()
        try:
            row = await self._taken(values)
            granted = row.granted
        except DBAPIError as error:
            if not is_transient(error):
                raise
            # The connection was lost, as all are when a database starts again: at worst a lease is taken twice. Where
            # there is one alone, it was taken by what was not heard of if it has been since that was asked.
            row = await self._taken(values)
            is_ours = limit.most == 1 and row.full_seconds > limit.window_seconds - (time.monotonic() - asked_at)
            granted = 1 if is_ours else row.granted
        now = time.monotonic()
        lease.tokens, lease.until, lease.full_at = granted, now + limit.window_seconds, now + row.full_seconds
        if not granted:
            lease.empty_until = lease.full_at - limit.window_seconds + limit.pause_seconds

    async def _taken(self, values: dict[str, Any]) -> Row:
        async with self._database.statement() as connection:
            row = (await connection.execute(_TAKE, values)).one()
            if (now := time.monotonic()) - self._purged_at > PURGE_SECONDS:
                self._purged_at = now
                await connection.execute(_PURGE, {"most": PURGE_ROWS})
        return row


def headers_of(told: Sequence[tuple[Limit, int, float]]) -> list[tuple[bytes, bytes]]:
    """What an answer says of limits: each with what is left and in how many seconds it is whole again.

    `X-RateLimit-*` is the tightest; `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) are all.
    """
    limit, left, seconds = min(told, key=lambda each: (each[1], each[0].most))
    policies = ", ".join(f'"{each.policy}";q={each.most};w={each.window_seconds:.0f}' for each, _, _ in told)
    states = ", ".join(f'"{each.policy}";r={count};t={math.ceil(wait)}' for each, count, wait in told)
    return [
        (b"x-ratelimit-limit", str(limit.most).encode()),
        (b"x-ratelimit-remaining", str(left).encode()),
        (b"x-ratelimit-reset", str(math.ceil(time.time() + seconds)).encode()),
        (b"ratelimit-policy", policies.encode()),
        (b"ratelimit", states.encode()),
    ]


def _said(limit: Limit) -> str:
    if limit.most == 1 and limit.window_seconds != WINDOW_SECONDS:
        return f"Your plan asks for {limit.window_seconds:.0f} s between two."
    return f"At most {limit.most} {limit.what} per minute."
