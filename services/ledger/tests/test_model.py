"""Any sequence of facts, on a real Postgres, beside a simple model: the same answers, the same balances, right books.

What happens at the same moment in two processes must be as if it had happened in some order. LEDGER_MODEL_EXAMPLES asks
for more sequences than a run of the suite has time for.
"""

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contracts.facts import Request
from contracts.questions import (
    ConsumeCredits,
    GrantCredits,
    SetPlan,
)
from ledger.domain.payments import REFUNDS, Claim, Report, Standing, State
from ledger.payments.events import Event

from .books import contradictions
from .model import BOUNDED, DAILY_CAP, GIVING, Model, Payment
from .processes import STARTING_GRANT, USERS, Action, Processes, expected
from .samples import cancelled, completed, failed, request, requested

EXAMPLES = int(os.environ.get("LEDGER_MODEL_EXAMPLES", "40"))
STEPS = 30

PAYMENTS = 5
CREDITS, PRICE = 7, 3
"""Of every payment: no part of the price is a whole number of units."""

numbers = st.integers(0, 15)
bought = st.integers(0, PAYMENTS - 1)
"""Which of the generations that the example knows, and which of its payments."""
successes = st.sampled_from(["payment_intent.succeeded", "charge.succeeded"])
prices = st.tuples(st.sampled_from(USERS), st.integers(1, 4), st.integers(0, 3), st.booleans())
endings = st.one_of(
    st.integers(0, 6).map(lambda delivered: lambda id_: completed(id_, delivered)),
    st.sampled_from([failed, cancelled, lambda id_: failed(id_, "expired", "ledger")]),
)
some = st.lists(numbers, min_size=1, max_size=5)
some_ended = st.lists(st.tuples(numbers, endings), min_size=1, max_size=4)


def _prepaid(asked: Request, *, prepaid: bool) -> Request:
    return asked.model_copy(update={"prepaid": prepaid})


