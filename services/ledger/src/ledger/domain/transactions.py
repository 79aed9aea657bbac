"""Balanced movements of money between accounts. An account is (user, purse); amounts are units.

The key names the business that a transaction settles: the same business is posted once.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Purse(StrEnum):
    """`available` and `held` belong to the user; the others are the house's side of that user's business.

    `debt` is below zero by what the user owes. `consumed` is paid, and for a while it may still pay for a generation;
    after that it becomes `revenue`.
    """

    AVAILABLE = "available"
    HELD = "held"
    DEBT = "debt"
    ISSUANCE = "issuance"
    PAYMENTS = "payments"
    PROMOTION = "promotion"
    REVENUE = "revenue"
    WRITEOFF = "writeoff"
    CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One movement. `postings` are (purse, amount), all of one user, and add up to zero.

    Raises:
        ValueError: they do not, or one of them moves nothing.
    """

    key: str
    type: str
    user_id: UUID
    postings: tuple[tuple[Purse, int], ...]
    generation_id: UUID | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if sum(amount for _, amount in self.postings) != 0 or not all(amount for _, amount in self.postings):
            raise ValueError(f"not a balanced transaction: {self.key} {self.postings}")


def starting_grant(user_id: UUID, amount: int) -> Transaction:
    """What a new user is given."""
    return Transaction(
        f"starting_grant:{user_id}",
        "starting_grant",
        user_id,
        ((Purse.PROMOTION, -amount), (Purse.AVAILABLE, amount)),
    )


def grant(grant_id: UUID, user_id: UUID, amount: int, reason: str) -> Transaction:
    """What an operator gives."""
    postings = ((Purse.ISSUANCE, -amount), (Purse.AVAILABLE, amount))
    return Transaction(f"grant:{grant_id}", "grant", user_id, postings, reason=reason)


def monthly_grant(user_id: UUID, month: str, amount: int, plan: str) -> Transaction:
    """What a plan gives in a month (`2026-11`, UTC), once."""
    postings = ((Purse.PROMOTION, -amount), (Purse.AVAILABLE, amount))
    return Transaction(
        f"monthly_grant:{user_id}:{month}", "monthly_grant", user_id, postings, reason=f"{plan}, {month}"
    )


def consume(consumption_id: UUID, user_id: UUID, amount: int, reason: str) -> Transaction:
    """Takes what a user pays without a generation, for now."""
    postings = ((Purse.AVAILABLE, -amount), (Purse.CONSUMED, amount))
    return Transaction(f"consume:{consumption_id}", "consume", user_id, postings, reason=reason)


def spend(consumption_id: UUID, user_id: UUID, amount: int) -> Transaction:
    """What was consumed and paid for no generation in time is ours."""
    postings = ((Purse.CONSUMED, -amount), (Purse.REVENUE, amount))
    return Transaction(f"spend:{consumption_id}", "spend", user_id, postings)


def hold(generation_id: UUID, user_id: UUID, amount: int, consumed: int = 0) -> Transaction:
    """Sets the quote aside; `consumed` of it was paid before.

    Where the hold ends without being captured all of it becomes available: consuming and generating are one purchase,
    and who gets nothing pays nothing.
    """
    postings = ((Purse.CONSUMED, -consumed), (Purse.AVAILABLE, consumed - amount), (Purse.HELD, amount))
    return Transaction(
        f"hold:{generation_id}",
        "hold",
        user_id,
        tuple((purse, moved) for purse, moved in postings if moved),
        generation_id,
    )


def settlement(generation_id: UUID, user_id: UUID, held: int, captured: int) -> Transaction:
    """Ends a hold: `captured` of it is ours, the rest the user's again. One key for both, so that there is one end."""
    postings = ((Purse.HELD, -held), (Purse.REVENUE, captured), (Purse.AVAILABLE, held - captured))
    return Transaction(
        f"settle:{generation_id}",
        "capture" if captured else "release",
        user_id,
        tuple((purse, amount) for purse, amount in postings if amount),
        generation_id,
    )


def refund(generation_id: UUID, user_id: UUID, amount: int) -> Transaction:
    """Gives back what was captured though the client was told otherwise."""
    postings = ((Purse.REVENUE, -amount), (Purse.AVAILABLE, amount))
    return Transaction(f"refund:{generation_id}", "refund", user_id, postings, generation_id)


def write_off(generation_id: UUID, user_id: UUID, amount: int) -> Transaction:
    """Books what was delivered and not charged: earned, and lost. The user's balances stay."""
    postings = ((Purse.WRITEOFF, -amount), (Purse.REVENUE, amount))
    return Transaction(f"write_off:{generation_id}", "write_off", user_id, postings, generation_id)


def payment(payment_id: UUID, user_id: UUID, amount: int) -> Transaction:
    """What a user bought. One key for a payment, however often and by whatever its success is reported."""
    postings = ((Purse.PAYMENTS, -amount), (Purse.AVAILABLE, amount))
    return Transaction(f"payment:{payment_id}", "payment", user_id, postings)


def payment_reversal(
    payment_id: UUID, number: int, user_id: UUID, amount: int, available: int, reason: str
) -> Transaction:
    """Takes back what a payment brought: from what is available, and what was spent already is owed."""
    taken = min(amount, available)
    postings = ((Purse.PAYMENTS, amount), (Purse.AVAILABLE, -taken), (Purse.DEBT, taken - amount))
    return Transaction(
        f"payment_movement:{payment_id}:{number}",
        "payment_reversal",
        user_id,
        tuple((purse, units) for purse, units in postings if units),
        reason=reason,
    )


def payment_restored(payment_id: UUID, number: int, user_id: UUID, amount: int) -> Transaction:
    """Gives back what a dispute had taken that was won."""
    postings = ((Purse.PAYMENTS, -amount), (Purse.AVAILABLE, amount))
    return Transaction(f"payment_movement:{payment_id}:{number}", "payment_restored", user_id, postings)


def debt_payment(key: str, user_id: UUID, amount: int) -> Transaction:
    """Pays what is owed from what is available."""
    postings = ((Purse.AVAILABLE, -amount), (Purse.DEBT, amount))
    return Transaction(f"debt_payment:{key}", "debt_payment", user_id, postings)
