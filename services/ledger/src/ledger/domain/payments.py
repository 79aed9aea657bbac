"""What a payment does to a user's credits: what is known of it in, what is to be posted out.

Reports of Stripe come twice, late and in any order, so nothing follows from a report by itself. Reports are merged into
what is known, each kind in one direction only, and what is posted is the difference to what was posted before.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID

from ledger.domain import transactions
from ledger.domain.transactions import Transaction

REFUNDS = "refunds"
"""The one claim that all refunds of a payment make together: Stripe reports their sum."""


class State(StrEnum):
    """`created` becomes one of the others; `canceled` becomes `paid` where that is reported after all."""

    CREATED = "created"
    CANCELED = "canceled"
    PAID = "paid"


class Standing(IntEnum):
    """Of a claim; a later one in this order replaces an earlier one, never the reverse."""

    OPEN = 1
    LOST = 2
    WON = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody wants back of a payment, in minor units: all its refunds, or one dispute."""

    name: str
    amount: int
    currency: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Report:
    """What Stripe says of one of its payment intents. Exactly one of `state` and `claim` is set."""

    payment_intent: str
    payment_id: UUID | None = None
    """Ours, where the report carries it."""
    user_id: UUID | None = None
    state: State | None = None
    amount: int = 0
    """What was paid, in minor units."""
    currency: str = ""
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the books have it. `taken_back` and `credits` are units; `movements` counts what was posted back."""

    id: UUID
    user_id: UUID
    pack: str
    credits: int
    price: int
    currency: str
    payment_intent: str | None = None
    state: State = State.CREATED
    taken_back: int = 0
    movements: int = 0


def problem_of(payment: Payment, report: Report) -> str | None:
    """Why a report cannot be about this payment, if it cannot."""
    if report.user_id not in {None, payment.user_id}:
        return "it is for another user"
    if payment.payment_intent not in {None, report.payment_intent} or report.payment_id not in {None, payment.id}:
        return "the payment has another intent"
    if report.state is not State.PAID:
        return None
    if report.currency != payment.currency:
        return "another currency was paid"
    return None if report.amount == payment.price else "another amount was paid"


def merged(payment: Payment, report: Report) -> State:
    """Where a payment stands after a report: what is paid stays paid."""
    return State.PAID if State.PAID in {payment.state, report.state} else report.state or payment.state


def due_back(payment: Payment, claims: Iterable[Claim]) -> int:
    """How many of its credits are the house's again, in units; never more than it brought.

    A dispute in another currency than the payment's is taken for the whole of it.
    """
    claimed = sum(
        claim.amount if claim.currency == payment.currency else payment.price
        for claim in claims
        if claim.standing is not Standing.WON
    )
    return payment.credits * min(claimed, payment.price) // payment.price


def decide_movements(
    payment: Payment, report: Report, claims: Collection[Claim], available: int
) -> tuple[list[Transaction], int]:
    """What is to be posted once a report was merged, and how much is taken back of the payment after that.

    `payment` is as it was before, `claims` as they are after. Nothing is posted until it is paid: what was claimed of
    it before is taken back then.
    """
    first = report.state is State.PAID and payment.state is not State.PAID
    if payment.state is not State.PAID and not first:
        return [], payment.taken_back
    made = []
    if first:
        made.append(transactions.payment(payment.id, payment.user_id, payment.credits))
        available += payment.credits
    due = due_back(payment, claims)
    number = payment.movements + 1
    claimed = claims if report.claim is None else (report.claim,)
    why = "refunded" if any(claim.name == REFUNDS for claim in claimed) else "disputed"
    if due > payment.taken_back:
        amount = due - payment.taken_back
        made.append(transactions.payment_reversal(payment.id, number, payment.user_id, amount, available, why))
    elif due < payment.taken_back:
        amount = payment.taken_back - due
        made.append(transactions.payment_restored(payment.id, number, payment.user_id, amount))
    return made, due
