"""The ledger, as simply as it can be said: what it must answer, and what its books must say after that.

Nothing is cached and nothing is kept twice: every balance follows from what was given and from how each id ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from contracts.facts import Outcome, Request, Requested
from contracts.questions import (
    ConsumeCredits,
    GrantCredits,
    SetPlan,
)
from ledger.domain.payments import Report, Standing, State
from ledger.payments.events import Event

REFUSED = "refused"
CAPPED = "capped"
INSUFFICIENT = "insufficient_credits"
DECLINED = "declined"
ACCEPTED = "accepted"
IGNORED = "ignored"
GIVING, BOUNDED = "giving", "bounded"
MONTHLY, DAILY_CAP = 6, 9
"""What the first gives in a month, and the second lets go in a day."""


@dataclass
class Hold:
    """What became of an id. Without a request its outcome came first, and it costs nothing."""

    request: Request | None = None
    state: str = "open"
    captured: int = 0
    ended_by: Outcome | None = None
    disputed: bool = False
    corrected_to: Outcome | None = None
    refunded: int = 0
    paid_before: int = 0
    """What was consumed, and paid for this one instead."""
    capped: bool = False

    @property
    def amount(self) -> int:
        return self.request.quote.amount if self.request else 0

    def due(self, outcome: Outcome) -> int:
        if self.request is None or outcome.data.verdict != "completed":
            return 0
        return min(self.amount, self.request.quote.unit_price * len(outcome.data.assets))


@dataclass
class Payment:
    """What became of something that was bought."""

    id: UUID
    user: UUID
    credits: int
    price: int
    intent: str | None = None
    state: State = State.CREATED
    taken_back: int = 0


@dataclass
class Model:
    """The operations of `ledger.operations.Ledger` and of payments, one after the other."""

    starting_grant: int
    gifts: dict[UUID, GrantCredits] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    payments: dict[UUID, Payment] = field(default_factory=dict)
    claims: dict[str, dict[str, tuple[int, Standing]]] = field(default_factory=dict)
    """Of each intent, by name: the most that was claimed, and the last word on it."""
    seen: set[str] = field(default_factory=set)
    debts: dict[UUID, int] = field(default_factory=dict)
    plans: dict[UUID, str] = field(default_factory=dict)
    consumptions: dict[UUID, ConsumeCredits] = field(default_factory=dict)
    months: dict[UUID, int] = field(default_factory=dict)
    """What a user was given this month."""
    spent: dict[UUID, int] = field(default_factory=dict)
    """How much of what is unspent came too late for any generation."""

    def balance(self, user: UUID) -> tuple[int, int, int, int]:
        """Available, held, used and owed."""
        theirs = [hold for hold in self.holds.values() if hold.request and hold.request.user_id == user]
        given = self.starting_grant + sum(gift.amount for gift in self.gifts.values() if gift.user_id == user)
        given += self.months.get(user, 0)
        held = sum(hold.amount for hold in theirs if hold.state == "open")
        used = sum(hold.captured - hold.refunded for hold in theirs) + self.unspent(user)
        bought = sum(
            each.credits - each.taken_back
            for each in self.payments.values()
            if each.user == user and each.state is State.PAID
        )
        debt = self.debts.get(user, 0)
        return given + bought + debt - held - used, held, used, debt

    def spendable(self, user: UUID) -> int:
        """What is left of what is available once the debt is paid."""
        available, _, _, debt = self.balance(user)
        return max(0, available - debt)

    def age(self) -> None:
        """What was consumed until now pays for nothing any longer."""
        self.spent = {each.user_id: self.unspent(each.user_id) for each in self.consumptions.values()}

    def spend(self, _: None) -> None:
        """To a user it is all the same."""

    def unspent(self, user: UUID) -> int:
        """What was consumed and has paid for nothing else."""
        consumed = sum(each.amount for each in self.consumptions.values() if each.user_id == user)
        paid = [hold.paid_before for hold in self.holds.values() if hold.request and hold.request.user_id == user]
        return consumed - sum(paid)

    def set_plan(self, asked: SetPlan) -> str:
        self.plans[asked.user_id] = asked.plan
        if asked.plan == GIVING and asked.user_id not in self.months:
            self.months[asked.user_id] = MONTHLY
            self.pay_debt(asked.user_id)
        return asked.plan

    def consume(self, asked: ConsumeCredits) -> tuple[str, int]:
        """What became of it, and what is available then."""
        known = self.consumptions.get(asked.consumption_id)
        state = "consumed"
        if known is not None:
            state = state if (known.user_id, known.amount) == (asked.user_id, asked.amount) else "mismatch"
        elif asked.amount > self.spendable(asked.user_id):
            state = INSUFFICIENT
        else:
            self.consumptions[asked.consumption_id] = asked
        return state, self.spendable(asked.user_id)

    def taken_today(self, user: UUID) -> int:
        """By what is open, and by what was captured and not given back."""
        theirs = [hold for hold in self.holds.values() if hold.request and hold.request.user_id == user]
        return sum(hold.amount if hold.state == "open" else hold.captured - hold.refunded for hold in theirs)

    def open_of(self, user: UUID) -> set[UUID]:
        """The generations that hold some of a user's credits."""
        return {id_ for id_, hold in self.holds.items() if hold.state == "open" and hold.request.user_id == user}

    def grant(self, asked: GrantCredits) -> GrantCredits | str:
        gift = self.gifts.setdefault(asked.grant_id, asked)
        self.pay_debt(asked.user_id)
        return asked if (gift.user_id, gift.amount) == (asked.user_id, asked.amount) else REFUSED

    def hold(self, facts: Iterable[Requested]) -> dict[UUID, Request | Outcome | str]:
        """For each id the request that is funded, the outcome that ended it, or that it is declined."""
        return {fact.data.generation_id: self._hold(fact.data) for fact in facts}

    def _hold(self, request: Request) -> Request | Outcome | str:
        hold = self.holds.get(request.generation_id)
        if hold is None:
            hold = self.holds[request.generation_id] = self._decide(request)
        if hold.state == "open":
            return request
        return hold.corrected_to or hold.ended_by or (CAPPED if hold.capped else DECLINED)

    def _decide(self, request: Request) -> Hold:
        user, amount = request.user_id, request.quote.amount
        fresh = self.unspent(user) - self.spent.get(user, 0)
        before = min(amount, fresh) if request.prepaid else 0
        if self.plans.get(user) == BOUNDED and amount > max(0, DAILY_CAP - self.taken_today(user)):
            too_much = amount - before > self.spendable(user)
            return Hold(request, DECLINED, capped=not too_much)
        if amount - before > self.spendable(user):
            return Hold(request, DECLINED)
        return Hold(request, paid_before=before)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """The first outcome ends an id; a different one after it is remembered as a dispute."""
        for outcome in outcomes:
            hold = self.holds.setdefault(outcome.data.generation_id, Hold(state="released"))
            completed = outcome.data.verdict == "completed"
            if hold.state == "open":
                expired = outcome.data.failure is not None and outcome.data.failure.code == "expired"
                hold.state = "captured" if completed else "expired" if expired else "released"
                hold.captured = hold.due(outcome)
            elif hold.ended_by is None:
                hold.disputed |= hold.state == DECLINED and completed
            elif hold.ended_by.id != outcome.id:
                hold.disputed = True
            hold.ended_by = hold.ended_by or outcome

    def correct(self, told: Iterable[Outcome]) -> None:
        """Gives back what was captured too much; what was captured too little is the house's loss. Once for an id."""
        for outcome in {outcome.data.generation_id: outcome for outcome in told}.values():
            hold = self.holds.get(outcome.data.generation_id, Hold())
            hold.disputed = False
            if hold.ended_by and hold.captured != hold.due(outcome) and hold.corrected_to is None:
                hold.corrected_to = outcome
                hold.refunded = max(0, hold.captured - hold.due(outcome))

    def apply(self, event: Event) -> str:
        """Each report moves a payment in one direction only; what is taken back follows from all that is known."""
        report = event.report
        linked = (each for each in self.payments.values() if each.intent == report.payment_intent)
        payment = next(linked, None) or self.payments.get(report.payment_id)
        if payment is None and report.claim is None:
            return IGNORED
        if event.id in self.seen:
            return ACCEPTED
        self.seen.add(event.id)
        if payment is not None and not self._fits(payment, report):
            return IGNORED
        if report.claim is not None:
            of_intent = self.claims.setdefault(report.payment_intent, {})
            amount, standing = of_intent.get(report.claim.name, (0, Standing.OPEN))
            of_intent[report.claim.name] = (
                max(amount, report.claim.amount),
                max(standing, report.claim.standing),
            )
        if payment is None:
            return IGNORED
        payment.intent = report.payment_intent
        if report.state is State.PAID or (report.state is State.CANCELED and payment.state is State.CREATED):
            payment.state = report.state
        self._take_back(payment)
        self.pay_debt(payment.user)
        return ACCEPTED

    def _fits(self, payment: Payment, report: Report) -> bool:
        return (
            report.user_id in {None, payment.user}
            and payment.intent in {None, report.payment_intent}
            and (report.state is not State.PAID or (report.amount, report.currency) == (payment.price, "usd"))
        )

    def _take_back(self, payment: Payment) -> None:
        if payment.state is not State.PAID:
            return
        of_intent = self.claims.get(payment.intent or "", {}).values()
        claimed = sum(amount for amount, standing in of_intent if standing is not Standing.WON)
        due = payment.credits * min(claimed, payment.price) // payment.price
        more = due - payment.taken_back
        short = max(0, more - self.balance(payment.user)[0])
        payment.taken_back = due
        self.debts[payment.user] = self.debts.get(payment.user, 0) + short

    def pay_debt(self, user: UUID) -> None:
        available, _, _, debt = self.balance(user)
        self.debts[user] = debt - min(available, debt)

    def collect(self, _: None) -> None:
        for user in list(self.debts):
            self.pay_debt(user)
