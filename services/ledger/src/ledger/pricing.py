"""What things cost: data, versioned. A version is a whole list, so that a model it leaves out is not for sale."""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from sqlalchemy import func, select, text

from contracts.money import Price, PriceList
from contracts.questions import (
    MAX_PRICE_UNITS,
    PricesSet,
    SetPrices,
)
from ledger.tables import prices
from runtime.database import Connection, Database, Row

MAX_NAME_CHARACTERS = 200
Place = tuple[str, str, str]
"""Model, size and quality; empty for any."""

log = structlog.get_logger()

_newest = select(func.max(prices.c.version)).scalar_subquery()
_LIST = select(prices).where(prices.c.version == _newest).order_by(prices.c.model, prices.c.size, prices.c.quality)
# Whoever writes a version waits for whoever else does; readers wait for nobody.
_LOCK = text("LOCK TABLE prices IN SHARE ROW EXCLUSIVE MODE")
_WRITE = text("""
    INSERT INTO prices (version, model, size, quality, per, amount, input_amount, provider_cost_micros)
    SELECT :version, * FROM unnest(CAST(:models AS text[]), CAST(:sizes AS text[]), CAST(:qualities AS text[]),
        CAST(:pers AS text[]), CAST(:amounts AS bigint[]), CAST(:input_amounts AS bigint[]), CAST(:costs AS bigint[]))
""")


async def price_list(database: Database) -> PriceList:
    """The prices of today. Old versions stay, since holds name them."""
    async with database.statement() as connection:
        return await _newest_list(connection)


async def set_prices(database: Database, asked: SetPrices) -> PricesSet:
    """Writes a whole new version, unless it would say the same as the newest or leave something unpriced or free."""
    async with database.transaction() as connection:
        await connection.execute(_LOCK)
        newest = await _newest_list(connection)
        known = {_place(price): price for price in newest.table}
        problem = _problem(asked, known.keys())
        if problem is not None:
            return PricesSet(version=newest.version, problem=problem)
        kept = {place: price for place, price in known.items() if price.model not in asked.remove}
        table = kept | {_place(price): price for price in asked.prices}
        priced = {price.model for price in table.values() if price.rank == (False, False)}
        if unpriced := sorted({price.model for price in table.values()} - priced):
            problem = f"{unpriced[0]} needs a price that names neither size nor quality: the rest is not free."
            return PricesSet(version=newest.version, problem=problem)
        if table == known:
            return PricesSet(version=newest.version)
        await connection.execute(_WRITE, _columns(newest.version + 1, list(table.values())))
    log.info("prices.set", version=newest.version + 1, changed=len(asked.prices), removed=list(asked.remove))
    return PricesSet(version=newest.version + 1)


def _problem(asked: SetPrices, known: Iterable[Place]) -> str | None:
    """Why these prices cannot be meant; None where they can."""
    seen: set[Place] = set()
    for price in asked.prices:
        names = [price.model, *(name for name in (price.size, price.quality) if name is not None)]
        if not all(name.strip() and name.isprintable() and len(name) <= MAX_NAME_CHARACTERS for name in names):
            return "A model, size or quality has no proper name."
        if _place(price) in seen:
            return f"{price.model} has two prices for the same."
        seen.add(_place(price))
        if max(price.amount, price.input_amount) > MAX_PRICE_UNITS:
            return f"{price.model} costs more than anything does."
        if price.input_amount and price.per != "million_tokens":
            return f"{price.model} has a price for what is read, and is not paid by tokens."
        if not price.amount and not asked.free:
            return f"{price.model} would be free: say so if that is meant."
    strange = sorted(set(asked.remove) - {model for model, _, _ in known})
    return f"{strange[0]} has no price that could be removed." if strange else None


def _place(price: Price) -> Place:
    """What it is the price of."""
    return price.model, price.size or "", price.quality or ""


def _columns(version: int, table: Sequence[Price]) -> dict[str, Any]:
    return {
        "version": version,
        "models": [price.model for price in table],
        "sizes": [price.size or "" for price in table],
        "qualities": [price.quality or "" for price in table],
        "pers": [price.per for price in table],
        "amounts": [price.amount for price in table],
        "input_amounts": [price.input_amount for price in table],
        "costs": [price.provider_cost_micros for price in table],
    }


async def _newest_list(connection: Connection) -> PriceList:
    rows = (await connection.execute(_LIST)).all()
    return PriceList(
        version=rows[0].version if rows else 0,
        # A model with special prices alone is not for sale: what they do not name would be free.
        prices={row.model: row.amount for row in rows if not row.size and not row.quality},
        table=tuple(map(_price, rows)),
    )


def _price(row: Row) -> Price:
    return Price(
        model=row.model,
        amount=row.amount,
        size=row.size or None,
        quality=row.quality or None,
        per=row.per,
        input_amount=row.input_amount,
        provider_cost_micros=row.provider_cost_micros,
    )
