"""The ledger's rows, and its steps around its own decisions."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.facts import Ending, Failure, Funded, Outcome, Requested, Verdict
from ledger.answers import SOURCE, answers
from ledger.domain import holds as decisions
from ledger.domain.holds import DAILY_CAP, INSUFFICIENT_CREDITS, Hold, State
from ledger.domain.transactions import Purse, Transaction, starting_grant
from ledger.holds import Said

if TYPE_CHECKING:
    from tests.simulation.world import World

OVERDUE_SECONDS = 260
NEVER_NEGATIVE = (Purse.AVAILABLE, Purse.HELD)


class Holding:
    """Holds, postings and balances."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.holds: dict[UUID, Hold] = {}
        self.outcomes: dict[UUID, Outcome] = {}
        self.declined_for: dict[UUID, str] = {}
        self.opened_at: dict[UUID, int] = {}
        self.closed_in: dict[UUID, int] = {}
        """In which epoch of the log a hold ended."""
        self.disputed: set[UUID] = set()
        self.corrected: dict[UUID, Outcome] = {}
        self.transactions: dict[str, Transaction] = {}
        self.balances: dict[UUID, dict[Purse, int]] = {}
        self.known_epoch: int | None = None
        self.overdrawn: list[str] = []
        """Balances that were below zero, if only for a moment."""

    def open_account(self, user_id: UUID, units: int) -> None:
        self.balances[user_id] = dict.fromkeys(Purse, 0)
        self._post([starting_grant(user_id, units)])

    def _post(self, made: Sequence[Transaction]) -> None:
        for transaction in made:
            key = transaction.key
            if key in self.transactions:
                if self.world.bug not in {"a_capture_is_posted_twice", "a_request_driven_again_holds_again"}:
                    continue
                key = f"{key}#{len(self.transactions)}"
            self.transactions[key] = transaction
            for purse, units in transaction.postings:
                self.balances[transaction.user_id][purse] += units
                if purse in NEVER_NEGATIVE and self.balances[transaction.user_id][purse] < 0:
                    self.overdrawn.append(f"{transaction.user_id} {purse} after {key}")

    # -- requested --------------------------------------------------------------------------------------------

    def hold(self, facts: Sequence[Requested]) -> Iterator[None]:
        requests = [fact.data for fact in facts]
        yield
        available = {user_id: purses[Purse.AVAILABLE] for user_id, purses in self.balances.items()}
        if self.world.bug == "balances_are_read_and_then_written":
            yield
        known = {id_: self._said(id_) for fact in facts if (id_ := fact.data.generation_id) in self.holds}
        states = {id_: said.state for id_, said in known.items()}
        if self.world.bug == "a_request_driven_again_holds_again":
            states = {id_: state for id_, state in states.items() if state is not State.OPEN}
        openings = decisions.decide_openings(requests, states, available)
        for state, decided in ((State.OPEN, openings.opened), (State.DECLINED, (*openings.declined, *openings.capped))):
            for request in decided:
                self.holds[request.generation_id] = Hold(request.generation_id, request.user_id, request.quote, state)
                self.opened_at[request.generation_id] = self.world.now
        self.declined_for |= {request.generation_id: INSUFFICIENT_CREDITS for request in openings.declined}
        self.declined_for |= {request.generation_id: DAILY_CAP for request in openings.capped}
        self._post(openings.transactions())
        yield
        for said in answers(facts, openings, known):
            if isinstance(said, Funded):
                self.world.log.publish("funded", said)
            else:
                yield from self.world.log.publish_unique(said)
            yield

    def _said(self, generation_id: UUID) -> Said:
        outcome = self.corrected.get(generation_id) or self.outcomes.get(generation_id)
        encoded = outcome.encode().decode() if outcome else None
        return Said(self.holds[generation_id].state, encoded, self.declined_for.get(generation_id))

    # -- outcomes ---------------------------------------------------------------------------------------------

    def settle(self, outcomes: Sequence[Outcome]) -> Iterator[None]:
        yield
        ids = [outcome.data.generation_id for outcome in outcomes]
        known = {id_: self.holds[id_] for id_ in ids if id_ in self.holds}
        closings = decisions.decide_closings(outcomes, known)
        if self.world.bug == "a_capture_is_posted_twice":
            yield  # decided without a lock, written without looking again
        for hold, outcome in (*closings.closed, *closings.new):
            self.holds[hold.generation_id] = hold
            self.outcomes[hold.generation_id] = outcome
            self.closed_in[hold.generation_id] = self.world.log.epoch
        self.disputed |= closings.disputed
        self._post(closings.transactions)

    def reconcile(self) -> Iterator[None]:
        """Asks what clients were told, where the log is another one or a hold is overdue."""
        yield
        if not self.world.log.is_up:
            return
        created = self.world.log.epoch
        renewed = self.known_epoch is not None and created != self.known_epoch
        if renewed:
            self.disputed |= {id_ for id_, epoch in self.closed_in.items() if epoch == created}
        open_now = {id_ for id_, hold in self.holds.items() if hold.state is State.OPEN}
        overdue = {id_ for id_ in open_now if self.opened_at[id_] + self._overdue_seconds < self.world.now}
        for generation_id in sorted(open_now if renewed else overdue):
            yield
            row = self.world.accepting.rows.get(generation_id)
            if row is not None and row.outcome is not None:
                yield from self.settle([row.outcome])
            elif generation_id in overdue and self.world.bug == "a_hold_expires_without_asking_the_log":
                self._expire(generation_id)
            elif row is None and generation_id in overdue:
                yield from self.settle([(yield from self.world.log.publish_unique(_expired(generation_id)))])
        self.known_epoch = created
        for generation_id in sorted(self.disputed):
            yield
            row = self.world.accepting.rows.get(generation_id)
            if row is not None and row.outcome is not None:
                self._correct(generation_id, row.outcome)
            elif row is None:
                self.disputed.discard(generation_id)

    @property
    def _overdue_seconds(self) -> int:
        return 20 if self.world.bug == "a_hold_expires_without_asking_the_log" else OVERDUE_SECONDS

    def _expire(self, generation_id: UUID) -> None:
        hold = self.holds[generation_id]
        if hold.state is State.OPEN:
            self.holds[generation_id] = Hold(generation_id, hold.user_id, hold.quote, State.EXPIRED)
            released = decisions.settlement(generation_id, hold.user_id, hold.quote.amount, 0)
            self._post([released])

    def _correct(self, generation_id: UUID, told: Outcome) -> None:
        hold = self.holds[generation_id]
        made = None if generation_id in self.corrected else decisions.decide_correction(hold, told)
        if made is not None:
            self.corrected[generation_id] = told
            self._post([made])
        self.disputed.discard(generation_id)


def _expired(generation_id: UUID) -> Outcome:
    failure = Failure(code=decisions.EXPIRED, message="The generation is not known to the gateway.")
    ending = Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure)
    return Outcome.of(ending, SOURCE, None)
