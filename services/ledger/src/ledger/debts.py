"""What users owe, and how it is paid: by whatever comes in, before it can be spent.

What a hold or a correction gives back pays it a little later; until then nothing is decided on that part of it.
"""

from collections.abc import Collection
from uuid import UUID, uuid4

from sqlalchemy import text

from contracts.facts import Change
from ledger import accounts
from ledger.domain.transactions import debt_payment
from runtime.database import Connection

MAX_DEBTORS_PER_ROUND = 100

_PAYABLE = text("""
    SELECT user_id, least(available, debt) AS amount FROM accounts
    WHERE user_id = ANY(CAST(:users AS uuid[])) AND debt > 0 AND available > 0 ORDER BY user_id FOR UPDATE
""")
_DEBTORS = text("SELECT user_id FROM accounts WHERE debt > 0 AND available > 0 ORDER BY user_id LIMIT :most")


async def pay_debts(connection: Connection, users: Collection[UUID]) -> tuple[Change, ...]:
    """Pays what these users owe from what they have; their accounts are locked in order until the transaction ends.

    Returns the balances after that.
    """
    payable = (await connection.execute(_PAYABLE, {"users": list(users)})).all()
    paid = await accounts.post(connection, [debt_payment(str(uuid4()), row.user_id, row.amount) for row in payable])
    return paid.changes


async def debtors(connection: Connection) -> list[UUID]:
    """Who owes something and has something: it came back in other ways than by money."""
    found = await connection.execute(_DEBTORS, {"most": MAX_DEBTORS_PER_ROUND})
    return [row.user_id for row in found]
