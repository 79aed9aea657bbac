"""The rows of payments, of what is claimed of them, and of the events that were applied.

Whatever changes a payment holds the lock on its intent, also where no row of ours knows that intent yet.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Receipt
from contracts.payments import (
    CreditPack,
)
from ledger.domain.payments import Claim, Payment, Standing, State
from ledger.payments.events import Event
from runtime.database import Connection, Row

_INTENT_LOCK = 0x706179
_COLUMNS = "id, user_id, pack, credits, price, currency, payment_intent, state, taken_back, movements"

_PACKS = text("SELECT id, credits, price, currency FROM credit_packs WHERE is_offered ORDER BY price, currency, id")
_INSERT = text("""
    INSERT INTO payments (id, user_id, pack, credits, price, currency)
    VALUES (:id, :user_id, :pack, :credits, :price, :currency) ON CONFLICT (id) DO NOTHING
""")
# Put together from the constant above; every value is bound.
_GET = text(f"""
    SELECT {_COLUMNS}, created_at < now() - make_interval(secs => :seconds) AS is_old FROM payments WHERE id = :id
""")  # noqa: S608
_OF_USER = text(f"""
    SELECT {_COLUMNS} FROM payments
    WHERE user_id = :user_id AND (payment_intent = :reference OR id = CAST(:id AS uuid))
""")  # noqa: S608
_LOCK = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:payment_intent))")
_FIND = text(f"""
    SELECT {_COLUMNS} FROM payments WHERE payment_intent = :payment_intent
    UNION SELECT {_COLUMNS} FROM payments WHERE id = CAST(:id AS uuid)
""")  # noqa: S608
_LINK = text("UPDATE payments SET payment_intent = :payment_intent WHERE id = :id AND payment_intent IS NULL")
_REMEMBER = text("""
    INSERT INTO payment_events (id, type, payment_intent) VALUES (:id, :type, :payment_intent)
    ON CONFLICT (id) DO NOTHING RETURNING id
""")
_SEEN = text("SELECT id FROM payment_events WHERE id = ANY(CAST(:ids AS text[]))")
# The larger sum of refunds and the later standing are true, whichever came first.
_CLAIM = text("""
    INSERT INTO payment_claims (payment_intent, claim, amount, currency, state)
    VALUES (:payment_intent, :claim, :amount, :currency, :state)
    ON CONFLICT (payment_intent, claim) DO UPDATE SET
        amount = greatest(payment_claims.amount, excluded.amount),
        state = CASE WHEN 'won' IN (payment_claims.state, excluded.state) THEN 'won'
                     WHEN 'lost' IN (payment_claims.state, excluded.state) THEN 'lost' ELSE 'open' END
""")
_CLAIMS = text("SELECT claim, amount, currency, state FROM payment_claims WHERE payment_intent = :payment_intent")
_STORE = text("""
    UPDATE payments SET payment_intent = :payment_intent, state = :state, taken_back = :taken_back,
                        movements = :movements, paid_at = CASE WHEN :state = 'paid' THEN coalesce(paid_at, now()) END
    WHERE id = :id
""")
_UNTOLD = text("""
    SELECT id, user_id, credits, price, currency, payment_intent FROM payments
    WHERE state = 'paid' AND told_at IS NULL ORDER BY paid_at LIMIT :most
