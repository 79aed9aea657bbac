"""What things cost: data, versioned. A version is a whole list, so that a model it leaves out is not for sale."""

from sqlalchemy import func, select

from contracts.money import PriceList
from ledger.tables import prices
from runtime.database import Database

_newest = select(func.max(prices.c.version)).scalar_subquery()
_LIST = select(prices.c.version, prices.c.model, prices.c.amount).where(prices.c.version == _newest)


async def price_list(database: Database) -> PriceList:
    """The prices of today. Old versions stay, since holds name them."""
    async with database.statement() as connection:
        rows = (await connection.execute(_LIST)).all()
    return PriceList(version=rows[0].version if rows else 0, prices={row.model: row.amount for row in rows})
