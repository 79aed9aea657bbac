"""How often a provider may be asked again for what failed: a share of what it is asked for the first time.

Three tries of each submission are three times the load on a provider that fails, just when it can bear it least. So all
processes together take their retries from one row per provider. First tries fill it, what is not taken leaks away with
the window, and a small floor comes back by itself, so that who is asked seldom can be asked again at all. What finds
nothing left waits in its row and asks for it again, as whoever finds no place does, until its deadline.
"""

import time
from collections import defaultdict
from collections.abc import Iterable

import structlog
from prometheus_client import Counter
from sqlalchemy import text

from generator.attempts import NEVER_ASKED, Attempt
from generator.providers.darkroom import NAME as OUR_OWN
from generator.providers.interface import Throttled, Unreadable
from runtime.database import Connection, Database

RETRY_SHARE = 0.2
"""Of first tries."""
WINDOW_SECONDS = 60.0
"""What was earned longer ago than that has leaked away but for a third."""
FLOOR_RETRIES = 30.0
"""In a window, whatever was asked for the first time."""
REFUSED_SECONDS = 1.0
"""For so long nobody is asked whether there is more."""

# Towards the floor from both sides: what was earned leaks away, what was taken comes back.
_COUNT = text("""
    INSERT INTO retry_budgets AS known (provider, retries_left)
    VALUES (:provider, CAST(:floor AS float8) + CAST(:earned AS float8))
    ON CONFLICT (provider) DO UPDATE SET counted_at = clock_timestamp(),
        retries_left = CAST(:earned AS float8) + :floor + (known.retries_left - :floor) * exp(
            -GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - known.counted_at)::float8) / :window)
""")
# A generation of more submissions than the floor takes all that there is.
_TAKE = text("""
    UPDATE retry_budgets SET retries_left = GREATEST(0, retries_left - :wanted)
    WHERE provider = :provider AND retries_left >= LEAST(CAST(:wanted AS float8), :floor - 1)
    RETURNING retries_left
""")

log = structlog.get_logger()
RETRIES = Counter("retries_total", "Calls for what had failed, by whether the budget had them.", ["provider", "had"])


def is_retry(attempt: Attempt) -> bool:
    """Whether the attempt after this one asks its provider again. What was sent away as one too many was no try, what
    was never sent, for want of its inputs or otherwise, did not reach it, and what we make ourselves loads nobody."""
    if attempt.provider == OUR_OWN or attempt.failure is None or attempt.failure in NEVER_ASKED:
        return False
    return attempt.failure.code not in {Throttled.code, Unreadable.code}


class Budgets:
    """Those of all processes, as one of them sees them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._earned: defaultdict[str, float] = defaultdict(float)
        self._refused_until: dict[str, float] = {}

    def count(self, going: Iterable[Attempt]) -> None:
        """Notes the first tries among calls that are made now."""
        for attempt in going:
            if attempt.number == 1 and attempt.provider != OUR_OWN:
                self._earned[attempt.provider] += RETRY_SHARE

    async def take(self, provider: str, retries: int) -> bool:
        """Whether so many calls more may be made to a provider now."""
        if self._refused_until.get(provider, 0.0) > time.monotonic():
            return False
        async with self._database.transaction() as connection:
            await self._tell(connection, provider)
            values = {"provider": provider, "wanted": retries, "floor": FLOOR_RETRIES}
            had = (await connection.execute(_TAKE, values)).first() is not None
        RETRIES.labels(provider, "yes" if had else "no").inc(retries)
        if not had:
            self._refused_until[provider] = time.monotonic() + REFUSED_SECONDS
            log.warning("retries.spent", provider=provider)
        return had

    def give_back(self, provider: str, retries: int) -> None:
        """What was taken and could not be used."""
        self._earned[provider] += retries

    async def tell(self) -> None:
        """Lets the others use what was earned here."""
        for provider in list(self._earned):
            async with self._database.statement() as connection:
                await self._tell(connection, provider)

    async def _tell(self, connection: Connection, provider: str) -> None:
        """What cannot be told is told the next time; a process that dies before that has earned nothing."""
        earned = self._earned.pop(provider, 0.0)
        values = {"provider": provider, "earned": earned, "floor": FLOOR_RETRIES, "window": WINDOW_SECONDS}
        try:
            await connection.execute(_COUNT, values)
        except BaseException:
            self._earned[provider] += earned
            raise
