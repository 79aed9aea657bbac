"""What things cost: data, versioned. A version is a whole list, so that a model it leaves out is not for sale."""

from sqlalchemy import func, select

from contracts.money import Price, PriceList
from ledger.tables import prices
from runtime.database import Database, Row

_newest = select(func.max(prices.c.version)).scalar_subquery()
_LIST = select(prices).where(prices.c.version == _newest).order_by(prices.c.model, prices.c.size, prices.c.quality)


async def price_list(database: Database) -> PriceList:
    """The prices of today. Old versions stay, since holds name them."""
    async with database.statement() as connection:
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
