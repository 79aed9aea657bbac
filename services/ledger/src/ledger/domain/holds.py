"""How a hold begins, ends and is corrected: state in, decisions out, in stream order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from contracts.facts import Outcome, Request, Verdict
from contracts.money import Quote, cost
from ledger.domain.transactions import Transaction, hold, refund, settlement, write_off

INSUFFICIENT_CREDITS = "insufficient_credits"
DAILY_CAP = "daily_cap_reached"
EXPIRED = "expired"
"""The failure codes by which the ledger itself ends a generation."""

NOTHING = Quote(amount=0, unit_price=0, price_version=0)


class State(StrEnum):
    """One way: `open` becomes one of the others, and that is the end."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """Credits set aside for a generation, on the account of `user_id`: whoever pays for it.

    Without a user: its outcome came before it was asked for.
    """

    generation_id: UUID
    user_id: UUID | None
    quote: Quote
    state: State
    captured: int = 0
    outcome_id: UUID | None = None
    model: str | None = None


@dataclass(slots=True)
class Openings:
    """What becomes of a batch of requests; each id in one list, in the order in which it came."""

    opened: list[Request] = field(default_factory=list)
    declined: list[Request] = field(default_factory=list)
    """There are not enough credits."""
    capped: list[Request] = field(default_factory=list)
    """There are, but the day's cap leaves less."""
    repeated: list[Request] = field(default_factory=list)
    """The hold is open already: said again."""
    ended: list[Request] = field(default_factory=list)
    """The id is closed: nothing starts."""
    consumed: dict[UUID, int] = field(default_factory=dict)
    """What was consumed before pays so much of a hold."""

    def transactions(self) -> list[Transaction]:
        return [
            hold(
                request.generation_id,
                request.account_id,
                request.quote.amount,
                self.consumed.get(request.generation_id, 0),
            )
            for request in self.opened
            if request.quote.amount
        ]


@dataclass(slots=True)
class Closings:
    """What becomes of a batch of outcomes."""

    closed: list[tuple[Hold, Outcome]] = field(default_factory=list)
    """Holds as they are now, and the outcome that each recorded."""
    new: list[tuple[Hold, Outcome]] = field(default_factory=list)
    """The same for ids that nobody had asked for yet."""
    disputed: set[UUID] = field(default_factory=set)
    """Ids that have recorded another outcome than the one that came."""
    transactions: list[Transaction] = field(default_factory=list)


def once(requests: Iterable[Request]) -> list[Request]:
    """Each id where it first comes."""
    first: dict[UUID, Request] = {}
    for request in requests:
        first.setdefault(request.generation_id, request)
    return list(first.values())


def decide_openings(
    requests: Iterable[Request],
    known: Mapping[UUID, State],
    available: Mapping[UUID, int],
    left_today: Mapping[UUID, int] | None = None,
    consumed: Mapping[UUID, int] | None = None,
) -> Openings:
    """Requests in stream order against holds by id and balances by account, each decision seeing those before it.

    `left_today` is what a daily cap leaves to those accounts that have one, `consumed` what was paid before.
    """
    openings = Openings()
    left, today, paid = dict(available), dict(left_today or {}), dict(consumed or {})
    seen: set[UUID] = set()
    for request in requests:
        generation_id, account_id, amount = request.generation_id, request.account_id, request.quote.amount
        if generation_id in seen:
            continue
        seen.add(generation_id)
        state = known.get(generation_id)
        if state is State.OPEN:
            openings.repeated.append(request)
            continue
        if state is not None:
            openings.ended.append(request)
            continue
        before = min(amount, paid.get(account_id, 0)) if request.prepaid else 0
        if amount - before > left[account_id]:
            openings.declined.append(request)
        elif amount > today.get(account_id, amount):
            openings.capped.append(request)
        else:
            left[account_id] -= amount - before
            if account_id in today:
                today[account_id] -= amount
            if before:
                paid[account_id] -= before
                openings.consumed[generation_id] = before
            openings.opened.append(request)
    return openings


def decide_closings(outcomes: Iterable[Outcome], known: Mapping[UUID, Hold]) -> Closings:
    """Outcomes in stream order against holds by id: the first one ends a hold, a different one after it is disputed."""
    closings = Closings()
    now: dict[UUID, Hold] = dict(known)
    for outcome in outcomes:
        generation_id = outcome.data.generation_id
        found = now.get(generation_id)
        if found is None:
            unasked = Hold(generation_id, None, NOTHING, State.RELEASED, 0, outcome.id)
            now[generation_id] = unasked
            closings.new.append((unasked, outcome))
        elif found.state is State.OPEN:
            captured = due(found.quote, outcome)
            closed = replace(found, state=_closed_state(outcome), captured=captured, outcome_id=outcome.id)
            now[generation_id] = closed
            closings.closed.append((closed, outcome))
            if found.quote.amount and found.user_id is not None:
                closings.transactions.append(settlement(generation_id, found.user_id, found.quote.amount, captured))
        elif found.outcome_id is None:
            now[generation_id] = replace(found, outcome_id=outcome.id)
            closings.closed.append((now[generation_id], outcome))
            if outcome.data.verdict is Verdict.COMPLETED:
                closings.disputed.add(generation_id)
        elif found.outcome_id != outcome.id:
            closings.disputed.add(generation_id)
    return closings


def decide_correction(held: Hold, told: Outcome) -> Transaction | None:
    """What makes good that the client was told `told`; None where it was charged by that already.

    Never a second capture: what was delivered and not charged is the house's loss. Not before an outcome was applied:
    a declined id hears its outcome later, and disputes it then.
    """
    if held.user_id is None or held.outcome_id is None:
        return None
    too_much = held.captured - due(held.quote, told)
    if too_much > 0:
        return refund(held.generation_id, held.user_id, too_much)
    if too_much < 0:
        return write_off(held.generation_id, held.user_id, -too_much)
    return None


def due(quote: Quote, outcome: Outcome) -> int:
    """What a generation with this outcome costs, in units: only what was delivered, and only if it completed."""
    ending = outcome.data
    completed = ending.verdict is Verdict.COMPLETED
    return cost(quote, ending.delivered, ending.usage, ending.percent) if completed else 0


def _closed_state(outcome: Outcome) -> State:
    failure = outcome.data.failure
    if outcome.data.verdict is Verdict.COMPLETED:
        return State.CAPTURED
    if outcome.data.verdict is Verdict.FAILED and failure is not None and failure.code == EXPIRED:
        return State.EXPIRED
    return State.RELEASED
