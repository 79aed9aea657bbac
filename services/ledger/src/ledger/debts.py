"""What users owe, and how it is paid: by whatever comes in, before it can be spent."""

from collections.abc import Collection
from uuid import UUID, uuid4

from sqlalchemy import text

from ledger import accounts
from ledger.domain.transactions import debt_payment
from runtime.database import Connection, Database

MAX_DEBTORS_PER_ROUND = 100

_PAYABLE = text("""
    SELECT user_id, least(available, debt) AS amount FROM accounts
    WHERE user_id = ANY(CAST(:users AS uuid[])) AND debt > 0 AND available > 0 ORDER BY user_id FOR UPDATE
""")
_DEBTORS = text("SELECT user_id FROM accounts WHERE debt > 0 AND available > 0 ORDER BY user_id LIMIT :most")


async def pay_debts(connection: Connection, users: Collection[UUID]) -> None:
    """Pays what these users owe from what they have; their accounts are locked in order until the transaction ends."""
    payable = (await connection.execute(_PAYABLE, {"users": list(users)})).all()
    await accounts.post(connection, [debt_payment(str(uuid4()), row.user_id, row.amount) for row in payable])


async def collect_debts(database: Database) -> None:
    """Pays debts from what came back in other ways than by money: holds that were released, captures refunded."""
    async with database.statement() as connection:
        debtors = (await connection.execute(_DEBTORS, {"most": MAX_DEBTORS_PER_ROUND})).scalars()
    for user_id in debtors:
        async with database.transaction() as connection:
            await pay_debts(connection, [user_id])