class Deliveries(RuleBasedStateMachine):
    """Facts in any order, again and again, and at the same time."""

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self.processes = processes
        self.run = processes.runner.run
        self.model = Model(STARTING_GRANT)
        self.history: list[Action] = []
        self.requests: list[Request] = []
        self.gifts = 0
        self.consumed = 0
        self.run(processes.forget())

    def do(self, *actions: Action) -> None:
        """All of them at the same moment. The ledger must have done what the model does in one of their orders."""
        answers = self.run(self.processes.at_once(actions))
        books = self.run(self.processes.books())
        explained = []
        for order in permutations(range(len(actions))):
            model = deepcopy(self.model)
            said = {number: getattr(model, actions[number][0])(actions[number][1]) for number in order}
            explained.append(([said[number] for number in range(len(actions))], expected(model)))
            if explained[-1] == (answers, books):
                self.model = model
                self.history.extend(actions)
                return
        differ = [{what: (of[what], books[what]) for what in books if of[what] != books[what]} for _, of in explained]
        seen = (
            f"no order of {actions} explains it\n"
            f"answered: {answers}\nexpected: {[said for said, _ in explained]}\nbooks, expected and found: {differ}"
        )
        # A race does not repeat itself when Hypothesis tries again, and then it shows only that.
        print(seen)
        raise AssertionError(seen)

    @initialize(priced=st.lists(prices, min_size=16, max_size=16))
    def know(self, priced: list[tuple[UUID, int, int, bool]]) -> None:
        self.requests = [
            _prepaid(request(user, count=count, unit_price=unit_price, id_=UUID(int=100 + number)), prepaid=prepaid)
            for number, (user, count, unit_price, prepaid) in enumerate(priced)
        ]
        begun = [Payment(UUID(int=5000 + n), USERS[n % len(USERS)], CREDITS, PRICE) for n in range(PAYMENTS)]
        self.model.payments = {each.id: each for each in begun}
        self.run(self.processes.begin(begun))

    def hold(self, which: Sequence[int]) -> Action:
        return "hold", [requested(self.requests[number]) for number in which]

    def settle(self, *ended: tuple[int, Any]) -> Action:
        return "settle", [outcome(UUID(int=100 + number)) for number, outcome in ended]

    def grant(self, number: int, user: UUID, amount: int) -> Action:
        return "grant", GrantCredits(grant_id=UUID(int=1000 + number), user_id=user, amount=amount)

    def paid(self, number: int, kind: str, again: int = 0, **wrong: Any) -> Action:
        """Success, as an event of this kind reports it; `again` tells apart those that say the same."""
        payment = UUID(int=5000 + number)
        told = {"state": State.PAID, "amount": PRICE, "currency": "usd", **wrong}
        report = Report(f"pi_{number}", payment, USERS[number % len(USERS)], **told)
        return "apply", Event(f"evt_{number}_{kind}_{again}_{wrong}", kind, 0, False, report)

    def claimed(self, number: int, name: str, amount: int, standing: Standing) -> Action:
        """Refunds say whose payment they are of, disputes do not."""
        ours = (UUID(int=5000 + number), USERS[number % len(USERS)]) if name == REFUNDS else ()
        report = Report(f"pi_{number}", *ours, claim=Claim(name, amount, "usd", standing))
        return "apply", Event(f"evt_{number}_{name}_{amount}_{standing}", name, 0, False, report)

    def consume(self, number: int, user: UUID, amount: int) -> Action:
        return "consume", ConsumeCredits(consumption_id=UUID(int=2000 + number), user_id=user, amount=amount)

    def plan(self, user: UUID, name: str) -> Action:
        return "set_plan", SetPlan(user_id=user, plan=name)

    def more(self, user: UUID, amount: int, *, prepaid: bool = False) -> int:
        """One more generation, of this price."""
        more = request(user, unit_price=amount, id_=UUID(int=100 + len(self.requests)))
        self.requests.append(_prepaid(more, prepaid=prepaid))
        return len(self.requests) - 1

    # -- one after the other ----------------------------------------------------------------------------------

    @rule(number=st.integers(0, 5), user=st.sampled_from(USERS), amount=st.sampled_from([4, 7]))
    def top_up(self, number: int, user: UUID, amount: int) -> None:
        """Among six grant ids some are used again, for the same or for something else."""
        self.do(self.grant(number, user, amount))

    @rule(which=some)
    def reserve(self, which: list[int]) -> None:
        """Ids may repeat, be open, be closed, or ask for more than there is."""
        self.do(self.hold(which))

    @rule(user=st.sampled_from(USERS), above=st.integers(-1, 1))
    def reserve_about_everything(self, user: UUID, above: int) -> None:
        amount = max(0, self.model.balance(user)[0] + above)
        self.do(self.hold([self.more(user, amount)]))

    @rule(ended=some_ended)
    def end(self, ended: list[tuple[int, Any]]) -> None:
        """Captured wholly or in part, released, expired; late, again, otherwise, or before it was asked for."""
        self.do(self.settle(*ended))

    @rule(number=numbers, delivered=st.integers(0, 4))
    def reserve_and_capture(self, number: int, delivered: int) -> None:
        self.do(self.hold([number]))
        self.do(self.settle((number, lambda id_: completed(id_, delivered))))

    @rule(told=some_ended)
    def correct(self, told: list[tuple[int, Any]]) -> None:
        self.do(("correct", self.settle(*told)[1]))

    @rule(number=numbers, told=endings)
    def correct_what_is_disputed(self, number: int, told: Any) -> None:
        disputed = sorted(id_ for id_, hold in self.model.holds.items() if hold.disputed)
        if disputed:
            self.do(("correct", [told(disputed[number % len(disputed)])]))

    @rule(number=bought, kind=successes, again=st.integers(0, 2))
    def top_up_by_a_payment(self, number: int, kind: str, again: int) -> None:
        self.do(self.paid(number, kind, again))

    @rule(number=bought, wrong=st.sampled_from([{"amount": PRICE + 1}, {"currency": "eur"}, {"amount": 0}]))
    def top_up_with_what_was_not_asked_for(self, number: int, wrong: dict[str, Any]) -> None:
        self.do(self.paid(number, "payment_intent.succeeded", **wrong))

    @rule(number=bought)
    def cancel_a_payment(self, number: int) -> None:
        self.do(self.paid(number, "payment_intent.canceled", state=State.CANCELED))

    @rule(number=bought, amount=st.integers(1, PRICE))
    def refund(self, number: int, amount: int) -> None:
        """The sum of all refunds so far; a smaller one is an older one that comes late."""
        self.do(self.claimed(number, REFUNDS, amount, Standing.LOST))

    @rule(
        number=bought,
        name=st.sampled_from(["du_1", "du_2"]),
        amount=st.integers(1, PRICE),
        standing=st.sampled_from(Standing),
    )
    def dispute(self, number: int, name: str, amount: int, standing: Standing) -> None:
        self.do(self.claimed(number, name, amount, standing))

    @rule()
    def collect_what_is_owed(self) -> None:
        self.do(("collect", None))

    @rule(number=bought)
    def buy_spend_and_be_refunded(self, number: int) -> None:
        """The way into debt."""
        self.do(self.paid(number, "payment_intent.succeeded"))
        self.reserve_about_everything(USERS[number % len(USERS)], 0)
        self.do(self.claimed(number, REFUNDS, PRICE, Standing.LOST))

    @precondition(lambda self: self.history)
    @rule(back=st.integers(1, 12))
    def replay(self, back: int) -> None:
        """Said again, and again: after the first time nothing changes, and the answer is the same."""
        action = self.history[-min(back, len(self.history))]
        self.do(action)
        before = self.run(self.processes.books()), self.run(self.processes.at_once([action]))
        assert before == (self.run(self.processes.books()), self.run(self.processes.at_once([action])))

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(["free", GIVING, BOUNDED]))
    def change_plan(self, user: UUID, name: str) -> None:
        """A month is given once, however often somebody comes back to the plan that gives it."""
        self.do(self.plan(user, name))

    @rule(number=st.integers(0, 5), user=st.sampled_from(USERS), amount=st.sampled_from([1, 3, 20]))
    def consume_some(self, number: int, user: UUID, amount: int) -> None:
        """Among six ids some are used again, for the same or for something else."""
        self.do(self.consume(number, user, amount))

    @rule(user=st.sampled_from(USERS), amount=st.integers(1, 3), above=st.integers(-1, 2), ending=endings)
    def consume_and_then_generate(self, user: UUID, amount: int, above: int, ending: Any) -> None:
        self.consumed += 1
        self.do(self.consume(100 + self.consumed, user, amount))
        number = self.more(user, amount + above, prepaid=True)
        self.do(self.hold([number]))
        self.do(self.settle((number, ending)))

    @rule()
    def an_hour_passes(self) -> None:
        self.run(self.processes.age())
        self.model.age()
        self.do(("spend", None), ("spend", None))

    # -- at the same moment -----------------------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS))
    def reserve_the_last_credits_twice(self, user: UUID) -> None:
        available = self.model.balance(user)[0]
        first, second = self.more(user, available), self.more(user, available // 2 + 1)
        self.do(self.hold([first]), self.hold([second]))

    @rule(number=numbers, first=endings, second=endings)
    def end_in_two_ways(self, number: int, first: Any, second: Any) -> None:
        """Captured and released, captured and expired, or the same thing twice."""
        self.do(self.hold([number]))
        self.do(self.settle((number, first)), self.settle((number, second)))

    @rule(number=numbers, ending=endings)
    def reserve_while_it_ends(self, number: int, ending: Any) -> None:
        self.do(self.hold([number]), self.settle((number, ending)))

    @rule(user=st.sampled_from(USERS), ending=endings)
    def reserve_something_new_while_it_ends(self, user: UUID, ending: Any) -> None:
        number = self.more(user, 1)
        self.do(self.hold([number]), self.settle((number, ending)))

    @rule(user=st.sampled_from(USERS), ending=endings, reserving=st.booleans())
    def move_one_balance_twice(self, user: UUID, ending: Any, reserving: bool) -> None:
        """A top-up, and what a hold takes or gives back."""
        self.gifts += 1
        top_up = self.grant(100 + self.gifts, user, 2)
        still_open = sorted(self.model.open_of(user))
        if reserving or not still_open:
            self.do(top_up, self.hold([self.more(user, 1)]))
        else:
            self.do(top_up, ("settle", [ending(still_open[0])]))

    @rule(user=st.sampled_from(USERS), amounts=st.sampled_from([(5, 5), (5, 6)]))
    def top_up_twice_under_one_id(self, user: UUID, amounts: tuple[int, int]) -> None:
        self.gifts += 1
        self.do(*(self.grant(100 + self.gifts, user, amount) for amount in amounts))

    @rule(number=bought)
    def be_told_of_a_payment_in_two_ways(self, number: int) -> None:
        self.do(self.paid(number, "payment_intent.succeeded"), self.paid(number, "charge.succeeded"))

    @rule(number=bought, amount=st.integers(1, PRICE), standing=st.sampled_from(Standing))
    def refund_or_dispute_while_it_is_paid(self, number: int, amount: int, standing: Standing) -> None:
        name = REFUNDS if standing is Standing.LOST else "du_1"
        self.do(self.paid(number, "charge.succeeded", 3), self.claimed(number, name, amount, standing))

    @rule(number=bought, ending=endings)
    def refund_while_it_is_spent_or_given_back(self, number: int, ending: Any) -> None:
        user = USERS[number % len(USERS)]
        still_open = sorted(self.model.open_of(user))
        refunded = self.claimed(number, REFUNDS, PRICE, Standing.LOST)
        if still_open:
            self.do(refunded, ("settle", [ending(still_open[0])]))
        else:
            self.do(refunded, self.hold([self.more(user, self.model.balance(user)[0])]))

    @rule(user=st.sampled_from(USERS))
    def pass_a_cap_together(self, user: UUID) -> None:
        """Each alone is let through."""
        self.do(self.plan(user, BOUNDED))
        first, second = self.more(user, DAILY_CAP // 2), self.more(user, DAILY_CAP // 2 + 2)
        self.do(self.hold([first]), self.hold([second]))

    @rule(user=st.sampled_from(USERS), amounts=st.sampled_from([(2, 2), (2, 3)]))
    def consume_twice_under_one_id(self, user: UUID, amounts: tuple[int, int]) -> None:
        self.consumed += 1
        self.do(*(self.consume(100 + self.consumed, user, amount) for amount in amounts))

    @rule(user=st.sampled_from(USERS))
    def generate_twice_with_what_was_consumed_once(self, user: UUID) -> None:
        first, second = (self.more(user, 2, prepaid=True) for _ in range(2))
        self.do(self.hold([first]), self.hold([second]))

    @rule(user=st.sampled_from(USERS), amount=st.integers(1, 6))
    def consume_while_generating(self, user: UUID, amount: int) -> None:
        self.consumed += 1
        number = self.more(user, 5, prepaid=True)
        self.do(self.consume(100 + self.consumed, user, amount), self.hold([number]))

    @rule(number=numbers, first=endings, second=endings)
    def correct_in_two_ways(self, number: int, first: Any, second: Any) -> None:
        self.do(("correct", self.settle((number, first))[1]), ("correct", self.settle((number, second))[1]))

    # -- what holds after each of them ------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        assert self.run(contradictions(self.processes.databases[0])) == {}

    @invariant()
    def nobody_pays_more_than_was_quoted_and_no_balance_is_negative(self) -> None:
        assert all(hold.captured <= hold.amount for hold in self.model.holds.values())
        assert all(amount >= 0 for user in USERS for amount in self.model.balance(user))


@pytest.fixture
def processes(database_url: str) -> Iterator[Processes]:
    processes = Processes(database_url)
    yield processes
    processes.close()


@pytest.mark.timeout(120 + 3 * EXAMPLES)
def test_p4_to_p8_any_deliveries_leave_what_the_model_says(processes):
    run_state_machine_as_test(
        lambda: Deliveries(processes),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
