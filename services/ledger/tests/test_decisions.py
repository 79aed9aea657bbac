"""What the ledger decides, without a database: examples first, then a state machine against a simple model."""

from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts.facts import Cached, Outcome
from contracts.money import Quote
from ledger.domain.holds import Hold, State, decide_closings, decide_correction, decide_openings
from ledger.domain.transactions import Purse, Transaction

from .samples import CREDIT, cancelled, completed, declined, failed, request

ANNA, BORIS = UUID(int=1), UUID(int=2)


def held(amount: int, unit_price: int, state: State = State.OPEN, **more: object) -> Hold:
    return Hold(uuid4(), ANNA, Quote(amount=amount, unit_price=unit_price, price_version=1), state, **more)


def test_two_requests_of_one_user_are_decided_against_the_running_balance():
    first, second, third = (request(ANNA, count=count) for count in (6, 5, 4))
    openings = decide_openings([first, second, third], {}, {ANNA: 10 * CREDIT})
    assert openings.opened == [first, third]
    assert openings.declined == [second]


def test_a_repeated_request_is_decided_once_and_as_it_came_first():
    first = request(ANNA, count=1)
    again = request(ANNA, count=9, id_=first.generation_id)
    openings = decide_openings([first, again, first], {}, {ANNA: 10 * CREDIT})
    assert openings.opened == [first]
    assert not openings.declined and not openings.repeated and not openings.ended


@pytest.mark.parametrize("state", [State.CAPTURED, State.RELEASED, State.DECLINED, State.EXPIRED])
def test_promise_3_nothing_starts_for_a_closed_id(state):
    asked = request(ANNA)
    openings = decide_openings([asked], {asked.generation_id: state}, {ANNA: 10 * CREDIT})
    assert openings.ended == [asked]
    assert openings.transactions() == []


def test_a_free_generation_is_opened_without_a_transaction():
    asked = request(ANNA, unit_price=0)
    openings = decide_openings([asked], {}, {ANNA: 0})
    assert openings.opened == [asked]
    assert openings.transactions() == []


@pytest.mark.parametrize(
    ("delivered", "captured"), [(0, 0), (3, 3 * CREDIT), (4, 4 * CREDIT), (5, 4 * CREDIT), (400, 4 * CREDIT)]
)
def test_p6_what_is_captured_follows_what_was_delivered_and_never_exceeds_the_quote(delivered, captured):
    hold = held(4 * CREDIT, CREDIT)
    closings = decide_closings([completed(hold.generation_id, delivered)], {hold.generation_id: hold})
    ((closed, _),) = closings.closed
    (transaction,) = closings.transactions
    postings = dict(transaction.postings)
    assert closed.captured == captured
    assert postings.get(Purse.REVENUE, 0) == captured
    assert postings.get(Purse.AVAILABLE, 0) == 4 * CREDIT - captured
    assert postings[Purse.HELD] == -4 * CREDIT


@pytest.mark.parametrize(("percent", "captured"), [(0, 0), (50, 2 * CREDIT), (100, 4 * CREDIT)])
def test_what_was_made_before_is_captured_by_its_share(percent, captured):
    hold = held(4 * CREDIT, CREDIT)
    outcome = completed(hold.generation_id, 4)
    cached = Cached(generation_id=uuid4(), percent=percent)
    outcome = outcome.model_copy(update={"data": outcome.data.model_copy(update={"cached": cached})})
    closings = decide_closings([outcome], {hold.generation_id: hold})
    ((closed, _),) = closings.closed
    assert (closed.state, closed.captured) == (State.CAPTURED, captured)
    assert dict(closings.transactions[0].postings)[Purse.HELD] == -4 * CREDIT
    assert decide_correction(closed, outcome) is None


@pytest.mark.parametrize("outcome", [failed, cancelled, declined])
def test_p5_an_outcome_that_is_not_completed_releases_everything(outcome):
    hold = held(4 * CREDIT, CREDIT)
    closings = decide_closings([outcome(hold.generation_id)], {hold.generation_id: hold})
    ((closed, _),) = closings.closed
    assert (closed.state, closed.captured) == (State.RELEASED, 0)
    assert dict(closings.transactions[0].postings) == {Purse.HELD: -4 * CREDIT, Purse.AVAILABLE: 4 * CREDIT}


