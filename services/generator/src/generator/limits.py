"""How much of a provider all processes together may use: rows, for those providers that an operator has limited.

A permit is a row that names a generation; it is free again as soon as that generation's work is not open any more, so
nobody has to give one back, and one whose process died is free when its work ends. Only the place of who has spoken for
a film is given back before the film is made. The batch lane takes only those of the upper half. What is not admitted
waits in its row, the longest waiting first, and its user goes before whoever has more places already: nobody's many
keep another's one waiting.
"""

import random
from uuid import UUID

import structlog
from sqlalchemy import text

from contracts.facts import Lane, Request
from generator.budgets import Budgets
from runtime.database import Database

PAUSE_SECONDS = (1.0, 3.0)
"""Until it is tried again to be admitted, at random in between."""
RETRY_PAUSE_SECONDS = (3.0, 12.0)
"""The same where the provider's budget had no retry left."""
WAITING_SECONDS = 10.0
"""Who was not sent away for so long does not wait any more."""
FORGOTTEN_SECONDS = 60.0
"""And is forgotten after so long: whose generation was cancelled meanwhile never comes to be admitted."""

_READ = text("SELECT provider FROM limits")
# Whoever waits in the batch lane stands behind nobody but those of it, since they could not use the other places.
_PERMIT = text("""
    WITH taken AS (
        SELECT permits.user_id, count(*) AS places FROM permits LEFT JOIN work USING (generation_id)
        WHERE provider = :provider AND permits.generation_id <> :generation_id AND (
            work.state = 'open' OR (work.generation_id IS NULL AND taken_at > now() - interval '30 s'))
        GROUP BY permits.user_id
    ), before AS (
        SELECT 1 FROM waiters LEFT JOIN taken USING (user_id)
        WHERE provider = :provider AND user_id <> :user_id AND (lane = 'interactive' OR lane = :lane)
            AND seen_at > now() - make_interval(secs => :waiting_seconds)
            AND COALESCE(taken.places, 0) < (SELECT COALESCE(max(places), 0) FROM taken WHERE user_id = :user_id)
    ), free AS (
        SELECT number FROM permits LEFT JOIN work USING (generation_id)
        WHERE provider = :provider AND (number > :reserved OR generation_id = :generation_id) AND (
            generation_id = :generation_id OR NOT EXISTS (SELECT FROM before)) AND (
            generation_id IS NULL OR generation_id = :generation_id OR work.state <> 'open'
            OR (work.generation_id IS NULL AND taken_at < now() - interval '30 s'))
        ORDER BY generation_id = :generation_id DESC NULLS LAST, number DESC
        LIMIT 1 FOR UPDATE OF permits SKIP LOCKED
    )
    UPDATE permits SET generation_id = :generation_id, user_id = :user_id, taken_at = now()
    FROM free WHERE permits.provider = :provider AND permits.number = free.number
    RETURNING permits.number
""")
_WAIT = text("""
    INSERT INTO waiters (provider, lane, user_id) VALUES (:provider, :lane, :user_id)
    ON CONFLICT (provider, lane, user_id) DO UPDATE SET seen_at = now()
""")
_GO = text("DELETE FROM waiters WHERE provider = :provider AND lane = :lane AND user_id = :user_id")
_FORGET = text("""
    DELETE FROM waiters
    WHERE provider = ANY (CAST(:limited AS text[])) AND seen_at < now() - make_interval(secs => :seconds)
""")
# A generation of more calls than a minute allows begins with a full bucket. Without a limit every call passes.
_TOKENS = text("""
    WITH bucket AS (
        SELECT provider, LEAST(CAST(:calls AS int), per_minute) AS wanted,
            LEAST(per_minute, tokens + per_minute * EXTRACT(EPOCH FROM now() - filled_at)::float8 / 60) AS tokens
        FROM limits WHERE provider = :provider AND per_minute IS NOT NULL FOR UPDATE
    ), taken AS (
        UPDATE limits SET filled_at = now(), tokens = bucket.tokens - wanted
        FROM bucket WHERE limits.provider = bucket.provider AND bucket.tokens >= wanted
        RETURNING limits.provider
    )
    SELECT EXISTS (SELECT FROM taken) OR NOT EXISTS (SELECT FROM bucket)
""")
_GIVE_BACK = text("""
    UPDATE limits SET tokens = tokens + LEAST(CAST(:calls AS int), per_minute)
    WHERE provider = :provider AND per_minute IS NOT NULL
""")
_LEAVE = text("""
    UPDATE permits SET generation_id = NULL, user_id = NULL
    WHERE generation_id = :generation_id AND provider <> :provider
""")
_LIMIT = text("SELECT max_running FROM limits WHERE provider = :provider")