""")
_TOLD = text("UPDATE payments SET told_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND told_at IS NULL")


async def packs(connection: Connection) -> list[CreditPack]:
    """What is offered, the cheapest first."""
    return [CreditPack(**row) for row in await connection.execute(_PACKS)]


async def begun(connection: Connection, payment_id: UUID, lifetime_seconds: float) -> tuple[Payment, bool] | None:
    """The payment with this id, and whether it was begun longer ago than `lifetime_seconds`."""
    row = (await connection.execute(_GET, {"id": payment_id, "seconds": lifetime_seconds})).one_or_none()
    return None if row is None else (_payment(row), row.is_old)


async def begin(connection: Connection, new: Payment, lifetime_seconds: float) -> tuple[Payment, bool]:
    """The same, which is this one where there was none."""
    values = {name: getattr(new, name) for name in ("id", "user_id", "pack", "credits", "price", "currency")}
    await connection.execute(_INSERT, values)
    row = (await connection.execute(_GET, {"id": new.id, "seconds": lifetime_seconds})).one()
    return _payment(row), row.is_old


async def of_user(connection: Connection, user_id: UUID, reference: str) -> Payment | None:
    """By our id or Stripe's; somebody else's is none."""
    values = {"user_id": user_id, "reference": reference, "id": _uuid(reference)}
    row = (await connection.execute(_OF_USER, values)).first()
    return None if row is None else _payment(row)


async def link(connection: Connection, payment_id: UUID, payment_intent: str) -> None:
    """Remembers Stripe's id of a payment that has none yet."""
    await connection.execute(_LINK, {"id": payment_id, "payment_intent": payment_intent})


async def lock(connection: Connection, payment_intent: str) -> None:
    await connection.execute(_LOCK, {"kind": _INTENT_LOCK, "payment_intent": payment_intent})


async def find(connection: Connection, payment_intent: str, payment_id: UUID | None) -> Payment | None:
    """The payment with this intent, or the one that the intent names as its own and that does not know it yet."""
    rows = (await connection.execute(_FIND, {"payment_intent": payment_intent, "id": payment_id})).all()
    found = {row.payment_intent == payment_intent: _payment(row) for row in rows}
    return found.get(True) or found.get(False)


async def remember(connection: Connection, event: Event, payment_intent: str) -> bool:
    """False where it was applied before."""
    values = {"id": event.id, "type": event.type, "payment_intent": payment_intent}
    return (await connection.execute(_REMEMBER, values)).first() is not None


async def unseen(connection: Connection, event_ids: Collection[str]) -> set[str]:
    seen = await connection.execute(_SEEN, {"ids": list(event_ids)})
    return set(event_ids).difference(seen.scalars())


async def claim(connection: Connection, payment_intent: str, claimed: Claim) -> None:
    """Merges what is claimed into what is known to be."""
    values = {
        "payment_intent": payment_intent,
        "claim": claimed.name,
        "amount": claimed.amount,
        "currency": claimed.currency,
        "state": claimed.standing.word,
    }
    await connection.execute(_CLAIM, values)


async def claims(connection: Connection, payment_intent: str) -> list[Claim]:
    rows = await connection.execute(_CLAIMS, {"payment_intent": payment_intent})
    return [Claim(row.claim, row.amount, row.currency, Standing[row.state.upper()]) for row in rows]


async def store(connection: Connection, payment: Payment) -> None:
    """What became of a payment."""
    names = ("id", "payment_intent", "state", "taken_back", "movements")
    await connection.execute(_STORE, {name: getattr(payment, name) for name in names})


async def untold(connection: Connection, most: int) -> list[Receipt]:
    """Payments that were credited, and nobody was told of it."""
    rows = await connection.execute(_UNTOLD, {"most": most})
    return [
        Receipt(
            payment_id=row.id,
            user_id=row.user_id,
            amount=row.credits,
            price=row.price,
            currency=row.currency,
            payment_intent=row.payment_intent,
        )
        for row in rows
    ]


async def told(connection: Connection, receipts: Sequence[Receipt]) -> None:
    await connection.execute(_TOLD, {"ids": [receipt.payment_id for receipt in receipts]})


def _payment(row: Row) -> Payment:
    return Payment(
        row.id,
        row.user_id,
        row.pack,
        row.credits,
        row.price,
        row.currency,
        row.payment_intent,
        State(row.state),
        row.taken_back,
        row.movements,
    )


def _uuid(text_: str) -> UUID | None:
    try:
        return UUID(text_)
    except ValueError:
        return None