def test_a_failure_with_assets_is_not_charged():
    hold = held(CREDIT, CREDIT)
    outcome = failed(hold.generation_id)
    odd = outcome.model_copy(
        update={"data": outcome.data.model_copy(update={"assets": completed(hold.generation_id).data.assets})}
    )
    closings = decide_closings([odd], {hold.generation_id: hold})
    assert closings.closed[0][0].captured == 0


def test_an_outcome_without_a_hold_closes_the_id_with_nothing():
    outcome = completed(uuid4(), 4)
    closings = decide_closings([outcome, outcome], {})
    ((closed, recorded),) = closings.new
    assert (closed.quote.amount, closed.captured, closed.state) == (0, 0, State.RELEASED)
    assert recorded is outcome
    assert not closings.transactions and not closings.disputed


def test_a_closed_id_ignores_its_own_outcome_and_disputes_another():
    hold = held(CREDIT, CREDIT)
    first, other = completed(hold.generation_id), failed(hold.generation_id)
    closings = decide_closings([first, first, other], {hold.generation_id: hold})
    assert len(closings.closed) == len(closings.transactions) == 1
    assert closings.disputed == {hold.generation_id}


def test_a_declined_hold_only_records_its_outcome():
    hold = held(CREDIT, CREDIT, State.DECLINED)
    outcome = declined(hold.generation_id)
    closings = decide_closings([outcome], {hold.generation_id: hold})
    assert closings.closed[0][0].state is State.DECLINED
    assert not closings.transactions and not closings.disputed


def test_only_our_own_word_expires_a_hold():
    ours, theirs = held(CREDIT, CREDIT), held(CREDIT, CREDIT)
    known = {hold.generation_id: hold for hold in (ours, theirs)}
    closings = decide_closings([failed(ours.generation_id, "expired", "ledger"), failed(theirs.generation_id)], known)
    assert [hold.state for hold, _ in closings.closed] == [State.EXPIRED, State.RELEASED]


@pytest.mark.parametrize(
    ("captured", "told", "expected"),
    [
        (4, failed, {Purse.REVENUE: -4 * CREDIT, Purse.AVAILABLE: 4 * CREDIT}),
        (4, lambda id_: completed(id_, 3), {Purse.REVENUE: -CREDIT, Purse.AVAILABLE: CREDIT}),
        (4, lambda id_: completed(id_, 4), None),
        (0, cancelled, None),
        (0, lambda id_: completed(id_, 2), {Purse.WRITEOFF: -2 * CREDIT, Purse.REVENUE: 2 * CREDIT}),
        (3, lambda id_: completed(id_, 9), {Purse.WRITEOFF: -CREDIT, Purse.REVENUE: CREDIT}),
    ],
)
def test_promise_5_a_correction_makes_good_what_the_client_was_told_and_never_captures(captured, told, expected):
    state = State.CAPTURED if captured else State.RELEASED
    hold = held(4 * CREDIT, CREDIT, state, captured=captured * CREDIT, outcome_id=uuid4())
    correction = decide_correction(hold, told(hold.generation_id))
    assert (dict(correction.postings) if correction else None) == expected


def test_what_has_not_heard_its_outcome_is_not_corrected():
    """Declined is decided before the log says so; there is nothing yet that a correction could be listed beside."""
    for waiting in (held(CREDIT, CREDIT), held(CREDIT, CREDIT, State.DECLINED)):
        assert decide_correction(waiting, completed(waiting.generation_id)) is None


def test_an_unbalanced_transaction_cannot_be_made():
    with pytest.raises(ValueError, match="not a balanced transaction"):
        Transaction("key", "grant", ANNA, ((Purse.ISSUANCE, -2), (Purse.AVAILABLE, 1)))