log = structlog.get_logger()


class Limits:
    """The limits of all processes, as one of them sees them. A provider without one costs nothing here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limited: frozenset[str] = frozenset()
        self._refused: dict[UUID, tuple[float, float]] = {}
        self._dice = random.Random()
        self.budgets = Budgets(database)

    async def refresh(self) -> None:
        """Reads which providers are limited, forgets who waits for them no more, and tells what retries were earned
        here."""
        await self.budgets.tell()
        async with self._database.statement() as connection:
            self._limited = frozenset((await connection.execute(_READ)).scalars())
            if self._limited:
                await connection.execute(_FORGET, {"limited": [*self._limited], "seconds": FORGOTTEN_SECONDS})

    async def admit(self, request: Request, provider: str, calls: int = 1) -> bool:
        """Whether a generation may begin with so many calls now; asking again for one that was admitted is harmless."""
        if provider not in self._limited:
            return True
        async with self._database.statement() as connection:
            limit = (await connection.execute(_LIMIT, {"provider": provider})).first()
            admitted = True
            if limit is not None and limit.max_running is not None:
                reserved = limit.max_running // 2 if request.lane is Lane.BATCH else 0
                waiter = {"provider": provider, "lane": request.lane.value, "user_id": request.user_id}
                asked = {
                    "generation_id": request.generation_id,
                    "reserved": reserved,
                    "waiting_seconds": WAITING_SECONDS,
                }
                admitted = (await connection.execute(_PERMIT, waiter | asked)).first() is not None
                await connection.execute(_GO if admitted else _WAIT, waiter)
            if admitted:
                tokens = {"provider": provider, "calls": calls}
                admitted = bool((await connection.execute(_TOKENS, tokens)).scalar_one())
        if not admitted:
            self._refused[request.generation_id] = PAUSE_SECONDS
        return admitted

    async def admit_again(self, request: Request, provider: str, calls: int, retries: int = 0) -> bool:
        """Whether a generation may make so many calls more, of which so many are for what failed: it keeps its place
        and needs one at a provider that stands in, a minute has no more calls than before, and the provider's budget
        has its retries."""
        if retries and not await self.budgets.take(provider, retries):
            self._refused[request.generation_id] = RETRY_PAUSE_SECONDS
            return False
        if await self.admit(request, provider, calls):
            return True
        self.budgets.give_back(provider, retries)
        return False

    async def give_back(self, provider: str, calls: int) -> None:
        """Calls that were admitted and are not made."""
        if provider in self._limited:
            async with self._database.statement() as connection:
                await connection.execute(_GIVE_BACK, {"provider": provider, "calls": calls})

    async def leave(self, generation_id: UUID, provider: str) -> None:
        """Frees the places of a generation whose next step this provider makes, everywhere else."""
        if self._limited:
            async with self._database.statement() as connection:
                await connection.execute(_LEAVE, {"generation_id": generation_id, "provider": provider})

    def forget(self, generation_id: UUID) -> None:
        """That a generation was not admitted: it waits, or runs, in somebody else's hands."""
        self._refused.pop(generation_id, None)

    def pause_seconds(self, generation_id: UUID) -> float:
        """How long one that was not admitted waits; 0 for any other."""
        between = self._refused.pop(generation_id, None)
        return self._dice.uniform(*between) if between is not None else 0.0
