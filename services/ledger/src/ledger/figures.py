"""What the ledger knows of its promises, as figures for Prometheus.

The gauges say what all replicas see, so dashboards take the highest of them; the counters are each process's own. What
is counted in the database is asked for now and then, along an index and over so many rows at most.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from contracts.facts import Outcome
from ledger.domain.holds import Hold
from runtime.database import Database

EVERY_SECONDS = 15.0
MOST_ROWS = 20_000

CLOSED = Counter("holds_closed_total", "Holds that ended.", ["state"])
CAPTURED = Counter("credits_captured_units_total", "Units that were captured: what users paid.")
SOLD = Counter("sold_units_total", "Units captured for what models made whose cost is in the price list.", ["model"])
COST = Counter(
    "provider_cost_micros_total", "What providers take for it, by that list, in millionths of a US dollar.", ["model"]
)
CORRECTED = Counter(
    "holds_corrected_total", "Corrections, where a client was told otherwise than was applied.", ["type"]
)
for _type in ("refund", "write_off"):
    # There from the start: of a series that begins with its first 1, `increase` sees no increase.
    CORRECTED.labels(_type)
OPEN = Gauge("holds_open", "Holds without an outcome.")
OPEN_UNITS = Gauge("holds_open_units", "Units that they set aside.")
OLDEST = Gauge("holds_oldest_open_seconds", "Age of the oldest of them.")
DISPUTED = Gauge("holds_disputed", "Holds that are compared with what their clients were told.")

log = structlog.get_logger()

_OPEN = text("""
    SELECT count(*) AS open, coalesce(sum(amount), 0)::bigint AS units,
        coalesce(extract(epoch FROM now() - min(opened_at)), 0)::float8 AS oldest_seconds
    FROM (SELECT amount, opened_at FROM holds WHERE state = 'open' ORDER BY opened_at LIMIT :most) AS found
""")
_DISPUTED = text("""
    SELECT count(*) AS disputed
    FROM (SELECT 1 FROM holds WHERE disputed_at IS NOT NULL ORDER BY disputed_at LIMIT :most) AS found
""")
_COSTS = text("""
    SELECT model, amount, provider_cost_micros AS micros FROM prices
    WHERE version = (SELECT max(version) FROM prices) AND amount > 0 AND provider_cost_micros IS NOT NULL
    ORDER BY model, size, quality
""")
_costs: dict[str, list[tuple[int, int]]] = {}
"""Model → its prices in units and what the provider takes for the same, as of the last look; the general one first."""


def close(closed: Sequence[tuple[Hold, Outcome]]) -> None:
    """Counts a batch of holds that have just ended."""
    for state, ended in Tally(hold.state for hold, _ in closed).items():
        CLOSED.labels(state).inc(ended)
    CAPTURED.inc(sum(hold.captured for hold, _ in closed))
    for hold, outcome in closed:
        if hold.captured and hold.model in _costs:
            SOLD.labels(hold.model).inc(hold.captured)
            # What was made before was paid to its provider then.
            COST.labels(hold.model).inc(0 if outcome.data.cached else cost_micros(hold, _costs[hold.model]))


def cost_micros(hold: Hold, prices: Sequence[tuple[int, int]]) -> int:
    """What the provider takes for what was captured: the share of the price that the list says.

    A hold keeps its unit price alone, which is the listed one, or so many seconds or characters of it.
    """
    unit = hold.quote.unit_price
    fitting = [price for price in prices if price[0] == unit] or [price for price in prices if unit % price[0] == 0]
    amount, micros = (fitting or prices)[0]
    return hold.captured * micros // amount


class Figures:
    """Looks every 15 s."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="figures")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.count()
            except Exception as error:
                log.warning("figures.not_seen", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(EVERY_SECONDS)

    async def count(self) -> None:
        """Raises sqlalchemy.exc.DBAPIError, OSError: the database is away."""
        async with self._database.statement() as connection:
            open_holds = (await connection.execute(_OPEN, {"most": MOST_ROWS})).one()
            disputed = (await connection.execute(_DISPUTED, {"most": MOST_ROWS})).scalar_one()
            costs = (await connection.execute(_COSTS)).all()
        _costs.clear()
        for row in costs:
            _costs.setdefault(row.model, []).append((row.amount, row.micros))
        for model in _costs:
            SOLD.labels(model)
            COST.labels(model)
        OPEN.set(open_holds.open)
        OPEN_UNITS.set(open_holds.units)
        OLDEST.set(open_holds.oldest_seconds)
        DISPUTED.set(disputed)