class Books(RuleBasedStateMachine):
    """The decisions, applied to holds and balances as the database applies them, beside a model that only remembers
    for each id what was quoted, whether it was funded, and which outcome came first."""

    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[UUID, Hold] = {}
        self.available = {ANNA: 0, BORIS: 0}
        self.held = {ANNA: 0, BORIS: 0}
        self.house = 0
        self.given = {ANNA: 0, BORIS: 0}
        self.funded: dict[UUID, tuple[UUID, Quote]] = {}
        self.first: dict[UUID, Outcome] = {}
        self.refused: set[UUID] = set()
        self.keys: set[str] = set()

    def post(self, transactions: list[Transaction]) -> None:
        for transaction in transactions:
            assert transaction.key not in self.keys, "posted twice"
            self.keys.add(transaction.key)
            for purse, amount in transaction.postings:
                if purse is Purse.AVAILABLE:
                    self.available[transaction.user_id] += amount
                elif purse is Purse.HELD:
                    self.held[transaction.user_id] += amount
                else:
                    self.house += amount

    @rule(user=st.sampled_from([ANNA, BORIS]), amount=st.integers(1, 9))
    def top_up(self, user: UUID, amount: int) -> None:
        self.available[user] += amount
        self.house -= amount
        self.given[user] += amount

    @rule(asked=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4), st.integers(0, 3)), max_size=6))
    def ask(self, asked: list[tuple[int, int, int]]) -> None:
        requests = [
            request(ANNA if number % 2 else BORIS, count=count, unit_price=price, id_=UUID(int=100 + number))
            for number, count, price in asked
        ]
        states = {id_: hold.state for id_, hold in self.holds.items()}
        openings = decide_openings(requests, states, self.available)
        for asked_for in openings.opened:
            id_ = asked_for.generation_id
            assert id_ not in self.funded and id_ not in self.refused and id_ not in self.first
            self.funded[id_] = (asked_for.user_id, asked_for.quote)
            self.holds[id_] = Hold(id_, asked_for.user_id, asked_for.quote, State.OPEN)
        for asked_for in openings.declined:
            id_ = asked_for.generation_id
            self.refused.add(id_)
            self.holds[id_] = Hold(id_, asked_for.user_id, asked_for.quote, State.DECLINED)
        self.post(openings.transactions())

    @rule(
        ended=st.lists(
            st.tuples(st.integers(0, 11), st.sampled_from(["completed", "failed", "cancelled"]), st.integers(0, 6)),
            max_size=6,
        )
    )
    def end(self, ended: list[tuple[int, str, int]]) -> None:
        made = {
            "completed": completed,
            "failed": lambda id_, _: failed(id_),
            "cancelled": lambda id_, _: cancelled(id_),
        }
        outcomes = [made[verdict](UUID(int=100 + number), delivered) for number, verdict, delivered in ended]
        for outcome in outcomes:
            self.first.setdefault(outcome.data.generation_id, outcome)
        closings = decide_closings(outcomes, self.holds)
        for hold, _ in (*closings.new, *closings.closed):
            self.holds[hold.generation_id] = hold
        self.post(closings.transactions)

    def paid(self, user: UUID) -> int:
        return sum(
            min(quote.amount, quote.unit_price * self.first[id_].data.delivered)
            for id_, (owner, quote) in self.funded.items()
            if owner == user and id_ in self.first and self.first[id_].data.verdict == "completed"
        )

    @invariant()
    def balances_are_what_was_given_less_what_was_delivered_and_what_is_open(self) -> None:
        for user in (ANNA, BORIS):
            waiting = sum(
                quote.amount for id_, (owner, quote) in self.funded.items() if owner == user and id_ not in self.first
            )
            assert self.held[user] == waiting
            assert self.available[user] == self.given[user] - self.paid(user) - waiting
            assert self.available[user] >= 0

    @invariant()
    def everything_together_is_zero(self) -> None:
        assert self.house + sum(self.available.values()) + sum(self.held.values()) == 0

    @invariant()
    def a_hold_is_closed_exactly_by_the_first_outcome(self) -> None:
        for id_, hold in self.holds.items():
            assert hold.captured <= hold.quote.amount
            assert (hold.state is State.OPEN) == (id_ in self.funded and id_ not in self.first)
            assert hold.outcome_id == (self.first[id_].id if id_ in self.first else None)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
